"""The stateful LSTM: its hidden and cell state are carried, reset and detached by hand."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from lib.settings import Settings, whole_number

ACTIVATIONS: dict[str, type[nn.Module]] = {"identity": nn.Identity, "relu": nn.ReLU, "tanh": nn.Tanh}


class ModelConfig(Settings):
    """The network's shape."""

    n_frequencies: int = Field(4, ge=1)  # length of the selector; the input has 1 + n_frequencies features
    hidden_size: int = Field(32, ge=1, le=4096)  # units per LSTM layer
    num_layers: int = Field(1, ge=1, le=8)
    dropout: float = Field(0.0, ge=0, lt=1)  # probability of dropping a unit between LSTM layers
    input_norm: bool = False  # layer normalization of the input vector
    output_norm: bool = False  # layer normalization of what the last LSTM layer puts out
    head_size: int = Field(128, ge=0, le=4096)  # units of a layer between LSTM and output; 0 for none
    activation: Literal["identity", "relu", "tanh"] = "relu"  # before the output

    def model_post_init(self, _context: Any) -> None:
        """Refuse a dropout that PyTorch would ignore."""
        if self.dropout and self.num_layers == 1:
            raise ValueError(f"dropout = {self.dropout}: must be 0 with num_layers = 1, since it acts between layers")


class StateResetWarning(UserWarning):
    """The carried state did not fit the input and was started anew."""


class StatefulLSTMExtractor(nn.Module):
    """An LSTM that keeps its state between calls, so that one sample at a time makes a sequence.

    The state is no part of `state_dict`, and `.to` moves the weights only. Reset or detach it before the model is
    copied: PyTorch copies no gradient graph.
    """

    def __init__(self, config: ModelConfig | None = None, **options: Any) -> None:
        """Build the network with PyTorch's default initialization; options are fields of `ModelConfig`."""
        super().__init__()
        self.config = config.but(**options) if config else ModelConfig(**options)
        size = self.config.hidden_size
        features = 1 + self.config.n_frequencies
        self.input_norm = nn.LayerNorm(features) if self.config.input_norm else nn.Identity()
        self.lstm = nn.LSTM(features, size, self.config.num_layers, batch_first=True, dropout=self.config.dropout)
        self.output_norm = nn.LayerNorm(size) if self.config.output_norm else nn.Identity()
        hidden_layer = nn.Linear(size, self.config.head_size) if self.config.head_size else nn.Identity()
        output_layer = nn.Linear(self.config.head_size or size, 1)
        self.head = nn.Sequential(hidden_layer, ACTIVATIONS[self.config.activation](), output_layer)
        self.hidden_state: Tensor | None = None  # h_t, what the LSTM puts out: (num_layers, lanes, hidden_size)
        self.cell_state: Tensor | None = None  # c_t, what it remembers: the same shape; both are None after a reset

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def init_hidden(self, lanes: int) -> None:
        """Start both states at zero, each (num_layers, lanes, hidden_size)."""
        lanes = whole_number("lanes", lanes, 1)
        shape = (self.config.num_layers, lanes, self.config.hidden_size)
        self.hidden_state = next(self.parameters()).new_zeros(shape)
        self.cell_state = torch.zeros_like(self.hidden_state)

    def reset_state(self) -> None:
        """Forget everything: the next sample begins a new sequence."""
        self.hidden_state = self.cell_state = None

    def detach_state(self) -> None:
        """Keep the state's numbers but cut the gradient's way back through them."""
        if self.hidden_state is not None and self.cell_state is not None:
            self.hidden_state = self.hidden_state.detach()
            self.cell_state = self.cell_state.detach()

    def state(self) -> tuple[Tensor, Tensor]:
        """Hidden and cell state; RuntimeError right after a reset, when there is none."""
        if self.hidden_state is None or self.cell_state is None:
            raise RuntimeError("the state is None: it has been reset, and no sample has come since")
        return self.hidden_state, self.cell_state

    def forward(self, x: Tensor, reset_state: bool = False) -> Tensor:
        """Advance the state over ``x`` and put out one value per sample.

        Args:
            x: (lanes, steps, 1 + n_frequencies); a single step comes without that axis.
            reset_state: begin a new sequence with this call.

        Returns:
            (lanes, steps, 1), for a single step without that axis.

        Raises:
            ValueError: the shape of x is wrong.
            TypeError: x, or the carried state, has another dtype than the weights.
            RuntimeError: it is on another device, or was made in inference mode.

        Warns:
            StateResetWarning: the state has another number of lanes; it starts anew.
        """
        if reset_state:
            self.reset_state()
        self._check(x)
        single_step, lanes = x.ndim == 2, x.shape[0]
        sequence = x[:, None] if single_step else x
        if self.hidden_state is not None and self.hidden_state.shape[1] != lanes:
            told = f"the carried state has {self.hidden_state.shape[1]} lanes but the "
            told += f"input has {lanes}: it starts anew; call reset_state() first if meant"
            warnings.warn(told, StateResetWarning, stacklevel=2)
            self.reset_state()
        if self.hidden_state is None:
            self.init_hidden(lanes)
        outputs, after = self.lstm(self.input_norm(sequence), self.state())
        self.hidden_state, self.cell_state = after
        y = self.head(self.output_norm(outputs))
        return y[:, 0] if single_step else y

    @contextmanager
    def evaluation_state(self) -> Iterator[StatefulLSTMExtractor]:
        """Evaluate with a state of its own, without gradients; the earlier state and mode are restored at the end."""
        kept = self.hidden_state, self.cell_state, self.training
        self.reset_state()
        self.eval()
        try:
            with torch.no_grad():
                yield self
        finally:
            self.hidden_state, self.cell_state = kept[:2]
            self.train(kept[2])

    def _check(self, x: Tensor) -> None:
        """Refuse an input of the wrong shape, and an input or a state that does not fit the weights."""
        features, weight = 1 + self.config.n_frequencies, next(self.parameters())
        if not isinstance(x, Tensor):
            raise TypeError(f"x is a {type(x).__name__}: must be a torch.Tensor")
        if x.ndim not in (2, 3) or x.shape[-1] != features or 0 in x.shape:
            permitted = f"(lanes, steps, {features}) or (lanes, {features}), none 0"
            raise ValueError(f"x has shape {tuple(x.shape)}: must be {permitted}")
        for name, part in (("x", x), ("hidden_state", self.hidden_state), ("cell_state", self.cell_state)):
            if part is None:
                continue
            for kind, error in (("dtype", TypeError), ("device", RuntimeError)):
                given, needed = getattr(part, kind), getattr(weight, kind)
                if given != needed:
                    raise error(f"{name} has {kind} {given}: must be {needed}, as the weights; convert it with .to()")
            if part.is_inference() and torch.is_grad_enabled():
                told = "can have no gradient; use torch.no_grad() there, or reset_state() here"
                raise RuntimeError(f"{name} was made under torch.inference_mode() and {told}")


def roll_out(model: StatefulLSTMExtractor, x: Tensor, steps: int = 1, reset_every_sample: bool = False) -> Tensor:
    """Run a model over x (lanes, samples, 1 + n_frequencies) from reset, and leave its own state untouched.

    One sample per call is the assignment's roll-out; more ``steps`` per call give the same numbers sooner. Returns
    the outputs, (lanes, samples, 1), without gradients.
    """
    with model.evaluation_state():
        if reset_every_sample:  # every sample starts from reset, so all can be lanes of one step
            return model(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return torch.cat([model(chunk) for chunk in x.split(whole_number("steps", steps, 1), dim=1)], dim=1)
