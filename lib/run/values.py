"""Values of parameters: how a notebook declares them, and which of those that are given it can hold."""

from __future__ import annotations

import ast
import math
from typing import Any

from lib.settings import SettingsError

WRITTEN = {  # a value of each type, as YAML and the command line have it
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text; an empty one is written '', and one that looks like something else is quoted too, as '5'",
    list: "a list, as [1, 2]; several lists in a batch are [[1, 2], [3]] in a file and [1, 2], [3] after -p",
    dict: "a mapping, as {a: 1}",
}


def declared_in(cell: str) -> dict[str, Any]:
    """The parameters that a cell assigns, with their default values, read as Python reads them.

    Args:
        cell: source of the cell; it may hold assignments of plain values to names, annotated or not, and comments.

    Raises:
        SettingsError: it holds something else; the message names the line.
    """
    found: dict[str, Any] = {}
    try:
        statements = ast.parse(cell).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SettingsError(f"parameters cell: must be plain Python ({error})") from error
    for statement in statements:
        place, is_float = f"parameters cell, line {statement.lineno}", False
        match statement:
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                continue  # a text that explains, which assigns nothing
            case ast.Assign(targets=targets, value=value) if all(isinstance(target, ast.Name) for target in targets):
                names = [target.id for target in targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                names = [name]
                is_float = isinstance(statement.annotation, ast.Name) and statement.annotation.id == "float"
            case _:
                raise SettingsError(f"{place}: must assign a value to a name, as 'weight_seed: int = 0'")
        try:
            default = ast.literal_eval(value)
        except (ValueError, TypeError, RecursionError, MemoryError) as error:
            raise SettingsError(f"{place}: {names[0]} must have a plain value, not one to be computed") from error
        default = plain(f"{place}: {names[0]}", default)
        found |= dict.fromkeys(names, fitting(names[0], default, 0.0) if is_float else default)
    return found


def plain(name: str, value: Any) -> Any:
    """A value as YAML, Python and a notebook's JSON hold it alike.

    Args:
        name: the parameter, for the message.
        value: a number, a text, a truth value, None, or a list or mapping of such.

    Returns:
        The same value; characters of a text that came in two halves, as JSON writes them, are whole.

    Raises:
        SettingsError: it is something else; the message says how to write it.
    """
    match value:
        case None | bool():
            return value
        case float() if not math.isfinite(value):
            raise SettingsError(
                f"{name} = {value!r}: must be finite, since a notebook is JSON, which has neither infinity nor NaN; "
                "write a large number, as 1e308, or null where the default is None"
            )
        case int() | float():
            try:
                str(value)
            except ValueError as error:  # Python does not write more than 4,300 digits
                raise SettingsError(f"{name}: must be a shorter number ({error})") from error
            return value
        case str():
            try:
                return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
            except UnicodeDecodeError as error:
                raise SettingsError(f"{name} = {value!r}: must not hold half of a character") from error
        case list():
            return [plain(f"{name}[{k}]", part) for k, part in enumerate(value)]
        case dict() if all(isinstance(key, str) for key in value):
            return {plain(f"a key of {name}", key): plain(f"{name}[{key!r}]", part) for key, part in value.items()}
        case dict():
            raise SettingsError(f"{name} = {value!r}: must have texts as keys; write numbers in quotes, as {{'1': 2}}")
    raise SettingsError(
        f"{name} = {value!r}: must be a number, a text, true or false, null, a list or a mapping; "
        f"if a text is meant, write it in quotes: '{value}'"
    )


def fitting(name: str, value: Any, default: Any) -> Any:
    """A value of the type of its parameter's default: whole numbers may stand for others, and None permits all.

    Raises:
        SettingsError: it has another type; the message says how to write one that fits.
    """
    if type(default) is float and type(value) is int:
        try:
            return float(value)
        except OverflowError as error:
            raise SettingsError(f"{name} = {value!r}: must be less than 1e308") from error
    if default is not None and type(value) is not type(default):
        raise SettingsError(f"{name} = {value!r}: must be {WRITTEN[type(default)]}")
    return value
