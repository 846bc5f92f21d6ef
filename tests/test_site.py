"""The rendered deliverable, judged in a real browser: site, booklet, student copy, figures."""

from pathlib import Path
from urllib.parse import unquote

import nbformat
import numpy as np
import pandas as pd
import pypdfium2
import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import pale, shoot
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from pypdf import PdfReader

from lib.lessons.contents import QUESTIONS, read_questions, sections
from lib.lessons.files import find_notebooks
from lib.run.booklet import booklet
from lib.run.publish import FIGURES, clean
from lib.run.render import chapter, front, single_page, site
from lib.run.results import summarize, write_table
from lib.run.student import without_solutions

NAMES = ["index", *(path.stem for path in find_notebooks())]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
DESK, PHONE = {"width": 1440, "height": 1000}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    return site(tmp_path_factory.mktemp("site")).parent


@pytest.fixture(scope="module")
def soups(pages) -> dict[str, BeautifulSoup]:
    return {name: BeautifulSoup((pages / f"{name}.html").read_text(encoding="utf-8"), "html.parser") for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_every_link_and_anchor_leads_somewhere(pages, soups, name):
    links = [str(link["href"]) for link in soups[name].select("a[href]")]
    assert len(links) > 5
    for link in links:
        target, _, anchor = link.partition("#")
        there = soups[Path(target).stem] if target else soups[name]
        assert not target or (pages / target).exists(), link
        if anchor:
            assert there.find(id=unquote(anchor)), f"{link}: no such anchor"


@pytest.mark.parametrize("name", NAMES)
def test_pages_are_whole_and_light(pages, soups, name):
    soup = soups[name]
    weight = len((pages / f"{name}.html").read_bytes())
    weight += sum((pages / str(i["src"])).stat().st_size for i in soup.select("img") if "figures/" in i["src"])
    assert weight < 5_000_000
    assert len(soup.select("h1")) == 1
    assert all(len(str(image["alt"])) > 40 for image in soup.select(".picture img"))
    assert all(str(image["src"]).endswith(".svg") for image in soup.select(".picture img")), "not as vectors"
    assert "$" not in "".join(part.get_text() for part in soup.select(".text_cell_render, .output_markdown")), "raw TeX"
    assert not soup.select("script[src], link[href^=http], img[src^=http], merror")


@pytest.mark.parametrize("name", NAMES)
def test_what_needs_a_script_is_one_picture_and_a_sentence_without(soups, name):
    for output in soups[name].select(".output_html:has(script)"):
        assert output.select_one("[data-hint]"), "publish notebooks that this version has executed"
        assert len(output.select("[data-frame]")) < 2
        assert output.select("img")
        assert not output.select("button, input, select, canvas, svg")


def test_every_question_can_be_reached_from_the_index(soups):
    links = [link.get_text() for link in soups["00_assignment"].select("main td a")]
    for questions in read_questions().values():
        for question in questions.values():
            assert question["asks"] in links, f"{QUESTIONS.name}: {question['asks']}"


@pytest.mark.browser
@pytest.mark.parametrize("name", NAMES)
def test_pages_in_the_browser(pages, browser, name):
    """Each page is judged whole on a desk, then by its colours in the dark, then by its width on a phone."""
    page = browser.new_page(viewport=DESK, color_scheme="light")
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((pages / f"{name}.html").as_uri())
    page.evaluate("document.fonts.ready")
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.evaluate("[...document.fonts].some(font => font.family === 'Stix' && font.status === 'loaded')")
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    assert not page.evaluate(
        "[...document.querySelectorAll('.scroll:has(pre)')].filter(e => !e.closest('.machinery')"
        " && e.scrollWidth > e.clientWidth).map(e => e.innerText.slice(0, 300))"
    ), "code is wider than its column; a table or a formula may scroll on a phone"
    found = Axe().run(page, options={"preload": False, "runOnly": RULES}).response["violations"]
    assert not [(v["id"], v["nodes"][0]["html"][:200]) for v in found]
    shoot(page, f"{name}-desk", full_page=True)
    page.emulate_media(color_scheme="dark")
    assert not pale(page, "body")
    shoot(page, f"{name}-dark", full_page=True)
    for size in (DESK, PHONE):
        page.set_viewport_size(size)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the window"
    shoot(page, f"{name}-phone", full_page=True)
    assert not [url for url in requests if not url.startswith((pages.as_uri(), "data:"))], "a request left the page"
    assert not errors
    page.close()


@pytest.mark.browser
def test_the_summary_of_a_batch(browser, tmp_path):
    rows = [
        {"folder": f"a={k}-key", "state": "finished", "seconds": 1.0, "error": "", "a": k, "x.mse": k / 7}
        for k in (1, 2)
    ]
    rows += [{**rows[0], "folder": "a=3-key", "state": "failed", "error": "<b>it | broke</b>", "a": 3, "x.mse": None}]
    write_table(pd.DataFrame(rows), tmp_path / "runs")
    address = summarize(tmp_path, ["a"]).as_uri()
    page = browser.new_page()
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    text = page.inner_text("main")
    assert "3 runs: 2 finished, 1 failed" in text
    assert "<b>it | broke</b>" in text
    assert page.get_by_role("link", name="0.286").get_attribute("href") == "a%3D2-key/"
    assert str(tmp_path) not in text, "where it ran is nobody's concern"
    assert requests == [address]
    assert not [(v["id"], v["nodes"]) for v in Axe().run(page, options={"runOnly": RULES}).response["violations"]]
    page.emulate_media(color_scheme="dark")
    assert not pale(page, "body")
    page.close()


@pytest.fixture(scope="module")
def lesson(tmp_path_factory) -> Path:
    """A notebook with all that a lesson may hold: minutes, a question, a prediction, a solution, a part in depth."""
    shown = [new_output("stream", text="forty-two")]
    hidden = {"tags": ["predict"], "jupyter": {"outputs_hidden": True}}
    cells = [
        new_markdown_cell("# 1 · Lesson\n\n## 1.1 *First* (Q1.2a, 3.1c)\n*12 minutes*\nWords, *7 minutes* of them.\n"),
        new_code_cell("predicted", metadata=hidden, outputs=shown, id="predicted"),
        new_markdown_cell("### 1.1.1 Part\n\n*1 minute*\n\n## Exercises\n*30 minutes*"),
        new_code_cell("solved", metadata={"tags": ["solution"]}, outputs=shown),
        new_markdown_cell("## In depth\nYou may stop here. More is [below](01_lesson.ipynb#1.2-Deeper-%28Q2.1%29)."),
        new_markdown_cell("### 1.2 Deeper (Q2.1)\n*50 minutes*"),
        new_markdown_cell("**Next:** nothing"),
    ]
    path = tmp_path_factory.mktemp("lesson") / "01_lesson.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def test_a_lesson_has_minutes_questions_and_a_depth(lesson):
    found = {section.words: section for section in sections(lesson)}
    assert list(found) == ["1 · Lesson", "1.1 First", "1.1.1 Part", "Exercises", "In depth", "1.2 Deeper"]
    assert [section.questions for section in found.values()] == [(), ("1.2a", "3.1c"), (), (), (), ("2.1",)]
    assert [section.minutes for section in found.values()] == [0, 12, 1, 30, 0, 50]
    part = chapter(lesson)
    assert part.minutes == 13, "without the exercises and what stands in depth"
    soup = BeautifulSoup(part.body, "html.parser")
    assert [told.text for told in soup.select(".minutes")] == ["12 minutes", "1 minute", "30 minutes", "50 minutes"]
    assert not soup.select(".answer, .depth"), "the booklet prints it as it is"
    assert "<small>13 minutes</small>" in front([part])


def test_students_get_the_depth_but_no_answers(lesson):
    copy = without_solutions(nbformat.read(lesson, as_version=4))
    assert "## In depth" in "\n".join(cell.source for cell in copy.cells)
    assert [(cell.source, cell.outputs) for cell in copy.cells if cell.cell_type == "code"] == [("predicted", [])]
    assert clean(copy).cells[1].metadata == {"tags": ["predict"], "jupyter": {"outputs_hidden": True}}


@pytest.mark.browser
@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_answers_and_the_depth_are_folded_until_a_link_leads_into_them(lesson, browser, script):
    address = single_page(lesson, lesson.with_suffix(".html")).as_uri()
    context = browser.new_context(java_script_enabled=script)
    page = context.new_page()
    page.goto(address)
    answer, deeper = page.get_by_text("forty-two").first, page.get_by_role("heading", name="1.2 Deeper")
    assert not answer.is_visible()
    page.get_by_text("Show the answer").click()
    assert answer.is_visible()
    assert not deeper.is_visible()
    page.get_by_role("heading", name="In depth – you may stop here").click()
    assert deeper.is_visible()
    assert page.get_by_text("Next:").is_visible()
    page.goto("about:blank")
    page.goto(f"{address}#1.2-Deeper-(Q2.1)")
    assert deeper.is_visible(), "a link from another page"
    page.goto("about:blank")
    page.goto(address)
    page.evaluate("location.hash = '#1.2-Deeper-(Q2.1)'") if script else page.goto(f"{address}#1.2-Deeper-(Q2.1)")
    deeper.wait_for()
    context.close()


@pytest.mark.browser
def test_pages_are_read_with_the_keyboard(pages, browser):
    page = browser.new_page(viewport=DESK)
    page.goto((pages / "02_state_management.html").as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the text"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    fold = page.locator("details.solution").first
    fold.locator("summary").focus()
    assert not fold.evaluate("e => e.open")
    page.keyboard.press("Enter")
    assert fold.evaluate("e => e.open")
    page.locator("a[rel=next]").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/03_training.html")
    page.close()


def alternative_texts(node) -> set[str]:
    """All alternative texts in the structure of a PDF."""
    found, waiting = set(), [node]
    while waiting:
        node = waiting.pop().get_object()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            found |= {str(node["/Alt"])} if "/Alt" in node else set()
            waiting += [node["/K"]] if "/K" in node else []
    return found


@pytest.mark.browser
def test_the_booklet_is_complete_and_nothing_is_clipped(tmp_path):
    path = booklet(tmp_path / "booklet.pdf")
    reader = PdfReader(path)
    texts = [page.extract_text() for page in reader.pages]
    assert 40 < len(texts) < 150
    assert [text.split("\n", 1)[0] for text in texts] == [str(k + 1) for k in range(len(texts))], "page numbers"
    assert "keeps time" in reader.metadata.title
    for notebook in find_notebooks():
        begins = f"{int(notebook.stem[:2])} · "
        start = next(k for k, text in enumerate(texts, start=1) if text.startswith(f"{k}\n{begins}"))
        line = next(line for text in texts[1:4] for line in text.splitlines() if line.startswith(begins))
        assert line.endswith(f" {start}"), f"{line}: is on page {start}"
    assert "$" not in " ".join(texts).replace("$(", "")
    assert len(reader.outline) > len(find_notebooks()), "bookmarks"
    spoken = alternative_texts(reader.trailer["/Root"]["/StructTreeRoot"])
    for text in FIGURES.glob("*.txt"):
        assert text.read_text(encoding="utf-8").strip() in spoken, f"{text.stem}: its text is not in the PDF"
    for number, page in enumerate(pypdfium2.PdfDocument(path), start=1):
        ink = np.asarray(page.render(scale=0.7, grayscale=True).to_pil()) < 160
        assert ink[:, : int(0.09 * ink.shape[1])].sum() == 0, f"page {number}: ink in the left margin"
        assert ink[:, int(0.92 * ink.shape[1]) :].sum() == 0, f"page {number}: ink in the right margin"
        assert ink.sum() > 100, f"page {number} is empty"
    pictures = len(list(FIGURES.glob("*.svg")))
    images = sum(len(page.images) for page in reader.pages)
    assert images < pictures, "figures should be vectors; images of states and recorded films are not"
