"""What a reader has set outside, for PyTorch, Matplotlib, the shell or the file system, changes no result."""

import contextlib
import errno
import functools
import os
import stat
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest
import torch
from matplotlib import pyplot as plt

from lib import FrequencyDataset, ModelConfig, SignalSpec, TrainingConfig, evaluate, load_model, train
from lib import __main__ as cli
from lib.checkpoint import (
    CheckpointError,
    DamagedCheckpointError,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
    write_atomically,
)
from lib.lessons import n02_plots as states
from lib.lessons.figures import FILES, render
from lib.lessons.files import ROOT, find_notebooks, read_metrics, write_metrics
from lib.lessons.parameters import NotebookParameters
from lib.lessons.widgets import picture_html
from lib.run import render as pages
from lib.run import worker

SPEC = SignalSpec(frequencies=(2.0, 5.0), sample_rate=200.0, duration=0.6)
QUICK = TrainingConfig(max_updates=20, anneal_updates=10, learn_periods=0.8, grow_below=10.0, polish_iterations=5)
SMALL = ModelConfig(hidden_size=6, head_size=5)


def learn(path=None, stages=None):
    more = {"stages": stages} if stages else {}
    return train(FrequencyDataset(SPEC, 1), QUICK, SMALL, path, progress_bar=False, **more)


@contextlib.contextmanager
def changed(put, value, before):
    put(value)
    try:
        yield
    finally:
        put(before)


SETTINGS = {
    "default dtype float64": lambda: changed(torch.set_default_dtype, torch.float64, torch.float32),
    "default dtype bfloat16": lambda: changed(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "default device meta": lambda: changed(torch.set_default_device, "meta", None),
    "deterministic algorithms": lambda: changed(torch.use_deterministic_algorithms, True, False),
    "no gradients": lambda: changed(torch.set_grad_enabled, False, True),
    "inference mode": torch.inference_mode,
    "two threads": lambda: changed(torch.set_num_threads, 2, 1),
    "coarse products": lambda: changed(torch.set_float32_matmul_precision, "medium", "highest"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "another seed": lambda: changed(torch.manual_seed, 99, 0),
}


@pytest.fixture(scope="module")
def usual():
    return learn()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_training_does_not_depend_on_what_is_set_for_pytorch(usual, tmp_path, name):
    path = tmp_path / "run.pt"
    with SETTINGS[name]():
        run = learn(path)
        dtype, device, threads = torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads()
        gradients = torch.is_grad_enabled()
    assert run.history == usual.history
    for model in (run.model, load_model(path)):
        pairs = zip(model.state_dict().values(), usual.model.state_dict().values(), strict=True)
        assert all(torch.equal(found, expected) for found, expected in pairs)
    assert dtype == (torch.float64 if "64" in name else torch.bfloat16 if "bfloat16" in name else torch.float32)
    assert device.type == ("meta" if "meta" in name else "cpu")
    assert threads == (2 if "threads" in name else 1)
    assert gradients != (name in ("no gradients", "inference mode"))


@pytest.mark.parametrize("name", ["default dtype float64", "default device meta", "no gradients", "inference mode"])
def test_an_evaluation_does_not_either(name):
    def outputs():
        return evaluate(load_model(), FrequencyDataset(SignalSpec(duration=0.2), 2), steps=50)

    expected = outputs()
    with SETTINGS[name]():
        found = outputs()
    assert found[0].tolist() == expected[0].tolist()
    assert found[1] == expected[1]


class Callable:
    def __call__(self, run):
        return ()


NO_SOURCE = {}
exec("def made(run):\n    return ()", NO_SOURCE)
PARTIAL = functools.partial(NO_SOURCE["made"])
NAMED = functools.partial(NO_SOURCE["made"])
NAMED.__name__ = "named"


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ([], r"stages = \[\]: must be one or more"),
        ([PARTIAL], "each with a __name__ of its own"),
        ([Callable()], "each with a __name__ of its own"),
        ([lambda run: (), lambda run: ()], r"stages = \['first', '<lambda>', '<lambda>'\]: must be"),
        ([NAMED], "stages = named: has no source code"),
        ([NO_SOURCE["made"]], "stages = made: has no source code"),
    ],
)
def test_a_stage_that_a_checkpoint_could_not_know_again_is_refused_at_once(tmp_path, stages, told):
    asked = []

    def first(run):
        asked.append(run)
        return ()

    data, all_stages = FrequencyDataset(SPEC, 1), [first, *stages] if stages else []
    with pytest.raises(ValueError, match=told):
        train(data, QUICK, SMALL, tmp_path / "run.pt", progress_bar=False, stages=all_stages)
    assert not asked
    assert not list(tmp_path.iterdir())


def test_a_stage_without_source_can_be_used_without_a_checkpoint(tmp_path):
    assert learn(stages=[NO_SOURCE["made"], NAMED]).stage == "done"
    assert learn(tmp_path / "run.pt", [lambda run: ()]).stage == "done"
    assert load_checkpoint(tmp_path / "run.pt")["stages"] == ["<lambda>"]


NASTY = {
    "text.usetex": True,
    "axes.prop_cycle": mpl.cycler(color=["yellow"]),
    "axes.titlesize": 40,
    "font.size": 20,
    "legend.frameon": True,
    "lines.linewidth": 9,
    "image.cmap": "gray",
    "image.origin": "lower",
    "savefig.bbox": "tight",
    "savefig.dpi": 20,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "path.simplify": False,
}


@pytest.fixture
def nasty():
    with mpl.rc_context():
        plt.style.use(["dark_background", NASTY])
        yield


def picture():
    torch.manual_seed(0)
    return states.state_traces(SPEC, *torch.randn(2, 2, 120, 6), lane=1)


def everything_drawn():
    kept = [render(picture().figure, kind, **options) for kind, options in FILES.items()]
    return [*kept, picture_html(picture())]


def test_figures_do_not_depend_on_the_readers_style(request):
    usual = everything_drawn()
    request.getfixturevalue("nasty")
    assert everything_drawn() == usual


def test_a_style_between_drawing_and_keeping_changes_nothing(request):
    usual, drawn = render(picture().figure), picture().figure
    request.getfixturevalue("nasty")
    assert render(drawn) == usual


def test_figures_do_not_depend_on_matplotlibrc_and_backend(tmp_path):
    (tmp_path / "matplotlibrc").write_text(
        "text.usetex: True\nfigure.facecolor: black\nlines.linewidth: 9\nsavefig.dpi: 20\n", encoding="utf-8"
    )
    code = "import hashlib; from tests.test_readers_machine import *\n"
    code += "print(hashlib.sha256(render(picture().figure)).hexdigest())"
    places = {"MATPLOTLIBRC": str(tmp_path), "MPLBACKEND": "TkAgg", "DISPLAY": "", "PYTHONPATH": str(ROOT)}
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | more, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for more in ({}, places)
    }
    assert len(digests) == 1


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


PASSING = [OSError(errno.EMFILE, "too many open files"), PermissionError("no")]


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_an_error_in_reading_is_passed_on_and_is_no_damage(tmp_path, monkeypatch, error):
    path = tmp_path / "checkpoint.pt"
    learn(path)
    whole = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", failing(error))
        for call in (worker.set_damaged_aside, load_checkpoint, load_model, learn):
            with pytest.raises(type(error)):
                call(path)
    assert [place.name for place in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert path.read_bytes() == whole


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")])
def test_too_little_memory_is_no_damage(tmp_path, monkeypatch, error):
    path = tmp_path / "checkpoint.pt"
    learn(path)
    monkeypatch.setattr(torch, "load", failing(error))
    with pytest.raises(MemoryError):
        worker.set_damaged_aside(path)
    assert path.exists()


def test_what_was_set_aside_stays(tmp_path):
    path = tmp_path / "checkpoint.pt"
    for content in (b"one", b"two", b"three"):
        path.write_bytes(content)
        with pytest.raises(DamagedCheckpointError, match=r"checkpoint\.pt"):
            find_checkpoint(path)
        worker.set_damaged_aside(path)
    kept = {place.name: place.read_bytes() for place in tmp_path.iterdir()}
    assert kept == {"checkpoint.damaged": b"one", "checkpoint.damaged1": b"two", "checkpoint.damaged2": b"three"}
    assert find_checkpoint(path) is None
    worker.set_damaged_aside(path)  # nothing there: nothing to do


@pytest.mark.parametrize("cut", [0, 1, 100, 5000, -1000, -30])
def test_every_way_to_cut_or_garble_a_checkpoint_is_damage(tmp_path, cut):
    path = tmp_path / "checkpoint.pt"
    learn(path)
    whole = path.read_bytes()
    for content in (whole[:cut], whole[:cut][::-1], b"PK" + bytes(abs(cut))):
        path.write_bytes(content)
        with pytest.raises(DamagedCheckpointError):
            load_checkpoint(path)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    learn("~/a/run.pt")
    assert load_model("~/a/run.pt")
    assert learn("~/a/run.pt").stage == "done"
    write_metrics("~/m.json", {"one": 1}, {})
    assert read_metrics("~/m.json")["results"] == {"one": 1}
    assert NotebookParameters(run_dir="~/a").own_checkpoint == tmp_path / "a" / "checkpoint.pt"
    options = cli.parse(["batch", "03", "-f", "~/plan.yml", "--into=~/runs"])
    assert (options.file, options.into) == (tmp_path / "plan.yml", tmp_path / "runs")
    (tmp_path / "own.ipynb").touch()
    assert find_notebooks(["~/own.ipynb"]) == [tmp_path / "own.ipynb"]
    assert {path.name for path in tmp_path.iterdir()} == {"a", "m.json", "own.ipynb"}
    with pytest.raises(CheckpointError, match="~nobody-of-this-name/x: there is no such file"):
        load_checkpoint("~nobody-of-this-name/x")


needs_links = pytest.mark.skipif(os.name == "nt", reason="links and modes are those of other systems")


@needs_links
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_target_is_written(tmp_path, there):
    target, link = tmp_path / "far" / "kept.pt", tmp_path / "checkpoint.pt"
    target.parent.mkdir()
    if there:
        save_checkpoint(target, {"value": 1})
    link.symlink_to(target)
    save_checkpoint(link, {"value": 2})
    assert link.is_symlink()
    assert load_checkpoint(target)["value"] == load_checkpoint(link)["value"] == 2
    target.write_bytes(b"damaged")
    worker.set_damaged_aside(link)
    assert link.is_symlink()
    assert (target.parent / "kept.damaged").read_bytes() == b"damaged"
    learn(link)
    assert load_model(target)
    assert {path.name for path in tmp_path.iterdir()} == {"far", "checkpoint.pt"}


@needs_links
@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o002, 0o664)])
def test_the_umask_says_who_may_read(tmp_path, umask, mode):
    with changed(os.umask, umask, os.umask(umask)):
        write_atomically(tmp_path / "a" / "file", b"new")
        with pages.replaced(tmp_path / "site") as fresh:
            (fresh / "index.html").touch()
    assert stat.S_IMODE((tmp_path / "a" / "file").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "site" / "index.html").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "site").stat().st_mode) == 0o777 & ~umask


@needs_links
def test_a_site_behind_a_link_or_on_a_volume_of_its_own_is_written(tmp_path, monkeypatch):
    target, link, replace = tmp_path / "volume", tmp_path / "site", os.replace
    target.mkdir()
    (target / "old.html").touch()
    link.symlink_to(target)

    def replace_inside_only(source, to):
        """As a system does it for a mounted folder."""
        if {Path(source), Path(to)} & {target, link}:
            raise OSError(errno.EBUSY, "device or resource busy")
        if len({target in Path(place).resolve().parents for place in (source, to)}) > 1:
            raise OSError(errno.EXDEV, "invalid cross-device link")
        replace(source, to)

    monkeypatch.setattr(os, "replace", replace_inside_only)
    with pages.replaced(link) as fresh:
        (fresh / "new.html").touch()
    assert link.is_symlink()
    assert [path.name for path in target.iterdir()] == ["new.html"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_an_interrupted_replacement_leaves_the_old_content(tmp_path, monkeypatch, error, at):
    folder, calls, replace = tmp_path / "site", [], os.replace
    folder.mkdir()
    for name in ("one", "two"):
        (folder / name).write_text("old", encoding="utf-8")

    def interrupted(source, target):
        calls.append(source)
        if len(calls) == at:
            raise error
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)

    def write():
        with pages.replaced(folder) as fresh:
            for name in ("one", "three"):
                (fresh / name).write_text("new", encoding="utf-8")

    with pytest.raises(error):
        write()
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == {"one": "old", "two": "old"}
