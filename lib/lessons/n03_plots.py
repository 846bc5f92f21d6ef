"""Notebook 03: figures of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from lib.lessons.figures import BLUE, GREEN, GREY, ORANGE, RED, Picture, label, panels
from lib.recipe import TrainingRun
from lib.signals import Array, SignalSpec

BANDS = ("#FFFFFF", "#EEF3F8")


def valleys(tried: Array, losses: Mapping[str, Array], frequency: float) -> Picture:
    """The loss of a sine over the frequency (Hz) that it is given, for several horizons; it should have another."""
    figure, axes = panels(1, len(losses), height=2.4, sharey=True)
    for one, (horizon, loss) in zip(axes, losses.items(), strict=True):
        one.plot(tried, loss, color=BLUE, linestyle="-")
        one.axvline(frequency, color=RED, linestyle="--", linewidth=1)
        label(one, "frequency of the clock (Hz)", "mean squared error" if one is axes[0] else "", f"horizon {horizon}")
    falls = [np.ptp(tried[loss < 0.5]) for loss in losses.values()]
    told = ", ".join(f"{fall:.2g} Hz for {horizon}" for fall, horizon in zip(falls, losses, strict=True))
    return Picture(
        figure,
        f"Mean squared error of a sine over its frequency; zero at {frequency:g} Hz, and one far away. The valley "
        f"around {frequency:g} Hz is the narrower the longer the horizon is; where the error is below one half it is "
        f"{told} wide. Outside of it the curve stays near one, with ripples.",
    )


def stage_places(run: TrainingRun) -> tuple[Array, Array]:
    """The updates at which the stages end, and where to draw them: each stage is at least a tenth of the width."""
    ends = np.array([0, *run.stage_ends.values()])
    return ends, np.cumsum([0, *np.maximum(np.diff(ends), run.updates / 10)])


def history(run: TrainingRun, spec: SignalSpec) -> Picture:
    """Loss, validation, horizon and learning rate over the stages of one run."""
    figure, (upper, middle, lower) = panels(3, 1, height=1.5, sharex=True)
    ends, places = stage_places(run)
    still = len(ends) - 1 - int(np.argmax(ends))  # stages at the end without updates
    moving = slice(None, len(ends) - still)
    at = np.interp(np.arange(1, run.updates + 1), ends[moving], places[moving])
    upper.plot(at, run.history["loss"], color=GREY, linewidth=0.6, linestyle="-", label="loss over the horizon")
    x, y = np.interp(run.validation["update"], ends[moving], places[moving]), run.validation["mse"]
    x[len(x) - still :] = places[len(places) - still :]
    upper.plot(x, y, color=BLUE, linestyle="-", marker=".", label=f"validation over all {spec.duration:g} s")
    middle.plot(at, np.array(run.history["horizon"]) / spec.sample_rate, color=RED, linestyle="-")
    lower.plot(at, run.history["learning_rate"], color=ORANGE, linestyle="-")
    for axes, quantity in zip((upper, middle, lower), ("squared error", "horizon (s)", "learning rate"), strict=True):
        for count, (left, right) in enumerate(pairwise(places)):
            axes.axvspan(left, right, color=BANDS[count % 2], linewidth=0, zorder=0)
        axes.set(yscale="log", xlim=(0, places[-1] * 1.01))
        label(axes, "update of the optimizers, at the end of each stage" if axes is lower else "", quantity)
    lower.set_xticks(places[moving], ends[moving])
    for name, (left, right) in zip(run.stage_ends, pairwise(places), strict=True):
        upper.annotate(name, ((left + right) / 2, 1.03), xycoords=upper.get_xaxis_transform(), ha="center", fontsize=9)
    figure.legend(
        *upper.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize="small", frameon=False
    )
    told = ", ".join(f"{name} {end}" for name, end in run.stage_ends.items())
    return Picture(
        figure,
        f"Three curves over {run.updates} updates, on logarithmic scales; the stages end at {told}. Squared error: the "
        "loss over the horizon stays low while the horizon grows; the validation error over the whole recording "
        f"starts at {y[0]:.1g} and ends at {min(y):.0e}, with the last fall in the stage polish. Horizon: "
        f"it climbs in steps from {run.history['horizon'][0] / spec.sample_rate:.2g} s to "
        f"{run.horizon / spec.sample_rate:g} s, with a long rest in the stage anneal. Learning rate: it falls as the "
        "horizon grows, and along a cosine in that stage.",
    )


def seconds_on(axes: Axes, low: float, high: float) -> None:
    """A logarithmic axis of seconds with plain numbers."""
    ticks = [tick for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if low / 1.3 <= tick <= high * 1.3]
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")


def growth(run: TrainingRun, spec: SignalSpec) -> Picture:
    """The stage grow: the loss between its threshold and the jumps of the horizon."""
    end = run.stage_ends["grow"]
    figure, (upper, lower) = panels(2, 1, height=1.7, sharex=True)
    updates = np.arange(1, end + 1)
    upper.plot(
        updates, run.history["loss"][:end], color=BLUE, linewidth=1, linestyle="-", label="loss over the horizon"
    )
    upper.axhline(run.config.grow_below, color=RED, linewidth=1, linestyle="--", label="below this the horizon grows")
    upper.set_yscale("log")
    label(upper, "", "squared error", legend=True)
    horizons = np.array(run.history["horizon"][:end]) / spec.sample_rate
    lower.step(updates, horizons, color=BLUE, linestyle="-", where="post")
    slowest, fastest = (pick(zip(spec.frequencies, spec.names, strict=True)) for pick in (min, max))
    for (frequency, name), place in ((slowest, (3, 3)), (fastest, (3, -11))):
        lower.axhline(1 / frequency, color=GREY, linestyle="--")
        lower.annotate(
            f"a period of {name}", (0, 1 / frequency), place, textcoords="offset points", fontsize="small", va="bottom"
        )
    seconds_on(lower, horizons[0], horizons[-1])
    lower.set_ylim(horizons[0] / 1.6, max(horizons[-1], 1 / slowest[0]) * 1.3)
    label(lower, "update of the optimizers", "horizon (s)")
    jumps = int(np.sum(np.diff(horizons) > 0))
    return Picture(
        figure,
        f"Above, the loss in the {end} updates of growth, on a logarithmic scale: it falls to the threshold of "
        f"{run.config.grow_below:g}, and jumps up when the horizon is lengthened, {jumps} times. Below, the horizon: "
        f"from {horizons[0]:.2g} s, one period of {fastest[1]}, to {horizons[-1]:.2g} s.",
    )


def starts(runs: Mapping[str, Sequence[TrainingRun]], spec: SignalSpec) -> Picture:
    """The horizon over the updates of growth, for several beginnings: a line per weight seed."""
    figure, axes = panels(height=2.8)
    for (name, tried), color, style in zip(runs.items(), (RED, GREEN, BLUE), (":", "--", "-"), strict=True):
        for count, run in enumerate(tried):
            end = run.stage_ends["grow"]
            horizons = np.array(run.history["horizon"][:end]) / spec.sample_rate
            axes.step(range(1, end + 1), horizons, color=color, linestyle=style, label="" if count else name)
    every = [h / spec.sample_rate for tried in runs.values() for run in tried for h in run.history["horizon"]]
    seconds_on(axes, min(every), max(every))
    label(axes, "update of the optimizers", "horizon (s)", legend=True)
    ends = {name: [run.history["horizon"][run.stage_ends["grow"] - 1] for run in tried] for name, tried in runs.items()}
    told = "; ".join(f"{name}: to {min(found)} to {max(found)} samples" for name, found in ends.items())
    return Picture(figure, f"Horizon over the updates of growth, on a logarithmic scale, per beginning. {told}.")


def eigenvalues(found: Mapping[str, Array], spec: SignalSpec) -> Picture:
    """Eigenvalues of one step in the complex plane: the whole circle, and its right edge enlarged."""
    figure, (whole, edge) = panels(1, 2, height=3.4)
    turn = np.exp(1j * np.linspace(-np.pi, np.pi, 721))
    for axes in (whole, edge):
        axes.plot(turn.real, turn.imag, color=GREY, linewidth=1, linestyle="-")
        for (name, values), marker, color in zip(found.items(), ("x", "o"), (RED, BLUE), strict=True):
            axes.plot(values.real, values.imag, marker, color=color, markersize=4, linestyle="none", label=name)
        axes.set_aspect("equal", adjustable="box")
    reach = 2.5 * 2 * np.pi * max(spec.frequencies) / spec.sample_rate
    for name, frequency in zip(spec.names, spec.frequencies, strict=True):
        point = np.exp(2j * np.pi * frequency / spec.sample_rate)
        edge.annotate(name, (point.real, point.imag), (8, 0), textcoords="offset points", fontsize=8)
        edge.plot(point.real, point.imag, ".", color="black", markersize=4, linestyle="none")
    edge.set(xlim=(1 - 1.6 * reach, 1 + 0.9 * reach), ylim=(-1.25 * reach, 1.25 * reach))
    label(whole, "real part", "imaginary part", legend=True)
    label(edge, "real part", "", "enlarged")
    told = [f"{name}: absolute values up to {np.abs(values).max():.3f}" for name, values in found.items()]
    return Picture(
        figure,
        "Eigenvalues of one step of the untrained LSTM at rest, in the complex plane with the unit circle; the right "
        f"panel enlarges the edge where the angles of the sines lie. {'; '.join(told)}.",
    )


def clocks(ppm: Mapping[str, Array], spec: SignalSpec) -> Picture:
    """The error of rate of each frequency, in parts per million, under several conditions: arrays (n_frequencies,)."""
    figure, axes = panels(height=2.6)
    rows = np.arange(spec.n_frequencies)
    for count, ((name, values), marker, color) in enumerate(
        zip(ppm.items(), cycle("osD^"), cycle((RED, BLUE, GREEN)), strict=False)
    ):
        shown, place = np.maximum(np.abs(values), 1e-3), rows + 0.22 * (count - (len(ppm) - 1) / 2)
        axes.plot(shown, place, marker, color=color, linestyle="none", label=name, clip_on=False)
    axes.set(xscale="log", yticks=rows, yticklabels=spec.names)
    axes.invert_yaxis()
    axes.margins(x=0.05, y=0.15)
    label(axes, "error of rate, amount (parts per million; 0.001 stands for less too)", "", legend=True)
    told = [f"{name}: at most {np.abs(values).max():.2g}" for name, values in ppm.items()]
    return Picture(figure, f"Error of rate of each frequency in parts per million, as dots. {'; '.join(told)}.")


def fits(losses: Mapping[str, Sequence[float]]) -> Picture:
    """The loss over the evaluations of a fit of the head, per method."""
    figure, axes = panels(height=2.6)
    for (name, values), color, style in zip(losses.items(), (RED, BLUE), ("--", "-"), strict=True):
        axes.plot(
            np.arange(1, len(values) + 1), np.minimum.accumulate(values), color=color, linestyle=style, label=name
        )
    axes.set(xscale="log", yscale="log")
    label(axes, "evaluations of loss and gradient", "lowest squared error so far", legend=True)
    told = [f"{name} ends at {min(values):.0e}" for name, values in losses.items()]
    return Picture(figure, f"Lowest squared error over the evaluations of the fit of the head: {'; '.join(told)}.")


def strips(values: Mapping[str, Sequence[float]], quantity: str, reference: Sequence[float]) -> Picture:
    """A row per name with a dot per training, on a logarithmic scale; the range of ``reference`` is shaded."""
    figure, axes = panels(height=0.27 * len(values) + 1.2)
    names = list(values)
    for row, found in enumerate(values.values()):
        axes.plot(found, [row] * len(found), color=BLUE, marker="o", markersize=6, linestyle="none", alpha=0.7)
    shaded: Any = {"color": RED, "alpha": 0.15, "linewidth": 0}
    axes.axvspan(min(reference), max(reference), label=f"as shipped, {len(reference)} weight seeds", **shaded)
    axes.axvline(0.5, color="black", linestyle=":", linewidth=1, label="predicting zero")
    axes.set(xscale="log", yticks=range(len(names)), yticklabels=names)
    axes.invert_yaxis()
    axes.margins(y=0.08)
    figure.legend(loc="outside upper center", ncols=2, fontsize="small", frameon=False)
    label(axes, quantity, "")
    told = [f"{name} {min(found):.0e} to {max(found):.0e}" for name, found in values.items()]
    shipped = f"as shipped {min(reference):.0e} to {max(reference):.0e}"
    return Picture(figure, f"{quantity}, over trainings: {shipped}; predicting zero 0.5; {'; '.join(told)}.")
