import re

import nbformat
import numpy as np
import pytest
from ipywidgets import IntSlider

from lib import FrequencyDataset, SignalSpec, StatefulLSTMExtractor, load_model, roll_out
from lib.lessons.figures import Picture, panels
from lib.lessons.n02_live import live_stepper
from lib.lessons.n04_evaluation import REPLACEMENTS, intervene
from lib.lessons.widgets import Explorer, film
from lib.run.publish import WIDGET, clean


def test_an_exception_in_a_callback_is_shown_and_kept():
    def draw(level):
        if level > 2:
            raise RuntimeError("too <high>")
        return Picture(panels()[0], f"level {level}")

    explorer = Explorer(draw, {"level": IntSlider(1, min=0, max=5)})
    assert 'alt="level 1"' in explorer.drawing.value
    assert explorer.controls["level"].continuous_update is False
    explorer.controls["level"].value = 3
    assert "RuntimeError: too &lt;high&gt;" in explorer.drawing.value
    with pytest.raises(RuntimeError, match="too"):
        explorer.check()


def test_interventions(model):
    dataset = FrequencyDataset(SignalSpec(frequencies=(2.0, 5.0, 9.0), sample_rate=200.0, duration=0.6), 1)
    plain, target = intervene(model, dataset, 1, samples=120)
    assert plain == pytest.approx(roll_out(model, dataset.inputs[1:2])[0, :, 0].numpy(), abs=1e-6)
    assert target == pytest.approx(dataset.targets[1, :, 0].numpy())
    for replacement in REPLACEMENTS[1:]:
        assert not np.allclose(intervene(model, dataset, 1, replacement, samples=120)[0], plain, atol=1e-5)
    late, _ = intervene(model, dataset, 1, "silence", reset_at=50, samples=120)
    early, _ = intervene(model, dataset, 1, "silence", samples=120)
    assert late[50:] == pytest.approx(early[:70], abs=1e-6)
    switched, target = intervene(model, dataset, 1, switch_to=2, switch_at=60, samples=120)
    assert switched[:60] == pytest.approx(plain[:60], abs=1e-6)
    assert target[60:] == pytest.approx(dataset.targets[2, 60:, 0].numpy())


def outside_scripts(page):
    """What a viewer keeps that drops scripts; a film's or stepper's content is in there."""
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_a_film_is_one_frame_and_a_sentence_without_its_script():
    page = film(["<p>a</p>", "<p>b</p>", "<p>c</script></p>"], "x", start=1).data
    kept = outside_scripts(page)
    assert re.findall(r"<p>\w</p>", kept) == ["<p>b</p>"]
    assert kept.count("</script>") == 0, "the content must not end its script early"
    assert "run this cell or trust this notebook" in kept
    assert "frame 2 / 3" in kept
    for dead in ("<button", "<input", "<svg", "<template", " hidden"):
        assert dead not in kept
    assert "<b>frame a < b" not in film(["<p>a</p>"], "x", names=["a < b"]).data
    assert "http" not in page


def test_what_cannot_be_shown_is_refused(dataset):
    frames = ["a", "b"]
    for action, match in (
        (lambda: film([], "x"), "start = 0: must be between"),
        (lambda: film(frames, "x", start=2), "start = 2: must be between 0 and 1"),
        (lambda: film(frames, "x", start=-1), "start = -1"),
        (lambda: film(frames, "x", names=["a"]), r"names = \['a'\]: must be 2"),
        (lambda: film(frames, 'x"]'), "must consist of letters"),
        (lambda: live_stepper({"no head": StatefulLSTMExtractor(head_size=0)}, dataset), "must have one layer"),
    ):
        with pytest.raises(ValueError, match=match):
            action()


def test_the_live_stepper_is_one_picture_and_a_sentence_without_its_script():
    dataset = FrequencyDataset(SignalSpec(), 2)
    kept = outside_scripts(live_stepper({"trained": load_model()}, dataset).data)
    assert "run this cell or trust this notebook" in kept
    assert kept.count('<img alt="The first 250 samples of 3 Hz.') == kept.count("<img ") == 1
    for dead in ("<button", "<select", "<canvas", "<svg"):
        assert dead not in kept


def test_an_explorer_leaves_a_sentence_in_a_notebook_without_kernel():
    data = Explorer(lambda: Picture(panels()[0], "nothing"), {})._repr_mimebundle_()
    assert WIDGET in data
    code = nbformat.v4.new_code_cell("explorer", outputs=[nbformat.v4.new_output("execute_result", data)])
    code.outputs.append(nbformat.v4.new_output("display_data", {WIDGET: {}, "text/plain": "0%|"}))  # a progress bar
    code.outputs.append(nbformat.v4.new_output("stream", text="said"))
    kept = clean(nbformat.v4.new_notebook(cells=[code])).cells[0].outputs
    assert [output.output_type for output in kept] == ["execute_result", "stream"]
    assert WIDGET not in kept[0].data
    assert "run this cell" in kept[0].data["text/html"]
