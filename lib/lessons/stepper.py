"""Notebook 02: one sample at a time, by hand; a stateful walk through the network that a student drives."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib.lessons.instruments import Gates, Held, chain_length, lstm_step, record_states
from lib.loader import FrequencyDataset
from lib.model import StatefulLSTMExtractor
from lib.settings import whole_number
from lib.signals import Array

POLICIES = ("carry", "reset every sample", "reset at sequence start", "leak into the next frequency")


class Snapshot(NamedTuple):
    """What there is to see after a step; the state's arrays are None right after a reset.

    Attributes:
        step: samples seen since the walk began.
        sample: index of the last sample in its sequence, -1 before the first.
        frequency: index of the selected frequency.
        message: one sentence on what has just happened.
        chain: LSTM calls that a gradient can travel back through.
        held: bytes that autograd holds for them.
        mse: mean squared error of all outputs so far, NaN before the first.
        gates: the last step taken apart, one lane.
        reach: norm of the gradient with respect to each earlier hidden state, after *Backward*; else empty.
    """

    step: int
    sample: int
    frequency: int
    message: str
    chain: int
    held: int
    mse: float
    gates: Gates | None
    reach: Array


class Stepper:
    """A walk over single samples with a copy of a model, so that nothing here can touch the lesson's own.

    Attributes:
        signal: S of every sample seen. target: what was asked for. output: what came out.
        hidden: h after every sample, rows of (hidden_size,). cell: the same of c.
        snapshot: what there is to see now.
    """

    def __init__(
        self, model: StatefulLSTMExtractor, dataset: FrequencyDataset, frequency: int = 0, sequence_length: int = 500
    ) -> None:
        """Begin before the first sample.

        Args:
            model: a one-layer network; it is copied.
            dataset: where the samples come from.
            frequency: index of the selected frequency.
            sequence_length: samples per sequence, after which two of the policies go to the next frequency.

        Raises:
            ValueError: an argument is out of range.
        """
        if model.config.num_layers != 1 or model.config.input_norm:
            raise ValueError(f"model = {model.config}: must have num_layers = 1 and input_norm = False")
        self.sequence_length = whole_number("sequence_length", sequence_length, 1, dataset.spec.n_samples)
        with model.evaluation_state():  # a copy without a state
            self.model = copy.deepcopy(model)
        self.dataset, self.policy = dataset, POLICIES[0]
        states, _ = record_states(self.model, dataset.inputs[:, : min(1000, dataset.spec.n_samples)])
        flat = states.flatten(0, 1).double().numpy()
        self.centre = flat.mean(axis=0)
        self.directions = np.linalg.svd((flat - self.centre)[::7], full_matrices=False)[2][:2].T
        self.scale = 1.15 * float(np.abs((flat - self.centre) @ self.directions).max())
        self.begin(frequency)

    def begin(self, frequency: int) -> Snapshot:
        """Start the walk again with a selector; the state is reset."""
        self.frequency = whole_number("frequency", frequency, 0, self.dataset.spec.n_frequencies - 1)
        self.sample = -1
        self.model.reset_state()
        self.signal: list[float] = []
        self.target: list[float] = []
        self.output: list[float] = []
        self.hidden: list[Array] = []
        self.cell: list[Array] = []
        self._graph: list[Tensor] = []
        self._last_output: Tensor | None = None
        self._gates: Gates | None = None
        self._alive: weakref.WeakSet[Held] = weakref.WeakSet()
        name = self.dataset.spec.names[self.frequency]
        return self._look(f"A new sequence of {name} begins: there is no state yet.")

    def set_policy(self, policy: str) -> Snapshot:
        """Choose when the state is reset while stepping.

        Raises:
            ValueError: there is no such policy.
        """
        if policy not in POLICIES:
            raise ValueError(f"policy = {policy!r}: must be one of {', '.join(POLICIES)}")
        self.policy = policy
        return self._look(f"From the next step on: {policy}.")

    def step(self, count: int = 1) -> Snapshot:
        """Let ``count`` samples enter, one by one."""
        message = ""
        for _ in range(whole_number("count", count, 1)):
            message = self._step()
        return self._look(message)

    def reset(self) -> Snapshot:
        """Throw the state away, wherever in the sequence that is."""
        self.model.reset_state()
        self._graph.clear()
        self._last_output = None
        where = "where it belongs" if self.sample < 0 else f"in mid-sequence, after sample {self.sample}"
        return self._look(f"Reset {where}: h and c are gone, and the clock starts again at zero.")

    def detach(self) -> Snapshot:
        """Keep the state's numbers, cut the gradient's way back."""
        cut = chain_length(self.model.cell_state)
        self.model.detach_state()
        self._graph.clear()
        self._last_output = None
        return self._look(f"Detached: h and c keep their numbers, a chain of {cut} steps is cut off behind them.")

    def backward(self) -> Snapshot:
        """Send the error of the last output back through the chain, and show how far it gets."""
        if self._last_output is None:
            return self._look("There is no output with a graph yet: take a step first.")
        try:
            gradients = torch.autograd.grad(self._last_output.sum(), self._graph, allow_unused=True)
        except RuntimeError as error:
            return self._look(f"PyTorch refuses: {str(error).split('(')[0].strip()}. Detach after each backward pass.")
        reach = np.array([0.0 if gradient is None else float(gradient.norm()) for gradient in gradients])
        return self._look(
            f"The gradient of the last output went back through {len(reach)} states; the graph's memory is freed.",
            reach,
        )

    def _step(self) -> str:
        """Let one sample enter; says what happened."""
        spec, happened = self.dataset.spec, "The state was carried on"
        self.sample += 1
        if self.policy in POLICIES[2:] and self.sample >= self.sequence_length:
            self.sample, self.frequency = 0, (self.frequency + 1) % spec.n_frequencies
            happened = f"The sequence of {spec.names[self.frequency]} began with the old state: it leaked"
        reset = self.policy == POLICIES[1] or (self.policy == POLICIES[2] and self.sample == 0)
        if reset:
            self.model.reset_state()
            self._graph.clear()
            happened = "The state was reset first"
        elif self.model.hidden_state is None:
            happened = "The state began at zero"
        x = self.dataset.inputs[self.frequency, self.sample % spec.n_samples][None].clone()
        with torch.no_grad():
            zero = torch.zeros(1, self.model.config.hidden_size)
            h, c = (zero, zero) if self.model.hidden_state is None else (state[0] for state in self.model.state())
            self._gates = Gates(*(part.detach() for part in lstm_step(self.model.lstm, x, h, c)))
        with torch.autograd.graph.saved_tensors_hooks(self._keep, lambda held: held.tensor):
            y = self.model(x)
        hidden, cell = self.model.state()
        self._graph.append(hidden)
        self._last_output = y
        self.signal.append(float(x[0, 0]))
        self.target.append(float(np.sin(2 * np.pi * spec.frequencies[self.frequency] * self.sample / spec.sample_rate)))
        self.output.append(y.item())
        self.hidden.append(hidden[0, 0].detach().double().numpy())
        self.cell.append(cell[0, 0].detach().double().numpy())
        return f"{happened}; sample {self.sample} entered, S = {self.signal[-1]:+.3f}."

    def _keep(self, tensor: Tensor) -> Held:
        held = Held(tensor)
        self._alive.add(held)
        return held

    def _look(self, message: str, reach: Array | None = None) -> Snapshot:
        storages = {held.tensor.untyped_storage().data_ptr(): held.tensor.untyped_storage() for held in self._alive}
        errors = np.array(self.output) - np.array(self.target)
        self.snapshot = Snapshot(
            step=len(self.output),
            sample=self.sample,
            frequency=self.frequency,
            message=message,
            chain=chain_length(self.model.cell_state),
            held=sum(storage.nbytes() for storage in storages.values()),
            mse=float(np.mean(errors**2)) if len(errors) else float("nan"),
            gates=self._gates if self.model.hidden_state is not None else None,
            reach=np.zeros(0) if reach is None else reach,
        )
        return self.snapshot


def predictions(
    model: StatefulLSTMExtractor, dataset: FrequencyDataset, said: Mapping[str, bool | None]
) -> dict[str, tuple[bool, str]]:
    """What really happens, for each of the reader's predictions in turn, and what is to be said of the prediction.

    The predictions are three: that detach changes the next output, that it shortens the chain, and that the output
    recovers from a wrong reset, here 81 samples into a sine, and 900 samples later.
    """
    walk, twin = Stepper(model, dataset, 1), Stepper(model, dataset, 1)
    chain = walk.step(80).chain
    twin.step(80)
    cut = walk.detach().chain
    walk.step(1), twin.step(1)
    same = abs(walk.output[-1] - twin.output[-1]) < 1e-6
    walk.reset()
    walk.step(900)
    twin.step(900)
    recovered = abs(walk.output[-1] - twin.output[-1]) < 0.05
    found = zip(said.items(), (not same, cut < chain, recovered), strict=True)
    words = {None: "no prediction", True: "right", False: "wrong"}
    return {name: (truth, words[None if guess is None else guess == truth]) for (name, guess), truth in found}
