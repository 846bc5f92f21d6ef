"""Notebook 04: its exercises, each with the check of an answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lib.evaluation import metrics
from lib.lessons.exercises import check, digest
from lib.loader import FrequencyDataset
from lib.model import StatefulLSTMExtractor, roll_out
from lib.signals import Array, SignalSpec


def check_1(mse: float | None) -> None:
    """The MSE of the right sine at nine tenths of its amplitude."""
    target = SignalSpec().targets[1]
    small = metrics(0.9 * target, target)["mse"]
    check("4.1", mse, lambda x: np.isclose(x, small), "the error is a sine too; what is its mean square?")


def check_2(output: Array | None, model: StatefulLSTMExtractor, dataset: FrequencyDataset) -> None:
    """The output of a roll-out whose selector changes from lane 1 to lane 3 at sample 5000, without a reset."""

    def is_right(output: Array) -> bool:
        x = dataset.inputs[1:2].clone()
        x[:, 5000:, 1:] = dataset.inputs[3, 5000:, 1:]
        expected = roll_out(model, x, steps=x.shape[1])[0, :, 0].numpy()
        return np.shape(output) == expected.shape and np.allclose(output, expected, atol=1e-3)

    hint = "copy the inputs of lane 1, put the selector of lane 3 into their second half, and roll out once"
    check("4.2", output, is_right, hint)


def check_3(level: Callable[[Array, float, float], float] | None) -> None:
    """A function of output, frequency and sample rate: the second harmonic's level in dB below the fundamental."""

    def is_right(level: Callable[[Array, float, float], float]) -> bool:
        cases = ((1.0, 0.01, 3.0, 1000.0), (0.5, 0.05, 5.0, 1000.0), (2.0, 0.001, 7.0, 500.0))
        for first, second, frequency, rate in cases:
            turns = 2 * np.pi * frequency * np.arange(round(4 * rate)) / rate
            y = first * np.sin(turns + 0.3) + second * np.sin(2 * turns - 1.1) + 0.2 + 0.1 * np.cos(3 * turns)
            if abs(level(y, frequency, rate) - 20 * np.log10(second / first)) > 0.1:
                return False
        return True

    hint = "multiply the output by exp(−2πi·f·t), average over whole periods, and take the amount; dB count 20·log₁₀"
    check("4.3", level, is_right, hint)


def check_4(power: int | None) -> None:
    """The power of time with which the variance of a disturbed clock's phase grows."""
    check("4.4", power, lambda x: digest(int(x)) == "6b86b273", "what pulls the phase back?")
