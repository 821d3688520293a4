# SPDX-License-Identifier: Apache-2.0
"""A disk or a filesystem that stops answering costs its own protection only, and is named. The agent has exactly its unit's rights.

The disk that hangs is a loop device on a FUSE file whose server is stopped: whoever waits for it cannot be killed.
"""

import os
import re
import threading

from case import Case, main
from checks import check_equal
from disks import Filesystem
from programs import Agent
from registry import REGISTRY, run, wait_until
from unit_rights import unit_prefix
from workloads import fill

STUCK = r"does not answer since \d\d:\d\d:\d\d"


class Hang(Case):
    def setUp(self):
        super().setUp()
        self.healthy, self.stuck = self.loop_disk(64, "healthy"), self.failing_disk(64, "stuck")
        self.files = self.healthy.make("ext4")
        self.start_dispatcher()

    def start_agent_for(self, disks):
        agent = Agent(REGISTRY, self.folder, "server1", self.dispatcher.address, self.enroll("server1"), disks, "--disk-timeout=2s",
                      "--skip-free-space=no")
        agent.prefix = unit_prefix()
        agent.start()
        self.dispatcher.wait_online("server1")
        return agent

    def make_hanging_filesystem(self, disk):
        """One whose journal lies on the disk that hangs: its own disk goes on answering."""
        run("mke2fs", "-q", "-F", "-O", "journal_dev", "-b", "4096", self.stuck.path)
        return Filesystem(REGISTRY, disk.path, "ext4", self.path("hanging"),
                          ("-b", "4096", "-J", f"device={self.stuck.path}"))

    def next_checkpoint(self):
        """The first one that there is: the attempt that meets the disk that hangs may fail, and says why."""
        def taken():
            done = self.cli.run("dispatcher", "checkpoint", "--agent=server1", f"--data-dir={self.data_dir}", check=False, timeout=60)
            if done.returncode != 0:
                print(done.stderr.strip())
                return None
            return self.row("server1", re.search(r"\b\d{14}\b", done.stdout).group())
        return wait_until("a checkpoint", taken, 60, interval=0.5)

    def wait_for_both(self):
        """A first pass that takes long is left out of checkpoints."""
        wait_until("a checkpoint of both disks", lambda: len(self.devices(self.next_checkpoint())) == 2, 120, interval=0.5)

    def why(self):
        return self.dispatcher.agent_state("server1")["why"]

    def devices(self, row):
        return [volume["device"] for volume in row["volumes"]]

    def helpers(self):
        """Those of this test: their environment has the agent's notify socket."""
        found = []
        for pid in run("pgrep", "-x", "blxrep-helper", check=False).stdout.split():
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    found += [pid] if self.folder.encode() in file.read() else []
            except OSError:
                pass  # it has just ended
        return found

    def test_one_of_two_disks_hangs(self):
        fill(self.stuck.path, 60)
        agent = self.start_agent_for([self.healthy, self.stuck])
        self.assertTrue(self.helpers())
        self.wait_for_both()
        self.stuck.hang()
        for restarted in (False, True):
            if restarted:
                agent.stop(15)  # while calls hang
                agent.start()
                self.dispatcher.wait_online("server1")
            fill(self.files.path + "/meanwhile", 2)
            row = self.next_checkpoint()
            self.assertEqual((self.devices(row), row["consistency"], row["damaged"]), ([self.healthy.path], "filesystem", False))
            self.assertIn(f"without '{self.stuck.path}'", row["note"])
            agent.wait_line(f"'{self.stuck.path}' {STUCK}")
            wait_until("status names it", lambda: re.search(f"'{self.stuck.path}' {STUCK}", self.why()), 60)
            self.assertEqual(self.dispatcher.agent_state("server1")["protection"], "damaged")
        start = len(agent.lines)
        self.stuck.answer()
        agent.wait_line(fr"'{self.stuck.path}' is tracked \(as before: no change was missed\)", start=start)
        agent.wait_line(fr"'{self.stuck.path}': (resumed|rescan|full pass)", start=start)
        agent.wait_line(fr"'{self.stuck.path}': resumed", seconds=1, start=start)
        fill(self.stuck.path, 2)
        wait_until("both are volumes", lambda: self.dispatcher.agent_state("server1")["volumes"] == 2, 60)
        row = self.row("server1", self.checkpoint("server1"))
        self.assertEqual(len(self.devices(row)), 2)
        check_equal(self.restore("server1", str(row["checkpoint"]), self.path("stuck.img"), f"--device={self.stuck.path}"),
                    self.stuck.store)
        agent.stop(15)
        wait_until("no process is left", lambda: not self.helpers(), 30)

    def test_disk_hangs_when_the_agent_starts(self):
        self.stuck.hang()
        agent = self.start_agent_for([self.healthy, self.stuck])
        self.assertEqual(self.devices(self.next_checkpoint()), [self.healthy.path])
        wait_until("status names it", lambda: re.search(f"'{self.stuck.path}' {STUCK}", self.why()), 60)
        self.stuck.answer()
        agent.wait_line(f"'{self.stuck.path}' is tracked")

    def test_filesystem_hangs_while_it_is_frozen(self):
        """The others are thawed without it, and it is thawed when it is through."""
        disk = self.loop_disk(64, "other")
        hanging = self.make_hanging_filesystem(disk)
        agent = self.start_agent_for([self.healthy, disk])
        self.wait_for_both()
        fill(hanging.path + "/journalled", 1)  # so that the freeze has something to write there
        self.stuck.stall_writes()
        asked = threading.Thread(target=self.cli.run, args=("dispatcher", "checkpoint", "--agent=server1",
                                                            f"--data-dir={self.data_dir}"), kwargs={"check": False, "timeout": 60})
        asked.start()
        name = f"the filesystem on '{hanging.path}'"
        agent.wait_line(f"{name} does not answer")
        fill(self.files.path + "/alive", 1)  # the other one is not frozen
        asked.join()
        row = self.next_checkpoint()
        self.assertEqual(self.devices(row), [self.healthy.path, disk.path])
        self.assertEqual(row["consistency"], "crash")
        self.assertIn(f"'{hanging.path}' hangs when it is looked at", row["note"])
        wait_until("status names it", lambda: re.search(f"{name} {STUCK}", self.why()), 60)
        self.stuck.heal()
        agent.wait_line(f"{name} answers again")
        fill(hanging.path + "/thawed", 1)
        wait_until("it is frozen again", lambda: "hangs" not in self.next_checkpoint()["note"], 60)
        wait_until("status is silent about it", lambda: "answer" not in self.why(), 60)

    def test_filesystem_hangs_while_it_is_flushed_and_the_agent_ends(self):
        disk = self.loop_disk(64, "other")
        hanging = self.make_hanging_filesystem(disk)
        agent = self.start_agent_for([self.healthy, disk])
        self.wait_for_both()
        self.stuck.stall_writes()
        with open(hanging.path + "/dirty", "wb") as file:
            file.write(os.urandom(1 << 20))
        for restarted in (False, True):
            if restarted:
                agent.stop(15)
                agent.start()
                self.dispatcher.wait_online("server1")
            row = self.next_checkpoint()
            self.assertEqual(self.devices(row), [self.healthy.path, disk.path])
            self.assertIn(f"'{hanging.path}' hangs when it is looked at", row["note"])
        self.stuck.heal()
        wait_until("it is frozen again", lambda: "hangs" not in self.next_checkpoint()["note"], 60)


if __name__ == "__main__":
    main()
