"""Notebook 04: meddle with a trained network's input, reset or selector."""

from __future__ import annotations

import torch

from lib.loader import FrequencyDataset
from lib.model import StatefulLSTMExtractor, roll_out
from lib.settings import whole_number
from lib.signals import Array

REPLACEMENTS = ("true S", "other noise", "silence", "ten times as loud")


def intervene(
    model: StatefulLSTMExtractor,
    dataset: FrequencyDataset,
    index: int,
    replacement: str = "true S",
    reset_at: int = 0,
    switch_to: int | None = None,
    switch_at: int = 1000,
    samples: int = 2000,
) -> tuple[Array, Array]:
    """Meddle with a trained network's input, reset or selector, and look at its output.

    Args:
        model: the network; its own state is not touched.
        dataset: where S and the targets come from.
        index: selected frequency.
        replacement: what to give in place of S, one of `REPLACEMENTS`.
        reset_at: sample before which the state is thrown away; 0 for none but the first.
        switch_to: frequency to select from sample ``switch_at`` on; None keeps the first.
        switch_at: see ``switch_to``.
        samples: how many to run.

    Returns:
        Output and target, each (samples,); after a switch the target is that of the new selector.

    Raises:
        ValueError: there is no such replacement, frequency or sample.
    """
    for name, value in (("index", index), ("switch_to", index if switch_to is None else switch_to)):
        whole_number(name, value, 0, dataset.spec.n_frequencies - 1)
    for name, value in (("samples", samples), ("reset_at", reset_at), ("switch_at", switch_at)):
        whole_number(name, value, int(name == "samples"))
    if replacement not in REPLACEMENTS:
        raise ValueError(f"replacement = {replacement!r}: must be one of {', '.join(REPLACEMENTS)}")
    x, y = dataset.inputs[index, :samples].clone()[None], dataset.targets[index, :samples, 0].clone()
    if replacement == "other noise":
        x[..., 0] = FrequencyDataset(dataset.spec, dataset.noise_seed + 1000).inputs[index, :samples, 0]
    x[..., 0] *= {"silence": 0.0, "ten times as loud": 10.0}.get(replacement, 1.0)
    if switch_to is not None:
        x[0, switch_at:, 1:] = dataset.inputs[switch_to, switch_at:samples, 1:]
        y[switch_at:] = dataset.targets[switch_to, switch_at:samples, 0]
    parts = [part for part in (x[:, :reset_at], x[:, reset_at:]) if part.shape[1]]
    output = torch.cat([roll_out(model, part, steps=samples) for part in parts], dim=1)
    return output[0, :, 0].double().numpy(), y.double().numpy()
