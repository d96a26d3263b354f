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
    // JupyterLab has shortcuts on plain letters, and hears keys before this element does.
    "data-lm-suppress-shortcuts": "true",
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
