"""Notebooks 02 to 09: results as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lib.signals import Array

METRICS = ("mse", "rmse", "mae", "r2", "correlation", "snr_db")
FORMATS = dict(zip(METRICS, (".1e", ".1e", ".1e", ".6f", ".6f", ".1f"), strict=True))
NAMES = ("MSE", "RMSE", "MAE", "R²", "correlation", "SNR (dB)")


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[object]], texts: int = 1) -> str:
    """A table whose first columns are texts, so many of them, and whose others are numbers, already written."""
    lines = [heads, ["---"] * texts + ["---:"] * (len(heads) - texts), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def above_rounding(value: float, form: str = ".0e", floor: float = 1e-9) -> str:
    """A number as text; below the floor it is rounding, which differs from one processor to another: "< 1e-09"."""
    return f"{value:{form}}" if abs(value) >= floor else f"< {floor:.0e}"


def ranged(values: Sequence[float] | Array, form: str = ".1e") -> str:
    """The median of several values, and their range."""
    low, middle, high = (f"{np.quantile(values, share):{form}}" for share in (0, 0.5, 1))
    return f"{middle} ({low} to {high})"


def metrics_table(scores: Mapping[str, Mapping[str, float]]) -> str:
    """All metrics, a row per frequency, of what `lib.evaluation.metrics_by_frequency` returns."""
    rows = [[name, *(format(row[m], FORMATS[m]) for m in METRICS)] for name, row in scores.items()]
    return markdown_table(["", *NAMES], rows)


def by_variant(results: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The results of a study over weight seeds, as a list for each variant."""
    found: dict[str, list[Any]] = {}
    for name, result in results.items():
        found.setdefault(name.split(", weight seed")[0], []).append(result)
    return found
