#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A first sync that is interrupted again and again goes on where it was: every used block crosses the wire about once.

    first_sync.py [--gib=8] [--kills=10] [--reboots=2]

The sync first runs undisturbed, which gives its cost on the wire. Then everything is deleted, and it runs again. Spread evenly over this
second sync, the agent or the dispatcher is killed, and the protected machine is "rebooted" (pins and run directory are gone). Prints
both costs. The image must be right at the end.
"""

import argparse
import os
import shutil
import sys
import time

from case import Case
from checks import check_equal
from disks import MIB
from proxy import Proxy
from registry import REGISTRY, guard_process, wait_until

UNDER_WAY_BYTES = 20 * MIB  # the dispatcher acknowledges after 8 MiB at the latest, sockets hold some more: sent again after a kill
AGENT = "server1"


class FirstSync(Case):
    mib = 256
    kills = 4
    reboots = 1

    def setUp(self):
        super().setUp()
        self.disk = self.loop_disk(self.mib)
        self.files = self.disk.make("ext4")
        self.fill(0.6 * self.disk.size)
        self.files.sync()
        self.used = self.files.used_bytes()

    def fill(self, size):
        """Three fifths that do not compress, two fifths that do."""
        line = b"the quick brown fox jumps over the lazy dog, and then over another one\n"
        for number in range(int(size / (10 * MIB))):
            with open(f"{self.files.path}/file-{number}", "wb") as file:
                file.write(os.urandom(6 * MIB))
                text = b"".join(b"%d.%d " % (number, count) + line for count in range(4 * MIB // 80))
                file.write(text.ljust(4 * MIB, b"\n"))

    def begin(self):
        self.start_dispatcher()
        self.proxy = Proxy(REGISTRY, self.dispatcher.port)
        self.agent = self.start_agent(AGENT, self.disk, address=self.proxy.address)

    def forget(self):
        """As if neither had ever run."""
        self.agent.stop()
        self.dispatcher.stop()
        self.disk.forget_tracking()
        shutil.rmtree(self.agent.run_dir)
        shutil.rmtree(self.data_dir)
        os.unlink(self.path(f"{AGENT}.pem"))

    def kill_agent(self):
        self.agent.kill()
        self.agent.start()

    def kill_dispatcher(self):
        self.dispatcher.kill()
        self.dispatcher.start()

    def reboot(self):
        self.agent.kill()
        self.disk.forget_tracking()
        shutil.rmtree(self.agent.run_dir)
        self.agent.start()

    def plan(self):
        """Kills of both in turn, the reboots evenly among them."""
        deeds = [self.kill_agent if number % 2 else self.kill_dispatcher for number in range(self.kills)]
        for number in range(self.reboots, 0, -1):
            deeds.insert(number * self.kills // (self.reboots + 1), self.reboot)
        return deeds

    def wait_sent(self, count):
        wait_until(f"{count} bytes on the wire", lambda: self.proxy.sent_bytes >= count, 600, interval=0.002)

    def show_result(self, name, begun):
        sent, received = self.proxy.sent_bytes, self.proxy.received_bytes
        print(f"{name}: {sent} bytes to the dispatcher, {received} back, {sent / self.used:.4f} per used byte, "
              f"{time.monotonic() - begun:.0f} s", flush=True)
        return sent

    def test_each_used_block_is_sent_about_once(self):
        print(f"disk of {self.mib} MiB, {self.used} bytes used", flush=True)
        begun = time.monotonic()
        self.begin()
        self.checkpoint(AGENT)
        undisturbed = self.show_result("undisturbed", begun)
        self.forget()

        begun = time.monotonic()
        self.begin()
        deeds = self.plan()
        for number, deed in enumerate(deeds, 1):
            self.wait_sent(undisturbed * number // (len(deeds) + 1))
            self.assertEqual(self.show(AGENT) if os.path.exists(self.path("data/agents", AGENT)) else [], [],
                             "the first sync is not over yet")
            deed()
            print(f"{self.proxy.sent_bytes / undisturbed:.2f}: {deed.__name__}", flush=True)
        self.dispatcher.wait_online(AGENT)
        self.checkpoint(AGENT)
        sent = self.show_result("interrupted", begun)
        print(f"{self.kills} kills, {self.reboots} reboots: {sent / undisturbed:.4f} of the undisturbed sync's bytes")
        self.assertLess(sent, undisturbed * 1.01 + len(deeds) * UNDER_WAY_BYTES)
        self.check_image()

    def check_image(self):
        self.files.umount()
        stamp = self.checkpoint(AGENT)
        rows = self.show(AGENT)
        self.assertEqual([row["kind"] for row in rows].count("full"), 1)
        image = self.restore(AGENT, stamp, self.path("image"))
        check_equal(image, self.disk.copy(self.path("copy")))
        print(f"the image of {stamp} equals the disk")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float)
    parser.add_argument("--kills", type=int, default=FirstSync.kills)
    parser.add_argument("--reboots", type=int, default=FirstSync.reboots)
    arguments = parser.parse_args()
    if arguments.gib:
        FirstSync.mib = int(arguments.gib * 1024)
    FirstSync.kills, FirstSync.reboots = arguments.kills, arguments.reboots
    guard_process(170 + int((arguments.gib or 0) * 300))
    import unittest
    unittest.main(module="__main__", argv=[sys.argv[0]], verbosity=2)


if __name__ == "__main__":
    main()
