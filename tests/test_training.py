import os
import subprocess
import sys
import time
import warnings

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
from lib.lessons.n03_policies import detach_every, train_policy
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
    tune,
)

SMALL = ModelConfig(hidden_size=6, head_size=5)
QUICK = TrainingConfig(
    max_updates=60, anneal_updates=30, learn_periods=0.8, grow_below=10.0, validate_every=7, polish_iterations=20
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
@pytest.mark.parametrize("crash_at", [3, 14, 25, 37, 41])
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
config = TrainingConfig(grow_below=0.6, validate_every=10, anneal_updates=400, polish_iterations=5)
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


def test_horizon_grows_in_the_signals_own_units(dataset):
    run = train(dataset, QUICK, SMALL, progress_bar=False)
    horizons = run.history["horizon"]
    grown, annealed, extended = (run.stage_ends[stage.__name__] for stage in (grow, anneal, extend))
    assert horizons[0] == 23  # a period of 9 Hz at 200 Hz
    assert horizons == sorted(horizons)
    assert set(horizons[grown:annealed]) == {80}  # 0.8 periods of 2 Hz
    assert annealed - grown == QUICK.anneal_updates
    assert run.horizon == dataset.spec.n_samples
    assert len(horizons) == run.updates == extended == run.stage_ends["polish"]
    assert run.stage == "done"


def test_growth_ends_at_its_limit(dataset):
    with pytest.warns(TrainingWarning, match=r"horizon 23 of 120 samples after 90 updates; try another weight_seed"):
        run = train(dataset, QUICK.but(grow_below=1e-12), SMALL, progress_bar=False)
    assert not run.succeeded
    assert run.stage_ends["grow"] == QUICK.max_updates
    assert set(run.history["horizon"]) == {23}


def test_the_recipe_does_not_depend_on_the_unit_of_time():
    """Twice the frequencies at twice the sample rate, for half the time, are the same samples: the same bits."""
    slow = SignalSpec(frequencies=(2.0, 5.0), sample_rate=128.0, duration=1.0)
    fast = SignalSpec(frequencies=(4.0, 10.0), sample_rate=256.0, duration=0.5)
    runs = [train(FrequencyDataset(spec, 1), QUICK, SMALL, progress_bar=False) for spec in (slow, fast)]
    assert runs[0].history == runs[1].history
    assert bits(runs[0].model) == bits(runs[1].model)


def test_stages_can_be_left_out(dataset):
    """As an ablation does: without growth, the whole recording is there from the start."""
    run = train(dataset, QUICK, SMALL, progress_bar=False, stages=(grow, extend))
    assert run.history["horizon"][-1] < run.horizon == dataset.spec.n_samples
    at_once = train(dataset, QUICK, SMALL, progress_bar=False, stages=RECIPE[1:])
    assert at_once.history["horizon"] == [dataset.spec.n_samples] * QUICK.anneal_updates


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


def test_polishing_sees_every_sample_of_a_coarse_signal(monkeypatch):
    coarse = FrequencyDataset(SignalSpec(frequencies=(10.0,), sample_rate=30.0, duration=4.0), 1)
    seen = []
    loss = torch.nn.functional.mse_loss
    monkeypatch.setattr(torch.nn.functional, "mse_loss", lambda y, t: seen.append(y.shape[1]) or loss(y, t))
    train(coarse, QUICK, SMALL, progress_bar=False, stages=(polish,))
    assert coarse.spec.n_samples in seen


def test_learning_rate_follows_the_horizon():
    config = TrainingConfig(learning_rate=1e-2, phase_step=1.0)
    assert rate_at(config, 50) == 1e-2
    assert rate_at(config, 1000) == pytest.approx(1e-3)
    assert cosine(0.0) == pytest.approx(1)
    assert cosine(1.0) == pytest.approx(FINAL_RATE)


def test_policies_cross_as_many_samples_as_they_say(dataset, monkeypatch):
    seen = {}
    update = recipe.update
    for way in WAYS:
        steps = []

        def note(run, batch, rate, steps=steps):
            steps.append(batch.x.shape[1])
            return update(run, batch, rate)

        intercept(monkeypatch, note)
        with warnings.catch_warnings(action="ignore", category=TrainingWarning):
            learn(way, dataset, QUICK.but(grow_below=1e-9))
        monkeypatch.undo()
        seen[way] = steps[:30]
    assert set(seen["reset every sample"]) == set(seen["detach every step"]) == {1}
    assert seen["detach every 50"][:6] == [50, 50, 20] * 2
    assert set(seen["recipe"]) == {23}


def test_policies_are_known_by_their_names(dataset):
    run = train_policy("reset every sample", dataset, QUICK, SMALL, progress_bar=False)
    assert run.memoryless
    assert run.updates == QUICK.max_updates
    assert bits(run.model) == bits(learn("reset every sample", dataset).model)
    with pytest.raises(ValueError, match="policy = 'none': must be one of reset every sample"):
        train_policy("none", dataset, QUICK)


def test_policies_anneal_at_the_end_of_their_updates(dataset):
    rates = learn("detach every 50", dataset).history["learning_rate"]
    assert rates[:31] == [rate_at(QUICK, 50)] * 31
    assert rates[-30:] == sorted(rates[-30:], reverse=True)
    assert rates[-1] < 0.1 * rates[0]


def test_weights_from_the_signal_are_zero_unless_they_are_trained(dataset):
    deaf = train(dataset, QUICK, SMALL, progress_bar=False)
    assert not signal_weights(deaf.model).any()
    quiet = torch.zeros_like(dataset.inputs[..., :1])
    silent = torch.cat([quiet, dataset.inputs[..., 1:]], dim=-1)
    assert torch.equal(roll_out(deaf.model, dataset.inputs, 20), roll_out(deaf.model, silent, 20))
    listening = train(dataset, QUICK.but(train_signal_weights=True), SMALL, progress_bar=False)
    assert signal_weights(listening.model).all()


def test_pairs_of_units_turn_at_their_speeds(spec):
    """The step linearized at rest: its eigenvalues lie on the unit circle, at angles from slow to fast."""
    model = StatefulLSTMExtractor(n_frequencies=3, hidden_size=8)
    prepare_weights(model, TrainingConfig(), spec)
    for name in ("weight_ih_l0", "bias_hh_l0", "bias_ih_l0"):
        model.lstm.get_parameter(name).data.zero_()
    model.lstm.bias_ih_l0.data[8:16] = 3.0
    model.lstm.weight_hh_l0.data[:16] = model.lstm.weight_hh_l0.data[24:] = 0

    def step(c):
        return model.lstm(torch.zeros(1, 1, 4), (c[None, None] / 2, c[None, None]))[1][1][0, 0]

    angles = torch.linalg.eigvals(torch.func.jacrev(step)(torch.zeros(8))).angle().sort().values[4:]
    place = (torch.arange(4) + 0.5) / 4
    assert torch.allclose(angles, 2 * torch.pi / 200 * 1.0 * 18.0**place, rtol=1e-3)


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


def test_tuning_sets_the_clock():
    """A network that keeps time is detuned; tuning brings its rates back, and changes nothing else."""
    spec = SignalSpec(frequencies=(2.0, 5.0), sample_rate=100.0, duration=5.0)
    data = FrequencyDataset(spec, 1)
    rows = torch.as_tensor(phase_rates(spec)).float()

    def rates(model):
        return (rows * (roll_out(model, data.inputs, 500) - data.targets)[..., 0]).sum(dim=1).abs()

    def detune(run):
        run.model.lstm.weight_ih_l0.data[:, 1:] *= 1.00005
        measured.append(rates(run.model).max())
        return ()

    measured = []
    config = TrainingConfig(polish_iterations=100)
    run = train(
        data,
        config,
        ModelConfig(hidden_size=16),
        progress_bar=False,
        stages=(grow, anneal, extend, detune, tune, polish),
    )
    assert run.succeeded
    assert rates(run.model).max() < 0.01 * measured[0]


def test_polishing_changes_the_head_alone_and_lowers_the_error(dataset):
    weights = {}

    def note(run):
        weights.update({name: value.clone() for name, value in run.model.state_dict().items()})
        return ()

    after = train(dataset, QUICK, SMALL, progress_bar=False, stages=(*RECIPE[:-1], note, polish))
    assert after.validation["mse"][-1] < after.validation["mse"][-2]
    for name, value in after.model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, weights[name]) != name.startswith("head")


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
    config = TrainingConfig(anneal_updates=200, polish_iterations=200)
    run = train(FrequencyDataset(spec, 1), config, ModelConfig(hidden_size=16), progress_bar=False)
    assert run.succeeded
    assert run.best_mse < 1e-5


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


def test_a_training_that_diverges_says_so(dataset):
    wild = QUICK.but(learning_rate=1e30, phase_step=1e30, grow_below=1e-3)
    with pytest.warns(TrainingWarning, match="the training did not succeed"):
        run = train(dataset, wild, SMALL, progress_bar=False)
    assert not run.succeeded


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
