# SPDX-License-Identifier: Apache-2.0
"""Levels of compression over a link of so many Mbit/s: the time and the bytes of a first copy, at each fixed level and with "auto"."""

import os
import shutil
import time

import data
from disks import LoopDisk
from ours import Ours
from registry import REGISTRY, run

RATES_MBIT = [20, 1000]
KINDS = ["none", "zstd", "auto"]


class Link:
    """A network namespace at the other end of a veth pair, with a bound to what is sent to it."""

    def __init__(self):
        self.name = f"blxrep-bench-{os.getpid()}"
        self.address = "10.213.7.2"
        self.net = f"/run/netns/{self.name}"
        REGISTRY.add(self)
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", "blxbench0", "type", "veth", "peer", "name", "blxbench1", "netns", self.name)
        run("ip", "addr", "add", "10.213.7.1/30", "dev", "blxbench0")
        run("ip", "link", "set", "blxbench0", "up")
        run("ip", "-n", self.name, "addr", "add", f"{self.address}/30", "dev", "blxbench1")
        run("ip", "-n", self.name, "link", "set", "blxbench1", "up")

    def __str__(self):
        return f"link {self.name}"

    def limit(self, mbit):
        run("tc", "qdisc", "replace", "dev", "blxbench0", "root", "tbf", "rate", f"{mbit}mbit", "burst", "128k", "latency", "50ms")

    def close(self):
        run("ip", "netns", "del", self.name)
        REGISTRY.forget(self)


def measure(report, folder, rounds, used_mib, in_any_order):
    disk = LoopDisk(REGISTRY, folder, used_mib * 2, "network")
    files = disk.make("ext4")
    data.fill(files, used_mib, 2)
    link = Link()
    for mbit in RATES_MBIT:
        link.limit(mbit)
        took, sent, cpu = ({kind: [] for kind in KINDS} for _ in range(3))
        for _ in range(rounds):
            for kind in in_any_order(KINDS):
                ours = Ours(os.path.join(folder, "network"), disk, link=link, words=[f"--compression={kind}"])
                ours.begin()
                begun = time.monotonic()
                ours.full()
                took[kind].append(time.monotonic() - begun)
                sent[kind].append(ours.received_bytes())
                cpu[kind].append(ours.cpu_seconds()[0])
                ours.forget()
                shutil.rmtree(ours.folder)
        work = f"{mbit} Mbit/s"
        for kind in KINDS:
            report.add(work, f"first copy, {kind}", "s", took[kind])
            report.add(work, f"agent's CPU, {kind}", "s", cpu[kind])
        for kind in KINDS[:-1]:
            report.add(work, f"time, {kind} / auto", "x", [b / a for a, b in zip(took["auto"], took[kind], strict=True)], better="higher")
            report.add(work, f"bytes, {kind} / auto", "x", [b / a for a, b in zip(sent["auto"], sent[kind], strict=True)], better="higher")
    link.close()
    files.umount(settled=False)
    disk.close()
