"""The comparisons of notebook 08: every candidate with its own best learning rate, then with more weight seeds."""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from lib.checkpoint import REFERENCE
from lib.lessons import n08_tasks as comparison
from lib.lessons import n08_windows as windows
from lib.lessons.files import read_metrics, write_metrics

log = logging.getLogger(__name__)
WEIGHT_SEEDS = (0, 1, 2)


def tuned(
    name: str, measure: Callable[[float, int], dict[str, Any]], rates: Sequence[float], folder: Path, code: str
) -> list[dict[str, Any]]:
    """The measures of a candidate: each rate with the first weight seed, then the best rate with the other seeds.

    Args:
        name: of the candidate.
        measure: trains with a rate and a weight seed; its result holds ``validation_mse``, by which the rate is chosen.
        rates: the learning rates that are tried.
        folder: where each result is kept, so that a killed call goes on.
        code: what the results depend on; one that was made by other code is made anew.
    """

    def kept(rate: float, seed: int) -> dict[str, Any]:
        path = folder / f"{name}, rate {rate:g}, weight seed {seed}.json"
        if not path.exists() or read_metrics(path)["parameters"]["code"] != code:
            write_metrics(path, measure(rate, seed), {"code": code})
        found = read_metrics(path)["results"]
        log.info("%s: validation MSE %.2e", path.stem, found["validation_mse"])
        return found

    first = [kept(rate, WEIGHT_SEEDS[0]) for rate in rates]
    best = min(first, key=lambda found: float(found["validation_mse"]))
    return [*first, *(kept(best["rate"], seed) for seed in WEIGHT_SEEDS[1:])]


def short(value: Any) -> Any:
    """Nested results with five significant digits: more would only differ between machines."""
    if isinstance(value, dict):
        return {name: short(part) for name, part in value.items()}
    if isinstance(value, list):
        return [short(part) for part in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def digest(*modules: ModuleType) -> str:
    """A fingerprint of these modules' code."""
    return hashlib.sha256("".join(map(inspect.getsource, modules)).encode()).hexdigest()[:16]


def lengths(folder: Path) -> None:
    """Train an LSTM on windows of every length, with and without a state, into ``lib/reference/lengths.json``."""
    results, code = {}, digest(comparison, windows)
    for window in windows.ALL:
        measure = partial(windows.measure, window)
        results[window.name] = short(tuned(window.name, measure, window.rates, folder / "lengths", code))
    write_metrics(REFERENCE / "lengths.json", results, {"command": "python -m lib studies lengths"})
