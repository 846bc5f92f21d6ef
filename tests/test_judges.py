"""The exercises of notebooks 00, 01 and 03 to 09: the right answers pass, and the commonest wrong ones do not."""

import numpy as np
import pytest

from lib import SignalSpec, generate
from lib.lessons import n00_exercises as assignment
from lib.lessons import n01_exercises as signals
from lib.lessons import n03_exercises as training
from lib.lessons import n06_exercises as learned
from lib.lessons import n07_exercises as extraction
from lib.lessons import n08_network_exercises as networks
from lib.lessons import n08_window_exercises as windows
from lib.lessons import n09_exercises as tuning
from lib.recipe import update

SPEC = SignalSpec()


def said(capsys, judge, answer, *more):
    judge(answer, *more)
    return capsys.readouterr().out


def holds(capsys, judge, right, wrong, *more):
    assert "no answer yet" in said(capsys, judge, None, *more)
    assert said(capsys, judge, right, *more).endswith(": right\n")
    for answer in wrong:
        told = said(capsys, judge, answer, *more)
        assert "not yet" in told or "cannot be checked" in told, answer


@pytest.mark.parametrize(
    ("judge", "right", "wrong"),
    [
        (assignment.check_1, 0.5, (0.0, 1.0, 0.25, 2 / np.pi)),
        (assignment.check_2, (5.0, 3.456), ((3.0, 3.456), (5.0, 3456), (5.0, 3.457), (2, 3.456), 5.0)),
        (assignment.check_3, 0.5, (0.0, 1.0, 0.25)),
        (signals.check_1, 2 / np.pi, (0.5, 1 / np.pi, 0.0, np.sin(np.pi / 4) / (np.pi / 4))),
        (training.check_1, 1.5e-3, (3e-3, 0.75, 0.75 / 1000, 1.5)),
        (training.check_2, 5, (20, 20_000, 1.25, 6)),
        (training.check_4, 0.49, (2e-3, 1.2, "silence")),
        (extraction.check_1, 0.6034, (0.5, 0.75, 1 / np.pi, 1.9, "half")),
        (extraction.check_2, 8, (0.5, 4, 32, True)),
        (tuning.check_1, 0.03125, (1 / 64, 1 / 6, 1 / 2, 2**-5.5, "one in 32")),
        (tuning.check_3, 1.54, (1.0, 1.28, 1.87, -1.54, "ten")),
        (windows.check_1, 500, (1000, 250, 0.5, 167, True, "half")),
        (learned.check_1, "along", ("across", "both", 1, "Along")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_numbers_and_names(capsys, judge, right, wrong):
    holds(capsys, judge, right, wrong)


def test_a_stage_of_ones_own(capsys):
    def stage(updates=5, rate=1e-3, horizon=None, yields=True):
        def my_stage(run):
            run.horizon = horizon or run.horizon
            for _ in range(updates):
                loss = update(run, run.from_reset, rate)
                yield loss if yields else None

        return my_stage

    wrong = [stage(updates=4), stage(rate=1e-2), stage(horizon=10), stage(yields=False), lambda run: 5]
    holds(capsys, training.check_3, stage(), wrong)


def test_the_mean_recording(capsys):
    recordings = generate(SPEC, range(400)).mixed
    fresh = np.random.default_rng(0).normal(0, recordings.std() / 20, SPEC.n_samples)
    wrong = [fresh, recordings.mean(axis=1), recordings.sum(axis=0), recordings[0], recordings[0] / 20]
    wrong += [generate(SPEC, range(1, 401)).mixed.mean(axis=0), SPEC.targets.mean(axis=0)]
    holds(capsys, signals.check_2, recordings.mean(axis=0), wrong)


def mixed(spec, seed, *, phases_first=False, once=False, reduce=np.mean, end=False):
    """S by its formula, with the mistakes that one can make."""
    generator = np.random.default_rng(seed)
    shape = (1 if once else spec.n_samples, spec.n_frequencies)
    ranges = [spec.amplitude_range, spec.phase_range]
    draws = [generator.uniform(*bounds, shape) for bounds in (ranges[::-1] if phases_first else ranges)]
    amplitude, phase = draws[::-1] if phases_first else draws
    time = np.linspace(0, spec.duration, spec.n_samples) if end else spec.time
    return reduce(amplitude * np.sin(2 * np.pi * time[:, None] * np.array(spec.frequencies) + phase), axis=1)


def test_a_generator_of_ones_own(capsys):
    wrong = [
        lambda spec, seed: mixed(spec, seed, once=True),
        lambda spec, seed: mixed(spec, seed, reduce=np.sum),
        lambda spec, seed: mixed(spec, seed, end=True),
        lambda spec, seed: mixed(spec, seed, phases_first=True),
        lambda spec, seed: mixed(spec, 1),
        lambda spec, seed: mixed(SPEC, seed),
        lambda spec, seed: np.sum(mixed(spec, seed)) / 4,
        3.0,
    ]
    holds(capsys, signals.check_3, mixed, wrong)


def test_the_reach_of_a_walking_phase(capsys):
    wrong = [lambda s: 1 / s**2, lambda s: 2 / s, lambda s: 200.0, lambda s: 1 / (2 * s**2), 200]
    holds(capsys, signals.check_4, lambda s: 2 / s**2, wrong)


def test_the_time_a_push_takes_to_fade(capsys):
    wrong = [200, 100, 2, 20, 460.5, 0.4, "two periods"]
    holds(capsys, learned.check_2, 400, wrong, 0.1, 5.0)


def test_the_gates_of_a_wired_clock(capsys):
    def theta(f, rate):
        return 2 * np.pi * f / rate

    wrong = [
        lambda f, rate: (np.sin(theta(f, rate)), np.cos(theta(f, rate))),
        lambda f, rate: (1.0, np.sin(theta(f, rate))),
        lambda f, rate: (1.0, theta(f, rate)),
        lambda f, rate: (np.cos(theta(f, rate)), theta(f, rate)),
        lambda f, rate: (np.cos(theta(f, 1000)), np.sin(theta(f, 1000))),
        lambda f, rate: (np.cos(f / rate), np.sin(f / rate)),
        lambda f, rate: (np.cos(theta(3, 1000)), np.sin(theta(3, 1000))),
        lambda f, rate: 0.5,
    ]
    holds(capsys, learned.check_3, lambda f, rate: (np.cos(theta(f, rate)), np.sin(theta(f, rate))), wrong)


def longest(matrix, rate, turn=2 * np.pi, key=np.abs, real=False, pick=np.argmax):
    values = np.linalg.eigvals(matrix)
    values = values if real else values[np.abs(values.imag) > 1e-9]
    return np.abs(np.angle(values[pick(key(values))])) * rate / turn


def test_the_frequency_of_a_linearized_step(capsys):
    wrong = [
        lambda m, rate: longest(m, rate, turn=1),
        lambda m, rate: longest(m, 1000.0),
        lambda m, rate: longest(m, rate, real=True),
        lambda m, rate: longest(m, rate, pick=np.argmin),
        lambda m, rate: longest(m, rate, key=lambda v: np.abs(np.angle(v))),
        3.0,
    ]
    holds(capsys, learned.check_4, longest, wrong)


def test_a_correction_of_ones_own(capsys):
    def correction(wrong="", change=False):
        def my_correct(state, covariance, seen, noise, sample):
            gain = covariance @ seen / (seen @ covariance @ seen + (0 if wrong == "noise" else noise))
            miss = sample - (0 if wrong == "prediction" else seen @ state)
            if change:
                state += gain * miss
                return state, covariance - np.outer(gain, seen @ covariance)
            kept = np.outer(gain, seen) if wrong == "covariance" else np.outer(gain, seen @ covariance)
            return state + gain * miss, covariance - kept

        return my_correct

    wrong = [correction(what) for what in ("noise", "prediction", "covariance")] + [correction(change=True), lambda: 5]
    holds(capsys, extraction.check_3, correction(), wrong)


def test_networks_of_ones_own(capsys):
    right = {"MLP on S and C", "MLP on a window", "convolution", "Transformer, no positions"}
    wrong = [right | {"Transformer"}, right - {"convolution"}, {"LSTM"}, "convolution", 5]
    holds(capsys, networks.check_3, right, wrong)

    def step(state, eigenvalues, drive, x):
        return state * eigenvalues + x @ drive.T

    def in_place(state, eigenvalues, drive, x):
        state *= eigenvalues
        state += x @ drive.T
        return state

    wrong = [lambda s, e, d, x: s + x @ d.T, lambda s, e, d, x: s * e.conj() + x @ d.T, lambda s, e, d, x: s @ e]
    wrong += [lambda s, e, d, x: s * e + x @ d.T.conj(), in_place]
    holds(capsys, networks.check_4, step, wrong)

    def window(signal, length):
        padded = np.concatenate([np.zeros(length - 1), signal])
        return np.lib.stride_tricks.sliding_window_view(padded, length)

    wrong = [lambda s, n: window(s, n)[:, ::-1], lambda s, n: window(s[::-1], n)[::-1], lambda s, n: window(s, n + 1)]
    wrong += [lambda s, n: np.lib.stride_tricks.sliding_window_view(s, n), lambda s, n: s]
    holds(capsys, networks.check_5, window, wrong)


def test_a_choice_of_ones_own(capsys):
    def right(scores, validation):
        chosen = scores[:, validation].mean(axis=1).argmin()
        return chosen, np.delete(scores[chosen], validation).mean()

    def on_all(scores, validation):
        return scores.mean(axis=1).argmin(), scores.mean(axis=1).min()

    def flattered(scores, validation):
        own = scores[:, validation].mean(axis=1)
        return own.argmin(), own.min()

    def on_the_test(scores, validation):
        rest = np.delete(scores, validation, axis=1).mean(axis=1)
        return rest.argmin(), rest.min()

    def in_place(scores, validation):
        found = right(scores, validation)
        scores *= 0
        return found

    holds(capsys, tuning.check_2, right, (on_all, flattered, on_the_test, in_place, lambda *_: 3, 5))


def test_the_best_without_a_state(capsys):
    def best(targets, length):
        count = targets.shape[1] // length
        return targets[:, : count * length].reshape(len(targets), count, length).var(axis=1).mean(axis=1)

    def over_places(targets, length):
        count = targets.shape[1] // length
        return targets[:, : count * length].reshape(len(targets), count, length).var(axis=2).mean(axis=1)

    def in_place(targets, length):
        found = best(targets, length)
        targets *= 0
        return found

    wrong = [over_places, in_place, lambda t, n: best(t, n).mean(), lambda t, n: t.var(axis=1), lambda *_: 0.5, 5]
    holds(capsys, windows.check_2, best, wrong)
