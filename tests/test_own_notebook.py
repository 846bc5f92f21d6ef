"""A notebook of an instructor's own: plain pictures, any headings, copies beside it, cells that raise."""

import base64
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lib import SettingsError
from lib.lessons import files
from lib.lessons.contents import sections
from lib.run import batch, engine, notebooks, plan, publish, render, student, worker

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
PNG = base64.b64encode(next(publish.FIGURES.glob("*.png")).read_bytes()).decode()
PARAMETERS = new_code_cell("run_dir: str = ''  # folder", metadata={"tags": ["parameters"]})


def write(path: Path, *cells) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[PARAMETERS, *cells], metadata=KERNEL), path)
    return path


def page(folder: Path, *cells) -> tuple[render.Chapter, BeautifulSoup]:
    chapter = render.chapter(write(folder / "10_mine.ipynb", *cells))
    return chapter, BeautifulSoup(chapter.body, "html.parser")


HEADINGS = {
    "in a fence": ("# T\n```\n# no\n```\n~~~\n## no\n~~~\n\n    ## no\n", [(1, "T")]),
    "underlined": ("T\n===\n\ntwo\nlines\n---\n", [(1, "T"), (2, "two lines")]),
    "quoted or listed": ("# T\n> ## no\n\n- ## no\n\n### yes", [(1, "T"), (3, "yes")]),
    "in HTML": ("<h1>T &amp; U</h1>\n\n<!-- <h2>no</h2> -->\n<div><h2 class='a'>in <b>it</b></h2></div>", "T & U"),
    "deep": ("# T\n#### four\n###### six\n####### no", [(1, "T"), (4, "four"), (6, "six")]),
    "marked": ("#T *a* `b`\n## [link](x) $y$ ##\n##\n", [(1, "T a b"), (2, "link $y$")]),
    "none": ("text", []),
}


@pytest.mark.parametrize("kind", HEADINGS)
def test_headings_are_those_of_the_page(tmp_path, kind):
    text, expected = HEADINGS[kind]
    expected = [(1, expected), (2, "in it")] if isinstance(expected, str) else expected
    chapter, soup = page(tmp_path, new_markdown_cell(text), new_code_cell("1"))
    assert [(section.level, section.title) for section in chapter.sections] == expected
    assert chapter.title == chapter.words == (expected[0][1] if expected else "10_mine")
    assert [section.title for section in chapter.below] == [title for _, title in expected[1:]]
    assert all(soup.find(f"h{section.level}", id=section.anchor) for section in chapter.sections)


def test_a_section_holds_its_prose_and_its_cells(tmp_path):
    cells = [new_markdown_cell("# T (1.1a)\nA *word*\n```\n# code\n```"), new_code_cell("1", id="here")]
    title, below = sections(write(tmp_path / "n.ipynb", *cells, new_markdown_cell("below\n\n## B")))
    assert title.questions == ("1.1a",)
    assert title.cells == ("here",)
    assert title.text.split() == ["A", "*word*", "#", "code", "below"]
    assert not below.text.strip()


@pytest.mark.parametrize("formula", [r"$\frac{1$", r"$$\begin{matrix} 1 $$", r"$\left( x$", "$x^$", "$x}$"])
def test_an_unfinished_formula_is_told_with_its_cell(tmp_path, formula):
    with pytest.raises(SettingsError, match=r"10_mine\.ipynb, cell 3 \('Some words'\): formula = "):
        page(tmp_path, new_markdown_cell("# T"), new_markdown_cell(f"Some words\n\n{formula}"))
    output = new_output("display_data", {"text/markdown": formula})
    with pytest.raises(SettingsError, match=r"10_mine\.ipynb, cell 2 \('show'\): formula = "):
        page(tmp_path, new_code_cell("show", outputs=[output]))


def test_what_is_no_formula_stays_as_it_is(tmp_path):
    _, soup = page(tmp_path, new_markdown_cell("# T costs $5\nand $x\n\n\\begin{align} a &= b \\end{align}"))
    assert "costs $5" in soup.h1.get_text()
    assert len(soup.select("math")) == 1
    assert "begin" not in soup.get_text()


def test_pictures_of_all_kinds_are_shown(tmp_path):
    (tmp_path / "my picture.png").write_bytes(base64.b64decode(PNG))
    text = "# T\n![a](attachment:one.png) ![b](attachment:my%20p.png) <img alt=c src='attachment:one.png' width=9>\n"
    text += "![d](my%20picture.png) ![e](<my picture.png>) <img alt='f' src=\"my picture.png\"> `<img src=no>`"
    pasted = {"one.png": {"image/png": PNG}, "my p.png": {"image/png": PNG}}
    plain = [new_output("display_data", {kind: PNG}) for kind in ("image/png", "image/jpeg")]
    table = new_output("execute_result", {"text/html": "<table><tr><th>a</th></tr><tr><td>1e-3</td></tr></table>"})
    _, soup = page(tmp_path, new_markdown_cell(text, attachments=pasted), new_code_cell("1", outputs=[*plain, table]))
    images = soup.select("img")
    assert [image["alt"] for image in images[:6]] == list("abcdef")
    assert all(image["src"].endswith(PNG) for image in images)
    assert [image["alt"] for image in images[6:]] == ["No description has been provided for this image"] * 2
    assert soup.select_one(".scroll > table")


@pytest.mark.parametrize("source", ["no.png", "attachment:no.png", "../../figures/graph_1.png"])
@pytest.mark.parametrize("form", ["![x]({})", "<img src='{}'>"])
def test_a_missing_picture_is_told_with_its_cell(tmp_path, source, form):
    with pytest.raises(SettingsError, match=r"10_mine\.ipynb, cell 2 \(.Look: .*\): .*\b(no|graph_1)\.png"):
        page(tmp_path, new_markdown_cell("Look: " + form.format(source)))


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one notebook of its own, with nothing published yet but a figure that no notebook shows any more."""
    places = {name: tmp_path / name for name in ("notebooks", "runs", "figures", "notebooks/metrics")}
    for place in places.values():
        place.mkdir()
    for module in (files, publish):
        monkeypatch.setattr(module, "NOTEBOOKS", places["notebooks"])
    for module in (notebooks, publish):
        monkeypatch.setattr(module, "RUNS", places["runs"])
    monkeypatch.setattr(publish, "FIGURES", places["figures"])
    monkeypatch.setattr(publish, "METRICS", places["notebooks/metrics"])
    monkeypatch.setattr(publish, "README", tmp_path / "README.md")
    monkeypatch.setattr(publish, "results_table", lambda metrics: f"{sorted(os.listdir(metrics))}\n")
    (tmp_path / "README.md").write_text(f"before {publish.BEGIN} old {publish.END} after", encoding="utf-8")
    (places["figures"] / "removed.png").write_bytes(b"old")
    write(
        places["notebooks"] / "10_mine.ipynb",
        new_markdown_cell("![x](attachment:one.png)", attachments={"one.png": {"image/png": PNG}}),
        new_code_cell("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"),
        new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]}),
        new_code_cell("import pandas as pd\npd.DataFrame({'a': [1]})"),
        new_code_cell(
            "from lib.lessons.figures import Picture, panels, show\nfrom lib.lessons.files import write_metrics\n"
            "show(Picture(panels()[0], 'Empty.'), 'one', run_dir)\n"
            "open(run_dir + '/figures/.one.png.tmp', 'w').close()\n"
            "write_metrics(run_dir + '/metrics/10_mine.json', {}, {})"
        ),
    )
    return tmp_path


def contents_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and "runs" not in path.parts}


def test_a_plain_notebook_is_run_and_published_all_or_nothing(course, monkeypatch):
    folder = notebooks.run("a", {})
    before = contents_of(course)
    figure = folder / "figures/one.svg"
    figure.rename(course / "runs/one.svg")
    with pytest.raises(SettingsError, match=r"10_mine, cell 7 .*shows the figure 'one'.*one\.svg is missing"):
        publish.publish("a")
    assert contents_of(course) == before
    (course / "runs/one.svg").rename(figure)

    def fail(path: Path, content: bytes) -> None:
        path.write_bytes(content)
        if path == publish.README:  # the last
            raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(publish, "write_atomically", fail)
        with pytest.raises(OSError, match="disk full"):
            publish.publish("a")
    assert contents_of(course) == before
    text = (folder / "10_mine.ipynb").read_text(encoding="utf-8")
    for damaged in (text[:-99], "{}", (course / "notebooks/10_mine.ipynb").read_text(encoding="utf-8")):
        (folder / "10_mine.ipynb").write_text(damaged, encoding="utf-8")
        with pytest.raises(SettingsError, match="must be a run by `python -m lib run`, but its 10_mine is not"):
            publish.publish("a")
    (folder / "10_mine.ipynb").write_text(text, encoding="utf-8")
    (folder / "figures").rename(course / "runs/figures")
    (folder / "figures").symlink_to(course / "figures")
    with pytest.raises(SettingsError, match=r"name = 'a': must be another folder than .*figures"):
        publish.publish("a")
    assert contents_of(course) == before
    (folder / "figures").unlink()
    (course / "runs/figures").rename(folder / "figures")

    executed = nbformat.read(folder / "10_mine.ipynb", as_version=4)
    assert "papermill-error" not in str(executed)
    kinds = [[output.output_type for output in cell.get("outputs", [])] for cell in executed.cells[2:]]
    assert kinds == [[], ["display_data"], ["error"], ["execute_result"], ["display_data"]]
    publish.publish("a")
    published = nbformat.read(course / "notebooks/10_mine.ipynb", as_version=4)
    assert [cell.source for cell in published.cells] == [c.source for c in executed.cells if "injected" not in str(c)]
    assert published.cells[1].attachments["one.png"]["image/png"] == PNG
    assert published.cells[2].outputs[0].data["image/png"]
    assert published.cells[3].outputs[0].ename == "ZeroDivisionError"
    assert {path.name for path in (course / "figures").iterdir()} == {f"one.{kind}" for kind in publish.KINDS}
    assert "['10_mine.json']" in (course / "README.md").read_text(encoding="utf-8")
    chapter = render.chapter(course / "notebooks/10_mine.ipynb")
    assert len(BeautifulSoup(chapter.body, "html.parser").select("img")) == 3


@pytest.mark.parametrize("name", ["10_mine.ipynb", "10_mine.failed.ipynb", "folder/other.ipynb"])
def test_a_notebook_is_not_executed_over_itself(course, name):
    path = write(course / "runs/a" / name)
    before = path.read_bytes()
    message = r"must not lie in the folder that it is executed into.*another --name than 'a'"
    with pytest.raises(SettingsError, match=message):
        notebooks.run("a", {}, [str(path)])
    (course / "link").symlink_to(course / "runs")
    with pytest.raises(SettingsError, match=message):
        plan.plan([str(course / "link/a" / name)], [{}], course / "link/a")
    assert path.read_bytes() == before


def test_what_is_read_is_not_replaced(tmp_path):
    for folder in (files.NOTEBOOKS, files.NOTEBOOKS / "metrics", files.ROOT, files.ROOT / "lib" / "run"):
        for write_into in (render.site, student.student_copy):
            with pytest.raises(SettingsError, match="must be apart from"):
                write_into(folder)
    (tmp_path / "site").symlink_to(files.NOTEBOOKS)
    with pytest.raises(SettingsError, match="must be apart from"):
        render.site(tmp_path / "site")


COPIES = """
10_mine-Copy1.ipynb 10_mine-Copy12.ipynb 10_mine-checkpoint.ipynb .ipynb_checkpoints/10_mine-checkpoint.ipynb
._10_mine.ipynb 10_mine.failed.ipynb 10_mine|(1).ipynb 10_mine|-|Copy.ipynb 10_mine|-|Copy|(2).ipynb 10_mine|copy.ipynb
""".split()  # noqa: SIM905


def test_copies_and_hidden_files_take_no_part(course):
    found = [course / "notebooks/10_mine.ipynb"]
    for name in COPIES:
        path = course / "notebooks" / name.replace("|", " ")
        path.parent.mkdir(exist_ok=True)
        shutil.copy(found[0], path)
    other = write(course / "notebooks/11_my-notebook_copied.ipynb")
    assert files.find_notebooks() == [*found, other]
    assert files.find_notebooks(["10"]) == found
    assert [run.notebooks for run in plan.plan(["10"], [{}], course / "runs/b")] == [tuple(found)]
    copy = course / "notebooks/10_mine-Copy1.ipynb"
    assert files.find_notebooks([str(copy)]) == [copy], "when it is asked for"


def test_the_students_archive_and_the_fingerprint_leave_copies_out(tmp_path, monkeypatch):
    root = tmp_path / "course"
    root.mkdir()
    for name in ("lib", "notebooks", "tests", "Makefile", *student.KEPT):
        copy = shutil.copytree if (files.ROOT / name).is_dir() else shutil.copyfile
        copy(files.ROOT / name, root / name)
    for module in (plan, student):
        monkeypatch.setattr(module, "ROOT", root)
    monkeypatch.setattr(plan, "REFERENCE", root / "lib" / "reference")
    monkeypatch.setattr(student, "NOTEBOOKS", root / "notebooks")
    monkeypatch.setattr(student, "find_notebooks", lambda: [])
    before = plan.fingerprint_of_library()
    strange = ("lib/.DS_Store", "lib/model-Copy1.py", "lib/.ipynb_checkpoints/model-checkpoint.py", "notebooks/._a.yml")
    strange += ("notebooks/metrics/.ipynb_checkpoints/04-checkpoint.json", "notebooks/questions-Copy1.yml")
    strange += ("notebooks/metrics/04_evaluation-Copy2.json", "lib/reference/tried (1).yml")
    for name in strange:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("strange", encoding="utf-8")
    assert plan.fingerprint_of_library() == before
    copied = student.student_copy(tmp_path / "student")
    assert (copied / "lib/lessons/files.py").exists()
    assert (copied / "notebooks/questions.yml").exists()
    assert not [name for name in strange if (copied / name).exists()]
    (root / "lib/model.py").write_text("changed", encoding="utf-8")
    assert plan.fingerprint_of_library() != before


def test_a_checkpoints_folder_does_not_undo_a_finished_run(course):
    runs = plan.plan(["10"], [{}], course / "runs/b")
    hidden = runs[0].folder / ".ipynb_checkpoints/10_mine-checkpoint.ipynb"
    hidden.parent.mkdir(parents=True)
    hidden.write_text("as JupyterLab leaves it", encoding="utf-8")
    assert worker.execute_run(runs[0], 300)["state"] == "finished", "although a cell raises what it says"
    shutil.rmtree(hidden.parent)
    assert worker.read_status(runs[0])["state"] == "finished"


def test_only_a_cell_that_says_so_may_raise(course):
    expected = new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]})
    silent = new_code_cell("1", metadata={"tags": ["raises-exception"]})
    path = write(course / "notebooks/11_other.ipynb", expected, silent, new_code_cell("{}['missing']"))
    with pytest.raises(notebooks.NotebookFailedError, match="KeyError: 'missing'"):
        notebooks.run("a", {}, ["11"])
    failed = course / "runs/a/11_other.failed.ipynb"
    assert "ZeroDivisionError" in str(nbformat.read(failed, as_version=4).cells), "all of what was executed"
    write(failed, expected, silent)  # repaired there, as the message says
    again = notebooks.run("again", {}, [str(failed)])
    assert [place.name for place in again.glob("*.ipynb")] == ["11_other.ipynb"]
    write(path, expected, new_code_cell("import os; os._exit(1)"))
    with pytest.raises(notebooks.NotebookFailedError, match="Kernel died"):
        notebooks.run("a", {}, ["11"])


def test_a_kernel_that_is_slow_to_start_is_waited_for(course, monkeypatch):
    (course / "sitecustomize.py").write_text(
        "import sys, time\ntime.sleep(3 * any('ipykernel' in word for word in sys.orig_argv))", encoding="utf-8"
    )
    monkeypatch.setenv("PYTHONPATH", str(course), prepend=os.pathsep)
    path = course / "notebooks/10_mine.ipynb"
    with pytest.raises(notebooks.NotebookFailedError, match=r"10_mine failed.*Kernel didn't respond in 1 seconds"):
        notebooks.execute(path, course / "runs/a", {}, start_timeout=1)
    asked = []
    monkeypatch.setattr(engine.papermill, "execute_notebook", lambda *_, **given: asked.append(given["start_timeout"]))
    with pytest.raises(FileNotFoundError):  # nothing was executed
        notebooks.execute(path, course / "runs/b", {})
    with pytest.raises(FileNotFoundError):
        worker.execute_run(plan.plan(["10"], [{}], course / "runs/c")[0], 7200)
    assert asked == [600, 7200]


INTERRUPT = """
import os, signal, sys
class AtTheImport:
    def find_spec(self, name, *_):
        if name == os.environ["AT"] and sys.orig_argv[1:3] == ["-m", "lib"]:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, AtTheImport())
"""


@pytest.mark.skipif(os.name == "nt", reason="a signal")
@pytest.mark.parametrize(("command", "at"), [("run", "torch"), ("run", "matplotlib"), ("batch", "pandas")])
def test_ctrl_c_in_the_first_seconds_is_one_line(command, at, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(INTERRUPT, encoding="utf-8")
    places = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, "-m", "lib", command, "01", "--name", "stopped", "-p", "train_noise_seed", "-1"],
        cwd=files.ROOT, env=os.environ | {"AT": at, "PYTHONPATH": places}, capture_output=True, encoding="utf-8",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # not in the background
    )  # fmt: skip
    assert (ended.returncode, ended.stdout + ended.stderr) == (130, "stopped\n")


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="Windows has none")
def test_workers_do_not_hear_ctrl_c():
    with batch.cluster(1, "") as client:
        blocked, ignored = client.submit(
            lambda: (
                signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, set()),
                signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
            )
        ).result(timeout=120)
    assert blocked
    assert ignored, "as on Windows, where no signal can be blocked"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())
