"""Notebook 04: what kind of error it is, and what a push of the state or another input, reset, selector changes."""

from __future__ import annotations

import numpy as np
import torch

from lib.lessons.dynamics import repetition
from lib.loader import FrequencyDataset
from lib.model import StatefulLSTMExtractor, roll_out
from lib.settings import whole_number
from lib.signals import Array, SignalSpec

REPLACEMENTS = ("true S", "other noise", "silence", "ten times as loud")


def half_of_the_slowest(spec: SignalSpec) -> int:
    """Samples in half a period of the slowest sine: what the notebook calls the start."""
    return round(0.5 * spec.sample_rate / min(spec.frequencies))


def returning_share(error: Array, frequency: float, sample_rate: float) -> float:
    """Share of the squared error (samples,) that returns: its mean over repetitions, against all of it.

    The error is folded at the shortest time that is both whole periods and whole samples, or at that time of at most
    half the error which is most nearly so. NaN if the error is shorter than two periods.
    """
    half = len(error) // 2
    if half < sample_rate / frequency:
        return float("nan")
    fold, _ = repetition(frequency, sample_rate, half)
    folded = error[: len(error) // fold * fold].reshape(-1, fold)
    return float(np.mean(folded.mean(axis=0) ** 2) / np.mean(folded**2))


def pushes(
    model: StatefulLSTMExtractor, dataset: FrequencyDataset, lane: int, count: int, size: float = 0.05, seed: int = 0
) -> tuple[Array, Array]:
    """Push the state of many copies of one lane off its loop, after 2 s, and follow amplitude and phase for 4 s.

    The noise of a shorter recording is repeated.

    Args:
        model: the network; its own state is not touched.
        dataset: inputs.
        lane: which frequency.
        count: pushes, each in a random direction of hidden and cell state.
        size: length of a push, relative to the state's.
        seed: of the directions.

    Returns:
        Change of the amplitude, relative, and of the phase, in degrees, in each second after the push; (4, count).
    """
    spec, second = dataset.spec, round(dataset.spec.sample_rate)
    x = dataset.inputs[lane : lane + 1].repeat(1, -(-6 * second // spec.n_samples), 1)[:, : 6 * second]
    with torch.random.fork_rng(), model.evaluation_state():
        torch.manual_seed(seed)
        model(x[:, : 2 * second])
        pushed = []
        for part in model.state():
            direction = torch.randn(part.shape[0], count + 1, part.shape[2])
            direction *= size * part.norm() / direction.norm(dim=-1, keepdim=True)
            direction[:, 0] = 0  # the first copy is not pushed
            pushed.append(part + direction)
        model.hidden_state, model.cell_state = pushed
        y = model(x[:, 2 * second :].expand(count + 1, -1, -1))[..., 0].double().numpy()
    turning = np.exp(-2j * np.pi * spec.frequencies[lane] / spec.sample_rate * np.arange(y.shape[1]))
    swing = (y * turning).reshape(count + 1, 4, second).mean(axis=2).T
    change = swing[:, 1:] / swing[:, :1]
    return np.abs(change) - 1, np.angle(change, deg=True)


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
