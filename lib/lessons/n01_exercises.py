"""Notebook 01: its exercises, each with the check of an answer."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lib.lessons.exercises import check
from lib.lessons.gain import coherent_gain
from lib.signals import Array, SignalSpec, generate

OTHERS = (  # with which a reader's own generator is tried
    (SignalSpec(), 1),
    (SignalSpec(), 7),
    (SignalSpec(frequencies=(2.0, 9.0), duration=1.0, amplitude_range=(0.5, 0.6), phase_range=(-1.0, 1.0)), 3),
)


def check_1(gain: float | None) -> None:
    """The coherent gain at a phase width of half a turn."""
    half = coherent_gain(SignalSpec(phase_range=(-np.pi / 2, np.pi / 2)))
    hint = "the formula stands above the figure of the coherent gain; what is α here?"
    check("1.1", gain, lambda x: abs(x - half) < 1e-3, hint)


def check_2(mean: Array | None) -> None:
    """The mean of S over the noise seeds 0 to 399, moment by moment."""

    def is_right(mean: Array) -> bool:
        expected = generate(SignalSpec(), range(400)).mixed.mean(axis=0)
        return np.shape(mean) == expected.shape and np.allclose(mean, expected, atol=1e-9)

    check("1.2", mean, is_right, "`generate` takes a range of seeds; average over the seeds, not over time")


def check_3(signal: Callable[[SignalSpec, int], Array] | None) -> None:
    """A function of a specification and a noise seed that returns S."""

    def is_right(signal: Callable[[SignalSpec, int], Array]) -> bool:
        return all(np.allclose(signal(spec, seed), generate(spec, seed).mixed) for spec, seed in OTHERS)

    hint = "all amplitudes are drawn first, then all phases, each of shape (n_samples, n_frequencies)"
    check("1.3", signal, is_right, hint)


def check_4(reach: Callable[[float], float] | None) -> None:
    """A function of σ: the lag, in samples, at which the mean cosine of a walking phase has fallen to 1/e."""
    measured = {}
    for sigma in (0.1, 0.2):
        walks = np.random.default_rng(0).normal(0, sigma, (4000, 400)).cumsum(axis=1)
        measured[sigma] = int(np.argmax(np.cos(walks).mean(axis=0) < math.exp(-1))) + 1

    def is_right(reach: Callable[[float], float]) -> bool:
        return all(abs(reach(sigma) / lag - 1) < 0.1 for sigma, lag in measured.items())

    hint = "how is the sum of k independent normal steps distributed, and what is the mean of its cosine?"
    check("1.4", reach, is_right, hint)
