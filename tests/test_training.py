import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from lib import (
    CheckpointError,
    FrequencyDataset,
    ModelConfig,
    SettingsError,
    SignalSpec,
    StatefulLSTMExtractor,
    TrainingConfig,
    load_model,
    roll_out,
    train,
)
from lib.checkpoint import load_checkpoint, save_checkpoint
from lib.recipe import grows, learning_rate, polish_head, prepare_weights, signal_weights
from lib.training import _Trainer

SMALL = ModelConfig(hidden_size=6, head_size=5)
QUICK = TrainingConfig(
    max_updates=60,
    anneal_updates=20,
    first_horizon=20,
    grow_below=10.0,
    validate_every=10,
    checkpoint_every=7,
    polish_iterations=20,
    settle_updates=10,
)
POLICIES = ["reset_every_sample", "detach_every_step", "detach_every_k", "growing_horizon"]


def bits(model):
    return {name: value.tolist() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("policy", POLICIES)
def test_same_seed_same_bits(dataset, policy):
    config = QUICK.but(policy=policy, detach_every=30)
    runs = [train(dataset, config, SMALL, progress_bar=False) for _ in range(2)]
    assert bits(runs[0].model) == bits(runs[1].model)
    assert runs[0].history == runs[1].history
    other = train(dataset, config.but(weight_seed=1), SMALL, progress_bar=False)
    assert bits(other.model) != bits(runs[0].model)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("crash_at", [3, 14, 25, 31])
def test_a_killed_run_ends_with_the_same_bits(dataset, tmp_path, monkeypatch, policy, crash_at):
    config = QUICK.but(policy=policy, detach_every=50)
    shape = SMALL.but(num_layers=2, dropout=0.2)  # dropout draws from the random state, which must be restored
    whole = train(dataset, config, shape, progress_bar=False)
    path = tmp_path / "run.pt"
    update = _Trainer._update

    def crash(self, batch):
        if self.progress.update == crash_at:
            raise KeyboardInterrupt
        return update(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(_Trainer, "_update", crash)
        with pytest.raises(KeyboardInterrupt):
            train(dataset, config, shape, path, progress_bar=False)
    torch.rand(5)  # somebody else uses the random state meanwhile
    resumed = train(dataset, config, shape, path, progress_bar=False)
    assert bits(resumed.model) == bits(whole.model)
    assert resumed.history == whole.history
    assert resumed.validation == whole.validation
    assert bits(load_model(path)) == bits(whole.model)


def test_a_run_killed_from_outside_goes_on(tmp_path):
    """kill -9 in mid-run, as the operating system does it."""
    path = tmp_path / "run.pt"
    code = f"""
from lib import *
spec = SignalSpec(frequencies=(2.0, 5.0), sample_rate=200.0, duration=2.0)
stages = dict(max_updates=400, anneal_updates=50, polish_iterations=5, settle_updates=20)
config = TrainingConfig(grow_below=1.0, checkpoint_every=10, **stages)
run = train(FrequencyDataset(spec, 1), config, ModelConfig(hidden_size=8), {str(path)!r}, progress_bar=False)
print(sum(p.double().sum().item() for p in run.model.parameters()).hex())
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < load_checkpoint(path)["progress"]["update"] < 400
    resumed = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True).stdout
    path.unlink()
    whole = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True).stdout
    assert resumed == whole != ""


def test_a_finished_run_is_returned_as_it_is(dataset, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    first = train(dataset, QUICK, SMALL, path, progress_bar=False)
    monkeypatch.setattr(_Trainer, "_update", None)  # would fail if it were called
    again = train(dataset, QUICK, SMALL, path, progress_bar=False)
    assert bits(again.model) == bits(first.model)
    assert again.history == first.history


def test_a_checkpoint_of_another_configuration_is_refused(dataset, tmp_path):
    path = tmp_path / "run.pt"
    train(dataset, QUICK, SMALL, path, progress_bar=False)
    with pytest.raises(CheckpointError, match=r"training = {'weight_seed': 0}, but {'weight_seed': 5} is asked for"):
        train(dataset, QUICK.but(weight_seed=5), SMALL, path, progress_bar=False)
    with pytest.raises(CheckpointError, match="train_noise_seed"):
        train(FrequencyDataset(dataset.spec, 9), QUICK, SMALL, path, progress_bar=False)


def test_damaged_checkpoints_are_refused_by_name(dataset, tmp_path):
    path = tmp_path / "run.pt"
    train(dataset, QUICK, SMALL, path, progress_bar=False)
    whole = path.read_bytes()
    for content in (b"", b"rubbish", whole[: len(whole) // 2], whole[:-30]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"run\.pt"):
            load_model(path)
    with pytest.raises(CheckpointError, match="no such file"):
        load_model(tmp_path / "none.pt")
    torch.save({"something": "else"}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
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


def test_horizon_grows_and_annealing_ends_on_a_count(dataset):
    run = train(dataset, QUICK, SMALL, progress_bar=False)
    horizons = run.history["horizon"]
    assert horizons[0] == 20
    assert horizons[-1] == dataset.spec.n_samples
    assert horizons == sorted(horizons)
    assert len(horizons) == run.progress.update == run.progress.stage_start < 60
    assert run.progress.stage == "done"
    never = train(dataset, QUICK.but(grow_below=1e-12), SMALL, progress_bar=False)
    assert never.progress.update == 60
    assert never.history["horizon"][29] == 20
    assert never.history["horizon"][30:] == [dataset.spec.n_samples] * 30


def test_patience_stops_on_a_count(dataset):
    still = QUICK.but(policy="detach_every_step", max_updates=500, patience=20, learning_rate=1e-30)
    run = train(dataset, still.but(signal_weight_decay=0.0), SMALL, progress_bar=False)
    assert (run.progress.best_update, run.progress.update) == (10, 30)


def test_patience_must_leave_time_for_a_validation():
    with pytest.raises(SettingsError, match="patience = 5"):
        QUICK.but(patience=5)


def test_an_interrupted_training_is_no_model(dataset, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    save = _Trainer._save
    monkeypatch.setattr(_Trainer, "_save", lambda self: save(self) if not self.progress.done else None)
    train(dataset, QUICK, SMALL, path, progress_bar=False)
    with pytest.raises(CheckpointError, match="interrupted"):
        load_model(path)


def test_a_finished_model_is_no_training(dataset, tmp_path):
    path = tmp_path / "model.pt"
    save_checkpoint(path, {"weights": {}})
    with pytest.raises(CheckpointError, match="not a training"):
        train(dataset, QUICK, SMALL, path, progress_bar=False)


def test_polishing_sees_every_sample_of_a_coarse_signal():
    coarse = FrequencyDataset(SignalSpec(frequencies=(10.0,), sample_rate=30.0, duration=4.0), 1)
    model = StatefulLSTMExtractor(n_frequencies=1, hidden_size=4, head_size=4)
    said = polish_head(model, coarse, 30)
    true = torch.nn.functional.mse_loss(roll_out(model, coarse.inputs), coarse.targets).item()
    assert said == pytest.approx(true, rel=1e-3, abs=1e-9)


def test_learning_rate_follows_the_horizon():
    config = TrainingConfig(learning_rate=1e-2, first_horizon=100, rate_exponent=1.0, final_rate=0.1)
    assert learning_rate(config, "grow", 50, 7) == pytest.approx(1e-2)
    assert learning_rate(config, "anneal", 1000, 0) == pytest.approx(1e-3)
    assert learning_rate(config, "anneal", 1000, 200) == pytest.approx(1e-4)
    assert grows(config, 0.5, 0.9 * config.grow_below)
    assert not grows(config, 2.0, 0.9 * config.grow_below)


def test_policies_cross_as_many_samples_as_they_say(dataset, monkeypatch):
    seen = {}
    for policy in POLICIES:
        steps = []
        update = _Trainer._update
        monkeypatch.setattr(_Trainer, "_update", lambda s, b, u=update, n=steps: (n.append(b.x.shape[1]), u(s, b))[1])
        train(dataset, QUICK.but(policy=policy, detach_every=50, grow_below=1e-9), SMALL, progress_bar=False)
        monkeypatch.undo()
        seen[policy] = steps[:30]
    assert set(seen["reset_every_sample"]) == set(seen["detach_every_step"]) == {1}
    assert seen["detach_every_k"][:6] == [50, 50, 20] * 2
    assert set(seen["growing_horizon"]) == {20}


def test_weights_from_the_signal_decay(dataset, model):
    prepare_weights(model, TrainingConfig(signal_weight_scale=0.0))
    assert not signal_weights(model).any()
    kept = train(dataset, QUICK.but(signal_weight_decay=0.0), SMALL, progress_bar=False)
    decayed = train(dataset, QUICK.but(signal_weight_decay=0.5), SMALL, progress_bar=False)
    assert signal_weights(decayed.model).norm() < 0.1 * signal_weights(kept.model).norm()


def test_polishing_changes_the_head_alone_and_lowers_the_error(dataset, model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    error = polish_head(model, dataset, iterations=30)
    start = torch.nn.functional.mse_loss(_with(model, before, dataset), dataset.targets)
    assert error < start
    for name, value in model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, before[name]) != name.startswith("head")


def _with(model, weights, dataset):
    after = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(weights)
    y = roll_out(model, dataset.inputs, steps=50)
    model.load_state_dict(after)
    return y


def test_validation_must_see_other_noise(dataset):
    with pytest.raises(ValueError, match="must not contain the training noise seed 1"):
        train(dataset, QUICK.but(validation_noise_seeds=(1, 5)), SMALL, progress_bar=False)


def test_training_leaves_the_global_random_state_alone(dataset):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    train(dataset, QUICK, SMALL, progress_bar=False)
    assert torch.equal(torch.rand(1), expected)


def test_a_small_task_is_learnt():
    """Half a second of one slow sine, so that the whole recipe runs in seconds: growth, annealing and polishing."""
    spec = SignalSpec(frequencies=(2.0, 4.0), sample_rate=100.0, duration=1.0)
    config = TrainingConfig(max_updates=1500, anneal_updates=200, first_horizon=25, polish_iterations=200)
    run = train(FrequencyDataset(spec, 1), config, ModelConfig(hidden_size=16), progress_bar=False)
    assert run.progress.best_mse < 1e-2
