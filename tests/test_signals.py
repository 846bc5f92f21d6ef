import numpy as np
import pytest

from lib import SettingsError, SignalSpec, draw_noise, generate, noisy_components
from lib.lessons.gain import coherent_gain


def test_defaults_are_the_assignments():
    spec = SignalSpec()
    assert spec.frequencies == (1, 3, 5, 7)
    assert (spec.n_samples, spec.sample_rate, spec.duration) == (10_000, 1000, 10)
    assert spec.amplitude_range == (0.8, 1.2)
    assert spec.phase_range == pytest.approx((0, 2 * np.pi))
    assert spec.time[0] == 0
    assert spec.time[-1] == pytest.approx(9.999)
    assert np.diff(spec.time) == pytest.approx(0.001)


def test_golden_draws():
    """The order of the draws defines the data; the numbers hold the whole chain, formula included."""
    generator = np.random.default_rng(1)
    amplitude = generator.uniform(0.8, 1.2, (10_000, 4))
    phase = generator.uniform(0, 2 * np.pi, (10_000, 4))
    drawn = draw_noise(SignalSpec(), 1)
    np.testing.assert_array_equal(drawn[0], amplitude)
    np.testing.assert_array_equal(drawn[1], phase)
    np.testing.assert_allclose(
        generate(SignalSpec(), 1).mixed[:4], [0.88500486, 0.19150856, 0.45470137, 0.31305462], rtol=1e-6
    )


def test_shapes_targets_and_the_mean_of_the_components(spec):
    time, mixed, targets = generate(spec, 3)
    assert time.shape == mixed.shape == (120,)
    assert targets.shape == (3, 120)
    np.testing.assert_allclose(targets[1], np.sin(2 * np.pi * 5 * time))
    np.testing.assert_allclose(mixed, noisy_components(spec, *draw_noise(spec, 3)).sum(axis=1) / 3)


def test_every_sample_and_frequency_has_draws_of_its_own():
    amplitude, phase = draw_noise(SignalSpec(), 1)
    for drawn, low, high in ((amplitude, 0.8, 1.2), (phase, 0, 2 * np.pi)):
        assert len(np.unique(drawn)) == drawn.size
        assert low <= drawn.min() < drawn.max() < high
        assert drawn.mean() == pytest.approx((low + high) / 2, rel=0.01)
        assert abs(np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]) < 0.05
        assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.05


def test_seeds_decide_and_many_equal_single_calls(spec):
    together = generate(spec, [4, 1, 9])
    assert together.mixed.shape == (3, 120)
    for row, seed in zip(together.mixed, (4, 1, 9), strict=True):
        np.testing.assert_array_equal(row, generate(spec, seed).mixed)
        np.testing.assert_array_equal(together.targets, generate(spec, seed).targets)
    assert not np.allclose(together.mixed[0], together.mixed[1])


@pytest.mark.parametrize("seed", [-1, 1.0, "1", None, True, []])
def test_bad_noise_seeds_are_refused(spec, seed):
    with pytest.raises((ValueError, TypeError)):
        generate(spec, seed)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("sample_rate", -1.0),
        ("sample_rate", "1000"),
        ("duration", 0.0),
        ("duration", 0.0015),
        ("frequencies", ()),
        ("frequencies", (1.0, 1.0)),
        ("frequencies", (600.0,)),
        ("frequencies", (-1.0,)),
        ("amplitude_range", (1.2, 0.8)),
        ("phase_range", (1.0,)),
    ],
)
def test_bad_settings_are_refused_by_name(setting, value):
    with pytest.raises(SettingsError, match=setting):
        SignalSpec(**{setting: value})
    with pytest.raises(SettingsError, match=r"permitted: frequencies, sample_rate"):
        SignalSpec(freqs=(1.0,))


@pytest.mark.parametrize(("alpha", "gain"), [(0, 1), (0.25, 0.9003), (0.5, 0.6366), (1, 0)])
def test_coherent_gain(alpha, gain):
    assert coherent_gain(SignalSpec(phase_range=(-alpha * np.pi, alpha * np.pi))) == pytest.approx(gain, abs=1e-4)


def test_the_assignments_mixture_is_white():
    mixed = generate(SignalSpec(), 1).mixed
    assert mixed.std() == pytest.approx(0.358, abs=0.01)
    assert abs(mixed @ generate(SignalSpec(), 1).targets.T).max() / len(mixed) < 4 * 0.36 * 0.71 / 100
