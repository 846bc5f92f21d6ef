"""The exercises of notebook 04: ten right answers in unusual form and ten wrong ones each, judged rightly."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from lib import FrequencyDataset, SignalSpec, load_model, metrics, metrics_by_frequency, roll_out
from lib.lessons import n04_exercises as judge

SPEC, MODEL, DATASET = SignalSpec(), load_model(), FrequencyDataset(SignalSpec(), 2)
TARGET = SPEC.targets[1]


def table(check, right, wrong, *more):
    """A case for each answer; wrong ones come with words of the hint that belongs to them."""
    cases = [(None, "no answer yet"), *((answer, "right\n") for answer in right), *wrong]
    return [
        pytest.param(check, answer, more, said, id=f"{check.__name__} {k}") for k, (answer, said) in enumerate(cases)
    ]


def r2(y, target):
    return 1 - ((y - target) ** 2).sum(1) / ((target - target.mean(1, keepdims=True)) ** 2).sum(1)


def late_mse(model, dataset, late, y=None, swap=False, to=None):
    y = roll_out(model, dataset.inputs[:, late:], steps=10_000) if y is None else y(model, dataset, late)
    n = y.shape[1]
    found = [((y - dataset.targets[:, :n]) ** 2).mean(), ((y - dataset.targets[:, late:]) ** 2).mean()]
    return tuple(found[::-1] if swap else found)


def from_the_start(model, dataset, late):
    return roll_out(model, dataset.inputs, steps=10_000)[:, late:]


def by_hand(model, dataset, late):
    model.reset_state()
    return torch.stack([model(dataset.inputs[:, t]) for t in range(late, dataset.spec.n_samples)], dim=1)


def switched(at=5000, lane=3, first=1, steps=10_000):
    x = DATASET.inputs[first : first + 1].clone()
    x[:, at:, 1:] = DATASET.inputs[lane, at:, 1:]
    return roll_out(MODEL, x, steps=steps)


def both_selectors():
    x = DATASET.inputs[1:2].clone()
    x[:, 5000:, 4] = 1
    return roll_out(MODEL, x, steps=10_000)


SWITCHED = switched()[0, :, 0].numpy()
GLUED = np.append(SWITCHED[:5000], roll_out(MODEL, DATASET.inputs[3:4], steps=10_000)[0, 5000:, 0])


def harmonics(y, f, rate, ks=(1, 2)):
    return [abs(np.mean(y * np.exp(-2j * np.pi * k * f * np.arange(len(y)) / rate))) for k in ks]


def decibels(y, f, rate, factor=20, log=np.log10, turn=1, ks=(1, 2)):
    a, b = harmonics(y, f, rate, ks)
    return factor * log(b / a if turn > 0 else a / b)


def by_fft(y, f, rate):
    spectrum = np.abs(np.fft.rfft(y))
    k = round(f * len(y) / rate)
    return 20 * np.log10(spectrum[2 * k] / spectrum[k])


def by_fit(y, f, rate):
    turns = 2 * np.pi * f * np.arange(len(y)) / rate
    columns = [np.ones_like(turns)] + [wave(k * turns) for k in (1, 2, 3) for wave in (np.sin, np.cos)]
    a = np.linalg.lstsq(np.stack(columns, 1), y, rcond=None)[0]
    return 10 * np.log10((a[3] ** 2 + a[4] ** 2) / (a[1] ** 2 + a[2] ** 2))


def by_sines(y, f, rate):
    time = np.arange(len(y)) / rate
    size = [np.hypot(*(y @ wave(2 * np.pi * k * f * time) for wave in (np.sin, np.cos))) for k in (1, 2)]
    return 20 * (np.log10(size[1]) - np.log10(size[0]))


def in_place(y, f, rate):
    y -= y.mean()
    return decibels(y, f, rate)


CASES = [
    *table(
        judge.check_1,
        [0.005, "0.005", 1 / 200, np.float32(0.005), torch.tensor(0.005), [0.005], np.array([[0.005]]), (0.005,),
         5e-3, Fraction(1, 200), Decimal("0.005"), "5e-3", 0.1**2 / 2, np.longdouble(0.005),
         metrics(0.9 * TARGET, TARGET)["mse"], 0.00502],
        [(0.01, "half"), (0.1, "mean square"), (0.05, "square it"), (0.19, "difference"),
         (0.095, "square of the difference"), (0.9, "error"), (0.405, "output"), (0.0707, "RMSE"), (0.5, "silence"),
         (0.0, "error"), (-0.005, "error"), ("a half", "one number"), (True, "one number"),
         ([0.005, 0.01], "one number"), (np.nan, "error"), (0.0052, "error"), ({}, "one number"), (abs, "one number")],
    ),
    *table(
        judge.check_2,
        [SWITCHED, SWITCHED.astype(float), switched(), switched()[0], switched()[..., 0], SWITCHED[:, None],
         SWITCHED[None], SWITCHED.tolist(), tuple(SWITCHED), switched()[0, :, 0].clone().requires_grad_(),
         switched(steps=77), SWITCHED.round(4)],
        [(np.append(SWITCHED[:5000], roll_out(MODEL, DATASET.inputs[3:4, 5000:], steps=5000)), "reset"),
         (switched(10_000), "nothing was switched"), (switched(0), "7 Hz from the first"), (GLUED, "glued"),
         (switched(lane=2), "lane 3"), (switched(first=0), "lane 1"), (switched(lane=1, first=3), "other way round"),
         (switched(5001), "copy the inputs"), (switched(4999), "copy the inputs"),
         (np.roll(SWITCHED, 1), "copy the inputs"), (SWITCHED[5000:], "10,000"), (SPEC.targets[3], "copy the inputs"),
         (both_selectors(), "copy the inputs"), (3.0, "10,000"), ("7 Hz", "10,000"),
         (np.stack([SWITCHED] * 4), "10,000"), (roll_out, "10,000"), (DATASET, "10,000")],
        MODEL, DATASET,
    ),
    *table(
        judge.check_3,
        [decibels, by_fft, by_fit, by_sines, lambda y, f, r: np.array([decibels(y, f, r)]), in_place,
         lambda output, frequency, sample_rate: float(decibels(output, frequency, sample_rate)),
         lambda y, f, r: torch.tensor(by_fft(y, f, r)), lambda y, f, r: np.float32(by_fft(y, f, r)),
         lambda y, f, r: str(by_fft(y, f, r)), lambda y, f, r: -decibels(y, f, r, turn=-1),
         lambda *all_of_it: 20 * np.log(np.divide(*harmonics(*all_of_it)[::-1])) / np.log(10)],
        [(lambda y, f, r: decibels(y, f, r, 10), "20·log"),
         (lambda y, f, r: decibels(y, f, r, turn=-1), "wrong way round"),
         (lambda y, f, r: 20 * np.log10(harmonics(y, f, r)[1] / np.std(y) / 2**0.5), "average"),
         (lambda y, f, r: decibels(y, f, 1000.0), "sample rate"),
         (lambda y, f, r: by_fft(y, f, 1000.0), "sample rate"),
         (lambda y, f, r: 10 ** (by_fft(y, f, r) / 20), "in decibels"),
         (lambda y, f, r: decibels(y, f, r, log=np.log), "base ten"),
         (lambda y, f, r: decibels(y, f, r, ks=(1, 3)), "third"),
         (lambda y, f, r: 20 * np.log10(2 * harmonics(y, f, r)[1]), "divide"),
         (lambda y, f, r: 20 * np.log10(np.mean(y * np.sin(4 * np.pi * f * np.arange(len(y)) / r))), "average"),
         (lambda y, f, r: -40.0, "average"), (-40.0, "function itself"), (lambda y, f, r: None, "returns nothing"),
         (lambda y: 3, "stops with TypeError"), (lambda y, f, r: y[99_999], "stops with IndexError"),
         (lambda y, f, r: harmonics(y, f, r), "one number"), (lambda y, f, r: "loud", "one number"),
         (print, "returns nothing")],
    ),
    *table(
        judge.check_4,
        [1, 1.0, "1", "1.0", np.int64(1), np.float32(1), torch.tensor(1), [1], np.array([[1.0]]), Fraction(1),
         Decimal(1), "a random walk", "Random Walk", "1 (a random walk)"],
        [(0, "pulls it back"), (2, "same way"), (0.5, "variance"), ("drift", "same way"),
         ("it settles", "pulls it back"), (-1, "pulls"), (1.5, "pulls"), (3, "pulls"), ([1, 2], "one of the three"),
         ("t", "one of the three"), (2.0, "same way"), (True, "one of the three"), (0.97, "one of the three"),
         (np.nan, "one of the three"), ({1}, "one of the three")],
    ),
    *table(
        judge.check_scores,
        [r2, lambda y, t: r2(y, t).tolist(), lambda y, t: tuple(r2(y, t)), lambda y, t: torch.tensor(r2(y, t)),
         lambda y, t: r2(y, t)[:, None], lambda y, t: r2(y, t)[None],
         lambda y, t: dict(zip("abcd", r2(y, t), strict=True)),
         lambda y, t: [metrics(a, b)["r2"] for a, b in zip(y, t, strict=True)], lambda y, t: r2(y, t).round(2),
         lambda y, t: 1 - ((y - t) ** 2).mean(axis=1) / t.var(axis=1), lambda y, t: r2(y, t).astype(np.float32),
         lambda y, t: [row["r2"] for name, row in metrics_by_frequency(y, t, SPEC).items() if name != "overall"]],
        [(lambda y, t: ((y - t) ** 2).mean(axis=1), "MSE"), (lambda y, t: 1 - r2(y, t), "one minus"),
         (lambda y, t: [np.corrcoef(a, b)[0, 1] ** 2 for a, b in zip(y, t, strict=True)], "correlation"),
         (lambda y, t: 1 - ((y - t) ** 2).mean() / t.var(), "all rows"),
         (lambda y, t: ((y - t) ** 2).mean(0), "four"),
         (lambda y, t: 1 - np.abs(y - t).mean(1) / t.var(1), "square the errors"),
         (lambda y, t: r2(t, y), "spread of the target"), (lambda y, t: 1 - np.sqrt(1 - r2(y, t)), "root"),
         (lambda y, t: r2(y, t)[:3], "four"), (lambda y, t: 0.99, "all rows"),
         (lambda y, t: [1, 1, 1, 1], "sums along axis 1"), (0.99, "function itself"),
         (lambda y, t: None, "returns nothing"), (lambda y: 3, "TypeError"), (lambda y, t: "good", "four"),
         (lambda y, t: y @ t, "ValueError")],
    ),
    *table(
        judge.check_late,
        [late_mse, lambda m, d, k: list(late_mse(m, d, k)),
         lambda m, d, k: np.array([float(x) for x in late_mse(m, d, k)]),
         lambda m, d, k: torch.stack(late_mse(m, d, k)), lambda m, d, k: tuple(map(float, late_mse(m, d, k))),
         lambda m, d, k: late_mse(m, d, k, by_hand), lambda model, dataset, late: late_mse(model, dataset, late),
         lambda m, d, k: [round(float(x), 7) for x in late_mse(m, d, k)],
         lambda m, d, k: late_mse(m, d, k, lambda m, d, k: roll_out(m, d.inputs[:, k:], steps=999)),
         lambda m, d, k: torch.stack(late_mse(m, d, k))[None],
         lambda m, d, k: [str(float(x)) for x in late_mse(m, d, k)]],
        [(lambda m, d, k: late_mse(m, d, k, swap=True), "first the sine"),
         (lambda m, d, k: late_mse(m, d, k, from_the_start), "first the sine"),
         (lambda m, d, k: late_mse(m, d, k)[0], "two numbers"),
         (lambda m, d, k: late_mse(m, d, k + 1), "as many targets"),
         (lambda m, d, k: late_mse(m, d, 0), "as many targets"),
         (lambda m, d, k: [x**0.5 for x in late_mse(m, d, k)], "RMSE"),
         (lambda m, d, k: (0.0, 1.0), "as many targets"), (5, "function itself"),
         (lambda m, d, k: None, "returns nothing"), (lambda m, d: 5, "TypeError"),
         (lambda m, d, k: late_mse(m, d, k, lambda m, d, k: m(d.inputs)), "stops with"),
         (lambda m, d, k: "late", "two numbers"),
         (lambda m, d, k: [2 * x for x in late_mse(m, d, k)], "as many targets")],
        MODEL, DATASET,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("check", "answer", "more", "said"), CASES)
def test_an_answer_is_judged(capsys, check, answer, more, said):
    check(answer, *more)
    told = capsys.readouterr().out
    assert said in told
    assert "cannot be checked" not in told
    assert ("right\n" in told) == (said == "right\n")
    assert MODEL.hidden_state is None
