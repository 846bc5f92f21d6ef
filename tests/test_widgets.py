import numpy as np
import pytest
import torch
from ipywidgets import IntSlider

from lib import FrequencyDataset, SignalSpec, StatefulLSTMExtractor, roll_out
from lib.lessons.drawing import stepper_html
from lib.lessons.figures import Picture, panels
from lib.lessons.instruments import REPLACEMENTS, intervene
from lib.lessons.stepper import POLICIES, Stepper
from lib.lessons.widgets import RUN, Explorer, StepperShell, film


@pytest.fixture
def stepper(model, dataset):
    return Stepper(model, dataset, frequency=1, sequence_length=30)


def test_the_walk_is_the_models_own_roll_out(stepper, model, dataset):
    stepper.step(7)
    stepper.step(20)
    expected = roll_out(model, dataset.inputs[1:2, :27])[0, :, 0]
    assert stepper.output == pytest.approx(expected.tolist(), abs=1e-6)
    assert stepper.target == pytest.approx(dataset.targets[1, :27, 0].tolist(), abs=1e-6)
    assert stepper.snapshot.gates.h[0].tolist() == pytest.approx(stepper.hidden[-1].tolist(), abs=1e-6)
    assert stepper.snapshot.mse == pytest.approx(np.mean((np.array(stepper.output) - stepper.target) ** 2))


def test_the_lessons_model_is_never_touched(stepper, model, dataset):
    model(dataset.inputs[:, 0])
    before = model.hidden_state, {name: value.clone() for name, value in model.state_dict().items()}
    stepper.step(5)
    stepper.backward()
    stepper.reset()
    assert model.hidden_state is before[0]
    assert all(torch.equal(value, before[1][name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_chain_and_memory_grow_until_detached(stepper):
    one = stepper.step()
    many = stepper.step(19)
    assert (one.chain, many.chain) == (1, 20)
    assert many.held > one.held > 0
    cut = stepper.detach()
    assert (cut.chain, cut.held, cut.mse) == (0, 0, many.mse)
    assert stepper.step().chain == 1


def test_backward_reaches_to_the_cut_and_only_once(stepper):
    assert "take a step first" in stepper.backward().message
    stepper.step(10)
    stepper.detach()
    stepper.step(6)
    reach = stepper.backward().reach
    assert len(reach) == 6
    assert (reach[:-1] > 0).all()
    again = stepper.backward()
    assert "PyTorch refuses" in again.message
    assert not len(again.reach)


def test_policies(stepper):
    stepper.set_policy("reset every sample")
    assert stepper.step(5).chain == 1
    for policy, leaks in (("reset at sequence start", False), ("leak into the next frequency", True)):
        stepper.begin(1)
        stepper.set_policy(policy)
        snapshot = stepper.step(31)
        assert (snapshot.frequency, snapshot.sample) == (2, 0)
        assert snapshot.chain == (31 if leaks else 1)
        assert ("leaked" in snapshot.message) == leaks
    stepper.begin(0)
    stepper.set_policy("carry")
    assert stepper.step(40).frequency == 0


def test_bad_arguments_are_refused_by_name(stepper, model, dataset):
    for action, match in (
        (lambda: stepper.set_policy("x"), "policy = 'x'"),
        (lambda: stepper.step(0), "count = 0"),
        (lambda: stepper.begin(9), "frequency = 9"),
        (lambda: stepper_html(stepper, 99), "unit = 99"),
        (lambda: Stepper(model, dataset, sequence_length=0), "sequence_length = 0"),
        (lambda: Stepper(StatefulLSTMExtractor(num_layers=2), dataset), "num_layers = 1"),
        (lambda: intervene(model, dataset, 0, "x"), "replacement = 'x'"),
    ):
        with pytest.raises(ValueError, match=match):
            action()


def test_the_drawing_says_what_is_there(stepper):
    assert "no gates" in stepper_html(stepper)
    stepper.step(3)
    drawn = stepper_html(stepper, unit=2)
    gates = stepper.snapshot.gates
    for text in ("unit 2", f"i = {gates.i[0, 2]:.3f}", f"<b>{gates.c[0, 2]:+.3f}</b>", 'data-chain="3"', "aria-label"):
        assert text in drawn
    assert len(drawn) < 60_000


def test_the_shell_drives_the_walk(model, dataset):
    shell = StepperShell({name: Stepper(model, dataset, sequence_length=100) for name in ("one", "two")})
    shell.buttons["Step"].click()
    shell.buttons[f"Run {RUN}"].click()
    assert shell.stepper.snapshot.step == 1 + RUN
    assert f'data-step="{1 + RUN}"' in shell.drawing.value
    shell.policy.value = POLICIES[1]
    shell.buttons["Step"].click()
    assert shell.stepper.snapshot.chain == 1
    shell.network.value = "two"
    assert shell.stepper.snapshot.step == 0
    shell.selector.value = 2
    assert shell.stepper.frequency == 2
    shell.play.value = 1
    played = shell.stepper.snapshot.step
    assert played > 0
    shell.play.value = 0  # stop
    assert shell.stepper.snapshot.step == played
    shell.check()


def test_an_exception_in_a_callback_is_shown_and_kept():
    def draw(level):
        if level > 2:
            raise RuntimeError("too <high>")
        return Picture(panels()[0], f"level {level}")

    explorer = Explorer(draw, {"level": IntSlider(1, min=0, max=5)})
    assert 'alt="level 1"' in explorer.drawing.value
    assert explorer.controls["level"].continuous_update is False
    explorer.controls["level"].value = 3
    assert "RuntimeError: too &lt;high&gt;" in explorer.drawing.value
    with pytest.raises(RuntimeError, match="too"):
        explorer.check()


def test_interventions(model):
    dataset = FrequencyDataset(SignalSpec(frequencies=(2.0, 5.0, 9.0), sample_rate=200.0, duration=0.6), 1)
    plain, target = intervene(model, dataset, 1, samples=120)
    assert plain == pytest.approx(roll_out(model, dataset.inputs[1:2])[0, :, 0].numpy(), abs=1e-6)
    assert target == pytest.approx(dataset.targets[1, :, 0].numpy())
    for replacement in REPLACEMENTS[1:]:
        assert not np.allclose(intervene(model, dataset, 1, replacement, samples=120)[0], plain, atol=1e-5)
    late, _ = intervene(model, dataset, 1, "silence", reset_at=50, samples=120)
    early, _ = intervene(model, dataset, 1, "silence", samples=120)
    assert late[50:] == pytest.approx(early[:70], abs=1e-6)
    switched, target = intervene(model, dataset, 1, switch_to=2, switch_at=60, samples=120)
    assert switched[:60] == pytest.approx(plain[:60], abs=1e-6)
    assert target[60:] == pytest.approx(dataset.targets[2, 60:, 0].numpy())


def test_a_film_shows_one_frame_at_a_time():
    page = film(["<p>a</p>", "<p>b</p>", "<p>c</p>"], "x", start=1).data
    assert page.count("<div data-frame") == 3
    assert page.count(" hidden>") == 2
    assert '<div data-frame="2 / 3"><p>b</p>' in page
    assert "<output>2 / 3</output>" in page
    assert "<output>a < b" not in film(["<p>a</p>"], "x", names=["a < b"]).data
    assert "http" not in page
