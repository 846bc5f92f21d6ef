"""Notebooks 01, 02, 04, 07: figures that a script brings to life, and what is seen where scripts do not run."""

from __future__ import annotations

import html
import json
from typing import Any

from IPython.display import HTML

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
