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

Stage = Callable[["TrainingRun"], Iterable[float]]


@dataclass
class TrainingRun:
    """The state of a training, and at the end its result."""

    model: StatefulLSTMExtractor  # at the end with its best weights, in evaluation mode and without state
    dataset: FrequencyDataset
    config: TrainingConfig
    optimizer: torch.optim.Adam
    memoryless: bool  # the state is reset before every sample, in training and in validation
    horizon: int  # samples of the next update, at first ``first_horizon``
    history: dict[str, list[float]] = field(default_factory=lambda: {"loss": [], "horizon": [], "learning_rate": []})
    # kept by `lib.training`:
    stage: str = ""  # the present one; "done" at the end
    stage_start: int = 0  # updates before it
    validation: dict[str, list[float]] = field(default_factory=lambda: {"update": [], "mse": []})
    best_mse: float = math.inf  # the lowest validation error so far
    best_weights: dict[str, Tensor] = field(default_factory=dict)  # the weights that reached it

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
    """A new Adam optimizer that has seen no gradients."""
    return torch.optim.Adam(model.parameters(), betas=(0.9, config.adam_beta2))


def update(run: TrainingRun, batch: Batch, rate: float) -> float:
    """One step of the optimizer; returns the loss before it.

    All stages and policies share it. The gradient crosses all samples of the batch, and
    ends where the batch begins.
    """
    model = run.model.train()
    if run.memoryless and batch.x.shape[1] > 1:
        raise ValueError("memoryless = True: needs batches of one sample")
    reset = batch.is_first_batch or run.memoryless
    prediction = model(batch.x.to(model.device), reset_state=reset)
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
    """The learning rate for a gradient that crosses so many samples."""
    stretch = max(1.0, horizon / config.first_horizon)
    return config.learning_rate * stretch**-config.rate_exponent


def cosine(config: TrainingConfig, progress: float) -> float:
    """Factor of a rate that falls along a cosine, from 1 to ``final_rate``."""
    height = (1 + math.cos(math.pi * progress)) / 2
    return config.final_rate + (1 - config.final_rate) * height


def threshold(config: TrainingConfig, periods: float) -> float:
    """The loss below which a horizon of so many periods of the slowest sine grows."""
    return config.grow_below / max(1.0, periods) ** 2


def grow(run: TrainingRun) -> Iterator[float]:
    """Train from reset over a short horizon; lengthen it when the loss is small."""
    config, spec = run.config, run.dataset.spec
    last = config.max_updates - config.anneal_updates - config.settle_updates
    while run.horizon < spec.n_samples and run.updates < last:
        loss = update(run, run.from_reset, rate_at(config, run.horizon))
        periods = run.horizon / spec.sample_rate * min(spec.frequencies)
        if loss < threshold(config, periods):
            longer = math.ceil(run.horizon * config.horizon_growth)
            run.horizon = min(spec.n_samples, longer)
        yield loss


def fall(run: TrainingRun, updates: int, highest: float) -> Iterator[float]:
    """Train over the whole recording, while the rate falls along a cosine."""
    run.horizon = run.dataset.spec.n_samples
    for age in range(run.age, updates):
        rate = highest * cosine(run.config, age / updates)
        yield update(run, run.from_reset, rate)


def anneal(run: TrainingRun) -> Iterable[float]:
    """Let the learning rate fall from where growth has left it."""
    highest = rate_at(run.config, run.dataset.spec.n_samples)
    return fall(run, run.config.anneal_updates, highest)


def polish_head(model: StatefulLSTMExtractor, dataset: FrequencyDataset, iterations: int) -> float:
    """Fit the head of a model on the CPU to recorded states, by L-BFGS in float64; returns the mean squared error.

    When the state moves as it should, most of the error is waveform: the head turns the loop in state space into a
    curve that is not quite a sine. With the states recorded once, this is a small regression without time. L-BFGS
    solves it far better than stochastic steps through the whole sequence do.
    """
    with model.evaluation_state():
        outputs, _ = model.lstm(model.input_norm(dataset.inputs))
        samples_per_period = dataset.spec.sample_rate / max(dataset.spec.frequencies)
        every = slice(
            None, None, 3 if samples_per_period >= 60 else 1
        )  # neighbours are almost equal then: every third is enough
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


def polish(run: TrainingRun) -> Iterable[float]:
    """Take the best weights so far, and fit the head alone; no updates."""
    device = run.model.device
    run.model.load_state_dict(run.best_weights)
    polish_head(run.model.cpu(), run.dataset, run.config.polish_iterations)
    run.optimizer = new_optimizer(run.model.to(device), run.config)
    return ()


def settle(run: TrainingRun) -> Iterable[float]:
    """Train all weights at a very small rate, which corrects the rate of the clock."""
    return fall(run, run.config.settle_updates, run.config.settle_rate)


RECIPE: tuple[Stage, ...] = (grow, anneal, polish, settle)
