"""LSTM frequency extraction, one sample at a time.

Read in this order: `signals` → `loader` → `model` → `checkpoint` → `recipe` → `training` → `evaluation` → `figures`.
"""

from lib.checkpoint import CheckpointError, load_model
from lib.evaluation import (
    evaluate,
    generalization_gap,
    metrics,
    metrics_by_frequency,
    mse_by_noise_seed,
    read_metrics,
    write_metrics,
)
from lib.loader import Batch, FrequencyDataset, StatefulDataLoader, assemble_inputs
from lib.model import ModelConfig, StatefulLSTMExtractor, StateResetWarning, roll_out
from lib.recipe import TrainingRun
from lib.settings import Settings, SettingsError, TrainingConfig
from lib.signals import SignalSpec, coherent_gain, draw_noise, generate, noisy_components
from lib.training import train

__all__ = [
    "Batch",
    "CheckpointError",
    "FrequencyDataset",
    "ModelConfig",
    "Settings",
    "SettingsError",
    "SignalSpec",
    "StateResetWarning",
    "StatefulDataLoader",
    "StatefulLSTMExtractor",
    "TrainingConfig",
    "TrainingRun",
    "assemble_inputs",
    "coherent_gain",
    "draw_noise",
    "evaluate",
    "generalization_gap",
    "generate",
    "load_model",
    "metrics",
    "metrics_by_frequency",
    "mse_by_noise_seed",
    "noisy_components",
    "read_metrics",
    "roll_out",
    "train",
    "write_metrics",
]
