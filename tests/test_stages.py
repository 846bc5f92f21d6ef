"""What notebook 03 shows of the recipe, on a training of seconds."""

import numpy as np
import pytest
import torch

from lib import FrequencyDataset, ModelConfig, SignalSpec, StatefulLSTMExtractor, TrainingConfig, train
from lib.lessons import n03_plots as plots
from lib.lessons.stages import by_variant, detuned_and_tuned, fits_of_a_new_head, step_at_rest
from lib.recipe import prepare_weights

SPEC = SignalSpec(frequencies=(2.0, 5.0), sample_rate=100.0, duration=5.0)


@pytest.fixture(scope="module")
def run():
    config = TrainingConfig(polish_iterations=100)
    return train(FrequencyDataset(SPEC, 1), config, ModelConfig(hidden_size=16), progress_bar=False)


def test_tuning_brings_the_clocks_back_and_leaves_the_run_alone(run):
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    found = detuned_and_tuned(run, stretch=1.001)
    worst = {name: np.abs(ppm).max() for name, ppm in found.items()}
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


def test_figures_say_what_they_show(run):
    for picture, told in (
        (plots.history(run, SPEC), "the stages end at grow"),
        (plots.growth(run, SPEC), "one period of 5 Hz"),
        (plots.annealing(run), "falls along a cosine"),
        (plots.strips({"a": [1e-3, 2e-3]}, "validation MSE", [1e-4, 2e-4]), "a 1e-03 to 2e-03"),
    ):
        assert told in picture.alt


def test_results_are_gathered_by_variant():
    results = {"a, weight seed 0": 1, "a, weight seed 1": 2, "b, weight seed 0": 3}
    assert by_variant(results) == {"a": [1, 2], "b": [3]}
