"""The widgets as a student meets them: real JupyterLab in a real browser, by mouse and by keyboard."""

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from browsing import pale, shoot
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lib import FrequencyDataset, SignalSpec, load_model
from lib.lessons.figures import Picture, panels
from lib.lessons.n02_live import live_stepper
from lib.lessons.widgets import WITHOUT_KERNEL, film, picture_html
from lib.run.render import single_page

pytestmark = pytest.mark.browser
OUTPUTS = ".jp-OutputArea-output"
MINUTES = 60_000  # milliseconds
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
WRITES = {  # what cells of the course write: a notebook of each kind, to be run in both themes
    "begin": """from lib.lessons.parameters import begin_notebook
begin_notebook()""",
    "explorer": """from ipywidgets import Dropdown, FloatSlider, IntText
from lib.lessons.figures import Picture, panels
from lib.lessons.widgets import Explorer
controls = {"width": FloatSlider(1.0, description="width"), "kind": Dropdown(options=["a", "b"], description="kind")}
Explorer(lambda **values: Picture(panels()[0], f"A figure of {values}."), controls)""",
    "error in a callback": """def refuse(count):
    raise ValueError(f"count = {count}: must be at least 1")
Explorer(refuse, {"count": IntText(0, description="count")})""",
    "stepper": """from lib import FrequencyDataset, SignalSpec, StatefulLSTMExtractor
from lib.lessons.n02_live import live_stepper
live_stepper({"untrained": StatefulLSTMExtractor(hidden_size=6)}, FrequencyDataset(SignalSpec(), 1))""",
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


@pytest.fixture(scope="module")
def cloned(tmp_path_factory):
    """A notebook as it is committed, with all that needs a script or a kernel; this machine has never trusted it."""
    pictures = [picture_html(Picture(panels()[0], f"Figure {k}.")) for k in range(3)]
    steps = [f"<p>step {30 * k}</p>{pictures[0]}" for k in range(9)]
    dataset = FrequencyDataset(SignalSpec(), 2)
    pages = [live_stepper({"trained": load_model()}, dataset).data, film(steps, "walk", start=7).data]
    pages += [film(pictures, "pictures", "trial", names=["one", "two", "three"]).data, WITHOUT_KERNEL]
    cells = [new_markdown_cell("# A clone")]
    for count, page in enumerate(pages, start=1):
        output = new_output("execute_result", {"text/html": page}, execution_count=count)
        cells.append(new_code_cell("pass", outputs=[output], execution_count=count))
    path = tmp_path_factory.mktemp("clone") / "cloned.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), path)
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory, cloned):
    """JupyterLab on a fresh clone of a notebook, and on one that has never run; dark if the browser is."""
    root = tmp_path_factory.mktemp("lab")
    settings = root / ".settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "themes.jupyterlab-settings").write_text('{"adaptive-theme": true}')
    shutil.copy(cloned, root)
    cells = [new_code_cell(source) for source in WRITES.values()]
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), root / "writes.ipynb")
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


def changed(page, action, read):
    """Do something and wait until what is read changes; returns the new reading."""
    before = read()
    action()
    for _ in range(100):
        if read() != before:
            return read()
        page.wait_for_timeout(50)
    raise AssertionError(f"nothing changed from {before!r}")


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
    live, walk, pictures, _ = page.locator(OUTPUTS).all()
    for output in (live, walk, pictures):
        assert "This is a still picture." in output.inner_text()
        assert "Trust Notebook" in output.inner_text()
        assert output.locator("img").count() == 1
        assert output.locator("img").evaluate_all("all => all.every(i => i.complete && i.naturalWidth > 0 && i.alt)")
        assert not output.locator("button, input, select, canvas").count(), "controls would be dead"
    assert "step 210" in walk.inner_text()
    assert "step 180" not in walk.inner_text(), "one frame only"
    for theme in themes(page):
        assert not pale(page, OUTPUTS), theme
        shoot(page, f"not-trusted-{theme}")

    page.keyboard.press("Control+Shift+C")  # as the sentence says: the command palette
    page.locator(".lm-CommandPalette-input").fill("Trust Notebook")
    page.locator(".lm-CommandPalette-item", has_text="Trust Notebook").first.click()
    page.locator("dialog.jp-Dialog .jp-mod-warn").click()
    live.locator("canvas").wait_for(timeout=MINUTES)
    assert not page.get_by_text("still picture").count()
    assert live.locator("button").count() == 8
    assert walk.locator("[data-frame]").count() == 9
    assert walk.locator("[data-frame]:visible").get_attribute("data-frame") == "8 / 9"
    assert pictures.locator("[data-frame]:visible").get_attribute("data-frame") == "one"
    pictures.get_by_role("button", name="Forward").click()
    assert pictures.locator("[data-frame]:visible").get_attribute("data-frame") == "two"
    for theme in themes(page):
        assert not pale(page, OUTPUTS), theme
        shoot(page, f"trusted-{theme}")
    page.close()


def test_all_that_cells_and_widgets_write_can_be_used_and_read_in_both_themes(server, browser):
    last = '[data-mime-type="application/vnd.jupyter.stderr"]:has-text("must be at most 2")'
    page = run_all(browser, server("writes"), last, height=3000)
    page.get_by_role("alert").get_by_text("count = 0: must be at least 1").wait_for()
    picture = page.locator(".widget-html img").first

    def read():
        return picture.get_attribute("src"), picture.get_attribute("alt")

    _, alt = changed(page, lambda: page.get_by_label("kind").select_option("b"), read)
    assert "'kind': 'b'" in alt
    page.locator(".widget-slider", has_text="width").locator(".noUi-handle").focus()
    _, alt = changed(page, lambda: page.keyboard.press("ArrowRight"), read)
    assert "'width': 1.1" in alt
    stepper = page.locator("[data-live]")
    stepper.get_by_role("button", name="Run 50").focus()
    page.keyboard.press("Enter")
    assert "step 300, gradient chain 300" in stepper.locator("[data-say]").inner_text()
    for theme in themes(page):
        assert not pale(page, OUTPUTS), theme
        shoot(page, f"writes-{theme}")
    page.close()


@pytest.mark.parametrize("script", [False, True], ids=["no script", "script"])
def test_a_page_shows_pictures_and_says_why_where_javascript_is_off(browser, cloned, script):
    address = single_page(cloned, cloned.with_suffix(".html")).as_uri()
    context = browser.new_context(java_script_enabled=script)
    page = context.new_page()
    page.goto(address)
    assert page.get_by_text("This is a still picture.").count() == 3 * (not script)
    assert page.locator("button").count() == 12 * script
    assert page.locator("[data-frame]").count() == (12 if script else 2)
    assert page.locator("[data-frame]:visible").count() == 2
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert not pale(page, ".output_html")
        shoot(page, f"page-{scheme}-{'script' if script else 'still'}")
    if script:  # a film is stepped through without a kernel
        walk = page.locator("[data-film=walk]")
        shown, slider = walk.locator("[data-frame]:visible p"), walk.locator("input[type=range]")
        assert shown.inner_text() == "step 210", "a page at rest must show something"
        slider.focus()
        page.keyboard.press("Home")
        assert shown.inner_text() == "step 0"
        walk.get_by_role("button", name="Forward").click()
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        assert shown.inner_text() == "step 60"
        walk.get_by_role("button", name="Back").click()
        assert (shown.inner_text(), walk.locator("output").inner_text()) == ("step 30", "2 / 9")
        page.emulate_media(media="print")  # a short film is printed whole, a long one as one frame
        printed = page.locator("[data-frame]:visible").evaluate_all("all => all.map(frame => frame.dataset.frame)")
        assert printed == ["2 / 9", "one", "two", "three"]
        assert page.locator("canvas").is_visible()
        assert not page.locator("button:visible, input:visible, select:visible").count()
    context.close()
