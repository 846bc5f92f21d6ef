"""The study of notebook 09: its arithmetic on made-up trials, and whether the committed one belongs to this code."""

import json

import numpy as np
import pytest

from lib import FrequencyDataset, ModelConfig, SettingsError, SignalSpec, TrainingConfig, train
from lib.checkpoint import REFERENCE
from lib.lessons import n09_plots as plots
from lib.lessons import n09_tuning as tuning
from lib.lessons.files import read_metrics, write_metrics
from lib.lessons.n09_tuning import Trial
from lib.recipe import grow
from lib.run import batch, plan
from lib.studies import hyperparameters as study


def trial(settings, seed, mse, succeeded=True, unseen=()):
    return Trial(tuning.name_of(settings), settings, seed, 1, mse, succeeded, 100, np.array(unseen))


def made_up(factors=(1.0, 3.0), draws=5, noise=0.0):
    """A grid of three sizes and some rate factors, whose error is the product of a part of each."""
    generator = np.random.default_rng(0)
    found = []
    for size in (16, 32, 64):
        for factor in factors:
            settings = {k: v for k, v in (("hidden_size", size), ("rate_factor", factor)) if v not in (32, 1.0)}
            for seed in range(draws):
                mse = 1e-6 * (64 / size) * factor * 2.0**seed * np.exp(noise * generator.normal())
                found.append(trial(settings, seed, mse))
    return found


def test_points_have_names():
    assert tuning.name_of({}) == "as shipped"
    assert tuning.name_of({"head_size": 0, "activation": "identity"}) == "linear output"
    assert tuning.name_of({"num_layers": 2, "dropout": 0.1}) == "two layers, dropout 0.1"
    assert tuning.name_of({"hidden_size": 17}) == "hidden_size = 17"


@pytest.mark.parametrize(("n", "k"), [(5, 0), (6, 0), (8, 1), (10, 1), (11, 2)])
def test_the_interval_of_a_median(n, k):
    """The places of a table of the sign test at ten per cent."""
    values = np.random.default_rng(0).permutation(n).astype(float)
    assert tuning.interval(values) == (k, n - 1 - k)


def test_an_interval_holds_the_median_as_often_as_it_says():
    drawn = np.random.default_rng(0).exponential(size=(2000, 8))
    low, high = np.array([tuning.interval(row) for row in drawn]).T
    assert 0.9 < np.mean((low < np.log(2)) & (np.log(2) < high)) < 0.95
    with pytest.raises(ValueError, match="4 are too few, must be at least 5"):
        tuning.interval(np.ones(4))


def test_effects_are_compared_draw_by_draw():
    """The draws differ by a factor of 16; the ratio of two errors of one draw does not."""
    found = tuning.effects(made_up())
    effect = found["hidden 16, rates × 3"]
    assert effect.ratios == pytest.approx(np.full(5, 6.0))
    assert (effect.low, effect.median, effect.high) == pytest.approx((6, 6, 6))
    assert effect.succeeded == 5
    assert effect.distinct
    assert found["hidden 64"].median == pytest.approx(0.5)
    assert "as shipped" not in found
    both_sides = [trial({}, k, 1.0) for k in range(5)] + [
        trial({"growth": 1.5}, k, 1.0 + 0.1 * (k - 1)) for k in range(5)
    ]
    assert not tuning.effects(both_sides)["growth by 1.5"].distinct


def test_shares_of_variance():
    grid = tuning.grid_of(made_up(), "hidden_size", "rate_factor", (32, 1.0))
    assert sorted(grid) == [(size, factor) for size in (16, 32, 64) for factor in (1.0, 3.0)]
    assert sum(tuning.shares(grid).values()) == pytest.approx(1)
    draws = np.array([0.0, 0.1, 0.2])
    by_row = tuning.shares({(a, b): 10.0 * a + b + draws for a in range(3) for b in range(2)})
    assert by_row["first"] > by_row["second"] > by_row["draw"] > 0
    assert by_row["both together"] == pytest.approx(0, abs=1e-12)
    crossed = tuning.shares(
        {(a, b): 10.0 * (a == b) + draws + 0.01 * a + 0.001 * b for a in range(2) for b in range(2)}
    )
    assert crossed["both together"] > 0.7
    by_draw = {(a, b): 100 * draws + 0.01 * a + 0.001 * b for a in range(2) for b in range(2)}
    assert tuning.shares(by_draw)["draw"] > 0.85
    by_draw[0, 0] = by_draw[0, 0] * [1, 1, 1e9]  # one failure, which was the largest of its draw or nearly so
    assert tuning.shares(by_draw)["draw"] > 0.85


def test_deception_needs_noise_that_is_heard():
    """Networks that cannot hear have the same error on each noise; those that can, and are equally good, deceive."""
    deaf = np.repeat(np.linspace(1, 2, 12)[:, None], 8, axis=1)
    found = tuning.deception(deaf, 4, studies=200)
    assert found.tuned == pytest.approx(1)
    assert found.honest == pytest.approx(1)
    assert found.regret == pytest.approx(1)
    hearing = np.exp(np.random.default_rng(0).normal(size=(40, 20)))
    few, many = (tuning.deception(hearing, k, studies=500) for k in (2, 20))
    assert np.median(many.tuned) < np.median(few.tuned) < np.median(few.honest)
    assert np.median(many.honest) == pytest.approx(np.median(few.honest), rel=0.3)
    assert min(few.regret) == pytest.approx(1)
    again = tuning.deception(hearing, 2, studies=500)
    assert np.array_equal(again.tuned, few.tuned)


def test_the_rule_of_choice():
    found = [*made_up(), *(trial({"growth": 1.5}, k, 1e-12, succeeded=k > 0) for k in range(5))]
    assert tuning.choose(found) == "hidden 64", "lower, and no training has failed"
    once_worse = [trial({"growth": 1.5}, k, 1e-12 if k else 1.0) for k in range(5)]
    shipped = [t for t in made_up() if t.point == "as shipped"]
    assert tuning.choose([*shipped, *once_worse]) == "as shipped"


def test_figures_say_what_they_show():
    found = made_up(noise=0.3)
    scores = np.exp(np.random.default_rng(0).normal(size=(12, 8)))
    grid = tuning.grid_of(found, "hidden_size", "rate_factor", (32, 1.0))
    for picture, told in (
        (plots.effect_bars(tuning.effects(found), 5), "hidden 16, rates × 3"),
        (plots.interaction(grid), "hidden 64 at × 3 "),
        (plots.deceptions({k: tuning.deception(scores, k, studies=50) for k in (2, 5)}), "with 5"),
        (plots.short_and_full([1e-6, 2e-6], [1e-7, 3e-7], ["a", "b"]), "b 2.0e-06 and 3.0e-07"),
    ):
        assert told in picture.alt


def test_an_update_takes_time():
    assert 0 < tuning.seconds_of_update(4, horizon=50) < 5


def test_parameters_that_vary_together():
    pairs = {"a, b": [[1, 2], [3, 4]], "c": [5]}
    assert plan.expand(pairs, [{"d": 0}]) == [{"d": 0, "a": 1, "b": 2, "c": 5}, {"d": 0, "a": 3, "b": 4, "c": 5}]
    with pytest.raises(SettingsError, match="a, b: must stand in 'grid' or in 'runs', not in both"):
        plan.expand(pairs, [{"b": 0}])
    for wrong in (1, [1], [1, 2, 3]):
        with pytest.raises(SettingsError, match="must be a list of 2 values, one for each name"):
            plan.expand({"a, b": [wrong]})


def test_a_study_counts_for_notebooks_that_name_it(tmp_path, monkeypatch):
    """What the study of the trials writes must not make all trials be done again."""
    (tmp_path / "hyperparameters.json").write_text("1", encoding="utf-8")
    (tmp_path / "design.json").write_text("1", encoding="utf-8")
    monkeypatch.setattr(plan, "REFERENCE", tmp_path)
    both = plan.find_notebooks(["09"]), [study.TRIAL]
    before = [plan.fingerprint_of_sources(names) for names in both]
    (tmp_path / "hyperparameters.json").write_text("2", encoding="utf-8")
    after = [plan.fingerprint_of_sources(names) for names in both]
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_the_study_gathers_confirms_and_skips_what_is_done(tmp_path, monkeypatch):
    """With a batch that finishes at once: every trial of the grid is in the results, and the confirmation."""

    def finish(runs, folder, *_, **__):
        for run in runs:
            wide = run.parameters["hidden_size"] == 64
            results = {"validation_mse": 1e-7 if wide else 1e-6, "succeeded": True, "updates": 9, "horizon": 9}
            write_metrics(
                run.folder / "metrics" / "trial.json", results | {"stage_ends": {"grow": 5}, "unseen_mse": []}, {}
            )
        return True

    class Keep(list):
        folder = tmp_path

        def __call__(self, _name, _job, variant, *_more):
            self.append(variant)
            return {"validation_mse": 1.0}

    asked = Keep()
    monkeypatch.setattr(batch, "run_batch", finish)
    monkeypatch.setattr(study, "RUNS", tmp_path)
    results = study.hyperparameters(asked)
    assert len(results["trials"]) == len(study.planned())
    assert results["chosen"].startswith("hidden 64")
    assert list(results["confirmed"]) == [f"weight seed {seed}" for seed in study.FRESH_SEEDS]
    assert [variant.training.weight_seed for variant in asked] == list(study.FRESH_SEEDS)
    assert {variant.shape.hidden_size for variant in asked} == {64}
    monkeypatch.setattr(batch, "run_batch", lambda *_, **__: False)
    with pytest.raises(KeyboardInterrupt):
        study.hyperparameters(asked)


@pytest.fixture(scope="module")
def committed():
    return read_metrics(REFERENCE / "hyperparameters.json")


def test_the_committed_study_holds_the_trials_of_its_grid(committed):
    common, settings = study.settings_of(study.planned())
    results = committed["results"]
    drawn = [{name: run.parameters[name] for name in study.DRAWN} for run in study.planned()]
    assert json.loads(json.dumps(common)) == results["common"]
    kept = [(t["settings"], {name: t[name] for name in study.DRAWN}) for t in results["trials"]]
    assert kept == list(zip(settings, drawn, strict=True))
    assert results["chosen"] == tuning.choose(tuning.read_trials(results))


def test_a_trial_comes_out_again(committed):
    """The growth as shipped, from the first draw: on other processors it took 264 to 373 updates."""
    found = tuning.by_point(tuning.read_trials(committed["results"]))[tuning.BASE][0]
    common = committed["results"]["common"] | {"weight_seed": found.weight_seed}
    config = TrainingConfig(**{name: value for name, value in common.items() if name in TrainingConfig.model_fields})
    data = FrequencyDataset(SignalSpec(), found.noise)
    run = train(data, config, ModelConfig(**found.settings), progress_bar=False, stages=(grow,))
    assert found.growth_updates / 3 < run.updates < 3 * found.growth_updates


def test_only_clipping_lets_the_training_noise_in(dataset):
    """With the weights from S held at zero: they count in the length of the gradient, and nowhere else."""

    def losses(noise, clip_norm):
        config = TrainingConfig(clip_norm=clip_norm, max_updates=30, grow_below=1e-9)
        data = FrequencyDataset(dataset.spec, noise)
        return train(data, config, ModelConfig(hidden_size=6), progress_bar=False, stages=(grow,)).history["loss"]

    assert losses(1, 1e9) == losses(11, 1e9)
    assert losses(1, 1e-3) != losses(11, 1e-3)
