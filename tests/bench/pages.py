#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What open pages cost: the processor's time of the dispatcher and of the page, without a page, with one and with 200.

    BLXREP_BIN=build-release/bin tests/bench/pages.py [--agents=100] [--pages=200] [--seconds=60]

A crowd of agents without disks is connected (tests/e2e/crowd.c). Prints each process's share of one core, and ratios.
"""

import argparse
import http.client
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from programs import Dispatcher, Page  # noqa: E402
from registry import REGISTRY, Folder  # noqa: E402
from test_seeing import Crowd  # noqa: E402


def used_s(pid):
    """With that of its children that have ended: the commands that the page runs."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


class Listener:
    """An open page, which reads whatever it is told."""

    def __init__(self, page, cookie):
        self.connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=120)
        self.connection.request("GET", "/events", headers={"Cookie": cookie})
        self.stream = self.connection.getresponse()
        self.stream.readline()
        self.bytes = 0
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            while piece := self.stream.readline():
                self.bytes += len(piece)
        except (OSError, ValueError, AttributeError):
            pass

    def close(self):
        self.connection.sock.close()


def measure(dispatcher, page, seconds):
    before = [used_s(process.process.pid) for process in (dispatcher, page)]
    time.sleep(seconds)
    return [(used_s(process.process.pid) - start) / seconds for process, start in zip((dispatcher, page), before)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    folder = str(Folder(REGISTRY))
    data_dir = os.path.join(folder, "data")
    dispatcher = Dispatcher(REGISTRY, folder, data_dir).start()
    page = Page(REGISTRY, folder, data_dir).start()
    Crowd(REGISTRY, dispatcher, folder, options.agents)
    cookie = page.enter()
    results = {}
    for count in (0, 1, options.pages):
        listeners = [Listener(page, cookie) for _ in range(count)]
        time.sleep(5)
        results[count] = measure(dispatcher, page, options.seconds)
        received = sum(listener.bytes for listener in listeners)
        print(f"{count:4} pages, {options.agents} agents: dispatcher {results[count][0]:.2%}, page and its commands {results[count][1]:.2%} of a core, "
              f"{received / max(count, 1):.0f} bytes to each", flush=True)
        for listener in listeners:
            listener.close()
    extra = results[options.pages][0] - results[0][0]
    print(f"{options.pages} pages take {extra:.2%} of a core of the dispatcher; of the page {results[options.pages][1] / max(results[1][1], 1e-9):.1f} times what one takes")
    problems = REGISTRY.close_all()
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
