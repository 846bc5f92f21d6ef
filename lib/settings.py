"""Settings that are checked and cannot change; whole numbers; and PyTorch as it is when nobody has set anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator


class SettingsError(ValueError):
    """A setting that is unknown, has the wrong type, or lies outside what is permitted."""


def plain(value: Any) -> Any:
    """A number of NumPy or torch, or a row of them, as Python's own; anything else unchanged."""
    if type(value) in (list, tuple):
        return type(value)(plain(item) for item in value)
    return value.tolist() if hasattr(value, "tolist") else value


def whole_number(name: str, value: Any, low: int, high: int | None = None) -> int:
    """A whole number of Python, NumPy or torch as an int; ValueError for a bool, 3.0, "3", or one out of range."""
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int) or number < low or (high is not None and number > high):
        permitted = f"from {low} up" if high is None else f"between {low} and {high}"
        raise ValueError(f"{name} = {value!r}: must be a whole number {permitted}")
    return int(number)


@contextmanager
def usual_torch() -> Iterator[None]:
    """PyTorch as it is when nobody has set anything, but with one thread; afterwards all is as it was before.

    Results do not depend on the default dtype and device that are set outside, on autocast, or on what is left of the
    gradients. With so few lanes more threads gain nothing, and their number changes the last bits.
    """
    with ExitStack() as after:
        after.callback(torch.set_num_threads, torch.get_num_threads())
        after.callback(torch.set_default_dtype, torch.get_default_dtype())
        after.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
        for kind in filter(torch.is_autocast_enabled, ("cpu", "cuda")):
            after.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            after.enter_context(torch.device("cpu"))
        after.enter_context(torch.inference_mode(False))
        after.enter_context(torch.enable_grad())
        yield


class Settings(BaseModel):
    """Base of all configurations: immutable, strict about types, and closed to unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        """Validate ``values``; SettingsError names each bad setting, its value and what is permitted."""
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
