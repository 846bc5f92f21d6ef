"""Notebook 01: its exercises, each with the check of an answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from lib.lessons.exercises import calls_of, check, known, numbers, same
from lib.lessons.gain import coherent_gain
from lib.signals import Array, SignalSpec, draw_noise, generate, noisy_components

OTHERS = (  # with which a reader's own generator is tried
    (SignalSpec(frequencies=(2.0, 9.0), duration=1.0, amplitude_range=(0.5, 0.6), phase_range=(-1.0, 1.0)), 3),
    (SignalSpec(), 1),
    (SignalSpec(), 7),
)


def check_component(answer: Any, spec: SignalSpec, amplitude: Array, phase: Array) -> None:
    """The noisy component of 3 Hz, from the draws."""
    turn, a, p = 2 * np.pi * 3 * spec.time, amplitude[:, 1], phase[:, 1]
    mistakes = {
        "the phase noise is missing": a * np.sin(turn),
        "the amplitude noise is missing": np.sin(turn + p),
        "the phase is added inside the sine": a * np.sin(turn) + p,
        "3 Hz are three turns in a second, and a turn is 2π": a * np.sin(3 * spec.time + p),
        "the time is in seconds, not in samples": a * np.sin(2 * np.pi * 3 * np.arange(spec.n_samples) + p),
        "the formula has a sine, not a cosine": a * np.cos(turn + p),
        "take the draws of the same column, 1, for both": a * np.sin(turn + phase[:, 0]),
        "column 0 is 1 Hz, column 1 is 3 Hz": noisy_components(spec, amplitude, phase)[:, 0],
        "that is the mixture; here one component is asked for": noisy_components(spec, amplitude, phase).mean(axis=1),
    }

    def is_right(answer: Any) -> bool | str:
        found = numbers(answer, spec.n_samples)
        told = "it must be one value for each sample: all rows, and column 1"
        return told if found is None else same(found, a * np.sin(turn + p), 1e-5) or known(mistakes, found)

    check("of section 1.1", answer, is_right, "compare with the formula, sign by sign")


def check_mean(mean: Callable[[float, float], Any] | None) -> None:
    """A function of angle and phase width: the mean of sin(angle + φ) over φ from −πα to πα."""
    places = [(angle, alpha) for alpha in (0.5, 0.25, 0.9, 1.0) for angle in (0.7, 2.1, 5.0)]
    angle, alpha = np.array(places).T
    gain = np.sinc(alpha)
    mistakes = {
        "the angle alone: where are the phases?": np.sin(angle),
        "that is zero everywhere, but a width below a turn leaves something": 0 * angle,
        "that is what is left of the amplitude; the mean is still a sine of the angle": gain,
        "the phases lie on both sides of zero, from −πα to πα": gain * np.sin(angle + np.pi * alpha),
        "α is in turns: the phases go from −πα to πα, not from −α to α": np.sinc(alpha / np.pi) * np.sin(angle),
        "the phases are πα on each side of zero, 2πα in all": np.sinc(2 * alpha) * np.sin(angle),
        "half of that width: πα on each side of zero": np.sinc(alpha / 2) * np.sin(angle),
        "the mean of the sine, not of the cosine": gain * np.cos(angle),
    }

    def is_right(mean: Callable[[float, float], Any]) -> bool | str:
        if not callable(mean):
            return "give a function of the angle and of α"
        found = numbers([mean(*place) for place in places], len(places))
        if found is None:
            return "the function must return one number"
        return same(found, gain * np.sin(angle), 0.02) or known(mistakes, found, 0.02)

    check("of section 1.2", mean, is_right, "take many phases from −πα to πα, and average the sine of angle + φ")


def check_1(gain: Any) -> None:
    """The coherent gain at a phase width of half a turn."""
    half = coherent_gain(SignalSpec(phase_range=(-np.pi / 2, np.pi / 2)))
    mistakes = {
        "it does not fall in proportion: put α into the formula of section 1.2": 0.5,
        "that is α = 1/4: the phases go from −πα to πα": np.sinc(0.25),
        "that is the power, the square of it": half**2,
        "that is α = 1": 0.0,
        "check the denominator: πα": half / 2,
    }

    def is_right(answer: Any) -> bool | str:
        found = numbers(answer)
        if found is None:
            return "give one number"
        if same(found / 100, half, 5e-3):
            return "a share, not per cent"
        return same(found, half, 5e-3) or known(mistakes, found, 5e-3)

    check("1.1", gain, is_right, "the formula stands in section 1.2; what is α here? Two digits are enough")


@cache
def _recordings() -> Array:
    """S of the noise seeds 0 to 100, (101, samples)."""
    return generate(SignalSpec(), range(101)).mixed


def check_2(mean: Any) -> None:
    """The mean of S over the noise seeds 0 to 99, moment by moment."""

    def is_right(mean: Any) -> bool | str:
        recordings = _recordings()
        found = numbers(mean, recordings.shape[1])
        if found is None:
            return "it must be 10,000 values: average over the seeds, not over time"
        mistakes = {
            "that is the sum, not the mean": recordings[:100].sum(axis=0),
            "the seeds begin with 0": recordings[1:].mean(axis=0),
            "the last seed is 99": recordings.mean(axis=0),
            "and 99 is among them": recordings[:99].mean(axis=0),
            "that is one recording": recordings[0],
            "it is near zero, but not zero": 0 * found,
        }
        return same(found, recordings[:100].mean(axis=0), 1e-6) or known(mistakes, found, 1e-6)

    check("1.2", mean, is_right, "`generate` takes a range of seeds, and returns a row for each")


def _by_hand(
    spec: SignalSpec, seed: int, *, once: bool = False, swapped: bool = False, end: bool = False, across: bool = False
) -> Array:
    """The noisy components, (samples, frequencies), with the mistakes that one can make."""
    generator = np.random.default_rng(seed)
    shape = (1 if once else spec.n_samples, spec.n_frequencies)
    ranges = [spec.amplitude_range, spec.phase_range][:: -1 if swapped else 1]
    draws = [generator.uniform(*bounds, shape[:: -1 if across else 1]) for bounds in ranges]
    amplitude, phase = (draw.T if across else draw for draw in draws[:: -1 if swapped else 1])
    time = np.linspace(0, spec.duration, spec.n_samples) if end else spec.time
    return amplitude * np.sin(2 * np.pi * time[:, None] * np.array(spec.frequencies) + phase)


def check_3(signal: Callable[[SignalSpec, int], Any] | None) -> None:
    """A function of a specification and a noise seed that returns S."""

    def is_right(signal: Callable[[SignalSpec, int], Any]) -> bool | str:
        if not callable(signal):
            return "give a function of a specification and a noise seed"
        with calls_of(generate, draw_noise, noisy_components) as seen:
            given = [numbers(signal(*other), other[0].n_samples) for other in OTHERS]
        if seen:
            return f"write it with NumPy alone: `{seen[0]}` is the library's"
        answers = [found for found in given if found is not None]
        if len(answers) < len(OTHERS):
            return "it must return one value for each sample of the specification that it is given"
        if all(same(found, generate(*other).mixed, 1e-5) for found, other in zip(answers, OTHERS, strict=True)):
            return True
        if same(answers[1], answers[2]):
            return "the noise must depend on the seed"
        spec, seed = OTHERS[0]
        return known(
            {
                "first all amplitudes are drawn, then all phases": _by_hand(spec, seed, swapped=True).mean(axis=1),
                "a draw for every sample, not one for the recording": _by_hand(spec, seed, once=True).mean(axis=1),
                "each draw has the shape (samples, frequencies)": _by_hand(spec, seed, across=True).mean(axis=1),
                "the time does not include the end point": _by_hand(spec, seed, end=True).mean(axis=1),
                "the mean of the components, not their sum": _by_hand(spec, seed).sum(axis=1),
                "divide by the number of frequencies, which is not always four": _by_hand(spec, seed).sum(axis=1) / 4,
            },
            answers[0],
            1e-6,
        )

    hint = "which of ranges, frequencies, sample rate and duration does it not take from the specification?"
    check("1.3", signal, is_right, hint)


@cache
def _reach(sigma: float) -> int:
    """The lag at which the mean cosine of a phase that walks in steps of sigma has fallen to 1/e."""
    walks = np.random.default_rng(0).normal(0, sigma, (2000, 400)).cumsum(axis=1)
    return int(np.argmax(np.cos(walks).mean(axis=0) < math.exp(-1))) + 1


def check_4(reach: Callable[[float], Any] | None) -> None:
    """A function of σ: the lag, in samples, at which the mean cosine of a walking phase has fallen to 1/e."""
    sigmas = (0.1, 0.2)

    def is_right(reach: Callable[[float], Any]) -> bool | str:
        if not callable(reach):
            return "give a function of σ"
        found = numbers([reach(sigma) for sigma in sigmas], len(sigmas))
        if found is None:
            return "the function must return one number"
        if found[0] == found[1]:
            return "the lag depends on σ"
        ratio = found / [_reach(sigma) for sigma in sigmas]
        if np.abs(ratio - 1).max() < 0.1:
            return True
        if np.ptp(ratio) > 0.1 * np.abs(ratio).max():
            return "k independent steps of variance σ² have the variance kσ²: how does the lag depend on σ?"
        return "the power of σ is right, the factor is not: put e^(−v/2) equal to 1/e"

    check("1.4", reach, is_right, "which variance has the phase difference over k samples? Solve for k")
