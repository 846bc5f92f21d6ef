"""The studies of notebook 08: an LSTM on windows of many lengths, and many networks, each at its own best rate."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import nn

from lib.lessons.n08_comparison import (
    HELD_OUT,
    RATES,
    SECONDS,
    TASKS,
    TIMES,
    WEIGHT_SEEDS,
    Job,
    in_bins,
    lanes,
    train_network,
)
from lib.lessons.n08_networks import NETWORKS, run_on
from lib.lessons.n08_windows import AGES, ALL, Window, squared_errors, train_windows
from lib.model import StatefulLSTMExtractor
from lib.signals import Array, SignalSpec
from lib.studies.keep import Keeper

VALIDATION = {"assignment": (101,), "extraction": range(6000, 6008)}  # noise seeds that choose the rate of a window
FINAL = {"assignment": (103,), "extraction": range(5000, 5016)}  # noise seeds that nothing is chosen by
FIRST = 20  # losses that are kept, so that a test can repeat the beginning
LONGER = {"extraction": ("linear recurrence", "LSTM")}  # trained once more, with more updates


def lengths(keep: Keeper) -> dict[str, Any]:
    """Windows of every length, with and without a state: three rates, then two more weight seeds at the best."""
    results = {}
    for window in ALL:

        def trained(rate: float, seed: int, window: Window = window) -> dict[str, Any]:
            return keep(f"{window.name}, rate {rate:g}, weight seed {seed}", measure_window, window, rate, seed)

        first = [trained(rate, WEIGHT_SEEDS[0]) for rate in window.rates]
        best = min(first, key=lambda found: float(found["validation_mse"]))["rate"]
        results[window.name] = [*first, *(trained(best, seed) for seed in WEIGHT_SEEDS[1:])]
    return results


def measure_window(window: Window, rate: float, weight_seed: int) -> dict[str, Any]:
    """Train one network on windows, and read it with the state carried and in windows from reset."""
    model, losses = train_windows(window, rate, weight_seed)
    spec, seeds, tail = TASKS[window.task], FINAL[window.task], max(1, len(losses) // 20)
    rolled, windowed = squared_errors(model, spec, seeds), squared_errors(model, spec, seeds, window.length)
    as_trained = None if window.carried else window.length
    found: dict[str, Any] = {
        "rate": rate,
        "weight_seed": weight_seed,
        "updates": window.updates,
        "first_losses": losses[:FIRST],
        "last_loss": float(np.mean(losses[-tail:])),  # of the last twentieth of the updates
        "validation_mse": squared_errors(model, spec, VALIDATION[window.task], as_trained).mean(),
        "rolled": rolled.mean(axis=(0, 2)),  # of each frequency
        "rolled_by_second": rolled.reshape(*rolled.shape[:2], 10, -1).mean(axis=(0, 1, 3)),
        "windowed": windowed.mean(axis=(0, 2)),
        "last_of_window": windowed[..., window.length - 1 :: window.length].mean(axis=(0, 2)),
    }
    if window.task == "extraction":
        found["sensitivity"] = sensitivity(model, spec, seeds, seconds=3.0)[AGES]
    return found


def sensitivity(model: StatefulLSTMExtractor, spec: SignalSpec, noise_seeds: Sequence[int], seconds: float) -> Array:
    """How the output at one moment depends on each earlier sample of S: the root mean square of the derivative.

    Returns:
        (samples,): from the present sample, which comes first, back to the reset.
    """
    x, _ = lanes(spec.but(duration=seconds), noise_seeds)
    x.requires_grad_(True)
    model.reset_state()
    (slope,) = torch.autograd.grad(model(x)[:, -1].sum(), x)
    model.reset_state()
    return slope[..., 0].double().square().mean(dim=0).sqrt().flip(0).numpy()


def networks(keep: Keeper) -> dict[str, Any]:
    """All networks on both tasks: three rates, for a clock the best one without growth, then two more weight seeds."""
    results: dict[str, Any] = {}
    for name, task in product(NETWORKS, TASKS):
        tried = [Job(task, name, rate, WEIGHT_SEEDS[0], growing=task == "assignment") for rate in RATES]
        found = {job: keep(job.name, measure_network, job) for job in tried}
        best = min(found, key=lambda job: found[job]["validation"][-1])
        if best.growing:
            whole = best._replace(growing=False)
            found[whole] = keep(whole.name, measure_network, whole)
            best = min(best, whole, key=lambda job: found[job]["validation"][-1])
        chosen = [best._replace(weight_seed=seed) for seed in WEIGHT_SEEDS]
        if name in LONGER.get(task, ()):
            chosen += [job._replace(times=TIMES) for job in chosen]
        for job in set(found) - set(chosen):
            del found[job]["over_time"]  # it marks the chosen ones
        found |= {job: keep(job.name, measure_network, job) for job in chosen if job not in found}
        results |= {job.name: result for job, result in found.items()}
    return results


def measure_network(job: Job) -> dict[str, Any]:
    """Train one network within the budget, and judge it on held-out noise, far beyond the trained length."""
    network, course = train_network(job, show=True)
    return job.settings | {
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "horizon": course["horizon"][-1],
        "validation": course["validation"],
        "first_losses": course["loss"][:FIRST],
        "over_time": error_over_time(network, job.task),
    }


def error_over_time(network: nn.Module, task: str) -> Array:
    """The binned error on held-out noise."""
    spec, seeds, found = TASKS[task].but(duration=SECONDS), HELD_OUT[task], []
    for first in range(0, len(seeds), 4):
        x, y = lanes(spec, seeds[first : first + 4])
        found.append((run_on(network, x) - y)[..., 0].square().double().numpy())
    return in_bins(np.concatenate(found), task)
