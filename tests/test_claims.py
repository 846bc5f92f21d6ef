import subprocess
import sys

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from lib.lessons.claims import MARK, mark_failed_claims
from lib.lessons.files import ROOT


@pytest.fixture(scope="module")
def shell():
    made = InteractiveShell.instance()
    mark_failed_claims(made)
    mark_failed_claims(made)  # a cell that is executed again must not judge twice
    made.user_ns["x"] = np.array([1.0, 2.0, 3.0])
    yield made
    InteractiveShell.clear_instance()


def told_by(shell, source: str) -> list[str]:
    with capture_output() as seen:
        shell.run_cell(source, silent=True).raise_error()
    return [output.metadata[MARK] for output in seen.outputs]


@pytest.mark.parametrize(
    ("condition", "measured"),
    [
        ("x.max() < 2", "x.max() is 3"),
        ("2 < x.min() < 3 and x[5] > 0", "x.min() is 1"),  # the rest is not computed
        ("(x < 2).all()", "x is 1 to 3"),
        ("all(v < 2.5 for v in x)", "v is 1 to 3"),
        ("np.allclose(x, 1, atol=0.1)", "x is 1 to 3"),
        ("not any(v > 2 for v in x)", "v is 1 to 3"),
        ("str(x) == ''", "str(x) is '[1. 2. 3.]'"),
        ("x is None", "x is 1 to 3"),
    ],
)
def test_a_failed_claim_is_shown_with_what_was_measured(shell, condition, measured):
    told = told_by(shell, f"import numpy as np\nassert {condition}, f'{{len(x)}} numbers'\nafter = 1")
    assert len(told) == 1
    assert told[0].startswith("This claim does not hold here: ")
    assert told[0].splitlines()[1:] == [measured, "3 numbers"]
    assert shell.user_ns.pop("after") == 1, "the cell goes on"


def test_a_claim_that_holds_shows_nothing(shell):
    assert told_by(shell, "assert x.max() < 4 and len(x) == 3, 1 / 0") == []


def test_every_round_of_a_loop_is_judged(shell):
    assert len(told_by(shell, "for k in range(3):\n    assert k < 1")) == 2


def test_assertions_of_functions_and_errors_of_conditions_are_raised(shell):
    with pytest.raises(AssertionError):
        told_by(shell, "def f():\n    assert False\nf()")
    with pytest.raises(NameError, match="nowhere"):
        told_by(shell, "assert nowhere > 1")


def test_an_optimizing_python_keeps_the_claims():
    source = "from IPython.core.interactiveshell import InteractiveShell as S\nfrom lib.lessons.claims import *\n"
    source += "mark_failed_claims(S.instance())\nassert False\nS.instance().run_cell('assert 1 < 0')"
    ended = subprocess.run([sys.executable, "-O", "-c", source], capture_output=True, encoding="utf-8", cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("This claim does not hold here: 1 < 0")
