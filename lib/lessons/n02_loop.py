"""Notebook 02: its small tasks, the edits of a training loop and what comes of each, and gradients through time."""

from __future__ import annotations

import difflib
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
LOUD = 2.0  # standard deviation of the noise in the task of section 2.5


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


def unknown_phase(lanes: int, samples: int, noise_seed: int) -> tuple[Tensor, Tensor]:
    """The task of section 2.5: the slow sine, with a random start phase in each lane, in loud noise.

    Returns:
        Inputs (lanes, samples, 2): the noisy sine, and a selector that is always 1. Targets (lanes, samples, 1): the
        sine without the noise, as it is at the present sample.
    """
    rng = np.random.default_rng(noise_seed)
    phase = rng.uniform(0, 2 * np.pi, (lanes, 1))
    sine = np.sin(2 * np.pi * np.arange(samples) / SLOW + phase)
    x = np.stack([sine + rng.normal(0, LOUD, sine.shape), np.ones(sine.shape)], axis=2)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(sine[..., None], dtype=torch.float32)


def best_from_window(samples: int, lanes: int = 2000) -> float:
    """The least mean squared error, at their end, of any function of so many samples of `unknown_phase`.

    The best guess of the sine is its mean over all phases, each weighted by its likelihood. It knows the period and
    the noise, and is tried on so many lanes.
    """
    x, y = (part.double().numpy() for part in unknown_phase(lanes, samples, noise_seed=7))
    phases = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    sines = np.sin(2 * np.pi * np.arange(samples) / SLOW + phases[:, None])  # (phases, samples)
    fit = (x[..., 0] @ sines.T - (sines**2).sum(axis=1) / 2) / LOUD**2  # logarithm of the likelihood, (lanes, phases)
    weight = np.exp(fit - fit.max(axis=1, keepdims=True))
    guess = weight @ sines[:, -1] / weight.sum(axis=1)
    return float(np.mean((guess - y[:, -1, 0]) ** 2))


def edited_source(function: Callable[..., Any], edits: Edits) -> str:
    """The text of a function, in which each old text, which must stand there exactly once, is replaced by a new one."""
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in edits:
        if source.count(old) != 1:
            raise ValueError(f"edit = {old!r}: must stand in {function.__name__} exactly once, not {source.count(old)}")
        source = source.replace(old, new)
    return source


def edited(function: Callable[..., Any], edits: Edits) -> Callable[..., Any]:
    """The function that this text defines; the first one is not changed."""
    place = dict(inspect.unwrap(function).__globals__)
    exec(edited_source(function, edits), place)
    changed: Callable[..., Any] = place[function.__name__]
    return changed


def changed_lines(function: Callable[..., Any], edits: Edits) -> str:
    """The lines that go, marked with a minus sign, those that come, with a plus sign, and the line on either side."""
    before, after = (edited_source(function, changes).splitlines() for changes in ((), edits))
    marked = list(difflib.unified_diff(before, after, n=1, lineterm=""))[2:]
    kept = [line for line in marked if line[0] in "+- "]
    margin = min(len(line[1:]) - len(line[1:].lstrip()) for line in kept)
    return "\n".join(f"{line[0]} {line[1 + margin :]}" for line in kept)


class Outcome(NamedTuple):
    """What came of a loop.

    Attributes:
        error: the first sentence of the error that ended it; empty if none did.
        losses: mean loss of the last pass, one per seed; empty after an error.
        equals: the first loop whose weights are the same to the last bit for every seed; empty if there is none.
        reach: through how many samples the gradient of a loss went at most, the last one included.
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
    """Note for every `Tensor.backward` inside: through how many samples it goes, and the bytes held for it.

    Without ``hold``, the bytes are not counted, and nothing is changed but that backward passes are noted.
    """
    seen: list[tuple[int, int]] = []
    backward = Tensor.backward
    with counting_bytes() if hold else nullcontext() as count:

        def noted(self: Tensor, *args: Any, **options: Any) -> None:
            seen.append((chain_length(self), count()) if count else (0, 0))
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
        end = f"the same bits as: {outcome.equals}" if outcome.equals else "weights of its own"
        end = f"RuntimeError: {outcome.error}" if outcome.error else end
        losses = f"{min(outcome.losses):.3f} to {max(outcome.losses):.3f}" if outcome.losses else "–"
        rows.append([name, end, losses, outcome.reach, f"{outcome.held / 1e3:,.0f} kB"])
    heads = ["the loop", "ends with", "loss of the last pass", "reach in samples", "held for it"]
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


def cut_cosine(model: StatefulLSTMExtractor, dataset: FrequencyDataset, horizon: int) -> float:
    """Cosine between the gradient of the recurrent weights over a horizon and the one detached at every sample."""
    whole, cut = (parameter_gradients(model, dataset, 1, horizon, detach)[1] for detach in (False, True))
    first, size = (model.lstm.get_parameter(name).numel() for name in ("weight_ih_l0", "weight_hh_l0"))
    return float(torch.cosine_similarity(whole[first : first + size], cut[first : first + size], dim=0))


def best_readout(states: Tensor, target: Tensor, new_states: Tensor, new_target: Tensor) -> float:
    """The error of the best linear output layer: fitted to states (samples, units), judged on new ones."""
    rows, new_rows = (torch.cat([part, torch.ones(len(part), 1)], dim=1).double() for part in (states, new_states))
    layer = torch.linalg.lstsq(rows, target.double()).solution
    return float((new_rows @ layer - new_target.double()).square().mean())
