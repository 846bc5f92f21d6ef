"""Notebook 09: a study of settings: effects with intervals, what interacts, how tuning deceives."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy  # `scipy.stats` is loaded when it is used: it takes a second

from lib.loader import FrequencyDataset
from lib.model import ModelConfig
from lib.recipe import TrainingConfig, TrainingRun, anneal
from lib.signals import Array, SignalSpec
from lib.training import train

BASE = "as shipped"
PAIRS = ("two layers, dropout 0.1", "linear output")  # points of one change that takes two settings
WORDS = {  # a setting in words; others are told by name and value
    ("forget_bias", 0.0): "forget gates as PyTorch opens them",
    ("forget_bias", 1.5): "forget gates opened by 1.5",
    ("forget_bias", 5.0): "forget gates opened by 5",
    ("rotors", False): "no rotors",
    ("muon_rate", 0.0): "Adam alone",
    ("num_layers", 2): "two layers",
    ("dropout", 0.1): "dropout 0.1",
    ("input_norm", True): "input normalization",
    ("output_norm", True): "output normalization",
    ("activation", "tanh"): "tanh before the output",
    ("activation", "identity"): "linear output",
    ("head_size", 0): "",
    ("phase_step", 1000.0): "one rate at all horizons",
    ("rate_factor", 0.333): "rates × 1/3",
    ("rate_factor", 3.0): "rates × 3",
    ("train_signal_weights", True): "weights from S trained",
    ("clip_norm", 0.1): "clipping at 0.1",
    ("clip_norm", 10.0): "clipping at 10",
    ("grow_below", 1e-2): "growing below 1e-2",
    ("growth", 1.5): "growth by 1.5",
    ("hidden_size", 16): "hidden 16",
    ("hidden_size", 64): "hidden 64",
}


class Trial(NamedTuple):
    """One training of the study."""

    point: str  # what differs from the recipe as shipped, in words
    settings: Mapping[str, Any]  # the same, as settings
    weight_seed: int
    noise: int  # the training noise
    mse: float  # on validation noise
    succeeded: bool
    growth_updates: int  # of the stage grow
    unseen: Array  # MSE on unseen noises; empty for a network that cannot hear them

    @property
    def draw(self) -> tuple[int, int]:
        """What is drawn at random: weight seed and training noise."""
        return self.weight_seed, self.noise


def name_of(settings: Mapping[str, Any]) -> str:
    """A point of the study in words."""
    ordered = sorted(settings.items(), key=lambda item: item[0] == "rate_factor")  # last
    told = [WORDS.get((name, value), f"{name} = {value}") for name, value in ordered]
    return ", ".join(filter(None, told)) or BASE


def read_trials(results: Mapping[str, Any]) -> list[Trial]:
    """The trials of the committed study, from its results."""
    return [
        Trial(
            name_of(r["settings"]),
            r["settings"],
            r["weight_seed"],
            r["train_noise_seed"],
            r["validation_mse"],
            r["succeeded"],
            r["stage_ends"]["grow"],
            np.array(r["unseen_mse"]),
        )
        for r in results["trials"]
    ]


def by_point(trials: Iterable[Trial]) -> dict[str, list[Trial]]:
    """The trials of each point, in the study's order."""
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(trial.point, []).append(trial)
    return found


def interval(values: Array, miss: float = 0.1) -> tuple[float, float]:
    """An interval for the median of what the values (n,) are drawn from; it misses it in a share ``miss`` at most.

    A draw lies below that median as often as above it. So the lowest and the highest value miss it with probability
    2 / 2ⁿ, and the k-th from either end as a binomial distribution says; the narrowest such pair is taken.
    """
    found = scipy.stats.quantile_test(values, p=0.5).confidence_interval(1 - miss)
    if np.isnan(found.low):
        raise ValueError(f"values: {len(values)} are too few, must be at least {math.ceil(1 - math.log2(miss))}")
    return float(found.low), float(found.high)


class Effect(NamedTuple):
    """What a point does to the validation error, as factors of that of the recipe as shipped from the same draw."""

    ratios: Array  # (draws,)
    median: float
    low: float  # of the interval of the median
    high: float
    succeeded: int  # how many of the trainings
    mse: float  # median of the validation error itself

    @property
    def distinct(self) -> bool:
        """Whether the interval of the median leaves out one, which means no effect."""
        return self.low > 1 or self.high < 1


def effects(trials: Iterable[Trial], base: str = BASE) -> dict[str, Effect]:
    """The effect of each point, compared draw by draw: the same weight seed and the same training noise."""
    points = by_point(trials)
    shipped = {trial.draw: trial.mse for trial in points[base]}
    found = {}
    for name, own in points.items():
        if name == base:
            continue
        logs = np.array([np.log(trial.mse / shipped[trial.draw]) for trial in own if trial.draw in shipped])
        low, high = interval(logs)
        succeeded = sum(trial.succeeded for trial in own)
        median = float(np.median([trial.mse for trial in own]))
        middle = float(np.median(logs))
        found[name] = Effect(np.exp(logs), math.exp(middle), math.exp(low), math.exp(high), succeeded, median)
    return found


def grid_of(
    trials: Iterable[Trial], first: str, second: str, defaults: tuple[Any, Any]
) -> dict[tuple[Any, Any], Array]:
    """Validation errors, (draws,), at each pair of values of two settings, all others as shipped."""
    found: dict[tuple[Any, Any], dict[tuple[int, int], float]] = {}
    for trial in trials:
        if set(trial.settings) <= {first, second}:
            place = trial.settings.get(first, defaults[0]), trial.settings.get(second, defaults[1])
            found.setdefault(place, {})[trial.draw] = trial.mse
    shared = set.intersection(*(set(draws) for draws in found.values()))
    return {place: np.array([found[place][draw] for draw in sorted(shared)]) for place in sorted(found)}


def shares(grid: Mapping[tuple[Any, Any], Array]) -> dict[str, float]:
    """Which share of the variance of the errors' ranks belongs to either setting, to both together, and to the draw.

    The sums of squares of an analysis of variance with two factors, on ranks, which one failed training cannot outweigh
    as it would the errors or their logarithms. The grid must hold every pair, and each as many draws. "Both together"
    is what the sum of the two effects leaves of the means of the cells: their interaction.
    """
    rows, columns = (sorted({place[k] for place in grid}) for k in (0, 1))
    errors = np.array([[grid[row, column] for column in columns] for row in rows])  # (rows, columns, draws)
    ranks = scipy.stats.rankdata(errors, axis=None).reshape(errors.shape)
    mean, cells = ranks.mean(), ranks.mean(axis=2)
    row, column = cells.mean(axis=1, keepdims=True) - mean, cells.mean(axis=0, keepdims=True) - mean
    squares = {
        "first": np.broadcast_to(row, cells.shape),
        "second": np.broadcast_to(column, cells.shape),
        "both together": cells - mean - row - column,
    }
    parts = {name: float((part**2).mean()) for name, part in squares.items()}
    parts["draw"] = float(((ranks - cells[..., None]) ** 2).mean())
    total = sum(parts.values())
    return {name: part / total for name, part in parts.items()}


class Deception(NamedTuple):
    """What `deception` returns: (studies,) each."""

    tuned: Array  # error on the noise that chose, over the mean error on all other noises
    honest: Array  # the same on a noise that did not choose
    regret: Array  # mean error of the chosen one, over that of the candidate with the lowest mean error


def deception(scores: Array, candidates: int, studies: int = 4000, seed: int = 0) -> Deception:
    """Draw many small studies from trained networks: choose the best of some candidates on one noise.

    Args:
        scores: MSE of each network on each noise, (networks, noises).
        candidates: how many networks, drawn without repetition, a study chooses from.
        studies: how many to draw.
        seed: of the drawing.
    """
    generator = np.random.default_rng(seed)
    found = np.empty((3, studies))
    for study in range(studies):
        networks = generator.choice(len(scores), candidates, replace=False)
        chooses, judges = generator.choice(scores.shape[1], 2, replace=False)
        own = scores[networks]
        best = own[own[:, chooses].argmin()]
        others = np.delete(best, chooses)
        means = np.delete(own, chooses, axis=1).mean(axis=1)
        found[:, study] = (
            best[chooses] / others.mean(),
            best[judges] / np.delete(best, judges).mean(),
            others.mean() / means.min(),
        )
    return Deception(*found)


def choose(trials: Iterable[Trial]) -> str:
    """The rule: of the points that beat the recipe as shipped, that with the lowest median error; else the recipe.

    A point beats it if the interval of its effect lies below one, and if none of its trainings has failed.
    """
    better = {
        name: effect.mse
        for name, effect in effects(trials).items()
        if effect.high < 1 and effect.succeeded == len(effect.ratios)
    }
    return min(better, key=lambda name: better[name]) if better else BASE


def seconds_of_update(size: int, horizon: int = 2500, updates: int = 2) -> float:
    """The shortest of some updates of a network of this hidden size from reset, in seconds, on this computer."""
    spec = SignalSpec(duration=horizon / SignalSpec().sample_rate)
    config = TrainingConfig(anneal_updates=updates, validate_every=updates + 1)
    moments = [time.perf_counter()]

    def timed(run: TrainingRun) -> Iterator[float]:
        for loss in anneal(run):
            moments.append(time.perf_counter())
            yield loss

    train(FrequencyDataset(spec, 1), config, ModelConfig(hidden_size=size), progress_bar=False, stages=(timed,))
    return float(np.diff(moments).min())
