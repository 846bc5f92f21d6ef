"""Notebook 07: an LSTM that is wired to listen; the weights that its training begins with.

All small signals pass an LSTM unit as through a linear one, if its gates stand still. So some units can be a Kalman
filter: *resonators* turn at the speeds of the sines, and *innovations* correct them. An innovation is what S(t) holds
beyond the sum of the resonators. Its input gate is the gain of the filter: it closes as a *clock* fills.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lib.lessons.filters import kalman_gains, mixture, rotation
from lib.model import ModelConfig, StatefulLSTMExtractor
from lib.signals import Array, SignalSpec

GAINS = 12  # speeds at which the input gates of the innovations close
SPEEDS = np.geomspace(0.008, 20, GAINS)  # s
RESONANCE, DRIVE, VIEW = 0.002, 0.1, 0.5  # amplitude of c in a resonator, slope of an innovation, slope of a view
CLOSED, AHEAD = 14.0, 4.0  # how far a filled clock closes an input gate, and how far open that gate begins
FILL = 0.5  # the candidate of a clock, before its tanh
OPEN, SHUT = 4.0, -12.0  # biases of a gate that stays open, or shut
SILENCED = 16.0  # how far the selector pulls down the head's units of the other sines


class Units(NamedTuple):
    """Which units of the LSTM do what; ``n`` sines."""

    resonators: slice  # 2n: each sine and its cosine, small
    innovations: slice  # S(t) less the resonators' sum, times a gain
    clocks: slice  # they fill at different speeds
    views: slice  # 2n: the resonators again, of a size that other units can use
    selectors: slice  # n: which sine is asked for
    free: slice  # the rest: random

    @classmethod
    def of(cls, model: StatefulLSTMExtractor) -> Units:
        """The layout of a model with so many sines; ValueError if it is too small."""
        n, size = model.config.n_frequencies, model.config.hidden_size
        ends = np.cumsum([0, 2 * n, GAINS, GAINS, 2 * n, n])
        if size < ends[-1]:
            raise ValueError(f"hidden_size = {size}: must be at least {ends[-1]}, for {n} sines")
        if model.config.num_layers > 1 or model.config.head_size % n or not model.config.head_size:
            raise ValueError(f"model = {model.config}: must have one layer, and a head_size that {n} divides")
        return cls(*(slice(int(a), int(b)) for a, b in zip(ends, [*ends[1:], size], strict=True)))


def closing(samples: int, sample_rate: float) -> Array:
    """The input gates of the innovations: (samples, GAINS). A gate closes while its clock fills."""
    reached = math.tanh(FILL) * (1 - np.exp(-np.arange(samples)[:, None] / (SPEEDS * sample_rate)))  # c of a clock
    filled = np.tanh(reached) / math.tanh(math.tanh(FILL))
    return 1 / (1 + np.exp(CLOSED * filled - AHEAD))


def fitted_gains(spec: SignalSpec) -> Array:
    """Directions L, (GAINS, 2n): the sum of closing gates times L is the Kalman filter's gain, by least squares.

    The state that they drive is smaller than `kalman`'s: each sine is as large as what is left of it in n · S(t).
    """
    gains, expected = kalman_gains(spec)
    scale = spec.n_frequencies * mixture(spec).gain
    weight = 1 / np.sqrt(expected.mean(axis=0))[:, None]  # an error matters in proportion to what the filter knows
    gates = closing(spec.n_samples, spec.sample_rate) * weight
    square = gates.T @ gates
    ridge = 1e-8 * np.trace(square) / GAINS * np.eye(GAINS)
    return np.linalg.solve(square + ridge, gates.T @ (scale * gains * weight))


def wire(spec: SignalSpec, hidden_size: int = 64, head_size: int = 128, weight_seed: int = 0) -> StatefulLSTMExtractor:
    """A new model whose units are a Kalman filter for these signals.

    Its head reads each sine with a share of its units, in random places, and silences those that are not selected.
    """
    with torch.random.fork_rng():
        torch.manual_seed(weight_seed)
        shape = ModelConfig(n_frequencies=spec.n_frequencies, hidden_size=hidden_size, head_size=head_size)
        model = StatefulLSTMExtractor(shape)
    units, n = Units.of(model), spec.n_frequencies
    named = {name: p.detach().double().numpy().copy() for name, p in model.lstm.named_parameters()}
    drive, weight, bias = named["weight_ih_l0"], named["weight_hh_l0"], named["bias_hh_l0"]
    named["bias_ih_l0"][:] = bias[:] = 0
    wired, size = units.free.start, hidden_size

    def rows(gate: str, of: slice) -> slice:
        start = "ifgo".index(gate) * size
        return slice(start + of.start, start + of.stop)

    drive[:, 1:] = 0  # only the selectors' units see the selector
    for gate in "ifgo":
        block = rows(gate, slice(0, wired))
        drive[block] = weight[block] = 0
        weight[rows(gate, units.free), : units.clocks.start] = 0  # too small to be seen
        weight[rows(gate, units.free), units.selectors] = 0
    drive[rows("g", units.free), 0] *= 6  # S is small
    bias[rows("f", units.free)] = 2
    turn, seen = rotation(spec), np.tile([1.0, 0.0], n) / n
    corrected = turn @ fitted_gains(spec).T  # (2n, GAINS)
    half = RESONANCE / 2  # the output gates of resonators and innovations are half open
    reading = turn / half, corrected / (DRIVE / 2)  # of what the filter knows now, from h before
    weight[rows("g", units.resonators), units.resonators] = 4 * turn - 2 * np.eye(2 * n)
    weight[rows("g", units.resonators), units.innovations] = 2 * RESONANCE * reading[1]
    drive[rows("g", units.innovations), 0] = DRIVE
    weight[rows("g", units.innovations), units.resonators] = -DRIVE * (seen @ reading[0])
    weight[rows("g", units.innovations), units.innovations] = -DRIVE * (seen @ reading[1])
    bias[rows("f", units.innovations)] = SHUT
    keep = np.exp(-1 / (SPEEDS * spec.sample_rate))
    bias[rows("f", units.clocks)] = np.log(keep / (1 - keep))
    bias[rows("i", units.clocks)] = -np.log(keep / (1 - keep))
    bias[rows("g", units.clocks)] = FILL
    bias[rows("o", units.clocks)] = OPEN
    full = np.tanh(math.tanh(FILL)) / (1 + math.exp(-OPEN))  # a clock that has filled
    weight[rows("i", units.innovations), units.clocks] = -CLOSED / full * np.eye(GAINS)
    bias[rows("i", units.innovations)] = AHEAD
    for part, columns in zip(reading, (units.resonators, units.innovations), strict=True):
        weight[rows("g", units.views), columns] = VIEW * part
    drive[rows("g", units.selectors), 1:] = 10 * np.eye(n)
    for of in (units.views, units.selectors):
        bias[rows("i", of)] = bias[rows("o", of)] = OPEN
        bias[rows("f", of)] = SHUT
    for name, parameter in model.lstm.named_parameters():
        parameter.data.copy_(torch.as_tensor(named[name]))
    _wire_head(model, units)
    return model


def _linear(model: StatefulLSTMExtractor) -> tuple[nn.Linear, nn.Linear]:
    """The two layers of the head."""
    first, last = (layer for layer in model.head if isinstance(layer, nn.Linear))
    return first, last


def _wire_head(model: StatefulLSTMExtractor, units: Units) -> None:
    """A share of the head's units for each sine: directions in its plane; the selector silences all others."""
    (first, last), n = _linear(model), model.config.n_frequencies
    share = model.config.head_size // n
    angle = torch.arange(share) * 2 * math.pi / share
    held = selector_value(model)
    first.weight.data[:, : units.views.start] = 0
    first.weight.data[:, units.clocks] = 0.3 * torch.randn(n * share, GAINS, generator=torch.Generator().manual_seed(0))
    first.weight.data[:, units.views.start : units.free.start] = 0
    first.weight.data[:, units.free] *= 0.1
    for i in range(n):
        block = slice(i * share, (i + 1) * share)
        columns = slice(units.views.start + 2 * i, units.views.start + 2 * i + 2)
        first.weight.data[block, columns] = 2 * torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)
        first.weight.data[block, units.selectors.start + i] = SILENCED / held
        last.weight.data[0, block] = 2 / share * torch.cos(angle)
    first.bias.data.copy_(0.1 - 0.8 * torch.rand(n * share, generator=torch.Generator().manual_seed(1)) - SILENCED)
    last.bias.data.zero_()


def selector_value(model: StatefulLSTMExtractor) -> float:
    """What a selector's unit puts out while its sine is asked for, without unit."""
    opened = 1 / (1 + math.exp(-OPEN))
    return opened * math.tanh(opened * math.tanh(10.0))


def all_outputs(model: StatefulLSTMExtractor, mixed: Tensor) -> Tensor:
    """The outputs for every selector at once, from one pass over S: four times sooner, for training.

    Only the selectors' units and the head's biases depend on the selector, so one pass of the LSTM serves all.

    Args:
        model: made by `wire`.
        mixed: S(t), (sequences, samples), float32.

    Returns:
        (sequences, samples, n_frequencies).
    """
    x = torch.zeros(*mixed.shape, 1 + model.config.n_frequencies, device=mixed.device, dtype=mixed.dtype)
    x[..., 0] = mixed
    return from_states(model, model.lstm(x)[0])


def from_states(model: StatefulLSTMExtractor, states: Tensor) -> Tensor:
    """The head's outputs for every selector, (..., n_frequencies), from the LSTM's states under none."""
    (first, last), n = _linear(model), model.config.n_frequencies
    inner = torch.relu(nn.functional.linear(states, first.weight, first.bias + SILENCED)).unflatten(-1, (n, -1))
    return (inner * last.weight.view(n, -1)).sum(dim=-1) + last.bias
