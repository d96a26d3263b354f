"""The whole job in the panel, by hand: in JupyterLab and in Notebook 7."""

import re
from statistics import median

import pytest
from panelpage import Panel

BOTH = pytest.mark.parametrize("notebook", ["lab", "notebook"], indirect=True)
#: Slow enough to be cancelled: five pictures of 1024 px.
SLOW = "VariationPanel(photo, size=1024, n=5)"
DIGESTS = "[__import__('hashlib').sha256(each).hexdigest() for each in {}]"

#: Notes when each picture of a card is there.
SEEN = """(root) => {
  window.seen = [];
  const look = () => {
    const ready = [...root.querySelectorAll('.imgvar-card img')].filter((e) => e.complete && e.naturalWidth).length;
    while (seen.length < ready) seen.push(Date.now());
    if (root.isConnected) requestAnimationFrame(look);
  };
  look();
}"""


@BOTH
def test_the_whole_job(notebook, files):
    """A picture is chosen, varied, bound, used in the next cell, saved, inserted and repeated by the copied code."""
    panel = notebook.show("VariationPanel(engine='patch')")
    panel.choose(files["cat.png"])
    panel.wait_source("cat.png, 600x400")
    panel.write("Pictures", "4")
    panel.write("Size", "128x128")
    panel.wait(lambda: "128x128" in panel.box.locator(".imgvar-drop").inner_text(), "the fitted size")
    panel.run(4)
    assert "similar to the source:" in panel.box.inner_text()

    panel.write("Variable name", "mine")
    panel.button("Bind all 4").click()
    panel.said("mine is a list of 4 images")
    assert notebook.add_cell("len(mine), mine[0].size").strip().endswith("(4, (128, 128))")

    panel.write("Folder or file", f"out-{notebook.app}/{{i}}.png")
    panel.button("Save all 4").click()
    panel.said("saved")
    folder = notebook.path.parent / f"out-{notebook.app}"
    saved = sorted(folder.glob("*.png"))
    assert len(saved) == 4

    panel.button("Insert all 4 below").click()
    below = notebook.page.locator(".jp-OutputArea-output img:not(.imgvar-panel img)")
    panel.wait(lambda: below.count() == 4, "the plain output")

    digests = notebook.ask(DIGESTS.format("__import__('ipy_imgvar').last().bytes"))
    assert digests == notebook.ask(
        DIGESTS.format(f"[open(each, 'rb').read() for each in {list(map(str, saved))}]")
    )
    panel.open("Code")
    for name in ("Copy the line", "Copy the Python"):
        notebook.page.evaluate("() => navigator.clipboard.writeText('nothing')")
        panel.button(name).click()
        panel.wait(lambda: notebook.page.evaluate("() => navigator.clipboard.readText()") != "nothing", name)
        notebook.add_cell(notebook.page.evaluate("() => navigator.clipboard.readText()"))
        assert notebook.ask("__import__('ipy_imgvar').history()[-1].elapsed") > 0
        assert notebook.ask(DIGESTS.format("__import__('ipy_imgvar').last().bytes")) == digests


@BOTH
def test_it_is_cancelled_fails_and_recovers(notebook):
    """Old pictures stay while a run goes on, is cancelled or fails, nothing typed is lost, and the next run works."""
    panel = notebook.show("VariationPanel(photo, size=64, n=2)")
    panel.wait_source("photo")
    panel.run(2)
    panel.write("Size", "1024x1024")
    panel.write("Pictures", "5")
    panel.button("Run").click()
    panel.button("Cancel").wait_for()
    panel.wait(
        lambda: panel.box.locator("progress[aria-label='progress of the run']").is_visible(), "progress"
    )
    assert panel.pictures() >= 2
    panel.button("Cancel").click()
    panel.said("cancelled")
    panel.wait(panel.idle, "the end of the run")
    assert panel.pictures() >= 2

    panel.write("Path or URL", "no such file.png")
    panel.said("there is no file no such file.png", "alert")
    assert panel.field("Path or URL").input_value() == "no such file.png"
    panel.write("Size", "seven")
    panel.said("seven", "alert")
    panel.write("Size", "64x64")
    panel.write("Pictures", "1")
    before = panel.pictures()
    panel.run(before + 1)
    assert panel.alert == ""


def test_a_card_is_varied_in_one_click(notebook):
    """One click on a card makes it the source and runs, subtly or strongly; the pictures before stay below."""
    panel = notebook.show("VariationPanel(photo, size=64, n=2, strength=0.5)")
    panel.wait_source("photo")
    panel.run(2)
    panel.button("Vary 2 subtly").click()
    panel.wait_done(4)
    panel.wait_source("photo-2")
    assert notebook.ask("[each.strength for each in [panel.state]]") == [0.2]
    assert panel.cards().locator("img").first.get_attribute("alt").startswith("Variation 1 of photo-2")
    panel.button("Vary 1 strongly").click()
    panel.wait_done(6)
    assert notebook.ask("[each.strength for each in [panel.state]]") == [0.85]
    panel.button("Use 6 as the source").click()
    panel.wait_source("photo")


def test_pictures_are_looked_at_closely(notebook):
    """The lightbox has the original's pixels and steps through the pictures; the slider uncovers the source."""
    panel = notebook.show("VariationPanel(photo, size=512, n=2)")
    panel.wait_source("photo")
    panel.run(2)
    assert panel.cards().locator("img").first.evaluate("(e) => e.naturalWidth") <= 256
    panel.button("Open 2").click()
    box = panel.dialog("Picture 2")
    panel.wait(lambda: box.locator("img").evaluate("(e) => e.naturalWidth") == 512, "the original")
    notebook.page.keyboard.press("ArrowLeft")
    box = panel.dialog("Picture 1")
    panel.wait(lambda: box.locator("img").evaluate("(e) => e.naturalWidth") == 512, "the other original")
    before = box.locator("img").bounding_box()["width"]
    box.get_by_role("button", name="Zoom in").click()
    panel.wait(lambda: box.locator("img").bounding_box()["width"] > before, "a larger picture")
    notebook.page.keyboard.press("Escape")
    panel.wait(lambda: panel.box.locator("dialog[open]").count() == 0, "the end of the lightbox")

    panel.field("Select 2").check()
    panel.button("Compare").click()
    box = panel.dialog("Compare")
    panel.wait(
        lambda: box.locator("img").evaluate_all("(all) => all.every((e) => e.naturalWidth)"), "both pictures"
    )
    position = box.get_by_label("Position")
    looks = []
    for value in ("0", "60", "100"):
        position.fill(value)
        looks.append(box.screenshot())
    assert len(set(looks)) == 3
    notebook.page.keyboard.press("Escape")


def test_a_card_is_seen_when_its_picture_is_there(notebook):
    """A card shows its picture soon after the kernel has it, not when the run ends."""
    panel = notebook.show("VariationPanel(photo, size=128, n=4)")
    panel.wait_source("photo")
    notebook.tell("import time; made = []; panel.state.observe(lambda _: made.append(time.time()), 'cards')")
    panel.box.evaluate(SEEN)
    delays = []
    for count in (4, 8, 12):  # The machine may be busy with something else for a moment.
        panel.run(count)
        times = zip(notebook.ask("made[-4:]"), notebook.page.evaluate("() => seen.slice(-4)"), strict=True)
        delays.append(median(shown / 1000 - made for made, shown in times))
        if delays[-1] <= 2:
            return
    raise AssertionError(delays)


def test_earlier_runs_come_back(notebook):
    """The history gives back an earlier run's settings alone, or its pictures too; pictures are sorted and starred."""
    panel = notebook.show("VariationPanel(photo, size=64, n=3, strength=0.2)")
    panel.wait_source("photo")
    panel.run(3)
    panel.field("Sort by").select_option("similarity")
    panel.wait(lambda: notebook.ask("panel.gallery['sort']") == "similarity", "the order")
    shares = [float(each) for each in re.findall(r"similar to the source: (\d+) %", panel.box.inner_text())]
    assert shares == sorted(shares, reverse=True)
    panel.button("Star 2").click()
    panel.wait(lambda: panel.button("Star 2").get_attribute("aria-pressed") == "true", "the star")
    panel.field("Select all").check()
    panel.button("Bind 3 selected").wait_for()

    panel.write("Pictures", "1")
    panel.box.get_by_role("button", name="strong", exact=True).click()
    panel.run(4)
    panel.open("History")
    panel.button("Use its settings").nth(1).click()
    panel.wait(lambda: panel.field("Pictures").input_value() == "3", "the settings")
    assert panel.pictures() == 4
    shown = "[[len(each['cards']) for each in panel.gallery['groups']], panel.state.n, panel.state.strength]"
    panel.button("Show again").nth(0).click()
    panel.wait(lambda: notebook.ask(shown) == [[1, 3], 1, 0.85], "the newest run")
    panel.button("Show again").nth(1).click()
    panel.wait(lambda: notebook.ask(shown) == [[3, 1], 3, 0.2], "the run before it")
    panel.wait_done(4)


def test_a_mask_is_painted(notebook):
    """What is painted is there again after Esc, stays exactly as in the source, and the rest is varied."""
    panel = notebook.show("VariationPanel(photo, size=128, n=1, strength=0.85)")
    panel.wait_source("photo")
    panel.button("Paint a mask").click()
    box = panel.dialog("Mask")
    canvas = box.locator("canvas").first
    canvas.wait_for()
    place, mouse = canvas.bounding_box(), notebook.page.mouse

    def draw(*points):
        for number, (x, y) in enumerate(points):
            mouse.move(place["x"] + x * place["width"], place["y"] + y * place["height"], steps=5)
            if not number:
                mouse.down()
        mouse.up()

    box.get_by_role("button", name="Brush").click()
    draw((0.7, 0.2), (0.8, 0.8))
    box.get_by_role("button", name="Undo").click()
    box.get_by_role("button", name="Rectangle").click()
    draw((0.3, 0.1), (0.6, 0.9))
    notebook.page.keyboard.press("Escape")
    panel.button("Paint a mask").click()
    box = panel.dialog("Mask")
    box.get_by_role("button", name="Use this mask").click()
    panel.wait(lambda: panel.button("Change the mask").is_visible(), "the mask")
    panel.run(1)
    panel.write("Variable name", "masked")
    panel.button("Bind it").click()
    panel.said("masked is")
    notebook.tell("from ipy_imgvar.images import codec; from PIL import Image; import numpy as np")
    # The middle 400 of 600 columns are left of the photograph, so the rectangle is from 0.2 to 0.65 there.
    notebook.tell(
        "fitted = codec.to_array(codec.fit_image(Image.fromarray(photo), (128, 128), 'crop'))\n"
        "same = (fitted == np.asarray(masked)).all(-1)"
    )
    inside, outside = notebook.ask("[float(same[16:112, 30:80].mean()), float(same[:, 90:].mean())]")
    assert inside == 1
    assert outside < 0.5
    panel.button("Remove the mask").click()
    panel.wait(lambda: panel.button("Paint a mask").is_visible(), "no mask")


def test_two_panels_are_independent(notebook):
    """Two panels on one page have settings, pictures and runs of their own."""
    notebook.show("VariationPanel(photo, size=64, n=1)")
    notebook.add_cell("other = VariationPanel(photo, size=64, n=2)\nother")
    first, second = Panel(notebook, 0), Panel(notebook, 1)
    first.wait_source("photo")
    second.wait_source("photo")
    first.write("Pictures", "3")
    first.button("Run").click()
    second.button("Run").click()
    first.wait_done(3)
    second.wait_done(2)
    assert second.field("Pictures").input_value() == "2"
    first.field("Select 1").check()
    first.wait(lambda: first.button("Bind 1 selected").is_visible(), "the selection")
    assert not second.field("Select 1").is_checked()
    notebook.tell("other.close()")


def test_a_panel_that_is_closed_leaves_nothing(notebook):
    """A panel that is closed while it runs, or whose cell is run again, leaves the page and no thread."""
    threads = "[t.name for t in __import__('threading').enumerate() if 'imgvar' in t.name]"
    panel = notebook.show(SLOW)
    panel.wait_source("photo")
    panel.button("Run").click()
    panel.button("Cancel").wait_for()
    notebook.run_cell(0)
    panel.wait(lambda: notebook.ask(threads) == [], "the thread to end")
    panel.wait(lambda: notebook.page.locator(".imgvar-panel").count() == 1, "the panel to go")
    panel.wait_source("photo")
    panel.button("Run").click()
    panel.button("Cancel").wait_for()
    notebook.tell("panel.close()")
    panel.wait(lambda: notebook.ask(threads) == [], "the thread to end")
    panel.wait(lambda: notebook.page.locator(".imgvar-panel").count() == 0, "the panel to go")
