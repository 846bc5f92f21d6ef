"""Where a training run stands, and what it leaves behind."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from lib.model import StatefulLSTMExtractor

Stage = Literal["grow", "anneal", "settle", "done"]


@dataclass
class Progress:
    """Where a run stands: all that the loop needs besides weights, optimizer and random state."""

    update: int = 0
    position: int = 0
    horizon: int = 0
    stage: Stage = "grow"
    stage_start: int = 0
    best_mse: float = math.inf
    best_update: int = 0

    @property
    def done(self) -> bool:
        """Whether the training has ended."""
        return self.stage == "done"


@dataclass
class TrainingRun:
    """What `train` returns.

    Attributes:
        model: the network with its best weights, in evaluation mode and without state.
        history: lists of equal length, one entry per update: ``loss``, ``horizon``, ``learning_rate``.
        validation: lists of equal length, one entry per validation: ``update``, ``mse``.
        progress: where the run ended.
    """

    model: StatefulLSTMExtractor
    history: dict[str, list[float]] = field(default_factory=lambda: {"loss": [], "horizon": [], "learning_rate": []})
    validation: dict[str, list[float]] = field(default_factory=lambda: {"update": [], "mse": []})
    progress: Progress = field(default_factory=Progress)
