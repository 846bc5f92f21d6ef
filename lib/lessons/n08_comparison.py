"""Notebook 08: the two tasks, the same budget for every network, and what the committed trainings came to."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from lib.checkpoint import REFERENCE
from lib.lessons.extractor import listening
from lib.lessons.files import read_metrics
from lib.lessons.filters import kalman
from lib.lessons.n08_networks import NETWORKS, build, run_on
from lib.lessons.tables import markdown_table
from lib.loader import assemble_inputs
from lib.recipe import TrainingConfig, cosine
from lib.settings import usual_torch
from lib.signals import Array, SignalSpec, generate

TASKS = {"assignment": SignalSpec(), "extraction": listening(0.25)}
UPDATES = {"assignment": 500, "extraction": 250}
RATES = (1e-3, 3e-3, 1e-2)  # the highest of the training; tuned for each network and task with weight seed 0
WEIGHT_SEEDS = range(3)
CLIP = 1.0  # bound on the norm of the gradient
NOISES = {"assignment": 1, "extraction": 2}  # noise seeds in an update; each with four selectors
FIRST_HORIZON, GROW_BELOW = 143, 2e-3  # a growing horizon begins with a period of 7 Hz, and grows at this loss
TRAINED = 1000  # samples: the longest sequence of the training, a second
TIMES = 4  # so many times the updates, for two networks
VALIDATION = range(101, 109)  # noise seeds: they choose the rate
HELD_OUT = {"assignment": range(5000, 5004), "extraction": range(5000, 5016)}  # noise seeds: they judge
SECONDS = 20.0  # of the sequences that judge
VALIDATE_EVERY = 50  # updates


def lanes(spec: SignalSpec, noise_seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Inputs (lanes, samples, 1 + n_frequencies) and targets (lanes, samples, 1): every selector for every seed."""
    _, mixed, pure = generate(spec, list(noise_seeds))
    targets = np.broadcast_to(pure, (len(noise_seeds), spec.n_frequencies, spec.n_samples)).astype(np.float32)
    return assemble_inputs(spec, mixed), torch.as_tensor(targets.reshape(-1, spec.n_samples, 1))


def chosen(trainings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of all trainings of a candidate those with its best rate, which the last one has: one for each weight seed."""
    return [training for training in trainings if training["rate"] == trainings[-1]["rate"]]


def fresh(task: str, horizon: int, weight_seed: int, update: int) -> tuple[Tensor, Tensor]:
    """The sequences of one update: their noise, and for the extraction their start phases, come nowhere else."""
    spec, first = shortened(task, horizon), 1_000_000 * (weight_seed + 1) + update * NOISES[task]
    return lanes(spec, range(first, first + NOISES[task]))


def shortened(task: str, samples: int) -> SignalSpec:
    """The signals of a task, for so many samples."""
    return TASKS[task].but(duration=samples / TASKS[task].sample_rate)


class Job(NamedTuple):
    """One training of the study."""

    task: str
    network: str
    rate: float
    weight_seed: int
    growing: bool  # the horizon grows, as in the recipe; else all samples from the first update on
    times: int = 1  # so many times the updates of the budget

    @property
    def updates(self) -> int:
        """How many updates it has."""
        return self.times * UPDATES[self.task]

    @property
    def settings(self) -> dict[str, Any]:
        """What its result depends on, beside the code."""
        given = {name: value for name, value in self._asdict().items() if name != "times"}
        return given | {"updates": self.updates, "noises": NOISES[self.task]}

    @property
    def name(self) -> str:
        """It tells the trainings of the study apart."""
        more = ", growing" * self.growing + f", {self.times} times the updates" * (self.times > 1)
        return f"{self.task}, {self.network}, rate {self.rate:g}{more}, weight seed {self.weight_seed}"


def descend(network: nn.Module, loss_of: Callable[[int], Tensor], rate: float, updates: int) -> Iterator[float]:
    """Minimize a loss by Adam, with clipping and a rate that falls along a cosine; yields the loss of each update."""
    optimizer = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
    for update in range(updates):
        loss = loss_of(update)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.param_groups[0]["lr"] = rate * cosine(update / updates)
        optimizer.step()
        yield loss.item()


def training(network: nn.Module, job: Job) -> Iterator[tuple[float, int]]:
    """Train a network, with fresh noise at every update; yields the loss and the horizon after each."""
    horizon = FIRST_HORIZON if job.growing else TRAINED

    def loss_of(update: int) -> Tensor:
        x, y = fresh(job.task, horizon, job.weight_seed, update)
        return nn.functional.mse_loss(network(x)[0], y)

    for loss in descend(network, loss_of, job.rate, job.updates):
        yield loss, horizon
        if loss < GROW_BELOW:
            horizon = min(TRAINED, math.ceil(horizon * TrainingConfig().growth))


def edges(task: str) -> Array:
    """Where the bins of the error over time begin and end, in s; half a second is a whole number of half periods."""
    halves = np.arange(0, SECONDS + 0.25, 0.5)
    return np.union1d(halves, np.arange(1, 20) / 20) if task == "extraction" else halves


def in_bins(squared: Array, task: str) -> Array:
    """The mean of a squared error (..., samples) in each bin, over everything but time."""
    places = np.round(edges(task) * TASKS[task].sample_rate).astype(int)
    curve = squared.reshape(-1, squared.shape[-1]).mean(axis=0)
    return np.add.reduceat(curve, places[:-1]) / np.diff(places)


def mse(network: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    """The mean squared error from reset."""
    return nn.functional.mse_loss(run_on(network, data[0]), data[1]).item()


@usual_torch()
def train_network(job: Job, show: bool = False) -> tuple[nn.Module, dict[str, Any]]:
    """Train one network within the budget; the network, and the course of its training.

    The course holds the loss and the horizon at every update, and the validation error now and then, over the trained
    length.
    """
    validation = lanes(shortened(job.task, TRAINED), VALIDATION)
    network = build(job.network, TASKS[job.task].n_frequencies, job.weight_seed)
    course: dict[str, Any] = {"loss": [], "horizon": [], "validation": []}
    steps = tqdm(training(network, job), job.name, job.updates, leave=False, disable=not show)
    for loss, horizon in steps:
        course["loss"].append(loss)
        course["horizon"].append(horizon)
        if len(course["loss"]) % VALIDATE_EVERY == 0:
            course["validation"].append(mse(network, validation))
    return network, course


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


class Result(NamedTuple):
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
    return read_metrics(REFERENCE / "networks.json")["results"]


def results_of(task: str, times: int = 1) -> dict[str, Result]:
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
        found[name] = Result(one["parameters"], one["rate"], one["growing"], horizons, validation, curves, places)
    return found


def kalman_result(task: str = "extraction") -> Result:
    """The Kalman filter on the same sequences: it is told the frequencies and the noise, and it is not trained."""
    spec = TASKS[task].but(duration=SECONDS)
    _, mixed, targets = generate(spec, list(HELD_OUT[task]))
    curve = in_bins((kalman(spec, mixed) - targets) ** 2, task)
    return Result(0, 0.0, False, [], np.empty((0, 0)), curve[None], edges(task))


def _range(values: Array) -> str:
    """The lowest and the highest, as a text."""
    if len(values) == 1:
        return f"{values[0]:.1e}"
    return f"{values.min():.1e} to {values.max():.1e}"


def _grown(result: Result) -> str:
    """Whether the horizon grew, and how far."""
    if not result.growing:
        return "no" if result.rate else "-"
    return "to " + ", ".join(f"{horizon:,}" for horizon in sorted(result.horizons))


def score_table(found: dict[str, Result]) -> str:
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
