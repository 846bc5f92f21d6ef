"""The command line: ``python -m lib --help``."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

import yaml

from lib.checkpoint import CheckpointError
from lib.run import booklet, notebooks, publish, render, student, studies
from lib.settings import SettingsError

PRODUCTS = {"site": render.site, "pdf": booklet.booklet, "student": student.student_copy}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m lib", description="Run, publish and recompute the notebooks.")
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="execute the notebooks in order into runs/NAME/")
    run.add_argument("notebooks", nargs="*", help="which notebooks, by number or name, such as 03; default: all")
    run.add_argument("--name", default="default", help="name of the run's folder (default: %(default)s)")
    run.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="set a notebook parameter, such as -p weight_seed 3; may be repeated",
    )  # fmt: skip
    run.add_argument("-f", "--file", type=Path, help="YAML file with parameters; -p goes before it")

    put = commands.add_parser("publish", help="refresh the committed notebooks, figures and metrics from runs/NAME/")
    put.add_argument("--name", default="default", help="name of the run's folder (default: %(default)s)")

    commands.add_parser("site", help="render the notebooks as a static site, build/site/index.html")
    commands.add_parser("pdf", help="print the notebooks as one booklet, build/booklet.pdf (needs Chromium)")
    commands.add_parser("student", help="copy everything but the solutions to build/student/")
    commands.add_parser("reference", help="train the shipped reference checkpoint again (about half an hour)")
    study = commands.add_parser("studies", help="compute the committed studies again (about half an hour)")
    study.add_argument(
        "studies", nargs="*", metavar="STUDY", help=f"which; default: all of {', '.join(studies.STUDIES)}"
    )
    return parser.parse_args(arguments)


def given_parameters(options: argparse.Namespace) -> dict[str, Any]:
    """The notebook parameters from the YAML file and the command line."""
    given: dict[str, Any] = {}
    if options.file:
        try:
            content = yaml.safe_load(options.file.read_text())
        except (OSError, yaml.YAMLError) as error:
            raise SettingsError(f"file = {options.file}: cannot be read as YAML ({error})") from error
        if not isinstance(content, dict):
            raise SettingsError(f"file = {options.file}: must hold lines of the form 'name: value'")
        given.update(content)
    for name, value in options.parameter:
        try:
            given[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise SettingsError(f"{name} = {value!r}: cannot be read as a value") from error
    return given


def _short(path: Path) -> Path:
    """A path as seen from here, if it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def main() -> int:
    """Do what the command line says; 0 if all went well, 1 if a notebook failed, 2 if an argument was wrong."""
    options = parse()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("papermill").setLevel(logging.WARNING)
    try:
        if options.command == "run":
            folder = notebooks.run(options.name, given_parameters(options), options.notebooks)
            print(f"done: see {_short(folder)}")
        elif options.command == "publish":
            publish.publish(options.name)
        elif options.command in PRODUCTS:
            print(f"done: see {_short(PRODUCTS[options.command]())}")
        elif options.command == "reference":
            studies.train_reference()
        else:
            studies.run_studies(options.studies)
    except (SettingsError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except notebooks.NotebookFailedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
