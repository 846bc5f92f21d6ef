import json
import math

import numpy as np
import pytest
import torch

from lib import (
    FrequencyDataset,
    SignalSpec,
    evaluate,
    generalization_gap,
    metrics,
    metrics_by_frequency,
    mse_by_noise_seed,
)
from lib.lessons.files import read_metrics, write_metrics


def test_metrics_by_hand():
    target = np.array([1.0, -1.0, 1.0, -1.0])
    prediction = np.array([0.5, -1.0, 1.5, -1.0])
    got = metrics(prediction, target)
    assert got["mse"] == pytest.approx(0.125)
    assert got["rmse"] == pytest.approx(math.sqrt(0.125))
    assert got["mae"] == pytest.approx(0.25)
    assert got["r2"] == pytest.approx(0.875)
    assert got["snr_db"] == pytest.approx(10 * math.log10(8))
    assert got["correlation"] == pytest.approx(np.corrcoef(prediction, target)[0, 1])


def test_extremes():
    target = SignalSpec().targets
    zero = metrics(np.zeros_like(target), target)
    assert zero["mse"] == pytest.approx(0.5)
    assert zero["r2"] == pytest.approx(0, abs=1e-9)
    assert zero["snr_db"] == pytest.approx(0)
    assert math.isnan(zero["correlation"])
    perfect = metrics(target, target)
    assert perfect["mse"] == 0
    assert perfect["snr_db"] == math.inf
    assert perfect["correlation"] == pytest.approx(1)
    with pytest.raises(ValueError, match=r"\(3,\): must be that of target"):
        metrics(np.zeros(3), np.zeros(4))


def test_overall_is_the_mean_over_samples_whatever_the_chunks(dataset, model):
    prediction, scores = evaluate(model, dataset, steps=50)  # the last chunk is shorter
    single, again = evaluate(model, dataset)
    np.testing.assert_allclose(prediction, single, atol=1e-6)
    assert scores["overall"]["mse"] == pytest.approx(again["overall"]["mse"])
    assert scores["overall"]["mse"] == pytest.approx(np.mean((prediction - dataset.spec.targets) ** 2))
    by_frequency = [scores[name]["mse"] for name in ("2 Hz", "5 Hz", "9 Hz")]
    assert scores["overall"]["mse"] == pytest.approx(np.mean(by_frequency))
    assert list(metrics_by_frequency(prediction, dataset.spec.targets, dataset.spec)) == list(scores)


def test_many_seeds_equal_single_ones(spec, model):
    many = mse_by_noise_seed(model, spec, range(5), seeds_at_once=2)
    single = [evaluate(model, FrequencyDataset(spec, seed))[1]["overall"]["mse"] for seed in range(5)]
    np.testing.assert_allclose(many, single, rtol=1e-5)


def test_gap():
    assert generalization_gap(1e-4, 1.1e-4) == pytest.approx(0.1)
    assert generalization_gap(1e-4, 0.9e-4) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="train_mse = 0"):
        generalization_gap(0, 1)


def test_metrics_files(tmp_path):
    path = tmp_path / "deep" / "m.json"
    write_metrics(path, {"mse": np.float64(0.5), "all": np.arange(2)}, {"seed": 1})
    content = read_metrics(path)
    assert content["results"] == {"mse": 0.5, "all": [0, 1]}
    assert content["parameters"] == {"seed": 1}
    assert content["versions"]["torch"] == torch.__version__
    path.write_text(path.read_text(encoding="utf-8")[:40], encoding="utf-8")
    with pytest.raises(ValueError, match=r"m\.json"):
        read_metrics(path)
    path.write_text(json.dumps([1]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"m\.json"):
        read_metrics(path)
