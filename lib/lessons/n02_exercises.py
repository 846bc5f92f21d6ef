"""Notebook 02: its checks and exercises. A wrong answer gets a hint for its mistake; the same mistake again, more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib.lessons.exercises import check, numbers
from lib.loader import Batch, FrequencyDataset, StatefulDataLoader
from lib.model import StatefulLSTMExtractor
from lib.signals import SignalSpec

Pass = Callable[[StatefulLSTMExtractor, Iterable[Batch], torch.optim.Optimizer], object]
Repair = Callable[[StatefulLSTMExtractor, FrequencyDataset, int, int], object]
Weights = list[Tensor]
SMALL = SignalSpec(frequencies=(2.0, 5.0, 9.0), sample_rate=200.0, duration=0.6)
HINTS = {  # for each mistake a nudge, a stronger one, and the line itself
    "no detach": (
        "the second backward pass met a graph that the first one has used up",
        "the state still carries the graph of the window before",
        "after the step: state = [part.detach() for part in state], or model.detach_state()",
    ),
    "no zero_grad": (
        "what do the gradients hold when the second window ends?",
        "`backward` adds to the gradients that are there",
        "before backward: optimizer.zero_grad()",
    ),
    "no step": (
        "the weights are those that the network began with",
        "a gradient changes no weight by itself",
        "after backward: optimizer.step()",
    ),
    "state not passed on": (
        "what does the network know of the sample before?",
        "the LSTM takes the old state as its second argument",
        "h, state = lstm(x[t : t + 1], state); in the class, reset only before the first batch of a sequence",
    ),
    "no reset": (
        "where does a sequence begin?",
        "the state of the pass, or of the sequence, before is still there",
        "before the first sample of each pass: state = None; with batches: reset if batch.is_first_batch",
    ),
    "reset only once": (
        "how many sequences are there, and where does each begin?",
        "the first batch of every sequence says so itself",
        "reset if batch.is_first_batch",
    ),
    "off by one": (
        "count the samples of the first window",
        "the first window must hold the samples 0 to 19, and the last one must end with the last sample",
        "the window ends where t % 20 == 19",
    ),
    "detach at every sample": (
        "how far back does a gradient reach?",
        "the state must be detached at the end of a window, not at each of its samples",
        "move the detach into the block behind `optimizer.step()`",
    ),
    "sum": (
        "compare the size of the loss with that of the one in the text",
        "a mean, not a sum: the rate of Adam does not see the difference at once, but its epsilon does",
        "divide the loss of a window by its 20 samples; for a batch take mse_loss",
    ),
}
_met: Counter[tuple[str, str]] = Counter()


def _hint(exercise: str, mistake: str) -> str:
    """The next of the hints for this mistake; the last one is the solution."""
    _met[exercise, mistake] += 1
    return HINTS[mistake][min(_met[exercise, mistake], len(HINTS[mistake])) - 1]


def _run(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the reader's function; a string says in one line why it stopped."""
    if not callable(function):
        return "give the function itself, without calling it"
    try:
        return function(*arguments)
    except RuntimeError as error:
        if "second time" in str(error) or "modified by an inplace" in str(error):
            return "no detach"
        return f"it stopped with {type(error).__name__}: {str(error).splitlines()[0][:90]}"
    except Exception as error:
        return f"it stopped with {type(error).__name__}: {(str(error).splitlines() or [''])[0][:90]}"


def _equal(one: Weights, other: Weights | str, tolerance: float = 1e-5) -> bool:
    return (
        len(one) == len(other)
        and not isinstance(other, str)
        and all(a.shape == b.shape and torch.allclose(a, b, atol=tolerance) for a, b in zip(one, other, strict=True))
    )


def _loop(
    x: Tensor, y: Tensor, seed: int, passes: int = 2, mistake: str = "", samples: int = 20
) -> tuple[nn.LSTM, nn.Linear]:
    """The loop of section 2.1, with one of the mistakes of `HINTS`."""
    torch.manual_seed(seed)
    lstm, head = nn.LSTM(2, 12), nn.Linear(12, 1)
    optimizer = torch.optim.Adam([*lstm.parameters(), *head.parameters()], lr=0.02)
    state: Any = None
    for _ in range(passes):
        state, loss = (state if mistake == "no reset" else None), torch.zeros(())
        for t in range(len(x)):
            h, state = lstm(x[t : t + 1], None if mistake == "state not passed on" else state)
            loss = loss + (head(h) - y[t]).square().mean() / (1 if mistake == "sum" else samples)
            if mistake == "detach at every sample":
                state = [part.detach() for part in state]
            if t % samples == (0 if mistake == "off by one" else samples - 1):
                if mistake != "no zero_grad":
                    optimizer.zero_grad()
                loss.backward()
                if mistake != "no step":
                    optimizer.step()
                state, loss = [part.detach() for part in state], torch.zeros(())
    return lstm, head


def check_loop(my_loop: Any) -> None:
    """A function of x, y, a seed and the passes: the loop of section 2.1. It returns at least the LSTM and the head."""
    x, y = (torch.sin(torch.arange(40.0)[:, None] * torch.tensor(speeds)) for speeds in ([0.3, 0.8], [0.3]))

    def weights(parts: Iterable[Any]) -> Weights:
        modules = [part for part in parts if isinstance(part, nn.Module)]
        return [weight.detach() for part in modules for weight in part.parameters()]

    def is_right(my_loop: Any) -> bool | str:
        found = _run(my_loop, x, y, 3, 2)
        if isinstance(found, str):
            return _hint("loop", found) if found in HINTS else found
        own = weights(found) if isinstance(found, (tuple, list)) else []
        if not own:
            return "return the LSTM and the head"
        if _equal(own, weights(_loop(x, y, 3))):
            return True
        for mistake in ("no step", "no zero_grad", "state not passed on", "no reset", "off by one",
                        "detach at every sample", "sum"):  # fmt: skip
            if _equal(own, weights(_loop(x, y, 3, mistake=mistake))):
                return _hint("loop", mistake)
        return False

    told = "another mistake than the usual ones, or other weights to begin with: go through the table line by line"
    check("of section 2.1", my_loop, is_right, told)


def check_class(mine: Any) -> None:
    """A subclass of the blank class of section 2.2, with `reset_state` and `detach_state`."""
    x = torch.sin(torch.arange(24.0)).reshape(3, 4, 2)  # (lanes, steps, features)

    def is_right(mine: Any) -> bool | str:
        if not isinstance(mine, type):
            return "give the class itself, not an object of it"
        torch.manual_seed(0)
        network = mine(2, 5)
        first = network(x).detach()
        if not isinstance(network.state, (tuple, list)):
            return "`forward` must leave the state in self.state, as the blank class does"
        before = [part.detach().clone() for part in network.state]
        network.detach_state()
        if not isinstance(network.state, (tuple, list)) or len(network.state) != 2:
            return "after detach_state the state must still be a pair, h and c: the numbers are kept"
        if not all(torch.equal(a, b) for a, b in zip(network.state, before, strict=True)):
            return "detach_state must not change a number of the state"
        if all(part.requires_grad for part in network.state):
            return "the gradient can still go back: `detach` returns a new tensor, which must be put into self.state"
        if any(part.requires_grad for part in network.state):
            return "one of the two is cut, and the other is not: the state is a pair"
        network(x).sum().backward()
        network.reset_state()
        again = _run(network, x)
        if isinstance(again, str):
            return f"after reset_state the next call fails: {again}"
        if not torch.allclose(again, first, atol=1e-6):
            return "after reset_state the next output must be that of a fresh network: both h and c are forgotten"
        network.reset_state()
        fewer = _run(network, x[:2])
        if isinstance(fewer, str) or not torch.allclose(fewer, first[:2], atol=1e-6):
            return "a new sequence may have another number of lanes: None leaves the shape to the next call"
        network.reset_state()
        cut = _run(network.detach_state)
        told = "detach_state must also be allowed right after a reset: there is nothing to cut"
        return told if isinstance(cut, str) else True

    check("of section 2.2", mine, is_right, "reset_state forgets, and detach_state keeps the numbers")


def check_gates(my_step: Any) -> None:
    """A function of x, h, c and the weights w, u and b: six lines that give the next h and c, as in `nn.LSTM`."""
    torch.manual_seed(1)
    lanes, units = 2, 3
    cell = nn.LSTMCell(4, units).double()
    x, h, c = (torch.randn(lanes, size).double() for size in (4, units, units))
    w, u, b = cell.weight_ih.detach(), cell.weight_hh.detach(), (cell.bias_ih + cell.bias_hh).detach()

    def step(order: str = "ifgo", write: Any = torch.tanh, shown: Any = torch.tanh, parts: str = "xhb") -> Weights:
        total = ("x" in parts) * (x @ w.T) + ("h" in parts) * (h @ u.T) + ("b" in parts) * b
        gates = dict(zip(order, total.chunk(4, dim=1), strict=True))
        i, f, o = (gates[name].sigmoid() for name in "ifo")
        new = f * c + i * write(gates["g"])
        return [o * shown(new), new]

    right = step()
    i, f, g, o = (x @ w.T + h @ u.T + b).chunk(4, dim=1)
    mistakes = {
        "return h first, then c": right[::-1],
        "the candidate g is a tanh, between -1 and 1": step(write=torch.sigmoid),
        "what is shown is o times the tanh of c": step(shown=lambda new: new),
        "PyTorch's order is i, f, g, o": step("ifog"),
        "i writes and f keeps: they are exchanged": step("figo"),
        "h of the sample before is missing: h @ u.T": step(parts="xb"),
        "the bias is missing": step(parts="xh"),
        "the gates are sigmoids": [o * (f * c + i * g.tanh()).tanh(), f * c + i * g.tanh()],
        "h is read from the new c, not from the old one": [o.sigmoid() * c.tanh(), right[1]],
    }

    def is_right(my_step: Any) -> bool | str:
        found = _run(my_step, x, h, c, w, u, b)
        if isinstance(found, str):
            return f"{found}; w is (4 · units, features): x @ w.T" if "shapes" in found else found
        if not isinstance(found, (tuple, list)) or len(found) != 2 or not all(isinstance(p, Tensor) for p in found):
            return "return two tensors: the new h and the new c"
        if any(part.shape != h.shape for part in found):
            return f"h and c must have the shape {tuple(h.shape)}: (lanes, units)"
        own = [part.double() for part in found]
        if _equal(own, list(cell(x, (h, c)))):
            return True
        return next((hint for hint, wrong in mistakes.items() if _equal(own, wrong)), False)

    check("of section 2.3", my_step, is_right, "four parts of one sum, each through its own function; then c, then h")


def check_1(words: Any) -> None:
    """What the state is after `detach_state()`, and what after `reset_state()`."""

    def is_right(pair: Any) -> bool | str:
        if isinstance(pair, str) or not isinstance(pair, Iterable):
            return "give a pair of two words"
        found = [str(word).strip(" .'\"`").lower() for word in pair]
        if found == ["none", "unchanged"]:
            return "that is the other way round: detach first, then reset"
        if len(found) != 2 or not set(found) <= {"zero", "unchanged", "none"}:
            return 'give a pair, each "zero", "unchanged" or "None"'
        if found[0] != "unchanged":
            return "detach acts on the gradient's way back; what does it do to the numbers?"
        return found[1] == "none" or "zeros come only with the next sample; what is there until then?"

    check("2.1", words, is_right, "the table in 2.4")


def _whole(answer: Any, unit: str = "samples") -> int | str:
    """A whole number, however it is written; a string says what is asked for."""
    found = numbers(answer)
    if found is None or not np.isfinite(found) or float(found) % 1:
        return f"give one whole number of {unit}"
    return int(found)


def check_2(reach: Any) -> None:
    """The reach of a gradient after 60 samples with a detach after every 25th."""

    def is_right(answer: Any) -> bool | str:
        found = _whole(answer)
        hints = {
            9: "the last sample counts, too, as in section 2.1",
            11: "the sample before the cut is behind it",
            25: "that is the distance of two cuts; how many samples came after the last one?",
            50: "that is where the last cut was",
            60: "no gradient passes a cut",
            35: "there were two cuts",
        }
        return found if isinstance(found, str) else found == 10 or hints.get(found, False)

    check("2.2", reach, is_right, "count from the last cut")


def check_3(window: Any) -> None:
    """The shortest window that needs no state for 4, 6 and 10 Hz at 1000 samples per second."""

    def is_right(answer: Any) -> bool | str:
        given = numbers(answer)
        if given is not None and float(given) == 0.5:
            return "in samples, please, not in seconds"
        found = _whole(answer)
        if isinstance(found, str) or found == 500:
            return found if isinstance(found, str) else True
        if found > 0 and found % 500 == 0:
            return "that is whole periods of all three, but not the shortest window"
        whole = [f for f in (4, 6, 10) if found > 0 and f * found % 1000 == 0]
        return f"that is whole periods of {' and '.join(f'{f} Hz' for f in whole)} only" if whole else False

    check("2.3", window, is_right, "in which time does each of the three sines finish a whole number of periods?")


def check_4(sample: Any) -> None:
    """A sample from 10 to 990 before which a reset does the sine of 3 Hz no harm."""

    def is_right(answer: Any) -> bool | str:
        found = _whole(answer, "samples, from 10 to 990")
        if isinstance(found, str):
            return found
        if not 10 <= found <= 990:
            return "the sample must be one of 10 to 990"
        turns = 3 * found / 1000
        if abs(turns - round(turns)) * 1000 / 3 < 0.7:  # no whole sample is nearer than a third of one
            return True
        return "that is upside down: half a period is too much" if abs(turns % 1 - 0.5) < 0.01 else False

    check(
        "2.4",
        sample,
        is_right,
        "after which time does the sine start again from zero, upwards? Take the nearest sample",
    )


def check_5(one_pass: Any) -> None:
    """A function of model, loader and optimizer that trains over one pass; an old state lies in the model before it."""
    dataset = FrequencyDataset(SMALL, 1)

    def weights(function: Pass) -> Weights | str:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            model = StatefulLSTMExtractor(n_frequencies=SMALL.n_frequencies, hidden_size=8, head_size=0)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        with torch.no_grad():
            model(dataset.inputs[:1, :37])  # somebody's state
        told = _run(function, model, StatefulDataLoader(dataset, steps=30, layout="sequential"), optimizer)
        return told if isinstance(told, str) else [weight.detach() for weight in model.parameters()]

    def wrong(mistake: str) -> Pass:
        def function(model: StatefulLSTMExtractor, batches: Iterable[Batch], optimizer: Any) -> None:
            for count, batch in enumerate(batches):
                first = {"no reset": False, "reset only once": count == 0, "state not passed on": True}
                y = model(batch.x, reset_state=first.get(mistake, batch.is_first_batch))
                loss = (y - batch.y).square()
                if mistake != "no zero_grad":
                    optimizer.zero_grad()
                (loss.sum() if mistake == "sum" else loss.mean()).backward()
                if mistake != "no step":
                    optimizer.step()
                model.detach_state()

        return function

    def is_right(function: Any) -> bool | str:
        found = weights(function)
        if isinstance(found, str):
            return _hint("2.5", found) if found in HINTS else found
        if _equal(found, weights(wrong("")), 1e-6):
            return True
        for mistake in ("no step", "no zero_grad", "state not passed on", "no reset", "reset only once", "sum"):
            if _equal(found, weights(wrong(mistake)), 1e-6):
                return _hint("2.5", mistake)
        return False

    hint = "section 2.1 has the order of the lines; where does a sequence begin, and what is in the model before?"
    check("2.5", one_pass, is_right, hint)


def check_6(repair: Any, model: StatefulLSTMExtractor, dataset: FrequencyDataset) -> None:
    """A function of model, dataset, lane and sample that sets a clock right which was reset before that sample."""
    rate = dataset.spec.sample_rate

    def late(lane: int, at: int) -> float | str:
        """By how many samples the clock is late after the repair."""
        with model.evaluation_state():
            told = _run(repair, model, dataset, lane, at)
            if isinstance(told, str):
                return told
            y = model(dataset.inputs[lane : lane + 1, at : at + 1000])[0, :, 0].double().numpy()
        angle = 2 * np.pi * dataset.spec.frequencies[lane] * (at + np.arange(1000)) / rate
        amplitude = np.hypot(y @ np.sin(angle), y @ np.cos(angle)) / 500
        lateness = (
            -np.arctan2(y @ np.cos(angle), y @ np.sin(angle)) * rate / (2 * np.pi * dataset.spec.frequencies[lane])
        )
        return (
            float(lateness) if abs(amplitude - 1) < 0.1 else "the output is no longer the sine: is the selector right?"
        )

    def is_right(_repair: Any) -> bool | str:
        found = {}
        for lane, at in ((1, 2100), (3, 2137), (0, 1600), (3, 1600)):
            found[lane, at] = late(lane, at)
            if isinstance(told := found[lane, at], str):
                return "give a function of model, dataset, lane and at" if told in HINTS else told
            if abs(told) > 0.75 and abs(told) < 1.75:
                return "nearly: the clock is off by one sample. Which sample comes next after the repair?"
            if abs(told) > 0.75:
                return False
        return True

    hint = "only the selector moves this clock, and only forward; how far into its period is the sine at that sample?"
    check("2.6", repair, is_right, hint)
