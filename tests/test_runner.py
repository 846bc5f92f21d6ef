import logging
import subprocess
import sys

import nbformat
import pytest

from lib import SettingsError
from lib.__main__ import given_parameters, parse
from lib.checkpoint import REFERENCE_CHECKPOINT, save_checkpoint
from lib.lessons import files
from lib.lessons.claims import MARK
from lib.lessons.figures import Picture, panels, show
from lib.lessons.parameters import NotebookParameters, begin_notebook
from lib.run import engine, notebooks
from lib.run.publish import clean

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder of notebooks of its own: one that works, one that raises, and one with a claim that fails."""
    source = tmp_path / "notebooks"
    source.mkdir()
    bodies = {
        "01_good": "open(run_dir + '/made', 'w', encoding='utf-8').write(str(weight_seed))",
        "02_bad": "raise RuntimeError('boom')",
        "03_doubtful": "assert 1 < weight_seed\nopen(run_dir + '/made', 'w', encoding='utf-8').write('on')",
    }
    for name, body in bodies.items():
        cells = [
            nbformat.v4.new_code_cell(
                "run_dir: str = ''  # folder\nweight_seed: int = 0  # seed", metadata={"tags": ["parameters"]}
            ),
            nbformat.v4.new_code_cell(
                "from lib.lessons.parameters import begin_notebook\n"
                "begin_notebook(run_dir=run_dir, weight_seed=weight_seed)"
            ),
            nbformat.v4.new_code_cell(body),
        ]
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), source / f"{name}.ipynb")
    monkeypatch.setattr(files, "NOTEBOOKS", source)
    monkeypatch.setattr(notebooks, "RUNS", tmp_path / "runs")
    return tmp_path


def test_a_run_writes_into_its_folder_only(tiny):
    before = (tiny / "notebooks" / "01_good.ipynb").read_bytes()
    folder = notebooks.run("a", {"weight_seed": 7}, ["01"])
    assert (folder / "made").read_text(encoding="utf-8") == "7"
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "01_good.ipynb", "made", "run.log"]
    assert (tiny / "notebooks" / "01_good.ipynb").read_bytes() == before


def test_a_failing_notebook_keeps_nothing_from_the_reader(tiny):
    with pytest.raises(notebooks.NotebookFailedError, match="2 of 3 notebooks failed") as told:
        notebooks.run("b", {})
    assert "02_bad, 02_bad failed, see" in str(told.value)
    assert "RuntimeError: boom" in str(told.value)
    assert "03_doubtful, In[4]: This claim does not hold here: 1 < weight_seed; weight_seed is 0" in str(told.value)
    folder = tiny / "runs" / "b"
    assert (folder / "01_good.ipynb").exists()
    assert (folder / "02_bad.failed.ipynb").exists()
    assert not (folder / "02_bad.ipynb").exists()
    assert (folder / "made").read_text(encoding="utf-8") == "on", "the cell goes on behind its claim"
    assert notebooks.failed_claims(folder / "01_good.ipynb") == []
    (folder / "metrics").mkdir()
    (folder / "metrics" / "03_doubtful.json").touch()
    assert notebooks.run("b", {"weight_seed": 2}, ["03"])
    assert not (folder / "metrics" / "03_doubtful.json").exists(), "of a run before"


def test_bad_parameters_and_names_are_refused_before_a_kernel_starts(tiny, monkeypatch):
    monkeypatch.setattr(engine.papermill, "execute_notebook", None)  # would fail if it were called
    for given in ({"weight_sed": 1}, {"run_dir": "elsewhere"}):
        with pytest.raises(SettingsError, match=r"unknown parameter .*permitted.*weight_seed"):
            notebooks.run("c", given)
    for value in (-1, 1.5, "one", True):
        with pytest.raises(SettingsError, match=f"weight_seed = {value!r}: "):
            notebooks.run("c", {"weight_seed": value})
    for name in ("", "../up", "a/b", ".hidden", "a b", "$(x)", "a.", "a..", "."):
        with pytest.raises(SettingsError, match=r"name = .*not starting or ending with"):
            notebooks.run(name, {})
    assert not (tiny / "runs").exists()
    for name in ("a", "a.b", "1-_", "a" * 100):
        notebooks.check_name(name)


def test_unknown_notebooks_are_refused(tiny):
    with pytest.raises(SettingsError, match=r"'09': must be one of 01_good, 02_bad, 03_doubtful"):
        notebooks.run("d", {}, ["09"])


def test_every_declared_parameter_is_known_and_has_its_default():
    defaults = NotebookParameters().model_dump(exclude={"given"})
    for path in files.find_notebooks():
        declared = NotebookParameters(**notebooks.parameters_of(path))
        assert declared.model_dump(exclude={"given"}) == defaults, path.stem


def test_the_notebooks_own_check(tmp_path):
    with pytest.raises(SettingsError, match=r"unknown parameter 'weigth_seed'.*permitted: .*weight_seed"):
        begin_notebook(weigth_seed=1)
    with pytest.raises(SettingsError, match=r"test_noise_seed = 1005: must be none of 1000 to 1009"):
        begin_notebook(test_noise_seed=1005, unseen_seeds=10)
    assert begin_notebook(train_noise_seed=2).train_noise_seed == 2  # this notebook has no test noise
    variables = {"run_dir": "", "growth": 1.5, "other": 1}
    assert begin_notebook(variables).training.growth == 1.5
    variables |= {"growth": "of a later cell", "frequencies": "too"}
    with pytest.raises(SettingsError, match="growth = 'of a later cell'"):
        begin_notebook(variables)
    assert begin_notebook(variables | {"growth": 2.0}).given == {"growth": 2.0}
    begin_notebook(run_dir=str(tmp_path / "r"))
    logging.getLogger("lib.training").info("a line")
    assert "a line" in (tmp_path / "r" / "run.log").read_text(encoding="utf-8")
    logging.basicConfig(force=True)


def test_a_training_that_was_broken_off_is_not_the_runs_network(tmp_path):
    parameters = NotebookParameters(run_dir=str(tmp_path))
    for stage, used in {"grow": REFERENCE_CHECKPOINT, "done": parameters.own_checkpoint}.items():
        save_checkpoint(parameters.own_checkpoint, {"progress": {"stage": stage}})
        assert parameters.checkpoint == used


def test_command_line_parameters(tmp_path):
    file = tmp_path / "p.yml"
    file.write_text("weight_seed: 4\nhidden_size: 16\n", encoding="utf-8")
    options = parse(["run", "03", "-f", str(file), "-p", "weight_seed", "5"])
    assert given_parameters(options) == {"weight_seed": 5, "hidden_size": 16}
    file.write_text("- just\n- a list\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="name: value"):
        given_parameters(parse(["run", "-f", str(file)]))
    with pytest.raises(SettingsError, match=r"weight_seed = '\['"):
        given_parameters(parse(["run", "-p", "weight_seed", "["]))
    with pytest.raises(SettingsError, match="weight_seed = '2': has been given a value already"):
        given_parameters(parse(["run", "-p", "weight_seed", "1", "-p", "weight_seed", "2"]))
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="cannot be read as YAML"):
        given_parameters(parse(["run", "-f", str(file)]))
    with pytest.raises(SettingsError, match=r"none\.yml"):
        given_parameters(parse(["run", "-f", "none.yml"]))


def test_two_runs_in_one_folder_are_refused(tiny):
    with (
        notebooks.locked(tiny / "runs" / "a"),
        pytest.raises(SettingsError, match="name = 'a': another run or batch is at work"),
    ):
        notebooks.run("a", {}, ["01"])


def test_errors_of_the_command_line_are_one_line_and_a_status():
    call = [sys.executable, "-m", "lib", "run", "-p", "weight_sede", "3"]
    result = subprocess.run(call, capture_output=True, encoding="utf-8", cwd=files.ROOT)
    assert result.returncode == 2
    assert result.stderr.startswith("error: unknown parameter 'weight_sede'")
    assert "Traceback" not in result.stderr


def test_cleaning_is_idempotent_and_drops_what_differs():
    code = nbformat.v4.new_code_cell("1", metadata={"papermill": {"duration": 1}, "tags": ["keep"]}, execution_count=9)
    code.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "1"}, execution_count=9)]
    injected = nbformat.v4.new_code_cell("run_dir = '/x'", metadata={"tags": ["injected-parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[injected, code], metadata={"papermill": {}, "widgets": {}})
    cleaned = clean(notebook)
    assert [cell.source for cell in cleaned.cells] == ["1"]
    assert cleaned.cells[0].metadata == {"tags": ["keep"]}
    assert cleaned.cells[0].execution_count == cleaned.cells[0].outputs[0].execution_count == 1
    assert clean(cleaned) == cleaned


def test_figures_are_reproducible_and_described(tmp_path, capsys):
    for folder in ("a", "b"):
        figure, axes = panels()
        axes.plot([0, 1], [1, 0])
        show(Picture(figure, "A falling line."), "line", str(tmp_path / folder))
    for kind in ("png", "pdf", "txt"):
        first, second = ((tmp_path / folder / "figures" / f"line.{kind}").read_bytes() for folder in ("a", "b"))
        assert first == second
    with pytest.raises(ValueError, match="must say what"):
        show(Picture(panels()[0], "  "), "line")


def test_only_a_whole_run_with_default_parameters_is_published(tiny, monkeypatch):
    from lib.run import publish

    monkeypatch.setattr(publish, "NOTEBOOKS", files.NOTEBOOKS)
    monkeypatch.setattr(publish, "RUNS", notebooks.RUNS)
    monkeypatch.setattr(publish, "find_notebooks", lambda: files.find_notebooks(["01"]))
    source = (files.NOTEBOOKS / "01_good.ipynb").read_bytes()
    with pytest.raises(SettingsError, match=r"lacks 01_good, figures, metrics"):
        publish.publish("none")
    folder = notebooks.run("odd", {"weight_seed": 3}, ["01"])
    for kind in ("figures", "metrics"):
        (folder / kind).mkdir()
    with pytest.raises(SettingsError, match=r"01_good had {'weight_seed': 3}"):
        publish.publish("odd")
    assert (files.NOTEBOOKS / "01_good.ipynb").read_bytes() == source
    executed = nbformat.read(folder / "01_good.ipynb", as_version=4)
    executed.cells[-1].outputs = [nbformat.v4.new_output("display_data", {}, metadata={MARK: "1 < 0"})]
    nbformat.write(executed, folder / "01_good.ipynb")
    with pytest.raises(SettingsError, match=r"claims hold, but in 01_good, In\[4\]: 1 < 0"):
        publish.publish("odd")
    executed.cells[-1].outputs = []
    executed.metadata["papermill"]["parameters"] = {}
    nbformat.write(executed, folder / "01_good.ipynb")
    edited = nbformat.reads(source.decode(), as_version=4)
    edited.cells[-1].source += "  # edited since"
    nbformat.write(edited, files.NOTEBOOKS / "01_good.ipynb")
    with pytest.raises(SettingsError, match="01_good has changed"):
        publish.publish("odd")
    assert "edited since" in (files.NOTEBOOKS / "01_good.ipynb").read_text(encoding="utf-8")
