// @ts-check
// The pictures: groups of cards, the newest group first.

/**
 * @typedef {object} Card
 * @property {string} id
 * @property {number} number
 * @property {string} alt
 * @property {string} words
 * @property {string} similar
 * @property {string} how
 * @property {boolean} starred
 * @property {boolean} selected
 * @property {boolean} ready
 * @property {[number, number] | null} size
 */

/**
 * The cards of the gallery in the order of the page.
 * @param {Panel} panel
 * @returns {Card[]}
 */
function cardsOf(panel) {
  return (panel.get("gallery").groups ?? []).flatMap((/** @type {State} */ group) => group.cards);
}

/**
 * @param {Panel} panel
 * @returns {HTMLElement}
 */
function galleryPart(panel) {
  const groups = el("div");
  const section = el("section", { class: "imgvar-gallery", "aria-label": "Pictures", tabIndex: -1 }, groups);
  const articles = () => /** @type {HTMLElement[]} */ ([...section.querySelectorAll(".imgvar-card")]);
  /** @type {HTMLElement | undefined} the card that a Tab reaches, with its buttons */
  let active;
  const rove = (/** @type {HTMLElement | undefined} */ card) => {
    active = card;
    for (const each of articles()) {
      const index = each === card ? 0 : -1;
      for (const one of [each, .../** @type {NodeListOf<HTMLElement>} */ (each.querySelectorAll("button, input"))]) one.tabIndex = index;
    }
  };
  const keyOf = cardKeys();

  const draw = (/** @type {State} */ state) => {
    const within = section.contains(focusedIn(panel));
    const index = active ? articles().indexOf(active) : 0;
    keyed(groups, state.groups, (group) => group.id, makeGroup, (element, group) => {
      drawGroup(panel, element, group, (card) => keyOf(state.groups, card));
    });
    section.hidden = !state.groups.length;
    const left = articles();
    rove(active?.isConnected ? active : left[Math.min(Math.max(index, 0), left.length - 1)]);
    // The card that had the focus was removed: the next one takes it.
    if (within && !section.contains(focusedIn(panel))) (active ?? section).focus();
  };
  let busy = false;
  panel.on("gallery", draw);
  panel.on("run", (run) => {
    if (busy !== run.busy) draw({ groups: [], ...panel.get("gallery") });
    busy = run.busy;
  });
  panel.onLive(() => draw({ groups: [], ...panel.get("gallery") }));
  panel.onClose(() => panel.root.querySelectorAll("dialog").forEach((dialog) => dialog.close()));

  const cardAt = (/** @type {Event} */ event) => {
    const article = /** @type {HTMLElement} */ (event.target).closest?.(".imgvar-card");
    return { article: /** @type {HTMLElement | null} */ (article), card: cardsOf(panel).find((card) => card.id === article?.getAttribute("data-card")) };
  };
  section.addEventListener("focusin", (event) => {
    const { article } = cardAt(event);
    if (article && article !== active) rove(article);
  });
  section.addEventListener("click", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    const { card, article } = cardAt(event);
    if (!card?.ready) return;
    const does = target.closest("button")?.dataset.do;
    if (does) act(panel, card, does);
    else if (target.closest(".imgvar-picture") && !target.closest("label")) {
      article?.focus({ preventScroll: true });
      act(panel, card, "select");
    }
  });
  section.addEventListener("change", (event) => {
    const { card } = cardAt(event);
    if (card) panel.send("select", { card: card.id, on: /** @type {HTMLInputElement} */ (event.target).checked });
  });
  section.addEventListener("dblclick", (event) => {
    const { card } = cardAt(event);
    if (card?.ready && /** @type {HTMLElement} */ (event.target).matches(".imgvar-picture, img")) act(panel, card, "open");
  });
  section.addEventListener("keydown", (event) => {
    const { article, card } = cardAt(event);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const next = article && neighbour(articles(), article, event.key);
    const numbered = /^[1-9]$/.test(event.key) && cardsOf(panel).find((each) => each.number === Number(event.key));
    const does = card && event.target === article && keyAction(event.key);
    if (next) next.focus();
    else if (numbered && numbered.ready) act(panel, numbered, "select");
    else if (card?.ready && does) act(panel, card, does);
    else return;
    event.preventDefault();
  });
  return section;
}

/**
 * The element that has the focus, in a page or in a shadow tree.
 * @param {Panel} panel
 */
function focusedIn(panel) {
  return /** @type {Document | ShadowRoot} */ (panel.root.getRootNode()).activeElement ?? null;
}

/**
 * Return a function that gives each card a key. A finished picture gets the key of a first look that went, so that it
 * takes the element over: nothing moves, and the focus stays.
 * @returns {(groups: State[], card: Card) => string}
 */
function cardKeys() {
  /** @type {Map<string, string>} */
  let keys = new Map();
  let seen = /** @type {State[]} */ ([]);
  let count = 0;
  return (groups, card) => {
    if (groups !== seen) {
      const cards = groups.flatMap((group) => group.cards.map((/** @type {Card} */ each) => ({ id: each.id, group: group.id })));
      const now = new Set(cards.map((each) => each.id));
      const gone = [...keys].filter(([id]) => id.startsWith("look:") && !now.has(id));
      const next = new Map();
      for (const { id, group } of cards) {
        const at = keys.has(id) ? -1 : gone.findIndex(([look]) => look.startsWith(`look:${group}:`));
        next.set(id, keys.get(id) ?? (at < 0 ? String(count++) : gone.splice(at, 1)[0][1]));
      }
      keys = next;
      seen = groups;
    }
    return keys.get(card.id) ?? card.id;
  };
}

/**
 * @param {string} key
 * @returns {string}
 */
function keyAction(key) {
  return { Enter: "open", " ": "select", s: "star", S: "star", Delete: "remove" }[key] ?? "";
}

/**
 * Do what a button, a click or a key of a card asks for.
 * @param {Panel} panel
 * @param {Card} card
 * @param {string} does
 */
function act(panel, card, does) {
  if (does === "open") openLightbox(panel, card.id);
  else if (does === "select") panel.send("select", { card: card.id, on: !card.selected });
  else if (does === "star") panel.send("star", { card: card.id, on: !card.starred });
  else if (does === "remove") panel.send("remove", { card: card.id });
  else panel.send("vary", { card: card.id, how: does });
}

/**
 * The card that an arrow leads to.
 * @param {HTMLElement[]} cards
 * @param {HTMLElement} from
 * @param {string} key
 * @returns {HTMLElement | undefined}
 */
function neighbour(cards, from, key) {
  const index = cards.indexOf(from);
  if (key === "ArrowLeft") return cards[index - 1];
  if (key === "ArrowRight") return cards[index + 1];
  if (key === "Home") return cards[0];
  if (key === "End") return cards[cards.length - 1];
  if (key !== "ArrowUp" && key !== "ArrowDown") return undefined;
  const start = from.getBoundingClientRect();
  const sign = key === "ArrowDown" ? 1 : -1;
  const far = (/** @type {HTMLElement} */ card) => {
    const box = card.getBoundingClientRect();
    return Math.abs(box.top - start.top) * 100 + Math.abs(box.left - start.left);
  };
  const beyond = cards.filter((card) => (card.getBoundingClientRect().top - start.top) * sign > start.height / 2);
  return beyond.sort((one, other) => far(one) - far(other))[0];
}

/** @returns {HTMLElement} */
function makeGroup() {
  return el("div", { class: "imgvar-group", role: "group" }, el("p", { class: "imgvar-label" }), el("div", { class: "imgvar-cards" }));
}

/**
 * @param {Panel} panel
 * @param {HTMLElement} element
 * @param {State} group
 * @param {(card: Card) => string} key
 */
function drawGroup(panel, element, group, key) {
  const [label, cards] = /** @type {HTMLElement[]} */ ([...element.children]);
  label.textContent = group.label;
  element.setAttribute("aria-label", group.label);
  // Rows of like length: the style sheet takes the number of columns for the width at hand.
  for (const most of [2, 3, 4, 5]) {
    const rows = Math.ceil(group.cards.length / most) || 1;
    cards.style.setProperty(`--columns-${most}`, String(Math.ceil(group.cards.length / rows) || 1));
  }
  const size = group.cards.find((/** @type {Card} */ card) => card.size)?.size ?? sizeSetting(panel);
  keyed(cards, /** @type {Card[]} */ (group.cards), key, makeCard, (article, card) => drawCard(panel, article, card, size));
}

/**
 * The size that the next pictures will have, as far as the settings say.
 * @param {Panel} panel
 * @returns {[number, number]}
 */
function sizeSetting(panel) {
  const field = panel.get("settings").fields?.find((/** @type {State} */ each) => each.name === "size");
  const found = /^(\d+)x(\d+)$/.exec(field?.value ?? "");
  return found ? [Number(found[1]), Number(found[2])] : [1, 1];
}

/** @returns {HTMLElement} */
function makeCard() {
  const button = (/** @type {string} */ does, /** @type {Node | string} */ face) =>
    el("button", { type: "button", class: typeof face === "string" ? "imgvar-word" : "imgvar-bare", "data-do": does }, face);
  return el(
    "article",
    { class: "imgvar-card" },
    el(
      "div",
      { class: "imgvar-picture" },
      el("img", { draggable: false }),
      el("label", { class: "imgvar-pick" }, el("input", { type: "checkbox" }), el("span", { "aria-hidden": "true" })),
      button("star", icon("star")),
    ),
    el("p", { class: "imgvar-similar" }),
    el("p", { class: "imgvar-words" }),
    el(
      "div",
      { class: "imgvar-acts" },
      el("span", { class: "imgvar-vary" }, el("span", { "aria-hidden": "true" }, "Vary"), button("subtle", "subtly"), button("strong", "strongly")),
      el("span", {}, button("source", icon("source")), button("open", icon("open")), button("remove", icon("trash"))),
    ),
  );
}

/**
 * @param {Panel} panel
 * @param {HTMLElement} article
 * @param {Card} card
 * @param {[number, number]} size of a card that has none yet
 */
function drawCard(panel, article, card, size) {
  const find = (/** @type {string} */ selector) => /** @type {any} */ (article.querySelector(selector));
  const { number, ready, selected, starred } = card;
  const [width, height] = card.size ?? size;
  article.dataset.card = card.id;
  article.classList.toggle("imgvar-ready", ready);
  article.classList.toggle("imgvar-selected", selected);
  const marks = [selected && "selected", starred && "starred", !ready && "being made"].filter(Boolean);
  article.setAttribute("aria-label", [`Picture ${number}`, ...marks].join(", "));
  article.style.setProperty("--shape", `${width} / ${height}`);
  const img = find("img");
  img.alt = card.alt;
  panel.show(img, card.id);
  const box = find("input");
  box.checked = selected;
  box.disabled = !panel.live;
  box.setAttribute("aria-label", `Select ${number}`);
  find(".imgvar-pick span").textContent = number;
  const similar = find(".imgvar-similar");
  similar.textContent = card.similar;
  similar.title = card.how;
  find(".imgvar-words").textContent = ready ? card.words : "being made";
  const { can_vary: canVary } = panel.get("gallery");
  find(".imgvar-vary").hidden = !canVary;
  /** @type {Record<string, string>} */
  const names = {
    star: `Star ${number}`,
    subtle: `Vary ${number} subtly`,
    strong: `Vary ${number} strongly`,
    source: `Use ${number} as the source`,
    open: `Open ${number}`,
    remove: `Remove ${number} from view`,
  };
  for (const each of article.querySelectorAll("button")) {
    const does = each.dataset.do ?? "";
    const name = names[does];
    each.title = name;
    each.setAttribute("aria-label", name);
    const runs = does === "subtle" || does === "strong";
    each.disabled = !ready || (does !== "open" && !panel.live) || (runs && panel.get("run").busy);
    if (does === "star") each.setAttribute("aria-pressed", String(starred));
    // A disabled button loses the focus to the page.
    if (each.disabled && each === focusedIn(panel)) article.focus();
  }
}
