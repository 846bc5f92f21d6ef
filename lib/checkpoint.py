"""Checkpoints: written atomically, loaded without executing pickled code."""

from __future__ import annotations

import io
import os
import platform
import secrets
import time
from pathlib import Path
from typing import Any

import numpy
import torch

from lib.model import ModelConfig, StatefulLSTMExtractor
from lib.settings import usual_torch

REFERENCE = Path(__file__).parent / "reference"
REFERENCE_CHECKPOINT = REFERENCE / "reference.pt"
FORMAT = 1


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, damaged, or belongs to another configuration."""


class DamagedCheckpointError(CheckpointError):
    """A file that was read to its end, and is no checkpoint of this project."""


def processor() -> str:
    """The kind of processor, and of its kernels in PyTorch: the last bits of a result depend on both."""
    return f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def versions() -> dict[str, str]:
    """What a result depends on besides the code and its parameters."""
    numbers = {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": numpy.__version__}
    return numbers | {"processor": processor()}


def from_home(path: Path | str) -> Path:
    """A path in which ``~`` stands for the home folder, as a shell has it."""
    return Path(os.path.expanduser(path))


def write_atomically(path: Path | str, content: bytes) -> None:
    """Write ``content`` to ``path`` such that a reader sees the old file or the new one, never half of one.

    A link stays, and the file that it points to is written. Who may read a new file is left to the umask.
    """
    path = Path(os.path.realpath(from_home(path)))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        for wait in (0.01, 0.05, 0.2, 0.5, 1.0, None):
            try:
                return os.replace(part, path)
            except PermissionError:  # Windows, for the moment in which somebody reads the old file
                if wait is None:
                    raise
                time.sleep(wait)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def save_checkpoint(path: Path | str, content: dict[str, Any]) -> None:
    """Save tensors and plain values to ``path``, atomically."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "versions": versions(), **content}, buffer)
    write_atomically(path, buffer.getvalue())


def find_checkpoint(path: Path | str) -> dict[str, Any] | None:
    """Load what `save_checkpoint` wrote onto the CPU, without executing anything; None if there is no such file.

    Raises:
        DamagedCheckpointError: the file was read to its end, and is no checkpoint.
        OSError: the file cannot be read now, which says nothing about its content.
        MemoryError: it does not fit into the memory.
    """
    try:
        whole = from_home(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        content = torch.load(io.BytesIO(whole), map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged content can fail anywhere inside the reader
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "allocate" in reason:  # PyTorch's own word for too little memory
            raise MemoryError(f"checkpoint = {path}: does not fit into the memory ({reason})") from error
        told = f"checkpoint = {path}: cannot be read ({reason}); remove it to start again"
        raise DamagedCheckpointError(told) from error
    whole_one = isinstance(content, dict) and isinstance(content.get("progress") or {}, dict)
    if not whole_one or content.get("format") != FORMAT:
        raise DamagedCheckpointError(f"checkpoint = {path}: not a checkpoint of this project in format {FORMAT}")
    return content


def load_checkpoint(path: Path | str) -> dict[str, Any]:
    """What `find_checkpoint` finds; CheckpointError if there is no such file."""
    content = find_checkpoint(path)
    if content is None:
        raise CheckpointError(f"checkpoint = {path}: there is no such file")
    return content


def is_finished(content: dict[str, Any]) -> bool:
    """Whether a checkpoint holds a trained model, and not a training that was interrupted."""
    return (content.get("progress") or {}).get("stage", "done") == "done"


@usual_torch()
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
