"""Notebook 04: the two graphs of the assignment, and figures of experiments and of errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from lib.evaluation import metrics
from lib.lessons.figures import BLUE, GREY, LINES, RED, Picture, label, panels
from lib.signals import Array, SignalSpec

MARKERS = "os^D"


def graph_1(spec: SignalSpec, mixed: Array, prediction: Array, index: int = 1, seconds: float = 1.0) -> Picture:
    """The assignment's Graph 1: one frequency, target, output, and the noisy input behind.

    Args:
        spec: the signals' specification.
        mixed: S(t), (samples,).
        prediction: outputs, (n_frequencies, samples).
        index: which frequency.
        seconds: how much of the start to show.
    """
    shown = slice(0, round(seconds * spec.sample_rate))
    time = spec.time[shown]
    figure, axes = panels(height=3.4)
    axes.plot(time, mixed[shown], color=GREY, linewidth=0.6, linestyle="-", label="noisy mixed input S")
    axes.plot(time, spec.targets[index, shown], color=BLUE, linewidth=3, alpha=0.5, linestyle="-", label="target")
    dots = {"linestyle": "none", "marker": "o", "markersize": 3}
    axes.plot(time[::10], prediction[index, shown][::10], color=RED, label="output, every 10th sample", **dots)
    label(axes, "time (s)", "S, target, output", f"f = {spec.names[index]}", legend=True)
    return Picture(
        figure,
        f"The first {seconds:g} s at {spec.names[index]}: behind, in grey, the noisy mixed input, a "
        "shapeless band; the target as a blue sine; the network's output as red dots, which are at most "
        f"{np.abs(prediction[index, shown] - spec.targets[index, shown]).max():.3f} away from it.",
    )


def graph_2(spec: SignalSpec, prediction: Array, seconds: float = 1.0) -> Picture:
    """The assignment's Graph 2: a panel per frequency, target and output, with MSE and R² over the whole recording."""
    shown = slice(0, round(seconds * spec.sample_rate))
    columns = min(2, spec.n_frequencies)
    figure, grid = panels(-(-spec.n_frequencies // columns), columns, height=2.2, sharex=True, sharey=True)
    flat = np.atleast_1d(grid).ravel()
    texts = []
    for i, axes in enumerate(flat[: spec.n_frequencies]):
        scores = metrics(prediction[i], spec.targets[i])
        time = spec.time[shown]
        axes.plot(time, spec.targets[i, shown], color=BLUE, linewidth=3.5, alpha=0.5, linestyle="-", label="target")
        axes.plot(time, prediction[i, shown], color=RED, linewidth=1.2, linestyle="--", label="LSTM output")
        title = f"{spec.names[i]}: MSE {scores['mse']:.1e}, R² {scores['r2']:.6f}"
        below, left = i >= spec.n_frequencies - columns, i % columns == 0
        label(axes, "time (s)" if below else "", "target, output" if left else "", title)
        texts.append(title)
    for axes in flat[spec.n_frequencies :]:
        axes.set_axis_off()
    handles, labels = flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    return Picture(figure, f"A panel per frequency, the output drawn over the target. {'; '.join(texts)}.")


def reset_costs(spec: SignalSpec, measured: Mapping[float, Sequence[float]]) -> Picture:
    """MSE of an output whose reset comes late, beside that of two sines out of step, the mean of 1 − cos(2πf · late).

    Args:
        spec: the signals' specification.
        measured: by lateness in s: MSE against the sine from the reset, and against that which goes with S.
    """
    figure, axes = panels(height=2.8)
    late = np.linspace(0, max(measured), 400)
    curve = np.mean(1 - np.cos(2 * np.pi * np.outer(late, spec.frequencies)), axis=1)
    with_reset, with_signal = np.array(list(measured.values())).T
    axes.plot(late, curve, color=BLUE, linestyle="-", linewidth=1, label="two sines out of step")
    axes.plot(list(measured), with_signal, color=BLUE, marker="o", linestyle="none", label="against the sine of S")
    axes.plot(list(measured), with_reset, color=RED, marker="s", linestyle="none", label="against that of the reset")
    label(axes, "lateness of the reset (s)", "MSE of the output", "")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False)
    return Picture(
        figure,
        "MSE of an output whose roll-out begins late. Against the sine that starts with the reset it stays small, "
        f"at most {with_reset.max():.0e}. Against the sine that goes with S it follows the curve of two sines out of "
        f"step, up to {with_signal.max():.1f}, and vanishes where the lateness is whole periods of all sines.",
    )


def intervention(
    spec: SignalSpec, output: Array, target: Array, name: str, events: Mapping[str, int] | None = None
) -> Picture:
    """Output and target, each (samples,), of an experiment, with the MSE of its last quarter.

    ``events`` names samples to mark by a line; sample 0 means that there was no such event.
    """
    time = np.arange(len(output)) / spec.sample_rate
    quarter = len(output) // 4
    mse = float(np.mean((output[-quarter:] - target[-quarter:]) ** 2))
    figure, axes = panels(height=2.6)
    axes.plot(time, target, color=BLUE, linewidth=4, alpha=0.45, linestyle="-", label="target")
    axes.plot(time, output, color=RED, linewidth=1.3, linestyle="-", label="output")
    happened = {event: sample / spec.sample_rate for event, sample in (events or {}).items() if sample}
    for moment in happened.values():
        axes.axvline(moment, color="black", linestyle=":")
    name = ", ".join([name, *(f"{event} at {moment:g} s" for event, moment in happened.items())])
    label(axes, "time (s)", "target, output", f"{name}: MSE of the last quarter {mse:.1e}", legend=True)
    return Picture(figure, f"{name}: output and target over time; over the last quarter the MSE is {mse:.1e}.")


def error_by_period(spec: SignalSpec, squared: Array) -> Picture:
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
