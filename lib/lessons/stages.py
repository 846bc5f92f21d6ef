"""Notebooks 03 and 09: what the recipe's parts do, shown on copies of a network; and its studies by variant."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib.lessons.clock import measure_clock
from lib.model import StatefulLSTMExtractor
from lib.recipe import TrainingRun, polish, tune
from lib.signals import Array


def rates(model: StatefulLSTMExtractor, run: TrainingRun) -> Array:
    """The error of rate of each frequency over 120 periods of the slowest sine, in parts per million."""
    spec, seed = run.dataset.spec, run.config.validation_noise_seeds[0]
    return measure_clock(model, spec, seed, duration=round(120 / min(spec.frequencies))).ppm


def detuned_and_tuned(run: TrainingRun, stretch: float) -> dict[str, Array]:
    """The clocks of a trained network: as it is, with its selector's weights stretched, and tuned again."""
    model = copy.deepcopy(run.model)
    found = {"as trained": rates(model, run)}
    model.lstm.get_parameter("weight_ih_l0").data[:, 1:] *= stretch
    found["selector's weights changed"] = rates(model, run)
    tune(dataclasses.replace(run, model=model))
    found["tuned again"] = rates(model, run)
    return found


def fits_of_a_new_head(run: TrainingRun, iterations: int) -> dict[str, list[float]]:
    """Fit a new head to a trained LSTM, by Adam at its best of three rates, and by the stage polish.

    Returns:
        The loss at every evaluation; both methods begin with the same weights and have as many evaluations.
    """
    model = copy.deepcopy(run.model)
    torch.manual_seed(run.config.weight_seed)
    for layer in model.head:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    start = copy.deepcopy(model.head).double()
    losses: list[float] = []
    recorded: list[Tensor] = []

    def loss_of(output: Tensor) -> Tensor:
        every = round(run.dataset.spec.n_samples / output.shape[1])
        return nn.functional.mse_loss(output, run.dataset.targets[:, ::every].double())

    def note(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        recorded[:] = inputs
        losses.append(loss_of(output).item())

    model.head.register_forward_hook(note)
    polish(dataclasses.replace(run, model=model, config=run.config.but(polish_iterations=iterations)))
    tries = []
    for rate in (1e-3, 3e-3, 1e-2):
        head, found = copy.deepcopy(start), []
        optimizer = torch.optim.Adam(head.parameters(), rate)
        for _ in losses:
            optimizer.zero_grad()
            loss = loss_of(head(recorded[0]))
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        tries.append(found)
    return {"Adam": min(tries, key=min), "L-BFGS": losses}


def step_at_rest(model: StatefulLSTMExtractor) -> Array:
    """Eigenvalues of one step of a one-layer LSTM, linearized where state and input are zero: (2 · hidden_size,)."""
    size = model.config.hidden_size
    x = torch.zeros(1, 1, 1 + model.config.n_frequencies)

    def step(state: Tensor) -> Tensor:
        h, c = state.split(size)
        _, after = model.lstm(x, (h[None, None], c[None, None]))
        return torch.cat(after, dim=-1)[0, 0]

    jacobian = torch.autograd.functional.jacobian(step, torch.zeros(2 * size))
    return np.linalg.eigvals(jacobian.double().numpy())


def by_variant(results: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The results of a study over weight seeds, as a list for each variant."""
    found: dict[str, list[Any]] = {}
    for name, result in results.items():
        found.setdefault(name.split(", weight seed")[0], []).append(result)
    return found
