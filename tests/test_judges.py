"""The exercises of notebooks 08 and 09: the right answers pass, and the commonest wrong ones do not."""

import numpy as np
import pytest

from lib.lessons import n08_network_exercises as networks
from lib.lessons import n08_window_exercises as windows
from lib.lessons import n09_exercises as tuning


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
        (tuning.check_1, 0.03125, (1 / 64, 1 / 6, 1 / 2, 2**-5.5, "one in 32")),
        (tuning.check_3, 1.54, (1.0, 1.28, 1.87, -1.54, "ten")),
        (windows.check_1, 500, (1000, 250, 0.5, 167, True, "half")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_numbers_and_names(capsys, judge, right, wrong):
    holds(capsys, judge, right, wrong)


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
