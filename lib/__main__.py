"""The command line, ``python -m lib``."""

from __future__ import annotations

import argparse
import io
import logging
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dask.system import CPU_COUNT

from lib.checkpoint import CheckpointError, from_home
from lib.lessons import files
from lib.run import booklet, notebooks, publish, render, student
from lib.settings import SettingsError
from lib.studies.catalogue import SHIPPED, STUDIES, compute_all, out_of_date
from lib.studies.keep import compute

INTERRUPTED = 130  # exit status, as a shell gives it after Ctrl-C
PRODUCTS = {"site": render.site, "pdf": booklet.booklet, "student": student.student_copy}
WITHOUT_OPTIONS = {
    "site": "render the notebooks as a static site, build/site/index.html",
    "pdf": "print the notebooks as one booklet, build/booklet.pdf (needs Chromium)",
    "student": "copy everything but the solutions to build/student/",
    "reference": "train the shipped reference checkpoint again (a quarter of an hour)",
    "extractors": "train the shipped extractors of notebook 07 again (twenty minutes)",
}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m lib", description="Run, publish and recompute the notebooks.")
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="execute the notebooks in order into runs/NAME/")
    run.add_argument("notebooks", nargs="*", help="which notebooks, by number or name, such as 03; default: all")
    run.add_argument("--name", default="default", help="name of the run's folder (default: %(default)s)")
    run.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="set a notebook parameter, such as -p weight_seed 3; the value is YAML, so that a list is \"[1, 2]\", an "
        "empty text \"''\" and the text 5 \"'5'\"; may be repeated",
    )  # fmt: skip
    run.add_argument("-f", "--file", type=from_home, help="YAML file with parameters; -p goes before it")

    many = commands.add_parser(
        "batch",
        help="execute notebooks over many parameters, on all cores or on a cluster",
        description="Execute notebooks once for every combination of parameters, each run into a folder of its own "
        "under runs/NAME/, then write runs.csv, runs.parquet and summary.html there. Finished runs are skipped: after "
        "an interruption, give the same command again.",
        epilog="Example: python -m lib batch 03 04 --name width -p hidden_size 32,64 -p weight_seed 0..4. A name "
        "that no notebook declares is refused, with those that are permitted. As YAML: "
        "'grid' holds names with lists of values, of which all combinations are run; 'runs' holds a list of mappings, "
        "one for each run; with both, each listed run meets each combination.",
    )
    many.add_argument("notebooks", nargs="+", help="number, name or path; several run in order in one folder")
    many.add_argument("--name", default="batch", help="name of the batch's folder (default: %(default)s)")
    many.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUES"),
        help="values of a parameter: 3, or 16,32,64, or 0..9 (both ends included), or lists, \"[1, 2], [3]\"; a text "
        "that has a comma stands in quotes of its own, \"'a, b'\"; may be repeated",
    )  # fmt: skip
    many.add_argument("-f", "--file", type=from_home, help="YAML file with 'grid', 'runs' or both")
    many.add_argument(
        "--workers", type=int, default=CPU_COUNT, help="processes (default: the cores that it may use, %(default)s)"
    )
    many.add_argument(
        "--patience", type=float, metavar="SECONDS",
        help="end when there has been no worker for so long (default: 300, with --scheduler 3600)",
    )  # fmt: skip
    many.add_argument("--scheduler", default="", help="address of a running Dask scheduler, as tcp://host:8786")
    many.add_argument("--timeout", type=float, default=3600.0, help="seconds for one run (default: %(default)g)")
    many.add_argument("--into", type=from_home, default=notebooks.RUNS, help="where the batch's folder goes")

    put = commands.add_parser("publish", help="refresh the committed notebooks, figures and metrics from runs/NAME/")
    put.add_argument("--name", default="default", help="name of the run's folder (default: %(default)s)")

    for name, words in WITHOUT_OPTIONS.items():
        commands.add_parser(name, help=words)
    study = commands.add_parser("studies", help="compute the committed studies again (about four hours)")
    study.add_argument("studies", nargs="*", metavar="STUDY", help=f"which; default: all of {', '.join(STUDIES)}")
    return parser.parse_args(list(_with_values_marked(sys.argv[1:] if arguments is None else arguments)))


def _with_values_marked(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments, with a space before each value that argparse would take for an option: -1e-3, -1,0,1, -a."""
    for k, argument in enumerate(arguments):
        after_name = k >= 2 and arguments[k - 2] in ("-p", "--parameter") and argument not in ("-p", "-f", "-h")
        is_value = re.match(r"-[^-]" if after_name else r"-\.?\d", argument)
        yield f" {argument}" if is_value else argument


def given_parameters(options: argparse.Namespace) -> dict[str, Any]:
    """The notebook parameters from the YAML file and the command line."""
    told: dict[str, Any] = {}
    for name, value in options.parameter:
        what = f"{name} = {value.strip()!r}"
        if name in told:
            raise SettingsError(f"{what}: has been given a value already")
        if not value.strip():
            raise SettingsError(f"{what}: must be a value; an empty text is written \"''\", nothing is written null")
        told[name] = files.parse_yaml(value, what)
    return (files.read_yaml(options.file) if options.file else {}) | told


def batch_command(options: argparse.Namespace) -> int:
    """Plan a batch, execute it, and say what came of it."""
    from lib.run import batch, plan, results  # by `main`

    notebooks.check_name(options.name)
    if options.patience is None:
        options.patience = 3600.0 if options.scheduler else 300.0
    for name, highest in (("workers", 10_000), ("timeout", 10_000_000), ("patience", 10_000_000)):
        if not 1 <= getattr(options, name) <= highest:
            raise SettingsError(f"{name} = {getattr(options, name)}: must be between 1 and {highest:,}")
    grid, listed = plan.read_plan(options.file) if options.file else ({}, [])
    for name, text in options.parameter:
        if name in grid:
            raise SettingsError(f"{name} = {text!r}: has been given values already")
        grid[name] = plan.parse_values(name, text)
    folder = (options.into / options.name).resolve()
    runs = plan.plan(options.notebooks, plan.expand(grid, listed), folder)
    with notebooks.locked(folder):
        ended = batch.run_batch(runs, folder, options.workers, options.scheduler, options.timeout, options.patience)
        table = results.table_of(runs)
        results.write_table(table, folder / "runs")
        if not ended:
            return INTERRUPTED
        finished = table["state"] == "finished"
        failed, doubtful = int((~finished).sum()), int((finished & (table["error"] != "")).sum())
        doubts = f"; in {doubtful} of the finished a claim does not hold" if doubtful else ""
        print(f"done: {len(runs) - failed} of {len(runs)} runs finished, {failed} failed{doubts}", flush=True)
        page = results.summarize(
            folder, [name for name in table.columns if any(name in run.parameters for run in runs)]
        )
    print(f"see {_short(page)}")
    return 1 if failed or doubtful else 0


def _short(path: Path) -> Path:
    """A path as seen from here, if it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def main() -> int:
    """Do what the command line says; 0: all went well, 1: something failed, 2: an argument was wrong, 130: Ctrl-C."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that lacks a character must not end a run
        sys.stdout.reconfigure(errors="backslashreplace")
    options = parse()
    if options.command == "batch":  # takes seconds, in which Ctrl-C still ends it at once: see `lib`
        from lib.run import batch, results  # noqa: F401  # Dask and pandas, which no other command needs
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in the background
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if options.command == "batch":
            return batch_command(options)
        if options.command == "run":
            folder = notebooks.run(options.name, given_parameters(options), options.notebooks)
            print(f"done: see {_short(folder)}")
        elif options.command == "publish":
            publish.publish(options.name)
        elif options.command in PRODUCTS:
            print(f"done: see {_short(PRODUCTS[options.command]())}")
        elif options.command in SHIPPED:
            compute(SHIPPED[options.command])
        else:
            compute_all(options.studies)
        if options.command in ("run", "publish", "studies") and (told := out_of_date()):
            print(f"note: {told}")
    except (SettingsError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (notebooks.NotebookFailedError, OSError) as error:  # OSError: a full disk, a folder that is write-protected
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
