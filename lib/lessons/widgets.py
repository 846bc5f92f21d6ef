"""Notebooks 01, 02, 04: widgets, thin shells over plain functions, which show errors and keep them for the checks."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
from IPython.display import HTML

from lib.lessons.drawing import stepper_html, still
from lib.lessons.figures import FILES, Picture, render
from lib.lessons.parameters import choices
from lib.lessons.scripted import PAPER, scripted
from lib.lessons.stepper import POLICIES, Stepper

RUN = 50  # samples of the button "Run"
PLAY = 5  # samples of one beat of "Play"
WITHOUT_KERNEL = "<p>The controls need a running kernel: run this cell, after all cells above it.</p>"


class Shell(widgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Controls above a drawing.

    Attributes:
        drawing: the HTML shown.
        errors: every exception that a control has caused; `check` raises the first.
    """

    def __init__(self, controls: Sequence[widgets.Widget]) -> None:
        """Lay out the controls; the drawing comes with the first call of `show`."""
        self.drawing = widgets.HTML()
        self.errors: list[Exception] = []
        box = widgets.HBox(list(controls), layout=widgets.Layout(flex_flow="row wrap"))
        super().__init__([box, self.drawing])

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """What the notebook keeps: the widget, and a sentence for those who open it without a kernel."""
        return {**super()._repr_mimebundle_(**options), "text/html": WITHOUT_KERNEL}

    def show(self, draw: Callable[[], str]) -> None:
        """Draw, or show what went wrong: an exception in a callback would be lost otherwise."""
        try:
            self.drawing.value = draw()
        except Exception as error:
            self.errors.append(error)
            text = html.escape(f"{type(error).__name__}: {error}")
            self.drawing.value = f'<p role="alert" style="{PAPER};color:#A00000"><b>{text}</b></p>'

    def check(self) -> None:
        """Raise the first exception that a control has caused, so that a cell, and with it the checks, fails."""
        if self.errors:
            raise self.errors[0]


class Explorer(Shell):
    """Sliders and menus around a function that returns a `Picture`; moving one calls it once, when it is let go."""

    def __init__(self, function: Callable[..., Picture], controls: Mapping[str, widgets.ValueWidget]) -> None:
        """Build the explorer and draw it.

        Args:
            function: called with one keyword argument per control.
            controls: a widget per argument; ``continuous_update`` is switched off where there is such a thing.
        """
        self.function, self.controls = function, dict(controls)
        super().__init__(list(self.controls.values()))
        for control in self.controls.values():
            if control.has_trait("continuous_update"):
                control.continuous_update = False
            control.observe(lambda _change: self.show(self.draw), names="value")
        self.show(self.draw)

    def draw(self) -> str:
        """The picture for the controls' present values, as an image with its alternative text."""
        return picture_html(self.function(**{name: control.value for name, control in self.controls.items()}))


class StepperShell(Shell):
    """The state stepper: buttons and menus that drive a `Stepper`."""

    def __init__(self, steppers: Mapping[str, Stepper], unit: int = 0) -> None:
        """Build the stepper and draw it.

        Args:
            steppers: a walk per network, such as ``{"trained": ..., "untrained": ...}``.
            unit: the unit whose gates are shown first.
        """
        self.steppers = dict(steppers)
        first = next(iter(self.steppers.values()))
        self.network = widgets.Dropdown(options=list(self.steppers), description="network")
        self.selector = widgets.Dropdown(
            options=choices(first.dataset.spec),
            value=first.frequency,
            description="selector",
        )
        self.policy = widgets.Dropdown(options=POLICIES, description="policy")
        self.unit = widgets.BoundedIntText(unit, 0, first.model.config.hidden_size - 1, description="unit")
        self.play = widgets.Play(interval=200, min=0, max=10_000, description="Play", show_repeat=False)
        actions: dict[str, Callable[[], Any]] = {
            "Step": lambda: self.stepper.step(),
            f"Run {RUN}": lambda: self.stepper.step(RUN),
            "Reset": lambda: self.stepper.reset(),
            "Detach": lambda: self.stepper.detach(),
            "Backward": lambda: self.stepper.backward(),
        }
        self.buttons = {name: widgets.Button(description=name, tooltip=name) for name in actions}
        for name, button in self.buttons.items():
            button.on_click(lambda _button, act=actions[name]: self._do(act))
        self.play.observe(self._beat, names="value")
        self.network.observe(lambda _change: self._do(lambda: self.stepper.begin(self.selector.value)), names="value")
        self.selector.observe(lambda change: self._do(lambda: self.stepper.begin(change["new"])), names="value")
        self.policy.observe(lambda change: self._do(lambda: self.stepper.set_policy(change["new"])), names="value")
        self.unit.observe(lambda _change: self._do(lambda: None), names="value")
        super().__init__([*self.buttons.values(), self.play, self.network, self.selector, self.policy, self.unit])
        self._do(lambda: None)

    @property
    def stepper(self) -> Stepper:
        """The walk of the chosen network."""
        return self.steppers[self.network.value]

    def _beat(self, change: dict[str, Any]) -> None:
        if change["new"] > change["old"]:  # stopping sets the count back to zero
            self._do(lambda: self.stepper.step(PLAY))

    def _do(self, act: Callable[[], Any]) -> None:
        def draw() -> str:
            self.stepper.policy = self.policy.value
            act()
            return stepper_html(self.stepper, self.unit.value)

        self.show(draw)


def picture_html(picture: Picture) -> str:
    """A picture as an HTML image with its alternative text."""
    data = base64.b64encode(render(picture.figure, **FILES["png"] | {"dpi": 90})).decode()
    return f'<img alt="{html.escape(" ".join(picture.alt.split()))}" src="data:image/png;base64,{data}">'


CONTROLS = """<div><button type="button" data-by="-1">Back</button> <button type="button" data-by="1">Forward</button>
<label> {label} <input type="range" min="0" max="{last}" aria-label="{label}"></label> <output></output></div>"""
SCRIPT = """const shown = root.querySelector("[data-frame]");
const frames = data.frames.map((html, k) => {
  const frame = k === data.start ? shown : document.createElement("div");
  frame.dataset.frame = data.names[k];
  if (html !== null) frame.innerHTML = html;
  return frame;
});
shown.replaceWith(...frames);
root.querySelector("[data-hint]").outerHTML = data.controls;
const slider = root.querySelector("input"), now = root.querySelector("output");
const go = n => {
  slider.value = Math.max(0, Math.min(frames.length - 1, n));
  frames.forEach((frame, k) => frame.hidden = k !== +slider.value);
  now.textContent = data.names[+slider.value];
};
slider.addEventListener("input", () => go(+slider.value));
root.querySelectorAll("button").forEach(b => b.addEventListener("click", () => go(+slider.value + +b.dataset.by)));
go(data.start);"""


def film(
    frames: Sequence[str], name: str, label: str = "frame", start: int = 0, names: Sequence[str] | None = None
) -> HTML:
    """Frames of HTML that can be stepped through without a kernel and without a network; one of them without a script.

    Args:
        frames: HTML of each frame.
        name: an identity within the page: letters, digits and ``-``.
        label: what the slider steps through.
        start: index of the frame to show first.
        names: what to call each frame; by default they are counted.

    Raises:
        ValueError: there is no frame to start with, or not a name for each frame, or the name has other characters.
    """
    if not 0 <= start < len(frames):
        raise ValueError(f"start = {start}: must be between 0 and {len(frames) - 1}, one of the {len(frames)} frames")
    names = list(names or [f"{k} / {len(frames)}" for k in range(1, len(frames) + 1)])
    if len(names) != len(frames):
        raise ValueError(f"names = {names}: must be {len(frames)}, one for each frame")
    shown = still(frames[start])
    content = {
        "controls": CONTROLS.format(label=html.escape(label), last=len(frames) - 1),
        "frames": [None if k == start and frame == shown else frame for k, frame in enumerate(frames)],
        "names": names,
        "start": start,
    }
    picture = f'<div data-frame="{html.escape(names[start])}">{shown}</div>'
    aim = f"step through all {len(frames)} of them"
    return scripted("film", name, picture, f"{label} {names[start]}", aim, content, SCRIPT)
