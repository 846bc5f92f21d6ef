"""Notebook 07: its exercises, each with the check of an answer."""

# ruff: noqa: N806  # the Kalman filter's letters are capitals

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lib.lessons.exercises import check, known, numbers


def check_1(alpha: float | None) -> None:
    """The phase width, in turns, at which half of a sine is left."""
    widths = np.linspace(0, 1, 10_001)
    right = float(np.interp(-0.5, -np.sinc(widths), widths))

    def is_right(answer: Any) -> Any:
        x = numbers(answer)
        if x is None:
            return "it is one number"
        return known({"α is in turns, not in radians": np.pi * right}, x, 0.01) or abs(x - right) < 0.01

    check("7.1", alpha, is_right, "the coherent gain is sin(πα) / (πα); where is it one half?")


def check_2(seconds: float | None) -> None:
    """When the error of the filter has fallen to a quarter of that after two seconds."""

    def is_right(answer: Any) -> Any:
        x = numbers(answer)
        if x is None:
            return "it is one number"
        hints = {"this is how much longer it takes, not when": 6, "the error falls like 1/t, not like 1/√t": 32}
        return known(hints, x) or abs(x - 8) < 0.4

    check("7.2", seconds, is_right, "read two moments from the figure; how does the error depend on the time?")


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
