# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint adds to the filesystem's own freeze, while fio writes 2,000 random blocks of 4 KiB a second."""

import os
import statistics
import subprocess
import time

from disks import LoopDisk
from ours import Ours
from registry import REGISTRY

LIMIT_MS = 1000  # the default of freeze-limit


class Load:
    """fio on the filesystem, until it is closed."""

    def __init__(self, path, size_mib):
        self.process = subprocess.Popen(["fio", "--name=load", f"--filename={path}/load", f"--size={size_mib}M", "--rw=randwrite", "--bs=4k",
                                         "--direct=1", "--ioengine=libaio", "--iodepth=16", "--rate_iops=2000", "--time_based",
                                         "--runtime=1800"], stdout=subprocess.DEVNULL)
        REGISTRY.add(self)

    def __str__(self):
        return "fio"

    def halt(self):
        self.process.terminate()

    def close(self):
        self.halt()
        self.process.wait(60)
        REGISTRY.forget(self)


def plain_ms(files):
    """As a careful backup tool would: sync, freeze, and thaw at once."""
    files.sync()
    begun = time.monotonic()
    files.freeze()
    files.thaw()
    return (time.monotonic() - begun) * 1000


def p99(values):
    return statistics.quantiles(values, n=100, method="inclusive")[98]


def measure(report, folder, pairs, disk_mib):
    disk = LoopDisk(REGISTRY, folder, disk_mib, "freeze")
    files = disk.make("ext4")
    ours = Ours(os.path.join(folder, "freeze"), disk)
    ours.begin()
    ours.full()
    load = Load(files.path, disk_mib // 4)
    time.sleep(1)
    plain, frozen = [], []
    for _ in range(pairs):
        plain.append(plain_ms(files))
        time.sleep(0.2)
        ours.again()
        frozen.append(ours.dispatcher.agent_state(ours.id)["freeze_ns"] / 1e6)
        time.sleep(0.2)
    load.close()
    report.add("freeze", "FIFREEZE and thaw alone, after a sync", "ms", plain)
    report.add("freeze", "of a checkpoint", "ms", frozen)
    report.add("freeze", "added, median", "ms", [one - statistics.median(plain) for one in frozen], goal=20, better="lower")
    report.add("freeze", "added, 99th percentile", "ms", [p99(frozen) - p99(plain)], goal=60, better="lower")
    report.add("freeze", "longest", "ms", [max(frozen)], goal=LIMIT_MS, better="lower")
    rows = ours.cli.show(ours.id, ours.data_dir)[1:]
    report.add("freeze", "checkpoints that are not \"filesystem\"", "", [sum(row["consistency"] != "filesystem" for row in rows)], goal=0,
               better="lower")
    ours.forget()
    files.umount(settled=False)
    disk.close()
