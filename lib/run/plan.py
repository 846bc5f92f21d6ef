"""Which runs a batch consists of: parameters read, expanded and checked before the first kernel starts."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import operator
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nbformat

from lib.checkpoint import REFERENCE
from lib.lessons.files import ROOT, Range, files_in, find_notebooks, parse_yaml, read_yaml
from lib.run.notebooks import check_parameters, check_places, in_running_order, parameters_of, title_of
from lib.run.values import plain
from lib.settings import SettingsError

MAX_RUNS = 100_000
COLUMNS = {"folder", "state", "seconds", "error"}  # of the table of all runs, beside parameters and results
Parameters = dict[str, Any]


class Run(NamedTuple):
    """One run of a batch.

    Attributes:
        notebooks: what it executes, in order.
        parameters: what is varied in the batch, with this run's values.
        source: fingerprint of notebooks and library.
        key: fingerprint of notebooks, all their parameters and the library: equal keys, equal results.
        folder: where everything of this run goes.
    """

    notebooks: tuple[Path, ...]
    parameters: Parameters
    source: str
    key: str
    folder: Path


def parse_values(name: str, text: str) -> list[Any]:
    """The values of one parameter on the command line: ``3``, ``0,1,2``, or a range with both ends, ``0..9``.

    Raises:
        SettingsError: the text is empty or cannot be read, or a range runs backwards or is too long.
    """
    text = text.strip()
    if not text or text.endswith(","):
        raise SettingsError(
            f"{name} = {text!r}: must be a value, values with commas between, or a range as 0..9; "
            "an empty text is written \"''\", nothing is written null"
        )
    return spread(name, parse_yaml(f"[{text}\n]", f"{name} = {text!r}"))


def spread(name: str, values: Sequence[Any]) -> list[Any]:
    """Values of one parameter, all checked, with each range in place of itself.

    Raises:
        SettingsError: a range runs backwards or is too long, or a value is not plain.
    """
    found: list[Any] = []
    for value in values:
        if isinstance(value, Range):
            if not 0 <= value.last - value.first < MAX_RUNS:
                raise SettingsError(f"{name} = {value}: must rise, by less than {MAX_RUNS:,} steps")
            found += range(value.first, value.last + 1)
        else:
            found.append(plain(name, value))
    return found


def read_plan(path: Path) -> tuple[dict[str, list[Any]], list[Parameters]]:
    """Grid and list of runs from a YAML file with the entries ``grid`` (name: values) and ``runs`` (a list).

    Raises:
        SettingsError: the file cannot be read, or does not have this form.
    """
    content = read_yaml(path)
    if not content or set(content) - {"grid", "runs"}:
        raise SettingsError(f"file = {path}: must hold 'grid' (name: values), 'runs' (a list of mappings), or both")
    grid, runs = content.get("grid", {}), content.get("runs", [{}])
    if not isinstance(grid, dict):
        raise SettingsError(f"grid = {grid!r}: must be a mapping from parameters to values")
    if not isinstance(runs, list) or not runs or not all(isinstance(run, dict) for run in runs):
        raise SettingsError(f"runs = {runs!r}: must be a list of mappings from parameters to values, at least one")
    columns = {name: values if isinstance(values, list) else [values] for name, values in grid.items()}
    return {name: spread(str(name), values) for name, values in columns.items()}, runs


def expand(grid: dict[str, list[Any]], runs: Sequence[Parameters] = ()) -> list[Parameters]:
    """Every combination of the grid's values, with each of the listed runs.

    Parameters that vary together share a name with commas, and have lists as values: ``{"a, b": [[1, 2], [3, 4]]}``.

    Raises:
        SettingsError: a parameter has no values, is given in both, or there are too many combinations.
    """
    count = len(runs) or 1
    for name, values in grid.items():
        count *= len(values)
        if not values:
            raise SettingsError(f"{name} = []: must have at least one value")
        if any(part in run for part in _parts(name) for run in runs):
            raise SettingsError(f"{name}: must stand in 'grid' or in 'runs', not in both")
    if count > MAX_RUNS:
        raise SettingsError(f"grid = {count:,} runs: must be at most {MAX_RUNS:,}")
    rows = [[_apart(name, value) for value in values] for name, values in grid.items()]
    return [functools.reduce(operator.or_, parts, run) for run in runs or [{}] for parts in itertools.product(*rows)]


def _parts(name: Any) -> list[Any]:
    """The names of parameters that vary together."""
    return [part.strip() for part in name.split(",")] if isinstance(name, str) else [name]


def _apart(name: Any, value: Any) -> Parameters:
    """The value of each of the parameters that vary together."""
    parts = _parts(name)
    if len(parts) == 1:
        return {name: value}
    if not isinstance(value, list) or len(value) != len(parts):
        raise SettingsError(f"{name} = {value!r}: must be a list of {len(parts)} values, one for each name")
    return dict(zip(parts, value, strict=True))


def fingerprint_of_library() -> str:
    """Fingerprint of all of the library that measured results can depend on.

    What runs and renders is left out, and what studies have found: `fingerprint_of_sources` adds that where it is read.
    """
    digest, found_by_studies = hashlib.sha256(), _found_by_studies()
    for path in files_in(ROOT / "lib", "**/*"):
        inside = path.relative_to(ROOT / "lib")
        if inside.parts[0] != "run" and path not in found_by_studies:
            digest.update(inside.as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _found_by_studies() -> list[Path]:
    return [path for path in files_in(REFERENCE, "*") if path.suffix in (".json", ".yml")]


def fingerprint_of_sources(notebooks: Sequence[Path]) -> str:
    """Fingerprint of what a run executes: the cells of its notebooks, the studies that they name, and the library."""
    cells = [
        [
            (cell.cell_type, cell.metadata.get("tags", []), cell.source)
            for cell in nbformat.read(path, as_version=4).cells
        ]
        for path in notebooks
    ]
    text = json.dumps(cells)
    digest = hashlib.sha256((text + fingerprint_of_library()).encode())
    for path in _found_by_studies():
        if path.stem in text:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def plan(names: Sequence[str], combinations: Sequence[Parameters], folder: Path) -> list[Run]:
    """The runs of a batch, all checked; equal ones, also by way of a default value, are one.

    Args:
        names: notebooks, as for `find_notebooks`.
        combinations: the parameters of each run.
        folder: folder of the batch; each run gets one of its own in it.

    Raises:
        SettingsError: a notebook, its place or a parameter is not permitted; the message names it.
    """
    notebooks = tuple(in_running_order(find_notebooks(names)))
    check_places(notebooks, folder)
    declared = {title_of(notebook): parameters_of(notebook) for notebook in notebooks}
    if len(declared) < len(notebooks):
        raise SettingsError(f"notebooks = {', '.join(map(str, notebooks))}: must differ in their file names")
    defaults = {name: value for parameters in declared.values() for name, value in parameters.items()}
    if taken := COLUMNS & set(defaults):
        raise SettingsError(f"parameters = {', '.join(sorted(taken))}: must not be named as columns of the table")
    varied = {name: defaults[name] for name in defaults if any(name in given for given in combinations)}
    source = fingerprint_of_sources(notebooks)
    runs: dict[str, Run] = {}
    for given in combinations:
        if not all(isinstance(name, str) for name in given):
            raise SettingsError(f"parameters = {given!r}: every name must be a text")
        given = check_parameters(declared, given)
        values = {name: {**own, **{k: given[k] for k in own if k in given}} for name, own in declared.items()}
        key = hashlib.sha256(json.dumps([values, source], sort_keys=True).encode()).hexdigest()[:16]
        told = varied | given
        words = re.sub(r"[^A-Za-z0-9=.,-]+", "_", ",".join(f"{name}={value}" for name, value in told.items()))
        runs.setdefault(key, Run(notebooks, told, source, key, folder / f"{words.strip('.')[:80] or 'defaults'}-{key}"))
    return list(runs.values())
