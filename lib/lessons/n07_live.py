"""Notebook 07: the extractor beside the Kalman filter in the page itself, both run in JavaScript without a kernel."""

from __future__ import annotations

import numpy as np
from IPython.display import HTML

from lib.lessons.figures import BLUE, GREY, RED, Picture, label, legend_above, panels
from lib.lessons.filters import kalman
from lib.lessons.live import live_figure, options, packed
from lib.lessons.widgets import picture_html
from lib.loader import assemble_inputs
from lib.model import StatefulLSTMExtractor, roll_out
from lib.signals import Array, SignalSpec, generate

ENTERED = 1.0  # s that have been heard before the reader does anything
STAGE = """<div style="display:flex;flex-wrap:wrap;gap:6px 14px;align-items:center"><span>{buttons}</span>
<label>selector <select>{options}</select></label>
<span><label>width of the noise α <input type="range" min="0" max="1" step="0.05" style="vertical-align:middle">\
</label> <output aria-live="off"></output></span>
<span><label>phase of this sine <input type="range" min="0" max="6.28" step="0.02" style="vertical-align:middle">\
</label> <output aria-live="off"></output></span></div>
<canvas role="img" style="display:block;max-width:100%;margin-top:8px" aria-label="Above: the last second, input in \
grey, target in light blue, Kalman filter in dashed blue, extractor in red. Below: the mean squared error of both over \
the last tenth of a second, against time."></canvas>
<figcaption aria-live="polite" data-say></figcaption>"""
ACTIONS = {"step": "Step 50", "run": "Run 500", "play": "Play / Pause", "reset": "Reset", "phases": "New start phases"}


def live_listener(model: StatefulLSTMExtractor, spec: SignalSpec, name: str = "listener") -> HTML:
    """Turn the width of the phase noise and the start phase, and watch both lock on; one picture without a script.

    Args:
        model: the extractor: one layer, no normalization, and a layer before the output.
        spec: gives frequencies, amplitudes and the width of the noise at first; such as ``listening(0.25)``.
        name: an identity within the page: letters, digits and ``-``.

    Raises:
        ValueError: the model is of another shape, or has another number of frequencies than the signals; the phase
            noise is not centred, or wider than a turn; the signals are too short; the name has other characters.
    """
    (low, high), count = spec.phase_range, spec.n_frequencies
    alpha = (high - low) / (2 * np.pi)
    if abs(low + high) > 1e-9 or alpha > 1 + 1e-9:
        raise ValueError(f"phase_range = {spec.phase_range}: must be centred, and a whole turn at most")
    if model.config.n_frequencies != count:
        raise ValueError(f"model = {model.config}: must have n_frequencies = {count}, as the signals")
    if spec.duration < ENTERED:
        raise ValueError(f"duration = {spec.duration}: must be {ENTERED:g} s at least, for the still picture")
    network, selected = packed(model), 1 % count
    content = network | {
        "selected": selected,
        "frequencies": spec.frequencies,
        "rate": spec.sample_rate,
        "amplitude": spec.amplitude_range,
        "alpha": alpha,
    }
    image = picture_html(first_second(model, spec, selected)).replace("<img", '<img style="max-width:100%"', 1)
    title = f"The extractor beside the filter: the first second of {spec.names[selected]} at α = {alpha:g}"
    aim = "turn the width of the noise and the start phase"
    controls = {"options": options(spec.names, selected)}
    return live_figure(name, image, title, aim, content, STAGE, ACTIONS, controls, "n07_live.js")


def first_second(model: StatefulLSTMExtractor, spec: SignalSpec, selected: int, noise_seed: int = 0) -> Picture:
    """How the filter and the extractor lock on to one sine: above the signals, below the error of both."""
    spec = spec.but(duration=ENTERED)
    time, mixed, targets = generate(spec, noise_seed)
    inputs = assemble_inputs(spec, mixed)[selected : selected + 1]
    heard = roll_out(model, inputs, steps=spec.n_samples)[0, :, 0].double().numpy()
    estimates = {"filter": kalman(spec, mixed)[selected], "extractor": heard}
    figure, (above, below) = panels(2, height=2.3, sharex=True)
    above.plot(time, mixed, color=GREY, linestyle="-", linewidth=0.6, label="S(t)")
    above.plot(time, targets[selected], color=BLUE, linestyle="-", linewidth=5, alpha=0.35, label="target")
    told = []
    for (which, values), colour, dash in zip(estimates.items(), (BLUE, RED), ("--", "-"), strict=True):
        error = running_mean((values - targets[selected]) ** 2, round(spec.sample_rate / 10))
        above.plot(time, values, color=colour, linestyle=dash, label=which)
        below.semilogy(time, error, color=colour, linestyle=dash, label=which)
        told.append(f"from {error[round(spec.sample_rate / 10) - 1]:.1e} to {error[-1]:.1e} for the {which}")
    label(above, "", "value, no unit", spec.names[selected])
    legend_above(above)
    label(below, "time, s", "MSE, no unit", "over the last 0.1 s")
    alt = "Above: the first second, S(t) in grey, the target in light blue, the Kalman filter in dashed blue and the "
    alt += "extractor in red. Below: the mean squared error over the last 0.1 s, against time, on a logarithmic scale. "
    alt += f"From the first tenth of a second to the last, it goes {' and '.join(told)}."
    return Picture(figure, alt)


def running_mean(values: Array, window: int) -> Array:
    """The mean of the last ``window`` values at every sample; of fewer, while there are fewer."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    last = np.arange(1, len(values) + 1)
    first = np.maximum(0, last - window)
    return (total[last] - total[first]) / (last - first)
