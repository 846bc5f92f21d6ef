"""The networks of notebook 08: one sample at a time or many, what they cannot know, and the committed study."""

from itertools import islice

import numpy as np
import pytest
import torch

from lib.lessons import n08_comparison as budget
from lib.lessons.n08_attention import BLOCK
from lib.lessons.n08_comparison import (
    TASKS,
    WEIGHT_SEEDS,
    Job,
    binned,
    edges,
    outcomes,
    read_study,
    step_seconds,
    training,
    update_seconds,
)
from lib.lessons.n08_networks import NETWORKS, WINDOW, LinearRecurrence, build, gru, run_on
from lib.studies.networks import FIRST, LONGER, networks

SAMPLES = WINDOW + 60  # windows fill, and move on


def inputs(samples: int = SAMPLES, lanes: int = 2) -> torch.Tensor:
    return torch.randn(lanes, samples, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NETWORKS)
def test_one_sample_at_a_time_is_one_call(name):
    network, x = build(name, 4, 0), inputs()
    whole = run_on(network, x, SAMPLES)
    assert whole.shape == (2, SAMPLES, 1)
    for steps in (1, BLOCK + 300):
        assert torch.allclose(run_on(network, x, steps), whole, atol=1e-4), steps


@pytest.mark.parametrize("name", NETWORKS)
def test_the_future_changes_nothing(name):
    network, x = build(name, 4, 0), inputs()
    other = x.clone()
    other[:, 700:] += 1
    one, changed = run_on(network, x, SAMPLES), run_on(network, other, SAMPLES)
    assert torch.allclose(one[:, :700], changed[:, :700], atol=1e-5)
    assert not torch.allclose(one[:, 700:], changed[:, 700:], atol=1e-3)


@pytest.mark.parametrize("name", ["MLP on a window", "Transformer", "Transformer, no positions", "convolution"])
def test_a_window_ends(name):
    network, x = build(name, 4, 0), inputs()
    other = x.clone()
    other[:, 0] += 1
    reach = 1024 if name == "convolution" else WINDOW
    change = (run_on(network, x, SAMPLES) - run_on(network, other, SAMPLES)).abs().amax(dim=(0, 2))
    assert change[reach - 1] > 1e-7
    assert change[reach:].max() < (1e-6 if name == "MLP on a window" else 1e-9)  # a Fourier transform rounds


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
    still = torch.zeros(1, 1, 5)
    start = torch.full((1, 1, 32), 0.5)
    assert (network.layer(still, start)[1] / start).mean() > 0.9


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


def test_bins_cover_the_time_once():
    for task, spec in TASKS.items():
        places = edges(task) * spec.sample_rate
        assert places[0] == 0
        assert np.allclose(places, places.round())
        samples = round(places[-1])
        ramp = np.arange(samples, dtype=float)
        assert binned(ramp[None], task) == pytest.approx((places[:-1] + places[1:] - 1) / 2)


def test_fresh_noise_is_never_the_noise_that_judges():
    largest = max(budget.UPDATES[task] * budget.NOISES[task] for task in TASKS)
    assert largest < 1_000_000, "the weight seeds' noises would meet"
    known = {*budget.VALIDATION, *(seed for seeds in budget.HELD_OUT.values() for seed in seeds)}
    assert max(known) < 1_000_000
    assert 2 not in known, "the test noise"


def test_the_study_is_complete():
    """Asked for the committed trainings, the study makes the same choices by the validation noise."""
    committed = read_study()

    def keep(name, _measure, job):
        assert {key: committed[name][key] for key in job.settings} == job.settings
        return {"over_time": None} | committed[name]

    assert networks(keep) == committed
    for task, names in LONGER.items():
        assert tuple(outcomes(task, budget.TIMES)) == names
    for task in TASKS:
        found = outcomes(task)
        assert list(found) == list(NETWORKS)
        for name, outcome in found.items():
            assert outcome.curves.shape == (len(WEIGHT_SEEDS), len(outcome.edges) - 1)
            assert outcome.parameters == sum(p.numel() for p in build(name, 4, 0).parameters())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_committed_study_comes_from_this_code(task, name):
    """The first three losses of one training of each network on each task come out again; later ones may round."""
    committed = next(r for r in read_study().values() if (r["task"], r["network"]) == (task, name) and "over_time" in r)
    job = Job(task, name, committed["rate"], committed["weight_seed"], committed["growing"])
    assert {key: committed[key] for key in job.settings} == job.settings
    assert len(committed["first_losses"]) == FIRST
    steps = training(build(name, TASKS[task].n_frequencies, job.weight_seed), job)
    repeated = [loss for loss, _ in islice(steps, 3)]
    assert repeated == pytest.approx(committed["first_losses"][:3], rel=5e-3)


def test_costs_are_measured():
    assert 0 < step_seconds("LSTM", steps=5) < 0.1
    assert 0 < update_seconds("LSTM", samples=50) < 5
