// @ts-check
// Run and Cancel, how far it is, and what went wrong.

const SAID = { running: "Running", done: "Ready", cancelled: "Cancelled" };

/**
 * @param {Panel} panel
 * @returns {HTMLElement}
 */
function runPart(panel) {
  const why = el("span", { class: "imgvar-why", id: panel.id("why") });
  // Not `disabled`: the focus would be lost when a run starts.
  const run = el("button", { type: "button", class: "imgvar-primary", title: "Ctrl+Enter", "aria-describedby": why.id, onclick: () => start() }, icon("play"), "Run");
  const cancel = el("button", { type: "button", hidden: true, onclick: () => panel.send("cancel") }, icon("stop"), "Cancel");
  const bar = el("progress", { "aria-label": "progress of the run", max: 1, value: 0, hidden: true });
  const doing = el("span", { class: "imgvar-doing" });
  const start = () => {
    if (run.getAttribute("aria-disabled") !== "true") panel.send("run");
  };
  panel.root.addEventListener("keydown", (event) => {
    const at = /** @type {HTMLElement} */ (event.target);
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || at.closest("dialog")) return;
    event.preventDefault();
    // What is being typed counts for this run.
    if (at.dataset.typing) at.dispatchEvent(new Event("change", { bubbles: true }));
    start();
  });
  let status = panel.get("run").status;
  panel.on("run", (state) => {
    run.setAttribute("aria-disabled", String(!state.can_run));
    why.textContent = state.busy ? "" : state.can_run ? state.sends : state.why;
    if (!state.busy && cancel.matches(":focus")) run.focus();
    cancel.hidden = !state.busy;
    cancel.setAttribute("aria-disabled", String(!state.can_cancel));
    bar.hidden = !state.busy;
    bar.value = state.progress ?? 0;
    doing.textContent = state.busy ? state.doing : "";
    if (state.status !== status && !state.error && !state.notice) {
      panel.announce(/** @type {Record<string, string>} */ (SAID)[state.status] ?? "");
    }
    status = state.status;
  });
  return el(
    "div",
    { class: "imgvar-run" },
    el("div", { class: "imgvar-row" }, run, cancel, why, doing),
    bar,
    ...messages(panel),
  );
}

/**
 * The panel's error and notice: in the page from the beginning, so that screen readers hear what is written into them.
 * @param {Panel} panel
 */
function messages(panel) {
  let own = "";
  const line = (/** @type {string} */ role, /** @type {string} */ kind) => {
    const text = el("p", { role });
    const dismiss = el("button", { type: "button", title: "Dismiss", "aria-label": `Dismiss the ${kind}`, class: "imgvar-bare" }, icon("close"));
    const box = el("div", { class: `imgvar-message imgvar-${kind}` }, text, dismiss);
    dismiss.addEventListener("click", () => {
      own = "";
      draw();
      if (panel.get("run").error || panel.get("run").notice) panel.send("dismiss");
    });
    return { box, say: (/** @type {string} */ words) => {
      if (text.textContent !== words) text.textContent = words;
      dismiss.hidden = !words;
    } };
  };
  const error = line("alert", "error");
  const notice = line("status", "notice");
  const draw = () => {
    const state = panel.get("run");
    error.say([...new Set([state.error, own])].filter(Boolean).join("\n"));
    notice.say(state.notice ?? "");
  };
  panel.complain = (text) => {
    own = text;
    draw();
  };
  panel.on("run", draw);
  draw();
  return [error.box, notice.box];
}
