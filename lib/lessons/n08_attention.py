"""Notebook 08: a causal Transformer that looks back over a window, and goes on one sample at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

BLOCK = 125  # samples whose attention is computed at once
Past = tuple[int, list[tuple[Tensor, Tensor]]]  # samples so far; for each layer the keys and values in the window


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

    LAYERS = 1  # as the recurrent networks have one

    def __init__(self, n_frequencies: int, size: int, window: int, head: nn.Module, positions: bool) -> None:
        """Build it; without ``positions`` it is told of no order but that the past comes before."""
        super().__init__()
        self.size, self.positions = size, positions
        self.lift, self.head = nn.Linear(1 + n_frequencies, size), head
        self.layers = nn.ModuleList(Layer(size, window) for _ in range(self.LAYERS))

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
