// @ts-check
// Pictures beside each other, or two on top of each other with a slider.

/** More pictures than this are too small to compare. */
const COMPARED = 9;

/**
 * @typedef {object} Compared
 * @property {string} id
 * @property {"original" | "source"} purpose
 * @property {string} label
 * @property {HTMLImageElement} img
 * @property {[number, number]} size
 */

/**
 * Compare one picture with its source, or several with each other.
 * @param {Panel} panel
 * @param {string[]} ids
 */
function openCompare(panel, ids) {
  const cards = cardsOf(panel).filter((card) => card.ready && ids.includes(card.id));
  if (!cards.length) return;
  /** @type {Compared[]} */
  const items = cards.slice(0, COMPARED).map((card) => ({
    id: card.id,
    purpose: "original",
    label: `picture ${card.number}`,
    img: el("img", { alt: card.alt, draggable: false }),
    size: card.size ?? [1, 1],
  }));
  if (items.length === 1) {
    const img = el("img", { alt: "The source", draggable: false });
    // The source as it was sent: the whole of it within a border, stretched, or cropped to the picture's shape.
    const { fit } = cards[0];
    img.style.objectFit = fit === "pad" ? "contain" : fit === "stretch" ? "fill" : "cover";
    items.unshift({ ...items[0], purpose: "source", label: "source", img });
  }
  const note = el("p", { class: "imgvar-note", "aria-live": "polite" });
  if (cards.length > COMPARED) note.textContent = `the first ${COMPARED} of ${cards.length}`;
  const body = el("div", { class: "imgvar-view" });
  const close = toolButton("Close", () => dialog.close(), "close");
  const layouts = items.length === 2 ? ["Slider", "Side by side"] : ["Side by side"];
  const choice = layouts.map((name) => wordButton(name, () => lay(name)));
  const bar = el("div", { class: "imgvar-bar" }, toolGroup(...(layouts.length > 1 ? choice : [])), zoomButtons(() => view), close);
  const dialog = openDialog(panel, "Compare", "imgvar-compare", bar, body, note);
  const slider = makeSlider(items);
  const view = zoomable(dialog, (event, zoomed) => slider.element.isConnected && slider.takes(event, zoomed));
  const lay = (/** @type {string} */ name) => {
    choice.forEach((button) => button.setAttribute("aria-pressed", String(button.textContent === name)));
    if (name === "Slider") body.replaceChildren(slider.take(items));
    else layGrid(body, items);
    view.fit();
  };
  const resize = new ResizeObserver(() => body.querySelector(".imgvar-grid") && setColumns(body, items));
  resize.observe(body);
  dialog.addEventListener("close", () => resize.disconnect());
  lay(layouts[0]);
  (dialog.querySelector("input") ?? close).focus();
  const { showOriginal } = originals(panel, dialog);
  for (const { img, id, purpose } of items) {
    showOriginal(img, id, purpose).then((problem) => (note.textContent ||= problem));
  }
}

/**
 * @param {HTMLElement} body
 * @param {Compared[]} items
 */
function layGrid(body, items) {
  const figures = items.map(({ img, label, size }) => {
    const stage = makeStage(img);
    img.style.clipPath = "";
    setStageSize(stage, size);
    return el("figure", {}, stage, el("figcaption", { text: label }));
  });
  body.replaceChildren(el("div", { class: "imgvar-grid" }, ...figures));
  setColumns(body, items);
}

/**
 * Choose the number of columns that shows the pictures largest.
 * @param {HTMLElement} body
 * @param {Compared[]} items
 */
function setColumns(body, items) {
  const [width, height] = items[0].size;
  const side = (/** @type {number} */ columns) =>
    Math.min(body.clientWidth / columns / width, (body.clientHeight / Math.ceil(items.length / columns) - 24) / height);
  const columns = items.map((_, index) => index + 1).reduce((best, each) => (side(each) > side(best) ? each : best), 1);
  body.style.setProperty("--columns", String(columns));
}

/**
 * Two pictures on top of each other; the slider tells how much of the first one shows.
 * @param {Compared[]} items
 */
function makeSlider(items) {
  const position = el("input", { type: "range", min: "0", max: "100", step: "0.5", value: "50", "aria-label": "Position" });
  const divider = el("div", { class: "imgvar-divider" });
  const stage = makeStage(divider);
  const content = /** @type {HTMLElement} */ (stage.firstElementChild);
  const labels = items.map(({ label }) => el("span", { text: label }));
  const element = el("div", { class: "imgvar-slider" }, stage, el("div", { class: "imgvar-position" }, labels[0], position, labels[1] ?? ""));
  setStageSize(stage, items[items.length - 1].size);
  const draw = () => {
    const value = Number(position.value);
    if (items[1]) items[1].img.style.clipPath = `inset(0 0 0 ${value}%)`;
    divider.style.left = `${value}%`;
    position.setAttribute("aria-valuetext", `${Math.round(value)} % ${items[0].label}`);
  };
  position.addEventListener("input", draw);
  return {
    element,
    /** Take the pictures from another layout. */
    take(/** @type {Compared[]} */ from) {
      content.prepend(...from.map(({ img }) => img));
      draw();
      return element;
    },
    /** Move the divider with the pointer; a zoomed picture moves itself, unless the divider is held. */
    takes(/** @type {PointerEvent} */ event, /** @type {boolean} */ zoomed) {
      const box = content.getBoundingClientRect();
      const at = box.left + (box.width * Number(position.value)) / 100;
      if (zoomed && Math.abs(event.clientX - at) > 16) return false;
      const move = (/** @type {PointerEvent} */ { clientX }) => {
        const now = content.getBoundingClientRect();
        position.value = String(((clientX - now.left) / now.width) * 100);
        draw();
      };
      stage.setPointerCapture(event.pointerId);
      stage.addEventListener("pointermove", move);
      const end = () => stage.removeEventListener("pointermove", move);
      stage.addEventListener("pointerup", end, { once: true });
      stage.addEventListener("pointercancel", end, { once: true });
      move(event);
      return true;
    },
  };
}
