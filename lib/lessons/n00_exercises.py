"""Notebook 00: its exercises, each with the check of an answer."""

from __future__ import annotations

import numpy as np

from lib.lessons.exercises import check
from lib.loader import FrequencyDataset
from lib.signals import SignalSpec, generate


def check_1(mse: float | None) -> None:
    """The MSE of a network that always outputs zero."""
    check("0.1", mse, lambda x: abs(x - np.mean(SignalSpec().targets ** 2)) < 1e-6, "the target itself is the error")


def check_2(pair: tuple[float, float] | None) -> None:
    """Frequency in Hz and time in s of row 23,456."""

    def is_right(pair: tuple[float, float]) -> bool:
        spec = SignalSpec()
        x, y = FrequencyDataset(spec, noise_seed=1)[23_456]
        index, sample = spec.frequencies.index(pair[0]), pair[1] * spec.sample_rate
        if abs(sample - round(sample)) > 1e-6:
            return False
        mixed, target = generate(spec, noise_seed=1).mixed[round(sample)], spec.targets[index, round(sample)]
        found = float(x[0]), int(x[1:].argmax()), float(y[0])
        return np.allclose(found, (mixed, index, target), atol=1e-6)

    check("0.2", pair, is_right, "divide by the samples of one sequence, and look at the rest")


def check_3(mse: float | None) -> None:
    """The best MSE for a sine of unknown phase: over all constant guesses."""
    sine = np.sin(np.linspace(0, 2 * np.pi, 1000, endpoint=False))
    costs = [np.mean((guess - sine) ** 2) for guess in np.linspace(-1, 1, 201)]
    check("0.3", mse, lambda x: abs(x - min(costs)) < 1e-3, "which number is closest to a sine of unknown phase?")
