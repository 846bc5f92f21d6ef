"""All notebooks: exercises that check themselves. They say whether an answer is right, and never what it is."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from lib.settings import plain
from lib.signals import Array


def digest(answer: Any) -> str:
    """A short fingerprint of an answer, by which a check can know it without showing it."""
    return hashlib.sha256(repr(answer).encode()).hexdigest()[:8]


def check(exercise: str, answer: Any, is_right: Callable[[Any], Any], hint: str) -> None:
    """Print what there is to say of an answer: that it is missing, right, or not yet right.

    Args:
        exercise: the exercise's number, such as ``"1.2"``.
        answer: the reader's answer; None means that there is none yet.
        is_right: tells a right answer from a wrong one, or returns the hint for the mistake that it sees; if it raises,
            the answer is of the wrong kind.
        hint: where to look on, for every other mistake.
    """
    if answer is None:
        print(f"exercise {exercise}: no answer yet")
        return
    try:
        found = is_right(answer)
    except Exception as error:  # whatever a wrong kind of answer may cause
        print(f"exercise {exercise}: cannot be checked ({type(error).__name__}: {error}); {hint}")
        return
    told = isinstance(found, str)
    print(f"exercise {exercise}: " + ("right" if found and not told else f"not yet; {(told and found) or hint}"))


def numbers(answer: Any, *shape: int) -> Array | None:
    """An answer as floats of this shape, or None if it is not that; axes of length one do not count.

    Numbers and rows of numbers may be Python's, NumPy's or torch's, or written as text. True is no number.
    """
    try:
        found = np.asarray(plain(answer))
        real = found.dtype != bool and not np.iscomplexobj(found)
        return found.astype(float).squeeze().reshape(shape) if real and found.squeeze().ndim <= len(shape) else None
    except (TypeError, ValueError):
        return None


def known(mistakes: Mapping[str, Any], answer: Array, tolerance: float = 1e-3) -> str:
    """The hint of the first mistake that gives just this answer; empty if none does."""
    return next((hint for hint, wrong in mistakes.items() if same(answer, wrong, tolerance)), "")


def same(answer: Array, expected: Any, tolerance: float = 1e-6) -> bool:
    """Whether two arrays have one shape, and no number of one is further than this from that of the other."""
    return np.shape(expected) == answer.shape and np.allclose(answer, expected, rtol=0, atol=tolerance)


@contextmanager
def calls_of(*functions: Callable[..., Any]) -> Iterator[list[str]]:
    """The names of those of these functions that are called inside, by whatever way, in the order of the calls."""
    names = {function.__code__: function.__name__ for function in functions}
    seen: list[str] = []
    before = sys.getprofile()
    sys.setprofile(lambda frame, _event, _arg: seen.append(names[frame.f_code]) if frame.f_code in names else None)
    try:
        yield seen
    finally:
        sys.setprofile(before)


class Told(str):
    """What is wrong with a reader's function."""


def answer_of(function: Any, *arguments: Any) -> Any:
    """What a reader's function returns, or what is wrong with it."""
    if not callable(function):
        return Told("give the function itself, without calling it")
    try:
        found = function(*arguments)
    except Exception as error:  # whatever it does
        return Told(f"it stops with {type(error).__name__}; call it yourself to see where")
    return Told("it returns nothing") if found is None else found
