"""Notebooks 01 to 04: instruments that look into one LSTM step, follow gradients through time, and measure noise."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib.loader import FrequencyDataset, StatefulDataLoader
from lib.model import StatefulLSTMExtractor, roll_out
from lib.settings import whole_number
from lib.signals import Array


class Gates(NamedTuple):
    """One LSTM step taken apart; every entry has shape (lanes, hidden_size).

    Attributes:
        i, f, o: input gate, forget gate and output gate, between 0 and 1.
        g: candidate, between -1 and 1.
        c: new cell state, f · c_before + i · g.
        h: new hidden state, o · tanh(c).
    """

    i: Tensor
    f: Tensor
    g: Tensor
    o: Tensor
    c: Tensor
    h: Tensor


def lstm_step(lstm: torch.nn.LSTM, x: Tensor, h: Tensor, c: Tensor) -> Gates:
    """One step of a one-layer LSTM by its equations (Hochreiter and Schmidhuber 1997; gates as in PyTorch's docs).

    Args:
        lstm: whose weights to use.
        x: input, (lanes, features).
        h: hidden state before the step, (lanes, hidden_size).
        c: cell state before the step, (lanes, hidden_size).
    """
    w, u = lstm.get_parameter("weight_ih_l0"), lstm.get_parameter("weight_hh_l0")
    b = lstm.get_parameter("bias_ih_l0") + lstm.get_parameter("bias_hh_l0")
    i, f, g, o = (x @ w.T + h @ u.T + b).chunk(4, dim=-1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c = f * c + i * g
    return Gates(i, f, g, o, c, o * c.tanh())


def record_states(model: StatefulLSTMExtractor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Roll out one sample at a time and keep every state.

    Returns:
        Hidden and cell states of the last layer, each (lanes, samples, hidden_size).
    """
    states = []
    with model.evaluation_state():
        for step in x.unbind(dim=1):
            model(step)
            states.append([part[-1] for part in model.state()])
    hidden, cell = (torch.stack(parts, dim=1) for parts in zip(*states, strict=True))
    return hidden, cell


def orbit(states: Tensor) -> Array:
    """States of one lane (samples, hidden_size) along their two leading principal components: (samples, 2)."""
    centred = (states - states.mean(dim=0)).double().numpy()
    directions = np.linalg.svd(centred, full_matrices=False)[2]
    return centred @ directions[:2].T


def chain_length(state: Tensor | None) -> int:
    """Through how many calls of the LSTM a gradient can travel back from a state; 0 when it is detached or None."""
    seen: set[Any] = set()
    waiting = [] if state is None else [state.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    return sum("rnn" in node.name().lower() or "lstm" in node.name().lower() for node in seen)


class Held:
    """What autograd holds in place of a saved tensor; it lives exactly as long as the graph that needs it."""

    def __init__(self, tensor: Tensor) -> None:
        """Hold the tensor's numbers."""
        self.tensor = tensor.detach()  # without its own graph, which would keep itself alive in a circle


def saved_bytes(action: Callable[[], Any]) -> int:
    """Bytes that autograd still holds for a backward pass after ``action``; each storage is counted once."""
    alive: weakref.WeakSet[Held] = weakref.WeakSet()

    def pack(tensor: Tensor) -> Held:
        held = Held(tensor)
        alive.add(held)
        return held

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor):
        result = action()
    storages = {held.tensor.untyped_storage().data_ptr(): held.tensor.untyped_storage() for held in alive}
    del result  # until here, the graph of the result was alive
    return sum(storage.nbytes() for storage in storages.values())


def gradient_reach(model: StatefulLSTMExtractor, x: Tensor, detach_every: int | None) -> Array:
    """How strongly the last output depends on the state at each earlier sample, seen through the gradient graph.

    Args:
        model: the network; its own state is not touched.
        x: inputs, (lanes, samples, features).
        detach_every: cut the graph after every so many samples; None never cuts.

    Returns:
        The norm of the gradient of the last sample's summed output with respect to the hidden and cell state after
        each sample but the last, (samples − 1,); exactly 0 behind a cut.

    Raises:
        ValueError: there are fewer than two samples, or ``detach_every`` is not a whole number from 1 up.
    """
    every = x.shape[1] if detach_every is None else whole_number("detach_every", detach_every, 1)
    if x.shape[1] < 2:
        raise ValueError(f"x has {x.shape[1]} samples: must have at least 2, or there is no earlier state")
    states: list[tuple[Tensor, Tensor]] = []
    with model.evaluation_state(), torch.enable_grad():
        for k, step in enumerate(x.unbind(dim=1)):
            y = model(step)
            states.append(model.state())
            if (k + 1) % every == 0 and k + 1 < x.shape[1]:
                model.detach_state()
        gradients = torch.autograd.grad(y.sum(), [part for pair in states[:-1] for part in pair], allow_unused=True)
    norms = [0.0 if g is None else float(g.norm()) for g in gradients]
    return np.hypot(norms[0::2], norms[1::2])


def parameter_gradients(
    model: StatefulLSTMExtractor, dataset: FrequencyDataset, steps: int, horizon: int, detach: bool = False
) -> tuple[Tensor, Tensor]:
    """Outputs over a horizon and the gradient of their mean squared error, cut into calls of ``steps`` samples.

    Args:
        model: the network; its own state is not touched, its gradients are cleared.
        dataset: inputs and targets.
        steps: samples per call.
        horizon: samples in all.
        detach: cut the gradient between calls.

    Returns:
        Outputs (lanes, horizon, 1), and all parameters' gradients as one vector.
    """
    model.zero_grad()
    horizon, outputs, error = whole_number("horizon", horizon, 1, dataset.spec.n_samples), [], torch.zeros(())
    with model.evaluation_state(), torch.enable_grad():
        for batch in islice(StatefulDataLoader(dataset, steps=steps), 1 + (horizon - 1) // int(steps)):
            outputs.append(model(batch.x, reset_state=batch.is_first_batch))
            error = error + (outputs[-1] - batch.y).square().sum()
            if detach:
                model.detach_state()
        y = torch.cat(outputs, dim=1)
        (error / y.numel()).backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    return y.detach(), gradient


def autocorrelation(signal: Array, lags: int) -> Array:
    """Normalized autocorrelation of a signal (samples,) at lags 0 … ``lags``; white noise stays within ±2/√samples."""
    centred = signal - signal.mean()
    spectrum = np.fft.rfft(centred, 2 * len(signal))
    products = np.fft.irfft(np.abs(spectrum) ** 2)[: whole_number("lags", lags, 0, len(signal) - 1) + 1]
    return products / products[0]


def amplitude_spectrum(signal: Array, sample_rate: float) -> tuple[Array, Array]:
    """Frequencies in Hz and amplitudes of the sines in a signal (samples,): a sine of amplitude 1 shows as 1."""
    frequencies = np.fft.rfftfreq(len(signal), 1 / sample_rate).astype(np.float64)
    return frequencies, 2 * np.abs(np.fft.rfft(signal)) / len(signal)


def best_linear_prediction(signal: Array, target: Array, window: int, test_signals: Array) -> Array:
    """What the best linear filter of the last ``window`` samples, fitted on one signal, puts out on another.

    Args:
        signal: fitted on, (samples,).
        target: what to predict, (samples,).
        window: taps of the filter.
        test_signals: predicted from, a row each, (signals, samples).

    Returns:
        The predictions, (signals, samples − window + 1), for the samples from ``window − 1`` on.
    """
    past = np.lib.stride_tricks.sliding_window_view(signal, whole_number("window", window, 1, len(signal)))
    taps = np.linalg.lstsq(past, target[window - 1 :], rcond=None)[0]
    return np.stack([np.correlate(test_signal, taps, "valid") for test_signal in test_signals])


REPLACEMENTS = ("true S", "other noise", "silence", "ten times as loud")


def intervene(
    model: StatefulLSTMExtractor,
    dataset: FrequencyDataset,
    index: int,
    replacement: str = "true S",
    reset_at: int = 0,
    switch_to: int | None = None,
    switch_at: int = 1000,
    samples: int = 2000,
) -> tuple[Array, Array]:
    """Meddle with a trained network's input, reset or selector, and look at its output.

    Args:
        model: the network; its own state is not touched.
        dataset: where S and the targets come from.
        index: selected frequency.
        replacement: what to give in place of S, one of `REPLACEMENTS`.
        reset_at: sample before which the state is thrown away; 0 for none but the first.
        switch_to: frequency to select from sample ``switch_at`` on; None keeps the first.
        switch_at: see ``switch_to``.
        samples: how many to run.

    Returns:
        Output and target, each (samples,); after a switch the target is that of the new selector.

    Raises:
        ValueError: there is no such replacement, frequency or sample.
    """
    for name, value in (("index", index), ("switch_to", index if switch_to is None else switch_to)):
        whole_number(name, value, 0, dataset.spec.n_frequencies - 1)
    for name, value in (("samples", samples), ("reset_at", reset_at), ("switch_at", switch_at)):
        whole_number(name, value, int(name == "samples"))
    if replacement not in REPLACEMENTS:
        raise ValueError(f"replacement = {replacement!r}: must be one of {', '.join(REPLACEMENTS)}")
    x, y = dataset.inputs[index, :samples].clone()[None], dataset.targets[index, :samples, 0].clone()
    if replacement == "other noise":
        x[..., 0] = FrequencyDataset(dataset.spec, dataset.noise_seed + 1000).inputs[index, :samples, 0]
    x[..., 0] *= {"silence": 0.0, "ten times as loud": 10.0}.get(replacement, 1.0)
    if switch_to is not None:
        x[0, switch_at:, 1:] = dataset.inputs[switch_to, switch_at:samples, 1:]
        y[switch_at:] = dataset.targets[switch_to, switch_at:samples, 0]
    parts = [part for part in (x[:, :reset_at], x[:, reset_at:]) if part.shape[1]]
    output = torch.cat([roll_out(model, part, steps=samples) for part in parts], dim=1)
    return output[0, :, 0].double().numpy(), y.double().numpy()
