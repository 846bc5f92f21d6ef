"""The recipe: grow, anneal, extend, tune, polish. Read it from top to bottom.

A stage yields the loss after every update; in between, `lib.training` validates, saves, and may go on after a crash.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, Strict
from torch import Tensor, nn

from lib.loader import Batch, FrequencyDataset, StatefulDataLoader
from lib.model import StatefulLSTMExtractor
from lib.settings import Settings
from lib.signals import Array, SignalSpec

Stage = Callable[["TrainingRun"], Iterable[float]]
FINAL_RATE = 0.03  # the rate at the end of annealing, as a fraction of its beginning
TUNE_STEPS = 4  # of Newton's method

NoiseSeeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), Strict(False)]


class TrainingConfig(Settings):
    """How to train. One update is one step of the optimizers. The horizon is the number of samples that it crosses."""

    weight_seed: int = Field(0, ge=0)  # of the initial weights
    forget_bias: float = 3.0  # added to the bias of the forget gates at the start, so that the state is kept for long
    rotors: bool = True  # begin with pairs of units that turn: `prepare_weights`
    train_signal_weights: bool = False  # train the weights from S(t) too; else they are zero
    clip_norm: float = Field(1.0, gt=0)  # bound on the norm of the gradient
    learning_rate: float = Field(3e-3, gt=0)  # the highest
    muon_rate: float = Field(0.3, ge=0)  # of the recurrent weights, as a fraction of it; 0: Adam trains them as well
    phase_step: float = Field(0.75, gt=0)  # bound on learning rate x horizon: `rate_at`
    grow_below: float = Field(2e-3, gt=0)  # the loss at which the horizon grows; training has to end below it
    growth: float = Field(1.15, gt=1)  # the factor by which it grows
    learn_periods: float = Field(2.5, gt=0)  # of the slowest sine: the horizon at which the waveform is learnt
    max_updates: int = Field(6000, ge=1)  # a safeguard: the horizon does not grow after so many
    anneal_updates: int = Field(1000, ge=1)
    polish_iterations: int = Field(1500, ge=1)
    validation_noise_seeds: NoiseSeeds = (101, 102)  # the weights with the lowest error on them are kept
    validate_every: int = Field(100, ge=1)  # updates, between validations and between checkpoints


@dataclass
class TrainingRun:
    """The state of a training, and at the end its result."""

    model: StatefulLSTMExtractor  # at the end with its best weights, in evaluation mode and without state
    dataset: FrequencyDataset
    config: TrainingConfig
    optimizers: list[torch.optim.Optimizer]
    memoryless: bool  # the state is reset before every sample, in training and in validation
    horizon: int  # samples of the next update; the whole recording, unless `grow` begins with fewer
    history: dict[str, list[float]] = field(default_factory=lambda: {"loss": [], "horizon": [], "learning_rate": []})
    stage: str = ""  # the present one; "done" at the end
    stage_ends: dict[str, int] = field(default_factory=dict)  # the updates at the end of each stage so far
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
        return self.updates - max(self.stage_ends.values(), default=0)

    @property
    def succeeded(self) -> bool:
        """Whether the validation error over the whole recording is below the loss at which the horizon grows."""
        return self.best_mse < self.config.grow_below

    @property
    def from_reset(self) -> Batch:
        """All lanes from their first sample to the horizon, as one batch."""
        return next(iter(StatefulDataLoader(self.dataset, steps=self.horizon)))


def signal_weights(model: StatefulLSTMExtractor) -> Tensor:
    """The first layer's weights from S(t), feature 0 of the input: (4 · hidden_size,), outside the gradient graph."""
    return model.lstm.get_parameter("weight_ih_l0").data[:, 0]


def prepare_weights(model: StatefulLSTMExtractor, config: TrainingConfig, spec: SignalSpec) -> None:
    """Open the forget gates, shut S out, and let pairs of the first layer's units turn, slow pairs to fast ones.

    The speeds ω run from half the slowest sine to twice the fastest, evenly on a logarithmic scale. While h and c are
    small, the output and input gates stand at 1/2 and the forget gate at k = σ(forget_bias); so c' = k c + W c / 4,
    and a pair turns by ω per sample if its part of W, the candidate's recurrent weights, is 4 (rotation by ω - k I).
    """
    size, pairs = model.config.hidden_size, model.config.hidden_size // 2
    for layer in range(model.config.num_layers):
        model.lstm.get_parameter(f"bias_ih_l{layer}").data[size : 2 * size] += config.forget_bias  # order: i, f, g, o
    if not config.train_signal_weights:
        signal_weights(model).zero_()
    if not config.rotors:
        return
    low, high = min(spec.frequencies) / 2, min(2 * max(spec.frequencies), spec.sample_rate / 2)
    place = (torch.arange(pairs) + 0.5) / max(pairs, 1)
    omega = 2 * math.pi * low * (high / low) ** place / spec.sample_rate  # rad per sample
    for name in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0"):  # a steady drive, if strong, would hold a slow pair still
        drive = model.lstm.get_parameter(name).data[2 * size :][: 2 * pairs]
        drive *= 10 * omega.repeat(2).reshape(-1, *[1] * (drive.ndim - 1))
    recurrent = model.lstm.get_parameter("weight_hh_l0").data[2 * size : 3 * size].zero_()
    one, other = torch.arange(2 * pairs).reshape(2, -1)  # the two units of each pair
    recurrent[one, one] = recurrent[other, other] = 4 * (torch.cos(omega) - 1 / (1 + math.exp(-config.forget_bias)))
    recurrent[other, one], recurrent[one, other] = 4 * torch.sin(omega), -4 * torch.sin(omega)


def new_optimizers(model: StatefulLSTMExtractor, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """Adam, and Muon for the recurrent weights: it turns the matrix in all directions at the same speed."""
    muon = [w for name, w in model.named_parameters() if "weight_hh" in name and config.muon_rate]
    adam = [w for w in model.parameters() if all(w is not other for other in muon)]
    found: list[torch.optim.Optimizer] = [torch.optim.Adam([{"params": adam, "factor": 1.0}], betas=(0.9, 0.99))]
    if muon:
        found.append(torch.optim.Muon([{"params": muon, "factor": config.muon_rate}], weight_decay=0.0))
    return found


def update(run: TrainingRun, batch: Batch, rate: float) -> float:
    """One step of the optimizers; returns the loss before it.

    All stages and policies share it. The gradient crosses all samples of the batch, and
    ends where the batch begins.
    """
    model = run.model.train()
    if run.memoryless and batch.x.shape[1] > 1:
        raise ValueError("memoryless = True: needs batches of one sample")
    reset = batch.is_first_batch or run.memoryless
    prediction = model(batch.x.to(model.device), reset_state=reset)
    loss = nn.functional.mse_loss(prediction, batch.y.to(model.device))
    model.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), run.config.clip_norm)
    for optimizer in run.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        optimizer.step()
    model.detach_state()
    if not run.config.train_signal_weights:
        signal_weights(model).zero_()
    entry = {"loss": loss.item(), "horizon": batch.x.shape[1], "learning_rate": rate}
    for name, value in entry.items():
        run.history[name].append(value)
    return entry["loss"]


def rate_at(config: TrainingConfig, horizon: int) -> float:
    """The rate for so many samples: a wrong speed adds up over all of them."""
    return min(config.learning_rate, config.phase_step / horizon)


def cosine(progress: float) -> float:
    """Factor of a rate that falls along a cosine, from 1 to `FINAL_RATE`."""
    return FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * progress)) / 2


def lengthen(run: TrainingRun, end: int, factor: float) -> Iterator[float]:
    """Train from reset; lengthen the horizon, up to its end, when the loss is small."""
    while run.horizon < end and run.updates < run.config.max_updates:
        rate = factor * rate_at(run.config, run.horizon)
        loss = update(run, run.from_reset, rate)
        if loss < run.config.grow_below:
            run.horizon = min(end, math.ceil(run.horizon * run.config.growth))
        yield loss


def grow(run: TrainingRun) -> Iterator[float]:
    """From a period of the fastest sine to a few of the slowest, a tenth at least."""
    spec = run.dataset.spec
    fast, slow = (spec.sample_rate / f(spec.frequencies) for f in (max, min))
    if run.age == 0:
        run.horizon = min(spec.n_samples, math.ceil(fast))
    end = math.ceil(max(run.config.learn_periods * slow, spec.n_samples / 10))
    return lengthen(run, min(spec.n_samples, end), 1.0)


def anneal(run: TrainingRun) -> Iterator[float]:
    """Learn the waveform at this horizon, while the rate falls along a cosine."""
    total, highest = run.config.anneal_updates, rate_at(run.config, run.horizon)
    for age in range(run.age, total):
        rate = highest * cosine(age / total)
        yield update(run, run.from_reset, rate)


def extend(run: TrainingRun) -> Iterator[float]:
    """Lengthen the horizon to the whole recording, at annealing's last rate."""
    return lengthen(run, run.dataset.spec.n_samples, FINAL_RATE)


def phase_rates(spec: SignalSpec) -> Array:
    """Rows r, (n_frequencies, n_samples): r · (output - sine) is the rate at which the output runs ahead, in rad/s.

    By least squares over the second half of the recording. A small phase φ(t) makes an error of φ(t) cos(ωt); harmonics
    and a change of amplitude are fitted beside it, so that they do not count as phase.
    """
    half = spec.n_samples // 2
    time = spec.time[half:] - spec.time[half:].mean()
    rows = np.zeros((spec.n_frequencies, spec.n_samples))
    for row, frequency in zip(rows, spec.frequencies, strict=True):
        if half / spec.sample_rate * frequency < 2:
            continue  # too few periods to tell a rate: the row stays zero, and this clock as it is
        angle = 2 * np.pi * frequency * spec.time[half:]
        orders = range(1, min(21, int(np.ceil(spec.sample_rate / 2 / frequency))))
        waves = [wave(order * angle) for order in orders for wave in (np.cos, np.sin)]
        terms = [time * np.cos(angle), time * np.sin(angle), np.ones_like(time), *waves]
        row[half:] = np.linalg.pinv(np.stack(terms, axis=1))[0]
    return rows


def tune(run: TrainingRun) -> Iterable[float]:
    """Set each clock right by Newton's method, with the selector's weights; no updates.

    The rate of each lane is one number. The smallest change of these weights that
    cancels all of them, to first order, solves a small linear system.
    """
    model, device = run.model.eval(), run.model.device
    weight = model.cpu().lstm.get_parameter("weight_ih_l0")
    rows = torch.as_tensor(phase_rates(run.dataset.spec), dtype=torch.float32)
    for _ in range(TUNE_STEPS):
        error = model(run.dataset.inputs, reset_state=True) - run.dataset.targets
        if not error.square().mean() < run.config.grow_below:
            break  # the phase is not small: growth has not succeeded
        rates = (rows * error[..., 0]).sum(dim=1)
        gradients = [torch.autograd.grad(r, weight, retain_graph=True) for r in rates]
        slopes = torch.stack([gradient[0][:, 1:] for gradient in gradients])
        step = torch.linalg.pinv(slopes.flatten(1).double()) @ rates.detach().double()
        weight.data[:, 1:] -= step.float().reshape(slopes.shape[1:])
    model.reset_state()
    model.to(device)
    return ()


def polish(run: TrainingRun) -> Iterable[float]:
    """Fit the head alone to the states as they now move, by L-BFGS in float64.

    The state turns as it should, but the head makes a curve of it that is not quite a
    sine. With the states recorded once, this is a small regression without time.
    """
    model, device, spec = run.model, run.model.device, run.dataset.spec
    with model.cpu().evaluation_state():
        outputs, _ = model.lstm(model.input_norm(run.dataset.inputs))
        # 24 samples in a period of the fastest sine are enough
        every = max(1, int(spec.sample_rate / max(spec.frequencies) / 24))
        states = model.output_norm(outputs)[:, ::every].double()
    targets, head = run.dataset.targets[:, ::every].double(), model.head.double()
    iterations = run.config.polish_iterations
    options: Any = {"max_iter": iterations, "max_eval": 2 * iterations}
    options |= {"tolerance_grad": 0, "tolerance_change": 0, "history_size": 100}
    fit = torch.optim.LBFGS(head.parameters(), line_search_fn="strong_wolfe", **options)

    def closure() -> Tensor:
        fit.zero_grad()
        loss = nn.functional.mse_loss(head(states), targets)
        loss.backward()
        return loss

    fit.step(closure)
    model.float().to(device)
    return ()


RECIPE: tuple[Stage, ...] = (grow, anneal, extend, tune, polish)
