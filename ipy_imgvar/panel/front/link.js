// @ts-check
// The link to the kernel: state that comes down, messages that go up, pictures, and whether anything answers.

/**
 * @typedef {Record<string, any>} State a section, as the kernel wrote it
 * @typedef {(...rest: any[]) => void} Callback
 * @typedef {object} Panel what the parts of one drawn panel share
 * @property {HTMLElement} root
 * @property {any} model
 * @property {boolean} live false when the kernel is known to be gone
 * @property {(callback: (live: boolean) => void) => void} onLive called now and after each change
 * @property {(section: string) => State} get
 * @property {(section: string, draw: (state: State) => void) => void} on draws now, after each change and each refusal
 * @property {(action: string, data?: object, buffers?: ArrayBuffer[]) => number} send returns its count; does nothing without a kernel
 * @property {(type: string, callback: Callback) => void} onMessage its message and its buffers
 * @property {(event: string, callback: Callback) => void} listen to the model, until the panel is closed
 * @property {(img: HTMLImageElement, id: string) => void} show sets `src` when the bytes are there; "" clears it
 * @property {(id: string, purpose: "original" | "source") => Promise<{blob: Blob, name: string}>} original
 * @property {(name: string) => string} id makes an element's id that no other panel has
 * @property {(text: string) => void} announce for screen readers
 * @property {(text: string) => void} complain shows a line of the page's own as the panel's error; "" takes it away
 * @property {(callback: (name: string, part: number | null) => void) => void} onUpload null when it has ended
 * @property {(blob: Blob, name: string, purpose: "source" | "mask") => Promise<boolean>} upload
 * @property {() => void} stopUpload
 * @property {(callback: () => void) => void} onClose
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
  const spoken = el("div", { class: "imgvar-spoken", "aria-live": "polite" });
  const unique = `imgvar-${Math.random().toString(36).slice(2)}`;
  /** @type {[string, Callback][]} */
  const draws = [];
  /** @type {[string, Callback][]} */
  const handlers = [];
  /** @type {Callback[]} */
  const closers = [];
  /** @type {Map<string, State>} sections that the notebook must not save come as messages */
  const unsaved = new Map();
  const redraw = (/** @type {string} */ name) => {
    const state = panel.get(name);
    if (Object.keys(state).length) for (const [section, draw] of draws) if (section === name) draw(state);
  };
  /** @type {any} the functions below put these in */
  const later = null;
  /** @type {Panel} */
  const panel = {
    root,
    model,
    live: true,
    onLive: later,
    send: later,
    show: later,
    original: later,
    complain: () => {},
    onUpload: later,
    upload: later,
    stopUpload: later,
    id: (name) => `${unique}-${name}`,
    get: (name) => unsaved.get(name) ?? (model.get(name) || {}),
    on(name, draw) {
      draws.push([name, draw]);
      if (Object.keys(panel.get(name)).length) draw(panel.get(name));
    },
    onMessage: (type, callback) => handlers.push([type, callback]),
    listen(event, callback) {
      model.on(event, callback);
      closers.push(() => model.off(event, callback));
    },
    // The same words are spoken again only when the text changed in between.
    announce(text) {
      spoken.textContent = "";
      setTimeout(() => (spoken.textContent = text), 50);
    },
    onClose: (callback) => closers.push(callback),
    close: () => closers.splice(0).forEach((callback) => callback()),
  };
  for (const name of SECTIONS) panel.listen(`change:${name}`, () => redraw(name));
  panel.listen("msg:custom", (message, buffers = []) => {
    for (const [type, callback] of handlers) if (type === message?.type) callback(message, buffers);
  });
  panel.onMessage("section", ({ name, value }) => {
    unsaved.set(name, value);
    redraw(name);
  });
  // A refused field shows what holds again.
  panel.onMessage("heard", ({ error }) => error && SECTIONS.forEach(redraw));
  root.append(spoken);
  linkLiveness(panel);
  linkPictures(panel);
  linkOriginals(panel);
  linkUploads(panel);
  return panel;
}

/**
 * Send messages, and say when no answer comes or the kernel is gone.
 * @param {Panel} panel
 */
function linkLiveness(panel) {
  const { model, root } = panel;
  const line = el("p", { class: "imgvar-link", role: "status" });
  /** @type {Map<number, ReturnType<typeof setTimeout>>} */
  const waiting = new Map();
  /** @type {Callback[]} */
  const watchers = [];
  // Two views of one panel hear each other's answers, so their counts must not meet.
  let count = Math.floor(Math.random() * 1e9) * 1000;
  let late = false;
  /** @type {any} the model itself: the one that anywidget gives does not tell whether it is live */
  let real = null;
  const tell = () => {
    const text = panel.live ? (late ? BUSY : "") : GONE;
    if (line.textContent !== text) line.textContent = text;
    root.classList.toggle("imgvar-offline", !panel.live);
  };
  const forget = () => {
    waiting.forEach(clearTimeout);
    waiting.clear();
    late = false;
  };
  const setLive = (/** @type {boolean} */ live) => {
    if (!live) forget();
    const changed = panel.live !== live;
    panel.live = live;
    tell();
    if (changed) watchers.forEach((callback) => callback(live));
  };
  panel.onLive = (callback) => {
    watchers.push(callback);
    callback(panel.live);
  };
  panel.send = (action, data, buffers = []) => {
    if (!panel.live) return 0;
    // The page's own complaint is over when a person does something else.
    if (!/^(ready|fetch|upload)/.test(action)) panel.complain("");
    waiting.set(++count, setTimeout(() => ((late = true), tell()), 3000));
    model.send({ action, count, ...data }, undefined, buffers);
    return count;
  };
  panel.onMessage("heard", (message) => {
    clearTimeout(waiting.get(message.count));
    waiting.delete(message.count);
    late = late && waiting.size > 0;
    setLive(true);
  });
  panel.listen("comm_live_update", () => {
    // Without the model itself the event means what it nearly always means: the kernel restarted.
    const back = Boolean(real?.comm_live) && !panel.live;
    setLive(Boolean(real?.comm_live));
    if (back) panel.send("ready");
  });
  panel.onClose(forget);
  root.append(line);
  // A notebook that is opened again draws its saved panels, which have no kernel.
  const find = async () => {
    real = model.get("ident") && (await model.widget_manager?.get_model(model.get("ident")));
    if (real?.comm_live === false) setLive(false);
    else panel.send("ready");
  };
  find().catch(() => setLive(false));
}

/**
 * Keep the bytes of the pictures that the state names, as URLs of this page.
 * @param {Panel} panel
 */
function linkPictures(panel) {
  /** @type {Map<string, string>} */
  const urls = new Map();
  /** @type {Set<string>} ids that the state named: a picture may come before its name does */
  let known = new Set();
  const put = (/** @type {string} */ id, /** @type {Blob} */ blob) => {
    const old = urls.get(id) ?? "";
    urls.set(id, URL.createObjectURL(blob));
    for (const img of panel.root.querySelectorAll("img")) if (img.dataset.picture === id) panel.show(img, id);
    URL.revokeObjectURL(old);
  };
  const restore = () => {
    for (const [id, bytes] of Object.entries(panel.get("thumbnails"))) {
      const type = bytes.byteLength && bytes.getUint8(0) === 0xff ? "image/jpeg" : "image/png";
      if (!urls.has(id)) put(id, new Blob([bytes], { type }));
    }
  };
  const sweep = () => {
    const { preview, mask } = panel.get("source");
    const ids = new Set([preview, mask?.preview]);
    for (const group of panel.get("gallery").groups ?? []) for (const card of group.cards) ids.add(String(card.id));
    for (const id of known) {
      if (ids.has(id)) continue;
      URL.revokeObjectURL(urls.get(id) ?? "");
      urls.delete(id);
    }
    known = ids;
  };
  panel.show = (img, id) => {
    img.dataset.picture = id;
    const url = urls.get(id);
    // Without `src` an image shows its alternative text, not a broken icon.
    if (!url) img.removeAttribute("src");
    else if (img.src !== url) img.src = url;
  };
  panel.onMessage("picture", ({ id, mime }, [bytes]) => put(String(id), new Blob([bytes], { type: mime })));
  for (const name of ["source", "gallery"]) panel.listen(`change:${name}`, sweep);
  panel.listen("change:thumbnails", restore);
  restore();
  sweep();
  panel.onClose(() => urls.forEach((url) => URL.revokeObjectURL(url)));
}

/**
 * Fetch whole originals, once for all who wait for the same.
 * @param {Panel} panel
 */
function linkOriginals(panel) {
  /** @type {Map<string, {promise: Promise<{blob: Blob, name: string}>, resolve: Callback, reject: Callback}>} */
  const waiting = new Map();
  const end = (/** @type {string} */ key, error = GONE, /** @type {any} */ value = null) => {
    const one = waiting.get(key);
    waiting.delete(key);
    if (value) one?.resolve(value);
    else one?.reject(new Error(error));
  };
  panel.original = (id, purpose) => {
    const key = `${purpose} ${id}`;
    const found = waiting.get(key);
    if (found) return found.promise;
    if (!panel.live) return Promise.reject(new Error(GONE));
    /** @type {any} */
    const one = {};
    one.promise = new Promise((resolve, reject) => Object.assign(one, { resolve, reject }));
    waiting.set(key, one);
    panel.send("fetch", { id, purpose });
    return one.promise;
  };
  panel.onMessage("original", ({ id, purpose, mime, name, error }, [bytes]) => {
    const value = error || !bytes ? null : { blob: new Blob([bytes], { type: mime }), name };
    end(`${purpose} ${id}`, error || "The picture is no longer there.", value);
  });
  const endAll = () => [...waiting.keys()].forEach((key) => end(key));
  panel.onLive((live) => live || endAll());
  panel.onClose(endAll);
}
