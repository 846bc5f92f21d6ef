"""Many runs of notebooks on a Dask cluster: each in a folder of its own, none done twice, nothing lost."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from distributed import Client, Future, LocalCluster, wait
from distributed.comm.core import CommClosedError
from papermill import PapermillExecutionError
from tqdm import tqdm

from lib.checkpoint import CheckpointError, load_checkpoint, write_atomically
from lib.evaluation import read_metrics
from lib.lessons.parameters import CHECKPOINT_NAME, log_into
from lib.run.notebooks import NotebookFailedError, execute, locked
from lib.run.plan import Run, fingerprint_of_sources
from lib.settings import SettingsError

log = logging.getLogger(__name__)

STATUS = "status.json"
CHANGING = {STATUS, ".lock", "run.log"}  # files of a run that may change when it has finished
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MAX_ERROR = 500  # characters of an error that are kept; the whole of it is in the log
LOOK_EVERY = 1.0  # seconds between two looks at the running ones
SHOWN_AT_MOST = 4
Status = dict[str, Any]


def read_status(run: Run) -> Status:
    """What is known of a run; its state is ``waiting``, ``running``, ``failed`` or ``finished``.

    A run counts as finished only while everything that it has written is there, no shorter than it was.
    """
    try:
        status: Status = json.loads((run.folder / STATUS).read_text())
        if status["state"] == "finished":
            sizes: dict[str, int] = status["files"]
            if any((run.folder / name).stat().st_size < size for name, size in sizes.items()):
                return {"state": "waiting"}
            for path in (run.folder / "metrics").glob("*.json"):
                read_metrics(path)
        return status
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # missing, damaged, not ours: to be done again
        return {"state": "waiting"}


def execute_run(run: Run, limit: float) -> Status:
    """Execute one run; this is what a Dask worker does.

    Args:
        run: what to execute, and where.
        limit: seconds after which the run is ended.

    Returns:
        Its status, which also lies in the run's folder: ``failed`` with the error, or ``finished``.
    """
    with locked(run.folder, wait=True):  # a worker of a batch that was killed may still be at it
        status = read_status(run)
        return status if status["state"] == "finished" else _execute(run, limit)


def _execute(run: Run, limit: float) -> Status:
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))  # the kernels inherit it: workers must not fight
    begun, deadline = time.time(), time.monotonic() + limit
    log_into(run.folder)  # a traceback belongs there, not into the progress bar
    status: Status = {"state": "running", "key": run.key, "parameters": run.parameters, "cell": ""}

    def tell(**changes: Any) -> Status:
        status.update(changes, seconds=round(time.time() - begun, 2))
        write_atomically(run.folder / STATUS, json.dumps(status).encode())
        return status

    def at_cell(name: str, index: int) -> None:
        if time.monotonic() >= deadline:
            raise TimeoutError
        tell(cell=f"{name}, cell {index}")

    def check_source() -> None:
        if fingerprint_of_sources(run.notebooks) != run.source:
            raise NotebookFailedError("notebook or library have changed since the batch began; give the command again")

    try:
        check_source()
        set_damaged_aside(run.folder / CHECKPOINT_NAME)
        for notebook in run.notebooks:
            (run.folder / notebook.name).unlink(missing_ok=True)
            execute(
                notebook, run.folder, run.parameters,
                progress_bar=False, autosave_cell_every=0, coalesce_streams=True,
                start_timeout=max(1, min(60, int(limit))),
                timeout_func=lambda _cell: max(0.01, deadline - time.monotonic()),
                on_cell_start=lambda cell, cell_index, name=notebook.stem: at_cell(name, cell_index),
            )  # fmt: skip
        check_source()
        for path in (run.folder / "metrics").glob("*.json"):
            read_metrics(path)
        files = {path: path.stat().st_size for path in run.folder.rglob("*") if path.is_file()}
        kept = {str(path.relative_to(run.folder)): size for path, size in files.items() if path.name not in CHANGING}
        return tell(state="finished", cell="", files=kept)
    except (NotebookFailedError, ValueError) as error:  # ValueError: it wrote metrics that cannot be read
        late = time.monotonic() >= deadline
        return tell(state="failed", error=f"ended by its time limit of {limit:g} s" if late else _reason(error))


def _reason(error: Exception) -> str:
    """What went wrong, in some words: the exception of the cell, if there is one."""
    cause = error.__cause__
    words = f"{cause.ename}: {cause.evalue}" if isinstance(cause, PapermillExecutionError) else str(error)
    return words.strip()[:MAX_ERROR]


def dask_setup(_worker: object) -> None:
    """What a local worker does first: leave to the batch what it is the batch's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal
    logging.raiseExceptions = False  # a log on a full disk must not spill into the progress bar


def set_damaged_aside(checkpoint: Path) -> None:
    """Rename a checkpoint that cannot be read, so that its training begins anew instead of failing for ever."""
    try:
        if checkpoint.exists():
            load_checkpoint(checkpoint)
    except CheckpointError:
        os.replace(checkpoint, checkpoint.with_suffix(".damaged"))


@contextmanager
def cluster(workers: int, scheduler: str) -> Iterator[Client]:
    """A client of the scheduler at this address, or of a local cluster of so many workers, one thread each."""
    if scheduler:
        try:
            client = Client(scheduler, timeout=10)
        except (OSError, ValueError) as error:
            raise SettingsError(f"scheduler = {scheduler!r}: no Dask scheduler answers there ({error})") from error
        with client:
            threads = max(client.nthreads().values(), default=0)
            if threads > 1:  # a run has its process to itself: log, working folder and threads are the process's
                raise SettingsError(f"scheduler = {scheduler!r}: its workers have {threads} threads, must be 1 each")
            if not threads:
                log.info("the scheduler has no workers yet: waiting for one")
            yield client
    else:
        options: dict[str, Any] = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL, "preload": __name__}
        children: list[psutil.Process] = []
        try:
            with LocalCluster(n_workers=workers, threads_per_worker=1, **options) as local, Client(local) as client:
                try:
                    yield client
                finally:
                    children = psutil.Process().children(recursive=True)
        finally:  # a kernel that is deep in its own work does not notice that its worker has ended
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()


def run_batch(runs: Sequence[Run], folder: Path, workers: int, scheduler: str, limit: float) -> bool:
    """Execute all runs that are not finished, in a folder that the caller has `locked`.

    Args:
        runs: the whole batch.
        folder: folder of the batch.
        workers: processes of a local cluster.
        scheduler: address of an existing scheduler, such as ``tcp://host:8786``; empty: a local cluster.
        limit: seconds after which a run is ended.

    Returns:
        Whether it came to its end; False if it was interrupted, or has lost its scheduler.

    Raises:
        SettingsError: no scheduler answers.
    """
    for name in ("asyncio", *(name for name in logging.root.manager.loggerDict if name.startswith("distributed"))):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # they tell of every worker that comes and goes
    todo = [run for run in runs if read_status(run)["state"] != "finished"]
    log.info("%d runs in %s: %d finished before, %d to do", len(runs), folder, len(runs) - len(todo), len(todo))
    if not todo:
        return True
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with cluster(min(workers, len(todo)), scheduler) as client:
            log.info("dashboard: %s", client.dashboard_link)
            _follow(client, todo, limit)
    except (KeyboardInterrupt, CancelledError, CommClosedError) as error:
        why = "stopped" if isinstance(error, KeyboardInterrupt) else "the scheduler is gone"
        log.info("%s; what has finished is kept, and the same command goes on from here", why)
        return False
    return True


def _follow(client: Client, todo: Sequence[Run], limit: float) -> None:
    """Submit runs, show how they get on, and record those that took their worker with them."""
    unique = f"{os.getpid()}-{time.time_ns()}"
    pending: dict[Future[Status], Run] = {
        client.submit(execute_run, run, limit, key=f"{run.folder.name}-{unique}", pure=False, priority=-k): run
        for k, run in enumerate(todo)
    }
    failed = 0
    try:
        with tqdm(total=len(todo), unit="run", smoothing=0.1) as bar:
            while pending:
                try:
                    done = wait(list(pending), timeout=LOOK_EVERY, return_when="FIRST_COMPLETED").done
                except TimeoutError:
                    done = set()
                for future in done:
                    run = pending.pop(future)
                    error = future.exception()  # killed with its worker too often, or could not write
                    status = future.result() if error is None else _record(run, f"{type(error).__name__}: {error}")
                    failed += status["state"] != "finished"
                    bar.write(f"{status['state']}: {run.folder.name} {status.get('error', '')}")
                    bar.update()
                next_ones = list(pending.values())[:SHOWN_AT_MOST]  # they begin in this order
                looks = [(read_status(run), run.folder.name.rpartition("-")[0]) for run in next_ones]
                running = [f"{name[:40]}: {look['cell']}" for look, name in looks if look["state"] == "running"]
                bar.set_postfix_str("; ".join([f"{failed} failed", *running]))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough
        log.info("stopping, which takes some seconds; workers of a cluster of yours end the runs that they are at")
        client.cancel(list(pending), force=True)
        raise


def _record(run: Run, error: str) -> Status:
    """The status of a run that failed with an error that its worker could not write; kept if there is room for it."""
    status = {"state": "failed", "key": run.key, "parameters": run.parameters, "error": error}
    try:
        write_atomically(run.folder / STATUS, json.dumps(status).encode())
    except OSError as refusal:
        log.warning("%s: cannot be recorded (%s)", run.folder.name, refusal)
    return status
