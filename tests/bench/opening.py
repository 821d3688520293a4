# SPDX-License-Identifier: Apache-2.0
"""How soon and how fast a checkpoint is read where it lies: mounts, and views inside of a process. Ratios are made of pairs in one run."""

import json
import os
import subprocess
import time

import opening_peers
from disks import MIB
from programs import bin_folder, environment
from registry import run, wait_until


class Store:
    """A store of a simulated disk (make_store.c)."""

    def __init__(self, folder, name, *words):
        self.folder = os.path.join(folder, name)
        self.data_dir = os.path.join(self.folder, "data")
        self.image = os.path.join(self.folder, "last.img")
        self.point = os.path.join(self.folder, "mnt")
        os.makedirs(self.point)
        run(tool("make_store"), f"--data-dir={self.data_dir}", "--agent=web1", *words, timeout=3600)

    def cool(self):
        """Takes its files out of the page cache."""
        for folder, _folders, names in os.walk(self.folder):
            if folder.startswith(self.point):
                continue
            for name in names:
                path = os.path.join(folder, name)
                if os.path.isfile(path):
                    with open(path, "rb") as file:
                        os.fsync(file.fileno())
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def measure(self, what):
        done = run(tool("bench_view"), self.data_dir, "web1", what, timeout=600)
        return [float(word) for word in done.stdout.split()]

    def mount(self):
        run(os.path.join(bin_folder(), "blxrep"), "dispatcher", "mount", "--agent=web1", f"--data-dir={self.data_dir}",
            self.point, env=environment())

    def process(self):
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            line = next(line for line in file if line.split()[4] == self.point)
        return int(line.split(" - ")[1].split()[1].split(":")[3])

    def umount(self):
        run("fusermount3", "-u", self.point)
        wait_until("it is unmounted", lambda: not os.path.ismount(self.point))

    def shown(self):
        return os.path.join(self.point, "latest", "sda.img")

    def first_byte(self):
        """Seconds from the command to the first block."""
        begun = time.monotonic()
        self.mount()
        with open(self.shown(), "rb", buffering=0) as file:
            file.read(4096)
        took = time.monotonic() - begun
        self.umount()
        return took

    def restore(self):
        output = os.path.join(self.folder, "restored.img")
        begun = time.monotonic()
        run(os.path.join(bin_folder(), "blxrep"), "dispatcher", "restore", "--agent=web1", f"--data-dir={self.data_dir}",
            "--checkpoint=latest", f"--output={output}", timeout=3600, env=environment())
        took = time.monotonic() - begun
        os.unlink(output)
        return took

    def sequential(self):
        self.mount()
        begun = time.monotonic()
        with open(self.shown(), "rb", buffering=0) as file:
            while file.read(MIB):
                pass
        took = time.monotonic() - begun
        self.umount()
        return took


def tool(name):
    return os.path.join(os.path.dirname(bin_folder()), "tests", name)


def reads_per_second(path, seconds, mib):
    """Of the first so many MiB."""
    done = run("fio", "--name=read", f"--filename={path}", "--ioengine=psync", "--direct=1", "--rw=randread", "--bs=4k", "--numjobs=4", f"--size={mib}M",
               "--time_based", f"--runtime={seconds}", "--group_reporting", "--readonly", "--output-format=json", timeout=600)
    return json.loads(done.stdout)["jobs"][0]["read"]["iops"]


def compare_random(report, store, rounds, seconds):
    whole = os.path.getsize(store.image) // MIB
    raw_point = os.path.join(store.folder, "raw")
    os.makedirs(raw_point)
    raw = subprocess.Popen([tool("raw_fuse"), store.image, raw_point])
    store.mount()
    try:
        raw_path = os.path.join(raw_point, "raw")
        wait_until("the raw file is mounted", lambda: os.path.exists(raw_path))
        ratios = {mib: [reads_per_second(store.shown(), seconds, mib) / reads_per_second(raw_path, seconds, mib) for _ in range(rounds)]
                  for mib in (48, whole)}
    finally:
        store.umount()
        run("fusermount3", "-u", raw_point)
        raw.wait(30)
    report.add("open", "random 4 KiB, 4 jobs, of 48 MiB, to a raw file through FUSE", "", ratios[48], goal=0.8, better="higher")
    report.add("open", "the same all over the disk, where frames have to be unpacked", "", ratios[whole])


def cold(store, function):
    store.cool()
    return function()


def compare_sequential(report, store, rounds, what, goal):
    ratios = []
    for _ in range(rounds):
        restored, read = cold(store, store.restore), cold(store, store.sequential)
        ratios.append(restored / read)
    report.add("open", f"sequential read to a restore's rate, {what}", "", ratios, goal=goal, better="higher")


def memory(report, store):
    """After reads all over the disk."""
    store.mount()
    size = os.path.getsize(store.shown())
    with open(store.shown(), "rb", buffering=0) as file:
        for at in range(0, size, size // 2000 // 4096 * 4096 + 4096):
            os.pread(file.fileno(), 4096, at)
    with open(f"/proc/{store.process()}/status", encoding="ascii") as file:
        peak = next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))
    store.umount()
    report.add("open", "memory of a mount, large disk and long history", "MiB", [peak], goal=160, better="lower")


def measure(bench):
    """`bench` has a folder, a report, the number of rounds, and how large all is to be."""
    report, rounds, toy = bench.report, bench.rounds, bench.disk_mib < 1024
    size, long = (f"{bench.disk_mib}M", 200) if toy else ("2G", 10000)
    short = Store(bench.folder, "short", f"--size={size}", "--checkpoints=1", "--image=" + os.path.join(bench.folder, "short.img"))
    short.image = os.path.join(bench.folder, "short.img")
    history = Store(bench.folder, "history", f"--size={size}", f"--checkpoints={long}", "--change=64K")
    report.add("open", "mount to first byte, 1 checkpoint, cold", "s", [cold(short, short.first_byte) for _ in range(rounds)],
               goal=0.3, better="lower")
    report.add("open", f"mount to first byte, {long} checkpoints, cold", "s",
               [cold(history, history.first_byte) for _ in range(rounds)], goal=1, better="lower")
    ratios = []
    for _ in range(rounds):
        serial, parallel = (cold(history, lambda what=what: history.measure(what)[0]) for what in ("serial", "open"))
        ratios.append(parallel / serial)
    report.add("open", f"planning of {long} checkpoints, cold, to one thread's", "", ratios, goal=0.25, better="lower")
    short.measure("random")
    figures = [short.measure("random") for _ in range(rounds)]
    report.add("open", "random 4 KiB in process, median CPU", "us", [figure[0] for figure in figures], goal=150, better="lower")
    report.add("open", "random 4 KiB in process, 99th percentile of CPU", "us", [figure[1] for figure in figures], goal=1000, better="lower")
    compare_random(report, short, rounds, bench.fio_seconds)
    compare_sequential(report, short, rounds, "1 checkpoint", 0.8)
    scattered = Store(bench.folder, "scattered", f"--size={size}", f"--checkpoints={long // 5}", "--change=1M", "--run=4K")
    compare_sequential(report, scattered, rounds, f"{long // 5} scattered increments", 0.5)
    if opening_peers.chosen(bench):
        chain = Store(bench.folder, "chain", "--size=" + (size if toy else "512M"), "--checkpoints=100", "--change=1M", "--run=4K",
                      "--image=" + os.path.join(bench.folder, "chain.img"))
        chain.image = os.path.join(bench.folder, "chain.img")
        opening_peers.compare(bench, chain, 100, 1)
    large = Store(bench.folder, "large", "--size=" + ("16G" if toy else "1T"), "--used=1", "--block-shift=14", f"--checkpoints={long}",
                  "--change=64K")
    memory(report, large)
