"""Notebook 06: a clock of three units, wired gate by gate without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from lib.model import ModelConfig, StatefulLSTMExtractor
from lib.signals import Array, SignalSpec

GATES = "ifgo"  # in PyTorch's order
SATURATED = 40.0  # the sigmoid of it is one, and that of its negative is zero, to the last digit
STARTED = float(np.tanh(1))  # the hidden state of the start unit, from the first sample on


def empty(spec: SignalSpec, units: int = 3) -> StatefulLSTMExtractor:
    """A network whose weights are all zero, with a linear output, in float64."""
    config = ModelConfig(n_frequencies=spec.n_frequencies, hidden_size=units, head_size=0, activation="identity")
    network = StatefulLSTMExtractor(config).double().eval()
    for weights in network.parameters():
        weights.requires_grad_(False).zero_()
    return network


def _rows(network: StatefulLSTMExtractor, gate: str, units: Sequence[int]) -> list[int]:
    """The rows of the weight matrices that belong to a gate of these units."""
    if gate not in GATES or len(gate) != 1:
        raise ValueError(f"gate = {gate!r}: must be one of {', '.join(GATES)}")
    return [GATES.index(gate) * network.config.hidden_size + unit for unit in units]


def open_gate(
    network: StatefulLSTMExtractor,
    gate: str,
    units: Sequence[int],
    opening: Array | float,
) -> None:
    """Let each selector open a gate of these units so far: one opening each, or for all.

    An opening is what the sigmoid gives, between 0 and 1. The weights from the
    selector are its inverse, log(p / (1 - p)), cut off where rounding hides the rest.
    """
    p = torch.as_tensor(opening, dtype=torch.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"opening = {opening}: must be between 0 and 1")
    from_selector = network.lstm.get_parameter("weight_ih_l0")[:, 1:]
    from_selector[_rows(network, gate, units)] = p.logit().clamp(-SATURATED, SATURATED)


def connect(network: StatefulLSTMExtractor, gate: str, weights: Mapping[tuple[int, int], float]) -> None:
    """Add to a gate of one unit so much of the hidden state of another: by (unit, other unit)."""
    for (unit, other), weight in weights.items():
        network.lstm.get_parameter("weight_hh_l0")[_rows(network, gate, [unit])[0], other] += weight


def add_start(network: StatefulLSTMExtractor, kick: float, unit: int = 2, kicked: int = 0) -> None:
    """Make one unit a start unit: its hidden state is zero before the first sample only, and constant afterwards.

    A bias opens the input gate of the kicked unit and lets its candidate be ``kick``. The hidden state of the start
    unit takes that bias away again, from the second sample on.
    """
    bias = network.lstm.get_parameter("bias_ih_l0")
    for gate, wanted in (("f", -SATURATED), ("i", SATURATED), ("g", SATURATED), ("o", SATURATED)):
        bias[_rows(network, gate, [unit])[0]] = wanted
    for gate, size in (("i", SATURATED), ("g", float(np.arctanh(kick)))):
        bias[_rows(network, gate, [kicked])[0]] += size
        connect(network, gate, {(kicked, unit): -size / STARTED})


def read_out(network: StatefulLSTMExtractor, unit: int, gain: float) -> None:
    """Let the output be so many times the hidden state of one unit."""
    network.head[-1].get_parameter("weight")[0, unit] = gain


def gain_of(radius: float, pull: float) -> complex:
    """What the candidates add, in the mean over a circle of this radius, as a multiple of the cell states.

    Cell states c and candidates g are read as complex numbers, c[0] + j c[1]. For small radii the gain is pull + j.
    """
    c = radius * np.exp(2j * np.pi * np.arange(4096) / 4096)
    h = np.tanh(c.real), np.tanh(c.imag)
    g = np.tanh(pull * h[0] - h[1]) + 1j * np.tanh(h[0] + pull * h[1])
    return complex(np.mean(g * c.conj()) / radius**2)


class Openings(NamedTuple):
    """What `openings` returns: the gates of a wired clock for each frequency, and what follows from them."""

    forget: Array
    input: Array
    left: Array  # of a push across the loop after one period, to first order


def openings(spec: SignalSpec, radius: float, pull: float = 0.0) -> Openings:
    """The gates with which a step turns a circle of cell states by 2πf/fs and leaves its radius as it is.

    With the gain G of `gain_of`, a step multiplies the cell states by forget + input · G. It must be exp(jθ), so
    input = sin θ / Im G and forget = cos θ − input · Re G. With a positive pull, G falls with the radius, so that a
    larger circle shrinks and a smaller one grows. For small radii and no pull these are cos θ and sin θ.
    """
    theta = 2 * np.pi * np.array(spec.frequencies) / spec.sample_rate
    gain, step = gain_of(radius, pull), 1e-3 * radius
    slope = (gain_of(radius + step, pull) - gain_of(radius - step, pull)) / (2 * step)
    i = np.sin(theta) / gain.imag
    across = 1 + radius * np.real(np.exp(-1j * theta) * i * slope)  # a push across the circle, after one step
    return Openings(np.cos(theta) - i * gain.real, i, across ** (2 * np.pi / theta))


def from_gates(
    spec: SignalSpec, forget: Array, opened: Array, radius: float, pull: float = 0.0
) -> StatefulLSTMExtractor:
    """A clock in one call, from its gates: units 0 and 1 turn, unit 2 starts them."""
    network = empty(spec)
    open_gate(network, "f", [0, 1], forget)
    open_gate(network, "i", [0, 1], opened)
    connect(network, "g", {(0, 1): -1.0, (1, 0): 1.0, (0, 0): pull, (1, 1): pull})
    open_gate(network, "o", [0, 1], 1.0)
    add_start(network, radius)
    read_out(network, 1, 1 / amplitude_of(radius))
    return network


def wired_clock(spec: SignalSpec, radius: float, pull: float = 0.0) -> StatefulLSTMExtractor:
    """A clock that runs on a circle of this radius."""
    gates = openings(spec, radius, pull)
    return from_gates(spec, gates.forget, gates.input, radius, pull)


def amplitude_of(radius: float) -> float:
    """Amplitude of the first harmonic of the hidden state when the cell state is a sine of this amplitude."""
    angle = 2 * np.pi * np.arange(4096) / 4096
    return float(2 * np.mean(np.tanh(radius * np.sin(angle)) * np.sin(angle)))
