import numpy as np
import pytest
import torch
from torch import nn

from lib import SignalSpec, generate
from lib.lessons.instruments import best_linear_prediction, chain_length, lstm_step, record_states, saved_bytes
from lib.lessons.n01_plots import amplitude_spectrum, autocorrelation
from lib.lessons.n02_loop import gradient_reach, parameter_gradients
from lib.lessons.n02_plots import orbit


def test_the_equations_are_pytorchs(model, dataset):
    hidden, cell = record_states(model, dataset.inputs[:, :20])
    h = c = torch.zeros(3, 6)
    for t in range(20):
        step = lstm_step(model.lstm, dataset.inputs[:, t], h, c)
        h, c = step.h, step.c
        assert torch.allclose(h, hidden[:, t], atol=1e-6)
        assert torch.allclose(c, cell[:, t], atol=1e-6)


def test_a_chain_is_the_longest_way_back_and_not_the_number_of_calls(model, dataset):
    assert chain_length(model.cell_state) == 0
    for t in range(5):
        model(dataset.inputs[:, t])
        assert chain_length(model.cell_state) == t + 1
    model.detach_state()
    model(dataset.inputs[:, 5])
    assert chain_length(model.cell_state) == 1
    lstm, x, state = nn.LSTM(2, 3), torch.zeros(1, 2), None
    apart = sum(lstm(x)[0].sum() for _ in range(5))
    assert chain_length(apart) == 1
    for _ in range(5):
        h, state = lstm(x, state)
    assert chain_length(h.sum() + apart) == 5
    assert chain_length(torch.zeros(1)) == 0


def test_memory_grows_without_detach_only(model, dataset):
    def loop(count, detach):
        model.reset_state()
        for t in range(count):
            y = model(dataset.inputs[:, t])
            if detach:
                model.detach_state()
        return y

    assert saved_bytes(lambda: loop(100, False)) > 20 * saved_bytes(lambda: loop(1, False))
    assert saved_bytes(lambda: loop(100, True)) < 2 * saved_bytes(lambda: loop(1, True))


def test_a_cut_ends_the_gradients_way_and_changes_no_output(model, dataset):
    x = dataset.inputs[:, :30]
    assert (gradient_reach(model, x, None) > 0).all()
    cut = gradient_reach(model, x, 10)
    assert not cut[:20].any()
    assert (cut[20:] > 0).all()
    assert not gradient_reach(model, x, 1).any()
    assert model.hidden_state is None
    with pytest.raises(ValueError, match="at least 2"):
        gradient_reach(model, x[:, :1], None)
    whole, cut = (parameter_gradients(model, dataset, steps=1, horizon=40, detach=cut) for cut in (False, True))
    assert torch.allclose(whole[0], cut[0], atol=1e-6)
    assert not torch.allclose(whole[1], cut[1], rtol=1e-2)
    assert all(p.grad is None for p in model.parameters())


def test_orbit_keeps_the_shape_of_a_plane_motion():
    angle = torch.linspace(0, 6.28, 200)
    plane = torch.linalg.qr(torch.randn(5, 2))[0]
    path = orbit(torch.stack([3 * angle.cos(), angle.sin()], dim=1) @ plane.T)
    assert np.abs(path).max(axis=0) == pytest.approx([3, 1], rel=0.02)


def test_spectrum_and_autocorrelation_of_a_sine():
    spec = SignalSpec()
    frequencies, heights = amplitude_spectrum(0.7 * spec.targets[1], spec.sample_rate)
    assert frequencies[heights.argmax()] == 3
    assert heights.max() == pytest.approx(0.7)
    assert autocorrelation(spec.targets[0], 1000)[[0, 500, 1000]] == pytest.approx([1, -0.95, 0.9], abs=0.01)


def test_a_filter_finds_a_sine_where_there_is_one_and_nothing_in_the_assignment():
    clean = SignalSpec(phase_range=(0.0, 0.0))
    for spec, solved in ((clean, True), (SignalSpec(), False)):
        one, two = generate(spec, [1, 2]).mixed
        prediction = best_linear_prediction(one, spec.targets[1], 500, two[None])[0]
        error = np.mean((prediction - spec.targets[1, 499:]) ** 2)
        assert (error < 0.01) == solved
        assert (error > 0.5) != solved
