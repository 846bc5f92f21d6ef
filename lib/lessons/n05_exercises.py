"""Notebook 05: its exercises, each with the check of an answer."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import torch
from torch import Tensor

from lib.lessons.exercises import check, digest
from lib.loader import assemble_inputs
from lib.signals import SignalSpec, generate


def check_1(names: Collection[str] | None) -> None:
    """What a training depends on, of weight seed, training noise and test noise."""
    hint = "what is there before the first update?"
    check("5.1", names, lambda x: not isinstance(x, str) and digest(sorted(x)) == "3cc5365b", hint)


def check_2(share: float | None, trainings: int) -> None:
    """The largest share of failing trainings that a run of so many good ones still permits, at 95 %."""
    hint = "solve the chance for p; what is drawn anew here, a network or a noise?"
    check("5.2", share, lambda x: 0 < x < 1 and abs((1 - x) ** trainings - 0.05) < 0.002, hint)


def check_3(shuffled: Callable[[Tensor, int], Tensor] | None) -> None:
    """A function of inputs and a seed that shuffles S in time, the same way in each lane, and nothing else."""

    def is_right(shuffled: Callable[[Tensor, int], Tensor]) -> bool:
        x = assemble_inputs(SignalSpec(duration=0.2), generate(SignalSpec(duration=0.2), 5).mixed)
        given = x.clone()
        one, two = shuffled(x, 0), shuffled(x, 1)
        return (
            torch.equal(x, given)  # what was given is not changed
            and torch.equal(one[..., 1:], x[..., 1:])  # the selectors stay in place
            and torch.equal(one[..., 0], one[:1, :, 0].expand(len(x), -1))  # the same way in each lane
            and torch.equal(one[0, :, 0].sort().values, x[0, :, 0].sort().values)  # the same values
            and not torch.equal(one[0, :, 0], two[0, :, 0])  # another order for another seed
            and float((one[0, :, 0] == x[0, :, 0]).float().mean()) < 0.1  # hardly a sample in its place
        )

    hint = "draw one order of the samples from the seed, and index S by it in a copy of the inputs"
    check("5.3", shuffled, is_right, hint)


def check_4(cost: Callable[[float], float] | None) -> None:
    """A function of ε: the MSE of an output that is the target plus ε · S."""
    spec = SignalSpec()
    mixed = generate(spec, range(2000, 2020)).mixed

    def is_right(cost: Callable[[float], float]) -> bool:
        measured = {size: np.mean((size * mixed) ** 2) for size in (0.01, 0.1, 1.0)}
        return all(abs(cost(size) / mse - 1) < 0.03 for size, mse in measured.items())

    hint = "the error is ε · S; what is the mean square of S? Notebook 1 has its standard deviation"
    check("5.4", cost, is_right, hint)
