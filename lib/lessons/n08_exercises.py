"""Notebook 08: its exercises, each with the check of an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lib.lessons.exercises import check, digest
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


def check_3(names: Iterable[str] | None) -> None:
    """The networks whose output is a function of the last 1,024 inputs at most."""
    hint = "which have neither a state that is fed back, nor a count of the samples?"
    check("8.3", names, lambda given: digest(sorted(given)) == "dccc2ee3" and not isinstance(given, str), hint)


def check_4(step: Callable[..., Any] | None) -> None:
    """A function of state, eigenvalues, drive and x: the state of a linear recurrence one sample later."""

    def is_right(step: Callable[..., Any]) -> bool:
        generator = np.random.default_rng(0)
        for lanes, states, features in ((1, 3, 5), (4, 16, 2)):
            drawn = generator.normal(size=(2, lanes * states + states + states * features))
            parts = np.split(drawn[0] + 1j * drawn[1], [lanes * states, lanes * states + states])
            state, eigenvalues, drive = parts[0].reshape(lanes, states), parts[1], parts[2].reshape(states, features)
            x = generator.normal(size=(lanes, features))
            wanted = [
                [eigenvalues[k] * row[k] + drive[k] @ x[lane] for k in range(states)] for lane, row in enumerate(state)
            ]
            given = [value.copy() for value in (state, eigenvalues, drive, x)]
            if not np.allclose(np.asarray(step(state, eigenvalues, drive, x)), np.array(wanted)):
                return False
            if not all(map(np.array_equal, given, (state, eigenvalues, drive, x))):
                return False
        return True

    hint = "each number of the state is multiplied by its own eigenvalue; which product brings in x, (lanes, features)?"
    check("8.4", step, is_right, hint)


def check_5(window: Callable[..., Any] | None) -> None:
    """A function of a signal and a length: for each sample the window that ends with it."""

    def is_right(window: Callable[..., Any]) -> bool:
        signal = np.random.default_rng(0).normal(size=12)
        for length in (1, 4, 20):
            padded = np.concatenate([np.zeros(length - 1), signal])
            wanted = np.stack([padded[k : k + length] for k in range(len(signal))])
            found = np.asarray(window(signal.copy(), length))
            if found.shape != wanted.shape or not np.allclose(found, wanted):
                return False
        return True

    hint = "row k ends with sample k, and begins with zeros as long as fewer samples have come"
    check("8.5", window, is_right, hint)
