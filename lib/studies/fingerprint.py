"""The fingerprint of the code that a number depends on: every definition of `lib` that it uses, found by its name."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat

LIB = Path(__file__).parents[1]
WITHOUT_NUMBERS = ("lib.run", "lib.studies.keep")  # they execute, render and keep: no number depends on them
LOOSE = ""  # the name of statements that define nothing, such as a loop that fills a table
Place = tuple[str, str]  # a module, or the path of a notebook; and a name that it defines


def path_of(module: str) -> Path:
    """The file of a module; a notebook is named by its path."""
    if module.endswith(".ipynb"):
        return Path(module)
    path = LIB.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def source_of(module: str) -> str:
    """The text of a module, or of the code cells of a notebook."""
    text = path_of(module).read_text(encoding="utf-8")
    if not module.endswith(".ipynb"):
        return text
    return "\n".join(cell.source for cell in nbformat.reads(text, as_version=4).cells if cell.cell_type == "code")


@functools.cache
def parsed(module: str) -> tuple[dict[str, list[ast.stmt]], dict[str, Place]]:
    """What a module defines at its top; and what it imports anywhere: from which module, and its name there."""
    tree = ast.parse(source_of(module))
    definitions: dict[str, list[ast.stmt]] = {}
    imports: dict[str, Place] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name if alias.asname else alias.name.split(".")[0]
                imports[alias.asname or name] = name, ""
        elif isinstance(node, ast.ImportFrom):
            imports |= {a.asname or a.name: (str(node.module), a.name) for a in node.names}
    for statement in tree.body:
        for name in defined_by(statement):
            definitions.setdefault(name, []).append(statement)
    return definitions, imports


def defined_by(statement: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module defines."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [statement.name]
    if isinstance(statement, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
    return [LOOSE]


def place_of(module: str, names: Sequence[str]) -> Place | None:
    """Where ``names[0].names[1]…``, as it stands in a module, is defined; None outside the library."""
    (first, *rest), (definitions, imports) = names, parsed(module)
    if first in definitions:
        return module, first
    source, name = imports.get(first, (f"{module}.{first}", ""))
    if name and path_of(f"{source}.{name}").is_file():
        source, name = f"{source}.{name}", ""
    inside = [name, *rest] if name else rest
    known = inside and source.split(".")[0] == LIB.name and path_of(source).is_file()
    return place_of(source, inside) if known else None


def definitions(roots: Sequence[Callable[..., Any] | Path]) -> dict[Place, str]:
    """The definitions that functions or notebooks use, directly or through others, in a form without words.

    Comments, docstrings, layout, imports and the module of a definition do not count. Methods belong to their class.
    What is reached by `getattr` or `globals` is not found.
    """
    found: dict[Place, str] = {}
    waiting: list[Place] = []
    for root in roots:
        if isinstance(root, Path):
            waiting += [(str(root), name) for name in parsed(str(root))[0]]
        else:
            waiting.append((root.__module__, root.__name__))
    while waiting:
        place = waiting.pop()
        if place not in found and not place[0].startswith(WITHOUT_NUMBERS):
            found[place], used = read(place)
            waiting += used
    return found


@functools.cache
def read(place: Place) -> tuple[str, set[Place]]:
    """What stands at a place, without words, and the places that it uses."""
    module, name = place
    statements = parsed(module)[0].get(name, [])
    used = (place_of(module, names) for statement in statements for names in _dotted(statement))
    return repr(_plain(statements)), {(module, LOOSE), *filter(None, used)}


def _dotted(statement: ast.stmt) -> Iterator[list[str]]:
    """All names in a statement, with the attributes behind them."""
    for node in ast.walk(statement):
        behind: list[str] = []
        while isinstance(node, ast.Attribute):
            behind.insert(0, node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            yield [node.id, *behind]


def _plain(value: Any) -> Any:
    """A piece of code as nested lists, alike in every version of Python; without imports and texts that do nothing."""
    if isinstance(value, list):
        return [_plain(part) for part in value if not _is_silent(part)]
    if isinstance(value, ast.AST):
        parts = ((name, part) for name, part in ast.iter_fields(value) if part is not None and part != [])
        return [type(value).__name__, *((name, _plain(part)) for name, part in parts)]
    return repr(value)


def _is_silent(node: Any) -> bool:
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return is_text or isinstance(node, (ast.Import, ast.ImportFrom))


def fingerprint(roots: Sequence[Callable[..., Any] | Path]) -> str:
    """A short text that changes with the code that functions or notebooks use."""
    return hashlib.sha256("\n".join(sorted(set(definitions(roots).values()))).encode()).hexdigest()[:16]
