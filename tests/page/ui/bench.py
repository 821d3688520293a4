#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
What a reader waits for: the first paint of 1,000 agents, the timeline of 10,000 checkpoints, the longest frame while it is zoomed, and
the bytes that come over the wire. Prints medians of --rounds; on a quiet machine. The goals are those of the page's decisions.

    tests/page/ui/bench.py [--rounds=7] [--agents=1000] [--checkpoints=10000]
"""

import argparse
import statistics
import sys

import answers
from browser import Browser

OVERVIEW = """return new Promise((done) => { const look = () => { const [drawn] = performance.getEntriesByName('overview-drawn');
  if (!drawn) return setTimeout(look, 10);
  const status = performance.getEntriesByType('resource').find((entry) => entry.name.endsWith('/api/status'));
  const paint = performance.getEntriesByName('first-contentful-paint')[0];
  requestAnimationFrame(() => setTimeout(() => done({drawn: drawn.startTime, after: drawn.startTime - status.responseEnd, paint: paint?.startTime}))); }; look(); });"""

TIMELINE = """return new Promise((done) => { const look = () => { const [drawn] = performance.getEntriesByName('timeline-drawn');
  if (!drawn) return setTimeout(look, 10); done({drawn: drawn.duration, received: drawn.detail.receivedMs}); }; look(); });"""

ZOOM = """return new Promise((done) => { const canvas = document.querySelector('.timeline'); canvas.focus(); let before = null, frames = [], step = 0;
  const frame = (now) => { if (before !== null) frames.push(now - before); before = now;
    if (step++ > 90) return done({longest: Math.max(...frames), median: frames.sort((a, b) => a - b)[frames.length >> 1]});
    canvas.dispatchEvent(new WheelEvent('wheel', {deltaY: step < 45 ? -120 : 120, clientX: canvas.getBoundingClientRect().x + 600, bubbles: true, cancelable: true}));
    requestAnimationFrame(frame); }; requestAnimationFrame(frame); });"""


def main_thread_ms(browser):
    """The processor's time of the window's main thread, which other load on the machine does not lengthen much."""
    return 1000 * sum(metric["value"] for metric in browser.devtools("Performance.getMetrics")["metrics"] if metric["name"] == "TaskDuration")


def main():
    options = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--agents", type=int, default=1000)
    options.add_argument("--checkpoints", type=int, default=10000)
    words = options.parse_args()
    served = answers.Answers(answers.fleet(words.agents), answers.history(words.checkpoints))
    browser = Browser()
    found = {}
    try:
        browser.devtools("Performance.enable", timeDomain="threadTicks")
        for _ in range(words.rounds):
            for path, scripts in [("/", {"overview": OVERVIEW}), ("/agent?id=web1", {"timeline": TIMELINE, "zoom": ZOOM})]:
                browser.devtools("Network.clearBrowserCache")
                browser.go("about:blank")
                before = main_thread_ms(browser)
                browser.go(served.address + path)
                browser.run(next(iter(scripts.values())))
                found.setdefault(f"{next(iter(scripts))} cpu", []).append(main_thread_ms(browser) - before)
                for name, script in scripts.items():
                    for key, value in browser.run(script).items():
                        if value is not None:
                            found.setdefault(f"{name} {key}", []).append(value)
    finally:
        browser.close()
        served.close()
    middle = {key: statistics.median(values) for key, values in found.items()}
    files = sum(sent for path, sent in served.sent_bytes.items() if not path.startswith("/api/"))
    lines = [
        (f"{words.agents} agents, from the request to the rows", middle["overview drawn"], "ms", 300),
        ("  of it after the answer of status had come", middle["overview after"], "ms", None),
        ("  the main thread's processor time for the whole page", middle["overview cpu"], "ms", None),
        (f"{len(served.rows)} checkpoints, from their JSON to the timeline", middle["timeline drawn"], "ms", 150),
        ("  before that, to receive and parse their JSON", middle["timeline received"], "ms", None),
        ("  the main thread's processor time for the whole page", middle["timeline cpu"], "ms", None),
        ("a frame while it is zoomed", middle["zoom median"], "ms", None),
        ("the longest frame while it is zoomed", middle["zoom longest"], "ms", None),
        ("the page's own files, packed", files / 1024, "KiB", 100),
        (f"status of {words.agents} agents, packed", served.sent_bytes["/api/status"] / 1024, "KiB", None),
        (f"show of {len(served.rows)} checkpoints, packed", served.sent_bytes["/api/show?agent=web1"] / 1024, "KiB", None),
    ]
    for name, value, unit, goal in lines:
        print(f"{name:56} {value:9.1f} {unit:4}" + (f" goal {goal}" if goal else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
