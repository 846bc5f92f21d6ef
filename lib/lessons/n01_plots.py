"""Notebook 01: figures of the signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lib.lessons.figures import BLUE, GREY, RED, Picture, label, panels
from lib.lessons.gain import coherent_gain
from lib.settings import whole_number
from lib.signals import Array, SignalSpec, draw_noise, noisy_components


def autocorrelation(signal: Array, lags: int) -> Array:
    """Normalized autocorrelation of a signal (samples,) at lags 0 … ``lags``; white noise stays within ±2/√samples."""
    centred = signal - signal.mean()
    spectrum = np.fft.rfft(centred, 2 * len(signal))
    products = np.fft.irfft(np.abs(spectrum) ** 2)[: whole_number("lags", lags, 0, len(signal) - 1) + 1]
    return products / products[0]


def amplitude_spectrum(signal: Array, sample_rate: float) -> tuple[Array, Array]:
    """Frequencies in Hz and amplitudes of the sines in a signal (samples,): a sine of amplitude 1 shows as 1."""
    frequencies = np.fft.rfftfreq(len(signal), 1 / sample_rate).astype(np.float64)
    return frequencies, 2 * np.abs(np.fft.rfft(signal)) / len(signal)


def components(spec: SignalSpec, noisy: Array, mixed: Array, index: int = 1, seconds: float = 1.0) -> Picture:
    """One noisy component (of ``noisy``, (samples, n_frequencies)) with its target, above the mixture (samples,)."""
    shown = slice(0, round(seconds * spec.sample_rate))
    time, name = spec.time[shown], spec.names[index]
    figure, (upper, lower) = panels(2, 1, height=2.1, sharex=True)
    upper.plot(time, noisy[shown, index], color=GREY, linewidth=0.6, linestyle="-", label="noisy component")
    upper.plot(time, spec.targets[index, shown], color=BLUE, linewidth=2, linestyle="-", label="pure target")
    label(upper, "", "component, target", f"one component, {name}", legend=True)
    lower.plot(time, mixed[shown], color=GREY, linewidth=0.6)
    label(lower, "time (s)", "S(t)", "the mixture S(t) that the network gets")
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
    label(axes, "S(t)", "probability density", "S over noise seeds", legend=True)
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
    label(axes, "lag (s)", "autocorrelation", "S against itself", legend=True)
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
        label(axis, "frequency (Hz)", "amplitude of the sine" if axis is np.atleast_1d(axes)[0] else "", name)
    lines = ", ".join(name.removesuffix(" Hz") for name in spec.names)
    return Picture(
        figure,
        f"Amplitude spectra. Left, {next(iter(signals))}: a flat floor near zero with nothing at {lines} Hz. Right, "
        f"{list(signals)[-1]}: sharp lines at exactly these frequencies.",
    )


def gains(alphas: Array, theory: Array, measured: Array, widths: Sequence[float], scores: Array) -> Picture:
    """What phase noise of width α leaves: the coherent gain, and what a linear filter still makes of it.

    Args:
        alphas: phase widths α in turns, (n,).
        theory: coherent gains, (n,).
        measured: the same, measured, (n,).
        widths: phase widths of the filters, in turns.
        scores: their MSE on new noise, (len(widths), noise seeds).
    """
    figure, (left, right) = panels(1, 2, height=2.9, sharex=True)
    left.plot(alphas, theory, color=BLUE, linestyle="-", label="sin(πα) / (πα)")
    left.plot(alphas, measured, color=RED, linestyle="none", marker="o", label="measured")
    label(left, "phase width α (turns)", "coherent gain γ", "", legend=True)
    middle = scores.mean(axis=1)
    spread = np.array([middle - scores.min(axis=1), scores.max(axis=1) - middle])
    right.errorbar(widths, middle, spread, color=RED, marker="o", markersize=4, linestyle="-", capsize=3)
    right.axhline(0.5, color="black", linestyle=":", linewidth=1)
    right.annotate("predicting zero", (0.02, 0.46), fontsize="small")
    right.annotate("the assignment", (1.0, middle[-1]), (0.55, 0.36), fontsize="small", arrowprops={"arrowstyle": "->"})
    label(right, "phase width α (turns)", "MSE on new noise", "the filter of section 1.3")
    parts = "; ".join(f"α = {width:g}: {score:.2g}" for width, score in zip(widths, middle, strict=True))
    return Picture(
        figure,
        "Left, coherent gain against the phase width: it falls from one without phase noise along a sinc curve to zero "
        "at a full turn, where the assignment lies. The measured dots sit on the curve. Right, the MSE of a linear "
        f"filter on new noise: {parts}. It rises late, and reaches that of predicting zero only at a full turn.",
    )


def explore(phase_turns: float = 1.0, amplitude_spread: float = 0.2, noise_seed: int = 1, index: int = 1) -> Picture:
    """The signal explorer: what a choice of noise leaves of a sine.

    Args:
        phase_turns: phase width α in turns, 0 to 1; 1 is the assignment.
        amplitude_spread: half-width of the amplitude noise around 1, 0 to 1; 0.2 is the assignment.
        noise_seed: of the draws.
        index: which frequency to follow.
    """
    width = phase_turns * np.pi
    spread = (1 - amplitude_spread, 1 + amplitude_spread)
    spec = SignalSpec(phase_range=(-width, width), amplitude_range=spread)
    noisy = noisy_components(spec, *draw_noise(spec, noise_seed))
    mixed, name = noisy.mean(axis=1), spec.names[index]
    gain = coherent_gain(spec)
    figure, ((waveform, spectrum), (lags, left)) = panels(2, 2, height=2.2)
    waveform.plot(spec.time[:1000], mixed[:1000], color=GREY, linewidth=0.6, linestyle="-")
    label(waveform, "time (s)", "S(t)", "mixture")
    spectrum.plot(*amplitude_spectrum(mixed, spec.sample_rate), color=BLUE, linewidth=1)
    spectrum.set(xlim=(0, 10), ylim=(0, 0.27))  # the pure mixture has lines of a quarter
    label(spectrum, "frequency (Hz)", "amplitude of the sine", "spectrum of S")
    lags.plot(np.arange(1, 1001) / spec.sample_rate, autocorrelation(mixed, 1000)[1:], color=BLUE, linewidth=0.7)
    lags.set_ylim(-1, 1)
    label(lags, "lag (s)", "autocorrelation", "S against itself")
    left.plot(spec.time[:1000], noisy[:1000, index], color=GREY, linewidth=0.4, linestyle="-")
    left.plot(spec.time[:1000], gain * spec.targets[index, :1000], color=RED, linewidth=2, linestyle="-")
    label(left, "time (s)", "component", f"{name}: {gain:.2f} of it is left")
    return Picture(
        figure,
        f"Phase width α = {phase_turns:g} turn, amplitude noise of ±{amplitude_spread:g}, noise seed {noise_seed}: "
        f"mixture, its spectrum and autocorrelation, and the {name} component with its coherent part, {gain:.2f} of "
        "the pure sine.",
    )
