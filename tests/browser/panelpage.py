"""A panel on the page, with what a person does to it."""

from __future__ import annotations

#: Puts a file of the server into a transfer, as a drop or a copy in another program does.
_TRANSFER = """async ([name, type]) => {
  const blob = await (await fetch(`/files/${name}`)).blob(), transfer = new DataTransfer();
  transfer.items.add(new File([blob], name, {type}));
  return transfer;
}"""
#: What sticks out of the panel, and texts that are cut. What can be scrolled on purpose, and what is there for screen
#: readers only, is left out.
_CUT = """(root) => {
  const box = root.getBoundingClientRect(), found = [];
  for (const e of root.querySelectorAll('*')) {
    const r = e.getBoundingClientRect(), style = getComputedStyle(e);
    if (r.width < 2 || r.height < 2 || style.visibility === 'hidden' || e.closest('svg, dialog')) continue;
    if (r.right > box.right + 1 || r.left < box.left - 1) found.push('out: ' + e.outerHTML.slice(0, 160));
    const scrolls = e.matches('input, textarea, pre, select, progress') || /auto|scroll/.test(style.overflowX);
    if (!scrolls && e.scrollWidth > e.clientWidth + 1 && style.display !== 'inline' && style.overflowX !== 'visible') {
      found.push('cut: ' + e.outerHTML.slice(0, 160));
    }
  }
  return found;
}"""


class Panel:
    """One of the panels of a notebook's page."""

    def __init__(self, notebook, index=0):
        self.notebook, self.page, self.wait = notebook, notebook.page, notebook.wait
        self.box = self.page.locator(".imgvar-panel").nth(index)
        self.box.wait_for()

    def button(self, name):
        return self.box.get_by_role("button", name=name, exact=True)

    def field(self, label):
        # The text of a label around a list is that of its choices too.
        listed = self.box.get_by_role("combobox", name=label, exact=True)
        labelled = self.box.get_by_label(label, exact=True).or_(listed)
        return self.box.locator("input, textarea, select, progress").and_(labelled)

    def write(self, label, value):
        self.field(label).fill(value)
        self.field(label).press("Enter")

    def open(self, title):
        """Unfold what has this title."""
        self.box.locator("summary").filter(has_text=title).first.click()

    def dialog(self, name):
        """Wait for a dialog, and return it."""
        found = self.box.get_by_role("dialog", name=name, exact=True)
        found.wait_for()
        return found

    def said(self, words, role="status"):
        """Wait for words in a line of errors (role "alert") or notices."""
        lines = self.box.locator(f".imgvar-message [role={role}]")
        self.wait(lambda: words in " ".join(lines.all_inner_texts()), f"{words!r} as {role}")

    @property
    def alert(self):
        return self.box.locator(".imgvar-message [role=alert]").inner_text().strip()

    def wait_source(self, words, timeout_s=60):
        """Wait for the words below the source, and for its picture."""
        source = self.box.locator(".imgvar-drop")
        self.wait(lambda: words in source.inner_text(), f"the source {words!r}", timeout_s)
        self.wait(lambda: source.locator("img").evaluate("(e) => e.naturalWidth > 0"), "the source's picture")

    def choose(self, path):
        with self.page.expect_file_chooser() as chooser:
            self.button("Choose a picture").click()
        chooser.value.set_files(path)

    def drop(self, path):
        """Drop a file as the browser gets it from the desktop."""
        area = self.box.locator(".imgvar-drop").bounding_box()
        place = {"x": area["x"] + area["width"] / 2, "y": area["y"] + area["height"] / 2}
        given = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        session = self.page.context.new_cdp_session(self.page)
        for kind in ("dragEnter", "dragOver", "drop"):
            session.send("Input.dispatchDragEvent", {"type": kind, **place, "data": given})
        session.detach()

    def paste(self, name, kind="image/png"):
        """Paste a file that the server has, as from a file manager."""
        transfer = self.page.evaluate_handle(_TRANSFER, [name, kind])
        self.button("Choose a picture").focus()
        self.page.evaluate(
            "(clipboardData) => document.activeElement.dispatchEvent("
            "new ClipboardEvent('paste', {clipboardData, bubbles: true, cancelable: true}))",
            transfer,
        )

    def cards(self):
        return self.box.locator(".imgvar-card")

    def pictures(self):
        """Return the number of pictures of cards that are seen."""
        return (
            self.cards()
            .locator("img")
            .evaluate_all(
                "(all) => all.filter((e) => e.complete && e.naturalWidth && e.checkVisibility()).length"
            )
        )

    def idle(self):
        return self.button("Run").get_attribute("aria-disabled") == "false"

    def run(self, count):
        """Run, and wait until so many pictures are there."""
        self.button("Run").click()
        self.wait_done(count)

    def wait_done(self, count):
        self.wait(lambda: self.pictures() == count and self.idle(), f"{count} pictures", 120)

    def broken(self):
        """Return the images that a person sees as broken."""
        return self.box.locator("img").evaluate_all(
            "(all) => all.filter((e) => e.checkVisibility() && !(e.complete && e.naturalWidth)).map((e) => e.outerHTML)"
        )

    def set_width(self, width):
        """Make the window so wide that the panel has this width in pixels."""
        wide = lambda: round(self.box.bounding_box()["width"])  # noqa: E731
        for _ in range(5):
            if abs(wide() - width) > 1:
                window = self.page.viewport_size
                self.page.set_viewport_size({**window, "width": window["width"] + width - wide()})
                self.page.wait_for_timeout(200)
        assert abs(wide() - width) <= 1

    def cut(self):
        """Return what sticks out of the panel, and texts that are cut."""
        return self.box.evaluate(_CUT)

    def focused(self):
        """Return the name of what has the focus, as a screen reader says it, or its text."""
        return self.page.evaluate(
            "() => { const e = document.activeElement;"
            " return (e.ariaLabel || e.labels?.[0]?.innerText || e.innerText || '').trim(); }"
        )

    def tab_to(self, name, most=40):
        """Press Tab until something of this name has the focus, and return how often."""
        passed = []
        for count in range(1, most + 1):
            self.page.keyboard.press("Tab")
            passed.append(self.focused())
            if passed[-1] == name:
                return count
        raise AssertionError(f"Tab does not reach {name!r} but {passed}")

    def names(self):
        """Return role and name of everything that the accessibility tree has in the panel."""
        session = self.page.context.new_cdp_session(self.page)
        session.send("DOM.enable")
        root = session.send("DOM.getDocument", {"depth": 0})["root"]["nodeId"]
        node = session.send("DOM.querySelector", {"nodeId": root, "selector": ".imgvar-panel"})["nodeId"]
        nodes = session.send("Accessibility.queryAXTree", {"nodeId": node})["nodes"]
        session.detach()
        return [
            (each["role"]["value"], each.get("name", {}).get("value", ""))
            for each in nodes
            if not each.get("ignored")
        ]
