# SPDX-License-Identifier: Apache-2.0
"""Two agents with one set of credentials, as after cloning a server: one is served, the other is refused with the reason, and no
chain holds both disks. An agent that really replaces a dead one gets in."""

import os
import time

from case import Case, main
from checks import check_equal
from disks import MIB
from programs import Agent
from proxy import Proxy
from registry import REGISTRY


class Clone(Case):
    def setUp(self):
        super().setUp()
        self.start_dispatcher()
        self.first = self.disk_of("first")
        self.second = self.disk_of("second")

    def disk_of(self, name):
        disk = self.loop_disk(32, name)
        with open(disk.path, "r+b", buffering=0) as device:
            device.write(os.urandom(8 * MIB))
            os.fsync(device.fileno())
        return disk

    def start(self, disk, address=None):
        """An agent as on a machine of its own: each disk has its own run directory."""
        agent = Agent(REGISTRY, self.folder, "server1", address or self.dispatcher.address, self.enroll("server1"),
                      [disk.path], f"--run-dir={self.path('run-' + disk.name)}", "--skip-free-space=no")
        return agent.start()

    def check_checkpoint_of(self, disk, kind="incremental"):
        stamp = self.checkpoint("server1")
        row = self.row("server1", stamp)
        self.assertEqual(row["volumes"][0]["device"], disk.path)
        self.assertEqual(row["kind"], kind)
        image = self.restore("server1", stamp, self.path(f"{stamp}.img"))
        check_equal(image, disk.copy(self.path(f"{stamp}.copy")))

    def change(self, disk):
        with open(disk.path, "r+b", buffering=0) as device:
            device.seek(10 * MIB)
            device.write(os.urandom(MIB))
            os.fsync(device.fileno())

    def test_the_second_one_is_refused(self):
        agent = self.start(self.first)
        self.dispatcher.wait_online("server1")
        self.checkpoint("server1")
        peer = self.dispatcher.agent_state("server1")["peer"]
        clone = self.start(self.second)
        _, line = clone.wait_line("the dispatcher refuses: the agent 'server1' is connected from")
        self.assertIn(peer, line)
        self.assertRegex(line, r"this one came from 127\.0\.0\.1:\d+")
        self.dispatcher.wait_line(rf"refused the connection from .*'server1'.*{peer}.* this one came from")
        self.assertEqual(self.dispatcher.agent_state("server1")["peer"], peer, "the first one was not even disturbed")
        self.change(self.first)
        self.check_checkpoint_of(self.first)

        # While the first one is away its place is kept: the clone keeps trying, and is refused again.
        agent.kill()
        self.dispatcher.wait_offline("server1")
        clone.wait_line("another agent with the credentials of 'server1' was connected")
        self.change(self.first)
        agent = self.start(self.first)
        begun = time.monotonic()
        self.dispatcher.wait_online("server1", 10)
        self.assertLess(time.monotonic() - begun, 5)
        self.check_checkpoint_of(self.first)
        self.assertEqual([row["volumes"][0]["device"] for row in self.show("server1")],
                         [self.first.path] * len(self.show("server1")))

    def test_one_that_died_without_a_word_is_replaced(self):
        proxy = Proxy(REGISTRY, self.dispatcher.port)
        agent = self.start(self.first, proxy.address)
        self.dispatcher.wait_online("server1")
        self.checkpoint("server1")
        peer = self.dispatcher.agent_state("server1")["peer"]
        proxy.hold_after(0)
        agent.kill()
        self.change(self.first)
        agent = self.start(self.first)
        begun = time.monotonic()
        agent.wait_line("connected to the dispatcher", 20)
        self.assertLess(time.monotonic() - begun, 15)
        self.assertNotEqual(self.dispatcher.agent_state("server1")["peer"], peer)
        self.check_checkpoint_of(self.first)
        proxy.release()


if __name__ == "__main__":
    main()
