"""Settings that are checked and cannot change, those of the training included; and whole numbers."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, field_validator

NoiseSeeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), Strict(False)]


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


class TrainingConfig(Settings):
    """How to train. One update is one step of the optimizer. The horizon is the number of samples that it crosses."""

    weight_seed: int = Field(0, ge=0)  # of the initial weights
    forget_bias: float = 3.0  # added to the bias of the forget gates at the start, so that the state is kept for long
    signal_weight_scale: float = Field(0.1, ge=0)  # factor on the initial weights from S(t)
    signal_weight_decay: float = Field(0.01, ge=0, lt=1)  # fraction of these weights taken away at every update
    adam_beta2: float = Field(0.99, gt=0, lt=1)  # decay of Adam's second moment
    clip_norm: float = Field(0.1, gt=0)  # bound on the norm of the gradient
    first_horizon: int = Field(250, ge=1)  # samples
    horizon_growth: float = Field(1.15, gt=1)  # factor by which the horizon grows
    grow_below: float = Field(5e-4, gt=0)  # the loss at which it grows: `lib.recipe.threshold`
    learning_rate: float = Field(3e-3, gt=0)  # at the first horizon
    rate_exponent: float = Field(1.2, ge=0)  # at n times the first horizon, the rate is divided by n to this power
    max_updates: int = Field(3850, ge=1)  # of all stages; growth ends in time for the others
    anneal_updates: int = Field(200, ge=1)
    polish_iterations: int = Field(1000, ge=1)
    settle_updates: int = Field(150, ge=1)
    settle_rate: float = Field(1e-5, gt=0)  # the learning rate when settling begins
    final_rate: float = Field(0.01, gt=0, le=1)  # the rate at the end of a cosine, as a fraction of its beginning
    validation_noise_seeds: NoiseSeeds = (101, 102)  # the weights with the lowest error on them are kept
    validate_every: int = Field(100, ge=1)  # updates
    checkpoint_every: int = Field(200, ge=1)  # updates

    def model_post_init(self, _context: Any) -> None:
        """Refuse more updates for annealing and settling than for the whole training."""
        if self.anneal_updates + self.settle_updates > self.max_updates:
            least = f"anneal_updates + settle_updates = {self.anneal_updates} + {self.settle_updates}"
            raise ValueError(f"max_updates = {self.max_updates}: must be at least {least}")
