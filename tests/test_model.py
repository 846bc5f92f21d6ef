import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import ModelConfig, SettingsError, StatefulLSTMExtractor, StateResetWarning, roll_out
from lib.lessons.instruments import chain_length


def test_the_state_is_none_after_a_reset_and_then_begins_at_zero(model, dataset):
    first = model(dataset.inputs[:, :4])
    assert first.shape == (3, 4, 1)
    assert model.hidden_state.shape == model.cell_state.shape == (1, 3, 6)
    model.reset_state()
    assert model.hidden_state is None
    assert model.cell_state is None
    model.init_hidden(3)
    assert not model.hidden_state.any()
    assert not model.cell_state.any()
    assert torch.allclose(first, model(dataset.inputs[:, :4]), atol=1e-6)
    assert model(dataset.inputs[:, 0], reset_state=True).shape == (3, 1)
    assert torch.allclose(first[:, 1], model(dataset.inputs[:, 1]), atol=1e-6)


def test_detach_keeps_numbers_and_cuts_gradients(model, dataset):
    model(dataset.inputs[:, 0])
    before = model.state()
    assert chain_length(model.cell_state) == 1
    model.detach_state()
    assert chain_length(model.cell_state) == chain_length(model.hidden_state) == 0
    assert all(torch.equal(old, new) for old, new in zip(before, model.state(), strict=True))
    model.reset_state()
    model.detach_state()  # nothing to detach is no error
    assert model.hidden_state is None


@given(cut=st.lists(st.integers(1, 9), min_size=1, max_size=6), layers=st.integers(1, 2), norms=st.booleans())
@settings(max_examples=25, deadline=None)
def test_any_cut_gives_the_same_outputs_and_gradients(cut, layers, norms):
    torch.manual_seed(1)
    model = StatefulLSTMExtractor(
        n_frequencies=2, hidden_size=4, num_layers=layers, head_size=3, input_norm=norms, output_norm=norms
    )
    x = torch.randn(2, sum(cut), 3)

    def outputs_and_gradient(pieces):
        model.reset_state()
        model.zero_grad()
        y = torch.cat([model(piece) for piece in pieces], dim=1)
        (y**2).mean().backward()
        return y, torch.cat([p.grad.flatten() for p in model.parameters()])

    whole = outputs_and_gradient([x])
    pieces = outputs_and_gradient(x.split(cut, dim=1))
    singles = outputs_and_gradient([step[:, None] for step in x.unbind(dim=1)])
    for other in (pieces, singles):
        assert torch.allclose(whole[0], other[0], atol=1e-6)
        assert torch.allclose(whole[1], other[1], atol=1e-5)


def test_lanes_do_not_mix(model, dataset):
    together = roll_out(model, dataset.inputs)
    alone = torch.cat([roll_out(model, lane[None]) for lane in dataset.inputs])
    assert torch.allclose(together, alone, atol=1e-6)


def test_change_of_lanes_warns_and_starts_anew(model, dataset):
    fresh = model(dataset.inputs[:2, 0])
    model.reset_state()
    model(dataset.inputs[:, 0])
    with pytest.warns(StateResetWarning, match="3 lanes but the input has 2"):
        again = model(dataset.inputs[:2, 0])
    assert torch.allclose(fresh, again, atol=1e-6)
    assert model.hidden_state.shape[1] == 2


def test_evaluation_state_leaves_training_untouched(model, dataset):
    model.train()
    model(dataset.inputs[:, 0])
    kept = model.hidden_state, model.cell_state
    with model.evaluation_state():
        assert model.hidden_state is None
        assert not model.training
        assert not model(dataset.inputs[:, :3]).requires_grad
    assert (model.hidden_state, model.cell_state) == kept
    assert model.training
    with pytest.raises(ZeroDivisionError), model.evaluation_state():
        raise ZeroDivisionError
    assert model.hidden_state is kept[0]


def test_reset_every_sample_ignores_the_past(model, dataset):
    slow = torch.stack([roll_out(model, dataset.inputs[:, t : t + 1])[:, 0] for t in range(9)], dim=1)
    fast = roll_out(model, dataset.inputs[:, :9], reset_every_sample=True)
    assert torch.allclose(slow, fast, atol=1e-6)


@pytest.mark.parametrize("shape", [(4,), (3, 5), (3, 2, 5), (3, 2, 2, 4), (0, 4), (3, 0, 4)])
def test_wrong_shapes_say_what_came_and_what_was_expected(model, shape):
    with pytest.raises(ValueError, match=r"x has shape .* must be \(lanes, steps, 4\) or \(lanes, 4\)"):
        model(torch.zeros(shape))


def test_wrong_types_and_devices(model):
    with pytest.raises(TypeError, match=r"torch.float64: must be torch.float32"):
        model(torch.zeros(3, 4, dtype=torch.float64))
    with pytest.raises(TypeError, match=r"list: must be a torch.Tensor"):
        model([0.0] * 4)
    with pytest.raises(RuntimeError, match="device meta: must be cpu"):
        model(torch.zeros(3, 4, device="meta"))
    with pytest.raises(ValueError, match="lanes = 0"):
        model.init_hidden(0)
    with pytest.raises(RuntimeError, match="reset"):
        model.state()


@pytest.mark.parametrize("name", ["hidden_state", "cell_state"])
def test_a_state_unlike_the_weights_is_refused_by_name(model, dataset, name):
    x = dataset.inputs[:, 0]
    model(x)
    setattr(model, name, getattr(model, name).double())
    with pytest.raises(TypeError, match=rf"{name} has dtype torch.float64: must be torch.float32.*convert it with"):
        model(x)
    setattr(model, name, torch.empty((1, 3, 6), device="meta"))
    with pytest.raises(RuntimeError, match=f"{name} has device meta: must be cpu"):
        model(x)
    setattr(model, name, None)
    if name == "cell_state":
        with pytest.raises(RuntimeError, match="the state is None"):
            model(x)


def test_the_weights_move_without_the_state(model, dataset):
    x = dataset.inputs[:, 0]
    expected = model(x)
    model.double()
    with pytest.raises(TypeError, match=r"hidden_state has dtype torch.float32: must be torch.float64"):
        model(x.double())
    assert torch.allclose(model(x.double(), reset_state=True), expected.double(), atol=1e-6)


def test_a_state_without_gradients_is_a_start_for_training_but_not_from_inference_mode(model, dataset):
    x = dataset.inputs[:, 0]
    with torch.no_grad():
        model(x)
    model(x).sum().backward()
    assert model.lstm.weight_hh_l0.grad.any()
    with torch.inference_mode():
        model(x, reset_state=True)
        model(x)
    with pytest.raises(RuntimeError, match=r"hidden_state was made under torch.inference_mode\(\).*use torch.no_grad"):
        model(x)
    with torch.no_grad():
        model(x)
    model(x).sum().backward()


def test_a_copy_has_a_state_of_its_own(model, dataset):
    x = dataset.inputs[:, 0]
    model(x)
    with pytest.raises(RuntimeError, match="deepcopy"):  # PyTorch's own: a graph is not copied
        copy.deepcopy(model)
    model.detach_state()
    twin = copy.deepcopy(model)
    first = twin(x)
    assert not torch.allclose(twin(x), first, atol=1e-6)
    assert torch.allclose(model(x), first, atol=1e-6), "the copy's steps leave the model's state alone"


def test_a_state_is_no_part_of_the_weights(model, dataset):
    model(dataset.inputs[:, 0])
    kept = model.hidden_state
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}
    model.load_state_dict(StatefulLSTMExtractor(model.config).state_dict())
    assert model.hidden_state is kept


@pytest.mark.parametrize(
    ("option", "value"),
    [("hidden_size", 0), ("num_layers", 0), ("dropout", 1.0), ("dropout", 0.5), ("activation", "gelu"), ("size", 3)],
)
def test_bad_options_are_refused_by_name(option, value):
    with pytest.raises(SettingsError, match=option):
        StatefulLSTMExtractor(**{option: value})


def test_options_reach_the_network():
    model = StatefulLSTMExtractor(
        ModelConfig(num_layers=2, dropout=0.3), input_norm=True, output_norm=True, activation="relu"
    )
    assert model.lstm.dropout == 0.3
    assert isinstance(model.input_norm, torch.nn.LayerNorm)
    assert isinstance(model.output_norm, torch.nn.LayerNorm)
    assert isinstance(model.head[1], torch.nn.ReLU)
    assert isinstance(StatefulLSTMExtractor(head_size=0).head[0], torch.nn.Identity)
    assert tuple(model(torch.zeros(4, 3, 5)).shape) == (4, 3, 1)
