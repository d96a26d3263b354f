// @ts-check
// What is done with the pictures: select, sort, compare, bind to a variable, save, insert.

/**
 * @param {string} placeholder
 * @param {() => HTMLButtonElement} button that Enter clicks
 */
function typedName(placeholder, button) {
  const onkeydown = (/** @type {KeyboardEvent} */ { key }) => key === "Enter" && button().click();
  return el("input", { type: "text", spellcheck: false, autocomplete: "off", placeholder, onkeydown });
}

/**
 * @param {Panel} panel
 * @returns {HTMLElement}
 */
function takePart(panel) {
  const option = (/** @type {string[]} */ [value, text]) => el("option", { value, text });
  const field = (/** @type {string} */ label, /** @type {HTMLInputElement | HTMLSelectElement} */ control) => {
    control.id = panel.id(label.replaceAll(" ", "-"));
    return el("div", {}, el("label", { htmlFor: control.id, text: label }), control);
  };
  const all = el("input", { type: "checkbox", onchange: () => panel.send("select_all", { on: all.checked }) });
  const chosen = () => cardsOf(panel).filter((card) => card.selected).map((card) => card.id);
  const compare = wordButton("Compare", () => openCompare(panel, chosen()), icon("compare"));
  const orders = [["made", "order made"], ["similarity", "similarity"]].map(option);
  const sort = el("select", { onchange: () => panel.send("sort", { by: sort.value }) }, ...orders);
  const name = typedName("", () => bind);
  const form = el("select");
  const bind = wordButton("", () => panel.send("bind", { name: name.value, form: form.value }));
  const where = typedName("out, or out/{stem}-{i}.jpg", () => save);
  const binding = el("div", {}, field("Variable name", name), field("As", form), bind);
  const save = wordButton("", () => panel.send("save", { where: where.value }));
  const insert = wordButton("", () => panel.send("insert"));
  const part = el(
    "div",
    { class: "imgvar-take", role: "group", "aria-label": "What to do with the pictures" },
    el("div", {}, el("label", { class: "imgvar-flag" }, all, "Select all"), compare, field("Sort by", sort), insert),
    binding,
    el("div", {}, field("Folder or file", where), save),
    el("p", { class: "imgvar-note", text: "Keys on a picture: 1-9 and Space select, the arrows move, Enter opens, S stars, Delete removes from view." }),
  );
  panel.on("gallery", ({ count, selected, words, forms, ...state }) => {
    part.hidden = !count;
    bind.textContent = `Bind ${words}`;
    save.textContent = `Save ${words}`;
    insert.textContent = `Insert ${words} below`;
    binding.hidden = state.can_bind === false;
    insert.hidden = !state.can_insert;
    all.checked = selected >= count;
    all.indeterminate = selected > 0 && selected < count;
    sort.value = state.sort;
    compare.disabled = !selected;
    compare.title = selected === 1 ? "with its source" : "the selected pictures, or one with its source";
    // Not into a field that a person has just emptied.
    if (focusedIn(panel) !== name) name.value ||= state.bind_name;
    if (form.length !== forms.length) form.replaceChildren(...forms.map(option));
  });
  return part;
}
