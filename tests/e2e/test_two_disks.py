# SPDX-License-Identifier: Apache-2.0
"""One agent with two disks of different kinds: one cut through both."""

import datetime
import json
import os
import time

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
        # On a slow machine the first passes end one after the other.
        wait_until("both are in a checkpoint", lambda: self.show("server1") and not self.show("server1")[-1]["missing"], 60)
        first = len(self.show("server1")) - 1
        load = Load(self.folder, filesystems)
        load.wait_started()
        before = len(self.show("server1"))
        self.dispatcher.wait_checkpoints("server1", before + 3)
        load.stop()
        rows = self.show("server1")[first:]
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

    def test_disk_whose_size_is_no_multiple_of_its_sector(self):
        """Nobody can read or write the rest after the last whole sector."""
        disk = self.loop_disk(16)
        os.truncate(disk.file, (16 << 20) + 3 * 512)
        run("losetup", "-c", disk.path)
        run("losetup", "--sector-size", "4096", disk.path)
        fill(disk.path, 16)
        self.start_dispatcher()
        self.start_agent("server1", disk, "--skip-free-space=no")
        row = self.row("server1", self.checkpoint("server1"))
        self.assertFalse(row["damaged"])
        check_equal(self.restore("server1", str(row["checkpoint"]), self.path("odd.img")), disk.file)

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

    def check_gaps(self, rows, seconds):
        stamps = [datetime.datetime.strptime(str(row["checkpoint"]), "%Y%m%d%H%M%S") for row in rows]
        gaps = [(later - earlier).total_seconds() for earlier, later in zip(stamps, stamps[1:])]
        print(f"{len(rows)} checkpoints, at most {max(gaps)} s apart: {[row['note'] for row in rows]}")
        self.assertLessEqual(max(gaps), seconds, "a checkpoint was missed")

    def test_a_first_pass_does_not_stop_the_checkpoints_of_the_other(self):
        small, large = self.loop_disk(64, "small"), self.loop_disk(96, "large")
        files = small.make("ext4")
        fill(large.file, 96)
        self.start_dispatcher(sync_freq="3s")
        words = ("--skip-free-space=no", "--compression=none")
        agent = self.start_agent("server1", small, *words)
        self.dispatcher.wait_checkpoints("server1", 1)
        agent.stop()
        before = len(self.show("server1"))
        agent = self.start_agent("server1", [large, small], "--bandwidth-limit=6M", *words)
        wait_until("it is in its first sync", lambda: self.dispatcher.agent_state("server1")["protection"] == "first-sync", 60)
        self.assertRegex(self.dispatcher.agent_state("server1")["why"], rf"'{large.path}' at \d+ %: ")
        fill(files.path + "/data", 3)

        def has_both():
            return len(self.show("server1")[-1]["volumes"]) == 2
        wait_until("the large disk is in a checkpoint", has_both, 120)
        rows = self.show("server1")[before:]
        partial = rows[:-1]
        self.assertGreaterEqual(len(partial), 4)
        for row in partial:
            self.assertEqual(([volume["device"] for volume in row["volumes"]], row["missing"]), ([small.path], [large.path]))
            self.assertRegex(row["note"], rf"without '{large.path}', whose first pass is at \d+ %")
            self.assertIn(row["consistency"], ("filesystem", "crash"))
        # Twice the period and the start of the agent: what is due while one is taken is skipped.
        self.check_gaps(rows, 8)
        last = rows[-1]["checkpoint"]
        check_equal(self.restore("server1", last, self.path("large.img"), f"--device={large.path}"), large.file)
        files.umount()
        last = self.checkpoint("server1")
        copy = small.copy(self.path("small.copy"))
        check_equal(self.restore("server1", last, self.path("small.img"), f"--device={small.path}"), copy)
        self.cli.fails(1, "--incomplete", "restore", "--agent=server1", f"--data-dir={self.data_dir}",
                       f"--checkpoint={partial[-1]['checkpoint']}")
        # One whose tracking was lost is compared, and goes on in its chain.
        agent.stop()
        large.forget_tracking()
        with open(large.path, "r+b", buffering=0) as device:
            device.seek(48 << 20)
            device.write(os.urandom(4096))
            os.fsync(device.fileno())
        agent.start()
        agent.wait_line(f"'{large.path}': rescan done: .* 4.0 KiB differ")
        wait_until("the large disk is in a checkpoint again", has_both, 120)
        last = self.checkpoint("server1")
        check_equal(self.restore("server1", last, self.path("again.img"), f"--device={large.path}"), large.file)
        for row in self.show("server1")[before:]:
            self.assertEqual(len(row["volumes"]) + len(row["missing"]), 2)
        self.assertEqual(self.cli.run("verify", f"--data-dir={self.data_dir}").returncode, 0)
        self.cli.run("prune", f"--data-dir={self.data_dir}", "--keep-last=1")
        check_equal(self.restore("server1", "latest", self.path("pruned.img"), f"--device={large.path}"), large.file)
        self.assertEqual(self.cli.run("verify", f"--data-dir={self.data_dir}").returncode, 0)

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
            shown = json.loads(self.cli.run("info", "--agent=server1", f"--checkpoint={stamp}", f"--data-dir={self.data_dir}",
                                            "--json").stdout)
            self.assertEqual({volume["device"]: volume["kind"] for volume in shown["volumes"]}[lost.path], "incremental",
                             "it goes on in its own chain")
        wait_until("it is protected", lambda: self.dispatcher.agent_state("server1")["protected"], 60)
        check_equal(self.restore("server1", both, self.path("again.img"), f"--device={lost.path}"), kept)
        self.assertLess(len([line for line in agent.lines if lost.path in line]), 40)

    def move_link(self, link, target):
        """As udev does; the agent watches /dev."""
        if os.path.lexists(link):
            os.unlink(link)
        if target:
            os.symlink(target, link)

    def is_detached(self, disk):
        """Another test may have got its number by now."""
        try:
            with open(f"/sys/block/{disk.name}/loop/backing_file", encoding="utf-8") as file:
                return file.read().strip() != disk.file
        except OSError:
            return True

    def test_an_idle_disk_may_be_taken_away_and_comes_back(self):
        """The agent holds nothing: the kernel detaches a loop device when its last user has gone."""
        kept, away = self.loop_disk(32, "kept"), self.loop_disk(48, "away")
        files = away.make("ext4")
        link = f"/dev/blxrep-e2e-{os.getpid()}"
        self.addCleanup(self.move_link, link, None)
        self.move_link(link, away.path)
        self.start_dispatcher(sync_freq="1h")
        agent = self.start_agent("server1", [kept.path, link])
        fill(files.path + "/data", 3)
        both = self.checkpoint("server1")
        files.umount()
        begun = time.monotonic()
        run("losetup", "-d", away.path)
        wait_until("the kernel has let go of it", lambda: self.is_detached(away), 20, interval=0.02)
        print(f"detached after {time.monotonic() - begun:.2f} s")
        self.move_link(link, None)
        agent.wait_line(f"'{link}'.*NOT protected")
        row = self.row("server1", self.checkpoint("server1"))
        self.assertEqual([volume["device"] for volume in row["volumes"]], [kept.path])
        self.assertIn(f"without '{link}'", row["note"])
        with open(away.file, "r+b") as file:  # nobody tracks it now
            file.seek(40 << 20)
            file.write(os.urandom(1 << 20))
        before = len(agent.lines)
        away.path = away.attach()
        away.name = os.path.basename(away.path)
        self.move_link(link, away.path)
        agent.wait_line(f"'{link}' is tracked", start=before)
        wait_until("both are there", lambda: self.dispatcher.agent_state("server1")["volumes"] == 2, 60)
        stamp = self.checkpoint("server1")
        self.assertGreater(stamp, both)
        check_equal(self.restore("server1", stamp, self.path("away.img"), f"--device={link}"), away.copy(self.path("copy")))

    def test_first_pass_ends_however_often_a_checkpoint_is_asked_for(self):
        small, large = self.loop_disk(16, "small"), self.loop_disk(36, "large")
        small.make("ext4")
        fill(large.file, 36)
        self.start_dispatcher(sync_freq="16s")  # so a pass is waited for at most 8 s, and this one takes 12
        self.start_agent("server1", [small, large], "--bandwidth-limit=3M", "--skip-free-space=no", "--compression=none")

        def has_both():
            return len(self.row("server1", self.checkpoint("server1"))["volumes"]) == 2
        wait_until("the large disk is in a checkpoint", has_both, 60, interval=0.01)
        self.assertTrue([row for row in self.show("server1") if row["missing"]])


if __name__ == "__main__":
    main()
