"""Notebook 08: figures of both comparisons, of the lengths of windows and of the networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from lib.lessons.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Picture, label, panels
from lib.lessons.n08_comparison import SECONDS, TRAINED, Result
from lib.signals import Array, SignalSpec

WAYS: dict[str, dict[str, Any]] = {
    "state carried": {"color": BLUE, "marker": "o", "linestyle": "-"},
    "no state": {"color": RED, "marker": "s", "linestyle": "--"},
    "trained without, then carried": {"color": ORANGE, "marker": "^", "linestyle": ":"},
}
COLOURS = (BLUE, RED, GREEN, PURPLE)
SILENCE = 0.5  # the error of an output that is always zero
BOUNDARY = TRAINED / 1000  # s


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


def scores(results: Mapping[str, Result], title: str, reference: Result | None = None) -> Picture:
    """A row for each network, a dot for each weight seed: the error over the trained length, and after it."""
    figure, grid = panels(1, 2, height=0.8 + 0.24 * len(results), sharey=True)
    parts = (f"0 to {BOUNDARY:g} s, as trained", lambda o: o.trained), ("after that", lambda o: o.beyond)
    names, texts = list(results), []
    for axes, (part, error) in zip(grid, parts, strict=True):
        for row, name in enumerate(names):
            found = error(results[name])
            axes.plot([found.min(), found.max()], [row, row], color=GREY, linewidth=3, linestyle="-")
            axes.plot(found, [row] * len(found), color=BLUE, marker="o", markersize=4, linestyle="none", alpha=0.8)
        axes.axvline(SILENCE, color="black", linewidth=0.9, linestyle=":")
        if reference is not None:
            axes.axvline(float(error(reference)[0]), color=ORANGE, linewidth=1.2, linestyle="--")
        _logarithmic(axes)
        axes.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6))
        label(axes, "MSE", "", part)
        told = (f"{name} {np.median(error(results[name])):.2g}" for name in names)
        texts.append(f"{part}: {', '.join(told)}")
    alt = f"{title}. A row for each network and a dot for each weight seed; dotted, the error of silence, one half"
    alt += ", and dashed that of the Kalman filter. " if reference is not None else ". "
    return Picture(figure, f"{alt}Median MSE {'; '.join(texts)}.")


def errors_over_time(results: Mapping[str, Result], title: str, reference: Result | None = None) -> Picture:
    """The error over time, a panel for each network: the median of the weight seeds, and their spread."""
    columns = 3
    figure, grid = panels(-(-len(results) // columns), columns, height=1.55, sharex=True, sharey=True)
    flat, texts, line = grid.ravel(), [], {"linewidth": 1.3, "baseline": None}
    everything = np.concatenate([o.curves.ravel() for o in results.values()])
    low = min(everything.min(), np.inf if reference is None else reference.curves.min())
    for place, (axes, (name, found)) in enumerate(zip(flat, results.items(), strict=False)):
        least, middle, most = np.quantile(found.curves, [0, 0.5, 1], axis=0)
        axes.stairs(middle, found.edges, color=BLUE, **line)
        axes.fill_between(found.edges, *(np.append(part, part[-1]) for part in (least, most)), step="post", alpha=0.25)
        axes.axvline(BOUNDARY, color=RED, linewidth=0.9, linestyle="-.")
        axes.axhline(SILENCE, color="black", linewidth=0.9, linestyle=":")
        if reference is not None:
            axes.stairs(
                reference.curves[0], reference.edges, color=ORANGE, linewidth=1.3, baseline=None, linestyle="--"
            )
        axes.set(yscale="log", ylim=(low / 1.5, 1.5 * everything.max()), xlim=(0, SECONDS))
        below, left = place >= len(results) - columns, place % columns == 0
        label(axes, "", "MSE" if left else "", name)
        axes.tick_params(labelbottom=below)
        texts.append(f"{name} {middle[0]:.2g}, {found.trained.mean():.2g} and {middle[-1]:.2g}")
    for axes in flat[len(results) :]:
        axes.set_axis_off()
    figure.supxlabel("time since reset (s)", fontsize="medium")
    handles = [
        Line2D([], [], color=BLUE, label="median of the weight seeds, and their spread"),
        Line2D([], [], color=RED, linestyle="-.", label="end of the training's sequences"),
        Line2D([], [], color="black", linestyle=":", label="silence"),
        Line2D([], [], color=ORANGE, linestyle="--", label="Kalman filter"),
    ]
    shown = handles[: 3 if reference is None else 4]
    figure.legend(handles=shown, loc="outside upper center", ncols=4, frameon=False, fontsize="small")
    alt = f"{title}. Mean squared error against time, a panel for each network, the median of the weight seeds in a "
    alt += "band of their spread; the trained length is marked, and the error of silence. In the first bin, over the "
    return Picture(figure, f"{alt}trained length and at the end: {'; '.join(texts)}.")


def _logarithmic(axes: Any) -> None:
    """A logarithmic axis whose labels do not meet, over one decade or over many."""
    axes.set(xscale="log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 20 * low else (1,), numticks=6))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def recurrence(time: Array, target: Array, outputs: Mapping[str, Array], title: str) -> Picture:
    """The outputs of two networks after the reset, over the target, far beyond what one was trained on."""
    figure, grid = panels(len(outputs), 1, height=1.5, sharex=True, sharey=True)
    texts = []
    for axes, (name, output) in zip(grid, outputs.items(), strict=True):
        axes.plot(time, target, color=GREY, linewidth=2.5, linestyle="-", label="target")
        axes.plot(time, output, color=BLUE, linewidth=1.1, linestyle="-", label="output")
        axes.axvline(BOUNDARY, color=RED, linewidth=0.9, linestyle="-.")
        label(axes, "time since reset (s)" if axes is grid[-1] else "", "output", name, legend=axes is grid[0])
        squares = [float((output[time // 1 == second] ** 2).mean()) for second in (0, 1, int(time[-1]))]
        texts.append(f"{name}: mean square of the output {', '.join(f'{x:.2f}' for x in squares)}")
    alt = f"{title}: outputs over the target, and a mark at one second. In the first, the second and the last second, "
    return Picture(figure, f"{alt}{'; '.join(texts)}.")
