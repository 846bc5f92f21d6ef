"""A whole run of the series, as `make run` does it: the published figures and metrics must come out again."""

import re

import nbformat
import pytest
from matplotlib.testing.compare import compare_images

from lib.checkpoint import REFERENCE
from lib.lessons import files
from lib.lessons.figures import FILES
from lib.lessons.files import read_metrics
from lib.run import notebooks
from lib.run.publish import FIGURES, METRICS

SAME, ALIKE = 1.0, 12.0  # root mean square difference of the pixels, of 255
# The training ends in other bits on other machines: these figures may look a little different there.
TRAINED = {
    name
    for path in files.find_notebooks()
    for cell in nbformat.read(path, as_version=4).cells
    if "nbval-ignore-output" in cell.metadata.get("tags", [])
    for name in re.findall(r'"(\w+)",\s*run_dir', cell.source)
} | {"03_orbits"}  # its text is the same everywhere, and compared


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notebooks, "RUNS", runs)
        return notebooks.run("whole", {})


def test_the_same_files_are_written(folder):
    assert {path.name for path in (folder / "figures").iterdir()} == {path.name for path in FIGURES.iterdir()}
    assert {path.name for path in (folder / "metrics").iterdir()} == {path.name for path in METRICS.iterdir()}
    assert "graph_2" in TRAINED
    assert "01_components" not in TRAINED


@pytest.mark.parametrize("name", sorted(path.stem for path in FIGURES.glob("*.png")))
def test_figures_look_as_published(folder, name):
    for kind in FILES:
        assert (folder / "figures" / f"{name}.{kind}").stat().st_size > 1000
    published, fresh = (str(place / f"{name}.png") for place in (FIGURES, folder / "figures"))
    assert compare_images(published, fresh, tol=ALIKE if name in TRAINED else SAME) is None


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
