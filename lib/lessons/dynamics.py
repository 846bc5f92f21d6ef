"""Notebook 06: one step of a trained network as a map of its state; loops, fixed points, and what becomes of a push."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib.lessons.instruments import lstm_step
from lib.model import StatefulLSTMExtractor
from lib.signals import Array, SignalSpec


class StepMap:
    """One step of a network in silence, at a constant selector: a map of its state s = (h, c), in float64.

    A state has 2 · hidden_size numbers, first h, then c. With a constant input nothing but the state changes, so the
    map says everything about what the network can do.
    """

    def __init__(self, model: StatefulLSTMExtractor, selector: Tensor) -> None:
        """Take the weights of a one-layer network, and a selector, (n_frequencies,); ValueError if it has more."""
        if model.config.num_layers != 1 or model.config.input_norm or model.config.output_norm:
            raise ValueError(f"model = {model.config}: must have one layer and no normalization")
        double = {name: p.detach().double() for name, p in model.named_parameters()}
        self.lstm = torch.nn.LSTM(1 + len(selector), model.config.hidden_size, batch_first=True).double()
        self.lstm.load_state_dict({name.removeprefix("lstm."): p for name, p in double.items() if "lstm" in name})
        self.lstm.requires_grad_(False)
        self.x = torch.cat([torch.zeros(1), selector]).double()
        self.units = model.config.hidden_size

    def step(self, s: Tensor) -> Tensor:
        """The states after one sample, (lanes, 2 · units), from those before."""
        h, c = s.split(self.units, dim=-1)
        gates = lstm_step(self.lstm, self.x.expand(len(s), -1), h, c)
        return torch.cat([gates.h, gates.c], dim=-1)

    def jacobian(self, s: Tensor) -> Tensor:
        """How the next state (a row) changes with each number of this one (a column).

        From (lanes, 2 · units) to (lanes, 2 · units, 2 · units), by the chain rule
        from c = f · before + i · g and h = o · tanh(c).
        """
        h, before = s.split(self.units, dim=-1)
        gates = lstm_step(self.lstm, self.x.expand(len(s), -1), h, before)
        i, f, g, o, tanh_c = *gates[:4], gates.c.tanh()
        u_i, u_f, u_g, u_o = self.lstm.get_parameter("weight_hh_l0").chunk(4)
        c_by_h = (g * i * (1 - i))[..., None] * u_i
        c_by_h += (before * f * (1 - f))[..., None] * u_f
        c_by_h += (i * (1 - g**2))[..., None] * u_g
        c_rows = torch.cat([c_by_h, torch.diag_embed(f)], dim=-1)
        h_rows = (o * (1 - tanh_c**2))[..., None] * c_rows
        h_rows[..., : self.units] += (o * (1 - o) * tanh_c)[..., None] * u_o
        return torch.cat([h_rows, c_rows], dim=-2)

    def path(self, s: Tensor, samples: int) -> Tensor:
        """One state (2 · units,) and those after it: (samples + 1, 2 · units)."""
        states = [s[None]]
        for _ in range(samples):
            states.append(self.step(states[-1]))
        return torch.cat(states)

    def settle(self, samples: int) -> Tensor:
        """The state so many samples after a reset, (2 · units,)."""
        s = torch.zeros(1, 2 * self.units, dtype=torch.float64)
        for _ in range(samples):
            s = self.step(s)
        return s[0]


def double_head(model: StatefulLSTMExtractor) -> torch.nn.Module:
    """A copy of what stands between the hidden state and the output, in float64 and without gradients."""
    twin = StatefulLSTMExtractor(model.config)
    twin.load_state_dict(model.state_dict())
    return twin.head.double().requires_grad_(False)


class Loop(NamedTuple):
    """A closed path on which the state runs, over a whole number of periods that is a whole number of samples."""

    states: Tensor  # (samples + 1, state): the last is the first again, but for the rate of the clock
    jacobians: Tensor  # of each step, (samples, state, state)
    tangents: Tensor  # how the state moves along the loop, per sample, (samples, state)
    periods: int
    due: float  # samples by which these samples are longer than the periods; 0 where both numbers are whole
    seconds: float

    @property
    def product(self) -> Tensor:
        """How the state after all these samples depends on the first one: the product of the Jacobians."""
        return chained(self.jacobians)

    @property
    def ahead(self) -> float:
        """How many samples the last state is further along the loop than a perfect clock would be."""
        along = self.tangents[0]
        return float((self.states[-1] - self.states[0]) @ along / (along @ along)) - self.due

    @property
    def gap(self) -> float:
        """How far the last state is from the first one, in steps of the loop: well below 1 where the path is closed."""
        return float((self.states[-1] - self.states[0]).norm() / (self.states[1] - self.states[0]).norm())

    @property
    def off(self) -> float:
        """How far the state is from where it was one period of the sine before, in steps: below 1 if it is back.

        A period need not be a whole number of samples; the nearest one is taken.
        """
        period = round(len(self.jacobians) / self.periods)
        return float((self.states[period] - self.states[0]).norm() / (self.states[1] - self.states[0]).norm())

    @property
    def left(self) -> float:
        """Which share of a push across the loop is left after one second: the second multiplier, brought to 1 s."""
        return float(np.abs(self.multipliers()[1]) ** (1 / self.seconds))

    @property
    def ppm(self) -> float:
        """Rate error in parts per million: how many µs late the clock is after each second, as in notebook 04."""
        return -1e6 * self.ahead / len(self.jacobians)

    def multipliers(self) -> Array:
        """Floquet multipliers over these samples, complex, the largest first."""
        found = np.linalg.eigvals(self.product.numpy())
        return found[np.argsort(-np.abs(found))]


def repetition(frequency: float, sample_rate: float, most: int = 2_000) -> tuple[int, int]:
    """The least number of samples, up to ``most``, that holds whole periods as nearly as can be, and how many."""
    share = Fraction(frequency / sample_rate).limit_denominator(most)
    return share.denominator, share.numerator


def find_loop(step_map: StepMap, frequency: float, sample_rate: float, settled: float = 8.0) -> Loop:
    """The loop on which a network runs ``settled`` seconds after a reset.

    The tangents are the derivative of the trigonometric polynomial through all points of the loop.
    """
    samples, periods = repetition(frequency, sample_rate, max(2_000, math.ceil(sample_rate / frequency)))
    states = step_map.path(step_map.settle(round(settled * sample_rate)), samples)
    turns = 2j * np.pi * np.fft.fftfreq(samples)[:, None]
    tangents = np.fft.ifft(turns * np.fft.fft(states[:-1].numpy(), axis=0), axis=0).real
    jacobians = step_map.jacobian(states[:-1])
    due = samples - periods * sample_rate / frequency
    return Loop(states, jacobians, torch.as_tensor(tangents.copy()), periods, due, samples / sample_rate)


def all_loops(model: StatefulLSTMExtractor, spec: SignalSpec, settled: float = 8.0) -> list[Loop]:
    """The loop of each selector."""
    maps = [StepMap(model, selector) for selector in torch.eye(spec.n_frequencies)]
    return [find_loop(m, f, spec.sample_rate, settled) for m, f in zip(maps, spec.frequencies, strict=True)]


def chained(jacobians: Tensor) -> Tensor:
    """The product of Jacobians (samples, state, state), the last one on the left."""
    while len(jacobians) > 1:  # neighbours in pairs: a few large products are faster than many small ones
        odd = jacobians[-1:] if len(jacobians) % 2 else jacobians[:0]
        jacobians = torch.cat([jacobians[1::2] @ jacobians[: len(jacobians) // 2 * 2 : 2], odd])
    return jacobians[0]


def growths(jacobians: Tensor, count: int, rounds: int = 1) -> Array:
    """By which factors the ``count`` longest-lived pushes grow over these samples, in the mean over some rounds.

    A product of many Jacobians loses small multipliers to rounding. Here the directions are made orthogonal again
    after each step (Benettin and others 1980): first to find the directions, then once more to measure.
    """
    directions = torch.eye(jacobians.shape[-1], count, dtype=jacobians.dtype)
    for _ in range(2):
        logs = torch.zeros(count, dtype=jacobians.dtype)
        for jacobian in [*jacobians] * rounds:
            directions, shape = torch.linalg.qr(jacobian @ directions)
            logs += shape.diagonal().abs().log() / rounds
    return logs.exp().numpy()


def phase_response(loop: Loop) -> Tensor:
    """By how many samples a small push sets the clock forward, per unit of each state: (samples, state).

    A push δ at sample n sets the clock forward by response[n] · δ. The response is the left eigenvector of the
    multiplier one, handed back in time by the transposed Jacobians (Malkin 1949; Ermentrout 1996).
    """
    values, vectors = np.linalg.eig(loop.product.T.numpy())
    last = torch.as_tensor(vectors[:, np.argmin(np.abs(values - 1))].real.copy())
    responses = [last / (last @ loop.tangents[0])]  # at the end of the loop, which is its beginning
    for jacobian in loop.jacobians.flip(0):
        responses.append(jacobian.T @ responses[-1])
    return torch.stack(responses[:0:-1])


def fixed_points(step_map: StepMap, starts: Tensor, iterations: int = 100) -> Tensor:
    """The different states that a step leaves as they are, found from these starts, (starts, state): (points, state).

    By Levenberg and Marquardt's method on step(s) − s. There may be others, to which no start has led.
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
    found: list[Tensor] = []
    for point in s[(step_map.step(s) - s).norm(dim=1) < 1e-9]:
        if all((point - other).norm() > 1e-5 for other in found):
            found.append(point)
    return torch.stack(found) if found else s[:0]


def starts_around(loop: Loop, count: int = 24) -> Tensor:
    """Where to begin the search for fixed points: the middle of the loop, and points between it and the loop."""
    middle = loop.states[:-1].mean(dim=0)
    places = loop.states[torch.linspace(0, len(loop.states) - 2, count - 1).long()]
    shares = torch.linspace(0, 0.9, count - 1, dtype=places.dtype)[torch.arange(count - 1) * 7 % (count - 1)]
    return torch.cat([middle[None], middle + shares[:, None] * (places - middle)])


def eigenvalues(step_map: StepMap, point: Tensor) -> Array:
    """Eigenvalues of the step, linearized at one state: complex, the largest first."""
    found = np.linalg.eigvals(step_map.jacobian(point[None])[0].numpy())
    return found[np.argsort(-np.abs(found))]


def half_lives(loops: Sequence[Loop]) -> Array:
    """Samples after which each cell alone would have lost half of its content, on each loop: (loops · units,)."""
    found = []
    for loop in loops:
        units = loop.states.shape[1] // 2
        forget = loop.jacobians[:, units:, units:].diagonal(dim1=1, dim2=2)
        found.append(np.log(0.5) / forget.log().mean(dim=0).numpy())
    return np.concatenate(found)


def turning_rates(values: Array, sample_rate: float) -> str:
    """At which frequencies, in Hz, pushes turn that grow: of the eigenvalues outside the unit circle, in words."""
    out = values[(np.abs(values) > 1) & (values.imag >= 0)]
    told = [f"{np.angle(v) * sample_rate / (2 * np.pi):.1f} Hz" if abs(v.imag) > 1e-9 else "real" for v in out]
    return ", ".join(told) or "none"
