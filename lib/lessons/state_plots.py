"""Notebooks 02 and 03: figures of order, gates, states and gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.patches import Rectangle
from torch import Tensor

from lib.lessons.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Picture, label, panels
from lib.lessons.instruments import Gates, orbit
from lib.signals import Array, SignalSpec


def order(spec: SignalSpec, layout: str, chunks: int = 4) -> Picture:
    """How the loader lays the sequences out, in a layout of `lib.loader.LAYOUTS`; reset and detach are marked."""
    parallel = layout == "parallel"
    lanes, lengths = (spec.n_frequencies, 1) if parallel else (1, spec.n_frequencies)
    figure, axes = panels(height=0.42 * lanes + 1.1)
    for lane in range(lanes):
        for sequence in range(lengths):
            index = lane if parallel else sequence
            for chunk in range(chunks):
                left = sequence * chunks + chunk
                colour = (BLUE, GREEN, PURPLE, ORANGE)[index % 4]
                axes.add_patch(Rectangle((left, lane + 0.1), 1, 0.8, facecolor=colour, alpha=0.25, edgecolor=colour))
                name = spec.names[index] if parallel else f"{spec.names[index]}\nno. {chunk}"
                axes.text(left + 0.5, lane + 0.5, name, ha="center", va="center", fontsize=9 if parallel else 7)
                axes.axvline(left, color=GREY if chunk else RED, linestyle=":" if chunk else "-", linewidth=2)
    axes.plot([], [], color=RED, linestyle="-", linewidth=2, label="reset")
    axes.plot([], [], color=GREY, linestyle=":", linewidth=2, label="detach, carry on")
    axes.set(xlim=(-0.1, chunks * lengths + 0.1), ylim=(lanes, 0))
    axes.set_yticks([lane + 0.5 for lane in range(lanes)], [f"lane {lane}" for lane in range(lanes)])
    axes.set_xticks(range(chunks * lengths + 1))
    axes.grid(visible=False)
    label(axes, "batch, in the order of time", "", f'layout="{layout}"', legend=True)
    what = (
        f"{lanes} lanes, one per frequency, run through time side by side; all are reset together at batch 0"
        if parallel
        else f"one lane runs through all batches of the first frequency, then of the next, {lengths} in all, and is "
        "reset where a new frequency begins"
    )
    return Picture(figure, f"The order of the layout {layout}: {what}, and detached at every other batch border.")


def gates(spec: SignalSpec, steps: Sequence[Gates], lane: int, unit: int) -> Picture:
    """The gates and both states of one unit over consecutive steps."""
    time = np.arange(1, len(steps) + 1) / spec.sample_rate
    figure, (upper, lower) = panels(2, 1, height=2.1, sharex=True)
    series = {name: [float(getattr(step, name)[lane, unit]) for step in steps] for name in Gates._fields}
    for name, title in (("i", "input gate i"), ("f", "forget gate f"), ("o", "output gate o"), ("g", "candidate g")):
        upper.plot(time, series[name], label=title)
    label(upper, "", "opening (no unit)", f"unit {unit}", legend=True)
    lower.plot(time, series["c"], color=BLUE, linestyle="-", label="cell state c")
    lower.plot(time, series["h"], color=RED, linestyle="--", label="hidden state h")
    label(lower, "time (s)", "state (no unit)", "", legend=True)
    return Picture(
        figure,
        f"Unit {unit} over time. Above, its input, forget and output gates, between 0 and 1, and its candidate, "
        f"between -1 and 1; the forget gate is {np.mean(series['f']):.2f} open on average. Below, its cell state, "
        f"which swings between {min(series['c']):.1f} and {max(series['c']):.1f}, and its hidden state, within ±1.",
    )


def state_traces(spec: SignalSpec, hidden: Tensor, cell: Tensor, lane: int) -> Picture:
    """All units' hidden and cell states of one lane, (lanes, samples, hidden_size), as images over time.

    Each unit is drawn about its own mean and in units of its own largest swing: a few large cells would outshine all
    the others. How large the largest swing is stands in the title.
    """
    figure, axes = panels(2, 1, height=2.1, sharex=True)
    seconds = hidden.shape[1] / spec.sample_rate
    for axis, (name, states) in zip(axes, {"hidden state h": hidden, "cell state c": cell}.items(), strict=True):
        values = states[lane].T.numpy()
        values = values - values.mean(axis=1, keepdims=True)
        swing = np.abs(values).max(axis=1, keepdims=True)
        box = (0, seconds, values.shape[0] - 0.5, -0.5)
        image = axis.imshow(values / np.maximum(swing, 1e-9), aspect="auto", cmap="RdBu", vmin=-1, vmax=1, extent=box)
        axis.grid(visible=False)
        figure.colorbar(image, ax=axis, label=f"{name[-1]} / its largest swing")
        title = f"{name}, {spec.names[lane]}; largest swing {swing.max():.2g}"
        label(axis, "time (s)" if axis is axes[1] else "", "unit", title)
    return Picture(
        figure,
        f"Images of all {hidden.shape[2]} units over {seconds:g} s at the selector of {spec.names[lane]}, "
        "each in units of its own largest swing. After a short start the units repeat the same stripes with the period "
        "of the sine, each at a phase of its own.",
    )


def orbits(spec: SignalSpec, states: Mapping[str, Tensor], lanes: Sequence[int]) -> Picture:
    """The path of the state in its two leading directions, a row per name and a column per lane."""
    figure, grid = panels(len(states), len(lanes), height=2.1)
    for row, (name, state) in zip(np.reshape(grid, (-1, len(lanes))), states.items(), strict=True):
        for axis, lane in zip(row, lanes, strict=True):
            path = orbit(state[lane])
            axis.plot(path[:, 0], path[:, 1], color=BLUE, linestyle="-", linewidth=0.8)
            axis.plot(*path[0], color=RED, marker="o", markersize=6, linestyle="none")
            title = f"{name}, {spec.names[lane]}"
            axis.set_aspect("equal", adjustable="datalim")  # else a flat cloud would look round
            axis.locator_params(nbins=3)
            label(axis, "direction 1", "direction 2" if lane == lanes[0] else "", title)
    figure.legend([axis.get_lines()[1]], ["start"], loc="outside upper right", frameon=False, fontsize="small")
    return Picture(
        figure,
        "Paths of the hidden state in its two leading directions, each starting at a dot. "
        + "; ".join(
            f"{name}: "
            + (
                "a small shapeless cloud, shaken by the noise around one point"
                if "untrained" in name
                else "a short way to a closed loop, which is run through again and again"
            )
            for name in states
        )
        + ".",
    )


def gradient_reaches(reaches: Mapping[str, Array]) -> Picture:
    """How far back the last output's gradient reaches under each policy; arrays (samples,)."""
    figure, axes = panels(height=2.8)
    for (name, norms), style in zip(reaches.items(), cycle(("-", "--", ":", "-.")), strict=False):
        back = np.arange(-len(norms), 0)
        words = name if norms.any() else f"{name}: 0 everywhere"
        axes.plot(back[norms > 0], norms[norms > 0], linestyle=style, linewidth=2, label=words)
    axes.set_yscale("log")
    highest = max(norms.max() for norms in reaches.values())
    axes.set_ylim(highest * 1e-7, highest * 3)
    first = next(iter(reaches.values()))
    axes.set_xlim(-len(first) - 5, 5)
    label(axes, "state so many samples before the last output", "norm of gradient")
    axes.legend(loc="lower left", fontsize="small", frameon=False)
    far = {name: int((norms > highest * 1e-7).sum()) for name, norms in reaches.items()}  # as far as is drawn
    return Picture(
        figure,
        "Norm of the gradient of the last output with respect to earlier states. It reaches back "
        + ", ".join(f"{samples} samples for {name}" for name, samples in far.items())
        + ", before it is below 1e-7 of the largest; behind a cut it is exactly zero. Where the trained network is not "
        "cut, the norm rises and falls with the sine and does not fade; in the untrained network it fades within some "
        "tens of samples.",
    )


def chain_costs(samples: Sequence[int], costs: Mapping[str, Sequence[float]]) -> Picture:
    """Memory held for the backward pass, in kB, against the samples seen, per policy."""
    figure, axes = panels(height=2.5)
    for (name, values), marker in zip(costs.items(), cycle("os^"), strict=False):
        axes.plot(samples, values, marker=marker, markersize=4, label=name)
    axes.set(xlim=(0, None), ylim=(0, None))
    label(axes, "samples seen", "memory held (kB)", "", legend=True)
    parts = [f"{name} goes from {values[0]:.0f} to {values[-1]:.0f} kB" for name, values in costs.items()]
    return Picture(figure, f"Memory that autograd holds against samples seen, straight lines: {'; '.join(parts)}.")


def outputs(spec: SignalSpec, results: Mapping[str, Array], index: int, mark: float | None = None) -> Picture:
    """Outputs (samples,) of several runs over the target of one frequency, a panel each; ``mark`` a time in s."""
    figure, grid = panels(len(results), 1, height=1.5, sharex=True, sharey=True)
    axes = np.atleast_1d(grid)
    target = spec.targets[index]
    for axis, (name, output) in zip(axes, results.items(), strict=True):
        time = spec.time[: len(output)]
        axis.plot(time, target[: len(output)], color=BLUE, linewidth=3, alpha=0.5, linestyle="-", label="target")
        axis.plot(time, output, color=RED, linewidth=1.2, linestyle="-", label="output")
        if mark is not None:
            axis.axvline(mark, color="black", linestyle=":")
        label(axis, "time (s)" if axis is axes[-1] else "", "output", name, legend=axis is axes[0])
    errors = [f"{name}: MSE {np.mean((o - target[: len(o)]) ** 2):.2g}" for name, o in results.items()]
    return Picture(figure, f"Target and output at {spec.names[index]}. {'; '.join(errors)}.")
