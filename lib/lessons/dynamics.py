"""One step of a trained network as a map of its state; loops, fixed points, and what becomes of a push."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor
from torch.func import jacrev, vmap

from lib.lessons.instruments import lstm_step
from lib.model import StatefulLSTMExtractor
from lib.signals import Array, SignalSpec


class StepMap:
    """One step of a network in silence, at a constant selector: a map of its state s = (h, c), in float64.

    A state has 2 · hidden_size numbers, first h, then c. With a constant input nothing but the state changes, so the
    map says everything about what the network can do.
    """

    def __init__(self, model: StatefulLSTMExtractor, selector: Tensor) -> None:
        """Take a copy of a one-layer network, and a selector, (n_frequencies,); ValueError if it has more layers."""
        if model.config.num_layers != 1 or model.config.input_norm or model.config.output_norm:
            raise ValueError(f"model = {model.config}: must have one layer and no normalization")
        self.model = StatefulLSTMExtractor(model.config).double().eval().requires_grad_(False)
        self.model.load_state_dict(model.state_dict())
        self.x = torch.cat([torch.zeros(1), selector]).double()
        self.units = model.config.hidden_size

    def step(self, s: Tensor) -> Tensor:
        """The states after one sample, (..., 2 · units), from those before."""
        h, c = s.split(self.units, dim=-1)
        gates = lstm_step(self.model.lstm, self.x, h, c)
        return torch.cat([gates.h, gates.c], dim=-1)

    def jacobian(self, s: Tensor) -> Tensor:
        """How the next state (a row) changes with each number of this one (a column).

        From (lanes, 2 · units) to (lanes, 2 · units, 2 · units), by automatic
        differentiation.
        """
        return vmap(jacrev(self.step), chunk_size=64)(s)

    def path(self, s: Tensor, samples: int) -> Tensor:
        """The states (..., 2 · units) and those after them: (..., samples + 1, 2 · units)."""
        states = [s]
        for _ in range(samples):
            states.append(self.step(states[-1]))
        return torch.stack(states, dim=-2)

    def run(self, s: Tensor, samples: int) -> tuple[Array, Tensor]:
        """Go on from states (lanes, 2 · units): the outputs, (lanes, samples), and the states at the end."""
        with self.model.evaluation_state() as model:
            model.hidden_state, model.cell_state = (part[None].contiguous() for part in s.split(self.units, dim=1))
            outputs = model(self.x.expand(len(s), samples, -1))[..., 0].numpy()
            return outputs, torch.cat(model.state(), dim=2)[0]

    def settle(self, samples: int) -> Tensor:
        """The state so many samples after a reset, (2 · units,)."""
        return self.run(torch.zeros(1, 2 * self.units, dtype=torch.float64), samples)[1][0]


@dataclass(frozen=True)
class ClosedLoop:
    """A closed path on which the state runs, over a whole number of periods that is a whole number of samples."""

    step_map: StepMap
    frequency: float  # Hz
    sample_rate: float  # Hz
    states: Tensor  # (samples + 1, state): the last is the first again, but for the rate of the clock
    jacobians: Tensor  # of each step, (samples, state, state)
    tangents: Tensor  # how the state moves along the loop, per sample, (samples, state)

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return len(self.jacobians) / self.sample_rate

    @property
    def periods(self) -> int:
        """How many periods of the sine it holds."""
        return round(self.seconds * self.frequency)

    @functools.cached_property
    def product(self) -> Tensor:
        """How the state after all these samples depends on the first one: the product of the Jacobians."""
        return functools.reduce(lambda product, jacobian: jacobian @ product, self.jacobians)

    @functools.cached_property
    def multipliers(self) -> Array:
        """Floquet multipliers over these samples, complex, the largest first."""
        return sorted_eigenvalues(self.product)

    @property
    def left(self) -> float:
        """Which share of a push across the loop is left after one second: the second multiplier, brought to 1 s."""
        return float(np.abs(self.multipliers[1]) ** (1 / self.seconds))

    @property
    def gap(self) -> float:
        """How far the last state is from the first one, in steps of the loop: well below 1 where the path is closed."""
        return float((self.states[-1] - self.states[0]).norm() / (self.states[1] - self.states[0]).norm())

    @property
    def off(self) -> float:
        """How far the state is from where it was one period of the sine before, in steps: below 1 if it is back.

        A period need not be a whole number of samples; the nearest one is taken.
        """
        period = round(self.sample_rate / self.frequency)
        return float((self.states[period] - self.states[0]).norm() / (self.states[1] - self.states[0]).norm())

    @property
    def ppm(self) -> float:
        """Rate error in parts per million: how many µs late the clock is after each second, as in notebook 04."""
        along, samples = self.tangents[0], len(self.jacobians)
        ahead = float((self.states[-1] - self.states[0]) @ along / (along @ along))  # samples
        due = samples - self.periods * self.sample_rate / self.frequency  # 0 where both numbers are whole
        return -1e6 * (ahead - due) / samples

    @functools.cached_property
    def phase_response(self) -> Tensor:
        """By how many samples a small push sets the clock forward, per unit of each state: (samples, state).

        A push δ at sample n sets the clock forward by phase_response[n] · δ. It is the left eigenvector of the
        multiplier one, handed back in time by the transposed Jacobians (Malkin 1949; Ermentrout 1996).
        """
        values, vectors = np.linalg.eig(self.product.T.numpy())
        last = torch.as_tensor(vectors[:, np.argmin(np.abs(values - 1))].real.copy())
        responses = [last / (last @ self.tangents[0])]  # at the end of the loop, which is its beginning
        for jacobian in self.jacobians.flip(0):
            responses.append(jacobian.T @ responses[-1])
        return torch.stack(responses[:0:-1])


def sorted_eigenvalues(matrix: Tensor) -> Array:
    """Eigenvalues of a square matrix: complex, the largest first."""
    values = np.linalg.eigvals(matrix.numpy())
    return values[np.argsort(-np.abs(values))]


def repetition(frequency: float, sample_rate: float, most: int = 2_000) -> tuple[int, int]:
    """The least number of samples, up to ``most``, that holds whole periods as nearly as can be, and how many."""
    share = Fraction(frequency / sample_rate).limit_denominator(most)
    return share.denominator, share.numerator


def find_loop(step_map: StepMap, frequency: float, sample_rate: float, settled: float = 8.0) -> ClosedLoop:
    """The loop on which a network runs ``settled`` seconds after a reset.

    The tangents are the derivative of the trigonometric polynomial through all points of the loop.
    """
    samples, _ = repetition(frequency, sample_rate, max(2_000, math.ceil(sample_rate / frequency)))
    states = step_map.path(step_map.settle(round(settled * sample_rate)), samples)
    turns = 2j * np.pi * np.fft.fftfreq(samples)[:, None]
    tangents = np.fft.ifft(turns * np.fft.fft(states[:-1].numpy(), axis=0), axis=0).real
    jacobians = step_map.jacobian(states[:-1])
    return ClosedLoop(step_map, frequency, sample_rate, states, jacobians, torch.as_tensor(tangents.copy()))


def all_loops(model: StatefulLSTMExtractor, spec: SignalSpec, settled: float = 8.0) -> list[ClosedLoop]:
    """The loop of each selector."""
    maps = [StepMap(model, selector) for selector in torch.eye(spec.n_frequencies)]
    return [find_loop(m, f, spec.sample_rate, settled) for m, f in zip(maps, spec.frequencies, strict=True)]


def half_lives(loop: ClosedLoop) -> Array:
    """Samples after which each cell alone would have lost half of its content, on a loop: (units,)."""
    units = loop.step_map.units
    forget = loop.jacobians[:, units:, units:].diagonal(dim1=1, dim2=2)
    return np.log(0.5) / forget.log().mean(dim=0).numpy()


def fixed_points(step_map: StepMap, starts: Tensor, iterations: int = 100) -> Tensor:
    """The different states that a step leaves as they are, found from these starts, (starts, state): (points, state).

    By Levenberg and Marquardt's method on step(s) − s, from all starts at once. There may be others, to which no
    start has led.
    """
    s, one = starts.clone(), torch.eye(starts.shape[1], dtype=starts.dtype)
    damping = torch.full((len(s),), 1e-2, dtype=s.dtype)
    for _ in range(iterations):
        miss = step_map.step(s) - s
        slope = step_map.jacobian(s) - one
        normal = slope.mT @ slope + damping[:, None, None] * one
        tried = s - torch.linalg.solve(normal, slope.mT @ miss[..., None])[..., 0]
        better = (step_map.step(tried) - tried).norm(dim=1) < miss.norm(dim=1)
        s = torch.where(better[:, None], tried, s)
        damping = torch.where(better, 0.3 * damping, 4 * damping).clamp(1e-14, 1e6)
    points = s[(step_map.step(s) - s).norm(dim=1) < 1e-9]
    new = [k for k in range(len(points)) if not ((points[:k] - points[k]).norm(dim=1) < 1e-5).any()]
    return points[new]


def starts_around(loop: ClosedLoop, count: int = 24) -> Tensor:
    """Where to begin the search for fixed points: the middle of the loop, and points between it and the loop."""
    middle = loop.states[:-1].mean(dim=0)
    places = loop.states[torch.linspace(0, len(loop.states) - 2, count - 1).long()]
    shares = torch.linspace(0, 0.9, count - 1, dtype=places.dtype)[torch.arange(count - 1) * 7 % (count - 1)]
    return torch.cat([middle[None], middle + shares[:, None] * (places - middle)])
