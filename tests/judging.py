"""nbval's comparison, for an execution that has been made already, with numbers that may differ by a stated factor."""

import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import nbformat
from nbval.plugin import IPyNbCell, coalesce_streams, get_sanitize_patterns, nocolors

from lib.run.publish import clean

SANITIZE = dict(get_sanitize_patterns(Path(__file__).with_name("nbval_sanitize.cfg").read_text(encoding="utf-8")))
SKIPPED = ("metadata", "traceback", "output_type", "name", "execution_count", "image/png")
NUMBER = re.compile(r"(?<![\w.])[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
WITHIN = re.compile(r"numbers-within-(\d+)(?:-or-([\d.]+))?")  # a factor; a difference that is allowed as well


class Difference(NamedTuple):
    """A cell whose output is not as committed: its number in the notebook, and what is different."""

    cell: int
    words: str


def differences(committed: Path, executed: Path) -> Iterator[Difference]:
    """The cells of an executed notebook that say something else than the committed ones."""
    published, found = (nbformat.read(path, as_version=4) for path in (committed, executed))
    pairs = [(c, e) for c, e in zip(published.cells, clean(found).cells, strict=True) if c.cell_type == "code"]
    for count, (before, after) in enumerate(pairs, start=1):
        tags = before.metadata.get("tags", [])
        if "nbval-ignore-output" not in tags and (told := compare(before.outputs, after.outputs, tags)):
            yield Difference(count, told)


def compare(committed: list[Any], executed: list[Any], tags: Sequence[str] = ()) -> str:
    """What is different between two lists of outputs of a cell with these tags; empty if nothing is."""
    before, after = (coalesce_streams(deepcopy(outputs)) for outputs in (committed, executed))
    told: list[str] = []

    def sanitize(text: Any) -> Any:
        for pattern, replacement in SANITIZE.items():
            text = re.sub(pattern, replacement, text) if isinstance(text, str) else text
        return text

    for within in filter(None, map(WITHIN.fullmatch, tags)):
        _settle(before, after, float(within[1]), float(within[2] or 0))
    judge = SimpleNamespace(parent=SimpleNamespace(skip_compare=SKIPPED), colors=nocolors, sanitize=sanitize)
    judge.format_output_compare = lambda key, left, right: told.append(f"{key}: committed\n{left}\nbut here\n{right}")
    same = IPyNbCell.compare_outputs(judge, after, before)
    return "" if same else "\n".join(told + judge.comparison_traceback)


def _settle(before: list[Any], after: list[Any], factor: float, off: float) -> None:
    """Put the committed number in place of one that is near enough to it, if all words are the same."""
    for old, new in zip(before, after, strict=False):
        for place, other in ((old, new), (old.get("data", {}), new.get("data", {}))):
            for key in ("text", "text/plain", "text/markdown"):
                texts = place.get(key), other.get(key)
                if all(isinstance(text, str) for text in texts):
                    other[key] = _settled(*texts, factor, off)


def _settled(before: str, after: str, factor: float, off: float) -> str:
    numbers = [NUMBER.findall(text) for text in (before, after)]
    if len(numbers[0]) != len(numbers[1]):
        return after
    kept = (old if _near(old, new, factor, off) else new for old, new in zip(*numbers, strict=True))
    return NUMBER.sub(lambda _number: next(kept), after)


def _near(old: str, new: str, factor: float, off: float) -> bool:
    a, b = (float(text.replace(",", "").replace("−", "-")) for text in (old, new))
    return abs(a - b) <= off or (a * b > 0 and 1 / factor <= a / b <= factor)
