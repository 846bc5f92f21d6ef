"""All notebooks: one style for figures; palette, labels with units, files, and a text that says what is shown."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any, NamedTuple

from cycler import cycler
from IPython.display import display
from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.checkpoint import write_atomically

log = logging.getLogger(__name__)

BLUE, RED, GREY, GREEN, ORANGE, PURPLE = "#0060A8", "#C8102E", "#A6A6A6", "#00795C", "#B85C00", "#6B3FA0"
LINES = (BLUE, RED, GREEN, PURPLE)
STYLE: Any = {
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=LINES, linestyle=["-", "--", "-.", ":"]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "font.size": 10,
    "grid.color": "#DDDDDD",
    "pdf.fonttype": 42,
    "savefig.facecolor": "white",
    "svg.hashsalt": "one sample at a time",  # else its identities differ from run to run
}
FILES: dict[str, dict[str, Any]] = {
    "png": {"dpi": 300, "metadata": {"Software": None}},
    "pdf": {"metadata": {"CreationDate": None}},
    "svg": {"metadata": {"Date": None}},
}


class Picture(NamedTuple):
    """A figure and what it shows.

    Attributes:
        figure: the drawing.
        alt: its alternative text: what it shows, for readers who cannot see it.
    """

    figure: Figure
    alt: str


def panels(
    rows: int = 1,
    columns: int = 1,
    height: float = 3.0,
    *,
    sharex: bool = False,
    sharey: bool = False,
    width: float = 8,
) -> tuple[Figure, Any]:
    """A figure ``width`` inches wide, each row ``height`` inches high, and its axes; for no window, so without pyplot.

    From here on this process draws in the project's style, whatever style, ``matplotlibrc`` or backend its reader has.
    """
    style.use(["default", STYLE])
    figure = Figure(figsize=(width, height * rows))
    return figure, figure.subplots(rows, columns, sharex=sharex, sharey=sharey)


def label(axes: Axes, x: str, y: str, title: str = "", *, legend: bool = False) -> None:
    """Label an axis pair, units included; the title goes above on the left, the legend above on the right."""
    axes.set(xlabel=x, ylabel=y)
    axes.set_title(title, loc="left")
    if legend:
        legend_above(axes)


def legend_above(axes: Axes, handles: list[Artist] | None = None) -> None:
    """A legend in one line above the axes on the right, where it covers no data."""
    place: Any = {"loc": "lower right", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0.1}
    shown = handles or axes.get_legend_handles_labels()[0]
    axes.legend(handles=shown, ncols=5, fontsize="small", frameon=False, **place)


def show(picture: Picture, name: str, run_dir: str = "") -> None:
    """Show a figure with its alternative text, and keep it if there is a run folder.

    Args:
        picture: what to show.
        name: file name without ending.
        run_dir: folder of the run; ``figures/<name>.png`` (300 dpi), ``.pdf``, ``.svg`` and ``.txt`` (the alternative
            text) are written there. Empty: nothing is written.
    """
    figure, alt = picture.figure, " ".join(picture.alt.split())
    if not alt:
        raise ValueError(f"alt = {picture.alt!r}: must say what the figure {name!r} shows")
    if run_dir:
        folder = Path(run_dir) / "figures"
        for kind, options in FILES.items():
            write_atomically(folder / f"{name}.{kind}", render(figure, kind, **options))
        write_atomically(folder / f"{name}.txt", (alt + "\n").encode())
        log.info("figure %s written", name)
    width, height = figure.get_size_inches() * 96
    rendered = render(figure, **FILES["png"] | {"dpi": 150})
    display(
        {"image/png": rendered, "text/plain": f"Figure: {alt}"},
        raw=True,
        metadata={"image/png": {"alt": alt, "name": name, "width": round(width), "height": round(height)}},
    )


def render(figure: Figure, kind: str = "png", **options: Any) -> bytes:
    """A figure as the content of a file of one of the `FILES`, in the project's style."""
    buffer = io.BytesIO()
    with style.context(["default", STYLE]):
        figure.savefig(buffer, format=kind, **options)
    return buffer.getvalue()
