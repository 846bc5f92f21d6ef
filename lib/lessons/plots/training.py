"""Notebook 03: figures of training."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np

from lib.lessons.figures import BLUE, GREY, ORANGE, RED, Picture, label, legend_above, panels
from lib.recipe import TrainingRun
from lib.signals import Array, SignalSpec


def history(run: TrainingRun, spec: SignalSpec) -> Picture:
    """Loss, validation and horizon over the updates of one run."""
    figure, (upper, lower) = panels(2, 1, height=2.2, sharex=True)
    updates = np.arange(1, len(run.history["loss"]) + 1)
    upper.plot(updates, run.history["loss"], color=GREY, linewidth=0.6, linestyle="-", label="loss over the horizon")
    x, y = run.validation["update"], run.validation["mse"]
    upper.plot(x, y, color=BLUE, linestyle="-", marker=".", label=f"validation over all {spec.duration:g} s")
    upper.set_yscale("log")
    label(upper, "", "MSE (no unit)", "one training run", legend=True)
    lower.plot(updates, np.array(run.history["horizon"]) / spec.sample_rate, color=RED, linestyle="-", label="horizon")
    lower.set_yscale("log")
    label(lower, "update of the optimizer", "horizon (s)", "")
    rate = lower.twinx()
    rate.plot(updates, run.history["learning_rate"], color=ORANGE, linestyle="--", label="learning rate")
    rate.set(yscale="log", ylabel="learning rate (no unit)")
    rate.grid(visible=False)
    rate.spines.right.set_visible(True)
    legend_above(lower, [lower.get_lines()[0], rate.get_lines()[0]])
    return Picture(
        figure,
        f"Above, loss and validation error over {len(updates)} updates on a logarithmic scale: the loss stays low "
        "while the horizon grows, and the validation error over the whole recording falls only as the "
        f"horizon lengthens, to {min(y):.0e} at the end. Below, the horizon climbs in steps from "
        f"{run.history['horizon'][0] / spec.sample_rate:g} s and ends at "
        f"{run.history['horizon'][-1] / spec.sample_rate:g} s, with a jump where annealing begins; the learning rate "
        "falls with it.",
    )


def policies(errors: Mapping[str, Array], spec: SignalSpec, window: float = 0.25) -> Picture:
    """Squared error over time, averaged over windows of so many seconds and all lanes; arrays (lanes, samples)."""
    figure, axes = panels(height=3.0)
    size = round(window * spec.sample_rate)
    for (name, error), marker in zip(errors.items(), cycle("os^Dv"), strict=False):
        means = error.mean(axis=0)[: error.shape[1] // size * size].reshape(-1, size).mean(axis=1)
        axes.plot((np.arange(len(means)) + 0.5) * window, means, marker=marker, markersize=3, label=name)
    axes.axhline(0.5, color="black", linestyle=":", linewidth=1)
    axes.annotate("predicting zero", (0.1, 0.2), fontsize="small")
    axes.set(yscale="log")
    figure.legend(loc="outside upper center", ncols=2, fontsize="small", frameon=False)
    label(axes, "time (s)", "squared error (no unit)")
    ends = [f"{name} ends at {error[:, -size:].mean():.1g}" for name, error in errors.items()]
    return Picture(figure, f"Squared error over the recording, per policy, on a logarithmic scale: {'; '.join(ends)}.")


def dots(values: Mapping[str, float], quantity: str, reference: float | None = None) -> Picture:
    """A dot per name on a logarithmic scale, each with its value; ``reference`` draws a line."""
    figure, axes = panels(height=0.3 * len(values) + 1.0)
    names = list(values)
    rows = range(len(names))
    axes.plot(list(values.values()), rows, color=BLUE, marker="o", markersize=7, linestyle="none")
    text: Any = {"textcoords": "offset points", "va": "center", "fontsize": "small"}
    text["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    for row, value in zip(rows, values.values(), strict=True):
        axes.annotate(f"{value:.1e}", (value, row), (10, 0), **text)
    low, high = min(values.values()), max(values.values())
    axes.set(xscale="log", yticks=rows, yticklabels=names)
    axes.set_xlim(10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high) + 0.2))
    axes.invert_yaxis()
    axes.margins(y=0.08)
    if reference:
        axes.axvline(reference, color=RED, linestyle="--", linewidth=1, zorder=0, label="as shipped")
    label(axes, f"{quantity} (no unit)", "", legend=bool(reference))
    return Picture(figure, f"{quantity}: " + "; ".join(f"{name} {value:.1e}" for name, value in values.items()) + ".")
