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
 * @property {string} [fit] how its source was brought to its shape
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
 * @param {HTMLElement} taking what is done with the pictures: below the newest group, since that is what it takes
 * @returns {HTMLElement}
 */
function galleryPart(panel, taking) {
  const groups = el("div");
  const section = el("div", { class: "imgvar-gallery", role: "group", "aria-label": "Gallery", tabIndex: -1 }, groups);
  const articles = () => /** @type {HTMLElement[]} */ ([...section.querySelectorAll(".imgvar-card")]);
  /** @type {HTMLElement | undefined} the card that a Tab reaches, with its buttons */
  let active;
  const rove = (/** @type {HTMLElement | undefined} */ card) => {
    active = card;
    for (const each of articles()) {
      each.tabIndex = each === card ? 0 : -1;
      for (const one of each.querySelectorAll("button, input")) /** @type {HTMLElement} */ (one).tabIndex = each.tabIndex;
    }
  };
  const keysOf = cardKeys();
  const draw = () => {
    const state = /** @type {State} */ ({ groups: [], ...panel.get("gallery") });
    const within = section.contains(focusedIn(panel));
    const index = active ? articles().indexOf(active) : 0;
    const keys = keysOf(state.groups);
    const [newest, ...older] = /** @type {State[]} */ (state.groups);
    keyed(groups, newest ? [newest, { id: "take" }, ...older] : [], (group) => group.id, (group) => (group.cards ? makeGroup() : taking), (element, group) => {
      if (group.cards) drawGroup(panel, element, group, keys);
    });
    section.hidden = !newest;
    const left = articles();
    rove(active?.isConnected ? active : left[Math.min(Math.max(index, 0), left.length - 1)]);
    // The card that had the focus was removed: the next one takes it.
    if (within && !section.contains(focusedIn(panel))) (active ?? section).focus();
  };
  let busy = false;
  panel.on("gallery", draw);
  panel.on("run", (run) => {
    if (busy === run.busy) return;
    busy = run.busy;
    draw();
  });
  panel.onLive(draw);
  panel.onClose(() => panel.root.querySelectorAll("dialog").forEach((dialog) => dialog.close()));
  section.addEventListener("focusin", ({ target }) => {
    const card = /** @type {HTMLElement} */ (target).closest(".imgvar-card");
    if (card && card !== active) rove(/** @type {HTMLElement} */ (card));
  });
  hearCards(panel, section, articles);
  return section;
}

/**
 * Do what clicks and keys on the cards ask for.
 * @param {Panel} panel
 * @param {HTMLElement} section
 * @param {() => HTMLElement[]} articles
 */
function hearCards(panel, section, articles) {
  const act = (/** @type {Card | false | undefined} */ card, /** @type {string | undefined} */ does) => {
    if (!card || !card.ready || !does) return false;
    if (does === "open") openLightbox(panel, card.id);
    else if (does === "select") {
      // The box turns at once, so that a double click turns it twice and leaves it as it was.
      const box = /** @type {HTMLInputElement} */ (articles().find((each) => each.dataset.card === card.id)?.querySelector("input"));
      box.checked = !box.checked;
      panel.send("select", { card: card.id, on: box.checked });
    }
    else if (does === "star") panel.send("star", { card: card.id, on: !card.starred });
    else if (does === "remove") panel.send("remove", { card: card.id });
    else panel.send("vary", { card: card.id, how: does });
    return true;
  };
  /** @typedef {(event: any, card: Card | undefined, article: HTMLElement) => void} Heard */
  const hear = (/** @type {string} */ name, /** @type {Heard} */ does) =>
    section.addEventListener(name, (event) => {
      const article = /** @type {any} */ (event.target).closest(".imgvar-card");
      if (article) does(event, cardsOf(panel).find((card) => card.id === article.dataset.card), article);
    });
  hear("click", ({ target }, card, article) => {
    if (act(card, target.closest("button")?.dataset.do) || !target.matches(".imgvar-picture, img")) return;
    article.focus({ preventScroll: true });
    act(card, "select");
  });
  hear("change", ({ target }, card) => panel.send("select", { card: card?.id, on: target.checked }));
  hear("dblclick", ({ target }, card) => target.matches(".imgvar-picture, img") && act(card, "open"));
  hear("keydown", (event, card, article) => {
    const { key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const next = neighbour(articles(), article, key);
    const numbered = /^[1-9]$/.test(key) && cardsOf(panel).find((each) => each.number === Number(key));
    /** @type {Record<string, string>} */
    const does = { Enter: "open", " ": "select", s: "star", S: "star", Delete: "remove" };
    if (next) next.focus();
    else if (!act(numbered, "select") && !(event.target === article && act(card, does[key]))) return;
    event.preventDefault();
  });
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
 * @returns {(groups: State[]) => Map<string, string>}
 */
function cardKeys() {
  /** @type {Map<string, string>} */
  let keys = new Map();
  let count = 0;
  return (groups) => {
    const next = new Map();
    for (const { id: group, cards } of groups) {
      const ids = cards.map((/** @type {Card} */ card) => card.id);
      const gone = [...keys.keys()].filter((id) => id.startsWith(`look:${group}:`) && !ids.includes(id));
      for (const id of ids) next.set(id, keys.get(id) ?? keys.get(gone.shift() ?? "") ?? String(count++));
    }
    return (keys = next);
  };
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
  /** @type {Record<string, number>} */
  const steps = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: cards.length - 1 };
  const sign = { ArrowUp: -1, ArrowDown: 1 }[key];
  if (!sign) return cards[steps[key]];
  const start = from.getBoundingClientRect();
  let [best, least] = [/** @type {HTMLElement | undefined} */ (undefined), Infinity];
  for (const card of cards) {
    const { top, left } = card.getBoundingClientRect();
    const down = (top - start.top) * sign;
    // A row counts more than a column.
    const far = down * 100 + Math.abs(left - start.left);
    if (down > 20 && far < least) [best, least] = [card, far];
  }
  return best;
}

/** @returns {HTMLElement} */
function makeGroup() {
  return el("div", { class: "imgvar-group", role: "group" }, el("p", { class: "imgvar-label" }), el("div", { class: "imgvar-cards" }));
}

/**
 * @param {Panel} panel
 * @param {HTMLElement} element
 * @param {State} group
 * @param {Map<string, string>} keys
 */
function drawGroup(panel, element, group, keys) {
  const [label, cards] = /** @type {HTMLElement[]} */ ([...element.children]);
  label.textContent = group.label;
  element.setAttribute("aria-label", group.label);
  // Rows of like length: the last one is at least half full. The style sheet chooses by the width at hand.
  const count = group.cards.length || 1;
  for (const most of [2, 3, 4, 5]) {
    let columns = Math.min(most, count);
    while (count % columns && (count % columns) * 2 < columns) columns--;
    cards.style.setProperty(`--columns-${most}`, String(columns));
  }
  const [, width, height] = /^(\d+)x(\d+)$/.exec(settingOf(panel, "size")) ?? ["", 1, 1];
  const size = group.cards.find((/** @type {Card} */ card) => card.size)?.size ?? [width, height];
  keyed(cards, /** @type {Card[]} */ (group.cards), (card) => keys.get(card.id) ?? "", makeCard, (article, card) => drawCard(panel, article, card, size));
}

/**
 * @param {Panel} panel
 * @param {string} name
 */
const settingOf = (panel, name) =>
  panel.get("settings").fields?.find((/** @type {State} */ field) => field.name === name)?.value;

/** @returns {HTMLElement} */
function makeCard() {
  /** @type {(does: string, name: string, face: keyof typeof ICONS | "", words?: string) => HTMLElement} */
  const button = (does, name, face, words) =>
    el("button", { type: "button", class: face && "imgvar-bare", "data-do": does, "data-name": name }, face && icon(face), words);
  return el(
    "article",
    { class: "imgvar-card" },
    el(
      "div",
      { class: "imgvar-picture" },
      el("img", { draggable: false }),
      el("label", { class: "imgvar-pick" }, el("input", { type: "checkbox" }), el("span", { "aria-hidden": "true" })),
      button("star", "Star #", "star"),
    ),
    el("p", { class: "imgvar-similar" }),
    el("p", { class: "imgvar-words" }),
    el(
      "div",
      { class: "imgvar-acts" },
      el(
        "span",
        { class: "imgvar-vary" },
        el("span", { "aria-hidden": "true" }, "Vary"),
        button("subtle", "Vary # subtly", "", "subtly"),
        button("strong", "Vary # strongly", "", "strongly"),
      ),
      el(
        "span",
        {},
        button("source", "Use # as the source", "source"),
        button("open", "Open #", "open"),
        button("remove", "Remove # from view", "trash"),
      ),
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
  for (const each of article.querySelectorAll("button")) {
    const does = each.dataset.do ?? "";
    const name = (each.dataset.name ?? "").replace("#", String(number));
    each.title = name;
    each.setAttribute("aria-label", name);
    const runs = does === "subtle" || does === "strong";
    each.disabled = !ready || (does !== "open" && !panel.live) || (runs && panel.get("run").busy);
    if (does === "star") each.setAttribute("aria-pressed", String(starred));
    // A disabled button loses the focus to the page.
    if (each.disabled && each === focusedIn(panel)) article.focus();
  }
}
