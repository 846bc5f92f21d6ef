"""What notebook 06 measures with: cases that are known in closed form must come out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lib import SignalSpec, StatefulLSTMExtractor, load_model, roll_out
from lib.lessons import dynamics
from lib.lessons import n06_trials as trials
from lib.lessons import n06_wired as wired
from lib.lessons.dynamics import ClosedLoop, StepMap

SPEC = SignalSpec()
ONE = torch.eye(4)


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def loop(model):
    return dynamics.find_loop(StepMap(model, ONE[2]), 5.0, 1000.0)


def test_a_step_is_the_step_of_the_network_and_the_jacobian_its_slope(model):
    step_map = StepMap(model, ONE[1])
    x = torch.zeros(1, 300, 5)
    x[..., 2] = 1
    with model.evaluation_state():
        model(x)
        state = torch.cat([part[0, 0] for part in model.state()]).double()
    path = step_map.path(torch.zeros(2 * step_map.units).double(), 300)
    assert torch.allclose(path[-1], state, atol=1e-4)
    assert torch.allclose(path[-1], step_map.settle(300), atol=1e-12)
    states, push = torch.randn(3, 2 * step_map.units).double(), 1e-6 * torch.eye(2 * step_map.units).double()
    rise = (step_map.step(states[:1] + push) - step_map.step(states[:1] - push)) / 2e-6
    assert torch.allclose(step_map.jacobian(states)[0], rise.T, atol=1e-8)
    with pytest.raises(ValueError, match="must have one layer and no normalization"):
        StepMap(StatefulLSTMExtractor(hidden_size=4, num_layers=2), ONE[0])


def test_the_fixed_point_of_a_network_without_weights_is_known():
    """All gates are one half, the candidate is tanh(b): c = c / 2 + tanh(b) / 2, so c = tanh(b)."""
    network = StatefulLSTMExtractor(hidden_size=3, head_size=0)
    for weights in network.parameters():
        nn.init.zeros_(weights)
    network.lstm.get_parameter("bias_ih_l0").data[6:9] = torch.tensor([0.5, -1.0, 2.0])
    step_map = StepMap(network, ONE[0])
    found = dynamics.fixed_points(step_map, torch.randn(5, 6, dtype=torch.float64))
    c = torch.tanh(torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64))
    assert len(found) == 1
    assert torch.allclose(found[0], torch.cat([c.tanh() / 2, c]), atol=1e-9)
    values = dynamics.sorted_eigenvalues(step_map.jacobian(found)[0])
    assert values == pytest.approx([0.5, 0.5, 0.5, 0, 0, 0], abs=1e-12), "the forget gates, and h, which is overwritten"


@pytest.mark.parametrize(
    ("frequency", "rate", "expected"), [(3, 1000, (1000, 3)), (5, 1000, (200, 1)), (4.5, 500, (1000, 9))]
)
def test_whole_periods_in_whole_samples(frequency, rate, expected):
    assert dynamics.repetition(frequency, rate) == expected


def turning(angle, across, samples):
    """A loop of a linear map of three numbers: a rotation, and a factor across it; all is known in closed form."""
    turn = torch.zeros(3, 3, dtype=torch.float64)
    turn[:2, :2] = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn[2, 2] = across
    steps = angle * np.arange(samples + 1)
    states = torch.as_tensor(np.stack([np.cos(steps), np.sin(steps), 0 * steps], axis=1))
    tangents = angle * torch.as_tensor(np.stack([-np.sin(steps), np.cos(steps), 0 * steps], axis=1))[:-1]
    return ClosedLoop(None, 3.0, 1000.0, states, turn.expand(samples, -1, -1), tangents)


def test_multipliers_of_a_rotation():
    loop = turning(2 * np.pi * 3 / 1000, 0.999, 1000)
    assert np.abs(loop.multipliers) == pytest.approx([1, 1, 0.999**1000])
    assert trials.growths(loop.jacobians, 3) == pytest.approx([1, 1, 0.999**1000])
    assert loop.ppm == pytest.approx(0, abs=1e-6)
    assert loop.gap < 1e-9
    fast = turning(2 * np.pi * 3 / 1000 * (1 + 1e-5), 0.999, 1000)
    assert fast.ppm == pytest.approx(-10, rel=1e-3), "ten parts per million too fast"


def test_the_loop_of_the_reference(model, loop):
    assert loop.gap < 1e-3
    assert abs(loop.ppm) < 0.5
    assert np.abs(loop.multipliers[0]) == pytest.approx(1, abs=1e-4)
    assert loop.left < 0.5
    ordered = torch.linalg.multi_dot([*loop.jacobians[:9].flip(0)])
    assert torch.allclose(replace(loop, jacobians=loop.jacobians[:9]).product, ordered)
    assert torch.allclose(loop.product @ loop.tangents[0], loop.tangents[0], rtol=1e-3, atol=1e-4)
    response = loop.phase_response
    assert (response * loop.tangents).sum(dim=1).numpy() == pytest.approx(1, abs=1e-3)
    push = torch.full((2 * model.config.hidden_size,), 1e-3, dtype=torch.float64)
    _, predicted, measured = trials.pushed_ahead(loop, push, phases=5)
    assert measured == pytest.approx(predicted, abs=2e-3 * np.abs(predicted).max())


def test_ends_are_told_apart(model, loop):
    assert trials.distance(loop.states[:3], loop).numpy() == pytest.approx(0, abs=1e-4)
    away = loop.states[:1] + 50 * loop.tangents[:1].norm() / np.sqrt(loop.states.shape[1])
    assert 10 < float(trials.distance(away, loop)[0]) < 60
    quiet = trials.untrained(model)
    for network, lane, where, told in (
        (model, 2, 0, "0 of 2"),
        (model, 0, 1, "2 of 2 (at 1.0 Hz)"),
        (quiet, 2, 2, "2 of 2 (at rest)"),
    ):
        mistaken = replace(loop, step_map=StepMap(network, ONE[lane]))  # the loop of 5 Hz for all of them
        found = trials.ends(mistaken, loop.states[[0, 60]], 4.0)
        assert [end.where for end in found] == [trials.ENDS[where]] * 2
        assert trials.elsewhere(found) == told


def test_random_starts_stay_in_their_box(loop):
    states, units = trials.anywhere([loop], 200), loop.step_map.units
    assert states[:, :units].abs().max() <= 1
    assert 0.9 < states[:, units:].abs().max() / loop.states[:, units:].abs().max() <= 1
    assert torch.equal(states, trials.anywhere([loop], 200))


def test_a_unit_that_nobody_hears_costs_nothing():
    theta = 2 * np.pi * np.array(SPEC.frequencies) / SPEC.sample_rate
    wide = wired.empty(SPEC, units=4)  # a wired clock, and one unit more
    wired.open_gate(wide, "f", [0, 1, 3], np.cos(theta))
    wired.open_gate(wide, "i", [0, 1, 3], np.sin(theta))
    wired.connect(wide, "g", {(0, 1): -1.0, (1, 0): 1.0, (3, 0): 1.0})
    wired.open_gate(wide, "o", [0, 1, 3], 1.0)
    wired.add_start(wide, 1e-3)
    wired.read_out(wide, 1, 1e3)
    found = trials.removals(dynamics.all_loops(wide, SPEC, settled=1.0), seconds=1.0)
    assert found.output[:, 3].max() < 1e-9
    assert found.clock[:, 3].max() < 1e-9
    assert found.output[:, 1] == pytest.approx(0.5, rel=1e-3), "the only unit that is read"
    assert found.clock[:, 0].min() > 0.1


def test_a_wired_clock_keeps_time():
    for spec in (SPEC, SignalSpec(frequencies=(2.0, 40.0), sample_rate=500.0, duration=3.0)):
        x = torch.cat([torch.zeros(spec.n_frequencies, 1), torch.eye(spec.n_frequencies)], dim=1).double()
        network = wired.wired_clock(spec, 1e-3)
        y = roll_out(network, x[:, None].expand(-1, spec.n_samples, -1), steps=spec.n_samples)[..., 0].numpy()
        assert np.mean((y - spec.targets) ** 2) < 1e-12


def test_the_gates_of_a_wired_clock_are_as_computed():
    for lane, loop in enumerate(dynamics.all_loops(wired.wired_clock(SPEC, 0.2, 0.5), SPEC, settled=2.0)):
        left = np.abs(loop.multipliers[1]) ** (1 / loop.periods)
        assert left == pytest.approx(wired.openings(SPEC, 0.2, 0.5).left[lane], rel=2e-3)
    theta = 2 * np.pi * np.array(SPEC.frequencies) / SPEC.sample_rate
    forget, opened, left = wired.openings(SPEC, 1e-4)
    assert forget == pytest.approx(np.cos(theta), rel=1e-7)
    assert opened == pytest.approx(np.sin(theta), rel=1e-7)
    assert left == pytest.approx(1, abs=1e-6), "nothing brings the radius back"
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        wired.open_gate(wired.empty(SPEC), "f", [0], 1.2)
    with pytest.raises(ValueError, match="must be one of i, f, g, o"):
        wired.open_gate(wired.empty(SPEC), "x", [0], 0.5)


def test_attributions_are_derivatives(model):
    step_map = StepMap(model, ONE[1])
    start, selected = step_map.settle(1000)[None], step_map.x
    found = trials.attribute(step_map, start, lags=40)

    def last(lag, change):
        state = start
        for k in range(40):
            step_map.x = selected + change if k == 39 - lag else selected
            state = step_map.step(state)
        step_map.x = selected
        return float(step_map.model.head(state[:, : step_map.units]))

    for lag in (0, 7, 39):
        rises = [(last(lag, push) - last(lag, -push)) / 2e-6 for push in 1e-6 * torch.eye(5).double()[1:]]
        assert np.linalg.norm(rises) == pytest.approx(found.selector[lag], rel=1e-4)
    assert (found.S == 0).all(), "the weights from S are zero"
    ears = trials.attribute(StepMap(trials.with_ears(model, 0.1), ONE[1]), start, lags=40)
    assert ears.S.mean() > 1e-4
    assert np.allclose(ears.selector, found.selector)
    step_map = StepMap(trials.untrained(model), ONE[1])
    faded = trials.attribute(step_map, step_map.settle(1000)[None], lags=60)
    assert all(profile[-1] < 1e-6 * profile.max() for profile in faded)


def test_a_push_across_fades_on_the_loop_and_stays_in_a_wired_rotation(loop):
    change = trials.amplitude_after(loop, 0.1, 6)
    assert abs(change[-1]) < 1e-3 < abs(change[0])
    circle = dynamics.find_loop(StepMap(wired.wired_clock(SPEC, 1e-3), ONE[2]), 5.0, 1000.0, 0.5)
    assert trials.amplitude_after(circle, 0.1, 6) == pytest.approx(0.1, abs=1e-3)


def test_half_way_between_two_selectors(model):
    frequency, amplitude, left = trials.half_way(model, SPEC, 2, 3, seconds=1.0)
    assert 5 < frequency < 7
    assert 0.5 < amplitude < 1.5
    assert 0 < left < 1


def test_half_lives_are_those_of_the_forget_gates(loop):
    jacobians = torch.zeros(5, 4, 4, dtype=torch.float64)
    jacobians[:, 2:, 2:] = torch.diag(torch.tensor([0.5, 0.5**0.1]))
    step_map = StepMap(StatefulLSTMExtractor(hidden_size=2), ONE[0])
    assert dynamics.half_lives(replace(loop, step_map=step_map, jacobians=jacobians)) == pytest.approx([1, 10])
