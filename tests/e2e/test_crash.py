# SPDX-License-Identifier: Apache-2.0
"""Agent, dispatcher and connection die in the middle: the next checkpoint is right, and small."""

import os
import threading

from case import Case, main
from checks import check_equal
from disks import MIB
from proxy import Proxy
from registry import REGISTRY
from workloads import fill

BASE_MIB = 96  # what the disk holds before the interruptions
STEP_MIB = 16  # what changes around each


class Crash(Case):
    def setUp(self):
        super().setUp()
        self.disk = self.loop_disk(320)
        self.files = self.disk.make("ext4")
        self.start_dispatcher()
        self.proxy = Proxy(REGISTRY, self.dispatcher.port)

    def start(self):
        return self.start_agent("server1", self.disk, "--skip-free-space=no", address=self.proxy.address)

    def start_synced(self):
        """An agent whose disk has a full checkpoint."""
        fill(self.files.path + "/base", BASE_MIB)
        agent = self.start()
        self.checkpoint("server1")
        return agent

    def hold_in_the_middle(self, name="step", mib=STEP_MIB, part_mib=STEP_MIB / 3):
        """New data, and a checkpoint of it: the dispatcher has received a part and waits for the rest."""
        self.proxy.hold_after(int(part_mib * MIB))
        fill(f"{self.files.path}/{name}", mib)
        asking = threading.Thread(target=self.cli.run, args=("dispatcher", "checkpoint", "--agent=server1",
                                                             f"--data-dir={self.data_dir}"), kwargs={"check": False})
        asking.start()
        self.addCleanup(asking.join)
        self.proxy.wait_held()

    def check_next_checkpoint(self, limit_mib):
        """The disk comes to rest; its checkpoint is an increment of at most that size, and equals the disk."""
        self.files.umount()
        sent = self.proxy.sent_bytes
        stamp = self.checkpoint("server1")
        copy = self.disk.copy(self.path(f"{stamp}.copy"))
        row = self.row("server1", stamp)
        self.assertEqual(row["kind"], "incremental", "nothing forced a new full pass")
        self.assertLess(row["volumes"][0]["changed_bytes"], limit_mib * MIB)
        self.assertLess(self.proxy.sent_bytes - sent, limit_mib * MIB)
        check_equal(self.restore("server1", stamp, self.path(f"{stamp}.img")), copy)
        self.files.mount()
        return stamp

    def test_agent_killed_in_the_middle(self):
        agent = self.start_synced()
        self.hold_in_the_middle()
        agent.kill()
        fill(self.files.path + "/while-no-agent-ran", 4)
        self.proxy.cut()
        self.proxy.release()
        self.start()
        self.check_next_checkpoint(STEP_MIB + 4 + 8)

    def test_agent_killed_again_and_again(self):
        agent = self.start_synced()
        for number in range(4):
            self.hold_in_the_middle(f"file-{number}", 6, number + 1)
            agent.kill()
            self.proxy.cut()
            self.proxy.release()
            os.unlink(self.files.path + f"/file-{number}")
            agent = self.start()
        self.check_next_checkpoint(4 * 6 + 12)

    def test_dispatcher_killed_in_the_middle(self):
        self.start_synced()
        self.hold_in_the_middle()
        self.dispatcher.kill()
        self.proxy.cut()
        self.proxy.release()
        fill(self.files.path + "/while-no-dispatcher-ran", 4)
        self.restart_dispatcher()
        self.dispatcher.wait_online("server1")
        self.check_next_checkpoint(STEP_MIB + 4 + 8)

    def test_connection_cut_in_the_middle(self):
        self.start_synced()
        for step in range(3):
            self.hold_in_the_middle(f"step-{step}", 8, 2 + step)
            sessions = self.dispatcher.agent_state("server1")["sessions"]
            self.proxy.cut()
            self.proxy.release()
        self.dispatcher.wait_session("server1", sessions)
        self.check_next_checkpoint(3 * 8 + 12)

    def test_first_sync_interrupted_resumes(self):
        fill(self.files.path + "/base", BASE_MIB)
        self.proxy.hold_after(BASE_MIB * MIB // 2)
        agent = self.start()
        self.proxy.wait_held()
        agent.kill()
        self.proxy.cut()
        self.proxy.release()
        self.start()
        self.files.umount()
        stamp = self.checkpoint("server1")
        self.assertLess(self.proxy.sent_bytes, (BASE_MIB + 40) * MIB,
                        "what had arrived is not sent again (except for what was on the way)")
        check_equal(self.restore("server1", stamp, self.path("restored.img")), self.disk.copy(self.path("copy.img")))
        self.assertEqual(self.show("server1")[0]["kind"], "full")

    def test_first_sync_survives_the_dispatcher(self):
        fill(self.files.path + "/base", BASE_MIB)
        self.proxy.hold_after(BASE_MIB * MIB // 2)
        self.start()
        self.proxy.wait_held()
        self.dispatcher.kill()
        self.proxy.cut()
        self.proxy.release()
        self.restart_dispatcher()
        self.dispatcher.wait_online("server1")
        self.files.umount()
        stamp = self.checkpoint("server1")
        check_equal(self.restore("server1", stamp, self.path("restored.img")), self.disk.copy(self.path("copy.img")))

    def test_away_for_a_while(self):
        """Neither a long cut nor a dead agent costs a full pass; the old checkpoints stay as they were."""
        agent = self.start_synced()
        first = self.check_next_checkpoint(8)
        first_copy = self.path(f"{first}.copy")
        self.proxy.refuse(True)
        self.proxy.cut()
        self.dispatcher.wait_offline("server1")
        fill(self.files.path + "/cut-off", 6)
        agent.kill()
        fill(self.files.path + "/dead", 6)
        self.proxy.refuse(False)
        self.start()
        self.check_next_checkpoint(6 + 6 + 8)
        check_equal(self.restore("server1", first, self.path("again.img")), first_copy)

    def test_reboot_is_noticed(self):
        """The tracker is gone, so nobody knows what changed meanwhile: the whole disk is compared."""
        agent = self.start_synced()
        agent.stop()
        self.disk.forget_tracking()
        fill(self.files.path + "/untracked", 4)
        self.start()
        self.files.umount()
        stamp = self.checkpoint("server1")
        check_equal(self.restore("server1", stamp, self.path("restored.img")), self.disk.copy(self.path("copy.img")))

    def test_second_agent_on_the_same_disk_is_refused(self):
        agent = self.start()
        self.enroll("server2")
        line = self.cli.fails(1, self.disk.name, "start", "--mode=agent", "--id=server2", f"--device={self.disk.path}",
                              f"--dispatcher-addr={self.dispatcher.address}", f"--credentials={self.enroll('server2')}",
                              f"--run-dir={self.path('run-second')}")
        self.assertRegex(line, r"another|already|in use")
        self.assertTrue(agent.running())
        self.checkpoint("server1")


if __name__ == "__main__":
    main()
