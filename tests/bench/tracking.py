# SPDX-License-Identifier: Apache-2.0
"""What tracking costs: the same writes with and without the tracker's programs, and the programs' own time."""

import json
import os
import re
import signal
import subprocess
import time

from disks import LoopDisk, ZramDisk
from programs import Agent, Cli, Dispatcher, bin_folder
from registry import REGISTRY, run

STATS = "/proc/sys/kernel/bpf_stats_enabled"
PROGRAM = re.compile("(bio_queue|bio_complete|rq_complete)_")
LOADS = [("random 4 KiB", ["--rw=randwrite", "--bs=4k"]), ("sequential 1 MiB", ["--rw=write", "--bs=1M"])]


def fio(disk, words, seconds):
    done = run("fio", "--name=tracking", f"--filename={disk.path}", "--direct=1", "--ioengine=libaio", "--iodepth=16", f"--size={disk.size}",
               "--time_based", f"--runtime={seconds}", "--norandommap", "--randrepeat=0", "--output-format=json", *words)
    return json.loads(done.stdout)["jobs"][0]["write"]["iops"]


class Tracked:
    """The tracker without its agent, which is killed: so nothing but the marking is measured."""

    def __init__(self, folder, disk):
        self.folder = folder
        self.disk = disk
        data_dir = os.path.join(folder, f"tracking-{disk.name}")
        self.dispatcher = Dispatcher(REGISTRY, folder, data_dir, name=f"dispatcher-{disk.name}").start()
        self.credentials = Cli().enroll("tracking", data_dir, os.path.join(folder, f"{disk.name}.pem"))

    def __enter__(self):
        agent = Agent(REGISTRY, self.folder, "tracking", self.dispatcher.address, self.credentials, [self.disk.path])
        agent.start()
        agent.send(signal.SIGKILL)
        agent.kill()
        REGISTRY.forget(agent)
        time.sleep(0.2)

    def __exit__(self, *_):
        self.disk.forget_tracking()
        time.sleep(0.2)


class Empty:
    """Programs that do nothing, attached: what the statistics say that one takes is their own cost."""

    def __enter__(self):
        self.process = subprocess.Popen([os.path.join(bin_folder(), "..", "tests", "empty_program")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.id = int(self.process.stdout.readline())
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def own_programs(disk):
    """The IDs of the programs of the disk's tracker."""
    return {json.loads(run("bpftool", "-j", "link", "show", "pinned", os.path.join(folder, name)).stdout)["prog_id"]
            for folder in disk.pins() for name in os.listdir(folder) if PROGRAM.match(name)}


def runs_of(ids):
    """(time, runs) so far of each of these programs."""
    shown = json.loads(run("bpftool", "-j", "prog", "show").stdout)
    return {program["id"]: (program.get("run_time_ns", 0), program.get("run_cnt", 0)) for program in shown if program["id"] in ids}


def event_ns(disk, empty, seconds):
    """Nanoseconds of all programs and copies for one write of 4 KiB, less the statistics' own cost, and how many ran."""
    ids = own_programs(disk) | {empty.id}
    with open(STATS, "w", encoding="ascii") as file:
        file.write("1")
    try:
        before = runs_of(ids)
        fio(disk, LOADS[0][1], seconds)
        after = runs_of(ids)
    finally:
        with open(STATS, "w", encoding="ascii") as file:
            file.write("0")

    def mean(key):
        return (after[key][0] - before[key][0]) / (after[key][1] - before[key][1])

    # Programs that only other disks' events run, such as rq_complete beside a zram disk, run less often.
    most = max(after[key][1] - before[key][1] for key in ids - {empty.id})
    ran = [key for key in ids - {empty.id} if after[key][1] - before[key][1] > most / 2]
    return sum(mean(key) - mean(empty.id) for key in ran), len(ran)


def paired(disk, words, seconds, programs, number):
    """The ratio of two runs, with and without the programs; which one is first alternates."""
    if number % 2:
        without = fio(disk, words, seconds)
    with programs:
        with_them = fio(disk, words, seconds)
    if not number % 2:
        without = fio(disk, words, seconds)
    return with_them / without


def measure(report, folder, rounds, disk_mib, seconds):
    for make in (LoopDisk, ZramDisk):
        disk = make(REGISTRY, folder, disk_mib, "tracked") if make is LoopDisk else make(REGISTRY, folder, disk_mib)
        kind = "loop" if make is LoopDisk else "zram"
        run("fio", "--name=fill", f"--filename={disk.path}", "--rw=write", "--bs=1M", "--direct=1", f"--size={disk.size}")
        tracked = Tracked(folder, disk)
        for name, words in LOADS:
            for what, programs, goal in ("tracked", tracked, 0.99), ("beside programs that do nothing", Empty(), None):
                ratios = [paired(disk, words, seconds, programs, number) for number in range(rounds)]
                report.add("tracking", f"{kind}, {name} writes: {what} / untracked", "x", ratios, goal=goal, better="higher")
        with tracked, Empty() as empty:
            totals = [event_ns(disk, empty, seconds) for _ in range(rounds)]
        report.add("tracking", f"{kind}: time of one write, all programs and copies", "ns", [total for total, _runs in totals])
        # A write is two events: that it was queued, and that it was completed.
        report.add("tracking", f"{kind}: time of one event", "ns", [total / 2 for total, _runs in totals], goal=100, better="lower")
        report.add("tracking", f"{kind}: programs run for one write", "", [runs for _total, runs in totals])
        tracked.dispatcher.stop()
        disk.close()
