"""LSTM frequency extraction, one sample at a time: what a student reads.

Read in this order: `settings`, `signals`, `loader`, `model`, `recipe`, `training`, `checkpoint`, `evaluation`.
`lib.lessons` holds what the notebooks show with, `lib.run` what executes and renders them, `lib.studies` what is
computed once and kept in `lib/reference`.
"""

import os
import signal
import sys
import threading
from multiprocessing import parent_process

if parent_process() and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches them all; the first one answers it
elif sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # `python -m lib`: the imports take seconds, in which there is nothing to clean up; `lib.__main__` sets it back.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130 if os.write(2, b"stopped\n") else 1))

from lib.checkpoint import CheckpointError, load_model
from lib.evaluation import evaluate, generalization_gap, metrics, metrics_by_frequency, mse_by_noise_seed
from lib.loader import Batch, FrequencyDataset, StatefulDataLoader, assemble_inputs
from lib.model import ModelConfig, StatefulLSTMExtractor, StateResetWarning, roll_out
from lib.recipe import TrainingConfig, TrainingRun
from lib.settings import Settings, SettingsError
from lib.signals import SignalSpec, draw_noise, generate, noisy_components
from lib.training import TrainingWarning, train
