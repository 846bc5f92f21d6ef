"""All studies by their names, and which of them other code has made than the present one."""

from __future__ import annotations

from collections.abc import Sequence

from lib.settings import SettingsError
from lib.studies import comparisons, hyperparameters, variants
from lib.studies.keep import Study, compute, is_current, stamp

STUDIES = {
    study.name: study
    for study in (
        Study("weight_seeds", variants.weight_seeds),
        Study("signals", variants.signals),
        Study("hidden_size", variants.hidden_size),
        Study("stages", variants.stages),
        Study("design", variants.design),
        Study("signal_weights", variants.signal_weights),
        Study("training_grid", variants.training_grid),
        Study("policies", variants.policies),
        Study("cuts", variants.cuts),
        Study("lengths", comparisons.lengths),
        Study("networks", comparisons.networks),
        Study("hyperparameters", hyperparameters.hyperparameters, notebooks=(hyperparameters.TRIAL,)),
    )
}
SHIPPED = {  # they also write the networks that are shipped
    "reference": Study("reference", variants.reference, "reference"),
    "extractors": Study("extractors", variants.extractors, "extractors"),
}


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
