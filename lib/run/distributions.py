"""The figure of a batch: how its results are distributed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lib.lessons.figures import BLUE, RED, Picture, label, panels
from lib.signals import Array


def distributions(results: Mapping[str, Array]) -> Picture:
    """Histogram of each result over the runs, (runs,), on a logarithmic scale where it spans more than a decade."""
    figure, grid = panels(len(results), 1, height=1.7)
    texts = []
    for axes, (name, values) in zip(np.atleast_1d(grid), results.items(), strict=True):
        low, high = float(values.min()), float(values.max())
        wide = low > 0 and high > 10 * low
        count = min(30, 4 + len(values) // 4)
        bins = np.geomspace(low, high, count + 1) if wide else count
        axes.hist(values, bins=bins, color=BLUE, alpha=0.6, label="runs")
        axes.axvline(float(np.median(values)), color=RED, linestyle="--", label="median")
        if wide:
            axes.set_xscale("log")
        axes.yaxis.get_major_locator().set_params(integer=True)
        label(axes, f"{name} (no unit)", "runs", "", legend=True)
        texts.append(f"{name}: from {low:.3g} over {np.median(values):.3g} (median) to {high:.3g}")
    return Picture(figure, f"Histograms over the runs of a batch. {'; '.join(texts)}.")
