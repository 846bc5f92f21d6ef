"""Notebook 03: three common policies of carrying, cutting and resetting, which fail at this task."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from lib.loader import FrequencyDataset, StatefulDataLoader
from lib.model import ModelConfig
from lib.recipe import Stage, TrainingConfig, TrainingRun, cosine, rate_at, update
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
