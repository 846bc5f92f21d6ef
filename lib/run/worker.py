"""What a Dask worker does with one run of a batch: execute it, record how it gets on, and judge it."""

from __future__ import annotations

import itertools
import json
import logging
import os
import socket
import time
from pathlib import Path
from typing import Any

from distributed import get_worker
from distributed.comm.addressing import get_address_host_port
from papermill import PapermillExecutionError

from lib.checkpoint import DamagedCheckpointError, find_checkpoint, write_atomically
from lib.lessons.files import files_in, read_metrics
from lib.lessons.parameters import CHECKPOINT_NAME, log_into
from lib.run.notebooks import NotebookFailedError, execute, failed_claims, locked, title_of
from lib.run.plan import Run, fingerprint_of_sources

STATUS = "status.json"
CHANGING = {STATUS, "run.log"}  # files of a run that may change when it has finished, as hidden ones may
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MAX_ERROR = 500  # characters of an error that are kept; the whole of it is in the log
DEATHS = 3  # a run that was being executed at so many deaths of workers counts as their cause
ATTEMPTS = 20  # so often is a run begun in one batch while its workers are taken away
Status = dict[str, Any]
WAITING: Status = {"state": "waiting"}


def read_status(run: Run) -> Status:
    """What is known of a run; its state is ``waiting``, ``running``, ``interrupted``, ``failed`` or ``finished``.

    A run counts as finished only while everything that it has written is there, no shorter than it was. OSError: that
    cannot be read now, which does not mean that it has to be done again.
    """
    try:
        status: Status = json.loads((run.folder / STATUS).read_text(encoding="utf-8"))
        if status["state"] == "finished":
            sizes: dict[str, int] = status["files"]
            if any((run.folder / name).stat().st_size < size for name, size in sizes.items()):
                return WAITING
            for path in (run.folder / "metrics").glob("*.json"):
                read_metrics(path)
        return status
    except (FileNotFoundError, NotADirectoryError):  # to be done, or to be done again
        return WAITING
    except (ValueError, KeyError, TypeError, AttributeError):  # damaged, or not ours
        return WAITING


def read_outcome(run: Run) -> Status:
    """What is known of a run when nobody is at it any more: what is ``running`` has been ``interrupted``."""
    status = read_status(run)
    return status | {"state": "interrupted"} if status["state"] == "running" else status


def write_status(run: Run, status: Status) -> None:
    """Record what is known of a run; OSError if it cannot be written."""
    write_atomically(run.folder / STATUS, json.dumps(status).encode())


def execute_run(run: Run, limit: float, batch: str = "") -> Status:
    """Execute one run; this is what a Dask worker does.

    Dask gives the run to another worker when this one is lost. The record then still says ``running``, and the next
    worker judges, while it holds the run's folder. A worker whose nanny still answers has died alone, by a crash or for
    want of memory: the run that has seen `DEATHS` of these is ``failed``. A worker that was preempted, shut down or cut
    off has lost its nanny as well: this costs a repetition, and after `ATTEMPTS` the run is ``interrupted``. A run that
    had not begun has no record, and is never blamed.

    Args:
        run: what to execute, and where.
        limit: seconds after which the run is ended.
        batch: what sets this batch apart from all others; records of another batch do not count.

    Returns:
        Its status, which also lies in the run's folder: ``finished``, ``failed`` or ``interrupted``, with the error; of
        a run that has finished, these are the claims of its notebooks that do not hold.
    """
    with locked(run.folder, wait=True):  # a worker of a batch that was killed may still be at it
        before = read_status(run)
        same = bool(batch) and before.get("batch") == batch
        if before["state"] == "finished" or (same and before["state"] != "running"):  # only the answer was lost
            return before
        lost = [*before["deaths"], before["nanny"]] if same else []
        deaths = [nanny for nanny in lost if _answers(nanny)]
        attempt: int = before["attempt"] + 1 if same else 1
        if len(deaths) < DEATHS and attempt <= ATTEMPTS:
            identity = {"batch": batch, "attempt": attempt, "deaths": deaths, "nanny": _nanny()}
            return _execute(run, limit, identity)
        state = "failed" if len(deaths) >= DEATHS else "interrupted"
        words = f"its worker died {DEATHS} times" if state == "failed" else f"its worker was lost {ATTEMPTS} times"
        status = before | {"state": state, "error": f"{words} while executing it, at last in {before['cell']}"}
        write_status(run, status)
        return status


def _nanny() -> str:
    """The address of the process that starts this worker again when it has died; empty: there is none."""
    try:
        return str(get_worker().nanny or "")
    except ValueError:  # not in a worker
        return ""


def _answers(nanny: str) -> bool:
    """Whether there is a server at this address."""
    try:
        socket.create_connection(get_address_host_port(nanny), timeout=5).close()
    except (OSError, ValueError):
        return False
    return True


def _execute(run: Run, limit: float, identity: Status) -> Status:
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))  # the kernels inherit it: workers must not fight
    begun, deadline = time.time(), time.monotonic() + limit
    log_into(run.folder)  # a traceback belongs there, not into the progress bar
    status: Status = {"state": "running", "key": run.key, "parameters": run.parameters} | identity

    def tell(**changes: Any) -> Status:
        status.update(changes, seconds=round(time.time() - begun, 2))
        write_status(run, status)
        return status

    def at_cell(name: str, index: int) -> None:
        if time.monotonic() >= deadline:
            raise TimeoutError
        tell(cell=f"{name}, cell {index}")

    def check_source() -> None:
        if fingerprint_of_sources(run.notebooks) != run.source:
            raise NotebookFailedError("notebook or library have changed since the batch began; give the command again")

    tell(cell="its preparation")  # from here on, a death of the worker counts
    try:
        check_source()
        set_damaged_aside(run.folder / CHECKPOINT_NAME)
        claims: list[str] = []
        for notebook in run.notebooks:
            title = title_of(notebook)
            (run.folder / f"{title}.ipynb").unlink(missing_ok=True)
            executed = execute(
                notebook, run.folder, run.parameters,
                progress_bar=False, autosave_cell_every=0, coalesce_streams=True,
                start_timeout=max(1, int(limit)),
                timeout_func=lambda _cell: max(0.01, deadline - time.monotonic()),
                on_cell_start=lambda cell, cell_index, name=title: at_cell(name, cell_index),
            )  # fmt: skip
            claims += [f"{title}, {claim}" for claim in failed_claims(executed)]
        check_source()
        for path in (run.folder / "metrics").glob("*.json"):
            read_metrics(path)
        files = {path: path.stat().st_size for path in files_in(run.folder, "**/*") if path.name not in CHANGING}
        kept = {path.relative_to(run.folder).as_posix(): size for path, size in files.items()}
        return tell(state="finished", cell="", files=kept, error="; ".join(claims)[:MAX_ERROR])
    except (NotebookFailedError, ValueError) as error:  # ValueError: it wrote metrics that cannot be read
        late = time.monotonic() >= deadline
        return tell(state="failed", error=f"ended by its time limit of {limit:g} s" if late else _reason(error))


def _reason(error: Exception) -> str:
    """What went wrong, in some words: the exception of the cell, if there is one."""
    cause = error.__cause__
    words = f"{cause.ename}: {cause.evalue}" if isinstance(cause, PapermillExecutionError) else str(error)
    return words.strip()[:MAX_ERROR]


def dask_setup(_worker: object) -> None:
    """What a local worker does first."""
    logging.raiseExceptions = False  # a log on a full disk must not spill into the progress bar


def set_damaged_aside(checkpoint: Path) -> None:
    """Rename a checkpoint that is proved damaged, so that its training begins anew instead of failing for ever.

    One that was set aside before stays. One that only cannot be read now stays as well: OSError or MemoryError.
    """
    checkpoint = Path(os.path.realpath(checkpoint))  # a link stays
    try:
        find_checkpoint(checkpoint)
    except DamagedCheckpointError:
        names = (checkpoint.with_suffix(f".damaged{number or ''}") for number in itertools.count())
        os.replace(checkpoint, next(name for name in names if not os.path.lexists(name)))
