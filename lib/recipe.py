"""How to train: where the state is reset and the gradient cut, and the learning rate that goes with it."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, Strict
from torch import Tensor, nn

from lib.loader import FrequencyDataset
from lib.model import StatefulLSTMExtractor
from lib.progress import Stage
from lib.settings import Settings

NoiseSeed = Annotated[int, Field(ge=0)]


class TrainingConfig(Settings):
    """How to train. One update is one step of the optimizer, on one batch of the loader.

    Attributes:
        policy: where the state is reset and the gradient cut. ``reset_every_sample``: the state never lives longer
            than one sample. ``detach_every_step``: carried, but no gradient crosses from sample to sample.
            ``detach_every_k``: carried, gradients cross ``detach_every`` samples. ``growing_horizon``: always from
            the start of the sequence, over a horizon that grows to its end; nothing is cut inside.
        detach_every: samples between cuts, for ``detach_every_k``.
        first_horizon: samples of the first horizon.
        horizon_growth: factor by which the horizon grows.
        grow_below: the horizon grows when the loss of an update falls below this. Where the horizon spans n periods
            of the slowest sine, it must fall below 1/n² of this, so that the rate becomes better faster than the
            horizon grows.
        learning_rate: Adam's, where the gradient crosses up to ``first_horizon`` samples.
        rate_exponent: where the gradient crosses n times as many samples, the learning rate is divided by n to this
            power.
        adam_beta2: decay of Adam's second moment.
        clip_norm: bound on the norm of the gradient.
        forget_bias: added to the bias of the forget gates at the start, so that the state is kept for long.
        signal_weight_scale: factor on the initial weights from S(t).
        signal_weight_decay: fraction of the weights from S(t) taken away at every update.
        max_updates: all updates, annealing and settling included.
        anneal_updates: updates over the full horizon in which the learning rate falls along a cosine. They begin when
            the horizon has grown to its end, or else in time to end with ``max_updates``.
        final_rate: the learning rate at the end of annealing, as a fraction of that at its beginning.
        polish_iterations: after annealing a growing horizon, iterations of L-BFGS on the head alone: `polish_head`.
        settle_updates: updates after that, again along a cosine, in which all weights settle together. They remove
            what is left of drift, which a head cannot.
        settle_rate: the learning rate at their beginning.
        weight_seed: seed of the initial weights.
        validation_noise_seeds: noise seeds that select the best weights; never those of training or test.
        validate_every: updates between validations.
        patience: stop when so many updates brought no better validation, not counting those in which the horizon
            grows; 0 means never.
        checkpoint_every: updates between checkpoints.
    """

    policy: Literal["reset_every_sample", "detach_every_step", "detach_every_k", "growing_horizon"] = "growing_horizon"
    detach_every: int = Field(200, ge=1)
    first_horizon: int = Field(250, ge=1)
    horizon_growth: float = Field(1.15, gt=1)
    grow_below: float = Field(5e-4, gt=0)
    learning_rate: float = Field(3e-3, gt=0)
    rate_exponent: float = Field(1.2, ge=0)
    adam_beta2: float = Field(0.99, gt=0, lt=1)
    clip_norm: float = Field(0.1, gt=0)
    forget_bias: float = 3.0
    signal_weight_scale: float = Field(0.1, ge=0)
    signal_weight_decay: float = Field(0.01, ge=0, lt=1)
    max_updates: int = Field(3850, ge=1)
    anneal_updates: int = Field(200, ge=1)
    final_rate: float = Field(0.01, gt=0, le=1)
    polish_iterations: int = Field(1000, ge=1)
    settle_updates: int = Field(150, ge=1)
    settle_rate: float = Field(1e-5, gt=0)
    weight_seed: int = Field(0, ge=0)
    validation_noise_seeds: Annotated[tuple[NoiseSeed, ...], Strict(False)] = (101, 102)
    validate_every: int = Field(100, ge=1)
    patience: int = Field(0, ge=0)
    checkpoint_every: int = Field(200, ge=1)

    def model_post_init(self, _context: Any) -> None:
        """Refuse stages longer than the whole."""
        if self.anneal_updates + self.settle_updates > self.max_updates:
            raise ValueError(
                f"max_updates = {self.max_updates}: must be at least anneal_updates + settle_updates = "
                f"{self.anneal_updates} + {self.settle_updates}"
            )
        if 0 < self.patience < self.validate_every:
            raise ValueError(
                f"patience = {self.patience}: must be 0 or at least validate_every = {self.validate_every}"
            )
        if not self.validation_noise_seeds:
            raise ValueError("validation_noise_seeds = (): must hold at least one noise seed")


def learning_rate(config: TrainingConfig, stage: Stage, steps: int, age: int) -> float:
    """Where the gradient crosses ``steps`` samples, ``age`` updates into the stage."""
    if stage == "settle":
        peak, length = config.settle_rate, config.settle_updates
    else:
        stretch = max(1.0, steps / config.first_horizon)
        peak = config.learning_rate * stretch**-config.rate_exponent
        length = config.anneal_updates
    fallen = 0.0 if stage == "grow" else age / length
    cosine = (1 + math.cos(math.pi * fallen)) / 2
    return peak * (config.final_rate + (1 - config.final_rate) * cosine)


def grows(config: TrainingConfig, periods: float, loss: float) -> bool:
    """Whether a horizon of so many periods of the slowest sine is mastered."""
    return loss < config.grow_below / max(1.0, periods) ** 2


def signal_weights(model: StatefulLSTMExtractor) -> Tensor:
    """The first layer's weights from S(t), feature 0 of the input: (4 · hidden_size,), outside the gradient graph."""
    return model.lstm.get_parameter("weight_ih_l0").data[:, 0]


def prepare_weights(model: StatefulLSTMExtractor, config: TrainingConfig) -> None:
    """Turn PyTorch's default weights into those of a network that remembers well and is hard of hearing."""
    size = model.config.hidden_size
    for layer in range(model.config.num_layers):
        bias = model.lstm.get_parameter(f"bias_ih_l{layer}").data  # gates in the order i, f, g, o
        bias[size : 2 * size] += config.forget_bias
    signal_weights(model).mul_(config.signal_weight_scale)


def polish_head(model: StatefulLSTMExtractor, dataset: FrequencyDataset, iterations: int) -> float:
    """Fit the head alone, with the motion of the state as it is.

    Once the state moves as it should, what is left of the error is mostly waveform: the head reads the loop in state
    space not quite as a sine. With the states recorded once, this is an ordinary small regression, smooth and without
    time, and L-BFGS in float64 solves it far better than stochastic steps through ten thousand samples can.

    Args:
        model: on the CPU; its head is changed, nothing else.
        dataset: the training data.
        iterations: of L-BFGS.

    Returns:
        The mean squared error over the fitted samples.
    """
    with model.evaluation_state():
        outputs, _ = model.lstm(model.input_norm(dataset.inputs))
        samples_per_period = dataset.spec.sample_rate / max(dataset.spec.frequencies)
        every = slice(None, None, 3 if samples_per_period >= 60 else 1)  # neighbours that are almost equal: a third
        states = model.output_norm(outputs)[:, every].double()
        targets = dataset.targets[:, every].double()
    head = model.head.double()
    optimizer = torch.optim.LBFGS(
        head.parameters(),
        max_iter=iterations,
        max_eval=2 * iterations,
        history_size=100,
        tolerance_grad=0,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(head(states), targets)
        loss.backward()
        return loss

    optimizer.step(closure)
    error = closure().item()
    head.float()
    return error
