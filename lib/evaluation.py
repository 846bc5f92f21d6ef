"""Measures of how good a roll-out is, overall, per frequency and over many noise seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lib.loader import FrequencyDataset, assemble_inputs
from lib.model import StatefulLSTMExtractor, roll_out
from lib.settings import whole_number
from lib.signals import Array, SignalSpec, generate


def metrics(prediction: Array, target: Array) -> dict[str, float]:
    """All measures over all samples given, each a per-sample mean; ValueError if the shapes differ or are empty.

    ``r2`` = 1 − Σ(y−ŷ)² / Σ(y−ȳ)²; ``correlation`` is Pearson's, NaN for a constant prediction; ``snr_db`` =
    10 log₁₀(Σy² / Σ(y−ŷ)²), infinite without error.
    """
    if prediction.shape != target.shape or target.size == 0:
        permitted = f"that of target, {target.shape}, and not empty"
        raise ValueError(f"prediction has shape {prediction.shape}: must be {permitted}")
    error = prediction - target
    mse = float(np.mean(error**2))
    power, variance = float(np.mean(target**2)), float(np.var(target))
    spread = float(np.std(prediction) * np.std(target))
    covariance = float(np.mean((prediction - prediction.mean()) * (target - target.mean())))
    return {
        "mse": mse,
        "rmse": math.sqrt(mse),
        "mae": float(np.mean(np.abs(error))),
        "r2": 1 - mse / variance if variance else math.nan,
        "correlation": covariance / spread if spread else math.nan,
        "snr_db": 10 * math.log10(power / mse) if mse and power else math.inf if power else -math.inf,
    }


def metrics_by_frequency(prediction: Array, target: Array, spec: SignalSpec) -> dict[str, dict[str, float]]:
    """`metrics` over all rows (``overall``) and of each frequency (``3 Hz`` …); arrays (lanes, samples)."""
    rows = {name: metrics(prediction[i], target[i]) for i, name in enumerate(spec.names)}
    return {"overall": metrics(prediction, target), **rows}


def evaluate(
    model: StatefulLSTMExtractor, dataset: FrequencyDataset, steps: int = 1
) -> tuple[Array, dict[str, dict[str, float]]]:
    """Roll the model out over all rows of a dataset: its outputs (n_frequencies, n_samples), and its metrics."""
    output = roll_out(model, dataset.inputs, steps)[..., 0].double().numpy()
    return output, metrics_by_frequency(output, dataset.signals.targets, dataset.spec)


def mse_by_noise_seed(
    model: StatefulLSTMExtractor, spec: SignalSpec, noise_seeds: Sequence[int], seeds_at_once: int = 25
) -> Array:
    """The MSE over all rows for each of many noise seeds, shape (seeds,), the seeds side by side as lanes."""
    if len(noise_seeds) == 0:
        raise ValueError(f"noise_seeds = {noise_seeds!r}: must hold at least one whole number from 0 up")
    errors = []
    for start in range(0, len(noise_seeds), whole_number("seeds_at_once", seeds_at_once, 1)):
        _, mixed, targets = generate(spec, noise_seeds[start : start + seeds_at_once])
        prediction = roll_out(model, assemble_inputs(spec, mixed), steps=spec.n_samples).double().numpy()
        errors.append(((prediction.reshape(len(mixed), spec.n_frequencies, -1) - targets) ** 2).mean(axis=(1, 2)))
    return np.concatenate(errors)


def generalization_gap(train_mse: float, test_mse: float) -> float:
    """|MSE_test − MSE_train| / MSE_train, without unit; the assignment asks for less than 0.1."""
    if not train_mse > 0:
        raise ValueError(f"train_mse = {train_mse!r}: must be above 0")
    return abs(test_mse - train_mse) / train_mse
