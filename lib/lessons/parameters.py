"""All notebooks: what their parameters cells may hold, and how they begin."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from IPython import get_ipython
from pydantic import Field, field_validator

from lib.checkpoint import REFERENCE_CHECKPOINT, find_checkpoint, from_home, is_finished, load_checkpoint
from lib.lessons.claims import mark_failed_claims
from lib.model import ModelConfig
from lib.recipe import TrainingConfig
from lib.settings import Settings
from lib.signals import SignalSpec

CHECKPOINT_NAME = "checkpoint.pt"
FIRST_UNSEEN_SEED = 1000
FIRST_SEQUENCE_SEED = 4000


class NotebookParameters(Settings):
    """Every parameter that a notebook may have; each notebook uses some of them.

    Attributes:
        run_dir: folder of the run, made if need be; empty keeps nothing and uses the reference checkpoint.
        train_noise_seed: noise seed of the training data.
        test_noise_seed: noise seed of the test data.
        weight_seed: seed of the initial weights.
        hidden_size: units of the LSTM.
        max_updates: a safeguard of the training: its horizon does not grow after so many updates.
        unseen_seeds: how many further noise seeds to test on.
        sequences: how many sequences with start phases of their own to test on, in notebook 07.
        frequencies: of the sines, in Hz.
        sample_rate: in Hz.
        duration: of a recording, in s.
        phase_turns: width of the phase noise, in turns; 1 is the assignment's, less is centred about zero.
    """

    run_dir: str = ""
    train_noise_seed: int = Field(1, ge=0, lt=2**32)
    test_noise_seed: int = Field(2, ge=0, lt=2**32)
    weight_seed: int = Field(0, ge=0, lt=2**32)
    hidden_size: int = Field(32, ge=1, le=512)
    max_updates: int = Field(6000, ge=1, le=1_000_000)
    unseen_seeds: int = Field(100, ge=2, le=10_000)
    sequences: int = Field(48, ge=4, le=1000)
    frequencies: list[float] = Field([1.0, 3.0, 5.0, 7.0])
    sample_rate: float = 1000.0
    duration: float = 10.0
    phase_turns: float = Field(1.0, ge=0, le=1)

    @field_validator("run_dir")
    @classmethod
    def _from_home(cls, value: str) -> str:
        return str(from_home(value)) if value else value

    def model_post_init(self, _context: object) -> None:
        """Refuse signals that cannot be, and noise seeds that have another use already."""
        least = 2 / min(self.spec.frequencies)
        if self.duration < least:
            told = f"must hold two periods of the slowest sine, {least:g} s, so that its end tells more than its start"
            raise ValueError(f"duration = {self.duration}: {told}")
        given = self.model_fields_set
        if {"train_noise_seed", "test_noise_seed"} <= given and self.train_noise_seed == self.test_noise_seed:
            raise ValueError(
                f"test_noise_seed = {self.test_noise_seed}: must differ from train_noise_seed, "
                "or the test would see the training noise"
            )
        validation = TrainingConfig().validation_noise_seeds
        unseen = self.unseen if "unseen_seeds" in given else range(0)
        for name in ("train_noise_seed", "test_noise_seed"):
            for seeds, use in ((validation, "select the weights"), (unseen, "are this notebook's unseen seeds")):
                if getattr(self, name) in seeds:
                    raise ValueError(
                        f"{name} = {getattr(self, name)}: must be none of {seeds[0]} to {seeds[-1]}, which {use}"
                    )

    @property
    def sequence_seeds(self) -> range:
        """The noise seeds of the sequences of notebook 07: neither its training nor its settings have seen them."""
        return range(FIRST_SEQUENCE_SEED, FIRST_SEQUENCE_SEED + self.sequences)

    @property
    def unseen(self) -> range:
        """The unseen noise seeds."""
        return range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + self.unseen_seeds)

    @property
    def spec(self) -> SignalSpec:
        """The signals."""
        half = np.pi * self.phase_turns  # less than a turn is centred, so that what is left of a sine is in step
        return SignalSpec(
            frequencies=tuple(self.frequencies),
            sample_rate=self.sample_rate,
            duration=self.duration,
            phase_range=(-half, half) if self.phase_turns < 1 else (0.0, 2 * np.pi),
        )

    @property
    def own_checkpoint(self) -> Path | None:
        """Where this run keeps its training; None without a run folder."""
        return Path(self.run_dir) / CHECKPOINT_NAME if self.run_dir else None

    @property
    def checkpoint(self) -> Path:
        """The run's own checkpoint if notebook 03 has finished one, else the reference one."""
        own = self.own_checkpoint
        content = find_checkpoint(own) if own else None
        return own if own and content and is_finished(content) else REFERENCE_CHECKPOINT

    @property
    def comparison(self) -> Path:
        """The second network of notebooks 04 to 06: the reference, or for signals unknown to it this run's own."""
        assignment = SignalSpec()
        known = (self.spec.frequencies, self.sample_rate) == (assignment.frequencies, assignment.sample_rate)
        return REFERENCE_CHECKPOINT if known else self.checkpoint

    @property
    def published(self) -> bool:
        """Whether the network in use was trained as the shipped ones: for others the notebooks' claims may not hold."""
        content = load_checkpoint(self.checkpoint)
        kinds = {"signal": SignalSpec(), "model": ModelConfig(), "training": TrainingConfig()}
        as_shipped = all(content[kind] == settings.model_dump(mode="json") for kind, settings in kinds.items())
        return self.checkpoint == REFERENCE_CHECKPOINT or (as_shipped and content["train_noise_seed"] == 1)


def choices(spec: SignalSpec) -> list[tuple[str, int]]:
    """Name and index of each frequency, for menus and tables: ``("3 Hz", 1)``."""
    return [(name, index) for index, name in enumerate(spec.names)]


def begin_notebook(**parameters: Any) -> NotebookParameters:
    """Check a notebook's parameters, start the log, settle PyTorch's threads and types, and mark failed claims.

    Args:
        **parameters: the variables of the notebook's parameters cell.

    Returns:
        The checked parameters.

    Raises:
        SettingsError: names each bad parameter, its value and what is permitted.
    """
    if (shell := get_ipython()) is not None:
        shell.colors = "nocolor"  # the coloured words of a traceback are too pale on JupyterLab's red ground
        mark_failed_claims(shell)
    checked = NotebookParameters(**parameters)
    torch.set_num_threads(1)  # the lanes are too few to share out: a second thread makes every call slower
    torch.set_default_dtype(torch.float32)  # the reader's own start-up files may have set others
    torch.set_default_device(None)
    torch.set_grad_enabled(True)
    if checked.run_dir:
        log_into(Path(checked.run_dir))
        logging.getLogger("lib").info("parameters: %s", dict(checked))
    return checked


def log_into(folder: Path) -> None:
    """Let this process write its log into ``folder/run.log``, behind what is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=folder / "run.log",
        encoding="utf-8",
        level=logging.INFO,
        format="%(asctime)s %(name)s: %(message)s",
        force=True,
    )
