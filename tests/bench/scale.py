#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Curves of what a store costs against the size of the disk and the length of its history: memory of the index, opening a session, commit, prune,
rewrite, planning a restore. Stores of simulated disks, written through the real calls; a table, JSON and an SVG plot.

    BLXREP_BIN=build-release/bin tests/bench/scale.py --output=results

The large disks are little used, so that 16 TiB fit anywhere; what is counted depends on extents, not on bytes. A simulation does not wait for the disk:
the commit's time is without its fsyncs, those of prune and rewrite are with them.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile

GIB = 1 << 30
FIGURES = [("index_bytes", "index memory, bytes", 1), ("open_us", "open a first session, ms", 1e3),
           ("reopen_us", "open a session after another, ms", 1e3), ("commit_us", "commit, ms", 1e3),
           ("plan_us", "plan a restore, ms", 1e3), ("prune_us", "prune 90 %, ms", 1e3), ("rewrite_us", "rewrite, ms", 1e3)]


def points(toy):
    """(what grows, bytes of the disk, percent used, block shift, checkpoints, bytes that change)"""
    if toy:
        return [("disk", size * GIB // 64, 10, 12, 10, 1 << 18) for size in (1, 4)] + [("history", GIB // 64, 50, 12, count, 1 << 16)
                                                                                       for count in (10, 40)]
    disks = [(10, 50, 12), (100, 10, 12), (1024, 1, 14), (4096, 1, 16), (16384, 1, 16)]
    return [("disk", gib * GIB, used, shift, 100, 16 << 20) for gib, used, shift in disks] + [
        ("history", 10 * GIB, 10, 12, count, 1 << 20) for count in (10, 100, 1000, 3000, 10000)]


def measure(point, folder):
    grows, size, used, shift, count, change = point
    data_dir = os.path.join(folder, "data")
    program = os.path.join(os.environ["BLXREP_BIN"], "..", "tests", "scale")
    done = subprocess.run([program, f"--data-dir={data_dir}", f"--size={size}", f"--used={used}", f"--block-shift={shift}",
                           f"--checkpoints={count}", f"--change={change}"], check=True, stdout=subprocess.PIPE, text=True)
    shutil.rmtree(data_dir)
    return {"grows": grows, **json.loads(done.stdout)}


def disk_name(size):
    return f"{size / GIB / 1024:g} TiB" if size >= 1024 * GIB else f"{size / GIB:.3g} GiB"


def table(rows):
    lines = [["grows", "disk", "used", "block", "checkpoints"] + [label for _key, label, _unit in FIGURES]]
    for row in rows:
        lines.append([row["grows"], disk_name(row["size"]), f"{row['used_percent']} %", f"{row['block_bytes'] // 1024} KiB", str(row["checkpoints"])]
                     + [f"{row[key] / unit:.4g}" if unit > 1 else str(row[key]) for key, _label, unit in FIGURES])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines) + "\n"


def curve(rows, key, label, unit, left, top):
    """One small chart, both axes logarithmic."""
    grows = rows[0]["grows"]
    along = [row["size"] if grows == "disk" else row["checkpoints"] for row in rows]
    values = [max(row[key] / unit, 1e-3) for row in rows]
    low, high = math.floor(math.log10(min(values))), math.floor(math.log10(max(values))) + 1

    def x_of(value):
        return left + 60 + 200 * (math.log(value) - math.log(along[0])) / (math.log(along[-1]) - math.log(along[0]))

    def y_of(value):
        return top + 150 - 120 * (math.log10(value) - low) / (high - low)

    lines = [f'<text x="{left + 60}" y="{top + 16}" font-weight="bold">{label}</text>']
    for power in range(low, high + 1):
        y = y_of(10 ** power)
        lines.append(f'<line x1="{left + 60}" x2="{left + 260}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ccc"/>'
                     f'<text x="{left + 54}" y="{y + 4:.1f}" text-anchor="end">{10 ** power:g}</text>')
    for value, row in zip(along, rows, strict=True):
        name = disk_name(row["size"]) if grows == "disk" else str(value)
        lines.append(f'<text x="{x_of(value):.1f}" y="{top + 166}" text-anchor="middle" font-size="9">{name}</text>')
    dots = [f"{x_of(a):.1f},{y_of(v):.1f}" for a, v in zip(along, values, strict=True)]
    lines.append(f'<polyline points="{" ".join(dots)}" fill="none" stroke="#385" stroke-width="2"/>')
    lines += [f'<circle cx="{dot.split(",")[0]}" cy="{dot.split(",")[1]}" r="3" fill="#385"/>' for dot in dots]
    return lines


def plot(rows):
    lines = []
    rows_each = math.ceil(len(FIGURES) / 3)
    for line, grows in enumerate(("disk", "history")):
        some = [row for row in rows if row["grows"] == grows]
        for column, (key, label, unit) in enumerate(FIGURES):
            lines += curve(some, key, label, unit, 290 * (column % 3), 190 * (rows_each * line + column // 3) + 10)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="880" height="{380 * rows_each + 20}" font-family="sans-serif" font-size="11">\n'
            '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(lines) + "\n</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="scale-results", help="folder for table, JSON and plot")
    parser.add_argument("--folder", help="where the stores are kept during the run")
    parser.add_argument("--toy", action="store_true", help="tiny: that it runs; the figures mean nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="blxrep-scale-", dir=options.folder) as folder:
        rows = []
        for point in points(options.toy):
            rows.append(measure(point, folder))
            print(table(rows[-1:]), end="", flush=True)
    os.makedirs(options.output, exist_ok=True)
    for name, content in (("scale.txt", table(rows)), ("scale.json", json.dumps(rows, indent=2)), ("scale.svg", plot(rows))):
        with open(os.path.join(options.output, name), "w", encoding="utf-8") as file:
            file.write(content)


if __name__ == "__main__":
    sys.exit(main())
