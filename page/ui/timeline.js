// SPDX-License-Identifier: Apache-2.0
// All checkpoints of an agent on one canvas: a bar a checkpoint, its height the changed bytes, its colour the consistency; a lane for
// each mark above; gaps hatched. It moves from years to seconds by wheel, fingers, keys and buttons. Small plots share its time.
import { ticks } from "./axis.js";
import { changedBytes, drawSign, MARKS, storedBytes } from "./marks.js";
import { Moves } from "./moves.js";
import * as words from "./words.js";

const DAY = 86400e3;
const SHORTEST = 10e3; // milliseconds that the whole width shows at least
const LANE = 16, BARS = 150, AXIS = 26, OVERALL = 34, SPACE = 10;
const CONSISTENCY_ORDER = ["filesystem", "crash", "none"]; // the worst last

// The middle one of five; the numbers are changed.
function middle(numbers, count) {
  for (let i = 1; i < count; i++)
    for (let k = i; k > 0 && numbers[k] < numbers[k - 1]; k--) [numbers[k], numbers[k - 1]] = [numbers[k - 1], numbers[k]];
  return numbers[count >> 1];
}

// A gap is an interval of three times what is usual on both sides of it, and longer than a checkpoint may be late.
export function gaps(times, leastMs) {
  const found = [], near = new Float64Array(5);
  for (let i = 0; i + 1 < times.length; i++) {
    const length = times[i + 1] - times[i];
    if (length <= leastMs) continue;
    let usual = 0;
    for (const side of [-1, 1]) {
      let count = 0;
      for (let at = i + side; count < 5 && at >= 0 && at + 1 < times.length; at += side) near[count++] = times[at + 1] - times[at];
      if (count) usual = Math.max(usual, middle(near, count));
    }
    if (usual && length > 3 * usual) found.push({ from: times[i], until: times[i + 1] });
  }
  return found;
}

// Columns of numbers instead of 10,000 objects: drawing reads nothing else.
function columnsOf(rows) {
  const n = rows.length;
  const columns = { times: new Float64Array(n), changed: new Float64Array(n), stored: new Float64Array(n), freeze: new Float64Array(n),
    consistency: new Uint8Array(n), marks: new Uint8Array(n) };
  rows.forEach((row, i) => {
    columns.times[i] = words.instant(row.time);
    columns.changed[i] = changedBytes(row);
    columns.stored[i] = storedBytes(row);
    columns.freeze[i] = row.freeze_ms ?? 0;
    const order = CONSISTENCY_ORDER.indexOf(row.consistency);
    columns.consistency[i] = order < 0 ? 2 : order;
    for (let bit = 0; bit < MARKS.length; bit++) if (MARKS[bit].has(row)) columns.marks[i] |= 1 << bit;
  });
  return columns;
}

function firstAtLeast(times, at) {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < at) low = middle + 1;
    else high = middle;
  }
  return low;
}

// The span of time that is shown, and what of all it may be.
class Span {
  constructor(first, last) {
    const margin = Math.max((last - first) * 0.02, SHORTEST / 2);
    this.bounds = [first - margin, last + margin];
    this.from = this.bounds[0];
    this.until = this.bounds[1];
  }

  get length() { return this.until - this.from; }

  set(from, length) {
    const [low, high] = this.bounds;
    length = Math.min(Math.max(length, SHORTEST), high - low);
    this.from = Math.min(Math.max(from, low), high - length);
    this.until = this.from + length;
  }

  zoom(factor, at) {
    const length = Math.min(Math.max(this.length * factor, SHORTEST), this.bounds[1] - this.bounds[0]);
    this.set(at - (at - this.from) * (length / this.length), length);
  }
}

// The page's own colours, so that light and dark and print need nothing here.
function paints(node) {
  const style = getComputedStyle(node);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return { ink: of("ink"), weak: of("weak"), line: of("line"), page: of("page"), surface: of("surface"), accent: of("accent"), well: of("well"),
    wait: of("wait"), bad: of("bad"), bars: [of("bar-filesystem"), of("bar-crash"), of("bar-none")], hatch: of("hatch"),
    font: style.fontFamily };
}

export class Timeline {
  // onSelect(row|null), onMove(): after each draw. `plots`: canvases with what they show, [{canvas, column, write}].
  constructor(canvas, { leastGapMs, now, onSelect, onMove, onOpen }) {
    Object.assign(this, { canvas, leastGapMs, now, onSelect, onMove, onOpen, rows: [], selected: -1, plots: [] });
    this.draw = this.draw.bind(this);
    this.observer = new ResizeObserver(() => this.later());
    this.observer.observe(canvas);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.recolour = () => { this.paints = null; this.later(); };
    this.scheme.addEventListener("change", this.recolour);
    this.moves = new Moves(this);
  }

  close() {
    this.observer.disconnect();
    this.scheme.removeEventListener("change", this.recolour);
  }

  // Rows as `show --json` has them, the oldest first. What is shown stays if it was moved.
  show(rows) {
    const kept = this.selected >= 0 ? this.rows[this.selected].checkpoint : null;
    this.rows = rows;
    this.columns = columnsOf(rows);
    const { times } = this.columns;
    this.gaps = gaps(times, this.leastGapMs);
    const last = times.length ? times[times.length - 1] : this.now();
    if (this.leastGapMs < Infinity && this.now() - last > this.leastGapMs) this.gaps.push({ from: last, until: this.now() });
    this.lanes = MARKS.map((mark, bit) => ({ ...mark, bit })).filter(({ bit }) => this.columns.marks.some((bits) => bits >> bit & 1));
    this.highest = this.columns.changed.reduce((high, value) => Math.max(high, value), 1);
    const before = this.span;
    this.last = last;
    this.span = new Span(times.length ? times[0] : last - DAY, Math.max(last, Math.min(this.now(), last + 365 * DAY)));
    if (before && before.length < before.bounds[1] - before.bounds[0]) this.span.set(before.from, before.length);
    this.selected = kept == null ? -1 : rows.findIndex((row) => row.checkpoint === kept);
    this.draw();
  }

  height() {
    return this.lanes.length * LANE + SPACE + BARS + AXIS + OVERALL;
  }

  later() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(this.draw);
  }

  x(at) {
    return this.left + (at - this.span.from) / this.span.length * (this.width - this.left - this.right);
  }

  at(x) {
    return this.span.from + (x - this.left) / (this.width - this.left - this.right) * this.span.length;
  }

  // Logarithmic: a first sync and a quiet minute are both seen. 4 KiB is the least.
  barHeight(bytes) {
    const least = Math.log2(4096), most = Math.max(least + 4, Math.log2(this.highest));
    return bytes <= 0 ? 2 : Math.max(3, (Math.log2(Math.max(bytes, 4096)) - least) / (most - least) * (BARS - 12) + 3);
  }

  draw() {
    this.scheduled = false;
    if (!this.columns || !this.canvas.isConnected) return;
    const begun = performance.now();
    this.paints ??= paints(this.canvas);
    const context = prepare(this.canvas, this.height());
    this.unit = unit();
    this.width = this.canvas.clientWidth / this.unit;
    this.narrow = this.width < 560;
    this.left = this.narrow ? 8 : 96;
    this.right = 8;
    this.bottom = this.lanes.length * LANE + SPACE + BARS;
    this.drawScale(context);
    this.drawGaps(context);
    this.drawBars(context);
    for (const power of this.narrow ? [22, 32] : [])
      if (2 ** power <= this.highest) this.drawScaleText(context, power, this.bottom - this.barHeight(2 ** power));
    this.drawAxis(context);
    this.drawOverall(context);
    for (const plot of this.plots) this.drawPlot(plot);
    this.drawnMs = performance.now() - begun;
    this.onMove?.();
  }

  drawScale(context) {
    const { ink, weak, line, font } = this.paints;
    context.font = `12px ${font}`;
    context.textBaseline = "middle";
    this.lanes.forEach(({ name, sign, looks }, lane) => {
      const y = lane * LANE + LANE / 2;
      if (!this.narrow) {
        drawSign(context, sign, 8, y, this.paints[looks]);
        context.fillStyle = weak;
        context.textAlign = "left";
        context.fillText(name, 18, y);
      }
      context.fillStyle = line;
      context.fillRect(this.left, y, this.width - this.left - this.right, 1);
    });
    let lowest = Infinity;
    for (let power = 12; power < 60; power += 10) {
      const y = this.bottom - this.barHeight(2 ** power);
      if (2 ** power > this.highest || lowest - y < 18) continue;
      lowest = y;
      context.fillStyle = line;
      context.fillRect(this.left, Math.round(y), this.width - this.left - this.right, 1);
      if (!this.narrow) this.drawScaleText(context, power, y);
    }
    context.fillStyle = ink;
    context.fillRect(this.left, this.bottom, this.width - this.left - this.right, 1);
  }

  drawScaleText(context, power, y) {
    const text = words.size(2 ** power).replace(".0", "");
    context.font = `12px ${this.paints.font}`;
    context.textAlign = this.narrow ? "left" : "right";
    if (this.narrow) { // over the bars
      context.fillStyle = this.paints.surface;
      context.fillRect(this.left, y - 8, context.measureText(text).width + 6, 16);
    }
    context.fillStyle = this.paints.weak;
    context.fillText(text, this.narrow ? this.left + 2 : this.left - 8, y);
  }

  drawGaps(context) {
    const { hatch, weak, surface, font } = this.paints;
    for (const gap of this.gaps) {
      if (gap.until < this.span.from || gap.from > this.span.until) continue;
      const from = Math.max(this.left, this.x(gap.from) + 1), until = Math.min(this.width - this.right, this.x(gap.until) - 1);
      if (until - from < 1.5) continue;
      context.save();
      context.beginPath();
      context.rect(from, this.bottom - BARS, until - from, BARS);
      context.clip();
      context.strokeStyle = hatch;
      context.lineWidth = 1;
      context.beginPath();
      for (let x = from - BARS - from % 8; x < until; x += 8) {
        context.moveTo(x, this.bottom);
        context.lineTo(x + BARS, this.bottom - BARS);
      }
      context.stroke();
      context.restore();
      context.font = `12px ${font}`;
      const text = `none for ${words.duration(gap.until - gap.from)}`;
      const textWidth = context.measureText(text).width;
      if (until - from < textWidth + 12) continue;
      context.fillStyle = surface;
      context.fillRect((from + until - textWidth) / 2 - 4, this.bottom - BARS / 2 - 10, textWidth + 8, 20);
      context.fillStyle = weak;
      context.textAlign = "center";
      context.fillText(text, (from + until) / 2, this.bottom - BARS / 2);
    }
  }

  // Checkpoints that fall onto the same pixels become one bar: the largest change, all marks, and how many were of which consistency.
  buckets(first, last, pixels) {
    const { times, changed, consistency, marks } = this.columns;
    const found = [];
    let bucket = null;
    for (let i = first; i < last; i++) {
      const x = this.x(times[i]);
      const cell = Math.floor(x / pixels);
      if (!bucket || bucket.cell !== cell) found.push(bucket = { cell, x, changed: 0, marks: 0, numbers: [0, 0, 0] });
      if (changed[i] > bucket.changed) bucket.changed = changed[i];
      bucket.marks |= marks[i];
      bucket.numbers[consistency[i]]++;
    }
    return found;
  }

  drawBars(context) {
    const { times } = this.columns;
    const first = firstAtLeast(times, this.span.from), last = firstAtLeast(times, this.span.until + 1);
    const room = (this.width - this.left - this.right) / Math.max(1, last - first);
    const pixels = room < 4 ? 3 : 1;
    const width = room < 4 ? 2 : Math.min(12, room * 0.6);
    this.visible = last - first;
    for (const bucket of this.buckets(first, last, pixels)) {
      this.drawBar(context, bucket, pixels > 1 ? bucket.cell * pixels : bucket.x - width / 2, width);
      if (bucket.marks) this.drawMarks(context, bucket);
    }
    if (this.selected >= 0) this.drawSelected(context);
  }

  // The worst at the bottom, each by its share, and never too small to be seen. Wide bars differ by form, too.
  drawBar(context, { changed, numbers }, x, width) {
    const height = this.barHeight(changed), all = numbers[0] + numbers[1] + numbers[2];
    let y = this.bottom;
    for (const consistency of [2, 1, 0]) {
      if (!numbers[consistency]) continue;
      const part = numbers[consistency] === all ? height : Math.max(4, height * numbers[consistency] / all);
      const upper = consistency === 0 ? Math.min(this.bottom - height, y) : y - part;
      context.fillStyle = this.paints.bars[consistency];
      context.fillRect(x, upper, width, y - upper);
      context.fillStyle = this.paints.surface;
      if (consistency === 2 && width > 5) context.fillRect(x + 1.5, upper + 1.5, width - 3, y - upper - 3);
      if (consistency === 1 && width > 5) context.fillRect(x, y - Math.min(part, 5), width, 1.5);
      y = upper;
    }
  }

  drawMarks(context, bucket) {
    this.lanes.forEach(({ bit, sign, looks }, lane) => {
      if (bucket.marks >> bit & 1) drawSign(context, sign, bucket.x, lane * LANE + LANE / 2, this.paints[looks]);
    });
  }

  drawSelected(context) {
    const x = this.x(this.columns.times[this.selected]);
    if (x < this.left - 2 || x > this.width - this.right + 2) return;
    context.fillStyle = this.paints.ink;
    context.fillRect(Math.round(x) - 0.5, 0, 1, this.bottom);
    context.beginPath();
    context.moveTo(x - 6, this.bottom + 9);
    context.lineTo(x + 6, this.bottom + 9);
    context.lineTo(x, this.bottom + 1);
    context.fill();
  }

  drawAxis(context) {
    const { ink, weak, font } = this.paints;
    context.textAlign = "center";
    for (const tick of ticks(this.span.from, this.span.until, Math.max(2, (this.width - this.left) / 84))) {
      const x = this.x(tick.at);
      context.fillStyle = weak;
      context.fillRect(Math.round(x), this.bottom, 1, 4);
      const half = 22;
      if (x < this.left + half || x > this.width - this.right - half) continue;
      context.font = `${tick.strong ? "600 " : ""}12px ${font}`;
      context.fillStyle = tick.strong ? ink : weak;
      context.fillText(tick.text, x, this.bottom + 14);
    }
  }

  // All time in small, with a window around what is shown above.
  drawOverall(context) {
    const { times } = this.columns;
    const [low, high] = this.span.bounds;
    const top = this.bottom + AXIS + 6, height = OVERALL - 10;
    const room = this.width - this.left - this.right;
    const x = (at) => this.left + (at - low) / (high - low) * room;
    context.fillStyle = this.paints.page;
    context.fillRect(this.left, top, room, height);
    context.fillStyle = this.paints.weak;
    let before = -1;
    for (const at of times) {
      const pixel = Math.round(x(at));
      if (pixel === before) continue;
      context.fillRect(pixel, top + 5, 1, height - 10);
      before = pixel;
    }
    context.strokeStyle = this.paints.accent;
    context.lineWidth = 2;
    context.strokeRect(x(this.span.from) + 1, top + 1, Math.max(4, x(this.span.until) - x(this.span.from) - 2), height - 2);
    this.overall = { top, height, low, high, room };
  }

  drawPlot({ canvas, column, write, logarithmic }) {
    const height = 64, context = prepare(canvas, height), values = this.columns[column], { times } = this.columns;
    const first = firstAtLeast(times, this.span.from), last = firstAtLeast(times, this.span.until + 1);
    const scale = logarithmic ? (value) => Math.log2(1 + value) : (value) => value;
    const room = canvas.clientWidth / this.unit, perMs = room / this.span.length;
    let most = 0, sum = 0;
    const highest = new Float64Array(Math.ceil(room / 2) + 1).fill(-1); // of each two pixels
    for (let i = first; i < last; i++) {
      const pixel = (times[i] - this.span.from) * perMs >> 1;
      if (values[i] > highest[pixel]) highest[pixel] = values[i];
      if (values[i] > most) most = values[i];
      sum += values[i];
    }
    const width = Math.min(3, Math.max(1, room / (last - first) * 0.6));
    context.fillStyle = this.paints.line;
    context.fillRect(0, height - 1, room, 1);
    context.fillStyle = this.paints.accent;
    highest.forEach((value, pixel) => {
      if (value < 0) return;
      const bar = Math.max(1, most > 0 ? scale(value) / scale(most) * (height - 4) : 0);
      context.fillRect(pixel * 2, height - 1 - bar, width, bar);
    });
    const said = last > first ? `at most ${write(most)}, ${write(sum / (last - first))} on average` : "none in this span";
    canvas.setAttribute("aria-label", `${canvas.dataset.name}: ${said}`);
    canvas.nextElementSibling.textContent = said;
  }

  select(index, { follow = false } = {}) {
    if (!this.rows.length) return;
    this.selected = Math.min(Math.max(index, -1), this.rows.length - 1);
    if (follow && this.selected >= 0) {
      const at = this.columns.times[this.selected];
      const margin = this.span.length * 0.05;
      if (at < this.span.from + margin || at > this.span.until - margin) this.span.set(at - this.span.length / 2, this.span.length);
    }
    this.later();
    this.onSelect?.(this.selected >= 0 ? this.rows[this.selected] : null);
  }

  nearest(x) {
    const { times } = this.columns;
    if (!times.length) return -1;
    const at = this.at(x), next = Math.min(firstAtLeast(times, at), times.length - 1);
    return next > 0 && at - times[next - 1] < times[next] - at ? next - 1 : next;
  }

  // As a command's --checkpoint="yesterday 18:00": the newest one until then, or else the oldest.
  selectUntil(at) {
    this.select(Math.max(0, firstAtLeast(this.columns.times, at + 1) - 1), { follow: true });
  }

  // The last `ms` until the newest checkpoint; nothing: all.
  showLast(ms) {
    const [low, high] = this.span.bounds;
    if (ms == null) this.span.set(low, high - low);
    else this.span.set(Math.min(high, this.last + ms * 0.02) - ms, ms);
    this.later();
  }

  zoom(factor) {
    const at = this.selected >= 0 ? this.columns.times[this.selected] : (this.span.from + this.span.until) / 2;
    const inside = at > this.span.from && at < this.span.until;
    this.span.zoom(factor, inside ? at : (this.span.from + this.span.until) / 2);
    this.later();
  }
}

// Canvases grow with the text: what is drawn is measured in pixels of a text of 16.
export function unit() {
  return parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
}

// The canvas in the device's own pixels, cleared.
export function prepare(canvas, height) {
  const size = unit(), scale = (devicePixelRatio || 1) * size, width = canvas.clientWidth / size;
  canvas.style.height = `${height * size}px`;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}
