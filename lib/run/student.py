"""The copy that students get: everything that runs, without solutions and without outputs to peep at."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from lib.checkpoint import write_atomically
from lib.lessons.files import NOTEBOOKS, ROOT, files_in, find_notebooks
from lib.run.render import BUILD, PAGES, replaced

KEPT = ("pyproject.toml", "constraints.txt", "environment.yml", ".gitignore")
BESIDE = (".yml", ".toml", ".png", ".jpg", ".jpeg", ".gif", ".svg")  # what lies beside the notebooks, pictures too
TARGETS = ("help", "env", "run", "lab", "clean")  # of the Makefile; its test is the students' own
TESTED = ("signals", "loader", "model", "training", "evaluation", "instruments")
TESTS = ("conftest", *(f"test_{name}" for name in TESTED))


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """A notebook without its solutions, not yet executed."""
    copy = nbformat.from_dict(notebook)
    copy.cells = [cell for cell in copy.cells if "solution" not in cell.metadata.get("tags", [])]
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return copy


def student_makefile() -> str:
    """The Makefile with the targets that work in the copy."""
    parts = (ROOT / "Makefile").read_text(encoding="utf-8").split("\n\n")
    dropped = re.compile(rf"(?!{'|'.join(TARGETS)})[a-z]+: |\.PHONY")
    own = (PAGES / "student.mk").read_text(encoding="utf-8").strip()
    kept = [part.strip() for part in parts if not dropped.match(part)]
    return "\n\n".join([f".PHONY: {' '.join(TARGETS)} test", *kept, own]) + "\n"


def student_copy(folder: Path = BUILD / "student") -> Path:
    """Write the students' copy into ``folder``, and a zip archive of it beside; each appears only when it is whole.

    Returns:
        The folder.
    """
    with replaced(folder) as fresh:
        (fresh / "Makefile").write_text(student_makefile(), encoding="utf-8", newline="\n")
        sources = {ROOT / name: name for name in KEPT} | {PAGES / "student.md": "README.md"}
        sources |= {ROOT / "tests" / f"{name}.py": f"tests/{name}.py" for name in TESTS}
        sources |= {path: f"lib/{path.relative_to(ROOT / 'lib')}" for path in files_in(ROOT / "lib", "**/*")}
        sources |= {path: f"notebooks/{path.name}" for path in files_in(NOTEBOOKS, "*") if path.suffix in BESIDE}
        sources |= {path: f"notebooks/metrics/{path.name}" for path in files_in(NOTEBOOKS / "metrics", "*")}
        for source, name in sources.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, fresh / name)
        for path in find_notebooks():
            stripped = without_solutions(nbformat.read(path, as_version=4))
            nbformat.write(stripped, fresh / "notebooks" / path.name)
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            archive = shutil.make_archive(str(Path(place, folder.name)), "zip", fresh)
            write_atomically(folder.with_suffix(".zip"), Path(archive).read_bytes())
    return folder
