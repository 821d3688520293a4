// SPDX-License-Identifier: Apache-2.0
// Where the values come from: the JSON of the commands, and the server's events. Nothing is kept that the server does not say.

import { protection } from "./words.js";

async function fail(answer) {
  const text = await answer.text();
  let said = text;
  try {
    said = JSON.parse(text).error ?? text;
  } catch { /* no JSON: the text itself */ }
  throw new Error(said.trim().slice(0, 500) || `the server answered ${answer.status} ${answer.statusText}`);
}

// {found, note}: the JSON that a command printed, and what it found wrong beside; "" if nothing.
export async function ask(path, words = {}) {
  const query = new URLSearchParams(Object.entries(words).filter(([, value]) => value != null && value !== ""));
  const answer = await fetch(query.size ? `${path}?${query}` : path, { headers: { Accept: "application/json" } });
  if (!answer.ok) await fail(answer);
  return { found: await answer.json(), note: decodeURIComponent(answer.headers.get("X-Blxrep-Note") ?? "") };
}

export async function get(path, words) {
  return (await ask(path, words)).found;
}

let session = null;

// Who looks: {role: "viewer"|"operator", csrf, data_dir, ...}. Asked once.
export async function whoami() {
  session ??= get("/api/session").catch((error) => {
    session = null;
    throw error;
  });
  return session;
}

// An action, for operators: {command, done, output}. The server refuses everybody else, whatever this page shows.
export async function act(path, words) {
  const { csrf } = await whoami();
  const answer = await fetch(`${path}?${new URLSearchParams(words)}`, {
    method: "POST",
    headers: { "X-CSRF-Token": csrf ?? "", Accept: "application/json" },
  });
  if (!answer.ok) await fail(answer);
  return answer.json();
}

// The order of `status`: the worst first, then whoever has a remark, then the oldest checkpoint.
function compare(a, b) {
  return protection(b.protection).rank - protection(a.protection).rank || Boolean(b.why) - Boolean(a.why) ||
    (Number(a.last_checkpoint) || 0) - (Number(b.last_checkpoint) || 0) || (a.id < b.id ? -1 : 1);
}

// Seconds: the server sends an agent again only if more than its age has changed.
export function ageNow(agent, now) {
  return agent.age + Math.max(0, (now - agent.seenAt) / 1000);
}

const AGAIN_MS = 5000; // until a stream that the server refused is asked for again

// The agents of `status --json`, and what /events says has changed. `seenAt` is added to each: its age counts from there.
export class Live {
  // onAgents(agents) after each change; onLink(linked, error|null) whenever that changes.
  constructor(onAgents, onLink) {
    Object.assign(this, { onAgents, onLink, agents: null, at: 0, changes: 0 });
    this.refresh();
    this.listen();
  }

  listen() {
    const stream = new EventSource("/events");
    const on = (name, take) => stream.addEventListener(name, take);
    on("hello", () => this.refresh());
    on("reload", () => this.refresh());
    on("alive", () => { this.at = Date.now(); });
    on("status", (event) => this.change(JSON.parse(event.data)));
    on("error", (event) => {
      if (event.data) this.onLink(false, new Error(JSON.parse(event.data).error)); // the server's own: status cannot be asked
      else this.lose(stream);
    });
  }

  // The browser connects again by itself, if the server did not refuse.
  lose(stream) {
    this.onLink(false, null);
    if (stream.readyState !== EventSource.CLOSED) return;
    setTimeout(() => {
      this.refresh();
      this.listen();
    }, AGAIN_MS);
  }

  change({ agents, removed }) {
    this.changes++;
    if (!this.agents) return;
    const now = Date.now(), byId = new Map(this.agents.map((agent) => [agent.id, agent]));
    for (const agent of agents) byId.set(agent.id, Object.assign(agent, { seenAt: now }));
    for (const id of removed) byId.delete(id);
    this.set([...byId.values()]);
  }

  set(agents) {
    this.agents = agents.filter((agent) => agent.copy_of === undefined).sort(compare); // copies are protected elsewhere
    this.at = Date.now();
    this.onAgents(this.agents);
    this.onLink(true, null);
  }

  // What came meanwhile may be newer than the answer, so it is asked for once more.
  async refresh({ again = false } = {}) {
    const before = this.changes;
    let agents;
    try {
      agents = await get("/api/status");
    } catch (error) {
      this.onLink(false, error);
      return;
    }
    const now = Date.now();
    for (const agent of agents) agent.seenAt = now;
    this.set(agents);
    if (this.changes !== before && !again) this.refresh({ again: true });
  }
}
