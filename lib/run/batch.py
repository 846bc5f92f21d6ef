"""Many runs of notebooks on a Dask cluster: each in a folder of its own, none done twice, nothing lost."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import Client, Future, LocalCluster, wait
from nbformat import NotebookNode
from tqdm import tqdm

from lib.checkpoint import CheckpointError, load_checkpoint, write_atomically
from lib.evaluation import read_metrics
from lib.parameters import CHECKPOINT_NAME
from lib.run.notebooks import NotebookFailedError, execute
from lib.run.plan import Run
from lib.settings import SettingsError

log = logging.getLogger(__name__)

STATUS = "status.json"
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MAX_TEXT = 100_000  # characters of printed text that an executed cell keeps
LOOK_EVERY = 1.0  # seconds between two looks at the running ones
Status = dict[str, Any]


def read_status(run: Run) -> Status:
    """What is known of a run; its state is ``waiting``, ``running``, ``failed`` or ``finished``.

    A run counts as finished only if its key is the present one, its notebooks are there and its metrics can be read.
    """
    try:
        status: Status = json.loads((run.folder / STATUS).read_text())
        if status["state"] == "finished":
            whole = all((run.folder / notebook.name).is_file() for notebook in run.notebooks)
            for path in (run.folder / "metrics").glob("*.json"):
                read_metrics(path)
            if not whole or status["key"] != run.key:
                return {"state": "waiting"}
        return status
    except (OSError, ValueError, KeyError, TypeError):  # missing, truncated, or not ours: to be done again
        return {"state": "waiting"}


def execute_run(run: Run, limit: float) -> Status:
    """Execute one run; this is what a Dask worker does.

    Args:
        run: what to execute, and where.
        limit: seconds after which the run is ended.

    Returns:
        Its status, which also lies in the run's folder: ``failed`` with the error, or ``finished``.
    """
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))  # the kernels inherit it: workers must not fight
    begun, deadline = time.time(), time.monotonic() + limit
    status: Status = {"state": "running", "key": run.key, "parameters": run.parameters, "cell": ""}

    def tell(**changes: Any) -> Status:
        status.update(changes, seconds=round(time.time() - begun, 2))
        write_atomically(run.folder / STATUS, json.dumps(status).encode())
        return status

    try:
        set_damaged_aside(run.folder / CHECKPOINT_NAME)
        for notebook in run.notebooks:
            (run.folder / notebook.name).unlink(missing_ok=True)
            execute(
                notebook, run.folder, run.parameters,
                progress_bar=False, autosave_cell_every=0, coalesce_streams=True,
                timeout_func=lambda _cell: max(1.0, deadline - time.monotonic()),
                on_cell_start=lambda cell, cell_index, name=notebook.stem: tell(cell=f"{name} {cell_index}"),
                on_cell_executed=lambda cell, **_: shorten(cell),
            )  # fmt: skip
        return tell(state="finished", cell="")
    except NotebookFailedError as error:
        late = time.monotonic() >= deadline
        reason = f"ended by its time limit of {limit:g} s" if late else str(error).strip().splitlines()[-1]
        return tell(state="failed", error=reason)


def set_damaged_aside(checkpoint: Path) -> None:
    """Rename a checkpoint that cannot be read, so that its training begins anew instead of failing for ever."""
    try:
        if checkpoint.exists():
            load_checkpoint(checkpoint)
    except CheckpointError:
        os.replace(checkpoint, checkpoint.with_suffix(".damaged"))


def shorten(cell: NotebookNode) -> None:
    """Cut printed text that would make the notebook too large to open, and say so."""
    for output in cell.get("outputs", []):
        if output.output_type == "stream" and len(output.text) > MAX_TEXT:
            output.text = f"{output.text[:MAX_TEXT]}\n… {len(output.text) - MAX_TEXT:,} more characters left out\n"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a batch's folder; the system lets go of it when this process ends, however it ends.

    Raises:
        SettingsError: another batch is at work there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SettingsError(f"name = {folder.name!r}: another batch is at work in this folder") from error
        yield


@contextmanager
def cluster(workers: int, scheduler: str) -> Iterator[Client]:
    """A client of the scheduler at this address, or of a local cluster of so many workers, one thread each."""
    if scheduler:
        try:
            client = Client(scheduler, timeout=10)
        except (OSError, ValueError) as error:
            raise SettingsError(f"scheduler = {scheduler!r}: no Dask scheduler answers there ({error})") from error
        with client:
            yield client
    else:
        options: dict[str, Any] = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL}
        with LocalCluster(n_workers=workers, threads_per_worker=1, **options) as local, Client(local) as client:
            yield client


def run_batch(runs: Sequence[Run], folder: Path, workers: int, scheduler: str, limit: float) -> bool:
    """Execute all runs that are not finished.

    Args:
        runs: the whole batch.
        folder: folder of the batch.
        workers: processes of a local cluster.
        scheduler: address of an existing scheduler, such as ``tcp://host:8786``; empty: a local cluster.
        limit: seconds after which a run is ended.

    Returns:
        Whether it came to its end; False if it was interrupted.

    Raises:
        SettingsError: another batch is at work in the folder, or no scheduler answers.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # it tells of every worker that comes and goes
    with locked(folder):
        todo = [run for run in runs if read_status(run)["state"] != "finished"]
        log.info("%d runs in %s: %d finished before, %d to do", len(runs), folder, len(runs) - len(todo), len(todo))
        if not todo:
            return True
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with cluster(min(workers, len(todo)), scheduler) as client:
                log.info("dashboard: %s", client.dashboard_link)
                _follow(client, todo, limit)
        except KeyboardInterrupt:
            log.info("stopped; what has finished is kept, and the same command goes on from here")
            return False
    return True


def _follow(client: Client, todo: Sequence[Run], limit: float) -> None:
    """Submit runs, show how they get on, and record those that took their worker with them."""
    unique = f"{os.getpid()}-{time.time_ns()}"
    pending: dict[Future[Status], Run] = {
        client.submit(execute_run, run, limit, key=f"{run.folder.name}-{unique}", pure=False): run for run in todo
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
                    error = future.exception()
                    if error is not None:  # killed with its worker too often, or could not write
                        _record(run, f"{type(error).__name__}: {error}")
                    status = read_status(run)
                    failed += status["state"] != "finished"
                    bar.write(f"{status['state']}: {run.folder.name} {status.get('error', '')}")
                    bar.update()
                cells = [(status.get("cell"), run) for run in pending.values() if (status := read_status(run))]
                running = [f"{run.folder.name[:40]}: {cell}" for cell, run in cells if cell]
                bar.set_postfix_str(f"{failed} failed; " + " | ".join(running[:4]))
    except KeyboardInterrupt:
        client.cancel(list(pending), force=True)
        raise


def _record(run: Run, error: str) -> None:
    """Keep an error that a worker could not write itself, if there is room for it."""
    try:
        status = {"state": "failed", "key": run.key, "parameters": run.parameters, "error": error}
        write_atomically(run.folder / STATUS, json.dumps(status).encode())
    except OSError as refusal:
        log.warning("%s: %s; cannot be recorded (%s)", run.folder.name, error, refusal)
