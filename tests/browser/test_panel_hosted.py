"""The panel with a hosted engine: a server on this machine that streams partial pictures, and the key."""

import pytest
from loopback import CLOSE, PICTURES, Api, b64, events, png, refusal

#: A key that must be seen nowhere but at the server.
KEY = "sk-canary-7f3b9c1e5d2a"
LOOKS = ["gray", "olive", "navy"]
#: Notes each value of the bar, and each colour, roughly, that a card's picture has while it is made.
WATCH = """(root) => {
  const values = [], looks = new Set();
  window.watched = () => [values, [...looks]];
  const look = async () => {
    const bar = root.querySelector('progress[aria-label="progress of the run"]');
    if (bar.checkVisibility() && values.at(-1) !== bar.value) values.push(bar.value);
    for (const img of root.querySelectorAll('.imgvar-card img')) {
      if (!img.complete || !img.naturalWidth) continue;
      const canvas = new OffscreenCanvas(1, 1).getContext('2d');
      canvas.drawImage(img, 0, 0, 1, 1);
      looks.add([...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((e) => Math.round(e / 32)).join());
    }
    if (root.isConnected) requestAnimationFrame(look);
  };
  look();
}"""


@pytest.fixture
def api():
    """Run the server, and close it."""
    running = Api()
    yield running
    running.close()


def streamed(final):
    """Return the steps of an answer: partial pictures with a pause after each, and the picture."""
    usual = {"created_at": 1, "size": "1024x1024", "quality": "high", "output_format": "png"}
    looks = [
        ("image_edit.partial_image", {"b64_json": b64(png(colour)), "partial_image_index": index, **usual})
        for index, colour in enumerate(LOOKS)
    ]
    end = b"\r\n\r\n"
    steps = [events()[0]]
    for entry in (*looks, ("image_edit.completed", {"b64_json": b64(final), **usual})):
        steps += [events(entry)[0].partition(end)[2], 0.3]
    # Long enough for the engine to say that it waits, which must not move the bar.
    return [*steps[:-3], 1.5, *steps[-2:], CLOSE]


def test_first_looks_of_a_hosted_engine(notebook, api):
    """Partial pictures show in the card, the bar never goes back, a refusal is said, and the key is nowhere."""
    notebook.tell(f"my_key = {KEY!r}")
    panel = notebook.show("VariationPanel(photo, engine='openai', model='gpt-image-1', prompt='a cat', n=1)")
    panel.wait_source("photo")
    panel.box.locator("details").evaluate_all("(all) => all.forEach((e) => { e.open = true; })")
    panel.write("Server", api.base)
    panel.write("Key is in variable", "my_key")
    panel.wait(lambda: "key from the variable my_key" in panel.box.inner_text(), "the key's origin")
    panel.write("Key is in variable", KEY)
    panel.said("there is no variable of that name", "alert")
    assert panel.field("Key is in variable").input_value() == "my_key"

    panel.field("Stream").check()
    panel.write("Partial images", "3")
    api.script(refusal(400, "the server likes no coffee"), streamed(PICTURES[1]), streamed(PICTURES[2]))
    panel.button("Run").click()
    panel.said("the server likes no coffee", "alert")
    panel.wait(panel.idle, "the end of the run")
    panel.box.evaluate(WATCH)
    panel.run(1)
    assert panel.alert == ""
    values, looks = notebook.page.evaluate("() => watched()")
    assert values[:2] == [0, 0.5]
    assert values == sorted(values)
    assert looks == ["4,4,4", "4,4,0", "0,0,4", "0,8,0"]
    assert len(api.posts) == 2
    assert all(each.headers["authorization"] == f"Bearer {KEY}" for each in api.posts)

    assert KEY not in notebook.page.content()
    assert notebook.page.locator("input").evaluate_all("(all, key) => all.every((e) => e.value !== key)", KEY)
    notebook.save()
    forms = [KEY.encode(), b64(KEY.encode()).rstrip("=")[:-2].encode()]
    for path in notebook.server.folder.rglob("*"):
        if path.is_file():
            assert not any(form in path.read_bytes() for form in forms), path
