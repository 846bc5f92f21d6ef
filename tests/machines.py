"""The series under each arithmetic that one machine can show, judged against what is committed: `make machines`.

Each variant executes all notebooks, and the outputs are compared as the tests compare them. What has been executed is
not executed again, so that an interrupted study goes on; remove runs/machines-* to begin anew. The study holds a group
for each processor, and replaces that of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from judging import differences

from lib.checkpoint import REFERENCE, processor, versions, write_atomically
from lib.lessons.files import ROOT, find_notebooks, read_metrics, write_metrics
from lib.lessons.tables import markdown_table
from lib.run.notebooks import RUNS, failed_claims
from lib.run.publish import README

STUDY = REFERENCE / "machines.json"
BEGIN, END = "<!-- machines: made by `make machines` -->\n", "<!-- end of machines -->"
PLAIN = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}
VARIANTS: dict[str, dict[str, str]] = {
    "its own kernels, one thread": {},
    "two threads": {"MACHINE_THREADS": "2", "OMP_WAIT_POLICY": "passive"},
    "AVX2": AVX2 | {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"},
    "the plainest kernels": PLAIN | {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"},
    **{f"weights moved, draw {draw}": {"MACHINE_MOVED": str(draw)} for draw in range(1, 6)},
}


def variants_here() -> list[str]:
    """The variants that differ from this processor's own kernels."""
    kernels = processor().split()[-1]
    left_out = {"AVX512": (), "AVX2": ("AVX2",)}.get(kernels, ("AVX2", "the plainest kernels"))
    return [variant for variant in VARIANTS if variant not in left_out]


def folder_of(variant: str) -> Path:
    """Where a variant is executed."""
    return RUNS / f"machines-{variant.replace(',', '').replace(' ', '-')}"


def execute(variant: str, notebooks: list[str]) -> None:
    """Execute these notebooks, or the series, under a variant; the series only once."""
    folder = folder_of(variant)
    if (folder / "ended").exists() and not notebooks:
        return
    folder.mkdir(parents=True, exist_ok=True)
    own = {"PYTHONSTARTUP": str(Path(__file__).with_name("machine_startup.py")), "PYTHONPATH": str(ROOT)}
    own |= {"MACHINE_CLAIMS": str(folder / "claims.jsonl")} | VARIANTS[variant]
    call = [sys.executable, "-m", "lib", "run", *notebooks, "--name", folder.name]
    with (folder / "printed.txt").open("w", encoding="utf-8") as file:
        ended = subprocess.run(call, cwd=ROOT, env=os.environ | own, stdout=file, stderr=file)
    print(f"{variant}: exit status {ended.returncode}", flush=True)
    if ended.returncode in (0, 1) and not notebooks:
        (folder / "ended").touch()


def judge(variant: str) -> dict[str, dict[str, list[str]]]:
    """By notebook: the claims that failed, and the cells whose outputs differ by more than is allowed."""
    found = {}
    for notebook in find_notebooks():
        executed = folder_of(variant) / notebook.name
        if executed.exists():
            cells = [f"In[{cell}]: {words[:500]}" for cell, words in differences(notebook, executed)]
            found[notebook.stem] = {"claims": failed_claims(executed), "outputs": cells}
        else:
            found[notebook.stem] = {"claims": ["it did not run to its end"], "outputs": []}
    return found


def measured(variant: str) -> Iterator[tuple[str, str, str, tuple[float, float]]]:
    """Notebook, claim, part of the claim, and the lowest and the highest value of that part under a variant."""
    last: dict[str, list[dict[str, Any]]] = {}
    for text in (folder_of(variant) / "claims.jsonl").read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if "begins" in line:  # a notebook that was executed again counts once
            last[line["notebook"]] = []
        else:
            last[line["notebook"]].append(line)
    for name, lines in sorted(last.items()):
        for line in lines:
            for part, value in line["measured"].items():
                if not isinstance(value, str):
                    yield name, line["claim"], part, tuple(value)


def spreads(variants: list[str]) -> list[dict[str, Any]]:
    """What was measured for each claim that is not the same under all variants: each variant's lowest and highest."""
    found: dict[tuple[str, str, str], dict[str, tuple[float, float]]] = {}
    for variant in variants:
        for name, claim, part, (low, high) in measured(variant):
            before = found.setdefault((name, claim, part), {}).get(variant, (low, high))
            found[name, claim, part][variant] = min(before[0], low), max(before[1], high)
    return [
        {"notebook": name, "claim": claim, "part": part, "measured": ends}
        for (name, claim, part), ends in found.items()
        if len(set(ends.values())) > 1
    ]


def table(results: dict[str, Any]) -> str:
    """For each processor, variant x notebook: how many claims failed, and how many outputs differ, in Markdown."""
    heads = [notebook.stem[:2] for notebook in find_notebooks()]

    def told(cell: dict[str, list[str]]) -> str:
        parts = [f"{len(cell[kind])} {kind}" for kind in ("claims", "outputs") if cell[kind]]
        return ", ".join(parts) or "–"

    tables = (
        markdown_table(
            [f"variant, on {name}", *heads],
            [[variant, *map(told, found.values())] for variant, found in group["variants"].items()],
        )
        for name, group in results.items()
    )
    return "\n\n".join(tables) + "\n"


def with_table(text: str, results: dict[str, Any]) -> str:
    """The README's text with the table made anew."""
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}{table(results)}{END}{rest.split(END)[1]}"


def main() -> int:
    """Execute what has not been, judge what has, and write this processor's part of the study and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = "; ".join(variants_here())
    parser.add_argument(
        "--only",
        nargs="*",
        default=variants_here(),
        help=f"variants to execute; with none, only the table is made. They are: {names}",
    )
    parser.add_argument("--notebooks", nargs="*", default=[], help="execute only these, again, as after an edit")
    parser.add_argument("--at-once", type=int, default=2, help="variants side by side (default: %(default)s)")
    options = parser.parse_args()
    with ThreadPoolExecutor(options.at_once) as pool:
        list(pool.map(lambda variant: execute(variant, options.notebooks), options.only))
    ended = [variant for variant in variants_here() if (folder_of(variant) / "ended").exists()]
    if ended:
        group = {"versions": versions(), "variants": {name: judge(name) for name in ended}, "spreads": spreads(ended)}
        results = read_metrics(STUDY)["results"] | {processor(): group}
        write_metrics(STUDY, results, VARIANTS)
        write_atomically(README, with_table(README.read_text(encoding="utf-8"), results).encode())
        print(table(results))
    missing = [variant for variant in variants_here() if variant not in ended]
    if missing:
        print(f"not executed to their end: {', '.join(missing)}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
