"""Notebook 00: its exercises, each with the check of an answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from lib.lessons.exercises import check, known, numbers, same
from lib.signals import SignalSpec

ONE = "give one number"


def check_1(mse: Any) -> None:
    """The MSE of a network that always outputs zero."""
    target = SignalSpec().targets
    mistakes = {
        "that is the root of it": np.std(target),
        "that is the mean of the sine without its sign; here it is squared": np.abs(target).mean(),
        "its mean square: it is at its peak only for a moment": 1.0,
        "the output is zero, but the error is not: output less target": 0.0,
    }

    def is_right(answer: Any) -> bool | str:
        found = numbers(answer)
        return ONE if found is None else same(found, np.mean(target**2), 1e-3) or known(mistakes, found, 1e-2)

    check("0.1", mse, is_right, "the target itself is the error; what is the mean of its square?")


def check_2(pair: Any) -> None:
    """Frequency in Hz and time in s of row 23,456."""
    spec = SignalSpec()
    lane, sample = divmod(23_456, spec.n_samples)
    frequency, time = spec.frequencies[lane], spec.time[sample]
    mistakes = {
        "the time is asked for in seconds, not in samples": (frequency, sample),
        "the frequency is asked for in Hz, not its place in the list": (lane, time),
        "first the frequency, then the time": (time, frequency),
        "the first frequency has index 0": (spec.frequencies[lane - 1], time),
        "each frequency's time begins at zero again": (frequency, 23.456),
        "the first sample has index 0, and the time 0": (frequency, time + 0.001),
    }

    def is_right(answer: Any) -> bool | str:
        found = numbers(answer, 2)
        told = "give a pair of two numbers, (frequency, time)"
        return told if found is None else same(found, (frequency, time)) or known(mistakes, found, 1e-9)

    check("0.2", pair, is_right, "divide by the samples of one sequence, and look at the remainder")


def check_3(mse: Any) -> None:
    """The best MSE for a sine of unknown phase: over all constant guesses."""
    sine = np.sin(np.linspace(0, 2 * np.pi, 1000, endpoint=False))
    best = min(np.mean((guess - sine) ** 2) for guess in np.linspace(-1, 1, 201))
    mistakes = {
        "for that it would have to know the phase": 0.0,
        "a sine of a wrong phase scores that on average; is there a better guess?": 1.0,
    }

    def is_right(answer: Any) -> bool | str:
        found = numbers(answer)
        return ONE if found is None else same(found, best, 1e-3) or known(mistakes, found)

    check("0.3", mse, is_right, "which number is closest to a sine of unknown phase?")
