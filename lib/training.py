"""Truncated back-propagation through time: one loop for every policy of carrying, cutting and resetting."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from lib.checkpoint import CheckpointError, code_digest, load_checkpoint, save_checkpoint
from lib.loader import Batch, FrequencyDataset, StatefulDataLoader
from lib.model import ModelConfig, StatefulLSTMExtractor, roll_out
from lib.progress import Stage, TrainingRun
from lib.recipe import TrainingConfig, grows, learning_rate, polish_head, prepare_weights, signal_weights

log = logging.getLogger(__name__)


def train(
    dataset: FrequencyDataset,
    config: TrainingConfig | None = None,
    model_config: ModelConfig | None = None,
    checkpoint: Path | str | None = None,
    progress_bar: bool = True,
) -> TrainingRun:
    """Train a new model on one noise seed with truncated back-propagation through time.

    The same call after a crash goes on from the last checkpoint and ends with the same bits as if nothing had
    happened. A finished checkpoint is returned as it is. One that other code has made is not gone on with.

    Args:
        dataset: the training data; its noise seed must not be a validation seed.
        config: how to train.
        model_config: the network's shape; its selector follows the dataset.
        checkpoint: file that holds the run; None keeps nothing.
        progress_bar: show a bar with the loss and the horizon.

    Raises:
        ValueError: the training noise seed is also a validation seed.
        CheckpointError: the checkpoint is damaged or belongs to another configuration.
    """
    config = config or TrainingConfig()
    shape = (model_config or ModelConfig()).but(n_frequencies=dataset.spec.n_frequencies)
    if dataset.noise_seed in config.validation_noise_seeds:
        raise ValueError(
            f"validation_noise_seeds = {config.validation_noise_seeds}: must not contain the training noise seed "
            f"{dataset.noise_seed}, or validation would not see new noise"
        )
    with torch.random.fork_rng(), _one_thread():
        trainer = _Trainer(dataset, config, shape, Path(checkpoint) if checkpoint else None)
        return trainer.run(progress_bar)


class _Trainer:
    """The state of one training run and the loop over it."""

    def __init__(
        self, dataset: FrequencyDataset, config: TrainingConfig, shape: ModelConfig, checkpoint: Path | None
    ) -> None:
        self.dataset, self.config, self.checkpoint = dataset, config, checkpoint
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(config.weight_seed)
        self.model = StatefulLSTMExtractor(shape).to(self.device)
        prepare_weights(self.model, config)
        self.optimizer = self._new_optimizer()
        self.best_weights = self._copy_of_weights()
        self.result = TrainingRun(self.model)
        self.progress = self.result.progress
        first = config.first_horizon if config.policy == "growing_horizon" else dataset.spec.n_samples
        self.progress.horizon = min(first, dataset.spec.n_samples)
        self.validation_sets = [FrequencyDataset(dataset.spec, seed) for seed in config.validation_noise_seeds]
        if checkpoint and checkpoint.exists():
            self._restore(checkpoint)

    def run(self, progress_bar: bool) -> TrainingRun:
        progress = self.progress
        with tqdm(total=self.config.max_updates, initial=progress.update, disable=not progress_bar, leave=False) as bar:
            while not progress.done:
                loader = StatefulDataLoader(self.dataset, steps=self._steps, horizon=progress.horizon)
                for batch in islice(loader, progress.position, None):
                    loss = self._update(batch)
                    bar.update()
                    if progress.update % 20 == 0:
                        bar.set_postfix_str(f"{progress.stage}, loss {loss:.1e}, horizon {progress.horizon}", False)
                    if progress.done or self._steps != loader.steps:
                        break
        self.model.load_state_dict(self.best_weights)
        self.model.reset_state()
        self.model.cpu().eval()
        return self.result

    @property
    def _steps(self) -> int:
        """Samples that the gradient crosses: the chunk that the loader cuts."""
        chunk = min(self.config.detach_every, self.dataset.spec.n_samples)
        return {"detach_every_k": chunk, "growing_horizon": self.progress.horizon}.get(self.config.policy, 1)

    def _update(self, batch: Batch) -> float:
        """One step of the optimizer on one batch, then the bookkeeping."""
        progress, config, model = self.progress, self.config, self.model
        age = progress.update - progress.stage_start
        rate = learning_rate(config, progress.stage, self._steps, age)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        model.train()
        reset = batch.is_first_batch or config.policy == "reset_every_sample"
        prediction = model(batch.x.to(self.device), reset_state=reset)
        loss = nn.functional.mse_loss(prediction, batch.y.to(self.device))
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        self.optimizer.step()
        model.detach_state()
        signal_weights(model).mul_(1 - config.signal_weight_decay)
        entry = {"loss": loss.item(), "horizon": progress.horizon, "learning_rate": rate}
        for name, number in entry.items():
            self.result.history[name].append(number)
        progress.update += 1
        progress.position = 0 if batch.is_last_batch else progress.position + 1
        self._plan_next(entry["loss"])
        return entry["loss"]

    def _plan_next(self, loss: float) -> None:
        """Grow the horizon, change stage, validate, save, stop: all by the count of updates and the loss."""
        progress, config, spec = self.progress, self.config, self.dataset.spec
        growing = config.policy == "growing_horizon"
        elapsed = progress.update - progress.stage_start
        stage = progress.stage
        if stage == "grow":
            periods = progress.horizon / spec.sample_rate * min(spec.frequencies)
            if growing and grows(config, periods, loss):
                progress.horizon = min(spec.n_samples, math.ceil(progress.horizon * config.horizon_growth))
                log.info("update %d: horizon grows to %d samples", progress.update, progress.horizon)
            rest = config.anneal_updates + (config.settle_updates if growing else 0)
            if (growing and progress.horizon == spec.n_samples) or progress.update >= config.max_updates - rest:
                stage, progress.horizon = "anneal", spec.n_samples
        elif elapsed >= (config.anneal_updates if stage == "anneal" else config.settle_updates):
            stage = "settle" if growing and stage == "anneal" else "done"
        if stage != progress.stage or progress.update % config.validate_every == 0:
            self._validate(loss)
        waited = progress.update - max(progress.best_update, progress.stage_start)
        if config.patience and waited >= config.patience and not (growing and progress.stage == "grow"):
            log.info("update %d: no better validation for %d updates, stopping", progress.update, config.patience)
            stage = "done"
        if stage != progress.stage:
            self._enter(stage)
        if stage == "done" or progress.update % config.checkpoint_every == 0:
            self._save()

    def _enter(self, stage: Stage) -> None:
        """Begin a stage; the settling begins with the best weights so far, a polished head and a fresh optimizer."""
        log.info("update %d: %s ends, %s begins", self.progress.update, self.progress.stage, stage)
        self.progress.stage, self.progress.stage_start = stage, self.progress.update
        if stage == "settle":
            self.model.cpu().load_state_dict(self.best_weights)
            self._validate(polish_head(self.model, self.dataset, self.config.polish_iterations))
            self.model.to(self.device)
            self.optimizer = self._new_optimizer()

    def _new_optimizer(self) -> torch.optim.Adam:
        return torch.optim.Adam(self.model.parameters(), betas=(0.9, self.config.adam_beta2))

    def _validate(self, loss: float) -> None:
        """Keep the best weights so far, judged on noise that training never sees."""
        errors = []
        for data in self.validation_sets:
            memoryless = self.config.policy == "reset_every_sample"
            inputs = data.inputs.to(self.model.device)
            prediction = roll_out(self.model, inputs, steps=data.spec.n_samples, reset_every_sample=memoryless)
            errors.append(nn.functional.mse_loss(prediction.cpu(), data.targets).item())
        mse = sum(errors) / len(errors)
        self.result.validation["update"].append(self.progress.update)
        self.result.validation["mse"].append(mse)
        if mse < self.progress.best_mse:
            self.progress.best_mse, self.progress.best_update = mse, self.progress.update
            self.best_weights = self._copy_of_weights()
        log.info("update %d: loss %.2e, validation MSE %.2e", self.progress.update, loss, mse)

    def _copy_of_weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone().cpu() for name, value in self.model.state_dict().items()}

    def _settings(self) -> dict[str, Any]:
        return {
            "signal": self.dataset.spec.model_dump(mode="json"),
            "train_noise_seed": self.dataset.noise_seed,
            "model": self.model.config.model_dump(mode="json"),
            "training": self.config.model_dump(mode="json"),
        }

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        content = {
            **self._settings(),
            "weights": self.best_weights,
            "current_weights": self._copy_of_weights(),
            "state": [self.model.hidden_state, self.model.cell_state],
            "optimizer": self.optimizer.state_dict(),
            "random_state": torch.get_rng_state(),
            "progress": vars(self.progress),
            "history": self.result.history,
            "validation": self.result.validation,
        }
        save_checkpoint(self.checkpoint, content)

    def _restore(self, path: Path) -> None:
        content = load_checkpoint(path)
        if "current_weights" not in content:
            raise CheckpointError(f"checkpoint = {path}: holds a finished model, not a training to go on with")
        for name, wanted in self._settings().items():
            made = content[name]
            if isinstance(wanted, dict):  # name only what differs
                wanted, made = ({k: d.get(k) for k in wanted if wanted[k] != made.get(k)} for d in (wanted, made))
            if made != wanted:
                raise CheckpointError(
                    f"checkpoint = {path}: was made with {name} = {made}, but {wanted} is asked for; "
                    "name another file, or remove this one"
                )
        if content.get("code") != code_digest():
            log.warning("%s was made by other code than the present: the training begins anew", path.name)
            return
        self.model.load_state_dict(content["current_weights"])
        self.model.hidden_state, self.model.cell_state = (
            None if state is None else state.to(self.device) for state in content["state"]
        )
        self.optimizer.load_state_dict(content["optimizer"])
        torch.set_rng_state(content["random_state"])
        self.best_weights = content["weights"]
        vars(self.progress).update(content["progress"])
        self.result.history, self.result.validation = content["history"], content["validation"]
        log.info("going on from update %d of %s", self.progress.update, path.name)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run on one CPU thread: four lanes are too little work to share, and the bits depend on the sharing."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
