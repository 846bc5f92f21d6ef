"""The exercises of notebooks 03 to 09: the right answers pass, and the commonest wrong ones do not."""

import pytest

from lib.lessons import n03_exercises as training
from lib.recipe import update


def said(capsys, judge, answer, *more):
    judge(answer, *more)
    return capsys.readouterr().out


def holds(capsys, judge, right, wrong, *more):
    assert "no answer yet" in said(capsys, judge, None, *more)
    assert said(capsys, judge, right, *more).endswith(": right\n")
    for answer in wrong:
        told = said(capsys, judge, answer, *more)
        assert "not yet" in told or "cannot be checked" in told, answer


@pytest.mark.parametrize(
    ("judge", "right", "wrong"),
    [
        (training.check_1, 1.5e-3, (3e-3, 0.75, 0.75 / 1000, 1.5)),
        (training.check_2, 5, (20, 20_000, 1.25, 6)),
        (training.check_4, 0.49, (2e-3, 1.2, "silence")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_numbers_and_names(capsys, judge, right, wrong):
    holds(capsys, judge, right, wrong)


def test_a_stage_of_ones_own(capsys):
    def stage(updates=5, rate=1e-3, horizon=None, yields=True):
        def my_stage(run):
            run.horizon = horizon or run.horizon
            for _ in range(updates):
                loss = update(run, run.from_reset, rate)
                yield loss if yields else None

        return my_stage

    wrong = [stage(updates=4), stage(rate=1e-2), stage(horizon=10), stage(yields=False), lambda run: 5]
    holds(capsys, training.check_3, stage(), wrong)
