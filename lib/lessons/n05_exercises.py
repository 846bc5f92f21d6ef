"""Notebook 05: its exercises, each with the check of an answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib.lessons.exercises import Told, answer_of, check, digest, known, numbers
from lib.loader import assemble_inputs
from lib.signals import SignalSpec, generate

Order = Callable[[Tensor, int], Any]
Cost = Callable[[float], Any]
DRAWS = ("weight seed", "training noise", "test noise")


def check_order(my_order: Order | None) -> None:
    """A function of inputs and a seed that puts S in another order in time, the same in each lane, and nothing else."""
    spec = SignalSpec(duration=0.2)
    x = assemble_inputs(spec, generate(spec, 5).mixed)
    before = x[0, :, 0].tolist()

    def is_right(my_order: Order) -> bool | str:
        given = x.clone()
        found = [answer_of(my_order, given, seed) for seed in (0, 1, 0)]
        if told := next((part for part in found if isinstance(part, Told)), ""):
            return told
        if not torch.equal(x, given):
            return "the inputs that were given have changed; work on a copy, `inputs.clone()`"
        parts = [numbers(part.detach() if isinstance(part, Tensor) else part, *x.shape) for part in found]
        if any(part is None for part in parts):
            return "return inputs of the same shape, (lanes, samples, features)"
        one, two, again = (torch.as_tensor(part, dtype=torch.float32) for part in parts)
        if not torch.equal(one[..., 1:], x[..., 1:]):
            return "the selectors are to stay as they are"
        if not torch.equal(one[..., 0], one[:1, :, 0].expand(len(x), -1)):
            return "each lane must get the same order"
        if sorted(one[0, :, 0].tolist()) != sorted(before):
            return "the same values must come back, each once: draw an order, not new values"
        if not torch.equal(one, again):
            return "the same seed must give the same order; draw it from the seed"
        if torch.equal(one, two):
            return "another seed must give another order"
        places = np.array([before.index(value) for value in one[0, :, 0].tolist()])
        if np.mean(places == np.arange(len(places))) > 0.1 or np.mean(np.diff(places) == 1) > 0.1:
            return "most samples still follow the one before them: a shift is not enough, any order must be possible"
        return True

    hint = "draw one order of the samples from the seed, and index S by it in a copy of the inputs"
    check("of section 5.3", my_order, is_right, hint)


def check_1(names: Any) -> None:
    """What a training depends on, of weight seed, training noise and test noise."""

    def is_right(names: Any) -> bool | str:
        given = re.split(r",|;|\+|&|\band\b", names) if isinstance(names, str) else names
        words = {re.sub(r"[\s_-]+", " ", str(name)).strip().lower() for name in np.ravel(list(given)).tolist()}
        words = {word.removesuffix("s") for word in words if word}
        if strange := sorted(words - set(DRAWS)):
            return f"{strange[0]!r} is none of the three; give a set of some of them"
        if "test noise" in words:
            return "the test noise is heard only after the last update"
        if len(words) < 2:
            return "there is one more: what is there before the first update?"
        return digest(sorted(words)) == "3cc5365b"

    hint = "give a set of some of the three names"
    check("5.1", names, lambda x: is_right(x) if isinstance(x, str) or hasattr(x, "__iter__") else hint, hint)


def check_2(share: Any, trainings: int) -> None:
    """The largest share of failing trainings that a run of so many good ones still permits, at 95 %."""
    right = 1 - 0.05 ** (1 / trainings)
    mistakes = {
        "that is (1 − p), the share that succeeds": 1 - right,
        "a noise is no draw of a training: what is drawn anew, and how often?": 1 - 0.05 ** (1 / 100),
        "each network was tested on a hundred noises, but trained once": 1 - 0.05 ** (1 / (100 * trainings)),
        "that is for a confidence of 5%: the chance of no failure is to be one in twenty": 1 - 0.95 ** (1 / trainings),
        "that is one in the number of trainings; solve (1 − p)ⁿ = 0.05 for p": 1 / trainings,
        "that is the rule of thumb 3/n, which holds for many trainings; solve the equation": 3 / trainings,
        "none has failed, but that does not mean that none would": 0.0,
        "that is the chance of being wrong, not the share that fails": 0.05,
        "that is the confidence": 0.95,
    }

    def is_right(share: Any) -> bool | str:
        text = share.strip() if isinstance(share, str) else ""
        found = numbers(text.removesuffix("%") if text else share)
        if found is None:
            return "give one number"
        found = found / 100 if text.endswith("%") else found
        if 1 < found < 100:
            return "give a share between 0 and 1, not a percentage"
        return bool(abs(found - right) < 0.005) or known(mistakes, found, 2e-3) or False

    check("5.2", share, is_right, "solve (1 − p)ⁿ = 0.05 for p, where n is the number of draws")


def check_3(cost: Cost | None) -> None:
    """A function of ε: the MSE of an output that is the target plus ε · S."""
    power = float(np.mean(generate(SignalSpec(), range(2000, 2010)).mixed ** 2))
    sizes = np.array([0.01, 0.1, 1.0])
    mistakes = {
        "that is linear in ε; the error is squared": power * sizes,
        "that is the RMSE": np.sqrt(power) * sizes,
        "that is the mean square of one component, not of their mean": sizes**2 / 2,
        "S is the mean of four, not their sum": 16 * power * sizes**2,
        "four independent components: their mean has a quarter of the variance of one, not a sixteenth": sizes**2 / 32,
        "ε is squared, not to the fourth power": power * sizes**4,
        "the mean square of S, not its square root": np.sqrt(power) * sizes**2,
        "the mean square of S, not the square of it": power**2 * sizes**2,
        "S is no sine of amplitude one: what is its mean square?": sizes**2,
        "the target is not a part of the error": 0.5 + power * sizes**2,
    }

    def is_right(cost: Cost) -> bool | str:
        found = [answer_of(cost, float(size)) for size in sizes]
        if told := next((part for part in found if isinstance(part, Told)), ""):
            return told
        parts = [numbers(part) for part in found]
        values = np.array([part for part in parts if part is not None])
        if len(values) < len(parts):
            return "return one number"
        good = np.allclose(values / (power * sizes**2), 1, rtol=0, atol=0.03)
        wrong = (hint for hint, those in mistakes.items() if np.allclose(values, those, rtol=0.03, atol=0))
        return good or next(wrong, False)

    check(
        "5.3", cost, is_right, "the error is ε · S; what is the mean square of S? Notebook 1 has its standard deviation"
    )
