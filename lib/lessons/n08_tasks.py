"""Notebook 08: the two tasks on which sequence lengths and networks are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib.lessons.extractor import listening
from lib.loader import assemble_inputs
from lib.signals import SignalSpec, generate

TASKS = {"assignment": SignalSpec(), "extraction": listening(0.25)}


def lanes(spec: SignalSpec, noise_seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Inputs (lanes, samples, 1 + n_frequencies) and targets (lanes, samples, 1): every selector for every seed."""
    _, mixed, pure = generate(spec, list(noise_seeds))
    targets = np.broadcast_to(pure, (len(noise_seeds), spec.n_frequencies, spec.n_samples)).astype(np.float32)
    return assemble_inputs(spec, mixed), torch.as_tensor(targets.reshape(-1, spec.n_samples, 1))


def chosen(trainings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of all trainings of a candidate those with its best rate, which the last one has: one for each weight seed."""
    return [training for training in trainings if training["rate"] == trainings[-1]["rate"]]


def spread(values: Sequence[float], form: str = ".1e") -> str:
    """The least, the middle and the largest of several values."""
    low, middle, high = (f"{np.quantile(values, share):{form}}" for share in (0, 0.5, 1))
    return f"{middle} ({low} to {high})"
