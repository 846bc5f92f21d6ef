"""Validated, immutable settings, the numbers of the recipe among them; and whole numbers."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, field_validator

NoiseSeed = Annotated[int, Field(ge=0)]


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


class TrainingConfig(Settings):
    """How to train. One update is one step of the optimizer. The horizon is the number of samples that it sees.

    Attributes:
        first_horizon: samples of the first horizon.
        horizon_growth: factor by which the horizon grows.
        grow_below: the horizon grows when the loss of an update falls below this. Where the horizon spans n periods
            of the slowest sine, the loss must fall below 1/n² of it: the clock's rate must become better faster than
            the horizon grows.
        learning_rate: Adam's, at the first horizon.
        rate_exponent: at n times the first horizon the learning rate is divided by n to this power.
        adam_beta2: decay of Adam's second moment.
        clip_norm: bound on the norm of the gradient.
        forget_bias: added to the bias of the forget gates at the start, so that the state is kept for long.
        signal_weight_scale: factor on the initial weights from S(t).
        signal_weight_decay: fraction of the weights from S(t) taken away at every update.
        max_updates: all updates, annealing and settling included; growth ends in time for these.
        anneal_updates: updates of `anneal`.
        final_rate: the learning rate at the end of a cosine, as a fraction of that at its beginning.
        polish_iterations: iterations of `polish`.
        settle_updates: updates of `settle`.
        settle_rate: the learning rate at its beginning.
        weight_seed: seed of the initial weights.
        validation_noise_seeds: noise seeds that select the best weights; never those of training or test.
        validate_every: updates between validations.
        checkpoint_every: updates between checkpoints.
    """

    first_horizon: int = Field(250, ge=1)
    horizon_growth: float = Field(1.15, gt=1)
    grow_below: float = Field(5e-4, gt=0)
    learning_rate: float = Field(3e-3, gt=0)
    rate_exponent: float = Field(1.2, ge=0)
    adam_beta2: float = Field(0.99, gt=0, lt=1)
    clip_norm: float = Field(0.1, gt=0)
    forget_bias: float = 3.0
    signal_weight_scale: float = Field(0.1, ge=0)
    signal_weight_decay: float = Field(0.01, ge=0, lt=1)
    max_updates: int = Field(3850, ge=1)
    anneal_updates: int = Field(200, ge=1)
    final_rate: float = Field(0.01, gt=0, le=1)
    polish_iterations: int = Field(1000, ge=1)
    settle_updates: int = Field(150, ge=1)
    settle_rate: float = Field(1e-5, gt=0)
    weight_seed: int = Field(0, ge=0)
    validation_noise_seeds: Annotated[tuple[NoiseSeed, ...], Strict(False)] = (101, 102)
    validate_every: int = Field(100, ge=1)
    checkpoint_every: int = Field(200, ge=1)

    def model_post_init(self, _context: Any) -> None:
        """Refuse stages longer than the whole."""
        if self.anneal_updates + self.settle_updates > self.max_updates:
            raise ValueError(
                f"max_updates = {self.max_updates}: must be at least anneal_updates + settle_updates = "
                f"{self.anneal_updates} + {self.settle_updates}"
            )
        if not self.validation_noise_seeds:
            raise ValueError("validation_noise_seeds = (): must hold at least one noise seed")
