"""`train`: one stage of the recipe after the other, with validation, checkpoints and a progress bar."""

from __future__ import annotations

import copy
import hashlib
import inspect
import logging
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from lib.checkpoint import CheckpointError, find_checkpoint, save_checkpoint
from lib.loader import FrequencyDataset
from lib.model import ModelConfig, StatefulLSTMExtractor, roll_out
from lib.recipe import RECIPE, Stage, TrainingConfig, TrainingRun, new_optimizers, prepare_weights
from lib.settings import usual_torch

log = logging.getLogger(__name__)
LIBRARY = ("settings", "signals", "loader", "model", "recipe", "training")  # the code that its numbers depend on
PLAIN = ("horizon", "stage", "stage_ends", "history", "validation", "best_mse")  # without tensors


class TrainingWarning(UserWarning):
    """The training did not succeed."""


def train(
    dataset: FrequencyDataset,
    config: TrainingConfig | None = None,
    model_config: ModelConfig | None = None,
    checkpoint: Path | str | None = None,
    progress_bar: bool = True,
    stages: Sequence[Stage] = RECIPE,
    memoryless: bool = False,
) -> TrainingRun:
    """Train a new model on one noise seed.

    After a crash, the same call goes on from the checkpoint; on the CPU it ends with the same bits. A finished
    checkpoint is returned as it is. If other code has made it, the training begins anew.

    Args:
        dataset: the training data; its noise seed must not be a validation seed.
        config: how to train.
        model_config: the network's shape; its selector follows the dataset.
        checkpoint: file that holds the run; None keeps nothing.
        progress_bar: show a bar with the loss and the horizon.
        stages: what to do, in order; each has a name of its own, and with a checkpoint also source code, by which the
            next call knows it again.
        memoryless: reset the state before every sample, in training and in validation.

    Raises:
        CheckpointError: the checkpoint is damaged or belongs to another configuration.
        ValueError: the noise seed or a stage is not permitted.
        OSError: the checkpoint cannot be read or written.

    Warns:
        TrainingWarning: the training did not succeed; it says how far the horizon has come, and what to change.
    """
    config = config or TrainingConfig()
    shape = (model_config or ModelConfig()).but(n_frequencies=dataset.spec.n_frequencies)
    if dataset.noise_seed in config.validation_noise_seeds:
        told = f"must not contain the training noise seed {dataset.noise_seed}, or validation would not see new noise"
        raise ValueError(f"validation_noise_seeds = {config.validation_noise_seeds}: {told}")
    path, plan = Path(checkpoint) if checkpoint else None, _by_name(stages)
    code = _code_digest(stages) if path else ""
    with usual_torch(), torch.random.fork_rng():
        torch.manual_seed(config.weight_seed)
        model = StatefulLSTMExtractor(shape).to("cuda" if torch.cuda.is_available() else "cpu")
        prepare_weights(model, config, dataset.spec)
        order = [*plan, "done"]
        optimizers, whole = new_optimizers(model, config), dataset.spec.n_samples
        run = TrainingRun(model, dataset, config, optimizers, memoryless, whole, stage=order[0])
        run.best_weights = copy.deepcopy(model.state_dict())  # until a validation finds better ones
        if path:
            _restore(run, path, plan, code)
        judges = [FrequencyDataset(dataset.spec, seed) for seed in config.validation_noise_seeds]
        with tqdm(initial=run.updates, disable=not progress_bar, leave=False) as bar:
            while run.stage != "done":
                bar.set_description(run.stage)
                for loss in plan[run.stage](run):
                    bar.update()
                    if run.updates % 20 == 0:
                        bar.set_postfix_str(f"loss {loss:.1e}, horizon {run.horizon} samples", refresh=False)
                    if run.updates % config.validate_every == 0:
                        _validate(run, judges)
                        _save(run, path, plan, code)
                _validate(run, judges)
                run.stage_ends[run.stage] = run.updates
                run.stage = order[order.index(run.stage) + 1]
                _save(run, path, plan, code)
        model.load_state_dict(run.best_weights)
        model.reset_state()
        model.cpu().eval()
    if not run.succeeded and tuple(stages) == RECIPE:
        told = f"the training did not succeed: validation MSE {run.best_mse:.1e}, horizon {run.horizon} of {whole} "
        told += f"samples after {run.updates} updates; try another weight_seed, more max_updates or hidden_size"
        warnings.warn(told, TrainingWarning, stacklevel=2)
    return run


def _by_name(stages: Sequence[Stage]) -> dict[str, Stage]:
    """The stages by their names, which a checkpoint holds; ValueError if there is none, or if they are not distinct."""
    names = [getattr(stage, "__name__", None) for stage in stages]
    if not names or {None, "done"} & {*names} or len({*names}) < len(names):
        told = "must be one or more, each with a __name__ of its own that is not 'done'; a function of def has one"
        raise ValueError(f"stages = {names}: {told}")
    return dict(zip(map(str, names), stages, strict=True))


def _validate(run: TrainingRun, judges: Sequence[FrequencyDataset]) -> None:
    """Keep the best weights so far, judged on noise that training never sees."""
    device, steps = run.model.device, run.dataset.spec.n_samples
    outputs = [roll_out(run.model, data.inputs.to(device), steps, run.memoryless).cpu() for data in judges]
    errors = [nn.functional.mse_loss(y, data.targets).item() for y, data in zip(outputs, judges, strict=True)]
    mse = sum(errors) / len(errors)
    run.validation["update"].append(run.updates)
    run.validation["mse"].append(mse)
    if mse < run.best_mse:
        run.best_mse, run.best_weights = mse, copy.deepcopy(run.model.state_dict())
    log.info("update %d (%s): validation MSE %.2e", run.updates, run.stage, mse)


def _settings(run: TrainingRun, plan: dict[str, Stage]) -> dict[str, Any]:
    """What must be equal in a checkpoint and in the run that continues from it."""
    return {
        "signal": run.dataset.spec.model_dump(mode="json"),
        "train_noise_seed": run.dataset.noise_seed,
        "model": run.model.config.model_dump(mode="json"),
        "training": run.config.model_dump(mode="json"),
        "stages": list(plan),
        "memoryless": run.memoryless,
    }


def _code_digest(stages: Iterable[Stage]) -> str:
    """A fingerprint of the code that the numbers of a training depend on: the library's, the stages' and their files'.

    Raises:
        ValueError: a stage has no source code.
    """
    texts = [inspect.getsource(sys.modules[f"lib.{name}"]) for name in LIBRARY]
    for stage in stages:
        home = inspect.getmodule(stage)
        try:
            texts.append(inspect.getsource(stage))
            texts.append(inspect.getsource(home) if home and hasattr(home, "__file__") else "")  # a cell has no file
        except (OSError, TypeError) as error:
            told = f"stages = {stage.__name__}: has no source code, by which a checkpoint knows it again; "
            raise ValueError(f"{told}define it in a file or a cell, or name none") from error
    return hashlib.sha256("".join(texts).encode()).hexdigest()


def _save(run: TrainingRun, path: Path | None, plan: dict[str, Stage], code: str) -> None:
    if path:
        content = {
            "code": code,
            "weights": run.best_weights,
            "current_weights": run.model.state_dict(),
            "state": [run.model.hidden_state, run.model.cell_state],
            "optimizers": [optimizer.state_dict() for optimizer in run.optimizers],
            "random_state": torch.get_rng_state(),
            "progress": {name: getattr(run, name) for name in PLAIN},
        }
        save_checkpoint(path, _settings(run, plan) | content)


def _restore(run: TrainingRun, path: Path, plan: dict[str, Stage], code: str) -> None:
    content = find_checkpoint(path)
    if content is None:
        return
    if "current_weights" not in content:
        raise CheckpointError(f"checkpoint = {path}: holds a finished model; a training cannot be continued from it")
    for name, wanted in _settings(run, plan).items():
        made = content.get(name, wanted)  # what older code did not write is left to the digest below
        if isinstance(wanted, dict):  # name only what differs
            wanted, made = ({k: d[k] for k in wanted if made.get(k, wanted[k]) != wanted[k]} for d in (wanted, made))
        if made != wanted:
            told = f"was made with {name} = {made}, but {wanted} is asked for"
            raise CheckpointError(f"checkpoint = {path}: {told}; name another file, or remove this one")
    if content.get("code") != code:
        log.warning("%s was made by other code than the present: the training begins anew", path.name)
        return
    run.model.load_state_dict(content["current_weights"])
    state = [None if part is None else part.to(run.model.device) for part in content["state"]]
    run.model.hidden_state, run.model.cell_state = state
    for optimizer, kept in zip(run.optimizers, content["optimizers"], strict=True):
        optimizer.load_state_dict(kept)
    torch.set_rng_state(content["random_state"])
    run.best_weights = content["weights"]
    vars(run).update(content["progress"])
    log.info("going on from update %d of %s", run.updates, path.name)
