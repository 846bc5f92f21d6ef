"""What came out of a batch: one table of all runs, and a notebook that shows distributions and worst cases."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from lib.checkpoint import REFERENCE_CHECKPOINT, CheckpointError, load_checkpoint, load_model, write_atomically
from lib.evaluation import mse_by_noise_seed
from lib.lessons.files import read_metrics
from lib.model import StatefulLSTMExtractor
from lib.run.notebooks import execute
from lib.run.plan import Run
from lib.run.render import PAGES, single_page
from lib.run.worker import read_outcome
from lib.settings import SettingsError
from lib.signals import SignalSpec

AT_ONCE = 25  # noise seeds side by side in one call
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


def table_of_seeds(checkpoint: Path | None, noise_seeds: Sequence[Any]) -> pd.DataFrame:
    """The MSE of one network on many noise seeds, each once, side by side as lanes; no notebook is needed for that.

    Raises:
        SettingsError: a noise seed is not a whole number from 0 up.
        CheckpointError: the checkpoint holds no trained network of notebook 03.
    """
    for seed in noise_seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise SettingsError(f"noise_seeds = {seed!r}: must be whole numbers from 0 up to {2**32 - 1}")
    noise_seeds = list(dict.fromkeys(noise_seeds))
    torch.set_num_threads(1)
    model, spec = _network_of(checkpoint or REFERENCE_CHECKPOINT)
    parts = [noise_seeds[first : first + AT_ONCE] for first in range(0, len(noise_seeds), AT_ONCE)]
    errors = [mse_by_noise_seed(model, spec, part) for part in tqdm(parts, unit="call")]
    return pd.DataFrame({"noise_seed": noise_seeds, "mse": np.concatenate(errors)})


def _network_of(checkpoint: Path) -> tuple[StatefulLSTMExtractor, SignalSpec]:
    """A trained network and the signal that it was trained on; CheckpointError if they are not there."""
    try:
        spec = SignalSpec(**load_checkpoint(checkpoint)["signal"])
    except (KeyError, TypeError, SettingsError) as error:
        told = f"must be of a network that `train` has made, as in notebook 03, with its signal ({error!r})"
        raise CheckpointError(f"checkpoint = {checkpoint}: {told}") from error
    model = load_model(checkpoint)
    if model.config.n_frequencies != spec.n_frequencies:
        told = f"its network knows {model.config.n_frequencies} frequencies, but its signal has {spec.n_frequencies}"
        raise CheckpointError(f"checkpoint = {checkpoint}: {told}")
    return model, spec


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
