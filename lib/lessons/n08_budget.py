"""Notebook 08: the same budget for every network, and what each makes of it; a study of many trainings."""

from __future__ import annotations

import functools
import hashlib
import inspect
import logging
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from lib.checkpoint import REFERENCE, find_checkpoint, save_checkpoint
from lib.lessons import n08_attention as attention
from lib.lessons import n08_networks as networks
from lib.lessons.files import write_metrics
from lib.lessons.n08_networks import NETWORKS, build, run_on
from lib.lessons.n08_tasks import TASKS, lanes
from lib.recipe import TrainingConfig, cosine
from lib.settings import usual_torch
from lib.signals import Array, SignalSpec

log = logging.getLogger(__name__)
STUDY = "networks"
UPDATES = {"assignment": 500, "extraction": 250}
RATES = (1e-3, 3e-3, 1e-2)  # the highest of the training; tuned for each network and task with weight seed 0
WEIGHT_SEEDS = range(3)
CLIP = 1.0  # bound on the norm of the gradient
NOISES = {"assignment": 1, "extraction": 2}  # noise seeds in an update; each with four selectors
FIRST_HORIZON, GROW_BELOW = 143, 2e-3  # a growing horizon begins with a period of 7 Hz, and grows at this loss
TRAINED = 1000  # samples: the longest sequence of the training, a second
TIMES, LONGER = 4, {"extraction": ("linear recurrence", "LSTM")}  # trained once more, with so many times the updates
VALIDATION = range(101, 109)  # noise seeds: they choose the rate
HELD_OUT = {"assignment": range(5000, 5004), "extraction": range(5000, 5016)}  # noise seeds: they judge
SECONDS = 20.0  # of the sequences that judge
VALIDATE_EVERY = 50  # updates
FIRST = 20  # losses that are kept, for the test that repeats them


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


def training(network: nn.Module, job: Job) -> Iterator[tuple[float, int]]:
    """Train a network; yields the loss and the horizon after each update.

    All networks share it: Adam, clipping, a rate that falls along a cosine, and fresh noise at every update.
    """
    optimizer, updates = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99)), job.updates
    horizon = FIRST_HORIZON if job.growing else TRAINED
    for update in range(updates):
        x, y = fresh(job.task, horizon, job.weight_seed, update)
        loss = nn.functional.mse_loss(network(x)[0], y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        for group in optimizer.param_groups:
            group["lr"] = job.rate * cosine(update / updates)
        optimizer.step()
        yield loss.item(), horizon
        if loss.item() < GROW_BELOW:
            horizon = min(TRAINED, math.ceil(horizon * TrainingConfig().growth))


def edges(task: str) -> Array:
    """Where the bins of the error over time begin and end, in s; half a second is a whole number of half periods."""
    halves = np.arange(0, SECONDS + 0.25, 0.5)
    return np.union1d(halves, np.arange(1, 20) / 20) if task == "extraction" else halves


def binned(squared: Array, task: str) -> Array:
    """The mean of a squared error (..., samples) in each bin, over everything but time."""
    places = np.round(edges(task) * TASKS[task].sample_rate).astype(int)
    curve = squared.reshape(-1, squared.shape[-1]).mean(axis=0)
    return np.add.reduceat(curve, places[:-1]) / np.diff(places)


def mse(network: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    """The mean squared error from reset."""
    return nn.functional.mse_loss(run_on(network, data[0]), data[1]).item()


def error_over_time(network: nn.Module, task: str) -> Array:
    """The binned error on held-out noise, far beyond the trained length."""
    spec, seeds, found = TASKS[task].but(duration=SECONDS), HELD_OUT[task], []
    for first in range(0, len(seeds), 4):
        x, y = lanes(spec, seeds[first : first + 4])
        found.append((run_on(network, x) - y)[..., 0].square().double().numpy())
    return binned(np.concatenate(found), task)


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


@functools.cache
def _digest() -> str:
    """A fingerprint of the code that a training depends on."""
    modules = networks, attention, sys.modules[__name__]
    return hashlib.sha256("".join(inspect.getsource(module) for module in modules).encode()).hexdigest()


def finished(job: Job, folder: Path, judged: bool) -> dict[str, Any]:
    """The course of a training, from its file if it has ended before; if ``judged``, with its error over time."""
    path = folder / f"{STUDY}-{job.name}.pt"
    content = find_checkpoint(path) or {}
    network = build(job.network, TASKS[job.task].n_frequencies, job.weight_seed)
    if content.get("settings") != job.settings or content.get("code") != _digest():
        network, course = train_network(job, show=True)
        content = {"settings": job.settings, "code": _digest(), "weights": network.state_dict(), "course": course}
        save_checkpoint(path, content)
    if judged and "over_time" not in content["course"]:
        network.load_state_dict(content["weights"])
        content["course"]["over_time"] = error_over_time(network, job.task).tolist()
        save_checkpoint(path, content)
    return content["course"]


def summary(job: Job, course: dict[str, Any], parameters: int) -> dict[str, Any]:
    """What is kept of a training, with four digits: more would only differ between machines."""

    def digits(values: list[float]) -> list[float]:
        return [float(f"{value:.4g}") for value in values]

    kept = job.settings | {"parameters": parameters, "horizon": course["horizon"][-1]}
    kept |= {"validation": digits(course["validation"]), "first_losses": digits(course["loss"][:FIRST])}
    return kept | ({"over_time": digits(course["over_time"])} if "over_time" in course else {})


def study(folder: Path) -> None:
    """Train all networks on both tasks, each with its best rate from several weight seeds; write the results.

    Finished trainings are kept in ``folder``, so that the same call goes on after a crash.
    """
    results: dict[str, Any] = {}
    for name in NETWORKS:
        for task, spec in TASKS.items():
            size = sum(weight.numel() for weight in build(name, spec.n_frequencies, 0).parameters())
            jobs = [Job(task, name, rate, WEIGHT_SEEDS[0], growing=task == "assignment") for rate in RATES]
            tuned = {job: finished(job, folder, judged=False) for job in jobs}
            best = min(tuned, key=lambda job: tuned[job]["validation"][-1])
            if best.growing:
                whole = best._replace(growing=False)
                tuned[whole] = finished(whole, folder, judged=False)
                best = min(best, whole, key=lambda job: tuned[job]["validation"][-1])
            chosen = [best._replace(weight_seed=seed) for seed in WEIGHT_SEEDS]
            if name in LONGER.get(task, ()):
                chosen += [job._replace(times=TIMES) for job in chosen]
            courses = tuned | {job: finished(job, folder, judged=True) for job in chosen}
            for job, course in courses.items():
                results[job.name] = summary(job, course, size)
            found = [courses[job]["validation"][-1] for job in chosen]
            log.info("%s: validation MSE %s", best.name, ", ".join(f"{x:.1e}" for x in found))
            write_metrics(REFERENCE / f"{STUDY}.json", results, {"command": "python -m lib studies networks"})
