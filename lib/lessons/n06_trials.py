"""Notebook 06: trials of a trained network: switches, starts from anywhere, removed units, pushes, attributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib.lessons.clock import LEAST, frequency_and_amplitude
from lib.lessons.dynamics import ClosedLoop, StepMap
from lib.lessons.instruments import lstm_step
from lib.model import StatefulLSTMExtractor
from lib.signals import Array, SignalSpec

ENDS = ("the selector's loop", "another loop", "at rest")


def distance(states: Tensor, loop: ClosedLoop) -> Tensor:
    """How far each state (lanes, state) is from the nearest point of a loop, in steps of that loop, (lanes,)."""
    step = (loop.states[1:] - loop.states[:-1]).norm(dim=1)
    nearest = torch.cdist(states, loop.states[:-1]).min(dim=1)
    return nearest.values / step[nearest.indices]


class End(NamedTuple):
    """Where a state has ended."""

    where: str  # one of `ENDS`
    frequency: float  # of the output in the last two seconds, Hz, NaN where it stands still
    amplitude: float  # of the output


def ends(loop: ClosedLoop, states: Tensor, seconds: float = 6) -> list[End]:
    """Where states (lanes, 2 · units) end that see the selector of this loop for so many seconds."""
    outputs, last = loop.step_map.run(states, round(seconds * loop.sample_rate))
    found = []
    for output, apart in zip(outputs[:, -round(2 * loop.sample_rate) :], distance(last, loop), strict=True):
        frequency, amplitude = frequency_and_amplitude(output, loop.sample_rate)
        where = ENDS[0] if apart < 1 else ENDS[2] if amplitude < LEAST else ENDS[1]
        found.append(End(where, frequency, amplitude))
    return found


def switches(loops: Sequence[ClosedLoop], phases: int = 8) -> dict[tuple[int, int], list[End]]:
    """By (first selector, second selector): where the second one leads from so many phases of the first one's loop."""
    starts = [loop.states[phases_of(loop, phases)] for loop in loops]
    pairs = [(first, second) for first in range(len(loops)) for second in range(len(loops)) if first != second]
    return {(first, second): ends(loops[second], starts[first]) for first, second in pairs}


def phases_of(loop: ClosedLoop, count: int) -> list[int]:
    """The samples at so many phases of one period, evenly."""
    return [round(k * loop.sample_rate / loop.frequency / count) for k in range(count)]


def elsewhere(found: Sequence[End]) -> str:
    """How many ended elsewhere than on the loop of their selector, and at which frequencies, in words."""
    lost = [end for end in found if end.where != ENDS[0]]
    told = sorted({"at rest" if np.isnan(end.frequency) else f"at {end.frequency:.1f} Hz" for end in lost})
    return f"{len(lost)} of {len(found)}" + (f" ({', '.join(told)})" if lost else "")


def anywhere(loops: Sequence[ClosedLoop], count: int, seed: int = 0) -> Tensor:
    """Random states, (count, 2 · units): h between -1 and 1, c up to the largest value on any of the loops."""
    units = loops[0].step_map.units
    largest = max(float(loop.states[:, units:].abs().max()) for loop in loops)
    generator = torch.Generator().manual_seed(seed)
    states = 2 * torch.rand(count, 2 * units, generator=generator, dtype=torch.float64) - 1
    states[:, units:] *= largest
    return states


class Removal(NamedTuple):
    """What `removals` returns."""

    output: Array  # MSE when the output does not see the unit, (n_frequencies, units)
    clock: Array  # MSE when no other unit sees it either, (n_frequencies, units)
    frequency: Array  # of the output then, Hz, NaN where it stands still, (n_frequencies, units)


def removals(loops: Sequence[ClosedLoop], at_mean: bool = False, seconds: float = 3.0) -> Removal:
    """Withhold the hidden state of one unit after the other, from reset on: from the output alone, and from all.

    Whoever reads the unit finds zero in its place, or its mean over the loop.
    """
    found = []
    for loop in loops:
        step_map, samples = loop.step_map, round(seconds * loop.sample_rate)
        units, head = step_map.units, step_map.model.head
        kept = torch.cat([1 - torch.eye(units), torch.ones(1, units)]).double()  # the last lane keeps all units
        instead = (1 - kept) * loop.states[:-1, :units].mean(dim=0) * at_mean
        states = torch.zeros(units + 1, 2 * units, dtype=torch.float64)
        without, whole = [], []
        for _ in range(samples):
            states = step_map.step(states)
            whole.append(head(states[-1, :units] * kept[:-1] + instead[:-1])[:, 0])
            states[:, :units] = states[:, :units] * kept + instead
            without.append(head(states[:-1, :units])[:, 0])
        target = np.sin(2 * np.pi * loop.frequency * np.arange(samples) / loop.sample_rate)
        clock, output = (torch.stack(y, dim=1).numpy() for y in (without, whole))
        rates = [frequency_and_amplitude(y[samples // 2 :], loop.sample_rate)[0] for y in clock]
        found.append([*(np.mean((y - target) ** 2, axis=1) for y in (output, clock)), rates])
    return Removal(*np.array(found).transpose(1, 0, 2))


def pushed_ahead(loop: ClosedLoop, push: Tensor, phases: int = 24) -> tuple[Array, Array, Array]:
    """Push the state at so many phases of one period, and read from the output how far the clock is ahead then.

    Args:
        loop: where the states are.
        push: what is added, as a share of the state's own swing about its mean, (2 · units,).
        phases: how many.

    Returns:
        Share of the period at which it is pushed, samples ahead as the phase response predicts it, and as measured
        in the fifth second after the push; (phases,) each.
    """
    at, turn = phases_of(loop, phases), 2 * np.pi * loop.frequency / loop.sample_rate
    states = loop.states[at]
    change = (states - loop.states[:-1].mean(dim=0)) * push
    second = round(loop.sample_rate)
    outputs = loop.step_map.run(torch.cat([states, states + change]), 5 * second)[0][:, -second:]
    plain, pushed = (outputs * np.exp(-1j * turn * np.arange(second))).mean(axis=1).reshape(2, phases)
    predicted = (loop.phase_response[at] * change).sum(dim=1).numpy()
    return np.array(at) / loop.sample_rate * loop.frequency, predicted, np.angle(pushed / plain) / turn


def amplitude_after(loop: ClosedLoop, share: float, periods: int) -> Array:
    """How much larger the output swings, relatively, in each period after a push across the loop, (periods,).

    The push moves the cell state away from the middle of its loop, by a share of its distance from there.
    """
    samples = round(loop.sample_rate / loop.frequency)
    push = (loop.states[0] - loop.states[:-1].mean(dim=0)) * share
    push[: loop.step_map.units] = 0
    outputs, _ = loop.step_map.run(torch.stack([loop.states[0], loop.states[0] + push]), samples * periods)
    swings = outputs.reshape(2, periods, samples).std(axis=2)
    return swings[1] / swings[0] - 1


def half_way(
    model: StatefulLSTMExtractor, spec: SignalSpec, first: int, second: int, seconds: float = 4.0
) -> tuple[float, float, float]:
    """Give a network half of one selector and half of another, and look at the motion that it settles to.

    Returns:
        Frequency in Hz and amplitude of the output, and the share of the second longest-lived push that is left after
        one second.
    """
    selector = (torch.eye(spec.n_frequencies)[first] + torch.eye(spec.n_frequencies)[second]) / 2
    step_map, samples = StepMap(model, selector), round(seconds * spec.sample_rate)
    states = step_map.path(step_map.settle(samples), samples)
    outputs = step_map.model.head(states[:, : step_map.units])[:, 0].numpy()
    left = growths(step_map.jacobian(states[:-1]), 2)[1] ** (1 / seconds)
    return *frequency_and_amplitude(outputs, spec.sample_rate), float(left)


def growths(jacobians: Tensor, count: int) -> Array:
    """By which factors the ``count`` longest-lived pushes grow over these samples.

    A product of many Jacobians loses small multipliers to rounding. Here the directions are made orthogonal again
    after each step (Benettin and others 1980): first to find the directions, then once more to measure.
    """
    directions = torch.eye(jacobians.shape[-1], count, dtype=jacobians.dtype)
    for _ in range(2):
        logs = torch.zeros(count, dtype=jacobians.dtype)
        for jacobian in jacobians:
            directions, shape = torch.linalg.qr(jacobian @ directions)
            logs += shape.diagonal().abs().log()
    return logs.exp().numpy()


class Attribution(NamedTuple):
    """How the last output of several roll-outs changes with what came k samples before; k = 0 is the last sample.

    Each is the root mean square over the roll-outs of the length of a derivative, (lags,).
    """

    S: Array  # with S(t)
    selector: Array  # with the selector
    state: Array  # with the state before that sample


def attribute(step_map: StepMap, starts: Tensor, lags: int) -> Attribution:
    """The exact derivatives of the outputs so many samples after some states (roll-outs, 2 · units), in silence."""

    def last_outputs(inputs: Tensor, pushes: Tensor) -> Tensor:
        """The sum of the last outputs; a roll-out is a lane, so that the derivatives of the lanes do not mix."""
        h, c = starts.split(step_map.units, dim=1)
        for x, push in zip(inputs.unbind(1), pushes.unbind(1), strict=True):
            by_h, by_c = push.split(step_map.units, dim=1)
            gates = lstm_step(step_map.model.lstm, x, h + by_h, c + by_c)
            h, c = gates.h, gates.c
        return step_map.model.head(h).sum()

    inputs = step_map.x.expand(len(starts), lags, -1)
    pushes = torch.zeros(len(starts), lags, starts.shape[1], dtype=starts.dtype)
    by_inputs, by_state = torch.func.grad(last_outputs, argnums=(0, 1))(inputs, pushes)
    lengths = [part.norm(dim=2) for part in (by_inputs[..., :1], by_inputs[..., 1:], by_state)]
    return Attribution(*(part.square().mean(dim=0).sqrt().flip(0).numpy() for part in lengths))


def with_ears(model: StatefulLSTMExtractor, size: float, seed: int = 0) -> StatefulLSTMExtractor:
    """A copy of a network whose weights from S are random, as large as ``size``: a control that must be found out."""
    twin = StatefulLSTMExtractor(model.config)
    twin.load_state_dict(model.state_dict())
    weights = twin.lstm.get_parameter("weight_ih_l0").data
    weights[:, 0] = size * torch.randn(len(weights), generator=torch.Generator().manual_seed(seed))
    return twin.eval()


def untrained(model: StatefulLSTMExtractor, seed: int = 0) -> StatefulLSTMExtractor:
    """A network of the same shape with PyTorch's initial weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return StatefulLSTMExtractor(model.config).eval()
