// SPDX-License-Identifier: Apache-2.0
// How values are written: the same units, names and sentences as those of the commands.

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

// 1536 -> "1.5 KiB". null: "–".
export function size(bytes) {
  if (bytes == null) return "–";
  let unit = 0;
  while (bytes >= 1023.95 && unit < SIZES.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${unit === 0 ? bytes.toFixed(0) : bytes.toFixed(1)} ${SIZES[unit]}`;
}

// 200000 -> "3 m 20 s".
export function duration(ms) {
  const s = Math.floor(ms / 1000);
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (s < 60) return `${(ms / 1000).toFixed(1)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} m ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} m`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

export function seconds(s) {
  return s < 60 ? `${Math.floor(s)} s` : duration(s * 1000);
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

// Milliseconds since 1970 of RFC 3339, of "2026-11-22 20:36:00 UTC", or of a checkpoint's timestamp; NaN if it is none of them.
export function instant(text) {
  if (text == null) return NaN;
  if (text[10] === "T") return Date.parse(text);
  const digits = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/.exec(text);
  if (digits) return Date.UTC(digits[1], digits[2] - 1, digits[3], digits[4], digits[5], digits[6]);
  return Date.parse(text.replace(/^(\S+) (\S+) UTC$/, "$1T$2Z"));
}

const whole = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", year: "numeric",
  hour: "2-digit", minute: "2-digit", second: "2-digit" });

// In the reader's own time zone.
export function when(text) {
  const at = typeof text === "number" ? text : instant(text);
  return Number.isNaN(at) ? String(text ?? "–") : whole.format(at);
}

const date = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

export function day(text) {
  const at = instant(text);
  return Number.isNaN(at) ? String(text ?? "–") : date.format(at);
}

export function ago(text, now = Date.now()) {
  const at = typeof text === "number" ? text : instant(text);
  if (Number.isNaN(at)) return "–";
  return at <= now ? `${seconds((now - at) / 1000)} ago` : `in ${seconds((at - now) / 1000)}`;
}

// The worst last, as `status` sorts. `looks`: well, wait (expected and passing) or bad; `cell` is what `status` prints.
export const PROTECTIONS = {
  protected: { rank: 0, looks: "well", cell: "Protected", word: "protected" },
  archived: { rank: 1, looks: "rest", cell: "Archived", word: "archived" },
  "first-sync": { rank: 2, looks: "wait", cell: "Syncing", word: "syncing" },
  paused: { rank: 3, looks: "wait", cell: "Paused", word: "paused" },
  revoked: { rank: 4, looks: "wait", cell: "Revoked", word: "revoked" },
  "never-joined": { rank: 5, looks: "wait", cell: "Never joined", word: "never joined" },
  damaged: { rank: 6, looks: "bad", cell: "Damaged", word: "damaged" },
  inconsistent: { rank: 7, looks: "bad", cell: "Inconsistent", word: "inconsistent" },
  late: { rank: 8, looks: "bad", cell: "Late", word: "late" },
  "not-stored": { rank: 9, looks: "bad", cell: "Not stored", word: "not stored" },
  lost: { rank: 10, looks: "bad", cell: "Lost", word: "lost" },
};

// A state that this page does not know yet is shown by its name, as something bad.
export function protection(name) {
  return PROTECTIONS[name] ?? { rank: 11, looks: "bad", cell: name, word: name };
}

// How a checkpoint belongs together. `short` is the word of the commands.
export const CONSISTENCIES = {
  filesystem: { looks: "well", short: "filesystem", phrase: "filesystem consistent",
    text: "The filesystems were frozen: they are clean, as after an unmount." },
  crash: { looks: "wait", short: "crash", phrase: "crash consistent",
    text: "As after a power cut at one moment: a journal replays, a database recovers." },
  none: { looks: "bad", short: "none", phrase: "not consistent",
    text: "Its blocks are of different moments: it may not even mount. Use another one if you can." },
};

export function consistency(name) {
  return CONSISTENCIES[name] ?? { looks: "bad", short: name ?? "–", phrase: name ?? "unknown", text: "" };
}

export function isRunning(agents) {
  return !agents.length || agents.some((agent) => agent.away_ms !== null);
}

export function wanted(agents) {
  return agents.filter((agent) => agent.protection !== "archived");
}

// The sentence of `status`: it alone answers the question whether all is well.
export function headline(agents) {
  const asked = wanted(agents);
  const well = asked.filter((agent) => agent.protected).length;
  if (!agents.length) return "No agent has connected yet";
  if (!isRunning(agents)) return "Nothing is being protected: no dispatcher runs";
  if (!asked.length) return "Nothing is being protected: every agent is archived";
  if (well === asked.length) return well === 1 ? "The only agent is protected" : `All ${well} agents are protected`;
  return `${asked.length - well} of ${count(asked.length, "agent")} ${asked.length - well === 1 ? "is" : "are"} not protected`;
}

// One word for a POSIX shell, whatever is in it.
export function shellWord(text) {
  return /^[A-Za-z0-9_.,:@%+=/-]+$/.test(text) ? text : `'${String(text).replaceAll("'", "'\\''")}'`;
}

// command("restore", {agent: "web1"}) -> "blxrep dispatcher restore --agent=web1". true: an option without a value.
export function command(name, options, ...words) {
  const given = Object.entries(options).filter(([, value]) => value != null)
    .map(([key, value]) => value === true ? `--${key}` : `--${key}=${shellWord(value)}`);
  return ["blxrep", "dispatcher", name, ...given, ...words.map(shellWord)].join(" ");
}
