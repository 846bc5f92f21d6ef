"""Notebook 02: the state stepper without a kernel, the network's own weights and its step in JavaScript."""

from __future__ import annotations

import base64
import html
from pathlib import Path

import numpy as np
from IPython.display import HTML
from torch import Tensor

from lib.lessons.drawing import stepper_html, still
from lib.lessons.instruments import record_states, saved_bytes
from lib.lessons.scripted import scripted
from lib.lessons.stepper import Stepper
from lib.loader import FrequencyDataset
from lib.model import StatefulLSTMExtractor

SCRIPT = Path(__file__).with_name("live.js")
ENTERED = 250  # samples seen before the reader does anything, so that a page at rest and a print show something
STAGE = """<div>{buttons} <label>selector <select>{options}</select></label>
<label>unit <input type="number" min="0" max="{last}" value="{unit}" style="width:4em"></label></div>
<canvas width="1680" height="880" role="img" style="width:840px;max-width:100%" aria-label="Above: the last samples, \
input in grey, target in light blue, output in red; beside them the orbit of the hidden state. Below: the gradient \
chain, all units of h and of c over the last samples, and the gates of one unit."></canvas>
<figcaption aria-live="polite" data-say></figcaption>"""
ACTIONS = {"step": "Step", "run": "Run 50", "play": "Play / Pause", "reset": "Reset", "detach": "Detach"}
ACTIONS |= {"zero_h": "Zero h", "zero_c": "Zero c"}


def live_stepper(model: StatefulLSTMExtractor, dataset: FrequencyDataset, name: str = "live", unit: int = 0) -> HTML:
    """A stepper that runs in the page itself, in JupyterLab and in any browser, offline; one picture without a script.

    Args:
        model: one layer, no normalization, and a layer before the output.
        dataset: gives S(t) and the frequencies.
        name: an identity within the page: letters, digits and ``-``.
        unit: whose gates are shown at first.

    Raises:
        ValueError: the model is of another shape, or the name has other characters.
    """
    shape = model.config
    if shape.num_layers != 1 or shape.output_norm or not shape.head_size:
        raise ValueError(f"model = {shape}: must have one layer, no output_norm, and a head")
    walk = Stepper(model, dataset, sequence_length=dataset.spec.n_samples)  # knows the leading directions of the orbit
    lstm, head = dict(model.lstm.named_parameters()), dict(model.head.named_parameters())
    tensors = {part: lstm[f"{part}_l0"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    tensors |= {"head_weight": head["0.weight"], "head_bias": head["0.bias"]}
    tensors |= {"out_weight": head["2.weight"], "out_bias": head["2.bias"]}
    two = saved_bytes(lambda: [walk.model(x[None].clone()) for x in dataset.inputs[0, :2]])
    walk.model.reset_state()
    three = saved_bytes(lambda: [walk.model(x[None].clone()) for x in dataset.inputs[0, :3]])
    states = record_states(model, dataset.inputs[:, :1000])
    selected = 1 % dataset.spec.n_frequencies
    buttons = " ".join(f'<button type="button" data-act="{act}">{text}</button>' for act, text in ACTIONS.items())
    options = "".join(
        f'<option value="{i}"{" selected" if i == selected else ""}>{html.escape(text)}</option>'
        for i, text in enumerate(f"{f:g} Hz" for f in dataset.spec.frequencies)
    )
    content = {
        "stage": STAGE.format(buttons=buttons, options=options, last=shape.hidden_size - 1, unit=unit),
        "selected": selected,
        "entered": ENTERED,
        "hidden": shape.hidden_size,
        "activation": shape.activation,
        "frequencies": dataset.spec.frequencies,
        "rate": dataset.spec.sample_rate,
        "weights": {part: _text(tensor) for part, tensor in tensors.items()},
        "signal": _text(dataset.inputs[0, :, 0]),
        "centre": np.round(walk.centre, 5).tolist(),
        "directions": np.round(walk.directions, 5).tolist(),
        "scale": walk.scale,
        "swing": [np.round(part.abs().amax(dim=(0, 1)).clamp(min=0.01).numpy(), 4).tolist() for part in states],
        "bytes": three - two,
    }
    walk.begin(selected)
    walk.step(ENTERED)
    title = f"The network after {ENTERED} samples"
    picture = f"<div data-still>{still(stepper_html(walk, unit))}</div>"
    return scripted("live", name, picture, title, "use the buttons", content, SCRIPT.read_text(encoding="utf-8"))


def _text(tensor: Tensor) -> str:
    """The numbers as base64 of little-endian float32."""
    return base64.b64encode(tensor.detach().numpy().astype("<f4").tobytes()).decode()
