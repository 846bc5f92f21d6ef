"""Validated, immutable settings, and whole numbers: every bad value is refused in the same words."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator


class SettingsError(ValueError):
    """A setting that is unknown, has the wrong type, or lies outside what is permitted."""


def plain(value: Any) -> Any:
    """A number of NumPy or torch, or a row of them, as Python's own; anything else as it is."""
    if type(value) in (list, tuple):
        return type(value)(plain(item) for item in value)
    return value.tolist() if hasattr(value, "tolist") else value


def whole_number(name: str, value: Any, low: int, high: int | None = None) -> int:
    """A whole number of Python, NumPy or torch as an int; a bool, a fraction, 3.0 and "3" are none.

    Args:
        name: what the message calls it.
        value: what was given.
        low: the least that is permitted.
        high: the most that is permitted; None for no bound.

    Raises:
        ValueError: names the value and what is permitted.
    """
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int) or number < low or (high is not None and number > high):
        permitted = f"from {low} up" if high is None else f"between {low} and {high}"
        raise ValueError(f"{name} = {value!r}: must be a whole number {permitted}")
    return int(number)


class Settings(BaseModel):
    """Base of all configurations: immutable, strict about types, and closed to unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        """Validate ``values``.

        Raises:
            SettingsError: names each bad setting, its value and what is permitted.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(_explain(type(self), error)) from None

    @field_validator("*", mode="before")
    @classmethod
    def _accept_numpy_and_torch(cls, value: Any) -> Any:
        return plain(value)

    def but(self, **changes: Any) -> Self:
        """A copy with ``changes`` applied, validated like any other."""
        return type(self)(**{**dict(self), **changes})


def _explain(settings: type[BaseModel], error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"] if not str(part).startswith("function"))
        if problem["type"] == "extra_forbidden":
            permitted = ", ".join(settings.model_fields)
            lines.append(f"unknown setting {name!r} (value {problem['input']!r}); permitted: {permitted}")
        elif name:
            lines.append(f"{name} = {problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}")
        else:
            lines.append(problem["msg"].removeprefix("Value error, "))
    return f"{settings.__name__}: " + "; ".join(lines)
