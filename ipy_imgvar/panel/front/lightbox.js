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

/** @param {(Node | string)[]} children */
const toolGroup = (...children) => el("div", { class: "imgvar-tools" }, ...children);

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
 * @param {[number, number] | null} size
 */
function setStageSize(stage, size) {
  [stage.dataset.width, stage.dataset.height] = (size ?? [1, 1]).map(String);
}

/**
 * The originals of a dialog's pictures; their URLs are revoked when it closes.
 * @param {Panel} panel
 * @param {HTMLDialogElement} dialog
 */
function originals(panel, dialog) {
  /** @type {string[]} */
  const urls = [];
  const revoke = () => urls.splice(0).forEach(URL.revokeObjectURL);
  dialog.addEventListener("close", revoke);
  return {
    revoke,
    /**
     * Show a picture, the thumbnail at once and the original when it is there, and return what went wrong.
     * @param {HTMLImageElement} img
     * @param {string} id
     * @param {"original" | "source"} purpose
     * @param {() => boolean} [wanted]
     */
    async showOriginal(img, id, purpose, wanted = () => true) {
      if (purpose === "original") panel.show(img, id);
      try {
        const { blob } = await panel.original(id, purpose);
        const probe = el("img", { src: URL.createObjectURL(blob) });
        // A URL that is revoked while it loads would be an error in the console.
        await probe.decode().finally(() => urls.push(probe.src));
        if (!dialog.open) revoke();
        else if (wanted()) {
          // A thumbnail that comes later must not take its place.
          delete img.dataset.picture;
          img.src = probe.src;
        }
        return "";
      } catch (error) {
        const { name, message } = /** @type {Error} */ (error);
        return name === "EncodingError" ? "This browser can't show the original." : message;
      }
    },
  };
}

/**
 * @param {HTMLElement} stage
 * @param {number} zoom beside the size that fits
 */
function measureStage({ dataset, clientWidth, clientHeight }, zoom) {
  const size = [Number(dataset.width) || 1, Number(dataset.height) || 1];
  const room = [clientWidth, clientHeight];
  // A small picture is shown at most twice as large, where its pixels are not yet steps.
  const fit = Math.min(room[0] / size[0], room[1] / size[1], 2) || 1;
  return { room, fit, full: size.map((each) => each * fit * zoom), actual: 1 / fit / devicePixelRatio };
}

/**
 * Keep a picture's point, 0 to 1, where it leaves no side of its stage empty.
 * @param {number[]} point
 * @param {ReturnType<typeof measureStage>} measured
 */
function boundedPoint(point, { room, full }) {
  return point.map((each, axis) => {
    const half = room[axis] / full[axis] / 2;
    return half >= 0.5 ? 0.5 : Math.min(Math.max(each, half), 1 - half);
  });
}

/**
 * Zoom and pan the stages of a dialog together.
 * @param {HTMLDialogElement} dialog
 */
function makeView(dialog) {
  let zoom = 1;
  let middle = [0.5, 0.5]; // the point of the picture in the middle of the stage
  const stages = () => /** @type {HTMLElement[]} */ ([...dialog.querySelectorAll(".imgvar-stage")]);
  const place = () => {
    stages().forEach((stage, index) => {
      if (!watched.has(stage)) watch.observe(stage);
      watched.add(stage);
      const measured = measureStage(stage, zoom);
      const { room, full, actual } = measured;
      const at = boundedPoint(middle, measured);
      if (!index) middle = at;
      const [left, top] = [0, 1].map((axis) => room[axis] / 2 - at[axis] * full[axis]);
      const content = /** @type {HTMLElement} */ (stage.firstElementChild);
      content.style.cssText = `width:${full[0]}px;height:${full[1]}px;left:${left}px;top:${top}px`;
      content.classList.toggle("imgvar-sharp", zoom / actual > 2);
      stage.classList.toggle("imgvar-zoomed", full[0] > room[0] + 1 || full[1] > room[1] + 1);
      const percent = dialog.querySelector(".imgvar-percent");
      if (!index && percent) percent.textContent = `${Math.round((100 * zoom) / actual)} %`;
    });
  };
  /** @type {Set<HTMLElement>} */
  const watched = new Set();
  const watch = new ResizeObserver(place);
  dialog.addEventListener("close", () => watch.disconnect());
  /** Zoom so that the point under `at`, in pixels from the stage's middle, stays there. */
  const zoomTo = (/** @type {number} */ value, stage = stages()[0], at = [0, 0]) => {
    const before = measureStage(stage, zoom);
    zoom = Math.min(Math.max(value, Math.min(1, before.actual)), Math.max(1, 16 * before.actual));
    const after = measureStage(stage, zoom);
    middle = middle.map((each, axis) => each + at[axis] / before.full[axis] - at[axis] / after.full[axis]);
    place();
  };
  return {
    by: (/** @type {number} */ factor, stage = stages()[0], at = [0, 0]) => zoomTo(zoom * factor, stage, at),
    fit: () => zoomTo(1),
    actual: (stage = stages()[0], at = [0, 0]) => zoomTo(measureStage(stage, zoom).actual, stage, at),
    isFit: () => zoom === 1,
    pan(/** @type {number[]} */ pixels, stage = stages()[0]) {
      const measured = measureStage(stage, zoom);
      middle = boundedPoint(middle.map((each, axis) => each + pixels[axis] / measured.full[axis]), measured);
      place();
    },
  };
}

/** @typedef {ReturnType<typeof makeView>} View */

/**
 * Zoom by wheel, pinch and double click, pan by drag; and both by keys.
 * @param {HTMLDialogElement} dialog
 * @param {(event: PointerEvent, zoomed: boolean) => boolean} [takes] whether something else takes the drag
 */
function zoomable(dialog, takes = () => false) {
  const view = makeView(dialog);
  /** @type {Map<number, PointerEvent>} */
  const held = new Map();
  /** @typedef {(event: any, stage: HTMLElement, at: number[]) => void} Heard */
  const hear = (/** @type {string} */ name, /** @type {Heard} */ does) => {
    const listener = (/** @type {any} */ event) => {
      const stage = event.target.closest(".imgvar-stage");
      if (stage) does(event, stage, fromMiddle(stage, event, event));
    };
    dialog.addEventListener(name, listener, { passive: false });
  };
  const fromMiddle = (/** @type {Element} */ stage, /** @type {MouseEvent} */ one, /** @type {MouseEvent} */ other) => {
    const { left, top, width, height } = stage.getBoundingClientRect();
    return [(one.clientX + other.clientX) / 2 - left - width / 2, (one.clientY + other.clientY) / 2 - top - height / 2];
  };
  hear("wheel", (event, stage, at) => {
    event.preventDefault();
    view.by(Math.exp(-event.deltaY * (event.deltaMode ? 0.03 : 0.0015)), stage, at);
  });
  hear("dblclick", (_, stage, at) => (view.isFit() ? view.actual(stage, at) : view.fit()));
  hear("pointerdown", (event, stage) => {
    if (event.button || takes(event, stage.classList.contains("imgvar-zoomed"))) return;
    held.set(event.pointerId, event);
    stage.setPointerCapture(event.pointerId);
  });
  hear("pointermove", (event, stage) => {
    const last = held.get(event.pointerId);
    if (!last) return;
    const other = [...held.values()].find((each) => each.pointerId !== event.pointerId);
    if (other) {
      const apart = (/** @type {PointerEvent} */ each) =>
        Math.hypot(each.clientX - other.clientX, each.clientY - other.clientY);
      view.by(apart(event) / (apart(last) || 1), stage, fromMiddle(stage, event, other));
    } else view.pan([last.clientX - event.clientX, last.clientY - event.clientY], stage);
    held.set(event.pointerId, event);
  });
  for (const name of ["pointerup", "pointercancel"]) hear(name, (event) => held.delete(event.pointerId));
  zoomByKeys(dialog, view);
  return view;
}

/**
 * @param {HTMLDialogElement} dialog
 * @param {View} view
 */
function zoomByKeys(dialog, view) {
  const closer = () => view.by(1.5);
  dialog.addEventListener("keydown", (event) => {
    /** @type {Record<string, () => void>} */
    const does = { "+": closer, "=": closer, "-": () => view.by(1 / 1.5), 0: view.fit, 1: view.actual };
    /** @type {Record<string, number[]>} */
    const moves = { ArrowLeft: [-60, 0], ArrowRight: [60, 0], ArrowUp: [0, -60], ArrowDown: [0, 60] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.shiftKey && moves[event.key]) view.pan(moves[event.key]);
    else if (does[event.key]) does[event.key]();
    else return;
    event.preventDefault();
  });
}

/**
 * The buttons that zoom.
 * @param {() => View} view
 */
function zoomButtons(view) {
  return toolGroup(
    toolButton("Zoom out", () => view().by(1 / 1.5), "zoom-out"),
    el("span", { class: "imgvar-percent" }),
    toolButton("Zoom in", () => view().by(1.5), "zoom-in"),
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
  const img = el("img", { draggable: false });
  const stage = makeStage(img);
  const caption = el("p");
  const note = el("p", { class: "imgvar-note", "aria-live": "polite" });
  const cards = () => cardsOf(panel).filter((card) => card.ready);
  const step = (/** @type {number} */ by) => {
    const all = cards();
    const next = all[(all.findIndex((card) => card.id === now) + by + all.length) % all.length];
    if (next && next.id !== now) show((now = next.id));
  };
  const turn = [toolButton("Previous", () => step(-1), "left"), toolButton("Next", () => step(1), "right")];
  const compare = wordButton("Compare with the source", () => openCompare(panel, [now]), icon("compare"));
  const close = toolButton("Close", () => dialog.close(), "close");
  const bar = el("div", { class: "imgvar-bar" }, toolGroup(...turn), zoomButtons(() => view), compare, close);
  const dialog = openDialog(panel, "Picture", "imgvar-lightbox", bar, stage, caption, note);
  const view = zoomable(dialog);
  const { showOriginal, revoke } = originals(panel, dialog);

  const show = async (/** @type {string} */ next) => {
    const card = cards().find((each) => each.id === next);
    if (!card) return;
    dialog.setAttribute("aria-label", `Picture ${card.number}`);
    img.alt = card.alt;
    caption.textContent = [`${card.number} of ${cards().length}`, card.alt, card.words, card.similar].filter(Boolean).join(" · ");
    turn.forEach((button) => (button.hidden = cards().length < 2));
    setStageSize(stage, card.size);
    view.fit();
    revoke();
    note.textContent = "reading the original";
    const problem = await showOriginal(img, next, "original", () => now === next);
    if (now === next) note.textContent = problem;
  };
  dialog.addEventListener("keydown", (event) => {
    if (event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  dialog.addEventListener("close", () => {
    const card = [...panel.root.querySelectorAll(".imgvar-card")].find((each) => each.getAttribute("data-card") === now);
    if (now !== id) /** @type {HTMLElement | undefined} */ (card)?.focus();
  });
  close.focus();
  show(id);
}
