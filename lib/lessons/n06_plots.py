"""Notebook 06: figures of loops, fixed points, pushes, removed units, wired clocks and attributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.lessons.dynamics import ClosedLoop
from lib.lessons.figures import BLUE, GREY, LINES, ORANGE, RED, Picture, label, legend_above, panels
from lib.lessons.n06_trials import ENDS, Attribution, End, Removal
from lib.signals import Array, SignalSpec

SHAPES = "os^D"
REACHED = 1e-9  # below it, rounding decides


def _grid(count: int, columns: int, height: float, *, sharex: bool = False, sharey: bool = False) -> tuple[Figure, Any]:
    """So many panels, in rows of so many at most."""
    columns = min(columns, count)
    figure, grid = panels(-(-count // columns), columns, height=height, sharex=sharex, sharey=sharey)
    for axes in np.ravel(grid)[count:]:
        axes.set_axis_off()
    return figure, np.ravel(grid)[:count]


def _legend(figure: Figure, first: Axes, *marks: tuple[str, str, str, str]) -> None:
    """One legend above all panels: of these marks (name, colour, line, marker), or of what the first panel shows."""
    for name, colour, line, marker in marks:
        first.plot([], [], color=colour, linestyle=line, marker=marker, label=name)
    handles, names = first.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=4, frameon=False, fontsize="small")


def portraits(
    spec: SignalSpec, loops: Sequence[ClosedLoop], paths: Sequence[Tensor], points: Sequence[Tensor]
) -> Picture:
    """Loops, paths (lanes, samples, state) that begin at random, and fixed points, in the plane of each loop."""
    figure, grid = _grid(len(loops), 4, height=2.5)
    for axes, name, loop, path, fixed in zip(grid, spec.names, loops, paths, points, strict=True):
        ring = loop.states.numpy()
        middle = ring.mean(axis=0)
        plane = np.linalg.svd(ring - middle, full_matrices=False)[2][:2].T
        for lane in path.numpy():
            axes.plot(*((lane - middle) @ plane).T, color=GREY, linewidth=0.7, linestyle="-")
        axes.plot(*((ring - middle) @ plane).T, color=BLUE, linewidth=2, linestyle="-")
        axes.plot(*((fixed.numpy() - middle) @ plane).T, color=RED, marker="x", markersize=7, linestyle="none")
        half = 1.9 * np.abs((ring - middle) @ plane).max()
        axes.set(xlim=(-half, half), ylim=(-half, half), aspect="equal")
        axes.locator_params(nbins=3)
        label(axes, "direction 1", "direction 2" if axes is grid[0] else "", name)
    marks = ("from a random state", GREY, "-", ""), ("loop", BLUE, "-", ""), ("fixed point", RED, "none", "x")
    _legend(figure, grid[0], *marks)
    return Picture(
        figure,
        "The state of the network in the two leading directions of each loop, a panel per selector. Grey paths begin "
        "at random states and run onto the closed blue loop. A red cross marks each fixed point that was found.",
    )


def multipliers(spec: SignalSpec, networks: Mapping[str, Sequence[ClosedLoop]], count: int = 5) -> Picture:
    """The largest Floquet multipliers of each selector, brought to one second, a panel per network."""
    figure, grid = _grid(len(networks), len(networks), height=2.8, sharey=True)
    texts = []
    for axes, (name, loops) in zip(grid, networks.items(), strict=True):
        for lane, loop in enumerate(loops):
            sizes = np.abs(loop.multipliers[:count]) ** (1 / loop.seconds)
            seen = sizes[sizes > REACHED]
            axes.plot(np.full(len(seen), lane), seen, color=LINES[lane % 4], marker=SHAPES[lane % 4], linestyle="none")
            texts.append(f"{name}, {spec.names[lane]}: {sizes[0]:.5f} and then {sizes[1]:.0e}")
        axes.axhline(1, color="black", linewidth=0.8, linestyle=":")
        axes.set(yscale="log", ylim=(REACHED, 10), xlim=(-0.5, len(loops) - 0.5))
        axes.set_xticks(range(len(loops)), [name.removesuffix(" Hz") for name in spec.names])
        label(axes, "selector (Hz)", "size of multiplier" if axes is grid[0] else "", name)
    return Picture(figure, f"Sizes of the largest Floquet multipliers, logarithmic. {'; '.join(texts)}.")


def unit_circles(spec: SignalSpec, found: Sequence[Sequence[Array]]) -> Picture:
    """Eigenvalues of the linearized step at the fixed points of each selector, near the unit circle."""
    figure, grid = _grid(len(found), 4, height=2.7)
    texts = []
    for axes, f, name, points in zip(grid, spec.frequencies, spec.names, found, strict=True):
        angle, turn = 2 * np.pi * f / spec.sample_rate, np.linspace(-0.5, 0.5, 401)
        axes.plot(np.cos(turn), np.sin(turn), color="black", linewidth=0.8, linestyle="-")
        for sign in (-1, 1):
            far = np.array([0.5, 1.5])
            axes.plot(far * np.cos(angle), sign * far * np.sin(angle), color=ORANGE, linestyle="--", linewidth=1.2)
        for values in points:
            out = np.abs(values) > 1
            axes.plot(values[out].real, values[out].imag, color=RED, marker="o", linestyle="none")
            axes.plot(values[~out].real, values[~out].imag, color=BLUE, marker=".", linestyle="none")
        axes.set(xlim=(0.94, 1.05), ylim=(-2.6 * angle, 2.6 * angle))
        axes.locator_params(nbins=3)
        label(axes, "real part", "imaginary part" if axes is grid[0] else "", name)
        outside = sum(bool((np.abs(values) > 1).any()) for values in points)
        texts.append(f"{name}: {outside} of {len(points)} fixed points with an eigenvalue outside")
    marks = ("outside the unit circle", RED, "none", "o"), ("inside", BLUE, "none", ".")
    _legend(figure, grid[0], *marks, ("unit circle", "black", "-", ""), ("angle of the sine", ORANGE, "--", ""))
    return Picture(figure, f"Eigenvalues of the linearized step in the complex plane. {'; '.join(texts)}.")


def responses(spec: SignalSpec, found: Sequence[Mapping[str, tuple[Array, Array, Array]]]) -> Picture:
    """What a push at each phase does to the clock: predicted lines and measured marks, a panel per selector."""
    figure, grid = _grid(len(found), 2, height=2.1, sharex=True, sharey=True)
    for axes, title, pushes in zip(grid, spec.names, found, strict=True):
        for (name, (at, predicted, measured)), colour, marker in zip(pushes.items(), (RED, BLUE), "so", strict=True):
            axes.plot(at, predicted, color=colour, linestyle="-", label=f"{name}, predicted")
            style = {"marker": marker, "markersize": 4, "linestyle": "none", "markerfacecolor": "white"}
            axes.plot(at, measured, color=colour, label=f"{name}, measured", **style)
        axes.axhline(0, color="black", linewidth=0.8, linestyle="-")
        below = axes in grid[-2:]
        label(axes, "share of the period" if below else "", "samples ahead" if axes in grid[::2] else "")
        axes.set_title(title, loc="left")
    _legend(figure, grid[0])
    largest = {name: max(float(np.abs(pushes[name][1]).max()) for pushes in found) for name in found[0]}
    told = "; ".join(f"{name}: up to {size:.2g} samples" for name, size in largest.items())
    return Picture(figure, f"Samples by which a push sets the clock ahead, against its phase; lines and marks. {told}.")


def ends_grid(spec: SignalSpec, networks: Mapping[str, Mapping[tuple[int, int], Sequence[End]]]) -> Picture:
    """Which share of the starts ends on the selector's loop: rows are where it came from, columns the selector."""
    names = [name.removesuffix(" Hz") for name in spec.names]
    figure, grid = _grid(len(networks), len(networks), height=3.0)
    texts = []
    for axes, (name, found) in zip(grid, networks.items(), strict=True):
        shares = np.full((len(names) + 1, len(names)), np.nan)
        for (first, second), reached in found.items():
            shares[first, second] = np.mean([end.where == ENDS[0] for end in reached])
            text = f"{shares[first, second]:.0%}"
            axes.text(second, first, text, ha="center", va="center", fontsize=9)
            if shares[first, second] < 1:
                start = "random" if first == len(names) else f"{names[first]} Hz"
                texts.append(f"{name}, {start} to {names[second]} Hz: {text}")
        axes.imshow(shares, cmap="RdYlBu", vmin=-0.5, vmax=1.6, aspect="auto")
        axes.grid(visible=False)
        axes.set_xticks(range(len(names)), names)
        axes.set_yticks(range(len(names) + 1), [*names, "random"])
        label(axes, "selector afterwards (Hz)", "state before, from (Hz)", name)
    others = "; ".join(texts) or "none"
    return Picture(figure, f"Share of the starts that end on the selector's own loop. Not all of them: {others}.")


def removal_costs(networks: Mapping[str, Mapping[str, Removal]]) -> Picture:
    """What the removal of each unit costs, in order of cost, a panel per network; by what stands in its place."""
    figure, grid = _grid(len(networks), len(networks), height=2.9, sharey=True)
    texts = []
    for axes, (name, by_place) in zip(grid, networks.items(), strict=True):
        for (place, found), line in zip(by_place.items(), ("-", "--"), strict=True):
            for what, costs, colour, marker in (
                ("from all", found.clock, RED, "o"),
                ("from the output only", found.output, BLUE, "s"),
            ):
                mean = np.sort(costs.mean(axis=0))[::-1]
                style = {"color": colour, "marker": marker, "markersize": 3, "linestyle": line}
                style |= {"markerfacecolor": colour if line == "-" else "white"}
                axes.plot(range(1, len(mean) + 1), mean, label=f"{what}, {place}", **style)
                texts.append(f"{name}, {what}, {place}: {mean[-1]:.0e} to {mean[0]:.0e}")
        axes.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
        axes.set_yscale("log")
        label(axes, "unit, in order of its cost", "MSE" if axes is grid[0] else "", name)
    _legend(figure, grid[0])
    return Picture(figure, f"MSE when a unit is withheld, logarithmic; a dotted line at one half. {'; '.join(texts)}.")


def returns(found: Mapping[str, Array]) -> Picture:
    """How much larger the output still swings in each period after a push across the loop."""
    figure, axes = panels(height=2.6)
    for k, (name, change) in enumerate(found.items()):
        style = {"color": LINES[k % 4], "marker": SHAPES[k % 4], "markersize": 4}
        axes.plot(np.arange(1, len(change) + 1), 100 * change, label=name, **style)
    axes.axhline(0, color="black", linewidth=0.8, linestyle="-")
    label(axes, "period after the push", "output swings more by (%)")
    legend_above(axes)
    told = "; ".join(f"{name}: {100 * v[0]:.2g} % at first, {100 * v[-1]:.2g} % at last" for name, v in found.items())
    return Picture(figure, f"Change of the output's swing after a push across the loop, period by period. {told}.")


def profiles(found: Mapping[str, Attribution]) -> Picture:
    """How strongly the last output depends on what came so many samples before, a panel per network."""
    figure, grid = _grid(len(found), len(found), height=2.7, sharey=True)
    lines, texts = dict(zip(Attribution._fields, ((ORANGE, "-"), (BLUE, "--"), (RED, "-.")), strict=True)), []
    for axes, (name, attribution) in zip(grid, found.items(), strict=True):
        for part, profile in attribution._asdict().items():
            seen, (colour, line) = profile > 0, lines[part]
            axes.plot(np.arange(len(profile))[seen], profile[seen], color=colour, linestyle=line)
            texts.append(f"{name}, {part}: {profile[0]:.0e} now, {profile[-1]:.0e} at {len(profile) - 1} samples ago")
        axes.set(yscale="log", ylim=(1e-12, 10))
        label(axes, "samples ago", "length of derivative" if axes is grid[0] else "", name)
    _legend(figure, grid[0], *((part, colour, line, "") for part, (colour, line) in lines.items()))
    return Picture(figure, f"Derivatives of the output, logarithmic, against how long ago. {'; '.join(texts)}.")
