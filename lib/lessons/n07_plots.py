"""Notebook 07: figures of filters, of the likelihood and of the extractor, and of what happens after a change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lib.lessons.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Picture, label, panels
from lib.lessons.n07_contest import Curve
from lib.signals import Array

STYLES: dict[str, dict[str, Any]] = {
    "predicting zero": {"color": GREY, "linestyle": ":"},
    "least squares, last second": {"color": ORANGE, "linestyle": "-."},
    "Kalman filter": {"color": BLUE, "linestyle": "-"},
    "likelihood": {"color": GREEN, "linestyle": "none", "marker": "s", "markersize": 4},
    "bound": {"color": "black", "linestyle": "none", "marker": "_", "markersize": 12},
    "normalized filter": {"color": PURPLE, "linestyle": "--"},
    "extractor": {"color": RED, "linestyle": "-"},
}


def errors_over_time(panels_of: Mapping[str, Mapping[str, Curve]]) -> Picture:
    """Mean squared error against time, a panel for each noise and a line for each method."""
    figure, grid = panels(1, len(panels_of), height=3.3, sharey=True)
    texts = []
    for axes, (title, curves) in zip(np.atleast_1d(grid), panels_of.items(), strict=True):
        for name, (time, errors) in curves.items():
            axes.plot(time, errors, label=name, **STYLES[name])
        axes.set(xscale="log", yscale="log")
        label(axes, "time since the reset (s)", "MSE" if axes is np.atleast_1d(grid)[0] else "", title)
        last = ", ".join(f"{name} {errors[-1]:.1e}" for name, (_, errors) in curves.items())
        texts.append(f"{title}, at the end: {last}")
    handles, names = np.atleast_1d(grid)[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=4, frameon=False)
    alt = "Mean squared error against the time since the reset, both on logarithmic scales, a panel for each noise. "
    return Picture(figure, f"{alt}{'. '.join(texts)}.")


def ratios(panels_of: Mapping[str, Mapping[str, Curve]]) -> Picture:
    """Error of each method divided by the filter's, against time, a panel for each noise; below one it is better."""
    figure, grid = panels(1, len(panels_of), height=3.0, sharey=True)
    texts = []
    for axes, (title, curves) in zip(grid, panels_of.items(), strict=True):
        for name, (time, ratio) in curves.items():
            axes.plot(time, ratio, label=name, **STYLES[name])
            texts.append(f"{title}, {name} between {ratio.min():.2f} and {ratio.max():.2f}, {ratio[-1]:.2f} at the end")
        axes.axhline(1, color="black", linewidth=0.9, linestyle=":")
        axes.set(xscale="log", ylim=(0, 1.3))
        label(axes, "time since the reset (s)", "error / filter's error" if axes is grid[0] else "", title)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return Picture(figure, f"Error divided by that of the Kalman filter, logarithmic time: {'; '.join(texts)}.")


def dial(alphas: Sequence[float], gains: Array, ratio_db: Array) -> Picture:
    """Coherent gain and signal-to-noise ratio of one sine in S, against the width of the phase noise."""
    figure, (left, right) = panels(1, 2, height=2.6)
    left.plot(alphas, gains, color=BLUE)
    right.plot(alphas, ratio_db, color=RED)
    label(left, "phase width α (turns)", "coherent gain", "what is left of a sine")
    label(right, "phase width α (turns)", "signal / noise (dB)", "one sine in one sample")
    alt = "Left: the coherent gain falls from one without phase noise to zero at a whole turn. Right: the ratio of one "
    alt += f"sine's power to the noise falls from {ratio_db[0]:.0f} to {ratio_db[-1]:.0f} decibels."
    return Picture(figure, alt)


def after_change(title: str, time: Array, curves: Mapping[str, Array], change: float) -> Picture:
    """Squared error of several methods around the moment of a change, averaged over sequences."""
    figure, axes = panels(height=2.8)
    for name, errors in curves.items():
        axes.plot(time, errors, label=name, **STYLES[name])
    axes.axvline(change, color="black", linewidth=0.9, linestyle=":")
    axes.set(yscale="log")
    label(axes, "time since the reset (s)", "MSE", title, legend=True)
    worst = "; ".join(f"{name} {e.max():.2f} at most, {e[-1]:.1e} at the end" for name, e in curves.items())
    return Picture(figure, f"{title}. Mean squared error against time; the change comes at {change:g} s: {worst}.")
