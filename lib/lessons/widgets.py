"""Notebooks 01, 02, 04, 07: widgets, and figures that a script brings to life; what is seen where neither runs."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
from IPython.display import HTML

from lib.lessons.figures import FILES, Picture, render

# Ink and paper always together: a page that sets its own dark paper must not get the dark ink alone.
PAPER = "margin:0;padding:8px;font:14px sans-serif;color:#111;background:#fff;color-scheme:light"
TRUST = "or trust this notebook (JupyterLab: View, Activate Command Palette, Trust Notebook)"
FIGURE = """<figure data-{kind}="{name}" style="{paper}"><p data-hint><b>{title}</b><br>{hint}</p>
{still}
<script type="application/json">{content}</script>
<script>document.querySelectorAll('[data-{kind}="{name}"]:not([data-ready])').forEach(root => {{
const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
root.dataset.ready = "";
{script}
}})</script></figure>"""
WITHOUT_KERNEL = "<p>The controls need a running kernel: run this cell, after all cells above it.</p>"


class Explorer(widgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Sliders and menus above the picture that a function returns; moving one calls it once, when it is let go.

    Attributes:
        controls: the sliders and menus, by the function's arguments.
        drawing: the HTML shown.
        errors: every exception that a control has caused; `check` raises the first.
    """

    def __init__(self, function: Callable[..., Picture], controls: Mapping[str, widgets.ValueWidget]) -> None:
        """Build the explorer and draw it.

        Args:
            function: called with one keyword argument per control.
            controls: a widget per argument; ``continuous_update`` is switched off where there is such a thing.
        """
        self.function, self.controls, self.drawing = function, dict(controls), widgets.HTML()
        self.errors: list[Exception] = []
        box = widgets.HBox(list(controls.values()), layout=widgets.Layout(flex_flow="row wrap"))
        super().__init__([box, self.drawing])
        for control in controls.values():
            if control.has_trait("continuous_update"):
                control.continuous_update = False
            control.observe(lambda _change: self.draw(), names="value")
        self.draw()

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """What the notebook keeps: the widget, and a sentence for those who open it without a kernel."""
        return {**super()._repr_mimebundle_(**options), "text/html": WITHOUT_KERNEL}

    def draw(self) -> None:
        """Show the picture, or what went wrong: an exception in a callback would be lost otherwise."""
        try:
            picture = self.function(**{name: control.value for name, control in self.controls.items()})
            self.drawing.value = picture_html(picture)
        except Exception as error:
            self.errors.append(error)
            text = html.escape(f"{type(error).__name__}: {error}")
            self.drawing.value = f'<p role="alert" style="{PAPER};color:#A00000"><b>{text}</b></p>'

    def check(self) -> None:
        """Raise the first exception that a control has caused, so that a cell, and with it the checks, fails."""
        if self.errors:
            raise self.errors[0]


def picture_html(picture: Picture) -> str:
    """A picture as an HTML image with its alternative text."""
    data = base64.b64encode(render(picture.figure, **FILES["png"] | {"dpi": 90})).decode()
    return f'<img alt="{html.escape(" ".join(picture.alt.split()))}" src="data:image/png;base64,{data}">'


CONTROLS = """<div><button type="button" data-by="-1">Back</button> <button type="button" data-by="1">Forward</button>
<label> {label} <input type="range" min="0" max="{last}" aria-label="{label}"></label> <output></output></div>"""
SCRIPT = """const shown = root.querySelector("[data-frame]");
const frames = data.frames.map((html, k) => {
  const frame = k === data.start ? shown : document.createElement("div");
  frame.dataset.frame = data.names[k];
  if (html !== null) frame.innerHTML = html;
  return frame;
});
shown.replaceWith(...frames);
root.querySelector("[data-hint]").outerHTML = data.controls;
const slider = root.querySelector("input"), now = root.querySelector("output");
const go = n => {
  slider.value = Math.max(0, Math.min(frames.length - 1, n));
  frames.forEach((frame, k) => frame.hidden = k !== +slider.value);
  now.textContent = data.names[+slider.value];
};
slider.addEventListener("input", () => go(+slider.value));
root.querySelectorAll("button").forEach(b => b.addEventListener("click", () => go(+slider.value + +b.dataset.by)));
go(data.start);"""


def film(
    frames: Sequence[str], name: str, label: str = "frame", start: int = 0, names: Sequence[str] | None = None
) -> HTML:
    """Frames of HTML that can be stepped through without a kernel and without a network; one of them without a script.

    Args:
        frames: HTML of each frame, without inline SVG.
        name: an identity within the page: letters, digits and ``-``.
        label: what the slider steps through.
        start: index of the frame to show first.
        names: what to call each frame; by default they are counted.

    Raises:
        ValueError: there is no frame to start with, or not a name for each frame, or the name has other characters.
    """
    if not 0 <= start < len(frames):
        raise ValueError(f"start = {start}: must be between 0 and {len(frames) - 1}, one of the {len(frames)} frames")
    names = list(names or [f"{k} / {len(frames)}" for k in range(1, len(frames) + 1)])
    if len(names) != len(frames):
        raise ValueError(f"names = {names}: must be {len(frames)}, one for each frame")
    content = {
        "controls": CONTROLS.format(label=html.escape(label), last=len(frames) - 1),
        "frames": [None if k == start else frame for k, frame in enumerate(frames)],
        "names": names,
        "start": start,
    }
    picture = f'<div data-frame="{html.escape(names[start])}">{frames[start]}</div>'
    aim = f"step through all {len(frames)} of them"
    return scripted("film", name, picture, f"{label} {names[start]}", aim, content, SCRIPT)


def scripted(kind: str, name: str, still: str, title: str, aim: str, content: dict[str, Any], script: str) -> HTML:
    """A figure whose HTML holds one picture and one sentence; all the rest is added by its script.

    A notebook that is not trusted, GitHub and a browser without JavaScript drop scripts, and JupyterLab's sanitizer
    also drops inline SVG, ``<template>`` and ``data-`` attributes. So what only a script can use is kept inside a
    script element: every one of them drops it whole.

    Args:
        kind: what the figure is, such as ``"film"``; the script finds it by the attribute ``data-<kind>``.
        name: an identity within the page: letters, digits and ``-``.
        still: HTML of the picture, without inline SVG.
        title: what the picture shows, as text.
        aim: what the reader can do when the script runs, such as ``"use the buttons"``.
        content: handed to the script as ``data``; what JSON can hold.
        script: JavaScript; knows ``root``, the figure, and ``data``. It has to replace the paragraph ``[data-hint]``.

    Raises:
        ValueError: the name has other characters.
    """
    if not name.replace("-", "").isalnum():
        raise ValueError(f"name = {name!r}: must consist of letters, digits and '-'")
    hint = f"This is a still picture. To {aim}, run this cell {TRUST}. On a web page: allow JavaScript."
    return HTML(
        FIGURE.format(
            kind=kind,
            name=name,
            paper=PAPER,
            title=html.escape(title),
            hint=hint,
            still=still,
            content=json.dumps(content).replace("<", "\\u003c"),  # no "</script>" may end it early
            script=script,
        )
    )
