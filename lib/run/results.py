"""What came out of a batch: one table of all runs, and a notebook that shows distributions and worst cases."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from lib.checkpoint import write_atomically
from lib.lessons.files import read_metrics
from lib.run.notebooks import execute
from lib.run.plan import Run
from lib.run.render import PAGES, single_page
from lib.run.worker import read_outcome

SUMMARY = PAGES / "summary.ipynb"


def numbers_in(values: dict[str, Any], prefix: str) -> dict[str, float]:
    """The single numbers in nested results, by their path: ``{"04_evaluation.test.overall.mse": …}``."""
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= numbers_in(value, f"{prefix}.{name}")
        elif isinstance(value, (int, float)):
            with suppress(OverflowError):
                found[f"{prefix}.{name}"] = float(value)
    return found


def _plain(value: Any) -> Any:
    """A parameter as a table can hold it: as it is, or as text."""
    fits = isinstance(value, (str, float)) or (isinstance(value, int) and abs(value) < 2**63)
    return value if fits else json.dumps(value)


def table_of(runs: Sequence[Run]) -> pd.DataFrame:
    """A row per run: folder, state, seconds, error, parameters, and every single number of its metrics."""
    rows = []
    for run in runs:
        status = read_outcome(run)
        row: dict[str, Any] = {"folder": run.folder.name, "state": status["state"]}
        row |= {"seconds": status.get("seconds"), "error": status.get("error", "")}
        row |= {name: _plain(value) for name, value in run.parameters.items()}
        for path in sorted((run.folder / "metrics").glob("*.json")) * (status["state"] == "finished"):
            row |= numbers_in(read_metrics(path)["results"], path.stem)
        rows.append(row)
    table = pd.DataFrame(rows)
    for name in table.select_dtypes(object):  # a column of several kinds: all as text
        table[name] = table[name].map(lambda value: value if isinstance(value, str) else json.dumps(value))
    return table


def write_table(table: pd.DataFrame, stem: Path) -> None:
    """Write a table as ``stem.csv`` and ``stem.parquet``, each whole or not at all."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_atomically(stem.with_suffix(".parquet"), buffer.getvalue())
    write_atomically(stem.with_suffix(".csv"), table.to_csv(index=False).encode())


def summarize(folder: Path, parameters: Sequence[str]) -> Path:
    """Execute the summary notebook on ``folder/runs.parquet`` and render it.

    Returns:
        The page, ``folder/summary.html``.
    """
    given = {"table": str(folder / "runs.parquet"), "parameters": ",".join(parameters)}
    return single_page(execute(SUMMARY, folder, given, progress_bar=False), folder / "summary.html")
