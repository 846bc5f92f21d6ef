import math
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
    load_model,
    recipe,
    roll_out,
    train,
    training,
)
from lib.checkpoint import load_checkpoint, save_checkpoint
from lib.lessons import policies
from lib.lessons.policies import detach_every, train_policy
from lib.recipe import RECIPE, cosine, grow, polish_head, prepare_weights, rate_at, settle, signal_weights, threshold

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
WAYS = {  # stages, and whether the state is reset before every sample
    "recipe": (RECIPE, False),
    "reset every sample": ((detach_every(1),), True),
    "detach every step": ((detach_every(1),), False),
    "detach every 50": ((detach_every(50),), False),
}


def learn(way, dataset, config=QUICK, shape=SMALL, path=None):
    stages, memoryless = WAYS[way]
    return train(dataset, config, shape, path, progress_bar=False, stages=stages, memoryless=memoryless)


def intercept(patch, replacement):
    """Put ``replacement`` in the place of the one update that all ways of training share."""
    for module in (recipe, policies):
        patch.setattr(module, "update", replacement)


def bits(model):
    return {name: value.tolist() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("way", WAYS)
def test_same_seed_same_bits(dataset, way):
    runs = [learn(way, dataset) for _ in range(2)]
    assert bits(runs[0].model) == bits(runs[1].model)
    assert runs[0].history == runs[1].history
    other = learn(way, dataset, QUICK.but(weight_seed=1))
    assert bits(other.model) != bits(runs[0].model)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("crash_at", [3, 14, 25, 31, 37])
def test_a_killed_run_ends_with_the_same_bits(dataset, tmp_path, monkeypatch, way, crash_at):
    shape = SMALL.but(num_layers=2, dropout=0.2)  # dropout draws from the random state, which must be restored
    whole = learn(way, dataset, shape=shape)
    path = tmp_path / "run.pt"
    update = recipe.update

    def crash(run, batch, rate):
        if run.updates == crash_at:
            raise KeyboardInterrupt
        return update(run, batch, rate)

    with monkeypatch.context() as patch:
        intercept(patch, crash)
        with pytest.raises(KeyboardInterrupt):
            learn(way, dataset, shape=shape, path=path)
    torch.rand(5)  # somebody else uses the random state meanwhile
    resumed = learn(way, dataset, shape=shape, path=path)
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
    process.kill()
    process.wait()
    assert 0 < len(load_checkpoint(path)["progress"]["history"]["loss"]) < 400
    resumed = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True).stdout
    path.unlink()
    whole = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True).stdout
    assert resumed == whole != ""


def test_a_finished_run_is_returned_as_it_is(dataset, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    first = train(dataset, QUICK, SMALL, path, progress_bar=False)
    intercept(monkeypatch, None)  # would fail if it were called
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
    assert len(horizons) == run.updates == run.stage_start < 60
    assert run.stage == "done"
    never = train(dataset, QUICK.but(grow_below=1e-12), SMALL, progress_bar=False)
    assert never.updates == 60
    assert never.history["horizon"][29] == 20
    assert never.history["horizon"][30:] == [dataset.spec.n_samples] * 30


def test_stages_can_be_left_out(dataset):
    """As an ablation does; a checkpoint of other stages is not gone on with."""
    run = train(dataset, QUICK, SMALL, progress_bar=False, stages=(grow, settle))
    assert run.updates == run.history["horizon"].index(dataset.spec.n_samples) + QUICK.settle_updates
    at_once = train(dataset, QUICK, SMALL, progress_bar=False, stages=RECIPE[1:])
    assert set(at_once.history["horizon"]) == {dataset.spec.n_samples}


def test_a_checkpoint_of_other_stages_is_refused(dataset, tmp_path):
    path = tmp_path / "run.pt"
    learn("detach every 50", dataset, path=path)
    with pytest.raises(CheckpointError, match=r"stages = \['detach_every_50'\], but \['grow', 'anneal'"):
        learn("recipe", dataset, path=path)


def test_an_interrupted_training_is_no_model(dataset, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    save = training._save
    monkeypatch.setattr(training, "_save", lambda run, *to: save(run, *to) if run.stage != "done" else None)
    train(dataset, QUICK, SMALL, path, progress_bar=False)
    with pytest.raises(CheckpointError, match="interrupted"):
        load_model(path)


def test_a_finished_model_is_no_training(dataset, tmp_path):
    path = tmp_path / "model.pt"
    save_checkpoint(path, {"weights": {}})
    with pytest.raises(CheckpointError, match="a training cannot be continued from it"):
        train(dataset, QUICK, SMALL, path, progress_bar=False)


def test_polishing_sees_every_sample_of_a_coarse_signal():
    coarse = FrequencyDataset(SignalSpec(frequencies=(10.0,), sample_rate=30.0, duration=4.0), 1)
    model = StatefulLSTMExtractor(n_frequencies=1, hidden_size=4, head_size=4)
    said = polish_head(model, coarse, 30)
    true = torch.nn.functional.mse_loss(roll_out(model, coarse.inputs), coarse.targets).item()
    assert said == pytest.approx(true, rel=1e-3, abs=1e-9)


def test_learning_rate_follows_the_horizon():
    config = TrainingConfig(learning_rate=1e-2, first_horizon=100, rate_exponent=1.0, final_rate=0.1)
    assert rate_at(config, 50) == pytest.approx(1e-2)
    assert rate_at(config, 1000) == pytest.approx(1e-3)
    assert cosine(config, 0.0) == pytest.approx(1)
    assert cosine(config, 1.0) == pytest.approx(0.1)
    assert threshold(config, 0.5) == pytest.approx(config.grow_below)
    assert threshold(config, 2.0) == pytest.approx(config.grow_below / 4)


def test_policies_cross_as_many_samples_as_they_say(dataset, monkeypatch):
    seen = {}
    update = recipe.update
    for way in WAYS:
        steps = []

        def note(run, batch, rate, steps=steps):
            steps.append(batch.x.shape[1])
            return update(run, batch, rate)

        intercept(monkeypatch, note)
        learn(way, dataset, QUICK.but(grow_below=1e-9))
        monkeypatch.undo()
        seen[way] = steps[:30]
    assert set(seen["reset every sample"]) == set(seen["detach every step"]) == {1}
    assert seen["detach every 50"][:6] == [50, 50, 20] * 2
    assert set(seen["recipe"]) == {20}


def test_policies_are_known_by_their_names(dataset):
    run = train_policy("reset every sample", dataset, QUICK, SMALL, progress_bar=False)
    assert run.memoryless
    assert run.updates == QUICK.max_updates
    assert bits(run.model) == bits(learn("reset every sample", dataset).model)
    with pytest.raises(ValueError, match="policy = 'none': must be one of reset every sample"):
        train_policy("none", dataset, QUICK)


def test_policies_anneal_at_the_end_of_their_updates(dataset):
    rates = learn("detach every 50", dataset).history["learning_rate"]
    assert rates[:41] == [rate_at(QUICK, 50)] * 41
    assert rates[-20:] == sorted(rates[-20:], reverse=True)
    assert rates[-1] < 0.05 * rates[0]


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
    assert run.best_mse < 1e-2


def test_a_checkpoint_of_older_code_begins_anew(dataset, tmp_path, caplog):
    """It may lack settings that came later."""
    path = tmp_path / "run.pt"
    whole = train(dataset, QUICK, SMALL, path, progress_bar=False)
    content = load_checkpoint(path)
    for lacking in ("stages", "memoryless", "code"):
        del content[lacking]
    del content["training"]["polish_iterations"]
    save_checkpoint(path, {name: value for name, value in content.items() if name not in ("format", "versions")})
    again = train(dataset, QUICK, SMALL, path, progress_bar=False)
    assert "the training begins anew" in caplog.text
    assert again.history == whole.history


def test_a_training_that_diverges_says_so(dataset, caplog):
    wild = QUICK.but(learning_rate=1e25)
    run = train(dataset, wild, SMALL, progress_bar=False, stages=RECIPE[:2])  # a fitted head could help
    assert run.best_mse == math.inf
    assert "the weights are the initial ones" in caplog.text


def test_memoryless_needs_batches_of_one_sample(dataset):
    with pytest.raises(ValueError, match="memoryless = True: needs batches of one sample"):
        train(dataset, QUICK, SMALL, progress_bar=False, memoryless=True)


def test_a_policy_after_a_stage_begins_with_its_own_first_batch(dataset, monkeypatch):
    first = []
    update = recipe.update

    def note(run, batch, rate):
        first.append((run.stage, batch.is_first_batch))
        return update(run, batch, rate)

    intercept(monkeypatch, note)
    train(dataset, QUICK, SMALL, progress_bar=False, stages=(grow, detach_every(50)))
    assert next(begins for stage, begins in first if stage == "detach_every_50")


def test_a_stage_of_ones_own_can_be_kept_in_a_checkpoint(dataset, tmp_path):
    def few(run):
        for _ in range(3):
            yield recipe.update(run, run.from_reset, 1e-3)

    run = train(dataset, QUICK, SMALL, tmp_path / "run.pt", progress_bar=False, stages=(few,))
    assert run.updates == 3
    assert load_checkpoint(tmp_path / "run.pt")["stages"] == ["few"]
