"""The exercises of notebook 03: right answers in unusual form pass; a student's mistakes get their own hint."""

import functools
import math
from decimal import Decimal
from fractions import Fraction
from itertools import repeat
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import mse_loss

from lib import StatefulDataLoader, TrainingConfig
from lib.lessons import n03_exercises as judge
from lib.recipe import anneal, lengthen, rate_at, update


def grow(model, data, optimizer, updates, below, *, by_sample=False, reset=True, zero="before", **more):
    """A growing loop in one of the forms that a student may choose."""
    loss, step, cut = (more.get(name, usual) for name, usual in (("loss", mse_loss), ("step", True), ("cut", False)))
    horizon, horizons = 20, []
    for _ in range(updates):
        if reset:
            model.reset_state()
        x, y = data.inputs[:, :horizon], data.targets[:, :horizon]
        output = torch.stack([model(x[:, t]) for t in range(horizon)], dim=1) if by_sample else model(x)
        error = loss(output, y)
        if zero == "before":
            optimizer.zero_grad()
        error.backward()
        if step:
            optimizer.step()
        if zero == "after":
            model.zero_grad(set_to_none=False)
        if cut:
            model.detach_state()
        horizons.append(horizon)
        if error < below:
            horizon = min(horizon + 10, data.spec.n_samples)
    return horizons


def summed(model, data, optimizer, updates, below):
    """Sample by sample, with the error summed up, and the horizon as a tensor."""
    horizon, horizons, count = torch.tensor(20), [], 0
    while (count := count + 1) <= updates:
        model.reset_state()
        error = 0.0
        for t in range(int(horizon)):
            error = error + (model(data.inputs[:, t]) - data.targets[:, t]).pow(2).mean()
        error = error / horizon
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        horizons += [horizon]
        horizon = torch.clamp(horizon + 10 * (error < below), max=len(data.spec.time))
    return torch.stack(horizons)


def loaded(model, data, optimizer, updates, below):
    """With the loader, and an own generator of horizons; returns an array."""

    def horizons():
        horizon = 20
        for _ in range(updates):
            batch = next(iter(StatefulDataLoader(data, steps=horizon)))
            optimizer.zero_grad()
            error = mse_loss(model(batch.x, reset_state=batch.is_first_batch), batch.y)
            error.backward()
            optimizer.step()
            yield horizon
            horizon = min(horizon + 10 if error.item() < below else horizon, data.inputs.shape[1])

    return np.fromiter(horizons(), dtype=int)


def deeper(model, data, optimizer, updates, below, horizon=20):
    """By recursion, with the gradients from `torch.autograd.grad`."""
    if updates == 0:
        return ()
    output = model(data.inputs[:, :horizon], reset_state=True)
    error = torch.mean(torch.square(output - data.targets[:, :horizon]))
    weights = list(model.parameters())
    for weight, gradient in zip(weights, torch.autograd.grad(error, weights), strict=True):
        weight.grad = gradient
    optimizer.step()
    longer = horizon + 10 if error < below and horizon + 10 <= 40 else horizon
    return horizon, *deeper(model, data, optimizer, updates - 1, below, longer)


class Grower:
    def __call__(self, model, data, optimizer, updates, below):
        return pd.Series(grow(model, data, optimizer, updates, below))


LOOPS = [
    grow, summed, loaded, deeper, Grower(), lambda *given: grow(*given),
    *(functools.partial(grow, **how) for how in (
        {"by_sample": True}, {"zero": "after"}, {"cut": True}, {"by_sample": True, "cut": True, "zero": "after"},
        {"loss": lambda y, t: ((y - t) ** 2).sum() / y.numel()})),
]  # fmt: skip


def by_sample(model, data, optimizer, updates, below, *, wrong="", first=0, last=0):
    horizon, horizons = 20, []
    for _ in range(updates):
        model.reset_state()
        outputs = []
        for t in range(first, horizon + last):
            if wrong == "reset":
                model.reset_state()
            outputs.append(model(data.inputs[:, t]))
            if wrong == "detach":
                model.detach_state()
        error = mse_loss(torch.stack(outputs, 1), data.targets[:, first : horizon + last])
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        horizons.append(horizon)
        horizon = min(horizon + 10 * bool(error < below), data.spec.n_samples)
    return horizons


WRONG_LOOPS = [
    (functools.partial(grow, reset=False), "PyTorch says that it would go back"),
    (functools.partial(grow, reset=False, cut=True), "does not find an empty state"),
    (functools.partial(grow, step=False), "the weights are what they were"),
    (lambda *given: [20, 20, 30, 40, 40, 40, 40, 40, 40], "the weights are what they were"),
    (functools.partial(grow, zero="never"), "the first update is right"),
    (functools.partial(by_sample, wrong="reset"), "as if it were the first one"),
    (functools.partial(by_sample, wrong="detach"), "the gradient does not reach back"),
    (functools.partial(by_sample, last=-1), "off by one: count"),
    (functools.partial(by_sample, last=1), "how many samples does the recording have"),
    (functools.partial(grow, loss=lambda y, t: mse_loss(y, t) * y.shape[1]), "the steps are too large"),
    (functools.partial(grow, loss=lambda y, t: mse_loss(y[:, -1], t[:, -1])), "not yet; reset, run the horizon"),
    (functools.partial(grow, loss=lambda y, t: mse_loss(y[:1], t[:1])), "not yet; reset, run the horizon"),
    (lambda m, d, o, updates, below: grow(m, d, o, updates, math.inf), "when does the horizon grow"),
    (lambda m, d, o, updates, below: grow(m, d, o, updates, 0.0), "when does the horizon grow"),
    (lambda m, d, o, updates, below: grow(m, d, o, updates + 1, below), "count the updates"),
    (lambda *given: [grow(*given)][1:], "what is returned is not"),
    (lambda *given: sum(grow(*given)), "what is returned is not"),
    (functools.partial(grow, loss=lambda y, t: (y - t).abs().mean()), "not yet; reset, run the horizon"),
    ([20, 20, 30, 40], "the answer is the function itself"),
    (lambda model: None, "cannot be checked (TypeError"),
]


def said(capsys, check, answer):
    check(answer)
    return capsys.readouterr().out


def test_a_growing_loop_of_ones_own(capsys):
    assert "no answer yet" in said(capsys, judge.check_loop, None)
    for answer in LOOPS:
        assert said(capsys, judge.check_loop, answer).endswith(": right\n"), answer
    for answer, told in WRONG_LOOPS:
        judge.tries.clear()
        assert told in said(capsys, judge.check_loop, answer), told


def test_hints_say_more_every_time_and_end_with_the_line(capsys):
    judge.tries.clear()
    verdicts = [said(capsys, judge.check_loop, functools.partial(grow, zero="never")) for _ in range(4)]
    assert [f"hint {k} of 3" in verdict for k, verdict in zip((1, 2, 3, 3), verdicts, strict=True)] == [True] * 4
    assert "call `optimizer.zero_grad()`" in verdicts[2] == verdicts[3]


LOSSES = [*judge._first_losses(), *[0.5] * 38]
RATE = rate_at(TrainingConfig(), 500)
NONSENSE = ["many", True, 1.5j, {"a": 1}, [1, 2, 3], np.nan, print, -1, 0, [[1, 2], [3]]]
NUMBERS = {
    judge.check_1: (
        [RATE, 1.5e-3, 0.75 / 500, "0.0015", "1.5e-3", Fraction(3, 2000), Decimal("0.0015"), np.float32(1.5e-3),
         [1.5e-3], torch.tensor(1.5e-3, requires_grad=True), np.array([[RATE]]), pd.Series([RATE])],
        [3e-3, 0.75, 375, 1.5, 1.5e-2, 0.75 / 1000, 1.4e-3, *NONSENSE],
    ),
    judge.check_2: (
        [5, 5.0, "5", " 5 ", Fraction(5), Decimal(5), np.int16(5), [5], (5,), torch.tensor([5]), np.array([[5.0]]),
         pd.Series([5]), 40_000 / 8000],
        [20, 10_000, 1.25, 80, 6, 4, 5.5, 4.999, 20_000, *NONSENSE],
    ),
    judge.check_4: (
        [LOSSES, tuple(LOSSES), np.array(LOSSES), np.float32(LOSSES), torch.tensor(LOSSES), pd.Series(LOSSES),
         np.array(LOSSES)[:, None], {"loss": LOSSES}, SimpleNamespace(history={"loss": LOSSES}), [*map(str, LOSSES)],
         [*map(np.float64, LOSSES)]],
        [0.5, [0.5] * 40, LOSSES[-10:], LOSSES[::-1], [*LOSSES, 0.5], np.mean(LOSSES), [*LOSSES[:2], *[2e-3] * 38],
         [*LOSSES[1::-1], *LOSSES[2:]], {"mse": LOSSES}, np.sqrt(LOSSES), [0.5] * 1000, *NONSENSE],
    ),
}  # fmt: skip


@pytest.mark.parametrize("check", NUMBERS)
def test_numbers(capsys, check):
    right, wrong = NUMBERS[check]
    assert min(len(right), len(wrong)) > 10
    assert "no answer yet" in said(capsys, check, None)
    for answer in right:
        assert said(capsys, check, answer).endswith(": right\n"), answer
    for answer in wrong:
        assert "not yet; " in said(capsys, check, answer), answer


def test_a_number_that_a_mistake_gives_gets_its_hint(capsys):
    assert "not their quotient" in said(capsys, judge.check_1, 375)
    assert "this is the highest rate" in said(capsys, judge.check_1, 3e-3)
    assert "four lanes" in said(capsys, judge.check_2, 20)
    assert "all forty losses" in said(capsys, judge.check_4, 0.5)


def five(run):
    for _ in range(5):
        yield update(run, run.from_reset, 1e-3)


def since(run):
    while run.age < 5:
        loss = update(run, run.from_reset, rate=1 / 1000)
        yield torch.tensor(loss, dtype=torch.float64)


def delegated(run):
    yield from five(run)


def unrolled(run):
    step = functools.partial(update, run, rate=0.001)
    yield step(run.from_reset)
    yield step(run.from_reset)
    yield step(run.from_reset)
    yield step(run.from_reset)
    yield step(run.from_reset)


def by_hand(run):
    """The batch cut from the data, and the loss read from the history."""
    for _ in [*range(run.age, 5)]:
        update(run, next(iter(StatefulDataLoader(run.dataset, steps=run.horizon))), 0.1**3)
        yield run.history["loss"][-1]


class Counted:
    """An iterator with a method for the next update."""

    def __init__(self, run):
        self.run = run

    def __iter__(self):
        return self

    def __next__(self):
        if self.run.age == 5:
            raise StopIteration
        return update(self.run, self.run.from_reset, 1e-3)


class Five:
    def __call__(self, run):
        return five(run)


def stage(run, updates=5, rate=1e-3, horizon=None, value=lambda loss: loss):
    run.horizon = horizon or run.horizon
    for _ in range(updates):
        yield value(update(run, run.from_reset, rate))


def eager(run):
    losses = [update(run, run.from_reset, 1e-3) for _ in range(5)]
    yield from losses


def in_all(run):
    while run.updates < 5:
        yield update(run, run.from_reset, 1e-3)


def silent(run):
    for _ in range(5):
        update(run, run.from_reset, 1e-3)


def endless(run):
    while True:
        yield update(run, run.from_reset, 1e-3)


STAGES = [five, since, delegated, unrolled, by_hand, Counted, Five(), functools.partial(stage, updates=5)]
STAGES += [lambda run: (update(run, run.from_reset, 1e-3) for _ in range(5))]
STAGES += [lambda run: map(functools.partial(update, run, rate=1e-3), (run.from_reset for _ in range(5)))]
STAGES += [lambda run: (update(run, batch, 1e-3) for batch in repeat(run.from_reset, 5))]
WRONG_STAGES = [
    (lambda run: [*five(run)], "`yield` each loss"),
    (silent, "`yield` each loss"),
    (lambda run: update(run, run.from_reset, 1e-3), "`yield` each loss"),
    (eager, "one update before each `yield`"),
    (functools.partial(stage, updates=4), "five updates"),
    (functools.partial(stage, updates=6), "five updates"),
    (endless, "five updates"),
    (in_all, "five updates"),
    (anneal, "five updates"),
    (lambda run: lengthen(run, 40, 1.0), "five updates"),
    (functools.partial(stage, rate=1e-2), "one thousandth"),
    (functools.partial(stage, horizon=10), "the horizon is"),
    (functools.partial(stage, horizon=40), "the horizon is"),
    (functools.partial(stage, value=lambda loss: None), "`yield` what"),
    (functools.partial(stage, value=lambda loss: 0.5), "`yield` what"),
    (5, "the function itself"),
    ([0.1] * 5, "the function itself"),
    (lambda: 5, "cannot be checked (TypeError"),
]


def test_a_stage_of_ones_own(capsys):
    assert min(len(STAGES), len(WRONG_STAGES)) > 10
    for answer in STAGES:
        assert said(capsys, judge.check_3, answer).endswith(": right\n"), answer
    for answer, told in WRONG_STAGES:
        assert told in said(capsys, judge.check_3, answer), told
