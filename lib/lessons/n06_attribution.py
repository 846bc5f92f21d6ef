"""Notebook 06: which part of the past the output depends on, by exact derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib.lessons.dynamics import StepMap, double_head
from lib.lessons.instruments import lstm_step
from lib.lessons.tables import markdown_table
from lib.model import StatefulLSTMExtractor
from lib.signals import Array, SignalSpec

PARTS = ("S", "selector", "state")


class Attribution(NamedTuple):
    """How the last output of several roll-outs changes with what came k samples before; k = 0 is the last sample."""

    signal: Array  # with S, (roll-outs, lags)
    selector: Array  # with each number of the selector, (roll-outs, lags, n_frequencies)
    state: Array  # with the state before that sample, (roll-outs, lags, 2 · units)

    def profiles(self) -> dict[str, Array]:
        """Root mean square over roll-outs of the length of each derivative, by lag: (lags,) for each of `PARTS`."""
        lengths = np.abs(self.signal), *(np.linalg.norm(part, axis=2) for part in (self.selector, self.state))
        return {name: np.sqrt(np.mean(part**2, axis=0)) for name, part in zip(PARTS, lengths, strict=True)}


def attribute(
    model: StatefulLSTMExtractor, spec: SignalSpec, lane: int, lags: int, phases: int = 6, settled: float = 5.0
) -> Attribution:
    """The exact derivatives of outputs at so many phases of the sine, in silence, by `torch.func.grad`.

    Args:
        model: a network with one layer; its own state is not touched.
        spec: the signals.
        lane: the selector.
        lags: how many samples to look back.
        phases: outputs, spread over one period.
        settled: seconds between the reset and the first sample that is looked at.
    """
    step_map, units = StepMap(model, torch.eye(spec.n_frequencies)[lane]), model.config.hidden_size
    head = double_head(model)
    before, period = (round(seconds * spec.sample_rate) for seconds in (settled, 1 / spec.frequencies[lane]))
    path = step_map.path(step_map.settle(before), period)
    starts = path[[round(k * period / phases) for k in range(phases)]]

    def last_outputs(inputs: Tensor, pushes: Tensor) -> Tensor:
        """The sum of the last outputs; a roll-out is a lane, so that the derivatives of the lanes do not mix."""
        h, c = starts.split(units, dim=1)
        for x, push in zip(inputs.unbind(1), pushes.unbind(1), strict=True):
            gates = lstm_step(step_map.lstm, x, h + push[:, :units], c + push[:, units:])
            h, c = gates.h, gates.c
        return head(h).sum()

    inputs = step_map.x.expand(phases, lags, -1)
    pushes = torch.zeros(phases, lags, 2 * units, dtype=torch.float64)
    found = torch.func.grad(last_outputs, argnums=(0, 1))(inputs, pushes)
    by_inputs, by_state = (part.flip(1).numpy() for part in found)
    return Attribution(by_inputs[..., 0], by_inputs[..., 1:], by_state)


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


def table(found: Mapping[str, Attribution], lags: list[int]) -> str:
    """The derivatives at some lags, as a Markdown table: a row per network and part."""
    rows = []
    for name, attribution in found.items():
        for part, profile in attribution.profiles().items():
            rows.append([f"{name}: {part}", *(f"{profile[lag]:.1e}" if profile[lag] else "0" for lag in lags)])
    return markdown_table(["output with respect to", *(f"{lag} samples ago" for lag in lags)], rows)
