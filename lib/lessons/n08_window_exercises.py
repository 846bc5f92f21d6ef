"""Notebook 08: its exercises about windows, each with the check of an answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lib.lessons.exercises import check
from lib.lessons.n08_windows import best_without_state
from lib.signals import Array, SignalSpec


def check_1(samples: int | None) -> None:
    """The shortest window, in samples, that holds whole periods of 2, 4 and 6 Hz at 1000 Hz."""
    hint = "after how many seconds do all three sines stand where they began?"
    check("8.1", samples, lambda n: not isinstance(n, bool) and n == 500, hint)


def check_2(best: Callable[[Array, int], Array] | None) -> None:
    """A function of targets (n_frequencies, samples) and a length: the least MSE without a state, (n_frequencies,)."""

    def is_right(best: Callable[[Array, int], Array]) -> bool:
        for spec in (SignalSpec(), SignalSpec(frequencies=(2.0, 4.5), sample_rate=500.0, duration=4.0)):
            for length in (1, 100, 250, 500, 1000, spec.n_samples):
                targets = spec.targets
                found = best(targets, length)
                if not (
                    np.shape(found) == (spec.n_frequencies,) and np.allclose(found, best_without_state(spec, length))
                ):
                    return False
                if not np.array_equal(targets, spec.targets):
                    return False
        return True

    hint = "reshape the targets to (frequencies, windows, length); the best answer is their mean over which axis?"
    check("8.2", best, is_right, hint)
