"""What tests in a real browser share."""

import os
from pathlib import Path

from lib.run.booklet import find_browser

SHOTS = os.environ.get("SCREENSHOTS")  # a folder to leave pictures in
WATCH = bool(os.environ.get("WATCH"))  # a visible browser, slowed down
FLAGS = ("no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update", "disable-sync")
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
}"""  # axe finds hardly any text inside JupyterLab's notebook, and takes longer


def launched(playwright):
    """Chromium or what this machine has of its kind."""
    return playwright.chromium.launch(
        executable_path=find_browser(),
        args=[f"--{flag}" for flag in FLAGS],
        headless=not WATCH,
        slow_mo=400 if WATCH else 0,
    )


def shoot(page, name, **options):
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{SHOTS}/{name}.png", **options)


def pale(page, parts):
    """Texts inside these parts of a page whose contrast is below 4.5 : 1; there must be some text."""
    found = page.locator(parts).evaluate_all(CONTRAST)
    assert len(found) > 5
    return sorted((round(ratio, 1), text) for ratio, text in found if ratio < 4.5)
