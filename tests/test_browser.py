"""The widgets as a student meets them: real JupyterLab in a real browser, by mouse and by keyboard."""

import functools
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from lib import FrequencyDataset, SignalSpec, StatefulLSTMExtractor, load_model, roll_out
from lib.lessons.drawing import stepper_html
from lib.lessons.figures import Picture, panels
from lib.lessons.files import NOTEBOOKS
from lib.lessons.live import live_stepper
from lib.lessons.stepper import Stepper
from lib.lessons.widgets import WITHOUT_KERNEL, film, picture_html
from lib.run.booklet import find_browser
from lib.run.render import single_page

BROWSER = find_browser()
pytestmark = pytest.mark.browser
SHOTS = os.environ.get("SCREENSHOTS")  # a folder to leave pictures in
WATCH = bool(os.environ.get("WATCH"))  # a visible browser, slowed down
MINUTES = 60_000  # milliseconds
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
WRITES = {  # what cells of the course write: a notebook of each kind, to be run in both themes
    "begin": """from lib.lessons.parameters import begin_notebook
begin_notebook()""",
    "explorer": """from ipywidgets import Dropdown, FloatSlider, IntText
from lib.lessons.figures import Picture, panels
from lib.lessons.widgets import Explorer, StepperShell
controls = {"width": FloatSlider(1.0, description="width"), "menu": Dropdown(options=["a", "b"], description="menu")}
Explorer(lambda **values: Picture(panels()[0], f"A figure of {values}."), controls)""",
    "error in a callback": """def refuse(count):
    raise ValueError(f"count = {count}: must be at least 1")
Explorer(refuse, {"count": IntText(0, description="count")})""",
    "stepper": """from lib import FrequencyDataset, SignalSpec, StatefulLSTMExtractor
from lib.lessons.stepper import Stepper
shell = StepperShell({"untrained": Stepper(StatefulLSTMExtractor(hidden_size=6), FrequencyDataset(SignalSpec(), 1))})
shell.buttons["Run 50"].click()
shell""",
    "printed": """import sys
from tqdm.auto import tqdm
from lib.lessons.exercises import check
check("1.1", 3, lambda answer: answer == 4, "look at section 1")
print("a warning", file=sys.stderr)
for _ in tqdm(range(3), desc="training"):
    pass""",
    "table": """from IPython.display import Markdown
Markdown("| `a` | [link](x.ipynb) |\\n| --- | ---: |\\n| 1 | **2** |\\n| 3 | 4 |")""",
    "error": """raise ValueError(f"level = {3}: must be at most 2")""",
}
CONTRAST = """outputs => {
  const pen = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = colour => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const over = (ink, paper) => [0, 1, 2].map(k => ink[k] * ink[3] / 255 + paper[k] * (1 - ink[3] / 255));
  const ground = e => {
    const own = rgba(getComputedStyle(e).backgroundColor);
    return own[3] === 255 || !e.parentElement ? own.slice(0, 3) : over(own, ground(e.parentElement));
  };
  const parts = c => c.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = c => parts(c).reduce((sum, v, k) => sum + [0.2126, 0.7152, 0.0722][k] * v, 0.05);
  const found = [];
  for (const output of outputs) {
    const texts = document.createTreeWalker(output, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const e = texts.currentNode.parentElement, text = texts.currentNode.textContent.trim();
      if (!text || !e.checkVisibility() || ["SCRIPT", "STYLE"].includes(e.tagName)) continue;
      const style = getComputedStyle(e), paper = ground(e);
      const ink = over(rgba(e instanceof SVGElement ? style.fill : style.color), paper);
      const [low, high] = [light(ink), light(paper)].sort((a, b) => a - b);
      found.push([high / low, text]);
    }
  }
  return found;
}"""  # axe finds hardly any text inside JupyterLab's notebook


@functools.cache
def cloned():
    """A notebook as it is committed, with all that needs a script or a kernel; this machine has never trusted it."""
    walk = Stepper(StatefulLSTMExtractor(hidden_size=6), FrequencyDataset(SignalSpec(), 1))
    frames = [stepper_html(walk)]
    for _ in range(8):
        walk.step(30)
        frames.append(stepper_html(walk))
    pictures = [picture_html(Picture(panels()[0], f"Figure {k}.")) for k in range(3)]
    pages = [live_stepper(load_model(), FrequencyDataset(SignalSpec(), 2)).data, film(frames, "walk", start=7).data]
    pages += [film(pictures, "pictures", "trial", names=["one", "two", "three"]).data, WITHOUT_KERNEL]
    cells = [nbformat.v4.new_markdown_cell("# A clone")]
    for count, page in enumerate(pages, start=1):
        output = nbformat.v4.new_output("execute_result", {"text/html": page}, execution_count=count)
        cells.append(nbformat.v4.new_code_cell("pass", outputs=[output], execution_count=count))
    return nbformat.v4.new_notebook(cells=cells, metadata=KERNEL)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """JupyterLab on stripped copies of the notebooks, and on a fresh clone of one; dark if the browser is."""
    root = tmp_path_factory.mktemp("lab")
    settings = root / ".settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "themes.jupyterlab-settings").write_text('{"adaptive-theme": true}')
    nbformat.write(cloned(), root / "cloned.ipynb")
    cells = [nbformat.v4.new_code_cell(source) for source in WRITES.values()]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), root / "writes.ipynb")
    for path in NOTEBOOKS.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, root / path.name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "IdentityProvider.token": token,
        "ServerApp.root_dir": root,
        "LabApp.check_for_updates_class": "jupyterlab.handlers.announcements.NeverCheckForUpdate",
        "LabApp.extension_manager": "readonly",
        "LabApp.user_settings_dir": root / ".settings",
    }
    call = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    call += [f"--{name}={value}" for name, value in options.items()]
    own = {"JUPYTER_CONFIG_DIR": str(root / ".config"), "JUPYTER_DATA_DIR": str(root / ".data")}  # who is trusted, too
    environment = os.environ | own | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{address}/api?token={token}", timeout=1)
            break
        except OSError:
            time.sleep(0.3)
    yield lambda name: f"{address}/lab/tree/{name}.ipynb?token={token}&reset"
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        chromium = playwright.chromium.launch(
            executable_path=BROWSER, args=[*flags, "--disable-sync"], headless=not WATCH, slow_mo=400 if WATCH else 0
        )
        yield chromium
        chromium.close()


def run_all(browser, address, selector, height=1000):
    """Open a notebook, run all its cells, and bring the first element that fits the selector into view."""
    page = browser.new_page(viewport={"width": 1300, "height": height})
    dialog = page.locator("dialog.jp-Dialog").first  # on a busy machine JupyterLab asks for the kernel, at times twice
    accept = dialog.locator(".jp-mod-accept")
    page.add_locator_handler(dialog, lambda: accept.click(timeout=2000), no_wait_after=True)
    page.goto(address)
    indicator = page.locator(".jp-Notebook-ExecutionIndicator")
    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for(timeout=2 * MINUTES)
    for _ in range(4):  # the menu is drawn before its commands listen, and a starting kernel is busy too
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.wait_for_timeout(4000)
        quiet, deadline = 0, time.monotonic() + 240
        while quiet < 10 and time.monotonic() < deadline:
            page.wait_for_timeout(200)
            quiet = quiet + 1 if indicator.get_attribute("data-status") == "idle" else 0
        if bring(page, selector):
            return page
    raise AssertionError(f"{selector} never appeared")


def bring(page, selector):
    """Scroll until there is such an element: JupyterLab draws only the cells near the view."""
    panel = page.locator(".jp-WindowedPanel-outer").first
    panel.evaluate("panel => panel.scrollTo(0, 0)")
    for _ in range(120):
        if page.locator(selector).count():
            page.locator(selector).first.scroll_into_view_if_needed()
            page.wait_for_timeout(300)
            return True
        panel.evaluate("panel => panel.scrollBy(0, 400)")
        page.wait_for_timeout(150)
    return False


def shoot(page, name):
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{SHOTS}/{name}.png")


def pale(page, outputs=".jp-OutputArea-output"):
    """Texts of the outputs whose contrast is below 4.5 : 1; there must be some text."""
    found = page.locator(outputs).evaluate_all(CONTRAST)
    assert len(found) > 10
    return sorted((round(ratio, 1), text) for ratio, text in found if ratio < 4.5)


def changed(page, action, read):
    """Do something and wait until what is read changes; returns the new reading."""
    before = read()
    action()
    for _ in range(100):
        if read() != before:
            return read()
        page.wait_for_timeout(50)
    raise AssertionError(f"nothing changed from {before!r}")


def test_stepper(server, browser):
    drawing = ".widget-html figure"
    page = run_all(browser, server("02_state_management"), drawing)
    facts = page.locator(f"{drawing} [data-step]").first
    message = page.locator(f"{drawing} [data-message] b").first

    def read():
        """The facts shown; an error of nothing yet is -1, since NaN differs even from itself."""
        values = {name: facts.get_attribute(f"data-{name}") for name in ("step", "chain", "held", "mse")}
        return {name: -1.0 if value == "nan" else float(value) for name, value in values.items()} | {
            "message": message.inner_text()
        }

    def press(name):
        return changed(page, page.locator(".widget-button", has_text=name).click, read)

    def gates():
        return page.locator(drawing).first.inner_text()

    assert read()["step"] == 0
    first = press("Step")
    assert (first["step"], first["chain"]) == (1, 1)
    ran = press("Run 50")
    assert (ran["step"], ran["chain"]) == (51, 51)
    assert ran["held"] > 5 * first["held"]
    assert ran["mse"] < 1e-3
    assert "back through 51 states" in press("Backward")["message"]
    assert "PyTorch refuses" in press("Backward")["message"]
    cut = press("Detach")
    assert (cut["chain"], cut["held"], cut["mse"]) == (0, 0, ran["mse"])
    assert press("Step")["chain"] == 1
    shoot(page, "stepper")
    assert "in mid-sequence" in press("Reset")["message"]
    for _ in range(4):
        after = press("Run 50")
    assert after["mse"] > 1e-2, "a wrong reset must show in the output"
    shoot(page, "stepper-after-wrong-reset")

    policy = page.get_by_label("policy")
    changed(page, lambda: policy.select_option("reset every sample"), read)
    assert press("Run 50")["chain"] == 1
    selector = page.locator(".widget-dropdown", has_text="selector").locator("select")
    begun = changed(page, lambda: selector.select_option("7 Hz"), read)
    assert begun["step"] == 0
    assert "7 Hz" in begun["message"]
    network = page.get_by_label("network")
    changed(page, lambda: policy.select_option("carry"), read)
    changed(page, lambda: network.select_option("untrained"), read)
    assert press("Run 50")["mse"] > 0.1

    assert "unit 3:" in changed(
        page, lambda: page.get_by_role("spinbutton", name="unit").first.fill("3") or page.keyboard.press("Enter"), gates
    )
    playing = page.locator(".widget-play button").first
    playing.click()
    page.wait_for_timeout(1500)
    playing.click()
    at = 0
    while (now := read()["step"]) != at:  # a beat may still be on its way
        at = now
        page.wait_for_timeout(700)
    assert at > 50

    button = page.locator(".widget-button", has_text="Step")  # by keyboard alone
    button.focus()
    assert changed(page, lambda: page.keyboard.press("Enter"), read)["step"] == at + 1
    page.keyboard.press("Tab")
    assert changed(page, lambda: page.keyboard.press("Enter"), read)["step"] == at + 51
    assert not page.locator('.widget-html [role="alert"]').count()
    page.close()


@pytest.mark.parametrize(
    ("notebook", "slider", "menu", "option"),
    [("01_signal_generation", "phase", "frequency", "7 Hz"), ("04_evaluation", "reset at", "input", "silence")],
)
def test_explorers(server, browser, notebook, slider, menu, option):
    page = run_all(browser, server(notebook), ".widget-html img")
    picture = page.locator(".widget-html img").first

    def read():
        return picture.get_attribute("src"), picture.get_attribute("alt")

    _, alt = changed(page, lambda: page.get_by_label(menu).first.select_option(option), read)
    assert option in alt
    handle = page.locator(".widget-slider", has_text=slider).locator(".noUi-handle")
    handle.focus()
    _, moved = changed(page, lambda: page.keyboard.press("ArrowLeft" if "01" in notebook else "ArrowRight"), read)
    assert moved != alt or "04" in notebook, "the text tells the width of the noise; in 04 the image alone changes"
    shoot(page, notebook)
    assert not page.locator('.widget-html [role="alert"]').count()
    page.close()


def test_live_stepper_agrees_with_pytorch(browser, tmp_path):
    """The shipped weights in plain JavaScript, over the whole recording, for every selector."""
    dataset = FrequencyDataset(SignalSpec(), 2)
    expected = roll_out(load_model(), dataset.inputs, steps=10_000)[..., 0].numpy()
    path = tmp_path / "live.html"
    page_text = live_stepper(load_model(), dataset).data
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>live</title>{page_text}"
    path.write_text(page, encoding="utf-8")
    page = browser.new_page()
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    roll = """k => { const live = document.querySelector("[data-live]").live; live.begin(k);
        for (let t = 0; t < 10000; t++) live.step(); return live.outputs(); }"""
    for k in range(4):
        np.testing.assert_allclose(page.evaluate(roll, k), expected[k], atol=1e-4)
    caption = page.locator("[data-say]")
    page.get_by_label("selector").select_option("7 Hz")
    assert "7 Hz, step 0" in caption.inner_text()
    page.get_by_role("button", name="Run 50").click()
    assert "step 50, gradient chain 50" in caption.inner_text()
    page.get_by_role("button", name="Detach").focus()
    page.keyboard.press("Enter")
    assert "step 50, gradient chain 0, memory 0 kB" in caption.inner_text()
    page.get_by_role("button", name="Reset").click()
    for _ in range(3):
        page.get_by_role("button", name="Run 50").click()
    assert float(re.search(r"so far ([0-9.e+-]+)\.", caption.inner_text())[1]) > 1e-3, "a wrong reset must show"
    page.get_by_role("button", name="Play").click()
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Play").click()
    assert "Paused" in caption.inner_text()
    shoot(page, "live")
    assert not errors
    assert requests == [path.as_uri()], "nothing may be fetched"
    page.close()


def test_the_live_stepper_zeroes_one_state_and_follows_the_scheme(browser, tmp_path):
    """Zero h and Zero c are what PyTorch makes of them, for every activation of the head; light and dark."""
    torch.manual_seed(1)
    dataset = FrequencyDataset(SignalSpec(duration=0.5), 2)
    for activation in ("relu", "tanh", "identity"):
        model = StatefulLSTMExtractor(hidden_size=6, head_size=5, activation=activation).eval()
        path = tmp_path / f"{activation}.html"
        path.write_text(f"<!doctype html><meta charset=utf-8><title>live</title>{live_stepper(model, dataset).data}")
        page = browser.new_page(color_scheme="light")
        errors = []
        page.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
        page.goto(path.as_uri())
        page.get_by_label("selector").select_option("5 Hz")
        outputs = []
        with model.evaluation_state():
            for k, zeroed in enumerate((None, "hidden_state", "cell_state")):
                if zeroed:
                    setattr(model, zeroed, torch.zeros_like(getattr(model, zeroed)))
                    page.get_by_role("button", name="Zero h" if k == 1 else "Zero c").click()
                page.get_by_role("button", name="Run 50").click()
                outputs += model(dataset.inputs[2:3, 50 * k : 50 * k + 50])[0, :, 0].tolist()
        shown = page.evaluate("""document.querySelector("[data-live]").live.outputs()""")
        np.testing.assert_allclose(shown, outputs, atol=1e-5)
        assert "gradient chain 150" in page.locator("[data-say]").inner_text(), "the numbers change, not the graph"
        page.get_by_role("spinbutton", name="unit").fill("3")
        ground = """getComputedStyle(document.querySelector("[data-live]")).backgroundColor"""
        assert page.evaluate(ground) == "rgb(255, 255, 255)"
        page.emulate_media(color_scheme="dark")
        page.wait_for_function(f'{ground} === "rgb(24, 26, 30)"')
        assert not [text for ratio, text in page.locator("[data-live]").evaluate_all(CONTRAST) if ratio < 4.5]
        shoot(page, f"live-{activation}-dark")
        assert not errors
        page.close()


def test_film_steps_without_a_kernel(browser, tmp_path):
    notebook = tmp_path / "page.html"
    walk = Stepper(StatefulLSTMExtractor(hidden_size=6), FrequencyDataset(SignalSpec(), 1))
    frames = [stepper_html(walk)]
    for count in (1, 1, 200):
        walk.step(count)
        frames.append(stepper_html(walk))
    page = f"<!doctype html><meta charset=utf-8><title>film</title>{film(frames, 'walk', start=3).data}"
    notebook.write_text(page, encoding="utf-8")
    page = browser.new_page()
    page.goto(notebook.as_uri())
    shown = page.locator("[data-frame]:visible [data-step]")
    assert int(shown.get_attribute("data-step")) > 100, "a page at rest must show something"
    page.locator("input[type=range]").focus()
    page.keyboard.press("Home")
    assert shown.get_attribute("data-step") == "0"
    page.get_by_role("button", name="Forward").click()
    assert shown.get_attribute("data-step") == "1"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert shown.get_attribute("data-step") == "2"
    page.get_by_role("button", name="Back").click()
    assert re.match(r"2 / \d+", page.locator("output").inner_text())
    page.close()


def themes(page):
    """Each of JupyterLab's themes in turn; it follows the browser."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(
            "theme => document.body.dataset.jpThemeName === theme", arg=f"JupyterLab {scheme.title()}"
        )
        page.wait_for_timeout(500)  # the style sheet comes a little later
        yield scheme


def test_a_notebook_shows_pictures_and_says_why_until_it_is_trusted(server, browser):
    page = browser.new_page(viewport={"width": 1300, "height": 4000})
    page.goto(server("cloned"))
    page.get_by_text(re.sub("<.*?>", "", WITHOUT_KERNEL)).wait_for(timeout=MINUTES)
    live, walk, pictures, _ = page.locator(".jp-OutputArea-output").all()
    for output, images in ((live, 4), (walk, 4), (pictures, 1)):
        assert "This is a still picture." in output.inner_text()
        assert "Trust Notebook" in output.inner_text()
        assert output.locator("img").count() == images
        assert output.locator("img").evaluate_all("all => all.every(i => i.complete && i.naturalWidth > 0 && i.alt)")
        assert not output.locator("button, input, select, canvas").count(), "controls would be dead"
    assert "step 210" in walk.inner_text()
    assert "step 180" not in walk.inner_text(), "one frame only"
    for theme in themes(page):
        assert not pale(page), theme
        shoot(page, f"not-trusted-{theme}")

    page.keyboard.press("Control+Shift+C")  # as the sentence says: the command palette
    page.locator(".lm-CommandPalette-input").fill("Trust Notebook")
    page.locator(".lm-CommandPalette-item", has_text="Trust Notebook").first.click()
    page.locator("dialog.jp-Dialog .jp-mod-warn").click()
    live.locator("canvas").wait_for(timeout=MINUTES)
    assert not page.get_by_text("still picture").count()
    assert live.locator("button").count() == 7
    assert walk.locator("[data-frame]").count() == 9
    assert walk.locator("[data-frame]:visible").get_attribute("data-frame") == "8 / 9"
    assert pictures.locator("[data-frame]:visible").get_attribute("data-frame") == "one"
    pictures.get_by_role("button", name="Forward").click()
    assert pictures.locator("[data-frame]:visible").get_attribute("data-frame") == "two"
    for theme in themes(page):
        assert not pale(page), theme
        shoot(page, f"trusted-{theme}")
    page.close()


def test_all_that_cells_and_widgets_write_can_be_read_in_both_themes(server, browser):
    last = '[data-mime-type="application/vnd.jupyter.stderr"]:has-text("must be at most 2")'
    page = run_all(browser, server("writes"), last, height=3000)
    page.get_by_role("alert").get_by_text("count = 0: must be at least 1").wait_for()
    for theme in themes(page):
        assert not pale(page), theme
        shoot(page, f"writes-{theme}")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_shows_pictures_and_says_why_where_javascript_is_off(browser, tmp_path, scheme):
    nbformat.write(cloned(), tmp_path / "cloned.ipynb")
    address = single_page(tmp_path / "cloned.ipynb", tmp_path / "cloned.html").as_uri()
    for script in (False, True):
        context = browser.new_context(java_script_enabled=script, color_scheme=scheme)
        page = context.new_page()
        page.goto(address)
        assert page.get_by_text("This is a still picture.").count() == 3 * (not script)
        assert page.locator("button").count() == 11 * script
        assert page.locator("[data-frame]").count() == (12 if script else 2)
        assert page.locator("[data-frame]:visible").count() == 2
        assert not pale(page, ".output_html")
        shoot(page, f"page-{scheme}-{'script' if script else 'still'}")
        context.close()


def test_a_short_film_is_printed_whole_and_a_long_one_as_one_frame(browser, tmp_path):
    nbformat.write(cloned(), tmp_path / "cloned.ipynb")
    page = browser.new_page()
    page.goto(single_page(tmp_path / "cloned.ipynb", tmp_path / "cloned.html").as_uri())
    page.emulate_media(media="print")
    shown = page.locator("[data-frame]:visible").evaluate_all("all => all.map(frame => frame.dataset.frame)")
    assert shown == ["8 / 9", "one", "two", "three"]
    assert page.locator("canvas").is_visible()
    assert not page.locator("button:visible, input:visible, select:visible").count()
    page.close()
