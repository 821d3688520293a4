// SPDX-License-Identifier: Apache-2.0
// What an agent's row of `status --json` says, as figures: [name, value, tip]. Those without a value are left out.
import { el } from "./parts.js";
import { ageNow } from "./source.js";
import * as words from "./words.js";

export function checkpointHref(agent, checkpoint) {
  return `/checkpoint?agent=${encodeURIComponent(agent)}&checkpoint=${encodeURIComponent(checkpoint)}`;
}

// {part: 0 to 1, text}; null while there is no pass.
export function passOf(agent) {
  if (!agent.total_bytes) return null;
  const part = Math.min(1, agent.done_bytes / agent.total_bytes);
  const eta = agent.eta_seconds ? `, ${words.seconds(agent.eta_seconds)} left` : "";
  return { part, text: `${Math.round(part * 100)} % of ${words.size(agent.total_bytes)}${eta}` };
}

function lastCheckpoint(agent, now) {
  if (agent.age == null) return "none yet";
  return el("a", { href: checkpointHref(agent.id, agent.last_checkpoint) }, `${words.seconds(ageNow(agent, now))} ago`);
}

function consistency(agent) {
  if (!agent.consistency) return null;
  return words.consistency(agent.consistency).short + (agent.damaged ? ", damaged" : "");
}

function connection(agent) {
  if (agent.away_ms == null) return "unknown: no dispatcher runs";
  if (agent.state === "OFFLINE") return `away for ${words.duration(agent.away_ms)}`;
  return `${agent.state.toLowerCase()}, for ${words.duration(agent.connected_ms)}`;
}

function lastProven(agent, now) {
  if (!agent.proven) return "never";
  const boots = agent.proven.booted_ms ? `, boots in ${words.duration(agent.proven.booted_ms)}` : "";
  return words.ago(agent.proven.time, now) + boots;
}

// An agent that is not copied elsewhere has none.
function lastCopied({ copy }, now) {
  if (!copy) return null;
  if (!copy.checkpoint) return "no copy";
  return words.ago(copy.checkpoint, now) + (copy.late ? ", late" : "");
}

function lockedUntil({ copy }) {
  if (!copy) return null;
  return copy.locked ? words.day(copy.locked_until) : "not locked";
}

function listed(things, write) {
  return things?.length ? things.map(write).join(", ") : null;
}

export function agentFigures(agent, now) {
  return [
    ["Last checkpoint", lastCheckpoint(agent, now), agent.last_checkpoint],
    ["One is due every", agent.sync_freq_ms ? words.duration(agent.sync_freq_ms) : null],
    ["Consistency", consistency(agent)],
    ["Connection", connection(agent), agent.peer],
    ["Pass", passOf(agent)?.text],
    ["To send", agent.dirty_bytes == null ? null : words.size(agent.dirty_bytes)],
    ["Last proven", lastProven(agent, now)],
    ["Last copied", lastCopied(agent, now), agent.copy?.failure || agent.copy?.place],
    ["Locked until", lockedUntil(agent), agent.copy?.not_locked],
    ["Disks", `${words.count(agent.volumes, "disk")}, ${words.size(agent.volume_bytes)}`],
    ["Quota", agent.quota],
    ["Certificate ends", agent.certificate_ends && words.day(agent.certificate_ends)],
    ["Mounted", listed(agent.mounts, (mount) => mount.path)],
    ["Being restored", listed(agent.restores, (restore) => `by ${restore.peer}`)],
  ];
}
