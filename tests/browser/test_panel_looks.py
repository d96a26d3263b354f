"""How the panel looks and what it says to a screen reader: colours, widths, names, and the keyboard alone."""

import pytest
from lab import DARK, LIGHT

#: Roles that need a name.
NAMED = {
    "button",
    "textbox",
    "combobox",
    "checkbox",
    "image",
    "img",
    "slider",
    "spinbutton",
    "dialog",
    "radio",
}
NAMED |= {
    "progressbar",
    "searchbox",
    "listbox",
    "switch",
    "application",
    "ComboBoxSelect",
    "ProgressIndicator",
}


@pytest.fixture
def panel(notebook):
    """Give a panel with a source, two pictures of a run, and one of them selected."""
    panel = notebook.show("VariationPanel(photo, size=64, n=2)")
    panel.wait_source("photo")
    return panel


def unfold(panel):
    panel.box.locator("details").evaluate_all("(all) => all.forEach((e) => { e.open = true; })")


def dialogs(panel, *, has_new_colours=False):
    """Open each dialog in turn; each is closed by Esc before the next one comes."""
    for name, what in (("Open 1", "Picture 1"), ("Compare", "Compare"), ("Paint a mask", "Mask")):
        panel.button(name).click()
        dialog = panel.dialog(what)
        dialog.locator("canvas, img").first.wait_for()
        yield what
        panel.page.keyboard.press("Escape")
        panel.wait(lambda: panel.box.locator("dialog[open]").count() == 0, "the end of the dialog")
        # A change of theme takes the page's styles away for a moment, and what is not drawn takes no focus.
        assert has_new_colours or panel.focused() in (name, "Open 1")


def test_axe_finds_nothing(notebook, panel):
    """Light and dark, before and after a run, with everything unfolded and with each dialog, axe-core finds nothing."""
    found = {}

    def look(when):
        for theme in (DARK, LIGHT):
            notebook.use_theme(theme)
            if broken := notebook.axe(".imgvar-panel"):
                found[f"{theme}, {when}"] = broken

    unfold(panel)
    look("before a run")
    panel.run(2)
    panel.field("Select 1").check()
    panel.write("Variable name", "seen")
    panel.button("Bind 1 selected").click()
    panel.said("seen is")
    panel.write("Path or URL", "no such file.png")
    panel.said("there is no file", "alert")
    unfold(panel)
    look("after a run")
    for name in dialogs(panel, has_new_colours=True):
        look(name)
    assert found == {}


def test_everything_has_a_name(panel):
    """Each control and picture has a name for a screen reader, before and after a run and in each dialog."""
    nameless = {}

    def look(when):
        names = panel.names()
        assert ("button", "Run") in names or when not in ("before a run", "after a run")
        if bad := [role for role, name in names if role in NAMED and not name.strip()]:
            nameless[when] = bad

    unfold(panel)
    look("before a run")
    panel.run(2)
    panel.field("Select 1").check()
    unfold(panel)
    look("after a run")
    for name in dialogs(panel):
        look(name)
    assert nameless == {}


def test_it_fits_any_width(panel):
    """At 360 to 1300 px nothing sticks out, and no text is cut, with everything unfolded and in the dialogs."""
    panel.run(2)
    panel.field("Select 1").check()
    unfold(panel)
    found = {}
    for width in (1300, 800, 480, 360):
        panel.set_width(width)
        if cut := panel.cut():
            found[width] = cut
    for name in dialogs(panel):
        dialog = panel.box.locator("dialog[open]")
        if dialog.evaluate("(e) => e.scrollWidth > e.clientWidth + 1"):
            found[name] = "scrolls sideways"
    assert found == {}


def test_the_keyboard_does_it_all(notebook, files):
    """From the source to a saved picture by keyboard alone; Run is within 3 Tabs of the source."""
    keys = notebook.page.keyboard
    panel = notebook.show("VariationPanel(size=64, n=3)")
    panel.button("Choose a picture").focus()
    panel.tab_to("Path or URL", 3)
    keys.type(str(files["cat.png"]))
    keys.press("Enter")
    panel.wait_source("cat.png")
    panel.button("Choose a picture").focus()
    assert panel.tab_to("Run") <= 3
    keys.press("Enter")
    panel.wait_done(3)

    panel.tab_to("Select 1")
    keys.press("2")
    panel.wait(panel.field("Select 2").is_checked, "the selection")
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    keys.press("s")
    panel.wait(lambda: panel.button("Star 3").get_attribute("aria-pressed") == "true", "the star")
    keys.press("Enter")
    panel.dialog("Picture 3")
    keys.press("ArrowLeft")
    panel.dialog("Picture 2")
    keys.press("Escape")
    panel.wait(lambda: panel.box.locator("dialog[open]").count() == 0, "the end of the lightbox")
    keys.press("ArrowLeft")
    keys.press("Delete")
    panel.wait(lambda: panel.cards().count() == 2, "a card less")
    panel.wait(lambda: panel.button("Save 1 selected").is_visible(), "the selection to stay")

    panel.tab_to("Folder or file")
    keys.type("by-keyboard")
    panel.tab_to("Save 1 selected")
    keys.press("Space")
    panel.said("saved")
    assert len(list((notebook.path.parent / "by-keyboard").iterdir())) == 1
