"""Notebook 08: what the study of networks has measured, and what an update and a step of each network cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from lib.checkpoint import REFERENCE
from lib.lessons.files import read_metrics
from lib.lessons.filters import kalman
from lib.lessons.n08_budget import HELD_OUT, SECONDS, STUDY, TRAINED, UPDATES, binned, edges
from lib.lessons.n08_networks import NETWORKS, build
from lib.lessons.n08_tasks import TASKS
from lib.lessons.tables import markdown_table
from lib.signals import Array, generate

GIVEN = {  # what each network remembers, and what it is given that the others are not
    "MLP on S and C": ("nothing", "nothing"),
    "MLP on time": ("a count of the samples", "the time since the reset, in s, as an input"),
    "MLP on a window": ("the last 1,000 samples of S", "nothing"),
    "linear recurrence": ("16 complex numbers", "rates from 0.5 to 14 Hz to begin with"),
    "LSTM": ("32 numbers h and 32 numbers c", "forget gates that begin open"),
    "LSTM with rotors": ("32 numbers h and 32 numbers c", "open forget gates, and rates from 0.5 to 14 Hz"),
    "convolution": ("the last 1,024 inputs", "nothing"),
    "plain RNN": ("32 numbers", "recurrent weights that keep lengths"),
    "Transformer": ("keys and values of the last 1,000 inputs", "positions as sines and cosines"),
    "Transformer, no positions": ("keys and values of the last 1,000 inputs", "nothing"),
    "GRU": ("32 numbers", "update gates that begin open"),
}
LANES = 8  # side by side, when the cost of an update is measured


class Outcome(NamedTuple):
    """What the trainings of one network on one task came to, with the rate and the horizon that validation chose."""

    parameters: int
    rate: float
    growing: bool  # whether the horizon grew
    horizons: list[int]  # where it ended, for each weight seed, samples
    validation: Array  # over the training, (weight seeds, measurements)
    curves: Array  # mean squared error on held-out noise, (weight seeds, bins)
    edges: Array  # of the bins, s

    def between(self, start: float, end: float) -> Array:
        """The mean squared error from one time to another, both in s, for each weight seed."""
        inside = (self.edges[:-1] > start - 1e-9) & (self.edges[1:] < end + 1e-9)
        return np.average(self.curves[:, inside], axis=1, weights=np.diff(self.edges)[inside])

    @property
    def trained(self) -> Array:
        """The error over the trained length."""
        return self.between(0, TRAINED / 1000)

    @property
    def beyond(self) -> Array:
        """The error after the trained length."""
        return self.between(TRAINED / 1000, SECONDS)


def read_study() -> dict[str, dict[str, Any]]:
    """The committed trainings, by their names."""
    return read_metrics(REFERENCE / f"{STUDY}.json")["results"]


def outcomes(task: str, times: int = 1) -> dict[str, Outcome]:
    """For each network of the study its chosen trainings on a task, within the budget or with more updates."""
    wanted = {"task": task, "updates": times * UPDATES[task]}
    found = {}
    for name in NETWORKS:
        sought = wanted | {"network": name}
        chosen = [r for r in read_study().values() if r.items() >= sought.items() and "over_time" in r]
        if not chosen:
            continue
        one = chosen[0]
        validation, curves = (np.array([r[key] for r in chosen]) for key in ("validation", "over_time"))
        horizons, places = [r["horizon"] for r in chosen], edges(task)
        if task == "assignment":  # whole seconds are whole periods of all sines
            curves, places = curves.reshape(len(curves), -1, 2).mean(axis=2), places[::2]
        found[name] = Outcome(one["parameters"], one["rate"], one["growing"], horizons, validation, curves, places)
    return found


def kalman_outcome(task: str = "extraction") -> Outcome:
    """The Kalman filter on the same sequences: it is told the frequencies and the noise, and it is not trained."""
    spec = TASKS[task].but(duration=SECONDS)
    _, mixed, targets = generate(spec, list(HELD_OUT[task]))
    curve = binned((kalman(spec, mixed) - targets) ** 2, task)
    return Outcome(0, 0.0, False, [], np.empty((0, 0)), curve[None], edges(task))


def _range(values: Array) -> str:
    """The lowest and the highest, as a text."""
    if len(values) == 1:
        return f"{values[0]:.1e}"
    return f"{values.min():.1e} to {values.max():.1e}"


def _grown(outcome: Outcome) -> str:
    """Whether the horizon grew, and how far."""
    if not outcome.growing:
        return "no" if outcome.rate else "-"
    return "to " + ", ".join(f"{horizon:,}" for horizon in sorted(outcome.horizons))


def score_table(found: dict[str, Outcome]) -> str:
    """In Markdown: what validation chose for each network, and the lowest and highest error of its weight seeds."""
    heads = ["network", "learning rate", "horizon grows", f"MSE to {TRAINED / 1000:g} s", "MSE after that"]
    rows = [
        [name, f"{o.rate:g}" if o.rate else "-", _grown(o), _range(o.trained), _range(o.beyond)]
        for name, o in found.items()
    ]
    return markdown_table(heads, rows)


def seconds(action: Callable[[], object], repeats: int) -> float:
    """The processor's time for an action, in s, the shortest of some: what else runs here can only make it longer."""
    found = []
    for _ in range(repeats):
        began = time.process_time()
        action()
        found.append(time.process_time() - began)
    return min(found)


def update_seconds(name: str, samples: int = TRAINED, repeats: int = 2) -> float:
    """The time of one update over so many samples, in s: forwards and backwards."""
    network, x = build(name, 4, 0), torch.randn(LANES, samples, 5, generator=torch.Generator().manual_seed(0))
    return seconds(lambda: network(x)[0].square().mean().backward(), repeats)


def step_seconds(name: str, before: int = TRAINED, steps: int = 50) -> float:
    """The time of one step at L = 1 with one lane, in s, after so many samples: windows are full by then."""
    network, x = build(name, 4, 0).eval(), torch.randn(1, 1, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        _, state = network(x.expand(1, before, 5))
        return seconds(lambda: [network(x, state) for _ in range(steps)], 5) / steps
