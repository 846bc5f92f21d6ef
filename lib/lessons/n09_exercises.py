"""Notebook 09: its exercises, each with the check of an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lib.lessons.exercises import check


def check_1(chance: float | None) -> None:
    """The probability that six ratios without any effect lie on the same side of one."""
    check("9.1", chance, lambda x: np.isclose(x, 1 / 32), "all above one, or all below: two cases of how many?")


def check_2(choice: Callable[..., Any] | None) -> None:
    """A function of scores (networks, noises) and the columns that choose: the network, and its error on the others."""

    def is_right(choice: Callable[..., Any]) -> bool:
        for seed in range(5):
            scores = np.random.default_rng(seed).uniform(size=(6, 8))
            given = scores.copy()
            columns = [1, 4, 6][: 1 + seed % 3]
            rest = [k for k in range(8) if k not in columns]
            best = int(scores[:, columns].mean(axis=1).argmin())
            network, error = choice(scores, list(columns))
            if network != best or not np.isclose(error, given[best, rest].mean()) or not np.array_equal(scores, given):
                return False
        return True

    check("9.2", choice, is_right, "`scores[:, validation]` chooses; the mean of the other columns of that row judges")


def check_3(distance: float | None) -> None:
    """How far the lowest of ten normal numbers lies below their mean, in standard deviations."""
    hint = "draw ten numbers many times with `np.random.default_rng`; take the lowest of each ten, then the mean"
    check("9.3", distance, lambda x: abs(x - 1.5388) < 0.03, hint)
