"""Notebook 07: what can be known of a sine whose start phase is unknown; the Kalman filter, and the likelihood."""

# ruff: noqa: N806  # the Kalman filter's letters are capitals

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lib.lessons.gain import coherent_gain
from lib.signals import Array, SignalSpec


class Mixture(NamedTuple):
    """What the noise leaves of one sine in S(t), on average and beside it; all without unit."""

    gain: float  # amplitude of each sine in the mean of S(t)
    shift: float  # its phase ahead of the pure sine, rad
    noise: float  # variance of S(t) around that mean, averaged over all phases
    square: float  # E[A²] / n²: the mean square of one noisy sine's amplitude in S(t)
    swing: complex  # E[A²] E[exp(2iφ)] / n²: how the variance changes with the phase


def mixture(spec: SignalSpec) -> Mixture:
    """The moments of S(t) that follow from the ranges of A and φ.

    With n sines of phase ψ_i: mean of S = gain Σ sin(ψ_i + shift), and its variance is
    Σ [square - Re(swing exp(2iψ_i))] / 2 - gain² sin²(ψ_i + shift).
    """
    n, (low, high), (first, last) = spec.n_frequencies, spec.amplitude_range, spec.phase_range
    centre, width = (first + last) / 2, last - first
    gain, square = (low + high) / 2 * coherent_gain(spec) / n, (low * low + low * high + high * high) / 3 / n**2
    swing = square * np.sinc(width / np.pi) * np.exp(2j * centre)
    negative = np.pi if np.sinc(width / (2 * np.pi)) < 0 else 0.0
    return Mixture(gain, centre + negative, n * (square - gain**2) / 2, square, complex(swing))


# The letters of the Kalman filter (Kalman 1960): the state x holds each sine and its cosine, (2n,). P is the covariance
# of its error. F turns x by one sample. A sample of S is z = H x, plus noise of variance R. K is the gain. Nothing
# disturbs the sines themselves, so Q, the covariance of what is added to x at each step, is zero and left out.


def transition(spec: SignalSpec) -> Array:
    """F: how the state turns in one sample, (2n, 2n)."""
    F = np.zeros((2 * spec.n_frequencies, 2 * spec.n_frequencies))
    for i, omega in enumerate(2 * np.pi * np.array(spec.frequencies) / spec.sample_rate):
        F[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[np.cos(omega), np.sin(omega)], [-np.sin(omega), np.cos(omega)]]
    return F


def observation(spec: SignalSpec) -> Array:
    """H: what S(t) shows of the state, (2n,)."""
    noise = mixture(spec)
    return noise.gain * np.tile([np.cos(noise.shift), np.sin(noise.shift)], spec.n_frequencies)


def kalman_gains(spec: SignalSpec) -> tuple[Array, Array]:
    """The gain K at each sample, (samples, 2n), and the expected MSE, (n, samples).

    Neither depends on what is measured: both are known before the first sample.
    """
    F, H, R = transition(spec), observation(spec), mixture(spec).noise
    P = np.eye(len(F)) / 2  # a sine of unknown phase: mean 0, variance 1/2
    gains, expected = [], []
    for _ in range(spec.n_samples):
        P = F @ P @ F.T  # predict; the first P is the same after any turn
        K = P @ H / (H @ P @ H + R)
        P = P - np.outer(K, H @ P)  # correct
        P = (P + P.T) / 2  # rounding must not spoil the symmetry
        gains.append(K)
        expected.append(P.diagonal()[::2])
    return np.array(gains), np.array(expected).T


def kalman(spec: SignalSpec, mixed: Array, normalized: bool = False) -> Array:
    """The best linear estimate of every pure sine, one sample at a time.

    The frequencies and the noise are known; the start phases are unknown.

    Args:
        spec: the frequencies and the noise.
        mixed: S(t), (sequences, n_samples) or (n_samples,).
        normalized: give each pair of a sine and its cosine the length that it has
            on average, because a pure sine has amplitude one; no longer linear.

    Returns:
        The estimates, (sequences, n_frequencies, n_samples), or without the first axis.
    """
    F, H, (gains, expected) = transition(spec), observation(spec), kalman_gains(spec)
    x = np.zeros((*mixed.shape[:-1], len(F)))  # a sine of unknown phase has mean zero
    states = []
    for z, K in zip(mixed.T, gains, strict=True):
        x = x @ F.T  # predict
        x = x + np.multiply.outer(z - x @ H, K)  # correct
        states.append(x)
    sines, cosines = (np.stack(states, axis=-1)[..., k::2, :] for k in (0, 1))
    if normalized:  # the mean square of the length is 1, less the expected errors
        length = np.maximum(np.hypot(sines, cosines), 1e-12)
        return np.sqrt(1 - 2 * expected) * sines / length
    return sines


def least_squares(spec: SignalSpec, mixed: Array, window: int) -> Array:
    """Fit all sines to the last ``window`` samples by least squares; zero until so many have been seen.

    Returns the fitted sines at the last sample of each window, with the shape of `kalman`'s estimates.
    """
    noise, time = mixture(spec), (np.arange(window) - window + 1) / spec.sample_rate  # the last one at zero
    angle = 2 * np.pi * time[:, None] * np.array(spec.frequencies)
    sines, cosines = np.split(np.linalg.pinv(np.concatenate([np.sin(angle), np.cos(angle)], axis=1)), 2)
    # at the last sample a · sin + b · cos is b; the shift turns it back
    taps = (np.cos(noise.shift) * cosines - np.sin(noise.shift) * sines) / noise.gain
    found = np.zeros((len(mixed), spec.n_frequencies, mixed.shape[1]))
    if mixed.shape[1] >= window:
        rows = np.lib.stride_tricks.sliding_window_view(mixed, window, axis=1)
        found[..., window - 1 :] = np.einsum("stw,fw->sft", rows, taps, optimize=True)
    return found


def _score(spec: SignalSpec, mixed: Array, start: Array) -> tuple[Array, Array, Array]:
    """Log-likelihood (sequences,), its slope by each phase (sequences, n), and Fisher's information (sequences, n, n).

    S(t) is taken as normal, with the mean and the variance of `mixture`: it is a mean over several sines.
    """
    noise, time = mixture(spec), np.arange(mixed.shape[1]) / spec.sample_rate
    psi = 2 * np.pi * np.array(spec.frequencies)[:, None] * time + start[..., None]  # (sequences, n, samples)
    sine, cosine = np.sin(psi + noise.shift), np.cos(psi + noise.shift)
    double = noise.swing * np.exp(2j * psi)
    variance = ((noise.square - double.real) / 2 - noise.gain**2 * sine**2).sum(axis=1)
    miss = mixed - noise.gain * sine.sum(axis=1)
    by_mean, by_variance = noise.gain * cosine, double.imag - 2 * noise.gain**2 * sine * cosine
    first, second = by_mean / np.sqrt(variance)[:, None], by_variance / (np.sqrt(2) * variance)[:, None]
    slope = np.einsum("st,snt->sn", miss / np.sqrt(variance), first)
    slope += np.einsum("st,snt->sn", (miss**2 / variance - 1) / np.sqrt(2), second)
    information = np.einsum("sit,sjt->sij", first, first) + np.einsum("sit,sjt->sij", second, second)
    return -(miss**2 / variance + np.log(variance)).sum(axis=1) / 2, slope, information


def likelihood(spec: SignalSpec, mixed: Array, guesses: Array, iterations: int = 12) -> Array:
    """The start phases under which S is most likely, by Fisher scoring: Newton's method with the mean curvature.

    Beyond the Kalman filter it knows that pure sines have the amplitude one, and that the noise depends on the phases.

    Args:
        spec: the frequencies and the noise.
        mixed: S(t) so far, (sequences, samples).
        guesses: start phases to begin with, (guesses, sequences, n_frequencies), rad. The search climbs from each, and
            the most likely end is taken: a short recording has many peaks.
        iterations: steps; one that does not make S more likely is halved.

    Returns:
        The phases, (sequences, n_frequencies), rad.
    """
    mixed, phase = np.tile(mixed, (len(guesses), 1)), np.concatenate(guesses)
    length, (value, slope, information) = np.ones(len(phase)), _score(spec, mixed, phase)
    for _ in range(iterations):
        step = np.linalg.solve(information + 1e-9 * np.eye(phase.shape[1]), slope[..., None])[..., 0]
        step /= np.maximum(1, np.abs(step).max(axis=1, keepdims=True))  # a radian at most
        tried = phase + length[:, None] * step
        new, new_slope, new_information = _score(spec, mixed, tried)
        better = new > value
        phase[better], value[better], slope[better] = tried[better], new[better], new_slope[better]
        information[better] = new_information[better]
        length = np.where(better, 1.0, length / 2)
    best = value.reshape(len(guesses), -1).argmax(axis=0)
    return phase.reshape(guesses.shape)[best, np.arange(len(best))]


def bound(spec: SignalSpec, samples: int, sequences: int = 32) -> Array:
    """The Cramér-Rao bound on the mean squared error of each sine after so many samples, (n_frequencies,).

    No unbiased estimate of the phases has a smaller variance than the inverse of Fisher's information. An error of
    the phase by δ is an error of δ cos(ψ) of the sine, on average δ² / 2. The average runs over start phases.
    """
    start = np.random.default_rng(0).uniform(0, 2 * np.pi, (sequences, spec.n_frequencies))
    _, _, information = _score(spec, np.zeros((sequences, samples)), start)
    return np.diagonal(np.linalg.inv(information), axis1=1, axis2=2).mean(axis=0) / 2
