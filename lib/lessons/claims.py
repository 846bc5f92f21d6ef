"""All notebooks: a claim of a cell, its `assert`, that does not hold is marked there, and the notebook goes on."""

from __future__ import annotations

import ast
from collections.abc import Callable
from html import escape
from typing import Any

import numpy as np
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

MARK = "failed claim"  # in the metadata of the output that says so
Measured = dict[str, "tuple[float, float] | str"]


class Claim:
    """An assertion, and what was measured for it.

    Attributes:
        text: the condition, as Python.
        measured: the lowest and the highest value of each part of the condition that had to be computed; of what is
            not made of numbers, its representation.
    """

    def __init__(self, text: str) -> None:
        """A claim of which nothing has been measured yet."""
        self.text = text
        self.measured: Measured = {}

    def saw(self, part: str, value: Any) -> Any:
        """Note and return the value of a part of the condition."""
        try:
            numbers = np.asarray(value.detach() if hasattr(value, "detach") else value, dtype=float)
            found = float(numbers.min()), float(numbers.max())
        except (TypeError, ValueError):  # a text, a model, or nothing at all
            self.measured[part] = repr(value)[:80]
            return value
        before = self.measured.get(part)
        if isinstance(before, tuple):  # the condition is a loop
            found = min(before[0], found[0]), max(before[1], found[1])
        self.measured[part] = found
        return value

    def judge(self, holds: object, words: Callable[[], object]) -> None:
        """Show the claim and what was measured, if it does not hold; ``words`` gives what the assertion says of it."""
        if holds:
            return
        told = f"This claim does not hold here: {self.text}"
        seen = [f"{part} is {_written(value)}" for part, value in self.measured.items()]
        seen += [str(said)] if (said := words()) else []
        more = "The text describes the published run; another processor or other parameters can change what is learnt."
        page = f"<strong>{escape(told)}</strong><br>{escape('; '.join(seen))}<br>{more}"
        style = "border-left: 4px solid #C8102E; padding: 0.4em 0.8em; overflow-wrap: anywhere"
        data = {"text/plain": "\n".join([told, *seen]), "text/html": f'<div style="{style}">{page}</div>'}
        display(data, raw=True, metadata={MARK: data["text/plain"]})


def _written(value: tuple[float, float] | str) -> str:
    if isinstance(value, str):
        return value
    low, high = (f"{number:.4g}" for number in value)
    return low if low == high else f"{low} to {high}"


class _Transformer(ast.NodeTransformer):
    """Makes claims of the assertions of a cell; those inside a function or a class stay as they are."""

    def _leave(self, node: ast.AST) -> ast.AST:
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _leave  # noqa: N815  # Python's own names

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """``assert test, words`` becomes a claim with this text that judges ``test``, whose parts it sees."""
        call = ast.parse(f"(__claim := __Claim({ast.unparse(node.test)!r})).judge(holds, lambda: words)").body[0]
        assert isinstance(call, ast.Expr)
        assert isinstance(call.value, ast.Call)
        words = ast.parse("lambda: None", mode="eval").body
        assert isinstance(words, ast.Lambda)
        words.body = node.msg or words.body
        call.value.args = [_seen(node.test), words]
        return ast.fix_missing_locations(ast.copy_location(call, node))


def _seen(test: ast.expr) -> ast.expr:
    """The same condition, whose parts are noted as they are computed."""
    match test:
        case ast.BoolOp():
            test.values = [_seen(value) for value in test.values]
        case ast.UnaryOp(op=ast.Not()):
            test.operand = _seen(test.operand)
        case ast.Compare():
            test.left, *test.comparators = (_noted(part) for part in (test.left, *test.comparators))
        case ast.Call(args=[ast.GeneratorExp() as loop]):
            loop.elt = _seen(loop.elt)
        case ast.Call(func=ast.Attribute(value=ast.Compare() as inner) as method):  # (a < b).all()
            method.value = _seen(inner)
        case ast.Call():
            test.args = [part if isinstance(part, ast.Starred) else _noted(part) for part in test.args]
        case _:
            return _noted(test)
    return test


def _noted(part: ast.expr) -> ast.expr:
    if isinstance(part, (ast.Constant, ast.Set, ast.List, ast.Tuple, ast.Dict)):
        return part
    call = ast.parse(f"__claim.saw({ast.unparse(part)!r}, part)", mode="eval").body
    assert isinstance(call, ast.Call)
    call.args[1] = part
    return call


def mark_failed_claims(shell: InteractiveShell) -> None:
    """From the next cell on, a claim that does not hold is marked and ends nothing; Python's ``-O`` leaves it there."""
    shell.ast_transformers = [t for t in shell.ast_transformers if not isinstance(t, _Transformer)] + [_Transformer()]
    shell.user_ns["__Claim"] = Claim
