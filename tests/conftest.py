import pytest
import torch

from lib import FrequencyDataset, SignalSpec, StatefulLSTMExtractor
from lib.run.booklet import find_browser


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def spec() -> SignalSpec:
    """A small specification with numbers unlike the assignment's, so that nothing can lean on those."""
    return SignalSpec(frequencies=(2.0, 5.0, 9.0), sample_rate=200.0, duration=0.6)


@pytest.fixture
def dataset(spec) -> FrequencyDataset:
    return FrequencyDataset(spec, noise_seed=1)


@pytest.fixture
def model(spec) -> StatefulLSTMExtractor:
    return StatefulLSTMExtractor(n_frequencies=spec.n_frequencies, hidden_size=6, head_size=5)


@pytest.fixture(scope="module")  # while it is open, no other event loop can run
def browser():
    from browsing import launched
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = launched(playwright)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, tmp_path):
    """Open HTML on a page of its own; in the end nothing may have been fetched, nor any error be reported."""
    opened, said = [], []

    def visit(html, **options):
        path = tmp_path / f"page{len(opened)}.html"
        head = '<!doctype html><html lang=en><meta charset=utf-8><meta name="viewport" content="width=device-width">'
        path.write_text(f"{head}<title>live</title>{html}", encoding="utf-8")
        page = browser.new_page(**options)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: said.extend([request.url] * (request.url != path.as_uri())))
        page.goto(path.as_uri())
        opened.append(page)
        return page

    yield visit
    for page in opened:
        page.close()
    assert not said


def pytest_addoption(parser):
    parser.addoption("--executed", help="folder of a run of the series that the tests judge instead of making one")


def pytest_runtest_setup(item):
    if item.get_closest_marker("browser") and not find_browser():
        pytest.skip("needs chromium")
