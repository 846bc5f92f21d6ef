"""Small notebooks that tests write for themselves."""

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def write(path: Path, *cells: str | nbformat.NotebookNode, parameters: str = "run_dir: str = ''  # folder") -> Path:
    """A notebook with a cell of parameters and these cells, of which texts are code."""
    tagged = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    cells = [new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[tagged, *cells], metadata=KERNEL), path)
    return path
