"""Text of a server, a record or a file's name is shown everywhere, and obeyed nowhere."""

import io
import logging
import unicodedata
from contextlib import redirect_stdout
from types import SimpleNamespace

import pytest
from IPython.lib.pretty import pretty
from PIL import Image

from ipy_imgvar import Client, VariationPanel
from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.images import codec
from ipy_imgvar.images.source import Source
from ipy_imgvar.magic.display import RunDisplay, spoken_log
from ipy_imgvar.panel import recipe, view
from ipy_imgvar.panel.tree import details, grow
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.results import gallery
from ipy_imgvar.results.variations import Variation, Variations

EVIL = "e\x1b[2J\a\x9b\u202evil\u2066\u2028"


def acting(text):
    """Return the characters of a text that a terminal or a page would obey; lines are ours."""
    return {
        char
        for line in text.split("\n")
        for char in line
        if unicodedata.category(char) in ("Cc", "Zl", "Zp")
        or char in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067"
    }


def texts(value):
    """Return every text in JSON-like data."""
    if isinstance(value, dict):
        value = [*value.values()]
    return (
        [value]
        if isinstance(value, str)
        else [each for part in value for each in texts(part)]
        if isinstance(value, (list, tuple))
        else []
    )


def evil_run():
    """Return a run whose every text from outside holds controls."""
    data = codec.encode_png(Image.new("RGB", (8, 8)))
    picture = Variation(data, source=Source(EVIL, data=data), mime_type=EVIL, size=(8, 8), seed=7)
    request = VariationRequest.from_arguments(seed=7, model=EVIL, prompt=EVIL, options={"quality": EVIL})
    return Variations(
        [picture],
        engine=EVIL,
        model=EVIL + "model",
        request=request,
        warnings=[EVIL],
        status=EVIL,
        usage={"total_tokens": EVIL},
    )


SHOWN = {
    "html": lambda run: gallery.html(run, notes=[EVIL]),
    "text": lambda run: gallery.text(run, notes=[EVIL]),
    "nothing made": lambda run: gallery.text(run[:0], notes=[EVIL]),
    "history": lambda run: gallery.history_html([run]),
    "history in a terminal": lambda run: gallery.history_text([run]),
    "value": pretty,
    "value without pictures": lambda run: pretty(run[:0]),
    "picture": lambda run: repr(run[0]) + run[0]._repr_html_(),
    "source": lambda run: str(run[0].source),
    "node": lambda run: grow([run])[0].label,
    "details": lambda run: "".join(name + value for name, value in details(run)),
    "line": lambda run: recipe.recipe(run, "", []).line,
    "call": lambda run: recipe.recipe(run, "", []).call,
    "notes": lambda run: "".join(recipe.recipe(run, "", []).notes),
}


@pytest.mark.parametrize("show", SHOWN.values(), ids=SHOWN)
def test_no_text_of_a_run_is_obeyed(show):
    """Name, engine, model, status, warnings, prompt and options are shown with their controls escaped."""
    shown = show(evil_run())
    assert acting(shown) == set()
    assert "vil" in shown


def test_lines_of_the_magic_are_plain(capsys):
    """Progress, notices and the log of --verbose escape what a server or a name brings."""
    bundles = []
    handle = SimpleNamespace(update=lambda bundle, **_: bundles.append(bundle))
    display = RunDisplay(SimpleNamespace(kernel=True), SimpleNamespace(quiet=False, columns=None), 1)
    display._handle, display._started = handle, -9.0
    display.progress(0.5, EVIL)
    display.notice(EVIL)
    display.result(evil_run(), [EVIL])
    assert len(bundles) == 3
    shown = "".join(text for bundle in bundles for name, text in bundle.items() if name.startswith("text/"))
    out = io.StringIO()
    with redirect_stdout(out), spoken_log():
        logging.getLogger("ipy_imgvar").info("answered %s", EVIL)
    assert acting(shown + out.getvalue() + capsys.readouterr().err) == set()
    assert "answered e\\x1b[2J" in out.getvalue()


def test_lines_of_the_panel_are_plain():
    """The panel's error, notice and progress escape what a server or a name brings."""
    panel = VariationPanel(engine="openai")
    state = panel.state
    state.error, state.notice, state.key_origin, state.preview_words = EVIL, EVIL, EVIL, EVIL
    state.source = Source(EVIL, data=b"")
    state.nodes = grow([evil_run()])
    state.status, state.doing = type(state.status).RUNNING, EVIL
    sections = {name: each.make(state, panel.actions) for name, each in view.SECTIONS.items()}
    panel.close()
    assert acting("".join(texts(sections))) == set()
    run, source = sections["run"], sections["source"]
    words = [run["error"], run["notice"], run["doing"], sections["settings"]["key"]]
    assert all("vil" in each for each in [*words, source["name"], source["words"]])
    assert "vil" in "".join(texts(sections["history"]))


def test_a_failure_of_several_images_names_them_plainly(fake_engine, photo):
    """The error that names the failed images of a run escapes their names."""
    buffer = io.BytesIO()
    photo.save(buffer, "PNG")
    sources = [Source(EVIL, data=buffer.getvalue())] * 2
    client = Client(fake_engine([ImageVariationError("no")], ["red"]))
    with pytest.raises(ImageVariationError) as caught:
        client.variations(sources)
    assert acting(str(caught.value)) == set()
    assert "vil" in str(caught.value)
