"""Turn a finished run into what is committed: clean notebooks, figures, metrics and the README's table."""

from __future__ import annotations

import json

import nbformat
from nbformat import NotebookNode

from lib.checkpoint import REFERENCE, write_atomically
from lib.lessons.figures import FILES
from lib.lessons.files import NOTEBOOKS, ROOT, find_notebooks, read_metrics
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
    """Refresh notebooks, figures, metrics and README from ``runs/<name>/``.

    Raises:
        SettingsError: the run does not exist, is not complete, had other parameters, executed other cells than the
            notebooks hold now, or holds a claim that failed; nothing has been changed then.
    """
    folder = RUNS / name
    notebooks = find_notebooks()
    missing = [path.stem for path in notebooks if not (folder / path.name).exists()]
    missing += [kind for kind in ("figures", "metrics") if not (folder / kind).is_dir()]
    if missing:
        raise SettingsError(f"name = {name!r}: must be a finished run, but runs/{name} lacks {', '.join(missing)}")
    runs = {path: nbformat.read(folder / path.name, as_version=4) for path in notebooks}
    for path, executed in runs.items():
        if sources(clean(executed)) != sources(nbformat.read(path, as_version=4)):
            raise SettingsError(f"name = {name!r}: must be a run of the present notebooks, but {path.stem} has changed")
        used = {key: value for key, value in executed.metadata.papermill.parameters.items() if key != "run_dir"}
        if failed := failed_claims(folder / path.name):
            raise SettingsError(f"name = {name!r}: must be a run whose claims hold, but in {path.stem}, {failed[0]}")
        if used and used != {key: parameters_of(path)[key] for key in used}:
            raise SettingsError(f"name = {name!r}: must be a run with default parameters, but {path.stem} had {used}")
    for path, executed in runs.items():
        write_atomically(path, (nbformat.writes(clean(executed)) + "\n").encode())
    names = {name for executed in runs.values() for name in figures_in(executed)}
    kept = {FIGURES / f"{name}.{kind}" for name in names for kind in KINDS}
    kept |= {METRICS / path.name for path in (folder / "metrics").glob("[0-9]*.json")}
    for target in kept:
        write_atomically(target, (folder / target.parent.name / target.name).read_bytes())
    for target in {*FIGURES.iterdir(), *METRICS.iterdir()} - kept:
        target.unlink()
    write_atomically(README, with_results(README.read_text(encoding="utf-8")).encode())


def sources(notebook: NotebookNode) -> list[str]:
    """What stands in the cells of a notebook."""
    return [cell.source for cell in notebook.cells]


def figures_in(notebook: NotebookNode) -> set[str]:
    """The names of the figures that an executed notebook shows."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return {output.metadata["image/png"]["name"] for output in outputs if "image/png" in output.get("data", {})}


def with_results(text: str) -> str:
    """The README's text with its table of results made anew from the published metrics."""
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n{results_table()}{END}{rest.split(END)[1]}"


def results_table() -> str:
    """The table of results, in Markdown, from the published metrics alone."""
    trained = read_metrics(METRICS / "04_evaluation.json")["results"]
    seeds = read_metrics(METRICS / "05_generalization.json")["results"]
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
    for alpha, found in read_metrics(METRICS / "07_extraction.json")["results"]["goals"].items():
        what = f"unknown start phases, phase noise of {alpha} turns: extractor / Kalman filter, mean error; last second"
        rows.append((what, f"{found['mean over the recording']:.2f}; {found['the last second']:.2f}"))
    lines = ["| measured one sample at a time, over all rows | |", "| --- | ---: |"]
    return "\n".join(lines + [f"| {what} | {value} |" for what, value in rows]) + "\n"
