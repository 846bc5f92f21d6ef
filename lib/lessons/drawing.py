"""Notebook 02: the state stepper as a picture, in HTML and SVG, because a step must answer at once."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Sequence

import numpy as np
from matplotlib.image import imsave

from lib.lessons.figures import BLUE, GREY, RED
from lib.lessons.scripted import PAPER
from lib.lessons.stepper import Stepper
from lib.signals import Array

WINDOW = 200  # samples shown
STRIP = 60  # samples of the state shown
SVG = re.compile(r'<svg [^>]*aria-label="([^"]*)" (width="\d+" height="\d+").*?</svg>')


def stepper_html(stepper: Stepper, unit: int = 0) -> str:
    """What there is to see now: signals, gates of one unit, all states, orbit, gradient chain, and a sentence.

    Args:
        stepper: the walk.
        unit: which unit's gates to show in numbers.

    Raises:
        ValueError: there is no such unit.
    """
    size = stepper.model.config.hidden_size
    if not 0 <= unit < size:
        raise ValueError(f"unit = {unit}: must be between 0 and {size - 1}")
    now = stepper.snapshot
    name = stepper.dataset.spec.names[now.frequency]
    facts = f"{name} · step {now.step} · gradient chain {now.chain} · memory held {now.held / 1e3:,.0f} kB · " + (
        "no output yet" if not now.step else f"MSE so far {now.mse:.1e}"
    )
    return (
        f'<figure style="{PAPER};max-width:760px">'
        f'<p aria-live="polite" data-message><b>{html.escape(now.message)}</b><br>'
        f'<span data-step="{now.step}" data-chain="{now.chain}" data-held="{now.held}" '
        f'data-mse="{now.mse:.6e}">{facts}</span></p>'
        f'<div style="display:flex;flex-wrap:wrap;gap:8px">{_signals(stepper)}{_orbit(stepper)}'
        f"{_strips(stepper)}{_chain(stepper)}</div>{_gates(stepper, unit)}</figure>"
    )


def still(page: str) -> str:
    """The same HTML with every inline SVG as an image: JupyterLab drops inline SVG from notebooks it does not trust."""

    def image(found: re.Match[str]) -> str:
        data = base64.b64encode(found[0].encode()).decode()
        return f'<img alt="{found[1]}" {found[2]} src="data:image/svg+xml;base64,{data}">'

    return SVG.sub(image, page)


def _svg(width: int, height: int, title: str, alt: str, content: str) -> str:
    heading = f'<text x="4" y="13" font-size="12" font-weight="bold" fill="#111">{html.escape(title)}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{html.escape(alt)}" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" font-family="sans-serif">'
        f'<rect width="{width}" height="{height}" fill="#fff" stroke="#ccc"/>{heading}{content}</svg>'
    )


def _line(x: Array, y: Array, box: tuple[float, float, float, float], colour: str, width: float = 1.5) -> str:
    """A polyline; x and y between 0 and 1 inside ``box`` (left, top, width, height), y upwards."""
    left, top, wide, height = box
    points = " ".join(f"{left + wide * a:.1f},{top + height * (1 - b):.1f}" for a, b in zip(x, y, strict=True))
    opacity = 0.45 if width > 2 else 1
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}" opacity="{opacity}"/>'


def _signals(stepper: Stepper) -> str:
    box = (30, 22, 400, 150)
    content = ""
    series: list[tuple[Sequence[float], str, str, float]] = [
        (stepper.signal, GREY, "S", 1),
        (stepper.target, BLUE, "target", 5),
        (stepper.output, RED, "output", 1.5),
    ]
    for k, (values, colour, name, width) in enumerate(series):
        shown = np.clip((np.array(values[-WINDOW:]) + 1.3) / 2.6, 0, 1)
        content += _line(np.arange(len(shown)) / WINDOW, shown, box, colour, width)
        content += f'<text x="{300 + 45 * k}" y="13" font-size="12" fill="{colour if k else "#666"}">{name}</text>'
    for value in (-1, 0, 1):
        y = box[1] + box[3] * (1 - (value + 1.3) / 2.6)
        content += f'<text x="4" y="{y + 4:.0f}" font-size="11" fill="#444">{value:+d}</text>'
        content += f'<line x1="30" x2="430" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
    alt = f"The last {min(len(stepper.output), WINDOW)} samples: noisy input S in grey, target in blue, output in red."
    return _svg(440, 180, f"last {WINDOW} samples", alt, content)


def _orbit(stepper: Stepper) -> str:
    path = (np.array(stepper.hidden[-1000:]).reshape(-1, len(stepper.centre)) - stepper.centre) @ stepper.directions
    content = ""
    if len(path):
        scaled = np.clip((path / stepper.scale + 1) / 2, 0, 1)
        content = _line(scaled[:, 0], scaled[:, 1], (10, 20, 150, 150), BLUE)
        x, y = 10 + 150 * scaled[-1, 0], 20 + 150 * (1 - scaled[-1, 1])
        content += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{RED}"/>'
    alt = "The path of the hidden state in its two leading directions; a dot marks where it is now."
    return _svg(180, 180, "orbit of h", alt, content)


def _strips(stepper: Stepper) -> str:
    content = ""
    for k, (name, states) in enumerate((("h", stepper.hidden), ("c", stepper.cell))):
        image = np.full((len(stepper.centre), STRIP), np.nan)
        recent = np.array(states[-STRIP:]).T
        if recent.size:
            image[:, : recent.shape[1]] = recent / max(1e-9, float(np.abs(recent).max()))
        buffer = io.BytesIO()
        imsave(buffer, image, cmap="RdBu", vmin=-1, vmax=1, format="png", origin="upper", dpi=100)
        data = base64.b64encode(buffer.getvalue()).decode()
        content += f'<text x="{4 + 215 * k}" y="30" font-size="12" fill="#111">{name}</text>'
        content += (
            f'<image x="{18 + 215 * k}" y="20" width="195" height="110" preserveAspectRatio="none" '
            f'style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>'
        )
    alt = f"Hidden and cell state of every unit, a row each, over the last {STRIP} samples; blue above zero, red below."
    return _svg(440, 136, f"all units, last {STRIP} samples", alt, content)


def _chain(stepper: Stepper) -> str:
    now = stepper.snapshot
    bar = 160 * min(1.0, now.chain / WINDOW)
    content = (
        f'<rect x="10" y="26" width="{bar:.1f}" height="16" fill="{BLUE}"/>'
        f'<text x="10" y="58" font-size="12" fill="#111">{now.chain} steps back</text>'
    )
    if len(now.reach):
        heights = now.reach / max(1e-12, float(now.reach.max()))
        content += _line(np.linspace(0, 1, len(heights)), heights, (10, 70, 160, 46), RED)
        content += '<text x="10" y="130" font-size="11" fill="#444">gradient, from old to new</text>'
    alt = f"A gradient can travel {now.chain} steps back." + (
        f" After the backward pass: its norm at {len(now.reach)} states." if len(now.reach) else ""
    )
    return _svg(180, 136, "gradient chain", alt, content)


def _gates(stepper: Stepper, unit: int) -> str:
    gates = stepper.snapshot.gates
    if gates is None:
        return "<p>The state is None: no gates to show before the next step.</p>"
    i, f, g, o, c, h = (float(part[0, unit]) for part in gates)
    before = (c - i * g) / f if f else 0.0
    return (
        '<p style="font-family:monospace;margin:6px 0">'
        f"unit {unit}: i = {i:.3f}, f = {f:.3f}, g = {g:+.3f}, o = {o:.3f}<br>"
        f"c = f·c + i·g = {f:.3f}·({before:+.3f}) + {i:.3f}·({g:+.3f}) = <b>{c:+.3f}</b><br>"
        f"h = o·tanh(c) = {o:.3f}·({np.tanh(c):+.3f}) = <b>{h:+.3f}</b></p>"
    )
