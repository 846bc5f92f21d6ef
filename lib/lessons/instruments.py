"""Instruments: an LSTM step taken apart, the way back of a gradient and its memory, the best linear filter."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib.model import StatefulLSTMExtractor
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


def chain_length(tensor: Tensor | None) -> int:
    """How many calls of an LSTM a gradient passes, one behind the other, on its longest way back; 0 where it is cut.

    Args:
        tensor: a state, an output or a loss; None stands for the state after a reset.
    """
    depth: dict[Any, int] = {None: 0}
    start = None if tensor is None else tensor.grad_fn
    waiting = [start]
    while waiting:
        node = waiting[-1]
        before = [] if node is None else [earlier for earlier, _ in node.next_functions]
        unknown = [earlier for earlier in before if earlier not in depth]
        if node not in depth and unknown:
            waiting += unknown
            continue
        if node is not None and node not in depth:
            is_call = any(word in node.name().lower() for word in ("rnn", "lstm"))
            depth[node] = is_call + max((depth[earlier] for earlier in before), default=0)
        waiting.pop()
    return depth[start]


class Held:
    """What autograd holds in place of a saved tensor; it lives exactly as long as the graph that needs it."""

    def __init__(self, tensor: Tensor) -> None:
        """Hold the tensor's numbers."""
        self.tensor = tensor.detach()  # without its own graph, which would keep itself alive in a circle


@contextmanager
def counting_bytes() -> Iterator[Callable[[], int]]:
    """Inside, the function that is yielded tells how many bytes autograd holds for backward passes at that moment."""
    alive: weakref.WeakSet[Held] = weakref.WeakSet()

    def pack(tensor: Tensor) -> Held:
        held = Held(tensor)
        alive.add(held)
        return held

    def count() -> int:
        storages = {held.tensor.untyped_storage().data_ptr(): held.tensor.untyped_storage() for held in alive}
        return sum(storage.nbytes() for storage in storages.values())  # each storage once

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor):
        yield count


def saved_bytes(action: Callable[[], Any]) -> int:
    """Bytes that autograd still holds for a backward pass after ``action``."""
    with counting_bytes() as count:
        result = action()  # its graph is alive until it is counted
        found = count()
        del result
    return found


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
