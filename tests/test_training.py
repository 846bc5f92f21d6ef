"""`train` and its recipe on tasks of a second: bits, checkpoints, horizons, refusals."""

import os
import subprocess
import sys
import time

import pytest
import torch

from lib import (
    CheckpointError,
    FrequencyDataset,
    ModelConfig,
    SignalSpec,
    StatefulLSTMExtractor,
    TrainingConfig,
    TrainingWarning,
    load_model,
    recipe,
    roll_out,
    train,
    training,
)
from lib.checkpoint import load_checkpoint, save_checkpoint
from lib.lessons import n03_policies as policies
from lib.lessons.n03_policies import detach_every, step_at_rest
from lib.recipe import (
    FINAL_RATE,
    RECIPE,
    anneal,
    cosine,
    extend,
    grow,
    phase_rates,
    polish,
    prepare_weights,
    rate_at,
    signal_weights,
)

SMALL = ModelConfig(hidden_size=6, head_size=5)
QUICK = TrainingConfig(
    max_updates=60, anneal_updates=30, learn_periods=0.8, grow_below=10.0, validate_every=7, polish_iterations=20
)


def learn(dataset, config=QUICK, path=None, stages=RECIPE, shape=SMALL, memoryless=False):
    return train(dataset, config, shape, path, progress_bar=False, stages=stages, memoryless=memoryless)


def intercept(patch, replacement):
    """Put ``replacement`` in the place of the one update that all ways of training share."""
    for module in (recipe, policies):
        patch.setattr(module, "update", replacement)


def bits(model):
    return {name: value.tolist() for name, value in model.state_dict().items()}


def test_the_seed_alone_decides_and_the_global_random_state_is_left_alone(dataset):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = learn(dataset)
    assert torch.equal(torch.rand(1), expected)
    again, other = learn(dataset), learn(dataset, QUICK.but(weight_seed=1))
    assert bits(first.model) == bits(again.model) != bits(other.model)
    assert first.history == again.history


@pytest.mark.parametrize(
    ("stages", "memoryless", "crash_at"),
    [
        *((RECIPE, False, crash_at) for crash_at in (3, 14, 25, 41)),  # unsaved, just saved, in anneal, in extend
        ((detach_every(1),), True, 25),
        ((detach_every(50),), False, 37),
    ],
)
def test_a_killed_run_ends_with_the_same_bits(dataset, tmp_path, monkeypatch, stages, memoryless, crash_at):
    shape = SMALL.but(num_layers=2, dropout=0.2)  # dropout draws from the random state, which must be restored
    whole = learn(dataset, stages=stages, shape=shape, memoryless=memoryless)
    path, update = tmp_path / "run.pt", recipe.update

    def crash(run, batch, rate):
        if run.updates == crash_at:
            raise KeyboardInterrupt
        return update(run, batch, rate)

    with monkeypatch.context() as patch:
        intercept(patch, crash)
        with pytest.raises(KeyboardInterrupt):
            learn(dataset, path=path, stages=stages, shape=shape, memoryless=memoryless)
    torch.rand(5)  # somebody else uses the random state meanwhile
    resumed = learn(dataset, path=path, stages=stages, shape=shape, memoryless=memoryless)
    assert bits(resumed.model) == bits(whole.model) == bits(load_model(path))
    assert (resumed.history, resumed.validation) == (whole.history, whole.validation)


def test_a_run_killed_from_outside_goes_on(tmp_path):
    """kill -9 in mid-run, as the operating system does it."""
    path = tmp_path / "run.pt"
    code = f"""
from lib import *
spec = SignalSpec(frequencies=(2.0, 5.0), sample_rate=200.0, duration=2.0)
config = TrainingConfig(grow_below=0.6, validate_every=10, anneal_updates=400, polish_iterations=5)
run = train(FrequencyDataset(spec, 1), config, ModelConfig(hidden_size=8), {str(path)!r}, progress_bar=False)
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert 0 < len(load_checkpoint(path)["progress"]["history"]["loss"]) < 400
    runs = []
    for _ in ("resumed", "whole"):
        exec(code, made := {})
        runs.append(made["run"])
        path.unlink()
    assert bits(runs[0].model) == bits(runs[1].model)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A dataset, and the run and the checkpoint of a training on it."""
    data = FrequencyDataset(SignalSpec(frequencies=(2.0, 5.0, 9.0), sample_rate=200.0, duration=0.6), 1)
    path = tmp_path_factory.mktemp("kept") / "run.pt"
    return data, learn(data, path=path), path


def test_a_finished_run_is_returned_as_it_is(kept, monkeypatch):
    data, first, path = kept
    intercept(monkeypatch, None)  # would fail if it were called
    again = learn(data, path=path)
    assert bits(again.model) == bits(first.model)
    assert again.history == first.history


def test_a_checkpoint_of_another_training_is_refused(kept):
    data, _, path = kept
    with pytest.raises(CheckpointError, match=r"training = {'weight_seed': 0}, but {'weight_seed': 5} is asked for"):
        learn(data, QUICK.but(weight_seed=5), path)
    with pytest.raises(CheckpointError, match="train_noise_seed"):
        learn(FrequencyDataset(data.spec, 9), path=path)
    with pytest.raises(CheckpointError, match=r"stages = \['grow', 'anneal'.*, but \['detach_every_50'\]"):
        learn(data, path=path, stages=(detach_every(50),))


def test_a_checkpoint_of_older_code_begins_anew(kept, tmp_path, caplog):
    """It may lack settings that came later."""
    data, whole, path = kept
    content = load_checkpoint(path)
    for lacking in ("stages", "memoryless", "code", "format", "versions"):
        del content[lacking]
    del content["training"]["polish_iterations"]
    save_checkpoint(tmp_path / "older.pt", content)
    again = learn(data, path=tmp_path / "older.pt")
    assert "the training begins anew" in caplog.text
    assert again.history == whole.history


def test_what_is_no_model_and_what_is_no_training(dataset, tmp_path, monkeypatch):
    path, save = tmp_path / "run.pt", training._save
    with pytest.raises(CheckpointError, match="no such file"):
        load_model(path)
    torch.save({"something": "else"}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_model(path)
    save_checkpoint(path, {"weights": {}})
    with pytest.raises(CheckpointError, match="a training cannot be continued from it"):
        learn(dataset, path=path)
    path.unlink()
    monkeypatch.setattr(training, "_save", lambda run, *to: save(run, *to) if run.stage != "done" else None)
    learn(dataset, path=path)
    with pytest.raises(CheckpointError, match="interrupted"):
        load_model(path)


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_no_pickled_code_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"format": 1, "weights": Harmful()}, "bad.pt")
    with pytest.raises(CheckpointError):
        load_model("bad.pt")
    assert not os.path.exists("harm")


def test_checkpoints_appear_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    save_checkpoint(path, {"value": 1})

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(path, {"value": 2})
    assert load_checkpoint(path)["value"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_horizon_grows_in_the_signals_own_units(kept):
    data, run, _ = kept
    horizons = run.history["horizon"]
    grown, annealed, extended = (run.stage_ends[stage.__name__] for stage in (grow, anneal, extend))
    assert horizons[0] == 23  # a period of 9 Hz at 200 Hz
    assert horizons == sorted(horizons)
    assert set(horizons[grown:annealed]) == {80}  # 0.8 periods of 2 Hz
    assert annealed - grown == QUICK.anneal_updates
    assert run.horizon == data.spec.n_samples
    assert len(horizons) == run.updates == extended == run.stage_ends["polish"]
    at_once = learn(data, stages=RECIPE[1:])
    assert at_once.history["horizon"] == [data.spec.n_samples] * QUICK.anneal_updates


def test_growth_ends_at_its_limit(dataset):
    with pytest.warns(TrainingWarning, match=r"horizon 23 of 120 samples after 90 updates; try another weight_seed"):
        run = learn(dataset, QUICK.but(grow_below=1e-12))
    assert not run.succeeded
    assert run.stage_ends["grow"] == QUICK.max_updates
    assert set(run.history["horizon"]) == {23}


def test_a_training_that_diverges_says_so(dataset):
    with pytest.warns(TrainingWarning, match="the training did not succeed"):
        run = learn(dataset, QUICK.but(learning_rate=1e30, phase_step=1e30, grow_below=1e-3))
    assert not run.succeeded


def test_the_recipe_does_not_depend_on_the_unit_of_time():
    """Twice the frequencies at twice the sample rate, for half the time, are the same samples: the same bits."""
    slow = SignalSpec(frequencies=(2.0, 5.0), sample_rate=128.0, duration=1.0)
    fast = SignalSpec(frequencies=(4.0, 10.0), sample_rate=256.0, duration=0.5)
    runs = [learn(FrequencyDataset(spec, 1)) for spec in (slow, fast)]
    assert runs[0].history == runs[1].history
    assert bits(runs[0].model) == bits(runs[1].model)


def test_learning_rate_follows_the_horizon():
    config = TrainingConfig(learning_rate=1e-2, phase_step=1.0)
    assert rate_at(config, 50) == 1e-2
    assert rate_at(config, 1000) == pytest.approx(1e-3)
    assert (cosine(0.0), cosine(1.0)) == pytest.approx((1, FINAL_RATE))


def test_weights_from_the_signal_are_zero_unless_they_are_trained(kept):
    data, deaf, _ = kept
    assert not signal_weights(deaf.model).any()
    silent = torch.cat([torch.zeros_like(data.inputs[..., :1]), data.inputs[..., 1:]], dim=-1)
    assert torch.equal(roll_out(deaf.model, data.inputs, 20), roll_out(deaf.model, silent, 20))
    assert signal_weights(learn(data, QUICK.but(train_signal_weights=True)).model).all()


def test_pairs_of_units_turn_at_their_speeds(spec):
    """The step linearized at rest: its eigenvalues lie on the unit circle, at angles from slow to fast."""
    model = StatefulLSTMExtractor(n_frequencies=3, hidden_size=8)
    prepare_weights(model, TrainingConfig(), spec)
    for name in ("weight_ih_l0", "bias_hh_l0", "bias_ih_l0"):
        model.lstm.get_parameter(name).data.zero_()
    model.lstm.bias_ih_l0.data[8:16] = 3.0
    model.lstm.weight_hh_l0.data[:16] = model.lstm.weight_hh_l0.data[24:] = 0
    turning = [value for value in step_at_rest(model) if abs(value) > 0.5 and value.imag > 0]
    assert [abs(value) for value in turning] == pytest.approx([1.0] * 4, abs=2e-3)
    angles = torch.as_tensor(turning).angle().sort().values
    place = (torch.arange(4) + 0.5) / 4
    assert torch.allclose(angles.float(), 2 * torch.pi / 200 * 1.0 * 18.0**place, rtol=1e-3)


def test_phase_rates_see_the_rate_alone():
    spec = SignalSpec(frequencies=(1.3, 4.0), sample_rate=300.0, duration=5.0)
    rows, time = phase_rates(spec), spec.time
    for lane, frequency in enumerate(spec.frequencies):
        angle = 2 * torch.pi * frequency * time
        for output, rate in (
            (torch.sin(torch.as_tensor(angle + 1e-4 * time + 1e-3)), 1e-4),
            (torch.as_tensor(1 + 1e-3 * time) * torch.sin(torch.as_tensor(angle)), 0.0),
            (torch.as_tensor(spec.targets[lane]) + 0.01 * torch.sin(torch.as_tensor(3 * angle + 1)) + 0.02, 0.0),
        ):
            assert rows[lane] @ (output.numpy() - spec.targets[lane]) == pytest.approx(rate, rel=1e-3, abs=1e-9)
    short = phase_rates(spec.but(duration=2.0))  # 1.3 periods of the first in the second half
    assert not short[0].any()
    assert short[1].any()


def test_polishing_changes_the_head_alone_and_lowers_the_error(dataset):
    weights = {}

    def note(run):
        weights.update({name: value.clone() for name, value in run.model.state_dict().items()})
        return ()

    after = learn(dataset, stages=(*RECIPE[:-1], note, polish))
    assert after.validation["mse"][-1] < after.validation["mse"][-2]
    for name, value in after.model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, weights[name]) != name.startswith("head")


def test_what_train_refuses(dataset):
    with pytest.raises(ValueError, match="must not contain the training noise seed 1"):
        learn(dataset, QUICK.but(validation_noise_seeds=(1, 5)))
    with pytest.raises(ValueError, match="memoryless = True: needs batches of one sample"):
        learn(dataset, memoryless=True)
