"""The ordered data: rows as the assignment numbers them, and a loader that never changes their order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lib.settings import usual_torch, whole_number
from lib.signals import Array, SignalSpec, generate

LAYOUTS = ("parallel", "sequential")


@usual_torch()
def assemble_inputs(spec: SignalSpec, mixed: Array) -> Tensor:
    """Pair S(t), of shape (samples,) or (seeds, samples), with every one-hot selector.

    Returns:
        float32 of shape (lanes, samples, 1 + n_frequencies) with lanes = seeds · n_frequencies: all selectors of
        the first seed, then all of the second, and so on. Feature 0 is S(t), the others are the selector C.
    """
    rows = torch.as_tensor(np.atleast_2d(mixed), dtype=torch.float32)
    seeds, samples = rows.shape
    signal = rows[:, None, :, None].expand(-1, spec.n_frequencies, -1, -1)
    selector = torch.eye(spec.n_frequencies)[None, :, None, :].expand(seeds, -1, samples, -1)
    return torch.cat([signal, selector], dim=-1).reshape(seeds * spec.n_frequencies, samples, 1 + spec.n_frequencies)


class FrequencyDataset(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """The rows of the assignment: row r has freq_idx = r // n_samples and time_idx = r % n_samples."""

    @usual_torch()
    def __init__(self, spec: SignalSpec, noise_seed: int) -> None:
        """Generate the data; ValueError if the noise seed is not a whole number from 0 up."""
        self.spec, self.noise_seed = spec, whole_number("noise_seed", noise_seed, 0)
        self.signals = generate(spec, self.noise_seed)  # in float64, for figures and scores
        self.inputs = assemble_inputs(spec, self.signals.mixed)  # (n_frequencies, n_samples, 1 + n_frequencies)
        self.targets = torch.as_tensor(self.signals.targets, dtype=torch.float32)[..., None]  # (…, n_samples, 1)

    def __len__(self) -> int:
        """Number of rows: n_frequencies · n_samples, 40,000 in the assignment."""
        return self.spec.n_frequencies * self.spec.n_samples

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        """One row: the input vector [S(t), C1 …], shape (1 + n_frequencies,), and the target, shape (1,)."""
        try:
            freq_idx, time_idx = divmod(whole_number("row", row, 0, len(self) - 1), self.spec.n_samples)
        except ValueError as error:
            raise IndexError(f"{error}; for many rows at once take dataset.inputs and dataset.targets") from None
        return self.inputs[freq_idx, time_idx], self.targets[freq_idx, time_idx]


@dataclass(frozen=True)
class Batch:
    """Consecutive samples of one or more sequences, side by side: a sequence is a lane."""

    x: Tensor  # inputs, (lanes, steps, 1 + n_frequencies): time runs along axis 1, never along the lanes
    y: Tensor  # targets, (lanes, steps, 1)
    freq_idx: Tensor  # which frequency each lane carries, (lanes,)
    time_range: range  # the samples covered
    is_first_batch: bool  # these samples begin their sequence: reset the state before them
    is_last_batch: bool  # these samples end their sequence


class StatefulDataLoader:
    """Cut every sequence into consecutive chunks and yield them in order, always.

    With four frequencies and ``layout="parallel"`` each batch has four lanes, one per frequency::

        batch             0          1          2
        lane 0 (1 Hz)  [0 … K-1]  [K … 2K-1]  [2K …
        lane 1 (3 Hz)  [0 … K-1]  [K … 2K-1]  [2K …
        lane 2 (5 Hz)  [0 … K-1]  [K … 2K-1]  [2K …
        lane 3 (7 Hz)  [0 … K-1]  [K … 2K-1]  [2K …

    With ``layout="sequential"`` there is one lane: all of lane 0, then all of lane 1, and so on.
    """

    def __init__(
        self,
        dataset: FrequencyDataset,
        steps: int = 1,
        layout: Literal["parallel", "sequential"] = "parallel",
        shuffle: bool = False,
    ) -> None:
        """Lay out the order.

        Args:
            dataset: the rows.
            steps: samples per batch and lane, K; 1 is the assignment's L = 1. The last batch may be shorter.
            layout: ``"parallel"`` or ``"sequential"``.
            shuffle: only False is possible; True is refused, with the reason.
        """
        if shuffle:
            told = "the state carried into a sample is right only if the sample before it has just been seen"
            raise ValueError(f"shuffle = True: must be False, because {told}")
        if layout not in LAYOUTS:
            raise ValueError(f"layout = {layout!r}: must be one of {', '.join(LAYOUTS)}")
        self.dataset, self.layout, self.n_samples = dataset, layout, dataset.spec.n_samples
        self.steps = whole_number("steps", steps, 1, self.n_samples)

    def __len__(self) -> int:
        """Number of batches in one pass over the data."""
        chunks = -(-self.n_samples // self.steps)
        return chunks if self.layout == "parallel" else chunks * self.dataset.spec.n_frequencies

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one pass, in temporal order."""
        lanes = torch.arange(self.dataset.spec.n_frequencies, device="cpu")
        for group in (lanes,) if self.layout == "parallel" else lanes.split(1):
            for first in range(0, self.n_samples, self.steps):
                last = min(first + self.steps, self.n_samples)
                window = slice(int(group[0]), int(group[-1]) + 1), slice(first, last)
                x, y = self.dataset.inputs[window], self.dataset.targets[window]
                yield Batch(x, y, group, range(first, last), first == 0, last == self.n_samples)
