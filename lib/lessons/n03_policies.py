"""Notebook 03: policies of carrying and cutting that fail at this task; and the recipe's parts, shown on copies."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lib.lessons.clock import measure_clock
from lib.loader import FrequencyDataset, StatefulDataLoader
from lib.model import ModelConfig, StatefulLSTMExtractor
from lib.recipe import Stage, TrainingConfig, TrainingRun, cosine, polish, rate_at, tune, update
from lib.signals import Array
from lib.training import train

POLICIES = {  # samples that the gradient crosses, and whether the state is reset before every sample
    "reset every sample": (1, True),
    "carry, detach every step": (1, False),
    "carry, detach every 200": (200, False),
}
LONGER_CUTS = {f"carry, detach every {steps:,}": (steps, False) for steps in (1000, 2500)}


def detach_every(steps: int) -> Stage:
    """A stage for `train`: pass after pass over the recording, cut into batches of ``steps`` samples.

    The state is carried from batch to batch, and the gradient ends where a batch begins. The learning rate is
    constant, and falls along a cosine over the last ``anneal_updates`` of ``max_updates``.
    """

    def stage(run: TrainingRun) -> Iterator[float]:
        config = run.config
        loader = StatefulDataLoader(run.dataset, steps=min(steps, run.dataset.spec.n_samples))
        while run.updates < config.max_updates:
            for batch in islice(loader, run.age % len(loader), None):
                annealed = max(0, run.updates + config.anneal_updates - config.max_updates)
                yield update(run, batch, rate_at(config, loader.steps) * cosine(annealed / config.anneal_updates))
                if run.updates == config.max_updates:
                    break

    stage.__name__ = f"detach_every_{steps}"
    return stage


def train_policy(
    policy: str,
    dataset: FrequencyDataset,
    config: TrainingConfig,
    model_config: ModelConfig | None = None,
    checkpoint: Path | str | None = None,
    progress_bar: bool = True,
) -> TrainingRun:
    """Train with one of `POLICIES` or `LONGER_CUTS` in place of the recipe.

    The update, the rule for the learning rate and the validation are the same. There is no tuning and polishing.

    Raises:
        ValueError: there is no such policy.
    """
    known = POLICIES | LONGER_CUTS
    if policy not in known:
        raise ValueError(f"policy = {policy!r}: must be one of {', '.join(known)}")
    steps, memoryless = known[policy]
    return train(dataset, config, model_config, checkpoint, progress_bar, (detach_every(steps),), memoryless)


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
