"""Batches, with faults injected: nothing is lost, nothing is done twice, nothing passes for what it is not."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
from distributed import Client

from lib import CheckpointError, SettingsError
from lib.__main__ import main
from lib.checkpoint import REFERENCE, REFERENCE_CHECKPOINT, load_checkpoint, save_checkpoint
from lib.lessons import files
from lib.run import batch, notebooks, plan, worker
from lib.run.results import table_of_seeds

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
PARAMETERS = """
run_dir: str = ""  # folder of the run
weight_seed: int = 0  # what to do
label: str = "none"  # any text
"""
BODY = """
import json, os, pathlib, time
folder = pathlib.Path(run_dir)
with open({log!r}, "a", encoding="utf-8") as log:
    print(weight_seed, file=log)
{act}
(folder / "metrics").mkdir(exist_ok=True)
content = {{"parameters": {{}}, "versions": {{}}, "results": {{"error_mse": weight_seed / 7, "label": label}}}}
(folder / "metrics" / "01_result.json").write_text(json.dumps(content), encoding="utf-8")
"""


class Bench:
    """A notebook, a folder for its batches, and a log of all executions."""

    def __init__(self, folder: Path):
        self.folder, self.log, self.notebook = folder, folder / "executions.txt", folder / "work.ipynb"

    def write(self, act: str = "") -> None:
        cells = [
            nbformat.v4.new_code_cell(PARAMETERS.strip(), metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(BODY.format(log=str(self.log), act=act).strip()),
        ]
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), self.notebook)

    def command(self, *options: str, name: str = "b", into: Path | None = None) -> list[str]:
        where = ["--into", str(into or self.folder), "--name", name]
        return [sys.executable, "-m", "lib", "batch", str(self.notebook), *where, *options]

    def run(self, *options: str, **where) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*options, **where), cwd=files.ROOT, capture_output=True, encoding="utf-8", timeout=240
        )

    def start(self, *options: str) -> subprocess.Popen:
        return subprocess.Popen(
            self.command(*options), cwd=files.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
            start_new_session=True,
        )  # fmt: skip

    def table(self, name: str = "b", into: Path | None = None) -> pd.DataFrame:
        return pd.read_parquet((into or self.folder) / name / "runs.parquet").set_index("weight_seed").sort_index()

    def executions(self) -> list[int]:
        return [int(line) for line in self.log.read_text(encoding="utf-8").split()] if self.log.exists() else []

    def wait_for(self, state: str, count: int = 1) -> None:
        end = time.monotonic() + 90
        while time.monotonic() < end:
            texts = [path.read_text(encoding="utf-8") for path in self.folder.glob("b/*/status.json")]
            if sum(f'"state": "{state}"' in text for text in texts) >= count:
                return
            time.sleep(0.05)
        raise AssertionError(f"no {count} runs are {state}")


@pytest.fixture
def bench(tmp_path) -> Bench:
    bench = Bench(tmp_path)
    bench.write()
    return bench


def test_a_batch_and_what_is_skipped_or_done_again(bench):
    first = bench.run("-p", "weight_seed", "0,1,2", "--workers", "2")
    assert first.returncode == 0, first.stderr
    assert "3 of 3 runs finished, 0 failed" in first.stdout
    assert re.search(r"dashboard: http://\S+:\d+/status", first.stdout)
    table = bench.table()
    assert list(table.index) == [0, 1, 2]
    assert list(table["01_result.error_mse"] * 7) == [0, 1, 2]
    assert (bench.folder / "b/runs.csv").read_text(encoding="utf-8").count("finished") == 3
    page = (bench.folder / "b/summary.html").read_text(encoding="utf-8")
    assert "3 runs" in page
    assert "error_mse" in page
    folder = bench.folder / "b" / table.loc[1, "folder"]
    assert {"work.ipynb", "metrics", "status.json"} <= {path.name for path in folder.iterdir()}
    assert not list((bench.folder / "b").rglob("*.failed.ipynb"))

    assert bench.run("-p", "weight_seed", "0..3").returncode == 0
    assert sorted(bench.executions()) == [0, 1, 2, 3], "finished runs are skipped, a new one is done"
    (folder / "metrics/01_result.json").write_text('{"parameters": {}, "resu', encoding="utf-8")
    shutil.rmtree(bench.folder / "b" / table.loc[0, "folder"] / "metrics")
    executed = bench.folder / "b" / table.loc[2, "folder"] / "work.ipynb"
    executed.write_text(executed.read_text(encoding="utf-8")[:-100], encoding="utf-8")
    assert bench.run("-p", "weight_seed", "0..3").returncode == 0
    assert sorted(bench.executions()) == [0, 0, 1, 1, 2, 2, 3], "what is missing or cut short is done again"
    bench.write("'another source'")
    assert bench.run("-p", "weight_seed", "1").returncode == 0
    assert bench.executions()[-1] == 1, "a changed notebook is executed again"
    assert len(bench.executions()) == 8


def test_faults_inside_a_notebook_stay_with_their_run(bench):
    acts = {
        1: "raise RuntimeError('boom $x_{$ <script>')",
        2: "time.sleep(1000)",
        3: "[print('x' * 1_000_000) for _ in range(100)]",
        4: "os._exit(9)",
        6: "[print('x' * 100_000) for _ in iter(int, 1)]",  # for ever
        7: "(folder / 'metrics').mkdir(); (folder / 'metrics/02_odd.json').write_text('[1]')",
        8: "get_ipython().display_pub.publish({'text/plain': ''}, {'failed claim': '1 < 0'})",
        5: "(folder / 'checkpoint.pt').exists() or (folder / 'checkpoint.pt').write_bytes(b'damaged')",
    }
    bench.write("\n".join(f"if weight_seed == {seed}: {act}" for seed, act in acts.items()))
    ended = bench.run("-p", "weight_seed", "0..8", "--timeout", "25", "--workers", "2")
    assert ended.returncode == 1
    assert "4 of 9 runs finished, 5 failed; in 1 of the finished a claim does not hold" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr, "it belongs into the log of its run"
    table = bench.table()
    assert set(table.index[table["state"] == "finished"]) == {0, 3, 5, 8}
    assert table.loc[1, "error"] == "RuntimeError: boom $x_{$ <script>"
    assert table.loc[2, "error"] == table.loc[6, "error"] == "ended by its time limit of 25 s"
    assert "died" in table.loc[4, "error"].lower()
    assert "02_odd.json: damaged" in table.loc[7, "error"]
    assert table.loc[8, "error"] == "work, In[3]: 1 < 0"
    assert "boom" in (bench.folder / "b/summary.html").read_text(encoding="utf-8")
    for seed in (1, 2, 4, 6):
        folder = bench.folder / "b" / table.loc[seed, "folder"]
        assert (folder / "work.failed.ipynb").exists(), "the partial notebook is kept"
        assert not (folder / "work.ipynb").exists()
    printed = bench.folder / "b" / table.loc[3, "folder"] / "work.ipynb"
    assert printed.stat().st_size < 1_000_000
    assert "more left out" in printed.read_text(encoding="utf-8")
    endless = bench.folder / "b" / table.loc[6, "folder"] / "work.failed.ipynb"
    assert endless.stat().st_size < 1_000_000
    bench.log.unlink()
    bench.run("-p", "weight_seed", "0..8", "--timeout", "5")
    assert sorted(bench.executions()) == [1, 2, 4, 6, 7], "only what failed is tried again"


def test_a_killed_worker_costs_nothing(bench):
    bench.write("time.sleep(3)")
    process = bench.start("-p", "weight_seed", "0..3", "--workers", "2")
    bench.wait_for("running", 2)
    workers = [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    workers[0].send_signal(signal.SIGKILL)
    assert process.wait(timeout=120) == 0
    assert list(bench.table()["state"]) == ["finished"] * 4


IMPATIENT = os.environ | {"DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1ms"}
KILL = "import psutil\n    psutil.Process().parent().kill()\n    time.sleep(60)"  # as a crash, or too little memory
HURRY = {"cwd": files.ROOT, "capture_output": True, "text": True, "timeout": 300}


def by_name(said: str, state: str) -> list[int]:
    """The runs that the progress bar has called so."""
    return sorted(int(seed) for seed in re.findall(rf"{state}: weight_seed=(\d+)", said))


@pytest.mark.parametrize("workers", ["2", "1"])
def test_a_run_that_kills_its_worker_each_time_fails_alone(bench, workers):
    bench.write(f"if weight_seed == 2:\n    {KILL}")
    ended = subprocess.run(
        bench.command("-p", "weight_seed", "0..7", "--workers", workers), env=IMPATIENT, **HURRY
    )  # fmt: skip
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "7 of 8 runs finished, 1 failed" in ended.stdout
    table = bench.table()
    assert list(table.index[table["state"] == "failed"]) == [2]
    assert "its worker died 3 times" in table.loc[2, "error"]
    assert by_name(ended.stderr + ended.stdout, "failed") == [2]
    assert sorted(bench.executions()) == [0, 1, 2, 2, 2, 3, 4, 5, 6, 7], "tried again, and nothing else was repeated"


def slow_starts(folder: Path, seconds: float) -> dict[str, str]:
    """An environment in which every worker needs so long to begin, once ``folder/slow`` exists."""
    (folder / "sitecustomize.py").write_text(
        "import pathlib, sys, time\n"
        f"if 'spawn_main' in ' '.join(sys.orig_argv) and pathlib.Path({str(folder / 'slow')!r}).exists():\n"
        f"    time.sleep({seconds})\n"
    )
    return IMPATIENT | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def test_a_worker_that_is_long_in_coming_back_is_awaited(bench, tmp_path):
    act = "if not (folder.parent.parent / 'slow').exists():\n    (folder.parent.parent / 'slow').touch()\n    "
    bench.write(act + KILL)
    command = bench.command("-p", "weight_seed", "0..2", "--workers", "1")
    ended = subprocess.run(command, env=slow_starts(tmp_path, 5), **HURRY)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert list(bench.table()["state"]) == ["finished"] * 3
    assert sorted(bench.executions()) == [0, 0, 1, 2]


def test_workers_that_never_begin_are_told(bench, tmp_path):
    (tmp_path / "slow").touch()
    command = bench.command("-p", "weight_seed", "0..2", "--workers", "2", "--patience", "3")
    ended = subprocess.run(command, env=slow_starts(tmp_path, 100_000), **HURRY)
    assert ended.returncode == 130, ended.stdout + ended.stderr
    assert "no worker for 3 s; what has finished is kept, and the same command goes on from here" in ended.stdout
    assert list(bench.table()["state"]) == ["waiting"] * 3


RECORDS = {  # what the record says; whether the worker's nanny still answers; what becomes of the run
    "not begun": ({"state": "waiting", "batch": ""}, True, ("executed", 1, 0)),
    "of another batch": ({"batch": "other", "deaths": ["nanny"] * 9}, True, ("executed", 1, 0)),
    "first death": ({}, True, ("executed", 2, 1)),
    "third death": ({"deaths": ["nanny"] * 2, "attempt": 3}, True, ("failed", 3, 2)),
    "third preemption": ({"deaths": ["nanny"] * 2, "attempt": 3}, False, ("executed", 4, 0)),
    "twentieth preemption": ({"attempt": 20}, False, ("interrupted", 20, 0)),
    "without a nanny": ({"nanny": "", "attempt": 3}, True, ("executed", 4, 0)),
    "judged before": ({"state": "failed"}, True, ("failed", 1, 0)),
    "failed in another batch": ({"state": "failed", "batch": "other"}, True, ("executed", 1, 0)),
}


@pytest.mark.parametrize("kind", RECORDS)
def test_who_is_to_blame(tmp_path, monkeypatch, kind):
    changes, alive, (state, attempt, deaths) = RECORDS[kind]
    run = plan.Run((), {}, "source", "key", tmp_path / "run")
    monkeypatch.setattr(worker, "_execute", lambda _run, _limit, identity: {"state": "executed", **identity})
    with socket.create_server(("127.0.0.1", 0)) as server:
        nanny = "tcp://127.0.0.1:" + str(server.getsockname()[1])
        if not alive:
            server.close()
        record = {
            "state": "running",
            "batch": "this",
            "attempt": 1,
            "deaths": [],
            "nanny": nanny,
            "cell": "c",
        } | changes
        record["deaths"] = [nanny for _ in record["deaths"]]
        worker.write_status(run, record)
        status = worker.execute_run(run, 1.0, "this")
    assert (status["state"], status["attempt"], len(status["deaths"])) == (state, attempt, deaths)
    assert state == "executed" or worker.read_status(run) == status, "what is said is what is recorded"


def test_a_record_that_somebody_is_reading_is_replaced_all_the_same(tmp_path, monkeypatch):
    """As on Windows, where an open file cannot be replaced."""
    run, replace, refusals = plan.Run((), {}, "source", "key", tmp_path), os.replace, [1, 2, 3]

    def refuse(*paths):
        if refusals:
            raise PermissionError(refusals.pop())
        replace(*paths)

    monkeypatch.setattr(os, "replace", refuse)
    worker.write_status(run, {"state": "running"})
    assert worker.read_status(run)["state"] == "running"
    assert worker.read_outcome(run)["state"] == "interrupted"
    refusals.extend(range(1000))
    with pytest.raises(PermissionError):
        worker.write_status(run, {"state": "failed"})


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores")
def test_the_default_is_the_cores_that_the_process_may_use():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from lib.__main__ import parse; print(parse(['batch', '03']).workers)"
    assert subprocess.run([sys.executable, "-c", code], check=True, **HURRY).stdout == "1\n"


def test_the_memory_of_a_worker_is_not_limited(bench):
    """Dask gives each an equal part of the machine's and kills what exceeds it; with many cores that is too little."""
    resource = pytest.importorskip("resource")
    command = bench.command("-p", "weight_seed", "0", "--workers", "1")
    limit = lambda: resource.setrlimit(resource.RLIMIT_RSS, (100_000_000, 100_000_000))  # noqa: E731  # Dask reads it
    ended = subprocess.run(command, preexec_fn=limit, **HURRY)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_killed_batch_goes_on_and_ends_as_an_unkilled_one(bench):
    bench.write("time.sleep(1)")
    options = ("-p", "weight_seed", "0..5", "--workers", "2")
    process = bench.start(*options)
    bench.wait_for("finished", 2)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not psutil.wait_procs(children, timeout=20)[1], "workers and kernels must end with the batch"
    before = [json.loads(path.read_text(encoding="utf-8")) for path in bench.folder.glob("b/*/status.json")]
    finished = {status["parameters"]["weight_seed"] for status in before if status["state"] == "finished"}
    count = len(bench.executions())
    assert bench.run(*options).returncode == 0
    again = set(bench.executions()[count:])
    assert again == set(range(6)) - finished, "finished runs are not repeated, all others are"
    assert bench.run(*options, name="unkilled").returncode == 0
    pd.testing.assert_frame_equal(
        bench.table().drop(columns="seconds"), bench.table("unkilled").drop(columns="seconds")
    )


def test_control_c_stops_cleanly_and_says_how_to_go_on(bench):
    bench.write("time.sleep(2)")
    process = bench.start("-p", "weight_seed", "0..9", "--workers", "2")
    bench.wait_for("finished")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the same command goes on from here" in said
    assert "Traceback" not in said
    states = list(bench.table()["state"])
    assert "finished" in states
    assert len(states) == 10
    assert set(states) <= {"finished", "interrupted", "waiting"}, "nothing is said to be running"
    bench.write("time.sleep(2)")
    assert bench.run("-p", "weight_seed", "0..3").returncode == 0


def test_control_c_ends_a_kernel_that_cannot_hear(bench):
    bench.write("import re\nre.match('(a+)+$', 'a' * 45 + 'b')")
    process = bench.start("-p", "weight_seed", "0", "--workers", "1")
    bench.wait_for("running")
    time.sleep(3)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert not psutil.wait_procs(children, timeout=5)[1], "a kernel was left behind"


def test_many_short_cells_are_limited_too(bench):
    bench.write()
    notebook = nbformat.read(bench.notebook, as_version=4)
    notebook.cells += [nbformat.v4.new_code_cell("time.sleep(0.5)") for _ in range(60)]
    nbformat.write(notebook, bench.notebook)
    assert bench.run("-p", "weight_seed", "0", "--timeout", "8").returncode == 1
    assert bench.table().loc[0, "error"] == "ended by its time limit of 8 s"


def test_what_changes_during_a_batch_is_not_taken_for_what_was_planned(bench):
    bench.write("time.sleep(2)")
    process = bench.start("-p", "weight_seed", "0,1", "--workers", "1")
    bench.wait_for("running")
    time.sleep(1)
    bench.write("time.sleep(2)  # edited")
    assert process.wait(timeout=60) == 1
    table = bench.table()
    assert list(table["state"]) == ["failed", "failed"]
    assert "have changed since the batch began" in table.loc[1, "error"]


def test_a_second_batch_in_one_folder_is_refused(bench):
    bench.write("time.sleep(4)")
    process = bench.start("-p", "weight_seed", "0", "--workers", "1")
    bench.wait_for("running")
    second = bench.run("-p", "weight_seed", "1")
    assert second.returncode == 2
    assert "name = 'b': another run or batch is at work in this folder" in second.stderr
    assert process.wait(timeout=60) == 0
    assert bench.executions() == [0]


def test_a_full_disk_loses_nothing(bench, tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        bench.write("(folder / 'data').write_bytes(os.urandom(700_000))")
        options = ("-p", "weight_seed", "0..5", "--workers", "1")
        full = bench.run(*options, into=place)
        assert full.returncode != 0
        assert "Traceback" not in full.stdout
        done = {json.loads(path.read_text(encoding="utf-8"))["parameters"]["weight_seed"] for path in _finished(place)}
        assert 1 <= len(done) < 6
        assert not [path for path in place.rglob(".*.*") if path.name != ".lock"], "half-written files"
        subprocess.run(["mount", "-o", "remount,size=60m", str(place)], check=True)
        count = len(bench.executions())
        again = bench.run(*options, into=place)
        assert again.returncode == 0, again.stderr
        assert set(bench.executions()[count:]) == set(range(6)) - done
        assert list(bench.table(into=place)["state"]) == ["finished"] * 6
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _finished(place: Path) -> list[Path]:
    return [path for path in place.glob("b/*/status.json") if '"state": "finished"' in path.read_text(encoding="utf-8")]


@contextmanager
def cluster(folder: Path, workers: int = 2, threads: int = 1, **config: str):
    """A scheduler and its workers: its address, their processes, and what starts another worker."""
    where = folder / "scheduler.json"
    dask = Path(sys.executable).with_name("dask")
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, "env": os.environ | config}
    scheduler = [dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0"]
    join = [dask, "worker", "--scheduler-file", where, "--nthreads", str(threads), "--no-dashboard"]
    servers = [subprocess.Popen([*scheduler, "--scheduler-file", where], **options)]
    servers += [subprocess.Popen(join, **options) for _ in range(workers)]
    try:
        end = time.monotonic() + 60
        while (
            not (where.exists() and where.read_text(encoding="utf-8").strip().endswith("}")) and time.monotonic() < end
        ):
            time.sleep(0.1)
        address = json.loads(where.read_text(encoding="utf-8"))["address"]
        with Client(address, timeout=30) as client:
            client.wait_for_workers(workers, timeout=60)
        yield address, servers, lambda: servers.append(subprocess.Popen(join, **options))
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(timeout=30)


def test_a_lost_scheduler_is_told_and_costs_nothing(bench, tmp_path):
    bench.write("time.sleep(2)")
    with cluster(tmp_path, workers=1) as (address, servers, _):
        process = bench.start("-p", "weight_seed", "0..3", "--scheduler", address)
        bench.wait_for("finished")
        servers[0].kill()
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the scheduler is gone; what has finished is kept" in said
    assert "Traceback" not in said
    table = bench.table()
    done = list(table.index[table["state"] == "finished"])
    assert done
    assert bench.run("-p", "weight_seed", "0..3").returncode == 0
    assert all(bench.executions().count(seed) == 1 for seed in done), "finished runs are not repeated"
    assert list(bench.table()["state"]) == ["finished"] * 4


def until(true, seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.1)
    assert true()


def test_a_preempted_worker_costs_a_repetition_never_a_verdict(bench, tmp_path):
    bench.write("while not (folder.parent.parent / 'go').exists():\n    time.sleep(0.1)")
    strict = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}  # Dask blames all runs that were sent to the worker
    with cluster(tmp_path, workers=1, **strict) as (address, servers, join):
        process = bench.start("-p", "weight_seed", "0..2", "--scheduler", address)
        until(lambda: len(bench.executions()) == 1)
        join()
        until(lambda: len(bench.executions()) == 2)
        servers[1].kill()  # its worker ends with it
        with Client(address, timeout=30) as client:
            until(lambda: len(client.nthreads()) == 1)
        (tmp_path / "go").touch()
        said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert "failed:" not in said
    assert list(bench.table()["state"]) == ["finished"] * 3
    assert sorted(bench.executions()) == [0, 0, 1, 2]


def test_a_batch_whose_workers_are_gone_ends(bench, tmp_path):
    bench.write("time.sleep(1000) if weight_seed else None")
    with cluster(tmp_path, workers=1) as (address, servers, _):
        process = bench.start("-p", "weight_seed", "0..2", "--scheduler", address, "--patience", "3")
        until(lambda: len(bench.executions()) == 2)
        bench.wait_for("finished")
        servers[1].kill()
        said, _ = process.communicate(timeout=200)
    assert process.returncode == 130, said
    assert "no worker for 3 s; what has finished is kept, and the same command goes on from here" in said
    assert list(bench.table()["state"]) == ["finished", "interrupted", "waiting"]


def test_workers_with_several_threads_are_refused(bench, tmp_path):
    with cluster(tmp_path, workers=1, threads=2) as (address, _, _):
        refused = bench.run("-p", "weight_seed", "0", "--scheduler", address)
    assert refused.returncode == 2
    assert "its workers have 2 threads, must be 1 each" in refused.stderr
    assert not bench.executions()


def test_a_run_has_one_writer(tmp_path):
    """A worker that outlived its batch, and a worker of the next batch: this one waits, then has nothing to do."""
    run = plan.Run((), {}, "source", "key", tmp_path / "run")
    with ThreadPoolExecutor() as pool:
        with notebooks.locked(run.folder):
            second = pool.submit(worker.execute_run, run, 10.0)
            time.sleep(0.5)
            assert not second.done()
            (run.folder / "status.json").write_text(
                '{"state": "finished", "files": {}, "by": "the first"}', encoding="utf-8"
            )
        assert second.result(timeout=10)["by"] == "the first"


def test_an_existing_cluster_is_used(bench, tmp_path):
    with cluster(tmp_path) as (address, _, _):
        bench.write("time.sleep(1)")
        ended = bench.run("-p", "weight_seed", "0..3", "--scheduler", address)
    assert ended.returncode == 0, ended.stderr
    assert list(bench.table()["state"]) == ["finished"] * 4


def test_odd_characters_stay_inside_the_run_folder(bench, tmp_path):
    odd = ["../../../escape", "$(touch made); rm -rf .", "quote \" and '", "line\nbreak\t", "/etc/passwd", "..", "ünï"]
    file = tmp_path / "odd.yml"
    runs = [{"label": text, "weight_seed": k} for k, text in enumerate(odd)]
    file.write_text(json.dumps({"runs": runs}), encoding="utf-8")
    before = {path.name for path in tmp_path.iterdir()}
    ended = bench.run("-f", str(file), "--workers", "2")
    assert ended.returncode == 0, ended.stderr
    table = bench.table()
    assert list(table["label"]) == odd
    folders = [path for path in (tmp_path / "b").iterdir() if path.is_dir() and path.name != "figures"]
    assert len(folders) == len(odd)
    assert {path.name for path in tmp_path.iterdir()} == before | {"b", "executions.txt"}
    assert not list(files.ROOT.glob("made"))


def test_odd_results_and_values_reach_the_table(bench):
    notebook = nbformat.read(bench.notebook, as_version=4)
    notebook.cells[0].source = "run_dir: str = ''  # folder\nnumber: int = 0  # any"
    notebook.cells[-1].source = (
        "import json, pathlib\n(pathlib.Path(run_dir) / 'metrics').mkdir()\n"
        "results = {'x_mse': float('inf') if number else 1.0, 'y': 10 ** 400, 'z_gap': number / 2}\n"
        "content = json.dumps({'parameters': {}, 'versions': {}, 'results': results})\n"
        "(pathlib.Path(run_dir) / 'metrics/01_odd.json').write_text(content)"
    )
    nbformat.write(notebook, bench.notebook)
    ended = bench.run("-p", "number", "0,1,18446744073709551616")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    table = pd.read_parquet(bench.folder / "b" / "runs.parquet")
    assert list(table["number"]) == ["0", "1", "18446744073709551616"], "beyond 64 bits the column is text"
    assert list(table["01_odd.z_gap"])[:2] == [0, 0.5]
    assert (bench.folder / "b/summary.html").exists()


@pytest.mark.parametrize("text", ["", "rubbish", "[1, 2]", '{"cells": []}'])
def test_a_notebook_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "broken.ipynb"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"broken\.ipynb: "):
        plan.plan([str(path)], [{}], tmp_path)


GOOD = ["03", "-p", "weight_seed", "0"]
BAD = {  # options after `batch`, and what the message must name
    "unknown name": (["03", "-p", "wieght_seed", "0"], "unknown parameter 'wieght_seed'"),
    "of another notebook": (["01", "-p", "weight_seed", "0"], "unknown parameter 'weight_seed'"),
    "managed by the runner": (["03", "-p", "run_dir", "here"], "unknown parameter 'run_dir'"),
    "text for a number": (["03", "-p", "weight_seed", "many"], "weight_seed = 'many'"),
    "fraction for a whole number": (["03", "-p", "hidden_size", "3.5"], "hidden_size = 3.5"),
    "truth for a number": (["03", "-p", "weight_seed", "true"], "weight_seed = True"),
    "negative": (["03", "-p", "weight_seed", "-1"], "weight_seed = -1"),
    "too large a seed": (["03", "-p", "weight_seed", "4294967296"], "weight_seed = 4294967296"),
    "too small": (["03", "-p", "hidden_size", "0"], "hidden_size = 0"),
    "too large": (["03", "-p", "hidden_size", "4097"], "hidden_size = 4097"),
    "too few updates": (["03", "-p", "max_updates", "0"], "max_updates = 0"),
    "too high a frequency": (["03", "-p", "frequencies", "[1, 600]"], "frequencies = (1.0, 600.0)"),
    "no list of frequencies": (["03", "-p", "frequencies", "5"], "frequencies = 5"),
    "samples and a half": (["03", "-p", "duration", "0.0015"], "duration = 0.0015"),
    "one bad among good": (["03", "-p", "hidden_size", "16,32,9999"], "hidden_size = 9999"),
    "not a number": (["03", "-p", "phase_turns", ".nan"], "phase_turns = nan"),
    "infinite": (["03", "-p", "phase_turns", ".inf"], "phase_turns = inf"),
    "out of range": (["03", "-p", "phase_turns", "1.5"], "phase_turns = 1.5"),
    "a date": (["03", "-p", "weight_seed", "2026-01-01"], "weight_seed = datetime.date"),
    "a mapping": (["03", "-p", "weight_seed", "{a: 1}"], "weight_seed = {'a': 1}"),
    "nothing": (["03", "-p", "weight_seed", ""], "weight_seed = ''"),
    "a hole": (["03", "-p", "weight_seed", "1,,2"], "weight_seed = '1,,2'"),
    "backwards": (["03", "-p", "weight_seed", "9..0"], "weight_seed = 9..0"),
    "too long a range": (["03", "-p", "weight_seed", "0..100000"], "weight_seed = 0..100000"),
    "too many combinations": (["03", "-p", "weight_seed", "0..999", "-p", "train_noise_seed", "1000..1999"], "grid = "),
    "broken YAML": (["03", "-p", "weight_seed", "[1"], "weight_seed = '[1'"),
    "given twice": (["03", "-p", "weight_seed", "0", "-p", "weight_seed", "1"], "weight_seed = '1'"),
    "equal seeds": (["04", "-p", "train_noise_seed", "5", "-p", "test_noise_seed", "5"], "test_noise_seed = 5"),
    "a validation seed": (["03", "-p", "train_noise_seed", "101"], "train_noise_seed = 101"),
    "an unseen seed": (["05", "-p", "test_noise_seed", "1003"], "test_noise_seed = 1003"),
    "unknown notebook": (["77"], "notebook = '77'"),
    "a notebook that is not there": (["missing.ipynb"], "notebook = 'missing.ipynb'"),
    "too many digits": (["03", "-p", "weight_seed", "9" * 5000], "weight_seed = "),
    "a name that climbs": ([*GOOD, "--name", "../up"], "name = '../up'"),
    "a hidden name": ([*GOOD, "--name", ".hidden"], "name = '.hidden'"),
    "no workers": ([*GOOD, "--workers", "0"], "workers = 0"),
    "no time": ([*GOOD, "--timeout", "0"], "timeout = 0"),
    "time that is no number": ([*GOOD, "--timeout", "nan"], "timeout = nan"),
    "no such file": ([*GOOD, "-f", "missing.yml"], "file = missing.yml"),
    "nobody there": ([*GOOD, "--scheduler", "tcp://127.0.0.1:1"], "scheduler = 'tcp://127.0.0.1:1'"),
    "not an address": ([*GOOD, "--scheduler", "gopher://x:1"], "scheduler = 'gopher://x:1'"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_parameters_are_refused_by_name(kind, tmp_path, monkeypatch, capsys):
    options, message = BAD[kind]
    monkeypatch.setattr(sys, "argv", ["lib", "batch", *options, "--into", str(tmp_path / "runs")])
    monkeypatch.setattr(batch, "execute_run", lambda *_: pytest.fail("a run was started"))
    assert main() == 2
    error = capsys.readouterr().err
    assert message in error
    assert re.search("must|should|permitted|already|cannot|no Dask", error), "it must say what is allowed"
    assert "Traceback" not in error
    assert not list(tmp_path.rglob("*.ipynb"))


FILES = {
    "not YAML": ("{", "cannot be read as YAML"),
    "not text": ("\x00", "cannot be read as YAML"),
    "empty": ("", "must hold lines"),
    "a list": ("[1, 2]", "must hold lines"),
    "an unknown entry": ("grids: {}", "must hold 'grid'"),
    "a grid that is a list": ("grid: [1]", "grid = [1]"),
    "runs that are a mapping": ("runs: {a: 1}", "runs = {'a': 1}"),
    "a run that is a number": ("runs: [1]", "runs = [1]"),
    "no runs": ("runs: []", "runs = []"),
    "a name given twice": ("grid: {weight_seed: [0], weight_seed: [7]}", "DuplicateKeyError"),
    "a date that is none": ("grid: {weight_seed: [2020-13-45]}", "cannot be read as YAML"),
    "aliases that multiply": ("a: &a [x, y]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]", "*a: must be written out"),
    "a list that holds itself": ("grid: {weight_seed: [&a [1, *a]]}", "*a: must be written out"),
    "lists in lists without an end": ("[" * 100_000, "must not hold more than 20 lists"),
    "no values": ("grid: {weight_seed: []}", "weight_seed = []"),
    "in both": ("{grid: {weight_seed: [1]}, runs: [{weight_seed: 2}]}", "weight_seed: must stand in"),
    "a name that is a number": ("runs: [{1: 2}]", "every name must be a text"),
    "a list of lists": ("grid: {weight_seed: [[1]]}", "weight_seed = [1]"),
}


@pytest.mark.parametrize("kind", FILES)
def test_bad_files_are_refused(kind, tmp_path):
    text, message = FILES[kind]
    file = tmp_path / "batch.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=re.escape(message)):
        plan.plan(["03"], plan.expand(*plan.read_plan(file)), tmp_path)


def test_grids_and_lists():
    assert plan.parse_values("x", "3") == [3]
    assert plan.parse_values("x", "1, 4..6,0.5") == [1, 4, 5, 6, 0.5]
    assert plan.expand({"a": [1, 2], "b": 3}) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]
    assert plan.expand({"a": [1, 2]}, [{"b": 5}]) == [{"b": 5, "a": 1}, {"b": 5, "a": 2}]


def test_keys_follow_what_results_depend_on(tmp_path, monkeypatch):
    one, same, other = (
        plan.plan(["03"], [given], tmp_path)[0] for given in ({}, {"weight_seed": 0}, {"weight_seed": 1})
    )
    assert plan.plan(["04"], [{"phase_turns": 1}, {}], tmp_path)[0].key == plan.plan(["04"], [{}], tmp_path)[0].key
    assert one.key == same.key != other.key, "a default that is spelt out changes nothing"
    assert len(plan.plan(["03"], [{}, {"weight_seed": 0}, {"weight_seed": 0}], tmp_path)) == 1, "equal runs are one run"
    monkeypatch.setattr(plan, "fingerprint_of_library", lambda: "another library")
    assert plan.plan(["03"], [{}], tmp_path)[0].key != one.key


def test_a_damaged_checkpoint_is_set_aside(tmp_path):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"damaged")
    worker.set_damaged_aside(path)
    assert not path.exists()
    assert (tmp_path / "checkpoint.damaged").read_bytes() == b"damaged"
    worker.set_damaged_aside(path)  # nothing there: nothing to do


def test_many_noise_seeds_run_side_by_side():
    table = table_of_seeds(None, [1, 2, 3])
    assert list(table["noise_seed"]) == [1, 2, 3]
    assert table["mse"].max() < 3e-5
    with pytest.raises(SettingsError, match="noise_seeds = -1"):
        table_of_seeds(None, [-1])


def test_seeds_refuse_a_checkpoint_of_another_kind(tmp_path):
    path, reference = tmp_path / "checkpoint.pt", load_checkpoint(REFERENCE_CHECKPOINT)
    signal = reference["signal"]
    for changes, message in (
        ({"progress": {"stage": "grow"}}, "its training was interrupted in stage 'grow'"),
        ({"signal": None}, "must be of a network that `train` has made"),
        ({"signal": signal | {"frequencies": [1.0, 2.0]}}, "its network knows 4 frequencies, but its signal has 2"),
        ({"model": {"layers": 1}}, "its weights do not fit its model"),
        ({"weights": {}}, "its weights do not fit its model"),
    ):
        save_checkpoint(path, reference | changes)
        with pytest.raises(CheckpointError, match=rf"checkpoint\.pt: {message}"):
            table_of_seeds(path, [1])
    with pytest.raises(CheckpointError, match=r"extractor_025\.pt: must be of a network that `train` has made"):
        table_of_seeds(REFERENCE / "extractor_025.pt", [1])
    path.write_text("none", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: cannot be read"):
        table_of_seeds(path, [1])


def test_help_helps(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lib", "batch", "--help"])
    monkeypatch.setitem(os.environ, "COLUMNS", "200")
    with pytest.raises(SystemExit, match="0"):
        main()
    text = " ".join(capsys.readouterr().out.split())
    for words in ("--scheduler", "0..9 (both ends included)", "give the same command again", "'grid' holds"):
        assert words in text
