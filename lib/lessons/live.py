"""Notebooks 02 and 07: figures that run a network in the page itself, in JavaScript; what they share."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from IPython.display import HTML
from torch import Tensor, nn

from lib.lessons.widgets import scripted
from lib.model import StatefulLSTMExtractor


def live_figure(
    name: str,
    still: str,
    title: str,
    aim: str,
    content: dict[str, Any],
    stage: str,
    actions: Mapping[str, str],
    controls: Mapping[str, Any],
    script: str,
) -> HTML:
    """A figure that its script runs: see `scripted`.

    Args:
        name: an identity within the page: letters, digits and ``-``.
        still: HTML of the picture that stands there without a script.
        title: what the picture shows, as text.
        aim: what the reader can do when the script runs.
        content: handed to the script as ``data``.
        stage: HTML of controls and canvas; a template for ``{buttons}`` and the ``controls``.
        actions: what each button does, for the script, and what it says.
        controls: fill the template.
        script: file name of the script; ``live_common.js`` comes before it.
    """
    buttons = " ".join(f'<button type="button" data-act="{act}">{text}</button>' for act, text in actions.items())
    content = content | {"stage": stage.format(buttons=buttons, **controls)}
    parts = [Path(__file__).with_name(part).read_text(encoding="utf-8") for part in ("live_common.js", script)]
    return scripted("live", name, f"<div data-still>{still}</div>", title, aim, content, "".join(parts))


def floats(tensor: Tensor) -> str:
    """The numbers as base64 of little-endian float32."""
    return base64.b64encode(tensor.detach().numpy().astype("<f4").tobytes()).decode()


def packed(model: StatefulLSTMExtractor) -> dict[str, Any]:
    """The network as its script takes it.

    Raises:
        ValueError: the model has more than one layer, a normalization, or no layer before the output.
    """
    shape = model.config
    if shape.num_layers != 1 or shape.input_norm or shape.output_norm or not shape.head_size:
        raise ValueError(f"model = {shape}: must have one layer, no normalization, and a head")
    lstm = dict(model.lstm.named_parameters())
    first, last = (layer for layer in model.head if isinstance(layer, nn.Linear))
    tensors: dict[str, Tensor] = {part: lstm[f"{part}_l0"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    tensors |= {"head_weight": first.weight, "head_bias": first.bias}
    tensors |= {"out_weight": last.weight, "out_bias": last.bias}
    weights = {part: floats(tensor) for part, tensor in tensors.items()}
    return {"hidden": shape.hidden_size, "activation": shape.activation, "weights": weights}


def options(names: Iterable[str], selected: int = 0) -> str:
    """What a menu holds, as HTML; the values are counted from 0."""
    return "".join(
        f'<option value="{k}"{" selected" if k == selected else ""}>{html.escape(name)}</option>'
        for k, name in enumerate(names)
    )
