# SPDX-License-Identifier: Apache-2.0
"""One agent with two disks of different kinds: one cut through both."""

import os

from case import Case, main
from checks import check_equal
from load import Load, check_labels, check_loaded_image, summary
from registry import run, wait_until
from workloads import fill


class TwoDisks(Case):
    def test_records_across_both_disks_are_a_prefix(self):
        disks = [self.loop_disk(400), self.zram_disk(400)]
        filesystems = [disks[0].make("xfs"), disks[1].make("ext4")]
        self.start_dispatcher(sync_freq="3s")
        self.start_agent("server1", disks)
        self.dispatcher.wait_checkpoints("server1", 1)
        load = Load(self.folder, filesystems)
        load.wait_started()
        before = len(self.show("server1"))
        self.dispatcher.wait_checkpoints("server1", before + 3)
        load.stop()
        rows = self.show("server1")
        print(f"{len(rows)} checkpoints: {summary(rows)}; {len(load.records.lines())} records")
        check_labels(self, rows)
        for row in rows:
            self.assertEqual([volume["device"] for volume in row["volumes"]], [disk.path for disk in disks])
            folder = self.path(f"images-{row['checkpoint']}")
            os.mkdir(folder)
            paths = self.cli.restore("server1", self.data_dir, row["checkpoint"], f"--output={folder}")
            self.assertEqual(len(paths), 2)
            loop, zram = sorted(paths, key=lambda path: disks[1].name in os.path.basename(path))
            check_loaded_image(self, [loop, zram], [[(0, "xfs")], [(0, "ext4")]], row, load.records.lines())

    def test_restore_writes_one_image_per_volume_or_the_one_asked_for(self):
        disks = [self.loop_disk(128, "one"), self.loop_disk(64, "two")]
        filesystems = [disk.make("ext4") for disk in disks]
        self.start_dispatcher()
        self.start_agent("server1", disks, "--skip-free-space=no")
        for files in filesystems:
            fill(files.path + "/data", 3)
            files.umount()
        stamp = self.checkpoint("server1")
        copies = [disk.copy(self.path(f"{disk.name}.copy")) for disk in disks]
        paths = self.cli.restore("server1", self.data_dir, stamp)
        self.assertEqual(sorted(paths), sorted(os.path.join(self.data_dir, "restore", f"server1-{stamp}-{disk.name}.img")
                                               for disk in disks))
        for disk, copy in zip(disks, copies):
            check_equal(os.path.join(self.data_dir, "restore", f"server1-{stamp}-{disk.name}.img"), copy)
            image = self.restore("server1", stamp, self.path(f"only-{disk.name}.img"), f"--device={disk.path}")
            check_equal(image, copy)
        self.cli.fails(2, "output", "restore", "--agent=server1", f"--data-dir={self.data_dir}", f"--checkpoint={stamp}",
                       f"--output={self.path('both.img')}")
        self.assertFalse(os.path.exists(self.path("both.img")))
        self.cli.fails(1, "/dev/absent", "restore", "--agent=server1", f"--data-dir={self.data_dir}",
                       f"--checkpoint={stamp}", "--device=/dev/absent")
        self.assert_no_half_files()

    def test_one_existing_target_stops_all_before_any_is_written(self):
        disks = [self.loop_disk(32, "one"), self.loop_disk(32, "two")]
        self.start_dispatcher()
        self.start_agent("server1", disks)
        stamp = self.checkpoint("server1")
        folder = os.path.join(self.data_dir, "restore")
        os.makedirs(folder, exist_ok=True)
        taken = os.path.join(folder, f"server1-{stamp}-{disks[1].name}.img")
        with open(taken, "w", encoding="ascii") as file:
            file.write("mine")
        self.cli.fails(1, "force", "restore", "--agent=server1", f"--data-dir={self.data_dir}", f"--checkpoint={stamp}")
        self.assertEqual(os.listdir(folder), [os.path.basename(taken)])
        with open(taken, encoding="ascii") as file:
            self.assertEqual(file.read(), "mine")

    def test_a_disk_that_is_lost_leaves_the_other_protected(self):
        """Guests pull out real ones; here one loses its medium, and gets it back."""
        disks = [self.loop_disk(64, "one"), self.loop_disk(32, "two")]
        lost = disks[1]
        files = disks[0].make("ext4")
        fill(lost.file, 32)
        self.start_dispatcher()
        agent = self.start_agent("server1", disks, "--skip-free-space=no")
        both = self.checkpoint("server1")
        kept = self.restore("server1", both, self.path("kept.img"), f"--device={lost.path}")
        check_equal(kept, lost.file)
        for restarted in (False, True):
            start = len(agent.lines)
            if restarted:
                agent.kill()
            os.truncate(lost.file, 0)
            run("losetup", "-c", lost.path)
            if restarted:
                agent.start()
            agent.wait_line(f"'{lost.path}'.*NOT protected", start=start)
            wait_until("it is not called protected", lambda: self.dispatcher.agent_state("server1")["protection"] == "damaged", 60)
            self.assertIn(lost.path, self.dispatcher.agent_state("server1")["why"])
            fill(files.path + "/meanwhile", 2)
            row = self.row("server1", self.checkpoint("server1"))
            self.assertEqual(([volume["device"] for volume in row["volumes"]], row["consistency"], row["damaged"]),
                             ([disks[0].path], "filesystem", False))
            self.assertIn(f"without '{lost.path}'", row["note"])
            self.assertEqual(row["missing"], [lost.path])
            refused = self.cli.fails(1, "--incomplete", "restore", "--agent=server1", f"--data-dir={self.data_dir}",
                                     "--checkpoint=latest", f"--output={self.path('one.img')}")
            self.assertRegex(refused, rf"lacks '{lost.path}' \(the newest with it: \d{{14}}\)")
            start = len(agent.lines)
            fill(lost.file, 32)
            run("losetup", "-c", lost.path)
            agent.wait_line(f"'{lost.path}' is tracked", start=start)
            wait_until("it is protected", lambda: self.dispatcher.agent_state("server1")["volumes"] == 2
                       and self.dispatcher.agent_state("server1")["unreadable_bytes"] == 0, 60)
            stamp = self.checkpoint("server1")
            check_equal(self.restore("server1", stamp, self.path(f"{stamp}.img"), f"--device={lost.path}"), lost.file)
        wait_until("it is protected", lambda: self.dispatcher.agent_state("server1")["protected"], 60)
        check_equal(self.restore("server1", both, self.path("again.img"), f"--device={lost.path}"), kept)
        self.assertLess(len([line for line in agent.lines if lost.path in line]), 40)


if __name__ == "__main__":
    main()
