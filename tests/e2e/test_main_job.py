# SPDX-License-Identifier: Apache-2.0
"""The main job, as a new user does it: dispatcher, agent, checkpoints by the clock, show, restore."""

import calendar
import json
import os
import re
import time

from case import Case, main
from checks import Image, allocated_bytes, check_same_tree, tree
from disks import MIB
from registry import REGISTRY, wait_until
from workloads import fill


def without_ages(table):
    """The table of `show` without the checkpoints' ages, which grow from one call to the next."""
    return re.sub(r" +(?:AGE|\d+ [smhd](?: \d+ [smhd])?)  ", "  -  ", table)


class MainJob(Case):
    def test_checkpoints_by_the_clock_show_and_restore(self):
        disk = self.loop_disk(512)
        files = disk.make("ext4")
        self.start_dispatcher(sync_freq="2s")
        fill(files.path + "/first", 20)
        self.start_agent("server1", disk)
        self.dispatcher.wait_checkpoints("server1", 1)
        fill(files.path + "/second", 5)
        written = time.time()
        self.dispatcher.wait_checkpoints("server1", 2)
        self.wait_checkpoint_after("server1", written)
        rows = self.show("server1")
        self.check_rows(rows, disk)
        self.check_restore(disk, files)

    def wait_checkpoint_after(self, agent_id, seconds):
        """
        Waits for a checkpoint that was cut after the instant. Its name cannot tell, nor can "cut", which is the name's time: if two
        checkpoints are cut in one second, the later one has the next second's name. The agent's clock tells, which is this machine's.
        """
        def newest():
            shown = self.cli.run("dispatcher", "info", f"--agent={agent_id}", "--checkpoint=latest", f"--data-dir={self.data_dir}", "--json")
            return calendar.timegm(time.strptime(json.loads(shown.stdout)["agent_clock"], "%Y-%m-%dT%H:%M:%SZ"))
        wait_until("a checkpoint of what was written", lambda: newest() > seconds, 60, interval=0.2)

    def check_rows(self, rows, disk):
        names = [str(row["checkpoint"]) for row in rows]
        self.assertEqual(names, sorted(set(names)), "oldest first, each once")
        self.assertEqual(rows[0]["kind"], "full")
        for row in rows:
            self.assertRegex(str(row["checkpoint"]), r"^\d{14}$")
            moment = calendar.timegm(time.strptime(str(row["checkpoint"]), "%Y%m%d%H%M%S"))
            self.assertLess(abs(calendar.timegm(time.strptime(row["time"][:19], "%Y-%m-%dT%H:%M:%S")) - moment), 5)
            self.assertTrue(row["time"].endswith("Z"), row["time"])
            self.assertIn(row["consistency"], ("filesystem", "crash"))
            self.assertEqual(len(row["volumes"]), 1)
            volume = row["volumes"][0]
            self.assertEqual((volume["device"], volume["size"]), (disk.path, disk.size))
        self.assertGreater(rows[0]["volumes"][0]["changed_bytes"], 20 * MIB)
        for row in rows[1:]:
            self.assertEqual(row["kind"], "incremental")
            self.assertLess(row["volumes"][0]["changed_bytes"], 12 * MIB, "an increment holds what changed")

    def check_restore(self, disk, files):
        printed = self.cli.restore("server1", self.data_dir, "latest")
        newest = self.newest_named(printed)
        default = os.path.join(self.data_dir, "restore", f"server1-{newest}.img")
        self.assertEqual(printed, [default])
        self.assertEqual(os.path.getsize(default), disk.size)
        self.assertLess(allocated_bytes(default), files.used_bytes() + 32 * MIB, "the image is sparse")
        self.assert_no_half_files()
        with Image(REGISTRY, default) as image:
            image.check_ext4()
            check_same_tree(tree(image.mount("ext4")), tree(files.path))

    def newest_named(self, printed):
        """Checkpoints go on; the one that was restored is named in the path."""
        names = [str(row["checkpoint"]) for row in self.show("server1")]
        return next(name for name in reversed(names) if name in printed[0])

    def test_short_form_and_table_and_help(self):
        disk = self.loop_disk(64)
        self.start_dispatcher()
        self.start_agent("server1", disk)
        stamp = self.checkpoint("server1")
        words = ("--agent=server1", f"--data-dir={self.data_dir}")
        table = self.cli.run("show", *words).stdout
        self.assertIn(stamp, table)
        self.assertEqual(without_ages(table), without_ages(self.cli.run("dispatcher", "show", *words).stdout))
        self.assertEqual(json.loads(self.cli.run("show", "--json", *words).stdout), self.show("server1"))
        spaced = self.cli.run("show", "--agent", "server1", "--data-dir", self.data_dir).stdout
        self.assertEqual(without_ages(spaced), without_ages(table))
        status = self.cli.run("dispatcher", "status", f"--data-dir={self.data_dir}").stdout
        self.assertIn("server1", status)
        for command in ([], ["start"], ["show"], ["restore"], ["dispatcher", "enroll"], ["dispatcher", "checkpoint"],
                        ["dispatcher", "status"]):
            shown = self.cli.run(*command, "--help")
            self.assertIn("blxrep", shown.stdout)
            self.assertEqual(shown.stderr, "")
        self.assertRegex(self.cli.run("--version").stdout, r"\d+\.\d+\.\d+")

    def test_restore_in_default_folder_of_a_never_written_disk_is_all_hole(self):
        disk = self.loop_disk(64)
        self.start_dispatcher()
        self.start_agent("empty", disk)
        stamp = self.checkpoint("empty")
        image = self.restore("empty", stamp, self.path("empty.img"))
        self.assertEqual(os.path.getsize(image), disk.size)
        self.assertEqual(allocated_bytes(image), 0)


if __name__ == "__main__":
    main()
