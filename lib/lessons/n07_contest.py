"""Notebook 07: the extractor against the filters, on the same draws; and the same experiments on both networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lib.lessons.extractor import listen, listening
from lib.lessons.filters import bound, kalman, least_squares, likelihood
from lib.model import StatefulLSTMExtractor
from lib.signals import Array, SignalSpec, draw_noise, draw_start, generate, noisy_components

Curve = tuple[Array, Array]  # times in s, mean squared errors
WINDOW = "least squares, last second"


def by_tenths(errors: Array, sample_rate: float) -> Curve:
    """Mean squared errors, (samples,), averaged over tenths of a second: their middles in s, and the means."""
    size = round(sample_rate / 10)
    means: Array = errors[: len(errors) // size * size].reshape(-1, size).mean(axis=1)
    return (np.arange(len(means), dtype=float) + 0.5) / 10, means


def squared(estimates: Array, targets: Array) -> Array:
    """Mean squared error at each sample, (samples,), over all sequences and sines."""
    return np.mean((estimates - targets) ** 2, axis=(0, 1))


def contest(
    spec: SignalSpec, noise_seeds: Sequence[int], networks: Mapping[str, StatefulLSTMExtractor]
) -> dict[str, Array]:
    """Mean squared error at each sample, (samples,), of every method on the same sequences."""
    _, mixed, targets = generate(spec, noise_seeds)
    outputs = {
        "predicting zero": np.zeros_like(targets),
        WINDOW: least_squares(spec, mixed, round(spec.sample_rate)),
        "Kalman filter": kalman(spec, mixed),
        "normalized filter": kalman(spec, mixed, normalized=True),
    }
    outputs |= {name: listen(model, mixed) for name, model in networks.items()}
    return {name: squared(y, targets) for name, y in outputs.items()}


def curves(errors: Mapping[str, Array], spec: SignalSpec) -> dict[str, Curve]:
    """What `contest` returns, averaged over tenths of a second; a window is left out until it is full."""
    found = {name: by_tenths(values, spec.sample_rate) for name, values in errors.items()}
    time, values = found[WINDOW]
    return found | {WINDOW: (time[time > 1], values[time > 1])}


def likelihood_curve(spec: SignalSpec, noise_seeds: Sequence[int], moments: Sequence[float]) -> dict[str, Curve]:
    """The error of the most likely phases at some moments, in s, and the bound there.

    The error is averaged over the last period of the fastest sine before each moment, with the phases of that moment.
    The search begins at the least-squares fit; before half a second, where it often ends on a wrong peak, also at 24
    random places.
    """
    _, mixed, targets = generate(spec, noise_seeds)
    anywhere = np.random.default_rng(0).uniform(0, 2 * np.pi, (24, len(mixed), spec.n_frequencies))
    errors, bounds = [], []
    for moment in moments:
        samples = round(moment * spec.sample_rate)
        so_far = mixed[:, :samples]
        angle = 2 * np.pi * spec.time[:samples, None] * np.array(spec.frequencies)
        fit = so_far @ np.linalg.pinv(np.concatenate([np.sin(angle), np.cos(angle)], axis=1)).T
        guesses = np.arctan2(fit[:, spec.n_frequencies :], fit[:, : spec.n_frequencies])[None]
        if moment < 0.5:
            guesses = np.concatenate([guesses, anywhere])
        last = slice(samples - round(spec.sample_rate / max(spec.frequencies)), samples)
        pure = spec.sines(likelihood(spec, so_far, guesses))[..., last]
        errors.append(np.mean((pure - targets[..., last]) ** 2))
        bounds.append(bound(spec, samples).mean())
    time = np.array(moments, dtype=float)
    return {"likelihood": (time, np.array(errors)), "bound": (time, np.array(bounds))}


def compare(errors: Mapping[str, Array], name: str, spec: SignalSpec) -> dict[str, float]:
    """Error of one method divided by the filter's: the means, the worst tenth of a second early, the last second."""
    filtered = errors["Kalman filter"]
    time, early = by_tenths(errors[name], spec.sample_rate)
    ratio = early / by_tenths(filtered, spec.sample_rate)[1]
    inside, final = (time > 0.3) & (time < 2), slice(-round(spec.sample_rate), None)
    return {
        "mean over the recording": float(errors[name].mean() / filtered.mean()),
        "worst tenth of a second, 0.3 s to 2 s": float(ratio[inside].max()),
        "the last second": float(errors[name][final].mean() / filtered[final].mean()),
    }


def goals(model: StatefulLSTMExtractor, alpha: float, noise_seeds: Sequence[int]) -> dict[str, float]:
    """What `compare` says of an extractor on noise of its own width, and its error where nothing can be heard.

    The latter is measured on eight times as many sequences: what is put out there goes with the targets by chance.
    """
    spec, hushed = listening(alpha), []
    found = compare(contest(spec, noise_seeds, {"extractor": model}), "extractor", spec)
    for more in range(8):
        _, mixed, targets = generate(listening(1.0), [seed + 10_000 * more for seed in noise_seeds])
        hushed.append(np.mean((listen(model, mixed) - targets) ** 2))
    return found | {"MSE at α = 1": float(np.mean(hushed))}


def other_noise(spec: SignalSpec, noise_seeds: Sequence[int], shift: int) -> Array:
    """S(t) with the start phases of these noise seeds, and with the noise of others: (sequences, samples)."""
    drawn = [(*draw_noise(spec, seed + shift), draw_start(spec, seed)) for seed in noise_seeds]
    return np.stack([noisy_components(spec, A, phase + start).mean(axis=1) for A, phase, start in drawn])


def jump(spec: SignalSpec, noise_seeds: Sequence[int], at: float, shift: int) -> tuple[Array, Array]:
    """S(t) and the targets when all phases jump after so many seconds to those of other noise seeds."""
    one, two = (generate(spec, [seed + more for seed in noise_seeds]) for more in (0, shift))
    after = spec.time >= at
    return np.where(after, two.mixed, one.mixed), np.where(after, two.targets, one.targets)
