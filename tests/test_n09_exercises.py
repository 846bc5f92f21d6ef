"""The exercises of notebook 09: the right answers pass, and the commonest wrong ones do not."""

import numpy as np

from lib.lessons import n09_exercises as judge


def said(capsys, check, answer):
    check(answer)
    return capsys.readouterr().out


def holds(capsys, check, right, wrong):
    assert "no answer yet" in said(capsys, check, None)
    assert said(capsys, check, right).endswith(": right\n")
    for answer in wrong:
        told = said(capsys, check, answer)
        assert "not yet" in told or "cannot be checked" in told, answer


def test_a_chance_and_a_distance(capsys):
    holds(capsys, judge.check_1, 0.03125, (1 / 64, 1 / 6, 1 / 2, 2**-5.5, "one in 32"))
    holds(capsys, judge.check_3, 1.54, (1.0, 1.28, 1.87, -1.54, "ten"))


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

    holds(capsys, judge.check_2, right, (on_all, flattered, on_the_test, in_place, lambda *_: 3, 5))
