// SPDX-License-Identifier: Apache-2.0
// The parts that pages are put together from. Whatever comes from a server goes into text nodes and attributes, never into markup.

// el("p", {class: "note", onclick: f}, "text", child, ...). null and false children are left out.
export function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  append(node, children);
  return node;
}

function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child == null || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(child));
  }
}

export function replace(node, ...children) {
  node.replaceChildren();
  append(node, children);
}

// A time as people say it, with the exact one on a tip and for machines.
export function time(text, shown, at) {
  return el("time", { datetime: new Date(at).toISOString(), title: `${text}, local time` }, shown);
}

export function state(looks, word) {
  return el("span", { class: `state ${looks}` }, word);
}

// A list of names and values; rows without a value are left out.
export function facts(rows, attributes = {}) {
  const shown = rows.filter(([, value]) => value != null && value !== "");
  return el("dl", { ...attributes, class: `facts ${attributes.class ?? ""}` },
    shown.map(([name, value, hint]) => el("div", null, el("dt", null, name), el("dd", { title: hint }, value))));
}

export function section(title, ...children) {
  const id = `section-${title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;
  return el("section", { "aria-labelledby": id }, el("h2", { id }, title), children);
}

// A command line to paste, and the button that copies it.
export function commandLine(line) {
  const button = el("button", { type: "button", class: "copy", "aria-label": `Copy the command ${line}` }, "Copy");
  button.addEventListener("click", async () => {
    button.textContent = await copyText(line) ? "Copied" : "Select and copy";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  const parts = line.split(" ").flatMap((word, i) => [i > 0 && " ", el("span", null, word)]); // an option stays in one piece
  return el("div", { class: "command" }, el("code", { tabindex: "0" }, parts), button);
}

// The clipboard is for secure origins only, and 127.0.0.1 is one; elsewhere the old way is tried.
async function copyText(line) {
  try {
    await navigator.clipboard.writeText(line);
    return true;
  } catch {
    const area = el("textarea", { class: "unseen" });
    area.value = line;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

export function message(looks, ...children) {
  return el("p", { class: `message ${looks}`, role: looks === "bad" ? "alert" : "status" }, children);
}

// A list of any length of which only the visible rows exist. Each row is `height()` pixels high, and make(item, index) makes it.
// Printing makes them all.
export class LongList {
  constructor(parent, height, make) {
    Object.assign(this, { parent, height, make, items: [], first: 0, rows: new Map(), scheduled: false, all: false });
    this.draw = this.draw.bind(this);
    this.later = this.later.bind(this);
    this.printing = () => { this.all = true; this.redraw(); };
    this.printed = () => { this.all = false; this.redraw(); };
    addEventListener("scroll", this.later, { passive: true });
    addEventListener("resize", this.later);
    addEventListener("beforeprint", this.printing);
    addEventListener("afterprint", this.printed);
  }

  close() {
    removeEventListener("scroll", this.later);
    removeEventListener("resize", this.later);
    removeEventListener("beforeprint", this.printing);
    removeEventListener("afterprint", this.printed);
  }

  show(items) {
    this.items = items;
    this.redraw();
  }

  redraw() {
    const focused = this.parent.contains(document.activeElement) ? document.activeElement.closest("[data-key]")?.dataset.key : null;
    this.rows.clear();
    this.parent.replaceChildren();
    this.draw();
    if (focused != null) this.parent.querySelector(`[data-key="${CSS.escape(focused)}"] a`)?.focus({ preventScroll: true });
  }

  later() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(this.draw);
  }

  // Rows that stay visible keep their nodes, and with them the focus.
  draw() {
    this.scheduled = false;
    const height = this.height();
    const top = -this.parent.getBoundingClientRect().top;
    let from = Math.max(0, Math.floor(top / height) - 6);
    let until = Math.min(this.items.length, Math.ceil((top + innerHeight) / height) + 6);
    if (this.all) [from, until] = [0, this.items.length];
    this.parent.classList.toggle("all", this.all);
    this.parent.style.height = this.all ? "auto" : `${this.items.length * height}px`;
    for (const [index, row] of this.rows) {
      if (index >= from && index < until) continue;
      row.remove();
      this.rows.delete(index);
    }
    let after = null;
    for (let index = from; index < until; index++) {
      let row = this.rows.get(index);
      if (!row) {
        row = this.make(this.items[index], index);
        row.setAttribute("aria-rowindex", index + 2);
        this.rows.set(index, row);
        if (after) after.after(row);
        else this.parent.prepend(row);
      }
      row.style.transform = this.all ? "none" : `translateY(${index * height}px)`;
      after = row;
    }
  }
}
