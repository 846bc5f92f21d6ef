"""Execute notebooks with papermill: checked before a kernel starts, in order, into one folder."""

from __future__ import annotations

import ast
import fcntl
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import papermill

from lib.lessons.files import ROOT, find_notebooks
from lib.lessons.parameters import NotebookParameters
from lib.run import engine
from lib.settings import SettingsError

log = logging.getLogger(__name__)

RUNS = ROOT / "runs"
CELL_TIMEOUT = 1800  # seconds; nothing in the series comes near, but a hanging cell must end


@contextmanager
def locked(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold the folder of a batch or of a run; the system lets go of it when this process ends, however it ends.

    Args:
        folder: made if need be.
        wait: wait until the folder is free, instead of raising.

    Raises:
        SettingsError: another run or batch is at work there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise SettingsError(f"name = {folder.name!r}: another run or batch is at work in this folder") from error
        yield


class NotebookFailedError(RuntimeError):
    """A notebook that did not run to its end."""


def in_running_order(notebooks: Sequence[Path]) -> list[Path]:
    """The order of execution: the front matter, number 00, quotes what the others measure and comes last."""
    return sorted(notebooks, key=lambda path: (path.stem.startswith("00"), path.stem))


def parameters_of(notebook: Path) -> dict[str, Any]:
    """The parameters that a notebook declares, with their default values.

    Raises:
        SettingsError: it is no notebook, or does not declare ``run_dir``, without which it would write anywhere.
    """
    try:
        declared = papermill.inspect_notebook(str(notebook))
        found = {name: ast.literal_eval(entry["default"]) for name, entry in declared.items()}
    except Exception as error:  # a damaged file can fail anywhere inside the reader
        raise SettingsError(f"notebook = {notebook}: its parameters cannot be read ({error!r})") from error
    if "run_dir" not in found:
        raise SettingsError(f"notebook = {notebook}: must declare run_dir in a cell that is tagged 'parameters'")
    return found


def check_parameters(declared: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse parameters that no notebook declares, and values that are not permitted, before a kernel starts.

    Args:
        declared: `parameters_of` each notebook, by its name.
        given: name and value of each parameter that is to be set.

    Returns:
        What was given, with whole numbers as floats where a float is declared.

    Raises:
        SettingsError: names each bad parameter, its value and what is permitted.
    """
    permitted = {name for parameters in declared.values() for name in parameters} - {"run_dir"}
    for name, value in given.items():
        if name not in permitted:
            raise SettingsError(
                f"unknown parameter {name!r} (value {value!r}); permitted in "
                f"{', '.join(declared)}: {', '.join(sorted(permitted))}"
            )
    floats = {name for parameters in declared.values() for name, value in parameters.items() if type(value) is float}
    given = {name: float(value) if name in floats and type(value) is int else value for name, value in given.items()}
    for parameters in declared.values():
        values = {name: given.get(name, default) for name, default in parameters.items()}
        for name, default in parameters.items():
            if name not in NotebookParameters.model_fields and type(values[name]) is not type(default):
                raise SettingsError(f"{name} = {values[name]!r}: must be of type {type(default).__name__}")
        NotebookParameters(**{name: values[name] for name in values if name in NotebookParameters.model_fields})
    return given


def execute(notebook: Path, folder: Path, given: dict[str, Any], **options: Any) -> Path:
    """Execute one notebook into ``folder``; the executed file appears there only when it is complete.

    Args:
        notebook: what to execute.
        folder: where everything goes, made if need be.
        given: parameters; the notebook takes those that it declares.
        **options: for papermill and its client, in place of the defaults.

    Returns:
        The executed notebook.

    Raises:
        NotebookFailedError: a cell raised or ran out of time; what was executed is kept beside as ``*.failed.ipynb``.
    """
    declared = parameters_of(notebook)
    values = {name: value for name, value in given.items() if name in declared} | {"run_dir": str(folder.resolve())}
    folder.mkdir(parents=True, exist_ok=True)
    output, partial = folder / notebook.name, folder / f"{notebook.stem}.failed.ipynb"
    os.environ["MPLBACKEND"] = "agg"  # figures reach the page through lib.lessons.figures.show alone
    settings = {"cwd": str(notebook.parent), "execution_timeout": CELL_TIMEOUT, "kernel_name": "python3"}
    settings |= {"engine_name": engine.NAME, "log_file": str(folder / "run.log")}
    settings |= {"extra_arguments": ["--IPKernelApp.log_level=40"]} | options  # errors only
    try:
        papermill.execute_notebook(str(notebook), str(partial), parameters=values, log_output=False, **settings)
    except Exception as error:
        log.exception("%s failed", notebook.stem)
        raise NotebookFailedError(f"{notebook.stem} failed, see {partial}: {error}") from error
    state = nbformat.read(partial, as_version=4).metadata["papermill"]
    if state.get("exception") or not state.get("end_time"):
        raise NotebookFailedError(f"{notebook.stem} did not run to its end, see {partial}")
    os.replace(partial, output)
    return output


def check_name(name: str) -> None:
    """Refuse a name of a run that could lead out of its folder.

    Raises:
        SettingsError: it holds other characters than letters, digits, ``.``, ``_`` and ``-``, or begins with a dot.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", name):
        raise SettingsError(
            f"name = {name!r}: must consist of at most 100 letters, digits, '.', '_' and '-', not starting with '.'"
        )


def run(name: str, given: dict[str, Any], names: Sequence[str] = ()) -> Path:
    """Execute the notebooks in order into ``runs/<name>/``.

    Args:
        name: the run's name: letters, digits, ``.``, ``_`` and ``-``.
        given: parameters; each notebook takes those that it declares.
        names: which notebooks; empty means all.

    Returns:
        The run's folder.

    Raises:
        SettingsError: a name or a parameter is not permitted, or the folder is in use; nothing has been started then.
        NotebookFailedError: a notebook did not run to its end.
    """
    check_name(name)
    notebooks = find_notebooks(names)
    given = check_parameters({notebook.stem: parameters_of(notebook) for notebook in notebooks}, given)
    folder = RUNS / name
    with locked(folder):
        for notebook in notebooks:  # what a run before has left must not pass for this one's
            (folder / notebook.name).unlink(missing_ok=True)
        for notebook in in_running_order(notebooks):
            log.info("executing %s", notebook.stem)
            execute(notebook, folder, given)
    return folder
