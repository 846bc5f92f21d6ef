"""The loop that a reader edits, what is measured of it, the two small tasks, and the operations on h and c."""

import numpy as np
import pytest
import torch
from torch import nn

from lib import FrequencyDataset, SignalSpec, load_model, roll_out
from lib.lessons import n02_plots as plots
from lib.lessons.n02_loop import (
    LOUD,
    best_from_window,
    best_readout,
    changed_lines,
    cut_cosine,
    edited,
    outcome_table,
    try_out,
    two_sines,
    unknown_phase,
    watched,
)
from lib.lessons.n02_surgery import PARTS, followed, go_on, held, late, memory_after, small_clock, stop_at


def learn(x, y, seed, passes=2):
    torch.manual_seed(seed)
    lstm, head = nn.LSTM(2, 4), nn.Linear(4, 1)
    optimizer = torch.optim.Adam([*lstm.parameters(), *head.parameters()], lr=0.02)
    losses = []
    for _ in range(passes):
        state = None
        loss = 0
        for t in range(len(x)):
            h, state = lstm(x[t : t + 1], state)
            loss = loss + (head(h) - y[t]).square().mean() / 5
            if t % 5 == 4:
                losses.append(loss.item())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                state = [part.detach() for part in state]
                loss = 0
    return lstm, head, losses


DETACH = "state = [part.detach() for part in state]"


def test_an_edit_replaces_exactly_one_text_and_shows_its_lines():
    edits = [("lr=0.02", "lr=0.0"), ("                optimizer.step()\n", "")]
    assert changed_lines(learn, edits[1:]).splitlines() == ["  loss.backward()", "- optimizer.step()", f"  {DETACH}"]
    x, y = two_sines(20, 1)
    lstm, _, losses = edited(learn, edits)(x, y, 3)
    torch.manual_seed(3)
    assert torch.equal(lstm.weight_hh_l0, nn.LSTM(2, 4).weight_hh_l0), "no step changes no weight"
    assert len(losses) == 8
    for old in ("loss", "nonesuch"):
        with pytest.raises(ValueError, match="exactly once, not"):
            edited(learn, [(old, "x")])


def test_errors_bits_reach_and_memory_are_told_apart():
    edits = {
        "written": [],
        "memoryless": [("x[t : t + 1], state", "x[t : t + 1]")],
        "reset": [("h, state", "state = None; h, state")],
        "none": [(DETACH, "pass")],
        "retain": [(DETACH, "pass"), ("backward()", "backward(retain_graph=True)")],
        "early": [(DETACH, "pass"), ("loss.backward()", f"{DETACH}; loss.backward()")],
        "late": [
            ("optimizer.step()", "if t == 19: optimizer.step()"),
            (DETACH, "pass"),
            ("backward()", "backward(retain_graph=True)"),
        ],
    }
    found = try_out({name: edited(learn, changes) for name, changes in edits.items()}, *two_sines(20, 1), (0, 1))
    assert [outcome.reach for outcome in found.values()] == [5, 1, 1, 10, 10, 5, 20], "the last sample counts"
    assert {name: outcome.equals for name, outcome in found.items() if outcome.equals} == {
        "reset": "memoryless",
        "early": "written",
    }
    assert found["none"].error == "Trying to backward through the graph a second time"
    assert found["retain"].error.startswith("one of the variables needed for gradient computation has been modified")
    assert found["late"].held > 3 * found["written"].held
    assert all(len(outcome.losses) == 2 * (not outcome.error) for outcome in found.values())
    table = outcome_table(found).splitlines()
    assert len(table) == 2 + len(found)
    assert {line.count("|") for line in table} == {6}
    assert "none: error" in plots.edits(found).alt


def test_watching_leaves_nothing_behind():
    backward = torch.Tensor.backward
    weight = torch.ones(1, requires_grad=True)
    with watched() as seen:
        (weight * weight).sum().backward()
    with pytest.raises(RuntimeError), watched():
        torch.ones(1).backward()
    assert torch.Tensor.backward is backward
    assert seen == [(0, 4)], "no LSTM in it, and one tensor of four bytes"


def test_the_target_of_the_small_task_needs_a_past():
    x, y = two_sines(4000, 3)
    assert tuple(x.shape) == (4000, 2)
    assert abs(np.corrcoef(x[:, 0], y[:, 0])[0, 1]) < 0.05
    assert float(y.square().mean()) == pytest.approx(0.5, abs=1e-6)
    assert best_readout(x[:2000], y[:2000], x[2000:], y[2000:]) == pytest.approx(0.5, abs=0.01)
    past = torch.cat([x[:, :1].roll(k, dims=0) for k in range(20)], dim=1)[20:]
    assert best_readout(past[:2000], y[20:2020], past[2000:], y[2020:]) < 0.02


def test_the_best_of_a_window_is_that_of_least_squares_where_the_noise_is_small_beside_it():
    """After n samples the variance of the phase is 2 σ² / n, and half of it shows in the mean squared error."""
    x, y = unknown_phase(lanes=3, samples=20, noise_seed=2)
    assert tuple(x.shape) == (3, 20, 2)
    assert float((x[..., :1] - y).std()) == pytest.approx(LOUD, rel=0.2)
    assert not torch.allclose(y[0], y[1])
    found = [best_from_window(samples) for samples in (1, 20, 100, 400)]
    assert found == sorted(found, reverse=True)
    assert found[0] < 0.5
    assert found[-1] == pytest.approx(LOUD**2 / 400, rel=0.15)


def test_a_cut_turns_the_gradient(model, dataset):
    assert cut_cosine(model, dataset, 2) == pytest.approx(1), "one recurrent step: there is nothing to cut"
    assert 0 < cut_cosine(model, dataset, 30) < 0.9999


@pytest.fixture(scope="module")
def shipped():
    return load_model(), FrequencyDataset(SignalSpec(), 1)


def test_lateness_is_read_from_the_output(shipped):
    model, dataset = shipped
    stopped = stop_at(model, dataset, (1100, 900), samples=3050)
    outputs = go_on(model, stopped, stopped.h, stopped.c)
    expected = roll_out(model, dataset.inputs[:, :3950], steps=3950)[:, 900:, 0].numpy()
    np.testing.assert_allclose(outputs[:4], expected, atol=1e-4)
    assert abs(late(outputs, stopped)).max() < 0.3
    first = stopped.first[:, None] + np.arange(3050) - 20
    assert late(np.sin(2 * np.pi * stopped.frequency[:, None] * first / 1000), stopped) == pytest.approx(20, abs=1e-6)
    for action, match in (
        (lambda: held(model, stopped, "x", 1, True), "part = 'x'"),
        (lambda: late(outputs[:, :500], stopped), "outputs has 500 samples"),
        (lambda: stop_at(model, dataset, (9000,), 2000), "last moment"),
    ):
        with pytest.raises(ValueError, match=match):
            action()


def test_the_clock_follows_c_and_stands_still_with_it(shipped):
    model, dataset = shipped
    shares = followed(model, dataset, (2000, 2350))
    assert shares["both"] == pytest.approx(1, abs=0.05)
    assert shares["c"].min() > 0.8
    assert abs(shares["h"]).max() < 0.2
    stopped = stop_at(model, dataset, (2000, 2350), samples=3100)
    assert held(model, stopped, "c", 30, False) == pytest.approx(30, abs=1)
    assert (abs(held(model, stopped, "h", 5, False)) < 3).all()
    assert model.hidden_state is None
    assert set(PARTS) == {"h", "c"}


def test_the_small_clock_runs_and_h_holds_more_of_its_time():
    model, dataset = small_clock()
    new = FrequencyDataset(dataset.spec, 2)
    error = (roll_out(model, new.inputs, steps=400) - new.targets).square().mean()
    assert float(error) < 0.1, "silence has 0.5"
    assert np.median(followed(model, dataset, range(200, 240, 8))["h"]) > 0.1


def test_open_gates_remember_and_closed_ones_forget():
    x = FrequencyDataset(SignalSpec(), 1).inputs[1:2, :100]
    state = torch.get_rng_state()
    for kind in (nn.RNN, nn.GRU, nn.LSTM):
        assert memory_after(kind, x) < 1e-9
    for kind in (nn.GRU, nn.LSTM):
        assert memory_after(kind, x, bias=3.0) > 1e-3
    assert torch.equal(torch.get_rng_state(), state)
