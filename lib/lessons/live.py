"""Notebook 02: the state stepper without a kernel, the network's own weights and its step in JavaScript."""

from __future__ import annotations

import base64
import html
from pathlib import Path
from typing import Any

import numpy as np
from IPython.display import HTML
from torch import Tensor, nn

from lib.lessons.drawing import stepper_html, still
from lib.lessons.instruments import record_states, saved_bytes
from lib.lessons.scripted import scripted
from lib.lessons.stepper import Stepper
from lib.loader import FrequencyDataset
from lib.model import StatefulLSTMExtractor
from lib.signals import SignalSpec

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
    network = packed(model)
    walk = Stepper(model, dataset, sequence_length=dataset.spec.n_samples)  # knows the leading directions of the orbit
    two = saved_bytes(lambda: [walk.model(x[None].clone()) for x in dataset.inputs[0, :2]])
    walk.model.reset_state()
    three = saved_bytes(lambda: [walk.model(x[None].clone()) for x in dataset.inputs[0, :3]])
    states = record_states(model, dataset.inputs[:, :1000])
    selected = 1 % dataset.spec.n_frequencies
    buttons = " ".join(f'<button type="button" data-act="{act}">{text}</button>' for act, text in ACTIONS.items())
    options = frequency_options(dataset.spec, selected)
    content = network | {
        "stage": STAGE.format(buttons=buttons, options=options, last=model.config.hidden_size - 1, unit=unit),
        "selected": selected,
        "entered": ENTERED,
        "frequencies": dataset.spec.frequencies,
        "rate": dataset.spec.sample_rate,
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
    return scripted("live", name, picture, title, "use the buttons", content, script("live.js"))


def _text(tensor: Tensor) -> str:
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
    weights = {part: _text(tensor) for part, tensor in tensors.items()}
    return {"hidden": shape.hidden_size, "activation": shape.activation, "weights": weights}


def frequency_options(spec: SignalSpec, selected: int) -> str:
    """What a menu of the sines holds, as HTML."""
    return "".join(
        f'<option value="{i}"{" selected" if i == selected else ""}>{html.escape(text)}</option>'
        for i, text in enumerate(spec.names)
    )


def script(name: str) -> str:
    """The text of a script, after what all of them share."""
    parts = "live_common.js", name
    return "".join(Path(__file__).with_name(part).read_text(encoding="utf-8") for part in parts)
