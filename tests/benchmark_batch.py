"""Throughput of batches against bare papermill: ``make benchmark`` (about half an hour; COUNT=20 for a short one)."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import papermill

from lib.lessons.tables import markdown_table

ROOT = Path(__file__).parents[1]
PARAMETERS = """
run_dir: str = ""  # folder of the run
test_noise_seed: int = 2  # noise seed
"""
BODY = """
from lib import SignalSpec, load_model, mse_by_noise_seed
from lib.lessons.files import write_metrics
from lib.lessons.parameters import begin_notebook

begin_notebook(globals())
(mse,) = mse_by_noise_seed(load_model(), SignalSpec(), [test_noise_seed])
write_metrics(f"{run_dir}/metrics/01_short.json", {"mse": mse}, {"test_noise_seed": test_noise_seed})
"""


def short_notebook(folder: Path) -> Path:
    """A run as short as a run of this library can be: import, load the reference, test it on one noise seed."""
    cells = [nbformat.v4.new_code_cell(PARAMETERS.strip(), metadata={"tags": ["parameters"]})]
    cells.append(nbformat.v4.new_code_cell(BODY.strip()))
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), folder / "short.ipynb")
    return folder / "short.ipynb"


def bare(notebook: Path, count: int) -> None:
    """Papermill in a loop, in this process: what a batch is measured against."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for seed in range(3000, 3000 + count):
        folder = notebook.parent / "bare" / str(seed)
        folder.mkdir(parents=True)
        papermill.execute_notebook(
            str(notebook), str(folder / "short.ipynb"), {"run_dir": str(folder), "test_noise_seed": seed},
            progress_bar=False, kernel_name="python3", cwd=str(folder), extra_arguments=["--IPKernelApp.log_level=40"],
        )  # fmt: skip


def batch(notebook: Path, count: int, workers: int) -> None:
    """The same runs as a batch, from its start to its summary."""
    command = [sys.executable, "-m", "lib", "batch", notebook, "-p", "test_noise_seed", f"3000..{2999 + count}"]
    command += ["--workers", str(workers), "--into", notebook.parent, "--name", f"batch-{workers}"]
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True, capture_output=True)


def main() -> None:
    """Print the table."""
    count = int(os.environ.get("COUNT", "200"))
    with tempfile.TemporaryDirectory() as folder:
        notebook = short_notebook(Path(folder))
        bare(notebook, 0)
        tasks = {
            "bare papermill, one after the other": lambda: bare(notebook, count),
            "batch, 1 worker": lambda: batch(notebook, count, 1),
            "batch, 2 workers": lambda: batch(notebook, count, 2),
        }
        rows: list[list[str]] = []
        first = 0.0
        for name, task in tasks.items():
            begun = time.monotonic()
            task()
            seconds = time.monotonic() - begun
            first = first or seconds
            rows.append([name, f"{seconds:.0f}", f"{60 * count / seconds:.1f}", f"{seconds / first:.2f}"])
        print(markdown_table([f"{count} runs", "seconds", "runs per minute", "time against bare papermill"], rows))


if __name__ == "__main__":
    main()
