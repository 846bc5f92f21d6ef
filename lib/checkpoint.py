"""Checkpoints: written atomically, loaded without executing pickled code."""

from __future__ import annotations

import io
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy
import torch

from lib.model import ModelConfig, StatefulLSTMExtractor

REFERENCE = Path(__file__).parent / "reference"
REFERENCE_CHECKPOINT = REFERENCE / "reference.pt"
FORMAT = 1


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, damaged, or belongs to another configuration."""


def processor() -> str:
    """The kind of processor, and of its kernels in PyTorch: the last bits of a result depend on both."""
    return f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def versions() -> dict[str, str]:
    """What a result depends on besides the code and its parameters."""
    numbers = {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": numpy.__version__}
    return numbers | {"processor": processor()}


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` such that a reader sees the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # only its owner may read a temporary file
        for wait in (0.01, 0.05, 0.2, 0.5, 1.0, None):
            try:
                return os.replace(name, path)
            except PermissionError:  # Windows, for the moment in which somebody reads the old file
                if wait is None:
                    raise
                time.sleep(wait)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def save_checkpoint(path: Path | str, content: dict[str, Any]) -> None:
    """Save tensors and plain values to ``path``, atomically."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "versions": versions(), **content}, buffer)
    write_atomically(Path(path), buffer.getvalue())


def load_checkpoint(path: Path | str) -> dict[str, Any]:
    """Load what `save_checkpoint` wrote onto the CPU, without executing anything; CheckpointError if that fails."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"checkpoint = {path}: there is no such file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail anywhere inside the reader
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"checkpoint = {path}: cannot be read ({reason}); remove it to start again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint = {path}: not a checkpoint of this project in format {FORMAT}")
    return content


def is_finished(content: dict[str, Any]) -> bool:
    """Whether a checkpoint holds a trained model, and not a training that was interrupted."""
    return (content.get("progress") or {}).get("stage", "done") == "done"


def load_model(path: Path | str | None = None) -> StatefulLSTMExtractor:
    """The trained model of a checkpoint, by default of the shipped one, in evaluation mode and without state."""
    content = load_checkpoint(path or REFERENCE_CHECKPOINT)
    if not is_finished(content):
        stage = content["progress"]["stage"]
        raise CheckpointError(f"checkpoint = {path}: its training was interrupted in stage {stage!r}; continue it")
    try:
        model = StatefulLSTMExtractor(ModelConfig(**content["model"]))
        model.load_state_dict(content["weights"])
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise CheckpointError(f"checkpoint = {path}: its weights do not fit its model ({error!r})") from error
    return model.eval()
