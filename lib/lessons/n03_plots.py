"""Notebook 03: figures of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lib.lessons.figures import BLUE, GREEN, GREY, ORANGE, RED, Picture, label, panels
from lib.recipe import TrainingRun
from lib.signals import Array, SignalSpec

BANDS = ("#FFFFFF", "#EEF3F8")


def stage_bands(axes: Axes, run: TrainingRun, named: bool) -> None:
    """Shade the stages that make updates, by turns, and write their names on top."""
    start = 0
    for count, (name, end) in enumerate((name, end) for name, end in run.stage_ends.items()):
        if end == start:
            continue
        axes.axvspan(start, end, color=BANDS[count % 2], linewidth=0, zorder=0)
        if named:
            axes.text(
                (start + end) / 2, 1.02, name, transform=axes.get_xaxis_transform(), ha="center", fontsize="small"
            )
        start = end
    axes.set_xlim(0, start)


def history(run: TrainingRun, spec: SignalSpec) -> Picture:
    """Loss, validation, horizon and learning rate over the updates of one run."""
    figure, (upper, middle, lower) = panels(3, 1, height=1.5, sharex=True)
    updates = np.arange(1, run.updates + 1)
    upper.plot(updates, run.history["loss"], color=GREY, linewidth=0.6, linestyle="-", label="loss over the horizon")
    x, y = run.validation["update"], run.validation["mse"]
    upper.plot(x, y, color=BLUE, linestyle="-", marker=".", label=f"validation over all {spec.duration:g} s")
    middle.plot(updates, np.array(run.history["horizon"]) / spec.sample_rate, color=RED, linestyle="-")
    lower.plot(updates, run.history["learning_rate"], color=ORANGE, linestyle="-")
    for axes, quantity in zip((upper, middle, lower), ("squared error", "horizon (s)", "learning rate"), strict=True):
        stage_bands(axes, run, named=axes is upper)
        axes.set_yscale("log")
        label(axes, "update of the optimizers" if axes is lower else "", quantity)
    figure.legend(
        *upper.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize="small", frameon=False
    )
    ends = ", ".join(f"{name} {end}" for name, end in run.stage_ends.items())
    return Picture(
        figure,
        f"Three curves over {run.updates} updates, on logarithmic scales; the stages end at {ends}. Squared error: the "
        "loss over the horizon stays low while the horizon grows; the validation error over the whole recording "
        f"starts at {y[0]:.1g} and ends at {min(y):.0e}. Horizon: it climbs in steps from "
        f"{run.history['horizon'][0] / spec.sample_rate:.2g} s to {run.horizon / spec.sample_rate:g} s, with a long "
        "rest in the stage anneal. Learning rate: it falls as the horizon grows, and along a cosine in that stage.",
    )


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
    lower.step(updates, horizons, color=BLUE, linestyle="-", where="post", label="horizon")
    slowest, fastest = (pick(zip(spec.frequencies, spec.names, strict=True)) for pick in (min, max))
    for (frequency, name), style in zip((slowest, fastest), ("--", ":"), strict=True):
        lower.axhline(1 / frequency, color=GREY, linestyle=style, label=f"a period of {name}")
    lower.set_yscale("log")
    label(lower, "update of the optimizers", "horizon (s)", legend=True)
    jumps = int(np.sum(np.diff(horizons) > 0))
    return Picture(
        figure,
        f"Above, the loss in the {end} updates of growth, on a logarithmic scale: it falls to the threshold of "
        f"{run.config.grow_below:g}, and jumps up when the horizon is lengthened, {jumps} times. Below, the horizon: "
        f"from {horizons[0]:.2g} s, one period of {fastest[1]}, to {horizons[-1]:.2g} s.",
    )


def annealing(run: TrainingRun) -> Picture:
    """The stage anneal: the loss, and beside it the falling learning rate."""
    start, end = run.stage_ends["grow"], run.stage_ends["anneal"]
    figure, (upper, lower) = panels(2, 1, height=1.6, sharex=True)
    updates = np.arange(start + 1, end + 1)
    loss = np.array(run.history["loss"][start:end])
    upper.plot(updates, loss, color=BLUE, linewidth=0.8, linestyle="-")
    upper.set_yscale("log")
    label(upper, "", "loss (squared error)")
    lower.plot(updates, run.history["learning_rate"][start:end], color=ORANGE, linestyle="-")
    lower.set_yscale("log")
    label(lower, "update of the optimizers", "learning rate")
    first, last = np.median(loss[: len(loss) // 10 + 1]), np.median(loss[-(len(loss) // 10 + 1) :])
    return Picture(
        figure,
        f"Above, the loss in the {end - start} updates of annealing: rough at first, with a median of {first:.0e} in "
        f"the first tenth, and smooth at the end, with {last:.0e} in the last. Below, the learning rate falls along a "
        "cosine.",
    )


def clocks(ppm: Mapping[str, Array], spec: SignalSpec) -> Picture:
    """The error of rate of each frequency, in parts per million, under several conditions: arrays (n_frequencies,)."""
    figure, axes = panels(height=2.6)
    rows = np.arange(spec.n_frequencies)
    for (name, values), marker, color in zip(ppm.items(), cycle("osD^"), cycle((RED, BLUE, GREEN)), strict=False):
        axes.plot(np.maximum(np.abs(values), 1e-3), rows, marker, color=color, linestyle="none", label=name)
    axes.set(xscale="log", yticks=rows, yticklabels=spec.names)
    axes.invert_yaxis()
    axes.margins(y=0.15)
    label(axes, "error of rate, amount (parts per million; 0.001 stands for less too)", "", legend=True)
    told = [f"{name}: at most {np.abs(values).max():.2g}" for name, values in ppm.items()]
    return Picture(figure, f"Error of rate of each frequency in parts per million, as dots. {'; '.join(told)}.")


def fits(losses: Mapping[str, Sequence[float]]) -> Picture:
    """The loss over the evaluations of a fit of the head, per method."""
    figure, axes = panels(height=2.6)
    for (name, values), color, style in zip(
        losses.items(), cycle((RED, BLUE, GREEN)), cycle(("--", "-")), strict=False
    ):
        axes.plot(
            np.arange(1, len(values) + 1), np.minimum.accumulate(values), color=color, linestyle=style, label=name
        )
    axes.set(xscale="log", yscale="log")
    label(axes, "evaluations of loss and gradient", "lowest squared error so far", legend=True)
    told = [f"{name} ends at {min(values):.0e}" for name, values in losses.items()]
    return Picture(figure, f"Lowest squared error over the evaluations of the fit of the head: {'; '.join(told)}.")


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
    label(axes, "time (s)", "squared error")
    ends = [f"{name} ends at {error[:, -size:].mean():.1g}" for name, error in errors.items()]
    return Picture(figure, f"Squared error over the recording, per policy, on a logarithmic scale: {'; '.join(ends)}.")


def strips(values: Mapping[str, Sequence[float]], quantity: str, reference: Sequence[float]) -> Picture:
    """A row per name with a dot per weight seed, on a logarithmic scale; the range of ``reference`` is shaded."""
    figure, axes = panels(height=0.27 * len(values) + 1.0)
    names = list(values)
    for row, found in enumerate(values.values()):
        axes.plot(found, [row] * len(found), color=BLUE, marker="o", markersize=6, linestyle="none", alpha=0.7)
    text: Any = {"color": RED, "alpha": 0.15, "linewidth": 0}
    axes.axvspan(min(reference), max(reference), label=f"as shipped, {len(reference)} weight seeds", **text)
    axes.set(xscale="log", yticks=range(len(names)), yticklabels=names)
    axes.invert_yaxis()
    axes.margins(y=0.08)
    figure.legend(loc="outside upper center", fontsize="small", frameon=False)
    label(axes, quantity, "")
    told = [f"{name} {min(found):.0e} to {max(found):.0e}" for name, found in values.items()]
    shipped = f"as shipped {min(reference):.0e} to {max(reference):.0e}"
    return Picture(figure, f"{quantity}, over weight seeds: {shipped}; {'; '.join(told)}.")
