"""Notebooks 01 and 07: how much of a sine survives the phase noise."""

from __future__ import annotations

import numpy as np

from lib.signals import SignalSpec


def coherent_gain(spec: SignalSpec) -> float:
    """How much of a sine survives the phase noise on average: |E exp(iφ)|, between 0 and 1, without unit.

    For φ ~ Uniform(a, b) this is |sin(w/2) / (w/2)| with w = b − a: 1 without phase noise, 0 for a whole turn.
    """
    low, high = spec.phase_range
    return float(abs(np.sinc((high - low) / (2 * np.pi))))
