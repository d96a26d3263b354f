"""Google Colab: its kernel's versions where `COLAB_PYTHON` names them, and its package's part that widgets ask for.

`.ci/frontends` makes that environment from colab.txt. The package google-colab is on no index in a version that Colab
runs, so a stand-in has the three names that anywidget uses.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from frontend import interrupted_after_a_picture

PYTHON = os.environ.get("COLAB_PYTHON", "")
MANAGER = "https://widgets.invalid/manager.js"
STAND_IN = {
    "__init__.py": "from google.colab import output",
    "output/__init__.py": "from google.colab.output._widgets import enable_custom_widget_manager",
    "output/_widgets.py": f"_installed_url = None\ndef enable_custom_widget_manager():\n"
    f"    global _installed_url\n    _installed_url = {MANAGER!r}",
}
WIDGET = "application/vnd.jupyter.widget-view+json"
needs_pins = pytest.mark.skipif(
    not PYTHON and not os.environ.get("CI"), reason="needs COLAB_PYTHON, a Python with the versions of Colab"
)


@pytest.fixture(
    scope="module",
    params=[pytest.param(sys.executable, id="here"), pytest.param(PYTHON, id="colab", marks=needs_pins)],
)
def colab(request, tmp_path_factory, start_kernel):
    """Give a front end of a kernel with the stand-in, of this Python and of Colab's versions."""
    folder = tmp_path_factory.mktemp("colab")
    for name, text in STAND_IN.items():
        path = folder / "google" / "colab" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with start_kernel(folder, request.param, [folder]) as front:
        assert front.run("import google.colab\n%load_ext ipy_imgvar") == []
        yield front


def completed(front, line):
    """Return the lines that Tab makes of a line."""
    sent = front.client.complete(line, len(line))
    while (reply := front.client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != sent:
        pass
    content = reply["content"]
    return sorted(line[: content["cursor_start"]] + each for each in content["matches"])


@needs_pins
def test_the_installation_leaves_colabs_versions_alone():
    """IPython, ipykernel, ipywidgets and what else Colab's kernel has imported are still those of colab.txt."""
    code = "import json, importlib.metadata as m; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    found = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    versions = {name.lower().replace("_", "-"): version for name, version in json.loads(found.stdout).items()}
    lines = [
        line for line in Path(__file__).with_name("colab.txt").read_text().splitlines() if line[:1] != "#"
    ]
    pins = dict(line.replace("_", "-").split("==") for line in lines)
    assert {name: versions[name] for name in pins if name != "anywidget"} == {
        name: version for name, version in pins.items() if name != "anywidget"
    }


def test_a_run_in_colab(colab, bundle_of):
    """The magic shows pictures, binds them, says an error in one line, and a semicolon silences it."""
    data = bundle_of(colab, "x = %imagevariation photo.png -n 2 -s 64 --engine patch")
    assert data.keys() == {"text/plain", "text/html", "image/jpeg"}
    assert colab.value("len(x)") == "2"
    assert colab.run("%imagevariation photo.png -s 64 --engine patch;") == []
    ((kind, content),) = colab.run("%imagevariation phot.png")
    assert (kind, content["text"]) == (
        "stream",
        "UsageError: there is no file phot.png; near names there: photo.png\n",
    )
    kind, content = colab.run("%imagevariation photo.png --api-base http://127.0.0.1:9/v1")[-1]
    assert (kind, len(content["traceback"])) == ("error", 1)


def test_tab_in_colab(colab):
    """Tab offers options, values, variables and files, in a line, after an assignment and in a cell's first line."""
    colab.run("import numpy as np\nphase = np.zeros((8, 8))\nphrase = 5")
    assert completed(colab, "%imagevariation --stren") == ["%imagevariation --strength"]
    assert completed(colab, "y = %imagevariation ph") == [
        "y = %imagevariation phase",
        "y = %imagevariation photo.png",
    ]
    assert completed(colab, "%imagevariation $pha") == ["%imagevariation $phase"]
    assert completed(colab, "%%imagevariation --fit=p") == ["%%imagevariation --fit=pad"]
    assert "phrase" in str(completed(colab, "phr"))


def test_an_interrupt_in_colab(colab):
    """An interrupt is one line, and what was finished is kept."""
    with interrupted_after_a_picture(colab):
        outputs = colab.run("cut = %imagevariation photo.png -n 10 -s 1024 --engine patch")
    kind, content = outputs[-1]
    assert (kind, content["ename"], len(content["traceback"])) == ("error", "KeyboardInterrupt", 1)
    assert colab.value("1 <= len(__import__('ipy_imgvar').last()) < 10") == "True"


def test_a_panel_in_colab(colab):
    """The panel turns on Colab's widget manager, whose address comes with its view, and runs and binds pictures."""
    colab.forget()
    outputs = colab.run(
        "from ipy_imgvar import VariationPanel\npanel = VariationPanel('photo.png', size=64)\npanel"
    )
    view = outputs[0][1]
    assert view["metadata"] == {WIDGET: {"colab": {"custom_widget_manager": {"url": MANAGER}}}}
    assert not colab.do("ready")
    assert len(colab.made()) == 4
    assert not colab.do("bind", name="bound", form="image")
    assert colab.value("len(bound), bound[0].size") == "(4, (64, 64))"
    colab.run("panel.close()")


def test_a_panel_that_colab_does_not_draw(colab):
    """In place of a panel whose widget Colab can't load, a line names the basic view, which needs no loading."""
    colab.run(
        "from ipy_imgvar.panel import shown; shown._PATIENCE_S = 0.1\nfrom ipy_imgvar import VariationPanel"
    )
    colab.run("hidden = VariationPanel('photo.png', size=64)\nhidden")
    said = lambda: [each["text/plain"] for each in colab.displays.values() if "Colab" in each["text/plain"]]  # noqa: E731
    colab.wait(said, "the line", 20)
    assert "%imagevariation --panel --basic" in said()[0]
    assert "server" not in said()[0]
    view, _ = colab.run("%imagevariation --panel --basic photo.png -s 64")
    assert WIDGET in view[1]["data"]
    colab.run("hidden.close()")
