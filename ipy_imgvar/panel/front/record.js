// @ts-check
// What was done: the history as a tree, and the code that repeats the shown run.

/**
 * @param {Panel} panel
 * @returns {HTMLElement}
 */
function recordPart(panel) {
  return el("div", { class: "imgvar-record", role: "group", "aria-label": "History and code" }, historyPart(panel), codePart(panel));
}

/**
 * @param {Panel} panel
 * @returns {HTMLElement}
 */
function historyPart(panel) {
  const title = el("summary");
  const list = el("ul", { class: "imgvar-tree" });
  const make = () => {
    const again = wordButton("Show again", () => panel.send("go_back", { node: Number(again.value) }));
    const remix = wordButton("Use its settings", () => panel.send("remix", { node: Number(remix.value) }));
    const more = el("details", {}, el("summary", { text: "Details" }), el("dl"));
    return el("li", {}, el("div", { class: "imgvar-node" }, el("span"), el("b", { text: "shown now" })), again, remix, more);
  };
  const draw = (/** @type {State} */ { nodes = [] }) => {
    title.textContent = `History (${nodes.length})`;
    keyed(list, /** @type {State[]} */ (nodes), (node) => node.index, make, (item, node) => {
      const [label, mark] = /** @type {HTMLElement[]} */ ([...(item.firstElementChild?.children ?? [])]);
      item.style.setProperty("--depth", String(Math.min(node.depth, 8)));
      label.textContent = node.label.trim();
      mark.hidden = !node.current;
      if (node.current) item.setAttribute("aria-current", "true");
      else item.removeAttribute("aria-current");
      for (const button of item.querySelectorAll("button")) {
        button.value = String(node.index);
        button.title = node.label.trim();
        button.disabled = !panel.live;
      }
      const facts = node.details.flatMap((/** @type {string[]} */ [name, value]) => [el("dt", { text: name }), el("dd", { text: value })]);
      item.querySelector("dl")?.replaceChildren(...facts);
    });
  };
  panel.on("history", draw);
  panel.onLive(() => draw(panel.get("history")));
  return el("details", {}, title, list);
}

/**
 * @param {Panel} panel
 * @returns {HTMLElement}
 */
function codePart(panel) {
  const piece = (/** @type {string} */ title, /** @type {string} */ name) => {
    const pre = el("pre", { tabIndex: 0, role: "group", "aria-label": title });
    const done = el("span", { class: "imgvar-done", "aria-hidden": "true" });
    const button = wordButton(name, async () => {
      const copied = await copyText(panel, pre);
      done.textContent = copied ? "copied" : "select it and copy it by hand";
      panel.announce(done.textContent);
      setTimeout(() => (done.textContent = ""), 4000);
    }, icon("copy"));
    return { pre, box: el("div", {}, toolGroup(title, button, done), pre) };
  };
  const line = piece("In a cell", "Copy the line");
  const call = piece("In Python", "Copy the Python");
  const notes = el("div");
  const none = el("p", { text: "Nothing to repeat yet: run something." });
  panel.on("code", (state) => {
    none.hidden = Boolean(state.line);
    for (const { box } of [line, call]) box.hidden = !state.line;
    line.pre.textContent = state.line;
    call.pre.textContent = state.call;
    notes.replaceChildren(...(state.notes ?? []).map((/** @type {string} */ text) => el("p", { text })));
  });
  return el("details", { class: "imgvar-code" }, el("summary", { text: "Code" }), none, line.box, call.box, notes);
}

/**
 * Copy an element's text.
 * @param {Panel} panel
 * @param {HTMLElement} element
 * @returns {Promise<boolean>}
 */
async function copyText(panel, element) {
  try {
    await navigator.clipboard.writeText(element.textContent ?? "");
    return true;
  } catch {
    // A page over http that is not this machine's has no clipboard; a selection can be copied there too.
    const selection = panel.root.ownerDocument.getSelection();
    selection?.selectAllChildren(element);
    return panel.root.ownerDocument.execCommand("copy");
  }
}
