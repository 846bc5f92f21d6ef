"""Where the notebooks lie, and how YAML is read. Used by notebook 00 and by all that executes notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lib.settings import SettingsError

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"


def find_notebooks(names: Sequence[str] = ()) -> list[Path]:
    """The numbered notebooks in their order.

    Args:
        names: which: a number (``03``), a name, or the path of any other notebook; empty means all numbered ones.

    Raises:
        SettingsError: a name fits no notebook; the message lists all.
    """
    everything = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    if not names:
        return everything
    chosen = []
    for name in names:
        found = [path for path in everything if name in (path.stem, path.stem.split("_")[0])]
        if not found and name.endswith(".ipynb") and Path(name).is_file():
            found = [Path(name).resolve()]
        if not found:
            known = ", ".join(path.stem for path in everything)
            raise SettingsError(f"notebook = {name!r}: must be one of {known}, or the path of an .ipynb file")
        chosen += found
    return sorted(set(chosen))


def parse_yaml(text: str, what: str) -> Any:
    """What a text says as YAML 1.2: ``010`` is ten, ``1e-3`` a number, and a name cannot be given twice.

    Raises:
        SettingsError: it cannot be read; ``what`` tells where it stands.
    """
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SettingsError(f"{what}: cannot be read as YAML ({type(error).__name__}: {reason})") from error


def read_yaml(path: Path) -> dict[Any, Any]:
    """The mapping that a YAML file holds.

    Raises:
        SettingsError: the file cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"file = {path}: cannot be read as YAML ({error})") from error
    content = parse_yaml(text, f"file = {path}")
    if not isinstance(content, dict):
        raise SettingsError(f"file = {path}: must hold lines of the form 'name: value'")
    return content
