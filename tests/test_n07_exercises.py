"""The exercises of notebook 07: right answers in many forms pass, and what one may get wrong does not."""

# ruff: noqa: N803, N806  # the Kalman filter's letters are capitals

import numpy as np

from lib.lessons import n07_exercises as judge


def said(capsys, check, answer):
    check(answer)
    return capsys.readouterr().out


def holds(capsys, check, right, wrong):
    assert "no answer yet" in said(capsys, check, None)
    for answer in right:
        assert said(capsys, check, answer).endswith(": right\n"), answer
    for answer in wrong:
        told = said(capsys, check, answer)
        assert "not yet" in told or "cannot be checked" in told, answer


def test_numbers(capsys):
    right, wrong = (0.6034, 0.6, 0.60, "0.6", np.float32(0.603)), (0.5, 0.75, 1 / np.pi, 1.9, True, "half")
    holds(capsys, judge.check_1, right, wrong)
    right, wrong = (8, 8.0, "8", np.int64(8), 7.9), (0.5, 4, 32, 16, 2, True, -8, "four times as much")
    holds(capsys, judge.check_2, right, wrong)


def correction(wrong="", change=False, form=tuple):
    def my_correct(x, P, H, R, z):
        K = P @ H / (H @ P @ H + (0 if wrong == "noise" else R))
        miss = z - (0 if wrong == "prediction" else H @ x)
        kept = np.outer(K, H) if wrong == "covariance" else np.outer(K, H @ P)
        if change:
            x += K * miss
            return x, P - kept
        return form((x + K * miss, P - kept))

    return my_correct


def test_a_correction_of_ones_own(capsys):
    def joseph(x, P, H, R, z):  # another form of the same covariance
        K = P @ H / (H @ P @ H + R)
        rest = np.eye(len(x)) - np.outer(K, H)
        return x + K * (z - H @ x), rest @ P @ rest.T + R * np.outer(K, K)

    def precisions(x, P, H, R, z):
        after = np.linalg.inv(np.linalg.inv(P) + np.outer(H, H) / R)
        return after @ (np.linalg.solve(P, x) + H * z / R), after

    wrong = [correction(what) for what in ("noise", "prediction", "covariance")]
    wrong += [correction(change=True), lambda x, P, H, R, z: x, lambda x, P, H, R, z: (P, x), lambda: 5, 5]
    holds(capsys, judge.check_3, [correction(), correction(form=list), joseph, precisions], wrong)
