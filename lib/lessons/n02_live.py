"""Notebook 02: the state stepper in the page itself, the network's own weights and its step in JavaScript."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from IPython.display import HTML
from torch import Tensor

from lib.lessons.figures import BLUE, GREY, RED, Picture, label, legend_above, panels
from lib.lessons.instruments import chain_length, record_states, saved_bytes
from lib.lessons.live import floats, live_figure, options, packed
from lib.lessons.widgets import picture_html
from lib.loader import FrequencyDataset
from lib.model import StatefulLSTMExtractor, roll_out
from lib.signals import Array

ENTERED = 250  # samples seen before the reader does anything, so that a page at rest and a print show something
KNOWN = 1000  # samples whose states give the orbit its directions and the colours their range
STAGE = """<div style="display:flex;flex-wrap:wrap;gap:6px 14px;align-items:center"><span>{buttons}</span>
<label>selector <select>{selectors}</select></label> \
<label>network <select>{networks}</select></label> <label>policy <select>{policies}</select></label>
<label>unit <input type="number" min="0" max="{last}" value="{unit}" style="width:4em"></label></div>
<canvas width="1680" height="880" role="img" style="width:840px;max-width:100%" aria-label="Above: the last samples, \
input in grey, target in light blue, output in red; beside them the orbit of the hidden state. Below: the gradient \
chain, all units of h and of c over the last samples, and the gates of one unit."></canvas>
<figcaption aria-live="polite" data-say></figcaption>"""
ACTIONS = {"step": "Step", "run": "Run 50", "play": "Play / Pause", "reset": "Reset", "detach": "Detach"}
ACTIONS |= {"backward": "Backward", "zero_h": "Zero h", "zero_c": "Zero c"}


def live_stepper(
    models: Mapping[str, StatefulLSTMExtractor], dataset: FrequencyDataset, name: str = "live", unit: int = 0
) -> HTML:
    """A stepper that runs in the page itself, in JupyterLab and in any browser, offline; one picture without a script.

    Args:
        models: networks to choose from, of one shape: one layer, no normalization, and a layer before the output.
        dataset: gives S(t) and the frequencies.
        name: an identity within the page: letters, digits and ``-``.
        unit: whose gates are shown at first.

    Raises:
        ValueError: a model is of another shape, or the name has other characters.
    """
    first, selected, spec = next(iter(models.values())), 1 % dataset.spec.n_frequencies, dataset.spec
    with first.evaluation_state():  # a copy without a state
        walk = copy.deepcopy(first)

    def enter(count: int) -> list[Tensor]:
        walk.reset_state()
        return [walk(x[None].clone()) for x in dataset.inputs[0, :count]]

    controls = {
        "selectors": options(spec.names, selected),
        "networks": options(models),
        "policies": options(("carry", "reset every sample", "reset at sequence start", "leak into the next frequency")),
        "last": first.config.hidden_size - 1,
        "unit": unit,
    }
    content = packed(first) | {
        "networks": {which: _portrait(model, dataset) for which, model in models.items()},
        "selected": selected,
        "entered": ENTERED,
        "frequencies": spec.frequencies,
        "rate": spec.sample_rate,
        "signal": floats(dataset.inputs[0, :, 0]),
        "bytes": saved_bytes(lambda: enter(3)) - saved_bytes(lambda: enter(2)),
    }
    title = f"The network after {ENTERED} samples"
    picture = picture_html(_still(first, dataset, selected))
    return live_figure(name, picture, title, "use the buttons", content, STAGE, ACTIONS, controls, "n02_live.js")


def _portrait(model: StatefulLSTMExtractor, dataset: FrequencyDataset) -> dict[str, Any]:
    """A network's weights, and what scales the drawing of its states: see `orbit_plane`, and each unit's range."""
    states = record_states(model, dataset.inputs[:, :KNOWN])
    centre, directions, scale = orbit_plane(states[0].flatten(0, 1).double().numpy())
    return {
        "weights": packed(model)["weights"],
        "centre": np.round(centre, 5).tolist(),
        "directions": np.round(directions, 5).tolist(),
        "scale": scale,
        "swing": [np.round(part.abs().amax(dim=(0, 1)).clamp(min=0.01).numpy(), 4).tolist() for part in states],
    }


def orbit_plane(hidden: Array) -> tuple[Array, Array, float]:
    """The mean of states, (samples, units), their two leading directions, and how far they go along these."""
    centre = hidden.mean(axis=0)
    directions = np.linalg.svd((hidden - centre)[::7], full_matrices=False)[2][:2].T
    return centre, directions, 1.15 * float(np.abs((hidden - centre) @ directions).max())


def _still(model: StatefulLSTMExtractor, dataset: FrequencyDataset, selected: int) -> Picture:
    """What the live figure shows at first: signals, orbit of h, and all units of h and c."""
    hidden, cell = (part[0].numpy() for part in record_states(model, dataset.inputs[selected, None, :ENTERED]))
    outputs = roll_out(model, dataset.inputs[selected, None, :ENTERED])[0, :, 0].numpy()
    centre, directions, _ = orbit_plane(hidden)
    path = (hidden - centre) @ directions
    order = np.argsort(np.arctan2(directions[:, 1], directions[:, 0]))
    figure, ((signals, orbit), *rows) = panels(2, 2, height=2.2)
    signals.plot(dataset.inputs[selected, :ENTERED, 0].numpy(), color=GREY, linewidth=0.7, linestyle="-", label="S")
    signals.plot(
        dataset.targets[selected, :ENTERED, 0].numpy(),
        color=BLUE,
        linewidth=5,
        alpha=0.35,
        linestyle="-",
        label="target",
    )
    signals.plot(outputs, color=RED, linestyle="-", label="output")
    label(signals, "sample", "value, no unit")
    legend_above(signals)
    orbit.plot(*path.T, color=BLUE, linestyle="-")
    orbit.plot(*path[-1], "o", color=RED)
    label(orbit, "first direction", "second direction", "orbit of h")
    for axes, states, letter in zip(rows[0], (hidden, cell), "hc", strict=True):
        shown = (states / np.abs(states).max(axis=0).clip(0.01)).T[order]
        axes.imshow(shown, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
        axes.grid(visible=False)
        label(axes, "sample", "unit", f"{letter}: blue above zero, red below")
    alt = (
        f"The first {ENTERED} samples of {dataset.spec.names[selected]}. Above: the noisy input in grey, the target in "
    )
    alt += (
        "blue, the output in red; beside them the hidden state's path in its two leading directions, with a dot where "
    )
    alt += "it is now. Below: hidden and cell state of every unit, a row each."
    return Picture(figure, alt)


def predictions(
    model: StatefulLSTMExtractor, dataset: FrequencyDataset, said: Mapping[str, bool | None]
) -> dict[str, tuple[bool, str]]:
    """What really happens, for each of the reader's predictions in turn, and what is to be said of the prediction.

    The predictions are three: that detach changes the next output, that it shortens the chain, and that the output
    recovers from a wrong reset, here 81 samples into a sine, and 900 samples later.
    """
    with model.evaluation_state():  # copies without a state
        walk, twin = copy.deepcopy(model), copy.deepcopy(model)
    x = dataset.inputs[1:2, :981]
    for network in (walk, twin):
        network(x[:, :80])
    chain = chain_length(walk.cell_state)
    walk.detach_state()
    cut = chain_length(walk.cell_state)
    same = abs(walk(x[:, 80]) - twin(x[:, 80])).item() < 1e-6
    walk.reset_state()
    after, carried = (network(x[:, 81:])[0, -1].item() for network in (walk, twin))
    found = zip(said.items(), (not same, cut < chain, abs(after - carried) < 0.05), strict=True)
    words = {None: "no prediction", True: "right", False: "wrong"}
    return {name: (truth, words[None if guess is None else guess == truth]) for (name, guess), truth in found}
