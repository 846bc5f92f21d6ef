"""Long studies: what is finished is kept, and a result knows the code that has made it."""

import ast
import json
import sys
from functools import partial
from types import SimpleNamespace

import pytest

from lib import ModelConfig, SettingsError, SignalSpec, TrainingConfig
from lib import __main__ as command_line
from lib.checkpoint import REFERENCE
from lib.lessons import n08_comparison as comparison
from lib.lessons import n08_windows as windows
from lib.lessons.clock import measure_clock
from lib.lessons.files import read_metrics
from lib.studies import catalogue, comparisons, fingerprint, keep, variants
from lib.studies.catalogue import SHIPPED, STUDIES
from lib.studies.keep import Study, compute, is_current, stamp
from lib.studies.variants import Variant

ALL = STUDIES | SHIPPED


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A study of a few jobs, the only one that there is; the job of a negative number is stopped."""
    asked, numbers = [], [1, 2]

    def job(number):
        asked.append(number)
        if number < 0:
            raise KeyboardInterrupt
        return {"third": number / 3, "rows": [(1, 2.0)], "none": float("inf")}

    def small(keeper):
        return {f"job {n}": keeper(f"job {n}", job, n) for n in numbers}

    study = Study(small)
    monkeypatch.setattr(keep, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(keep, "REFERENCE", tmp_path)
    monkeypatch.setattr(keep, "fingerprint", lambda roots: here.code)
    monkeypatch.setattr(catalogue, "STUDIES", {"small": study})
    monkeypatch.setattr(catalogue, "SHIPPED", {})
    monkeypatch.setattr(command_line, "compute_all", catalogue.compute_all)
    jobs = tmp_path / "runs" / "studies" / "small"
    here = SimpleNamespace(study=study, asked=asked, numbers=numbers, code="a", jobs=jobs, path=tmp_path / "small.json")
    return here


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["lib", *arguments])
    return command_line.main()


def test_a_study_goes_on_where_it_was_stopped(small, monkeypatch, capsys):
    small.numbers.append(-3)
    assert command(monkeypatch, "studies", "small") == command_line.INTERRUPTED
    assert "the same command goes on" in capsys.readouterr().err
    assert not small.path.exists()
    small.numbers[-1] = 3
    assert command(monkeypatch, "studies", "small") == 0
    assert small.asked == [1, 2, -3, 3], "what was finished is not computed again"
    written = read_metrics(small.path)
    assert written["results"]["job 1"] == {"third": 0.3333333, "rows": [[1, 2.0]], "none": float("inf")}
    assert written["parameters"] == {"code": "a", "jobs": 3}
    bars = capsys.readouterr().err
    assert "small" in bars
    assert "job 3" in bars
    compute(small.study)
    assert "3/3" in capsys.readouterr().err, "the bar knows the length of the last time"
    assert command(monkeypatch, "studies", "none") == 2
    assert "study = 'none': must be one of small" in capsys.readouterr().err


def test_other_code_makes_a_study_old(small, monkeypatch, capsys):
    assert command(monkeypatch, "studies") == 0
    assert "note" not in capsys.readouterr().out
    small.code = "b"
    assert not is_current(small.study)
    told = catalogue.out_of_date()
    assert told.endswith("`python -m lib studies small`")
    before = read_metrics(small.path)
    stamp(small.study)
    after = read_metrics(small.path)
    assert after.pop("parameters") == before.pop("parameters") | {"code": "b"}
    assert after == before
    assert not catalogue.out_of_date()
    compute(small.study)
    assert small.asked == [1, 2, 1, 2], "a stamp is no computation"
    small.path.write_text("{", encoding="utf-8")
    assert catalogue.out_of_date()


@pytest.mark.parametrize("content", ["", '{"parameters"', "[]", "another job"])
def test_a_damaged_or_foreign_file_is_refused(small, monkeypatch, capsys, content):
    compute(small.study)
    if content == "another job":
        (small.jobs / "job 2.json").replace(small.jobs / "job 1.json")
    else:
        (small.jobs / "job 1.json").write_text(content, encoding="utf-8")
    assert command(monkeypatch, "studies", "small") == 2
    told = capsys.readouterr().err
    assert "job = 'job 1': its file" in told
    assert "remove it" in told
    (small.jobs / "job 1.json").unlink()
    compute(small.study)


def test_a_study_is_computed_once_at_a_time(small):
    with keep.locked(small.jobs), pytest.raises(SettingsError, match="at work in this folder"):
        compute(small.study)


@pytest.mark.parametrize("study", ALL.values(), ids=ALL)
def test_committed_results_come_from_the_present_code(study):
    """When this fails, a number may have changed: compute the study again, or `stamp_all` if you know that none has."""
    assert is_current(study)


def changed(source, name):
    """A module in which one definition does something more."""
    tree = ast.parse(source)
    for statement in tree.body:
        if getattr(statement, "name", None) == name:
            statement.body.append(ast.Pass())
        elif name in fingerprint.defined_by(statement):
            statement.value = ast.Tuple([statement.value])
    return ast.unparse(ast.fix_missing_locations(tree))


def test_a_change_anywhere_makes_a_study_old(monkeypatch):
    """In each module on which a study depends; words and layout do not count."""
    source_of, parsed, read = fingerprint.source_of, fingerprint.parsed, fingerprint.read
    places = {name: fingerprint.definitions([study.compute, *study.notebooks]) for name, study in ALL.items()}
    first = {module: (name, word) for name, found in places.items() for module, word in found if word}
    assert {"lib.signals", "lib.recipe", "lib.lessons.n08_networks", "lib.lessons.clock"} < set(first)
    assert str(STUDIES["hyperparameters"].notebooks[0]) in first

    def code_with(text, module, name):
        monkeypatch.setattr(fingerprint, "source_of", lambda _: text)
        new = parsed.__wrapped__(module)
        monkeypatch.setattr(fingerprint, "parsed", lambda other: new if other == module else parsed(other))
        monkeypatch.setattr(fingerprint, "read", lambda p: read.__wrapped__(p) if p[0] == module else read(p))
        return ALL[name].code

    codes = {name: study.code for name, study in ALL.items()}
    for module, (name, word) in first.items():
        text, before = source_of(module), codes[name]
        same = code_with('"""Words."""\n' + ast.unparse(ast.parse(text)) + "\n# the end\n", module, name)
        assert same == before, module
        assert code_with(changed(text, word), module, name) != before, f"{module}, {word}"


def small_measure(monkeypatch, folder, policy=""):
    spec = SignalSpec(frequencies=(2.0, 5.0, 9.0), sample_rate=50.0, duration=1.0)
    training = TrainingConfig(max_updates=2, anneal_updates=1, polish_iterations=1)
    variant = Variant(training, ModelConfig(hidden_size=6, head_size=4), spec, policy=policy)
    monkeypatch.setattr(variants, "UNSEEN_SEEDS", [1000])
    monkeypatch.setattr(variants, "measure_clock", partial(measure_clock, duration=30))
    variants.measure(variant, folder / "variant.pt", *(() if policy else ("test", "clock", "unseen", "exact")))


def small_window(monkeypatch, _folder):
    monkeypatch.setattr(windows, "BUDGET", 0.01)
    monkeypatch.setitem(comparison.TASKS, "assignment", SignalSpec(duration=1.0))
    comparisons.measure_window(windows.Window("assignment", 1000, True), 1e-3, 0)


def small_network(monkeypatch, _folder):
    monkeypatch.setitem(comparison.UPDATES, "assignment", 1)
    comparisons.measure_network(comparison.Job("assignment", "MLP on time", 1e-3, 0, True))


@pytest.mark.filterwarnings("ignore::lib.training.TrainingWarning")
@pytest.mark.parametrize(
    ("name", "job"),
    [
        ("weight_seeds", small_measure),
        ("policies", partial(small_measure, policy="carry, detach every 200")),
        ("lengths", small_window),
        ("networks", small_network),
    ],
)
def test_the_fingerprint_knows_every_function_that_is_called(tmp_path, monkeypatch, name, job):
    """Of a small job of each kind: what runs is compared with what was found by reading."""
    called = set()

    def note(frame, event, _argument):
        if event == "call":
            module, word = frame.f_globals.get("__name__", ""), frame.f_code.co_qualname.split(".")[0]
            if module.startswith("lib.") and word.isidentifier() and not word.startswith("__"):
                called.add((module, word))

    sys.setprofile(note)
    try:
        job(monkeypatch, tmp_path)
    finally:
        sys.setprofile(None)
    assert len(called) > 10
    assert not called - set(fingerprint.definitions([STUDIES[name].compute]))


OF_VARIANTS = [name for name, study in STUDIES.items() if study.compute.__module__ == variants.__name__]


@pytest.mark.parametrize("name", OF_VARIANTS)
def test_committed_studies_belong_to_the_present_definitions(name):
    class Recorder(dict):
        folder = REFERENCE

        def __call__(self, job, _measure, variant, *_more):
            self[job] = json.loads(json.dumps(variant.settings))
            return {}

    defined = Recorder()
    STUDIES[name].compute(defined)
    results = read_metrics(REFERENCE / f"{name}.json")["results"]
    assert list(results) == list(defined)
    for variant, settings in defined.items():
        assert {key: results[variant][key] for key in settings} == settings, variant
