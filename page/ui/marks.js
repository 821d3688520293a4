// SPDX-License-Identifier: Apache-2.0
// What is special about a checkpoint: the marks, each with a word, a colour and a sign of its own; and its bytes over all disks.

// What is marked, by which sign; `has` asks a row of `show --json`.
export const MARKS = [
  { name: "pinned", has: (row) => row.pinned, sign: "pin", looks: "accent" },
  { name: "tested", has: (row) => row.tested?.passed === true, sign: "tick", looks: "well" },
  { name: "test failed", has: (row) => row.tested?.passed === false, sign: "cross", looks: "bad" },
  { name: "locked", has: (row) => Boolean(row.locked || row.locked_until), sign: "lock", looks: "accent" },
  { name: "damaged", has: (row) => row.damaged, sign: "diamond", looks: "bad" },
  { name: "lacks a disk", has: (row) => row.missing?.length > 0, sign: "ring", looks: "bad" },
  { name: "suspicious", has: (row) => Boolean(row.suspicious), sign: "question", looks: "wait" },
];

export function changedBytes(row) {
  return row.volumes.reduce((sum, volume) => sum + (volume.changed_bytes ?? 0), 0);
}

export function storedBytes(row) {
  return row.volumes.reduce((sum, volume) => sum + (volume.stored_bytes ?? 0), 0);
}

export function marksOf(row) {
  return MARKS.filter((mark) => mark.has(row));
}

const SIGNS = {
  pin: [[-4, -5], [4, -5], [0, 5]],
  diamond: [[0, -5], [5, 0], [0, 5], [-5, 0]],
};

// Each mark has a form of its own, not only a colour.
export function drawSign(context, sign, x, y, colour) {
  context.fillStyle = context.strokeStyle = colour;
  context.lineWidth = 2;
  context.beginPath();
  if (SIGNS[sign]) {
    SIGNS[sign].forEach(([dx, dy], i) => i ? context.lineTo(x + dx, y + dy) : context.moveTo(x + dx, y + dy));
    context.fill();
  } else if (sign === "tick") {
    context.moveTo(x - 4, y);
    context.lineTo(x - 1, y + 3.5);
    context.lineTo(x + 4.5, y - 4);
    context.stroke();
  } else if (sign === "cross") {
    context.moveTo(x - 3.5, y - 3.5);
    context.lineTo(x + 3.5, y + 3.5);
    context.moveTo(x + 3.5, y - 3.5);
    context.lineTo(x - 3.5, y + 3.5);
    context.stroke();
  } else if (sign === "lock") {
    context.fillRect(x - 4, y - 1, 8, 6);
    context.arc(x, y - 1, 2.6, Math.PI, 0);
    context.stroke();
  } else if (sign === "ring") {
    context.arc(x, y, 3.6, 0, 2 * Math.PI);
    context.stroke();
  } else {
    context.font = "700 13px sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText("?", x, y + 0.5);
  }
}
