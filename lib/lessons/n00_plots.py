"""Notebook 00: the figure of how notebooks, library and data belong together."""

from __future__ import annotations

from matplotlib.patches import FancyBboxPatch

from lib.lessons.figures import BLUE, GREEN, ORANGE, PURPLE, Picture, panels

WIDTH, HEIGHT = 2.1, 0.74
ROWS = {"data": (BLUE, 3), "lib/": (GREEN, 2), "notebooks/": (PURPLE, 1), "for readers": (ORANGE, 0)}
# name: (row, column, what it is)
BOXES: dict[str, tuple[str, int, str]] = {
    "noise seed": ("data", 0, "one whole number"),
    "S(t), selector": ("data", 1, "40,000 rows, in order"),
    "checkpoint": ("data", 2, "weights, and the stage"),
    "metrics, figures": ("data", 3, "JSON; PNG, PDF, SVG"),
    "signals, loader": ("lib/", 0, "draws, mixes, keeps order"),
    "model": ("lib/", 1, "carry, reset, detach"),
    "recipe, training": ("lib/", 2, "the horizon grows"),
    "evaluation": ("lib/", 3, "one sample at a time"),
    "01 signals": ("notebooks/", 0, "what S can tell"),
    "02 state": ("notebooks/", 1, "what the state does"),
    "03 training": ("notebooks/", 2, "how it learns"),
    "04 to 09 evaluation": ("notebooks/", 3, "how good, why, and beyond"),
    "JupyterLab": ("for readers", 0, "step through it"),
    "papermill": ("for readers", 1, "one run or hundreds"),
    "00 assignment": ("for readers", 2, "requirements, questions"),
    "site, booklet": ("for readers", 3, "nothing to install"),
}
FLOWS = [
    ("noise seed", "signals, loader"),
    ("signals, loader", "S(t), selector"),
    ("S(t), selector", "model"),
    ("recipe, training", "checkpoint"),
    ("model", "recipe, training"),
    ("checkpoint", "evaluation"),
    ("evaluation", "metrics, figures"),
    ("signals, loader", "01 signals"),
    ("model", "02 state"),
    ("recipe, training", "03 training"),
    ("evaluation", "04 to 09 evaluation"),
]


def overview() -> Picture:
    """Notebooks, library and data flow: a row each for data, library, notebooks, and what readers open."""
    figure, axes = panels(height=4.3)
    centres = {}
    for name, (row, column, text) in BOXES.items():
        colour, line = ROWS[row]
        x, y = 2.6 * column, 1.25 * line
        centres[name] = x, y
        axes.add_patch(
            FancyBboxPatch(
                (x - WIDTH / 2, y - HEIGHT / 2), WIDTH, HEIGHT, boxstyle="round,pad=0.02,rounding_size=0.08",
                facecolor="white", edgecolor=colour, linewidth=1.6,
            )
        )  # fmt: skip
        axes.text(x, y + 0.13, name, ha="center", va="center", fontweight="bold", fontsize=9, color=colour)
        axes.text(x, y - 0.18, text, ha="center", va="center", fontsize=7.5)
    arrow = {"arrowstyle": "-|>", "color": "#555555", "linewidth": 1.1, "shrinkA": 2, "shrinkB": 2}
    for source, target in FLOWS:
        (x0, y0), (x1, y1) = centres[source], centres[target]
        side = (x1 > x0) - (x1 < x0)
        up = (y1 > y0) - (y1 < y0)
        out, half = (0.7 if up else WIDTH / 2) * side, up * HEIGHT / 2
        start, end = (x0 + out, y0 + half), (x1 - out, y1 - half)
        axes.annotate("", xy=end, xytext=start, arrowprops=arrow)
    left, right = centres["01 signals"], centres["04 to 09 evaluation"]
    bus = (left[1] + centres["JupyterLab"][1]) / 2  # every notebook goes to every reader
    axes.plot([left[0], right[0]], [bus, bus], color="#555555", linewidth=1.1, linestyle="-")
    for name, (row, _, _) in BOXES.items():
        x, y = centres[name]
        if row == "notebooks/":
            axes.plot([x, x], [y - HEIGHT / 2 - 0.05, bus], color="#555555", linewidth=1.1, linestyle="-")
        if row == "for readers":
            axes.annotate("", xy=(x, y + HEIGHT / 2), xytext=(x, bus), arrowprops=arrow | {"shrinkA": 0})
    for name, (colour, line) in ROWS.items():
        axes.text(-1.25, 1.25 * line, name, rotation=90, ha="center", va="center", fontsize=9, color=colour)
    axes.set(xlim=(-1.45, 8.95), ylim=(-0.5, 4.25))
    axes.set_axis_off()
    return Picture(
        figure,
        "How the parts belong together, in four rows. A noise seed makes, through the modules signals and loader, the "
        "rows of S and selector; the model is trained on them by recipe and training into a checkpoint; evaluation "
        "turns that into metrics and figures. Below each of these modules stands the notebook that explains it. All "
        "notebooks feed the bottom row, what readers open: JupyterLab, papermill, notebook 0, and site and booklet.",
    )
