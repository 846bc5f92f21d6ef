"""Execute notebooks with papermill: checked before a kernel starts, in order, into one folder."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from filelock import FileLock, Timeout

from lib.lessons.claims import MARK
from lib.lessons.files import ROOT, find_notebooks
from lib.lessons.parameters import PARAMETERS, NotebookParameters
from lib.run import engine
from lib.run.values import declared_in, fitting, plain
from lib.settings import SettingsError

log = logging.getLogger(__name__)

RUNS = ROOT / "runs"
START_TIMEOUT = 600  # seconds; a busy machine or a slow disk can take minutes to start a kernel
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
    try:
        lock = FileLock(folder / ".lock").acquire(blocking=wait)
    except Timeout as error:
        raise SettingsError(f"name = {folder.name!r}: another run or batch is at work in this folder") from error
    with lock:
        yield


class NotebookFailedError(RuntimeError):
    """A notebook that did not run to its end."""


def title_of(notebook: Path) -> str:
    """The name under which a notebook is executed; a failed one that its reader has repaired has its old name."""
    return notebook.stem.removesuffix(".failed")


def in_running_order(notebooks: Sequence[Path]) -> list[Path]:
    """The order of execution: the front matter, number 00, quotes what the others measure and comes last."""
    return sorted(notebooks, key=lambda path: (path.stem.startswith("00"), path.stem))


def parameters_of(notebook: Path) -> dict[str, Any]:
    """The parameters that a notebook declares, with their default values.

    Raises:
        SettingsError: it is no notebook, its cell tagged ``parameters`` holds more than plain values, or it does not
            declare ``run_dir``, without which it would write anywhere.
    """
    try:
        cells = nbformat.read(notebook, as_version=4).cells
        tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
        kinds = [cell.cell_type for cell in tagged]
    except Exception as error:  # a damaged file can fail anywhere inside the reader
        raise SettingsError(f"notebook = {notebook}: its parameters cannot be read ({error!r})") from error
    if kinds not in ([], ["code"]):  # papermill sets the values behind the first one; a second would undo that
        raise SettingsError(f"notebook = {notebook}: must have one cell of code that is tagged 'parameters'")
    try:
        found = declared_in("".join(cell.source for cell in tagged))
    except SettingsError as error:
        raise SettingsError(f"notebook = {notebook}: {error}") from error
    if "run_dir" not in found:
        raise SettingsError(f"notebook = {notebook}: must declare run_dir in a cell that is tagged 'parameters'")
    return found


def check_places(notebooks: Sequence[Path], folder: Path) -> None:
    """Refuse to execute a notebook into the folder in which it lies: its result would take its place.

    Raises:
        SettingsError: names the notebook.
    """
    for notebook in notebooks:
        if any(parent.exists() and folder.exists() and parent.samefile(folder) for parent in notebook.parents):
            raise SettingsError(
                f"notebook = {notebook}: must not lie in the folder that it is executed into, where its result would "
                f"take its place; choose another --name than {folder.name!r}, or move it out of there"
            )


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
    given = {name: plain(name, value) for name, value in given.items()}
    permitted = {name for parameters in declared.values() for name in parameters} - {"run_dir"}
    for name, value in given.items():
        if name not in permitted:
            raise SettingsError(
                f"unknown parameter {name!r} (value {value!r}); permitted in "
                f"{', '.join(declared)}: {', '.join(sorted(permitted))}"
            )
    for parameters in declared.values():
        given |= {name: fitting(name, given[name], value) for name, value in parameters.items() if name in given}
        NotebookParameters(**{name: given.get(name, parameters[name]) for name in parameters if name in PARAMETERS})
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
    title = title_of(notebook)
    output, partial = folder / f"{title}.ipynb", folder / f"{title}.failed.ipynb"
    logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns of parameters that it cannot read itself
    os.environ |= {
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # as in JupyterLab, whatever the reader has set
        "NOTEBOOK": title,  # a kernel does not know it
        "PYTHONIOENCODING": "utf-8",  # what a kernel complains of goes into the log
    }
    settings = {
        "cwd": str(notebook.parent), "kernel_name": "python3", "language": "python",
        "start_timeout": START_TIMEOUT, "execution_timeout": CELL_TIMEOUT,
        "log_file": str(folder / "run.log"), "extra_arguments": ["--IPKernelApp.log_level=40"],  # errors only
    }  # fmt: skip
    try:
        engine.execute_notebook(notebook, partial, parameters=values, **settings | options)
    except Exception as error:
        log.exception("%s failed", title)
        raise NotebookFailedError(f"{title} failed, see {partial}: {error}") from error
    state = nbformat.read(partial, as_version=4).metadata["papermill"]
    if state.get("exception") or not state.get("end_time"):
        raise NotebookFailedError(f"{title} did not run to its end, see {partial}")
    os.replace(partial, output)
    return output


def failed_claims(notebook: Path) -> list[str]:
    """The claims of an executed notebook that did not hold: where they stand, and what was measured, a line each."""
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    found = [(c.execution_count, o.metadata[MARK]) for c in cells for o in c.outputs if MARK in o.get("metadata", {})]
    return [f"In[{count}]: {'; '.join(told.splitlines())}" for count, told in found]


def check_name(name: str) -> None:
    """Refuse a name of a run that could lead out of its folder.

    Raises:
        SettingsError: it holds other characters than letters, digits, ``.``, ``_`` and ``-``, or begins or ends with a
            dot, which Windows leaves out.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?", name):
        raise SettingsError(
            f"name = {name!r}: must consist of at most 100 letters, digits, '.', '_' and '-', "
            "not starting or ending with '.'"
        )


def run(name: str, given: dict[str, Any], names: Sequence[str] = ()) -> Path:
    """Execute the notebooks in order into ``runs/<name>/``; a notebook that fails does not keep the others from it.

    Where notebook 03 has failed, those after it take the reference checkpoint, as they do when run by themselves.

    Args:
        name: the run's name: letters, digits, ``.``, ``_`` and ``-``.
        given: parameters; each notebook takes those that it declares.
        names: which notebooks; empty means all.

    Returns:
        The run's folder.

    Raises:
        SettingsError: a name or a parameter is not permitted, or the folder is in use; nothing has been started then.
        NotebookFailedError: all were executed, and these did not run to their end or hold claims that failed.
    """
    check_name(name)
    notebooks = find_notebooks(names)
    given = check_parameters({title_of(notebook): parameters_of(notebook) for notebook in notebooks}, given)
    folder = RUNS / name
    check_places(notebooks, folder)
    problems: dict[str, list[str]] = {}
    with locked(folder):
        for notebook in notebooks:  # what a run before has left must not pass for this one's
            title = title_of(notebook)
            for left in (f"{title}.ipynb", f"{title}.failed.ipynb", f"metrics/{title}.json"):
                (folder / left).unlink(missing_ok=True)
        for notebook in in_running_order(notebooks):
            log.info("executing %s", title_of(notebook))
            try:
                found = failed_claims(execute(notebook, folder, given))
            except NotebookFailedError as error:
                found = [str(error)]
            for problem in found:
                log.info("%s", problem)
            problems |= {title_of(notebook): found} if found else {}
    if problems:
        told = "\n".join(f"  {stem}, {problem}" for stem, found in problems.items() for problem in found)
        raise NotebookFailedError(
            f"{len(problems)} of {len(notebooks)} notebooks failed or hold claims that do not hold here; "
            f"all were executed into {folder}:\n{told}"
        )
    return folder
