"""All studies by their names, and which of them other code has made than the present one."""

from __future__ import annotations

from collections.abc import Sequence

from lib.settings import SettingsError
from lib.studies import comparisons, hyperparameters, variants
from lib.studies.keep import Study, compute, is_current, stamp

TRIALS = Study(hyperparameters.hyperparameters, notebooks=(hyperparameters.TRIAL,))
STUDIES = {
    study.name: study
    for study in (
        *map(Study, (variants.weight_seeds, variants.signals, variants.hidden_size, variants.stages, variants.design)),
        *map(Study, (variants.signal_weights, variants.training_grid, variants.policies, variants.cuts)),
        *map(Study, (comparisons.lengths, comparisons.networks)),
        TRIALS,
    )
}
# Each has a command of its own, and also writes the networks that are shipped.
SHIPPED = {study.name: study for study in map(Study, (variants.reference, variants.extractors))}


def compute_all(names: Sequence[str] = ()) -> None:
    """Compute the named studies, or all.

    Raises:
        SettingsError: there is no such study.
    """
    for name in names:
        if name not in STUDIES:
            raise SettingsError(f"study = {name!r}: must be one of {', '.join(STUDIES)}")
    for name in names or STUDIES:
        compute(STUDIES[name])


def out_of_date() -> str:
    """Which committed results other code has made than the present one, and what computes them again; or nothing."""
    old = [name for name, study in STUDIES.items() if not is_current(study)]
    calls = [f"studies {' '.join(old)}"] if old else []
    calls += [name for name, study in SHIPPED.items() if not is_current(study)]
    told = "; ".join(f"`python -m lib {call}`" for call in calls)
    return told and f"the code has changed since some committed results were computed; anew they come by {told}"


def stamp_all() -> None:
    """Declare that all committed results come from the present code: after an edit that changes no number.

    ``python -c "from lib.studies.catalogue import stamp_all; stamp_all()"``
    """
    for study in (*STUDIES.values(), *SHIPPED.values()):
        stamp(study)
