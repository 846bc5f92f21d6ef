"""The exercises of notebooks 03 to 09: the right answers pass, and the commonest wrong ones do not."""

import numpy as np
import pytest
import torch

from lib import FrequencyDataset, SignalSpec, load_model, roll_out
from lib.lessons import n03_exercises as training
from lib.lessons import n04_exercises as evaluation
from lib.lessons import n05_exercises as generalization
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
        (training.check_1, 1.5e-3, (3e-3, 0.75, 0.75 / 1000, 1.5)),
        (training.check_2, 5, (20, 20_000, 1.25, 6)),
        (training.check_4, 0.49, (2e-3, 1.2, "silence")),
        (evaluation.check_1, 0.005, (0.01, 0.1, 0.05, 0.19, 0.9)),
        (evaluation.check_4, 1, (0, 2, "walk")),
        (generalization.check_1, {"weight seed", "training noise"}, ({"weight seed"}, {"test noise"}, "weight seed")),
        (tuning.check_1, 0.03125, (1 / 64, 1 / 6, 1 / 2, 2**-5.5, "one in 32")),
        (tuning.check_3, 1.54, (1.0, 1.28, 1.87, -1.54, "ten")),
        (windows.check_1, 500, (1000, 250, 0.5, 167, True, "half")),
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


def test_a_switch_of_the_selector(capsys):
    model, dataset = load_model(), FrequencyDataset(SPEC, 2)
    x = dataset.inputs[1:2].clone()
    x[:, 5000:, 1:] = dataset.inputs[3, 5000:, 1:]
    right = roll_out(model, x, steps=SPEC.n_samples)[0, :, 0].numpy()
    reset = torch.cat([roll_out(model, part, steps=5000) for part in x.split(5000, dim=1)], dim=1)[0, :, 0].numpy()
    whole = roll_out(model, dataset.inputs[[1, 3]], steps=SPEC.n_samples)[..., 0].numpy()
    late = np.roll(right, 1)
    wrong = [reset, whole[0], whole[1], np.concatenate([whole[0, :5000], whole[1, 5000:]]), late, right[:5000]]
    holds(capsys, evaluation.check_2, right, wrong, model, dataset)


def level(y, frequency, rate, factor=20, upside_down=False, whole=False):
    turns = 2j * np.pi * frequency * np.arange(len(y)) / rate
    first, second = (abs(np.mean(y * np.exp(-k * turns))) for k in (1, 2))
    if whole:
        first = np.sqrt(np.mean(y**2))
    return factor * np.log10(first / second if upside_down else second / first)


def test_the_level_of_a_harmonic(capsys):
    wrong = [
        lambda y, f, r: level(y, f, r, factor=10),
        lambda y, f, r: level(y, f, r, upside_down=True),
        lambda y, f, r: level(y, f, r, whole=True),
        lambda y, f, r: level(y, f, 1000.0),
        lambda y, f, r: 10 ** (level(y, f, r) / 20),
        -40.0,
    ]
    holds(capsys, evaluation.check_3, level, wrong)


def test_the_share_of_failing_trainings(capsys):
    n = 9
    wrong = [1 - 0.05 ** (1 / 100), 0.03, 1 - 0.05 ** (1 / 900), 0.0, 0.05, 1 - 0.95 ** (1 / n), 0.05 ** (1 / n)]
    holds(capsys, generalization.check_2, 1 - 0.05 ** (1 / n), wrong, n)


def shuffle(x, seed):
    order = np.random.default_rng(seed).permutation(x.shape[1])
    y = x.clone()
    y[..., 0] = x[:, order, 0]
    return y


def test_a_shuffled_recording(capsys):
    def in_place(x, seed):
        x[..., 0] = shuffle(x, seed)[..., 0]
        return x

    def each_lane(x, seed):
        return torch.stack([shuffle(lane[None], seed + k)[0] for k, lane in enumerate(x)])

    def fresh(x, seed):
        y = x.clone()
        y[..., 0] = torch.as_tensor(np.random.default_rng(seed).normal(0, 0.36, x.shape[1]), dtype=x.dtype)
        return y

    wrong = [in_place, each_lane, fresh, lambda x, seed: shuffle(x, 0), lambda x, seed: x.clone()]
    wrong += [lambda x, seed: x[torch.randperm(len(x))], lambda x, seed: x.flip(1), shuffle(torch.zeros(4, 9, 5), 0)]
    holds(capsys, generalization.check_3, shuffle, wrong)


def test_the_cost_of_listening(capsys):
    power = (1 + 0.4**2 / 12) / 8
    wrong = [lambda e: e**2 / 2, lambda e: e * power, lambda e: e * power**0.5, lambda e: e**2 / 8 * 4, 0.127]
    wrong += [lambda e: e**2 * power**2, lambda e: 0.0]
    holds(capsys, generalization.check_4, lambda e: power * e**2, wrong)


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
