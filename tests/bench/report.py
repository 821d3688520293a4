# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks found: a table for people, JSON for programs, a plot of the ratios."""

import json
import os
import statistics


def median(values):
    return statistics.median(values) if values else None


def spread(values):
    """The quartiles, as far as a few rounds have any."""
    if len(values) < 3:
        return min(values), max(values)
    low, _middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


class Result:
    """One figure of one work: its rounds, and what it ought to be."""

    def __init__(self, work, what, unit, values, goal=None, better=None):
        self.work = work
        self.what = what
        self.unit = unit
        self.values = [float(value) for value in values]
        self.goal = goal  # a figure, compared by `better`: "higher" or "lower"
        self.better = better

    def met(self):
        if self.goal is None:
            return None
        value = median(self.values)
        return value >= self.goal if self.better == "higher" else value <= self.goal

    def row(self):
        low, high = spread(self.values)
        goal = "" if self.goal is None else f"{'>=' if self.better == 'higher' else '<='} {self.goal:g}"
        verdict = {None: "", True: "met", False: "MISSED"}[self.met()]
        return [self.work, self.what, f"{median(self.values):.4g} {self.unit}", f"{low:.4g} .. {high:.4g}", str(len(self.values)), goal,
                verdict]

    def as_json(self):
        return {"work": self.work, "what": self.what, "unit": self.unit, "values": self.values, "median": median(self.values),
                "goal": self.goal, "better": self.better, "met": self.met()}


class Report:
    def __init__(self, machine):
        self.machine = machine
        self.results = []

    def add(self, *words, **named):
        result = Result(*words, **named)
        self.results.append(result)
        print("  ".join(cell for cell in result.row() if cell), flush=True)
        return result

    def table(self):
        rows = [["work", "figure", "median", "quartiles", "rounds", "goal", ""]] + [result.row() for result in self.results]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)

    def write(self, folder):
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "results.json"), "w", encoding="utf-8") as file:
            json.dump({"machine": self.machine, "results": [result.as_json() for result in self.results]}, file, indent=2)
        with open(os.path.join(folder, "results.txt"), "w", encoding="utf-8") as file:
            file.write("".join(f"{key}: {value}\n" for key, value in self.machine.items()) + "\n" + self.table() + "\n")
        with open(os.path.join(folder, "results.svg"), "w", encoding="utf-8") as file:
            file.write(self.plot())

    def plot(self):
        """The ratios (whose unit is "x"): a bar from one, on a logarithmic scale, and the goal as a line."""
        ratios = [result for result in self.results if result.unit == "x"]
        height, left, width = 22, 380, 420
        lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 90}" height="{height * (len(ratios) + 2)}" '
                 'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>']

        def x_of(value):
            from math import log10
            return left + width * min(max((log10(max(value, 1e-3)) + 1) / 4, 0), 1)

        for tick in (0.1, 1, 10, 100, 1000):
            lines.append(f'<line x1="{x_of(tick):.0f}" x2="{x_of(tick):.0f}" y1="{height}" y2="{height * (len(ratios) + 1)}" stroke="#ccc"/>'
                         f'<text x="{x_of(tick):.0f}" y="{height - 6}" text-anchor="middle">{tick:g}</text>')
        for number, result in enumerate(ratios, 1):
            value, y = median(result.values), number * height
            start, end = sorted((x_of(1), x_of(value)))
            colour = {None: "#7a8", True: "#385", False: "#b43"}[result.met()]
            lines.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{result.work}: {result.what}</text>'
                         f'<rect x="{start:.1f}" y="{y + 4}" width="{max(end - start, 1):.1f}" height="{height - 8}" fill="{colour}"/>'
                         f'<text x="{end + 4:.1f}" y="{y + 15}">{value:.3g}</text>')
            if result.goal is not None:
                goal = x_of(result.goal)
                lines.append(f'<line x1="{goal:.1f}" x2="{goal:.1f}" y1="{y + 1}" y2="{y + height - 1}" stroke="black" stroke-width="2"/>')
        return "\n".join(lines + ["</svg>"]) + "\n"
