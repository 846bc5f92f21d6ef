"""Turn a finished run into what is committed: clean notebooks, figures, metrics and the README's table."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from lib.checkpoint import REFERENCE, write_atomically
from lib.lessons.figures import FILES
from lib.lessons.files import NOTEBOOKS, ROOT, files_in, find_notebooks, read_metrics
from lib.lessons.tables import markdown_table
from lib.run.notebooks import RUNS, failed_claims, parameters_of
from lib.settings import SettingsError

FIGURES = ROOT / "figures"
METRICS = NOTEBOOKS / "metrics"
README = ROOT / "README.md"
KINDS = (*FILES, "txt")  # of each figure
WIDGET = "application/vnd.jupyter.widget-view+json"
BEGIN, END = "<!-- results: made by `make publish` -->", "<!-- end of results -->"


def clean(notebook: NotebookNode) -> NotebookNode:
    """Drop what differs between two equal runs (injected parameters, times, versions) and what needs a kernel.

    Widgets are dead on a page. A `Shell` leaves a sentence that says so; a progress bar leaves nothing.
    """
    kept = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    for count, cell in enumerate((cell for cell in kept if cell.cell_type == "code"), start=1):
        cell.execution_count = count
        cell.outputs = [output for output in cell.outputs if _drop_widget(output)]
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
    for cell in kept:
        kept_metadata = {name: cell.metadata[name] for name in ("tags", "jupyter") if cell.metadata.get(name)}
        cell.metadata = nbformat.from_dict(kept_metadata)
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    language = {"language_info": {"name": "python"}}
    return nbformat.v4.new_notebook(cells=kept, metadata=metadata | language)


def _drop_widget(output: NotebookNode) -> bool:
    """Take the widget out of an output; is there still something to read?"""
    data = output.get("data", {})
    return data.pop(WIDGET, None) is None or "text/html" in data


def publish(name: str) -> None:
    """Refresh notebooks, figures, metrics and README from ``runs/<name>/``: all of them, or none if that fails.

    Raises:
        SettingsError: the run cannot be published, see `published`. OSError: a file cannot be written.
    """
    content = published(name)
    before = {path for folder in (FIGURES, METRICS) if folder.exists() for path in folder.iterdir() if path.is_file()}
    kept = {path: path.with_name(f".{path.name}.before") for path in {*content, *before} if path.exists()}
    try:
        for path, copy in kept.items():
            shutil.copy2(path, copy)
        try:
            for path, text in content.items():
                write_atomically(path, text)
            for path in before - set(content):
                path.unlink()
        except BaseException:
            for path in {*content, *before}:
                os.replace(kept[path], path) if path in kept else path.unlink(missing_ok=True)
            raise
    finally:
        for copy in kept.values():
            copy.unlink(missing_ok=True)


def published(name: str) -> dict[Path, bytes]:
    """What ``runs/<name>/`` would make of each file that is published; nothing is changed.

    Raises:
        SettingsError: the run does not exist, is not complete, had other parameters, executed other cells than the
            notebooks hold now, or holds a claim that failed; or what it would replace lies in its own folder.
    """
    folder = RUNS / name
    notebooks = find_notebooks()
    missing = [path.stem for path in notebooks if not (folder / path.name).exists()]
    missing += [kind for kind in ("figures", "metrics") if not (folder / kind).is_dir()]
    if missing:
        raise SettingsError(f"name = {name!r}: must be a finished run, but runs/{name} lacks {', '.join(missing)}")
    for place in (NOTEBOOKS, FIGURES, METRICS):
        if any(place.exists() and place.samefile(own) for own in (folder, folder / "figures", folder / "metrics")):
            raise SettingsError(f"name = {name!r}: must be another folder than {place}, which is replaced")
    content: dict[Path, bytes] = {}
    for path in notebooks:
        executed = _executed(name, path)
        content[path] = (nbformat.writes(clean(executed)) + "\n").encode()
        for figure, cell in figures_in(executed).items():
            for kind in KINDS:
                made = folder / "figures" / f"{figure}.{kind}"
                if not made.is_file():
                    told = f"{path.stem}, {place_of(executed, cell)} shows the figure {figure!r}"
                    raise SettingsError(f"name = {name!r}: must be a finished run, but {told}, and {made} is missing")
                content[FIGURES / made.name] = made.read_bytes()
    for made in files_in(folder / "metrics", "[0-9]*.json"):
        content[METRICS / made.name] = made.read_bytes()
    try:
        content[README] = with_results(README.read_text(encoding="utf-8"), folder / "metrics").encode()
    except (KeyError, ValueError, OSError) as error:
        raise SettingsError(f"name = {name!r}: its metrics do not hold what the README shows ({error!r})") from error
    return content


def _executed(name: str, notebook: Path) -> NotebookNode:
    """A notebook as a run has executed it; SettingsError if it cannot be published."""
    try:
        executed = nbformat.read(RUNS / name / notebook.name, as_version=4)
        used: dict[str, Any] = dict(executed.metadata.papermill.parameters)
    except Exception as error:  # a damaged file can fail anywhere inside the reader
        raise SettingsError(
            f"name = {name!r}: must be a run by `python -m lib run`, but its {notebook.stem} is not ({error!r})"
        ) from error
    if sources(clean(executed)) != sources(nbformat.read(notebook, as_version=4)):
        raise SettingsError(f"name = {name!r}: must be a run of the present notebooks, but {notebook.stem} has changed")
    if failed := failed_claims(RUNS / name / notebook.name):
        raise SettingsError(f"name = {name!r}: must be a run whose claims hold, but in {notebook.stem}, {failed[0]}")
    del used["run_dir"]
    if used and used != {key: parameters_of(notebook)[key] for key in used}:
        raise SettingsError(f"name = {name!r}: must be a run with default parameters, but {notebook.stem} had {used}")
    return executed


def place_of(notebook: NotebookNode, cell: NotebookNode) -> str:
    """Where a cell stands: its number, counted from 1, and how it begins."""
    number = next(number for number, other in enumerate(notebook.cells, start=1) if other is cell)
    return f"cell {number} ({cell.source.strip().partition(chr(10))[0][:60]!r})"


def sources(notebook: NotebookNode) -> list[str]:
    """What stands in the cells of a notebook."""
    return [cell.source for cell in notebook.cells]


def figures_in(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """The names of the figures that an executed notebook shows by `lib.lessons.figures.show`, each with its cell.

    Other pictures have no name and no files of their own: they stand in the notebook alone.
    """
    shown = [
        (output.get("metadata", {}).get("image/png", {}), cell)
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    ]
    return {about["name"]: cell for about, cell in shown if "name" in about}


def with_results(text: str, metrics: Path | None = None) -> str:
    """The README's text with its table of results made anew from these metrics, by default the published ones."""
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n{results_table(metrics)}{END}{rest.split(END)[1]}"


def results_table(metrics: Path | None = None) -> str:
    """The table of results, in Markdown, from a folder of metrics, by default the published ones."""
    metrics = metrics or METRICS
    trained = read_metrics(metrics / "04_evaluation.json")["results"]
    seeds = read_metrics(metrics / "05_generalization.json")["results"]
    studies = {name: read_metrics(REFERENCE / f"{name}.json")["results"] for name in ("weight_seeds", "signals")}
    worst = {name: max(r["test"]["overall"]["mse"] for r in study.values()) for name, study in studies.items()}
    worst_ppm = max(abs(ppm) for result in studies["weight_seeds"].values() for ppm in result["ppm_double"])
    sets = len({json.dumps(result["signal"]) for result in studies["signals"].values()})
    rows = [
        ("test MSE, noise seed 2, trained by `make run`", f"{trained['test']['overall']['mse']:.1e}"),
        ("the same, predicting zero", f"{trained['zero_mse']:.1e}"),
        ("training MSE, noise seed 1", f"{trained['train']['overall']['mse']:.1e}"),
        (
            "generalization gap (zero by construction: it cannot hear the noise)",
            f"{trained['gap']:.2%}",
        ),
        ("worst of the unseen noise seeds / training MSE (likewise)", f"{seeds['worst_ratio']:.3f}"),
        ("rate error of its clock, worst frequency, over 600 s of new noise", f"{trained['worst_ppm']:.1g} ppm"),
        (f"worst test MSE of {len(studies['weight_seeds'])} weight seeds", f"{worst['weight_seeds']:.1e}"),
        (f"worst rate error of the {len(studies['weight_seeds'])}", f"{worst_ppm:.1f} ppm"),
        (f"worst test MSE on {sets} other sets of signals, 3 weight seeds each", f"{worst['signals']:.1e}"),
        ("shipped reference checkpoint: test MSE, noise seed 2", f"{trained['reference']['test_mse']:.1e}"),
        ("shipped reference checkpoint: rate error, worst frequency", f"{trained['reference']['worst_ppm']:.1g} ppm"),
    ]
    for alpha, found in read_metrics(metrics / "07_extraction.json")["results"]["goals"].items():
        what = f"unknown start phases, phase noise of {alpha} turns: extractor / Kalman filter, mean error; last second"
        rows.append((what, f"{found['mean over the recording']:.2f}; {found['the last second']:.2f}"))
    return markdown_table(["measured one sample at a time, over all rows", ""], rows) + "\n"
