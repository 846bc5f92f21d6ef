"""Notebook 03: the policies that fail, and what the recipe's stages do, on trainings of seconds."""

import numpy as np
import pytest
import torch

from lib import FrequencyDataset, ModelConfig, SignalSpec, StatefulLSTMExtractor, TrainingConfig, recipe, train
from lib.lessons import n03_plots as plots
from lib.lessons import n03_policies as policies
from lib.lessons.n03_policies import detach_every, detuned_and_tuned, fits_of_a_new_head, step_at_rest, train_policy
from lib.recipe import grow, prepare_weights, rate_at

SPEC = SignalSpec(frequencies=(2.0, 5.0), sample_rate=100.0, duration=5.0)
QUICK = TrainingConfig(max_updates=60, anneal_updates=30, learn_periods=0.8, grow_below=10.0, polish_iterations=20)
SMALL = ModelConfig(hidden_size=6, head_size=5)


@pytest.fixture(scope="module")
def run():
    config = TrainingConfig(polish_iterations=100)
    return train(FrequencyDataset(SPEC, 1), config, ModelConfig(hidden_size=16), progress_bar=False)


def test_a_small_task_is_learnt_and_drawn(run):
    assert run.succeeded
    assert run.best_mse < 1e-4
    for picture, told in (
        (plots.history(run, SPEC), "the stages end at grow"),
        (plots.growth(run, SPEC), "one period of 5 Hz"),
        (plots.starts({"one": [run], "two": [run], "three": [run]}, SPEC), "three: to "),
        (
            plots.valleys(np.array([1.0, 3.0]), {"1 s": np.array([1.0, 0.0]), "9 s": np.array([1.0, 0.0])}, 3.0),
            "zero at 3",
        ),
        (plots.strips({"a": [1e-3, 2e-3]}, "validation MSE", [1e-4, 2e-4]), "a 1e-03 to 2e-03"),
    ):
        assert told in picture.alt


def test_tuning_brings_the_clocks_back_and_leaves_the_run_alone(run):
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    worst = {name: np.abs(ppm).max() for name, ppm in detuned_and_tuned(run, stretch=1.001).items()}
    assert worst["selector's weights changed"] > 10 * worst["tuned again"]
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())


def test_both_fits_begin_at_the_same_loss(run):
    losses = fits_of_a_new_head(run, 30)
    assert losses["Adam"][0] == pytest.approx(losses["L-BFGS"][0], rel=1e-9)
    assert len(losses["Adam"]) == len(losses["L-BFGS"])
    assert min(losses["L-BFGS"]) < min(losses["Adam"])


def test_the_step_at_rest_of_a_network_that_only_remembers():
    """Without weights, c' = σ(3) c and h' = c' / 2 in every unit."""
    model = StatefulLSTMExtractor(n_frequencies=2, hidden_size=4)
    for weight in model.lstm.parameters():
        weight.data.zero_()
    model.lstm.bias_ih_l0.data[4:8] = 3.0
    kept = 1 / (1 + np.exp(-3.0))
    assert np.sort(step_at_rest(model).real) == pytest.approx([0.0] * 4 + [kept] * 4, abs=1e-6)
    prepare_weights(model, TrainingConfig(), SPEC)
    assert np.abs(step_at_rest(model)).max() > kept


@pytest.mark.parametrize(
    ("policy", "steps"),
    [
        ("reset every sample", {1}),
        ("carry, detach every step", {1}),
        ("carry, detach every 200", {120}),  # the recording is shorter
    ],
)
def test_policies_cross_as_many_samples_as_they_say(dataset, policy, steps):
    run = train_policy(policy, dataset, QUICK, SMALL, progress_bar=False)
    assert set(run.history["horizon"]) == steps
    assert run.memoryless == (policy == "reset every sample")
    rates = run.history["learning_rate"]
    assert rates[:31] == [rate_at(QUICK, *steps)] * 31, "constant at first"
    assert rates[-30:] == sorted(rates[-30:], reverse=True)
    assert rates[-1] < 0.1 * rates[0]
    with pytest.raises(ValueError, match="policy = 'none': must be one of reset every sample"):
        train_policy("none", dataset, QUICK)


def test_a_pass_is_cut_into_batches_and_begins_with_the_first_after_another_stage(dataset, monkeypatch):
    seen, update = [], recipe.update

    def note(run, batch, rate):
        seen.append((batch.x.shape[1], batch.is_first_batch))
        return update(run, batch, rate)

    monkeypatch.setattr(policies, "update", note)
    train(dataset, QUICK, SMALL, progress_bar=False, stages=(grow, detach_every(50)))
    assert seen[:6] == [(50, True), (50, False), (20, False)] * 2
