"""Notebook 02: its exercises, each with the check of an answer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from lib.lessons.exercises import check
from lib.lessons.instruments import chain_length
from lib.loader import Batch, FrequencyDataset, StatefulDataLoader
from lib.model import StatefulLSTMExtractor
from lib.recipe import TrainingConfig, TrainingRun, update
from lib.settings import whole_number
from lib.signals import SignalSpec

Pass = Callable[[StatefulLSTMExtractor, Iterable[Batch], torch.optim.Optimizer], object]
Repair = Callable[[StatefulLSTMExtractor, FrequencyDataset, int, int], object]
SMALL = SignalSpec(frequencies=(2.0, 5.0, 9.0), sample_rate=200.0, duration=0.6)


def _small_model() -> StatefulLSTMExtractor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return StatefulLSTMExtractor(n_frequencies=SMALL.n_frequencies, hidden_size=8, head_size=0)


def check_1(words: tuple[str, str] | None) -> None:
    """What the state is after `detach_state()`, and what after `reset_state()`."""
    model, x = _small_model(), FrequencyDataset(SMALL, 1).inputs[:, 0]
    model(x)
    before = model.state()[0].clone()
    model.detach_state()
    found = ["unchanged" if torch.equal(before, model.state()[0]) else "zero"]
    model.reset_state()
    found.append(str(model.hidden_state))
    check("2.1", words, lambda pair: [str(word) for word in pair] == found, "the table in 2.4")


def check_2(chain: int | None) -> None:
    """The chain after 60 samples with a detach after every 25th."""
    model, x = _small_model(), FrequencyDataset(SMALL, 1).inputs
    for t in range(60):
        model(x[:, t])
        if (t + 1) % 25 == 0:
            model.detach_state()
    expected = chain_length(model.cell_state)
    check("2.2", chain, lambda answer: answer == expected, "count from the last cut")


def check_3(window: int | None) -> None:
    """The shortest window that needs no state for 4, 6 and 10 Hz at 1000 samples per second."""

    def whole(length: int) -> bool:
        return all(frequency * length % 1000 == 0 for frequency in (4, 6, 10))

    shortest = next(length for length in range(1, 10_001) if whole(length))
    hint = "in which time does each of the three sines finish a whole number of periods?"
    check("2.3", window, lambda answer: answer == shortest, hint)


def check_4(sample: int | None, model: StatefulLSTMExtractor, dataset: FrequencyDataset) -> None:
    """A sample from 1 to 999 before which a reset does the sine of lane 1 no harm: the last second is looked at."""

    def is_right(sample: int) -> bool:
        whole_number("your answer", sample, 1, 999)
        with model.evaluation_state():
            y = model(dataset.inputs[1:2, sample:], reset_state=True)[:, -1000:]
        return float(nn.functional.mse_loss(y, dataset.targets[1:2, -1000:])) < 1e-3

    check("2.4", sample, is_right, "after which time does the sine start again from zero, upwards?")


def right_pass(model: StatefulLSTMExtractor, batches: Iterable[Batch], optimizer: torch.optim.Optimizer) -> None:
    """One pass of training as it should be: an update of the recipe for every batch, with no bound on the gradient."""
    config = TrainingConfig(clip_norm=1e9, train_signal_weights=True)
    run = TrainingRun(model, FrequencyDataset(SMALL, 1), config, [optimizer], memoryless=False, horizon=1)
    for group in optimizer.param_groups:
        group["factor"] = 1.0
    for batch in batches:
        update(run, batch, rate=optimizer.param_groups[0]["lr"])


def check_5(one_pass: Pass | None) -> None:
    """A function of model, loader and optimizer that trains over one pass; an old state lies in the model before it."""
    dataset = FrequencyDataset(SMALL, 1)

    def weights(function: Pass) -> Tensor:
        model = copy.deepcopy(_small_model())
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        with torch.no_grad():
            model(dataset.inputs[:1, :37])  # somebody's state
        function(model, StatefulDataLoader(dataset, steps=30, layout="sequential"), optimizer)
        return nn.utils.parameters_to_vector(model.parameters()).detach()

    def is_right(function: Pass) -> bool:
        return torch.allclose(weights(function), weights(right_pass), atol=1e-6)

    hint = "section 2.1 has the order of the lines; where does a sequence begin, and what is in the model before?"
    check("2.5", one_pass, is_right, hint)


def check_6(repair: Repair | None, model: StatefulLSTMExtractor, dataset: FrequencyDataset) -> None:
    """A function of model, dataset, lane and sample that sets a clock right which was reset before that sample."""

    def is_right(repair: Repair) -> bool:
        errors = []
        for at in (1600, 2345):
            for lane in range(dataset.spec.n_frequencies):
                with model.evaluation_state():
                    repair(model, dataset, lane, at)
                    y = model(dataset.inputs[lane : lane + 1, at : at + 1000])
                errors.append(float(nn.functional.mse_loss(y, dataset.targets[lane : lane + 1, at : at + 1000])))
        return max(errors) < 1e-2

    hint = "only the selector moves this clock; how far into its period is the sine at that sample?"
    check("2.6", repair, is_right, hint)
