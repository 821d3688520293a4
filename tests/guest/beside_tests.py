# SPDX-License-Identifier: Apache-2.0
"""
By hand: what a test costs whoever takes a checkpoint or restores one meanwhile. A server that is tested computes and reads without an end; it is
stopped and goes on in turns, and in each turn a changed disk is committed and restored. Prints the seconds, and the ratio of the medians.

    BLXREP_BIN=build-release/bin tests/guest/beside_tests.py [ROUNDS]
"""

import os
import signal
import statistics
import sys
import time

import guest
import small
from test_proof import Proof, descendants

sys.path.insert(0, os.path.join(os.path.dirname(guest.HERE), "e2e"))

from case import main  # noqa: E402
from registry import wait_until  # noqa: E402

SECONDS = 3600
CHANGED_MIB = 32
BUSY = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in /modules/*.ko; do /bin/busybox insmod "$module" 2>/dev/null; done
while :; do /bin/busybox dd if=/dev/vda of=/dev/null bs=1M 2>/dev/null; done
"""


class BesideTests(Proof):
    def send(self, tester, number):
        for pid in [tester.process.pid, *descendants(tester.process.pid)]:
            os.kill(pid, number)

    def turn(self, disk, agent_id):
        """(seconds of a commit, of a restore)"""
        with open(disk.path, "r+b") as file:
            file.write(os.urandom(CHANGED_MIB << 20))
            file.flush()
            os.fsync(file.fileno())
        begun = time.monotonic()
        stamp = self.checkpoint(agent_id)
        committed = time.monotonic()
        self.restore(agent_id, stamp, self.path("image"), "--force")
        return committed - begun, time.monotonic() - committed

    def test_commits_and_restores_beside_a_test(self):
        os.mkdir(self.path("policies"))
        self.start_dispatcher(f"--policy-dir={self.path('policies')}")
        honest, small.INIT = small.INIT, BUSY
        busy = self.loop_disk(small.DISK_MIB, "busy")
        small.make_small(busy.path, self.kernel)
        small.INIT = honest
        self.take(busy, "web1")
        disk = self.loop_disk(128, "db")
        self.start_agent("db1", disk, "--skip-free-space=no")
        self.turn(disk, "db1")
        self.set_policy('{ every: "1d", within: "1h" }')
        tester = self.start_tester()
        wait_until("the server computes", lambda: any(name.startswith("qemu") for name in descendants(tester.process.pid).values()), 120)
        time.sleep(40)
        seconds = {"alone": [], "beside": []}
        for _ in range(ROUNDS):
            for name, number in (("alone", signal.SIGSTOP), ("beside", signal.SIGCONT)):
                self.send(tester, number)
                time.sleep(2)
                seconds[name].append(self.turn(disk, "db1"))
        self.assertTrue(any(name.startswith("qemu") for name in descendants(tester.process.pid).values()), "the test went on to the end")
        for at, what in enumerate(("commit", "restore")):
            medians = {name: statistics.median(turn[at] for turn in turns) for name, turns in seconds.items()}
            print(f"{what}: alone {medians['alone']:.2f} s, beside a test {medians['beside']:.2f} s, ratio {medians['beside'] / medians['alone']:.2f}; "
                  f"all: {[[round(turn[at], 2) for turn in turns] for turns in seconds.values()]}", flush=True)


# Those of the short form run with ctest.
for inherited in [name for name in dir(Proof) if name.startswith("test_")]:
    setattr(BesideTests, inherited, None)
del Proof

if __name__ == "__main__":
    ROUNDS = int(sys.argv.pop(1)) if len(sys.argv) > 1 else 8
    main(SECONDS)
