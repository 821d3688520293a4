// SPDX-License-Identifier: Apache-2.0
// An agent: how it is, all its checkpoints on a line of time, and what happened to it.
import { spanName } from "./axis.js";
import { Curve } from "./curve.js";
import { agentFigures, checkpointHref } from "./figures.js";
import { changedBytes, drawSign, MARKS, marksOf, storedBytes } from "./marks.js";
import { commandLine, el, facts, LongList, message, replace, section, state, time } from "./parts.js";
import { act, ask } from "./source.js";
import { Timeline } from "./timeline.js";
import * as words from "./words.js";

const DAY = 86400e3;
const SPANS = [["Everything", null], ["Year", 365 * DAY], ["Month", 30 * DAY], ["Week", 7 * DAY], ["Day", DAY], ["Hour", DAY / 24]];
const PLOTS = [
  { name: "Frozen for", column: "freeze", write: words.duration },
  { name: "Changed", column: "changed", write: words.size, logarithmic: true },
  { name: "Stored", column: "stored", write: words.size, logarithmic: true },
];
const REST = 20; // how many times as long as an answer took nothing is asked
const LOG_LINES = 12;

// What a line of the audit log says besides the time and who wrote it: its text, or its other members.
function logWords(line) {
  const { seq, previous, time: at, event, agent, program, uid, text, ...more } = line;
  const others = Object.entries(more).map(([key, value]) => `${key}: ${typeof value === "object" ? JSON.stringify(value) : value}`);
  return [text, ...others].filter(Boolean).join(", ");
}

function logLine(line) {
  const at = words.when(line.time), by = ` ${line.program ?? ""}, uid ${line.uid ?? "unknown"}`;
  return el("li", null, time(at, at, words.instant(line.time)), el("b", null, line.event),
    el("span", null, logWords(line), el("span", { class: "weak" }, by)));
}

// The marks of a checkpoint in words.
export function markWords(row) {
  return marksOf(row).map((mark) => el("span", { class: `mark ${mark.looks}` }, mark.name));
}

export class AgentPage {
  constructor(root, { id, session, now, open }) {
    Object.assign(this, { root, id, session, now, open, lastCheckpoint: undefined });
    this.head = el("h1", { tabindex: "-1" }, id);
    this.judgement = el("div", { class: "judgement" });
    this.facts = el("div");
    this.actions = el("div", { class: "actions" });
    this.backlog = new Curve("To send", words.size);
    this.rate = new Curve("Arriving", (bytes) => `${words.size(bytes)}/s`);
    replace(root, el("nav", { "aria-label": "Where you are" }, el("a", { href: "/" }, "All agents")),
      el("header", { class: "answer" }, this.head, this.judgement), this.facts, this.actions,
      this.timelineSection(), this.plotsSection(), this.logSection(), this.listSection());
  }

  close() {
    clearTimeout(this.waiting);
    this.waiting = true; // and no other begins
    this.timeline.close();
    this.rows.close();
  }

  title() {
    return this.agent ? `${this.id}: ${words.protection(this.agent.protection).word}` : this.id;
  }

  show(agents) {
    const at = this.now();
    this.agent = agents.find((agent) => agent.id === this.id);
    if (!this.agent) {
      replace(this.judgement, message("bad", `There is no agent '${this.id}'.`));
      return;
    }
    this.tick();
    this.showActions();
    this.backlog.add(at, this.agent.dirty_bytes);
    this.rate.add(at, this.agent.rate_bytes_per_s);
    if (this.agent.last_checkpoint !== this.lastCheckpoint) {
      this.lastCheckpoint = this.agent.last_checkpoint;
      this.load();
    }
  }

  // A long list is not asked for again at each checkpoint: it may take a twentieth of the time.
  load() {
    if (this.waiting) return;
    this.waiting = setTimeout(async () => {
      const begun = this.now();
      await this.loadCheckpoints();
      await this.loadLog();
      this.notBefore = this.now() + REST * (this.now() - begun);
      this.waiting = null;
      if (this.loaded !== this.lastCheckpoint) this.load();
    }, Math.max(0, (this.notBefore ?? 0) - this.now()));
  }

  tick() {
    const { agent } = this;
    if (!agent) return;
    const look = words.protection(agent.protection);
    replace(this.judgement, el("p", null, state(look.looks, look.cell), agent.why && ` ${agent.why}`),
      agent.suspicious && el("p", null, state("wait", "Suspicious"), ` ${agent.suspicious.reason}. This is a signal, no verdict.`),
      !agent.protected && agent.judgement.way_out && el("p", { class: "wayout" }, `What to do: ${agent.judgement.way_out}`));
    replace(this.facts, facts(agentFigures(agent, this.now()), { class: "figures" }));
  }

  showActions() {
    const isOperator = this.session()?.role === "operator";
    if (this.actions.dataset.role === String(isOperator)) return;
    this.actions.dataset.role = isOperator;
    const said = el("span", { role: "status" });
    replace(this.actions, isOperator && el("button", { type: "button", onclick: async () => {
      said.textContent = "Asking for a checkpoint …";
      try {
        const { done } = await act("/api/checkpoint", { agent: this.id });
        said.textContent = done ? "It is taken." : "It takes longer: it appears here when it is done.";
      } catch (error) {
        said.textContent = `No checkpoint: ${error.message}`;
      }
    } }, "Take a checkpoint now"), commandLine(words.command("checkpoint", { agent: this.id, "data-dir": this.session()?.data_dir })), said);
  }

  timelineSection() {
    this.canvas = el("canvas", { class: "timeline", tabindex: "0", role: "application",
      "aria-label": "Timeline of checkpoints. Arrows select, plus and minus zoom, Page Up and Page Down move, 0 shows all, Enter opens.",
      "aria-describedby": "timeline-help" });
    this.spanWords = el("p", { class: "weak", id: "timeline-span" });
    this.selected = el("div", { class: "selected", "aria-live": "polite" });
    this.timelineProblem = el("div");
    this.legend = el("ul", { class: "legend" });
    this.timeline = new Timeline(this.canvas, {
      leastGapMs: Infinity, now: this.now,
      onSelect: (row) => this.showSelected(row),
      onMove: () => this.moved(),
      onOpen: (row) => this.open(checkpointHref(this.id, row.checkpoint)),
    });
    const buttons = el("div", { class: "spans", role: "group", "aria-label": "Span of time" },
      SPANS.map(([name, ms]) => el("button", { type: "button", class: "quiet", onclick: () => this.timeline.showLast(ms) }, name)),
      el("button", { type: "button", class: "quiet", "aria-label": "Zoom out", onclick: () => this.timeline.zoom(2) }, "−"),
      el("button", { type: "button", class: "quiet", "aria-label": "Zoom in", onclick: () => this.timeline.zoom(0.5) }, "+"));
    const until = el("input", { type: "datetime-local", "aria-label": "Select the newest checkpoint until this time", onchange: () => {
      const at = new Date(until.value).getTime();
      if (!Number.isNaN(at)) this.timeline.selectUntil(at);
    } });
    const tools = el("div", { class: "tools" }, this.spanWords,
      el("div", { class: "spans" }, el("label", null, "Newest until ", until), buttons));
    return section("Checkpoints", this.timelineProblem, tools,
      el("div", { class: "panel" }, this.canvas, this.legend), this.selected,
      el("p", { class: "weak help", id: "timeline-help" },
        "Drag to move, pinch or Ctrl and the wheel to zoom. Keys: ← → select, + − zoom, 0 shows all, Enter opens."));
  }

  showLegend(rows) {
    const present = new Set(rows.map((row) => row.consistency));
    const swatch = (name) => el("li", null, el("i", { class: `swatch bar-${name}` }), words.consistency(name).phrase);
    const marks = MARKS.filter((mark) => rows.some(mark.has)).map((mark) => {
      const canvas = el("canvas", { width: 28, height: 28, "aria-hidden": "true", class: "sign" });
      const context = canvas.getContext("2d");
      context.scale(2, 2);
      drawSign(context, mark.sign, 7, 7, getComputedStyle(this.root).getPropertyValue(`--${mark.looks}`));
      return el("li", null, canvas, mark.name);
    });
    replace(this.legend, ["filesystem", "crash", "none"].filter((name) => present.has(name)).map(swatch), marks,
      el("li", { class: "weak" }, "height: changed bytes, logarithmic"),
      this.timeline.gaps.length > 0 && el("li", null, el("i", { class: "swatch gap" }), "gap"));
  }

  moved() {
    const { timeline } = this;
    const total = timeline.rows.length;
    const from = words.when(timeline.span.from).replace(/:\d\d$/, "");
    this.spanWords.textContent = total === 0 ? "" :
      `${timeline.visible.toLocaleString("en")} of ${words.count(total, "checkpoint")} in ${spanName(timeline.span.length)}, from ${from}`;
  }

  showSelected(row) {
    if (!row) {
      replace(this.selected);
      return;
    }
    const changed = `${words.size(changedBytes(row))} changed on ${words.count(row.volumes.length, "disk")}`;
    replace(this.selected, el("p", null, el("a", { href: checkpointHref(this.id, row.checkpoint) }, words.when(row.time)),
      `, ${words.ago(row.time, this.now())}: ${words.consistency(row.consistency).phrase}, ${changed}, `,
      `frozen for ${words.duration(row.freeze_ms)}. `, markWords(row)),
    row.note && el("p", { class: "weak" }, row.note));
  }

  async loadCheckpoints() {
    this.loaded = this.lastCheckpoint;
    try {
      const begun = performance.now();
      const { found: rows, note } = await ask("/api/show", { agent: this.id });
      const received = performance.now();
      const limit = this.agent?.sync_freq_ms;
      this.timeline.leastGapMs = limit ? 2 * limit + 60e3 : Infinity;
      this.timeline.show(rows);
      performance.measure("timeline-drawn", { start: received, end: performance.now(), detail: { receivedMs: received - begun } });
      this.showLegend(rows);
      this.rows.show([...rows].reverse());
      const isNew = rows.length === 0 && this.agent?.last_checkpoint == null;
      replace(this.timelineProblem, isNew ? message("rest", "There is no checkpoint yet.") : note && message("bad", note));
      this.table.setAttribute("aria-rowcount", rows.length + 1);
    } catch (error) {
      replace(this.timelineProblem, message("bad", `The checkpoints cannot be shown: ${error.message}`));
    }
  }

  plotsSection() {
    const plots = PLOTS.map((plot) => {
      const canvas = el("canvas", { role: "img", class: "plot", "data-name": plot.name });
      this.timeline.plots.push({ ...plot, canvas });
      return el("div", null, el("h3", null, plot.name), canvas, el("p", { class: "weak" }));
    });
    return section("In the same span", el("div", { class: "plots" }, plots, this.backlog.node, this.rate.node));
  }

  logSection() {
    this.logBody = el("div");
    return section("What happened", this.logBody);
  }

  async loadLog(all = false) {
    try {
      const { found, note } = await ask("/api/log", { agent: this.id }), lines = found.reverse();
      const shown = all ? lines : lines.slice(0, LOG_LINES);
      replace(this.logBody, note && message("bad", note), lines.length === 0 ? el("p", { class: "weak" }, "Nothing that the audit log has.") :
        el("ol", { class: "log" }, shown.map(logLine)),
      shown.length < lines.length &&
        el("button", { type: "button", class: "quiet", onclick: () => this.loadLog(true) }, `All ${lines.length} lines`));
    } catch (error) {
      replace(this.logBody, message("bad", `The log cannot be shown: ${error.message}`));
    }
  }

  listSection() {
    const columns = [["when", "Time"], ["consistency", "Consistency"], ["kind", "Kind"], ["changed number", "Changed"],
      ["stored number", "Stored"], ["frozen number", "Frozen for"], ["marks", "Marks and note"]];
    const body = el("div", { role: "rowgroup", class: "rows" });
    this.table = el("div", { role: "table", class: "checkpoints", "aria-label": "Checkpoints, the newest first" },
      el("div", { role: "rowgroup" }, el("div", { role: "row", class: "row heads" },
        columns.map(([key, head]) => el("div", { role: "columnheader", class: `of-${key}` }, head)))), body);
    this.rows = new LongList(body, () => parseFloat(getComputedStyle(this.table).getPropertyValue("--row")) || 40, (row) => {
      const cells = [el("a", { href: checkpointHref(this.id, row.checkpoint), title: row.checkpoint }, words.when(row.time)),
        words.consistency(row.consistency).short, row.kind, words.size(changedBytes(row)), words.size(storedBytes(row)),
        words.duration(row.freeze_ms), [markWords(row), row.note && el("span", { class: "weak", title: row.note }, row.note)]];
      return el("div", { role: "row", class: "row", "data-key": row.checkpoint },
        columns.map(([key], i) => el("div", { role: "cell", class: `of-${key}` }, cells[i])));
    });
    return section("All checkpoints", this.table);
  }
}
