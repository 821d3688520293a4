# SPDX-License-Identifier: Apache-2.0
"""A device is named by a link (by-id, a mapper's or LVM's name), and the link leads to another disk later, or nowhere. The agent follows it,
or names it; no image holds blocks of two disks."""

import os
import time

from case import Case, main
from checks import check_equal
from disks import BLOCK, MIB
from programs import Agent
from registry import REGISTRY, wait_until

OLD = b"the old disk's data"


class Links(Case):
    def setUp(self):
        super().setUp()
        self.start_dispatcher()
        self.old = self.loop_disk(48, "old")
        self.new = self.loop_disk(48, "new")
        self.agent = None

    def point(self, disk, name="link"):
        """As udev does it: there is no moment without a link."""
        os.symlink(disk.path, self.path("link.tmp"))
        os.rename(self.path("link.tmp"), self.path(name))

    def start(self, *links):
        links = links or ("link",)
        self.agent = Agent(REGISTRY, self.folder, "server1", self.dispatcher.address, self.enroll("server1"),
                           [self.path(link) for link in links])
        self.agent.start()
        self.dispatcher.wait_online("server1")

    def write(self, disk, data, offset=8 * MIB):
        with open(disk.path, "r+b", buffering=0) as device:
            device.seek(offset)
            device.write(data)
            os.fsync(device.fileno())

    def make_filesystems(self):
        """The old disk is full of its data, the new one nearly empty, and mounted: its free space is not read."""
        files = self.old.make("ext4")
        with open(files.path + "/data", "wb") as file:
            file.write(OLD.ljust(BLOCK, b".") * (20 * MIB // BLOCK))
        files.umount()
        return self.new.make("ext4")

    def check_new(self):
        stamp = self.checkpoint("server1")
        image = self.restore("server1", stamp, self.path("image"))
        with open(image, "rb") as file:
            self.assertNotIn(OLD, file.read(), "a block of the old disk in the new one's image")
        os.unlink(image)
        return self.row("server1", stamp)

    def check_disk(self, disk):
        stamp = self.checkpoint("server1")
        image = self.restore("server1", stamp, self.path("image"))
        check_equal(image, disk.copy(self.path("copy")))
        os.unlink(image)

    # --- tests ------------------------------------------------------------------------------------------------------------------

    def test_a_link_that_leads_elsewhere_is_followed(self):
        files = self.make_filesystems()
        self.point(self.old)
        self.start()
        self.checkpoint("server1")
        self.point(self.new)
        self.agent.wait_line("leads to another disk now", 30)
        self.agent.wait_line("full pass .*was replaced by 'content:ext:", 30)
        self.dispatcher.wait_online("server1")
        self.assertEqual(self.check_new()["kind"], "full")
        files.umount()
        self.check_disk(self.new)

    def test_a_link_that_leads_elsewhere_after_a_restart(self):
        files = self.make_filesystems()
        self.point(self.old)
        self.start()
        self.checkpoint("server1")
        self.agent.stop()
        self.point(self.new)
        self.start()
        self.agent.wait_line("full pass .*was replaced by 'content:ext:", 30)
        self.assertEqual(self.check_new()["kind"], "full")
        files.umount()
        self.check_disk(self.new)

    def test_disks_without_anything_that_tells_them_apart_are_compared(self):
        self.write(self.old, os.urandom(8 * MIB))
        self.write(self.new, os.urandom(MIB), 20 * MIB)
        self.point(self.old)
        self.start()
        self.check_disk(self.old)
        self.point(self.new)
        self.agent.wait_line("leads to another disk now", 30)
        self.agent.wait_line(r"rescan \(", 30)
        self.check_disk(self.new)

    def test_links_that_change_places(self):
        """Each disk has a tracker and a ledger already, of the other volume."""
        self.write(self.old, os.urandom(4 * MIB))
        self.write(self.new, os.urandom(4 * MIB))
        self.point(self.old, "one")
        self.point(self.new, "two")
        self.start("one", "two")
        self.checkpoint("server1")
        self.agent.stop()
        self.point(self.new, "one")
        self.point(self.old, "two")
        self.start("one", "two")
        self.agent.wait_line(r"rescan \(its disk was the volume '.*two' before\)")
        stamp = self.checkpoint("server1")
        row = self.row("server1", stamp)
        for volume in row["volumes"]:
            disk = self.new if volume["device"].endswith("/one") else self.old
            image = self.restore("server1", stamp, self.path("image"), f"--device={volume['device']}")
            check_equal(image, disk.copy(self.path("copy")))
            os.unlink(image)

    def test_a_link_that_is_gone_is_named(self):
        self.write(self.old, os.urandom(4 * MIB))
        self.point(self.old)
        self.point(self.new, "other")
        self.start("link", "other")
        self.checkpoint("server1")
        os.unlink(self.path("link"))
        self.agent.wait_line("is no name of a disk any more", 30)
        state = wait_until("status names it", lambda: self.named(), 30)
        self.assertIn("link", state["reason"])
        self.write(self.old, os.urandom(MIB), 30 * MIB)
        self.point(self.old)
        self.agent.wait_line("is tracked .as before: no change was missed", 30)
        wait_until("status names it no more", lambda: not self.named(), 30)
        stamp = self.checkpoint("server1")
        volume = [volume["device"] for volume in self.row("server1", stamp)["volumes"] if volume["device"].endswith("/link")][0]
        image = self.restore("server1", stamp, self.path("image"), f"--device={volume}")
        check_equal(image, self.old.copy(self.path("copy")))

    def named(self):
        state = self.dispatcher.agent_state("server1")
        return state if "not protected" in state.get("reason", "") else None


if __name__ == "__main__":
    main()
