"""A whole run of the series, as `make run` does it: claims hold, and outputs, figures and metrics come out again."""

import re
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest
from judging import compare, differences
from matplotlib.testing.compare import compare_images

from lib.checkpoint import REFERENCE
from lib.lessons import files
from lib.lessons.figures import FILES
from lib.lessons.files import read_metrics
from lib.run import notebooks
from lib.run.notebooks import NotebookFailedError, failed_claims
from lib.run.publish import FIGURES, METRICS

pytestmark = pytest.mark.series
ALL = files.find_notebooks()
SAME = 1.0  # root mean square difference of the pixels, of 255
# What is learnt ends in other numbers on another processor: of these figures, the text is compared, with its tolerance.
LEARNT = {
    name
    for path in ALL
    for cell in nbformat.read(path, as_version=4).cells
    if any(tag.startswith(("nbval-ignore", "numbers-within")) for tag in cell.metadata.get("tags", []))
    for name in re.findall(r'"(\w+)",\s*run_dir', cell.source)
}


@pytest.fixture(scope="module")
def folder(request, tmp_path_factory) -> Path:
    """The series, executed once for all tests of this file; or the folder that ``--executed`` names."""
    if given := request.config.getoption("--executed"):
        return Path(given)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notebooks, "RUNS", tmp_path_factory.mktemp("runs"))
        with suppress(NotebookFailedError):  # each notebook is judged below
            notebooks.run("whole", {})
        return notebooks.RUNS / "whole"


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_claims_hold(folder, path):
    assert (folder / path.name).exists(), "it did not run to its end"
    assert not failed_claims(folder / path.name)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_outputs_are_as_committed(folder, path):
    told = [f"In[{cell}]: {words}" for cell, words in differences(path, folder / path.name)]
    assert not told, "\n".join(told)


def output(text: str) -> list:
    return [nbformat.v4.new_output("stream", name="stdout", text=text)]


@pytest.mark.parametrize(
    ("committed", "here", "tag", "same"),
    [
        ("MSE 1.0e-07", "MSE 1.0e-07", "", True),
        ("MSE 1.0e-07", "MSE 1.1e-07", "", False),
        ("MSE 1.0e-07", "MSE 9.0e-07", "numbers-within-10", True),
        ("MSE 1.0e-07", "MSE 1.1e-06", "numbers-within-10", False),
        ("MSE 1.0e-07", "RMSE 1.0e-07", "numbers-within-10", False),
        ("MSE 1.0e-07", "MSE 1.0e-07, 2", "numbers-within-10", False),
        ("+0.1 ppm", "-0.1 ppm", "numbers-within-10", False),
        ("+0.1 ppm", "-0.1 ppm", "numbers-within-10-or-0.5", True),
        ("1,286 updates", "1,310 updates", "numbers-within-2", True),
        ("1,286 updates", "nan updates", "numbers-within-2", False),
    ],
)
def test_the_judge_of_outputs_can_refuse(committed, here, tag, same):
    assert (compare(output(committed), output(here), [tag]) == "") == same


def test_the_same_files_are_written(folder):
    assert {path.name for path in (folder / "figures").iterdir()} == {path.name for path in FIGURES.iterdir()}
    assert {path.name for path in (folder / "metrics").iterdir()} == {path.name for path in METRICS.iterdir()}
    assert "graph_2" in LEARNT
    assert "01_components" not in LEARNT


@pytest.mark.parametrize("name", sorted(path.stem for path in FIGURES.glob("*.png")))
def test_figures_look_as_published(folder, name):
    for kind in FILES:
        assert (folder / "figures" / f"{name}.{kind}").stat().st_size > 1000
    if name not in LEARNT:
        published, fresh = (str(place / f"{name}.png") for place in (FIGURES, folder / "figures"))
        assert compare_images(published, fresh, tol=SAME) is None


STUDIED = {"weight_seeds": "as shipped, weight seed 0", "training_grid": "as shipped, weight seed 0, training noise 1"}


def test_metrics_are_as_published(folder):
    def overall(place):
        found = {path.stem: read_metrics(path)["results"] for path in place.glob("*.json")}
        return found["04_evaluation"]["test"]["overall"]["mse"], found["05_generalization"]["worst_ratio"]

    (fresh_mse, fresh_ratio), (mse, ratio) = overall(folder / "metrics"), overall(METRICS)
    assert mse / 10 < fresh_mse < 10 * mse
    assert fresh_ratio == pytest.approx(ratio, abs=0.02)
    for study, variant in STUDIED.items():  # the same training
        committed = read_metrics(REFERENCE / f"{study}.json")["results"][variant]["test"]["overall"]["mse"]
        assert committed / 10 < fresh_mse < 10 * committed
