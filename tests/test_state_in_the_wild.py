"""What people do to a model in mid-sequence: every row of the table, and the right values behind the rows."""

import copy
import pickle
import threading
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from lib import StatefulLSTMExtractor
from lib.lessons.instruments import chain_length
from lib.lessons.state_in_the_wild import ACTIONS, ROWS, OneStep, begin, execute, executed_table
from lib.lessons.stepper import Stepper

REFUSED = r"the state would be frozen, lost or advanced twice: use a module that takes and returns it"


@pytest.fixture
def model_and_x():
    return begin()


@pytest.fixture
def expected():
    """What a model to which nothing happens puts out next."""
    model, x = begin()
    return model(x).detach()


@pytest.mark.parametrize(("row", "action"), list(zip(ROWS, ACTIONS, strict=True)), ids=range(len(ROWS)))
def test_every_row_is_as_described(row, action):
    cells = execute(row, action).strip("| ").split(" | ")
    assert len(cells) in (3, 4)
    assert row.count("|") == 4
    own_refusal = row.split("|")[2].startswith(" refused:")
    assert not own_refusal or "must be" in cells[-1] or "use a module" in cells[-1]


def test_a_wrong_row_is_found(monkeypatch):
    for row, action in (
        ("| x | works | |", lambda m, x: False),
        ("| x | works | |", lambda m, x: m(x.double())),
        ("| x | refused: x | y |", lambda m, x: True),
    ):
        with pytest.raises(AssertionError, match=r"\| x"):
            execute(row, action)
    monkeypatch.setattr("lib.lessons.state_in_the_wild.ROWS", ROWS[:1])
    lines = executed_table().splitlines()
    assert len(lines) == 3
    assert {line.count("|") for line in lines} == {4}


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: pickle.loads(ForkingPickler.dumps(m))],
)
def test_copies_hold_the_numbers_without_the_graph(model_and_x, expected, duplicate):
    model, x = model_and_x
    twin = duplicate(model)
    assert chain_length(model.cell_state) == 1
    for own, its in zip(model.state(), twin.state(), strict=True):
        assert torch.equal(own, its)
        assert its.grad_fn is None
        assert not its.requires_grad
        assert own.data_ptr() != its.data_ptr()
    for _ in range(2):  # the twin's steps leave the model's state alone
        y = twin(x)
    y.sum().backward()
    assert torch.equal(model(x), expected)
    assert model.lstm.weight_hh_l0.grad is None
    model.reset_state()
    assert duplicate(model).hidden_state is None


def test_the_stepper_takes_a_model_with_a_live_graph(model, dataset):
    model(dataset.inputs[:, :5])
    stepper = Stepper(model, dataset, sequence_length=50)
    assert stepper.step(3).chain == 3
    assert chain_length(model.cell_state) == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_state_moves_with_the_weights(model_and_x, expected, dtype):
    model, x = model_and_x
    model.to(dtype)
    assert all(part.dtype == dtype and part.grad_fn is None for part in model.state())
    y = model(x.to(dtype))
    assert torch.allclose(y.float(), expected, atol=0.02)
    y.sum().backward()
    assert model.lstm.weight_hh_l0.grad.dtype == dtype


def test_a_move_that_changes_nothing_cuts_nothing(model_and_x):
    model, _ = model_and_x
    before = model.state()
    torch.nn.Sequential(model.float().cpu().to(torch.float32)).to("cpu")
    assert all(own is kept for own, kept in zip(model.state(), before, strict=True))
    torch.nn.Sequential(model).to("meta")  # as part of a larger module, and to another device
    assert model.hidden_state.device == model.cell_state.device == torch.device("meta")


@pytest.mark.parametrize("name", ["hidden_state", "cell_state"])
def test_a_state_unlike_the_weights_is_refused_by_name(model_and_x, name):
    model, x = model_and_x
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


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("detach", [False, True])
def test_training_goes_on_from_a_state_made_without_gradients(model_and_x, expected, mode, detach):
    model, x = model_and_x
    with mode():
        assert torch.equal(model(x), expected)
    if detach:
        model.detach_state()
    reference, _ = begin()
    reference(x)
    reference.detach_state()
    for each in (model, reference):
        each(x).sum().backward()
    for (name, own), its in zip(model.named_parameters(), reference.parameters(), strict=True):
        assert torch.equal(own.grad, its.grad), name


def test_autocast_keeps_the_state_in_the_weights_dtype(model_and_x, expected):
    model, x = model_and_x
    model.detach_state()
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x)
        again = model(x)  # with bfloat16 in the state this raised an error
    assert y.dtype == again.dtype == torch.bfloat16
    assert torch.allclose(y.float(), expected, atol=0.02)
    assert {part.dtype for part in model.state()} == {torch.float32}
    (again.float().sum() + model(x).sum()).backward()


@pytest.mark.filterwarnings("ignore")  # PyTorch calls some of its own tools outdated
def test_what_would_freeze_lose_or_repeat_the_state_is_refused(model_and_x):
    model, x = model_and_x
    before = model.state()
    for refused in (
        lambda: torch.export.export(model, (x,)),
        lambda: torch.jit.trace(model, (x,)),
        lambda: torch.jit.script(model),
        lambda: model._replicate_for_data_parallel(),
    ):
        with pytest.raises(RuntimeError, match=REFUSED):
            refused()
    assert all(own is kept for own, kept in zip(model.state(), before, strict=True))
    for reentrant in (False, True):
        y = checkpoint(model, x.clone().requires_grad_(), use_reentrant=reentrant)
        with pytest.raises(RuntimeError, match=REFUSED):
            y.sum().backward()


def test_one_step_takes_and_returns_the_state(model_and_x):
    model, x = model_and_x
    h, c = model.state()
    y, h, c = OneStep(model)(x, h, c)
    assert torch.equal(model(x), y)
    assert torch.equal(model.hidden_state, h)
    assert torch.equal(model.cell_state, c)
    normed = StatefulLSTMExtractor(n_frequencies=3, hidden_size=6, input_norm=True, output_norm=True, head_size=0)
    normed.init_hidden(3)
    assert torch.allclose(OneStep(normed)(x, *normed.state())[0], normed(x))


def test_checkpointed_one_step_has_the_right_gradient(model_and_x):
    model, x = model_and_x
    model.detach_state()
    step, state = OneStep(model), model.state()
    checkpoint(step, x, *state, use_reentrant=False)[0].sum().backward()
    saved = model.lstm.weight_hh_l0.grad.clone()
    model.zero_grad()
    model(x).sum().backward()
    assert torch.allclose(model.lstm.weight_hh_l0.grad, saved, atol=1e-6)


def test_a_copy_for_each_thread(model_and_x, expected):
    model, x = model_and_x
    outputs = {}

    def work(name, own):
        outputs[name] = own(x)

    threads = [threading.Thread(target=work, args=(name, copy.deepcopy(model))) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(outputs[name], expected) for name in range(4))
    assert torch.equal(model(x), expected)


@pytest.mark.filterwarnings("ignore")
def test_a_quantized_copy_counts_its_own_lanes(model_and_x):
    model, x = model_and_x
    quantized = torch.ao.quantization.quantize_dynamic(model)
    assert not list(quantized.parameters())
    assert quantized.device == torch.device("cpu")
    quantized.reset_state()
    assert quantized(x[:2]).shape == (2, 1)
    assert quantized.hidden_state.shape == (1, 2, 6)


def test_weights_and_state_are_kept_apart(model_and_x):
    model, _ = model_and_x
    before = model.state()
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}
    model.load_state_dict(StatefulLSTMExtractor(model.config).state_dict())
    assert model.state()[0] is before[0]
    with model.evaluation_state():
        model.double()
    with pytest.raises(TypeError, match=r"hidden_state has dtype torch.float32: must be torch.float64"):
        model(torch.zeros(3, 4).double())
