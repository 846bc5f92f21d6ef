"""Notebook 01: figures of the signals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lib.lessons.figures import BLUE, GREY, RED, Picture, label, panels
from lib.lessons.instruments import amplitude_spectrum, autocorrelation
from lib.signals import Array, SignalSpec, coherent_gain, draw_noise, noisy_components


def components(spec: SignalSpec, noisy: Array, mixed: Array, index: int = 1, seconds: float = 1.0) -> Picture:
    """One noisy component (of ``noisy``, (samples, n_frequencies)) with its target, above the mixture (samples,)."""
    shown = slice(0, round(seconds * spec.sample_rate))
    time, name = spec.time[shown], f"{spec.frequencies[index]:g} Hz"
    figure, (upper, lower) = panels(2, 1, height=2.1, sharex=True)
    upper.plot(time, noisy[shown, index], color=GREY, linewidth=0.6, linestyle="-", label="noisy component")
    upper.plot(time, spec.targets[index, shown], color=BLUE, linewidth=2, linestyle="-", label="pure target")
    label(upper, "", "amplitude (no unit)", f"one component, {name}", legend=True)
    lower.plot(time, mixed[shown], color=GREY, linewidth=0.6)
    label(lower, "time (s)", "amplitude (no unit)", "the mixture S(t) that the network gets")
    return Picture(
        figure,
        f"Above, the noisy {name} component: it fills the whole band between minus and plus one at every moment, and "
        "the pure sine drawn over it is nowhere visible in it. Below, the mixture of all components: a narrower, "
        "equally shapeless band.",
    )


def distributions(mixed: Array, moments: Mapping[int, str]) -> Picture:
    """Distribution of S over noise seeds (``mixed``: (seeds, samples)) at some samples, each with its name."""
    figure, axes = panels(height=2.6)
    for (sample, name), line in zip(moments.items(), ("-", "--", ":"), strict=True):
        options = {"bins": 40, "range": (-1.2, 1.2), "density": True, "histtype": "step"}
        axes.hist(mixed[:, sample], linewidth=1.8, linestyle=line, label=name, **options)
    label(axes, "S(t) (no unit)", "probability density", "S over noise seeds", legend=True)
    return Picture(
        figure,
        f"Histograms of S over {len(mixed)} noise seeds at the moments {'; '.join(moments.values())}. The bell-shaped "
        "outlines lie on top of each other.",
    )


def correlations(signal: Array, lags: int, sample_rate: float) -> Picture:
    """Autocorrelation of a signal (samples,), with the band in which white noise stays."""
    band = 2 / np.sqrt(len(signal))
    figure, axes = panels(height=2.4)
    axes.axhspan(-band, band, color=GREY, alpha=0.5, linewidth=0, label="±2 standard errors of white noise")
    lag = np.arange(1, lags + 1) / sample_rate
    axes.plot(lag, autocorrelation(signal, lags)[1:], color=BLUE, linestyle="none", marker=".", markersize=2)
    axes.set_ylim(-6 * band, 6 * band)
    label(axes, "lag (s)", "autocorrelation (no unit)", "S against itself", legend=True)
    return Picture(
        figure,
        f"Autocorrelation of S at lags up to {lags / sample_rate:g} s: a structureless cloud of dots, nearly all of "
        "them inside the band of two standard errors around zero.",
    )


def spectra(spec: SignalSpec, signals: Mapping[str, Array]) -> Picture:
    """Amplitude spectra of signals (samples,), side by side, up to a little above the highest sine."""
    figure, axes = panels(1, len(signals), height=2.6, sharey=True)
    for axis, (name, signal) in zip(np.atleast_1d(axes), signals.items(), strict=True):
        axis.plot(*amplitude_spectrum(signal, spec.sample_rate), color=BLUE, linewidth=1)
        axis.set_xlim(0, max(spec.frequencies) + 3)
        label(axis, "frequency (Hz)", "amplitude (no unit)" if axis is np.atleast_1d(axes)[0] else "", name)
    lines = ", ".join(f"{f:g}" for f in spec.frequencies)
    return Picture(
        figure,
        f"Amplitude spectra. Left, {next(iter(signals))}: a flat floor near zero with nothing at {lines} Hz. Right, "
        f"{list(signals)[-1]}: sharp lines at exactly these frequencies.",
    )


def gains(alphas: Array, theory: Array, measured: Array) -> Picture:
    """Coherent gain against the half-width α of the phase noise, in half turns; all of shape (n,)."""
    figure, axes = panels(height=2.6)
    axes.plot(alphas, theory, color=BLUE, linestyle="-", label="sin(πα) / (πα)")
    axes.plot(alphas, measured, color=RED, linestyle="none", marker="o", label="measured")
    axes.annotate("the assignment", (0.985, 0.0), (0.6, -0.02), arrowprops={"arrowstyle": "->"})
    label(axes, "half-width of the phase noise α (half turns)", "coherent gain (no unit)", "what is left", legend=True)
    return Picture(
        figure,
        "Coherent gain against the width of the phase noise: it falls from one without noise along a sinc curve to "
        "zero at a full turn, where the assignment lies. The measured dots sit on the curve.",
    )


def explore(phase_turns: float = 1.0, amplitude_spread: float = 0.2, noise_seed: int = 1, index: int = 1) -> Picture:
    """The signal explorer: what a choice of noise leaves of a sine.

    Args:
        phase_turns: width of the phase noise in turns, 0 to 1; 1 is the assignment.
        amplitude_spread: half-width of the amplitude noise around 1, 0 to 1; 0.2 is the assignment.
        noise_seed: of the draws.
        index: which frequency to follow.
    """
    width = phase_turns * np.pi
    spread = (1 - amplitude_spread, 1 + amplitude_spread)
    spec = SignalSpec(phase_range=(-width, width), amplitude_range=spread)
    noisy = noisy_components(spec, *draw_noise(spec, noise_seed))
    mixed, name = noisy.mean(axis=1), f"{spec.frequencies[index]:g} Hz"
    gain = coherent_gain(spec)
    figure, ((waveform, spectrum), (lags, left)) = panels(2, 2, height=2.2)
    waveform.plot(spec.time[:1000], mixed[:1000], color=GREY, linewidth=0.6, linestyle="-")
    label(waveform, "time (s)", "S (no unit)", "mixture")
    spectrum.plot(*amplitude_spectrum(mixed, spec.sample_rate), color=BLUE, linewidth=1)
    spectrum.set(xlim=(0, 10), ylim=(0, 0.27))  # the pure mixture has lines of a quarter
    label(spectrum, "frequency (Hz)", "amplitude (no unit)", "spectrum of S")
    lags.plot(np.arange(1, 1001) / spec.sample_rate, autocorrelation(mixed, 1000)[1:], color=BLUE, linewidth=0.7)
    lags.set_ylim(-1, 1)
    label(lags, "lag (s)", "autocorrelation (no unit)", "S against itself")
    left.plot(spec.time[:1000], noisy[:1000, index], color=GREY, linewidth=0.4, linestyle="-")
    left.plot(spec.time[:1000], gain * spec.targets[index, :1000], color=RED, linewidth=2, linestyle="-")
    label(left, "time (s)", "amplitude (no unit)", f"{name}: {gain:.2f} of it is left")
    return Picture(
        figure,
        f"Phase noise over {phase_turns:g} turns, amplitude noise of {amplitude_spread:g}, noise seed {noise_seed}: "
        f"mixture, its spectrum and autocorrelation, and the {name} component with its coherent part, {gain:.2f} of "
        "the pure sine.",
    )
