"""Validated, immutable settings: one base class, so that every bad value is refused in the same words."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError


class SettingsError(ValueError):
    """A setting that is unknown, has the wrong type, or lies outside what is permitted."""


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
