"""The figures that run a network in the page: their numbers, controls and looks in a real browser."""

import re

import numpy as np
import pytest
import torch
from browsing import CONTRAST, shoot

from lib import FrequencyDataset, SignalSpec, StatefulLSTMExtractor, load_model, roll_out
from lib.lessons.extractor import TURN, listening, wire
from lib.lessons.filters import kalman, kalman_gains
from lib.lessons.n02_live import live_stepper, predictions
from lib.lessons.n07_live import first_second, live_listener, running_mean
from lib.loader import assemble_inputs
from lib.signals import generate

PHONE, DESK = {"width": 360, "height": 900}, {"width": 1000, "height": 800}
LIVE = """document.querySelector("[data-live]").live"""
ROLL = f"""([values, selected, widths]) => {{ const live = {LIVE}; live.select(selected); live.begin();
  values.forEach((value, k) => {{ if (k in widths) live.widen(widths[k]); live.step(value); }});
  return [live.outputs(), live.estimates()]; }}"""
GROUND = """getComputedStyle(document.querySelector("[data-live]")).backgroundColor"""
INKS = """canvas => { // how many pixels have each colour
  const copy = Object.assign(document.createElement("canvas"), {width: canvas.width, height: canvas.height});
  const pen = copy.getContext("2d", {willReadFrequently: true}), found = {};
  pen.drawImage(canvas, 0, 0);
  const values = pen.getImageData(0, 0, copy.width, copy.height).data;
  for (let k = 0; k < values.length; k += 4) {
    const name = values.slice(k, k + 3).join();
    found[name] = (found[name] || 0) + 1;
  }
  return found; }"""


def extractor(seed=0, **shape):
    """Any weights will do."""
    torch.manual_seed(seed)
    return StatefulLSTMExtractor(**{"hidden_size": 6, "head_size": 5, **shape}).eval()


def listen(visit, model, spec, **options):
    return visit(live_listener(model, spec).data, **{"viewport": DESK, **options})


def caption(page):
    return page.locator("[data-say]").inner_text()


def errors(page):
    """What the caption says: seconds, error of the filter, error of the extractor."""
    found = re.search(r"([\d.]+) s after the start: .* is ([\d.e-]+) for the filter and ([\d.e-]+) for", caption(page))
    return [float(part) for part in found.groups()]


@pytest.mark.browser
def test_the_stepper_is_the_shipped_network_by_mouse_and_by_keyboard(visit):
    """The weights in plain JavaScript, over the whole recording, for every selector; then each control."""
    dataset, model = FrequencyDataset(SignalSpec(), 2), load_model()
    untrained = StatefulLSTMExtractor(model.config)
    page = visit(live_stepper({"trained": model, "untrained": untrained}, dataset).data, viewport=DESK)
    expected = roll_out(model, dataset.inputs, steps=10_000)[..., 0].numpy()
    roll = f"""k => {{ {LIVE}.begin(k); for (let t = 0; t < 10000; t++) {LIVE}.step(); return {LIVE}.outputs(); }}"""
    for k in range(4):
        np.testing.assert_allclose(page.evaluate(roll, k), expected[k], atol=1e-4)

    def press(name):
        page.get_by_role("button", name=name).click()
        return caption(page)

    def error():
        return float(re.search(r"so far ([0-9.e+-]+)\.", caption(page))[1])

    page.get_by_label("selector").select_option("7 Hz")
    assert "7 Hz, step 0, gradient chain 0, memory 0 kB." in caption(page)
    assert "take a step first" in press("Backward")
    assert "step 50, gradient chain 50" in press("Run 50")
    assert error() < 1e-3
    assert "back through 50 states; the graph's memory is freed. 7 Hz, step 50, gradient chain 50, memory 0" in press(
        "Backward"
    )
    assert "PyTorch would refuse" in press("Backward")
    page.get_by_role("button", name="Detach").focus()
    page.keyboard.press("Enter")
    assert "step 50, gradient chain 0, memory 0 kB" in caption(page)
    assert "step 51, gradient chain 1, " in press("Step")
    assert "the clock starts again" in press("Reset")
    for _ in range(3):
        press("Run 50")
    assert error() > 1e-3, "a wrong reset must show"
    shoot(page, "stepper")
    policy = page.get_by_label("policy")
    policy.select_option("reset every sample")
    assert "From the next sample on: reset every sample." in caption(page)
    assert "gradient chain 1," in press("Run 50")
    for name, chain in (("reset at sequence start", 50), ("leak into the next frequency", 550)):
        page.get_by_label("selector").select_option("7 Hz")
        policy.select_option(name)
        for _ in range(11):
            press("Run 50")
        assert f"1 Hz, step 550, gradient chain {chain}," in caption(page), "the sequence ends after 500 samples"
        assert page.get_by_label("selector").input_value() == "0"
    page.get_by_label("network").select_option("untrained")
    assert "1 Hz, step 0" in caption(page)
    policy.select_option("carry")
    press("Run 50")
    assert error() > 0.01
    page.get_by_role("button", name="Play").click()
    page.wait_for_timeout(500)
    assert "Paused" in press("Play")


@pytest.mark.browser
@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
def test_the_stepper_zeroes_and_goes_back_as_pytorch_does(visit, activation):
    """Zero h and Zero c, and how far a gradient reaches, for every activation of the head; light and dark."""
    dataset = FrequencyDataset(SignalSpec(duration=0.5), 2)
    model = extractor(1, activation=activation)
    page = visit(live_stepper({"one": model}, dataset).data, color_scheme="light")
    page.get_by_label("selector").select_option("5 Hz")
    outputs, states = [], []
    for k, zeroed in enumerate((None, "hidden_state", "cell_state")):
        if zeroed:
            setattr(model, zeroed, 0 * getattr(model, zeroed))
            page.get_by_role("button", name="Zero h" if k == 1 else "Zero c").click()
        page.get_by_role("button", name="Run 50").click()
        for x in dataset.inputs[2:3, 50 * k : 50 * k + 50].unbind(1):
            outputs.append(model(x))
            states.append(model.state()[0])
    np.testing.assert_allclose(page.evaluate(f"{LIVE}.outputs()"), [y.item() for y in outputs], atol=1e-5)
    assert "gradient chain 150" in caption(page), "the numbers change, not the graph"
    page.get_by_role("button", name="Backward").click()
    gradients = torch.autograd.grad(outputs[-1].sum(), states[:-1])
    reach = page.evaluate(f"{LIVE}.reach()")
    assert len(reach) == 150
    np.testing.assert_allclose(reach[:-1], [gradient.norm() for gradient in gradients], rtol=1e-3, atol=1e-9)
    page.get_by_role("spinbutton", name="unit").fill("3")
    for scheme, ground in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(24, 26, 30)")):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(f'{GROUND} === "{ground}"')
        assert not [text for ratio, text in page.locator("[data-live]").evaluate_all(CONTRAST) if ratio < 4.5]
        shoot(page, f"stepper-{activation}-{scheme}")


def test_what_is_predicted_of_the_stepper_is_what_happens():
    said = {"changes": False, "shortens": None, "recovers": True}
    found = predictions(load_model(), FrequencyDataset(SignalSpec(), 2), said)
    assert found == {"changes": (False, "right"), "shortens": (True, "no prediction"), "recovers": (False, "wrong")}


@pytest.mark.browser
def test_the_numbers_are_those_of_pytorch_and_of_the_filter(visit):
    """A wired extractor of the shipped size, over two seconds of each sine."""
    spec = listening(0.25, duration=2.0)
    model = wire(spec, 64, 512)
    mixed = generate(spec, 3).mixed
    expected = roll_out(model, assemble_inputs(spec, mixed), steps=spec.n_samples)[..., 0].numpy()
    assert np.abs(expected).max() > 0.2, "else there is nothing to compare"
    page = listen(visit, model, spec)
    for selected, row in enumerate(expected):
        outputs, estimates = page.evaluate(ROLL, [mixed.tolist(), selected, {}])
        np.testing.assert_allclose(outputs, row, atol=1e-4)
        np.testing.assert_allclose(estimates, kalman(spec, mixed)[selected], atol=1e-9)


@pytest.mark.browser
@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
def test_any_head_and_any_signals(visit, activation):
    """Other frequencies, rate and amplitudes, and the width of the noise turned on the page."""
    spec = SignalSpec(frequencies=(2.0, 5.0, 9.0), sample_rate=200.0, duration=2.0, amplitude_range=(0.5, 0.9))
    spec = spec.but(phase_range=(-1.0, 1.0), start_range=(0, 6.0))
    model = extractor(n_frequencies=3, activation=activation)
    wide = spec.but(phase_range=(-0.6 * np.pi, 0.6 * np.pi))
    mixed = generate(wide, 1).mixed
    page = listen(visit, model, spec)
    expected = roll_out(model, assemble_inputs(spec, mixed), steps=100)[2, :, 0].numpy()
    outputs, estimates = page.evaluate(ROLL, [mixed.tolist(), 2, {0: 0.6}])
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    np.testing.assert_allclose(estimates, kalman(wide, mixed)[2], atol=1e-9)
    both = page.evaluate(ROLL, [mixed.tolist(), 2, {0: 1 / np.pi, 200: 0.6}])[1]
    np.testing.assert_allclose(both[:200], kalman(spec, mixed)[2, :200], atol=1e-9)
    assert np.isfinite(both).all()
    silent, exact = (page.evaluate(ROLL, [mixed.tolist(), 0, {0: width}])[1] for width in (1, 0))
    np.testing.assert_allclose(silent, 0, atol=1e-9)
    assert np.isfinite(exact).all()


@pytest.mark.browser
def test_signals_are_drawn_as_the_filter_expects_them(visit):
    """Its error over many draws is what it counts on; and a page that is loaded again repeats itself."""
    spec = listening(0.5, duration=1.0)
    page = listen(visit, extractor(), spec)
    first = errors(page)
    assert first[0] == 1
    found = []
    for _ in range(40):
        page.get_by_role("button", name="New start phases").click()
        assert "nothing has entered yet" in caption(page)
        page.get_by_role("button", name="Run 500").click()
        found.append(errors(page)[1])
    assert len(set(found)) > 30
    assert np.mean(found) == pytest.approx(kalman_gains(spec)[1][1, 400:500].mean(), rel=0.4)
    page.reload()
    assert errors(page) == first


@pytest.mark.browser
def test_controls_do_what_they_say(visit):
    spec = listening(0.25)
    page = listen(visit, wire(spec, 64, 512), spec, color_scheme="light")
    assert "3 Hz, α = 0.25, 1.00 s after the start" in caption(page)
    page.get_by_role("button", name="Step 50").focus()
    page.keyboard.press("Enter")
    assert "1.05 s after the start" in caption(page)
    spent = page.evaluate("""() => { const begun = performance.now();
      document.querySelector("[data-act=run]").click(); return performance.now() - begun; }""")
    assert spent < 1000, "half a second of signals must take less than a second"
    assert errors(page)[0] == 1.55
    locked = errors(page)[1]
    width, phase = page.locator("input").all()
    phase.fill(f"{round((float(phase.input_value()) + np.pi) % TURN / 0.02) * 0.02:.2f}")
    assert "The phase jumps: neither is told" in caption(page)
    page.get_by_role("button", name="Step 50").click()
    page.get_by_role("button", name="Step 50").click()
    assert errors(page)[1] > 5 * locked, "the filter is behind"
    width.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("output").first.inner_text() == "0.30"
    assert "the filter is told, the extractor is not. 3 Hz, α = 0.30" in caption(page)
    page.get_by_label("selector").select_option("7 Hz")
    assert "7 Hz, α = 0.30, 1.65 s" in caption(page), "S goes on"
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Reset").click()
    assert "nothing has entered yet" in caption(page)
    page.get_by_role("button", name="Play").click()
    page.wait_for_timeout(600)
    assert page.locator("[data-say]").get_attribute("aria-live") == "off"
    page.get_by_role("button", name="Play").click()
    assert "Paused" in caption(page)
    assert page.locator("[data-say]").get_attribute("aria-live") == "polite"
    held = errors(page)[0]
    assert 0.05 < held < 1
    page.wait_for_timeout(200)
    assert errors(page)[0] == held
    for _ in range(42):
        page.get_by_role("button", name="Run 500").click()
    assert errors(page)[0] == pytest.approx(held + 21), "the axis moves on"
    shoot(page, "listener-late", full_page=True)


@pytest.mark.browser
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_it_follows_the_scheme_and_fits(visit, size):
    spec = listening(0.25)
    page = listen(visit, wire(spec, 64, 512), spec, viewport=size, color_scheme="light")
    for scheme, paper, blue, red in (
        ("light", "255,255,255", "0,96,168", "200,16,46"),
        ("dark", "24,26,30", "109,182,242", "255,123,138"),
    ):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(f"""{GROUND} === "rgb({paper.replace(",", ", ")})" """)
        inks = page.locator("canvas").evaluate(INKS)
        assert max(inks, key=inks.get) == paper
        assert inks[blue] > 300
        assert inks[red] > 300
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        assert page.evaluate("""[...document.querySelectorAll("[data-live] *")].every(
          e => e.getBoundingClientRect().right <= innerWidth)""")
        shoot(page, f"listener-{scheme}-{size['width']}")
    page.set_viewport_size({"width": 700, "height": 800})
    page.wait_for_function("""document.querySelector("canvas").width > 1200 &&
      document.querySelector("canvas").width < 1400""")


@pytest.mark.browser
def test_without_scripts_there_is_a_picture_that_fits(visit):
    page = listen(visit, extractor(), listening(0.25), viewport=PHONE, java_script_enabled=False)
    assert page.get_by_text("This is a still picture.").is_visible()
    box = page.locator("img").bounding_box()
    assert box["x"] + box["width"] <= PHONE["width"]
    assert not page.locator("button, input, select, canvas").count()
    shoot(page, "listener-still")


def test_the_still_picture_says_what_it_shows():
    spec = listening(0.25)
    text = live_listener(extractor(), spec).data
    assert "the first second of 3 Hz at α = 0.25" in text
    picture = first_second(wire(spec, 64, 512), spec, 1)
    assert re.search(r"from [\d.e-]+ to [\d.e-]+ for the filter and from [\d.e-]+ to [\d.e-]+ for", picture.alt)
    above, below = picture.figure.axes
    assert [line.get_label() for line in above.lines] == ["S(t)", "target", "filter", "extractor"]
    np.testing.assert_allclose(
        below.lines[0].get_ydata()[-1], float(re.search(r"to ([\d.e-]+) for", picture.alt)[1]), 0.1
    )
    assert below.lines[0].get_ydata()[-1] < below.lines[0].get_ydata()[99] / 3, "the filter locks on"


def test_a_running_mean():
    np.testing.assert_allclose(running_mean(np.array([4.0, 2, 0, 1]), 2), [4, 3, 1, 0.5])


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ({"head_size": 0}, "must have one layer, no normalization, and a head"),
        ({"num_layers": 2}, "must have one layer, no normalization, and a head"),
        ({"input_norm": True}, "must have one layer, no normalization, and a head"),
        ({"output_norm": True}, "must have one layer, no normalization, and a head"),
        ({"n_frequencies": 3}, "must have n_frequencies = 4, as the signals"),
    ],
)
def test_another_model_is_refused(shape, told):
    with pytest.raises(ValueError, match=told):
        live_listener(extractor(**shape), listening(0.25))


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (SignalSpec(), "phase_range = .* must be centred"),
        (SignalSpec(phase_range=(-4, 4)), "phase_range = .* a whole turn at most"),
        (listening(0.5, duration=0.5), "duration = 0.5: must be 1 s at least"),
    ],
)
def test_other_signals_are_refused(spec, told):
    with pytest.raises(ValueError, match=told):
        live_listener(extractor(), spec)


def test_a_name_with_other_characters_is_refused():
    with pytest.raises(ValueError, match="name = 'a b'"):
        live_listener(extractor(), listening(0.25), name="a b")
