"""Values of parameters on their way from a cell, a file or the command line into a kernel."""

import contextlib
import io
import json
import logging
import math
import re
import sys

import nbformat
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager
from papermill.parameterize import parameterize_notebook
from ruamel.yaml import YAML

from lib import SettingsError
from lib.__main__ import given_parameters, parse
from lib.lessons.files import parse_yaml
from lib.run import notebooks, plan
from lib.run.values import declared_in

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
KINDS = {bool: False, int: 0, float: 0.0, str: "", list: [], dict: {}, type(None): None}


def in_kernel(value, default):
    """What arrives in a kernel of a checked value, and that the notebook is JSON as browsers read it."""
    (value,) = notebooks.check_parameters({"n": {"run_dir": "", "x": default}}, {"x": value}).values()
    cell = nbformat.v4.new_code_cell(f"run_dir = ''\nx = {default!r}", metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata=KERNEL | {"papermill": {}})
    notebook = parameterize_notebook(notebook, {"x": value})
    text = nbformat.writes(notebook).encode()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    names = {}
    for cell in nbformat.reads(text.decode(), as_version=4).cells:
        exec(TransformerManager().transform_cell(cell.source), names)
    return names["x"]


def on_command_line(text):
    return given_parameters(parse(["run", "-p", "x", text]))["x"]


def from_yaml(value):
    buffer = io.StringIO()
    YAML(typ="safe", pure=True).dump({"x": value}, buffer)
    return parse_yaml(buffer.getvalue(), "file")["x"]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = TEXTS.filter(lambda key: len(json.dumps(key)) < 1000)  # YAML reads no key of more than 1,024 characters
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(PLAIN)
@example("")
@example("😀 \ud7ff\u2028\x85 \\ \" ' \n\r\t # = {x} $x %time !ls ?")
@example(-0.0)
@example(-1e-300)
@example(2**70)
@example("2026-01-01")
@example("null")
@example([[], {}, [None, {"a b": [True]}]])
def test_every_plain_value_arrives_as_it_was_meant(value):
    expected = repr(value)
    default = KINDS[type(value)]
    text = json.dumps(value)  # JSON is YAML
    assert repr(in_kernel(on_command_line(text), default)) == expected
    (several,) = plan.parse_values("x", text)
    assert repr(in_kernel(several, default)) == expected
    assert [repr(part) for part in plan.parse_values("x", f"{text},{text}")] == [expected] * 2
    assert repr(in_kernel(parse_yaml(json.dumps({"x": value}), "file")["x"], default)) == expected
    assert repr(in_kernel(value, None)) == expected, "where the default is None, any value is permitted"


@settings(deadline=None, max_examples=40)
@given(PLAIN)
def test_what_yaml_itself_writes_arrives(value):
    with contextlib.suppress(SettingsError):  # control characters that YAML writes, but does not read
        value_read = from_yaml(value)
        assert repr(in_kernel(value_read, KINDS[type(value_read)])) == repr(value_read)


PIECES = [*"-1e.,[]{}:'\"\\x!&*#|>%@`?~=\n é", "---\n", "- ", ": ", "<<", "&a", "*a", "\\ud800", "\\ud83d\\ude00"]
PIECES += ["inf", "nan", "..", "0x", "null", "true", "1e999", "0..3", "2026-01-01"]
PIECES += ["!!bool ", "!!int ", "!!set ", "!!binary "]


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from(PIECES), max_size=7).map("".join))
@example("!!bool x")
@example("!!int ''")
@example("[&a [*a]]")
@example("0x" + "f" * 5000)
@example("1" + "0" * 400)
@example("{1: 2}")
@example('"\\ud800"')
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(SettingsError, SystemExit), contextlib.redirect_stderr(io.StringIO()):
        with contextlib.redirect_stdout(io.StringIO()):
            value = on_command_line(text)
        in_kernel(value, KINDS.get(type(value)))
    with contextlib.suppress(SettingsError):
        for value in plan.parse_values("x", text):
            in_kernel(value, KINDS.get(type(value)))
            in_kernel(value, 0.5)


NEGATIVE = {"-1": -1, "-0x10": -16, "-1_000": -1000, "-1e-3": -1e-3, "-.5": -0.5, "-0.0": -0.0, "-1E+2": -100.0}


@pytest.mark.parametrize("text", NEGATIVE)
@pytest.mark.parametrize("command", ["run", "batch"])
def test_negative_numbers_are_values_not_options(command, text):
    for name in ("-p", "--parameter"):
        options = parse([command, "03", name, "x", text, "--name", "n"])
        assert options.name == "n"
        ((_, value),) = options.parameter
        assert repr(parse_yaml(value, "x")) == repr(NEGATIVE[text])


def test_negative_numbers_in_lists_and_ranges():
    def values(text):
        return plan.parse_values("x", parse(["batch", "03", "-p", "x", text]).parameter[0][1])

    assert values("-1,0,1") == [-1, 0, 1]
    assert values("-3..3") == list(range(-3, 4))
    assert values("-5..-3, -1e-3,-.5") == [-5, -4, -3, -1e-3, -0.5]
    assert values("[-1, -2],[3]") == [[-1, -2], [3]]
    assert values("-1,'-3..3'") == [-1, "-3..3"], "in quotes it is a text"
    assert values("'a,b', \"c\"") == ["a,b", "c"]
    assert values("null,true,''") == [None, True, ""]
    assert on_command_line("-draft") == "-draft"
    with pytest.raises(SettingsError, match="cannot be read"):
        on_command_line("- several\n- lines")
    assert parse(["batch", "03", "--timeout", "-1e3"]).timeout == -1000


def test_values_of_a_grid_in_a_file(tmp_path):
    file = tmp_path / "plan.yml"
    file.write_text(
        "\ufeffgrid: {a: -3..-1, b: [0..2, 7], c: [[1, 2], [3]], d: '0..2', e: grün, f: [null, '']}", encoding="utf-8"
    )
    grid, _ = plan.read_plan(file)
    assert grid["a"] == [-3, -2, -1]
    assert grid["b"] == [0, 1, 2, 7]
    assert grid["c"] == [[1, 2], [3]]
    assert (grid["d"], grid["e"], grid["f"]) == (["0..2"], ["grün"], [None, ""])
    assert len(plan.expand(grid)) == 3 * 4 * 2 * 2
    for text in ("grid: 0x", "runs: 0x", "grid: {a: 0x", "runs: [0x"):
        file.write_text(text + "f" * 5000 + {"{": "}", "[": "]"}.get(text[6], ""), encoding="utf-8")
        with pytest.raises(SettingsError, match="4300 digits"):
            plan.read_plan(file)


REFUSED = {  # default, value as it is given, what the message must say
    "text for truth": (True, "yes", "true or false"),
    "number for truth": (True, "1", "true or false"),
    "truth for a number": (1, "true", "a whole number"),
    "fraction for a whole number": (1, "1.0", "a whole number"),
    "text for a number": (1.0, "-inf", "must be a number"),
    "number for text": ("a", "5", "quoted too, as '5'"),
    "nothing for text": ("a", "null", "an empty one is written ''"),
    "empty": ("a", "", "an empty text is written \"''\""),
    "blank": (None, " ", "an empty text is written \"''\""),
    "date": ("a", "2026-01-01", "write it in quotes: '2026-01-01'"),
    "time": ("a", "2026-01-01 12:00:00", "write it in quotes: '2026-01-01 12:00:00'"),
    "range outside of a batch": (1, "0..3", "write it in quotes: '0..3'"),
    "infinite": (1.0, "-.inf", "write a large number, as 1e308, or null"),
    "overflowing": (1.0, "1e999", "write a large number, as 1e308, or null"),
    "not a number": (None, ".nan", "write a large number, as 1e308, or null"),
    "not a number, inside": (None, "{a: [1, .nan]}", r"x['a'][1] = nan"),
    "too large for a float": (1.0, "1" + "0" * 400, "less than 1e308"),
    "too many digits": (1, "0x" + "f" * 5000, "4300 digits"),
    "half a character": ("a", '"\\ud800"', "half of a character"),
    "list as a text": ([], "1,2", "a list, as [1, 2]"),
    "mapping": ({}, "[1]", "a mapping, as {a: 1}"),
    "mapping by mistake": ("a", "a: b", "a text"),
    "numbers as keys": ({}, "{1: 2}", "write numbers in quotes, as {'1': 2}"),
    "set": ([], "!!set {a}", "must be a number, a text"),
    "bytes": ("a", "!!binary aGk=", "must be a number, a text"),
    "bad tag": (True, "!!bool x", "cannot be read as YAML"),
    "special": ("a", "@a", "stands in quotes"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_held_is_refused_with_the_way_to_write_it(kind):
    default, text, message = REFUSED[kind]
    with pytest.raises(SettingsError, match=re.escape(message)):
        in_kernel(on_command_line(text), default)
    if kind not in ("range outside of a batch", "list as a text"):
        with pytest.raises(SettingsError, match=re.escape(message)):
            in_kernel(plan.parse_values("x", text)[0], default)


CELL = '''
"""What this notebook takes."""
run_dir: str = ""  # folder (default="")
weight_seed: int = 3  # seed (default=3) # and more = more
# label = "not this one"
label: str = "a # b = c"
tuple_like = other = -1.5e-3
quoted: "int | None" = None  # type: ignore
weights: list[float] = [
    1,  # first = 1
    -2,
]
settings: dict = {"a": {"b": [True, None]}}; on = True
width: float = 1
text = """two
lines = 2"""
'''


def test_the_parameters_cell_is_read_as_python_reads_it():
    found = declared_in(CELL)
    names = {}
    exec(CELL, names)
    assert found == {name: names[name] for name in names if not name.startswith("__")}
    assert list(found)[:2] == ["run_dir", "weight_seed"]
    assert repr(found["width"]) == "1.0", "what is annotated as float takes any number"


@settings(deadline=None, max_examples=40)
@given(PLAIN, st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])))
def test_any_value_and_any_comment_in_the_cell(value, comment):
    assert repr(declared_in(f"x = {value!r}  # {comment}\ny: object = {value!r}")["x"]) == repr(value)


UNREADABLE = {
    "computed": ("a = 1\nb = a + 1", "line 2: b must have a plain value"),
    "called": ("a = float('nan')", "line 1: a must have a plain value"),
    "infinite": ("a = 1e999", "must be finite"),
    "a tuple": ("a = (1, 2)", "must be a number, a text"),
    "unpacked": ("a, b = 1, 2", "line 1: must assign"),
    "without a value": ("a: int", "line 1: must assign"),
    "counted up": ("a = 1\na += 1", "line 2: must assign"),
    "an import": ("import math", "line 1: must assign"),
    "magic": ("%matplotlib inline", "must be plain Python"),
    "cut short": ("a = [1,", "must be plain Python"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_cell_that_computes_is_refused(kind):
    source, message = UNREADABLE[kind]
    with pytest.raises(SettingsError, match=message):
        declared_in(source)


def write(path, *cells):
    """A notebook of cells of code, the first of which is tagged."""
    cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    cells[0].metadata["tags"] = ["parameters"]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), path)
    return path


def test_two_cells_of_parameters_are_refused(tmp_path):
    path = write(tmp_path / "n.ipynb", "run_dir = ''\nx = 1", "x = 2")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].metadata["tags"] = ["parameters"]
    nbformat.write(notebook, path)
    with pytest.raises(SettingsError, match="must have one cell of code that is tagged"):
        notebooks.parameters_of(path)
    notebook.cells[0].cell_type = "markdown"
    with pytest.raises(SettingsError, match=r"n\.ipynb"):
        notebooks.parameters_of(path)


def test_a_batch_refuses_what_json_cannot_hold(tmp_path):
    path = write(tmp_path / "n.ipynb", "run_dir = ''\nx = None")
    for value in (math.nan, -math.inf, [math.inf], {1: 2}, "\ud800"):
        with pytest.raises(SettingsError, match="must"):
            plan.plan([str(path)], [{"x": value}], tmp_path)


def test_values_arrive_in_a_kernel_of_this_environment(tmp_path, monkeypatch, caplog):
    """Odd values, an odd parameters cell, a folder with braces, and another environment's kernel in the way."""
    other = tmp_path / "share" / "kernels" / "python3"
    other.mkdir(parents=True)
    code = f"open({str(tmp_path / 'started')!r}, 'w'); from ipykernel.kernelapp import launch_new_instance as l; l()"
    spec = {
        "argv": [sys.executable, "-c", code, "-f", "{connection_file}"],
        "display_name": "other",
        "language": "python",
    }
    (other / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    values = {"label": "grün \\ \"q\" 'q'\n# = {x} 😀 ", "rate": -1e-3, "sizes": [-1, [2.5, None]], "limit": 2**70}
    path = write(
        tmp_path / "a{b} ü" / "n.ipynb",
        "run_dir: str = ''  # a = b\nlabel: str = 'a#b'  # (default='x=1')\nrate: float = 1\n"
        "sizes: list = []\nlimit = None",
        "import json, sys\nfrom pathlib import Path\n"
        "got = {'label': label, 'rate': rate, 'sizes': sizes, 'limit': limit}\n"
        "Path(run_dir, 'got.json').write_text(json.dumps([got, sys.executable]), encoding='utf-8')\n"
        "sys.__stderr__.write('φ told to the log\\n'); sys.__stderr__.flush()",
    )
    checked = notebooks.check_parameters({"n": notebooks.parameters_of(path)}, values)
    folder = tmp_path / "{run}"
    with caplog.at_level(logging.INFO):
        executed = notebooks.execute(path, folder, checked, progress_bar=False)
    assert json.loads((folder / "got.json").read_text(encoding="utf-8")) == [values, sys.executable]
    assert not (tmp_path / "started").exists(), "another environment's kernel was started"
    assert executed == folder / "n.ipynb"
    assert "nknown parameter" not in caplog.text
    assert "nable to parse" not in caplog.text
    assert "φ told to the log" in (folder / "run.log").read_text(encoding="utf-8")
    json.loads(executed.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
