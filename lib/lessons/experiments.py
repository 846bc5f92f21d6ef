"""Notebooks 04 and 05: what a trained network does with another input, another reset, or a disturbed state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from lib.lessons.tables import markdown_table
from lib.loader import FrequencyDataset, assemble_inputs
from lib.model import StatefulLSTMExtractor, roll_out
from lib.signals import Array, SignalSpec, generate


def output_with(model: StatefulLSTMExtractor, spec: SignalSpec, signal: Array) -> Array:
    """The outputs (n_frequencies, samples) when the network is given this S(t), (samples,)."""
    return roll_out(model, assemble_inputs(spec, signal), steps=len(signal))[..., 0].double().numpy()


class Swap(NamedTuple):
    """What another input changes."""

    mse: float  # of the output with it
    change: float  # largest difference of any output from that with the true S


def swap_inputs(
    model: StatefulLSTMExtractor, spec: SignalSpec, true: Array, others: Mapping[str, Array]
) -> dict[str, Swap]:
    """Give the network other signals (samples,) in place of S, and compare its outputs with those for the true S."""
    before = output_with(model, spec, true)
    outputs = {name: output_with(model, spec, signal) for name, signal in others.items()}
    return {
        name: Swap(float(np.mean((y - spec.targets) ** 2)), float(np.abs(y - before).max()))
        for name, y in outputs.items()
    }


def swap_table(swaps: Mapping[str, Swap]) -> str:
    """`swap_inputs` as a Markdown table."""
    rows = [[name, f"{swap.mse:.3e}", f"{swap.change:.1e}"] for name, swap in swaps.items()]
    return markdown_table(["given in place of S", "MSE", "largest change of the output"], rows)


def influence(model: StatefulLSTMExtractor, spec: SignalSpec, noise_seeds: list[int]) -> tuple[Array, Array]:
    """How much the outputs owe to each noise: (noise seeds,) each.

    Returns:
        The largest change of any output when the noise is replaced by silence, and by how much the RMSE changes,
        which cannot be more.
    """
    silent = output_with(model, spec, np.zeros(spec.n_samples))
    outputs = [output_with(model, spec, signal) for signal in generate(spec, noise_seeds).mixed]
    rmse = [np.sqrt(np.mean((y - spec.targets) ** 2)) for y in (silent, *outputs)]
    return np.array([np.abs(y - silent).max() for y in outputs]), np.abs(np.array(rmse[1:]) - rmse[0])


def price_of_listening(model: StatefulLSTMExtractor, spec: SignalSpec, noise_seeds: range) -> tuple[Array, Array]:
    """The two parts of the error over many noises, of each frequency: E[(ŷ − y)²] = (E[ŷ] − y)² + Var(ŷ).

    Returns:
        Squared error of the mean output and variance of the outputs, each averaged over time, (n_frequencies,).
    """
    inputs = assemble_inputs(spec, generate(spec, noise_seeds).mixed)
    y = roll_out(model, inputs, steps=spec.n_samples)[..., 0].double().numpy()
    y = y.reshape(len(noise_seeds), spec.n_frequencies, -1)
    return ((y.mean(axis=0) - spec.targets) ** 2).mean(axis=1), y.var(axis=0).mean(axis=1)


def late_resets(model: StatefulLSTMExtractor, dataset: FrequencyDataset, lateness: list[int]) -> dict[int, Array]:
    """Begin the roll-out so many samples late, while S goes on.

    Returns:
        By lateness: MSE against a sine that starts with the reset, and against the one that goes with S, (2,).
    """
    found = {}
    for late in lateness:
        y = roll_out(model, dataset.inputs[:, late:], steps=dataset.spec.n_samples)[..., 0].double().numpy()
        targets = dataset.spec.targets
        found[late] = np.array([np.mean((y - targets[:, : y.shape[1]]) ** 2), np.mean((y - targets[:, late:]) ** 2)])
    return found


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
