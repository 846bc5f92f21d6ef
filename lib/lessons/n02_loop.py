"""Notebook 02: a training loop that the reader edits; each edit is executed, and what came of it is measured."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lib.lessons.instruments import chain_length, counting_bytes
from lib.lessons.tables import markdown_table
from lib.loader import FrequencyDataset, StatefulDataLoader
from lib.model import StatefulLSTMExtractor
from lib.settings import whole_number
from lib.signals import Array

Loop = Callable[..., tuple[nn.Module, nn.Module, list[float]]]
Edits = Sequence[tuple[str, str]]
FAST, SLOW, DELAY = 8, 20, 5  # samples per period of the two sines; the delay of the target, a quarter of the slow one
WINDOWS = 10  # of 20 samples, in a pass over 200


def two_sines(samples: int, noise_seed: int) -> tuple[Tensor, Tensor]:
    """The small task of section 2.1: a slow and a fast sine and noise go in, the slow sine of a quarter period ago out.

    Returns:
        Inputs (samples, 2): the mixture, and a selector with a single choice, which is always 1. Targets (samples, 1).
    """
    time = np.arange(samples)
    slow, fast = np.sin(2 * np.pi * time / SLOW), np.sin(2 * np.pi * time / FAST)
    mixed = slow + fast + np.random.default_rng(noise_seed).normal(0, 0.3, samples)
    x = np.stack([mixed, np.ones(samples)], axis=1)
    target = np.sin(2 * np.pi * (time - DELAY) / SLOW)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(target[:, None], dtype=torch.float32)


def edited(function: Callable[..., Any], edits: Edits) -> Callable[..., Any]:
    """The same function with some of its text replaced.

    Args:
        function: whose source can be read; it is not changed.
        edits: pairs of an old text, which has to stand there exactly once, and a new one.
    """
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in edits:
        if source.count(old) != 1:
            raise ValueError(f"edit = {old!r}: must stand in {function.__name__} exactly once, not {source.count(old)}")
        source = source.replace(old, new)
    place = dict(inspect.unwrap(function).__globals__)
    exec(source, place)
    changed: Callable[..., Any] = place[function.__name__]
    return changed


class Outcome(NamedTuple):
    """What came of a loop.

    Attributes:
        error: the first sentence of the error that ended it; empty if none did.
        losses: mean loss of the last pass, one per seed; empty after an error.
        equals: the first loop whose weights are the same to the last bit for every seed; empty if there is none.
        reach: over how many samples back the gradient of a loss went at most, or would have gone.
        held: bytes that autograd held at most, when a backward pass began.
    """

    error: str
    losses: tuple[float, ...]
    equals: str
    reach: int
    held: int


def try_out(loops: Mapping[str, Loop], x: Tensor, y: Tensor, seeds: Sequence[int]) -> dict[str, Outcome]:
    """Run each loop once per seed of its weights, and look into one more pass of it.

    Args:
        loops: called with x, y, seed and, for the last look, with passes=1; each returns an LSTM, a head and the
            losses of its windows.
        x: inputs.
        y: targets.
        seeds: of the initial weights.
    """
    outcomes: dict[str, Outcome] = {}
    ends: dict[str, list[Any]] = {}
    for name, loop in loops.items():
        error, losses = "", []
        weights: list[Any] = []
        with watched(hold=False) as tried:
            try:
                for seed in seeds:
                    lstm, head, course = loop(x, y, seed)
                    losses.append(float(np.mean(course[-WINDOWS:])))
                    weights.append([weight.tolist() for part in (lstm, head) for weight in part.parameters()])
            except RuntimeError as raised:
                error, losses, weights = re.split(r"\. |: \[| \(", str(raised))[0], [], [name]
        with watched() as seen, suppress(RuntimeError):
            loop(x, y, seeds[0], passes=1)
        seen = seen[: len(tried)]  # under watch PyTorch overlooks that weights have changed, and goes on
        equals = next((other for other, end in ends.items() if end == weights), "")
        ends[name] = weights
        reach, held = (max(column) for column in zip(*seen, strict=True))
        outcomes[name] = Outcome(error, tuple(losses), equals, reach, held)
    return outcomes


@contextmanager
def watched(hold: bool = True) -> Iterator[list[tuple[int, int]]]:
    """Note for every `Tensor.backward` inside: over how many samples back it goes, and the bytes held for it.

    Without ``hold``, the bytes are not counted, and nothing is changed but that backward passes are noted.
    """
    seen: list[tuple[int, int]] = []
    backward = Tensor.backward
    with counting_bytes() if hold else nullcontext() as count:

        def noted(self: Tensor, *args: Any, **options: Any) -> None:
            seen.append((chain_length(self) - 1, count()) if count else (0, 0))
            backward(self, *args, **options)

        Tensor.backward = noted  # type: ignore[method-assign]
        try:
            yield seen
        finally:
            Tensor.backward = backward  # type: ignore[method-assign]


def outcome_table(outcomes: Mapping[str, Outcome]) -> str:
    """The outcomes as a table in Markdown."""
    rows = []
    for name, outcome in outcomes.items():
        end = "weights of its own"
        if outcome.error or outcome.equals:
            end = f"RuntimeError: {outcome.error}" if outcome.error else f"the same bits as: {outcome.equals}"
        losses = f"{min(outcome.losses):.3f} to {max(outcome.losses):.3f}" if outcome.losses else "–"
        samples = "1 sample" if outcome.reach == 1 else f"{outcome.reach} samples"
        rows.append([name, end, losses, samples, f"{outcome.held / 1e3:,.0f} kB"])
    heads = ["the loop", "ends with", "loss of the last pass", "gradient reaches back", "held for it"]
    return markdown_table(heads, rows, texts=2)


def gradient_reach(model: StatefulLSTMExtractor, x: Tensor, detach_every: int | None) -> Array:
    """How strongly the last output depends on the state at each earlier sample, seen through the gradient graph.

    Args:
        model: the network; its own state is not touched.
        x: inputs, (lanes, samples, features).
        detach_every: cut the graph after every so many samples; None never cuts.

    Returns:
        The norm of the gradient of the last sample's summed output with respect to the hidden and cell state after
        each sample but the last, (samples − 1,); exactly 0 behind a cut.

    Raises:
        ValueError: there are fewer than two samples, or ``detach_every`` is not a whole number from 1 up.
    """
    every = x.shape[1] if detach_every is None else whole_number("detach_every", detach_every, 1)
    if x.shape[1] < 2:
        raise ValueError(f"x has {x.shape[1]} samples: must have at least 2, or there is no earlier state")
    states: list[tuple[Tensor, Tensor]] = []
    with model.evaluation_state(), torch.enable_grad():
        for k, step in enumerate(x.unbind(dim=1)):
            y = model(step)
            states.append(model.state())
            if (k + 1) % every == 0 and k + 1 < x.shape[1]:
                model.detach_state()
        gradients = torch.autograd.grad(y.sum(), [part for pair in states[:-1] for part in pair], allow_unused=True)
    norms = [0.0 if g is None else float(g.norm()) for g in gradients]
    return np.hypot(norms[0::2], norms[1::2])


def parameter_gradients(
    model: StatefulLSTMExtractor, dataset: FrequencyDataset, steps: int, horizon: int, detach: bool = False
) -> tuple[Tensor, Tensor]:
    """Outputs over a horizon and the gradient of their mean squared error, cut into calls of ``steps`` samples.

    Args:
        model: the network; its own state is not touched, its gradients are cleared.
        dataset: inputs and targets.
        steps: samples per call.
        horizon: samples in all.
        detach: cut the gradient between calls.

    Returns:
        Outputs (lanes, horizon, 1), and all parameters' gradients as one vector.
    """
    model.zero_grad()
    horizon, outputs, error = whole_number("horizon", horizon, 1, dataset.spec.n_samples), [], torch.zeros(())
    with model.evaluation_state(), torch.enable_grad():
        for batch in islice(StatefulDataLoader(dataset, steps=steps), 1 + (horizon - 1) // int(steps)):
            outputs.append(model(batch.x, reset_state=batch.is_first_batch))
            error = error + (outputs[-1] - batch.y).square().sum()
            if detach:
                model.detach_state()
        y = torch.cat(outputs, dim=1)
        (error / y.numel()).backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    return y.detach(), gradient


def cut_cosines(model: StatefulLSTMExtractor, dataset: FrequencyDataset, horizon: int) -> dict[str, float]:
    """Cosine between the gradient over a horizon and the one that is detached at every sample, over its lanes.

    Returns:
        For ``"all weights"`` and for ``"recurrent weights"`` alone, those from the hidden state back into the LSTM.
    """
    whole, cut = (parameter_gradients(model, dataset, 1, horizon, detach)[1] for detach in (False, True))
    first, second = (model.lstm.get_parameter(name).numel() for name in ("weight_ih_l0", "weight_hh_l0"))
    parts = {"all weights": slice(None), "recurrent weights": slice(first, first + second)}
    return {name: float(torch.cosine_similarity(whole[part], cut[part], dim=0)) for name, part in parts.items()}


def best_readout(states: Tensor, target: Tensor, new_states: Tensor, new_target: Tensor) -> float:
    """The error of the best linear output layer: fitted to states (samples, units), judged on new ones."""
    rows, new_rows = (torch.cat([part, torch.ones(len(part), 1)], dim=1).double() for part in (states, new_states))
    layer = torch.linalg.lstsq(rows, target.double()).solution
    return float((new_rows @ layer - new_target.double()).square().mean())
