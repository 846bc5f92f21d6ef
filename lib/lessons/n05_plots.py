"""Notebook 05: figures of several trainings, and of what lies between two selectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lib.lessons.between import STARTS, Between, largest_step
from lib.lessons.figures import BLUE, GREY, LINES, RED, Picture, label, panels
from lib.signals import Array, SignalSpec


def trainings(results: Mapping[str, Mapping[str, Array | float]]) -> Picture:
    """A row per training: MSE on its training noise, and on every unseen noise seed."""
    figure, axes = panels(height=0.28 * len(results) + 1.1)
    texts = []
    for row, (name, values) in enumerate(results.items()):
        unseen = np.asarray(values["unseen"])
        axes.plot(unseen, np.full(len(unseen), row), color=GREY, marker="|", markersize=10, linestyle="none")
        axes.plot(values["train"], row, color=BLUE, marker="o", markersize=6, linestyle="none")
        texts.append(f"{name}: {float(values['train']):.1e}, unseen up to {unseen.max():.1e}")
    axes.plot([], [], color=BLUE, marker="o", linestyle="none", label="training noise")
    axes.plot([], [], color=GREY, marker="|", markersize=10, linestyle="none", label="unseen noise seeds")
    axes.set(xscale="log", yticks=range(len(results)), yticklabels=list(results))
    low = min(np.min(values["unseen"]) for values in results.values())
    high = max(np.max(values["unseen"]) for values in results.values())
    axes.set_xlim(10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high)))
    axes.invert_yaxis()
    label(axes, "MSE over all rows", "", "", legend=True)
    return Picture(figure, f"MSE of several trainings on their training noise and on unseen noise. {'; '.join(texts)}.")


def between_selectors(spec: SignalSpec, networks: Mapping[str, Sequence[Between]]) -> Picture:
    """Frequency and amplitude of the output for mixtures of two selectors: two rows per network, a column per pair."""
    columns = len(next(iter(networks.values())))
    figure, grid = panels(2 * len(networks), columns, height=1.55, sharex=True)
    rows = np.asarray(grid).reshape(2 * len(networks), columns)
    for number, (name, sweeps) in enumerate(networks.items()):
        for column, found in enumerate(sweeps):
            upper, lower = rows[2 * number, column], rows[2 * number + 1, column]
            for start, marker, colour in zip(STARTS, "o+x", (BLUE, RED, LINES[2]), strict=True):
                style = {"marker": marker, "markersize": 4, "color": colour, "linestyle": "none", "label": start}
                upper.plot(found.mixtures, found.frequency[STARTS.index(start)], **style)
                lower.plot(found.mixtures, found.amplitude[STARTS.index(start)], **style)
            low, high = (spec.names[index].removesuffix(" Hz") for index in found.pair)
            for index in found.pair:
                upper.axhline(spec.frequencies[index], color="black", linestyle=":", linewidth=0.8)
            lower.set_ylim(-0.1, 1.3)
            label(upper, "", "" if column else "frequency (Hz)", f"{name}, {low} to {high} Hz")
            last = number == len(networks) - 1
            label(lower, "weight of the second selector" if last else "", "" if column else "amplitude")
    handles, names = rows[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=3, frameon=False)
    texts = []
    for name, sweeps in networks.items():
        silent = sum(int(np.isnan(found.frequency[:, 1:-1]).sum()) for found in sweeps)
        steps = ", ".join(f"{largest_step(found):.1f}" for found in sweeps)
        texts.append(f"{name}: largest steps {steps} Hz, {silent} roll-outs without oscillation")
    return Picture(
        figure,
        "Frequency and amplitude of the output against the weight of the second selector, for each pair of neighbours. "
        "At both ends the frequency is that of a selector. In between, the figure shows where it moves in small steps, "
        f"where it jumps, and where the output stands still. {'; '.join(texts)}.",
    )
