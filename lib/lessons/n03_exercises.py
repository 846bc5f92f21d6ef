"""Notebook 03: its exercises, each with the check of an answer."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib.lessons.exercises import check, known, numbers, same
from lib.loader import FrequencyDataset
from lib.model import ModelConfig, StatefulLSTMExtractor
from lib.recipe import TrainingConfig, TrainingRun, anneal, prepare_weights, rate_at, update
from lib.signals import Array, SignalSpec
from lib.training import train

SPEC = SignalSpec(frequencies=(2.0, 5.0), sample_rate=100.0, duration=0.4)
Loop = Callable[[StatefulLSTMExtractor, FrequencyDataset, torch.optim.Optimizer, int, float], object]
UPDATES, BELOW = 9, 0.506

COUNT = (
    "off by one: count the samples of the first update",
    "a horizon of 20 samples has the samples 0 to 19, and `range(20)` gives just these",
    "`for t in range(horizon)`, or `data.inputs[:, :horizon]`",
)
GROW = (
    "when does the horizon grow?",
    "it grows when the loss is small, and only then",
    "`if loss < below`, ten samples more",
)
MISTAKES = {  # of a growing loop: a nudge, the place, the line
    "not cut": (
        "PyTorch says that it would go back through the same graph twice: what still leads into the last update?",
        "the model keeps its state, with the graph behind it, until you cut the state or throw it away",
        "begin every update with `model.reset_state()`",
    ),
    "no step": (
        "after all the updates the weights are what they were",
        "who changes the weights, once the gradients are there?",
        "after `loss.backward()` comes `optimizer.step()`",
    ),
    "no zero_grad": (
        "the first update is right, and the later ones are not: what is left of the first?",
        "`backward` adds to the gradients that are there",
        "call `optimizer.zero_grad()` in every update, before `loss.backward()`",
    ),
    "no reset": (
        "the first sample of an update does not find an empty state",
        "a horizon counts from a reset; a detach keeps the numbers of the state",
        "begin every update with `model.reset_state()`",
    ),
    "no state": (
        "each sample is processed as if it were the first one",
        "the state must pass from sample to sample: where do you reset?",
        "`model.reset_state()` stands before the loop over the samples, not in it",
    ),
    "cut": (
        "the outputs are right, but the gradient does not reach back",
        "where do you detach? Back-propagation through time needs the whole horizon",
        "no `detach_state()` between two samples, and one `loss.backward()` for all of them",
    ),
    "sum": (
        "the steps are too large",
        "the loss is a mean over the lanes and the samples",
        "divide the sum over the samples by the horizon; `nn.functional.mse_loss` of all outputs does both",
    ),
    "short": COUNT,
    "long": COUNT,
    "upside down": GROW,
    "always": GROW,
    "never": GROW,
    "no end": (
        "how many samples does the recording have?",
        "the horizon cannot become longer than `data.spec.n_samples`",
        "`horizon = min(horizon + 10, data.spec.n_samples)`",
    ),
    "one more": ("count the updates", "`updates` of them are asked for", "`for _ in range(updates)`"),
    "no list": (
        "the training is right; what is returned is not",
        "a list with the horizon that each update crossed is asked for: as many numbers as updates, the first is 20",
        "note the horizon before it grows: `horizons.append(horizon)`; at the end `return horizons`",
    ),
}
tries: Counter[str] = Counter()  # how often each mistake was seen: the hint says more every time


def growing(
    model: StatefulLSTMExtractor,
    data: FrequencyDataset,
    optimizer: torch.optim.Optimizer,
    updates: int,
    below: float,
    mistake: str,
) -> list[int]:
    """The loop that is asked for, with one of the `MISTAKES` if it is named; returns the horizon of each update."""
    horizon, horizons = 20, []
    for _ in range(updates + (mistake == "one more")):
        length = horizon + {"short": -1, "long": 1}.get(mistake, 0)
        x, y = data.inputs[:, :length], data.targets[:, :length]
        if mistake != "no reset":
            model.reset_state()
        outputs: list[Tensor] = []
        for part in x.split(1 if mistake in ("no state", "cut") else length, dim=1):
            outputs.append(model(part, reset_state=mistake == "no state"))
            if mistake == "cut":
                model.detach_state()
        loss = nn.functional.mse_loss(torch.cat(outputs, dim=1), y)
        if mistake == "sum":
            loss = loss * length
        if mistake != "no zero_grad":
            optimizer.zero_grad()
        loss.backward()
        if mistake != "no step":
            optimizer.step()
        model.detach_state()
        horizons.append(horizon)
        if {"upside down": loss >= below, "always": True, "never": False}.get(mistake, loss < below):
            horizon = min(horizon + 10, data.spec.n_samples + 100 * (mistake == "no end"))
    return horizons


def _grown(loop: Loop) -> tuple[Array, object]:
    """The weights that a loop leaves in a small network, which holds somebody's state, and what the loop returns."""
    data = FrequencyDataset(SPEC, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = StatefulLSTMExtractor(n_frequencies=SPEC.n_frequencies, hidden_size=8, head_size=0)
    prepare_weights(model, TrainingConfig(), SPEC)
    with torch.no_grad():
        model(data.inputs[:, :7])
    told = loop(model, data, torch.optim.SGD(model.parameters(), lr=0.2), UPDATES, BELOW)
    return nn.utils.parameters_to_vector(model.parameters()).detach().numpy(), told


@functools.cache
def _after(mistake: str) -> tuple[Array, Any]:
    return _grown(functools.partial(growing, mistake=mistake))


def _mistake(loop: Loop) -> str | None:
    """Which of the `MISTAKES` a loop makes, by the weights that it leaves; empty if none, None if it is another one."""
    try:
        weights, told = _grown(loop)
    except IndexError:  # a sample behind the end of the recording
        return "no end"
    except RuntimeError as error:
        if "second time" in str(error):
            return "not cut"
        raise
    alike = [m for m in ("", *MISTAKES) if m not in ("not cut", "no list") and same(weights, _after(m)[0], 1e-5)]
    horizons = {m: _after(m)[1] for m in alike}
    found = numbers(told, len(told)) if isinstance(told, Sized) else None
    exact = [m for m in alike if found is not None and same(found, horizons[m])]
    return [*exact, *(m or "no list" for m in alike), None][0]


def check_loop(loop: Loop | None) -> None:
    """A function of model, data, optimizer, updates and below that trains over a horizon which grows."""

    def is_right(loop: Loop) -> bool | str:
        if not callable(loop):
            return "the answer is the function itself: `def my_grow(…)`, without a call"
        mistake = _mistake(loop)
        if not mistake:
            return mistake is not None
        hints = MISTAKES[mistake]
        tries[mistake] += 1
        level = min(tries[mistake], len(hints))
        return f"hint {level} of {len(hints)}: {hints[level - 1]}"

    check("my_grow", loop, is_right, "reset, run the horizon, mean squared error, zero_grad, backward, step; then grow")


def check_1(rate: float | None) -> None:
    """The learning rate of growth at a horizon of 500 samples."""
    mistakes = {
        "this is the highest rate, which holds at shorter horizons": 3e-3,
        "`phase_step` bounds a product: rate times horizon": 0.75,
        "the product of rate and horizon is bounded, not their quotient": 0.75 * 500,
        "the rate is in units of one, not of a thousandth": 1.5,
    }

    def is_right(answer: Any) -> bool | str:
        found = numbers(answer)
        if found is None:
            return "the answer is a number"
        return known(mistakes, found, 1e-9) or same(found, rate_at(TrainingConfig(), 500), 1e-6)

    check("3.1", rate, is_right, "read the source of `rate_at` in 3.3")


def check_2(updates: int | None) -> None:
    """How many updates of 2,000 samples show as many rows as the table has."""
    mistakes = {
        "an update runs four lanes": 20,
        "each lane has as many samples as the horizon": 40_000 / 4,
        "this is one lane, not the table": 10_000 / 2000 / 4,
        "count rows: 2,000 from each of four lanes": 40_000 / 2000 * 4,
    }

    def is_right(answer: Any) -> bool | str:
        found = numbers(answer)
        if found is None:
            return "the answer is a number"
        return known(mistakes, found) or same(found, len(FrequencyDataset(SignalSpec(), 1)) / (4 * 2000), 1e-9)

    check("3.2", updates, is_right, "rows in the table, over rows in an update")


def check_3(stage: Callable[[TrainingRun], Iterable[float]] | None) -> None:
    """A stage of five updates over the present horizon at a constant rate of 1e-3, after another stage."""

    def before(run: TrainingRun) -> Iterator[float]:
        run.horizon = 30
        yield update(run, run.from_reset, 1e-2)

    def is_right(stage: Callable[[TrainingRun], Iterable[float]]) -> bool | str:
        if not callable(stage):
            return "the answer is the function itself, without a call"
        losses: list[Any] = []
        hints: list[str] = []

        def noted(run: TrainingRun) -> Iterator[float]:
            made = stage(run)
            if not isinstance(made, Iterator):
                hints.append("`yield` each loss, so that `train` can validate and save between two updates")
                return
            for loss in islice(made, 6):
                losses.append(loss)
                if run.age != len(losses):
                    hints.append("one update before each `yield`, made by `update`")
                yield 0.0

        run = train(FrequencyDataset(SPEC, 1), None, ModelConfig(hidden_size=4), None, False, (before, noted))
        rates, horizons, made = (run.history[name][1:] for name in ("learning_rate", "horizon", "loss"))
        found = numbers(losses, len(made))
        checks = {
            "": not hints,
            "five updates, also after another stage: `run.age` counts those of the present stage": len(made) == 5,
            "the rate is one thousandth at every update": np.allclose(rates, 1e-3, rtol=1e-6),
            "the horizon is the one that the run has: `run.from_reset`": horizons == [30] * len(made),
            "`yield` what `update` returns": found is not None and same(found, made),
        }
        return next(((hint or hints[0]) for hint, holds in checks.items() if not holds), True)

    check("3.3", stage, is_right, "`for _ in range(5)`, and in it `yield update(run, run.from_reset, …)`")


def check_4(losses: Any) -> None:
    """The losses of forty updates over the whole recording, without growth."""

    def is_right(answer: Any) -> bool | str:
        history = getattr(answer, "history", answer)
        history = history.get("loss") if isinstance(history, dict) else history
        if (found := numbers(history, 40)) is None:
            return "the answer is the list of all forty losses, as `train(…).history['loss']` holds them"
        if not np.allclose(found[:2], _first_losses(), rtol=1e-3):
            return (
                "the losses are others: `TrainingConfig(anneal_updates=40)`, the assignment's signals, training noise 1"
            )
        return bool(0.3 < found[-10:].mean() < 0.7)

    check("3.4", losses, is_right, "`train(…, stages=(anneal,)).history` holds the loss of every update")


@functools.cache
def _first_losses() -> list[float]:
    """The losses of the first two of the forty updates."""

    def beginning(run: TrainingRun) -> Iterator[float]:
        return islice(iter(anneal(run)), 2)

    config = TrainingConfig(anneal_updates=40)
    return train(FrequencyDataset(SignalSpec(), 1), config, progress_bar=False, stages=(beginning,)).history["loss"]
