"""Notebook 05: what a network outputs for a mixture of two selectors, which it has never seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from lib.lessons.tables import markdown_table
from lib.model import StatefulLSTMExtractor, roll_out
from lib.signals import Array, SignalSpec

STARTS = ("from reset", "from the first", "from the second")
LEAST = 0.05  # amplitude below which the output counts as still


class Between(NamedTuple):
    """What `sweep` returns."""

    pair: tuple[int, int]  # the two frequencies, by their index
    mixtures: Array  # weight w of the second selector, (mixtures,)
    frequency: Array  # of the output, Hz, NaN where it stands still, (starts, mixtures)
    amplitude: Array  # of the output, √2 times its standard deviation, (starts, mixtures)


def sweep(
    model: StatefulLSTMExtractor, spec: SignalSpec, pair: tuple[int, int], mixtures: Array, settle: float = 3.5
) -> Between:
    """Give a network the selector (1 − w) · first + w · second, in silence, and measure what comes out.

    For each w the roll-out begins three times, as `STARTS` names them: at a reset, and after two seconds with the
    first and with the second selector alone. Frequency and amplitude are those of the output after ``settle`` seconds
    with the mixture, over 4.5 s.
    """
    first, second = pair
    lead, wait, long = (round(seconds * spec.sample_rate) for seconds in (2.0, settle, 4.5))
    selectors = torch.zeros(len(mixtures), spec.n_frequencies)
    selectors[:, first] += torch.as_tensor(1 - mixtures, dtype=torch.float32)
    selectors[:, second] += torch.as_tensor(mixtures, dtype=torch.float32)
    x = torch.zeros(3, len(mixtures), lead + wait + long, 1 + spec.n_frequencies)
    x[..., 1:] = selectors[:, None]
    for start, index in enumerate(pair, 1):
        x[start, :, :lead, 1:] = torch.eye(spec.n_frequencies)[index]
    y = roll_out(model, x.flatten(0, 1), steps=x.shape[2])[:, -long:, 0].double().numpy()
    found = [frequency_and_amplitude(output, spec.sample_rate) for output in y]
    frequency, amplitude = np.array(found).reshape(3, len(mixtures), 2).transpose(2, 0, 1)
    return Between(pair, mixtures, frequency, amplitude)


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


def frequency_and_amplitude(output: Array, sample_rate: float) -> tuple[float, float]:
    """Frequency in Hz of the strongest line of an output (samples,), and √2 times its standard deviation."""
    centred = output - output.mean()
    amplitude = float(np.sqrt(2) * centred.std())
    if amplitude < LEAST:
        return np.nan, amplitude
    padded = 8 * len(centred)
    line = int(np.argmax(np.abs(np.fft.rfft(centred * np.hanning(len(centred)), padded))))
    return line * sample_rate / padded, amplitude


def kinds(between: Between, spec: SignalSpec, near: float = 0.05) -> dict[str, int]:
    """How often, for 0 < w < 1 and over all starts, the output does what: it counts the roll-outs.

    ``near`` is the distance in Hz within which a frequency counts as that of a selector.
    """
    low, high = sorted(spec.frequencies[index] for index in between.pair)
    f = between.frequency[:, 1:-1]
    known = (np.abs(f - low) < near) | (np.abs(f - high) < near)
    return {
        "a frequency of the pair": int(known.sum()),
        "a frequency between": int(((f > low) & (f < high) & ~known).sum()),
        "a frequency outside": int((((f < low) | (f > high)) & ~known).sum()),
        "no oscillation": int(np.isnan(f).sum()),
    }


def branches(between: Between) -> float:
    """The largest difference in frequency, Hz, that the start alone makes, at one w; 0 where nothing oscillates."""
    oscillating = between.frequency[:, np.isfinite(between.frequency).all(axis=0)]
    return float(np.ptp(oscillating, axis=0).max(initial=0.0))


def largest_step(between: Between) -> float:
    """The largest difference in frequency, Hz, between neighbouring mixtures that oscillate, from reset."""
    return float(np.nanmax(np.abs(np.diff(between.frequency[0])), initial=0.0))


def table(sweeps: Mapping[str, Sequence[Between]], spec: SignalSpec) -> str:
    """What `kinds`, `largest_step` and `branches` tell of each network and pair, as a Markdown table."""
    rows: list[list[object]] = []
    heads: list[str] = []
    for name, found in sweeps.items():
        for between in found:
            low, high = (spec.names[index].removesuffix(" Hz") for index in between.pair)
            counts = kinds(between, spec)
            heads = ["network and pair", *counts, "largest step (Hz)", "due to the start (Hz)"]
            measured = [f"{largest_step(between):.1f}", f"{branches(between):.1f}"]
            rows.append([f"{name}, {low} to {high} Hz", *counts.values(), *measured])
    return markdown_table(heads, rows)
