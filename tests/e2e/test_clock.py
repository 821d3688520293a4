# SPDX-License-Identifier: Apache-2.0
"""The wall clock is set back and forth, on the agent's machine and on the dispatcher's: checkpoints keep their order and come in time."""

import calendar
import os
import time

from case import Case, main
from checks import check_equal
from programs import Clock
from workloads import fill

HOUR = 3600
# Certificates are valid from an hour before they are made, so that clocks may differ that much.
JUMPS = [-30, -40 * 60, 24 * HOUR, 0, -40 * 60]


class ClockJumps(Case):
    def setUp(self):
        super().setUp()
        self.disk = self.loop_disk(128)
        self.files = self.disk.make("ext4")
        self.clocks = []
        for name in ("agent-clock", "dispatcher-clock"):
            os.mkdir(self.path(name))
            self.clocks.append(Clock(self.path(name)))

    def start(self, sync_freq):
        self.start_dispatcher(sync_freq=sync_freq, clock=self.clocks[1])
        return self.start_agent("server1", self.disk, clock=self.clocks[0])

    def check_each_jump(self, clocks, within):
        """
        A checkpoint after each jump is the newest, an increment, and equals the disk; the older ones are still there. The dispatcher's
        clock alone names them, so only its own jump forward shows.
        """
        stamps = [str(row["checkpoint"]) for row in self.dispatcher.wait_checkpoints("server1", 1)]
        for jump in JUMPS:
            for clock in clocks:
                clock.set(jump)
            fill(self.files.path + "/step", 2)
            stamps.append(self.checkpoint("server1"))
        self.files.umount()
        stamps.append(self.checkpoint("server1"))
        check_equal(self.restore("server1", "latest", self.path("latest.img")), self.disk.copy(self.path("copy")))
        self.assertEqual(stamps, sorted(set(stamps)), "each is later than the one before")
        rows = self.show("server1")
        self.assertEqual([str(row["checkpoint"]) for row in rows], stamps)
        self.assertEqual([row["kind"] for row in rows], ["full"] + ["incremental"] * (len(stamps) - 1))
        first, last = (calendar.timegm(time.strptime(stamp, "%Y%m%d%H%M%S")) for stamp in (stamps[0], stamps[-1]))
        self.assertIn(last - first, within)

    def test_agents_clock(self):
        self.start("1h")
        self.check_each_jump(self.clocks[:1], range(0, HOUR))
        notes = [row["note"] for row in self.show("server1")]
        self.assertRegex(" ".join(notes), "the agent's clock is (23 h 5|24 h |1 d )[^;]* ahead")

    def test_dispatchers_clock(self):
        self.start("1h")
        self.check_each_jump(self.clocks[1:], range(23 * HOUR, 25 * HOUR))

    def test_both_clocks(self):
        self.start("1h")
        self.check_each_jump(self.clocks, range(23 * HOUR, 25 * HOUR))

    def test_sync_freq_does_not_go_by_it(self):
        """Although the clock is set back by far more than sync-freq, the next checkpoint comes in its time."""
        self.start("2s")
        self.dispatcher.wait_checkpoints("server1", 2)
        for clock in self.clocks:
            clock.set(-40 * 60)
        count = len(self.show("server1"))
        began = time.monotonic()
        self.dispatcher.wait_checkpoints("server1", count + 3)
        self.assertLess(time.monotonic() - began, 120)

    def test_installed_with_a_clock_ahead(self):
        """The dispatcher made its certificates next year; an agent's clock is slow by more than an hour on top."""
        self.clocks[1].set(400 * 24 * HOUR)
        self.start_dispatcher(clock=self.clocks[1])
        self.dispatcher.stop()
        self.clocks[1].set(0)
        self.clocks[0].set(-30 * 24 * HOUR)
        self.restart_dispatcher(clock=self.clocks[1])
        self.start_agent("server1", self.disk, clock=self.clocks[0])
        self.checkpoint("server1")

    def test_restarts_after_a_jump(self):
        """Both daemons come back with a clock that was set back: nothing starts over."""
        agent = self.start("1h")
        first = self.checkpoint("server1")
        for clock in self.clocks:
            clock.set(-40 * 60)
        agent.stop()
        self.dispatcher.stop()
        self.dispatcher.start()
        agent.start()
        self.dispatcher.wait_online("server1")
        fill(self.files.path + "/step", 2)
        second = self.checkpoint("server1")
        self.assertGreater(second, first)
        self.assertEqual(self.row("server1", second)["kind"], "incremental")
        self.assertEqual(self.row("server1", second)["consistency"], "filesystem")


if __name__ == "__main__":
    main()
