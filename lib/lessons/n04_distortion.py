"""Notebook 04: what kind of error it is. Harmonics of an output, what returns each period, the start and the rest."""

from __future__ import annotations

import numpy as np

from lib.lessons.dynamics import repetition
from lib.signals import Array, SignalSpec


def half_of_the_slowest(spec: SignalSpec) -> int:
    """Samples in half a period of the slowest sine: what the notebooks call the start."""
    return round(0.5 * spec.sample_rate / min(spec.frequencies))


def harmonics(output: Array, frequency: float, sample_rate: float, count: int = 9) -> Array:
    """Amplitudes of the harmonics 1 … ``count`` of an output (samples,), over as many whole periods as it holds.

    Harmonic k is the part at k times the frequency; the first is the sine itself. Only a whole number of periods
    separates them from one another.

    Raises:
        ValueError: the output is shorter than a period.
    """
    period = sample_rate / frequency
    periods = int(len(output) / period + 1e-9)
    if periods < 1:
        raise ValueError(f"output has {len(output)} samples: must have at least a period, {period:g}")
    used = output[: round(periods * period)]
    turns = 2j * np.pi * frequency * np.arange(len(used)) / sample_rate
    return np.array([2 * np.abs(np.mean(used * np.exp(-k * turns))) for k in range(1, count + 1)])


def levels(amplitudes: Array) -> Array:
    """Harmonics 2, 3 … relative to the first, in dB: −40 dB is a hundredth of its amplitude."""
    return 20 * np.log10(np.maximum(amplitudes[1:], 1e-12) / amplitudes[0])


def returning_share(error: Array, frequency: float, sample_rate: float) -> float:
    """Share of the squared error (samples,) that returns: its mean over repetitions, against all of it.

    The error is folded at the shortest time that is both whole periods and whole samples, or at that time of at most
    half the error which is most nearly so. NaN if the error is shorter than two periods.
    """
    half = len(error) // 2
    if half < sample_rate / frequency:
        return float("nan")
    fold, _ = repetition(frequency, sample_rate, half)
    folded = error[: len(error) // fold * fold].reshape(-1, fold)
    return float(np.mean(folded.mean(axis=0) ** 2) / np.mean(folded**2))


def tail_ratio(error: Array) -> Array:
    """MAE / RMSE along the last axis: √(2/π) for Gaussian errors, less for heavier tails, 1 at most."""
    return np.abs(error).mean(axis=-1) / np.sqrt(np.mean(error**2, axis=-1))
