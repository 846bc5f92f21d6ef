"""Batches, with faults injected: nothing is lost, nothing is done twice, nothing passes for what it is not."""

import errno
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import dask
import nbformat
import pandas as pd
import psutil
import pytest
from distributed import Client, LocalCluster
from filelock import FileLock

from lib import CheckpointError, SettingsError
from lib.__main__ import main, parse
from lib.checkpoint import REFERENCE_CHECKPOINT, load_checkpoint, load_model, save_checkpoint
from lib.lessons import files
from lib.run import batch, notebooks, plan, worker

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
PARAMETERS = """
run_dir: str = ""  # folder of the run
weight_seed: int = 0  # what to do
label: str = "none"  # any text
number: int = 0  # any number
"""
BODY = """
import json, os, pathlib, time
folder = pathlib.Path(run_dir)
with open({log!r}, "a", encoding="utf-8") as log:
    print(weight_seed, file=log)
{act}
(folder / "metrics").mkdir(exist_ok=True)
content = {{"parameters": {{}}, "versions": {{}}, "results": {results}}}
(folder / "metrics" / "01_result.json").write_text(json.dumps(content), encoding="utf-8")
"""


class Bench:
    """A notebook, a folder for its batches, and a log of all executions."""

    def __init__(self, folder: Path):
        self.folder, self.log, self.notebook = folder, folder / "executions.txt", folder / "work.ipynb"

    def write(self, act: str = "", results: str = "{'error_mse': weight_seed / 7}") -> None:
        cells = [
            nbformat.v4.new_code_cell(PARAMETERS.strip(), metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(BODY.format(log=str(self.log), act=act, results=results).strip()),
        ]
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), self.notebook)

    def command(self, *options: str, name: str = "b") -> list[str]:
        where = ["--into", str(self.folder), "--name", name]
        return [sys.executable, "-m", "lib", "batch", str(self.notebook), *where, *options]

    def run(self, *options: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*options), cwd=files.ROOT, capture_output=True, encoding="utf-8", timeout=600
        )

    def start(self, *options: str, name: str = "b") -> subprocess.Popen:
        return subprocess.Popen(
            self.command(*options, name=name), cwd=files.ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
            start_new_session=True,
        )  # fmt: skip

    def table(self, name: str = "b") -> pd.DataFrame:
        return pd.read_parquet(self.folder / name / "runs.parquet").set_index("weight_seed").sort_index()

    def executions(self) -> list[int]:
        return [int(line) for line in self.log.read_text(encoding="utf-8").split()] if self.log.exists() else []

    def wait_for(self, state: str, count: int = 1, name: str = "b") -> None:
        def there() -> bool:
            texts = [path.read_text(encoding="utf-8") for path in self.folder.glob(f"{name}/*/status.json")]
            return sum(f'"state": "{state}"' in text for text in texts) >= count

        until(there)


@pytest.fixture
def bench(tmp_path) -> Bench:
    bench = Bench(tmp_path)
    bench.write()
    return bench


ODD = ["../../../escape", "$(touch made); rm -rf .", "quote \" and '", "line\nbreak\t", "/etc/passwd", "..", "ünï"]


def test_a_batch_and_what_is_skipped_or_done_again(bench, tmp_path):
    """Seven runs with odd labels and odd results; one fails at first, three are damaged, and one more is asked for."""
    bench.write(
        "if weight_seed == 6 and not (folder.parent.parent / 'go').exists(): raise RuntimeError('boom')",
        results="{'x_mse': float('inf') if weight_seed else 1.0, 'y': 10 ** 400, 'z_mse': weight_seed / 7}",
    )
    file, runs = tmp_path / "odd.yml", [{"label": text, "weight_seed": k} for k, text in enumerate(ODD)]
    runs[0]["number"] = 2**64
    file.write_text(json.dumps({"runs": runs}), encoding="utf-8")
    before = {path.name for path in tmp_path.iterdir()}
    first = bench.run("-f", str(file), "--workers", "2")
    assert first.returncode == 1, first.stderr
    assert "6 of 7 runs finished, 1 failed" in first.stdout
    assert re.search(r"dashboard: http://\S+:\d+/status", first.stdout)
    table = bench.table()
    assert list(table["label"]) == ODD
    assert list(table["01_result.z_mse"] * 7)[:6] == [0, 1, 2, 3, 4, 5]
    assert list(table["number"]) == [str(2**64), *"000000"], "beyond 64 bits the column is text"
    assert (bench.folder / "b/runs.csv").read_text(encoding="utf-8").count("finished") == 6
    page = (bench.folder / "b/summary.html").read_text(encoding="utf-8")
    assert "7 runs" in page
    assert "z_mse" in page
    folders = [bench.folder / "b" / name for name in table["folder"]]
    assert {path for path in (tmp_path / "b").iterdir() if path.is_dir()} == {*folders, tmp_path / "b/figures"}
    assert {path.name for path in tmp_path.iterdir()} == before | {"b", "executions.txt"}
    assert not list(files.ROOT.glob("made"))
    assert {"work.ipynb", "metrics", "status.json"} <= {path.name for path in folders[1].iterdir()}
    assert [path.parent for path in (bench.folder / "b").rglob("*.failed.ipynb")] == [folders[6]]

    (folders[0] / "metrics/01_result.json").write_text('{"parameters": {}, "resu', encoding="utf-8")
    shutil.rmtree(folders[1] / "metrics")
    executed = folders[2] / "work.ipynb"
    executed.write_text(executed.read_text(encoding="utf-8")[:-100], encoding="utf-8")
    (tmp_path / "go").touch()
    file.write_text(json.dumps({"runs": [*runs, {"weight_seed": 7}]}), encoding="utf-8")
    assert bench.run("-f", str(file)).returncode == 0
    assert sorted(bench.executions()) == [0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 6, 7], "what is missing, cut short or failed"


def test_faults_inside_a_notebook_stay_with_their_run(bench):
    acts = {
        1: "raise RuntimeError('boom $x_{$ <script>')",
        2: "time.sleep(1000)",
        3: "[print('x' * 1_000_000) for _ in range(100)]",
        4: "os._exit(9)",
        5: "(folder / 'checkpoint.pt').exists() or (folder / 'checkpoint.pt').write_bytes(b'damaged')",
        6: "[print('x' * 100_000) for _ in iter(int, 1)]",  # for ever
        7: "(folder / 'metrics').mkdir(); (folder / 'metrics/02_odd.json').write_text('[1]')",
        8: "get_ipython().display_pub.publish({'text/plain': ''}, {'failed claim': '1 < 0'})",
    }
    bench.write("\n".join(f"if weight_seed == {seed}: {act}" for seed, act in acts.items()))
    notebook = nbformat.read(bench.notebook, as_version=4)
    notebook.cells += [nbformat.v4.new_code_cell("time.sleep(0.6 * (weight_seed == 9))") for _ in range(50)]
    nbformat.write(notebook, bench.notebook)
    ended = bench.run("-p", "weight_seed", "0..9", "--timeout", "25", "--workers", "2")
    assert ended.returncode == 1
    assert "4 of 10 runs finished, 6 failed; in 1 of the finished a claim does not hold" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr, "it belongs into the log of its run"
    table = bench.table()
    assert set(table.index[table["state"] == "finished"]) == {0, 3, 5, 8}
    assert table.loc[1, "error"] == "RuntimeError: boom $x_{$ <script>"
    assert set(table.loc[[2, 6, 9], "error"]) == {"ended by its time limit of 25 s"}
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


KILL = "import psutil\n    psutil.Process().parent().kill()\n    time.sleep(60)"  # as a crash, or too little memory


@pytest.mark.parametrize(("workers", "seconds"), [("2", 0), ("1", 5)])
def test_a_run_that_kills_its_worker_each_time_fails_alone(bench, tmp_path, workers, seconds):
    """And one that does so once is repeated, also if the worker is long in coming back and its memory small."""
    resource = pytest.importorskip("resource")
    once = "weight_seed == 1 and not (folder / 'begun').exists()"
    bench.write(f"if weight_seed == 2 or ({once}):\n    (folder / 'begun').touch()\n    {KILL}")
    ended = subprocess.run(
        bench.command("-p", "weight_seed", "0..4", "--workers", workers),
        env=slow_starts(tmp_path, seconds),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_RSS, (100_000_000, 100_000_000)),  # Dask reads it
        **HURRY,
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "4 of 5 runs finished, 1 failed" in ended.stdout
    table = bench.table()
    assert list(table.index[table["state"] == "failed"]) == [2]
    assert "its worker died 3 times" in table.loc[2, "error"]
    assert re.findall(r"failed: weight_seed=(\d+)", ended.stderr + ended.stdout) == ["2"]
    assert sorted(bench.executions()) == [0, 1, 1, 2, 2, 2, 3, 4], "tried again, and nothing else was repeated"


IMPATIENT = os.environ | {"DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1ms"}
HURRY = {"cwd": files.ROOT, "capture_output": True, "text": True, "timeout": 600}


def slow_starts(folder: Path, seconds: float) -> dict[str, str]:
    """An environment in which every worker needs so long to begin, once a run has."""
    (folder / "sitecustomize.py").write_text(
        "import pathlib, sys, time\n"
        f"if 'spawn_main' in ' '.join(sys.orig_argv) and pathlib.Path({str(folder / 'executions.txt')!r}).exists():\n"
        f"    time.sleep({seconds})\n"
    )
    return IMPATIENT | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}


def test_workers_that_never_begin_are_told(bench, tmp_path):
    bench.log.touch()
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


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores")
def test_the_default_is_the_cores_that_the_process_may_use():
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    try:
        assert dask.system.cpu_count() == 1
    finally:
        os.sched_setaffinity(0, mine)
    assert parse(["batch", "03"]).workers == dask.system.CPU_COUNT


WAIT = "while weight_seed > 1 and not (folder.parent.parent / 'go').exists():\n    "


def test_control_c_and_a_kill_stop_a_batch_and_the_same_command_goes_on(bench, tmp_path):
    options = ("-p", "weight_seed", "0..5", "--workers", "2")
    bench.write("import re\n" + WAIT + "re.match('(a+)+$', 'a' * 45 + 'b')")  # a kernel that cannot hear
    process = bench.start(*options)
    bench.wait_for("finished", 2)
    until(lambda: len(bench.executions()) == 4)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the same command goes on from here" in said
    assert "Traceback" not in said
    assert not psutil.wait_procs(children, timeout=5)[1], "a kernel was left behind"
    states = sorted(bench.table()["state"])  # which run begins first is the scheduler's choice
    assert states == ["finished", "finished", "interrupted", "interrupted", "waiting", "waiting"]

    bench.write(WAIT + "time.sleep(0.05)")
    process = bench.start(*options)
    until(lambda: len(bench.executions()) == 8)
    bench.wait_for("finished", 4)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not psutil.wait_procs(children, timeout=20)[1], "workers and kernels must end with the batch"
    (tmp_path / "go").touch()
    assert bench.run(*options).returncode == 0
    assert sorted(bench.executions()[8:]) == [2, 3, 4, 5], "finished runs are not repeated, all others are"
    assert list(bench.table()["state"]) == ["finished"] * 6
    assert list(bench.table()["01_result.error_mse"] * 7) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_what_changes_during_a_batch_is_not_taken_for_what_was_planned(bench, monkeypatch, when):
    (run,) = plan.plan([str(bench.notebook)], [{}], bench.folder / "b")
    edit = lambda *_, **__: bench.write("edited") or bench.notebook  # noqa: E731
    monkeypatch.setattr(worker, "execute", edit)
    if when == "before":
        edit()
    status = worker.execute_run(run, 10)
    assert status["state"] == "failed"
    assert "have changed since the batch began" in status["error"]


def test_a_second_batch_in_one_folder_is_refused(bench, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lib", *bench.command("-p", "weight_seed", "1")[3:]])
    with notebooks.locked(bench.folder / "b"):
        assert main() == 2
    assert "name = 'b': another run or batch is at work in this folder" in capsys.readouterr().err


def test_a_full_disk_is_told_and_leaves_no_half_files(tmp_path, monkeypatch):
    run = plan.Run((), {"weight_seed": 3}, "source", "key", tmp_path / "run")
    worker.write_status(run, {"state": "running", "cell": "c"})
    full = OSError(errno.ENOSPC, "No space left on device")
    assert batch._record(run, full)["state"] == worker.read_status(run)["state"] == "failed"
    worker.write_status(run, {"state": "running", "cell": "c"})
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(full))
        told = batch._record(run, full)
        with pytest.raises(OSError, match="No space left"):
            worker.execute_run(run, 10)
        patch.setattr(Path, "read_text", lambda *_, **__: (_ for _ in ()).throw(full))
        with pytest.raises(OSError, match="No space left"):
            worker.read_status(run)
    assert told["state"] == "interrupted"
    assert "No space left" in told["error"]
    assert sorted(path.name for path in run.folder.iterdir()) == [".lock", "run.log", "status.json"]


@contextmanager
def cluster(folder: Path, **config: str):
    """A scheduler: its address, and what starts a worker for it and returns the process."""
    where = folder / "scheduler.json"
    dask_command = Path(sys.executable).with_name("dask")
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, "env": os.environ | config}
    scheduler = [dask_command, "scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0"]
    worker_ = [dask_command, "worker", "--scheduler-file", where, "--nthreads", "1", "--no-dashboard"]
    servers = [subprocess.Popen([*scheduler, "--scheduler-file", where], **options)]

    def join() -> subprocess.Popen:
        servers.append(subprocess.Popen(worker_, **options))
        return servers[-1]

    try:
        until(lambda: where.exists() and where.read_text(encoding="utf-8").strip().endswith("}"))
        yield json.loads(where.read_text(encoding="utf-8"))["address"], servers[0], join
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(timeout=30)


def until(true, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.1)
    assert true()


def test_workers_and_schedulers_that_go_cost_repetitions_never_a_verdict(bench, tmp_path):
    strict = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}  # Dask blames all runs that were sent to the worker
    bench.write("while not (folder.parent.parent / 'go').exists():\n    time.sleep(0.05)")
    with cluster(tmp_path, **strict) as (address, scheduler, join):
        first = join()
        process = bench.start("-p", "weight_seed", "0..2", "--scheduler", address)
        until(lambda: len(bench.executions()) == 1)
        second = join()
        until(lambda: len(bench.executions()) == 2)
        first.kill()  # its worker ends with it
        with Client(address, timeout=30) as client:
            until(lambda: len(client.nthreads()) == 1)
        (tmp_path / "go").touch()
        said, _ = process.communicate(timeout=600)
        assert process.returncode == 0, said
        assert "failed:" not in said
        assert list(bench.table()["state"]) == ["finished"] * 3
        assert sorted(bench.executions()) == [0, 0, 1, 2]

        bench.write("time.sleep(1000) if weight_seed else None")
        process = bench.start("-p", "weight_seed", "0..2", "--scheduler", address, "--patience", "3", name="gone")
        until(lambda: len(bench.executions()) == 6)
        bench.wait_for("finished", name="gone")
        second.kill()
        said, _ = process.communicate(timeout=600)
        assert process.returncode == 130, said
        assert "no worker for 3 s; what has finished is kept, and the same command goes on from here" in said
        assert list(bench.table("gone")["state"]) == ["finished", "interrupted", "waiting"]

        process = bench.start("-p", "weight_seed", "0..2", "--scheduler", address, name="gone")
        join()
        until(lambda: len(bench.executions()) == 7)
        scheduler.kill()
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the scheduler is gone; what has finished is kept" in said
    assert "Traceback" not in said
    assert bench.table("gone")["state"][0] == "finished"


def test_workers_with_several_threads_are_refused():
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as made,
        pytest.raises(SettingsError, match="its workers have 2 threads, must be 1 each"),
        batch.cluster(1, made.scheduler_address),
    ):
        pass


def test_a_run_has_one_writer(tmp_path, monkeypatch):
    """A worker that outlived its batch, and a worker of the next batch: this one waits, then has nothing to do."""
    run, waits = plan.Run((), {}, "source", "key", tmp_path / "run"), threading.Event()
    acquire = FileLock.acquire
    monkeypatch.setattr(FileLock, "acquire", lambda lock, **options: waits.set() or acquire(lock, **options))
    with ThreadPoolExecutor() as pool:
        with notebooks.locked(run.folder):
            waits.clear()
            second = pool.submit(worker.execute_run, run, 10.0)
            assert waits.wait(timeout=30)
            assert not second.done()
            (run.folder / "status.json").write_text(
                '{"state": "finished", "files": {}, "by": "the first"}', encoding="utf-8"
            )
        assert second.result(timeout=30)["by"] == "the first"


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
    "too large a seed": (["03", "-p", "weight_seed", "4294967296"], "weight_seed = 4294967296"),
    "too small": (["03", "-p", "hidden_size", "0"], "hidden_size = 0"),
    "too large": (["03", "-p", "hidden_size", "4097"], "hidden_size = 4097"),
    "too high a frequency": (["03", "-p", "frequencies", "[1, 600]"], "frequencies = (1.0, 600.0)"),
    "no list of frequencies": (["03", "-p", "frequencies", "5"], "frequencies = 5"),
    "samples and a half": (["03", "-p", "duration", "0.0015"], "duration = 0.0015"),
    "one bad among good": (["03", "-p", "hidden_size", "16,32,9999"], "hidden_size = 9999"),
    "not a number": (["03", "-p", "phase_turns", ".nan"], "phase_turns = nan"),
    "out of range": (["03", "-p", "phase_turns", "1.5"], "phase_turns = 1.5"),
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
    "a name that climbs": ([*GOOD, "--name", "../up"], "name = '../up'"),
    "a hidden name": ([*GOOD, "--name", ".hidden"], "name = '.hidden'"),
    "no workers": ([*GOOD, "--workers", "0"], "workers = 0"),
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
    assert plan.expand({"a": [1, 2], "b": [3]}) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]
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


def test_a_checkpoint_of_another_kind_is_refused(tmp_path):
    path, reference = tmp_path / "checkpoint.pt", load_checkpoint(REFERENCE_CHECKPOINT)
    for changes, message in (
        ({"progress": {"stage": "grow"}}, "its training was interrupted in stage 'grow'"),
        ({"model": {"layers": 1}}, "its weights do not fit its model"),
        ({"weights": {}}, "its weights do not fit its model"),
    ):
        save_checkpoint(path, reference | changes)
        with pytest.raises(CheckpointError, match=rf"checkpoint\.pt: {message}"):
            load_model(path)
    save_checkpoint(path, reference | {"progress": 3})
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: not a checkpoint of this project"):
        load_model(path)
    path.write_text("none", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: cannot be read"):
        load_model(path)


def test_help_helps(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lib", "batch", "--help"])
    monkeypatch.setitem(os.environ, "COLUMNS", "200")
    with pytest.raises(SystemExit, match="0"):
        main()
    text = " ".join(capsys.readouterr().out.split())
    for words in ("--scheduler", "0..9 (both ends included)", "give the same command again", "'grid' holds"):
        assert words in text
