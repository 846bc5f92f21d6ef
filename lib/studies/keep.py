"""How a long study is kept: a finished job is not computed again, and a result says which code has made it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from lib.checkpoint import REFERENCE, CheckpointError, write_atomically
from lib.lessons.files import read_metrics, write_metrics
from lib.run.notebooks import RUNS, locked
from lib.settings import plain
from lib.studies.fingerprint import fingerprint

DIGITS = 7  # that are kept of a number: single precision has no more


class Study(NamedTuple):
    """What is computed once, into ``lib/reference/<name>.json``."""

    compute: Callable[[Keeper], dict[str, Any]]  # gets the results of its jobs from the keeper, and returns all
    notebooks: tuple[Path, ...] = ()  # that it executes

    @property
    def name(self) -> str:
        """That of the function."""
        return self.compute.__name__

    @property
    def path(self) -> Path:
        """Where its results are committed."""
        return REFERENCE / f"{self.name}.json"

    @property
    def code(self) -> str:
        """The fingerprint of the code that its numbers depend on."""
        return fingerprint([self.compute, *self.notebooks])


class Keeper:
    """It computes the jobs of a study, and takes those that are finished from their files."""

    def __init__(self, study: Study, bar: tqdm[Any]) -> None:
        """Keep the jobs under ``runs/studies``, and show in a bar which one is at work."""
        self.folder, self.bar = RUNS / "studies" / study.name, bar
        self.mark = {"study": study.name, "code": study.code}
        self.jobs = 0

    def __call__(self, name: str, job: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
        """The results of ``job(*arguments)``, rounded; ``name`` tells the job from all others of the study.

        What other code has made is computed anew.

        Raises:
            CheckpointError: the job's file is damaged, or belongs to another study or job.
        """
        path, mark = self.folder / f"{name}.json", self.mark | {"job": name}
        self.bar.set_postfix_str(name)
        if not path.exists() or _marked(path, mark)["code"] != mark["code"]:
            write_metrics(path, rounded(job(*arguments)), mark)
        self.jobs += 1
        self.bar.update()
        return read_metrics(path)["results"]


def _marked(path: Path, mark: dict[str, Any]) -> dict[str, Any]:
    """What a job's file says about itself."""
    try:
        found = read_metrics(path)["parameters"]
        if (found["study"], found["job"]) != (mark["study"], mark["job"]):
            raise ValueError(f"results of {found['study']}, {found['job']}")
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"job = {mark['job']!r}: its file {path} cannot be used ({error}); remove it") from error
    return found


def rounded(value: Any) -> Any:
    """Nested results with a few significant digits."""
    value = plain(value)
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(part) for part in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def compute(study: Study) -> None:
    """Compute a study and write its results; after an interruption the same call goes on from there.

    Raises:
        SettingsError: another process computes it at this moment.
        CheckpointError: what is kept of a job cannot be used.
    """
    last = _parameters(study).get("jobs")
    with locked(RUNS / "studies" / study.name), tqdm(desc=study.name, total=last, unit=" jobs") as bar:
        keep = Keeper(study, bar)
        results = study.compute(keep)
    write_metrics(study.path, rounded(results), {"code": keep.mark["code"], "jobs": keep.jobs})


def _parameters(study: Study) -> dict[str, Any]:
    try:
        return read_metrics(study.path)["parameters"]
    except (OSError, ValueError):  # not computed yet, or damaged
        return {}


def is_current(study: Study) -> bool:
    """Whether the committed results were made by the present code."""
    return _parameters(study).get("code") == study.code


def stamp(study: Study) -> None:
    """Declare that the committed results come from the present code: after an edit that changes no number.

    All else stays as it is, also the versions that made them.
    """
    content = json.loads(study.path.read_text(encoding="utf-8"))
    content["parameters"]["code"] = study.code
    write_atomically(study.path, (json.dumps(content, indent=2) + "\n").encode())
