"""The study of notebook 9: a batch of trials over the committed grid, gathered into one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lib.checkpoint import REFERENCE
from lib.lessons.files import read_metrics
from lib.lessons.n09_tuning import BASE, choose, name_of, read_trials
from lib.model import ModelConfig
from lib.recipe import TrainingConfig
from lib.run import plan
from lib.run.notebooks import RUNS, NotebookFailedError, locked
from lib.run.plan import Run
from lib.run.render import PAGES
from lib.studies.keep import Keeper
from lib.studies.variants import Variant, measure

GRID, TRIAL = REFERENCE / "hyperparameters.yml", PAGES / "trial.ipynb"
FRESH_SEEDS = range(5, 10)  # weight seeds that have not helped to choose
DRAWN = ("weight_seed", "train_noise_seed")


def planned() -> list[Run]:
    """The runs of the committed grid."""
    return plan.plan([str(TRIAL)], plan.expand(*plan.read_plan(GRID)), RUNS / "hyperparameters")


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


def confirmed(settings: Mapping[str, Any]) -> Variant:
    """A point with the full recipe in place of the short one."""
    known = [{k: v for k, v in settings.items() if k in kind.model_fields} for kind in (TrainingConfig, ModelConfig)]
    training, factor = TrainingConfig(**known[0]), settings.get("rate_factor", 1.0)
    rates = {name: factor * getattr(training, name) for name in ("learning_rate", "phase_step")}
    return Variant(training.but(**rates), ModelConfig(**known[1]))


def hyperparameters(keep: Keeper) -> dict[str, Any]:
    """Execute the batch, and train the chosen point by the full recipe, if it is another than the shipped one.

    The latter from weight seeds that have not helped to choose; there the test noise is read.

    Raises:
        KeyboardInterrupt: the batch was stopped; the same call goes on from there.
        NotebookFailedError: a trial has failed.
    """
    from dask.system import CPU_COUNT  # which no other study needs

    from lib.run import batch

    runs, folder = planned(), RUNS / "hyperparameters"
    with locked(folder):
        if not batch.run_batch(runs, folder, CPU_COUNT, "", limit=3600.0):
            raise KeyboardInterrupt
    results = gathered(runs)
    if results["chosen"] != BASE:
        point = next(trial for trial in read_trials(results) if trial.point == results["chosen"])
        results["confirmed"] = {}
        for seed in FRESH_SEEDS:
            variant, name = confirmed(point.settings), f"{name_of(point.settings)}, weight seed {seed}"
            variant = variant._replace(training=variant.training.but(weight_seed=seed))
            found = keep(name, measure, variant, keep.folder / f"{name}.pt", "test", "clock")
            results["confirmed"][f"weight seed {seed}"] = found
    return results
