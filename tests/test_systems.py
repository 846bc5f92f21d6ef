"""What must hold on every system and in every locale: modules, text, locks, and files that take another's place."""

import ntpath
import os
import subprocess
import sys

import nbformat
import pytest

from lib import SettingsError
from lib.checkpoint import write_atomically
from lib.lessons.files import ROOT
from lib.run import booklet, notebooks, render

POSIX_ONLY = "crypt fcntl grp nis ossaudiodev pty pwd resource spwd syslog termios tty".split()  # noqa: SIM905
EVERYTHING = """
import importlib, pkgutil, sys, warnings
from pathlib import Path
import lib
for module in pkgutil.walk_packages(lib.__path__, "lib."):
    if module.name != "lib.__main__":
        importlib.import_module(module.name)
from lib import __main__ as cli
from lib.run import notebooks

def call(*arguments):
    sys.argv = ["lib", *arguments]
    try:
        return cli.main()
    except SystemExit as end:
        return end.code
"""


def python(code: str, *options: str, **environment: str) -> str:
    """What a Python of its own prints; it must end well."""
    own = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    call = [sys.executable, *options, "-c", code]
    ended = subprocess.run(call, cwd=ROOT, env=own, capture_output=True, encoding="utf-8", errors="replace")
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_nothing_needs_what_only_posix_has(tmp_path):
    code = (
        "import distributed, psutil, sys  # these two have parts of their own for each system\n"
        f"sys.modules.update(dict.fromkeys({POSIX_ONLY}))\n"
        + EVERYTHING
        + f"""
notebooks.RUNS = Path({str(tmp_path)!r})
assert call("--help") == 0
for command in ("run", "batch", "publish", "site", "pdf", "student", "reference", "studies"):
    assert call(command, "--help") == 0
assert call("run", "03", "-p", "weight_sede", "3") == 2
assert call("publish", "--name", "none") == 2
"""
    )
    python(code)


def test_text_is_utf_8_whatever_the_locale(tmp_path):
    """Python itself tells of each file that would be read or written in the encoding of the locale."""
    file = tmp_path / "parameters.yml"
    file.write_text("label: grün φ", encoding="utf-8")
    cell = nbformat.v4.new_code_cell("run_dir = ''", metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "tiny.ipynb")
    code = (
        EVERYTHING
        + f"""
warnings.filterwarnings("error", category=EncodingWarning, module="lib")
assert not sys.flags.utf8_mode
place = Path({str(tmp_path)!r})
from lib import FrequencyDataset, SignalSpec, load_model
from lib.lessons import contents, files, n02_live, parameters
from lib.run import booklet, publish, render, student
assert files.read_yaml(place / "parameters.yml") == {{"label": "gr\\u00fcn \\u03c6"}}
parameters.begin_notebook(run_dir=str(place / "run"))
__import__("logging").getLogger("lib").info("gr\\u00fcn \\u03c6")
notebooks.execute(place / "tiny.ipynb", place / "run", {{}}, progress_bar=False)
publish.with_results(publish.README.read_text(encoding="utf-8"))
contents.requirements_table(publish.METRICS)
n02_live.live_stepper({{"trained": load_model()}}, FrequencyDataset(SignalSpec(duration=1.0), 2))
render.find_notebooks = booklet.find_notebooks = lambda: files.find_notebooks(["00", "01"])  # two are enough
render.single_page(files.NOTEBOOKS / "00_assignment.ipynb", place / "single.html")
render.site(place / "site")
student.student_copy(place / "student")
booklet._print = lambda source, target: (place / "booklet.html").write_bytes(source.read_bytes()) * 0
booklet._joined = lambda part, *_: part.body
booklet.PdfReader = lambda path: __import__("types").SimpleNamespace(named_destinations={{}})
try:
    booklet.booklet(place / "booklet.pdf")
except FileNotFoundError:
    pass  # nothing was printed
cli.PRODUCTS["student"] = lambda: Path("gr\\u00fcn \\u03c6 \\u2026")
assert call("student") == 0
assert call("run", "-f", str(place / "parameters.yml")) == 2
"""
    )
    said = python(
        code, "-X", "warn_default_encoding", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING=""
    )
    assert r"done: see gr\xfcn \u03c6 \u2026" in said
    assert "grün φ" in (tmp_path / "run" / "run.log").read_text(encoding="utf-8")
    for name in ("single.html", "site/index.html", "booklet.html"):
        assert "·" in (tmp_path / name).read_text(encoding="utf-8")


HOLDER = """
import sys, time
from pathlib import Path
from lib.run.notebooks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_lock_ends_with_its_process(tmp_path):
    folder = tmp_path / "run"
    call = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, encoding="utf-8", cwd=ROOT) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(SettingsError, match="name = 'run': another run or batch is at work"),
            notebooks.locked(folder),
        ):
            pass
        holder.kill()
        holder.wait()
        with notebooks.locked(folder, wait=True):
            pass
    with notebooks.locked(folder):
        pass


@pytest.mark.parametrize("failing", [1, 2])
def test_a_folder_that_cannot_be_replaced_stays(tmp_path, monkeypatch, failing):
    folder, calls, replace = tmp_path / "site", [], os.replace
    folder.mkdir()
    (folder / "old").touch()

    def replace_or_not(source, target):
        calls.append(source)
        if len(calls) == failing:
            raise PermissionError("it is open")
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_or_not)
    with pytest.raises(OSError, match=r"folder = .*site: cannot be replaced.*open"), render.replaced(folder) as fresh:
        (fresh / "new").touch()
    assert [path.name for path in folder.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    with render.replaced(folder) as fresh:
        (fresh / "new").touch()
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_a_file_that_somebody_reads_is_replaced_in_a_moment(tmp_path, monkeypatch):
    """Windows refuses to rename onto a file that is open."""
    path, refusals, replace = tmp_path / "status.json", [1, 2], os.replace

    def replace_later(source, target):
        if refusals:
            refusals.pop()
            raise PermissionError("it is open")
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_later)
    monkeypatch.setattr("lib.checkpoint.time.sleep", lambda seconds: None)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    refusals += range(100)
    with pytest.raises(PermissionError):
        write_atomically(path, b"newer")
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]
    assert path.read_bytes() == b"new"


def test_a_browser_is_found_where_each_system_keeps_it(monkeypatch):
    def found(present):
        monkeypatch.setattr(booklet.shutil, "which", lambda name: name if name == present else None)
        return booklet.find_browser()

    for name in ("chromium", "msedge", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"):
        assert found(name) == name
    assert found("no browser") is None
    monkeypatch.setattr(os.path, "expandvars", ntpath.expandvars)
    monkeypatch.setenv("ProgramFiles(x86)", r"C:\Program Files (x86)")
    edge = r"C:\Program Files (x86)/Microsoft/Edge/Application/msedge.exe"
    assert found(edge) == edge
