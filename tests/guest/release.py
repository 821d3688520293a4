# SPDX-License-Identifier: Apache-2.0
"""
Runs inside a guest: device-mapper volumes that an agent protects are unmounted and removed while checkpoints follow each other. The agent may be
in the way for a moment, but a second try within a second must do.

The guest's disks, of test_kernels.py: virtio, below the volume that goes and comes; virtio, which stays. TRIES in the environment says how often.
"""

import os
import random
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

from case import Case, main  # noqa: E402
from checks import check_equal  # noqa: E402
from devices import GuestDisk  # noqa: E402
from registry import run, wait_until  # noqa: E402

AGENT = "server1"
NAME = "away"
NODE = f"/dev/mapper/{NAME}"
SECTORS = 65536
SYNC_SECONDS = 2
MENDED_SECONDS = 1.0
NOTICED_SECONDS = 300  # a guest is slow; nobody waits for this


class Tries:
    """What was tried, how often it was refused at first, and for how long."""

    def __init__(self, what):
        self.what = what
        self.count = self.refused = 0
        self.longest = 0.0

    def do(self, *words):
        begun = time.monotonic()
        self.count += 1
        if self.succeeds(words):
            return
        self.refused += 1
        wait_until(f"{self.what} succeeds", lambda: self.succeeds(words), 30, interval=0.05)
        self.longest = max(self.longest, time.monotonic() - begun)

    @staticmethod
    def succeeds(words):
        return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def __str__(self):
        return f"{self.what}: {self.count} tries, {self.refused} refused at first, mended after {self.longest:.2f} s at most"


class Release(Case):
    def create(self):
        run("dmsetup", "create", "--noudevsync", NAME, "--table", f"0 {SECTORS} linear /dev/vda 0")
        run("dmsetup", "mknodes", NAME)

    def remove(self):
        run("dmsetup", "remove", "--noudevsync", "--retry", NAME)

    def try_once(self, files, umounts, removals):
        """Somewhere in a round of checkpoints."""
        files.mount()
        with open(f"{files.path}/file", "wb") as file:
            file.write(os.urandom(random.randrange(1, 1 << 20)))
        time.sleep(random.uniform(0, SYNC_SECONDS * 1.2))
        umounts.do("umount", files.path)
        files.mounted = False
        time.sleep(random.choice((0, random.uniform(0, SYNC_SECONDS))))
        removals.do("dmsetup", "remove", "--noudevsync", NAME)

    def test_volumes_are_removed_while_they_are_protected(self):
        run("dmesg", "-n", "1")
        self.create()
        away, stays = GuestDisk(self.folder, NODE, self.remove), GuestDisk(self.folder, "/dev/vdb")
        files, other = away.make("ext4"), stays.make("ext4")
        files.umount()
        self.start_dispatcher(sync_freq=f"{SYNC_SECONDS}s")
        agent = self.start_agent(AGENT, [away, stays])
        self.dispatcher.wait_checkpoints(AGENT, 1)
        umounts, removals = Tries("umount"), Tries("dmsetup remove")
        for number in range(int(os.environ.get("TRIES", "500"))):
            before = len(agent.lines)
            self.try_once(files, umounts, removals)
            agent.wait_line(f"'{NODE}'.*NOT protected", NOTICED_SECONDS, start=before)
            self.create()
            agent.wait_line(f"'{NODE}' is tracked", NOTICED_SECONDS, start=before)
            if number % 10 == 9:
                print(f"{umounts}; {removals}", flush=True)
        print(f"{umounts}; {removals}", flush=True)
        self.assertLess(umounts.longest, MENDED_SECONDS)
        self.assertLess(removals.longest, MENDED_SECONDS)
        wait_until("both are there", lambda: self.dispatcher.agent_state(AGENT)["volumes"] == 2, 60)
        other.umount()
        stamp = self.checkpoint(AGENT)
        for disk in (away, stays):
            check_equal(self.restore(AGENT, stamp, self.path("image"), f"--device={disk.path}"), disk.copy(self.path("copy")))
            os.unlink(self.path("image"))
        agent.stop()


if __name__ == "__main__":
    run("modprobe", "dm_mod")
    main(3300)
