"""What holds the project together: pins, prose, notebooks and published numbers."""

import ast
import functools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import grimp
import machines
import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lib import load_model, mse_by_noise_seed
from lib.checkpoint import REFERENCE
from lib.lessons import contents
from lib.lessons.contents import answers, glossary, question_index, read_questions, requirements_table
from lib.lessons.files import NOTEBOOKS, ROOT, find_notebooks, read_metrics, read_yaml
from lib.lessons.n00_plots import MODULES
from lib.run.publish import BEGIN, FIGURES, METRICS, README, with_results
from lib.run.student import student_copy
from lib.signals import SignalSpec
from lib.studies.variants import TEST_SEED

ALL = find_notebooks()
PROJECT = "lstm-frequency-extraction"
NO_MAKE = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}  # own flags
QUESTIONS = """
1.1a 1.1b 1.1c 1.2a 1.2b 1.2c 1.2d 1.3a 1.3b 1.3c 1.3d 2.1 2.2a 2.2b 2.2c 2.2d 2.2e 2.3a 2.3b 2.3c 2.3d
3.1a 3.1b 3.1c 3.2a 3.2b 3.2c 3.2d 3.3a 3.3b 3.3c 3.3d 3.3e 3.4a 3.4b 3.4c 3.4d 4.1 4.2a 4.2b 4.3a 4.3b 4.3c
4.3d 4.3e 4.3f 5.1a 5.1b 5.1c 5.1d 5.1e 5.2a 5.2b 5.2c 5.2d 5.2e 5.3a 5.3b 5.3c 5.3d 6.1a 6.1b 6.1c 6.1d 6.2
6.3 7
""".split()  # noqa: SIM905
# Constants of the assignment and of the argument; everything else in prose must come from a cell.
PERMITTED_DECIMALS = {"0.5", "0.8", "1.2"}


@functools.cache
def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


@pytest.fixture(scope="module", autouse=True)
def _headings_are_read_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "sections", functools.cache(contents.sections))
        yield


def pins() -> dict[str, str]:
    """The version of each package that constraints.txt names."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "no host name, no path, no local build"
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def test_every_pin_lies_in_the_range_that_the_project_permits():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in project["dependencies"] + project["optional-dependencies"]["test"]:
        requirement = Requirement(line)
        assert [part.operator for part in requirement.specifier] == [">="], "the version that was tried as the lowest"
        assert pins()[canonicalize_name(requirement.name)] in requirement.specifier, line


def make(folder: Path, *call: str) -> subprocess.CompletedProcess:
    """Run make in a folder, apart from a make that runs these tests."""
    return subprocess.run(["make", *call], cwd=folder, capture_output=True, encoding="utf-8", env=NO_MAKE)


def test_conda_and_make_install_the_pins():
    conda = read_yaml(ROOT / "environment.yml")["dependencies"]
    assert conda == ["python=3.11", "pip", {"pip": ["--constraint constraints.txt", "--editable ."]}]
    plan = make(ROOT, "--dry-run", "--always-make", "env", f"PYTHON={sys.executable}").stdout
    assert "--constraint constraints.txt --editable '.[test]'" in plan


def needed(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """Everything that a package needs here, directly or not."""
    found: set[str] = set()
    waiting = [(name, extras)]
    while waiting:
        name, extras = waiting.pop()
        for line in metadata.requires(name) or ():
            requirement = Requirement(line)
            wanted = [not requirement.marker or requirement.marker.evaluate({"extra": e}) for e in ("", *extras)]
            part = canonicalize_name(requirement.name)
            own = name == "torch" and part.startswith(
                ("nvidia-", "cuda-", "triton")
            )  # its CUDA build pins these itself
            if any(wanted) and part not in found and not own:
                found.add(part)
                waiting.append((part, frozenset(requirement.extras)))
    return found


def test_everything_that_is_installed_is_pinned():
    """Indirect packages too; run `make constraints` when this fails."""
    installed = {name: metadata.version(name).split("+")[0] for name in needed(PROJECT, frozenset({"test"}))}
    assert {name: pins().get(name) for name in installed} == installed


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_an_environment_that_another_python_has_begun_is_made_anew(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    inside = tmp_path / ".venv" / "bin"
    inside.mkdir(parents=True)

    def plan(python: Path | str) -> str:
        return make(tmp_path, "--dry-run", "env", f"PYTHON={python}").stdout

    (inside / "python").symlink_to(sys.executable)
    assert f'"{sys.executable}" -m venv --clear .venv' in plan(sys.executable), "begun, but not finished"
    (tmp_path / ".venv" / "installed").touch()
    assert "venv --clear" not in plan(sys.executable)
    (inside / "python").unlink()
    (inside / "python").write_text("#!/bin/sh\necho 3.9\n", encoding="utf-8")
    (inside / "python").chmod(0o755)
    assert f'"{sys.executable}" -m venv --clear .venv' in plan(sys.executable), "finished, by another Python"


def test_a_missing_python_is_told_in_one_line(tmp_path):
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    result = make(tmp_path, "--file", str(ROOT / "Makefile"), "env", "PYTHON=nonesuch")
    assert result.returncode == 2
    assert result.stdout.startswith("Python 3.11 to 3.14 is needed")
    assert len(result.stdout.splitlines()) == 1
    assert not (tmp_path / ".venv").exists()


def test_the_top_level_holds_nothing_else():
    permitted = {"notebooks", "lib", "figures", "tests", "environment.yml", "README.md", "CONTRIBUTING.md"}
    permitted |= {"pyproject.toml", "constraints.txt", "Makefile", ".ci", ".gitignore"}
    ignored = {line.strip("/ ") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split()}
    found = {path.name for path in ROOT.iterdir() if path.name != ".git"}
    assert not {name for name in found if not any(Path(name).match(pattern) for pattern in permitted | ignored)}


def test_imports_run_one_way():
    """The contracts stand in pyproject.toml. In a process of its own: import-linter switches our loggers off."""
    call = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True, no_logo=True))"
    ended = subprocess.run([sys.executable, "-c", call], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert ended.returncode == 0, ended.stdout
    assert "Contracts: 2 kept, 0 broken." in ended.stdout


def test_a_module_with_a_notebooks_number_serves_that_notebook_alone():
    graph = grimp.build_graph("lib", cache_dir=None)
    shelves = {module: module.rpartition(".")[2] for module in graph.find_children("lib.lessons")}
    imported = {path.stem[:2]: imported_by(path) for path in ALL}
    users = {module: {number for number in imported if module in imported[number]} for module in shelves}
    for module, name in shelves.items():
        importers = {other for other in graph.find_modules_that_directly_import(module) if other in shelves}
        if number := re.match(r"n(\d\d)_", name):
            assert users[module] <= {number[1]}, f"{name} is imported by the notebooks {users[module]}"
            assert all(shelves[other].startswith(number[0]) for other in importers), f"{name} serves {importers}"
        else:
            above = graph.find_downstream_modules(module) | {module}
            read = set().union(*(users.get(other, {other}) for other in above))
            assert len(read) > 1, f"{name} serves {read} alone, and does not say so in its name"


def imported_by(path):
    """The modules of `lib` that a notebook's cells import."""
    found = set()
    for cell in read(path).cells:
        if cell.cell_type == "code":
            source = re.sub(r"^\s*[%!].*$", "", cell.source, flags=re.M)
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.ImportFrom) and str(node.module).startswith("lib"):
                    found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_notebooks_are_executed_clean_and_in_order(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(work|tmp|root|home)/\w", text), "holds a machine path"
    assert len(text) < 3_500_000, "a page must stay light"
    notebook = read(path)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "not executed in order"
    for cell in code:
        tags = cell.metadata.get("tags", [])
        for output in cell.outputs:
            failed = output.output_type == "error" or output.get("name") == "stderr"
            assert not failed or "raises-exception" in tags
            assert "warning" not in str(output.get("text", "")).lower() or "StateReset" in str(output)
            if "image/png" in output.get("data", {}):
                about = output.metadata.get("image/png", {})
                assert len(about.get("alt", "")) > 40, "show it by lib.lessons.figures.show, which takes its text"
                assert output.data["text/plain"].startswith("Figure: ")
        if not {"parameters", "hide-input"} & set(tags):
            assert not [line for line in cell.source.splitlines() if len(line) > 88], "wider than the page"
        if "solution" not in tags:
            assert not re.findall(r"\bsolution_\d", cell.source), "no solution is used outside of its cell"
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in code) == 1
    levels = [section.level for section in contents.sections(path)]
    assert levels[0] == levels.count(1) == 1, "one title"
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_prose_quotes_no_measured_number():
    """Decimals and powers of ten in Markdown cells could be results typed by hand."""
    for path in ALL:
        for cell in read(path).cells:
            if cell.cell_type != "markdown":
                continue
            prose = re.sub(r"\$[^$]*\$|`[^`]*`|^#+ .*$|\]\([^)]*\)", "", cell.source, flags=re.MULTILINE)
            prose = re.sub(r"(?:[Ss]ection|in|see|repeat|Exercise) \d\.\d+", "", prose)
            numbers = set(re.findall(r"\d+\.\d+|\d+e-?\d+", prose)) - PERMITTED_DECIMALS
            assert not numbers, f"{path.stem}: {numbers} in {cell.source[:80]!r}"


def output_of(name: str, call: str) -> str:
    """The Markdown that a cell of a notebook has put out."""
    cell = next(cell for cell in read(NOTEBOOKS / name).cells if call in cell.source and cell.cell_type == "code")
    return next(output.data["text/markdown"] for output in cell.outputs if "text/markdown" in output.get("data", {}))


def test_every_question_has_an_answer_and_every_answer_a_question():
    assert [name for chapter in read_questions().values() for name in chapter] == QUESTIONS
    assert output_of("00_assignment.ipynb", "Markdown(question_index())") == question_index()


@pytest.mark.parametrize(
    ("chapter", "changed", "told"),
    [
        ("New", {"9.9z": {"asks": "What else?", "kind": "shown"}}, r"without an answer: \['9.9z'\]"),
        ("Understanding", {}, r"answers without a question: \['1.1a'"),
        ("Understanding", {"1.1b": {"kind": "proved"}}, "kind = 'proved': must be one of shown, judgement"),
        ("Understanding", {"1.1b": {"kind": "shown", "cell": "none-such"}}, "cell = 'none-such': must be one of"),
        ("Understanding", {"1.1b": {"kind": "judgement"}}, "must say that it is a matter of judgement"),
    ],
)
def test_a_question_is_answered_as_it_says(monkeypatch, chapter, changed, told):
    asked = {**read_questions()}
    asked[chapter] = {**asked.get(chapter, {}), **changed} if changed else {}
    monkeypatch.setattr(contents, "read_questions", lambda: asked)
    with pytest.raises(ValueError, match=told):
        question_index()


def test_every_answer_that_is_shown_is_a_cell_with_output():
    found = answers()
    cells = {cell.id: cell for path in ALL for cell in read(path).cells if cell.cell_type == "code"}
    for questions in read_questions().values():
        for name, question in questions.items():
            named = [question["cell"]] if "cell" in question else found[name].cells
            if question["kind"] == "shown":
                assert any(cells[cell].outputs for cell in named), f"question {name}: {named}"


def test_the_glossary_stands_in_notebook_0():
    """Making it fails if a term does not occur in the notebook that it names."""
    table = glossary()
    assert output_of("00_assignment.ipynb", "Markdown(glossary())") == table
    terms = [line.split(" | ")[0].strip("| ") for line in table.splitlines()]
    assert len(terms) == len(set(terms))
    wanted = "lane horizon roll-out carry reset detach chain graph recipe candidate gate selector ppm".split()  # noqa: SIM905
    wanted += ["phase width", "hidden state", "cell state", "weight seed", "noise seed", "validation noise"]
    assert set(wanted) <= set(terms)


def test_a_term_that_does_not_occur_is_refused(monkeypatch):
    entry = {"where": "01", "means": "Nothing."}
    monkeypatch.setattr(contents, "read_yaml", lambda _: {"Group": {"flux capacitor": entry}})
    with pytest.raises(ValueError, match="'flux capacitor': must occur in the prose of notebook 01"):
        glossary()


def test_the_requirements_quote_the_published_metrics(tmp_path):
    table = requirements_table(METRICS)
    assert output_of("00_assignment.ipynb", "Markdown(requirements_table") == table
    mse = read_metrics(METRICS / "04_evaluation.json")["results"]["test"]["overall"]["mse"]
    assert f"| {mse:.1e} |" in table
    with pytest.raises(ValueError, match="the metrics files hold no such value"):
        requirements_table(tmp_path)


def test_links_lead_to_headings():
    for path in ALL:
        texts = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
        if path.stem.startswith("00"):
            texts += [question_index(), requirements_table(METRICS), glossary()]
        for name, anchor in re.findall(r"\]\((\w+)\.ipynb#([^ ]+?)\)(?=[ .,;|)]|$)", "\n".join(texts), re.MULTILINE):
            anchors = [section.anchor for section in contents.sections(NOTEBOOKS / f"{name}.ipynb")]
            assert unquote(anchor) in anchors, f"{path.stem}: {name}#{anchor}"


def test_the_overview_names_modules_that_exist():
    for name in MODULES:
        for module in name.split(", "):
            assert (ROOT / "lib" / f"{module}.py").exists()


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_exercises_check_themselves(path):
    """The reader's cell, the check of it, and a folded solution that passes the same check with names of its own."""
    cells = read(path).cells
    cells = cells[next(k for k, cell in enumerate(cells) if cell.source.startswith("## Exercises")) :]
    begins = [k for k, cell in enumerate(cells) if cell.source.startswith("**Exercise")]
    kinds = [re.match(r"\*\*Exercise \d\.\d · (\w+)", cells[k].source)[1] for k in begins]
    assert set(kinds) <= {"Recall", "Apply", "Code", "Research"}
    assert len(kinds) >= 3
    assert path.stem.startswith("00") or "Code" in kinds
    for k in begins:
        answer = cells[k + 1]
        verdict, solution = (answer, cells[k + 2]) if "judge" in answer.source else cells[k + 2 : k + 4]
        mine = re.match(r"(my_\w+) = None  # your answer", answer.source)[1]
        assert "no answer yet" in verdict.outputs[0].text, "the shipped notebook holds no answer"
        assert "solution" in solution.metadata.tags
        assert solution.metadata.jupyter.source_hidden
        assert mine not in solution.source, "a solution must not touch the reader's answer"
        assert re.search(r"^exercise \d\.\d: right$", solution.outputs[-1].text, re.MULTILINE) or any(
            "right" in output.get("text", "") for output in solution.outputs
        )


def test_the_student_copy_has_no_solutions(tmp_path):
    folder = student_copy(tmp_path / "student")
    assert (tmp_path / "student.zip").stat().st_size > 100_000
    for path in ALL:
        text = (folder / "notebooks" / path.name).read_text(encoding="utf-8")
        solutions = [cell for cell in read(path).cells if "solution" in cell.metadata.get("tags", [])]
        assert len(solutions) >= 3
        assert not [cell.source for cell in solutions if cell.source.splitlines()[0] in text]
        assert all(not cell.outputs for cell in nbformat.reads(text, as_version=4).cells if cell.cell_type == "code")
    targets = [line.split()[0] for line in make(folder, "help").stdout.splitlines()]
    assert targets == [
        "help",
        "env",
        "run",
        "lab",
        "clean",
        "test",
    ]
    run = [sys.executable, "-m", "lib", "run", "01", "--name", "student"]
    own = os.environ | {"PYTHONPATH": str(folder)}  # the copy's library, in its kernels too
    subprocess.run(run, cwd=folder, check=True, capture_output=True, env=own)
    tests = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        *(f"tests/test_{name}.py" for name in ("signals", "loader", "model")),
    ]
    subprocess.run(tests, cwd=folder, check=True, capture_output=True, env=own)
    assert (folder / "runs/student/01_signal_generation.ipynb").read_text(encoding="utf-8").count("no answer yet") == 6


def test_links_between_notebooks_lead_somewhere():
    for path in [*ALL, README]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_readme_quotes_the_published_metrics():
    text = README.read_text(encoding="utf-8")
    assert with_results(text) == text, "run make publish"
    before, after = text.split(BEGIN)[0], text.split("<!-- end of results -->")[1]
    assert not re.findall(r"\d\.\d+e|\de-\d", before + after), "a measured number outside of the generated table"


def test_published_metrics_meet_the_goals():
    evaluation = read_metrics(METRICS / "04_evaluation.json")["results"]
    assert evaluation["trained_by_this_run"]
    assert evaluation["test"]["overall"]["mse"] < 1e-5
    assert evaluation["gap"] < 0.1
    assert evaluation["worst_ppm"] < 10
    assert read_metrics(METRICS / "05_generalization.json")["results"]["worst_ratio"] < 1.05
    trained = read_metrics(REFERENCE / "extractors.json")["results"].values()
    for found in (*read_metrics(METRICS / "07_extraction.json")["results"]["goals"].values(), *trained):
        mean, early, late, hushed = found.values()
        assert mean < 1
        assert early < 1
        assert late < 1
        assert abs(hushed - 0.5) < 0.01


def test_published_numbers_stand_in_the_notebooks():
    evaluation = read_metrics(METRICS / "04_evaluation.json")["results"]
    text = (NOTEBOOKS / "04_evaluation.ipynb").read_text(encoding="utf-8")
    assert f"{evaluation['test']['overall']['mse']:.2e}" in text
    assert f"{evaluation['gap']:.2%}" in text


def test_the_table_of_machines_is_the_studys():
    results = read_metrics(machines.STUDY)["results"]
    text = README.read_text(encoding="utf-8")
    assert machines.with_table(text, results) == text
    for group in results.values():
        assert set(group["variants"]) <= set(machines.VARIANTS)
        assert len(group["variants"]) > 3
        for variant, found in group["variants"].items():
            assert list(found) == [path.stem for path in ALL]
            assert not [claims for notebook in found.values() for claims in notebook["claims"]], variant


def test_every_published_figure_is_complete():
    names = {path.stem for path in FIGURES.glob("*.png")}
    assert {"graph_1", "graph_2"} <= names
    assert {path.stem for path in FIGURES.iterdir()} == names
    for name in names:
        assert (FIGURES / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert b"</svg>" in (FIGURES / f"{name}.svg").read_bytes()
        assert len((FIGURES / f"{name}.txt").read_text(encoding="utf-8")) > 40


def test_reference_is_as_good_as_it_says():
    said = read_metrics(REFERENCE / "reference.json")["results"]
    measured = mse_by_noise_seed(load_model(), SignalSpec(), [TEST_SEED, *range(1000, 1003)])
    assert measured[0] == pytest.approx(said["test"]["overall"]["mse"], rel=0.01)
    assert measured[1:] == pytest.approx(said["unseen_mse"][:3], rel=0.01)
    assert measured[0] < 5e-7
    assert max(abs(ppm) for ppm in said["ppm"] + said["ppm_double"]) < 0.5


def test_studies_meet_the_goals():
    """What the recipe was made for."""
    goals = {"weight_seeds": 1e-5, "signals": 1e-4, "hidden_size": 1e-4}
    for name, goal in goals.items():
        study = read_metrics(REFERENCE / f"{name}.json")["results"]
        worst = max(study, key=lambda variant: study[variant]["test"]["overall"]["mse"])
        assert study[worst]["test"]["overall"]["mse"] < goal, worst
    for result in read_metrics(REFERENCE / "weight_seeds.json")["results"].values():
        assert max(result["unseen_mse"]) / result["train"]["overall"]["mse"] < 1.05


def test_the_log_of_the_search_can_be_read():
    tried = read_yaml(REFERENCE / "tried.yml")
    assert all(0 < run["validation_mse"] < 1 for run in tried["prototypes"])
    assert all(
        entry["outcome"] for name in ("after the recipe was fixed", "earlier and given up") for entry in tried[name]
    )
