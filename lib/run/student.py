"""The copy that students get: everything that runs, without solutions and without outputs to peep at."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from lib.run.notebooks import ROOT, find_notebooks
from lib.run.render import BUILD, PAGES

KEPT = ("lib", "tests", "notebooks", "pyproject.toml", "environment.yml", "Makefile", ".gitignore")


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """A notebook without its solutions, not yet executed."""
    copy = nbformat.from_dict(notebook)
    copy.cells = [cell for cell in copy.cells if "solution" not in cell.metadata.get("tags", [])]
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return copy


def student_copy(folder: Path = BUILD / "student") -> Path:
    """Write the students' copy into ``folder``, and a zip archive of it beside.

    Returns:
        The folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".student."))
    try:
        fresh.chmod(0o755)
        for name in KEPT:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, fresh / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
            else:
                shutil.copyfile(ROOT / name, fresh / name)
        shutil.copyfile(PAGES / "student.md", fresh / "README.md")
        for path in find_notebooks():
            stripped = without_solutions(nbformat.read(path, as_version=4))
            nbformat.write(stripped, fresh / "notebooks" / path.name)
        shutil.make_archive(str(folder), "zip", fresh)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder
