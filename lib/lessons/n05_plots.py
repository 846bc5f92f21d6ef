"""Notebook 05: figures of several trainings, and of what lies between two selectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lib.lessons.figures import BLUE, GREY, LINES, RED, Picture, label, panels
from lib.signals import Array, SignalSpec

Score = tuple[float, Array]  # MSE of a training on its training noise, and on each unseen noise seed, (seeds,)


def trainings(groups: Mapping[str, Sequence[Score]]) -> Picture:
    """A row per kind of training, and in it a line per training: MSE on its own noise and on unseen noise."""
    figure, axes = panels(height=0.08 * sum(map(len, groups.values())) + 0.35 * len(groups) + 0.9)
    texts, middles = [], []
    row = 0.0
    for name, scores in groups.items():
        rows = row + np.arange(len(scores))
        for y, (train, unseen) in zip(rows, scores, strict=True):
            style = {"linestyle": "none", "color": GREY, "marker": "|", "markersize": 5}
            axes.plot(unseen, np.full(len(unseen), y), label="unseen noise" if not y else None, **style)
            axes.plot(np.median(unseen), y, "x", color=RED, markersize=6, label="their median" if not y else None)
            axes.plot(train, y, "o", color=BLUE, markersize=4, label="training noise" if not y else None)
        middles.append(rows.mean())
        row += len(scores) + 1.5
        own, new = [train for train, _ in scores], np.concatenate([unseen for _, unseen in scores])
        texts.append(f"{name}: own {min(own):.0e} to {max(own):.0e}, unseen {new.min():.0e} to {new.max():.0e}")
    axes.set(xscale="log", yticks=middles, yticklabels=list(groups))
    axes.tick_params("y", length=0)
    axes.grid(visible=False, axis="y")
    axes.invert_yaxis()
    label(axes, "MSE over the whole recording", "", "")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False)
    return Picture(figure, f"MSE of trainings on their training noise and on unseen noise. {'; '.join(texts)}.")


def selectors(spec: SignalSpec, networks: Mapping[str, tuple[Array, Array]]) -> Picture:
    """Frequency of the output on the way from each selector to the next; by network, places and frequencies, Hz."""
    figure, axes = panels(height=3.0)
    for (name, (places, found)), marker, colour in zip(networks.items(), "ox", LINES, strict=False):
        axes.plot(places, found, marker=marker, markersize=4, color=colour, linestyle="none", label=name)
    axes.plot(
        range(spec.n_frequencies), spec.frequencies, color="black", linestyle=":", linewidth=1, label="a straight line"
    )
    axes.set(xticks=range(spec.n_frequencies), xticklabels=spec.names)
    label(axes, "selector, from each to the next", "frequency of the output (Hz)", "", legend=True)
    texts = [
        f"{name}: largest step {np.nanmax(np.abs(np.diff(found)), initial=0):.1f} Hz, {np.isnan(found).sum()} at rest"
        for name, (_, found) in networks.items()
    ]
    return Picture(
        figure,
        "Frequency of the output against the place between two selectors. At a selector it is that selector's; in "
        f"between it moves in small steps or jumps. {'; '.join(texts)}.",
    )
