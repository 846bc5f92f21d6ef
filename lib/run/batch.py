"""Many runs of notebooks on a Dask cluster: each in a folder of its own, none done twice, nothing lost."""

from __future__ import annotations

import logging
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import dask
import psutil
from distributed import Client, Future, LocalCluster, wait
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker, NoValidWorkerError, NoWorkerError
from tqdm import tqdm

from lib.run import worker
from lib.run.plan import Run
from lib.run.worker import MAX_ERROR, Status, execute_run, read_outcome, read_status, write_status
from lib.settings import SettingsError

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds between two looks at the running ones
SHOWN_AT_MOST = 4
CLOSING = 20.0  # seconds that a local cluster has for it
LOCAL = {
    "distributed.deploy.lost-worker-timeout": 10**9,  # s; a worker that is down comes back, however long that takes
    "distributed.scheduler.allowed-failures": 10**9,  # Dask blames all that waits there; `execute_run` judges
    "distributed.scheduler.worker-ttl": None,  # a computer that was asleep has not lost its workers
    "distributed.scheduler.no-workers-timeout": None,  # `_follow` watches that
}
NOT_ITS_FAULT = (KilledWorker, NoValidWorkerError, NoWorkerError)  # verdicts of another's scheduler


class NoWorkersError(RuntimeError):
    """All workers have gone, and have stayed away."""


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Threads that begin in here do not get Ctrl-C, nor do the processes that these start: it is the batch's to answer.

    On Windows, a worker gets it until it imports `lib`, which is the first that it does.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # Python's own, which would lift the block when it begins
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
        return
    options: dict[str, Any] = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL, "preload": worker.__name__}
    options |= {"threads_per_worker": 1, "memory_limit": 0}  # what a run needs is its kernel's, which Dask does not see
    children: list[psutil.Process] = []
    with dask.config.set(LOCAL):
        with _interrupts_blocked():
            local = LocalCluster(n_workers=0, **options)
        try:
            local.scale(workers)
            with Client(local.scheduler_address) as client:  # of the cluster itself, it would wait for all workers
                yield client
        finally:
            children = psutil.Process().children(recursive=True)
            with suppress(TimeoutError):  # a worker that does not begin does not end either
                local.close(timeout=CLOSING)
            for child in children:  # a kernel that is deep in its own work does not notice that its worker has ended
                with suppress(psutil.Error):
                    if "resource_tracker" not in " ".join(child.cmdline()):  # Python's own, which ends by itself
                        child.kill()


def run_batch(
    runs: Sequence[Run], folder: Path, workers: int, scheduler: str, limit: float, patience: float = 300
) -> bool:
    """Execute all runs that are not finished, in a folder that the caller has `locked`.

    Args:
        runs: the whole batch.
        folder: folder of the batch.
        workers: processes of a local cluster.
        scheduler: address of an existing scheduler, such as ``tcp://host:8786``; empty: a local cluster.
        limit: seconds after which a run is ended.
        patience: seconds without any worker after which the batch ends.

    Returns:
        Whether it came to its end; False if it was interrupted, or has lost its scheduler or its workers.

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
            interrupted = _follow(client, todo, limit, patience)
        why = f"{interrupted} runs could not be brought to an end" if interrupted else ""
    except KeyboardInterrupt:
        why = "stopped"
    except (CancelledError, CommClosedError):
        why = "the scheduler is gone"
    except NoWorkersError as error:
        why = str(error)
    if why:
        log.info("%s; what has finished is kept, and the same command goes on from here", why)
    return not why


def _follow(client: Client, todo: Sequence[Run], limit: float, patience: float) -> int:
    """Submit runs and show how they get on; all at once, so that a cluster that adapts sees how much there is to do.

    Returns:
        How many were interrupted.

    Raises:
        NoWorkersError: there was no worker for ``patience`` seconds.
    """
    batch = uuid.uuid4().hex

    def submit(run: Run, priority: int) -> Future[Status]:
        key = f"{run.folder.name}-{uuid.uuid4().hex}"
        return client.submit(execute_run, run, limit, batch, key=key, pure=False, priority=priority)

    pending: dict[Future[Status], Run] = {submit(run, -k): run for k, run in enumerate(todo)}
    counts: Counter[str] = Counter()
    seen = time.monotonic()  # when there was a worker
    try:
        with tqdm(total=len(todo), unit="run", smoothing=0.1) as bar:
            while pending:
                try:
                    done = wait(list(pending), timeout=LOOK_EVERY, return_when="FIRST_COMPLETED").done
                except TimeoutError:
                    done = set()
                for future in done:
                    run, error = pending[future], future.exception() if future.status == "error" else None
                    if isinstance(error, NOT_ITS_FAULT):
                        pending[submit(run, -len(todo))] = pending.pop(future)
                        continue
                    try:
                        status = _record(run, error) if error else future.result(timeout=LOOK_EVERY)
                    except TimeoutError:  # its worker has died with the answer: Dask asks for it again
                        continue
                    del pending[future]
                    counts[status["state"]] += 1
                    bar.write(f"{status['state']}: {run.folder.name} {status.get('error', '')}")
                    bar.update()
                without = 0.0 if _has_worker(client) else time.monotonic() - seen
                if without > patience:
                    raise NoWorkersError(f"no worker for {patience:g} s")
                seen = seen if without else time.monotonic()
                next_ones = list(pending.values())[:SHOWN_AT_MOST]  # they begin in this order
                running = []
                with suppress(OSError):  # as on Windows, while it is written
                    looks = [(read_status(run), run.folder.name.rpartition("-")[0]) for run in next_ones]
                    running = [f"{name[:40]}: {look['cell']}" for look, name in looks if look["state"] == "running"]
                running = [f"no worker for {without:.0f} s"] if without > LOOK_EVERY else running
                bar.set_postfix_str("; ".join([f"{counts['failed']} failed", *running]))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough
        log.info("stopping, which takes some seconds; workers of a cluster of yours end the runs that they are at")
        client.cancel(list(pending), force=True)
        raise
    return len(todo) - counts["finished"] - counts["failed"]


def _record(run: Run, error: BaseException) -> Status:
    """The status of a run that failed with an error that its worker could not write; kept if there is room for it."""
    words = f"{type(error).__name__}: {error}"[:MAX_ERROR]
    status = {"state": "failed", "key": run.key, "parameters": run.parameters, "error": words}
    try:
        write_status(run, status)
    except OSError as refusal:  # then the table says what the record says, and so does the bar
        log.warning("%s: cannot be recorded (%s)", run.folder.name, refusal)
        return read_outcome(run) | {"error": words}
    return status


def _has_worker(client: Client) -> bool:
    try:
        return bool(client.nthreads())
    except OSError:  # the scheduler is gone, which the futures tell
        return True
