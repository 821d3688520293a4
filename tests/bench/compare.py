#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""blxrep beside what a user would pick instead: the same device, the same data, one run, alternating, several rounds.

    compare.py [--disk-mib=8192] [--rounds=5] [--works=full,increment,...] [--peers=dd,zstd,...|all] [--output=FOLDER]

BLXREP_BIN names the folder of a release build. Prints each figure as it is found, and writes results.txt, results.json and results.svg. Ratios
are made within a round, of runs that directly follow each other; their median counts. `etc/packages.sh bench` installs the peers.
"""

import argparse
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))

import capacity
import data
import freeze
import network
import opening
import rescanning
import tracking
from checks import check_equal
from disks import MIB, LoopDisk
from ours import Ours
from peers import PEERS
from programs import bin_folder
from registry import REGISTRY, Failure, Folder, guard_process, run
from report import Report


def seconds_of(function, *words):
    begun = time.monotonic()
    function(*words)
    return time.monotonic() - begun


class Bench:
    def __init__(self, arguments):
        self.disk_mib = arguments.disk_mib
        self.rounds = arguments.rounds
        self.fio_seconds = arguments.fio_seconds
        self.report = Report(machine())
        self.dice = random.Random(arguments.seed)
        self.folder = str(Folder(REGISTRY))
        self.names = arguments.peers

    def make_disk(self):
        self.disk = LoopDisk(REGISTRY, self.folder, self.disk_mib)
        files = self.disk.make("ext4")
        data.fill(files, int(self.disk_mib * 0.6), 1)
        files.umount()
        self.extents = data.used_extents(files)
        self.used_bytes = sum(end - start for start, end in self.extents)
        self.files = files
        self.ours = Ours(os.path.join(self.folder, "blxrep"), self.disk)
        self.peers = [peer(self.folder, self.disk.path) for peer in PEERS if peer.name() in self.names]
        print(f"{self.disk_mib} MiB disk, {self.used_bytes // MIB} MiB used", flush=True)

    def in_any_order(self, things):
        return self.dice.sample(things, len(things))

    def zstd_of_used(self):
        """The floor of a full copy: what is used of the disk, through zstd -1 -T0, to a file."""
        path = os.path.join(self.folder, "floor")
        with open(path, "wb") as file, open(self.disk.path, "rb", buffering=0) as device:
            process = subprocess.Popen(["zstd", "-q", "-1", "-T0"], stdin=subprocess.PIPE, stdout=file)
            for start, end in self.extents:
                for at in range(start, end, 4 * MIB):
                    process.stdin.write(os.pread(device.fileno(), min(4 * MIB, end - at), at))
            process.stdin.close()
            if process.wait() != 0:
                raise Failure("zstd failed")
            os.fsync(file.fileno())
        os.unlink(path)

    def full(self):
        """First copies. The filesystem is mounted for blxrep, which skips free space then, and unmounted for the others. No copy stays for the next
        one to begin beside: a disk and a page cache that others have filled would slow whoever comes late."""
        took = {name: [] for name in ["blxrep", "zstd of what is used"] + [peer.name() for peer in self.peers]}
        cpu = []
        for _ in range(self.rounds):
            for one in self.in_any_order([self.ours, None] + self.peers):
                if one is None:
                    took["zstd of what is used"].append(seconds_of(self.zstd_of_used))
                elif one is self.ours:
                    one.forget()
                    one.begin()
                    self.files.mount()
                    took["blxrep"].append(seconds_of(one.full))
                    cpu.append([seconds * 1e9 / self.used_bytes for seconds in one.cpu_seconds()])
                    self.files.umount()
                else:
                    took[one.name()].append(seconds_of(one.full))
                    one.wipe()
                run("sync", "-f", self.folder)
        self.compare("full copy", took, {"zstd of what is used": 0.9}, 1)
        self.report.add("full copy", "blxrep's rate", "MB/s", [self.used_bytes / 1e6 / seconds for seconds in took["blxrep"]])
        self.report.add("full copy", "agent's CPU for a used GB", "s", [agent for agent, _ in cpu])
        self.report.add("full copy", "dispatcher's CPU for a used GB", "s", [dispatcher for _, dispatcher in cpu])

    def compare(self, work, took, goals, default_goal):
        """How many times faster blxrep was, round by round."""
        mine = took["blxrep"]
        for name, seconds in took.items():
            self.report.add(work, name, "s", seconds)
        for name, theirs in took.items():
            if name == "blxrep":
                continue
            goal = goals.get(name, default_goal)
            self.report.add(work, f"{name} / blxrep", "x", [b / a for a, b in zip(mine, theirs, strict=True)], goal=goal,
                            better="higher" if goal is not None else None)

    def increment(self):
        """64 MiB of changed blocks all over the disk, at rest, then each brings its copy up to date."""
        change_mib = max(1, 64 * self.disk_mib // 8192)
        if self.ours.agent is None:
            self.ours.forget()
            self.ours.begin()
            self.ours.full()
        took = {name: [] for name in ["blxrep"] + [peer.name() for peer in self.peers]}
        wire = []
        for peer in self.peers:
            peer.full()
        for _ in range(self.rounds):
            # Before the change: the agent begins to send it at once.
            received = self.ours.received_bytes()
            self.scatter(change_mib)
            for one in self.in_any_order([self.ours] + self.peers):
                if one is not self.ours:
                    took[one.name()].append(seconds_of(one.again))
                    continue
                took["blxrep"].append(seconds_of(one.again))
                wire.append((one.received_bytes() - received) / self.changed_floor(change_mib))
        self.compare("increment", took, {}, 50)
        self.report.add("increment", "wire bytes / zstd -1 of the changed blocks", "x", wire, goal=1.05, better="lower")
        cpu = [self.increment_cpu(change_mib) for _ in range(self.rounds)]
        self.report.add("increment", "agent's CPU for 100 MiB changed", "s", [agent for agent, _ in cpu], goal=0.3, better="lower")
        self.report.add("increment", "dispatcher's CPU for it", "s", [dispatcher for _, dispatcher in cpu])
        image = os.path.join(self.folder, "check.img")
        self.ours.restore(image)
        check_equal(image, self.disk.copy(os.path.join(self.folder, "check.copy")))

    def scatter(self, change_mib):
        data.scatter(self.disk.path, self.disk.size, change_mib, self.dice.randrange(1 << 40))

    def increment_cpu(self, change_mib):
        """Of agent and dispatcher, for 100 MiB changed. Nobody else works meanwhile: it would count what the daemons do in the others' minutes."""
        begun = self.ours.cpu_seconds()
        self.scatter(change_mib)
        self.ours.again()
        return [(now - then) * 100 / change_mib for now, then in zip(self.ours.cpu_seconds(), begun, strict=True)]

    def changed_floor(self, change_mib):
        """What zstd -1 makes of blocks like those that scatter() writes."""
        dice = random.Random(5)
        text = b"".join(dice.randbytes(2048) + bytes([number & 0xff]) * 2048 for number in range(change_mib * 256))
        return len(subprocess.run(["zstd", "-1", "-c", "-q"], input=text, stdout=subprocess.PIPE, check=True).stdout)

    def hot(self):
        """Sixteen times the same few blocks between two checkpoints."""
        hot_mib = max(1, 64 * self.disk_mib // 8192)
        if self.ours.agent is None:
            self.ours.forget()
            self.ours.begin()
            self.ours.full()
        ratios = []
        for _ in range(self.rounds):
            self.ours.again()
            received = self.ours.received_bytes()
            run("fio", "--name=hot", f"--filename={self.disk.path}", "--rw=randwrite", "--bs=4k", "--direct=1", "--ioengine=libaio",
                "--iodepth=16", f"--size={hot_mib}M", f"--io_size={16 * hot_mib}M", f"--offset={self.disk_mib // 4}M", "--norandommap",
                "--rate=100m", "--refill_buffers", "--randrepeat=0", timeout=600)
            self.ours.again()
            ratios.append((self.ours.received_bytes() - received) / (hot_mib * MIB))
        self.report.add("hot blocks", "wire bytes / the blocks' bytes (incompressible)", "x", ratios, goal=1.3, better="lower")

    def restore(self):
        """The newest copy back into a file; beside it a plain copy of that file."""
        if self.ours.agent is None:
            self.ours.forget()
            self.ours.begin()
            self.ours.full()
        took = {name: [] for name in ["blxrep", "cp"] + [peer.name() for peer in self.peers]}
        for peer in self.peers:
            peer.full()
        image = os.path.join(self.folder, "restored.img")
        plain = self.disk.copy(os.path.join(self.folder, "plain.img"))
        for _ in range(self.rounds):
            for one in self.in_any_order([self.ours, None] + self.peers):
                for path in (image, image + ".cp"):
                    if os.path.exists(path):
                        os.unlink(path)
                run("sync", "-f", self.folder)
                if one is None:
                    took["cp"].append(seconds_of(run, "sh", "-c", f"cp --sparse=always {plain} {image}.cp && sync {image}.cp"))
                    continue
                name = "blxrep" if one is self.ours else one.name()
                took[name].append(seconds_of(one.restore, image))
        self.compare("restore", took, {"cp": 0.8, "dd": None}, 1)

    def tracking(self):
        tracking.measure(self.report, self.folder, self.rounds, min(512, self.disk_mib), self.fio_seconds)

    def freeze(self):
        freeze.measure(self.report, self.folder, max(3, 6 * self.rounds), max(256, min(1024, self.disk_mib)))

    def ingest(self):
        capacity.ingest(self.report, self.folder, min(self.rounds, 3), min(1024, self.disk_mib))

    def memory(self):
        capacity.agent_memory(self.report, self.folder, max(1, self.disk_mib // 4))
        capacity.dispatcher_memory(self.report, self.folder, max(20, min(1000, self.disk_mib // 4)))
        capacity.rescan_memory(self.report, self.folder, min(4096, self.disk_mib), max(20, min(1000, self.disk_mib // 4)))

    def network(self):
        network.measure(self.report, self.folder, min(self.rounds, 3), max(16, min(256, self.disk_mib // 8)), self.in_any_order)

    def open(self):
        opening.measure(self)

    def rescan(self):
        rescanning.measure(self.report, self.folder, self.rounds, self.disk_mib, self.dice)


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    uname = os.uname()
    return {"processors": f"{os.cpu_count()} x {models[0] if models else uname.machine}", "kernel": f"{uname.sysname} {uname.release}",
            "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // MIB} MiB",
            "load before": "%.2f %.2f %.2f" % os.getloadavg()}


WORKS = ["tracking", "full", "increment", "hot", "restore", "freeze", "ingest", "memory", "network", "open", "rescan"]
OWN_DISK = {"open", "rescan", "tracking", "freeze", "ingest", "memory", "network"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--disk-mib", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--works", type=lambda text: text.split(","), default=WORKS)
    parser.add_argument("--peers", type=lambda text: text.split(","), default=["all"])
    parser.add_argument("--output", default="bench-results")
    parser.add_argument("--fio-seconds", type=int, default=4, help="how long each load of \"tracking\" lasts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit-minutes", type=int, default=240)
    arguments = parser.parse_args()
    known = {peer.name(): peer for peer in PEERS}
    if arguments.peers == ["all"]:
        arguments.peers = list(known)
    for name in arguments.peers:
        if name not in known or not known[name].installed():
            parser.error(f"the peer \"{name}\" is not known or not installed: `etc/packages.sh bench` installs all, or name others with --peers")
    for work in arguments.works:
        if work not in WORKS:
            parser.error(f"the work \"{work}\" is not known: {', '.join(WORKS)}")
    bin_folder()
    guard_process(arguments.limit_minutes * 60)
    bench = Bench(arguments)
    if set(arguments.works) - OWN_DISK:
        bench.make_disk()
    for work in WORKS:
        if work in arguments.works:
            getattr(bench, work)()
    print("\n" + bench.report.table())
    bench.report.write(arguments.output)


if __name__ == "__main__":
    main()
