"""All notebooks as one PDF: printed by Chromium, with page numbers in the contents and figures as vectors."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup
from pypdf import PdfReader

from lib.checkpoint import write_atomically
from lib.lessons.contents import Section
from lib.lessons.files import find_notebooks
from lib.run.render import BUILD, TEMPLATES, Chapter, chapter, copy_assets, front, headings_of
from lib.settings import SettingsError

BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge", "msedge"),
    "/Applications/Chromium.app/Contents/MacOS/Chromium",  # macOS and Windows do not put applications on the path
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "%ProgramFiles%/Google/Chrome/Application/chrome.exe",
    "%LocalAppData%/Google/Chrome/Application/chrome.exe",
    "%ProgramFiles(x86)%/Microsoft/Edge/Application/msedge.exe",
)
PRINT_TIMEOUT = 300  # seconds
MOST_PRINTS = 5


def booklet(path: Path = BUILD / "booklet.pdf") -> Path:
    """Print all notebooks into one PDF with contents.

    A browser knows the pages only once it has printed: so it prints again until the page numbers that stand in the
    contents are those of the print.

    Raises:
        SettingsError: there is no browser to print with. OSError: it fails to print.
    """
    chapters = [chapter(notebook) for notebook in find_notebooks()]
    ids = {section: f"{part.name}-{k}" for part in chapters for k, section in enumerate(part.sections)}
    places = {section.link: ids[section] for section in ids}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        copy_assets(Path(folder))
        source, printed = Path(folder, "booklet.html"), Path(folder, "booklet.pdf")
        pages: dict[str, int] = {}
        for _ in range(MOST_PRINTS):
            joined = [part._replace(body=_joined(part, ids, places, pages)) for part in chapters]
            content = {"chapters": joined, "front": front(chapters), "ids": ids, "pages": pages}
            source.write_text(TEMPLATES.get_template("booklet.html.j2").render(**content), encoding="utf-8")
            _print(source, printed)
            reader = PdfReader(printed)
            targets = reader.named_destinations.items()
            before, pages = (
                pages,
                {
                    unquote(name).lstrip("/"): 1 + (reader.get_destination_page_number(target) or 0)
                    for name, target in targets
                },
            )
            if pages == before:
                break
        write_atomically(path, printed.read_bytes())
    return path


def _joined(part: Chapter, ids: dict[Section, str], places: dict[str, str], pages: dict[str, int]) -> str:
    """A chapter's body with unique identities, links that stay inside and say their page, and solutions unfolded."""
    soup = BeautifulSoup(part.body, "html.parser")
    for tag, section in zip(headings_of(soup), part.sections, strict=True):
        tag["id"] = ids[section]
    for link in soup.select("a[href*='.ipynb']"):
        href = str(link["href"])
        if urlsplit(href).scheme:
            continue
        if href not in places:
            raise SettingsError(f"notebook = {part.name}, link = {href!r}: must lead to a heading of a notebook")
        target = places[href]
        link["href"] = f"#{target}"
        link.append(f" (p. {pages.get(target, 0)})")
    for cell in soup.select(".text_cell"):
        if cell.text.strip().startswith(("Next:", "Before:")):  # the contents say it
            cell.decompose()
    for fold in soup.select("details.solution"):
        fold["open"] = ""
    return str(soup)


def find_browser() -> str | None:
    """The Chromium, Chrome or Edge of this machine, if there is one."""
    return next(filter(None, map(shutil.which, map(os.path.expandvars, BROWSERS))), None)


def _print(source: Path, target: Path) -> None:
    """Let a browser print a page into a PDF."""
    browser = find_browser()
    if browser is None:
        raise SettingsError("browser = None: the booklet is printed by Chromium, Chrome or Edge; install one")
    options = "no-sandbox disable-gpu disable-background-networking disable-component-update disable-sync no-first-run "
    options += "no-pdf-header-footer generate-pdf-document-outline virtual-time-budget=20000"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [browser, "--headless", *(f"--{option}" for option in options.split())]
        command += [f"--user-data-dir={profile}", f"--print-to-pdf={target}", source.as_uri()]
        try:
            subprocess.run(
                command, check=True, capture_output=True, encoding="utf-8", errors="replace", timeout=PRINT_TIMEOUT
            )
        except subprocess.SubprocessError as error:
            raise OSError(f"{browser} cannot print: {error}; it says: {getattr(error, 'stderr', '')}") from error
