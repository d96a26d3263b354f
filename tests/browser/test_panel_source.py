"""The ways of a picture into the panel, in a browser: chosen, dropped, pasted, too large, no picture at all."""

import pytest

#: The files of 50 kB, 5 MB and 30 MB, with what the panel says of them.
SIZES = {"small.png": "128x128", "large.png": "1290x1290", "huge.png": "3162x3162"}
#: Counts what reads a file of more than 64 MB.
WATCH_READS = """() => {
  window.reads = 0;
  const watch = (owner, names) => names.forEach((name) => {
    const usual = owner[name];
    owner[name] = function (...all) {
      const blob = this instanceof Blob ? this : all[0];
      if (blob?.size > 64e6) window.reads += 1;
      return usual.apply(this, all);
    };
  });
  watch(Blob.prototype, ['arrayBuffer', 'slice', 'stream', 'text']);
  watch(FileReader.prototype, ['readAsArrayBuffer', 'readAsDataURL', 'readAsBinaryString', 'readAsText']);
  watch(window, ['createImageBitmap']);
  watch(URL, ['createObjectURL']);
}"""


@pytest.mark.parametrize("way", ["choose", "drop", "paste"])
def test_pictures_of_any_size_come_in(notebook, files, way):
    """Pictures of 50 kB, 5 MB and 30 MB come in whole, one after the other, by each way."""
    panel = notebook.show("VariationPanel(size=64, n=1)")
    for name, size in SIZES.items():
        if way == "paste":
            panel.paste(name)
        else:
            getattr(panel, way)(files[name])
        panel.wait_source(f"{name}, {size}")
        assert panel.alert == ""
        assert notebook.ask("panel.state.source.name") == name


@pytest.mark.usefixtures("files")
def test_a_picture_of_the_clipboard_is_pasted(notebook):
    """A picture that was copied in the browser comes in with Ctrl+V, and the notebook's cells stay as they are."""
    panel = notebook.show("VariationPanel(size=64, n=1)")
    notebook.page.evaluate(
        "async () => { const blob = await (await fetch('/files/small.png')).blob();"
        " await navigator.clipboard.write([new ClipboardItem({'image/png': blob})]); }"
    )
    panel.button("Choose a picture").focus()
    notebook.page.keyboard.press("Control+V")
    panel.wait_source("pasted.png, 128x128")
    assert notebook.run("return p.content.widgets.length") == 1


def test_too_large_a_picture_is_refused_unread(notebook, files):
    """A file of 70 MB is refused in words before it is read, by each way, and the next picture works."""
    panel = notebook.show("VariationPanel(size=64, n=1)")
    notebook.page.evaluate(WATCH_READS)
    for take in (panel.choose, panel.drop):
        take(files["excessive.png"])
        panel.said("excessive.png has 70 MB; allowed: at most 64 MB", "alert")
        assert notebook.page.evaluate("() => window.reads") == 0
        panel.choose(files["small.png"])
        panel.wait_source("small.png, 128x128")
        panel.wait(lambda: panel.alert == "", "the refusal to go")


def test_the_same_file_twice_and_a_text_file(notebook, files):
    """A text file is refused in the panel, the source stays, and the same picture can be chosen twice in a row."""
    panel = notebook.show("VariationPanel(photo, size=64, n=1)")
    panel.wait_source("photo, 600x400")
    for take in (panel.choose, panel.drop):
        take(files["notes.txt"])
        panel.said("notes.txt is not an image", "alert")
        panel.wait_source("photo, 600x400")
        panel.button("Dismiss the error").click()
    for _ in range(2):
        panel.choose(files["cat.png"])
        panel.wait_source("cat.png, 600x400")
        panel.field("Variable").select_option("photo")
        panel.wait_source("photo, 600x400")
    panel.wait(lambda: panel.alert == "", "no error")


def test_a_newer_picture_replaces_an_upload(notebook, files):
    """A picture that is chosen while another is on its way is the one that counts, and an upload can be stopped."""
    panel = notebook.show("VariationPanel(size=64, n=1)")
    panel.choose(files["huge.png"])
    panel.choose(files["small.png"])
    panel.wait_source("small.png, 128x128")
    panel.choose(files["huge.png"])
    panel.button("Stop the upload").click()
    panel.wait(lambda: not panel.field("upload").is_visible(), "the end of the upload")
    panel.choose(files["cat.png"])
    panel.wait_source("cat.png, 600x400")


def test_a_picture_of_another_page_is_dropped_as_its_address(notebook):
    """A drop that has an address and no file is read like a typed address, and the page stays where it is."""
    panel = notebook.show("VariationPanel()")
    prevented = panel.box.evaluate(
        """(root) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.setData('text/uri-list', 'http://127.0.0.1:9/dropped.png');
          const given = {dataTransfer, bubbles: true, cancelable: true};
          return ['dragover', 'drop'].map((kind) => !root.dispatchEvent(new DragEvent(kind, given)));
        }"""
    )
    assert prevented == [True, True]
    panel.said("dropped.png: can't be fetched", "alert")
