"""Notebook 02: figures of the loop, of order, gates, states and gradients, and of operations on h and c."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from torch import Tensor

from lib.lessons.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Picture, label, panels
from lib.lessons.instruments import Gates
from lib.lessons.n02_loop import Outcome
from lib.signals import Array, SignalSpec


def small_task(x: Tensor, y: Tensor, outputs: Mapping[str, Tensor]) -> Picture:
    """Input and target of the small task, and what networks put out; tensors (samples, features) and (samples, 1)."""
    figure, axes = panels(height=2.6)
    axes.plot(x[:, 0].numpy(), color=GREY, linestyle="-", linewidth=1, label="input")
    axes.plot(y[:, 0].numpy(), color=BLUE, linestyle="-", linewidth=4, alpha=0.45, label="target")
    for (name, output), style in zip(outputs.items(), ("-", ":"), strict=False):
        axes.plot(output[:, 0].numpy(), color=RED, linestyle=style, label=name)
    label(axes, "sample", "signal", legend=True)
    errors = [f"{name}: MSE {float((output - y).square().mean()):.2g}" for name, output in outputs.items()]
    what = "The input, a noisy mixture of two sines, and the target, the slow one of them a quarter of a period late"
    return Picture(figure, f"{what}. Outputs from reset on new noise: {'; '.join(errors)}.")


def edits(outcomes: Mapping[str, Outcome]) -> Picture:
    """Loss, reach of the gradient and memory held, for every edit of the loop."""
    figure, (left, middle, right) = panels(1, 3, height=0.25 * len(outcomes) + 0.9, sharey=True)
    rows = np.arange(len(outcomes))
    for row, outcome in zip(rows, outcomes.values(), strict=True):
        if outcome.losses:
            left.plot(outcome.losses, [row] * len(outcome.losses), color=BLUE, marker="o", linestyle="none")
        else:
            left.text(0.02, row, "error", color=RED, va="center")
        middle.barh(row, outcome.reach, height=0.6, color=RED if outcome.error else BLUE)
        right.barh(row, outcome.held / 1e6, height=0.6, color=RED if outcome.error else BLUE)
    left.set(xscale="log", xlim=(8e-3, 1))
    left.set_yticks(rows, [name.replace("`", "") for name in outcomes])
    left.invert_yaxis()
    label(left, "loss of the last pass", "", "loss, a dot per seed")
    label(middle, "samples", "", "reach of the gradient")
    label(right, "memory held (MB)", "", "memory")
    said = [f"{name}: " + ("error" if o.error else f"{max(o.losses):.2g}") for name, o in outcomes.items()]
    return Picture(figure, f"Loss, reach of the gradient and memory of each loop. Worst loss: {'; '.join(said)}.")


def surgery(
    shares: Mapping[str, tuple[Array, Mapping[str, Array]]],
    counts: Sequence[int],
    frozen: Mapping[str, Sequence[Array]],
    zeroed: Mapping[str, Sequence[Array]],
) -> Picture:
    """What becomes of the clock when h or c is exchanged, frozen or zeroed.

    Args:
        shares: for each network the samples per period of each lane, (lanes,), and for ``"h"`` and ``"c"`` the share
            of a quarter period by which the clock jumps, (lanes,).
        counts: for how many samples a state is held.
        frozen: for ``"h"`` and ``"c"``, per count, how late the clock is, in samples, (lanes,).
        zeroed: the same, by how many periods the clock is wrong.
    """
    figure, (left, middle, right) = panels(1, 3, height=3.0)
    styles = {"h": (RED, "--"), "c": (BLUE, "-")}
    fill = {"h": "none", "c": "full"}
    for part, (colour, _) in styles.items():
        left.plot([], [], color=colour, marker="s", fillstyle=fill[part], linestyle="none", label=part)
    for (network, (period, share)), marker in zip(shares.items(), "os^", strict=False):
        for part, (colour, _) in styles.items():
            dots = {"marker": marker, "markersize": 4, "fillstyle": fill[part], "linestyle": "none"}
            left.plot(period, share[part], color=colour, alpha=0.6, **dots)
        left.plot([], [], color="black", marker=marker, markersize=4, linestyle="none", label=network)
    left.set(xscale="log", ylim=(-0.08, 1.25))
    left.legend(loc="center right", fontsize="small", frameon=False)
    label(left, "samples per period", "clock jumps by (quarter periods)", "exchanged")
    for axes, found in ((middle, frozen), (right, zeroed)):
        for part, (colour, style) in styles.items():
            rows = [np.percentile(values, (10, 50, 90)) for values in found[part]]
            low, mid, high = np.stack(rows, axis=1)
            axes.fill_between(counts, low, high, color=colour, alpha=0.15)
            axes.plot(counts, mid, color=colour, linestyle=style, marker=".", label=part)
    label(middle, "frozen for (samples)", "clock late by (samples)", "frozen", legend=True)
    right.set(xscale="log", yscale="log")
    label(right, "held at zero for (samples)", "clock wrong by (periods)", "zeroed", legend=True)
    return Picture(
        figure,
        "Three operations on h (red) and c (blue). Exchanged with a lane a quarter period ahead: the clock follows c, "
        "the less so the fewer samples a period has. Frozen: with c, the clock is late by the number of samples; with "
        f"h, by less. Held at zero for one sample: wrong by {np.median(zeroed['c'][0]):.1%} of a period in the "
        f"median with c, and by {np.median(zeroed['h'][0]):.1%} with h.",
    )


def unrolled(samples: int = 8, window: int = 4) -> Picture:
    """The loop's graph in time: the state goes forward through all samples, and the gradient back as far as a cut."""
    figure, grid = panels(2, 1, height=1.75, sharex=True)
    for axes, cut in zip(grid, (samples, window), strict=True):
        for t in range(samples):
            axes.add_patch(Rectangle((t + 0.25, 0.7), 0.5, 0.6, facecolor="white", edgecolor="black"))
            axes.text(t + 0.5, 1, "LSTM", ha="center", va="center", fontsize=7)
            axes.annotate("", (t + 0.5, 0.7), (t + 0.5, 0.3), arrowprops={"arrowstyle": "->", "color": GREY})
            axes.text(t + 0.5, 0.25, f"$x_{t + 1}$", ha="center", va="top", fontsize=9)
            axes.annotate("", (t + 0.5, 1.65), (t + 0.5, 1.3), arrowprops={"arrowstyle": "->", "color": GREY})
            axes.text(t + 0.5, 1.68, f"$loss_{t + 1}$", ha="center", va="bottom", fontsize=8)
            forward = {"arrowstyle": "->", "color": BLUE, "linewidth": 2}
            axes.annotate("", (t + 0.25, 1.12), (t - 0.25, 1.12), arrowprops=forward)
            back = {"arrowstyle": "->", "color": RED, "linewidth": 1.5, "linestyle": "--"}
            if t % cut:
                axes.annotate("", (t - 0.25, 0.86), (t + 0.25, 0.86), arrowprops=back)
            elif t:
                axes.plot([t, t], [0.62, 1.0], color="black", linewidth=3)
                axes.text(t, 0.55, "detach", ha="center", va="top", fontsize=8)
        axes.text(-0.3, 1.12, "reset", ha="right", va="center", fontsize=9)
        axes.set(xlim=(-0.8, samples), ylim=(0, 2.05))
        axes.set_axis_off()
        title = (
            "BPTT: the whole sequence is one graph" if cut == samples else f"TBPTT: cut after every {window} samples"
        )
        axes.set_title(title, loc="left")
    lines = [Line2D([], [], color=BLUE, linewidth=2), Line2D([], [], color=RED, linestyle="--")]
    figure.legend(lines, ["state, forward", "gradient, back"], loc="outside upper right", frameon=False, ncols=2)
    return Picture(
        figure,
        f"The graph of {samples} samples, unrolled in time. The state goes from each LSTM step to the next in both "
        "rows. Above, the gradient goes back from the last step to the first. Below, a cut stands after every "
        f"{window} samples: the state passes it, and the gradient does not.",
    )


def listening(carried: Sequence[Array], windowed: Sequence[Array], best: Mapping[int, float]) -> Picture:
    """Error over the samples since a reset, (samples,) per seed, and the best from a window of so many samples."""
    figure, axes = panels(height=2.9)
    for name, courses, colour, style in (
        ("windows of 20, no state", windowed, GREY, "-"),
        ("carried, cut every 20", carried, RED, "-"),
    ):
        for course in courses:
            axes.plot(np.arange(1, len(course) + 1), course, color=colour, linestyle=style, linewidth=1, label=name)
            name = ""
    for (samples, error), style in zip(best.items(), ("--", ":"), strict=False):
        axes.axhline(error, color=BLUE, linestyle=style, label=f"best of any function of {samples} samples")
    axes.set(yscale="log", ylim=(0.025, 1.3))
    label(axes, "samples since the reset", "mean squared error")
    axes.legend(loc="upper right", fontsize="small", frameon=False, ncols=2)
    ends = [f"{np.mean(course[-200:]):.3f}" for course in carried]
    return Picture(
        figure,
        "Mean squared error over the samples since a reset, on a logarithmic axis. With windows of 20 samples and no "
        "state the error falls within a window and starts again in the next. With the state carried and cut every 20 "
        f"samples it goes on falling, to {', '.join(ends)}. Lines: the best that any function of "
        f"{' and '.join(map(str, best))} samples can reach, {' and '.join(f'{error:.2f}' for error in best.values())}.",
    )


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
    the others. How large the largest swing is stands in the title. In either image the units stand in the order of
    the phases at which they follow the sine.
    """
    figure, axes = panels(2, 1, height=2.1, sharex=True)
    seconds = hidden.shape[1] / spec.sample_rate
    for axis, (name, states) in zip(axes, {"hidden state h": hidden, "cell state c": cell}.items(), strict=True):
        values = states[lane].T.numpy()
        values = values - values.mean(axis=1, keepdims=True)
        turns = np.exp(-2j * np.pi * spec.frequencies[lane] * np.arange(values.shape[1]) / spec.sample_rate)
        values = values[np.argsort(np.angle(values @ turns))]
        swing = np.abs(values).max(axis=1, keepdims=True)
        box = (0, seconds, values.shape[0] - 0.5, -0.5)
        image = axis.imshow(values / np.maximum(swing, 1e-9), aspect="auto", cmap="RdBu", vmin=-1, vmax=1, extent=box)
        axis.grid(visible=False)
        figure.colorbar(image, ax=axis, label=f"{name[-1]} / its largest swing")
        title = f"{name}, {spec.names[lane]}; largest swing {swing.max():.2g}"
        label(axis, "time (s)" if axis is axes[1] else "", "unit, by phase", title)
    return Picture(
        figure,
        f"Images of all {hidden.shape[2]} units over {seconds:g} s at the selector of {spec.names[lane]}, "
        "each in units of its own largest swing. After a short start the units repeat the same stripes with the period "
        "of the sine, each at a phase of its own; the rows are in the order of these phases.",
    )


def gradient_reaches(reaches: Mapping[str, Array]) -> Picture:
    """How far back the last output's gradient reaches under each policy; arrays (samples,)."""
    figure, axes = panels(height=2.8)
    for (name, norms), style in zip(reaches.items(), cycle(("-", "--", ":", "-.")), strict=False):
        back = np.arange(-len(norms), 0)
        words = name if norms.any() else f"{name}: 0 everywhere"
        axes.plot(back[norms > 0], norms[norms > 0], linestyle=style, linewidth=2, label=words)
        if "detach" in name:  # it lies on the line without a cut
            axes.get_lines()[-1].set(linestyle="-", linewidth=7, alpha=0.4)
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
        "cut, the norm rises and falls with the sine and does not fade if the last output is on a slope; if it is "
        "at a peak, the norm is smaller and fades. In the untrained network it fades within some tens of samples.",
    )


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


def orbit(states: Tensor) -> Array:
    """States of one lane (samples, hidden_size) along their two leading principal components: (samples, 2)."""
    centred = (states - states.mean(dim=0)).double().numpy()
    directions = np.linalg.svd(centred, full_matrices=False)[2]
    return centred @ directions[:2].T


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
