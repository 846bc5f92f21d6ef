"""Turn the committed notebooks into pages: a static site that needs no network, and the chapters of the booklet."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import jinja2
import matplotlib as mpl
from bs4 import BeautifulSoup, Tag
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import InvalidNotebook, IPythonRenderer, MarkdownWithMath

from lib.checkpoint import write_atomically
from lib.lessons.contents import IN_DEPTH, Section, headings, sections
from lib.lessons.files import NOTEBOOKS, ROOT, find_notebooks
from lib.run.publish import FIGURES, place_of, results_table
from lib.settings import SettingsError

PAGES = Path(__file__).with_name("pages")
BUILD = ROOT / "build"
FONTS = ("STIXGeneral", "STIXGeneralItalic", "STIXGeneralBol", "STIXGeneralBolIta", "DejaVuSansMono")
WIDE = {"Table": "table", "Code": ".input_area pre, .output_markdown pre", "Output": ".output_text pre"}
WIDE |= {"Formula": "math[display=block]", "Figure": ".picture img"}
NOTEBOOK_LINK = re.compile(r'(href="\w+)\.ipynb')
IMAGE = re.compile(r"""(<img\b[^>]*?\bsrc\s*=\s*)("[^"]*"|'[^']*'|[^\s>]+)""", re.IGNORECASE)
POWER = re.compile(r"\d[\d.]*e-\d+")
TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(PAGES), trim_blocks=True)


class Chapter(NamedTuple):
    """A notebook as a part of the site or the booklet.

    Attributes:
        name: file name without ending.
        title: its first heading of the first level; if it has none, its name.
        sections: all of its headings.
        body: its cells as HTML.
    """

    name: str
    title: str
    sections: list[Section]
    body: str

    @property
    def words(self) -> str:
        """The title without its number."""
        return self.title.partition(" · ")[2] or self.title

    @property
    def below(self) -> list[Section]:
        """Its headings without its title."""
        return [section for section in self.sections if (section.level, section.title) != (1, self.title)]

    @property
    def minutes(self) -> int:
        """How long its sections take, up to the exercises or what stands in depth."""
        lesson = takewhile(lambda section: section.words not in ("Exercises", IN_DEPTH), self.sections)
        return sum(section.minutes for section in lesson)

    @property
    def short(self) -> str:
        """The title up to its colon or comma, for narrow places."""
        return self.title.replace(",", ":").partition(":")[0]


class Renderer(IPythonRenderer):
    """Markdown to HTML, with formulas as MathML: every present browser sets it, without a script or a network.

    Pictures that are pasted into the cell or lie beside the notebook become a part of the page.
    """

    def __init__(self, folder: Path, attachments: dict[str, dict[str, str]] | None = None) -> None:
        """For a cell with these attachments, of a notebook in this folder."""
        super().__init__(
            escape=False, exclude_anchor_links=True, embed_images=True, path=str(folder), attachments=attachments or {}
        )

    def block_math(self, body: str) -> str:
        """A formula on lines of its own."""
        return _formula(body.replace("$$", "").replace("{aligned}", "{align*}"), display="block")

    def inline_math(self, body: str) -> str:
        """A formula within a line."""
        return _formula(body.strip("$"))

    def latex_environment(self, name: str, body: str) -> str:
        """A formula that is an environment of its own, such as ``align``."""
        return _formula(f"\\begin{{{name}}}{body}\\end{{{name}}}", display="block")

    def _embed_image_or_attachment(self, src: str) -> str:
        if src.startswith("attachment:") and src.partition(":")[2] not in self.attachments:
            src = unquote(src)
        found: str = super()._embed_image_or_attachment(src)
        if not urlsplit(found).scheme and not found.startswith("//"):
            raise SettingsError(f"picture = {src!r}: must be a file in the folder of the notebook")
        return found

    def _src_to_base64(self, src: str) -> str | None:
        embedded: str | None = super()._src_to_base64(unquote(src))
        return embedded

    def _html_embed_images(self, html: str) -> str:
        def embedded(match: re.Match[str]) -> str:
            source = self._embed_image_or_attachment(match[2].strip("\"'"))
            return f'{match[1]}"{source}"'

        return IMAGE.sub(embedded, html)


def _formula(body: str, display: str = "inline") -> str:
    plain = re.sub(r"\\.", "", body)
    if plain.count("{") != plain.count("}"):
        raise SettingsError(f"formula = {body!r}: must close every brace that it opens")
    try:
        return str(convert(body, display=display))
    except Exception as error:  # a wrong formula can fail anywhere inside the reader
        raise SettingsError(f"formula = {body!r}: cannot be read ({error!r})") from error


def to_html(markdown: str, renderer: Renderer | None = None) -> str:
    """Markdown with formulas as HTML.

    Raises:
        SettingsError: a formula cannot be read, or a picture is missing.
    """
    return str(MarkdownWithMath(renderer=renderer or Renderer(ROOT)).render(markdown))


def chapter(notebook: Path) -> Chapter:
    """One executed notebook as HTML; its figures are vectors in a folder beside the page.

    Raises:
        SettingsError: a formula or a picture of a cell cannot be shown; the message names notebook and cell.
    """

    @jinja2.pass_context
    def cell_to_html(context: jinja2.runtime.Context, markdown: str) -> str:
        cell = context["cell"]
        try:
            return to_html(markdown, Renderer(notebook.parent, cell.get("attachments")))
        except (SettingsError, InvalidNotebook) as error:
            raise SettingsError(f"notebook = {notebook}, {place_of(context['nb'], cell)}: {error}") from error

    exporter = HTMLExporter(
        template_name="course",
        extra_template_basedirs=[str(PAGES)],
        filters={"markdown2html": cell_to_html},
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    soup = BeautifulSoup(exporter.from_filename(str(notebook))[0], "html.parser")
    found = sections(notebook)
    for tag, section in zip(headings_of(soup), found, strict=True):
        tag["id"] = section.anchor
    for minutes in soup.select(":is(h2, h3) + p > em:first-child"):
        if re.fullmatch(r"\d+ minutes?(, and \d+ for your turn)?", minutes.text):
            minutes["class"] = "minutes"
    for image in soup.select("img[data-name]"):
        if (FIGURES / f"{image['data-name']}.svg").exists():
            image["src"] = f"figures/{image['data-name']}.svg"
    title = next((section.title for section in found if section.level == 1), notebook.stem)
    return Chapter(notebook.stem, title, found, str(make_scrollable(soup)))


def folded(body: str) -> str:
    """A body for the screen: the reader opens the answers to what is to be predicted, and what stands in depth."""
    soup = BeautifulSoup(body, "html.parser")

    def fold(kind: str, summary: str | Tag) -> Tag:
        details = soup.new_tag("details", attrs={"class": f"fold {kind}"})
        details.append(told := soup.new_tag("summary"))
        told.append(summary)
        return details

    for answer in soup.select(".celltag_predict > .output_wrapper"):
        answer.wrap(fold("answer", "Show the answer"))
    title = f"h2#{IN_DEPTH.replace(' ', '-')}"
    for first in soup.select(f".text_cell:has({title})"):
        inside, heading = [first, *first.next_siblings], first.select(title)[0]
        heading.append(" – you may stop here")
        first.insert_before(depth := fold("depth", heading))
        depth.extend(inside)
    return str(soup)


def headings_of(soup: BeautifulSoup) -> list[Tag]:
    """The headings on a page that its cells of text have made, in order; each belongs to a `Section`."""
    return [tag for cell in soup.select(".text_cell_render") for tag in headings(cell)]


def single_page(notebook: Path, target: Path) -> Path:
    """One executed notebook as a page of its own, in one file: style and figures inside, fonts those of the reader."""
    lines = (PAGES / "style.css").read_text(encoding="utf-8").splitlines()
    style = "\n".join(line for line in lines if "@font-face" not in line)
    part = chapter(notebook)
    page = TEMPLATES.get_template("single.html.j2").render(title=part.title, body=folded(part.body), style=style)
    write_atomically(target, page.encode())
    return target


def make_scrollable(soup: BeautifulSoup) -> BeautifulSoup:
    """Let the keyboard scroll what may be wider than the page, and leave no table a header cell without words."""
    for name, selector in WIDE.items():
        for block in soup.select(selector):
            about = {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": name}
            block.wrap(soup.new_tag("div", attrs=about))
    for cell in soup.select("th:empty"):
        cell.name = "td"
    for text in soup.find_all(string=POWER):
        if text.find_parent("td"):  # a number in a narrow column must not be broken at its minus sign
            text.replace_with(
                BeautifulSoup(POWER.sub(r'<span class="number">\g<0></span>', escape(text)), "html.parser")
            )
    return soup


def front(chapters: Sequence[Chapter]) -> str:
    """The first page: headline figure, results, contents."""
    alt = (FIGURES / "graph_1.txt").read_text(encoding="utf-8").strip()
    page = TEMPLATES.get_template("front.html.j2")
    text = page.render(chapters=chapters, picture="figures/graph_1.svg", alt=alt, results=to_html(results_table()))
    return str(make_scrollable(BeautifulSoup(text, "html.parser")))


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """An empty folder to write into, whose content takes the place of that of ``folder`` once all is written.

    The folder itself stays, since it may be a link, the place of a mounted volume, or somebody's working folder.

    Raises:
        SettingsError: ``folder`` holds what is read.
        OSError: the content cannot be replaced, and is as it was. On Windows it cannot while a program has a file open.
    """
    check_target(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".", ignore_cleanup_errors=True) as place:
        fresh, old = Path(place, "fresh"), Path(place, "old")
        fresh.mkdir()
        old.mkdir()
        yield fresh
        moved: list[tuple[Path, Path]] = []
        try:
            for source, target in ((folder, old), (fresh, folder)):
                for path in [path for path in source.iterdir() if path != Path(place)]:
                    os.replace(path, target / path.name)
                    moved.append((path, target / path.name))
        except BaseException as error:
            for before, now in reversed(moved):
                os.replace(now, before)
            if isinstance(error, OSError):
                raise OSError(f"folder = {folder}: cannot be replaced, close what has it open ({error})") from error
            raise


def check_target(folder: Path) -> None:
    """Refuse to replace a folder that holds, or belongs to, what the pages and the students' copy are made from."""
    place = folder.resolve()
    for source in (NOTEBOOKS, FIGURES, ROOT / "lib", ROOT / "tests"):
        if place.is_relative_to(source.resolve()) or source.resolve().is_relative_to(place):
            raise SettingsError(f"folder = {folder}: must be apart from {source}, which is read")


def copy_assets(folder: Path) -> None:
    """Put style, fonts and figures beside the pages."""
    for kind in ("figures", "fonts"):
        (folder / kind).mkdir()
    shutil.copyfile(PAGES / "style.css", folder / "style.css")
    for figure in sorted(FIGURES.glob("*.svg")):
        shutil.copyfile(figure, folder / "figures" / figure.name)
    for font in FONTS:
        shutil.copyfile(Path(mpl.get_data_path(), "fonts", "ttf", f"{font}.ttf"), folder / "fonts" / f"{font}.ttf")


def site(folder: Path = BUILD / "site") -> Path:
    """Write all notebooks as one static site.

    Returns:
        The front page.
    """
    page = TEMPLATES.get_template("page.html.j2")
    with replaced(folder) as fresh:
        chapters = [chapter(path) for path in find_notebooks()]
        copy_assets(fresh)

        def write(name: str, **content: Any) -> None:
            text = page.render(name=name, chapters=chapters, **content)
            (fresh / f"{name}.html").write_text(text, encoding="utf-8")

        write("index", title="One sample at a time: an LSTM that keeps time", body=front(chapters), after=chapters[0])
        for before, this, after in zip([None, *chapters], chapters, [*chapters[1:], None], strict=False):
            body = NOTEBOOK_LINK.sub(r"\1.html", folded(this.body))
            write(this.name, title=this.title, body=body, sections=this.below, before=before, after=after)
    return folder / "index.html"
