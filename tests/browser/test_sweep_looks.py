"""How the table of a sweep stands on a page of JupyterLab, in the light and the dark theme."""

import pytest
from lab import DARK, LIGHT

MAKE = """
from PIL import Image
from ipy_imgvar.images import codec
from ipy_imgvar.images.source import Source
from ipy_imgvar.results.sweep import Sweep
from ipy_imgvar.results.variation import Variation
data = codec.encode_png(Image.new("RGB", (256, 256), "teal"))
def sweep(**axes):
    (first, downs), (second, acrosses) = axes.items()
    source = Source("cat.png", data=data)
    return Sweep([Variation(data, source=source, mime_type="image/png", size=(256, 256),
        combination={first: down, second: across}) for down in downs for across in acrosses], axes=axes)
"""
#: Of the last output: what sticks out of the page, the narrowest picture, what the box hides, the heads' left edges
#: after it was scrolled to its end, and the colours of a row.
LOOKS = """
const output = [...p.content.node.querySelectorAll('.jp-RenderedHTMLCommon table')].pop();
const box = output.parentElement, within = box.getBoundingClientRect();
const widths = [...output.querySelectorAll('img')].map((each) => each.getBoundingClientRect().width);
box.scrollLeft = 10_000;
const names = [...output.querySelectorAll('th[scope=rowgroup] span[style*=sticky]')];
return {
  outside: within.right - document.documentElement.clientWidth, narrowest: Math.min(...widths),
  hidden: box.scrollWidth - box.clientWidth, scrolled: box.scrollLeft,
  names: names.map((each) => each.getBoundingClientRect().left - within.left),
  ground: getComputedStyle(output.querySelectorAll('tr')[2]).backgroundColor,
  formulas: output.querySelectorAll('mjx-container, .MathJax').length,
};
"""


@pytest.mark.slow
@pytest.mark.parametrize(("theme", "width"), [(LIGHT, 1600), (DARK, 480)])
def test_table(open_notebook, theme, width):
    """No picture is below 72 px and no row is striped; a wide table scrolls in its box, and its names stay in view."""
    notebook = open_notebook(
        MAKE, "sweep(strength=(.1, .2, .3), seed=tuple(range(8)))", width=width, theme=theme
    )
    notebook.run_cell(0)
    notebook.run_cell(1)
    looks = notebook.run(LOOKS)
    assert looks["outside"] <= 0
    assert looks["narrowest"] >= 72
    assert (looks["hidden"] > 0) == (width == 480)
    assert looks["scrolled"] == looks["hidden"]
    assert len(looks["names"]) == 3
    assert all(0 <= left < 20 for left in looks["names"])
    assert looks["ground"] == "rgba(0, 0, 0, 0)"
    assert notebook.axe() == {}


@pytest.mark.slow
def test_prompts_are_no_formulas(open_notebook):
    """A prompt with dollar signs is shown as it was written."""
    notebook = open_notebook(MAKE, "sweep(prompt=('$x^2$', 'a cat for $5 or $6'), seed=(1, 2))")
    notebook.run_cell(0)
    assert "$x^2$" in notebook.run_cell(1)
    notebook.page.wait_for_timeout(1000)
    assert notebook.run(LOOKS)["formulas"] == 0
    assert "a cat for $5 or $6" in notebook.text(1)
