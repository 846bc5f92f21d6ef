"""Notebook 06: trials of a trained network: switches, starts from anywhere, removed units, pushes at every phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib.lessons.between import LEAST, frequency_and_amplitude
from lib.lessons.dynamics import Loop, StepMap, double_head, growths, phase_response
from lib.model import StatefulLSTMExtractor
from lib.signals import Array, SignalSpec

ENDS = ("the selector's loop", "another loop", "at rest")


def go_on(model: StatefulLSTMExtractor, states: Tensor, selectors: Tensor, samples: int) -> tuple[Array, Tensor]:
    """Run a network in silence from states (lanes, 2 · units), with selectors (lanes, n_frequencies), in float64.

    Returns:
        The outputs, (lanes, samples), and the states at the end, (lanes, 2 · units).
    """
    units = model.config.hidden_size
    twin = StatefulLSTMExtractor(model.config).double().eval()
    twin.load_state_dict(model.state_dict())
    silent = torch.cat([torch.zeros(len(selectors), 1), selectors], dim=1).double()
    outputs = []
    with twin.evaluation_state():
        twin.hidden_state, twin.cell_state = (part[None].contiguous() for part in states.double().split(units, dim=1))
        for chunk in silent[:, None].expand(-1, samples, -1).split(1000, dim=1):
            outputs.append(twin(chunk)[..., 0])  # noqa: PERF401
        end = torch.cat([part[0] for part in twin.state()], dim=1)
    return torch.cat(outputs, dim=1).numpy(), end


def distance(states: Tensor, loop: Loop) -> Tensor:
    """How far each state (lanes, state) is from the nearest point of a loop, in steps of that loop, (lanes,)."""
    step = (loop.states[1:] - loop.states[:-1]).norm(dim=1)
    apart = torch.cdist(states, loop.states[:-1])
    nearest = apart.argmin(dim=1)
    return apart.min(dim=1).values / step[nearest]


class End(NamedTuple):
    """Where a state has ended."""

    where: str  # one of `ENDS`
    frequency: float  # of the output in the last two seconds, Hz, NaN where it stands still
    amplitude: float  # of the output


def ends(
    model: StatefulLSTMExtractor, spec: SignalSpec, loops: Sequence[Loop], states: Tensor, lane: int, seconds: float = 6
) -> list[End]:
    """Where states (lanes, 2 · units) end that see one selector for so many seconds."""
    selectors = torch.eye(spec.n_frequencies)[lane].expand(len(states), -1)
    outputs, last = go_on(model, states, selectors, round(seconds * spec.sample_rate))
    found = []
    for output, apart in zip(outputs[:, -round(2 * spec.sample_rate) :], distance(last, loops[lane]), strict=True):
        frequency, amplitude = frequency_and_amplitude(output, spec.sample_rate)
        where = ENDS[0] if apart < 1 else ENDS[2] if amplitude < LEAST else ENDS[1]
        found.append(End(where, frequency, amplitude))
    return found


def switches(
    model: StatefulLSTMExtractor, spec: SignalSpec, loops: Sequence[Loop], phases: int = 8
) -> dict[tuple[int, int], list[End]]:
    """By (first selector, second selector): where the second one leads from so many phases of the first one's loop."""
    found: dict[tuple[int, int], list[End]] = {}
    for second in range(spec.n_frequencies):
        others = [first for first in range(spec.n_frequencies) if first != second]
        states = [
            loops[first].states[[round(k * spec.sample_rate / spec.frequencies[first] / phases) for k in range(phases)]]
            for first in others
        ]
        ended = ends(model, spec, loops, torch.cat(states), second) if others else []
        found |= {(first, second): ended[k * phases : (k + 1) * phases] for k, first in enumerate(others)}
    return found


def elsewhere(found: Sequence[End]) -> str:
    """How many ended elsewhere than on the loop of their selector, and at which frequencies, in words."""
    lost = [end for end in found if end.where != ENDS[0]]
    told = sorted({"at rest" if np.isnan(end.frequency) else f"at {end.frequency:.1f} Hz" for end in lost})
    return f"{len(lost)} of {len(found)}" + (f" ({', '.join(told)})" if lost else "")


def anywhere(loops: Sequence[Loop], count: int, seed: int = 0) -> Tensor:
    """Random states, (count, 2 · units): h between -1 and 1, c up to the largest value on any of the loops."""
    units = loops[0].states.shape[1] // 2
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


def removals(model: StatefulLSTMExtractor, spec: SignalSpec, seconds: float = 3.0) -> Removal:
    """Withhold the hidden state of one unit after the other, from reset on: from the output alone, and from all."""
    units, samples = model.config.hidden_size, round(seconds * spec.sample_rate)
    head = double_head(model)
    targets = np.sin(2 * np.pi * np.array(spec.frequencies)[:, None] * np.arange(samples) / spec.sample_rate)
    kept = torch.cat([1 - torch.eye(units), torch.ones(1, units)]).double()  # the last lane keeps all units
    mask = torch.cat([kept, torch.ones_like(kept)], dim=1)  # the cell states stay
    output, clock, frequency = (np.empty((spec.n_frequencies, units)) for _ in range(3))
    for lane, selector in enumerate(torch.eye(spec.n_frequencies)):
        step_map = StepMap(model, selector)
        states = torch.zeros(units + 1, 2 * units, dtype=torch.float64)
        without, whole = [], []
        for _ in range(samples):
            states = step_map.step(states) * mask
            without.append(head(states[:-1, :units])[:, 0])
            whole.append(head(states[-1, :units] * kept[:-1])[:, 0])
        y = torch.stack(without, dim=1).numpy()
        clock[lane] = np.mean((y - targets[lane]) ** 2, axis=1)
        output[lane] = np.mean((torch.stack(whole, dim=1).numpy() - targets[lane]) ** 2, axis=1)
        late = y[:, samples // 2 :]
        frequency[lane] = [frequency_and_amplitude(row, spec.sample_rate)[0] for row in late]
    return Removal(output, clock, frequency)


def pushed_ahead(
    model: StatefulLSTMExtractor, spec: SignalSpec, loop: Loop, lane: int, push: Tensor, phases: int = 24
) -> tuple[Array, Array, Array]:
    """Push the state at so many phases of one period, and read from the output how far the clock is ahead then.

    Args:
        model: the network.
        spec: the signals.
        loop: the loop of the selector.
        lane: the selector.
        push: what is added, as a share of the state's own swing about its mean, (2 · units,).
        phases: how many.

    Returns:
        Share of the period at which it is pushed, samples ahead as `phase_response` predicts it, and as measured in
        the fifth second after the push; (phases,) each.
    """
    rate, f = spec.sample_rate, spec.frequencies[lane]
    at = [round(k * rate / f / phases) for k in range(phases)]
    states = loop.states[at]
    change = (states - loop.states[:-1].mean(dim=0)) * push
    both = torch.cat([states, states + change])
    selectors = torch.eye(spec.n_frequencies)[lane].expand(len(both), -1)
    outputs = go_on(model, both, selectors, round(5 * rate))[0][:, -round(rate) :]
    turning = np.exp(-2j * np.pi * f / rate * np.arange(outputs.shape[1]))
    plain, pushed = (outputs * turning).mean(axis=1).reshape(2, phases)
    measured = np.angle(pushed / plain) / (2 * np.pi * f) * rate
    predicted = (phase_response(loop)[at] * change).sum(dim=1).numpy()
    return np.array(at) / rate * f, predicted, measured


class Between(NamedTuple):
    """A loop at a selector half-way between two: what `half_way` returns."""

    frequency: float  # of the output, Hz
    amplitude: float  # of the output
    left: float  # share of the second longest-lived push that is left after one second


def half_way(model: StatefulLSTMExtractor, spec: SignalSpec, first: int, second: int, seconds: float = 4.0) -> Between:
    """Give a network half of one selector and half of another, and look at the motion that it settles to."""
    selector = (torch.eye(spec.n_frequencies)[first] + torch.eye(spec.n_frequencies)[second]) / 2
    step_map, samples = StepMap(model, selector), round(seconds * spec.sample_rate)
    states = step_map.path(step_map.settle(samples), samples)
    outputs = double_head(model)(states[:, : step_map.units])[:, 0].numpy()
    left = growths(step_map.jacobian(states[:-1]), 2)[1] ** (1 / seconds)
    return Between(*frequency_and_amplitude(outputs, spec.sample_rate), float(left))


def amplitude_after(
    model: StatefulLSTMExtractor, spec: SignalSpec, loop: Loop, lane: int, share: float, periods: int
) -> Array:
    """How much larger the output swings, relatively, in each period after a push across the loop, (periods,).

    The push moves the cell state away from the middle of its loop, by a share of its distance from there.
    """
    units, samples = model.config.hidden_size, round(spec.sample_rate / spec.frequencies[lane])
    push = (loop.states[0] - loop.states[:-1].mean(dim=0)) * share
    push[:units] = 0
    both = torch.stack([loop.states[0], loop.states[0] + push])
    outputs, _ = go_on(model, both, torch.eye(spec.n_frequencies)[lane].expand(2, -1), samples * periods)
    swings = outputs.reshape(2, periods, samples).std(axis=2)
    return swings[1] / swings[0] - 1


def some_paths(step_map: StepMap, loops: Sequence[Loop], count: int = 10, samples: int = 500) -> Tensor:
    """Paths from random states: (count, samples + 1, 2 · units)."""
    path = [anywhere(loops, count, seed=1)]
    for _ in range(samples):
        path.append(step_map.step(path[-1]))
    return torch.stack(path, dim=1)
