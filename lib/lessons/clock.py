"""The clock: how late a network's output is in a long roll-out, at which rate that grows, and at which frequency."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lib.lessons.figures import LINES, Picture, label, panels
from lib.loader import assemble_inputs
from lib.model import StatefulLSTMExtractor, roll_out
from lib.signals import Array, SignalSpec, generate

LEAST = 0.05  # amplitude below which an output counts as still


class Clock(NamedTuple):
    """What `clock_of` returns."""

    time: Array  # middle of each window, s, (windows,)
    late: Array  # how late the output is, s, (n_frequencies, windows)
    amplitude: Array  # of the output's sine, no unit, (n_frequencies, windows)
    ppm: Array  # rate error in parts per million: µs late per s, (n_frequencies,)
    scatter: Array  # root mean square distance of `late` from a straight line, s, (n_frequencies,)


def measure_clock(
    model: StatefulLSTMExtractor, spec: SignalSpec, noise_seed: int, duration: float | None = None
) -> Clock:
    """Roll a model out from reset for so many seconds, on noise of this seed, and read its clock.

    By default these are ten minutes, or 61 periods of the slowest sine if they are longer. The state is carried through
    all calls, so that the outputs are those of the loop over single samples.
    """
    seconds = duration or max(600.0, 61 / min(spec.frequencies))
    long = spec.but(duration=round(seconds * spec.sample_rate) / spec.sample_rate)  # whole samples
    inputs = assemble_inputs(long, generate(long, noise_seed).mixed).to(next(model.parameters()).dtype)
    return clock_of(roll_out(model, inputs, steps=10_000)[..., 0].double().numpy(), long)


def clock_of(outputs: Array, spec: SignalSpec) -> Clock:
    """Compare outputs (n_frequencies, n_samples) with true time, in 60 windows of whole periods.

    In each window, the discrete Fourier transform at the selected frequency gives amplitude and phase. A straight
    line through the phases after the first tenth of the recording gives the rate.

    Raises:
        ValueError: a window is shorter than a period of the slowest sine.
    """
    window = spec.n_samples // 60
    if window < spec.sample_rate / min(spec.frequencies):
        least = f"{60 / min(spec.frequencies):g} s, 60 periods of the slowest sine"
        raise ValueError(f"duration = {spec.duration}: must be at least {least}")
    starts = np.arange(60) * window
    late, amplitude = np.empty((2, spec.n_frequencies, 60))
    for lane, frequency in enumerate(spec.frequencies):
        period = spec.sample_rate / frequency
        samples = starts[:, None] + np.arange(round(window // period * period))
        turning = np.exp(-2j * np.pi * frequency / spec.sample_rate * samples)
        found = 2j * np.mean(outputs[lane, samples] * turning, axis=1)
        late[lane] = np.unwrap(-np.angle(found)) / (2 * np.pi * frequency)
        amplitude[lane] = np.abs(found)
    time = (starts + window / 2).astype(np.float64) / spec.sample_rate
    slope, begin = np.polyfit(time[6:], late[:, 6:].T, 1).astype(np.float64)
    rest = late[:, 6:] - np.outer(slope, time[6:]) - begin[:, None]
    return Clock(time, late, amplitude, 1e6 * slope, np.std(rest, axis=1))


def clock_figure(clock: Clock, spec: SignalSpec) -> Picture:
    """How late each output is over the roll-out, in microseconds."""
    figure, axes = panels(height=3.0)
    for lane, name in enumerate(spec.names):
        style = {"color": LINES[lane % len(LINES)], "marker": "os^D"[lane % 4], "markersize": 3}
        axes.plot(clock.time, 1e6 * clock.late[lane], label=name, **style)
    axes.axhline(0, color="black", linewidth=0.8, linestyle="-")
    label(axes, "time since the reset (s)", "the output is late by (µs)", legend=True)
    rates = "; ".join(f"{name} {round(ppm, 1) + 0.0:+.1f}" for name, ppm in zip(spec.names, clock.ppm, strict=True))
    over = f"over {clock.time[0] + clock.time[-1]:.0f} s"
    told = f"How late each output is {over}: lines that bend at first. Their slopes after the first tenth, in µs per s"
    return Picture(figure, f"{told}: {rates}.")


def frequency_and_amplitude(output: Array, sample_rate: float) -> tuple[float, float]:
    """Frequency in Hz of the strongest line of an output (samples,), and √2 times its standard deviation."""
    centred = output - output.mean()
    amplitude = float(np.sqrt(2) * centred.std())
    if amplitude < LEAST:
        return np.nan, amplitude
    padded = 8 * len(centred)
    line = int(np.argmax(np.abs(np.fft.rfft(centred * np.hanning(len(centred)), padded))))
    return line * sample_rate / padded, amplitude
