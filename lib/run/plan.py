"""Which runs a batch consists of: parameters read, expanded and checked before the first kernel starts."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import yaml

from lib.run.notebooks import ROOT, check_parameters, find_notebooks, in_running_order, parameters_of
from lib.settings import SettingsError

MAX_RUNS = 100_000
Parameters = dict[str, Any]


class Run(NamedTuple):
    """One run of a batch.

    Attributes:
        notebooks: what it executes, in order.
        parameters: what it was given.
        key: fingerprint of notebooks, all their parameters and the library: equal keys, equal results.
        folder: where everything of this run goes.
    """

    notebooks: tuple[Path, ...]
    parameters: Parameters
    key: str
    folder: Path


def parse_values(name: str, text: str) -> list[Any]:
    """The values of one parameter on the command line: ``3``, ``0,1,2``, or a range with both ends, ``0..9``.

    Raises:
        SettingsError: the text is empty, or a range runs backwards or is too long.
    """
    values: list[Any] = []
    for part in text.split(","):
        ends = re.fullmatch(r"\s*(\d+)\.\.(\d+)\s*", part)
        if ends:
            first, last = int(ends[1]), int(ends[2])
            if not 0 <= last - first < MAX_RUNS:
                raise SettingsError(f"{name} = {part.strip()}: must rise, by less than {MAX_RUNS:,} steps")
            values += range(first, last + 1)
            continue
        try:
            values.append(yaml.safe_load(part))
        except yaml.YAMLError as error:
            raise SettingsError(f"{name} = {part!r}: cannot be read as a value") from error
        if values[-1] is None:
            raise SettingsError(f"{name} = {text!r}: must be a value, values with commas between, or a range as 0..9")
    return values


def read_yaml(path: Path) -> tuple[Parameters, list[Parameters]]:
    """Grid and list of runs from a YAML file with the entries ``grid`` (name: values) and ``runs`` (a list).

    Raises:
        SettingsError: the file cannot be read, or does not have this form.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"file = {path}: cannot be read as YAML ({error})") from error
    if not isinstance(content, dict) or not content or set(content) - {"grid", "runs"}:
        raise SettingsError(f"file = {path}: must hold 'grid' (name: values), 'runs' (a list of mappings), or both")
    grid, runs = content.get("grid", {}), content.get("runs", [])
    if not isinstance(grid, dict):
        raise SettingsError(f"grid = {grid!r}: must be a mapping from parameters to values")
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
        raise SettingsError(f"runs = {runs!r}: must be a list of mappings from parameters to values")
    texts = {name: values for name, values in grid.items() if isinstance(values, str) and ".." in values}
    return grid | {name: parse_values(name, text) for name, text in texts.items()}, runs


def expand(grid: Parameters, runs: Sequence[Parameters] = ()) -> list[Parameters]:
    """Every combination of the grid's values, with each of the listed runs.

    Raises:
        SettingsError: a parameter has no values, is given in both, or there are too many combinations.
    """
    columns = {name: values if isinstance(values, list) else [values] for name, values in grid.items()}
    count = len(runs) or 1
    for name, values in columns.items():
        count *= len(values)
        if not values:
            raise SettingsError(f"{name} = []: must have at least one value")
        if any(name in run for run in runs):
            raise SettingsError(f"{name}: must stand in 'grid' or in 'runs', not in both")
    if count > MAX_RUNS:
        raise SettingsError(f"grid = {count:,} runs: must be at most {MAX_RUNS:,}")
    return [
        {**run, **dict(zip(columns, values, strict=True))}
        for run in (runs or [{}])
        for values in itertools.product(*columns.values())
    ]


def fingerprint_of_library() -> str:
    """Fingerprint of all of the library that results can depend on; what only runs and renders is left out."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "lib").rglob("*")):
        inside = path.relative_to(ROOT / "lib")
        if path.is_file() and "__pycache__" not in inside.parts and inside.parts[0] != "run":
            digest.update(str(inside).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def plan(names: Sequence[str], combinations: Sequence[Parameters], folder: Path) -> list[Run]:
    """The runs of a batch, all checked; equal ones, also by way of a default value, are one.

    Args:
        names: notebooks, as for `find_notebooks`.
        combinations: the parameters of each run.
        folder: folder of the batch; each run gets one of its own in it.

    Raises:
        SettingsError: a notebook or a parameter is not permitted; the message names it.
    """
    notebooks = tuple(in_running_order(find_notebooks(names)))
    defaults = {name: value for notebook in notebooks for name, value in parameters_of(notebook).items()}
    sources = [[cell.source for cell in nbformat.read(path, as_version=4).cells] for path in notebooks]
    common = json.dumps([[path.stem for path in notebooks], sources, fingerprint_of_library()])
    runs: dict[str, Run] = {}
    for given in combinations:
        if not all(isinstance(name, str) for name in given):
            raise SettingsError(f"parameters = {given!r}: every name must be a text")
        check_parameters(notebooks, given)
        values = defaults | given | {"run_dir": ""}
        key = hashlib.sha256((common + json.dumps(values, sort_keys=True)).encode()).hexdigest()[:16]
        words = re.sub(r"[^A-Za-z0-9=.,-]+", "_", ",".join(f"{name}={value}" for name, value in given.items()))
        runs.setdefault(key, Run(notebooks, given, key, folder / f"{words.strip('.')[:80] or 'defaults'}-{key}"))
    return list(runs.values())
