"""Notebook 09: figures of a study of settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lib.lessons.figures import BLUE, GREEN, GREY, LINES, ORANGE, RED, Picture, label, panels
from lib.lessons.n09_tuning import Deception, Effect
from lib.signals import Array


def effect_bars(found: Mapping[str, Effect], trainings: int) -> Picture:
    """A row per point: its error over that of the recipe as shipped, draw by draw, and the interval of the median."""
    names = sorted(found, key=lambda name: -found[name].median)
    figure, axes = panels(height=0.25 * len(names) + 1.1)
    for row, name in enumerate(names):
        effect = found[name]
        colour = RED if effect.low > 1 else GREEN if effect.high < 1 else GREY
        axes.plot(effect.ratios, [row] * len(effect.ratios), "o", color=BLUE, markersize=3.5, alpha=0.6)
        axes.plot([effect.low, effect.high], [row, row], color=colour, linewidth=5, alpha=0.45, linestyle="-")
        axes.plot(effect.median, row, "|", color="black", markersize=10)
        if effect.succeeded < len(effect.ratios):
            words = f"{effect.succeeded} of {len(effect.ratios)} succeeded"
            place: Any = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
            axes.annotate(words, (1, row), (4, 0), fontsize="small", **place)
    axes.axvline(1, color="black", linewidth=1, linestyle="--")
    axes.set(xscale="log", yticks=range(len(names)), yticklabels=names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    label(axes, "validation MSE over that of the recipe as shipped, same draw (ratio)", "")
    told = [f"{name} {found[name].median:.2g} ({found[name].low:.2g} to {found[name].high:.2g})" for name in names]
    return Picture(
        figure,
        f"Factors by which {len(names)} points change the validation error, each over {trainings} trainings: a dot per "
        "training, a bar for the interval of the median, which is red where it lies above one and green where it lies "
        f"below. Medians and intervals: {'; '.join(told)}.",
    )


def interaction(grid: Mapping[tuple[Any, Any], Array], failed: float = 2e-3) -> Picture:
    """Validation error against the factor of all rates, a line for each hidden size and a dot for each training.

    Trainings above the error ``failed`` are told by an arrow; the axis would hide the others.
    """
    figure, axes = panels(height=3.4)
    sizes, factors = (sorted({place[k] for place in grid}) for k in (0, 1))
    told = []
    top = 2 * max(run[run < failed].max() for run in grid.values())
    for size, colour, marker, style in zip(sizes, LINES, "osD^", ("-", "--", "-.", ":"), strict=False):
        places = np.array(factors) * 1.06 ** (sizes.index(size) - (len(sizes) - 1) / 2)
        runs = [grid[size, factor] for factor in factors]
        middle = [float(np.median(run)) for run in runs]
        axes.plot(places, middle, color=colour, marker=marker, linestyle=style, label=f"hidden {size}")
        for place, run in zip(places, runs, strict=True):
            axes.plot([place] * len(run), run, ".", color=colour, alpha=0.6, linestyle="none")
            if lost := int((run > failed).sum()):
                axes.annotate(f"↑ {lost} failed", (place, top), (3, -3), textcoords="offset points", va="top",
                              color=colour, fontsize="small")  # fmt: skip
        told += [
            f"hidden {size} at × {factor:.2g} {m:.1e} ({run.min():.1e} to {run.max():.1e})"
            for factor, m, run in zip(factors, middle, runs, strict=True)
        ]
    axes.set(xscale="log", yscale="log")
    axes.set_ylim(None, top)
    axes.set_xticks(factors, [f"{factor:.2g}" for factor in factors])
    axes.minorticks_off()
    label(axes, "factor of all learning rates", "validation MSE", legend=True)
    draws = len(next(iter(grid.values())))
    return Picture(figure, f"Median validation MSE over {draws} trainings, and their range: {'; '.join(told)}.")


def deceptions(found: Mapping[int, Deception]) -> Picture:
    """For each number of candidates: what the score of the chosen network says, over what is true of it."""
    figure, axes = panels(height=3.2)
    places = np.arange(len(found))
    told = []
    kinds = (("on the noise that chose", "tuned", RED, "o"), ("on a noise that did not choose", "honest", BLUE, "s"))
    for k, (name, field, colour, marker) in enumerate(kinds):
        low, middle, high = np.array([np.quantile(getattr(d, field), [0.05, 0.5, 0.95]) for d in found.values()]).T
        axes.errorbar(places + 0.16 * (k - 0.5), middle, [middle - low, high - middle], color=colour, marker=marker,
                      linestyle="none", capsize=4, label=name)  # fmt: skip
        told.append(f"{name} " + ", ".join(f"{m:.2g} with {n}" for m, n in zip(middle, found, strict=True)))
    axes.axhline(1, color="black", linewidth=1, linestyle="--")
    axes.set_xticks(places, [str(n) for n in found])
    axes.set(yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(-0.5, len(found) - 0.5)
    label(axes, "candidates in a study", "score of the chosen network\nover its mean on the other noises", legend=True)
    return Picture(
        figure,
        "Medians and ranges from 5% to 95% over many studies drawn from the trained networks, against the number of "
        f"candidates: {'; '.join(told)}.",
    )


def short_and_full(short: Sequence[float], full: Sequence[float], names: Sequence[str]) -> Picture:
    """Medians of the validation error after the short recipe and after the full one, a mark for each point."""
    figure, axes = panels(height=3.6)
    for x, y, name, colour, marker in zip(
        short, full, names, cycle((BLUE, RED, GREEN, ORANGE)), cycle("os^Dvx"), strict=False
    ):
        axes.plot(x, y, marker, color=colour, markersize=6, linestyle="none", label=name)
    ends = [min(*short, *full), max(*short, *full)]
    axes.plot(ends, ends, color=GREY, linewidth=1, linestyle="--")
    axes.set(xscale="log", yscale="log")
    label(axes, "validation MSE after the short recipe", "after the full recipe")
    figure.legend(loc="outside right center", fontsize="small", frameon=False)
    told = [f"{name} {x:.1e} and {y:.1e}" for name, x, y in zip(names, short, full, strict=True)]
    return Picture(figure, f"Median validation MSE after the short and after the full recipe: {'; '.join(told)}.")
