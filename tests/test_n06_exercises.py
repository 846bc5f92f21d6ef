"""The exercises of notebook 06: right answers in many forms pass, and what one may get wrong does not."""

import numpy as np
import pytest

from lib.lessons import n06_exercises as judge


def said(capsys, check, answer, *more):
    check(answer, *more)
    return capsys.readouterr().out


def holds(capsys, check, right, wrong, *more):
    assert "no answer yet" in said(capsys, check, None, *more)
    for answer in right:
        assert said(capsys, check, answer, *more).endswith(": right\n"), answer
    for answer in wrong:
        told = said(capsys, check, answer, *more)
        assert "not yet" in told or "cannot be checked" in told, answer


def test_the_part_that_stays(capsys):
    holds(capsys, judge.check_1, ("along", "Along", " along ", "ALONG"), ("across", "both", 1, "along, across", ["x"]))


def test_the_time_a_push_takes_to_fade(capsys):
    right = (400, 400.0, np.float64(400), "400", 2 * 200, 398)
    holds(capsys, judge.check_2, right, (200, 100, 2, 20, 460.5, 0.4, -400, True, "two periods"), 0.1, 5.0)


def theta(frequency, rate):
    return 2 * np.pi * frequency / rate


def test_the_gates_of_a_wired_clock(capsys):
    right = [
        lambda f, rate: (np.cos(theta(f, rate)), np.sin(theta(f, rate))),
        lambda f, rate: [np.cos(theta(f, rate)), np.sin(theta(f, rate))],
        lambda f, rate: np.array([np.cos(theta(f, rate)), np.sin(theta(f, rate))]),
        lambda f, rate: (np.sqrt(1 - np.sin(theta(f, rate)) ** 2), np.sin(theta(f, rate))),
    ]
    wrong = [
        lambda f, rate: (np.sin(theta(f, rate)), np.cos(theta(f, rate))),
        lambda f, rate: (1.0, np.sin(theta(f, rate))),
        lambda f, rate: (1.0, theta(f, rate)),
        lambda f, rate: (np.cos(theta(f, rate)), theta(f, rate)),
        lambda f, rate: (np.cos(theta(f, 1000)), np.sin(theta(f, 1000))),
        lambda f, rate: (np.cos(f / rate), np.sin(f / rate)),
        lambda f, rate: (np.cos(theta(3, 1000)), np.sin(theta(3, 1000))),
        lambda f, rate: 0.5,
        (0.9, 0.1),
    ]
    holds(capsys, judge.check_3, right, wrong)


def longest(matrix, rate, turn=2 * np.pi, key=np.abs, real=False, pick=np.argmax):
    values = np.linalg.eigvals(matrix)
    values = values if real else values[np.abs(values.imag) > 1e-9]
    return np.abs(np.angle(values[pick(key(values))])) * rate / turn


@pytest.mark.parametrize("kind", [float, np.array, lambda rate: np.array([rate])])
def test_the_frequency_of_a_linearized_step(capsys, kind):
    wrong = [
        lambda m, rate: longest(m, rate, turn=1),
        lambda m, rate: longest(m, 1000.0),
        lambda m, rate: longest(m, rate, real=True),
        lambda m, rate: longest(m, rate, pick=np.argmin),
        lambda m, rate: longest(m, rate, key=lambda v: np.abs(np.angle(v))),
        lambda m, rate: -longest(m, rate),
        3.0,
    ]
    holds(capsys, judge.check_4, [lambda m, rate: kind(longest(m, rate))], wrong)
