"""Notebook 02: zero, swap or freeze one of the two states, and read from the output how late it is then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lib.loader import FrequencyDataset
from lib.model import ModelConfig, StatefulLSTMExtractor
from lib.recipe import TrainingConfig, anneal, extend, grow
from lib.settings import whole_number
from lib.signals import Array, SignalSpec
from lib.training import train

PARTS = ("h", "c")
SETTLE = 1.5  # periods of the slowest sine between an operation and the reading of the clock


def small_clock(sample_rate: int = 200, weight_seed: int = 0) -> tuple[StatefulLSTMExtractor, FrequencyDataset]:
    """A second network, trained in seconds by the recipe as far as `extend`: 16 units, for 5 and 7 Hz.

    Returns:
        The network in evaluation mode, and its training data, of two seconds.
    """
    spec = SignalSpec(frequencies=(5.0, 7.0), sample_rate=sample_rate, duration=2.0)
    dataset, config = FrequencyDataset(spec, noise_seed=1), TrainingConfig(weight_seed=weight_seed)
    stages = (grow, anneal, extend)
    return train(dataset, config, ModelConfig(hidden_size=16), progress_bar=False, stages=stages).model, dataset


class Moments(NamedTuple):
    """A network stopped at several moments of several sequences: each is a lane.

    Attributes:
        h: hidden states, (1, moments · n_frequencies, hidden_size).
        c: cell states, the same shape.
        x: the inputs that follow, (moments · n_frequencies, samples, 1 + n_frequencies).
        first: index of the first sample that follows, (moments · n_frequencies,).
        frequency: of each lane, Hz, (moments · n_frequencies,).
        rate: samples per second.
    """

    h: Tensor
    c: Tensor
    x: Tensor
    first: Array
    frequency: Array
    rate: float


def stop_at(model: StatefulLSTMExtractor, dataset: FrequencyDataset, moments: Sequence[int], samples: int) -> Moments:
    """Roll out from reset, and stop before each of the moments; ``samples`` more inputs are kept for each.

    Raises:
        ValueError: the recording is too short for the last moment.
    """
    spec = dataset.spec
    whole_number("last moment", max(moments), 1, spec.n_samples - samples)
    hs: list[Tensor] = []
    cs: list[Tensor] = []
    xs: list[Tensor] = []
    at = 0
    with model.evaluation_state():
        for moment in sorted(moments):
            model(dataset.inputs[:, at:moment])
            h, c = model.state()
            at = moment
            hs.append(h)
            cs.append(c)
            xs.append(dataset.inputs[:, moment : moment + samples])
    first = np.repeat(np.array(sorted(moments)), spec.n_frequencies)
    frequency = np.tile(np.array(spec.frequencies), len(moments))
    return Moments(torch.cat(hs, 1), torch.cat(cs, 1), torch.cat(xs), first, frequency, spec.sample_rate)


def go_on(model: StatefulLSTMExtractor, stopped: Moments, h: Tensor, c: Tensor, at: int = 0) -> Array:
    """The outputs that follow from these states: (lanes, samples − at), the first of them for input ``at``."""
    with model.evaluation_state():
        model.hidden_state, model.cell_state = h, c
        return model(stopped.x[:, at:])[..., 0].double().numpy()


def held(model: StatefulLSTMExtractor, stopped: Moments, part: str, count: int, to_zero: bool) -> Array:
    """Let ``count`` samples pass while one of the states is held, at zero or where it is, and then let it go.

    Args:
        model: the network; its own state is not touched.
        stopped: where to begin.
        part: the state that is held, ``"h"`` or ``"c"``.
        count: samples for which it is held.
        to_zero: hold it at zero; else at its value before the first of these samples.

    Returns:
        How late the output is afterwards, in samples, (lanes,): `late`.
    """
    if part not in PARTS:
        raise ValueError(f"part = {part!r}: must be one of {', '.join(PARTS)}")
    h, c = stopped.h, stopped.c
    kept = {"h": h, "c": c}[part] * (0 if to_zero else 1)
    with model.evaluation_state():
        for step in range(count):
            if to_zero:  # before the sample, so that it counts
                h, c = (kept, c) if part == "h" else (h, kept)
            model.hidden_state, model.cell_state = h, c
            model(stopped.x[:, step])
            h, c = model.state()
            if not to_zero:  # after the sample: this one has not moved it
                h, c = (kept, c) if part == "h" else (h, kept)
    return late(go_on(model, stopped, h, c, count), stopped, count)


def late(outputs: Array, stopped: Moments, at: int = 0) -> Array:
    """How many samples late each output is, (lanes,), read once it has settled: from −½ to ½ of a period.

    The best sine of the lane's own frequency is fitted to the outputs (lanes, samples), the first of which belongs to
    input ``at``.
    """
    skipped = round(SETTLE * stopped.rate / stopped.frequency.min())
    if outputs.shape[1] < 2 * skipped:
        raise ValueError(f"outputs has {outputs.shape[1]} samples: must have at least {2 * skipped}")
    found = []
    for output, first, frequency in zip(outputs[:, skipped:], stopped.first, stopped.frequency, strict=True):
        angle = 2 * np.pi * frequency * (first + at + skipped + np.arange(len(output))) / stopped.rate
        sine, cosine = np.linalg.lstsq(np.stack([np.sin(angle), np.cos(angle)], axis=1), output, rcond=None)[0]
        found.append(-np.arctan2(cosine, sine) / (2 * np.pi * frequency) * stopped.rate)
    return np.array(found)


def followed(model: StatefulLSTMExtractor, dataset: FrequencyDataset, moments: Sequence[int]) -> dict[str, Array]:
    """Exchange one state with a lane that is a quarter of a period ahead: how much of that quarter the clock jumps.

    Returns:
        For ``"h"``, ``"c"`` and ``"both"`` the share of the quarter, (moments · n_frequencies,): 0 where the output
        keeps its own time, 1 where it takes over the time of the other lane.
    """
    spec = dataset.spec
    samples = round(2 * SETTLE * spec.sample_rate / min(spec.frequencies)) + 1
    own = stop_at(model, dataset, moments, samples)
    quarters = [round(spec.sample_rate / frequency / 4) for frequency in spec.frequencies]
    ahead = [stop_at(model, dataset, [moment + quarter for moment in moments], 1) for quarter in quarters]
    lanes = range(len(own.first))
    h = torch.stack([ahead[k % spec.n_frequencies].h[:, k] for k in lanes], dim=1)
    c = torch.stack([ahead[k % spec.n_frequencies].c[:, k] for k in lanes], dim=1)
    quarter = np.tile(np.array(quarters), len(moments))
    exchanged = {"h": (h, own.c), "c": (own.h, c), "both": (h, c)}
    return {name: -late(go_on(model, own, *pair), own) / quarter for name, pair in exchanged.items()}


def low_median_high(values: Array, form: str) -> str:
    """Smallest, median and largest value, as text."""
    return " / ".join(format(float(of(values)), form) for of in (np.min, np.median, np.max))


def memory_after(
    kind: Callable[..., nn.RNNBase], x: Tensor, bias: float = 0.0, identity: bool = False, seed: int = 0
) -> float:
    """How much of a difference between two states is left after the samples x, for a fresh network from PyTorch.

    Two states that differ a little in a random direction see the same samples.

    Args:
        kind: ``torch.nn.RNN``, ``torch.nn.GRU`` or ``torch.nn.LSTM``.
        x: inputs, (1, samples, features).
        bias: added to the bias of the gate that keeps: the forget gate of an LSTM, the update gate of a GRU.
        identity: let the recurrent weights of an RNN hand on every unit as it is.
        seed: of the weights and of the direction.

    Returns:
        The distance of the two states afterwards, as a multiple of what it was: 1 keeps it, more amplifies it.
    """
    units = 32
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = kind(x.shape[-1], units, batch_first=True).double()
        if bias:  # the second of the gates, in PyTorch's order, of either kind
            network.get_parameter("bias_ih_l0")[units : 2 * units] += bias
        if identity:
            network.get_parameter("weight_hh_l0").copy_(torch.eye(units))
        zero = torch.zeros(1, 1, units, dtype=torch.float64)
        step = torch.randn_like(zero)
        step *= 0.01 / step.norm()
        ends = []
        for state in (zero, zero + step):
            end = network(x.double(), (zero, state) if kind is nn.LSTM else state)[1]
            ends.append(end[1] if kind is nn.LSTM else end)
    return float((ends[1] - ends[0]).norm() / step.norm())
