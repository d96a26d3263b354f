// @ts-check
// Elements, icons and lists. The files of this folder are joined into one script, so their top-level names are shared.

/**
 * Make an element. A property is set as such; what is no property of the element (aria-*, data-*, role) becomes an attribute.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [props] also `class`, `text`, and `onclick` and its like as listeners; undefined is left out
 * @param {...(Node | string | null | undefined)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") /** @type {any} */ (element)[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Paths on a grid of 16, drawn as lines. */
const ICONS = {
  picture: "M2 3h12v10H2zM2 11l3.5-3.5 3 3L10.5 8.5 14 12M10.5 5.8h.01",
  brush: "M13.5 2.5 7 9M5 9.5c1 0 1.8.8 1.8 1.8 0 1.6-1.6 2.2-4.3 2.2 1-.8.7-1.4.7-2.2 0-1 .8-1.8 1.8-1.8z",
  eraser: "M6 13 2.5 9.5 9 3l4.5 4.5L8 13zM5.5 6.5 10 11M6 13h8",
  rectangle: "M2.5 4h11v8h-11z",
  undo: "M5.5 3 2.5 6l3 3M2.5 6H10a3.5 3.5 0 0 1 0 7H6",
  invert: "M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11M9.5 5.5h3M9.5 8h4M9.5 10.5h3",
  star: "M8 2l1.8 3.8 4.2.5-3.1 2.9.8 4.1L8 11.3l-3.7 2 .8-4.1L2 6.3l4.2-.5z",
  trash: "M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.5 9h6l.5-9M7 7v4M9 7v4",
  close: "M4 4l8 8M12 4l-8 8",
  open: "M9.5 2.5h4v4M13.5 2.5 9 7M6.5 13.5h-4v-4M2.5 13.5 7 9",
  left: "M10 3 5 8l5 5",
  right: "M6 3l5 5-5 5",
  "zoom-in": "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9M10.3 10.3 14 14M5 7h4M7 5v4",
  "zoom-out": "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9M10.3 10.3 14 14M5 7h4",
  play: "M5 3l8 5-8 5z",
  stop: "M4 4h8v8H4z",
  source: "M8 10V2.5M5 5.5l3-3 3 3M2.5 10v3.5h11V10",
  compare: "M2.5 3.5h4.5v9H2.5zM9 3.5h4.5v9H9M8 1.5v13",
  copy: "M5.5 5.5h8v8h-8zM3.5 10.5h-1v-8h8v1",
};

/**
 * Draw an icon, which says nothing: the button around it has the name.
 * @param {keyof typeof ICONS} name
 * @returns {SVGSVGElement}
 */
function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [key, value] of [["viewBox", "0 0 16 16"], ["class", `imgvar-icon imgvar-icon-${name}`], ["aria-hidden", "true"]]) {
    svg.setAttribute(key, value);
  }
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * Make the children of `parent` those of `items`, in their order, and keep the element and the focus of those that stay.
 * @template T
 * @template {HTMLElement} E
 * @param {HTMLElement} parent has no other children
 * @param {T[]} items
 * @param {(item: T) => string | number} key unique among the items
 * @param {(item: T) => E} make
 * @param {(element: E, item: T) => void} [update] called for new elements too
 */
function keyed(parent, items, key, make, update = () => {}) {
  const root = /** @type {Document | ShadowRoot} */ (parent.getRootNode());
  const focused = /** @type {HTMLElement | null} */ (root.activeElement ?? null);
  const keys = items.map((item) => String(key(item)));
  const old = new Map([...parent.children].map((child) => [/** @type {HTMLElement} */ (child).dataset.key, child]));
  for (const [name, child] of old) if (!keys.includes(String(name))) child.remove();
  let at = parent.firstElementChild;
  items.forEach((item, index) => {
    let element = /** @type {E | undefined} */ (old.get(keys[index]));
    if (!element) {
      element = make(item);
      element.dataset.key = keys[index];
    }
    if (element === at) at = at.nextElementSibling;
    else parent.insertBefore(element, at);
    update(element, item);
  });
  // An element that moves loses the focus.
  if (focused && focused !== root.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}

/**
 * Commit what a person types: when they press Enter or leave the field, not at each key.
 * @param {HTMLInputElement | HTMLTextAreaElement} input
 * @param {(value: string) => void} commit
 */
function onTyped(input, commit) {
  const done = () => {
    delete input.dataset.typing;
    commit(input.value);
  };
  input.addEventListener("input", () => (input.dataset.typing = "yes"));
  input.addEventListener("change", done);
  input.addEventListener("blur", () => delete input.dataset.typing);
}

/**
 * Show a value in a field, but not over what is being typed.
 * @param {HTMLInputElement | HTMLTextAreaElement} input
 * @param {any} value
 */
function fill(input, value) {
  const text = String(value ?? "");
  if (!input.dataset.typing && input.value !== text) input.value = text;
}

/**
 * Make the options of a list those of `choices`, and choose one.
 * @param {HTMLSelectElement | HTMLDataListElement} list
 * @param {[any, string][]} choices values with labels
 * @param {any} [value]
 */
function fillChoices(list, choices, value) {
  const written = JSON.stringify(choices);
  // A list that is open closes when its options are made again.
  if (list.dataset.choices !== written) {
    list.dataset.choices = written;
    list.replaceChildren(...choices.map(([each, text]) => el("option", { value: String(each), text })));
  }
  if (list instanceof HTMLSelectElement) list.value = String(value ?? "");
}

/**
 * Put a label above a control. It does not contain the control: the options of a list would become a part of its name.
 * @param {Panel} panel
 * @param {string} text
 * @param {HTMLElement} control
 */
function labelled(panel, text, control) {
  control.id = panel.id(text.replace(/\W+/g, "-"));
  return el("div", {}, el("label", { for: control.id, text }), control);
}
