"""Notebook 02: what people do to a model in mid-sequence, and what becomes of its state; every row is executed."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.reduction import ForkingPickler

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lib.lessons.instruments import chain_length
from lib.model import StatefulLSTMExtractor as Model

ROWS = """
| `copy.deepcopy(model)` | works: the copy has the state's numbers, without the graph | |
| `pickle`, `torch.save(model, file)`, a `multiprocessing` queue | work as `deepcopy` does | |
| `copy.copy(model)` | works: the copy shares the weights and has a state of its own | |
| `state_dict`, `load_state_dict` | hold weights only; the state stays, though other weights have made it | `reset_state()`; to save the state, `model.state()` |
| the state is given to another model | works, but gradients reach the first model | `detach_state()` before |
| `model.double()`, `model.to(device)` | works: the state moves too; if that changes it, it is detached | |
| `model.lstm.double()` | refused: the state has not moved | `model.double()` |
| `eval`, `train`, `zero_grad`, `share_memory` | nothing happens to the state | |
| `requires_grad_(False)` | the state keeps its graph, so the output still requires gradients | `detach_state()` |
| `torch.autocast` | works: the state stays float32, but is rounded at every sample | |
| `no_grad` or `inference_mode`, then training | works: the gradient reaches back to where training began | |
| `optimizer.step()`, then `backward()` again | refused by PyTorch: the old graph is used up | `detach_state()` after each `backward()` |
| two threads call one model | they share one state: each goes on where the other stopped | `copy.deepcopy(model)` for each thread |
| `nn.DataParallel` on several GPUs | refused: the state would be lost after every call | one process and one model for each GPU |
| `torch.func.functional_call` | works: the model's own state goes on | |
| `torch.vmap(model)` | refused by PyTorch: it has no rule for its LSTM | `model(x)`: axis 0 of x is for the lanes |
| `torch.utils.checkpoint` | refused: to compute twice is to advance the state twice | `detach_state()` every k samples saves memory too |
| `torch.compile(model)` | works, with the same numbers | |
| `torch.export.export(model, …)` | refused: the state would be frozen | `OneStep(model)` |
| `torch.jit.script(model)`, `torch.jit.trace(model, x)` | refused: the state would be frozen | `OneStep(model)` |
| `torch.export.export(OneStep(model), …)` | works: the state is argument and result | |
| `quantize_dynamic(model)` | works: it is a copy, with rounded weights and so another clock | |
""".strip().splitlines()  # noqa: E501


class OneStep(torch.nn.Module):
    """A model's step with the state as argument and result: what can be exported."""

    def __init__(self, model: Model) -> None:
        """Share the model's layers."""
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map x (lanes, features), h and c to y (lanes, 1) and the new h and c."""
        outputs, (h, c) = self.model.lstm(self.model.input_norm(x[:, None]), (h, c))
        return self.model.head(self.model.output_norm(outputs))[:, 0], h, c


def begin() -> tuple[Model, Tensor]:
    """A small model that has seen five samples of three lanes, its state with a graph, and the next sample, (3, 4)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, x = Model(n_frequencies=3, hidden_size=6, head_size=5), torch.randn(3, 6, 4)
    model(x[:, :5])
    return model, x[:, 5]


def _goes_on(other: Model, within: float = 1e-6) -> bool:
    model, x = begin()  # one to which nothing happens
    return torch.allclose(other(x.to(next(other.parameters(), x).dtype)).to(x.dtype), model(x), atol=within)


def _is_copy(other: Model) -> bool:
    return chain_length(other.cell_state) == 0 and _goes_on(other)


def _from_file(model: Model) -> Model:
    torch.save(model, file := io.BytesIO())
    return torch.load(io.BytesIO(file.getvalue()), weights_only=False)


def _train(model: Model, x: Tensor) -> bool:
    model(x).sum().backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    return model.lstm.get_parameter("weight_hh_l0").grad is not None


def _give(model: Model, x: Tensor) -> bool:
    other = copy.deepcopy(model)
    other.hidden_state, other.cell_state = model.state()
    return _train(other, x) and all(p.grad is not None for p in model.lstm.parameters())


def _threads(model: Model, x: Tensor) -> bool:
    with ThreadPoolExecutor(2) as pool:  # one after the other, so that the outcome is certain
        own = [pool.submit(copy.deepcopy(model), x).result() for _ in range(2)]
        shared = [pool.submit(model, x).result() for _ in range(2)]
    return torch.equal(*own) and not torch.equal(*shared)


def _export(model: Model, x: Tensor) -> bool:
    step = torch.export.export(OneStep(model), (x, *model.state())).module()
    once, h, c = step(x, *model.state())
    return torch.allclose(model(x), once) and torch.allclose(model(x), step(x, h, c)[0], atol=1e-6)


# What is done for each row to the model and the next sample of `begin`; true where the row is right.
ACTIONS: tuple[Callable[[Model, Tensor], object], ...] = (
    lambda m, x: _is_copy(copy.deepcopy(m)),
    lambda m, x: _is_copy(pickle.loads(ForkingPickler.dumps(m))) and _is_copy(_from_file(m)),
    lambda m, x: copy.copy(m).lstm is m.lstm and _is_copy(copy.copy(m)) and _goes_on(m),
    lambda m, x: m.load_state_dict({k: 0 * w for k, w in m.state_dict().items()}) and m.state() and not _goes_on(m),
    _give,
    lambda m, x: _is_copy(m.double()) and _train(m, x.double()),
    lambda m, x: (m.lstm.double(), m(x.double())),
    lambda m, x: [do() for do in (m.eval, m.train, m.zero_grad, m.share_memory)] and _goes_on(m),
    lambda m, x: m.requires_grad_(False)(x).requires_grad,
    lambda m, x: torch.autocast("cpu", torch.bfloat16)(m)(x).dtype != x.dtype and m.state()[1].dtype == x.dtype,
    lambda m, x: [mode()(m)(x) for mode in (torch.no_grad, torch.inference_mode)] and _train(m, x),
    lambda m, x: _train(m, x) and _train(m, x),
    _threads,
    lambda m, x: m._replicate_for_data_parallel(),
    lambda m, x: torch.func.functional_call(m, dict(m.named_parameters()), (x,)) is not None and not _goes_on(m),
    lambda m, x: torch.vmap(m)(x[:, None]),
    lambda m, x: checkpoint(m, x, use_reentrant=False).sum().backward(),
    lambda m, x: torch.equal(torch.compile(copy.deepcopy(m), backend="eager")(x), m(x)),
    lambda m, x: torch.export.export(m, (x,)),
    lambda m, x: torch.jit.trace(torch.jit.script(m), (x,)),
    _export,
    lambda m, x: _goes_on(torch.ao.quantization.quantize_dynamic(m), 0.05),
)


def execute(row: str, action: Callable[[Model, Tensor], object]) -> str:
    """The row with what came out when it was executed; AssertionError where the row is wrong."""
    with warnings.catch_warnings(action="ignore"):  # PyTorch calls some of its own tools outdated
        try:
            right, seen = bool(action(*begin())) and "| refused" not in row, "as described"
        except Exception as error:
            right, seen = "| refused" in row, f"{type(error).__name__}: {error}"
    assert right, f"{row}: {seen}"
    return f"{row} {seen.splitlines()[0].split('. ')[0]} |"


def executed_table() -> str:
    """All rows, each executed, as a table in Markdown."""
    lines = ["| what people do | what happens | seen here |", "| --- | --- | --- |"]
    for row, action in zip(ROWS, ACTIONS, strict=False):
        done, happens, call, seen = (cell.strip() for cell in execute(row, action).strip("|").split("|"))
        lines.append(f"| {done} | {happens}{call and '. What to call: ' + call} | {seen.split(': ')[0]} |")
    return "\n".join(lines)
