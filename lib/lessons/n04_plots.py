"""Notebook 04: figures of where the errors are, and of what kind."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.ticker import MaxNLocator

from lib.lessons.figures import BLUE, GREY, LINES, RED, Picture, label, panels
from lib.signals import Array, SignalSpec

MARKERS = "os^D"


def error_over_time(spec: SignalSpec, squared: Array) -> Picture:
    """Squared error (n_frequencies, samples) over time, each dot the mean over one whole period of its own sine.

    A window that is no whole number of periods would show a zigzag which is not in the error.
    """
    figure, axes = panels(height=3.0)
    firsts, lasts = [], []
    for lane, frequency in enumerate(spec.frequencies):
        edges = np.round(np.arange(0, spec.duration * frequency + 1) * spec.sample_rate / frequency).astype(int)
        edges = edges[edges <= squared.shape[1]]
        means = np.add.reduceat(squared[lane], edges[:-1])[: len(edges) - 1] / np.diff(edges)
        if edges[-1] < squared.shape[1]:  # the last sum reaches to the end of the recording
            means[-1] = squared[lane, edges[-2] : edges[-1]].mean()
        style = {"marker": MARKERS[lane % 4], "markersize": 3, "color": LINES[lane % len(LINES)]}
        axes.plot((edges[:-1] + edges[1:]) / 2 / spec.sample_rate, means, label=spec.names[lane], **style)
        firsts.append(f"{spec.names[lane]} {means[0]:.0e}")
        lasts.append(f"{spec.names[lane]} {means[-1]:.0e}")
    axes.set(yscale="log")
    label(axes, "time (s)", "squared error, mean of a period", "", legend=True)
    return Picture(
        figure,
        f"Squared error per frequency over {spec.duration:g} s on a logarithmic scale, a dot for each period of the "
        f"sine. In the first period: {', '.join(firsts)}. In the last: {', '.join(lasts)}.",
    )


def error_by_phase(spec: SignalSpec, errors: Array, bins: int = 100) -> Picture:
    """Error against the phase of the target, a panel per frequency: mean and range; errors (n_frequencies, samples)."""
    columns = min(2, spec.n_frequencies)
    figure, grid = panels(-(-spec.n_frequencies // columns), columns, height=2.1, sharex=True)
    flat = np.atleast_1d(grid).ravel()
    texts = []
    for lane, (axes, frequency) in enumerate(zip(flat, spec.frequencies, strict=False)):
        which = np.minimum((spec.time * frequency % 1 * bins + 1e-6).astype(int), bins - 1)[-errors.shape[1] :]
        seen = np.unique(which)  # of 100 samples in 3 periods, say, not every hundredth of a period has one
        parts = [errors[lane, which == k] for k in seen]
        phase = (seen + 0.5) / bins
        low, high, means = (1e3 * np.array([f(part) for part in parts]) for f in (np.min, np.max, np.mean))
        axes.fill_between(phase, low, high, color=GREY, alpha=0.5, linewidth=0, label="all samples")
        axes.plot(phase, means, color=BLUE, linestyle="-", label="mean")
        below = lane >= spec.n_frequencies - columns
        label(axes, "phase of the target (periods)" if below else "", "", spec.names[lane])
        axes.yaxis.set_major_locator(MaxNLocator(4))
        texts.append(f"{spec.names[lane]} within ±{np.abs(means).max() / 1e3:.0e}")
    for axes in flat[spec.n_frequencies :]:
        axes.set_axis_off()
    figure.supylabel("error (thousandths)", fontsize="medium")
    figure.legend(*flat[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False)
    return Picture(
        figure,
        "Error after the start against the phase of the target, a panel per frequency: the mean in each hundredth of "
        "a period is a jagged line. A grey area holds all samples; it is wide where the error changes within such a "
        f"part. The mean stays {', '.join(texts)}.",
    )


def harmonic_levels(spec: SignalSpec, networks: Mapping[str, Array]) -> Picture:
    """Harmonics 2, 3 … of each output relative to the first, in dB; per network (n_frequencies, harmonics)."""
    figure, grid = panels(1, len(networks), height=2.9, sharey=True)
    texts = []
    for axes, (name, found) in zip(np.atleast_1d(grid), networks.items(), strict=True):
        for lane, (frequency, row) in enumerate(zip(spec.names, found, strict=True)):
            style = {"marker": MARKERS[lane % 4], "markersize": 2.5, "color": LINES[lane % len(LINES)]}
            axes.plot(np.arange(2, 2 + len(row)), row, label=frequency, linewidth=0.5, **style)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        label(axes, "harmonic (multiple of the frequency)", "", name)
        texts.append(f"{name}: the largest is {found.max():.0f} dB")
    first = np.atleast_1d(grid)[0]
    first.set_ylabel("amplitude relative to the sine (dB)")
    figure.legend(*first.get_legend_handles_labels(), loc="outside upper right", ncols=4, frameon=False)
    return Picture(figure, f"Harmonics of the outputs relative to the selected sine, in dB. {'; '.join(texts)}.")


def error_distribution(spec: SignalSpec, parts: Mapping[str, Array]) -> Picture:
    """Distribution of the errors in units of each frequency's RMSE, a panel per part of the recording.

    Args:
        spec: the signals' specification.
        parts: by name, errors (n_frequencies, samples).
    """
    figure, grid = panels(1, len(parts), height=3.0, sharex=True, sharey=True)
    scaled = {name: errors / np.sqrt(np.mean(errors**2, axis=1, keepdims=True)) for name, errors in parts.items()}
    limit = max(float(np.abs(values).max()) for values in scaled.values())
    bins = np.linspace(-limit, limit, 61)
    middle = (bins[1:] + bins[:-1]) / 2
    gauss = np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi)
    for axes, (name, values) in zip(np.atleast_1d(grid), scaled.items(), strict=True):
        for row, frequency, line in zip(values, spec.names, cycle(("-", "--", "-.", ":")), strict=False):
            heights = np.histogram(row, bins)[0] / len(row) / np.diff(bins)
            heights = np.where(heights > 0, heights, np.nan)
            axes.step(middle, heights, where="mid", linestyle=line, linewidth=1.2, label=frequency)
        axes.plot(middle, gauss, color="black", linestyle="-", linewidth=0.8, label="Gaussian")
        axes.set(yscale="log", ylim=(1e-4, 2))
        label(axes, "error / RMSE", "", name)
    first = np.atleast_1d(grid)[0]
    first.set_ylabel("probability density")
    figure.legend(*first.get_legend_handles_labels(), loc="outside upper right", ncols=5, frameon=False)
    texts = [f"{name}: the largest is {np.abs(values).max():.1f} times the RMSE" for name, values in scaled.items()]
    return Picture(
        figure, f"Distributions of the error per frequency, density on a logarithmic scale. {'; '.join(texts)}."
    )


def reset_costs(curve: Mapping[str, Array], measured: Mapping[float, Array]) -> Picture:
    """MSE against the sine that goes with S, and against the one that starts with the reset.

    Args:
        curve: ``"late"``, s, and ``"mse"``, the mean of 1 − cos(2πf · late) over the frequencies.
        measured: by lateness in s: MSE against the sine from the reset, and against that which goes with S.
    """
    figure, axes = panels(height=2.8)
    axes.plot(curve["late"], curve["mse"], color=BLUE, linestyle="-", label="mean of 1 − cos(2πf · lateness)")
    late = list(measured)
    with_reset, with_signal = np.array(list(measured.values())).T
    axes.plot(late, with_signal, color=BLUE, marker="o", linestyle="none", label="against the sine of S")
    axes.plot(late, with_reset, color=RED, marker="s", linestyle="none", label="against the sine from the reset")
    label(axes, "lateness of the reset (s)", "MSE of the output", "", legend=True)
    return Picture(
        figure,
        "MSE of an output whose roll-out begins late. Against the sine that starts with the reset it stays small, "
        f"at most {with_reset.max():.0e}. Against the sine that goes with S it follows the curve of two sines out of "
        f"step, up to {with_signal.max():.1f}, and vanishes where the lateness is whole periods of all sines.",
    )
