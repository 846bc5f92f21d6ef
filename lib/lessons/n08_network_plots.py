"""Notebook 08: figures of what the networks reach, and of their error over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from lib.lessons.figures import BLUE, GREY, ORANGE, RED, Picture, label, panels
from lib.lessons.n08_comparison import SECONDS, TRAINED, Outcome
from lib.signals import Array

SILENCE = 0.5  # the error of an output that is always zero
BOUNDARY = TRAINED / 1000  # s


def scores(outcomes: Mapping[str, Outcome], title: str, reference: Outcome | None = None) -> Picture:
    """A row for each network, a dot for each weight seed: the error over the trained length, and after it."""
    figure, grid = panels(1, 2, height=0.8 + 0.24 * len(outcomes), sharey=True)
    parts = (f"0 to {BOUNDARY:g} s, as trained", lambda o: o.trained), ("after that", lambda o: o.beyond)
    names, texts = list(outcomes), []
    for axes, (part, error) in zip(grid, parts, strict=True):
        for row, name in enumerate(names):
            found = error(outcomes[name])
            axes.plot([found.min(), found.max()], [row, row], color=GREY, linewidth=3, linestyle="-")
            axes.plot(found, [row] * len(found), color=BLUE, marker="o", markersize=4, linestyle="none", alpha=0.8)
        axes.axvline(SILENCE, color="black", linewidth=0.9, linestyle=":")
        if reference is not None:
            axes.axvline(float(error(reference)[0]), color=ORANGE, linewidth=1.2, linestyle="--")
        _logarithmic(axes)
        axes.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6))
        label(axes, "MSE", "", part)
        told = (f"{name} {np.median(error(outcomes[name])):.2g}" for name in names)
        texts.append(f"{part}: {', '.join(told)}")
    alt = f"{title}. A row for each network and a dot for each weight seed; dotted, the error of silence, one half"
    alt += ", and dashed that of the Kalman filter. " if reference is not None else ". "
    return Picture(figure, f"{alt}Median MSE {'; '.join(texts)}.")


def over_time(outcomes: Mapping[str, Outcome], title: str, reference: Outcome | None = None) -> Picture:
    """The error over time, a panel for each network: the median of the weight seeds, and their spread."""
    columns = 3
    figure, grid = panels(-(-len(outcomes) // columns), columns, height=1.55, sharex=True, sharey=True)
    flat, texts = grid.ravel(), []
    everything = np.concatenate([o.curves.ravel() for o in outcomes.values()])
    low = min(everything.min(), np.inf if reference is None else reference.curves.min())
    for place, (axes, (name, found)) in enumerate(zip(flat, outcomes.items(), strict=False)):
        least, middle, most = np.quantile(found.curves, [0, 0.5, 1], axis=0)
        _stairs(axes, found.edges, middle, color=BLUE, baseline=None)
        axes.fill_between(found.edges, *(np.append(part, part[-1]) for part in (least, most)), step="post", alpha=0.25)
        axes.axvline(BOUNDARY, color=RED, linewidth=0.9, linestyle="-.")
        axes.axhline(SILENCE, color="black", linewidth=0.9, linestyle=":")
        if reference is not None:
            _stairs(axes, reference.edges, reference.curves[0], color=ORANGE, baseline=None, linestyle="--")
        axes.set(yscale="log", ylim=(low / 1.5, 1.5 * everything.max()), xlim=(0, SECONDS))
        below, left = place >= len(outcomes) - columns, place % columns == 0
        label(axes, "", "MSE" if left else "", name)
        axes.tick_params(labelbottom=below)
        texts.append(f"{name} {middle[0]:.2g}, {found.trained.mean():.2g} and {middle[-1]:.2g}")
    for axes in flat[len(outcomes) :]:
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


def _stairs(axes: Any, places: Array, values: Array, **style: Any) -> None:
    axes.stairs(values, places, linewidth=1.3, **style)
