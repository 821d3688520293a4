# SPDX-License-Identifier: Apache-2.0
"""Readiness, orderly ends, and what outlives them."""

import os
import signal
import threading
import time

from case import Case, main
from programs import Agent
from proxy import Proxy
from registry import REGISTRY
from workloads import fill


class Signals(Case):
    def test_sigterm_and_sigint_end_both_daemons_with_0(self):
        disk = self.loop_disk(64)
        for number in (signal.SIGTERM, signal.SIGINT):
            self.start_dispatcher()
            agent = self.start_agent("server1", disk)
            self.checkpoint("server1")
            for daemon in (agent, self.dispatcher):
                daemon.send(number)
                self.assertEqual(daemon.process.wait(30), 0, daemon.log())
            self.assertFalse(os.path.exists(os.path.join(self.data_dir, "control.sock")))

    def test_sighup_does_not_end_the_agent(self):
        self.start_dispatcher()
        agent = self.start_agent("server1", self.loop_disk(64))
        agent.send(signal.SIGHUP)
        agent.wait_line("SIGHUP changes nothing")
        self.checkpoint("server1")
        self.assertEqual(self.cli.status(self.data_dir)[0]["sessions"], 1)

    def test_dispatcher_ends_while_agents_are_connected(self):
        self.start_dispatcher()
        agent = self.start_agent("server1", self.loop_disk(64))
        self.checkpoint("server1")
        self.dispatcher.stop(seconds=10)
        self.assertTrue(agent.running(), "the agent waits for its dispatcher")
        agent.stop(seconds=10)

    def test_sigterm_in_the_middle_of_a_sync(self):
        disk = self.loop_disk(256)
        files = disk.make("ext4")
        fill(files.path + "/file", 100)
        self.start_dispatcher()
        proxy = Proxy(REGISTRY, self.dispatcher.port)
        proxy.hold_after(20 << 20)
        agent = self.start_agent("server1", disk, address=proxy.address)
        proxy.wait_held()
        agent.stop(seconds=20)
        self.dispatcher.stop(seconds=20)

    def test_agent_starts_before_its_dispatcher(self):
        disk = self.loop_disk(64)
        self.start_dispatcher()
        self.enroll("server1")
        self.dispatcher.stop()
        self.start_agent("server1", disk, online=False)
        self.restart_dispatcher()
        self.dispatcher.wait_online("server1")
        self.checkpoint("server1")

    def test_tracking_outlives_the_agent(self):
        disk = self.loop_disk(64)
        self.start_dispatcher()
        agent = self.start_agent("server1", disk)
        self.checkpoint("server1")
        agent.stop()
        self.assertEqual([os.path.basename(path) for path in disk.pins()], [disk.name])
        with open(disk.path, "r+b") as device:
            device.write(b"written while no agent ran")
            os.fsync(device.fileno())
        self.start_agent("server1", disk)
        stamp = self.checkpoint("server1")
        with open(self.restore("server1", stamp, self.path("image")), "rb") as image:
            self.assertTrue(image.read(64).startswith(b"written while no agent ran"))

    def test_agent_whose_name_server_is_away_waits_and_says_so(self):
        disk = self.loop_disk(64)
        agent = Agent(REGISTRY, self.folder, "server1", "backup.invalid:8080", self.enroll("server1"), [disk])
        agent.prefix = ["unshare", "--net"]  # no network at all: the lookup fails for now, not for ever
        agent.start()
        agent.wait_line("cannot find the host 'backup.invalid'.*trying again", seconds=10)
        time.sleep(4)
        attempts = [line for line in agent.log().splitlines() if "cannot find the host" in line]
        self.assertLessEqual(len(attempts), 8, agent.log())
        agent.stop()

    def test_the_watchdog_is_pinged_by_daemons_at_work_at_rest_and_alone(self):
        os.environ["WATCHDOG_USEC"] = "12000000"
        self.addCleanup(os.environ.pop, "WATCHDOG_USEC")
        disk = self.loop_disk(64)
        self.start_dispatcher()
        agent = self.start_agent("server1", disk, "--pre-freeze=sleep 7", "--hook-timeout=1h")
        self.dispatcher.wait_notified("WATCHDOG=1", seconds=8)
        agent.wait_notified("WATCHDOG=1", seconds=8)
        line, _ = agent.wait_line("checkpoint cut")
        threading.Thread(target=self.checkpoint, args=("server1",)).start()
        for _ in range(2):  # no more than 4 s apart, though the hook alone takes 7
            agent.wait_notified("WATCHDOG=1", seconds=8)
        agent.wait_line("checkpoint cut", start=line + 1)
        self.dispatcher.wait_checkpoints("server1", 2)
        self.dispatcher.stop()
        for _ in range(2):
            agent.wait_notified("WATCHDOG=1", seconds=8)
        agent.stop()


if __name__ == "__main__":
    main()
