"""All notebooks: exercises that check themselves. They say whether an answer is right, and never what it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any


def digest(answer: Any) -> str:
    """A short fingerprint of an answer, by which a check can know it without showing it."""
    return hashlib.sha256(repr(answer).encode()).hexdigest()[:8]


def check(exercise: str, answer: Any, is_right: Callable[[Any], Any], hint: str) -> None:
    """Print what there is to say of an answer: that it is missing, right, or not yet right.

    Args:
        exercise: the exercise's number, such as ``"1.2"``.
        answer: the reader's answer; None means that there is none yet.
        is_right: tells a right answer from a wrong one; if it raises, the answer is of the wrong kind.
        hint: where to look on.
    """
    if answer is None:
        print(f"exercise {exercise}: no answer yet")
        return
    try:
        right = bool(is_right(answer))
    except Exception as error:  # whatever a wrong kind of answer may cause
        print(f"exercise {exercise}: cannot be checked ({type(error).__name__}: {error}); {hint}")
        return
    print(f"exercise {exercise}: " + ("right" if right else f"not yet; {hint}"))
