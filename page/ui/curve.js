// SPDX-License-Identifier: Apache-2.0
import { el } from "./parts.js";
import { prepare, unit } from "./timeline.js";

const POINTS = 600;

// A curve of what was seen since the page was opened: the commands keep no history of it.
export class Curve {
  constructor(name, write) {
    Object.assign(this, { name, write, points: [] });
    this.canvas = el("canvas", { role: "img", class: "plot" });
    this.words = el("p", { class: "weak" });
    this.node = el("div", null, el("h3", null, name), this.canvas, this.words);
  }

  add(at, value) {
    this.points.push({ at, value });
    if (this.points.length > POINTS) this.points.shift();
    this.draw();
  }

  draw() {
    const { points, canvas } = this, height = 64, width = canvas.clientWidth / unit();
    if (!width || !points.length) return;
    const context = prepare(canvas, height), style = getComputedStyle(canvas);
    const known = points.filter((point) => point.value != null);
    const most = known.reduce((high, point) => Math.max(high, point.value), 0);
    const from = points[0].at, length = Math.max(60e3, points.at(-1).at - from);
    context.fillStyle = style.getPropertyValue("--line");
    context.fillRect(0, height - 1, width, 1);
    context.strokeStyle = style.getPropertyValue("--accent");
    context.lineWidth = 1.5;
    context.beginPath();
    known.forEach((point, i) => {
      const x = (point.at - from) / length * width, y = height - 2 - (most ? point.value / most * (height - 6) : 0);
      if (i) context.lineTo(x, y);
      else context.moveTo(x, y);
    });
    context.stroke();
    if (known.length === 1) context.fillRect(0, height - 6, 4, 4);
    const last = points.at(-1).value;
    this.words.textContent = `now ${last == null ? "unknown" : this.write(last)}, at most ${this.write(most)} since this page was opened`;
    canvas.setAttribute("aria-label", `${this.name}: ${this.words.textContent}`);
  }
}
