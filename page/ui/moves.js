// SPDX-License-Identifier: Apache-2.0
// How a timeline is moved: wheel, one finger or two, the window in the small line below, and keys.

export class Moves {
  constructor(line) {
    Object.assign(this, { line, pointers: new Map() });
    const { canvas } = line;
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.release(event));
    canvas.addEventListener("dblclick", () => this.open());
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  open() {
    const { rows, selected } = this.line;
    if (selected >= 0) this.line.onOpen(rows[selected]);
  }

  across(event) {
    return event.offsetX / this.line.unit;
  }

  down(event) {
    return event.offsetY / this.line.unit;
  }

  // Like a map: with Ctrl, or by a pinch on a touchpad, it always zooms. A plain wheel zooms only while the canvas has the focus;
  // otherwise the page scrolls.
  wheel(event) {
    const { line } = this, { span } = line;
    const isZoom = event.ctrlKey || event.metaKey || document.activeElement === line.canvas;
    if (!isZoom && Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return;
    event.preventDefault();
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) span.set(span.from + event.deltaX / line.width * span.length, span.length);
    else span.zoom(Math.exp(Math.max(-300, Math.min(300, event.deltaY)) * 0.002), line.at(this.across(event)));
    line.later();
  }

  press(event) {
    const { line } = this;
    line.canvas.setPointerCapture(event.pointerId);
    const inOverall = line.overall && this.down(event) >= line.overall.top;
    this.pointers.set(event.pointerId, { x: this.across(event), begun: this.across(event), moved: false, inOverall });
    if (inOverall) this.jump(this.across(event));
  }

  jump(x) {
    const { line } = this;
    const { low, high, room } = line.overall;
    const at = low + (x - line.left) / room * (high - low);
    line.span.set(at - line.span.length / 2, line.span.length);
    line.later();
  }

  drag(event) {
    const { line } = this;
    const pointer = this.pointers.get(event.pointerId);
    if (!pointer) {
      line.canvas.style.cursor = line.overall && this.down(event) >= line.overall.top ? "ew-resize" : "crosshair";
      return;
    }
    if (pointer.inOverall) {
      this.jump(this.across(event));
      return;
    }
    const others = [...this.pointers.values()].filter((other) => other !== pointer);
    if (others.length === 1) {
      const [other] = others;
      const before = Math.max(20, Math.abs(pointer.x - other.x)), after = Math.max(20, Math.abs(this.across(event) - other.x));
      line.span.zoom(before / after, line.at(other.x));
      pointer.moved = other.moved = true;
    } else if (pointer.moved || Math.abs(this.across(event) - pointer.begun) > 5) {
      pointer.moved = true;
      const moved = (this.across(event) - pointer.x) / (line.width - line.left - line.right);
      line.span.set(line.span.from - moved * line.span.length, line.span.length);
    }
    pointer.x = this.across(event);
    line.later();
  }

  release(event) {
    const { line } = this;
    const pointer = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (pointer && !pointer.moved && !pointer.inOverall && event.type === "pointerup") line.select(line.nearest(this.across(event)));
  }

  key(event) {
    const { line } = this;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const from = line.selected < 0 ? line.rows.length : line.selected;
    const steps = {
      ArrowLeft: () => line.select(Math.max(0, from - 1), { follow: true }),
      ArrowRight: () => line.select(Math.min(line.rows.length - 1, from + 1), { follow: true }),
      Home: () => line.select(0, { follow: true }),
      End: () => line.select(line.rows.length - 1, { follow: true }),
      PageUp: () => { line.span.set(line.span.from - line.span.length * 0.8, line.span.length); line.later(); },
      PageDown: () => { line.span.set(line.span.from + line.span.length * 0.8, line.span.length); line.later(); },
      "+": () => line.zoom(0.5),
      "=": () => line.zoom(0.5),
      "-": () => line.zoom(2),
      0: () => line.showLast(null),
      Enter: () => line.selected >= 0 && line.onOpen(line.rows[line.selected]),
      Escape: () => line.select(-1),
    };
    if (!steps[event.key]) return;
    event.preventDefault();
    steps[event.key]();
  }
}
