"""Notebook 00: the sections of all notebooks, the questions they answer, the requirements they meet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import nbformat

from lib.lessons.files import NOTEBOOKS, find_notebooks, read_metrics, read_yaml

QUESTIONS = NOTEBOOKS / "questions.yml"
REQUIREMENTS = NOTEBOOKS / "requirements.yml"


class Section(NamedTuple):
    """A heading of a notebook.

    Attributes:
        notebook: file name without ending.
        level: 1 for the title, 2 for a section, 3 for a question.
        title: the heading's words.
        questions: ids of the questions that it answers.
    """

    notebook: str
    level: int
    title: str
    questions: tuple[str, ...]

    @property
    def anchor(self) -> str:
        """The heading's id on a page, as JupyterLab and nbconvert make it."""
        return self.title.replace("`", "").replace(" ", "-")

    @property
    def words(self) -> str:
        """The title without question ids and marks."""
        return re.sub(r"`| \([0-9a-f., ]+\)$", "", self.title)

    @property
    def link(self) -> str:
        """Where the heading stands, as a relative link between notebooks."""
        return f"{self.notebook}.ipynb" + (f"#{quote(self.anchor)}" if self.level > 1 else "")


def sections(notebook: Path) -> list[Section]:
    """The headings of a notebook, in order."""
    found = []
    for cell in nbformat.read(notebook, as_version=4).cells:
        for marks, title in re.findall(r"^(#+) (.+)$", cell.source, re.MULTILINE) * (cell.cell_type == "markdown"):
            names = tuple(
                name
                for group in re.findall(r"\(([0-9a-f., ]+)\)", title)
                for name in re.findall(r"\d(?:\.\d[a-f]?)?", group)
            )
            found.append(Section(notebook.stem, len(marks), title.strip(), names))
    return found


def read_questions() -> dict[str, dict[str, str]]:
    """The questions by chapter: id and wording of each."""
    content: dict[str, dict[str, str]] = read_yaml(QUESTIONS)
    return content


def question_index() -> str:
    """All questions, in Markdown, each linked to the section that answers it.

    Raises:
        ValueError: a question has no answer, or a heading answers a question that does not exist.
    """
    asked = read_questions()
    answers: dict[str, Section] = {}
    for notebook in find_notebooks():
        for section in sections(notebook):
            for name in section.questions:
                answers.setdefault(name, section)
    known = {name for chapter in asked.values() for name in chapter}
    if known != set(answers):
        raise ValueError(
            f"questions without an answer: {sorted(known - set(answers)) or 'none'}; "
            f"answers without a question: {sorted(set(answers) - known) or 'none'}"
        )
    lines = ["| | question | answered in |", "| --- | --- | --- |"]
    for chapter, questions in asked.items():
        lines.append(f"| | **{chapter}** | |")
        for name, words in questions.items():
            section = answers[name]
            lines.append(f"| {name} | [{words}]({section.link}) | {section.notebook[:2].lstrip('0')} |")
    return "\n".join(lines)


def requirements_table(metrics: Path) -> str:
    """The assignment's requirements, in Markdown: where each is met, and the value measured there.

    Args:
        metrics: folder with the metrics files of a run.

    Raises:
        ValueError: a requirement names a section or a metric that does not exist.
    """
    measured = {path.stem[3:]: read_metrics(path)["results"] for path in sorted(metrics.glob("*.json"))}
    places = [section for notebook in find_notebooks() for section in sections(notebook)]
    lines = ["| | the assignment asks for | met in | measured |", "| --- | --- | --- | --- |"]
    number = 0
    for group, requirements in read_yaml(REQUIREMENTS).items():
        lines.append(f"| | **{group}** | | |")
        for entry in requirements:
            number += 1
            section = find_section(places, *entry["where"].split(" ", 1))
            value = _value(entry["measured"], measured)
            lines.append(f"| {number} | {entry['asks']} | [{section.words}]({section.link}) | {value} |")
    return "\n".join(lines)


def find_section(places: list[Section], notebook: str, beginning: str) -> Section:
    """The section of a notebook, given by its number, whose heading begins so."""
    for section in places:
        if section.notebook.startswith(notebook) and section.title.startswith(beginning):
            return section
    raise ValueError(f"where = {notebook} {beginning!r}: no heading of that notebook begins so")


def _value(template: str, measured: dict[str, Any]) -> str:
    """Fill ``{evaluation[test][overall][mse]:.1e}`` and the like from the metrics."""
    try:
        return template.format(**measured)
    except (KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"measured = {template!r}: the metrics files hold no such value ({error!r})") from error
