"""Notebook 05: S in another order, selectors that a network has never seen, and switches of the selector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lib.lessons.clock import frequency_and_amplitude
from lib.model import StatefulLSTMExtractor, roll_out
from lib.signals import Array, SignalSpec


def in_new_order(inputs: Tensor, seed: int) -> Tensor:
    """Inputs (lanes, samples, features) with S, feature 0, in another order in time, the same in each lane."""
    order = np.random.default_rng(seed).permutation(inputs.shape[1])
    return torch.cat([inputs[:, order, :1], inputs[..., 1:]], dim=-1)


def between_selectors(
    model: StatefulLSTMExtractor, spec: SignalSpec, mixtures: Array, settle: float = 3.5
) -> tuple[Array, Array]:
    """Give a network the selector (1 − w) · one + w · the next, from reset and in silence, and measure the frequency.

    Args:
        model: the network; its own state is not touched.
        spec: the signals' specification.
        mixtures: the weights w, from 0 up and below 1.
        settle: seconds before the measurement, which takes 4.5 s.

    Returns:
        Places on the way from the first selector to the last, 0 to ``n_frequencies - 1``, and the frequency of the
        output there, Hz, NaN where it stands still; (places,) each.
    """
    last = spec.n_frequencies - 1
    places = np.append((np.arange(last)[:, None] + mixtures).ravel(), last)
    selectors = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(last + 1)))
    wait, long = (round(seconds * spec.sample_rate) for seconds in (settle, 4.5))
    x = torch.zeros(len(places), wait + long, 1 + spec.n_frequencies)
    x[..., 1:] = torch.as_tensor(selectors, dtype=torch.float32)[:, None]
    y = roll_out(model, x, steps=x.shape[1])[:, wait:, 0].double().numpy()
    return places, np.array([frequency_and_amplitude(output, spec.sample_rate)[0] for output in y])


def after_switches(
    model: StatefulLSTMExtractor, spec: SignalSpec, lane: int, moments: Sequence[int], settle: float = 1.5
) -> Array:
    """Switch from each other selector to that of ``lane``, without a reset, at each of these samples.

    Returns:
        The frequency of the output, Hz, over the 3 s that begin ``settle`` seconds after the switch, NaN where it
        stands still: (n_frequencies - 1, moments).
    """
    others = [index for index in range(spec.n_frequencies) if index != lane]
    if not others:
        return np.empty((0, len(moments)))
    wait, long = round(settle * spec.sample_rate), round(3 * spec.sample_rate)
    x = torch.zeros(len(others), len(moments), max(moments) + wait + long, 1 + spec.n_frequencies)
    for row, other in enumerate(others):
        for column, moment in enumerate(moments):
            x[row, column, :moment, 1 + other] = 1
            x[row, column, moment:, 1 + lane] = 1
    y = roll_out(model, x.flatten(0, 1), steps=x.shape[2])[..., 0].double().numpy().reshape(x.shape[:3])
    windows = [[y[row, k, m + wait :][:long] for k, m in enumerate(moments)] for row in range(len(others))]
    return np.array([[frequency_and_amplitude(part, spec.sample_rate)[0] for part in row] for row in windows])
