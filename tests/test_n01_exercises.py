"""The exercises of notebooks 00 and 01: right answers in unusual form pass; a student's mistakes get their own hint."""

from decimal import Decimal
from fractions import Fraction
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from lib import FrequencyDataset, SignalSpec, draw_noise, generate, noisy_components
from lib.lessons import n00_exercises as assignment
from lib.lessons import n01_exercises as signals
from lib.lessons.gain import coherent_gain

SPEC = SignalSpec()
HALF = [0.5, 1 / 2, Fraction(1, 2), Decimal("0.5"), "0.5", [0.5], (0.5,), np.float32(0.5), np.array([[0.5]])]
HALF += [torch.tensor(0.5), torch.full((1,), 0.5, requires_grad=True), pd.Series([0.5]), 0.4999]
NO_NUMBER = ["half", {0.5}, [0.5] * 4, lambda: 0.5, True, {"mse": 0.5}, np.nan, 0.5j, SPEC, [[1, 2], [3]]]
AMPLITUDE, PHASE = draw_noise(SPEC, 1)
TURN, A, P = 2 * np.pi * 3 * SPEC.time, AMPLITUDE[:, 1], PHASE[:, 1]
COMPONENT = A * np.sin(TURN + P)
RECORDINGS = generate(SPEC, range(101)).mixed
MEAN = RECORDINGS[:100].mean(axis=0)


def mixture(spec, seed, *, swapped=False, once=False, reduce=np.mean, end=False, across=False):
    """S by its formula, with the mistakes that one can make."""
    generator = np.random.default_rng(seed)
    shape = (1 if once else spec.n_samples, spec.n_frequencies)
    ranges = [spec.amplitude_range, spec.phase_range]
    draws = [generator.uniform(*r, shape[::-1] if across else shape) for r in (ranges[::-1] if swapped else ranges)]
    amplitude, phase = (d.T if across else d for d in (draws[::-1] if swapped else draws))
    time = np.linspace(0, spec.duration, spec.n_samples) if end else spec.time
    return reduce(amplitude * np.sin(2 * np.pi * time[:, None] * np.array(spec.frequencies) + phase), axis=1)


def one_by_one(spec, seed):
    generator = np.random.default_rng(seed)
    draws = [[generator.uniform(*r) for _ in range(spec.n_samples * len(spec.frequencies))] for r in (
        spec.amplitude_range, spec.phase_range)]  # fmt: skip
    total = [0.0] * spec.n_samples
    for k, (a, p) in enumerate(zip(*draws, strict=True)):
        sample, i = divmod(k, len(spec.frequencies))
        total[sample] += a * np.sin(2 * np.pi * spec.frequencies[i] * sample / spec.sample_rate + p)
    return [value / len(spec.frequencies) for value in total]


def scaled(spec, seed):
    """The draws from the unit interval, and the sine as the imaginary part of an exponential."""
    generator, shape = np.random.Generator(np.random.PCG64(seed)), (spec.n_samples, spec.n_frequencies)
    amplitude, phase = (low + (high - low) * generator.random(shape) for low, high in (
        spec.amplitude_range, spec.phase_range))  # fmt: skip
    turns = np.outer(np.arange(spec.n_samples), spec.frequencies) / spec.sample_rate
    return np.einsum("ti->t", amplitude * np.exp(2j * np.pi * turns + 1j * phase)).imag / len(spec.frequencies)


class Signal:
    def __call__(self, spec, noise_seed):
        return mixture(spec, noise_seed)


def averaged(angle, alpha, n=2000):
    return np.sin(angle + np.linspace(-np.pi * alpha, np.pi * alpha, n)).mean()


def drawn(angle, alpha):
    return np.sin(angle + np.random.default_rng(0).uniform(-np.pi * alpha, np.pi * alpha, 100_000)).mean()


def summed(angle, alpha):
    return sum(np.sin(angle + np.pi * alpha * k / 1000) for k in range(-1000, 1001)) / 2001


def not_all(spec, seed):
    return mixture(spec, seed)[:-1]


CASES = {  # the judge and what else it needs; right answers; wrong ones, each with a part of its hint or without
    "0.1": (
        partial(assignment.check_1),
        [*HALF, np.mean(SPEC.targets**2)],
        [(0.5**0.5, "root"), (2 / np.pi, "without its sign"), (1, "peak"), (0, "error is not"), (0.25, ""), (2, ""),
         (50, ""), *((answer, "") for answer in NO_NUMBER)],
    ),
    "0.2": (
        partial(assignment.check_2),
        [(5.0, 3.456), [5, 3.456], np.array([5, 3.456]), torch.tensor([5, 3.456], dtype=torch.float64), ("5", "3.456"),
         np.array([[5], [3.456]]), (np.float32(5), Fraction(3456, 1000)), (SPEC.frequencies[2], SPEC.time[3456]),
         (Decimal(5), Decimal("3.456")), pd.Series([5, 3.456]), (5, 3456 / SPEC.sample_rate)],
        [((5, 3456), "seconds"), ((2, 3.456), "Hz"), ((3.456, 5), "first the frequency"), ((3, 3.456), "index 0"),
         ((5, 23.456), "again"), ((5, 3.457), "first sample"), ((7, 3.456), ""), (5.0, "pair"), ((5, 3.456, 0), "pair"),
         ("5 Hz", "pair"), (23_456, "pair"), ({5: 3.456}, "pair"), (("5 Hz", "3.456 s"), "pair"), ((5, 3.46), "")],
    ),
    "0.3": (
        partial(assignment.check_3),
        HALF,
        [(0, "know the phase"), (1, "better guess"), (0.25, ""), (2, ""), (-0.5, ""), *((a, "") for a in NO_NUMBER)],
    ),
    "of section 1.1": (
        partial(signals.check_component, spec=SPEC, amplitude=AMPLITUDE, phase=PHASE),
        [COMPONENT, COMPONENT.tolist(), tuple(COMPONENT), COMPONENT[:, None], COMPONENT[None], COMPONENT.astype("f4"),
         torch.tensor(COMPONENT), pd.Series(COMPONENT), noisy_components(SPEC, AMPLITUDE, PHASE)[:, 1],
         (A * np.exp(1j * (TURN + P))).imag, A * np.cos(TURN + P - np.pi / 2), A * np.sin((TURN + P) % (2 * np.pi))],
        [(A * np.sin(TURN), "phase noise"), (np.sin(TURN + P), "amplitude noise"), (A * np.sin(TURN) + P, "inside"),
         (A * np.sin(3 * SPEC.time + P), "2π"), (A * np.sin(TURN * 1000 + P), "seconds"), (A * np.cos(TURN + P), "cos"),
         (A * np.sin(TURN + PHASE[:, 0]), "column"), (noisy_components(SPEC, AMPLITUDE, PHASE), "one value for each"),
         (noisy_components(SPEC, AMPLITUDE, PHASE)[:, 0], "column 0"), (COMPONENT[1:], "one value for each"),
         (RECORDINGS[1], "mixture"), (0.5, "one value"), (np.roll(COMPONENT, 1), ""), (SPEC.targets[1], ""),
         (lambda t: t, "one value"), ("sine", "one value")],
    ),
    "of section 1.2": (
        signals.check_mean,
        [averaged, drawn, summed, lambda angle, alpha: np.sinc(alpha) * np.sin(angle), partial(averaged, n=500),
         lambda angle, alpha: [averaged(angle, alpha)], lambda angle, alpha: torch.tensor(averaged(angle, alpha)),
         lambda a, b: np.float32(averaged(a, b)), lambda a, b: Fraction(averaged(a, b)), lambda *v: averaged(*v),
         lambda angle, alpha: np.sin(angle) * np.cos(np.linspace(0, np.pi * alpha, 999)).mean()],
        [(lambda angle, alpha: np.sin(angle), "where are the phases"), (lambda angle, alpha: 0.0, "leaves something"),
         (lambda angle, alpha: np.sinc(alpha), "amplitude"), (lambda angle, alpha: averaged(angle, 1), "something"),
         (lambda angle, alpha: np.sin(angle + np.linspace(0, 2 * np.pi * alpha, 999)).mean(), "both sides"),
         (lambda angle, alpha: averaged(angle, alpha / np.pi), "turns"), (lambda a, b: averaged(a, b / 2), "half"),
         (lambda angle, alpha: averaged(angle, 2 * alpha), "2πα in all"), (lambda a, b: 999 * averaged(a, b), ""),
         (lambda a, b: averaged(a + np.pi / 2, b), "cosine"), (0.5, "a function"), ("sinc", "a function"),
         (lambda angle, alpha: np.sin(angle + np.linspace(-1, 1, 99)), "one number"), (lambda a, b: None, "")],
    ),
    "1.1": (
        signals.check_1,
        [2 / np.pi, 0.64, 0.637, "0.64", [0.6366], np.sinc(0.5), np.float32(0.6366), torch.tensor(0.6366),
         Fraction(7, 11), Decimal("0.637"), np.array([[0.637]]), coherent_gain(SignalSpec(phase_range=(0, np.pi)))],
        [(0.5, "proportion"), (0.9003, "1/4"), (0.405, "power"), (64, "per cent"), (0, "α = 1"), (1 / np.pi, "πα"),
         (1, ""), (0.6, ""), (-0.64, ""), ("64 %", "one number"), (True, "one number"), ([0.64, 0.64], "one number"),
         (lambda: 0.64, "one number")],
    ),
    "1.2": (
        signals.check_2,
        [MEAN, MEAN.tolist(), tuple(MEAN), MEAN[:, None], MEAN[None], torch.tensor(MEAN), pd.Series(MEAN),
         MEAN.astype("f4"), sum(RECORDINGS[:100]) / 100, np.cumsum(RECORDINGS, axis=0)[99] / 100,
         RECORDINGS[99::-1].mean(axis=0), MEAN.astype(object)],
        [(RECORDINGS[:100].mean(axis=1), "not over time"), (RECORDINGS[:100].sum(axis=0), "sum"),
         (RECORDINGS[1:].mean(axis=0), "begin with 0"), (RECORDINGS.mean(axis=0), "99"), (RECORDINGS[0], "one record"),
         (RECORDINGS[:99].mean(axis=0), "99 is among"), (np.zeros(10_000), "near zero"), (0.0, "10,000 values"),
         (np.random.default_rng(0).normal(0, 0.036, 10_000), ""), (SPEC.targets.mean(axis=0), ""), ("no", "values"),
         (RECORDINGS[:100], "values"), (np.abs(RECORDINGS[:100]).mean(axis=0), ""), (lambda: MEAN, "values")],
    ),
    "1.3": (
        signals.check_3,
        [mixture, one_by_one, scaled, Signal(), partial(mixture, end=False), lambda *both: mixture(*both),
         lambda spec, seed: mixture(spec, seed).tolist(), lambda spec, seed: mixture(spec, seed)[:, None],
         lambda spec, seed: torch.tensor(mixture(spec, seed)), lambda s, n: mixture(s, n).astype("f4"),
         lambda spec, noise_seed=0, **_: mixture(spec, noise_seed), lambda s, n: pd.Series(mixture(s, n))],
        [(lambda spec, seed: generate(spec, seed).mixed, "`generate`"), (3.0, "a function"),
         (lambda spec, seed: noisy_components(spec, *draw_noise(spec, seed)).mean(axis=1), "library's"),
         (lambda spec, seed: FrequencyDataset(spec, seed).inputs[0, :, 0], "`generate`"),
         (partial(mixture, once=True), "every sample"), (partial(mixture, reduce=np.sum), "sum"),
         (partial(mixture, end=True), "end point"), (partial(mixture, swapped=True), "then all phases"),
         (partial(mixture, across=True), "shape"), (lambda spec, seed: mixture(spec, 1), "seed"),
         (lambda spec, seed: mixture(SPEC, seed), "one value for each"), (not_all, "one value for each"),
         (lambda spec, seed: mixture(spec, seed, reduce=np.sum) / 4, "not always four"), (RECORDINGS[1], "a function"),
         (lambda spec, seed: mixture(spec.but(amplitude_range=(0.8, 1.2)), seed), "which of"),
         (lambda spec, seed: None, "one value for each"), (lambda spec: mixture(spec, 1), "argument")],
    ),
    "1.4": (
        signals.check_4,
        [lambda s: 2 / s**2, lambda s: 2 * s**-2, lambda s: round(2 / s**2), lambda s: int(np.ceil(2 / s**2)),
         lambda s: np.float32(2 / s**2), lambda s: [2 / s**2], lambda s: torch.tensor(2 / s**2),
         lambda s: str(2 / s**2),
         lambda s: next(k for k in range(1, 999) if np.exp(-k * s**2 / 2) < np.exp(-1)), lambda s: (2**0.5 / s) ** 2,
         lambda sigma, e=np.e: -2 * np.log(1 / e) / sigma**2],
        [(lambda s: 1 / s**2, "factor"), (lambda s: 4 / s**2, "factor"), (lambda s: 1 / (2 * s**2), "factor"),
         (lambda s: 2 / s, "depend on σ?"), (lambda s: 200.0, "depends on σ"), (200, "a function"), ("2/σ²", "a func"),
         (lambda s: 2 * s**2, "depend on σ?"), (lambda s: (2 / s**2) ** 2, ""), (lambda s: 2 / s**2 / 1000, "factor"),
         (lambda s: None, ""), (lambda s: -2 / s**2, "factor"), (lambda s: [1, 2], "one number")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("exercise", CASES)
def test_answers_are_judged_rightly(exercise, capsys):
    judge, right, wrong = CASES[exercise]
    assert min(len(right), len(wrong)) >= 10
    judge(None)
    assert capsys.readouterr().out == f"exercise {exercise}: no answer yet\n"
    for answer in right:
        judge(answer)
        assert capsys.readouterr().out == f"exercise {exercise}: right\n", answer
    for answer, hint in wrong:
        judge(answer)
        told = capsys.readouterr().out
        assert "not yet" in told or ("cannot be checked" in told and "argument" in hint), (answer, told)
        assert hint in told, (answer, told)
