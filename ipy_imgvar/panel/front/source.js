// @ts-check
// The source: how it is chosen, what will be sent of it, and its mask.

/**
 * @param {Panel} panel
 * @param {HTMLElement} beside stands right after the picture, so that Run is few Tabs away from it
 * @returns {HTMLElement}
 */
function sourcePart(panel, beside) {
  const take = (/** @type {FileList | File[]} */ files, name = "") => {
    if (!files.length || !panel.live) return;
    upload(panel, files[0], name || files[0].name, "source");
    if (files.length > 1) panel.announce(`${files.length} files came; the panel takes one: ${files[0].name}`);
  };
  const part = el(
    "div",
    // No landmark: those of two panels would have the same names.
    { class: "imgvar-source", role: "group", "aria-label": "Source" },
    dropArea(panel, take),
    uploadBar(panel),
    beside,
    maskRow(panel),
    otherWays(panel),
  );
  catchFiles(panel, take);
  return part;
}

/**
 * @param {Panel} panel
 * @param {(files: FileList | File[]) => void} take
 */
function dropArea(panel, take) {
  const input = el("input", { type: "file", accept: "image/*", hidden: true });
  input.addEventListener("change", () => {
    take([...(input.files ?? [])]);
    input.value = ""; // the same file again is a change, too
  });
  const choose = el("button", { type: "button", class: "imgvar-choose", onclick: () => input.click() }, icon("picture"), "Choose a picture");
  const image = el("img", { alt: "", hidden: true });
  const empty = el("p", { class: "imgvar-empty" }, icon("picture"), "Drop or paste a picture here");
  const words = el("p", { class: "imgvar-words" });
  const path = el("input", { type: "text", autocomplete: "off", spellcheck: false, placeholder: "cat.png or https://…" });
  let drawn = "";
  const read = (/** @type {string} */ text) => text.trim() && panel.send("type_source", { text });
  onTyped(path, read);
  // Enter on a path that did not change reads it again: the file may be there now.
  path.addEventListener("keydown", (event) => event.key === "Enter" && !path.dataset.typing && read(path.value));
  panel.on("source", (source) => {
    panel.show(image, source.preview ?? "");
    image.alt = source.preview ? `Source: ${source.words}` : "";
    image.hidden = !source.preview;
    empty.hidden = Boolean(source.name);
    words.textContent = source.loading ? "Reading the picture …" : source.words || source.name;
    words.classList.toggle("imgvar-loading", source.loading);
    // A path that could not be read stays as it was typed, until another source is there.
    const now = `${source.name}\n${source.typed}`;
    if (now !== drawn) fill(path, source.typed);
    drawn = now;
  });
  const frame = el("div", { class: "imgvar-frame", onclick: () => panel.live && input.click() }, image, empty);
  return el(
    "div",
    { class: "imgvar-drop" },
    frame,
    el(
      "div",
      { class: "imgvar-chosen" },
      words,
      el("div", { class: "imgvar-row" }, choose, paintButton(panel), input),
      labelled(panel, "Path or URL", path),
    ),
  );
}

/**
 * Take files that are dropped or pasted anywhere in the panel.
 * @param {Panel} panel
 * @param {(files: FileList | File[], name?: string) => void} take
 */
function catchFiles(panel, take) {
  const { root } = panel;
  const over = (/** @type {boolean} */ on) => root.classList.toggle("imgvar-over", on);
  const hold = (/** @type {Event} */ event) => {
    // Otherwise the browser leaves the notebook and shows the file, or the notebook takes it.
    event.preventDefault();
    event.stopPropagation();
  };
  // A card would be dropped as a file: its thumbnail.
  root.addEventListener("dragstart", (event) => event.target instanceof HTMLImageElement && event.preventDefault());
  for (const type of /** @type {const} */ (["dragenter", "dragover"])) {
    root.addEventListener(type, (event) => {
      if (!event.dataTransfer?.types.some((kind) => /^(Files|text\/uri-list)$/.test(kind))) return;
      hold(event);
      over(panel.live);
    });
  }
  root.addEventListener("dragleave", (event) => root.contains(/** @type {Node | null} */ (event.relatedTarget)) || over(false));
  root.addEventListener("drop", (event) => {
    over(false);
    const data = event.dataTransfer;
    // A picture of another page may come as its address alone; the browser would leave the notebook for it.
    const address = data?.getData("text/uri-list").split(/\s/).find((line) => /^https?:/.test(line));
    if (!data?.files.length && !address) return;
    hold(event);
    if (data?.files.length) take(data.files);
    else panel.send("type_source", { text: address });
  });
  root.addEventListener("paste", (event) => {
    const data = event.clipboardData;
    const files = [...(data?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    // Office programs copy a text as a picture, too.
    const isText = /** @type {HTMLElement} */ (event.target).matches("input, textarea") && data?.types.includes("text/plain");
    if (!files.length || isText) return;
    hold(event);
    // Browsers call every copied picture image.png.
    take(files, files[0].name === "image.png" ? "pasted.png" : "");
  });
}

/** @param {Panel} panel */
function uploadBar(panel) {
  const bar = el("progress", { "aria-label": "upload", max: 1, value: 0 });
  const percent = el("span");
  const stop = el("button", { type: "button", text: "Stop the upload", onclick: () => panel.stopUpload() });
  const row = el("div", { class: "imgvar-upload", hidden: true }, bar, percent, stop);
  panel.onUpload((name, part) => {
    row.hidden = part === null;
    bar.value = part ?? 0;
    percent.textContent = `${name}: ${Math.floor(100 * (part ?? 0))} %`;
  });
  return row;
}

/** @param {Panel} panel */
function otherWays(panel) {
  const variable = el("select", {
    onchange: () => variable.value && panel.send("pick_variable", { name: variable.value }),
  });
  const last = el("button", { type: "button", text: "Last result", onclick: () => panel.send("use_last") });
  panel.on("source", (source) => {
    const names = source.variables ?? [];
    const first = names.length ? "choose one" : "none holds a picture";
    fillChoices(variable, [["", first], ...names.map((/** @type {string} */ name) => [name, name])], source.variable);
    variable.disabled = !names.length;
    last.disabled = !source.can_last;
  });
  return el("div", { class: "imgvar-ways" }, labelled(panel, "Variable", variable), last);
}

/** @param {Panel} panel */
function paintButton(panel) {
  const words = el("span");
  const paint = el("button", { type: "button", onclick: () => openMask(panel) }, icon("brush"), words);
  panel.on("source", ({ name, mask }) => {
    paint.hidden = !name || !mask?.allowed;
    words.textContent = typeof mask?.kept === "number" ? "Change the mask" : "Paint a mask";
  });
  return paint;
}

/** @param {Panel} panel */
function maskRow(panel) {
  const image = el("img", { alt: "The mask" });
  const words = el("span");
  const remove = el("button", { type: "button", text: "Remove the mask", onclick: () => panel.send("clear_mask") });
  const row = el("div", { class: "imgvar-masked" }, image, words, remove);
  panel.on("source", ({ mask }) => {
    row.hidden = typeof mask?.kept !== "number";
    panel.show(image, mask?.preview ?? "");
    words.textContent = `${Math.round(100 * (mask?.kept ?? 0))} % of the picture stays`;
  });
  return row;
}
