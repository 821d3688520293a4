// SPDX-License-Identifier: Apache-2.0
// A checkpoint: what it is, what it depends on, and the ways back, each with its command line.
import { markWords } from "./agent.js";
import { checkpointHref } from "./figures.js";
import { commandLine, el, facts, message, replace, section, state } from "./parts.js";
import { act, get } from "./source.js";
import * as words from "./words.js";

const DISK_COLUMNS = ["Disk", "Size", "Used", "Changed", "Stored", "On disk", "Removal frees", "Unreadable", "Encrypted", "Chain"];

function tested(record) {
  if (!record) return "not tested";
  const boot = record.booted_ms ? `, booted in ${words.duration(record.booted_ms)} (${record.machine})` : "";
  return `${record.verdict}${boot}, ${words.ago(record.time)}`;
}

// An agent's own folders, one after the other, and a link that downloads.
class Browser {
  constructor(agent, checkpoint) {
    Object.assign(this, { agent, checkpoint, path: "/" });
    this.where = el("input", { value: "/", "aria-label": "Folder", spellcheck: "false", autocomplete: "off" });
    this.list = el("div", { "aria-live": "polite" });
    this.node = el("div", { class: "browser" }, el("form", { onsubmit: (event) => {
      event.preventDefault();
      this.open(this.where.value);
    } }, this.where, el("button", { type: "submit" }, "List this folder")), this.list);
  }

  words(path) {
    return { agent: this.agent, checkpoint: this.checkpoint, path };
  }

  download(path, isFile) {
    return `/download?${new URLSearchParams({ ...this.words(path), ...(!isFile && { as: "tar" }) })}`;
  }

  async open(path) {
    replace(this.list, el("p", { class: "weak" }, "Reading the filesystem …"));
    try {
      const entries = await get("/api/files", this.words(path));
      this.path = path;
      this.where.value = path;
      const above = path.replace(/\/+[^/]*\/*$/, "") || "/";
      replace(this.list, el("ul", { class: "entries" },
        path !== "/" && el("li", null, this.folder(above, "..")),
        entries.map((entry) => {
          const name = entry.path.split("/").pop(), isFile = entry.type === "file";
          return el("li", null, entry.type === "folder" ? this.folder(entry.path, `${name}/`) : el("span", null, name),
            el("span", { class: "weak number" }, isFile ? words.size(entry.size) : entry.type),
            el("a", { href: this.download(entry.path, isFile), download: "" }, isFile ? "Download" : "Download as tar"));
        })), entries.length === 0 && el("p", { class: "weak" }, "This folder is empty."));
    } catch (error) {
      replace(this.list, message("bad", error.message));
    }
  }

  folder(path, name) {
    return el("button", { type: "button", class: "link", onclick: () => this.open(path) }, name);
  }
}

export class CheckpointPage {
  constructor(root, { agent, checkpoint, session }) {
    Object.assign(this, { root, agent, checkpoint, session });
    this.head = el("h1", { tabindex: "-1" }, `Checkpoint ${checkpoint}`);
    this.body = el("div");
    replace(root, el("nav", { "aria-label": "Where you are" }, el("a", { href: "/" }, "All agents"), " › ",
      el("a", { href: `/agent?id=${encodeURIComponent(agent)}` }, agent)), el("header", { class: "answer" }, this.head), this.body);
    this.load();
  }

  close() {}

  title() {
    return `${this.agent}, ${this.info ? words.when(this.info.time) : this.checkpoint}`;
  }

  show() {
    if (this.info && this.shownRole !== this.session()?.role) this.draw();
  }

  async load() {
    try {
      this.info = await get("/api/info", { agent: this.agent, checkpoint: this.checkpoint });
      this.draw();
    } catch (error) {
      replace(this.body, message("bad", `The checkpoint cannot be shown: ${error.message}`));
    }
  }

  draw() {
    const { info } = this;
    this.shownRole = this.session()?.role;
    this.head.textContent = `${this.agent}, ${words.when(info.time)}`;
    const quality = words.consistency(info.consistency);
    replace(this.body,
      el("p", { class: "lead" }, state(quality.looks, quality.phrase), ` ${quality.text} `, markWords(info)),
      info.damaged && message("bad", "A part of its disks could not be read: it is missing from this checkpoint."),
      info.suspicious && message("rest", `Suspicious: ${info.suspicious.reason}. This is a signal, no verdict.`),
      info.missing.length > 0 && message("bad",
        `It lacks ${info.missing.join(", ")}: a restore wants --incomplete, or a checkpoint that has all disks.`),
      this.waysBack(), this.whatItIs(), this.disks(), this.test());
  }

  // The words that every command of this checkpoint has.
  options(more = {}) {
    return { agent: this.agent, checkpoint: this.info.checkpoint, "data-dir": this.session()?.data_dir,
      ...(this.isEncrypted() && { key: "FILE" }), ...more };
  }

  isOperator() {
    return this.session()?.role === "operator";
  }

  isEncrypted() {
    return this.info.volumes.some((volume) => volume.key);
  }

  waysBack() {
    return section("Ways back", this.isEncrypted() && el("p", { class: "weak" },
      "It is encrypted, and no key ever comes here: put the path of its key where a command says FILE."),
      el("div", { class: "ways" }, this.oneFile(), this.serverNow(), this.newMachine(), this.image()));
  }

  way(title, text, ...children) {
    return el("article", { class: "way" }, el("h3", null, title), el("p", null, text), children);
  }

  oneFile() {
    const browser = this.isOperator() && !this.isEncrypted() && new Browser(this.agent, this.info.checkpoint);
    const button = browser && el("button", { type: "button", onclick: () => {
      button.replaceWith(browser.node);
      browser.open("/");
    } }, "Look into it");
    return this.way("One file", "Read in a process without rights; nothing is mounted.", button,
      commandLine(words.command("files", this.options(), "/etc")),
      commandLine(words.command("files", this.options({ output: "." }), "/etc/fstab")));
  }

  serverNow() {
    return this.way("The server, now", "It boots on the dispatcher's host in a virtual machine. What it writes is forgotten when it ends.",
      commandLine(words.command("boot", this.options())));
  }

  newMachine() {
    const said = el("div", { role: "status" });
    const button = this.isOperator() && el("button", { type: "button", onclick: async () => {
      replace(said, el("p", { class: "weak" }, "Making a token …"));
      try {
        const token = await act("/api/token", { agent: this.agent, checkpoint: this.info.checkpoint });
        const lines = String(token.output).split("\n").filter((line) => line.trim());
        replace(said, lines.map((line) => /^\s*(echo|blxrep)\b/.test(line) ? commandLine(line.trim()) : el("p", null, line)));
      } catch (error) {
        replace(said, message("bad", error.message));
      }
    } }, "Make a token");
    return this.way("Onto a new machine", "A token lets a rescue system fetch this checkpoint over the network, once.", button, said,
      commandLine(words.command("restore", this.options({ token: true, key: null }))));
  }

  image() {
    const links = this.isOperator() && !this.isEncrypted() && this.info.volumes.map((volume) => el("li", null, el("a", {
      href: `/image?${new URLSearchParams({ agent: this.agent, checkpoint: this.info.checkpoint, device: volume.device })}`, download: "" },
    `Download ${volume.device}`), el("span", { class: "weak" }, ` ${words.size(volume.size)}, goes on after an interruption`)));
    return this.way("The image", "The whole disk as a file, or onto a device.", links && el("ul", { class: "plain" }, links),
      commandLine(words.command("restore", this.options({ output: `/tmp/${this.agent}.img` }))));
  }

  whatItIs() {
    const { info } = this;
    const said = el("span", { role: "status" });
    const pin = this.isOperator() && el("button", { type: "button", onclick: async () => {
      try {
        await act("/api/pin", { agent: this.agent, checkpoint: info.checkpoint });
        await this.load();
      } catch (error) {
        said.textContent = error.message;
      }
    } }, "Pin it");
    return section("What it is", facts([
      ["Checkpoint", info.checkpoint],
      ["Server's ID", info.server_id !== info.agent ? `${info.server_id}, renamed to ${info.agent} here` : null],
      ["Cut", `${words.when(info.cut)}, ${words.ago(info.cut)}`],
      ["Agent's clock", words.when(info.agent_clock)],
      ["Committed", words.when(info.committed)],
      ["Frozen for", words.duration(info.freeze_ms)],
      ["Kind", info.kind],
      ["Depends on", info.parent ? el("a", { href: checkpointHref(this.agent, info.parent) }, words.when(info.parent)) : "nothing: it is a base"],
      ["Chain", `${words.count(info.chain_length, "checkpoint")} are read for a restore`.replace("1 checkpoint are", "1 checkpoint is")],
      ["Pinned", info.pinned ? `yes${info.pin_reason ? `, ${info.pin_reason}` : ""}: no rule of retention removes it` : "no"],
      ["Tested", tested(info.tested)],
      ["Note", info.note],
    ]), !info.pinned && el("div", { class: "actions" }, pin, commandLine(words.command("pin", this.options({ key: null }))), said));
  }

  disks() {
    return section("Disks", el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Disks" }, el("table", null,
      el("thead", null, el("tr", null, DISK_COLUMNS
        .map((head, i) => el("th", { scope: "col", class: i > 0 && i !== 8 ? "number" : null }, head)))),
      el("tbody", null, this.info.volumes.map((volume) => el("tr", null,
        el("th", { scope: "row" }, volume.device, volume.identity && el("span", { class: "weak" }, ` ${volume.identity}`)),
        [volume.size, volume.used_bytes, volume.changed_bytes, volume.stored_bytes, volume.disk_bytes, volume.frees_bytes,
          volume.unreadable_bytes].map((bytes) => el("td", { class: "number" }, words.size(bytes))),
        el("td", null, volume.key ?? "no"), el("td", { class: "number" }, String(volume.chain_length))))))));
  }

  test() {
    const record = this.info.tested;
    if (!record) return null;
    return section("Its test", facts([
      ["Verdict", state(record.passed ? "well" : "bad", record.verdict)],
      ["When", words.when(record.time)],
      ["Took", words.duration(record.took_ms)],
      ["Machine", record.machine],
      ["Seen", record.seen],
      ["Reason", record.reason],
      ["Command", record.run],
    ]), record.screen && el("figure", null, el("figcaption", null, "The console at the end"), el("pre", { tabindex: "0" }, record.screen)));
  }
}
