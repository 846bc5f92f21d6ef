"""The exercises of notebook 05: ten right answers in unusual form and ten wrong ones each, judged rightly."""

import random
from fractions import Fraction

import numpy as np
import pytest
import torch

from lib import SignalSpec, generate
from lib.lessons import n05_exercises as judge

N = 9
SHARE = 1 - 0.05 ** (1 / N)
POWER = (1 + 0.4**2 / 12) / 8
MIXED = generate(SignalSpec(), 3).mixed


def in_order(x, order):
    y = x.clone()
    y[..., 0] = x[:, order, 0]
    return y


def drawn(x, seed):
    return in_order(x, np.random.default_rng(seed).permutation(x.shape[1]))


def by_torch(x, seed):
    return in_order(x, torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(seed)))


def by_global_seed(x, seed):
    torch.manual_seed(seed)
    return torch.cat([x[:, torch.randperm(x.shape[1]), :1], x[..., 1:]], dim=-1)


def by_python(x, seed):
    order = list(range(x.shape[1]))
    random.Random(seed).shuffle(order)
    return in_order(x, order)


def by_keys(x, seed):
    return in_order(x, np.random.RandomState(seed).rand(x.shape[1]).argsort())


def in_place(x, seed):
    x[..., 0] = drawn(x, seed)[..., 0]
    return x


def each_lane(x, seed):
    return torch.stack([drawn(lane[None], seed + k)[0] for k, lane in enumerate(x)])


def fresh(x, seed):
    y = x.clone()
    y[..., 0] = torch.as_tensor(np.random.default_rng(seed).normal(0, 0.36, x.shape[1]), dtype=x.dtype)
    return y


def with_repetition(x, seed):
    return in_order(x, np.random.default_rng(seed).integers(0, x.shape[1], x.shape[1]))


def measured(epsilon):
    return np.mean((SignalSpec().targets + epsilon * MIXED - SignalSpec().targets) ** 2)


def table(check, right, wrong, *more):
    """A case for each answer; wrong ones come with words of the hint that belongs to them."""
    cases = [(None, "no answer yet"), *((answer, "right\n") for answer in right), *wrong]
    return [
        pytest.param(check, answer, more, said, id=f"{check.__name__} {k}") for k, (answer, said) in enumerate(cases)
    ]


CASES = [
    *table(
        judge.check_1,
        [{"weight seed", "training noise"}, ["training noise", "weight seed"], ("weight seed", "training noise"),
         frozenset({"weight seed", "training noise"}), {"Weight seed", "Training Noise"},
         "weight seed, training noise", "weight seed and training noise", {"weight_seed", "training_noise"},
         np.array(["weight seed", "training noise"]), {"weight seed": 1, "training noise": 2},
         {"weight seeds", " training noise "}, "weight seed + training noise",
         ["weight seed", "training noise", "weight seed"], (name for name in ("weight seed", "training noise"))],
        [({"weight seed"}, "one more"), ({"training noise"}, "one more"), ("weight seed", "one more"),
         (["weight seed"], "one more"), ({"test noise"}, "last update"),
         ({"weight seed", "test noise"}, "last update"), (set(), "one more"), ([], "one more"),
         ({"weight seed", "training noise", "test noise"}, "last update"), ({"noise", "weight seed"}, "'noise'"),
         ("all", "'all'"), (2, "a set"), (True, "a set"), ({"learning rate"}, "'learning rate'"), ([1, 2], "'1'"),
         ("", "one more")],
    ),
    *table(
        judge.check_2,
        [SHARE, 0.28, 0.283, "0.28", "28%", "28.3 %", np.float32(SHARE), torch.tensor(SHARE), [SHARE],
         np.array([[SHARE]]), Fraction(283, 1000), 1 - np.exp(np.log(0.05) / N), round(SHARE, 2), (0.2831,)],
        [(1 - SHARE, "succeeds"), (1 - 0.05 ** (1 / 100), "no draw"), (1 - 0.05 ** (1 / 900), "trained once"),
         (28, "percentage"), (28.3, "percentage"), (1 / 9, "one in the number"), (1 / 3, "rule of thumb"),
         (0.0, "none would"), (0.05, "chance of being"), (0.95, "confidence"),
         (1 - 0.95 ** (1 / N), "confidence of 5%"), ("a quarter", "one number"), (True, "one number"),
         ([0.1, 0.2], "one number"), (-SHARE, "solve"), (0.3, "solve"), (np.nan, "solve"), ("%", "one number"),
         (min, "one number")],
        N,
    ),
    *table(
        judge.check_order,
        [drawn, by_torch, by_global_seed, by_python, by_keys, lambda inputs, seed: drawn(inputs, seed),
         lambda x, seed: drawn(x, seed).numpy(), lambda x, seed: drawn(x, seed).double(),
         lambda x, seed: drawn(x, seed).tolist(),
         lambda x, seed: x[:, np.random.default_rng(seed).permutation(x.shape[1])],
         lambda x, seed: drawn(x, seed).requires_grad_(), lambda x, seed: drawn(x.flip(1), seed + 7)],
        [(in_place, "copy"), (each_lane, "each lane"), (fresh, "new values"),
         (lambda x, seed: drawn(x, 0), "another seed"), (lambda x, seed: x.clone(), "another seed"),
         (lambda x, seed: x[torch.randperm(len(x))], "selectors"), (lambda x, seed: x.flip(1), "another seed"),
         (with_repetition, "each once"), (lambda x, seed: drawn(x, None), "same seed"),
         (lambda x, seed: in_order(x, np.roll(np.arange(x.shape[1]), 50 + seed)), "shift"),
         (lambda x, seed: x.flip(2), "selectors"), (lambda x, seed: drawn(x, seed)[..., 0], "same shape"),
         (lambda x, seed: None, "returns nothing"), (lambda x: x, "TypeError"),
         (torch.zeros(4, 9, 5), "function itself"), (lambda x, seed: "shuffled", "same shape"),
         (lambda x, seed: 2 * drawn(x, seed), "selectors"), (lambda x, seed: x[:, 10**6], "IndexError")],
    ),
    *table(
        judge.check_3,
        [lambda e: POWER * e**2, measured, lambda e: 0.13 * e**2, lambda e: (0.356 * e) ** 2,
         lambda e: np.array([POWER * e * e]), lambda e: torch.tensor(POWER * e**2),
         lambda epsilon: epsilon**2 * np.var(MIXED), lambda e: str(POWER * e**2), lambda e: [e**2 * POWER],
         lambda e: float(e) ** 2 * Fraction(38, 300), lambda e: np.float32(POWER) * np.square(e),
         lambda e, power=POWER: power * abs(e) ** 2, lambda e: e**2 / 4 * (1.2**3 - 0.8**3) / 3 / 0.4 / 2],
        [(lambda e: e * POWER, "linear"), (lambda e: e * POWER**0.5, "RMSE"), (lambda e: e**2 / 2, "one component"),
         (lambda e: 16 * e**2 * POWER, "not their sum"), (lambda e: e**2 / 32, "sixteenth"),
         (lambda e: e**4 * POWER, "fourth"), (lambda e: e**2 * POWER**2, "not the square of it"),
         (lambda e: e**2, "no sine"), (lambda e: 0.5 + POWER * e**2, "not a part"), (lambda e: 0.0, "mean square"),
         (0.127, "function itself"), (lambda e: None, "returns nothing"), (lambda: 1, "TypeError"),
         (lambda e: (e, e), "one number"), (lambda e: "small", "one number"),
         (lambda e: e**2 * POWER**0.5, "square root"), (lambda e: e / 0, "ZeroDivisionError"),
         (lambda e: POWER, "mean square"), (lambda e: e**2 / 4, "mean square")],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("check", "answer", "more", "said"), CASES)
def test_an_answer_is_judged(capsys, check, answer, more, said):
    check(answer, *more)
    told = capsys.readouterr().out
    assert said in told
    assert "cannot be checked" not in told
    assert ("right\n" in told) == (said == "right\n")
