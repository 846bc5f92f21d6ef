"""Notebooks 04 and 05: results as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lib.evaluation import METRICS

FORMATS = dict(zip(METRICS, (".1e", ".1e", ".1e", ".6f", ".6f", ".1f"), strict=True))
NAMES = ("MSE", "RMSE", "MAE", "R²", "correlation", "SNR (dB)")


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table whose first column is text and whose others are numbers, already written."""
    lines = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def metrics_table(scores: Mapping[str, Mapping[str, float]]) -> str:
    """All metrics, a row per frequency, of what `lib.evaluation.metrics_by_frequency` returns."""
    rows = [[name, *(format(row[m], FORMATS[m]) for m in METRICS)] for name, row in scores.items()]
    return markdown_table(["", *NAMES], rows)
