# SPDX-License-Identifier: Apache-2.0
"""What one dispatcher core takes in, and how much memory agents and connections take."""

import os
import subprocess

from disks import MIB, LoopDisk
from opening import Store
from ours import Ours
from programs import Agent, Dispatcher, bin_folder
from registry import REGISTRY, run, wait_until

PAGE = os.sysconf("SC_PAGE_SIZE")


class Memory:
    """A folder on a tmpfs: a disk that has no limit but the memory's."""

    def __init__(self, folder, mib):
        self.path = os.path.join(folder, "memory")
        os.makedirs(self.path)
        run("mount", "-t", "tmpfs", "-o", f"size={mib}M", "tmpfs", self.path)
        REGISTRY.add(self)

    def __str__(self):
        return self.path

    def close(self):
        run("umount", self.path)
        REGISTRY.forget(self)


def write_cpu(path, mib):
    """CPU seconds that the kernel takes to write that much into a new file there, in pieces as large as frames."""
    piece = os.urandom(MIB // 4)
    before = os.times()
    with open(path, "wb", buffering=0) as file:
        for _ in range(4 * mib):
            file.write(piece)
    after = os.times()
    os.unlink(path)
    return after.user - before.user + after.system - before.system


def ingest(report, folder, rounds, mib):
    """Incompressible data, disk and store in memory: what is left is the work of the two processes, and of the memory as the store's disk,
    which is measured beside them."""
    memory = Memory(folder, 4 * mib)
    disk = LoopDisk(REGISTRY, memory.path, mib)
    with open(disk.path, "wb", buffering=0) as device:
        for _ in range(mib):
            device.write(os.urandom(MIB))
        os.fsync(device.fileno())
    gigabytes = mib * MIB / 1e9
    agent, dispatcher, disk_part = [], [], []
    for _ in range(rounds):
        ours = Ours(os.path.join(memory.path, "ours"), disk)
        ours.begin()
        ours.full()
        cpu = ours.cpu_seconds()
        agent.append(cpu[0] / gigabytes)
        dispatcher.append(cpu[1] / gigabytes)
        ours.forget()
        os.rmdir(ours.folder)
        disk_part.append(write_cpu(os.path.join(memory.path, "written"), mib) / gigabytes)
    report.add("ingest", "agent's CPU for a GB of incompressible data", "s", agent)
    report.add("ingest", "dispatcher's CPU for it", "s", dispatcher)
    report.add("ingest", "of that, the writing of a GB to this disk alone", "s", disk_part)
    rates = [1 / (whole - disk) for whole, disk in zip(dispatcher, disk_part)]
    report.add("ingest", "one dispatcher core takes in, less the disk's part", "GB/s", rates, goal=1, better="higher")
    disk.close()
    memory.close()


def resident_kib(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        _size, resident, shared = (int(field) for field in file.read().split()[:3])
    return resident * PAGE // 1024, shared * PAGE // 1024


def agent_memory(report, folder, gib):
    """An agent of an empty disk that takes no space. The bitmaps lie in mappings of bpffs and tmpfs, which count as shared."""
    disk = LoopDisk(REGISTRY, folder, gib * 1024, "huge")
    files = disk.make("ext4")
    ours = Ours(os.path.join(folder, "huge"), disk)
    ours.begin()
    ours.full()
    resident, shared = resident_kib(ours.agent.process.pid)
    bitmaps = gib * 96 / 1024
    report.add("memory", f"agent of a disk of {gib} GiB, at rest: resident", "MiB", [resident / 1024], goal=48 + bitmaps, better="lower")
    report.add("memory", "of it shared: bitmaps, and the programs' files", "MiB", [shared / 1024])
    ours.forget()
    files.umount(settled=False)
    disk.close()


def dispatcher_memory(report, folder, count):
    """Agents that are connected, have sent a few blocks, and are silent except for heartbeats."""
    place = os.path.join(folder, "crowd")
    os.makedirs(place)
    dispatcher = Dispatcher(REGISTRY, place, os.path.join(place, "data"), name="dispatcher-crowd").start()
    before, _shared = resident_kib(dispatcher.process.pid)
    crowd = subprocess.Popen([os.path.join(bin_folder(), "..", "tests", "crowd"), dispatcher.data_dir, place, dispatcher.address,
                              str(count), "5000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if crowd.stdout.readline() != "ready\n":
            raise AssertionError("the crowd did not come")
        settled = None
        while settled is None or resident_kib(dispatcher.process.pid)[0] < settled:
            settled = resident_kib(dispatcher.process.pid)[0]
            subprocess.run(["sleep", "4"], check=True)
        after, _shared = resident_kib(dispatcher.process.pid)
    finally:
        crowd.kill()
        crowd.communicate()
    report.add("memory", f"dispatcher, for each of {count} idle agents", "KiB", [(after - before) / count], goal=64, better="lower")
    dispatcher.stop()


def peak_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith("VmHWM:")).split()[1])


def rescan_memory(report, folder, disk_mib, checkpoints):
    """A first session that compares everything with a long and scattered history: single blocks all over the disk, without digest tables, so that
    frames are read and unpacked. That is the worst that an image takes."""
    disk = LoopDisk(REGISTRY, folder, disk_mib, "scattered")
    store = Store(folder, "rescanned", f"--size={disk_mib}M", "--used=50", f"--checkpoints={checkpoints}", "--change=2M", "--run=4K", "--random=30",
                  f"--image={disk.file}", f"--device={disk.path}")
    dispatcher = Dispatcher(REGISTRY, folder, store.data_dir, sync_freq="1h", name="dispatcher-scattered").start()
    before = peak_kib(dispatcher.process.pid)
    pem = os.path.join(folder, "scattered.pem")
    run(os.path.join(bin_folder(), "blxrep"), "dispatcher", "enroll", "--agent=web1", f"--data-dir={store.data_dir}", f"--output={pem}")
    agent = Agent(REGISTRY, folder, "web1", dispatcher.address, pem, [disk], "--skip-free-space=no").start()
    agent.wait_line("rescan")
    wait_until("everything is compared", lambda: dispatcher.agent_state("web1")["state"] == "LIVE", 1800, interval=1)
    report.add("memory", f"dispatcher, a rescan of {disk_mib} MiB with {checkpoints} checkpoints of scattered blocks: peak above rest", "MiB",
               [(peak_kib(dispatcher.process.pid) - before) / 1024], goal=64, better="lower")
    agent.stop()
    dispatcher.stop()
    disk.close()
