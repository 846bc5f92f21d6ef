"""Whole numbers of NumPy and torch are whole numbers wherever one is asked for; bool, 3.0 and "3" are none."""

import json
from enum import IntEnum
from fractions import Fraction

import numpy as np
import pytest
import torch

from lib import (
    FrequencyDataset,
    ModelConfig,
    SettingsError,
    SignalSpec,
    StatefulDataLoader,
    StatefulLSTMExtractor,
    TrainingConfig,
    draw_noise,
    evaluate,
    generate,
    mse_by_noise_seed,
    roll_out,
)
from lib.lessons.files import read_metrics, write_metrics
from lib.lessons.instruments import best_linear_prediction
from lib.lessons.n01_plots import autocorrelation
from lib.lessons.n02_loop import gradient_reach, parameter_gradients
from lib.lessons.n04_evaluation import intervene
from lib.lessons.parameters import NotebookParameters
from lib.settings import whole_number

SPEC = SignalSpec(frequencies=(2.0, 5.0, 9.0), sample_rate=200.0, duration=0.6)
DATA = FrequencyDataset(SPEC, 1)
MODEL = StatefulLSTMExtractor(n_frequencies=3, hidden_size=4, head_size=4).eval()
SIGNAL = generate(SPEC, 1).mixed


class Two(IntEnum):
    TWO = 2


WHOLE = [np.uint8(2), np.array(2), torch.tensor(2, dtype=torch.int16), Two.TWO]
NOT_WHOLE = [True, torch.tensor(True), 2.0, np.float64(2), torch.tensor(2.0), "2", [2], np.array([2])]
STRANGE = [np.True_, Fraction(2), 2j, float("nan"), np.str_("2"), b"2", "", (2,), [], {2}, torch.tensor([2]), slice(2)]


def loader(**options):
    return [batch.y for batch in StatefulDataLoader(DATA, **options)]


def lanes(number):
    MODEL.init_hidden(number)
    return MODEL.state()


PLACES = {
    "draw_noise": lambda n: draw_noise(SPEC, n),
    "data set, noise_seed": lambda n: FrequencyDataset(SPEC, n).inputs,
    "loader, steps": lambda n: loader(steps=n),
    "lanes": lanes,
    "roll_out, steps": lambda n: roll_out(MODEL, DATA.inputs, n),
    "evaluate, steps": lambda n: evaluate(MODEL, DATA, n)[0],
    "mse_by_noise_seed": lambda n: mse_by_noise_seed(MODEL, SPEC, [1, n]),
    "mse_by_noise_seed, seeds_at_once": lambda n: mse_by_noise_seed(MODEL, SPEC, range(5), n),
    "ModelConfig": lambda n: (ModelConfig(hidden_size=n).hidden_size,),
    "model": lambda n: (StatefulLSTMExtractor(num_layers=n).lstm.num_layers,),
    "TrainingConfig": lambda n: (TrainingConfig(weight_seed=n).weight_seed,),
    "TrainingConfig, but": lambda n: (TrainingConfig().but(max_updates=n).max_updates,),
    "TrainingConfig, seeds": lambda n: TrainingConfig(validation_noise_seeds=(7, n)).validation_noise_seeds,
    "notebook": lambda n: (NotebookParameters(test_noise_seed=n).test_noise_seed,),
    "gradient_reach, detach_every": lambda n: gradient_reach(MODEL, DATA.inputs[:, :9], n),
    "parameter_gradients, steps": lambda n: parameter_gradients(MODEL, DATA, n, 5),
    "parameter_gradients, horizon": lambda n: parameter_gradients(MODEL, DATA, 1, n),
    "autocorrelation, lags": lambda n: autocorrelation(SIGNAL, n),
    "best_linear_prediction, window": lambda n: best_linear_prediction(SIGNAL, SPEC.targets[0], n, SIGNAL[None]),
    "intervene, index": lambda n: intervene(MODEL, DATA, n),
    "intervene, switch_to": lambda n: intervene(MODEL, DATA, 0, switch_to=n, switch_at=9),
    "intervene, switch_at": lambda n: intervene(MODEL, DATA, 0, switch_to=1, switch_at=n),
    "intervene, reset_at": lambda n: intervene(MODEL, DATA, 0, reset_at=n),
    "intervene, samples": lambda n: intervene(MODEL, DATA, 0, samples=n),
}


@pytest.mark.parametrize("place", PLACES)
def test_whole_numbers_of_every_kind_are_read_everywhere(place):
    ask = PLACES[place]
    for number in WHOLE:
        for got, wanted in zip(ask(number), ask(2), strict=True):
            assert type(got) is type(wanted), f"{number!r} came out as {got!r}"
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("place", PLACES)
def test_what_is_not_a_whole_number_is_refused_everywhere(place):
    for value in NOT_WHOLE:
        with pytest.raises(ValueError, match=r" = .*(whole number|integer)"):
            PLACES[place](value)
    for value in (-1, np.int64(-1), torch.tensor(-1)):
        with pytest.raises(ValueError, match="-1"):
            PLACES[place](value)


def test_what_is_kept_is_plain():
    """A number of NumPy in a checkpoint could not be loaded again, and one of torch is not equal to itself in a set."""
    dataset = FrequencyDataset(SPEC, np.int64(3))
    loader = StatefulDataLoader(dataset, steps=torch.tensor(5))
    kept = dataset.noise_seed, loader.steps
    assert [type(number) for number in (*kept, ModelConfig(hidden_size=Two.TWO).hidden_size)] == [int] * 3


def test_the_range_is_named():
    assert whole_number("n", 3, 3, 3) == 3
    for value in STRANGE:
        with pytest.raises(ValueError, match=r"n = .*must be a whole number"):
            whole_number("n", value, 0)
    with pytest.raises(ValueError, match="n = 2: must be a whole number from 3 up"):
        whole_number("n", 2, 3)
    with pytest.raises(ValueError, match="n = tensor\\(5\\): must be a whole number between 3 and 4"):
        whole_number("n", torch.tensor(5), 3, 4)
    with pytest.raises(ValueError, match="n = None: must be a whole number"):
        whole_number("n", None, 3)


@pytest.mark.parametrize(
    "kind", [list, tuple, np.array, torch.tensor, lambda seeds: [np.int64(seed) for seed in seeds]]
)
def test_several_seeds_in_a_row_of_any_kind(kind):
    seeds = kind([4, 1, 9])
    for row, seed in zip(generate(SPEC, seeds).mixed, (4, 1, 9), strict=True):
        np.testing.assert_array_equal(row, generate(SPEC, seed).mixed)
    np.testing.assert_array_equal(mse_by_noise_seed(MODEL, SPEC, seeds), mse_by_noise_seed(MODEL, SPEC, [4, 1, 9]))
    assert TrainingConfig(validation_noise_seeds=seeds).validation_noise_seeds == (4, 1, 9)


@pytest.mark.parametrize("seeds", [[], (), np.array([]), torch.tensor([]), range(0), [[1, 2], [3, 4]], [1, None], "12"])
def test_rows_of_seeds_that_are_none(seeds):
    with pytest.raises(ValueError, match=r"noise_seed = .*whole number from 0 up"):
        generate(SPEC, seeds)
    with pytest.raises(ValueError, match=r"noise_seeds? = .*whole number from 0 up"):
        mse_by_noise_seed(MODEL, SPEC, seeds)


def test_other_numbers_of_numpy_and_torch_are_read_by_settings():
    spec = SignalSpec(
        frequencies=np.array([2, 5, 9]),
        sample_rate=torch.tensor(200),
        duration=np.float64(0.6),
        phase_range=torch.ones(2),
    )
    assert spec.but(phase_range=(0.0, 2 * np.pi)) == SPEC.but(phase_range=(0.0, 2 * np.pi))
    assert type(SignalSpec(sample_rate=np.float32(500)).sample_rate) is float
    assert StatefulLSTMExtractor(input_norm=np.True_).config.input_norm is True
    with pytest.raises(SettingsError, match="input_norm = 1"):
        ModelConfig(input_norm=np.int64(1))
    with pytest.raises(SettingsError, match="sample_rate = True"):
        SignalSpec(sample_rate=np.True_)


def test_rows_are_read_one_by_one():
    for row in WHOLE:
        assert torch.equal(DATA[row][0], DATA.inputs[0, 2])
    assert torch.equal(DATA[np.int64(123)][1], DATA.targets[1, 3])
    refused = [-1, np.int64(-1), 360, torch.tensor(360), slice(0, 5), slice(None), ..., None, (0, 1), *NOT_WHOLE]
    for row in [*refused, torch.tensor([1, 2]), np.array([1, 2]), np.ones(360, bool)]:
        with pytest.raises(IndexError, match=r"row = [\s\S]*whole number between 0 and 359; for many .*dataset.inputs"):
            DATA[row]
    x, y = next(iter(torch.utils.data.DataLoader(DATA, batch_size=4, shuffle=True)))
    assert (x.shape, y.shape) == ((4, 4), (4, 1))
    assert len(list(DATA)) == 360


def test_metrics_with_numbers_of_torch(tmp_path):
    path = tmp_path / "m.json"
    write_metrics(path, {"mse": torch.tensor(0.5), "all": torch.tensor([1, 2]), "seed": np.int64(3)}, {"path": path})
    assert read_metrics(path)["results"] == {"mse": 0.5, "all": [1, 2], "seed": 3}
    assert json.loads(path.read_text())["parameters"] == {"path": str(path)}
