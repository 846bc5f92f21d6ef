"""Notebook 02: the state stepper without a kernel, the network's own weights and its step in JavaScript."""

from __future__ import annotations

import base64
import html
from pathlib import Path

import numpy as np
from IPython.display import HTML
from torch import Tensor

from lib.lessons.drawing import stepper_html, still
from lib.lessons.instruments import saved_bytes
from lib.lessons.scripted import scripted
from lib.lessons.stepper import Stepper
from lib.loader import FrequencyDataset
from lib.model import StatefulLSTMExtractor

SCRIPT = Path(__file__).with_name("live.js")
ENTERED = 250  # samples seen before the reader does anything, so that a page at rest and a print show something
STAGE = """<div>{buttons} <label>selector <select>{options}</select></label></div>
<canvas width="580" height="180" role="img" style="max-width:100%" aria-label="Left: the last samples, input in grey, \
target in light blue, output in red. Right: the orbit of the hidden state."></canvas>
<figcaption aria-live="polite" data-say></figcaption>"""
ACTIONS = {"step": "Step", "run": "Run 50", "play": "Play / Pause", "reset": "Reset", "detach": "Detach"}


def live_stepper(model: StatefulLSTMExtractor, dataset: FrequencyDataset, name: str = "live") -> HTML:
    """A stepper that runs in the page itself, in JupyterLab and in any browser, offline; one picture without a script.

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
    walk = Stepper(model, dataset, sequence_length=dataset.spec.n_samples)  # knows the leading directions of the orbit
    lstm, head = dict(model.lstm.named_parameters()), dict(model.head.named_parameters())
    tensors = {part: lstm[f"{part}_l0"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    tensors |= {"head_weight": head["0.weight"], "head_bias": head["0.bias"]}
    tensors |= {"out_weight": head["2.weight"], "out_bias": head["2.bias"]}
    two = saved_bytes(lambda: [walk.model(x[None].clone()) for x in dataset.inputs[0, :2]])
    walk.model.reset_state()
    three = saved_bytes(lambda: [walk.model(x[None].clone()) for x in dataset.inputs[0, :3]])
    selected = 1 % dataset.spec.n_frequencies
    buttons = " ".join(f'<button type="button" data-act="{act}">{text}</button>' for act, text in ACTIONS.items())
    options = "".join(
        f'<option value="{i}"{" selected" if i == selected else ""}>{html.escape(text)}</option>'
        for text, i in dataset.spec.choices
    )
    content = {
        "stage": STAGE.format(buttons=buttons, options=options),
        "selected": selected,
        "entered": ENTERED,
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
    walk.begin(selected)
    walk.step(ENTERED)
    title = f"The network after {ENTERED} samples"
    picture = f"<div data-still>{still(stepper_html(walk))}</div>"
    return scripted("live", name, picture, title, "use the buttons", content, SCRIPT.read_text(encoding="utf-8"))


def _text(tensor: Tensor) -> str:
    """The numbers as base64 of little-endian float32."""
    return base64.b64encode(tensor.detach().numpy().astype("<f4").tobytes()).decode()
