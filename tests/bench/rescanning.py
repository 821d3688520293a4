# SPDX-License-Identifier: Apache-2.0
"""A rescan of an unchanged disk, as after a reboot, beside `dd` of the same disk."""

import os
import shutil
import time

from data import scatter
from disks import LoopDisk
from ours import Ours, cpu_of
from registry import REGISTRY, run

PART = "rescan"


def dd(disk):
    begun = time.monotonic()
    run("dd", f"if={disk.path}", "of=/dev/null", "bs=4M", "iflag=direct", timeout=3600)
    return time.monotonic() - begun


def read_by(process):
    with open(f"/proc/{process.pid}/io", encoding="ascii") as file:
        return int(file.readline().split()[1])


def reboot(ours):
    ours.agent.stop()
    ours.disk.forget_tracking()
    shutil.rmtree(ours.agent.run_dir)


def rescan(ours):
    """Seconds from its first to its last line in the log."""
    start = len(ours.agent.log().splitlines())
    ours.agent.start()
    ours.agent.wait_line("rescan from block", start=start)
    begun = time.monotonic()
    ours.agent.wait_line("rescan done: .*, 0 B differ", seconds=3600, start=start)
    return time.monotonic() - begun


def measure(report, folder, rounds, disk_mib, dice):
    disk = LoopDisk(REGISTRY, folder, disk_mib, PART)
    run("losetup", "--direct-io=on", disk.path)  # or both would read the page cache
    scatter(disk.path, disk.size, disk_mib, 7)  # all of it
    ours = Ours(os.path.join(folder, PART), disk)
    ours.begin()
    ours.full()
    stored = run("du", "-sb", ours.data_dir).stdout.split()[0]
    mine, plain, agent_cpu, dispatcher_cpu, read = [], [], [], [], []
    for _ in range(rounds):
        for one in dice.sample([rescan, dd], 2):
            if one is dd:
                plain.append(dd(disk))
                continue
            reboot(ours)
            before, read_before = cpu_of(ours.dispatcher), read_by(ours.dispatcher.process)
            mine.append(rescan(ours))
            agent, dispatcher = ours.cpu_seconds()
            agent_cpu.append(agent * 1e9 / disk.size)
            dispatcher_cpu.append((dispatcher - before) * 1e9 / disk.size)
            read.append(100 * (read_by(ours.dispatcher.process) - read_before) / int(stored))
    report.add(PART, "of an unchanged disk", "MB/s", [disk.size / 1e6 / seconds for seconds in mine])
    report.add(PART, "dd iflag=direct bs=4M", "MB/s", [disk.size / 1e6 / seconds for seconds in plain])
    report.add(PART, "its speed / dd's", "x", [b / a for a, b in zip(mine, plain, strict=True)], goal=0.9, better="higher")
    report.add(PART, "agent's CPU for a GB, its start included", "s", agent_cpu, goal=0.35, better="lower")
    report.add(PART, "dispatcher's CPU for a GB", "s", dispatcher_cpu, goal=0.05, better="lower")
    report.add(PART, "the dispatcher reads, of what is stored", "%", read, goal=0.5, better="lower")
    ours.forget()
    disk.close()
