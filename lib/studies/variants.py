"""Results that take longer than a notebook should: computed by one command, committed, sampled by a test."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lib.checkpoint import REFERENCE, REFERENCE_CHECKPOINT, load_checkpoint, save_checkpoint
from lib.evaluation import metrics_by_frequency, mse_by_noise_seed
from lib.lessons import n08_budget as budget
from lib.lessons.clock import measure_clock
from lib.lessons.extractor import EXTRACTORS, ListeningConfig, extractor_path, train_extractor
from lib.lessons.files import write_metrics
from lib.lessons.n03_policies import LONGER_CUTS, POLICIES, train_policy
from lib.lessons.n07_contest import goals
from lib.lessons.parameters import NotebookParameters
from lib.loader import FrequencyDataset
from lib.model import ModelConfig, roll_out
from lib.recipe import RECIPE, Stage, TrainingConfig, TrainingRun, anneal, extend, grow, polish, tune
from lib.run.notebooks import RUNS
from lib.settings import SettingsError
from lib.signals import Array, SignalSpec
from lib.studies.lengths import lengths
from lib.training import train

log = logging.getLogger(__name__)

TRAIN_SEED, TEST_SEED, UNSEEN_SEEDS, CLOCK_SEED = 1, 2, NotebookParameters().unseen, 3


def tune_again(run: TrainingRun) -> Iterable[float]:
    """For the reference, a stage after the others: the polished head lets the rates be seen better."""
    return tune(run)


def without(*left_out: Stage) -> tuple[Stage, ...]:
    """The recipe without some of its stages."""
    return tuple(stage for stage in RECIPE if stage not in left_out)


class Variant(NamedTuple):
    """One training of a study."""

    training: TrainingConfig = TrainingConfig()
    shape: ModelConfig = ModelConfig()
    spec: SignalSpec = SignalSpec()
    stages: tuple[Stage, ...] = RECIPE
    train_seed: int = TRAIN_SEED
    policy: str = ""  # one of `POLICIES` or `LONGER_CUTS` in place of the stages

    @property
    def settings(self) -> dict[str, Any]:
        """What differs from the defaults, as plain values."""
        parts = {"training": self.training, "model": self.shape, "signal": self.spec}
        plain: dict[str, Any] = {k: v.model_dump(mode="json", exclude_defaults=True) for k, v in parts.items()}
        stages = [stage.__name__ for stage in self.stages]
        return plain | {"stages": stages, "train_noise_seed": self.train_seed, "policy": self.policy}


def seeded(variants: dict[str, Variant], seeds: Sequence[int] = range(3)) -> dict[str, Variant]:
    """Each variant with several weight seeds."""
    return {
        f"{name}, weight seed {seed}": variant._replace(training=variant.training.but(weight_seed=seed))
        for name, variant in variants.items()
        for seed in seeds
    }


def on_noises(variants: dict[str, Variant]) -> dict[str, Variant]:
    """Each variant on two training noises."""
    return {
        f"{name}, training noise {noise}": variant._replace(train_seed=noise)
        for name, variant in variants.items()
        for noise in (1, 11)
    }


def _trained(**changes: Any) -> Variant:
    return Variant(TrainingConfig(**changes))


def _shaped(**changes: Any) -> Variant:
    return Variant(shape=ModelConfig(**changes))


def _signals(*frequencies: float, sample_rate: float = 1000.0) -> Variant:
    return Variant(spec=SignalSpec(frequencies=frequencies, sample_rate=sample_rate))


SIGNALS = {
    "2, 4.5, 6, 9 Hz at 500 Hz": _signals(2.0, 4.5, 6.0, 9.0, sample_rate=500.0),
    "0.5, 1.5, 4 Hz at 200 Hz": _signals(0.5, 1.5, 4.0, sample_rate=200.0),
    "2, 3 … 9 Hz at 1000 Hz": _signals(*map(float, range(2, 10))),
    "5, 5.1 Hz at 1000 Hz": _signals(5.0, 5.1),
    "3, 11.3, 20 Hz at 2000 Hz": _signals(3.0, 11.3, 20.0, sample_rate=2000.0),
    "0.5, 3.3, 20 Hz at 1000 Hz": _signals(0.5, 3.3, 20.0),
    "6, 6.1, 17, 18.5, 19 Hz at 1500 Hz": _signals(6.0, 6.1, 17.0, 18.5, 19.0, sample_rate=1500.0),
    "12.3 Hz at 250 Hz": _signals(12.3, sample_rate=250.0),
}
FRESH_SIGNALS = {  # never used while the recipe was made
    "0.7, 2.9, 13 Hz at 400 Hz": _signals(0.7, 2.9, 13.0, sample_rate=400.0),
    "1.7, 8.3 Hz at 300 Hz": _signals(1.7, 8.3, sample_rate=300.0),
    "0.9, 1.1, 2.6, 6.4, 14 Hz at 700 Hz": _signals(0.9, 1.1, 2.6, 6.4, 14.0, sample_rate=700.0),
}
STUDIES: dict[str, dict[str, Variant]] = {
    "weight_seeds": seeded({"as shipped": Variant()}, range(20)),
    "signals": seeded(SIGNALS | FRESH_SIGNALS),
    "hidden_size": seeded({f"hidden {size}": _shaped(hidden_size=size) for size in (16, 64, 128)})
    | seeded({"hidden 256": _shaped(hidden_size=256)}, [0]),
    "stages": seeded(
        {
            "without growing": Variant(stages=without(grow)),
            "without annealing": Variant(stages=without(anneal)),
            "without extending": Variant(stages=without(extend)),
            "without tuning": Variant(stages=without(tune)),
            "without polishing": Variant(stages=without(polish)),
        }
    ),
    "design": seeded(
        {
            "forget gates as PyTorch opens them": _trained(forget_bias=0.0),
            "no rotors": _trained(rotors=False),
            "Adam alone": _trained(muon_rate=0.0),
            "learning rate halved": _trained(learning_rate=1.5e-3, phase_step=0.375),
            "two layers": _shaped(num_layers=2),
            "two layers, dropout 0.1": _shaped(num_layers=2, dropout=0.1),
            "input normalization": _shaped(input_norm=True),
            "output normalization": _shaped(output_norm=True),
            "tanh before the output": _shaped(activation="tanh"),
            "linear output": _shaped(head_size=0, activation="identity"),
        }
    ),
    "signal_weights": on_noises(seeded({"trained": _trained(train_signal_weights=True)})),
    "training_grid": on_noises(seeded({"as shipped": Variant()})),
    "policies": {
        name: Variant(TrainingConfig(max_updates=updates), policy=name)
        for name, updates in zip(POLICIES, (50_000, 50_000, 15_000), strict=True)
    },
    "cuts": seeded({name: Variant(TrainingConfig(max_updates=1300), policy=name) for name in LONGER_CUTS}),
}
# Studies in which the test noise is read; the others have helped to choose, and are judged on validation noise.
FINAL = {*STUDIES, "reference", "hyperparameters"} - {"stages", "design", "cuts"}
REFERENCE_VARIANT = Variant(
    TrainingConfig(anneal_updates=4000, polish_iterations=6000),
    ModelConfig(hidden_size=64, head_size=256),
    stages=(*RECIPE, tune_again),
)


def measure(study: str, name: str, variant: Variant) -> dict[str, Any]:
    """Train one variant, going on where a killed call stopped, and measure it."""
    spec, data = variant.spec, FrequencyDataset(variant.spec, variant.train_seed)
    checkpoint = RUNS / "studies" / f"{study}-{name}.pt"
    if variant.policy:
        run = train_policy(variant.policy, data, variant.training, variant.shape, checkpoint, progress_bar=False)
    else:
        run = train(data, variant.training, variant.shape, checkpoint, progress_bar=False, stages=variant.stages)

    def output(noise_seed: int) -> Array:
        inputs = FrequencyDataset(spec, noise_seed).inputs
        prediction = roll_out(run.model, inputs, steps=spec.n_samples, reset_every_sample=run.memoryless)
        return prediction[..., 0].double().numpy()

    measured: dict[str, Any] = variant.settings | {
        "updates": run.updates,
        "samples": int(sum(run.history["horizon"])),
        "horizon": run.horizon,
        "stage_ends": run.stage_ends,
        "validation_mse": run.best_mse,
        "train": metrics_by_frequency(output(variant.train_seed), spec.targets, spec),
    }
    if study in FINAL:
        test, start = output(TEST_SEED), round(0.25 * spec.sample_rate / min(spec.frequencies))
        squared = (test - spec.targets) ** 2
        measured["test"] = metrics_by_frequency(test, spec.targets, spec)
        measured["start_mse"] = squared[:, :start].mean(axis=1)  # of each frequency: a quarter of the slowest period
        measured["rest_mse"] = squared[:, start:].mean(axis=1)
    if "anneal" in run.stage_ends:  # over the whole recording, before the horizon is extended to it
        measures = dict(zip(run.validation["update"], run.validation["mse"], strict=True))
        measured["annealed_mse"] = measures[run.stage_ends["anneal"]]
    if not variant.policy and study != "design":
        measured["ppm"] = measure_clock(run.model, spec, CLOCK_SEED).ppm
    if study in ("weight_seeds", "reference", "signal_weights", "training_grid"):
        measured["unseen_mse"] = mse_by_noise_seed(run.model, spec, UNSEEN_SEEDS)
    if study in ("weight_seeds", "reference"):  # without the locking that rounding to seven digits can cause
        measured["ppm_double"] = measure_clock(copy.deepcopy(run.model).double(), spec, CLOCK_SEED).ppm
    return measured


OTHERS: dict[str, Callable[[Path], None]] = {"lengths": lengths, "networks": budget.study}  # they write themselves


def run_studies(names: Sequence[str] = ()) -> None:
    """Compute the named studies, or all, into ``lib/reference/<study>.json``.

    Raises:
        SettingsError: there is no such study.
    """
    for name in names:
        if name not in {**STUDIES, **OTHERS}:
            raise SettingsError(f"study = {name!r}: must be one of {', '.join({**STUDIES, **OTHERS})}")
    for study in names or {**STUDIES, **OTHERS}:
        if study in OTHERS:
            OTHERS[study](RUNS / "studies")
            continue
        results = {}
        for name, variant in STUDIES[study].items():
            results[name] = measure(study, name, variant)
            log.info("%s, %s: validation MSE %.2e", study, name, results[name]["validation_mse"])
        seeds = {"test_noise_seed": TEST_SEED, "clock_noise_seed": CLOCK_SEED, "unseen_noise_seeds": list(UNSEEN_SEEDS)}
        write_metrics(REFERENCE / f"{study}.json", results, seeds)


def train_reference() -> None:
    """Train the reference checkpoint, keep its best weights alone, and write its measures beside it."""
    results = measure("reference", "reference", REFERENCE_VARIANT)
    content = load_checkpoint(RUNS / "studies" / "reference-reference.pt")
    kept = ("signal", "train_noise_seed", "model", "training", "weights")
    save_checkpoint(REFERENCE_CHECKPOINT, {name: content[name] for name in kept})
    write_metrics(REFERENCE / "reference.json", results, {"command": "make reference"})
    unseen = np.asarray(results["unseen_mse"])
    log.info("reference: test MSE %.2e, worst unseen %.2e", results["test"]["overall"]["mse"], unseen.max())


def train_extractors() -> None:
    """Train the extractors of notebook 07 from three weight seeds, ship the first, and measure all of them."""
    results: dict[str, Any] = {}
    for alpha in EXTRACTORS:
        shipped = extractor_path(alpha)
        for seed in range(3):
            path = RUNS / "studies" / f"{shipped.stem}-{seed}.pt"
            model = train_extractor(ListeningConfig(alpha=alpha, weight_seed=seed), path)
            results[f"α = {alpha:g}, weight seed {seed}"] = goals(model, alpha, NotebookParameters().sequence_seeds)
            if seed == 0:
                content = load_checkpoint(path)
                save_checkpoint(shipped, {name: content[name] for name in ("model", "listening", "weights")})
    write_metrics(REFERENCE / "extractors.json", results, {"command": "python -m lib extractors"})
    log.info("extractors written, with their measures")
