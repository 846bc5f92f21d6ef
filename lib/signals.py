"""The assignment's signals, in NumPy and float64: noisy sines mixed into one input, and the pure sines to recover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, Strict, model_validator

from lib.settings import Settings, plain, whole_number

Array = NDArray[np.float64]
Range = Annotated[tuple[float, float], Strict(False)]


class SignalSpec(Settings):
    """What the signals look like; the defaults are the assignment's."""

    frequencies: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Strict(False)] = (1.0, 3.0, 5.0, 7.0)  # f_i, Hz
    sample_rate: float = Field(1000.0, gt=0)  # Hz
    duration: float = Field(10.0, gt=0)  # s, a whole number of samples
    amplitude_range: Range = (0.8, 1.2)  # bounds of the uniform A_i(t), no unit
    phase_range: Range = (0.0, 2 * np.pi)  # bounds of the uniform φ_i(t), rad
    start_range: Range = (0.0, 0.0)  # bounds of the uniform start phases θ_i, one for each noise seed and sine, rad

    @model_validator(mode="after")
    def _check(self) -> SignalSpec:
        if not self.frequencies or len(set(self.frequencies)) != len(self.frequencies):
            raise ValueError(f"frequencies = {self.frequencies}: must be one or more, all different")
        highest = self.sample_rate / 2
        if max(self.frequencies) >= highest:
            raise ValueError(f"frequencies = {self.frequencies}: all must lie below half the sample rate, {highest} Hz")
        n = self.sample_rate * self.duration
        if round(n) < 1 or abs(n - round(n)) > 1e-6:
            raise ValueError(f"duration = {self.duration}: sample_rate x duration must be a whole number, not {n}")
        for name in ("amplitude_range", "phase_range", "start_range"):
            if getattr(self, name)[0] > getattr(self, name)[1]:
                raise ValueError(f"{name} = {getattr(self, name)}: the lower bound must not exceed the upper")
        return self

    @property
    def n_samples(self) -> int:
        """Samples per sequence."""
        return round(self.sample_rate * self.duration)

    @property
    def n_frequencies(self) -> int:
        """Number of sines, and so of selectors and of sequences."""
        return len(self.frequencies)

    @property
    def names(self) -> tuple[str, ...]:
        """The frequencies in words, as ``3 Hz``: with six digits, or with as many more as keep them apart."""
        written = (tuple(f"{frequency:.{digits}g} Hz" for frequency in self.frequencies) for digits in range(6, 18))
        return next(names for names in written if len(set(names)) == len(names))

    @property
    def time(self) -> Array:
        """Sample times k / sample_rate in s, shape (n_samples,): the end point is excluded."""
        return np.arange(self.n_samples) / self.sample_rate

    @property
    def targets(self) -> Array:
        """The pure sines sin(2π f_i t), shape (n_frequencies, n_samples)."""
        return self.sines(np.zeros(self.n_frequencies))

    def sines(self, start: Array) -> Array:
        """The pure sines sin(2π f_i t + θ_i) of start phases (..., n_frequencies), with a last axis of samples."""
        return np.sin(2 * np.pi * np.array(self.frequencies)[:, None] * self.time + start[..., None])


class Signals(NamedTuple):
    """What `generate` returns."""

    time: Array  # (n_samples,), s
    mixed: Array  # S(t): (n_samples,), or (seeds, n_samples) for several noise seeds
    targets: Array  # (n_frequencies, n_samples); for several seeds with random start phases, such an array for each


def draw_noise(spec: SignalSpec, noise_seed: int) -> tuple[Array, Array]:
    """Draw the amplitudes A_i(t) and phases φ_i(t), fresh at every sample and frequency.

    The order of the draws is part of the data's definition: one NumPy ``default_rng(noise_seed)`` gives all amplitudes,
    then all phases (rad), both (n_samples, n_frequencies): time by time, and in each frequency by frequency.
    """
    generator = np.random.default_rng(whole_number("noise_seed", noise_seed, 0))
    shape = (spec.n_samples, spec.n_frequencies)
    return generator.uniform(*spec.amplitude_range, shape), generator.uniform(*spec.phase_range, shape)


def draw_start(spec: SignalSpec, noise_seed: int) -> Array:
    """The start phases θ_i in rad, (n_frequencies,), by a generator of their own, so that the noise is as without."""
    return np.random.default_rng([noise_seed, 1]).uniform(*spec.start_range, spec.n_frequencies)


def noisy_components(spec: SignalSpec, amplitude: Array, phase: Array) -> Array:
    """The noisy sines n_i(t) = A_i(t) · sin(2π f_i t + φ_i(t)), (n_samples, n_frequencies); a start phase is in φ."""
    return amplitude * np.sin(2 * np.pi * spec.time[:, None] * np.array(spec.frequencies) + phase)


def generate(spec: SignalSpec, noise_seed: int | Sequence[int]) -> Signals:
    """The assignment's data: time, the mixed input S(t) = mean of the n_i(t), and the pure targets.

    Several noise seeds give one row of S each, equal to that of a call of its own. A seed is a whole number from 0
    up; ValueError if one is not, or if there is none.
    """
    given = plain(noise_seed)
    several = isinstance(given, Sequence) and not isinstance(given, str)
    seeds = given if several else [given]
    if len(seeds) == 0:
        raise ValueError(f"noise_seed = {noise_seed!r}: must hold at least one whole number from 0 up")
    noises = [(*draw_noise(spec, seed), draw_start(spec, seed)) for seed in seeds]
    mixed = np.stack([noisy_components(spec, a, phase + start).mean(axis=1) for a, phase, start in noises])
    pure = spec.sines(np.stack([start for *_, start in noises]))
    return Signals(spec.time, mixed if several else mixed[0], pure if several and any(spec.start_range) else pure[0])
