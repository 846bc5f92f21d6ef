"""Notebooks 02 and 03: the path of the state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from lib.lessons.figures import BLUE, RED, Picture, label, panels
from lib.signals import Array, SignalSpec


def orbit(states: Tensor) -> Array:
    """States of one lane (samples, hidden_size) along their two leading principal components: (samples, 2)."""
    centred = (states - states.mean(dim=0)).double().numpy()
    directions = np.linalg.svd(centred, full_matrices=False)[2]
    return centred @ directions[:2].T


def orbits(spec: SignalSpec, states: Mapping[str, Tensor], lanes: Sequence[int]) -> Picture:
    """The path of the state in its two leading directions, a row per name and a column per lane."""
    figure, grid = panels(len(states), len(lanes), height=2.1)
    for row, (name, state) in zip(np.reshape(grid, (-1, len(lanes))), states.items(), strict=True):
        for axis, lane in zip(row, lanes, strict=True):
            path = orbit(state[lane])
            axis.plot(path[:, 0], path[:, 1], color=BLUE, linestyle="-", linewidth=0.8)
            axis.plot(*path[0], color=RED, marker="o", markersize=6, linestyle="none")
            title = f"{name}, {spec.names[lane]}"
            axis.set_aspect("equal", adjustable="datalim")  # else a flat cloud would look round
            axis.locator_params(nbins=3)
            label(axis, "direction 1", "direction 2" if lane == lanes[0] else "", title)
    figure.legend([axis.get_lines()[1]], ["start"], loc="outside upper right", frameon=False, fontsize="small")
    return Picture(
        figure,
        "Paths of the hidden state in its two leading directions, each starting at a dot. "
        + "; ".join(
            f"{name}: "
            + (
                "a small shapeless cloud, shaken by the noise around one point"
                if "untrained" in name
                else "a short way to a closed loop, which is run through again and again"
            )
            for name in states
        )
        + ".",
    )
