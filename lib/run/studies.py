"""Results that take longer than a notebook should: computed by one command, committed, sampled by a test."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from lib.checkpoint import REFERENCE, REFERENCE_CHECKPOINT, load_checkpoint, save_checkpoint
from lib.evaluation import metrics_by_frequency, mse_by_noise_seed, write_metrics
from lib.lessons.clock import measure_clock
from lib.lessons.parameters import NotebookParameters
from lib.lessons.policies import POLICIES, train_policy
from lib.loader import FrequencyDataset
from lib.model import ModelConfig, roll_out
from lib.run.notebooks import RUNS
from lib.settings import SettingsError, TrainingConfig
from lib.signals import Array, SignalSpec
from lib.training import train

log = logging.getLogger(__name__)

TRAIN_SEED, TEST_SEED, UNSEEN_SEEDS = 1, 2, NotebookParameters().unseen
Variant = tuple[TrainingConfig, ModelConfig]


def _variants(training: dict[str, dict[str, Any]], shape: dict[str, dict[str, Any]]) -> dict[str, Variant]:
    names = {**training, **shape}
    return {name: (TrainingConfig(**training.get(name, {})), ModelConfig(**shape.get(name, {}))) for name in names}


# Training noises and weight seeds of the study "training_grid"; a training takes some minutes.
GRID = {f"training noise {noise}, weight seed {seed}": (noise, seed) for noise in (1, 7) for seed in (0, 1)}
STUDIES: dict[str, dict[str, Variant]] = {
    "training_grid": _variants({name: {"weight_seed": seed} for name, (_, seed) in GRID.items()}, {}),
    "weight_seeds": _variants({f"weight seed {seed}": {"weight_seed": seed} for seed in range(5)}, {}),
    "signal_weights": _variants(
        {
            "weights from S decay": {},
            "no decay": {"signal_weight_decay": 0.0},
            "no decay, full initial weights": {"signal_weight_decay": 0.0, "signal_weight_scale": 1.0},
        },
        {},
    ),
    "policies": _variants(
        {
            "reset every sample": {"max_updates": 50_000},
            "carry, detach every step": {"max_updates": 50_000},
            "carry, detach every 200": {"max_updates": 42_000},
        },
        {},
    ),
    "design": _variants(
        {
            "no forget bias": {"forget_bias": 0.0},
            "learning rate halved": {"learning_rate": 1.5e-3},
            "learning rate doubled": {"learning_rate": 6e-3},
        },
        {
            "as shipped": {},
            "hidden 16": {"hidden_size": 16},
            "hidden 64": {"hidden_size": 64},
            "hidden 128": {"hidden_size": 128},
            "hidden 256": {"hidden_size": 256},
            "two layers": {"num_layers": 2},
            "two layers, dropout 0.1": {"num_layers": 2, "dropout": 0.1},
            "input normalization": {"input_norm": True},
            "output normalization": {"output_norm": True},
            "ReLU before the output": {"activation": "relu"},
            "linear output": {"head_size": 0, "activation": "identity"},
        },
    ),
}
REFERENCE_TRAINING = TrainingConfig(
    max_updates=10_000, anneal_updates=500, polish_iterations=6_000, settle_updates=1_500
)
REFERENCE_SHAPE = ModelConfig(hidden_size=64, head_size=64)


def measure(variant: str, training: TrainingConfig, shape: ModelConfig, checkpoint_name: str) -> dict[str, Any]:
    """Train one variant (going on where a killed call stopped) and measure it; one of `POLICIES` by its name.

    The training noise is that of `GRID` for its variants, and `TRAIN_SEED` for all others.
    """
    spec = SignalSpec()
    train_seed, _ = GRID.get(variant, (TRAIN_SEED, 0))
    data = FrequencyDataset(spec, train_seed)
    checkpoint = RUNS / "studies" / f"{checkpoint_name}.pt"
    if variant in POLICIES:
        result = train_policy(variant, data, training, shape, checkpoint, progress_bar=False)
    else:
        result = train(data, training, shape, checkpoint, progress_bar=False)

    def output(noise_seed: int) -> Array:
        inputs = FrequencyDataset(spec, noise_seed).inputs
        prediction = roll_out(result.model, inputs, steps=spec.n_samples, reset_every_sample=result.memoryless)
        return prediction[..., 0].double().numpy()

    test, start = output(TEST_SEED), round(0.25 * spec.sample_rate / min(spec.frequencies))
    squared = (test - spec.targets) ** 2

    measured: dict[str, Any] = {
        "training": training.model_dump(mode="json", exclude_defaults=True),
        "model": shape.model_dump(mode="json", exclude_defaults=True),
        "updates": result.updates,
        "samples": int(sum(result.history["horizon"])),
        "grown_to": result.history["horizon"][-training.anneal_updates - training.settle_updates - 1],
        "validation_mse": result.best_mse,
        "train_noise_seed": train_seed,
        "train": metrics_by_frequency(output(train_seed), spec.targets, spec),
        "test": metrics_by_frequency(test, spec.targets, spec),
        "start_mse": squared[:, :start].mean(axis=1),  # of each frequency: a quarter of the slowest period
        "rest_mse": squared[:, start:].mean(axis=1),
    }
    if not result.memoryless:
        measured["unseen_mse"] = mse_by_noise_seed(result.model, spec, UNSEEN_SEEDS)
        measured["clock_ppm"] = measure_clock(result.model, spec, noise_seed=50).ppm
    return measured


def run_studies(names: Sequence[str] = ()) -> None:
    """Compute the named studies, or all, into ``lib/reference/<study>.json``.

    Raises:
        SettingsError: there is no such study.
    """
    for name in names:
        if name not in STUDIES:
            raise SettingsError(f"study = {name!r}: must be one of {', '.join(STUDIES)}")
    for name in names or STUDIES:
        results = {}
        for variant, (training, shape) in STUDIES[name].items():
            results[variant] = measure(variant, training, shape, f"{name}-{variant}")
            log.info("%s, %s: test MSE %.2e", name, variant, results[variant]["test"]["overall"]["mse"])
        write_metrics(
            REFERENCE / f"{name}.json",
            results,
            {"train_noise_seed": TRAIN_SEED, "test_noise_seed": TEST_SEED, "unseen_noise_seeds": list(UNSEEN_SEEDS)},
        )


def train_reference() -> None:
    """Train the reference checkpoint, keep its best weights alone, and write its measures beside it."""
    results = measure("reference", REFERENCE_TRAINING, REFERENCE_SHAPE, "reference")
    content = load_checkpoint(RUNS / "studies" / "reference.pt")
    kept = ("signal", "train_noise_seed", "model", "training", "weights")
    save_checkpoint(REFERENCE_CHECKPOINT, {name: content[name] for name in kept})
    write_metrics(REFERENCE / "reference.json", results, {"command": "make reference"})
    unseen = np.asarray(results["unseen_mse"])
    log.info("reference: test MSE %.2e, worst unseen %.2e", results["test"]["overall"]["mse"], unseen.max())
