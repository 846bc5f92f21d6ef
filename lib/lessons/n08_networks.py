"""Notebook 08: the networks that are compared, each with a state that takes it on, one sample at a time or many."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad, scaled_dot_product_attention

from lib.model import StatefulLSTMExtractor
from lib.recipe import TrainingConfig, prepare_weights
from lib.signals import SignalSpec

SIZE, HEAD = 32, 128  # units of each network, and of the layer between them and the output
WINDOW = 1000  # samples that a network without a recurrent state can look back
GATE_BIAS = 3.0  # opens the gate that keeps the state
SLOWEST, FASTEST = 0.5, 14.0  # Hz, at 1,000 samples per second: the rates at which the linear recurrence begins
LIVES = 0.3, 3.0  # s: the times after which its states have fallen to 1/e, at the beginning
BLOCK = 125  # samples whose attention is computed at once
Past = tuple[int, list[tuple[Tensor, Tensor]]]  # samples so far; for each layer the keys and values in the window


def head(features: int) -> nn.Sequential:
    """The layers between a network's units and the output, for all the same."""
    return nn.Sequential(nn.Linear(features, HEAD), nn.ReLU(), nn.Linear(HEAD, 1))


class Memoryless(nn.Module):
    """An MLP on S and the selector; if ``timed``, on the time since the reset as well. Its state counts samples."""

    def __init__(self, n_frequencies: int, timed: bool = False) -> None:
        """Build it with PyTorch's initial weights."""
        super().__init__()
        self.timed = timed
        self.units = nn.Sequential(nn.Linear(1 + n_frequencies + timed, SIZE), nn.ReLU())
        self.head = head(SIZE)

    def forward(self, x: Tensor, state: int | None = None) -> tuple[Tensor, int]:
        """Outputs (lanes, samples, 1) for x (lanes, samples, 1 + n_frequencies), and the count of samples."""
        before, samples = state or 0, x.shape[1]
        if self.timed:
            seconds = torch.arange(before, before + samples) / 1000
            x = torch.cat([seconds[None, :, None].expand(len(x), -1, -1), x], dim=2)
        return self.head(self.units(x)), before + samples


class WindowMLP(nn.Module):
    """An MLP on the last `WINDOW` samples of S and the present selector. Its state is the window."""

    def __init__(self, n_frequencies: int) -> None:
        """Build it; the weights from S are as in a linear layer of `WINDOW` inputs."""
        super().__init__()
        self.taps = nn.Parameter(torch.empty(SIZE, WINDOW).uniform_(-1, 1) / math.sqrt(WINDOW))
        self.selector = nn.Linear(n_frequencies, SIZE)
        self.head = head(SIZE)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs (lanes, samples, 1), and the last samples of S, (lanes, `WINDOW` - 1); before them are zeros."""
        past = x.new_zeros(len(x), WINDOW - 1) if state is None else state
        heard = torch.cat([past, x[..., 0]], dim=1)
        units = torch.relu(self._slide(heard) + self.selector(x[..., 1:]))
        return self.head(units), heard[:, 1 - WINDOW :]

    def _slide(self, heard: Tensor) -> Tensor:
        """The products of the taps with each window, (lanes, samples, SIZE); for many samples by Fourier transform."""
        if (samples := heard.shape[1] - WINDOW + 1) < 50:
            return conv1d(heard[:, None], self.taps[:, None]).transpose(1, 2)
        length = 2 ** math.ceil(math.log2(heard.shape[1]))
        spectrum = torch.fft.rfft(heard, length)[:, None] * torch.fft.rfft(self.taps, length).conj()
        return torch.fft.irfft(spectrum, length)[..., :samples].transpose(1, 2)


class Recurrent(nn.Module):
    """A plain RNN, a GRU or an LSTM of PyTorch. Its state is theirs."""

    def __init__(self, layer: nn.RNNBase) -> None:
        """Take PyTorch's layer, and put the head behind it."""
        super().__init__()
        self.layer, self.head = layer, head(layer.hidden_size)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Outputs (lanes, samples, 1), and PyTorch's state: h, or h and c."""
        units, state = self.layer(x, state)
        return self.head(units), state


def plain_rnn(n_frequencies: int) -> Recurrent:
    """The plain RNN. Its recurrent weights begin as a random rotation, which keeps lengths: it has no gate to open."""
    layer = nn.RNN(1 + n_frequencies, SIZE, batch_first=True)
    nn.init.orthogonal_(layer.get_parameter("weight_hh_l0"))
    return Recurrent(layer)


def gru(n_frequencies: int) -> Recurrent:
    """The GRU. In PyTorch h' = (1 - z) n + z h, with gates in the order r, z, n: a large z keeps the state."""
    layer = nn.GRU(1 + n_frequencies, SIZE, batch_first=True)
    layer.get_parameter("bias_ih_l0").data[SIZE : 2 * SIZE] += GATE_BIAS
    return Recurrent(layer)


def lstm(n_frequencies: int, rotors: bool = False) -> Recurrent:
    """The LSTM with open forget gates; if ``rotors``, with pairs of units that turn, as the recipe begins."""
    model = StatefulLSTMExtractor(n_frequencies=n_frequencies, hidden_size=SIZE, head_size=HEAD)
    config = TrainingConfig(forget_bias=GATE_BIAS, rotors=rotors, train_signal_weights=True)
    prepare_weights(model, config, SignalSpec())
    return Recurrent(model.lstm)


class Convolution(nn.Module):
    """Causal convolutions, each with four taps that lie four times as far apart as those of the one before.

    Five layers see 1,024 samples. The state is what each layer still needs of its past input; before it are zeros.
    """

    CHANNELS, TAPS, LAYERS = 16, 4, 5

    def __init__(self, n_frequencies: int) -> None:
        """Build it with PyTorch's initial weights."""
        super().__init__()
        self.lift = nn.Linear(1 + n_frequencies, self.CHANNELS)
        dilations = [self.TAPS**k for k in range(self.LAYERS)]
        self.layers = nn.ModuleList(nn.Conv1d(self.CHANNELS, self.CHANNELS, self.TAPS, dilation=d) for d in dilations)
        self.head = head(self.CHANNELS)

    def forward(self, x: Tensor, state: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Outputs (lanes, samples, 1), and for each layer its last inputs, (lanes, CHANNELS, 3 · dilation)."""
        units, kept = self.lift(x).transpose(1, 2), []
        for k, layer in enumerate(self.layers):
            reach = (self.TAPS - 1) * self.TAPS**k
            past = units.new_zeros(len(x), self.CHANNELS, reach) if state is None else state[k]
            seen = torch.cat([past, units], dim=2)
            kept.append(seen[..., -reach:])
            units = units + torch.relu(layer(seen))
        return self.head(units.transpose(1, 2)), kept


class LinearRecurrence(nn.Module):
    """A diagonal linear recurrence, h' = λ h + γ B x with complex λ: the LRU of Orvieto et al. (2023).

    |λ| = exp(-exp(ν)) is below one for every ν, and the angle of λ is exp(θ). With γ = √(1 - |λ|²) white noise makes
    all states equally large. The head sees both parts of each state, and the input.
    """

    def __init__(self, n_frequencies: int) -> None:
        """Spread the angles over `SLOWEST` to `FASTEST`, evenly on a logarithmic scale, and the decays at random."""
        super().__init__()
        states = SIZE // 2
        place = (torch.arange(states) + 0.5) / states
        omega = 2 * math.pi * SLOWEST * (FASTEST / SLOWEST) ** place / 1000  # rad per sample
        life = LIVES[0] * (LIVES[1] / LIVES[0]) ** torch.rand(states) * 1000  # samples
        self.theta, self.nu = nn.Parameter(omega.log()), nn.Parameter(-life.log())
        self.drive = nn.Parameter(torch.randn(2, states, 1 + n_frequencies) / math.sqrt(2 * (1 + n_frequencies)))
        self.head = head(SIZE + 1 + n_frequencies)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs (lanes, samples, 1), and the complex state, (lanes, SIZE / 2).

        A sum over 1, 2, 4, … samples is the sum over half as many, and the same again,
        turned and damped.
        """
        exponent = torch.complex(-self.nu.exp(), self.theta.exp())  # λ = exp(exponent)
        gain = (1 - torch.exp(-2 * self.nu.exp())).sqrt()
        h = torch.complex(*(gain * (x @ part.T) for part in self.drive))
        if state is not None:
            first = h[:, :1] + (exponent.exp() * state)[:, None]
            h = torch.cat([first, h[:, 1:]], dim=1)
        reach = 1
        while reach < h.shape[1]:
            earlier = torch.exp(reach * exponent) * h[:, :-reach]
            h = h + pad(earlier, (0, 0, reach, 0))  # zeros before the first sample
            reach *= 2
        return self.head(torch.cat([h.real, h.imag, x], dim=2)), h[:, -1]


def sinusoids(first: int, samples: int, size: int) -> Tensor:
    """Positions as sines and cosines of wavelengths from 2π to about 20,000π samples, (samples, size)."""
    rates = torch.exp(-math.log(10_000) * torch.arange(0, size, 2) / size)
    angles = torch.arange(first, first + samples)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Layer(nn.Module):
    """Attention with one head, then two linear layers with a ReLU between them; each is added to what came in."""

    def __init__(self, size: int, window: int) -> None:
        """Build it with PyTorch's initial weights."""
        super().__init__()
        self.window = window
        self.before, self.between = nn.LayerNorm(size), nn.LayerNorm(size)
        self.ask = nn.Linear(size, 3 * size)  # queries, keys and values
        self.mix = nn.Linear(size, size)
        self.feed = nn.Sequential(nn.Linear(size, 2 * size), nn.ReLU(), nn.Linear(2 * size, size))

    def forward(self, units: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Units (lanes, samples, size), and the keys and values that later samples may look back to."""
        query, key, value = self.ask(self.before(units)).chunk(3, dim=2)
        if past is not None:
            key, value = (torch.cat(pair, dim=1) for pair in zip(past, (key, value), strict=True))
        older, found = key.shape[1] - query.shape[1], []
        for first in range(0, query.shape[1], BLOCK):
            part = query[:, first : first + BLOCK]
            low, high = max(0, older + first + 1 - self.window), older + first + part.shape[1]
            age = torch.arange(older + first, high)[:, None] - torch.arange(low, high)
            hidden = torch.zeros(age.shape).masked_fill((age < 0) | (age >= self.window), -math.inf)
            q, k, v = (tensor[:, None] for tensor in (part, key[:, low:high], value[:, low:high]))  # one head
            found.append(scaled_dot_product_attention(q, k, v, attn_mask=hidden)[:, 0])
        units = units + self.mix(torch.cat(found, dim=1))
        units = units + self.feed(self.between(units))
        return units, (key[:, 1 - self.window :], value[:, 1 - self.window :])


class Transformer(nn.Module):
    """Attention over the last samples. Its state is their keys and values, and the count of samples."""

    def __init__(self, n_frequencies: int, size: int, window: int, head: nn.Module, positions: bool) -> None:
        """Build it; without ``positions`` it is told of no order but that the past comes before."""
        super().__init__()
        self.size, self.positions = size, positions
        self.lift, self.head = nn.Linear(1 + n_frequencies, size), head
        self.layers = nn.ModuleList([Layer(size, window)])  # one, as the recurrent networks have

    def forward(self, x: Tensor, state: Past | None = None) -> tuple[Tensor, Past]:
        """Outputs (lanes, samples, 1) for x (lanes, samples, 1 + n_frequencies), and the state after them."""
        count, pasts = state or (0, None)
        units, kept = self.lift(x), []
        if self.positions:
            units = units + sinusoids(count, x.shape[1], self.size)
        for k, layer in enumerate(self.layers):
            units, now = layer(units, pasts[k] if pasts else None)
            kept.append(now)
        return self.head(units), (count + x.shape[1], kept)


def transformer(n_frequencies: int, positions: bool) -> Transformer:
    """The Transformer, with or without positions."""
    return Transformer(n_frequencies, SIZE, WINDOW, head(SIZE), positions)


NETWORKS: dict[str, Callable[[int], nn.Module]] = {  # those that take longest to train come last
    "MLP on S and C": Memoryless,
    "MLP on time": lambda n: Memoryless(n, timed=True),
    "MLP on a window": WindowMLP,
    "linear recurrence": LinearRecurrence,
    "LSTM": lstm,
    "LSTM with rotors": lambda n: lstm(n, rotors=True),
    "convolution": Convolution,
    "plain RNN": plain_rnn,
    "Transformer": lambda n: transformer(n, positions=True),
    "Transformer, no positions": lambda n: transformer(n, positions=False),
    "GRU": gru,
}


def build(name: str, n_frequencies: int, weight_seed: int) -> nn.Module:
    """A new network, with initial weights from the seed; ValueError if there is none of this name."""
    if name not in NETWORKS:
        raise ValueError(f"network = {name!r}: must be one of {', '.join(NETWORKS)}")
    with torch.random.fork_rng():
        torch.manual_seed(weight_seed)
        return NETWORKS[name](n_frequencies)


def run_on(network: nn.Module, x: Tensor, steps: int = 1000) -> Tensor:
    """The outputs for x (lanes, samples, 1 + n_frequencies) from reset, so many samples per call, without gradients."""
    state, outputs = None, []
    with torch.no_grad():
        for part in x.split(steps, dim=1):
            y, state = network(part, state)
            outputs.append(y)
    return torch.cat(outputs, dim=1)
