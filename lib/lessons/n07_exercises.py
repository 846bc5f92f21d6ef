"""Notebook 07: its exercises, each with the check of an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lib.lessons.exercises import check


def check_1(alpha: float | None) -> None:
    """The phase width, in turns, at which half of a sine is left."""
    hint = "the coherent gain is sin(πα) / (πα); where is it one half?"
    check("7.1", alpha, lambda x: 0 < x < 1 and abs(np.sinc(x) - 0.5) < 0.005, hint)


def check_2(seconds: float | None) -> None:
    """When the error of the filter has fallen to a quarter of that after two seconds."""
    hint = "read two moments from the figure; how does the error depend on the time?"
    check("7.2", seconds, lambda x: not isinstance(x, bool) and abs(x - 8) < 0.4, hint)


def check_3(correct: Callable[..., Any] | None) -> None:
    """A function of state, covariance, seen, noise and sample: the state and the covariance after the sample."""

    def is_right(correct: Callable[..., Any]) -> bool:
        generator = np.random.default_rng(0)
        for size in (2, 8):
            root = generator.normal(size=(size, size))
            state, covariance, seen = generator.normal(size=size), root @ root.T, generator.normal(size=size)
            noise, sample = 0.3, 1.7
            # by Bayes' rule in its other form: precisions add, and so do precisions times means
            precision = np.linalg.inv(covariance) + np.outer(seen, seen) / noise
            wanted = np.linalg.solve(precision, np.linalg.solve(covariance, state) + seen * sample / noise)
            given = state.copy(), covariance.copy()
            found, left = correct(state, covariance, seen, noise, sample)
            if not (np.allclose(found, wanted) and np.allclose(left, np.linalg.inv(precision))):
                return False
            if not (np.array_equal(state, given[0]) and np.array_equal(covariance, given[1])):
                return False
        return True

    hint = "gain = covariance @ seen / (seen @ covariance @ seen + noise); what does the gain multiply?"
    check("7.3", correct, is_right, hint)
