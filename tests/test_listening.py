"""Notebook 07: start phases, filters, the likelihood, the wired LSTM, and the training of the extractor."""

import numpy as np
import pytest
import torch
from statsmodels.tsa.statespace.mlemodel import MLEModel

from lib import CheckpointError, FrequencyDataset, SettingsError, SignalSpec, evaluate, generate, load_model, roll_out
from lib.checkpoint import load_checkpoint, save_checkpoint
from lib.lessons import n07_contest as contest
from lib.lessons.extractor import (
    EXTRACTORS,
    PRESETS,
    RESONANCE,
    ListeningConfig,
    Units,
    extractor_path,
    listen,
    listening,
    states_under_none,
    train_extractor,
    wire,
)
from lib.lessons.filters import bound, kalman, kalman_gains, least_squares, likelihood, mixture, transition
from lib.loader import assemble_inputs
from lib.model import ModelConfig, StatefulLSTMExtractor
from lib.signals import draw_noise, draw_start

SPEC = listening(0.25, duration=1.0)
SMALL = ListeningConfig(short_sequences=8, long_sequences=4, updates=4)


def test_the_assignment_has_no_start_phase():
    """The first numbers of S and of A, as they were before there were start phases."""
    signals = generate(SignalSpec(), 1)
    np.testing.assert_allclose(signals.mixed[:4], [0.88500486, 0.19150856, 0.45470137, 0.31305462], rtol=1e-6)
    np.testing.assert_array_equal(signals.targets, SignalSpec().targets)
    np.testing.assert_array_equal(draw_start(SignalSpec(), 5), 0)


def test_the_targets_follow_the_start_phases():
    """Without noise, S is the mean of the targets; the noise is the same with and without start phases."""
    clean = SPEC.but(amplitude_range=(1, 1), phase_range=(0, 0))
    signals = generate(clean, [3, 4])
    assert signals.targets.shape == (2, 4, 1000)
    np.testing.assert_allclose(signals.mixed, signals.targets.mean(axis=1), atol=1e-12)
    assert np.abs(signals.targets[0] - signals.targets[1]).max() > 1
    np.testing.assert_allclose(generate(clean, 4).targets, signals.targets[1], atol=1e-12)
    for one, other in zip(draw_noise(SPEC, 7), draw_noise(SPEC.but(start_range=(0, 0)), 7), strict=True):
        np.testing.assert_array_equal(one, other)
    starts = np.array([draw_start(SPEC, seed) for seed in range(400)])
    assert 0 <= starts.min() < 0.05
    assert 6.2 < starts.max() < 2 * np.pi
    assert abs(np.corrcoef(starts[:-1, 0], starts[1:, 0])[0, 1]) < 0.2


def test_the_loader_and_the_evaluation_follow_them_too():
    dataset = FrequencyDataset(SPEC, 3)
    np.testing.assert_allclose(dataset.targets[..., 0], generate(SPEC, 3).targets, atol=1e-6)
    model = StatefulLSTMExtractor(hidden_size=4)
    output, scores = evaluate(model, dataset, steps=1000)
    assert scores["overall"]["mse"] == pytest.approx(np.mean((output - generate(SPEC, 3).targets) ** 2))


@pytest.mark.parametrize("spec", [SPEC, listening(0.75, duration=1.0), *PRESETS.values(), SignalSpec()], ids=str)
def test_the_moments_of_the_mixture(spec):
    """Mean and variance of S around it, against many draws at fixed phases."""
    few, start = spec.but(start_range=(0, 0), duration=0.01), np.array([0.3, 1.0, 4.0, 2.0])
    phases = 2 * np.pi * np.array(few.frequencies) * few.time[:, None] + start
    generator = np.random.default_rng(0)
    shape = (20_000, *phases.shape)
    drawn = generator.uniform(*few.amplitude_range, shape) * np.sin(phases + generator.uniform(*few.phase_range, shape))
    mixed, noise = drawn.mean(axis=2), mixture(few)
    np.testing.assert_allclose(mixed.mean(axis=0), noise.gain * np.sin(phases + noise.shift).sum(axis=1), atol=0.01)
    square = np.mean(np.linspace(*few.amplitude_range, 100_001) ** 2)
    each = (square / 16 - (noise.swing * np.exp(2j * phases)).real) / 2 - noise.gain**2 * np.sin(
        phases + noise.shift
    ) ** 2
    np.testing.assert_allclose(mixed.var(axis=0), each.sum(axis=1), rtol=0.06)


def test_the_kalman_filter_is_statsmodels_and_errs_as_it_expects():
    mixed, noise = generate(SPEC, 11).mixed, mixture(SPEC)
    model = MLEModel(mixed, k_states=8, k_posdef=8)
    model["design"] = noise.gain * np.tile([1.0, 0.0], 4)[None]
    model["transition"], model["selection"] = transition(SPEC), np.eye(8)
    model["obs_cov"] = np.array([[noise.noise]])
    model.ssm.initialize_known(np.zeros(8), np.eye(8) / 2)
    found, expected = model.ssm.filter(), kalman_gains(SPEC)[1]
    np.testing.assert_allclose(kalman(SPEC, mixed), found.filtered_state[::2], atol=1e-8)
    np.testing.assert_allclose(expected, np.diagonal(found.filtered_state_cov).T[::2], atol=1e-8)
    many = generate(SPEC, range(64))
    measured = np.mean((kalman(SPEC, many.mixed) - many.targets) ** 2, axis=(0, 1))
    assert measured[500:].mean() == pytest.approx(expected.mean(axis=0)[500:].mean(), rel=0.2)
    np.testing.assert_allclose(kalman(SPEC, many.mixed[3]), kalman(SPEC, many.mixed)[3], atol=1e-12)
    known = np.mean((kalman(SPEC, many.mixed, normalized=True) - many.targets) ** 2, axis=(0, 1))
    assert known[500:].mean() < 0.75 * measured[500:].mean(), "it knows the amplitude"


@pytest.mark.parametrize("spec", [SPEC, SPEC.but(phase_range=(0, 0.25 * np.pi))])
def test_least_squares_finds_sines_without_noise(spec):
    """S is exactly the mean that is left of the sines, the shift of one-sided noise included."""
    start, noise = np.array([[0.3, 1.0, 4.0, 2.0]]), mixture(spec)
    mixed = noise.gain * spec.sines(start + noise.shift).sum(axis=1)
    found = least_squares(spec, mixed, 600)
    np.testing.assert_allclose(found[..., 599:], spec.sines(start)[..., 599:], atol=1e-8)
    np.testing.assert_array_equal(found[..., :599], 0)
    np.testing.assert_allclose(kalman(spec, mixed)[..., -1], spec.sines(start)[..., -1], atol=0.05)


def test_the_likelihood_comes_close_to_the_bound():
    signals, starts = generate(SPEC, range(48)), np.array([draw_start(SPEC, seed) for seed in range(48)])
    found = likelihood(SPEC, signals.mixed, np.stack([starts + 0.1, starts + 2.0]))
    error = np.mean((SPEC.sines(found) - signals.targets)[..., -100:] ** 2)
    assert 0.7 < error / bound(SPEC, 1000).mean() < 1.4
    filtered = np.mean((kalman(SPEC, signals.mixed) - signals.targets)[..., -100:] ** 2)
    assert error < 0.7 * filtered, "it knows more than the filter"


def test_all_selectors_in_one_pass():
    """The same numbers as the roll-out, one sample at a time, with each selector."""
    model, mixed = load_model(extractor_path(0.25)), generate(SPEC, [1, 2]).mixed[:, :300]
    alone = roll_out(model, assemble_inputs(SPEC, mixed))[..., 0].unflatten(0, (2, 4))
    np.testing.assert_allclose(listen(model, mixed), alone, atol=3e-4)


def test_a_model_that_cannot_be_wired_is_refused():
    with pytest.raises(ValueError, match="hidden_size = 40: must be at least 44, for 4 sines"):
        wire(SPEC, hidden_size=40)
    with pytest.raises(ValueError, match="a head_size that 4 divides"):
        Units.of(StatefulLSTMExtractor(ModelConfig(hidden_size=64, head_size=30)))
    with pytest.raises(ValueError, match=r"alpha = 1\.1: must be between 0"):
        listening(1.1)
    with pytest.raises(SettingsError, match="alpha = 1"):
        ListeningConfig(alpha=1.0)


@pytest.mark.parametrize("alpha", EXTRACTORS)
def test_the_shipped_extractors(alpha):
    """Only the head is trained, and with it they beat the filter that their LSTM is wired as."""
    content, spec = load_checkpoint(extractor_path(alpha)), listening(alpha)
    assert content["listening"] == ListeningConfig(alpha=alpha).model_dump(mode="json")
    wired, model, seeds = wire(spec, 64, 512), load_model(extractor_path(alpha)), range(3000, 3024)
    for name, weights in wired.lstm.state_dict().items():
        torch.testing.assert_close(content["weights"][f"lstm.{name}"], weights, atol=1e-5, rtol=1e-5)
    _, mixed, targets = generate(spec, seeds)
    held = states_under_none(wired, mixed)[..., Units.of(wired).resonators][..., ::2].double().numpy()
    errors = contest.contest(spec, seeds, {"it": model})
    errors["wired"] = contest.squared(held.transpose(0, 2, 1) / (RESONANCE / 2 * 4 * mixture(spec).gain), targets)
    goals = contest.compare(errors, "wired", spec)
    assert goals["mean over the recording"] < 1.15
    assert goals["the last second"] < 1.4
    goals = contest.compare(errors, "it", spec)
    assert goals["mean over the recording"] < 1
    assert goals["worst tenth of a second, 0.3 s to 2 s"] < 1.2
    assert goals["the last second"] < 0.9
    assert np.mean(listen(model, generate(listening(1), range(3000, 3016)).mixed) ** 2) < 0.01, "it must fall silent"


def test_a_training_that_was_stopped_ends_with_the_same_bits(tmp_path, monkeypatch):
    whole = train_extractor(SMALL, progress_bar=False)
    monkeypatch.setattr("lib.lessons.extractor.SAVE_EVERY", 2)
    save = []

    def stop(path, content):
        save_checkpoint(path, content)
        save.append(path)
        if len(save) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr("lib.lessons.extractor.save_checkpoint", stop)
    with pytest.raises(KeyboardInterrupt):
        train_extractor(SMALL, tmp_path / "it.pt", progress_bar=False)
    with pytest.raises(CheckpointError, match="was interrupted in stage 'listen'"):
        load_model(tmp_path / "it.pt")
    ended = train_extractor(SMALL, tmp_path / "it.pt", progress_bar=False)
    for one, other in zip(whole.state_dict().values(), ended.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(CheckpointError, match="name another file"):
        train_extractor(SMALL.but(alpha=0.5), tmp_path / "it.pt", progress_bar=False)
    assert load_model(tmp_path / "it.pt").config.head_size == 512


def test_a_jump_and_other_noise():
    mixed, targets = contest.jump(SPEC, [1, 2], at=0.4, shift=100)
    np.testing.assert_allclose(mixed[:, :400], generate(SPEC, [1, 2]).mixed[:, :400], atol=1e-12)
    np.testing.assert_allclose(targets[..., 400:], generate(SPEC, [101, 102]).targets[..., 400:], atol=1e-12)
    clean = SPEC.but(amplitude_range=(1, 1), phase_range=(0, 0))
    np.testing.assert_allclose(contest.other_noise(clean, [1, 2], shift=5), generate(clean, [1, 2]).mixed)
    assert np.abs(contest.other_noise(SPEC, [1], shift=5) - generate(SPEC, [1]).mixed).max() > 0.1
