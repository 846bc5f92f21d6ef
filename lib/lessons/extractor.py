"""Notebook 07: signals that can be listened to, the training of the extractor, and how well it listens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from tqdm.auto import tqdm

from lib.checkpoint import REFERENCE, CheckpointError, find_checkpoint, save_checkpoint
from lib.lessons.filters import kalman_gains
from lib.lessons.wired_extractor import all_outputs, from_states, wire
from lib.model import StatefulLSTMExtractor
from lib.recipe import cosine
from lib.settings import Settings, usual_torch
from lib.signals import Array, SignalSpec, generate

TURN = 2 * np.pi
SHORT = 0.5  # s: in the first half second the most is learnt about the phases
SAVE_EVERY = 500  # updates


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


class Pool(NamedTuple):
    """Recorded states of the LSTM, with what the head should make of them."""

    states: Tensor  # (sequences, times, hidden_size)
    targets: Tensor  # (sequences, times, n_frequencies)
    times: NDArray[np.int64]  # which samples

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Some sequences at random."""
        chosen = torch.randint(len(self.states), (count,), generator=generator)
        return self.states[chosen], self.targets[chosen]


def record(
    model: StatefulLSTMExtractor, spec: SignalSpec, noise_seeds: Sequence[int], times: NDArray[np.int64]
) -> Pool:
    """Run the LSTM over one sequence for each noise seed, and keep its states at some times."""
    states, targets = [], []
    for first in range(0, len(noise_seeds), 64):
        _, mixed, pure = generate(spec, list(noise_seeds[first : first + 64]))
        x = torch.zeros(*mixed.shape, 1 + spec.n_frequencies)
        x[..., 0] = torch.as_tensor(mixed)
        with torch.no_grad():
            states.append(model.lstm(x)[0][:, times].clone())
        targets.append(torch.as_tensor(pure[..., times], dtype=torch.float32).transpose(1, 2))
    return Pool(torch.cat(states), torch.cat(targets), times)


class Lesson(NamedTuple):
    """One part of what every update learns from."""

    pool: Pool
    drawn: int  # sequences in an update
    weight: Tensor  # how much the squared error at each of the pool's times counts
    silent: bool  # whether the head should put out nothing

    def loss(self, model: StatefulLSTMExtractor, generator: torch.Generator) -> Tensor:
        """The weighted error on sequences that are drawn from the pool."""
        states, targets = self.pool.draw(self.drawn, generator)
        error = from_states(model, states) - (0 if self.silent else targets)
        return (error.square().mean(dim=(0, 2)) * self.weight).sum()


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
    for what, times, sequences, count in (
        (spec.but(duration=SHORT), early, config.short_sequences, 48),
        (spec, late, config.long_sequences, 16),
        (silent.but(duration=SHORT), early, config.short_sequences // 4, 12),
        (silent, late, config.long_sequences // 4, 4),
    ):
        is_silent, samples = what.phase_range == silent.phase_range, np.gradient(times.astype(float))
        near = samples / (times + 0.02 * spec.n_samples) / np.log(1.02 / 0.02) / expected[times]
        weight = (
            config.silence * samples / spec.n_samples if is_silent else near + config.early * samples / expected.sum()
        )
        first = 1_000_000 * (len(found) + 1)
        pool = record(model, what, range(first, first + sequences), times)
        found.append(Lesson(pool, count, torch.as_tensor(weight, dtype=torch.float32), is_silent))
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


EXTRACTORS = (0.25, 0.5)  # widths of the phase noise for which an extractor is shipped


def extractor_path(alpha: float) -> Path:
    """Where the shipped extractor for one width of the phase noise lies."""
    return REFERENCE / f"extractor_{round(100 * alpha):03d}.pt"


def listen(model: StatefulLSTMExtractor, mixed: Array) -> Array:
    """What the extractor puts out for every selector, one sample after the other: (sequences, n_frequencies, samples).

    Equal to the roll-out with each selector, from one pass of the LSTM.
    """
    with torch.no_grad():
        outputs = [all_outputs(model, rows) for rows in torch.as_tensor(mixed, dtype=torch.float32).split(32)]
    return torch.cat(outputs).double().numpy().transpose(0, 2, 1)
