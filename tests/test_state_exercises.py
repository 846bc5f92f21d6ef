"""The exercises of notebook 02: the commonest wrong answers are refused, and the right ones accepted."""

import copy

import pytest
import torch
from torch import nn

from lib import FrequencyDataset, SignalSpec, load_model
from lib.lessons import n02_exercises as judge

MODEL, DATASET = load_model(), FrequencyDataset(SignalSpec(), 1)


def one_pass(reset, order=("backward", "step", "detach")):
    """A pass of training with these resets and this order of what follows the loss."""

    def function(model, batches, optimizer):
        for count, batch in enumerate(batches):
            if reset(batch, count):
                model.reset_state()
            loss = nn.functional.mse_loss(model(batch.x), batch.y)
            optimizer.zero_grad()
            acts = {"backward": loss.backward, "step": optimizer.step, "detach": model.detach_state}
            for name in order:
                acts[name]()

    return function


def repair(samples):
    """Feed so many samples with the right selector, by sample and period."""

    def function(model, dataset, lane, at):
        period = dataset.spec.sample_rate / dataset.spec.frequencies[lane]
        for t in range(round(samples(at, period))):
            model(dataset.inputs[lane : lane + 1, t])

    return function


FIRST = one_pass(lambda batch, count: batch.is_first_batch)
CASES = [
    (judge.check_1, (), ("unchanged", "None"), [("unchanged", "zero"), ("zero", "None"), ("None", "unchanged"), 3]),
    (judge.check_2, (), 10, [25, 60, 0, 50, "ten"]),
    (judge.check_3, (), 500, [1000, 250, 100, 10_000]),
    (judge.check_4, (MODEL, DATASET), 333, [500, 250, 100, 0, 1000, 666.6]),
    (judge.check_4, (MODEL, DATASET), 667, [334.0, 340]),
    (
        judge.check_5,
        (),
        FIRST,
        [
            one_pass(lambda batch, count: False),
            one_pass(lambda batch, count: True),
            one_pass(lambda batch, count: count == 0),
            one_pass(lambda batch, count: batch.is_first_batch, ("backward", "step")),
            one_pass(lambda batch, count: batch.is_first_batch, ("backward", "detach")),
            lambda model, batches: None,
        ],
    ),
    (
        judge.check_6,
        (MODEL, DATASET),
        repair(lambda at, period: at % period),
        [
            lambda model, dataset, lane, at: None,
            repair(lambda at, period: period - at % period),
            repair(lambda at, period: at % period + period / 4),
            repair(lambda at, period: at % 1000 % 100),
        ],
    ),
]


@pytest.mark.parametrize(("check", "others", "right", "wrong"), CASES)
def test_wrong_answers_are_refused_and_the_right_one_accepted(check, others, right, wrong, capsys):
    before = copy.deepcopy(MODEL.state_dict())
    check(right, *others)
    assert capsys.readouterr().out.endswith(": right\n")
    for answer in wrong:
        check(answer, *others)
        assert "right\n" not in capsys.readouterr().out, answer
    check(None, *others)
    assert "no answer yet" in capsys.readouterr().out
    assert all(torch.equal(value, before[name]) for name, value in MODEL.state_dict().items())
    assert MODEL.hidden_state is None


def test_equivalent_passes_are_accepted(capsys):
    """Detaching before the backward pass, or after it, is the same; so is a whole replay in place of a remainder."""
    judge.check_5(one_pass(lambda batch, count: batch.is_first_batch, ("detach", "backward", "step")))
    assert capsys.readouterr().out.endswith(": right\n")
    judge.check_6(repair(lambda at, period: at), MODEL, DATASET)
    assert capsys.readouterr().out.endswith(": right\n")
