"""Notebook 02: figures of the small task, of the loop's edits, and of operations on h and c."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from lib.lessons.figures import BLUE, GREY, RED, Picture, label, panels
from lib.lessons.n02_loop import Outcome
from lib.signals import Array


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
    for (network, (period, share)), marker in zip(shares.items(), "os^", strict=False):
        for part, (colour, _) in styles.items():
            left.plot(period, share[part], color=colour, marker=marker, markersize=4, linestyle="none", alpha=0.6)
        left.plot([], [], color="black", marker=marker, markersize=4, linestyle="none", label=network)
    left.set(xscale="log", ylim=(-0.08, 1.25))
    left.legend(loc="center right", fontsize="small", frameon=False)
    label(left, "samples per period", "clock jumps by (quarter periods)", "exchanged")
    for axes, found in ((middle, frozen), (right, zeroed)):
        for part, (colour, style) in styles.items():
            rows = [np.percentile(values, (0, 50, 100)) for values in found[part]]
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
