"""Notebook 04: its exercises, each with the check of an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lib.lessons.exercises import Told, answer_of, check, digest, known, numbers
from lib.loader import FrequencyDataset
from lib.model import StatefulLSTMExtractor, roll_out
from lib.signals import Array, SignalSpec

Scores = Callable[[Array, Array], Any]
LateMse = Callable[[StatefulLSTMExtractor, FrequencyDataset, int], Any]
Level = Callable[[Array, float, float], Any]


def check_scores(my_scores: Scores | None) -> None:
    """A function of outputs and targets, (frequencies, samples) each, that returns R² of each frequency."""
    spec = SignalSpec(duration=1.0)
    rough = spec.targets * [[1.0], [0.9], [0.5], [1.0]] + 0.1 * spec.targets[::-1] + [[0.1], [0.0], [0.0], [0.3]]
    miss = rough - spec.targets
    spread = np.square(spec.targets - spec.targets.mean(axis=1, keepdims=True))
    expected = 1 - np.square(miss).sum(axis=1) / spread.sum(axis=1)
    mistakes = {
        "that is the MSE of each frequency; R² compares it with the variance of the target": (miss**2).mean(axis=1),
        "that is the share of the error; R² is one minus it": 1 - expected,
        "that is the squared correlation, which does not see a wrong amplitude or mean": [
            np.corrcoef(y, target)[0, 1] ** 2 for y, target in zip(rough, spec.targets, strict=True)
        ],
        "square the errors before you add them": 1 - np.abs(miss).mean(axis=1) / spec.targets.var(axis=1),
        "the sum over the errors must be squared errors over squared distances, without a root": (
            1 - np.sqrt(1 - expected)
        ),
        "divide by the spread of the target, not of the output": 1 - np.square(miss).mean(axis=1) / rough.var(axis=1),
    }

    def is_right(my_scores: Scores) -> bool | str:
        found = answer_of(my_scores, rough.copy(), spec.targets.copy())
        if isinstance(found, Told):
            return found
        values = numbers(list(found.values()) if isinstance(found, dict) else found)
        if values is not None:
            return "that is one number for all rows; take the mean along the samples alone, axis 1"
        values = numbers(list(found.values()) if isinstance(found, dict) else found, spec.n_frequencies)
        if values is None:
            return "return four numbers, one of each frequency: the samples lie along axis 1"
        return bool(np.allclose(values, expected, rtol=0, atol=5e-3)) or known(mistakes, values) or False

    check("of section 4.11", my_scores, is_right, "R² = 1 − Σ(y−ŷ)² / Σ(y−ȳ)², the sums along axis 1")


def check_late(my_late_mse: LateMse | None, model: StatefulLSTMExtractor, dataset: FrequencyDataset) -> None:
    """A function of model, dataset and lateness: MSE against the sine from the reset, and that which goes with S."""
    samples = min(1000, dataset.spec.n_samples)
    lateness = (samples // 10, samples // 3)
    second = FrequencyDataset(dataset.spec.but(duration=samples / dataset.spec.sample_rate), dataset.noise_seed)
    targets = second.targets[..., 0].double().numpy()

    def against_both(y: Array, late: int) -> list[float]:
        n = y.shape[1]
        return [float(np.mean((y - part) ** 2)) for part in (targets[:, :n], targets[:, late : late + n])]

    def outputs(start: int) -> Array:
        return roll_out(model, second.inputs[:, start:], steps=1000)[..., 0].double().numpy()

    expected = np.array([against_both(outputs(late), late) for late in lateness])
    ran_before = np.array([against_both(outputs(0)[:, late:], late) for late in lateness])
    mistakes = {
        "first the sine from the reset, then the one that goes with S": expected[:, ::-1],
        "the network has run before; give it the inputs from sample `late` on alone: there the reset comes": ran_before,
        "the same: the network has run before, and the two are in the other order": ran_before[:, ::-1],
        "that is the RMSE": np.sqrt(expected),
    }

    def is_right(my_late_mse: LateMse) -> bool | str:
        with model.evaluation_state():
            found = [answer_of(my_late_mse, model, second, late) for late in lateness]
        if told := next((part for part in found if isinstance(part, Told)), ""):
            return told
        values = numbers([numbers(part, 2) for part in found], 2, 2)
        if values is None or np.isnan(values).any():
            return "return two numbers: against the sine from the reset, and against the one that goes with S"
        return bool(np.allclose(values, expected, rtol=1e-3, atol=1e-6)) or known(mistakes, values) or False

    hint = "compare the output with as many targets from the first on, and with the targets from sample `late` on"
    check("of section 4.4", my_late_mse, is_right, hint)


def check_1(mse: Any) -> None:
    """The MSE of the right sine at nine tenths of its amplitude."""
    mistakes = {
        "the missing sine has this amplitude; what is the mean square of a sine?": 0.1,
        "that is the square at its peak; the mean square of a sine is a half of that": 0.01,
        "that is a half of the amplitude; square it first": 0.05,
        "what counts is the square of the difference, not the difference of the squares": 0.19,
        "that is half the difference of the squares; take the square of the difference": 0.095,
        "that is the mean square of the output; what is that of the error?": 0.405,
        "that is the RMSE; the MSE is its square": np.sqrt(0.005),
        "that is what silence scores": 0.5,
    }

    def is_right(mse: Any) -> bool | str:
        found = numbers(mse)
        return (
            "give one number" if found is None else bool(abs(found - 0.005) < 6e-5) or known(mistakes, found) or False
        )

    check("4.1", mse, is_right, "the error is a sine too; what is its mean square?")


def check_2(output: Any, model: StatefulLSTMExtractor, dataset: FrequencyDataset) -> None:
    """The output of a roll-out whose selector changes from lane 1 to lane 3 at sample 5000, without a reset."""
    samples = dataset.spec.n_samples

    def switched(at: int, lane: int = 3, first: int = 1) -> Array:
        x = dataset.inputs[first : first + 1].clone()
        x[:, at:, 1:] = dataset.inputs[lane, at:, 1:]
        return roll_out(model, x, steps=samples)[0, :, 0].double().numpy()

    def is_right(output: Any) -> bool | str:
        found = numbers(output.detach() if hasattr(output, "detach") else output, samples)
        if found is None:
            return f"store one output for each of the {samples:,} samples"
        right, rest = switched(5000), roll_out(model, dataset.inputs[3:4, 5000:], steps=samples)[0, :, 0].numpy()
        mistakes = {
            "nothing was switched: that is 3 Hz throughout": switched(samples),
            "that is 7 Hz from the first sample on": switched(0),
            "there was a reset at sample 5000: roll out once, over all samples": np.append(right[:5000], rest),
            "two roll-outs glued together are no switch: the state must go on": np.append(
                right[:5000], switched(0)[5000:]
            ),
            "lane 3 is 7 Hz": switched(5000, lane=2),
            "lane 1 is 3 Hz": switched(5000, first=0),
            "from 7 Hz to 3 Hz is the other way round": switched(5000, lane=1, first=3),
        }
        return bool(np.allclose(found, right, rtol=0, atol=1e-3)) or known(mistakes, found) or False

    hint = "copy the inputs of lane 1, put the selector of lane 3 into their second half, and roll out once"
    check("4.2", output, is_right, hint)


def check_3(level: Level | None) -> None:
    """A function of output, frequency and sample rate: the second harmonic's level in dB relative to the sine."""
    cases = ((1.0, 0.01, 3.0, 1000.0), (0.5, 0.05, 5.0, 1000.0), (2.0, 0.001, 7.0, 500.0))
    first, second = np.array(cases).T[:2]
    ratio = second / first
    mistakes = {
        "that is the wrong way round: the second harmonic relative to the sine": -20 * np.log10(ratio),
        "amplitudes count 20·log₁₀; 10·log₁₀ is for powers": 10 * np.log10(ratio),
        "that is the ratio; it is asked for in decibels": ratio,
        "that is the ratio of the powers; it is asked for in decibels": ratio**2,
        "decibels have the logarithm to the base ten": 20 * np.log(ratio),
        "that is the third harmonic; the second has twice the frequency": 20 * np.log10(0.1 / first),
        "that is the level of the harmonic itself; divide by the amplitude of the sine": 20 * np.log10(second),
    }

    def output(first: float, second: float, frequency: float, rate: float) -> Array:
        turns = 2 * np.pi * frequency * np.arange(round(4 * rate)) / rate
        rest = 0.2 + 0.1 * np.cos(3 * turns)
        return np.asarray(first * np.sin(turns + 0.3) + second * np.sin(2 * turns - 1.1) + rest)

    def is_right(level: Level) -> bool | str:
        found = [answer_of(level, output(*case), *case[2:]) for case in cases]
        if told := next((part for part in found if isinstance(part, Told)), ""):
            return told
        values = numbers([numbers(part) for part in found], len(cases)) if None not in map(numbers, found) else None
        if values is None:
            return "return one number"
        good = np.abs(values - 20 * np.log10(ratio)) < 0.1
        if good[:2].all() and not good[2]:
            return "it is right at 1000 Hz; use the sample rate that is given"
        return bool(good.all()) or known(mistakes, values, 0.05) or False

    hint = "multiply the output by exp(−2πi·f·t), average over whole periods, and take the amount; dB count 20·log₁₀"
    check("4.3", level, is_right, hint)


def check_4(power: Any) -> None:
    """The power of time with which the variance of a disturbed clock's phase grows."""
    mistakes = {
        "then the phase would settle; what pulls it back?": 0.0,
        "then each kick would point the same way as the last one": 2.0,
        "that is the spread; the question is about the variance, its square": 0.5,
    }

    def is_right(power: Any) -> bool | str:
        if isinstance(power, str):
            words = {"settles": 0, "random walk": 1, "drift": 2}
            power = next((value for name, value in words.items() if name in power.lower()), power)
        found = numbers(power)
        if found is None or found % 0.5:
            return "give one of the three numbers 0, 1 and 2"
        return digest(float(found)) == "d0ff5974" or known(mistakes, found) or False

    check("4.4", power, is_right, "what pulls the phase back?")
