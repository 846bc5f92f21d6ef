import numpy as np
import pytest

from lib import SignalSpec, load_model
from lib.lessons.clock import clock_figure, clock_of, frequency_and_amplitude, measure_clock


def test_a_known_rate_is_found():
    """Sines that run slow by known parts per million, begin late, and carry noise and a harmonic."""
    spec = SignalSpec(frequencies=(1.3, 4.0), sample_rate=250.0, duration=300.0)
    slow = np.array([5e-6, -2e-6])
    turns = np.outer(np.array(spec.frequencies) * (1 - slow), spec.time) - np.outer(spec.frequencies, [1e-3])
    outputs = 0.98 * np.sin(2 * np.pi * turns) + 0.02 * np.sin(4 * np.pi * turns)
    outputs += np.random.default_rng(0).normal(0, 1e-3, outputs.shape)
    clock = clock_of(outputs, spec)
    assert clock.ppm == pytest.approx(1e6 * slow, abs=0.1)
    assert clock.late[:, 0] == pytest.approx(1e-3, abs=3e-5)
    assert clock.amplitude == pytest.approx(0.98, abs=1e-3)
    assert max(clock.scatter) < 2e-5
    alt = clock_figure(clock, spec).alt
    assert "over 300 s" in alt
    assert "1.3 Hz +5.0; 4 Hz -2.0" in alt


def test_more_than_half_a_turn_is_followed():
    spec = SignalSpec(frequencies=(5.0,), sample_rate=100.0, duration=600.0)
    clock = clock_of(np.sin(2 * np.pi * 5.0 * (1 - 4e-4) * spec.time)[None], spec)
    assert clock.ppm == pytest.approx([400], rel=1e-3)
    assert clock.late[0, -1] > 0.2  # a whole turn late


def test_a_recording_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match=r"duration = 30\.0: must be at least 60 s, 60 periods"):
        measure_clock(load_model(), SignalSpec(), 5, duration=30.0)


def test_frequency_and_amplitude_of_a_sine():
    y = 0.4 + 0.7 * np.sin(2 * np.pi * 6.4 * SignalSpec().time[:4500])
    assert frequency_and_amplitude(y, 1000) == pytest.approx((6.4, 0.7), abs=0.03)
    frequency, amplitude = frequency_and_amplitude(np.full(4500, 0.3), 1000)
    assert np.isnan(frequency)
    assert amplitude == pytest.approx(0)
