"""Notebook 08: figures of what an LSTM learns from windows of different lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from lib.lessons.figures import BLUE, GREEN, ORANGE, PURPLE, RED, Picture, label, panels
from lib.signals import Array, SignalSpec

WAYS: dict[str, dict[str, Any]] = {
    "state carried": {"color": BLUE, "marker": "o", "linestyle": "-"},
    "no state": {"color": RED, "marker": "s", "linestyle": "--"},
    "trained without, then carried": {"color": ORANGE, "marker": "^", "linestyle": ":"},
}
COLOURS = (BLUE, RED, GREEN, PURPLE)


def by_length(panels_of: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]]) -> Picture:
    """The error against the length of the window: a panel for each task, a dot for each weight seed."""
    figure, grid = panels(1, len(panels_of), height=3.4, sharey=True)
    texts = []
    for axes, (title, ways) in zip(grid, panels_of.items(), strict=True):
        for name, by in ways.items():
            style = WAYS[name]
            axes.plot(list(by), [np.median(found) for found in by.values()], label=name, **style, markersize=5)
            for length, found in by.items():
                axes.plot([length] * len(found), found, color=style["color"], marker="_", linestyle="none")
            told = ", ".join(f"{np.median(found):.1e} at {length}" for length, found in by.items())
            texts.append(f"{title}, {name}: {told}")
        axes.axhline(0.5, color="black", linewidth=0.9, linestyle=":")
        axes.set(xscale="log", yscale="log")
        label(axes, "L, samples in a window", "MSE" if axes is grid[0] else "", title)
    handles, names = grid[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=3, frameon=False)
    alt = "Mean squared error against the length of the window, both on logarithmic scales; medians over weight seeds. "
    return Picture(figure, f"{alt}A dotted line at one half marks silence. {'. '.join(texts)}.")


def rule(spec: SignalSpec, found: Mapping[int, Array], best: Mapping[int, Array]) -> Picture:
    """The error of each sine without a state, against the periods of that sine in a window; arrays (n_frequencies,)."""
    figure, axes = panels(height=3.0)
    for k, (frequency, name, colour) in enumerate(zip(spec.frequencies, spec.names, cycle(COLOURS), strict=False)):
        periods = [length * frequency / spec.sample_rate for length in found]
        axes.plot(periods, [mse[k] for mse in found.values()], "o", color=colour, label=name)
        axes.plot(periods, [max(mse[k], 1e-7) for mse in best.values()], "_", color="black", markersize=13)
    axes.set(xscale="log", yscale="log")
    for count in range(1, 8):
        axes.axvline(count, color="black", linewidth=0.6, linestyle=":")
    label(axes, "periods of the sine in a window (dotted: 1 to 7)", "MSE", "no state", legend=True)
    whole = {
        f"{spec.names[k]} at {length}": mse[k]
        for length, mse in found.items()
        for k, frequency in enumerate(spec.frequencies)
        if abs(length * frequency / spec.sample_rate % 1) < 1e-9
    }
    told = "; ".join(f"{name} samples {mse:.1e}" for name, mse in whole.items())
    alt = "Error of each sine against the number of its periods in a window. Black dashes mark the least error that is "
    return Picture(figure, f"{alt}possible, drawn at the lower edge where it is zero. Whole periods: {told}.")


def sensitivities(curves: Mapping[str, tuple[Array, Array]]) -> Picture:
    """How strongly the output depends on S at each earlier sample: (lags in ms, root mean square of the slope)."""
    figure, axes = panels(height=3.0)
    for (name, (lags, slope)), colour, style in zip(
        curves.items(), (BLUE, GREEN, PURPLE, RED, ORANGE), ("-", "-.", ":", "--", "-"), strict=False
    ):
        axes.plot(lags, slope, color=colour, linestyle=style, label=name)
    axes.set(xscale="log", yscale="log", ylim=(1e-6, None))
    label(axes, "age of the sample (ms)", "slope of the output, RMS")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    ends = "; ".join(f"{name} {slope[0]:.1e} to {slope[-1]:.1e}" for name, (_, slope) in curves.items())
    return Picture(figure, f"Dependence of the output on each earlier sample of S, from the present one back: {ends}.")
