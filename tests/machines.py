"""`make machines`: the series under each arithmetic that one machine can show, judged against what is committed.

Each variant executes all notebooks, and its outputs are compared as the tests compare them. A variant that has finished
is not executed again; remove runs/machines-* to begin anew. The table goes to lib/reference/machines.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lib.lessons.files import ROOT
from lib.run.notebooks import RUNS

PLAIN = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}
VARIANTS: dict[str, dict[str, str]] = {
    "own kernels": {},
    "plainest kernels": PLAIN | {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"},
    "AVX2": AVX2 | {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"},
    "two threads": {"MACHINE_THREADS": "2"},
    **{f"weights moved, draw {draw}": {"MACHINE_MOVED": str(draw)} for draw in range(1, 6)},
}


def folder_of(variant: str) -> Path:
    """Where a variant is executed."""
    return RUNS / f"machines-{variant.replace(',', '').replace(' ', '-')}"


def execute(variant: str, notebooks: list[str]) -> None:
    """Execute the series under a variant, unless it has been."""
    folder = folder_of(variant)
    if (folder / "ended").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "claims.jsonl").unlink(missing_ok=True)
    own = {"PYTHONSTARTUP": str(Path(__file__).with_name("machine_startup.py")), "PYTHONPATH": str(ROOT)}
    own |= {"MACHINE_CLAIMS": str(folder / "claims.jsonl")} | VARIANTS[variant]
    call = [sys.executable, "-m", "lib", "run", *notebooks, "--name", folder.name]
    with (folder / "printed.txt").open("w", encoding="utf-8") as file:
        ended = subprocess.run(call, cwd=ROOT, env=os.environ | own, stdout=file, stderr=file)
    if ended.returncode in (0, 1):
        (folder / "ended").write_text(str(ended.returncode), encoding="utf-8")
    print(f"{variant}: exit status {ended.returncode}", flush=True)


def main() -> None:
    """Execute what has not been, then judge everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variants", nargs="*", help=f"which; default: all of {', '.join(VARIANTS)}")
    parser.add_argument("--notebooks", nargs="*", default=[], help="which; default: all")
    parser.add_argument("--workers", type=int, default=2, help="variants at a time (default: %(default)s)")
    options = parser.parse_args()
    with ThreadPoolExecutor(options.workers) as pool:
        list(pool.map(lambda variant: execute(variant, options.notebooks), options.variants or VARIANTS))


if __name__ == "__main__":
    main()
