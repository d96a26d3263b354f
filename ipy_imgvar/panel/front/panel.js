// @ts-check
// The whole panel, as anywidget draws it.

/**
 * @param {{model: any, el: HTMLElement}} given
 * @returns {() => void} takes the panel away
 */
function render({ model, el: host }) {
  const root = el("div", {
    class: "imgvar-panel",
    // A click beside the controls puts the focus here, so that a paste reaches the panel.
    tabIndex: -1,
    "data-lm-suppress-shortcuts": "true",
    // Jupyter has shortcuts on plain letters, hears keys before this element does, and asks the focused one first.
    onfocusin: (/** @type {any} */ { target }) => target.setAttribute("data-lm-suppress-shortcuts", "true"),
    onkeydown: (/** @type {Event} */ event) => event.stopPropagation(),
  });
  host.append(root);
  const panel = connect(model, root);
  const needing = [sourcePart(panel, runPart(panel)), settingsPart(panel)];
  const taking = takePart(panel);
  const body = el(
    "div",
    { class: "imgvar-body" },
    el("div", { class: "imgvar-top" }, ...needing),
    galleryPart(panel, taking),
    recordPart(panel),
  );
  root.prepend(body);
  panel.onLive((live) => [...needing, taking].forEach((part) => (part.inert = !live)));
  return () => {
    panel.close();
    root.remove();
  };
}

export default { render };
