"""Notebook 08: an LSTM trained on windows of L samples, with the state carried between them or without a state."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from lib.lessons.instruments import saved_bytes
from lib.lessons.n08_comparison import TASKS, descend, lanes
from lib.model import StatefulLSTMExtractor
from lib.recipe import TrainingConfig, prepare_weights, signal_weights
from lib.settings import usual_torch
from lib.signals import Array, SignalSpec

LENGTHS = {"assignment": (1, 10, 50, 100, 200, 500, 1000), "extraction": (1, 10, 50, 100, 500, 1000)}  # L, samples
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # the three lower ones for short windows, the three higher ones for others
BUDGET = 12.0  # s of one core for each training, by the costs below
COSTS = {"assignment": (0.75e-3, 7.8e-6), "extraction": (0.85e-3, 60e-6)}  # s for an update, and for each sample of L
AGES = np.unique(np.geomspace(1, 3000, 60).astype(int)) - 1  # samples: at these the sensitivity is kept


class Window(NamedTuple):
    """One way to cut the sequences."""

    task: str  # one of `TASKS`
    length: int  # samples that the gradient crosses, L
    carried: bool  # the state goes from window to window, detached; else every window begins from a reset
    prepared: bool = True  # begin with the recipe's initial weights, which remember; else with PyTorch's own

    @property
    def updates(self) -> int:
        """As many as the budget of time allows, by the costs, so that a repetition makes the same number."""
        fixed, by_sample = COSTS[self.task]
        return round(BUDGET / (fixed + by_sample * self.length))

    @property
    def rates(self) -> tuple[float, ...]:
        """Learning rates that are tried; the best on validation noise is taken."""
        return RATES[:3] if self.length <= 50 else RATES[2:]

    @property
    def name(self) -> str:
        """For tables and files."""
        told = f"{self.task}, L = {self.length}, {'state carried' if self.carried else 'no state'}"
        return told if self.prepared else f"{told}, PyTorch's weights"

    def stream(self) -> Iterator[tuple[Tensor, Tensor, bool]]:
        """Windows without end: inputs, targets, and whether the state is reset before them.

        The assignment's task repeats its recording. For extraction, eight new sequences of four seconds follow another
        eight, each with every selector.
        """
        spec, first = TASKS[self.task], 10_000
        while True:
            if self.task == "assignment":
                x, y = lanes(spec, [1])
            else:
                x, y = lanes(spec.but(duration=4.0), range(first, first + 8))
                first += 8
            for begin in range(0, x.shape[1], self.length):
                part = slice(begin, begin + self.length)
                yield x[:, part], y[:, part], begin == 0 or not self.carried


ALL = [Window(task, length, carried) for task in TASKS for length in LENGTHS[task] for carried in (True, False)]
ALL += [Window("extraction", length, carried=True, prepared=False) for length in (10, 100, 1000)]


def new_model(task: str, weight_seed: int, prepared: bool = True) -> StatefulLSTMExtractor:
    """A network with the recipe's initial weights, or PyTorch's. For extraction it hears S, three times as loud."""
    listens = task == "extraction"
    with torch.random.fork_rng():
        torch.manual_seed(weight_seed)
        model = StatefulLSTMExtractor()
    if prepared:
        prepare_weights(model, TrainingConfig(train_signal_weights=listens), TASKS[task])
    if listens:
        signal_weights(model).mul_(3)
    return model


@usual_torch()
def train_windows(
    window: Window, rate: float, weight_seed: int, updates: int | None = None, progress_bar: bool = True
) -> tuple[StatefulLSTMExtractor, list[float]]:
    """Train with Adam, with a rate that falls along a cosine; returns the network and the loss of every update.

    Args:
        window: the task, and how its sequences are cut.
        rate: the highest learning rate.
        weight_seed: of the initial weights.
        updates: break off after so many; default: the window's own number.
        progress_bar: show one.
    """
    model, stream = new_model(window.task, weight_seed, window.prepared), window.stream()

    def loss_of(_update: int) -> Tensor:
        x, y, reset = next(stream)
        return nn.functional.mse_loss(model(x, reset_state=reset), y)

    count, losses = updates or window.updates, []
    course = islice(descend(model, loss_of, rate, window.updates), count)
    for loss in tqdm(course, window.name, count, disable=not progress_bar, leave=False):
        model.detach_state()
        if window.task == "assignment":
            signal_weights(model).zero_()
        losses.append(loss)
    model.reset_state()
    return model.eval(), losses


def squared_errors(
    model: StatefulLSTMExtractor, spec: SignalSpec, noise_seeds: Sequence[int], length: int | None = None
) -> Array:
    """Squared errors (seeds, n_frequencies, samples) of the roll-out; with a length, of windows without a state."""
    x, y = lanes(spec, noise_seeds)
    size = length or x.shape[1]
    with model.evaluation_state():
        outputs = [model(part, reset_state=True) for part in x.split(size, dim=1)]
    squared = (torch.cat(outputs, dim=1) - y).square()[..., 0].double().numpy()
    return squared.reshape(len(noise_seeds), spec.n_frequencies, -1)


def share_older(slope: Array, length: int) -> float:
    """Of the squared sensitivity to the last 2,500 samples, the share of those that are older than a window.

    The half second after the reset is left out: some networks hang on its first samples.
    """
    every = np.interp(np.arange(2500), AGES, np.square(slope))
    return float(every[length:].sum() / every.sum())


def best_without_state(spec: SignalSpec, length: int) -> Array:
    """The least error of a network that hears nothing and knows only its place in a window, for each frequency.

    It can do no better than the mean of the targets at that place, over all windows; (n_frequencies,).
    """
    whole = spec.n_samples // length
    parts = spec.targets[:, : whole * length].reshape(spec.n_frequencies, whole, length)
    return np.mean((parts - parts.mean(axis=1, keepdims=True)) ** 2, axis=(1, 2))


def cost(length: int, passes: int = 3) -> tuple[float, int]:
    """What a pass over the assignment's recording costs: seconds (the least of some), and bytes kept for the way back.

    The seconds are those of ten updates at most, times the number of windows in a pass.
    """
    model, (x, y) = new_model("assignment", 0), lanes(TASKS["assignment"], [1])
    part, count = slice(0, length), min(10, x.shape[1] // length)
    kept = saved_bytes(lambda: model(x[:, part], reset_state=True))
    least = math.inf
    for _ in range(passes):
        began = time.perf_counter()
        for _ in range(count):
            nn.functional.mse_loss(model(x[:, part]), y[:, part]).backward()
            model.detach_state()
        least = min(least, time.perf_counter() - began)
    return least / count * (x.shape[1] // length), kept
