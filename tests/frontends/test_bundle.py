"""What the magic and the panel send, for front ends that run no script: VS Code, untrusted notebooks, Qt's console."""

import re

import pytest
from page import Page

#: Colours, which one of a light and a dark theme would spoil, and what a style could load.
_UNWANTED = re.compile(r"colou?r|background|url\(|@import|expression", re.IGNORECASE)
LINES = {
    "a run": "%imagevariation photo.png -n 2 -s 64",
    "a value": "x",
    "a picture": "x[0]",
    "the history": "%imagevariation --history",
    "a plan": "%imagevariation photo.png -n 2 -s 64 --dry-run",
}


@pytest.fixture(params=LINES)
def data(front, request, bundle_of):
    """Return the MIME bundle of a line's one output."""
    front.run("x = %imagevariation photo.png -n 2 -s 64 --quiet")
    return bundle_of(front, LINES[request.param])


def test_pictures_come_as_html_as_one_image_and_as_text(front, bundle_of):
    """A run is one output of three kinds: a front end that refuses HTML shows the image, and a console the words."""
    data = bundle_of(front, LINES["a run"])
    assert data.keys() == {"text/html", "image/jpeg", "text/plain"}
    assert "photo-2" in data["text/plain"]


def test_the_html_needs_no_script_and_no_network(data):
    """A fragment has no script, no style sheet, no handler, and pictures from data: addresses only."""
    page = Page(data["text/html"])
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "style", "link", "iframe", "object", "embed", "form", "input"}
    attributes = {name for _, given in page.elements for name in given}
    assert not {name for name in attributes if name.startswith("on")} | (
        attributes & {"href", "srcset", "id"}
    )
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in page.images())


def test_the_html_has_the_colours_of_the_theme(data):
    """No style sets a colour or loads anything, so that light and dark themes both show it."""
    styles = " ".join(given.get("style", "") for _, given in Page(data["text/html"]).elements)
    assert not _UNWANTED.search(styles)


def test_the_text_says_it_without_html(data):
    """The plain text is never empty, and holds no markup."""
    assert data["text/plain"].strip()
    assert "<div" not in data["text/plain"]


@pytest.mark.parametrize(
    "line", ["%imagevariation --panel photo.png", "%imagevariation --panel --basic photo.png"]
)
def test_a_panel_is_a_widget_or_one_line(front, line):
    """A panel is a widget's view with one line of text for a front end without widgets, and an empty output below."""
    view, below = [content["data"] for kind, content in front.run(line) if kind == "display_data"]
    assert view.keys() == {"application/vnd.jupyter.widget-view+json", "text/plain"}
    assert view["text/plain"].count("\n") == 0
    assert "%imagevariation" in view["text/plain"]
    assert below == {"text/html": "", "text/plain": ""}


def test_the_panel_has_its_front_end_with_it(front):
    """The panel's module and styles are in its model, so that nothing of ours is fetched from anywhere."""
    front.forget()
    front.run("from ipy_imgvar import VariationPanel\nshown = VariationPanel('photo.png')")
    model = next(state for state in reversed(front.models.values()) if "_esm" in state)
    assert "export default" in model["_esm"]
    assert not re.search(r"\bimport\b[^;]*https?:", model["_esm"])
    assert not _load_from_elsewhere(model["_css"])


def _load_from_elsewhere(css):
    return re.search(r"@import|url\((?!['\"]?data:)", css)
