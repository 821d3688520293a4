"""What tracking costs: the same writes with and without the tracker's programs, and the programs' own time."""

import json
import os
import re
import signal
import time

from disks import LoopDisk, ZramDisk
from programs import Agent, Cli, Dispatcher
from registry import REGISTRY, run

STATS = "/proc/sys/kernel/bpf_stats_enabled"
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


def programs():
    """(time, runs) so far of each program of a tracker, of whichever disk."""
    shown = json.loads(run("bpftool", "-j", "prog", "show").stdout)
    return {program["id"]: (program.get("run_time_ns", 0), program.get("run_cnt", 0)) for program in shown
            if re.match("(bio_queue|bio_complete|rq_complete)_", program.get("name", ""))}


def event_ns(disk, foreign, seconds):
    """Nanoseconds of all runs for one write of 4 KiB, the statistics' own cost included, and how many runs."""
    with open(STATS, "w", encoding="ascii") as file:
        file.write("1")
    try:
        before = programs()
        fio(disk, LOADS[0][1], seconds)
        after = programs()
    finally:
        with open(STATS, "w", encoding="ascii") as file:
            file.write("0")
    runs = [(after[key][0] - ns, after[key][1] - count) for key, (ns, count) in before.items() if key in after and key not in foreign]
    used = [ns / count for ns, count in runs if count > 1000]
    return sum(used), len(used)


def measure(report, folder, rounds, disk_mib, seconds):
    for make in (LoopDisk, ZramDisk):
        disk = make(REGISTRY, folder, disk_mib, "tracked") if make is LoopDisk else make(REGISTRY, folder, disk_mib)
        kind = "loop" if make is LoopDisk else "zram"
        run("fio", "--name=fill", f"--filename={disk.path}", "--rw=write", "--bs=1M", "--direct=1", f"--size={disk.size}")
        tracked = Tracked(folder, disk)
        for name, words in LOADS:
            ratios = []
            for number in range(rounds):
                if number % 2:
                    without = fio(disk, words, seconds)
                with tracked:
                    with_it = fio(disk, words, seconds)
                if not number % 2:
                    without = fio(disk, words, seconds)
                ratios.append(with_it / without)
            report.add("tracking", f"{kind}, {name} writes: tracked / untracked", "x", ratios, goal=0.99, better="higher")
        foreign = set(programs())
        with tracked:
            totals = [event_ns(disk, foreign, seconds) for _ in range(rounds)]
        report.add("tracking", f"{kind}: all programs' time for one write, with the statistics' own", "ns", [total for total, _runs in totals])
        report.add("tracking", f"{kind}: programs run for one write", "", [runs for _total, runs in totals])
        tracked.dispatcher.stop()
        disk.close()
