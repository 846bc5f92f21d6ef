"""What notebooks 04 and 05 measure with: known signals must come out."""

import numpy as np
import pytest

from lib import FrequencyDataset, SignalSpec, generate, load_model
from lib.lessons import between, experiments
from lib.lessons import n04_distortion as distortion
from lib.lessons import n04_plots as plots
from lib.lessons.clock import Clock, clock_table, cost_of_lateness
from lib.lessons.evaluation_plots import seeds
from lib.lessons.n01_plots import gains
from lib.lessons.n05_plots import trainings
from lib.lessons.tables import markdown_table, metrics_table, training_grid, training_scores

SPEC = SignalSpec()


def test_harmonics_of_a_known_sine():
    for frequency, rate, seconds in ((3.0, 1000.0, 2.5), (7.0, 500.0, 1.3)):
        turns = 2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate
        y = 0.9 * np.sin(turns + 1) + 0.009 * np.sin(2 * turns) + 9e-5 * np.cos(5 * turns) + 0.3
        found = distortion.harmonics(y, frequency, rate)
        assert found[0] == pytest.approx(0.9, rel=2e-2)
        if frequency == 3.0:  # its period is no whole number of samples: the windows are as whole as they can be
            assert distortion.levels(found)[0] == pytest.approx(-40, abs=3)
    exact = np.sin(2 * np.pi * 5 * SPEC.time) + 1e-3 * np.sin(2 * np.pi * 20 * SPEC.time)
    assert distortion.levels(distortion.harmonics(exact, 5, 1000))[2] == pytest.approx(-60, abs=1e-3)
    with pytest.raises(ValueError, match="at least a period, 200"):
        distortion.harmonics(np.zeros(100), 5, 1000)


def test_what_returns_is_told_from_noise():
    noise = np.random.default_rng(0).normal(0, 1, SPEC.n_samples)
    returning = np.sin(2 * np.pi * 5 * SPEC.time) + np.cos(2 * np.pi * 15 * SPEC.time)
    assert distortion.returning_share(returning, 5, 1000) == pytest.approx(1)
    assert distortion.returning_share(noise, 5, 1000) < 0.05  # folded fifty times
    assert distortion.returning_share(returning + noise, 5, 1000) == pytest.approx(0.5, abs=0.05)
    at_last = 1e-3 * np.sin(2 * np.pi * 4 * np.arange(3333) / 333.3)  # returns after 3,333 samples, nearly after 83
    assert distortion.returning_share(at_last, 1, 333.3) > 0.99
    assert np.isnan(distortion.returning_share(noise[:1500], 1, 1000))  # shorter than two periods


def test_tails():
    generator = np.random.default_rng(0)
    gauss, heavy = generator.normal(0, 1, 100_000), generator.standard_t(3, 100_000)
    assert distortion.tail_ratio(gauss) == pytest.approx(np.sqrt(2 / np.pi), abs=0.005)
    assert distortion.tail_ratio(heavy) < 0.75
    assert distortion.tail_ratio(np.array([1.0, -1.0])) == 1
    assert distortion.half_of_the_slowest(SPEC) == 500


def test_swaps_and_the_price_of_listening():
    model, true = load_model(), generate(SPEC, 2).mixed
    swaps = experiments.swap_inputs(model, SPEC, true, {"same": true, "silence": 0 * true})
    assert swaps["same"].change < 1e-6
    assert swaps["silence"].mse == pytest.approx(swaps["same"].mse, rel=0.05)
    assert "| silence |" in experiments.swap_table(swaps)
    delta, difference = experiments.influence(model, SPEC, [2, 3])
    assert delta[0] == pytest.approx(swaps["silence"].change, abs=1e-6)
    assert (difference <= delta).all()
    bias, variance = experiments.price_of_listening(model, SPEC, range(3))
    assert bias.shape == variance.shape == (4,)
    assert (variance < 0.01 * bias).all()  # zero for a network that is deaf
    model.lstm.get_parameter("weight_ih_l0").data[:, 0] = 0
    assert experiments.price_of_listening(model, SPEC, range(3))[1].max() < 1e-12


def test_the_output_follows_the_reset():
    found = experiments.late_resets(load_model(), FrequencyDataset(SPEC, 2), [100, 1000])
    assert found[100][0] < 1e-4
    assert found[100][1] == pytest.approx(np.mean(1 - np.cos(2 * np.pi * np.array(SPEC.frequencies) * 0.1)), abs=0.02)
    assert found[1000][1] == pytest.approx(found[1000][0])


def test_a_push_changes_the_phase_for_good():
    model, dataset = load_model(), FrequencyDataset(SPEC, 2)
    amplitude, phase = experiments.pushes(model, dataset, lane=1, count=5)
    assert np.abs(amplitude[3]).max() < 0.01 * np.abs(amplitude[0]).max()
    assert np.abs(phase[3]).max() > 0.1
    assert phase[3] == pytest.approx(phase[2], abs=0.01)
    again = experiments.pushes(model, dataset, lane=1, count=5)
    np.testing.assert_allclose(again[1], phase, atol=1e-3)
    assert model.hidden_state is None


def test_frequency_and_amplitude_of_a_sine():
    y = 0.4 + 0.7 * np.sin(2 * np.pi * 6.4 * SPEC.time[:4500])
    assert between.frequency_and_amplitude(y, 1000) == pytest.approx((6.4, 0.7), abs=0.03)
    frequency, amplitude = between.frequency_and_amplitude(np.full(4500, 0.3), 1000)
    assert np.isnan(frequency)
    assert amplitude == pytest.approx(0)


def test_selectors_give_their_sines_at_both_ends():
    found = between.sweep(load_model(), SPEC, (2, 3), np.array([0.0, 0.5, 1.0]))
    assert found.frequency[:, 0] == pytest.approx(5, abs=0.05)
    assert found.frequency[0, 2] == pytest.approx(7, abs=0.05)
    assert sum(between.kinds(found, SPEC).values()) == 3
    assert between.branches(found) >= 0


def test_a_switch_to_the_selector_of_a_single_loop_ends_on_it():
    found = between.after_switches(load_model(), SPEC, 1, [2000, 2130])
    assert found.shape == (3, 2)
    assert found == pytest.approx(3, abs=0.06)


def test_kinds_count_every_roll_out():
    frequency = np.array([[3, 3.01, 4.0, 5.5, np.nan, 5]] * 3)
    found = between.Between((1, 2), np.linspace(0, 1, 6), frequency, np.ones((3, 6)))
    counts = {"a frequency of the pair": 3, "a frequency between": 3, "a frequency outside": 3, "no oscillation": 3}
    assert between.kinds(found, SPEC) == counts
    assert between.branches(found) == 0
    found.frequency[2, 2] = 2.9
    assert between.branches(found) == pytest.approx(1.1)
    assert "| net, 3 to 5 Hz | 3 | 2 | 4 | 3 | 1.5 | 1.1 |" in between.table({"net": [found]}, SPEC)


def test_figures_say_what_they_show():
    spec = SignalSpec(frequencies=(1.0, 7.0))
    error = 1e-3 * np.sin(2 * np.pi * np.outer([2, 14], spec.time))
    alt = plots.error_over_time(spec, error**2).alt
    assert "1 Hz 5e-07, 7 Hz 5e-07. In the last: 1 Hz 5e-07, 7 Hz 5e-07" in alt  # whole periods: no zigzag
    assert "1 Hz within ±1e-03" in plots.error_by_phase(spec, error[:, 250:]).alt
    assert "1.4 times" in plots.error_distribution(spec, {"all": error}).alt
    deaf = seeds(1e-6, 1e-6, {"deaf": np.full(5, 1e-6)})  # one value for all noises must be drawable
    assert "from 1.0000 to 1.0000" in deaf.alt
    assert "unseen up to 2.0e-06" in trainings({"one": {"train": 1e-6, "unseen": np.array([1e-6, 2e-6])}}).alt
    assert "α = 1: 0.5" in gains(np.array([0, 1]), [1, 0], [1, 0], (0, 1), np.array([[0.0], [0.5]])).alt


def test_a_grid_of_trainings():
    def result(noise, seed, mse):
        overall = {"overall": {"mse": mse}}
        training = {"weight_seed": seed} if seed else {}  # the default is left out
        return {"train_noise_seed": noise, "training": training, "train": overall, "test": overall, "unseen_mse": [mse]}

    results = {f"{n} {s}": result(n, s, 10 * n + s) for n in (7, 1) for s in (1, 0)}
    noises, weights, mse = training_grid(results)
    assert (noises, weights) == ([1, 7], [0, 1])
    np.testing.assert_array_equal(mse, [[10, 11], [70, 71]])
    assert training_scores(results)["7 1"] == {"train": 71, "test": 71, "unseen": np.array([71])}
    del results["7 0"]
    with pytest.raises(ValueError, match=r"lacks \[\(7, 0\)\]"):
        training_grid(results)


def test_tables():
    assert markdown_table(["a", "b"], [["x", 1]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
    row = {"mse": 1e-6, "rmse": 1e-3, "mae": 1e-3, "r2": 1.0, "correlation": 1.0, "snr_db": 60.0}
    assert "| 3 Hz | 1.0e-06 |" in metrics_table({"3 Hz": row})
    late = np.linspace(0, [[1e-3], [0], [0], [0]], 60, axis=1)[..., 0]
    clock = Clock(np.arange(60.0), late, np.ones((4, 60)), np.array([1.0, 0, 0, 0]), np.zeros(4))
    assert "| 1 Hz | +1.00 | +1.00, +1.00 | +1.00 |" in clock_table([clock], SPEC)
    still = Clock(np.arange(60.0), 0 * late, np.ones((4, 60)), np.full(4, -1e-5), np.zeros(4))
    assert "| 1 Hz | 0.00 | 0.00, 0.00 | 0.00 |" in clock_table([still], SPEC)
    assert cost_of_lateness([clock], SPEC)[0] == pytest.approx(1 - np.cos(2 * np.pi * 1e-3))
