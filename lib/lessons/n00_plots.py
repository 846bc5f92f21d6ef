"""Notebook 00: the figure of how library, data and notebooks belong together."""

from __future__ import annotations

from typing import Any

from matplotlib.patches import FancyBboxPatch

from lib.lessons.figures import GREEN, PURPLE, Picture, panels

# Modules of `lib`: what they do, what they hand on to the next, and the notebook about them.
MODULES = {
    "signals, loader": ("draw, mix, and\nkeep the order", "rows", "01\nSignal generation"),
    "model": ("carry the state,\nreset, detach", "outputs", "02\nState management"),
    "recipe, training": ("the horizon grows,\nthe weights follow", "weights", "03\nTraining"),
    "evaluation": ("one by one,\non new noise", "metrics", "04 to 09\nhow good, why"),
}
WIDTH, GAP = 2.0, 0.75


def overview() -> Picture:
    """The modules in the order in which data goes through them, and below each the notebook about it."""
    figure, axes = panels(height=2.3)
    arrow: Any = {"arrowstyle": "-|>", "color": "#555555", "linewidth": 1.4}
    for column, (name, (task, handed_on, notebook)) in enumerate(MODULES.items()):
        x = column * (WIDTH + GAP)
        for y, height, colour in ((1.2, 1.0, GREEN), (0.2, 0.7, PURPLE)):
            shape = "round,pad=0,rounding_size=0.08"
            axes.add_patch(FancyBboxPatch((x, y), WIDTH, height, shape, fc="white", ec=colour, linewidth=1.6))
        centre: Any = {"ha": "center", "va": "center"}
        axes.text(x + WIDTH / 2, 1.98, name, fontweight="bold", fontsize=9, color=GREEN, **centre)
        axes.text(x + WIDTH / 2, 1.54, task, fontsize=7.5, **centre)
        axes.text(x + WIDTH / 2, 0.55, notebook, fontsize=8.5, color=PURPLE, **centre)
        axes.annotate("", (x + WIDTH + GAP, 1.7), (x + WIDTH, 1.7), arrowprops=arrow)
        axes.text(x + WIDTH + GAP / 2, 1.83, handed_on, fontsize=8, ha="center")
    axes.annotate("", (0, 1.7), (-GAP, 1.7), arrowprops=arrow)
    axes.text(-GAP / 2, 1.83, "seed", fontsize=8, ha="center")
    for y, words, colour in ((1.7, "lib/", GREEN), (0.55, "notebooks/", PURPLE)):
        axes.text(-GAP - 0.25, y, words, rotation=90, ha="center", va="center", fontsize=9, color=colour)
    axes.set(xlim=(-1.35, 4 * (WIDTH + GAP) + 0.1), ylim=(0.1, 2.3))
    axes.set_axis_off()
    parts = "; ".join(f"{name} ({text.replace(chr(10), ' ')})" for name, (text, *_) in MODULES.items())
    return Picture(
        figure,
        f"The modules of the library in a row, joined by arrows that say what is handed on: a noise seed goes into the "
        f"first, and rows, outputs, weights and metrics come out one after the other. They are {parts}. Below each "
        "stands the notebook about it: 01 to 03, and 04 to 09 below evaluation.",
    )
