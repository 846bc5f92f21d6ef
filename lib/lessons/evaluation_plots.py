"""Notebooks 04 and 05: figures of how good the network is, and on which noise."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lib.evaluation import metrics
from lib.lessons.figures import BLUE, GREY, RED, Picture, label, panels
from lib.signals import Array, SignalSpec


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
    axes.plot(time, spec.targets[index, shown], color=BLUE, linewidth=2.2, linestyle="-", label="target")
    dots = {"linestyle": "none", "marker": "o", "markersize": 2.8}
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


def seeds(train: float, test: float, unseen: Mapping[str, Array]) -> Picture:
    """Distribution of the MSE over unseen noise seeds relative to the training MSE, a panel per model."""
    figure, grid = panels(len(unseen), 1, height=1.7)
    texts = []
    for axes, (name, values) in zip(np.atleast_1d(grid), unseen.items(), strict=True):
        ratios = values / train
        spread = float(np.ptp([*ratios, test / train, 1.0]))
        edge = 0.05 * spread if spread > 1e-6 else 1e-3  # a deaf network has one value for all noises
        reach = min(ratios.min(), test / train, 1.0) - edge, max(ratios.max(), test / train, 1.0) + edge
        axes.hist(ratios, bins=31, range=reach, color=BLUE, alpha=0.6, label="unseen noise seeds")
        axes.axvline(1.0, color="black", linestyle="-", label="training noise")
        axes.axvline(test / train, color=RED, linestyle="--", label="test noise")
        axes.ticklabel_format(useOffset=False)
        label(axes, "MSE / training MSE", "noise seeds", name, legend=True)
        texts.append(f"{name}: from {values.min() / train:.4f} to {values.max() / train:.4f}")
    return Picture(
        figure, f"Histogram of the MSE over unseen noise seeds as a multiple of the training MSE. {'; '.join(texts)}."
    )


def seed_strips(results: Mapping[str, Mapping[str, Array]]) -> Picture:
    """MSE of several models: training noise, test noise and every unseen noise seed, on one logarithmic scale."""
    figure, axes = panels(height=0.5 * len(results) + 1.2)
    jitter = np.random.default_rng(0)
    texts = []
    for row, (name, values) in enumerate(results.items()):
        unseen = np.asarray(values["unseen"])
        y = row + jitter.uniform(-0.22, 0.22, len(unseen))
        once = {"linestyle": "none", "markersize": 8}
        axes.plot(
            unseen, y, color=GREY, marker=".", markersize=3, linestyle="none", label="unseen" if not row else None
        )
        axes.plot(values["train"], row, color=BLUE, marker="s", label="train" if not row else None, **once)
        axes.plot(values["test"], row, color=RED, marker="x", label="test" if not row else None, **once)
        texts.append(f"{name}: train {float(values['train']):.1e}, unseen {unseen.min():.1e} to {unseen.max():.1e}")
    axes.set(xscale="log", yticks=range(len(results)), yticklabels=list(results))
    axes.invert_yaxis()
    label(axes, "MSE over all rows", "", "", legend=True)
    return Picture(figure, f"MSE on training, test and unseen noise. {'; '.join(texts)}.")


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
