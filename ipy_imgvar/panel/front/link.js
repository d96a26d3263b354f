// @ts-check
// The link to the kernel: state that comes down, messages that go up, pictures, and whether anything answers.

/**
 * @typedef {Record<string, any>} State a section, as the kernel wrote it
 * @typedef {object} Panel what the parts of one drawn panel share
 * @property {HTMLElement} root
 * @property {any} model
 * @property {(action: string, data?: object, buffers?: ArrayBuffer[]) => void} send does nothing while there is no kernel
 * @property {(section: string, draw: (state: State) => void) => void} on draws now, after each change, and after each refusal
 * @property {(section: string) => State} get
 * @property {(img: HTMLImageElement, id: string) => void} show sets `src` when the bytes are there; "" clears it
 * @property {(id: string, purpose: "original" | "source") => Promise<{blob: Blob, name: string}>} original
 * @property {boolean} live false when the kernel is known to be gone
 * @property {(callback: (live: boolean) => void) => void} onLive called now and after each change
 * @property {(type: string, callback: (message: any, buffers: DataView[]) => void) => void} onMessage
 * @property {(callback: () => void) => void} onClose
 * @property {(text: string) => void} announce for screen readers
 * @property {() => void} close
 */

const GONE = "This panel is not connected: its kernel was restarted or is not running. Run its cell again.";
const BUSY = "The kernel is busy or gone; what you do waits for it.";
const SECTIONS = ["source", "settings", "run", "gallery", "history", "code"];

/**
 * @param {any} model anywidget's
 * @param {HTMLElement} root
 * @returns {Panel}
 */
function connect(model, root) {
  const line = el("p", { class: "imgvar-link", role: "status", hidden: true });
  const spoken = el("div", { class: "imgvar-spoken", "aria-live": "polite" });
  /** @type {Map<string, Set<(state: State) => void>>} */
  const draws = new Map(SECTIONS.map((name) => [name, new Set()]));
  /** @type {Map<string, ((message: any, buffers: DataView[]) => void)[]>} */
  const handlers = new Map();
  /** @type {((live: boolean) => void)[]} */
  const watchers = [];
  /** @type {(() => void)[]} */
  const closers = [];

  /** @type {Map<string, State>} sections that the notebook must not save come as messages */
  const unsaved = new Map();
  const get = (/** @type {string} */ name) => unsaved.get(name) ?? (model.get(name) || {});
  const redraw = (/** @type {string} */ name) => {
    const state = get(name);
    if (Object.keys(state).length) draws.get(name)?.forEach((draw) => draw(state));
  };

  /** @type {Panel} */
  const panel = {
    root,
    model,
    live: true,
    get,
    send: () => {},
    on(name, draw) {
      draws.get(name)?.add(draw);
      if (Object.keys(get(name)).length) draw(get(name));
    },
    show: () => {},
    original: () => Promise.reject(new Error(GONE)),
    onLive(callback) {
      watchers.push(callback);
      callback(panel.live);
    },
    onMessage: (type, callback) => handlers.set(type, [...(handlers.get(type) ?? []), callback]),
    onClose: (callback) => closers.push(callback),
    // The same words twice are spoken twice only when the text changes in between.
    announce(text) {
      spoken.textContent = "";
      setTimeout(() => (spoken.textContent = text), 50);
    },
    close: () => closers.splice(0).forEach((callback) => callback()),
  };

  const listen = (/** @type {string} */ event, /** @type {(...rest: any[]) => void} */ callback) => {
    model.on(event, callback);
    panel.onClose(() => model.off(event, callback));
  };
  for (const name of SECTIONS) listen(`change:${name}`, () => redraw(name));
  listen("msg:custom", (message, buffers) => {
    handlers.get(message?.type)?.forEach((handler) => handler(message, buffers ?? []));
  });
  panel.onMessage("section", ({ name, value }) => {
    unsaved.set(name, value);
    redraw(name);
  });
  panel.onMessage("heard", ({ error }) => {
    // A refused field shows what holds again.
    if (error) SECTIONS.forEach(redraw);
  });
  linkLiveness(panel, line, watchers, listen);
  linkPictures(panel, listen);
  linkOriginals(panel);
  root.append(line, spoken);
  return panel;
}

/**
 * Send messages, and say when no answer comes or the kernel is gone.
 * @param {Panel} panel
 * @param {HTMLElement} line where it is said
 * @param {((live: boolean) => void)[]} watchers
 * @param {(event: string, callback: (...rest: any[]) => void) => void} listen
 */
function linkLiveness(panel, line, watchers, listen) {
  const { model, root } = panel;
  /** @type {Map<number, ReturnType<typeof setTimeout>>} */
  const waiting = new Map();
  // Two views of one panel hear each other's answers, so their counts must not meet.
  let count = Math.floor(Math.random() * 1e9) * 1000;
  let late = false;
  /** @type {any} the model itself; the one that anywidget gives does not tell whether it is live */
  let real = null;

  const tell = () => {
    const text = panel.live ? (late ? BUSY : "") : GONE;
    if (line.textContent !== text) line.textContent = text;
    line.hidden = !text;
    root.classList.toggle("imgvar-offline", !panel.live);
  };
  const answered = () => {
    waiting.forEach(clearTimeout);
    waiting.clear();
    late = false;
  };
  const setLive = (/** @type {boolean} */ live) => {
    if (!live) answered();
    const changed = panel.live !== live;
    panel.live = live;
    tell();
    if (changed) watchers.forEach((callback) => callback(live));
  };

  panel.send = (action, data = {}, buffers = []) => {
    if (!panel.live) return;
    const mine = ++count;
    waiting.set(mine, setTimeout(() => ((late = true), tell()), 3000));
    model.send({ action, count: mine, ...data }, undefined, buffers);
  };
  panel.onMessage("heard", (message) => {
    clearTimeout(waiting.get(message.count));
    waiting.delete(message.count);
    if (!waiting.size) late = false;
    setLive(true);
  });
  listen("comm_live_update", () => {
    // Without the model itself the event means what it nearly always means: the kernel restarted.
    const live = real ? Boolean(real.comm_live) : false;
    const back = live && !panel.live;
    setLive(live);
    if (back) panel.send("ready");
  });
  panel.onClose(answered);
  // A notebook that is opened again draws its saved panels, which never had a kernel.
  Promise.resolve(model.get("ident") && model.widget_manager?.get_model(model.get("ident"))).then(
    (found) => {
      real = found || null;
      if (real && real.comm_live === false) setLive(false);
      else panel.send("ready");
    },
    () => setLive(false),
  );
}

/**
 * Keep the bytes of the pictures that the state names, as URLs of this page.
 * @param {Panel} panel
 * @param {(event: string, callback: (...rest: any[]) => void) => void} listen
 */
function linkPictures(panel, listen) {
  /** @type {Map<string, string>} */
  const urls = new Map();
  /** @type {Set<string>} ids that the state named at some time: a picture may come before its name does */
  const known = new Set();
  /** @type {Set<string>} ids that were asked for again */
  const asked = new Set();

  const named = () => {
    const source = panel.get("source");
    const groups = /** @type {any[]} */ (panel.get("gallery").groups ?? []);
    const cards = groups.flatMap((group) => group.cards.map((/** @type {any} */ card) => String(card.id)));
    return new Set([source.preview, source.mask?.preview, ...cards].filter(Boolean));
  };
  const put = (/** @type {string} */ id, /** @type {Blob} */ blob) => {
    const old = urls.get(id);
    urls.set(id, URL.createObjectURL(blob));
    for (const img of panel.root.querySelectorAll("img")) if (img.dataset.picture === id) panel.show(img, id);
    if (old) URL.revokeObjectURL(old);
  };
  const restore = () => {
    for (const [id, bytes] of Object.entries(panel.get("thumbnails"))) {
      if (urls.has(id) || !bytes?.byteLength) continue;
      const type = new Uint8Array(bytes.buffer ?? bytes, bytes.byteOffset ?? 0, 1)[0] === 0xff ? "image/jpeg" : "image/png";
      put(id, new Blob([bytes], { type }));
    }
  };
  const sweep = () => {
    const ids = named();
    ids.forEach((id) => known.add(id));
    for (const id of known) {
      if (ids.has(id)) continue;
      known.delete(id);
      asked.delete(id);
      URL.revokeObjectURL(urls.get(id) ?? "");
      urls.delete(id);
    }
  };
  // A card that comes back from the history may name bytes that were let go.
  let timer = setTimeout(() => {}, 0);
  const check = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const lost = [...named()].filter((id) => !urls.has(id) && !asked.has(id) && !id.startsWith("look:"));
      lost.forEach((id) => asked.add(id));
      if (lost.length) panel.send("ready");
    }, 2000);
  };

  panel.show = (img, id) => {
    img.dataset.picture = id;
    const url = urls.get(id);
    if (url && img.src !== url) img.src = url;
    // Without `src` an image shows its alternative text, not a broken icon.
    else if (!url) img.removeAttribute("src");
  };
  panel.onMessage("picture", ({ id, mime }, [bytes]) => put(String(id), new Blob([/** @type {any} */ (bytes)], { type: mime })));
  for (const name of ["source", "gallery"]) listen(`change:${name}`, () => (sweep(), check()));
  listen("change:thumbnails", restore);
  restore();
  sweep();
  panel.onClose(() => {
    clearTimeout(timer);
    urls.forEach((url) => URL.revokeObjectURL(url));
    urls.clear();
  });
}

/**
 * Fetch whole originals, once for all who wait for the same.
 * @param {Panel} panel
 */
function linkOriginals(panel) {
  /** @type {Map<string, {promise: Promise<{blob: Blob, name: string}>, settle: (error: string, value?: {blob: Blob, name: string}) => void}>} */
  const waiting = new Map();
  panel.original = (id, purpose) => {
    const key = `${purpose} ${id}`;
    const found = waiting.get(key);
    if (found) return found.promise;
    if (!panel.live) return Promise.reject(new Error(GONE));
    /** @type {(error: string, value?: {blob: Blob, name: string}) => void} */
    let settle = () => {};
    const promise = /** @type {Promise<{blob: Blob, name: string}>} */ (
      new Promise((resolve, reject) => {
        settle = (error, value) => {
          waiting.delete(key);
          if (value) resolve(value);
          else reject(new Error(error));
        };
      })
    );
    waiting.set(key, { promise, settle });
    panel.send("fetch", { id, purpose });
    return promise;
  };
  panel.onMessage("original", ({ id, purpose, mime, name, error }, [bytes]) => {
    const one = waiting.get(`${purpose} ${id}`);
    if (error || !bytes) one?.settle(error || "The picture is no longer there.");
    else one?.settle("", { blob: new Blob([/** @type {any} */ (bytes)], { type: mime }), name });
  });
  const end = () => [...waiting.values()].forEach((one) => one.settle(GONE));
  panel.onLive((live) => live || end());
  panel.onClose(end);
}
