"""The studies of the recipe: variants of the training, each trained from several seeds, and the shipped networks."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lib.checkpoint import REFERENCE_CHECKPOINT, load_checkpoint, save_checkpoint
from lib.evaluation import metrics_by_frequency, mse_by_noise_seed
from lib.lessons.clock import measure_clock
from lib.lessons.extractor import EXTRACTORS, ListeningConfig, extractor_path, train_extractor
from lib.lessons.n03_policies import LONGER_CUTS, POLICIES, train_policy
from lib.lessons.n07_contest import goals
from lib.loader import FrequencyDataset
from lib.model import ModelConfig, roll_out
from lib.recipe import RECIPE, Stage, TrainingConfig, TrainingRun, anneal, extend, grow, polish, tune
from lib.signals import Array, SignalSpec
from lib.studies.keep import Keeper
from lib.training import train

TRAIN_SEED, TEST_SEED, UNSEEN_SEEDS, CLOCK_SEED = 1, 2, range(1000, 1100), 3
SEQUENCE_SEEDS = range(4000, 4048)  # of the sequences that judge an extractor


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
REFERENCE_VARIANT = Variant(
    TrainingConfig(anneal_updates=4000, polish_iterations=6000),
    ModelConfig(hidden_size=64, head_size=256),
    stages=(*RECIPE, tune_again),
)


def measure(variant: Variant, checkpoint: Path, *measures: str) -> dict[str, Any]:
    """Train one variant, going on where a killed call stopped, and measure it.

    Args:
        variant: what to train.
        checkpoint: where the training is kept.
        *measures: what to find beside the errors on validation and training noise: the error on "test" noise, which
            must not be read for what helps to choose; that on "unseen" noise; the rate of the "clock"; and its "exact"
            rate, without the locking that rounding to seven digits can cause.
    """
    spec, data = variant.spec, FrequencyDataset(variant.spec, variant.train_seed)
    if variant.policy:
        run = train_policy(variant.policy, data, variant.training, variant.shape, checkpoint)
    else:
        run = train(data, variant.training, variant.shape, checkpoint, stages=variant.stages)

    def output(noise_seed: int) -> Array:
        inputs = FrequencyDataset(spec, noise_seed).inputs
        prediction = roll_out(run.model, inputs, steps=spec.n_samples, reset_every_sample=run.memoryless)
        return prediction[..., 0].double().numpy()

    found: dict[str, Any] = variant.settings | {
        "updates": run.updates,
        "samples": int(sum(run.history["horizon"])),
        "horizon": run.horizon,
        "stage_ends": run.stage_ends,
        "validation_mse": run.best_mse,
        "train": metrics_by_frequency(output(variant.train_seed), spec.targets, spec),
    }
    if "test" in measures:
        test, start = output(TEST_SEED), round(0.25 * spec.sample_rate / min(spec.frequencies))
        squared = (test - spec.targets) ** 2
        found["test"] = metrics_by_frequency(test, spec.targets, spec)
        found["start_mse"] = squared[:, :start].mean(axis=1)  # of each frequency: a quarter of the slowest period
        found["rest_mse"] = squared[:, start:].mean(axis=1)
    if "anneal" in run.stage_ends:  # over the whole recording, before the horizon is extended to it
        errors = dict(zip(run.validation["update"], run.validation["mse"], strict=True))
        found["annealed_mse"] = errors[run.stage_ends["anneal"]]
    if "clock" in measures:
        found["ppm"] = measure_clock(run.model, spec, CLOCK_SEED).ppm
    if "unseen" in measures:
        found["unseen_mse"] = mse_by_noise_seed(run.model, spec, UNSEEN_SEEDS)
    if "exact" in measures:
        found["ppm_double"] = measure_clock(copy.deepcopy(run.model).double(), spec, CLOCK_SEED).ppm
    return found


def all_of(keep: Keeper, variants: dict[str, Variant], *measures: str) -> dict[str, Any]:
    """All of some variants."""
    return {
        name: keep(name, measure, variant, keep.folder / f"{name}.pt", *measures) for name, variant in variants.items()
    }


def weight_seeds(keep: Keeper) -> dict[str, Any]:
    """The recipe as shipped, from many initial weights."""
    return all_of(keep, seeded({"as shipped": Variant()}, range(20)), "test", "clock", "unseen", "exact")


def signals(keep: Keeper) -> dict[str, Any]:
    """The recipe on other sets of sines."""
    return all_of(keep, seeded(SIGNALS | FRESH_SIGNALS), "test", "clock")


def hidden_size(keep: Keeper) -> dict[str, Any]:
    """Smaller and larger networks."""
    sizes = seeded({f"hidden {size}": _shaped(hidden_size=size) for size in (16, 64, 128)})
    return all_of(keep, sizes | seeded({"hidden 256": _shaped(hidden_size=256)}, [0]), "test", "clock")


def stages(keep: Keeper) -> dict[str, Any]:
    """The recipe without one of its stages."""
    variants = {
        "without growing": Variant(stages=without(grow)),
        "without annealing": Variant(stages=without(anneal)),
        "without extending": Variant(stages=without(extend)),
        "without tuning": Variant(stages=without(tune)),
        "without polishing": Variant(stages=without(polish)),
    }
    return all_of(keep, seeded(variants), "clock")


def design(keep: Keeper) -> dict[str, Any]:
    """Other designs of the network and of its training."""
    variants = {
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
    return all_of(keep, seeded(variants))


def signal_weights(keep: Keeper) -> dict[str, Any]:
    """Networks that may listen to S."""
    variants = seeded({"trained": _trained(train_signal_weights=True)})
    return all_of(keep, on_noises(variants), "test", "clock", "unseen")


def training_grid(keep: Keeper) -> dict[str, Any]:
    """The recipe as shipped, from some initial weights on two training noises."""
    return all_of(keep, on_noises(seeded({"as shipped": Variant()})), "test", "clock", "unseen")


def policies(keep: Keeper) -> dict[str, Any]:
    """Other policies of carrying, cutting and resetting."""
    variants = {
        name: Variant(TrainingConfig(max_updates=updates), policy=name)
        for name, updates in zip(POLICIES, (50_000, 50_000, 15_000), strict=True)
    }
    return all_of(keep, variants, "test")


def cuts(keep: Keeper) -> dict[str, Any]:
    """The state carried, and the gradient cut after more samples than in the policies."""
    variants = {name: Variant(TrainingConfig(max_updates=1300), policy=name) for name in LONGER_CUTS}
    return all_of(keep, seeded(variants))


def reference(keep: Keeper) -> dict[str, Any]:
    """Train the reference checkpoint, ship its best weights alone, and measure it."""
    kept = keep.folder / "reference.pt"
    results = keep("reference", measure, REFERENCE_VARIANT, kept, "test", "clock", "unseen", "exact")
    content = load_checkpoint(kept)
    parts = ("signal", "train_noise_seed", "model", "training", "weights")
    save_checkpoint(REFERENCE_CHECKPOINT, {name: content[name] for name in parts})
    return results


def extractors(keep: Keeper) -> dict[str, Any]:
    """Train the extractors of notebook 07 from three weight seeds, ship the first, and measure all of them."""

    def trained(alpha: float, seed: int, kept: Path) -> dict[str, float]:
        model = train_extractor(ListeningConfig(alpha=alpha, weight_seed=seed), kept)
        return goals(model, alpha, SEQUENCE_SEEDS)

    results: dict[str, Any] = {}
    for alpha in EXTRACTORS:
        shipped = extractor_path(alpha)
        for seed in range(3):
            name, kept = f"α = {alpha:g}, weight seed {seed}", keep.folder / f"{shipped.stem}-{seed}.pt"
            results[name] = keep(name, trained, alpha, seed, kept)
            if seed == 0:
                content = load_checkpoint(kept)
                save_checkpoint(shipped, {part: content[part] for part in ("model", "listening", "weights")})
    return results
