"""Notebook 00: the sections of all notebooks, the questions they answer, the requirements they meet, and terms."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import nbformat
from bs4 import BeautifulSoup, NavigableString, Tag
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from lib.lessons.files import NOTEBOOKS, files_in, find_notebooks, read_metrics, read_yaml
from lib.lessons.tables import markdown_table

QUESTIONS = NOTEBOOKS / "questions.yml"
REQUIREMENTS = NOTEBOOKS / "requirements.yml"
GLOSSARY = NOTEBOOKS / "glossary.yml"
HEADINGS = ":is(h1, h2, h3, h4, h5, h6):not(blockquote *, li *)"  # a heading that is quoted or listed begins no section
IN_BRACKETS = r"\(([Q0-9a-f., ]+)\)"  # questions that a heading answers, such as (Q1.2a, Q3.1c), or without the Q
IN_DEPTH = "In depth"  # the heading behind which stands what a reader may leave out
KINDS = {  # how a question is answered, and how notebook 0 says it
    "shown": "a cell",
    "judgement": "judgement",
}


class Section(NamedTuple):
    """A heading of a notebook.

    Attributes:
        notebook: file name without ending.
        level: 1 for the title, 2 for a section, 3 for a question.
        title: the heading's words, as they are read on the page.
        questions: ids of the questions that it answers.
        text: its prose, up to the next heading; emphasized words stand between asterisks.
        cells: ids of its cells of code, up to the next heading.
    """

    notebook: str
    level: int
    title: str
    questions: tuple[str, ...]
    text: str = ""
    cells: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        """The heading's id on a page, as JupyterLab and nbconvert make it."""
        return self.title.replace(" ", "-")

    @property
    def words(self) -> str:
        """The title without question ids."""
        return re.sub(rf" {IN_BRACKETS}$", "", self.title)

    @property
    def minutes(self) -> int:
        """How long it takes, if a line such as ``*12 minutes*`` below its heading says so; else 0."""
        told = re.match(r"\s*\*(\d+) minutes?(, and \d+ for your turn)?\*", self.text)
        return int(told[1]) if told else 0

    @property
    def link(self) -> str:
        """Where the heading stands, as a relative link between notebooks."""
        return f"{self.notebook}.ipynb" + (f"#{quote(self.anchor)}" if self.level > 1 else "")


class _Renderer(IPythonRenderer):
    """Markdown as a page shows it, for its words alone: pictures stay where they are."""

    def _embed_image_or_attachment(self, src: str) -> str:
        return src


def headings(page: Tag) -> list[Tag]:
    """The headings of a rendered cell that have words, in order."""
    return [tag for tag in page.select(HEADINGS) if tag.get_text().strip()]


def sections(notebook: Path) -> list[Section]:
    """The headings of a notebook as its page shows them, in order, each with what stands below it."""
    found: list[Section] = []
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code" and found:
            found[-1] = found[-1]._replace(cells=(*found[-1].cells, cell.id))
        if cell.cell_type != "markdown":
            continue
        text = MarkdownWithMath(_Renderer(escape=False, exclude_anchor_links=True)).render(cell.source)
        page = BeautifulSoup(text, "html.parser")
        titles = {id(tag): " ".join(tag.get_text().split()) for tag in headings(page)}
        for word in page.select("em"):
            word.replace_with(f"*{word.get_text()}*")
        for node in page.descendants:
            if isinstance(node, Tag) and (title := titles.get(id(node))):
                found.append(Section(notebook.stem, int(node.name[1]), title, _questions_in(title)))
            elif found and type(node) is NavigableString and not any(id(parent) in titles for parent in node.parents):
                found[-1] = found[-1]._replace(text=f"{found[-1].text}{node}")
    return found


def _questions_in(title: str) -> tuple[str, ...]:
    """The ids of questions that stand in brackets in a heading, such as ``(Q1.2a, Q3.1c)``, without the Q."""
    groups = re.findall(IN_BRACKETS, title)
    return tuple(name for group in groups for name in re.findall(r"\d(?:\.\d[a-f]?)?", group))


def read_questions() -> dict[str, dict[str, dict[str, str]]]:
    """The questions by chapter: by id, what it ``asks``, the ``kind`` of its answer, and perhaps the ``cell``."""
    content: dict[str, dict[str, dict[str, str]]] = read_yaml(QUESTIONS)
    return content


def answers() -> dict[str, Section]:
    """The section that answers each question: the first whose heading names it."""
    found: dict[str, Section] = {}
    for notebook in find_notebooks():
        for section in sections(notebook):
            for name in section.questions:
                found.setdefault(name, section)
    return found


def question_index() -> str:
    """All questions, in Markdown, each linked to the section that answers it.

    Raises:
        ValueError: a question has no answer, a heading answers a question that does not exist, or the section does
            not answer in the way that is said.
    """
    asked, found = read_questions(), answers()
    known = {name for chapter in asked.values() for name in chapter}
    if known != set(found):
        raise ValueError(
            f"questions without an answer: {sorted(known - set(found)) or 'none'}; "
            f"answers without a question: {sorted(set(found) - known) or 'none'}"
        )
    rows = []
    for chapter, questions in asked.items():
        rows.append(["", f"**{chapter}**", "", ""])
        for name, question in questions.items():
            section = found[name]
            _check_kind(name, question, section)
            told = f"[{question['asks']}]({section.link})"
            rows.append([name, told, section.notebook[:2].lstrip("0"), KINDS[question["kind"]]])
    return markdown_table(["", "question", "notebook", "answered by"], rows, texts=4)


def _check_kind(name: str, question: dict[str, str], section: Section) -> None:
    """Refuse a question that is not answered as its ``kind`` says."""
    kind, cell = question["kind"], question.get("cell")
    if kind not in KINDS:
        raise ValueError(f"question {name}: kind = {kind!r}: must be one of {', '.join(KINDS)}")
    if kind == "shown" and (cell or "") not in (*section.cells, "" if section.cells else None):
        raise ValueError(f"question {name}: cell = {cell!r}: must be one of {section.cells} in {section.title!r}")
    if kind == "judgement" and "matter of judgement" not in section.text:
        raise ValueError(f"question {name}: {section.title!r} must say that it is a matter of judgement")


def glossary() -> str:
    """All terms, in Markdown, each with a sentence and a link to where its notebook uses it first.

    Raises:
        ValueError: a term does not occur in its notebook.
    """
    places = {path.stem[:2]: sections(path) for path in find_notebooks()}
    rows = []
    for group, terms in read_yaml(GLOSSARY).items():
        rows.append([f"**{group}**", "", ""])
        for term, entry in terms.items():
            sought = entry.get("seek", rf"\b{re.escape(term)}")
            found = [s for s in places[entry["where"]] if re.search(sought, f"{s.title}\n{s.text}", re.IGNORECASE)]
            if not found:
                raise ValueError(f"term {term!r}: must occur in the prose of notebook {entry['where']}")
            section = next((s for s in found if s.level > 1), found[0])  # the summary below the title explains little
            words = section.words.replace("|", "")
            rows.append([term, entry["means"], f"{entry['where'].lstrip('0')} · [{words}]({section.link})"])
    return markdown_table(["term", "meaning", "explained in"], rows, texts=3)


def requirements_table(metrics: Path) -> str:
    """The assignment's requirements, in Markdown: where each is met, and the value measured there.

    Args:
        metrics: folder with the metrics files of a run.

    Raises:
        ValueError: a requirement names a section or a metric that does not exist.
    """
    measured = {path.stem[3:]: read_metrics(path)["results"] for path in files_in(metrics, "*.json")}
    places = [section for notebook in find_notebooks() for section in sections(notebook)]
    rows: list[list[object]] = []
    number = 0
    for group, requirements in read_yaml(REQUIREMENTS).items():
        rows.append(["", f"**{group}**", "", ""])
        for entry in requirements:
            number += 1
            section = find_section(places, *entry["where"].split(" ", 1))
            value = _value(entry["measured"], measured)
            rows.append([number, entry["asks"], f"[{section.words}]({section.link})", value])
    return markdown_table(["", "the assignment asks for", "met in", "measured"], rows, texts=4)


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
