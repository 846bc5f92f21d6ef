"""What notebooks 04 and 05 measure with: known signals must come out."""

import numpy as np
import pytest

from lib import FrequencyDataset, SignalSpec, load_model
from lib.lessons import n04_evaluation as evaluation
from lib.lessons import n04_plots as plots
from lib.lessons.n01_plots import gains
from lib.lessons.n05_generalization import after_switches, between_selectors
from lib.lessons.n05_plots import trainings
from lib.lessons.tables import markdown_table, metrics_table

SPEC = SignalSpec()


def test_what_returns_is_told_from_noise():
    noise = np.random.default_rng(0).normal(0, 1, SPEC.n_samples)
    returning = np.sin(2 * np.pi * 5 * SPEC.time) + np.cos(2 * np.pi * 15 * SPEC.time)
    assert evaluation.returning_share(returning, 5, 1000) == pytest.approx(1)
    assert evaluation.returning_share(noise, 5, 1000) < 0.05  # folded fifty times
    assert evaluation.returning_share(returning + noise, 5, 1000) == pytest.approx(0.5, abs=0.05)
    at_last = 1e-3 * np.sin(2 * np.pi * 4 * np.arange(3333) / 333.3)  # returns after 3,333 samples, nearly after 83
    assert evaluation.returning_share(at_last, 1, 333.3) > 0.99
    assert np.isnan(evaluation.returning_share(noise[:1500], 1, 1000))  # shorter than two periods


def test_a_push_changes_the_phase_for_good():
    model, dataset = load_model(), FrequencyDataset(SPEC, 2)
    amplitude, phase = evaluation.pushes(model, dataset, lane=1, count=5)
    assert np.abs(amplitude[3]).max() < 0.01 * np.abs(amplitude[0]).max()
    assert np.abs(phase[3]).max() > 0.1
    assert phase[3] == pytest.approx(phase[2], abs=0.01)
    assert model.hidden_state is None


def test_a_known_selector_gives_its_sine_from_reset_and_after_a_switch():
    model = load_model()
    places, found = between_selectors(model, SPEC, np.array([0.0, 0.5]))
    np.testing.assert_array_equal(places, [0, 0.5, 1, 1.5, 2, 2.5, 3])
    assert found[::2] == pytest.approx(SPEC.frequencies, abs=0.05)
    switched = after_switches(model, SPEC, 1, [2000, 2130])  # 3 Hz, which has a single loop
    assert switched.shape == (3, 2)
    assert switched == pytest.approx(3, abs=0.06)


def test_figures_say_what_they_show():
    spec = SignalSpec(frequencies=(1.0, 7.0))
    error = 1e-3 * np.sin(2 * np.pi * np.outer([2, 14], spec.time))
    alt = plots.error_by_period(spec, error**2).alt
    assert "1 Hz 5e-07, 7 Hz 5e-07. In the last: 1 Hz 5e-07, 7 Hz 5e-07" in alt  # whole periods: no zigzag
    assert "1 Hz within ±1e-03" in plots.error_by_phase(spec, error[:, 250:]).alt
    alt = trainings({"one": [(1e-6, np.array([1e-6, 2e-6]))], "two": [(1e-6, np.full(5, 1e-6))]}).alt
    assert "one: own 1e-06 to 1e-06, unseen 1e-06 to 2e-06; two: own 1e-06 to 1e-06, unseen 1e-06 to 1e-06" in alt
    assert "α = 1: 0.5" in gains(np.array([0, 1]), [1, 0], [1, 0], (0, 1), np.array([[0.0], [0.5]])).alt


def test_tables():
    assert markdown_table(["a", "b"], [["x", 1]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
    row = {"mse": 1e-6, "rmse": 1e-3, "mae": 1e-3, "r2": 1.0, "correlation": 1.0, "snr_db": 60.0}
    assert "| 3 Hz | 1.0e-06 |" in metrics_table({"3 Hz": row})
