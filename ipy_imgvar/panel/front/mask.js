// @ts-check
// The editor of the mask: what is painted over the source stays, the rest is varied.

/** Steps back that are kept, each with a byte for every pixel: at most 30 MB. */
const UNDO_STEPS = 30;
/** The paint's colour, as a style and as a pixel's four bytes; the canvas is drawn half transparent over the source. */
const PAINT = { style: "rgb(0 200 83)", pixel: 0xff53c800 };

/**
 * Make an image of two colours. Whole pixels are 20 times faster than bytes, which a hand feels at 1024 px.
 * @param {Uint8Array} painted 1 where it is painted
 * @param {number} width
 * @param {number[]} colours of what is not painted and of what is, as alpha, blue, green, red
 */
function colourImage(painted, width, colours) {
  const made = new ImageData(width, painted.length / width);
  const pixels = new Uint32Array(made.data.buffer);
  for (let index = 0; index < pixels.length; index++) pixels[index] = colours[painted[index]];
  return made;
}

/**
 * Make the mask's file: white stays, black is varied; nothing grey or transparent.
 * @param {Uint8Array} painted
 * @param {HTMLCanvasElement} canvas of its size
 * @returns {Promise<Blob>}
 */
function maskFile(painted, { width, height }) {
  const sheet = el("canvas", { width, height });
  sheet.getContext("2d", { alpha: false })?.putImageData(colourImage(painted, width, [0xff000000, 0xffffffff]), 0, 0);
  return new Promise((/** @type {(blob: any) => void} */ resolve) => sheet.toBlob(resolve, "image/png"));
}

/**
 * A canvas of paint. A pixel is painted where its alpha is at least half.
 * @param {number} width
 * @param {number} height
 */
function makePaint(width, height) {
  const canvas = el("canvas", { width, height, tabIndex: 0, role: "application", "aria-label": "Picture to paint on" });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  context.lineCap = "round";
  context.strokeStyle = context.fillStyle = PAINT.style;
  /** @type {Uint8Array[]} */
  const steps = [];
  const read = () => {
    const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
    const painted = new Uint8Array(pixels.length);
    // The highest bit is that of the alpha.
    for (let index = 0; index < pixels.length; index++) painted[index] = pixels[index] >>> 31;
    return painted;
  };
  const write = (/** @type {Uint8Array} */ painted) =>
    context.putImageData(colourImage(painted, width, [0, PAINT.pixel]), 0, 0);
  return {
    canvas,
    steps,
    read,
    write,
    remember() {
      steps.push(read());
      if (steps.length > UNDO_STEPS) steps.shift();
    },
    undo() {
      const last = steps.pop();
      if (last) write(last);
    },
    /** @type {(from: number[], to: number[], size: number, erase: boolean) => void} */
    line(from, to, size, erase) {
      context.globalCompositeOperation = erase ? "destination-out" : "source-over";
      context.lineWidth = size;
      context.beginPath();
      context.moveTo(from[0], from[1]);
      // A line without length would draw nothing in some browsers.
      context.lineTo(to[0] + 0.01, to[1]);
      context.stroke();
    },
    rectangle(/** @type {number[]} */ from, /** @type {number[]} */ to) {
      const [left, top, right, bottom] = [...from, ...to].map(Math.round);
      context.globalCompositeOperation = "source-over";
      context.fillRect(left, top, right - left, bottom - top);
    },
  };
}

/** @typedef {{painted: Uint8Array, of: string}} Drawn */
/**
 * @typedef {Panel & {drawn?: Drawn, draft?: Drawn}} Painted remembers the mask in use, and what Esc has left unfinished
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
  const cancel = wordButton("Cancel", () => (delete (/** @type {Painted} */ (panel).draft), dialog.close()));
  const bar = el("div", { class: "imgvar-bar" });
  const body = el("div", { class: "imgvar-view" });
  const words = el(
    "p",
    { class: "imgvar-note" },
    el("b", { text: "What you paint stays; the rest is varied." }),
    " By keyboard: the arrows move the brush over the picture, Space paints while it is held.",
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
      // Esc is quickly pressed, and what was painted took time: it is there when the editor is opened again.
      dialog.addEventListener("cancel", () => {
        if (paint.steps.length) /** @type {Painted} */ (panel).draft = { painted: paint.read(), of: sourceKey(source) };
      });
      paint.canvas.focus();
      use.onclick = async () => {
        use.disabled = true;
        const painted = paint.read();
        const arrived = await upload(panel, await maskFile(painted, paint.canvas), "mask.png", "mask");
        use.disabled = false;
        if (!arrived) hint.textContent = "The mask did not arrive; the panel says why.";
        else {
          Object.assign(panel, { drawn: { painted, of: sourceKey(source) }, draft: undefined });
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
  const { drawn, draft } = /** @type {Painted} */ (panel);
  const has = typeof source.mask?.kept === "number";
  const same = has && drawn?.of === sourceKey(source);
  if (draft?.of === sourceKey(source)) paint.write(draft.painted);
  else if (same) paint.write(drawn.painted);
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
    undo.disabled = !paint.steps.length;
  };
  const whole = (/** @type {(one: number) => number} */ of) => () => {
    paint.remember();
    paint.write(paint.read().map(of));
    changed();
  };
  const tools = /** @type {const} */ (["Brush", "Eraser", "Rectangle"]).map((name) =>
    wordButton(name, () => pick(name), icon(/** @type {keyof typeof ICONS} */ (name.toLowerCase()))),
  );
  const undo = wordButton("Undo", () => (paint.undo(), changed()), icon("undo"));
  const rest = [undo, wordButton("Invert", whole((one) => 1 - one), icon("invert")), wordButton("Clear", whole(() => 0))];
  bar.append(toolGroup(...tools), toolGroup(el("span", { "aria-hidden": "true", text: "Size" }), size), toolGroup(...rest));
  const cursor = makeCursor(paint, tool, changed);
  size.addEventListener("input", cursor.draw);
  hearPointer(paint.canvas, cursor);
  hearKeys(paint.canvas, cursor);
  dialog.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "z") undo.click();
  });
  const paper = el("div", { class: "imgvar-paper" }, img, canvas, cursor.element, cursor.band);
  paper.style.setProperty("--ratio", String(canvas.width / canvas.height));
  pick("Brush");
  changed();
  return paper;
}

/**
 * The brush: the ring that shows where it is, the frame of a rectangle that is being drawn, and what it paints.
 * @param {ReturnType<typeof makePaint>} paint
 * @param {{name: string, size: () => number}} tool
 * @param {() => void} changed
 */
function makeCursor(paint, tool, changed) {
  const { canvas } = paint;
  const element = el("div", { class: "imgvar-cursor" });
  const band = el("div", { class: "imgvar-band", hidden: true });
  const sides = [canvas.width, canvas.height];
  const put = (/** @type {HTMLElement} */ one, /** @type {number[]} */ at, /** @type {number[]} */ size) => {
    const [left, top, width, height] = [...at, ...size].map((each, index) => `${(100 * each) / sides[index % 2]}%`);
    Object.assign(one.style, { left, top, width, height });
  };
  const cursor = {
    element,
    band,
    at: sides.map((side) => side / 2),
    /** @type {number[] | null} where a stroke began, while it goes on */
    from: null,
    draw() {
      const { at, from } = cursor;
      const isBox = tool.name === "Rectangle";
      const least = 8 / (canvas.clientWidth / sides[0] || 1);
      const side = isBox ? least : Math.max(tool.size(), least);
      put(element, at, [side, side]);
      element.classList.toggle("imgvar-cross", isBox);
      band.hidden = !from || !isBox;
      const ends = at.map((each, axis) => [each, (from ?? at)[axis]]);
      put(band, ends.map((pair) => Math.min(...pair)), ends.map(([one, other]) => Math.abs(one - other)));
    },
    begin() {
      paint.remember();
      cursor.from = cursor.at;
      cursor.move(cursor.at);
    },
    move(/** @type {number[]} */ to) {
      if (cursor.from && tool.name !== "Rectangle") paint.line(cursor.at, to, tool.size(), tool.name === "Eraser");
      cursor.at = to;
      cursor.draw();
    },
    end() {
      const { from, at } = cursor;
      if (!from) return;
      if (tool.name === "Rectangle") paint.rectangle(from, at);
      cursor.from = null;
      cursor.draw();
      changed();
    },
  };
  return cursor;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {ReturnType<typeof makeCursor>} cursor
 */
function hearPointer(canvas, cursor) {
  const move = (/** @type {PointerEvent} */ { clientX, clientY }) => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    cursor.move([((clientX - left) / width) * canvas.width, ((clientY - top) / height) * canvas.height]);
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button) return;
    canvas.setPointerCapture(event.pointerId);
    move(event);
    cursor.begin();
  });
  canvas.addEventListener("pointermove", (event) => {
    // A fast hand moves far between two events; the browser has the points between.
    if (event.isPrimary) [...(event.getCoalescedEvents?.() ?? []), event].forEach(move);
  });
  canvas.addEventListener("pointerup", cursor.end);
  canvas.addEventListener("pointercancel", cursor.end);
}

/**
 * Space paints as long as it is held, and the arrows move.
 * @param {HTMLCanvasElement} canvas
 * @param {ReturnType<typeof makeCursor>} cursor
 */
function hearKeys(canvas, cursor) {
  /** @type {Record<string, number[]>} */
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || !(move || event.key === " ")) return;
    event.preventDefault();
    if (!move) return cursor.from ? undefined : cursor.begin();
    const far = event.shiftKey ? 1 : Math.max(2, canvas.width / 40);
    const sides = [canvas.width, canvas.height];
    cursor.move(cursor.at.map((each, axis) => Math.min(Math.max(each + move[axis] * far, 0), sides[axis])));
  });
  canvas.addEventListener("keyup", ({ key }) => key === " " && cursor.end());
  canvas.addEventListener("blur", cursor.end);
}
