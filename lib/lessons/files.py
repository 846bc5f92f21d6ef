"""All notebooks, and what executes them: where the notebooks lie, and how YAML and metrics files are read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import ScalarNode

from lib.checkpoint import from_home, versions, write_atomically
from lib.settings import SettingsError, plain

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
MAX_DEPTH = 20  # of lists and mappings in each other, in YAML
NO_NUMBERS = ("NaN", "Infinity", "-Infinity")
COPY = re.compile(r".*(-Copy\d*|-checkpoint|\.failed| - Copy.*| copy.*| \(.*\))(\.\w+)?")


def files_in(folder: Path, pattern: str) -> list[Path]:
    """The files in a folder that fit a pattern, in their order, but no hidden ones, caches and copies.

    Hidden are ``.ipynb_checkpoints`` and the like. JupyterLab, file managers and failed runs make the copies:
    ``01_signals-Copy1.ipynb``, ``01_signals (1).ipynb``, ``01_signals.failed.ipynb``.
    """
    return sorted(
        path
        for path in folder.glob(pattern)
        if path.is_file()
        and not COPY.fullmatch(path.name)
        and not any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(folder).parts)
    )


def find_notebooks(names: Sequence[str] = ()) -> list[Path]:
    """The numbered notebooks in their order.

    Args:
        names: which: a number (``03``), a name, or the path of any other notebook; empty means all numbered ones, which
            `files_in` their folder are.

    Raises:
        SettingsError: a name fits no notebook; the message lists all.
    """
    everything = files_in(NOTEBOOKS, "[0-9][0-9]_*.ipynb")
    if not names:
        return everything
    chosen = []
    for name in names:
        found = [path for path in everything if name in (path.stem, path.stem.split("_")[0])]
        if not found and name.endswith(".ipynb") and from_home(name).is_file():
            found = [from_home(name).resolve()]
        if not found:
            known = ", ".join(path.stem for path in everything)
            raise SettingsError(f"notebook = {name!r}: must be one of {known}, or the path of an .ipynb file")
        chosen += found
    return sorted(set(chosen))


class Range(NamedTuple):
    """Whole numbers with both ends, written ``0..9``; for a batch. In quotes it is a text."""

    first: int
    last: int

    def __repr__(self) -> str:
        """As it is written."""
        return f"{self.first}..{self.last}"


class _Constructor(SafeConstructor):
    """Plain values and ranges."""

    def construct_text(self, node: ScalarNode) -> str | Range:
        """A text, or a range if it looks like one and is not quoted."""
        ends = re.fullmatch(r"([+-]?[0-9]{1,15})\.\.([+-]?[0-9]{1,15})", node.value) if not node.style else None
        return Range(int(ends[1]), int(ends[2])) if ends else self.construct_yaml_str(node)

    def construct_number(self, node: ScalarNode) -> int:
        """A whole number that can be written again, at least in a message."""
        value: int = self.construct_yaml_int(node)
        str(value)  # ValueError beyond some thousand digits
        return value


_Constructor.add_constructor("tag:yaml.org,2002:str", _Constructor.construct_text)
_Constructor.add_constructor("tag:yaml.org,2002:int", _Constructor.construct_number)


def parse_yaml(text: str, what: str) -> Any:
    """What a text says as YAML 1.2: ``010`` is ten, ``1e-3`` a number, and a name cannot be given twice.

    Raises:
        SettingsError: it cannot be read; ``what`` tells where it stands.
    """
    yaml, depth = YAML(typ="safe", pure=True), 0
    yaml.Constructor = _Constructor
    try:
        for event in yaml.parse(text):  # before values are made of it: a short text can stand for billions of them
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise ValueError(f"must not hold more than {MAX_DEPTH} lists or mappings in each other")
            if isinstance(event, AliasEvent):
                raise ValueError(f"*{event.anchor}: must be written out, an alias cannot be read")
        return yaml.load(text)
    except Exception as error:  # a wrong text can fail anywhere inside the reader
        reason = " ".join(str(error).split())[:200]
        raise SettingsError(
            f"{what}: cannot be read as YAML ({type(error).__name__}: {reason}); a text with special characters "
            "stands in quotes"
        ) from error


def read_yaml(path: Path) -> dict[Any, Any]:
    """The mapping that a YAML file holds.

    Raises:
        SettingsError: the file cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows marks the beginning
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"file = {path}: cannot be read as YAML ({error})") from error
    content = parse_yaml(text, f"file = {path}")
    if not isinstance(content, dict):
        raise SettingsError(f"file = {path}: must hold lines of the form 'name: value'")
    return content


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    """Nested mappings and rows, also those of NumPy and torch, with each single value changed."""
    value = plain(value)
    if isinstance(value, dict):
        return {name: _each(change, part) for name, part in value.items()}
    return [_each(change, part) for part in value] if isinstance(value, (list, tuple)) else change(value)


def write_metrics(path: Path | str, results: dict[str, Any], parameters: dict[str, Any]) -> None:
    """Write results as JSON, atomically, with the parameters and the versions that produced them.

    JSON has no infinity and no NaN: they become the texts `NO_NUMBERS`, of which `read_metrics` makes numbers again.
    """
    content = _each(
        lambda value: json.dumps(value) if isinstance(value, float) and not math.isfinite(value) else value,
        {"parameters": parameters, "versions": versions(), "results": results},
    )
    write_atomically(path, (json.dumps(content, indent=2, default=str, allow_nan=False) + "\n").encode())


def read_metrics(path: Path | str) -> dict[str, Any]:
    """Read what `write_metrics` wrote; ValueError if the file is damaged or holds something else."""
    try:
        content = json.loads(from_home(path).read_text(encoding="utf-8"))
        content = _each(lambda value: float(value) if value in NO_NUMBERS else value, content)
        return {name: dict(content[name]) for name in ("parameters", "versions", "results")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"metrics file {path}: damaged or not written by this project ({error!r})") from error
