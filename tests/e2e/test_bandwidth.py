# SPDX-License-Identifier: Apache-2.0
"""bandwidth-limit: frames keep to it, nothing else waits for it."""

import os
import time

from case import Case, main
from checks import check_equal

MIB = 1 << 20


class Bandwidth(Case):
    def random_disk(self, mib):
        disk = self.loop_disk(mib)
        with open(disk.path, "r+b") as device:
            for _ in range(mib):
                device.write(os.urandom(MIB))
            os.fsync(device.fileno())
        return disk

    def test_a_full_pass_takes_as_long_as_the_limit_makes_it(self):
        disk = self.random_disk(24)
        self.start_dispatcher()
        begun = time.monotonic()
        self.start_agent("server1", disk, "--bandwidth-limit=mon-sun 00:00-24:00 4M, none")
        stamp = self.checkpoint("server1")
        self.assertGreater(time.monotonic() - begun, 24 / 4 * 0.95)
        check_equal(self.restore("server1", stamp, self.path("restored.img")), disk.copy(self.path("copy.img")))

    def test_heartbeats_and_a_stop_do_not_wait(self):
        """A frame of 256 KiB waits for two minutes here: longer than the dispatcher waits for a sign of life."""
        disk = self.random_disk(8)
        self.start_dispatcher()
        agent = self.start_agent("server1", disk, "--bandwidth-limit=2K")
        quiet_until = time.monotonic() + 40
        while time.monotonic() < quiet_until:
            self.assertNotEqual(self.dispatcher.agent_state("server1")["state"].upper(), "OFFLINE", agent.log())
            time.sleep(1)
        self.assertNotIn("trying again", agent.log())
        begun = time.monotonic()
        agent.stop()
        self.assertLess(time.monotonic() - begun, 10)
        # The next session sends what waited.
        agent = self.start_agent("server1", disk)
        stamp = self.checkpoint("server1")
        check_equal(self.restore("server1", stamp, self.path("restored.img")), disk.copy(self.path("copy.img")))


if __name__ == "__main__":
    main()
