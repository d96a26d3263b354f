// @ts-check
// The editor of the mask: what is painted over the source stays, the rest is varied.

/** Steps back that are kept, each with a byte for every pixel: at most 30 MB. */
const UNDO_STEPS = 30;
/** The paint's colour; the canvas is drawn half transparent over the source. */
const PAINT = [0, 200, 83];

/**
 * A canvas of paint. A pixel is painted where its alpha is at least half.
 * @param {number} width
 * @param {number} height
 */
function makePaint(width, height) {
  const canvas = el("canvas", { width, height, tabIndex: 0, role: "application", "aria-label": "Picture to paint on" });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  /** @type {Uint8Array[]} */
  const steps = [];
  const colour = `rgb(${PAINT.join()})`;
  const read = () => {
    const { data } = context.getImageData(0, 0, width, height);
    return Uint8Array.from({ length: width * height }, (_, index) => (data[4 * index + 3] >= 128 ? 1 : 0));
  };
  /** Set each pixel to the colour that `of` gives for painted (1) or not (0): red, green, blue, alpha. */
  const image = (/** @type {Uint8Array} */ painted, /** @type {(one: number) => number[]} */ of) => {
    const colours = [of(0), of(1)];
    const made = new ImageData(width, height);
    painted.forEach((one, index) => made.data.set(colours[one], 4 * index));
    return made;
  };
  const write = (/** @type {Uint8Array} */ painted) => context.putImageData(image(painted, (one) => [...PAINT, one * 255]), 0, 0);
  const remember = () => {
    steps.push(read());
    if (steps.length > UNDO_STEPS) steps.shift();
  };
  return {
    canvas,
    read,
    write,
    remember,
    canUndo: () => steps.length > 0,
    undo() {
      const last = steps.pop();
      if (last) write(last);
    },
    /** Draw a line with round ends. */
    line(/** @type {number[]} */ from, /** @type {number[]} */ to, /** @type {number} */ size, /** @type {boolean} */ erase) {
      context.globalCompositeOperation = erase ? "destination-out" : "source-over";
      context.strokeStyle = colour;
      context.lineWidth = size;
      context.lineCap = "round";
      context.beginPath();
      context.moveTo(from[0], from[1]);
      // A line without length would draw nothing in some browsers.
      context.lineTo(to[0] + 0.01, to[1]);
      context.stroke();
    },
    rectangle(/** @type {number[]} */ from, /** @type {number[]} */ to) {
      context.globalCompositeOperation = "source-over";
      context.fillStyle = colour;
      context.fillRect(Math.round(from[0]), Math.round(from[1]), Math.round(to[0]) - Math.round(from[0]), Math.round(to[1]) - Math.round(from[1]));
    },
    /** @returns {Promise<Blob>} the mask's file: white stays, black is varied, nothing between and nothing transparent. */
    blob() {
      const sheet = el("canvas", { width, height });
      const opaque = /** @type {CanvasRenderingContext2D} */ (sheet.getContext("2d", { alpha: false }));
      opaque.putImageData(image(read(), (one) => [255 * one, 255 * one, 255 * one, 255]), 0, 0);
      return new Promise((/** @type {(blob: any) => void} */ resolve) => sheet.toBlob(resolve, "image/png"));
    },
  };
}

/**
 * @typedef {Panel & {drawn?: {painted: Uint8Array, of: string}}} Painted remembers the mask that was painted last
 */

/** @param {State} source */
const sourceKey = ({ name, size }) => `${name} ${size}`;

/**
 * @param {Panel} panel
 */
function openMask(panel) {
  const source = panel.get("source");
  const hint = el("output", { class: "imgvar-note", text: "reading the source" });
  const use = el("button", { type: "button", class: "imgvar-primary", text: "Use this mask", disabled: true });
  const cancel = wordButton("Cancel", () => dialog.close());
  const bar = el("div", { class: "imgvar-bar" });
  const body = el("div", { class: "imgvar-view" });
  const words = el(
    "p",
    { class: "imgvar-note" },
    el("b", { text: "What you paint stays; the rest is varied." }),
    " By keyboard: the arrows move the brush over the picture, Space paints.",
  );
  const dialog = openDialog(panel, "Mask", "imgvar-mask", words, bar, body, el("div", { class: "imgvar-bar imgvar-end" }, hint, cancel, use));
  cancel.focus();
  loadMask(panel, source).then(
    ({ img, paint, lost }) => {
      if (!dialog.open) return;
      const editor = editMask(dialog, img, paint, bar, (share) => {
        use.disabled = share === 0 || share === 1;
        const percent = Math.min(Math.max(Math.round(share * 100), 1), 99);
        if (share === 0) hint.textContent = lost || "Nothing is painted yet.";
        else hint.textContent = share === 1 ? "Everything is painted; leave something to vary." : `${percent} % stays`;
      });
      body.append(editor);
      paint.canvas.focus();
      use.onclick = async () => {
        use.disabled = true;
        const [blob, painted] = [await paint.blob(), paint.read()];
        const arrived = await upload(panel, blob, "mask.png", "mask");
        use.disabled = false;
        if (!arrived) hint.textContent = "The mask did not arrive; the panel says why.";
        else {
          /** @type {Painted} */ (panel).drawn = { painted, of: sourceKey(source) };
          dialog.close();
        }
      };
    },
    (error) => (hint.textContent = error.message),
  );
}

/**
 * Fetch the source, and the mask that was drawn on it before.
 * @param {Panel} panel
 * @param {State} source
 */
async function loadMask(panel, source) {
  const { blob } = await panel.original(source.preview, "source");
  const img = el("img", { alt: "The source", draggable: false });
  const url = URL.createObjectURL(blob);
  img.src = url;
  await img.decode().finally(() => URL.revokeObjectURL(url));
  const paint = makePaint(img.naturalWidth, img.naturalHeight);
  const { drawn } = /** @type {Painted} */ (panel);
  const has = typeof source.mask?.kept === "number";
  const same = has && drawn?.of === sourceKey(source);
  if (same) paint.write(drawn.painted);
  return { img, paint, lost: has && !same ? "The mask in use was not painted here; what you paint replaces it." : "" };
}

/**
 * Put the tools into `bar`, and return the picture to paint on.
 * @param {HTMLElement} dialog
 * @param {HTMLImageElement} img
 * @param {ReturnType<typeof makePaint>} paint
 * @param {HTMLElement} bar
 * @param {(share: number) => void} tell gets the painted share
 * @returns {HTMLElement}
 */
function editMask(dialog, img, paint, bar, tell) {
  const { canvas } = paint;
  const longest = Math.max(canvas.width, canvas.height);
  const size = el("input", { type: "range", min: "1", max: "100", value: "25", "aria-label": "Size of the brush" });
  const tool = { name: "Brush", size: () => Math.max(1, (Number(size.value) / 100) ** 2 * longest * 0.6) };
  const pick = (/** @type {string} */ name) => {
    tool.name = name;
    tools.forEach((each) => each.setAttribute("aria-pressed", String(each.textContent === name)));
    cursor.draw();
  };
  const changed = () => {
    const painted = paint.read();
    tell(painted.reduce((sum, one) => sum + one, 0) / painted.length);
    undo.disabled = !paint.canUndo();
  };
  const step = (/** @type {() => void} */ does) => () => {
    does();
    changed();
  };
  const whole = (/** @type {(one: number) => number} */ of) => step(() => (paint.remember(), paint.write(paint.read().map(of))));
  const tools = /** @type {const} */ (["Brush", "Eraser", "Rectangle"]).map((name) =>
    wordButton(name, () => pick(name), icon(/** @type {keyof typeof ICONS} */ (name.toLowerCase()))),
  );
  const undo = wordButton("Undo", step(paint.undo), icon("undo"));
  const rest = [undo, wordButton("Invert", whole((one) => 1 - one), icon("invert")), wordButton("Clear", whole(() => 0))];
  bar.append(el("span", { class: "imgvar-tools" }, ...tools), el("label", { class: "imgvar-tools" }, el("span", { "aria-hidden": "true", text: "Size" }), size), el("span", { class: "imgvar-tools" }, ...rest));
  const cursor = makeCursor(paint, tool);
  size.addEventListener("input", cursor.draw);
  paintByPointer(paint, tool, cursor, changed);
  paintByKeys(paint, tool, cursor, changed);
  dialog.addEventListener("keydown", (event) => {
    const names = { b: "Brush", e: "Eraser", r: "Rectangle" };
    if ((event.ctrlKey || event.metaKey) && event.key === "z") undo.click();
    else if (!event.ctrlKey && !event.metaKey && event.key in names) pick(names[/** @type {keyof typeof names} */ (event.key)]);
    else return;
    event.preventDefault();
  });
  const paper = el("div", { class: "imgvar-paper" }, img, canvas, cursor.element, cursor.band);
  paper.style.setProperty("--ratio", String(canvas.width / canvas.height));
  pick("Brush");
  changed();
  return paper;
}

/**
 * The ring that shows where the brush is, and the frame of a rectangle that is being drawn.
 * @param {ReturnType<typeof makePaint>} paint
 * @param {{name: string, size: () => number}} tool
 */
function makeCursor({ canvas }, tool) {
  const element = el("div", { class: "imgvar-cursor", hidden: true });
  const band = el("div", { class: "imgvar-band", hidden: true });
  const share = (/** @type {number} */ pixels, /** @type {number} */ axis) => `${(100 * pixels) / (axis ? canvas.height : canvas.width)}%`;
  const cursor = {
    element,
    band,
    at: [canvas.width / 2, canvas.height / 2],
    /** @type {number[] | null} the first corner of a rectangle */
    corner: null,
    draw() {
      const { at, corner } = cursor;
      const size = tool.name === "Rectangle" ? 0 : tool.size();
      const scale = canvas.clientWidth / canvas.width || 1;
      Object.assign(element.style, { left: share(at[0], 0), top: share(at[1], 1), width: `${Math.max(size * scale, 8)}px`, height: `${Math.max(size * scale, 8)}px` });
      element.classList.toggle("imgvar-cross", tool.name === "Rectangle");
      band.hidden = !corner;
      if (!corner) return;
      const [left, top] = [0, 1].map((axis) => Math.min(at[axis], corner[axis]));
      const [width, height] = [0, 1].map((axis) => Math.abs(at[axis] - corner[axis]));
      Object.assign(band.style, { left: share(left, 0), top: share(top, 1), width: share(width, 0), height: share(height, 1) });
    },
    move(/** @type {number[]} */ to) {
      cursor.at = to;
      element.hidden = false;
      cursor.draw();
    },
  };
  canvas.addEventListener("focus", () => cursor.move(cursor.at));
  canvas.addEventListener("blur", () => (element.hidden = true));
  return cursor;
}

/**
 * @param {ReturnType<typeof makePaint>} paint
 * @param {{name: string, size: () => number}} tool
 * @param {ReturnType<typeof makeCursor>} cursor
 * @param {() => void} changed
 */
function paintByPointer(paint, tool, cursor, changed) {
  const { canvas } = paint;
  /** @type {number[] | null} */
  let last = null;
  const point = (/** @type {PointerEvent} */ { clientX, clientY }) => {
    const box = canvas.getBoundingClientRect();
    return [((clientX - box.left) / box.width) * canvas.width, ((clientY - box.top) / box.height) * canvas.height];
  };
  const to = (/** @type {number[]} */ next) => {
    if (last && tool.name !== "Rectangle") paint.line(last, next, tool.size(), tool.name === "Eraser");
    if (last) last = next;
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button) return;
    canvas.setPointerCapture(event.pointerId);
    paint.remember();
    last = point(event);
    cursor.corner = tool.name === "Rectangle" ? last : null;
    to(last);
    cursor.move(last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!event.isPrimary) return;
    // A fast hand moves far between two events; the browser has the points between.
    for (const each of event.getCoalescedEvents?.() ?? []) to(point(each));
    to(point(event));
    cursor.move(point(event));
  });
  const end = (/** @type {PointerEvent} */ event) => {
    if (!last || !event.isPrimary) return;
    if (cursor.corner) paint.rectangle(cursor.corner, last);
    last = cursor.corner = null;
    cursor.draw();
    changed();
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
}

/**
 * @param {ReturnType<typeof makePaint>} paint
 * @param {{name: string, size: () => number}} tool
 * @param {ReturnType<typeof makeCursor>} cursor
 * @param {() => void} changed
 */
function paintByKeys(paint, tool, cursor, changed) {
  const { canvas } = paint;
  /** @type {Record<string, number[]>} */
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  let down = false;
  const space = () => {
    if (tool.name !== "Rectangle") {
      if (!down) paint.remember();
      down = true;
      return paint.line(cursor.at, cursor.at, tool.size(), tool.name === "Eraser");
    }
    if (down) return;
    down = true;
    if (cursor.corner) {
      paint.remember();
      paint.rectangle(cursor.corner, cursor.at);
    }
    cursor.corner = cursor.corner ? null : cursor.at;
    cursor.draw();
  };
  canvas.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || !(move || event.key === " ")) return;
    event.preventDefault();
    if (!move) return space();
    const far = event.shiftKey ? 1 : Math.max(2, canvas.width / 40);
    const sides = [canvas.width, canvas.height];
    const next = cursor.at.map((each, axis) => Math.min(Math.max(each + move[axis] * far, 0), sides[axis]));
    if (down && tool.name !== "Rectangle") paint.line(cursor.at, next, tool.size(), tool.name === "Eraser");
    cursor.move(next);
  });
  const up = () => {
    if (down) changed();
    down = false;
  };
  canvas.addEventListener("keyup", (event) => event.key === " " && up());
  canvas.addEventListener("blur", up);
}
