// @ts-check
// The settings: fields that the kernel describes, drawn by their kinds.

/** @typedef {Record<string, any>} Field see `panel/fields.py` */
/** @typedef {{element: HTMLElement, control: HTMLElement, draw: (field: Field) => void}} Control */

/**
 * @param {Panel} panel
 * @returns {HTMLElement}
 */
function settingsPart(panel) {
  const main = el("div", { class: "imgvar-fields" });
  const hints = el("ul", { class: "imgvar-hints" });
  const groups = el("div", { class: "imgvar-groups" });
  /** @param {HTMLElement} parent @param {Field[]} fields */
  const drawFields = (parent, fields) =>
    keyed(parent, fields, ({ name, kind, label, help }) => [name, kind, label, help].join(), (field) => drawn(panel, field), redrawn);

  panel.on("settings", ({ fields = [], left_out = [], titles = {}, key = "" }) => {
    /** @param {string} group */
    const of = (group) => fields.filter((/** @type {Field} */ field) => field.group === group);
    drawFields(main, of("main"));
    keyed(hints, left_out, (line) => line, (line) => el("li", { text: line }));
    const folded = ["more", "connection", "options", "machine"].filter((name) => of(name).length);
    keyed(groups, folded, (name) => name, folder, (element, name) => {
      const [summary, body, note] = /** @type {HTMLElement[]} */ ([...element.children]);
      summary.textContent = titles[name] ?? name;
      drawFields(body, of(name));
      note.textContent = name === "connection" ? key : "";
    });
  });
  return el("div", { class: "imgvar-settings", role: "group", "aria-label": "Settings" }, main, hints, groups);
}

function folder() {
  return el("details", {}, el("summary"), el("div", { class: "imgvar-fields" }), el("p", { class: "imgvar-words" }));
}

/**
 * @param {Panel} panel
 * @param {Field} field
 * @returns {HTMLElement}
 */
function drawn(panel, field) {
  const send = (/** @type {any} */ value, name = field.name) => panel.send("set", { name, value });
  let { element, control, draw } = (MAKERS[field.kind] ?? textField)(panel, field, send);
  element.classList.add("imgvar-field", `imgvar-${field.name === "model" ? "wide" : field.kind}`);
  const help = String(field.help ?? "");
  if (help) control.title = help;
  if (help && field.group !== "main") {
    // Folded groups have the room to show it; a title alone is out of reach for fingers and keys.
    const hint = el("small", { id: panel.id(`help-${field.name}`), text: help });
    control.setAttribute("aria-describedby", hint.id);
    element = el("div", {}, element, hint);
  }
  /** @type {any} */ (element).redraw = draw;
  return element;
}

/** @param {HTMLElement} element @param {Field} field */
function redrawn(element, field) {
  /** @type {any} */ (element).redraw(field);
}

/** @typedef {(panel: Panel, field: Field, send: (value: any, name?: string) => void) => Control} Maker */

/** @type {Maker} */
function textField(panel, field, send) {
  const control = el("input", { type: "text", autocomplete: "off", spellcheck: false });
  onTyped(control, send);
  return { element: labelled(panel, field.label, control), control, draw: (now) => drawText(control, now) };
}

/** @param {HTMLInputElement | HTMLTextAreaElement} control @param {Field} field */
function drawText(control, field) {
  control.placeholder = field.placeholder ?? "";
  fill(control, field.value);
}

/** @type {Maker} */
function longField(panel, field, send) {
  const control = el("textarea", { rows: 2 });
  onTyped(control, send);
  return { element: labelled(panel, field.label, control), control, draw: (now) => drawText(control, now) };
}

/** @type {Maker} */
function numberField(panel, field, send) {
  const control = el("input", { type: "number", autocomplete: "off" });
  onTyped(control, (text) => {
    // The browser hides what is no number, so the kernel could not say what is wrong with it.
    if (control.validity.badInput) panel.complain(`${field.label} is no number; write digits.`);
    else send(text === "" ? "" : Number(text));
  });
  /** @param {Field} now */
  const draw = (now) => {
    control.min = String(now.least ?? "");
    control.max = String(now.most ?? "");
    control.step = String(now.step ?? (now.kind === "integer" ? 1 : "any"));
    drawText(control, now);
  };
  return { element: labelled(panel, field.label, control), control, draw };
}

/** @type {Maker} */
function choiceField(panel, field, send) {
  const control = el("select");
  let choices = field.choices ?? [];
  control.addEventListener("change", () => send(choices[control.selectedIndex]?.[0] ?? control.value));
  /** @param {Field} now */
  const draw = (now) => fillChoices(control, (choices = now.choices ?? []), now.value);
  return { element: labelled(panel, field.label, control), control, draw };
}

/** @type {Maker} */
function comboField(panel, field, send) {
  const list = el("datalist", { id: panel.id(`list-${field.name}`) });
  const made = textField(panel, field, send);
  made.control.setAttribute("list", list.id);
  made.element.append(list);
  /** @param {Field} now */
  const draw = (now) => {
    fillChoices(list, now.choices ?? []);
    made.draw(now);
  };
  return { ...made, draw };
}

/** @type {Maker} */
function flagField(panel, field, send) {
  const control = el("input", { type: "checkbox", onchange: () => send(control.checked) });
  const element = el("label", {}, control, field.label);
  return { element, control, draw: (now) => (control.checked = Boolean(now.value)) };
}

/** @type {Maker} */
function strengthField(panel, field, send) {
  const control = el("input", { type: "range", "aria-label": field.label });
  const output = el("output");
  const words = el("div", { class: "imgvar-strengths" });
  const show = () => (output.value = Number(control.value).toFixed(2));
  control.addEventListener("input", () => (show(), (control.dataset.typing = "yes")));
  control.addEventListener("change", () => (delete control.dataset.typing, send(Number(control.value))));
  /** @param {Field} now */
  const draw = (now) => {
    Object.assign(control, { min: now.least ?? 0, max: now.most ?? 1, step: now.step ?? 0.01 });
    if (!control.dataset.typing) control.value = String(now.value);
    show();
    keyed(words, now.choices ?? [], ([value]) => value, ([value, text]) =>
      el("button", { type: "button", text, onclick: () => send(Number(value)) }),
    (button, [value]) => button.setAttribute("aria-pressed", String(Math.abs(Number(value) - now.value) < 0.005)));
  };
  const element = el("fieldset", {}, el("legend", { text: field.label }), words, el("div", { class: "imgvar-slide" }, control, output));
  return { element, control, draw };
}

/** @type {Maker} */
function seedField(panel, field, send) {
  const made = textField(panel, field, send);
  const keep = el("input", { type: "checkbox", onchange: () => send(keep.checked, "seed_locked") });
  /** @type {HTMLInputElement} */ (made.control).inputMode = "numeric";
  const element = el("div", {}, made.element, el("label", { class: "imgvar-flag" }, keep, "Keep seed"));
  /** @param {Field} now */
  const draw = (now) => {
    made.draw(now);
    keep.checked = Boolean(now.locked);
  };
  return { element, control: made.control, draw };
}

/** @type {Record<string, Maker>} */
const MAKERS = {
  integer: numberField,
  number: numberField,
  long: longField,
  choice: choiceField,
  combo: comboField,
  flag: flagField,
  strength: strengthField,
  seed: seedField,
};
