"""The checks of notebook 02: right answers in unusual forms are taken, and wrong ones refused, with a hint.

Each table holds ten right answers and ten wrong ones; beside a wrong one stands a word of the hint that it must get.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from lib import FrequencyDataset, SignalSpec, load_model
from lib.lessons import n02_exercises as judge

MODEL, DATASET = load_model(), FrequencyDataset(SignalSpec(), 1)


def said(capsys, check, answer, *others):
    check(answer, *others)
    return capsys.readouterr().out


def judged(capsys, check, right, wrong, *others):
    assert len(right) >= 10
    assert len(wrong) >= 10
    assert "no answer yet" in said(capsys, check, None, *others)
    for place, answer in enumerate(right):
        told = said(capsys, check, answer, *others)
        assert told.endswith(": right\n"), f"right answer {place}: {answer!r}: {told}"
    for place, (answer, word) in enumerate(wrong):
        told = said(capsys, check, answer, *others)
        assert "not yet; " in told, f"wrong answer {place}: {answer!r}: {told}"
        assert word in told, f"wrong answer {place}: {answer!r}: {told}"


def wholes(number):
    """A whole number in ten forms."""
    kinds = [int, float, str, np.int64, np.float32, np.array, torch.tensor, "{}.0".format, " {} ".format]
    return [kind(number) for kind in kinds] + [[number], (number,), np.array([[number]])]


pair = "unchanged", "None"
CASES = [  # a check, right answers, and wrong ones by a word of the hint that they get
    (
        judge.check_1,
        [
            pair,
            list(pair),
            np.array(pair),
            ("Unchanged", "none"),
            ("unchanged", None),
            (" unchanged", "None "),
            ("unchanged.", "None."),
            ("UNCHANGED", "NONE"),
            ("'unchanged'", "'None'"),
            dict.fromkeys(pair),
        ],
        {
            "other way round": [("None", "unchanged"), (None, "Unchanged")],
            "next sample": [("unchanged", "zero"), ("unchanged", "unchanged")],
            "what does it do to the numbers": [("zero", "None"), ("zero", "zero"), ("None", "None")],
            "pair of two words": ["unchanged", 3],
            'each "zero", "unchanged" or "None"': [pair[:1], (*pair, "zero"), ("kept", "gone"), ("unchanged", 0)],
        },
    ),
    (
        judge.check_2,
        wholes(10),
        {
            "last sample counts": [9],
            "behind": [11],
            "distance of two cuts": [25, "25"],
            "passes a cut": [60],
            "where the last cut was": [50],
            "two cuts": [35],
            "count from the last cut": [0, -10],
            "one whole number": [True, "ten", 10.5, (10, 60), float("nan"), np.zeros(3)],
        },
    ),
    (
        judge.check_3,
        wholes(500),
        {
            "not the shortest": [1000, 10_000],
            "4 Hz only": [250],
            "10 Hz only": [100],
            "in samples": [0.5],
            "each of the three": [499, 501, 2, 167, -500, 0],
            "whole number of samples": ["half a second", True, [250, 500]],
        },
    ),
    (
        judge.check_4,
        [333, 334, 666, 667, 333.0, "333", np.int64(667), torch.tensor(666), [334], np.array([667]), " 667 "],
        {
            "upside down": [500, 167, 833],
            "nearest sample": [250, 332, 335, 100],
            "10 to 990": [1, 2, 999, 1000, 0],
            "one whole number": [333.3, 1 / 3, "a third", False],
        },
    ),
]


@pytest.mark.parametrize(("check", "right", "wrong"), CASES)
def test_words_and_numbers(capsys, check, right, wrong):
    judged(capsys, check, right, [(answer, word) for word, answers in wrong.items() for answer in answers])


def loop(window=20, head_size=12, returns=lambda lstm, head, losses: (lstm, head, losses), **replaced):
    """A loop of a reader's own: each named part may be replaced by another, or left out."""
    parts = {
        "reset": lambda s: setattr(s, "state", None),
        "call": lambda s: s.lstm(s.x[s.t : s.t + 1], s.state),
        "add": lambda s: s.loss + (s.head(s.h) - s.y[s.t]).square().mean() / 20,
        "ends": lambda s: s.t % window == window - 1,
        "clear": lambda s: s.optimizer.zero_grad(),
        "back": lambda s: s.loss.backward(),
        "step": lambda s: s.optimizer.step(),
        "cut": lambda s: setattr(s, "state", [part.detach() for part in s.state]),
        "sample": lambda s: None,
    } | replaced

    def my_loop(x, y, seed, passes=10):
        torch.manual_seed(seed)
        s = SimpleNamespace(x=x, y=y, state=None, lstm=nn.LSTM(2, 12), head=nn.Linear(head_size, 1))
        s.optimizer = torch.optim.Adam([*s.lstm.parameters(), *s.head.parameters()], lr=0.02)
        for _ in range(passes):
            parts["reset"](s)
            s.loss = torch.zeros(())
            for s.t in range(len(x)):
                s.h, s.state = parts["call"](s)
                s.loss = parts["add"](s)
                parts["sample"](s)
                if parts["ends"](s):
                    for name in ("clear", "back", "step", "cut"):
                        parts[name](s)
                    s.loss = torch.zeros(())
        return returns(s.lstm, s.head, [])

    return my_loop


def nothing(_):
    return None


def cut(s):
    s.state = [part.detach() for part in s.state]


def test_the_loop(capsys):
    chunks = {"add": lambda s: s.loss + mse_loss(s.head(s.h), s.y[s.t : s.t + 1]) / 20}
    zeros = {"reset": lambda s: setattr(s, "state", (torch.zeros(1, 12), torch.zeros(1, 12)))}
    right = [
        loop(),
        loop(returns=lambda lstm, head, _: (lstm, head)),
        loop(returns=lambda lstm, head, _: [lstm, head]),
        loop(**chunks),
        loop(**zeros),
        loop(cut=lambda s: setattr(s, "state", tuple(part.data for part in s.state))),
        loop(cut=lambda s: setattr(s, "state", tuple(part.clone().detach() for part in s.state))),
        loop(clear=lambda s: (s.lstm.zero_grad(), s.head.zero_grad())),
        loop(step=lambda s: (s.optimizer.step(), s.optimizer.zero_grad()), clear=nothing),
        loop(clear=lambda s: (s.optimizer.zero_grad(), cut(s)), cut=nothing),
        loop(ends=lambda s: (s.t + 1) % 20 == 0),
        loop(add=lambda s: s.loss + ((s.y[s.t] - s.head(s.h)) ** 2).sum() * 0.05),
    ]
    wrong = [
        (loop(clear=nothing), "gradients hold"),
        (loop(step=nothing), "the weights are those"),
        (loop(cut=nothing), "second backward"),
        (loop(cut=nothing, back=lambda s: s.loss.backward(retain_graph=True)), "graph of the window before"),
        (loop(cut=nothing), "part.detach()"),
        (loop(call=lambda s: s.lstm(s.x[s.t : s.t + 1])), "sample before"),
        (loop(reset=nothing), "where does a sequence begin"),
        (loop(ends=lambda s: s.t % 20 == 0), "first window"),
        (loop(sample=cut), "how far back"),
        (loop(add=lambda s: s.loss + (s.head(s.h) - s.y[s.t]).square().mean()), "size of the loss"),
        (loop(head_size=7), "RuntimeError: mat1 and mat2"),
        (loop(returns=lambda *_: None), "return the LSTM"),
        (loop(window=10), "another mistake"),
        (lambda x, y: None, "TypeError"),
        (12, "the function itself"),
    ]
    judged(capsys, judge.check_loop, right, wrong)
    assert "gradient" in said(capsys, judge.check_loop, loop(clear=nothing)), "the next hint"
    assert "before backward: optimizer.zero_grad()" in said(capsys, judge.check_loop, loop(clear=nothing))


class Blank(nn.Module):
    def __init__(self, features, units):
        super().__init__()
        self.lstm, self.head, self.state = nn.LSTM(features, units, batch_first=True), nn.Linear(units, 1), None

    def forward(self, x):
        h, self.state = self.lstm(x, self.state)
        return self.head(h)


def forget(self):
    self.state = None


def keep(self):
    if self.state is not None:
        self.state = tuple(part.detach() for part in self.state)


def made(reset_state=forget, detach_state=keep, **more):
    return type("Mine", (Blank,), {"reset_state": reset_state, "detach_state": detach_state, **more})


def store(make, when=lambda self: self.state is not None):
    return lambda self: setattr(self, "state", make(*self.state)) if when(self) else None


def test_the_class(capsys):
    right = [
        made(),
        made(detach_state=store(lambda h, c: [h.detach(), c.detach()])),
        made(detach_state=store(lambda h, c: (h.data, c.data))),
        made(detach_state=store(lambda h, c: (h.clone().detach(), c.clone().detach()))),
        made(detach_state=store(lambda h, c: tuple(map(torch.Tensor.detach, (h, c))))),
        made(detach_state=store(lambda h, c: (torch.tensor(h.tolist()), torch.tensor(c.tolist())))),
        made(detach_state=store(lambda h, c: (h.detach().requires_grad_(False), c.detach()))),
        made(reset_state=lambda self: self.__dict__.update(state=None)),
        made(reset_state=lambda self: setattr(self, "state", None)),
        made(extra=lambda self: 3),
        made(detach_state=lambda self: keep(self) or self),
    ]
    always = store(lambda h, c: (h.detach(), c.detach()), when=lambda self: True)
    zeros = lambda self: setattr(self, "state", (torch.zeros(1, 3, 5), torch.zeros(1, 3, 5)))  # noqa: E731
    wrong = [
        (made(reset_state=nothing), "fresh network"),
        (made(detach_state=nothing), "put into self.state"),
        (made(detach_state=lambda self: [part.detach() for part in self.state or ()]), "put into self.state"),
        (made(detach_state=store(lambda h, c: (h.detach(), c))), "is cut, and the other"),
        (made(detach_state=store(lambda h, c: (h, c.detach()))), "is cut, and the other"),
        (made(detach_state=store(lambda h, c: (h.detach() * 0, c.detach() * 0))), "must not change"),
        (made(detach_state=store(lambda h, c: (c.detach(), h.detach()))), "must not change"),
        (made(detach_state=forget), "must still be a pair"),
        (made(detach_state=store(lambda h, c: h.detach())), "must still be a pair"),
        (made(detach_state=always), "right after a reset"),
        (made(reset_state=zeros), "another number of lanes"),
        (made(reset_state=store(lambda h, c: (h * 0, c))), "fresh network"),
        (made(reset_state=keep), "fresh network"),
        (made()(2, 5), "the class itself"),
    ]
    judged(capsys, judge.check_class, right, wrong)


def test_the_gates(capsys):
    def parts(x, h, w, u, b):
        return (x @ w.T + h @ u.T + b).chunk(4, dim=1)

    def step(x, h, c, w, u, b):
        i, f, g, o = parts(x, h, w, u, b)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    def other(order="ifgo", write=torch.tanh, show=torch.tanh, gate=torch.sigmoid, total=None, back=None):
        def my_step(x, h, c, w, u, b):
            found = (total or (lambda: None))(x, h, w, u, b) if total else x @ w.T + h @ u.T + b
            named = dict(zip(order, found.chunk(4, dim=1), strict=True))
            new = gate(named["f"]) * c + gate(named["i"]) * write(named["g"])
            shown = gate(named["o"]) * show(new)
            return back(shown, new) if back else (shown, new)

        return my_step

    def by_cell(x, h, c, w, u, b):
        return torch.lstm_cell(x, (h, c), w, u, b, torch.zeros_like(b))

    right = [
        step,
        other(),
        other(back=lambda h, c: [h, c]),
        other(gate=lambda part: 1 / (1 + torch.exp(-part))),
        other(write=lambda part: 2 * torch.sigmoid(2 * part) - 1),
        other(total=lambda x, h, w, u, b: nn.functional.linear(x, w, b) + nn.functional.linear(h, u)),
        other(total=lambda x, h, w, u, b: torch.cat([x, h], 1) @ torch.cat([w, u], 1).T + b),
        other(total=lambda x, h, w, u, b: torch.einsum("lf,gf->lg", x, w) + torch.einsum("lu,gu->lg", h, u) + b),
        other(show=lambda new: new.tanh().clone()),
        other(total=lambda x, h, w, u, b: (x @ w.T + h @ u.T + b).float().double()),
        other(back=lambda h, c: (h.float(), c.float())),
        by_cell,
    ]
    wrong = [
        (other(back=lambda h, c: (c, h)), "h first"),
        (other(write=torch.sigmoid), "candidate"),
        (other(show=lambda new: new), "tanh of c"),
        (other(order="ifog"), "order"),
        (other(order="figo"), "exchanged"),
        (other(total=lambda x, h, w, u, b: x @ w.T + b), "h of the sample before"),
        (other(total=lambda x, h, w, u, b: x @ w.T + h @ u.T), "bias"),
        (other(gate=lambda part: part), "sigmoids"),
        (other(total=lambda x, h, w, u, b: x @ w + h @ u + b), "x @ w.T"),
        (other(back=lambda h, c: h), "two tensors"),
        (other(back=lambda h, c: (h[0], c[0])), "shape"),
        (lambda x, h, c: (h, c), "TypeError"),
        (lambda x, h, c, w, u, b: (h, c), "four parts"),
        (nn.LSTMCell, "TypeError"),
    ]
    judged(capsys, judge.check_gates, right, wrong)


def one_pass(reset, order=("backward", "step", "detach"), loss=mse_loss, clear=True):
    """A pass of training with these resets and this order of what follows the loss."""

    def function(model, batches, optimizer):
        for count, batch in enumerate(batches):
            if reset(batch, count):
                model.reset_state()
            error = loss(model(batch.x), batch.y)
            if clear:
                optimizer.zero_grad()
            acts = {"backward": error.backward, "step": optimizer.step, "detach": model.detach_state}
            for name in order:
                acts[name]()

    return function


def first(batch, count):
    return batch.is_first_batch


def by_argument(model, batches, optimizer):
    for batch in batches:
        optimizer.zero_grad()
        ((model(batch.x, reset_state=batch.is_first_batch) - batch.y) ** 2).mean().backward()
        optimizer.step()
        model.detach_state()


def test_a_pass(capsys):
    right = [
        one_pass(first),
        by_argument,
        one_pass(first, ("detach", "backward", "step")),
        one_pass(first, ("backward", "detach", "step")),
        one_pass(lambda batch, count: batch.time_range.start == 0),
        one_pass(lambda batch, count: 0 in batch.time_range),
        one_pass(lambda batch, count: count % 4 == 0),
        one_pass(first, loss=lambda y, target: (target - y).square().mean()),
        one_pass(first, loss=lambda y, target: (y - target).pow(2).sum() / y.numel()),
        one_pass(first, loss=nn.MSELoss()),
        lambda model, batches, optimizer: one_pass(first)(model, list(batches), optimizer),
        lambda m, b, o: one_pass(first)(m, b, o) or 5,
    ]
    wrong = [
        (one_pass(lambda batch, count: False), "where does a sequence begin"),
        (one_pass(lambda batch, count: True), "sample before"),
        (one_pass(lambda batch, count: count == 0), "how many sequences"),
        (one_pass(first, ("backward", "step")), "second backward"),
        (one_pass(first, ("backward", "detach")), "the weights are those"),
        (one_pass(first, clear=False), "gradients hold"),
        (one_pass(first, loss=lambda y, target: (y - target).square().sum()), "size of the loss"),
        (one_pass(first, loss=lambda y, target: (y - target).abs().mean()), "order of the lines"),
        (one_pass(lambda batch, count: batch.is_last_batch), "order of the lines"),
        (one_pass(lambda batch, count: count % 3 == 0), "order of the lines"),
        (lambda model, batches: None, "TypeError"),
        (lambda model, batches, optimizer: None, "a gradient changes no weight"),
        ("my_pass", "the function itself"),
    ]
    judged(capsys, judge.check_5, right, wrong)


def repair(samples, lane_of=lambda lane: lane, begin=lambda model: None):
    """Feed so many samples with the right selector, by sample and period."""

    def function(model, dataset, lane, at):
        begin(model)
        count = round(samples(at, dataset.spec.sample_rate / dataset.spec.frequencies[lane]))
        if count:
            model(dataset.inputs[lane_of(lane)][None, :count])

    return function


def test_a_repair(capsys):
    def singly(model, dataset, lane, at):
        period = dataset.spec.sample_rate / dataset.spec.frequencies[lane]
        for t in range(round(at % period)):
            model(dataset.inputs[lane : lane + 1, t])

    def silently(model, dataset, lane, at):
        x = dataset.inputs[lane : lane + 1, : at % 1000].clone()
        x[..., 0] = 0
        if x.shape[1]:
            model(x)

    def from_a_twin(model, dataset, lane, at):
        model.hidden_state, model.cell_state = model.lstm(dataset.inputs[lane : lane + 1, :at])[1]

    right = [
        singly,
        silently,
        from_a_twin,
        repair(lambda at, period: at % period),
        repair(lambda at, period: at),
        repair(lambda at, period: at % 1000),
        repair(lambda at, period: at % period + period),
        repair(lambda at, period: at % period + 2 * period),
        repair(lambda at, period: at % period, begin=lambda model: model.reset_state()),
        repair(lambda at, period: at - int(at / period) * period),
        repair(lambda at, period: at % 1000 + 1000),
    ]
    wrong = [
        (lambda model, dataset, lane, at: None, "how far into its period"),
        (repair(lambda at, period: at % period - 1), "off by one"),
        (repair(lambda at, period: at % period + 1), "off by one"),
        (repair(lambda at, period: at + 1), "off by one"),
        (repair(lambda at, period: period - at % period), "only forward"),
        (repair(lambda at, period: at % period + period / 4), "only forward"),
        (repair(lambda at, period: at % 1000 % 100), "how far"),
        (repair(lambda at, period: at % period / 2), "how far"),
        (repair(lambda at, period: at % period, lane_of=lambda lane: (lane + 1) % 4), "how far"),
        (repair(lambda at, period: period), "how far"),
        (lambda model, dataset: None, "TypeError"),
        (333, "the function itself"),
    ]
    before = [weight.clone() for weight in MODEL.parameters()]
    judged(capsys, judge.check_6, right, wrong, MODEL, DATASET)
    assert all(torch.equal(old, new) for old, new in zip(before, MODEL.parameters(), strict=True))
    assert MODEL.hidden_state is None
