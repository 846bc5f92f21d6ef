"""The study of notebook 9: a batch of trials over the committed grid, gathered into one file."""

from __future__ import annotations

import ast
import hashlib
import inspect
import io
import tokenize
from collections.abc import Sequence
from typing import Any

import nbformat

import lib
from lib.checkpoint import REFERENCE
from lib.lessons.files import read_metrics, write_metrics
from lib.lessons.n09_tuning import BASE, choose, name_of, read_trials
from lib.model import ModelConfig
from lib.recipe import TrainingConfig
from lib.run import plan
from lib.run.notebooks import RUNS, NotebookFailedError, locked
from lib.run.plan import Run
from lib.run.render import PAGES
from lib.settings import SettingsError
from lib.studies.variants import OTHERS, STUDIES, Variant, measure, run_studies

STUDY = "hyperparameters"
NAMES = (*STUDIES, *OTHERS, STUDY)
GRID, TRIAL = REFERENCE / f"{STUDY}.yml", PAGES / "trial.ipynb"
CODE = (lib.signals, lib.loader, lib.model, lib.settings, lib.recipe, lib.training)
FRESH_SEEDS = range(5, 10)  # weight seeds that have not helped to choose
RATES = ("learning_rate", "phase_step")
DRAWN = ("weight_seed", "train_noise_seed")


def without_words(source: str) -> str:
    """Source code without comments and docstrings, with single spaces."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            told = node.body[0]
            lines[told.lineno - 1 : told.end_lineno] = [""] * len(lines[told.lineno - 1 : told.end_lineno])
    return " ".join(" ".join(lines).split())


def code_of_trials() -> str:
    """A fingerprint of the code that a trial's numbers depend on; comments and docstrings do not count."""
    cells = [cell.source for cell in nbformat.read(TRIAL, as_version=4).cells if cell.cell_type == "code"]
    sources = [*map(inspect.getsource, CODE), *cells]
    return hashlib.sha256("\n".join(map(without_words, sources)).encode()).hexdigest()[:16]


def planned() -> list[Run]:
    """The runs of the committed grid."""
    return plan.plan([str(TRIAL)], plan.expand(*plan.read_plan(GRID)), RUNS / STUDY)


def settings_of(runs: Sequence[Run]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What all trials share, and what each has of its own that is neither drawn nor the recipe's default."""
    first, *others = (run.parameters for run in runs)
    common = {k: v for k, v in first.items() if k not in DRAWN and all(other[k] == v for other in others)}
    usual = dict(TrainingConfig()) | dict(ModelConfig()) | {"rate_factor": 1.0} | common
    own = [{k: v for k, v in run.parameters.items() if k not in DRAWN and v != usual[k]} for run in runs]
    return common, own


def gathered(runs: Sequence[Run]) -> dict[str, Any]:
    """The results of finished runs: what is common to all, each trial, and the point that is chosen.

    Raises:
        NotebookFailedError: a trial has failed.
    """
    common, settings = settings_of(runs)
    trials = []
    for run, own in zip(runs, settings, strict=True):
        path = run.folder / "metrics" / "trial.json"
        if not path.exists():
            raise NotebookFailedError(f"{run.folder.name} has failed: see its log")
        drawn = {name: run.parameters[name] for name in DRAWN}
        trials.append({"settings": own} | drawn | read_metrics(path)["results"])
    results = {"common": common, "trials": trials}
    return results | {"chosen": choose(read_trials(results))}


def run_trials() -> None:
    """Execute the batch, confirm the chosen point, and write ``lib/reference/hyperparameters.json``.

    Raises:
        KeyboardInterrupt: it was stopped; the same call goes on from there.
        NotebookFailedError: a trial has failed.
    """
    from dask.system import CPU_COUNT  # which no other study needs

    from lib.run import batch

    runs, folder = planned(), RUNS / STUDY
    with locked(folder):
        if not batch.run_batch(runs, folder, CPU_COUNT, "", limit=3600.0):
            raise KeyboardInterrupt
    write_results(gathered(runs))


def run_all(names: Sequence[str] = ()) -> None:
    """Compute the named studies, or all, this one among them.

    Raises:
        SettingsError: there is no such study.
    """
    for name in names:
        if name not in NAMES:
            raise SettingsError(f"study = {name!r}: must be one of {', '.join(NAMES)}")
    for name in names or NAMES:
        if name == STUDY:
            run_trials()
        else:
            run_studies([name])


def write_results(results: dict[str, Any]) -> None:
    """Train the chosen point once more, by the full recipe, if it is another than the shipped one, and write all."""
    if results["chosen"] != BASE:
        point = next(trial for trial in read_trials(results) if trial.point == results["chosen"])
        results["confirmed"] = confirm(point.settings)
    told = {"command": f"python -m lib studies {STUDY}", "code": code_of_trials()}
    write_metrics(REFERENCE / f"{STUDY}.json", results, told)


def confirm(settings: Any) -> dict[str, Any]:
    """Train a point by the full recipe from weight seeds that have not helped to choose, and read the test noise."""
    known = [{k: v for k, v in settings.items() if k in kind.model_fields} for kind in (TrainingConfig, ModelConfig)]
    training, shape = TrainingConfig(**known[0]), ModelConfig(**known[1])
    factor = settings.get("rate_factor", 1.0)
    training = training.but(**{name: factor * getattr(training, name) for name in RATES})
    return {
        f"weight seed {seed}": measure(
            STUDY, f"{name_of(settings)}-{seed}", Variant(training.but(weight_seed=seed), shape)
        )
        for seed in FRESH_SEEDS
    }
