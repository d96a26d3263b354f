// @ts-check
// What is done with the pictures: select, sort, compare, bind to a variable, save, insert.

/**
 * @param {Panel} panel
 * @returns {HTMLElement}
 */
function takePart(panel) {
  const selected = () => cardsOf(panel).filter((card) => card.ready && card.selected).map((card) => card.id);
  const compare = wordButton("Compare", () => openCompare(panel, selected()));
  const all = el("input", { type: "checkbox", onchange: () => panel.send("select_all", { on: all.checked }) });
  const sort = el("select", { "aria-label": "Sort by", onchange: () => panel.send("sort", { by: sort.value }) }, el("option", { value: "made", text: "order made" }), el("option", { value: "similarity", text: "similarity" }));
  const name = el("input", { type: "text", spellcheck: false, autocomplete: "off" });
  const form = el("select", { "aria-label": "As" });
  const where = el("input", { type: "text", spellcheck: false, autocomplete: "off", placeholder: "out, or out/{stem}-{i}.jpg" });
  const bind = wordButton("Bind", () => panel.send("bind", { name: name.value, form: form.value }));
  const save = wordButton("Save", () => panel.send("save", { where: where.value }));
  const insert = wordButton("Insert", () => panel.send("insert"));
  for (const [field, button] of /** @type {const} */ ([[name, bind], [where, save]])) {
    field.addEventListener("keydown", (event) => event.key === "Enter" && button.click());
  }
  const part = el(
    "section",
    { class: "imgvar-take", "aria-label": "What to do with the pictures" },
    el("div", {}, el("label", { class: "imgvar-flag" }, all, "Select all"), compare, el("label", {}, el("span", { text: "Sort by" }), sort), insert),
    el("div", {}, el("label", {}, el("span", { text: "Variable name" }), name), el("label", {}, el("span", { text: "As" }), form), bind),
    el("div", {}, el("label", { class: "imgvar-where" }, el("span", { text: "Folder or file" }), where), save),
    el("p", { class: "imgvar-help", text: "Keys on a picture: 1-9 and Space select, the arrows move, Enter opens, S stars, Delete removes from view." }),
  );
  const draw = (/** @type {State} */ state) => {
    part.hidden = !state.count;
    const { words, selected: chosen } = state;
    bind.textContent = `Bind ${words}`;
    save.textContent = `Save ${words}`;
    insert.textContent = `Insert ${words} below`;
    insert.hidden = !state.can_insert;
    all.checked = chosen > 0 && chosen >= state.count;
    all.indeterminate = chosen > 0 && chosen < state.count;
    sort.value = state.sort;
    compare.disabled = !chosen;
    compare.title = chosen ? (chosen === 1 ? "with its source" : `the ${chosen} selected`) : "select a picture first";
    if (!name.value) name.value = state.bind_name;
    if (form.length !== state.forms.length) form.replaceChildren(...state.forms.map((/** @type {string[]} */ [value, text]) => el("option", { value, text })));
    for (const each of [all, sort, bind, save, insert]) each.disabled = !panel.live;
  };
  panel.on("gallery", draw);
  panel.onLive(() => panel.get("gallery").forms && draw(panel.get("gallery")));
  return part;
}
