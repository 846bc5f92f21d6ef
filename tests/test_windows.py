"""Notebook 08, sequence lengths: how windows are cut and read, and that the committed study is this code's."""

import numpy as np
import pytest
import torch

from lib.checkpoint import REFERENCE
from lib.lessons.files import read_metrics
from lib.lessons.n08_comparison import TASKS, chosen, lanes
from lib.lessons.n08_windows import (
    ALL,
    Window,
    best_without_state,
    new_model,
    squared_errors,
    train_windows,
)
from lib.signals import SignalSpec, generate
from lib.studies import networks
from lib.studies.networks import sensitivity

STUDY = read_metrics(REFERENCE / "lengths.json")["results"]


@pytest.mark.parametrize("task", TASKS)
def test_lanes_pair_every_seed_with_every_selector(task):
    x, y = lanes(TASKS[task].but(duration=0.2), [3, 4])
    _, mixed, pure = generate(TASKS[task].but(duration=0.2), [3, 4])
    assert x.shape == (8, 200, 5)
    assert y.shape == (8, 200, 1)
    assert torch.equal(x[5, :, 0], torch.tensor(mixed[1], dtype=torch.float32))
    wanted = pure[1, 1] if task == "extraction" else pure[1]
    np.testing.assert_allclose(y[5, :, 0], wanted, atol=1e-6)


def test_windows_follow_each_other_and_reset_only_without_a_state():
    for carried in (True, False):
        parts = [part for part, _ in zip(Window("extraction", 1500, carried).stream(), range(4), strict=False)]
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
    monkeypatch.setattr(networks, "lanes", lambda *_: (x.clone(), None))  # in float64
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


@pytest.mark.parametrize(("length", "wanted"), [(1, 0.5), (100, 0.5), (500, 0.5), (1000, 0.0)])
def test_what_is_possible_without_a_state(length, wanted):
    np.testing.assert_allclose(best_without_state(SignalSpec(), length), wanted, atol=1e-9)


def test_a_window_of_a_fifth_of_a_second_holds_a_period_of_5_hz_alone():
    np.testing.assert_allclose(best_without_state(SignalSpec(), 200), [0.5, 0.5, 0, 0.5], atol=1e-9)


def test_the_study_is_complete():
    """Asked for the committed trainings, the study makes the same choices by the validation noise."""

    def keep(_name, _measure, window, rate, seed):
        (found,) = (t for t in STUDY[window.name] if (t["rate"], t["weight_seed"]) == (rate, seed))
        assert found["updates"] == window.updates
        chosen_first = 1 - 1e-9 * (rate == STUDY[window.name][-1]["rate"])  # of two that are equal in all digits kept
        return found | {"validation_mse": found["validation_mse"] * chosen_first}

    found = networks.lengths(keep)
    assert list(found) == list(STUDY)
    for name, trainings in STUDY.items():
        assert [(t["rate"], t["weight_seed"]) for t in found[name]] == [
            (t["rate"], t["weight_seed"]) for t in trainings
        ]
        assert [t["weight_seed"] for t in chosen(trainings)] == [0, 1, 2]


@pytest.mark.parametrize("window", ALL[::3], ids=lambda window: window.name)
def test_the_study_begins_as_this_code_does(window):
    """Three losses, since rounding grows: by the tenth another processor changes some of them by a tenth."""
    training = STUDY[window.name][-1]
    _, losses = train_windows(window, training["rate"], training["weight_seed"], updates=3, progress_bar=False)
    np.testing.assert_allclose(losses, training["first_losses"][:3], rtol=2e-3)
