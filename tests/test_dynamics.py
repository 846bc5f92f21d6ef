"""What notebook 06 measures with: cases that are known in closed form must come out."""

import numpy as np
import pytest
import torch
from torch import nn

from lib import SignalSpec, StatefulLSTMExtractor, load_model, roll_out
from lib.lessons import dynamics
from lib.lessons import n06_attribution as attribution
from lib.lessons import n06_trials as trials
from lib.lessons import n06_wired as wired
from lib.lessons.dynamics import Loop, StepMap

SPEC = SignalSpec()
ONE = torch.eye(4)


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def loop(model):
    return dynamics.find_loop(StepMap(model, ONE[2]), 5.0, 1000.0)


def test_a_step_is_the_step_of_the_network(model):
    step_map = StepMap(model, ONE[1])
    x = torch.zeros(1, 300, 5)
    x[..., 2] = 1
    with model.evaluation_state():
        model(x)
        state = torch.cat([part[0, 0] for part in model.state()])
    assert torch.allclose(step_map.settle(300), state.double(), atol=1e-4)


def test_the_jacobian_is_that_of_torch_func_and_of_finite_differences(model):
    step_map = StepMap(model, ONE[0])
    states = torch.randn(3, 2 * step_map.units, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = step_map.jacobian(states)
    exact = torch.func.vmap(torch.func.jacrev(lambda s: step_map.step(s[None])[0]))(states)
    assert torch.allclose(found, exact, atol=1e-12)
    push = 1e-6 * torch.eye(2 * step_map.units, dtype=torch.float64)
    rise = (step_map.step(states[:1] + push) - step_map.step(states[:1] - push)) / 2e-6
    assert torch.allclose(found[0], rise.T, atol=1e-8)


def test_other_networks_are_refused():
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
    values = dynamics.eigenvalues(step_map, found[0])
    assert values == pytest.approx([0.5, 0.5, 0.5, 0, 0, 0], abs=1e-12), "the forget gates, and h, which is overwritten"


@pytest.mark.parametrize(
    ("frequency", "rate", "expected"),
    [(1, 1000, (1000, 1)), (3, 1000, (1000, 3)), (5, 1000, (200, 1)), (7, 1000, (1000, 7)), (4.5, 500, (1000, 9))],
)
def test_whole_periods_in_whole_samples(frequency, rate, expected):
    assert dynamics.repetition(frequency, rate) == expected


def turning(angle, across, samples, periods=1):
    """A loop of a linear map of three numbers: a rotation, and a factor across it; all is known in closed form."""
    turn = torch.zeros(3, 3, dtype=torch.float64)
    turn[:2, :2] = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn[2, 2] = across
    steps = angle * np.arange(samples + 1)
    states = torch.as_tensor(np.stack([np.cos(steps), np.sin(steps), 0 * steps], axis=1))
    tangents = angle * torch.as_tensor(np.stack([-np.sin(steps), np.cos(steps), 0 * steps], axis=1))[:-1]
    return Loop(states, turn.expand(samples, -1, -1), tangents, periods, 0.0, samples / 1000)


def test_multipliers_of_a_rotation():
    loop = turning(2 * np.pi * 3 / 1000, 0.999, 1000, 3)
    assert np.abs(loop.multipliers()) == pytest.approx([1, 1, 0.999**1000])
    assert dynamics.growths(loop.jacobians, 3) == pytest.approx([1, 1, 0.999**1000])
    assert loop.ppm == pytest.approx(0, abs=1e-6)
    assert loop.gap < 1e-9
    fast = turning(2 * np.pi * 3 / 1000 * (1 + 1e-5), 0.999, 1000, 3)
    assert fast.ppm == pytest.approx(-10, rel=1e-3), "ten parts per million too fast"


def test_the_chain_of_jacobians_stands_in_order():
    jacobians = torch.randn(7, 4, 4, dtype=torch.float64)
    expected = torch.eye(4, dtype=torch.float64)
    for jacobian in jacobians:
        expected = jacobian @ expected
    assert torch.allclose(dynamics.chained(jacobians), expected)


def test_growths_multiply_to_the_determinants(loop):
    """The product of all multipliers is exp of the sum of log-determinants."""
    jacobians = loop.jacobians[:, :6, :6] + torch.eye(6, dtype=torch.float64)
    logs = torch.linalg.slogdet(jacobians)[1].sum()
    assert np.log(dynamics.growths(jacobians, 6)).sum() == pytest.approx(float(logs))


def test_the_loop_of_the_reference(loop):
    assert loop.gap < 1e-3
    assert abs(loop.ppm) < 0.5
    sizes = np.abs(loop.multipliers())
    assert sizes[0] == pytest.approx(1, abs=1e-4)
    assert sizes[1] < 0.5
    assert torch.allclose(loop.product @ loop.tangents[0], loop.tangents[0], rtol=1e-3, atol=1e-4)


def test_the_phase_response_is_one_along_the_loop_and_what_a_push_does(model, loop):
    response = dynamics.phase_response(loop)
    assert (response * loop.tangents).sum(dim=1).numpy() == pytest.approx(1, abs=1e-3)
    push = torch.full((2 * model.config.hidden_size,), 1e-3, dtype=torch.float64)
    _, predicted, measured = trials.pushed_ahead(model, SPEC, loop, 2, push, phases=5)
    assert measured == pytest.approx(predicted, abs=2e-3 * np.abs(predicted).max())


def test_distances_are_in_steps_of_the_loop(loop):
    assert trials.distance(loop.states[:3], loop).numpy() == pytest.approx(0, abs=1e-4)
    away = loop.states[:1] + 50 * loop.tangents[:1].norm() / np.sqrt(loop.states.shape[1])
    assert 10 < float(trials.distance(away, loop)[0]) < 60


def test_ends_are_told_apart(model, loop):
    loops = [loop] * 4  # the loop of 5 Hz in the place of all others
    states = loop.states[[0, 60]]
    assert [end.where for end in trials.ends(model, SPEC, loops, states, 2, 3.0)] == [trials.ENDS[0]] * 2
    found = trials.ends(model, SPEC, loops, states, 0, 4.0)
    assert [end.where for end in found] == [trials.ENDS[1]] * 2
    assert trials.elsewhere(found) == "2 of 2 (at 1.0 Hz)"
    quiet = attribution.untrained(model)
    found = trials.ends(quiet, SPEC, loops, states, 2, 3.0)
    assert [end.where for end in found] == [trials.ENDS[2]] * 2
    assert trials.elsewhere(found) == "2 of 2 (at rest)"


def test_a_unit_that_nobody_hears_costs_nothing():
    theta = 2 * np.pi * np.array(SPEC.frequencies) / SPEC.sample_rate
    wide = wired.empty(SPEC, units=4)  # as `wired.wire` has it, and one unit more
    wired.open_gate(wide, "f", [0, 1, 3], np.cos(theta))
    wired.open_gate(wide, "i", [0, 1, 3], np.sin(theta))
    wired.connect(wide, "g", {(0, 1): -1.0, (1, 0): 1.0, (3, 0): 1.0})
    wired.open_gate(wide, "o", [0, 1, 3], 1.0)
    wired.add_start(wide, 1e-3)
    wired.read_out(wide, 1, 1e3)
    found = trials.removals(wide, SPEC, seconds=1.0)
    assert found.output[:, 3].max() < 1e-9
    assert found.clock[:, 3].max() < 1e-9
    assert found.output[:, 1] == pytest.approx(0.5, rel=1e-3), "the only unit that is read"
    assert found.clock[:, 0].min() > 0.1


def test_a_wired_clock_keeps_time():
    for spec in (SPEC, SignalSpec(frequencies=(2.0, 40.0), sample_rate=500.0, duration=3.0)):
        x = torch.cat([torch.zeros(spec.n_frequencies, 1), torch.eye(spec.n_frequencies)], dim=1).double()
        network = wired.wire(spec, 1e-3)
        y = roll_out(network, x[:, None].expand(-1, spec.n_samples, -1), steps=spec.n_samples)[..., 0].numpy()
        assert np.mean((y - spec.targets) ** 2) < 1e-12
        assert sum(weights.numel() for weights in network.lstm.parameters()) <= 12 * (1 + spec.n_frequencies + 3 + 2)


def test_multipliers_of_a_wired_clock_are_as_computed():
    gates = wired.openings(SPEC, 0.2, 0.5)
    for lane, loop in enumerate(dynamics.all_loops(wired.wire(SPEC, 0.2, 0.5), SPEC, settled=2.0)):
        left = np.abs(loop.multipliers()[1]) ** (1 / loop.periods)
        assert left == pytest.approx(gates.left[lane], rel=2e-3)


def test_gates_of_a_small_circle_are_cosine_and_sine():
    theta = 2 * np.pi * np.array(SPEC.frequencies) / SPEC.sample_rate
    forget, opened, left = wired.openings(SPEC, 1e-4)
    assert forget == pytest.approx(np.cos(theta), rel=1e-7)
    assert opened == pytest.approx(np.sin(theta), rel=1e-7)
    assert left == pytest.approx(1, abs=1e-6), "nothing brings the radius back"


def test_openings_that_no_sigmoid_gives_are_refused():
    network = wired.empty(SPEC)
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        wired.open_gate(network, "f", [0], 1.2)
    with pytest.raises(ValueError, match="must be one of i, f, g, o"):
        wired.open_gate(network, "x", [0], 0.5)


def test_the_rotation_is_exact():
    assert np.abs(wired.rotation(SPEC) - SPEC.targets).max() < 1e-11


def test_attributions_are_derivatives(model):
    found = attribution.attribute(model, SPEC, 1, lags=40, phases=2, settled=1.0)
    step_map = StepMap(model, ONE[1])
    start, head = step_map.settle(1000), dynamics.double_head(model)
    size = 1e-6

    def last(lag, feature, push):
        state = start.clone()[None]
        for k in range(40):
            step_map.x[feature] += push * (k == 39 - lag)
            state = step_map.step(state)
            step_map.x[feature] -= push * (k == 39 - lag)
        return float(head(state[:, : step_map.units]))

    for lag in (0, 7, 39):
        rise = (last(lag, 3, size) - last(lag, 3, -size)) / (2 * size)
        assert found.selector[0, lag, 2] == pytest.approx(rise, rel=1e-4, abs=1e-8)
    assert (found.signal == 0).all(), "the weights from S are zero"
    assert set(found.profiles()) == set(attribution.PARTS)


def test_a_network_with_ears_is_found_out(model):
    listening = attribution.attribute(attribution.with_ears(model, 0.1), SPEC, 1, lags=30, phases=2, settled=1.0)
    deaf = attribution.attribute(model, SPEC, 1, lags=30, phases=2, settled=1.0)
    assert listening.profiles()["S"].min() > 1e-4
    assert np.allclose(listening.selector, deaf.selector)


def test_the_derivatives_of_an_untrained_network_fade(model):
    found = attribution.attribute(attribution.untrained(model), SPEC, 1, lags=60, phases=2, settled=1.0)
    for profile in found.profiles().values():
        assert profile[-1] < 1e-6 * profile.max()
    rows = attribution.table({"untrained": found}, [0, 59]).splitlines()
    assert len(rows) == 2 + len(attribution.PARTS)


def test_a_push_across_fades_on_the_loop_and_stays_in_a_wired_rotation(model, loop):
    change = trials.amplitude_after(model, SPEC, loop, 2, 0.1, 6)
    assert abs(change[-1]) < 1e-3 < abs(change[0])
    plain = wired.wire(SPEC, 1e-3)
    circle = dynamics.find_loop(StepMap(plain, ONE[2]), 5.0, 1000.0, 0.5)
    assert trials.amplitude_after(plain, SPEC, circle, 2, 0.1, 6) == pytest.approx(0.1, abs=1e-3)


def test_half_way_between_two_selectors(model):
    found = trials.half_way(model, SPEC, 2, 3, seconds=1.0)
    assert 5 < found.frequency < 7
    assert 0.5 < found.amplitude < 1.5


def test_half_lives_are_those_of_the_forget_gates():
    jacobians = torch.zeros(5, 4, 4, dtype=torch.float64)
    jacobians[:, 2:, 2:] = torch.diag(torch.tensor([0.5, 0.5**0.1]))
    loop = Loop(torch.zeros(6, 4), jacobians, torch.zeros(5, 4), 1, 0.0, 1.0)
    assert dynamics.half_lives([loop]) == pytest.approx([1, 10], rel=1e-6)


def test_growing_pushes_are_told_by_their_frequencies():
    turn = np.exp(2j * np.pi * 3 / 1000)
    values = np.array([1.02 * turn, 1.02 / turn, 1.01, 0.99 * turn, 0.99 / turn])
    assert dynamics.turning_rates(values, 1000.0) == "3.0 Hz, real"
    assert dynamics.turning_rates(values[3:], 1000.0) == "none"


def test_random_starts_stay_in_their_box(loop):
    states = trials.anywhere([loop], 200)
    units = states.shape[1] // 2
    assert states[:, :units].abs().max() <= 1
    assert 0.9 < states[:, units:].abs().max() / loop.states[:, units:].abs().max() <= 1
    assert torch.equal(states, trials.anywhere([loop], 200))
    assert trials.some_paths(StepMap(load_model(), ONE[2]), [loop], 3, 4).shape == (3, 5, 2 * units)
