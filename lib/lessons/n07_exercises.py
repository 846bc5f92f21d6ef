"""Notebook 07: its exercises, each with the check of an answer."""

# ruff: noqa: N806  # the Kalman filter's letters are capitals

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lib.lessons.exercises import check


def check_1(alpha: float | None) -> None:
    """The phase width, in turns, at which half of a sine is left."""
    hint = "the coherent gain is sin(πα) / (πα); where is it one half?"
    check("7.1", alpha, lambda x: 0 < float(x) < 1 and abs(np.sinc(float(x)) - 0.5) < 0.01, hint)


def check_2(seconds: float | None) -> None:
    """When the error of the filter has fallen to a quarter of that after two seconds."""
    hint = "read two moments from the figure; how does the error depend on the time?"
    check("7.2", seconds, lambda x: abs(float(x) - 8) < 0.4, hint)


def check_3(correct: Callable[..., Any] | None) -> None:
    """A function of x, P, H, R and z, the letters of `lib.lessons.filters`: x and P after the sample z."""

    def is_right(correct: Callable[..., Any]) -> bool:
        generator = np.random.default_rng(0)
        for size in (2, 8):
            root = generator.normal(size=(size, size))
            x, P, H, R, z = generator.normal(size=size), root @ root.T, generator.normal(size=size), 0.3, 1.7
            # by Bayes' rule in its other form: precisions add, and so do precisions times means
            precision = np.linalg.inv(P) + np.outer(H, H) / R
            wanted = np.linalg.solve(precision, np.linalg.solve(P, x) + H * z / R)
            given = x.copy(), P.copy()
            found, left = correct(x, P, H, R, z)
            if not (np.allclose(found, wanted) and np.allclose(left, np.linalg.inv(precision))):
                return False
            if not (np.array_equal(x, given[0]) and np.array_equal(P, given[1])):
                return False
        return True

    check("7.3", correct, is_right, "K = P @ H / (H @ P @ H + R); what does the gain K multiply?")
