# SPDX-License-Identifier: Apache-2.0
"""An agent that was broken into lies about everything; what was committed stays, and another agent does not notice."""

import calendar
import os
import random
import time

from case import Case, main
from checks import check_equal
from programs import bin_folder
from registry import run
from workloads import fill

SESSIONS = 20
MOST_RSS_KIB = 400 * 1024  # with sanitizers; honest agents take a fifth of that


class Liar(Case):
    def lie(self, seed):
        program = os.path.join(os.path.dirname(bin_folder()), "tests", "liar")
        done = run(program, self.dispatcher.address, self.enroll("liar1"), "liar1", SESSIONS, seed, timeout=240)
        print(f"seed {seed}: {done.stdout.strip()}", flush=True)

    def rss_kib(self):
        with open(f"/proc/{self.dispatcher.process.pid}/status", encoding="ascii") as file:
            return int(next(line for line in file if line.startswith("VmHWM:")).split()[1])

    def test_a_liar_hurts_nobody(self):
        disk = self.loop_disk(64)
        files = disk.make("ext4")
        self.start_dispatcher(sync_freq="1s")
        begun = int(time.time())
        agent = self.start_agent("server1", disk)
        first = self.checkpoint("server1")
        for _ in range(2):
            self.lie(random.randrange(1 << 32))
            fill(files.path + "/step", 2)
            self.checkpoint("server1")
            verified = self.cli.run("verify", f"--data-dir={self.data_dir}", check=False)
            self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)
        rows = self.show("liar1")
        self.assertGreater(len(rows), 0, "some of what it said was good enough for a checkpoint")
        for row in rows:
            named = calendar.timegm(time.strptime(str(row["checkpoint"]), "%Y%m%d%H%M%S"))
            self.assertIn(named, range(begun, int(time.time()) + len(rows)), "no name is by its clock")
        self.row("server1", first)
        self.assertNotIn("full", [row["kind"] for row in self.show("server1")][1:])
        files.umount()
        newest = self.checkpoint("server1")
        check_equal(self.restore("server1", newest, self.path("image")), disk.copy(self.path("copy")))
        self.assertLess(self.rss_kib(), MOST_RSS_KIB)
        agent.stop()
        self.dispatcher.stop()


if __name__ == "__main__":
    main()
