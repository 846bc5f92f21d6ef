"""All notebooks: what their parameters cells may hold, and how they begin."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from IPython import get_ipython
from pydantic import Field, ValidationInfo, field_validator

from lib.checkpoint import REFERENCE_CHECKPOINT, find_checkpoint, from_home, is_finished, load_checkpoint
from lib.lessons.claims import mark_failed_claims
from lib.model import ModelConfig
from lib.recipe import TrainingConfig
from lib.settings import Settings, SettingsError
from lib.signals import SignalSpec

CHECKPOINT_NAME = "checkpoint.pt"
FIRST_UNSEEN_SEED = 1000
FIRST_SEQUENCE_SEED = 4000
LIBRARY: dict[str, type[Settings]] = {"spec": SignalSpec, "model": ModelConfig, "training": TrainingConfig}
NoiseSeed = Annotated[int, Field(ge=0, lt=2**32)]


class NotebookParameters(Settings):
    """The parameters of a notebook: those that stand first here, and the settings of the library, by their names.

    Attributes:
        run_dir: folder of the run, made if need be; empty keeps nothing and uses the reference checkpoint.
        train_noise_seed: noise seed of the training data.
        test_noise_seed: noise seed of the test data.
        unseen_seeds: how many further noise seeds to test on.
        sequences: how many sequences with start phases of their own to test on, in notebook 07.
        phase_turns: width of the phase noise, in turns; 1 is the assignment's, less is centred about zero.
        spec: the signals, with this phase noise; model: the network's shape, for these signals; training: how to train.
        given: the parameters as they were given, without run_dir; metrics are kept with them.
    """

    run_dir: str = ""
    train_noise_seed: NoiseSeed = 1
    test_noise_seed: NoiseSeed = 2
    unseen_seeds: int = Field(100, ge=2, le=10_000)
    sequences: int = Field(48, ge=4, le=1000)
    phase_turns: float = Field(1.0, ge=0, le=1)
    spec: SignalSpec
    model: ModelConfig
    training: TrainingConfig
    given: dict[str, Any]

    def __init__(self, **given: Any) -> None:
        """Check the parameters; SettingsError names each bad one, its value and what is permitted."""
        for name in given.keys() - PARAMETERS:
            permitted = ", ".join(sorted(PARAMETERS))
            raise SettingsError(f"unknown parameter {name!r} (value {given[name]!r}); permitted: {permitted}")
        parts = {
            part: kind(**{name: value for name, value in given.items() if name in kind.model_fields})
            for part, kind in LIBRARY.items()
        }
        own = {name: value for name, value in given.items() if name in type(self).model_fields}
        super().__init__(**own, **parts, given={name: value for name, value in given.items() if name != "run_dir"})

    @field_validator("run_dir")
    @classmethod
    def _from_home(cls, value: str) -> str:
        return str(from_home(value)) if value else value

    @field_validator("spec")
    @classmethod
    def _with_phase_noise(cls, spec: SignalSpec, before: ValidationInfo) -> SignalSpec:
        half = np.pi * before.data.get("phase_turns", 1)  # less than a turn is centred: then a sine is left in step
        return spec.but(phase_range=(-half, half)) if half < np.pi else spec

    @field_validator("model")
    @classmethod
    def _for_these_signals(cls, model: ModelConfig, before: ValidationInfo) -> ModelConfig:
        return model.but(n_frequencies=before.data["spec"].n_frequencies)

    def model_post_init(self, _context: object) -> None:
        """Refuse recordings that are too short, and seeds that are too large or have another use already."""
        least = 2 / min(self.spec.frequencies)
        if self.spec.duration < least:
            told = f"must hold two periods of the slowest sine, {least:g} s, so that its end tells more than its start"
            raise ValueError(f"duration = {self.spec.duration}: {told}")
        if self.training.weight_seed >= 2**32:
            raise ValueError(f"weight_seed = {self.training.weight_seed}: must be less than 2**32")
        if self.train_noise_seed == self.test_noise_seed and {"train_noise_seed", "test_noise_seed"} <= {*self.given}:
            raise ValueError(
                f"test_noise_seed = {self.test_noise_seed}: must differ from train_noise_seed, "
                "or the test would see the training noise"
            )
        taken: dict[str, Sequence[int]] = {"select the weights": self.training.validation_noise_seeds}
        taken |= {"are this notebook's unseen seeds": self.unseen} if "unseen_seeds" in self.given else {}
        for name in ("train_noise_seed", "test_noise_seed"):
            for use, seeds in taken.items():
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
        known = (self.spec.frequencies, self.spec.sample_rate) == (assignment.frequencies, assignment.sample_rate)
        return REFERENCE_CHECKPOINT if known else self.checkpoint

    @property
    def published(self) -> bool:
        """Whether the network in use was trained as the shipped ones: for others the notebooks' claims may not hold."""
        content = load_checkpoint(self.checkpoint)
        kinds = {"signal": SignalSpec(), "model": ModelConfig(), "training": TrainingConfig()}
        as_shipped = all(content[kind] == settings.model_dump(mode="json") for kind, settings in kinds.items())
        return self.checkpoint == REFERENCE_CHECKPOINT or (as_shipped and content["train_noise_seed"] == 1)


PARAMETERS = {*NotebookParameters.model_fields, *(name for kind in LIBRARY.values() for name in kind.model_fields)}
PARAMETERS -= {*LIBRARY, "given", "n_frequencies", "phase_range"}  # they follow from the others


def choices(spec: SignalSpec) -> list[tuple[str, int]]:
    """Name and index of each frequency, for menus and tables: ``("3 Hz", 1)``."""
    return [(name, index) for index, name in enumerate(spec.names)]


def begin_notebook(variables: dict[str, Any] | None = None, **given: Any) -> NotebookParameters:
    """Check a notebook's parameters, start the log, settle PyTorch's threads and types, and mark failed claims.

    Args:
        variables: the notebook's ``globals()``, of which the `PARAMETERS` are taken. A cell that is executed again
            takes those that were there at first: a later cell may have a variable of such a name.
        **given: parameters by name, instead.

    Returns:
        The checked parameters.

    Raises:
        SettingsError: names each bad parameter, its value and what is permitted.
    """
    if (shell := get_ipython()) is not None:
        shell.colors = "nocolor"  # the coloured words of a traceback are too pale on JupyterLab's red ground
        mark_failed_claims(shell)
    if variables is not None:
        declared = [name for name in variables if name in PARAMETERS]
        given = {name: variables[name] for name in variables.setdefault("_parameters", declared)}
    checked = NotebookParameters(**given)
    torch.set_num_threads(1)  # the lanes are too few to share out: a second thread makes every call slower
    torch.set_default_dtype(torch.float32)  # the reader's own start-up files may have set others
    torch.set_default_device(None)
    torch.set_grad_enabled(True)
    if checked.run_dir:
        log_into(Path(checked.run_dir))
        logging.getLogger("lib").info("parameters: %s", checked.given)
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
