"""The recipe: grow, anneal, polish, settle. Read it from top to bottom.

A stage is a function of the run. It yields the loss after every update, so that `lib.training` can validate, save and
show progress in between, and can go on in mid-stage after a crash.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lib.loader import Batch, FrequencyDataset, StatefulDataLoader
from lib.model import StatefulLSTMExtractor
from lib.settings import TrainingConfig


@dataclass
class TrainingRun:
    """A training on its way, and what it leaves behind."""

    model: StatefulLSTMExtractor  # at the end with its best weights, in evaluation mode and without state
    dataset: FrequencyDataset
    config: TrainingConfig
    optimizer: torch.optim.Adam
    memoryless: bool  # the state is reset before every sample, in training and in validation
    horizon: int  # samples of the next update
    stage: str  # the present one; "done" at the end
    stage_start: int = 0  # updates before it
    history: dict[str, list[float]] = field(default_factory=lambda: {"loss": [], "horizon": [], "learning_rate": []})
    validation: dict[str, list[float]] = field(default_factory=lambda: {"update": [], "mse": []})
    best_mse: float = math.inf  # the lowest validation error so far
    best_weights: dict[str, Tensor] = field(default_factory=dict)  # that reached it, on the CPU

    @property
    def updates(self) -> int:
        """Updates so far."""
        return len(self.history["loss"])

    @property
    def age(self) -> int:
        """Updates so far in the present stage."""
        return self.updates - self.stage_start

    @property
    def from_reset(self) -> Batch:
        """All lanes from their first sample to the horizon, as one batch."""
        return next(iter(StatefulDataLoader(self.dataset, steps=self.horizon, horizon=self.horizon)))


def signal_weights(model: StatefulLSTMExtractor) -> Tensor:
    """The first layer's weights from S(t), feature 0 of the input: (4 · hidden_size,), outside the gradient graph."""
    return model.lstm.get_parameter("weight_ih_l0").data[:, 0]


def prepare_weights(model: StatefulLSTMExtractor, config: TrainingConfig) -> None:
    """Open the forget gates, so that the network remembers, and make the weights from S small."""
    size = model.config.hidden_size
    for layer in range(model.config.num_layers):
        bias = model.lstm.get_parameter(f"bias_ih_l{layer}").data  # gates in the order i, f, g, o
        bias[size : 2 * size] += config.forget_bias
    signal_weights(model).mul_(config.signal_weight_scale)


def new_optimizer(model: StatefulLSTMExtractor, config: TrainingConfig) -> torch.optim.Adam:
    """Adam without any memory of gradients."""
    return torch.optim.Adam(model.parameters(), betas=(0.9, config.adam_beta2))


def update(run: TrainingRun, batch: Batch, rate: float) -> float:
    """One step of the optimizer at a learning rate: the same for all stages and all policies.

    The gradient crosses all samples of the batch, and ends where the batch begins. Returns the mean squared error
    over the batch before the step.
    """
    model = run.model.train()
    prediction = model(batch.x.to(model.device), reset_state=batch.is_first_batch or run.memoryless)
    loss = nn.functional.mse_loss(prediction, batch.y.to(model.device))
    run.optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), run.config.clip_norm)
    run.optimizer.param_groups[0]["lr"] = rate
    run.optimizer.step()
    model.detach_state()
    signal_weights(model).mul_(1 - run.config.signal_weight_decay)
    entry = {"loss": loss.item(), "horizon": batch.x.shape[1], "learning_rate": rate}
    for name, value in entry.items():
        run.history[name].append(value)
    return entry["loss"]


def rate_at(config: TrainingConfig, horizon: int) -> float:
    """The learning rate where the gradient crosses so many samples: the longer, the smaller."""
    return config.learning_rate * max(1.0, horizon / config.first_horizon) ** -config.rate_exponent


def cosine(config: TrainingConfig, progress: float) -> float:
    """Factor on a learning rate that falls along a cosine: 1 at progress 0, ``final_rate`` at 1."""
    return config.final_rate + (1 - config.final_rate) * (1 + math.cos(math.pi * progress)) / 2


def threshold(config: TrainingConfig, periods: float) -> float:
    """The loss below which a horizon of so many periods of the slowest sine grows."""
    return config.grow_below / max(1.0, periods) ** 2


def grow(run: TrainingRun) -> Iterator[float]:
    """Train from reset over a short horizon; lengthen it whenever the loss is below the threshold."""
    config, spec = run.config, run.dataset.spec
    last = config.max_updates - config.anneal_updates - config.settle_updates
    while run.horizon < spec.n_samples and run.updates < last:
        loss = update(run, run.from_reset, rate_at(config, run.horizon))
        if loss < threshold(config, run.horizon / spec.sample_rate * min(spec.frequencies)):
            run.horizon = min(spec.n_samples, math.ceil(run.horizon * config.horizon_growth))
        yield loss


def anneal(run: TrainingRun) -> Iterator[float]:
    """Train over the whole recording, while the learning rate falls along a cosine."""
    run.horizon = run.dataset.spec.n_samples
    highest = rate_at(run.config, run.horizon)
    for age in range(run.age, run.config.anneal_updates):
        yield update(run, run.from_reset, highest * cosine(run.config, age / run.config.anneal_updates))


def polish(run: TrainingRun) -> Iterable[float]:
    """Take the best weights so far, and fit the head to the motion of the state as it is: `polish_head`."""
    device = run.model.device
    run.model.load_state_dict(run.best_weights)
    polish_head(run.model.cpu(), run.dataset, run.config.polish_iterations)
    run.optimizer = new_optimizer(run.model.to(device), run.config)
    return ()  # no updates


def settle(run: TrainingRun) -> Iterator[float]:
    """Train all weights together at a very small learning rate. This removes drift, which a head cannot."""
    run.horizon = run.dataset.spec.n_samples
    for age in range(run.age, run.config.settle_updates):
        yield update(run, run.from_reset, run.config.settle_rate * cosine(run.config, age / run.config.settle_updates))


Stage = Callable[[TrainingRun], Iterable[float]]
RECIPE: tuple[Stage, ...] = (grow, anneal, polish, settle)


def polish_head(model: StatefulLSTMExtractor, dataset: FrequencyDataset, iterations: int) -> float:
    """Fit the head of a model on the CPU to recorded states, by L-BFGS in float64; returns the mean squared error.

    When the state moves as it should, most of the error is waveform: the head turns the loop in state space into a
    curve that is not quite a sine. With the states recorded once, this is a small regression without time. L-BFGS
    solves it far better than stochastic steps through the whole sequence do.
    """
    with model.evaluation_state():
        outputs, _ = model.lstm(model.input_norm(dataset.inputs))
        samples_per_period = dataset.spec.sample_rate / max(dataset.spec.frequencies)
        every = slice(None, None, 3 if samples_per_period >= 60 else 1)  # neighbours that are almost equal: a third
        states = model.output_norm(outputs)[:, every].double()
        targets = dataset.targets[:, every].double()
    head = model.head.double()
    options: Any = {"max_iter": iterations, "max_eval": 2 * iterations, "history_size": 100}
    options |= {"tolerance_grad": 0, "tolerance_change": 0, "line_search_fn": "strong_wolfe"}
    optimizer = torch.optim.LBFGS(head.parameters(), **options)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(head(states), targets)
        loss.backward()
        return loss

    optimizer.step(closure)
    error = closure().item()
    head.float()
    return error
