"""Notebook 08: the two tasks on which sequence lengths and networks are compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lib.lessons.listening import listening
from lib.loader import assemble_inputs
from lib.signals import SignalSpec, generate

TASKS = {"assignment": SignalSpec(), "extraction": listening(0.25)}


def lanes(spec: SignalSpec, noise_seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Inputs (lanes, samples, 1 + n_frequencies) and targets (lanes, samples, 1): every selector for every seed."""
    _, mixed, pure = generate(spec, list(noise_seeds))
    targets = np.array(np.broadcast_to(pure, (len(noise_seeds), spec.n_frequencies, spec.n_samples)))
    return assemble_inputs(spec, mixed), torch.as_tensor(targets.reshape(-1, spec.n_samples, 1), dtype=torch.float32)
