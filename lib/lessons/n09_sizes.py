"""Notebook 09: what a hidden size costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from lib.loader import FrequencyDataset
from lib.model import ModelConfig, StatefulLSTMExtractor
from lib.recipe import TrainingConfig, TrainingRun, anneal
from lib.signals import SignalSpec
from lib.training import train


def parameters_in(**shape: Any) -> int:
    """Trainable numbers in a network of this shape: fields of `ModelConfig`."""
    return sum(weights.numel() for weights in StatefulLSTMExtractor(**shape).parameters())


def seconds_of_update(size: int, horizon: int = 2500, updates: int = 2) -> float:
    """The shortest of some updates of a network of this hidden size from reset, in seconds, on this computer."""
    spec = SignalSpec(duration=horizon / SignalSpec().sample_rate)
    config = TrainingConfig(anneal_updates=updates, validate_every=updates + 1)
    moments = [time.perf_counter()]

    def timed(run: TrainingRun) -> Iterator[float]:
        for loss in anneal(run):
            moments.append(time.perf_counter())
            yield loss

    train(FrequencyDataset(spec, 1), config, ModelConfig(hidden_size=size), progress_bar=False, stages=(timed,))
    return float(np.diff(moments).min())
