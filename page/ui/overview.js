// SPDX-License-Identifier: Apache-2.0
// The overview: is everything protected? One sentence, then all agents, the worst on top.
import { passOf } from "./figures.js";
import { el, facts, LongList, replace, state } from "./parts.js";
import { ageNow, get } from "./source.js";
import * as words from "./words.js";

const CHECK_MS = 300e3;

// What is shown of the dispatcher's check. The page runs it in a sandbox, of which the others would speak.
const CHECKS = new Set(["room", "certificates", "policies"]);

const ORDERS = {
  worst: { name: "Worst first", compare: null }, // as they come from Live
  name: { name: "Name", compare: (a, b) => a.id.localeCompare(b.id, "en", { numeric: true }) },
  age: { name: "Oldest checkpoint", compare: (a, b) => (b.age ?? Infinity) - (a.age ?? Infinity) || 0 },
  backlog: { name: "Most to send", compare: (a, b) => (b.dirty_bytes ?? -1) - (a.dirty_bytes ?? -1) },
  size: { name: "Largest", compare: (a, b) => b.volume_bytes - a.volume_bytes },
};

// A checkpoint is late after two periods and a minute: the limit of `status`.
function limitSeconds(agent) {
  return agent.sync_freq_ms ? 2 * agent.sync_freq_ms / 1000 + 60 : 0;
}

// Why, and what to do; of a protected agent what is remarkable, or what it is doing.
function explain(agent) {
  const running = passOf(agent);
  const parts = [agent.why, agent.suspicious && `suspicious: ${agent.suspicious.reason}`,
    running && `${agent.state.toLowerCase()}: ${running.text}`].filter(Boolean);
  if (!parts.length && agent.rescan_place > 0) parts.push(`a rescan waits, ${agent.rescan_place - 1} before it`);
  return parts.join(" · ");
}

function lastCheckpoint(agent, now) {
  if (agent.age == null) return [el("span", { class: "weak" }, "none yet")];
  const age = ageNow(agent, now);
  const limit = agent.protection === "archived" ? 0 : limitSeconds(agent);
  const bar = limit > 0 && el("meter", { min: 0, max: limit, value: Math.min(age, limit), high: limit / 2,
    class: age > limit ? "limit over" : "limit",
    title: `One is due every ${words.duration(agent.sync_freq_ms)}; it is late after ${words.seconds(limit)}`,
    "aria-label": "Age, of the age at which it is late" });
  return [el("span", { class: "age" }, `${words.seconds(age)} ago`), bar];
}

function proven(agent) {
  if (!agent.proven) return el("span", { class: "weak" }, "never");
  return `${words.ago(agent.proven.time)}`;
}

function copied(agent, now) {
  const { copy } = agent;
  if (!copy?.checkpoint) return el("span", { class: copy?.late ? "bad" : "weak", title: copy?.failure }, "no copy");
  const age = words.seconds(ageNow({ ...agent, age: copy.age }, now));
  return el("span", { class: copy.late && "bad", title: copy.failure || copy.place }, `${age} ago${copy.late ? ", late" : ""}`);
}

function locked(agent) {
  const { copy } = agent;
  if (!copy?.locked) return el("span", { class: copy?.lock_wanted ? "bad" : "weak", title: copy?.not_locked }, "not locked");
  const until = words.day(copy.locked_until);
  return copy.lock_can_be_lifted ? el("span", { title: "Some may lift this lock" }, `${until}*`) : until;
}

const COLUMNS = [
  { key: "state", head: "State", cell: (agent) => state(words.protection(agent.protection).looks, words.protection(agent.protection).cell) },
  { key: "agent", head: "Agent", cell: (agent) => [
    el("a", { href: `/agent?id=${encodeURIComponent(agent.id)}`, title: explain(agent) }, agent.id),
    el("span", { class: "why" }, explain(agent))] },
  { key: "last", head: "Last checkpoint", cell: lastCheckpoint },
  { key: "behind", head: "To send", number: true, cell: (agent) => agent.dirty_bytes == null ? "–" : words.size(agent.dirty_bytes) },
  { key: "consistency", head: "Consistency", cell: (agent) => agent.consistency == null ? "–" :
    [words.consistency(agent.consistency).short, agent.damaged && el("span", { class: "bad" }, ", damaged")] },
  { key: "proven", head: "Last proven", number: true, cell: (agent) => proven(agent) },
  { key: "copied", head: "Last copied", number: true, optional: true, cell: copied },
  { key: "locked", head: "Locked until", number: true, optional: true, cell: locked },
  { key: "size", head: "Size", number: true, cell: (agent) => words.size(agent.volume_bytes) },
];

function matches(agent, wanted) {
  if (!wanted.length) return true;
  const all = `${agent.id} ${agent.protection} ${agent.state} ${agent.why} ${agent.peer} ${agent.note}`.toLowerCase();
  return wanted.every((word) => all.includes(word));
}

export class Overview {
  constructor(root, { session, now }) {
    this.now = now;
    this.session = session;
    this.filter = new URLSearchParams(location.search).get("state") ?? "";
    this.text = new URLSearchParams(location.search).get("q") ?? "";
    this.order = "worst";
    this.head = el("h1", { tabindex: "-1", "aria-live": "polite" });
    this.lead = el("p", { class: "lead" });
    this.strip = el("div", { class: "strip", "aria-hidden": "true" });
    this.chips = el("div", { class: "chips", role: "group", "aria-label": "Filter by state" });
    this.figures = el("div");
    this.room = el("div", { class: "room" });
    this.check();
    this.checking = setInterval(() => this.check(), CHECK_MS);
    this.search = el("input", { type: "search", placeholder: "Search agents", "aria-label": "Search agents", value: this.text,
      autocomplete: "off", spellcheck: "false", oninput: () => { this.text = this.search.value; this.list(); } });
    this.select = el("select", { "aria-label": "Order", onchange: () => { this.order = this.select.value; this.list(); } },
      Object.entries(ORDERS).map(([key, order]) => el("option", { value: key }, order.name)));
    this.found = el("p", { class: "weak found", role: "status" });
    this.body = el("div", { role: "rowgroup", class: "rows" });
    this.heads = el("div", { role: "row", class: "row heads" });
    this.table = el("div", { role: "table", class: "agents", "aria-label": "Agents" }, el("div", { role: "rowgroup" }, this.heads), this.body);
    this.rows = new LongList(this.body, () => this.rowHeight(), (agent) => this.row(agent));
    replace(root, el("header", { class: "answer" }, this.head, this.lead, this.strip), this.figures, this.room,
      this.chips, el("div", { class: "finding" }, this.search, this.select, this.found), this.table);
  }

  close() {
    this.rows.close();
    clearInterval(this.checking);
  }

  title() {
    return this.agents ? words.headline(this.agents) : "blxrep";
  }

  rowHeight() {
    return parseFloat(getComputedStyle(this.table).getPropertyValue("--row")) || 56;
  }

  show(agents) {
    this.agents = agents;
    this.answer();
    this.list();
    performance.mark("overview-drawn");
  }

  tick() {
    if (this.agents && !this.body.contains(document.activeElement) && getSelection().isCollapsed) this.rows.redraw();
  }

  answer() {
    const { agents } = this;
    const isRunning = words.isRunning(agents);
    const asked = words.wanted(agents);
    const well = asked.filter((agent) => agent.protected).length;
    const looks = !agents.length ? "rest" : !isRunning || well < asked.length && asked.some((agent) =>
      words.protection(agent.protection).looks === "bad") ? "bad" : well < asked.length ? "wait" : "well";
    if (this.head.textContent !== words.headline(agents)) this.head.textContent = words.headline(agents);
    this.head.className = looks;
    const oldest = agents.filter((agent) => agent.age != null && agent.protection !== "archived")
      .reduce((worst, agent) => !worst || agent.age > worst.age ? agent : worst, null);
    replace(this.lead, oldest ? `The oldest last checkpoint is ${words.seconds(ageNow(oldest, this.now()))} old, of ${oldest.id}. ` : "",
      !isRunning && "Start it: systemctl start blxrep-dispatcher");
    const tally = new Map();
    for (const agent of agents) tally.set(agent.protection, (tally.get(agent.protection) ?? 0) + 1);
    const states = [...tally].sort(([a], [b]) => words.protection(b).rank - words.protection(a).rank);
    replace(this.strip, states.map(([name, number]) => {
      const part = el("i", { class: words.protection(name).looks });
      part.style.flexGrow = number;
      return part;
    }));
    const focused = this.chips.contains(document.activeElement) ? document.activeElement.dataset.state : null;
    replace(this.chips, this.chip("", "All", agents.length, "rest"),
      states.map(([name, number]) => this.chip(name, words.protection(name).cell, number, words.protection(name).looks)));
    if (focused != null) this.chips.querySelector(`[data-state="${CSS.escape(focused)}"]`)?.focus();
    this.showFigures(asked);
  }

  showFigures(asked) {
    const sum = (key) => asked.reduce((total, agent) => total + (agent[key] ?? 0), 0);
    replace(this.figures, facts([
      ["Waiting to be sent", words.size(sum("dirty_bytes"))],
      ["Arriving", `${words.size(sum("rate_bytes_per_s"))}/s`],
      ["Protected disks", words.size(sum("volume_bytes"))],
      ["Never proven", asked.length ? `${asked.filter((agent) => !agent.proven).length} of ${asked.length}` : null],
    ], { class: "figures" }));
  }

  // The dispatcher's own check: the free room and for how long it is enough, and whatever it warns of.
  async check() {
    try {
      const { checks } = await get("/api/check");
      const room = checks.find((check) => check.check === "room");
      const wrong = checks.filter((check) => CHECKS.has(check.check) && ["warn", "fail"].includes(check.result));
      replace(this.room, room && el("p", null, el("b", null, "Free room: "), room.text),
        wrong.length > 0 && el("details", null, el("summary", null, state(wrong.some((check) => check.result === "fail") ? "bad" : "wait",
          `${words.count(wrong.length, "thing")} to look at on the dispatcher`)),
        el("ul", null, wrong.map((check) => el("li", null, [check.object, check.text, check.way_out].filter(Boolean).join(": "))))));
    } catch (error) {
      replace(this.room, el("p", { class: "weak" }, `The dispatcher's own check cannot be run: ${error.message}`));
    }
  }

  chip(name, word, number, looks) {
    const chosen = this.filter === name;
    return el("button", { type: "button", class: "chip", "aria-pressed": String(chosen), onclick: () => {
      this.filter = chosen ? "" : name;
      this.answer();
      this.list();
    }, "data-state": name }, name === "" ? word : state(looks, word), el("b", null, String(number)));
  }

  columns() {
    return COLUMNS.filter((column) => !column.optional || this.agents.some((agent) => agent.copy));
  }

  list() {
    if (!this.agents) return;
    const { compare } = ORDERS[this.order];
    const wanted = this.text.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = this.agents.filter((agent) => (!this.filter || agent.protection === this.filter) && matches(agent, wanted));
    if (compare) shown = shown.sort(compare);
    this.shownColumns = this.columns();
    this.table.classList.toggle("copies", this.shownColumns.some((column) => column.optional));
    this.table.setAttribute("aria-rowcount", shown.length + 1);
    replace(this.heads, this.shownColumns.map((column) =>
      el("div", { role: "columnheader", class: `of-${column.key} ${column.number ? "number" : ""}` }, column.head)));
    replace(this.found, shown.length === this.agents.length ? "" : `${words.count(shown.length, "agent")} of ${this.agents.length} shown`);
    this.rows.show(shown);
  }

  row(agent) {
    const now = this.now();
    return el("div", { role: "row", class: "row", "data-looks": words.protection(agent.protection).looks, "data-key": agent.id },
      this.shownColumns.map((column) => el("div", { role: "cell", class: `of-${column.key} ${column.number ? "number" : ""}`,
        "data-none": column.key === "behind" && agent.dirty_bytes == null }, column.cell(agent, now))));
  }
}
