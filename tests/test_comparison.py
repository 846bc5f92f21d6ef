"""The comparisons of notebook 08: networks sample by sample, windows, and committed studies that this code makes."""

from itertools import islice

import numpy as np
import pytest
import torch

from lib.checkpoint import REFERENCE
from lib.lessons import n08_comparison as budget
from lib.lessons.files import read_metrics
from lib.lessons.n08_comparison import (
    TASKS,
    WEIGHT_SEEDS,
    Job,
    chosen,
    edges,
    in_bins,
    lanes,
    read_study,
    results_of,
    step_seconds,
    training,
    update_seconds,
)
from lib.lessons.n08_networks import BLOCK, NETWORKS, WINDOW, LinearRecurrence, build, gru, run_on
from lib.lessons.n08_windows import ALL, Window, best_without_state, new_model, squared_errors, train_windows
from lib.signals import SignalSpec, generate
from lib.studies import comparisons
from lib.studies.comparisons import FINAL, FIRST, LONGER, VALIDATION, sensitivity

SAMPLES = WINDOW + 60  # windows fill, and move on
LENGTHS = read_metrics(REFERENCE / "lengths.json")["results"]
REACH = dict.fromkeys(("MLP on a window", "Transformer", "Transformer, no positions"), WINDOW) | {"convolution": 1024}


def inputs(samples: int = SAMPLES, lanes: int = 2) -> torch.Tensor:
    return torch.randn(lanes, samples, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_goes_on_sample_by_sample_and_sees_no_future(name):
    network, x = build(name, 4, 0), inputs()
    whole = run_on(network, x, SAMPLES)
    assert whole.shape == (2, SAMPLES, 1)
    for steps in (1, BLOCK + 300):
        assert torch.allclose(run_on(network, x, steps), whole, atol=1e-4), steps
    other = x.clone()
    other[:, 700:] += 1
    changed = run_on(network, other, SAMPLES)
    assert torch.allclose(whole[:, :700], changed[:, :700], atol=1e-5)
    assert not torch.allclose(whole[:, 700:], changed[:, 700:], atol=1e-3)
    if name in REACH:
        other = x.clone()
        other[:, 0] += 1
        change = (whole - run_on(network, other, SAMPLES)).abs().amax(dim=(0, 2))
        assert change[REACH[name] - 1] > 1e-7
        assert change[REACH[name] :].max() < (1e-6 if name == "MLP on a window" else 1e-9)  # a Fourier transform rounds


def test_the_same_seed_gives_the_same_weights_and_leaves_the_generator_alone():
    torch.manual_seed(5)
    first = build("LSTM", 4, 1)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))
    for one, other in zip(first.parameters(), build("LSTM", 4, 1).parameters(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(ValueError, match=r"network = 'LSTN': must be one of MLP on S and C"):
        build("LSTN", 4, 0)


def test_the_gru_keeps_its_state():
    """In PyTorch's formula a large update gate keeps: the sign of the bias."""
    torch.manual_seed(0)
    network = gru(4)
    start = torch.full((1, 1, 32), 0.5)
    assert (network.layer(torch.zeros(1, 1, 5), start)[1] / start).mean() > 0.9


def test_the_scan_of_the_linear_recurrence_is_its_loop():
    """Over ten thousand samples, in single precision."""
    network = LinearRecurrence(4)
    x = inputs(10_000, 1)
    with torch.no_grad():
        scanned = network(x)[1]
        eigenvalues = torch.exp(torch.complex(-network.nu.double().exp(), network.theta.double().exp()))
        gain = (1 - eigenvalues.abs() ** 2).sqrt()
        drive = torch.complex(*network.drive.double())
        state = torch.zeros(1, 16, dtype=torch.complex128)
        for sample in x[0].to(torch.complex128):
            state = eigenvalues * state + gain * (drive @ sample)
    assert (scanned - state).abs().max() < 1e-4 * state.abs().max()


@pytest.mark.parametrize("task", TASKS)
def test_bins_cover_the_time_once(task):
    places = edges(task) * TASKS[task].sample_rate
    assert places[0] == 0
    assert np.allclose(places, places.round())
    ramp = np.arange(round(places[-1]), dtype=float)
    assert in_bins(ramp[None], task) == pytest.approx((places[:-1] + places[1:] - 1) / 2)


@pytest.mark.parametrize("task", TASKS)
def test_lanes_pair_every_seed_with_every_selector(task):
    x, y = lanes(TASKS[task].but(duration=0.2), [3, 4])
    _, mixed, pure = generate(TASKS[task].but(duration=0.2), [3, 4])
    assert x.shape == (8, 200, 5)
    assert y.shape == (8, 200, 1)
    assert torch.equal(x[5, :, 0], torch.tensor(mixed[1], dtype=torch.float32))
    wanted = pure[1, 1] if task == "extraction" else pure[1]
    np.testing.assert_allclose(y[5, :, 0], wanted, atol=1e-6)


def test_noise_that_judges_is_met_nowhere_else():
    largest = max(budget.UPDATES[task] * budget.TIMES * budget.NOISES[task] for task in TASKS)
    assert largest < 1_000_000, "the weight seeds' noises would meet"
    seeds = [budget.VALIDATION, *budget.HELD_OUT.values(), *VALIDATION.values(), *FINAL.values()]
    assert max(map(max, seeds)) < 10_000, "those of fresh windows begin there"
    assert not any(2 in each for each in seeds), "the test noise"
    assert not any(set(budget.VALIDATION) & set(judges) for judges in budget.HELD_OUT.values())
    assert not any(set(VALIDATION[task]) & set(FINAL[task]) for task in TASKS)


def test_windows_follow_each_other_and_reset_only_without_a_state():
    for carried in (True, False):
        parts = list(islice(Window("extraction", 1500, carried).stream(), 4))
        assert [x.shape[1] for x, _, _ in parts] == [1500, 1500, 1000, 1500]
        assert [reset for *_, reset in parts] == ([True, False, False, True] if carried else [True] * 4)
        assert not torch.equal(parts[0][0], parts[3][0])  # new sequences


def test_reading_in_windows_is_a_roll_out_of_each_window():
    model = new_model("extraction", 0)
    spec = TASKS["extraction"].but(duration=0.4)
    x, y = lanes(spec, [7])
    windowed = squared_errors(model, spec, [7], length=100)
    with model.evaluation_state():
        alone = (model(x[:, 200:300]) - y[:, 200:300]).square()[..., 0]
    np.testing.assert_allclose(windowed[0, :, 200:300], alone, rtol=1e-4, atol=1e-7)
    rolled = squared_errors(model, spec, [7])
    np.testing.assert_allclose(windowed[..., :100], rolled[..., :100], rtol=1e-4, atol=1e-7)
    assert np.abs(windowed[..., 100:] - rolled[..., 100:]).max() > 1e-3


def test_the_sensitivity_is_the_slope_by_finite_differences(monkeypatch):
    model, spec = new_model("extraction", 0).double(), TASKS["extraction"].but(duration=0.05)
    x, _ = (part.double() for part in lanes(spec, [7]))
    monkeypatch.setattr(comparisons, "lanes", lambda *_: (x.clone(), None))  # in float64
    found = sensitivity(model, spec, [7], seconds=0.05)
    for age in (0, 3, 40):
        pushed = []
        for step in (1e-5, -1e-5):
            moved = x.clone()
            moved[:, -1 - age, 0] += step
            with model.evaluation_state():
                pushed.append(model(moved)[:, -1, 0])
        slope = (pushed[0] - pushed[1]) / 2e-5
        assert found[age] == pytest.approx(slope.square().mean().sqrt().item(), rel=1e-5)


@pytest.mark.parametrize(("length", "wanted"), [(1, 0.5), (200, [0.5, 0.5, 0, 0.5]), (500, 0.5), (1000, 0.0)])
def test_what_is_possible_without_a_state(length, wanted):
    np.testing.assert_allclose(best_without_state(SignalSpec(), length), wanted, atol=1e-9)


def test_the_study_of_lengths_is_complete():
    """Asked for the committed trainings, the study makes the same choices by the validation noise."""

    def keep(_name, _measure, window, rate, seed):
        (found,) = (t for t in LENGTHS[window.name] if (t["rate"], t["weight_seed"]) == (rate, seed))
        assert found["updates"] == window.updates
        chosen_first = 1 - 1e-9 * (rate == LENGTHS[window.name][-1]["rate"])  # of two that are equal in all digits kept
        return found | {"validation_mse": found["validation_mse"] * chosen_first}

    found = comparisons.lengths(keep)
    assert list(found) == list(LENGTHS)
    for name, trainings in LENGTHS.items():
        assert [(t["rate"], t["weight_seed"]) for t in found[name]] == [
            (t["rate"], t["weight_seed"]) for t in trainings
        ]
        assert [t["weight_seed"] for t in chosen(trainings)] == list(WEIGHT_SEEDS)


def test_the_study_of_networks_is_complete():
    """Asked for the committed trainings, the study makes the same choices by the validation noise."""
    committed = read_study()

    def keep(name, _measure, job):
        assert {key: committed[name][key] for key in job.settings} == job.settings
        return {"over_time": None} | committed[name]

    assert comparisons.networks(keep) == committed
    for task in TASKS:
        assert tuple(results_of(task, budget.TIMES)) == LONGER.get(task, ())
        found = results_of(task)
        assert list(found) == list(NETWORKS)
        for name, result in found.items():
            assert result.curves.shape == (len(WEIGHT_SEEDS), len(result.edges) - 1)
            assert result.parameters == sum(p.numel() for p in build(name, 4, 0).parameters())


@pytest.mark.parametrize("window", ALL[::3], ids=lambda window: window.name)
def test_the_study_of_lengths_begins_as_this_code_does(window):
    """Three losses, since rounding grows: by the tenth another processor changes some of them by a tenth."""
    committed = LENGTHS[window.name][-1]
    _, losses = train_windows(window, committed["rate"], committed["weight_seed"], updates=3, progress_bar=False)
    np.testing.assert_allclose(losses, committed["first_losses"][:3], rtol=2e-3)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_study_of_networks_begins_as_this_code_does(task, name):
    """The first three losses of one training of each network on each task come out again; later ones may round."""
    committed = next(r for r in read_study().values() if (r["task"], r["network"]) == (task, name) and "over_time" in r)
    job = Job(task, name, committed["rate"], committed["weight_seed"], committed["growing"])
    assert len(committed["first_losses"]) == FIRST
    steps = training(build(name, TASKS[task].n_frequencies, job.weight_seed), job)
    repeated = [loss for loss, _ in islice(steps, 3)]
    assert repeated == pytest.approx(committed["first_losses"][:3], rel=5e-3)


def test_costs_are_measured():
    assert 0 < step_seconds("LSTM", steps=5) < 0.1
    assert 0 < update_seconds("LSTM", samples=50) < 5
