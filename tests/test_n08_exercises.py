"""The exercises of notebook 08: the right answers pass, and the commonest wrong ones do not."""

import numpy as np

from lib.lessons import n08_exercises as judge


def said(capsys, check, answer):
    check(answer)
    return capsys.readouterr().out


def holds(capsys, check, right, wrong):
    assert "no answer yet" in said(capsys, check, None)
    assert said(capsys, check, right).endswith(": right\n")
    for answer in wrong:
        told = said(capsys, check, answer)
        assert "not yet" in told or "cannot be checked" in told, answer


def test_the_shortest_window_of_whole_periods(capsys):
    holds(capsys, judge.check_1, 500, (1000, 250, 0.5, 167, True, "half"))


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
    holds(capsys, judge.check_2, best, wrong)


def test_networks_of_ones_own(capsys):
    right = {"MLP on S and C", "MLP on a window", "convolution", "Transformer, no positions"}
    wrong = [right | {"Transformer"}, right - {"convolution"}, {"LSTM"}, "convolution", 5]
    holds(capsys, judge.check_3, right, wrong)

    def step(state, eigenvalues, drive, x):
        return state * eigenvalues + x @ drive.T

    def in_place(state, eigenvalues, drive, x):
        state *= eigenvalues
        state += x @ drive.T
        return state

    wrong = [lambda s, e, d, x: s + x @ d.T, lambda s, e, d, x: s * e.conj() + x @ d.T, lambda s, e, d, x: s @ e]
    wrong += [lambda s, e, d, x: s * e + x @ d.T.conj(), in_place]
    holds(capsys, judge.check_4, step, wrong)

    def window(signal, length):
        padded = np.concatenate([np.zeros(length - 1), signal])
        return np.lib.stride_tricks.sliding_window_view(padded, length)

    wrong = [lambda s, n: window(s, n)[:, ::-1], lambda s, n: window(s[::-1], n)[::-1], lambda s, n: window(s, n + 1)]
    wrong += [lambda s, n: np.lib.stride_tricks.sliding_window_view(s, n), lambda s, n: s]
    holds(capsys, judge.check_5, window, wrong)
