"""Notebook 03: its exercises, each with the check of an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from lib.lessons.exercises import check
from lib.loader import FrequencyDataset
from lib.model import ModelConfig
from lib.recipe import TrainingConfig, TrainingRun, rate_at
from lib.signals import SignalSpec
from lib.training import train


def check_1(rate: float | None) -> None:
    """The learning rate of growth at a horizon of 500 samples."""
    right = rate_at(TrainingConfig(), 500)
    check("3.1", rate, lambda x: np.isclose(x, right), "read the source of `rate_at` in 3.1")


def check_2(updates: int | None) -> None:
    """How many updates of 2,000 samples show as many rows as the table has."""
    rows = len(FrequencyDataset(SignalSpec(), 1))
    check("3.2", updates, lambda x: x * 2000 * 4 == rows, "rows in the table, over rows in an update")


def check_3(stage: Callable[[TrainingRun], Iterator[float]] | None) -> None:
    """A stage of five updates over the present horizon at a constant rate of 1e-3."""

    def is_right(stage: Callable[[TrainingRun], Iterator[float]]) -> bool:
        data = FrequencyDataset(SignalSpec(frequencies=(2.0, 5.0), sample_rate=100.0, duration=1.0), 1)
        losses: list[float] = []

        def noted(run: TrainingRun) -> Iterator[float]:
            for loss in stage(run):
                losses.append(loss)
                yield loss

        history = train(data, None, ModelConfig(hidden_size=4), progress_bar=False, stages=(noted,)).history
        rows = [history["learning_rate"], history["horizon"], history["loss"]]
        return rows == [[1e-3] * 5, [data.spec.n_samples] * 5, losses]

    check("3.3", stage, is_right, "`for _ in range(5)`, and in it `yield update(run, run.from_reset, …)`")


def check_4(loss: float | None) -> None:
    """The mean loss of ten updates over the whole recording, after thirty such updates without growth."""
    check("3.4", loss, lambda x: 0.3 < x < 0.7, "`train(…, stages=(anneal,)).history` holds the loss of every update")
