"""Notebook 06: its exercises, each with the check of an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lib.lessons import n06_wired as wired
from lib.lessons.exercises import check, digest, known, numbers
from lib.model import roll_out
from lib.signals import Array, SignalSpec

Gates = Callable[[float, float], tuple[float, float]]


def check_1(kept: str | None) -> None:
    """Which part of a small push is never undone."""
    hint = "which multiplier is one, and in which direction?"
    check("6.1", kept, lambda word: digest(str(word).strip().strip("\"'").lower()) == "a07c3f94", hint)


def check_2(milliseconds: float | None, multiplier: float, frequency: float) -> None:
    """After which time a push has shrunk to a hundredth, given the second multiplier of one period."""
    periods = np.log(0.01) / np.log(multiplier)
    mistakes = {
        "this is in periods: how long is one?": periods,
        "this is in seconds": periods / frequency,
        "this is one period": 1000 / frequency,
    }

    def is_right(answer: Any) -> Any:
        found = numbers(answer)
        if found is None:
            return "it is one number"
        return known(mistakes, found) or abs(found * frequency / 1000 / periods - 1) < 0.01

    check("6.2", milliseconds, is_right, "how many periods does it take? Then: how long is a period?")


def check_3(gates: Gates | None) -> None:
    """A function of frequency and sample rate: the openings of forget and input gate of a wired clock."""

    def is_right(gates: Gates) -> bool:
        errors = []
        for frequencies, rate in (((1.0, 3.0, 5.0, 7.0), 1000.0), ((2.0, 40.0), 500.0), ((15.0,), 100.0)):
            spec = SignalSpec(frequencies=frequencies, sample_rate=rate, duration=2.0)
            forget, opened = np.array([gates(f, rate) for f in frequencies]).T
            y = wired.from_gates(spec, forget, opened, 1e-3)
            x = torch.cat([torch.zeros(len(frequencies), 1), torch.eye(len(frequencies))], dim=1).double()
            outputs = roll_out(y, x[:, None].expand(-1, spec.n_samples, -1), steps=spec.n_samples)[..., 0].numpy()
            errors.append(np.mean((outputs - spec.targets) ** 2))
        return bool(max(errors) < 1e-8)

    hint = "a step turns (c0, c1) by θ = 2πf/fs: what must it keep of c0, and what must it add of c1?"
    check("6.3", gates, is_right, hint)


def check_4(frequency: Callable[[Array, float], float] | None) -> None:
    """A function of a linearized step (a square matrix) and a sample rate: the frequency of its slowest decay, in Hz.

    Of all pairs of complex eigenvalues, the one with the largest modulus counts.
    """
    rng = np.random.default_rng(6)

    def is_right(frequency: Callable[[Array, float], float]) -> bool:
        found = []
        for f, rate, size in ((3.0, 1000.0, 0.99), (7.0, 500.0, 1.02), (12.5, 200.0, 0.8)):
            blocks = np.diag([0.0, 0.0, 0.0, 0.0, 1.05, -1.1])  # two real ones that are larger do not turn
            for k, (part, turn) in enumerate(((size, f), (0.7 * size, 3 * f))):
                a = 2 * np.pi * turn / rate
                blocks[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = part * np.array(
                    [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
                )
            mixed = rng.normal(size=(6, 6))
            found.append(frequency(mixed @ blocks @ np.linalg.inv(mixed), rate) / f)
        return np.allclose(found, 1, rtol=1e-6)

    hint = "an eigenvalue r · exp(jθ) turns by θ in each sample; real ones do not turn at all"
    check("6.4", frequency, is_right, hint)
