// @ts-check
// One picture at the pixels of its original; and what all large views share: the dialog, zoom and pan.

/**
 * Open a modal dialog that is removed when it closes; the focus goes back by itself.
 * @param {Panel} panel
 * @param {string} label
 * @param {string} name of its class
 * @param {...Node} children
 * @returns {HTMLDialogElement}
 */
function openDialog(panel, label, name, ...children) {
  const dialog = el("dialog", { class: `imgvar-dialog ${name}`, "aria-label": label }, ...children);
  dialog.addEventListener("close", () => dialog.remove());
  panel.root.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * A button with words.
 * @param {string} name
 * @param {() => void} does
 * @param {Node} [face] an icon before the words
 */
function wordButton(name, does, face) {
  return el("button", { type: "button", onclick: does }, face, name);
}

/**
 * A button with an icon.
 * @param {string} name
 * @param {() => void} does
 * @param {keyof typeof ICONS} face
 */
function toolButton(name, does, face) {
  return el("button", { type: "button", class: `imgvar-bare imgvar-${face}`, "aria-label": name, title: name, onclick: does }, icon(face));
}

/**
 * An element that shows a picture, or several on top of each other, zoomed.
 * @param {HTMLElement[]} layers
 * @returns {HTMLElement}
 */
function makeStage(...layers) {
  return el("div", { class: "imgvar-stage" }, el("div", { class: "imgvar-content" }, ...layers));
}

/**
 * Tell how many pixels a stage's picture has.
 * @param {HTMLElement} stage
 * @param {[number, number]} size
 */
function setStageSize(stage, [width, height]) {
  stage.dataset.width = String(width);
  stage.dataset.height = String(height);
}

/**
 * Show a picture: the thumbnail at once, the original when it is there.
 * @param {Panel} panel
 * @param {HTMLImageElement} img
 * @param {string} id
 * @param {"original" | "source"} purpose
 * @param {string[]} urls gets the original's URL, which the caller revokes
 * @param {() => boolean} [wanted]
 */
async function showOriginal(panel, img, id, purpose, urls, wanted = () => true) {
  if (purpose === "original") panel.show(img, id);
  const { blob } = await panel.original(id, purpose);
  if (!wanted()) return;
  const url = URL.createObjectURL(blob);
  urls.push(url);
  const probe = new Image();
  probe.src = url;
  await probe.decode().catch(() => Promise.reject(new Error("This browser can't show the original; this is its thumbnail.")));
  if (!wanted()) return;
  // A thumbnail that comes later must not take its place.
  delete img.dataset.picture;
  img.src = url;
}

/**
 * Zoom and pan the stages of a dialog together: wheel, drag, pinch, double click and keys.
 * @param {HTMLDialogElement} dialog
 * @param {(percent: number) => void} onZoom called with the size of the first stage's pixels
 * @param {(event: PointerEvent, zoomed: boolean) => boolean} [takes] whether something else takes the drag
 */
function zoomable(dialog, onZoom, takes = () => false) {
  let zoom = 1; // beside the size that fits
  let middle = [0.5, 0.5]; // the point of the picture in the middle of the stage, 0 to 1
  const stages = () => /** @type {HTMLElement[]} */ ([...dialog.querySelectorAll(".imgvar-stage")]);
  const measure = (/** @type {HTMLElement} */ stage) => {
    const size = [Number(stage.dataset.width) || 1, Number(stage.dataset.height) || 1];
    const room = [stage.clientWidth, stage.clientHeight];
    const fit = Math.min(room[0] / size[0], room[1] / size[1]) || 1;
    return { room, fit, full: size.map((each) => each * fit * zoom) };
  };
  const bounded = (/** @type {number[]} */ point, /** @type {ReturnType<typeof measure>} */ { room, full }) =>
    point.map((each, axis) => {
      const half = room[axis] / full[axis] / 2;
      return half >= 0.5 ? 0.5 : Math.min(Math.max(each, half), 1 - half);
    });

  /** @type {Set<HTMLElement>} */
  const watched = new Set();
  const place = () => {
    stages().forEach((stage, index) => {
      if (!watched.has(stage)) watch.observe(stage);
      watched.add(stage);
      const found = measure(stage);
      const { room, full, fit } = found;
      const at = bounded(middle, found);
      if (!index) middle = at;
      const content = /** @type {HTMLElement} */ (stage.firstElementChild);
      content.style.cssText =
        `width:${full[0]}px;height:${full[1]}px;left:${room[0] / 2 - at[0] * full[0]}px;top:${room[1] / 2 - at[1] * full[1]}px`;
      const scale = fit * zoom * devicePixelRatio;
      content.classList.toggle("imgvar-sharp", scale > 2);
      stage.classList.toggle("imgvar-zoomed", full[0] > room[0] + 1 || full[1] > room[1] + 1);
      if (!index) onZoom(Math.round(scale * 100));
    });
  };
  const watch = new ResizeObserver(place);
  const pan = (/** @type {HTMLElement} */ stage, /** @type {number[]} */ pixels) => {
    const found = measure(stage);
    middle = bounded(middle.map((each, axis) => each + pixels[axis] / found.full[axis]), found);
    place();
  };
  /** Zoom so that the point under `at`, in pixels from the stage's middle, stays there. */
  const zoomTo = (/** @type {number} */ value, stage = stages()[0], at = [0, 0]) => {
    const before = measure(stage);
    const one = 1 / before.fit / devicePixelRatio;
    zoom = Math.min(Math.max(value, Math.min(1, one)), Math.max(1, 16 * one));
    const after = measure(stage);
    middle = middle.map((each, axis) => each + at[axis] / before.full[axis] - at[axis] / after.full[axis]);
    place();
  };
  const view = {
    place,
    zoomIn: () => zoomTo(zoom * 1.5),
    zoomOut: () => zoomTo(zoom / 1.5),
    fit: () => zoomTo(1),
    actual: () => zoomTo(1 / measure(stages()[0]).fit / devicePixelRatio),
  };
  zoomByKeys(dialog, view, (pixels) => pan(stages()[0], pixels));

  const stageOf = (/** @type {Event} */ event) => /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (event.target).closest(".imgvar-stage"));
  const fromMiddle = (/** @type {HTMLElement} */ stage, /** @type {{clientX: number, clientY: number}} */ { clientX, clientY }) => {
    const box = stage.getBoundingClientRect();
    return [clientX - box.left - box.width / 2, clientY - box.top - box.height / 2];
  };
  dialog.addEventListener(
    "wheel",
    (event) => {
      const stage = stageOf(event);
      if (!stage) return;
      event.preventDefault();
      zoomTo(zoom * Math.exp(-event.deltaY * (event.deltaMode ? 0.03 : 0.0015)), stage, fromMiddle(stage, event));
    },
    { passive: false },
  );
  dialog.addEventListener("dblclick", (event) => {
    const stage = stageOf(event);
    if (!stage) return;
    if (zoom === 1) zoomTo(1 / measure(stage).fit / devicePixelRatio, stage, fromMiddle(stage, event));
    else view.fit();
  });
  /** @type {Map<number, PointerEvent>} */
  const held = new Map();
  dialog.addEventListener("pointerdown", (event) => {
    const stage = stageOf(event);
    if (!stage || event.button || takes(event, stage.classList.contains("imgvar-zoomed"))) return;
    held.set(event.pointerId, event);
    stage.setPointerCapture(event.pointerId);
  });
  dialog.addEventListener("pointermove", (event) => {
    const stage = stageOf(event);
    const last = held.get(event.pointerId);
    if (!stage || !last) return;
    const other = [...held.values()].find((each) => each.pointerId !== event.pointerId);
    if (other) {
      const apart = (/** @type {PointerEvent} */ each) => Math.hypot(each.clientX - other.clientX, each.clientY - other.clientY) || 1;
      const between = { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 };
      zoomTo(zoom * (apart(event) / apart(last)), stage, fromMiddle(stage, between));
    } else pan(stage, [last.clientX - event.clientX, last.clientY - event.clientY]);
    held.set(event.pointerId, event);
  });
  for (const name of /** @type {const} */ (["pointerup", "pointercancel"])) dialog.addEventListener(name, (event) => held.delete(event.pointerId));
  dialog.addEventListener("close", () => watch.disconnect());
  return view;
}

/**
 * @param {HTMLElement} dialog
 * @param {{zoomIn: () => void, zoomOut: () => void, fit: () => void, actual: () => void}} view
 * @param {(pixels: number[]) => void} pan
 */
function zoomByKeys(dialog, view, pan) {
  /** @type {Record<string, () => void>} */
  const does = { "+": view.zoomIn, "=": view.zoomIn, "-": view.zoomOut, 0: view.fit, 1: view.actual };
  /** @type {Record<string, number[]>} */
  const moves = { ArrowLeft: [-60, 0], ArrowRight: [60, 0], ArrowUp: [0, -60], ArrowDown: [0, 60] };
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.shiftKey && moves[event.key]) pan(moves[event.key]);
    else if (does[event.key]) does[event.key]();
    else return;
    event.preventDefault();
  });
}

/**
 * The buttons that zoom.
 * @param {() => ReturnType<typeof zoomable>} view
 * @param {HTMLElement} percent
 */
function zoomButtons(view, percent) {
  return el(
    "span",
    { class: "imgvar-tools" },
    toolButton("Zoom out", () => view().zoomOut(), "zoom-out"),
    percent,
    toolButton("Zoom in", () => view().zoomIn(), "zoom-in"),
    wordButton("Fit", () => view().fit()),
    wordButton("1:1", () => view().actual()),
  );
}

/**
 * @param {Panel} panel
 * @param {string} id
 */
function openLightbox(panel, id) {
  let now = id;
  /** @type {string[]} */
  const urls = [];
  const img = el("img", { draggable: false });
  const stage = makeStage(img);
  const caption = el("p", { class: "imgvar-caption" });
  const note = el("p", { class: "imgvar-note", "aria-live": "polite" });
  const percent = el("span", { class: "imgvar-percent" });
  const cards = () => cardsOf(panel).filter((card) => card.ready);
  const close = toolButton("Close", () => dialog.close(), "close");
  const turn = [
    toolButton("Previous", () => step(-1), "left"),
    toolButton("Next", () => step(1), "right"),
  ];
  const compare = wordButton("Compare with the source", () => openCompare(panel, [now]));
  const bar = el("div", { class: "imgvar-bar" }, el("span", { class: "imgvar-tools" }, ...turn), zoomButtons(() => view, percent), compare, close);
  const dialog = openDialog(panel, "Picture", "imgvar-lightbox", bar, stage, caption, note);
  const view = zoomable(dialog, (value) => (percent.textContent = `${value} %`));

  const show = async (/** @type {string} */ next) => {
    const card = cardsOf(panel).find((each) => each.id === next);
    if (!card) return;
    now = next;
    dialog.setAttribute("aria-label", `Picture ${card.number}`);
    img.alt = card.alt;
    caption.textContent = [`${card.number} of ${cards().length}`, card.alt, card.words, card.similar].filter(Boolean).join(" · ");
    turn.forEach((button) => (button.hidden = cards().length < 2));
    setStageSize(stage, card.size ?? [1, 1]);
    view.fit();
    urls.splice(0).forEach(URL.revokeObjectURL);
    note.textContent = "reading the original";
    try {
      await showOriginal(panel, img, next, "original", urls, () => now === next && dialog.open);
      if (now === next) note.textContent = "";
    } catch (error) {
      if (now === next) note.textContent = /** @type {Error} */ (error).message;
    }
  };
  const step = (/** @type {number} */ by) => {
    const all = cards();
    const index = all.findIndex((card) => card.id === now);
    const next = all[(index + by + all.length) % all.length];
    if (next && next.id !== now) {
      show(next.id);
      panel.announce(caption.textContent ?? "");
    }
  };
  dialog.addEventListener("keydown", (event) => {
    if (event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
  });
  dialog.addEventListener("close", () => {
    urls.splice(0).forEach(URL.revokeObjectURL);
    const card = /** @type {HTMLElement | undefined} */ ([...panel.root.querySelectorAll(".imgvar-card")].find((each) => each.getAttribute("data-card") === now));
    if (now !== id) card?.focus();
  });
  close.focus();
  show(id);
}
