"""An LSTM that listens: wired as a Kalman filter, with a head that is trained to make more of its state.

All small signals pass an LSTM unit as through a linear one, if its gates stand still. So some units can be a Kalman
filter: *resonators* turn at the speeds of the sines, and *innovations* correct them. An innovation is what S(t) holds
beyond the sum of the resonators. Its input gate is the gain of the filter: it closes as a *clock* fills.
"""

# ruff: noqa: N806  # F, H and K are the Kalman filter's

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from tqdm.auto import tqdm

from lib.checkpoint import REFERENCE, CheckpointError, find_checkpoint, save_checkpoint
from lib.lessons.filters import kalman_gains, mixture, transition
from lib.model import ModelConfig, StatefulLSTMExtractor
from lib.recipe import cosine
from lib.settings import Settings, usual_torch
from lib.signals import Array, SignalSpec, generate

TURN = 2 * np.pi
GAINS = 12  # speeds at which the input gates of the innovations close
SPEEDS = np.geomspace(0.008, 20, GAINS)  # s
RESONANCE, DRIVE, VIEW = 0.002, 0.1, 0.5  # amplitude of c in a resonator, slope of an innovation, slope of a view
CLOSED, AHEAD = 14.0, 4.0  # how far a filled clock closes an input gate, and how far open that gate begins
FILL = 0.5  # the candidate of a clock, before its tanh
OPEN, SHUT = 4.0, -12.0  # biases of a gate that stays open, or shut
SILENCED = 16.0  # how far the selector pulls down the head's units of the other sines
SHORT = 0.5  # s: in the first half second the most is learnt about the phases
SAVE_EVERY = 500  # updates
EXTRACTORS = (0.25, 0.5)  # widths of the phase noise for which an extractor is shipped


def listening(alpha: float, **changes: Any) -> SignalSpec:
    """Signals with a random start phase in every sequence, and centred phase noise: φ uniform within ±απ."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha = {alpha}: must be between 0, no phase noise, and 1, a whole turn")
    return SignalSpec(start_range=(0, TURN), phase_range=(-alpha * np.pi, alpha * np.pi), **changes)


PRESETS = {  # the weakened noises that solutions of the assignment retreat to
    "A 0.95 to 1.05, φ 0 to π/4": SignalSpec(
        start_range=(0, TURN), amplitude_range=(0.95, 1.05), phase_range=(0, np.pi / 4)
    ),
    "φ within ±π/2": listening(0.5),
}


class Units(NamedTuple):
    """Which units of the LSTM do what; ``n`` sines."""

    resonators: slice  # 2n: each sine and its cosine, small
    innovations: slice  # S(t) less the resonators' sum, times a gain
    clocks: slice  # they fill at different speeds
    views: slice  # 2n: the resonators again, of a size that other units can use
    selectors: slice  # n: which sine is asked for
    free: slice  # the rest: random

    @classmethod
    def of(cls, model: StatefulLSTMExtractor) -> Units:
        """The layout of a model with so many sines; ValueError if it is too small."""
        n, size = model.config.n_frequencies, model.config.hidden_size
        ends = np.cumsum([0, 2 * n, GAINS, GAINS, 2 * n, n])
        if size < ends[-1]:
            raise ValueError(f"hidden_size = {size}: must be at least {ends[-1]}, for {n} sines")
        if model.config.num_layers > 1 or model.config.head_size % n or not model.config.head_size:
            raise ValueError(f"model = {model.config}: must have one layer, and a head_size that {n} divides")
        return cls(*(slice(int(a), int(b)) for a, b in zip(ends, [*ends[1:], size], strict=True)))


def closing(samples: int, sample_rate: float) -> Array:
    """The input gates of the innovations, (samples, GAINS): each closes while its clock fills."""
    reached = 1 - np.exp(-np.arange(samples)[:, None] / (SPEEDS * sample_rate))
    filled = np.tanh(math.tanh(FILL) * reached) / math.tanh(math.tanh(FILL))  # h of a clock, of what it can reach
    return 1 / (1 + np.exp(CLOSED * filled - AHEAD))


def fitted_gains(spec: SignalSpec) -> Array:
    """Directions L, (GAINS, 2n): the sum of closing gates times L is the Kalman filter's gain, by least squares.

    The state that they drive is smaller than `kalman`'s: each sine is as large as what is left of it in n · S(t).
    """
    gains, expected = kalman_gains(spec)
    weight = 1 / np.sqrt(expected.mean(axis=0))[:, None]  # an error matters in proportion to what the filter knows
    gates = weight * closing(spec.n_samples, spec.sample_rate)
    square = gates.T @ gates
    ridge = 1e-8 * np.trace(square) / GAINS * np.eye(GAINS)
    return np.linalg.solve(square + ridge, gates.T @ (spec.n_frequencies * mixture(spec).gain * gains * weight))


def wire(spec: SignalSpec, hidden_size: int = 64, head_size: int = 128, weight_seed: int = 0) -> StatefulLSTMExtractor:
    """A new model whose units are a Kalman filter for these signals.

    Its head reads each sine with a share of its units, in random places, and silences those that are not selected.
    """
    with torch.random.fork_rng():
        torch.manual_seed(weight_seed)
        shape = ModelConfig(n_frequencies=spec.n_frequencies, hidden_size=hidden_size, head_size=head_size)
        model = StatefulLSTMExtractor(shape)
    units, n = Units.of(model), spec.n_frequencies
    named = {name: p.detach().double().numpy().copy() for name, p in model.lstm.named_parameters()}
    drive, weight, bias = named["weight_ih_l0"], named["weight_hh_l0"], named["bias_hh_l0"]
    named["bias_ih_l0"][:] = bias[:] = 0

    def rows(gate: str, of: slice) -> slice:
        start = "ifgo".index(gate) * hidden_size
        return slice(start + of.start, start + of.stop)

    drive[:, 1:] = 0  # only the selectors' units see the selector
    for gate in "ifgo":
        wired = rows(gate, slice(0, units.free.start))
        drive[wired] = weight[wired] = 0
        weight[rows(gate, units.free), : units.clocks.start] = 0  # too small to be seen
        weight[rows(gate, units.free), units.selectors] = 0
    drive[rows("g", units.free), 0] *= 6  # S is small
    bias[rows("f", units.free)] = 2
    F, H = transition(spec), np.tile([1.0, 0.0], n) / n  # what a resonator shows is as large as in n · S(t)
    K = F @ fitted_gains(spec).T  # (2n, GAINS)
    half = RESONANCE / 2  # the output gates of resonators and innovations are half open
    of_resonators, of_innovations = F / half, K / (DRIVE / 2)  # what the filter knows now, read from h before
    weight[rows("g", units.resonators), units.resonators] = 4 * F - 2 * np.eye(2 * n)
    weight[rows("g", units.resonators), units.innovations] = 2 * RESONANCE * of_innovations
    drive[rows("g", units.innovations), 0] = DRIVE
    weight[rows("g", units.innovations), units.resonators] = -DRIVE * (H @ of_resonators)
    weight[rows("g", units.innovations), units.innovations] = -DRIVE * (H @ of_innovations)
    bias[rows("f", units.innovations)] = SHUT
    keep = np.exp(-1 / (SPEEDS * spec.sample_rate))
    bias[rows("f", units.clocks)] = np.log(keep / (1 - keep))
    bias[rows("i", units.clocks)] = -np.log(keep / (1 - keep))
    bias[rows("g", units.clocks)] = FILL
    bias[rows("o", units.clocks)] = OPEN
    full = np.tanh(math.tanh(FILL)) / (1 + math.exp(-OPEN))  # a clock that has filled
    weight[rows("i", units.innovations), units.clocks] = -CLOSED / full * np.eye(GAINS)
    bias[rows("i", units.innovations)] = AHEAD
    weight[rows("g", units.views), units.resonators] = VIEW * of_resonators
    weight[rows("g", units.views), units.innovations] = VIEW * of_innovations
    drive[rows("g", units.selectors), 1:] = 10 * np.eye(n)
    for of in (units.views, units.selectors):
        bias[rows("i", of)] = bias[rows("o", of)] = OPEN
        bias[rows("f", of)] = SHUT
    for name, parameter in model.lstm.named_parameters():
        parameter.data.copy_(torch.as_tensor(named[name]))
    _wire_head(model, units)
    return model


def _wire_head(model: StatefulLSTMExtractor, units: Units) -> None:
    """A share of the head's units for each sine: directions in its plane; the selector silences all others."""
    (first, last), n = _linear(model), model.config.n_frequencies
    share = model.config.head_size // n
    angle = torch.arange(share) * 2 * math.pi / share
    opened = 1 / (1 + math.exp(-OPEN))
    held = opened * math.tanh(opened * math.tanh(10.0))  # h of a selector's unit while its sine is asked for
    first.weight.data[:, : units.free.start] = 0
    first.weight.data[:, units.clocks] = 0.3 * torch.randn(n * share, GAINS, generator=torch.Generator().manual_seed(0))
    first.weight.data[:, units.free] *= 0.1
    for i in range(n):
        block = slice(i * share, (i + 1) * share)
        columns = slice(units.views.start + 2 * i, units.views.start + 2 * i + 2)
        first.weight.data[block, columns] = 2 * torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)
        first.weight.data[block, units.selectors.start + i] = SILENCED / held
        last.weight.data[0, block] = 2 / share * torch.cos(angle)
    first.bias.data.copy_(0.1 - 0.8 * torch.rand(n * share, generator=torch.Generator().manual_seed(1)) - SILENCED)
    last.bias.data.zero_()


def _linear(model: StatefulLSTMExtractor) -> tuple[nn.Linear, nn.Linear]:
    """The two layers of the head."""
    first, last = (layer for layer in model.head if isinstance(layer, nn.Linear))
    return first, last


def states_under_none(model: StatefulLSTMExtractor, mixed: Array) -> Tensor:
    """The LSTM's hidden states under no selector, (sequences, samples, hidden_size), from S(t), (sequences, samples).

    Only the selectors' units and the head's biases depend on the selector, so one pass of the LSTM serves all.
    """
    x = torch.zeros(*mixed.shape, 1 + model.config.n_frequencies)
    x[..., 0] = torch.as_tensor(mixed)
    with torch.no_grad():
        return model.lstm(x)[0]


def from_states(model: StatefulLSTMExtractor, states: Tensor) -> Tensor:
    """The head's outputs for every selector, (..., n_frequencies), from the LSTM's states under none."""
    (first, last), n = _linear(model), model.config.n_frequencies
    inner = torch.relu(nn.functional.linear(states, first.weight, first.bias + SILENCED)).unflatten(-1, (n, -1))
    return (inner * last.weight.view(n, -1)).sum(dim=-1) + last.bias


def listen(model: StatefulLSTMExtractor, mixed: Array) -> Array:
    """What the extractor puts out for every selector, one sample after the other: (sequences, n_frequencies, samples).

    Equal to the roll-out with each selector, from one pass of the LSTM over S(t), (sequences, samples).
    """
    with torch.no_grad():
        rows = [mixed[first : first + 32] for first in range(0, len(mixed), 32)]
        outputs = torch.cat([from_states(model, states_under_none(model, some)) for some in rows])
    return outputs.double().numpy().transpose(0, 2, 1)


class ListeningConfig(Settings):
    """How the extractor is trained."""

    alpha: float = Field(0.25, ge=0, lt=1)  # width of the phase noise, as a share of a turn
    hidden_size: int = Field(64, ge=1)
    head_size: int = Field(512, ge=4)
    weight_seed: int = Field(0, ge=0)
    short_sequences: int = Field(8192, ge=4)  # of half a second
    long_sequences: int = Field(512, ge=4)  # of the whole duration
    updates: int = Field(8000, ge=1)
    learning_rate: float = Field(3e-3, gt=0)  # the highest; it falls along a cosine
    early: float = Field(3.0, ge=0)  # weight of the plain mean of the error: most of it lies in the first moments
    silence: float = Field(24.0, ge=0)  # weight of what is put out where nothing can be heard


class Lesson(NamedTuple):
    """One part of what every update learns from: recorded states of the LSTM, and what the head should make of them."""

    states: Tensor  # (sequences, times, hidden_size)
    targets: Tensor  # (sequences, times, n_frequencies)
    drawn: int  # sequences in an update
    weight: Tensor  # how much the squared error at each of the times counts

    def loss(self, model: StatefulLSTMExtractor, generator: torch.Generator) -> Tensor:
        """The weighted error on sequences that are drawn at random."""
        chosen = torch.randint(len(self.states), (self.drawn,), generator=generator)
        error = from_states(model, self.states[chosen]) - self.targets[chosen]
        return (error.square().mean(dim=(0, 2)) * self.weight).sum()


def record(
    model: StatefulLSTMExtractor, spec: SignalSpec, noise_seeds: Sequence[int], times: NDArray[np.int64]
) -> tuple[Tensor, Tensor]:
    """Run the LSTM over one sequence for each noise seed: its states and the targets at some times."""
    states, targets = [], []
    for first in range(0, len(noise_seeds), 64):
        _, mixed, pure = generate(spec, list(noise_seeds[first : first + 64]))
        states.append(states_under_none(model, mixed)[:, times].clone())
        targets.append(torch.as_tensor(pure[..., times], dtype=torch.float32).transpose(1, 2))
    return torch.cat(states), torch.cat(targets)


def lessons(model: StatefulLSTMExtractor, config: ListeningConfig) -> list[Lesson]:
    """Sequences of half a second and of the whole duration; and the same of pure noise, where silence is right.

    The error counts in proportion to what the filter expects at its moment, with all moments alike on a logarithmic
    scale of time; and once more, all samples alike.
    """
    spec, silent = listening(config.alpha), listening(1.0)
    expected = kalman_gains(spec)[1].mean(axis=0)
    early = np.arange(2, round(SHORT * spec.sample_rate), 5)
    late = np.unique(np.geomspace(0.3 * spec.sample_rate, spec.n_samples - 1, 150).astype(int))
    found: list[Lesson] = []
    for what, times, sequences, drawn in (
        (spec.but(duration=SHORT), early, config.short_sequences, 48),
        (spec, late, config.long_sequences, 16),
        (silent.but(duration=SHORT), early, config.short_sequences // 4, 12),
        (silent, late, config.long_sequences // 4, 4),
    ):
        first, samples = 1_000_000 * (len(found) + 1), np.gradient(times.astype(float))
        states, targets = record(model, what, range(first, first + sequences), times)
        if what.phase_range == silent.phase_range:
            targets.zero_()
            weight = config.silence * samples / spec.n_samples
        else:
            near = samples / (times + 0.02 * spec.n_samples) / np.log(1.02 / 0.02) / expected[times]
            weight = near + config.early * samples / expected.sum()
        found.append(Lesson(states, targets, drawn, torch.as_tensor(weight, dtype=torch.float32)))
    return found


@usual_torch()
def train_extractor(
    config: ListeningConfig, checkpoint: Path | str | None = None, progress_bar: bool = True
) -> StatefulLSTMExtractor:
    """Wire an LSTM as a filter, and train its head to make more of the states than a filter can.

    The noise and the start phases of the training are those of noise seeds from a million up. After a crash, the same
    call goes on from the checkpoint; on the CPU it ends with the same bits.

    Raises:
        CheckpointError: the checkpoint belongs to another configuration.
    """
    model = wire(listening(config.alpha), config.hidden_size, config.head_size, config.weight_seed)
    optimizer = torch.optim.Adam(model.head.parameters(), betas=(0.9, 0.99))
    settings = {"model": model.config.model_dump(mode="json"), "listening": config.model_dump(mode="json")}
    done, path = 0, Path(checkpoint) if checkpoint else None
    if path and (content := find_checkpoint(path)):
        if content.get("listening") != settings["listening"]:
            told = f"was made with {content.get('listening')}, but {settings['listening']} is asked for"
            raise CheckpointError(f"checkpoint = {path}: {told}; name another file, or remove this one")
        model.load_state_dict(content["weights"])
        optimizer.load_state_dict(content["optimizer"])
        done = content["updates"]
    parts = lessons(model, config) if done < config.updates else []
    with tqdm(initial=done, total=config.updates, disable=not progress_bar, leave=False) as bar:
        for update in range(done, config.updates):
            generator = torch.Generator().manual_seed(1_000_000 * config.weight_seed + update)
            loss = torch.stack([part.loss(model, generator) for part in parts]).sum()
            optimizer.zero_grad()
            loss.backward()
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * cosine(update / config.updates)
            optimizer.step()
            bar.update()
            bar.set_postfix_str(f"loss {loss.item():.2f}", refresh=False)
            ended = update + 1 == config.updates
            if path and ((update + 1) % SAVE_EVERY == 0 or ended):
                content = {"weights": model.state_dict(), "optimizer": optimizer.state_dict(), "updates": update + 1}
                save_checkpoint(path, settings | content | {"progress": {"stage": "done" if ended else "listen"}})
    return model.eval()


def extractor_path(alpha: float) -> Path:
    """Where the shipped extractor for one width of the phase noise lies."""
    return REFERENCE / f"extractor_{round(100 * alpha):03d}.pt"
