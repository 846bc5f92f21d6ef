"""The state stepper without a kernel: the network's own weights and its step in JavaScript, as one piece of HTML."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path

import numpy as np
from IPython.display import HTML
from torch import Tensor

from lib.lessons.instruments import saved_bytes
from lib.lessons.stepper import Stepper
from lib.loader import FrequencyDataset
from lib.model import StatefulLSTMExtractor

SCRIPT = Path(__file__).with_name("live.js")
ACTIONS = {"step": "Step", "run": "Run 50", "play": "Play / Pause", "reset": "Reset", "detach": "Detach"}


def live_stepper(model: StatefulLSTMExtractor, dataset: FrequencyDataset, name: str = "live") -> HTML:
    """A stepper that runs in the page itself, in JupyterLab and in any browser, offline.

    Args:
        model: one layer, no normalization, and a tanh layer before the output.
        dataset: gives S(t) and the frequencies.
        name: an identity within the page: letters, digits and ``-``.

    Raises:
        ValueError: the model is of another shape, or the name has other characters.
    """
    shape = model.config
    if shape.num_layers != 1 or shape.output_norm or not shape.head_size or shape.activation != "tanh":
        raise ValueError(f"model = {shape}: must have one layer, no output_norm, a head, and activation = 'tanh'")
    if not name.replace("-", "").isalnum():
        raise ValueError(f"name = {name!r}: must consist of letters, digits and '-'")
    walk = Stepper(model, dataset)  # knows the leading directions of the orbit
    lstm, head = dict(model.lstm.named_parameters()), dict(model.head.named_parameters())
    tensors = {part: lstm[f"{part}_l0"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    tensors |= {"head_weight": head["0.weight"], "head_bias": head["0.bias"]}
    tensors |= {"out_weight": head["2.weight"], "out_bias": head["2.bias"]}
    two = saved_bytes(lambda: [walk.model(x[None].clone()) for x in dataset.inputs[0, :2]])
    walk.model.reset_state()
    three = saved_bytes(lambda: [walk.model(x[None].clone()) for x in dataset.inputs[0, :3]])
    content = {
        "hidden": shape.hidden_size,
        "frequencies": dataset.spec.frequencies,
        "rate": dataset.spec.sample_rate,
        "weights": {part: _text(tensor) for part, tensor in tensors.items()},
        "signal": _text(dataset.inputs[0, :, 0]),
        "centre": np.round(walk.centre, 5).tolist(),
        "directions": np.round(walk.directions, 5).tolist(),
        "scale": walk.scale,
        "bytes": three - two,
    }
    buttons = " ".join(f'<button type="button" data-act="{act}">{text}</button>' for act, text in ACTIONS.items())
    options = "".join(
        f'<option value="{i}"{" selected" if i == 1 % dataset.spec.n_frequencies else ""}>{html.escape(text)}</option>'
        for text, i in dataset.spec.choices
    )
    return HTML(
        f'<figure data-live="{name}" '
        'style="margin:0;max-width:620px;font:14px sans-serif;color:#111;background:#fff;padding:8px">'
        f"<div>{buttons} <label>selector <select>{options}</select></label></div>"
        '<canvas width="580" height="180" role="img" style="max-width:100%" aria-label="Left: the last samples, input '
        'in grey, target in light blue, output in red. Right: the orbit of the hidden state."></canvas>'
        '<figcaption aria-live="polite" data-say></figcaption>'
        f'<script type="application/json">{json.dumps(content)}</script>'
        f"<script>{SCRIPT.read_text(encoding='utf-8').replace('NAME', name)}</script></figure>"
    )


def _text(tensor: Tensor) -> str:
    """The numbers as base64 of little-endian float32."""
    return base64.b64encode(tensor.detach().numpy().astype("<f4").tobytes()).decode()
