"""Signals other than the assignment's: one frequency, nine, and durations and rates that are no whole numbers."""

import json

import numpy as np
import pytest
import torch

from lib import FrequencyDataset, SettingsError, SignalSpec, StatefulLSTMExtractor, evaluate, metrics_by_frequency
from lib.lessons import dynamics, n05_plots
from lib.lessons import n02_plots as states
from lib.lessons import n03_plots as training
from lib.lessons import n04_evaluation as evaluation
from lib.lessons import n04_plots as plots
from lib.lessons import n05_generalization as generalization
from lib.lessons import n06_plots as maps
from lib.lessons import n06_trials as trials
from lib.lessons.clock import clock_figure, measure_clock
from lib.lessons.figures import render
from lib.lessons.files import NO_NUMBERS, read_metrics, write_metrics
from lib.lessons.n04_evaluation import intervene
from lib.lessons.parameters import NotebookParameters, choices
from lib.lessons.tables import metrics_table

SPECS = {
    "one": SignalSpec(frequencies=(2.5,), sample_rate=50.0, duration=4.0),
    "two": SignalSpec(frequencies=(2.5, 4.5), sample_rate=33.3, duration=10.0),
    "nine": SignalSpec(frequencies=tuple(map(float, range(1, 10))), sample_rate=100.0, duration=2.5),
    "slow": SignalSpec(frequencies=(0.25,), sample_rate=20.5, duration=8.0),
}


@pytest.fixture(params=SPECS)
def spec(request):
    return SPECS[request.param]


@pytest.fixture
def model(spec):
    return StatefulLSTMExtractor(n_frequencies=spec.n_frequencies, hidden_size=4, head_size=3).eval()


def drawn(*pictures):
    for picture in pictures:
        assert render(picture.figure, dpi=30).startswith(b"\x89PNG")
    return " ".join(picture.alt for picture in pictures)


def test_figures_of_training_and_evaluation_hold_for_any_number_of_frequencies(spec, model):
    data = FrequencyDataset(spec, 2)
    output, scores = evaluate(model, data, steps=spec.n_samples)
    miss, start = output - spec.targets, evaluation.half_of_the_slowest(spec)
    hidden = torch.randn(spec.n_frequencies, 50, 4)
    alt = drawn(
        states.orbits(spec, {"untrained": hidden, "trained": 2 * hidden}, range(spec.n_frequencies)),
        training.eigenvalues({"a": np.array([1j, 0.9]), "b": np.array([0.5])}, spec),
        training.clocks({"tuned": np.ones(spec.n_frequencies)}, spec),
        plots.graph_1(spec, data.inputs[0, :, 0].numpy(), output, index=spec.n_frequencies - 1),
        plots.graph_2(spec, output),
        plots.error_by_period(spec, miss**2),
        plots.error_by_phase(spec, miss[:, start:]),
        plots.intervention(spec, *intervene(model, data, 0, "silence", 10, spec.n_frequencies - 1, 20, 60), "x"),
    )
    assert all(name in alt for name in spec.names)
    assert metrics_table(scores).count("\n") == spec.n_frequencies + 2
    pushed = evaluation.pushes(model, data, spec.n_frequencies - 1, count=2)
    assert [part.shape for part in pushed] == [(4, 2)] * 2


def test_figures_of_the_selectors_hold_for_any_number_of_frequencies(spec, model):
    found = generalization.between_selectors(model, spec, np.array([0.0, 0.5]), settle=1.0)
    assert len(found[0]) == len(found[1]) == 2 * spec.n_frequencies - 1
    drawn(n05_plots.selectors(spec, {"net": found}))
    assert generalization.after_switches(model, spec, 0, [10, 20]).shape == (spec.n_frequencies - 1, 2)
    loops = dynamics.all_loops(model, spec, settled=1.0)
    found = trials.switches(loops, phases=2)
    assert len(found) == spec.n_frequencies * (spec.n_frequencies - 1)
    found[spec.n_frequencies, 0] = trials.ends(loops[0], trials.anywhere(loops, 2))
    paths = [torch.randn(2, 5, 8).double()] * spec.n_frequencies
    points = [torch.zeros(1, 8).double()] * spec.n_frequencies
    drawn(
        maps.ends_grid(spec, {"net": found}),
        maps.portraits(spec, loops, paths, points),
        maps.multipliers(spec, {"net": loops}),
        maps.unit_circles(spec, [[np.array([0.5, 1.1])]] * spec.n_frequencies),
    )
    clock = measure_clock(model, spec, 3, duration=70 / min(spec.frequencies))
    assert clock.ppm.shape == (spec.n_frequencies,)
    drawn(clock_figure(clock, spec))


@pytest.mark.parametrize(
    ("frequencies", "names"),
    [
        ((1.0, 3.5), ("1 Hz", "3.5 Hz")),
        ((1.0000001, 1.0000002, 5.0), ("1.0000001 Hz", "1.0000002 Hz", "5 Hz")),
        ((123456.7, 123456.8), ("123456.7 Hz", "123456.8 Hz")),
        ((1.0, 1.0 + 2**-52), ("1 Hz", "1.0000000000000002 Hz")),
        ((1e-9, 2e6), ("1e-09 Hz", "2e+06 Hz")),
    ],
)
def test_names_of_frequencies_stay_apart(frequencies, names):
    spec = SignalSpec(frequencies=frequencies, sample_rate=1e7, duration=1e-5)
    assert spec.names == names
    assert choices(spec) == [(name, k) for k, name in enumerate(names)]
    scores = metrics_by_frequency(spec.targets, spec.targets, spec)
    assert list(scores) == ["overall", *names]
    assert metrics_table(scores).count("\n") == len(names) + 2


def test_metrics_are_json_for_every_reader_and_come_back(tmp_path):
    path = tmp_path / "m.json"
    results = {
        "perfect": metrics_by_frequency(np.ones((2, 9)), np.ones((2, 9)), SPECS["two"]),
        "rows": [1.5, float("nan"), [-np.inf, {"deep": np.float32("inf")}]],
        "numpy": np.array([[np.nan, 1.0]]),
        "torch": torch.tensor([torch.inf]),
        "words": ["nan", "Inf", None, True, 7],
    }
    write_metrics(path, results, {"bound": float("inf")})

    def refuse(word):
        raise AssertionError(word)

    json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    found = read_metrics(path)
    assert found["parameters"] == {"bound": np.inf}
    assert found["results"]["perfect"]["2.5 Hz"]["snr_db"] == np.inf
    assert np.isnan(found["results"]["perfect"]["overall"]["correlation"])
    assert repr(found["results"]["rows"]) == "[1.5, nan, [-inf, {'deep': inf}]]"
    assert repr(found["results"]["numpy"]) == "[[nan, 1.0]]"
    assert found["results"]["torch"] == [np.inf]
    assert found["results"]["words"] == results["words"]
    assert [float(word) for word in NO_NUMBERS[1:]] == [np.inf, -np.inf]


def test_committed_metrics_are_json_for_every_reader():
    from lib.checkpoint import REFERENCE
    from lib.run.publish import METRICS

    def refuse(word):
        raise AssertionError(word)

    paths = [*REFERENCE.glob("*.json"), *METRICS.glob("*.json")]
    assert len(paths) > 10
    for path in paths:
        json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    policy = read_metrics(REFERENCE / "policies.json")["results"]["reset every sample"]["train"]["overall"]
    assert np.isnan(policy["correlation"]) or -1 <= policy["correlation"] <= 1


def test_a_recording_holds_two_periods_of_the_slowest_sine():
    with pytest.raises(SettingsError, match=r"duration = 4\.0: must hold two periods of the slowest sine, 5 s"):
        NotebookParameters(frequencies=[0.4, 3.0], duration=4.0)
    assert NotebookParameters(frequencies=[0.5, 3.0], duration=4.0).spec.n_frequencies == 2
