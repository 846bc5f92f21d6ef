import base64
import re
from xml.etree import ElementTree

import nbformat
import numpy as np
import pytest
import torch
from ipywidgets import IntSlider

from lib import FrequencyDataset, SignalSpec, StatefulLSTMExtractor, load_model, roll_out
from lib.lessons.drawing import stepper_html, still
from lib.lessons.figures import Picture, panels
from lib.lessons.live import live_stepper
from lib.lessons.n04_interventions import REPLACEMENTS, intervene
from lib.lessons.stepper import POLICIES, Stepper
from lib.lessons.widgets import RUN, Explorer, StepperShell, film
from lib.run.publish import WIDGET, clean

SVG = "{http://www.w3.org/2000/svg}"


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


def test_a_model_with_a_gradient_graph_can_be_walked(model, dataset):
    model(dataset.inputs[:, :5])
    assert Stepper(model, dataset, sequence_length=50).step(3).chain == 3
    assert model.cell_state.grad_fn is not None


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


def outside_scripts(page):
    """What a viewer keeps that drops scripts; a film's or stepper's content is in there."""
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_a_film_is_one_frame_and_a_sentence_without_its_script():
    page = film(["<p>a</p>", "<p>b</p>", "<p>c</script></p>"], "x", start=1).data
    kept = outside_scripts(page)
    assert re.findall(r"<p>\w</p>", kept) == ["<p>b</p>"]
    assert kept.count("</script>") == 0, "the content must not end its script early"
    assert "run this cell or trust this notebook" in kept
    assert "frame 2 / 3" in kept
    for dead in ("<button", "<input", "<svg", "<template", " hidden"):
        assert dead not in kept
    assert "<b>frame a < b" not in film(["<p>a</p>"], "x", names=["a < b"]).data
    assert "http" not in page


def test_a_film_refuses_what_it_cannot_show():
    frames = ["a", "b"]
    for action, match in (
        (lambda: film([], "x"), "start = 0: must be between"),
        (lambda: film(frames, "x", start=2), "start = 2: must be between 0 and 1"),
        (lambda: film(frames, "x", start=-1), "start = -1"),
        (lambda: film(frames, "x", names=["a"]), r"names = \['a'\]: must be 2"),
        (lambda: film(frames, 'x"]'), "must consist of letters"),
    ):
        with pytest.raises(ValueError, match=match):
            action()


def test_a_still_has_every_drawing_as_an_image(stepper):
    stepper.step(3)
    drawn = stepper_html(stepper)
    page = still(drawn)
    alts = re.findall(r'<svg [^>]*aria-label="([^"]*)"', drawn)
    images = re.findall(
        r'<img alt="([^"]*)" width="(\d+)" height="(\d+)" src="data:image/svg\+xml;base64,([^"]*)">', page
    )
    assert [alt for alt, *_ in images] == alts
    assert len(alts) == 4
    assert "<svg" not in page
    for _, width, height, data in images:
        root = ElementTree.fromstring(base64.b64decode(data))
        assert (root.tag, root.attrib["width"], root.attrib["height"]) == (f"{SVG}svg", width, height)
        assert root.find(f"{SVG}rect").attrib["fill"] == "#fff", "it brings its own paper"


def test_the_live_stepper_is_one_picture_and_a_sentence_without_its_script():
    dataset = FrequencyDataset(SignalSpec(), 2)
    kept = outside_scripts(live_stepper(load_model(), dataset).data)
    assert "run this cell or trust this notebook" in kept
    assert kept.count("<img ") == 4
    assert 'data-step="250"' in kept
    for dead in ("<button", "<select", "<canvas", "<svg"):
        assert dead not in kept


def test_a_shell_leaves_a_sentence_in_a_notebook_without_kernel(model, dataset):
    shell = StepperShell({"one": Stepper(model, dataset, sequence_length=100)})
    data = shell._repr_mimebundle_()
    assert WIDGET in data
    code = nbformat.v4.new_code_cell("shell", outputs=[nbformat.v4.new_output("execute_result", data)])
    code.outputs.append(nbformat.v4.new_output("display_data", {WIDGET: {}, "text/plain": "0%|"}))  # a progress bar
    code.outputs.append(nbformat.v4.new_output("stream", text="said"))
    kept = clean(nbformat.v4.new_notebook(cells=[code])).cells[0].outputs
    assert [output.output_type for output in kept] == ["execute_result", "stream"]
    assert WIDGET not in kept[0].data
    assert "run this cell" in kept[0].data["text/html"]
