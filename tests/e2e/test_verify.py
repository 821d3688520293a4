# SPDX-License-Identifier: Apache-2.0
"""The store proves itself: damage is named with just the checkpoints that it hurts, the others restore, --force gives the rest."""

import json
import os

from case import Case, main
from checks import check_equal, different_blocks
from damage import flip_byte
from disks import BLOCK, MIB
from workloads import fill


class Verify(Case):
    def verify(self, status, *words):
        """The report of `verify`, which must end with `status`."""
        done = self.cli.run("dispatcher", "verify", f"--data-dir={self.data_dir}", "--json", *words, check=False)
        self.assertEqual(done.returncode, status, done.stdout)
        self.assertRegex(done.stderr, r"^(the agent 'server1' is asked to send the damaged blocks again.*\n)?$")
        return json.loads(done.stdout)

    def take_three(self):
        """Three checkpoints of a disk at rest: a base, a file more, and that file overwritten. (timestamp, copy) of each."""
        disk = self.loop_disk(96)
        files = disk.make("ext4")
        self.start_dispatcher()
        taken = []
        for step in range(3):
            if step == 2:
                files.umount()
                with open(disk.path, "r+b") as raw:  # in free space: nobody else writes there
                    raw.seek(80 * MIB)
                    raw.write(os.urandom(MIB))
                    raw.flush()
                    os.fsync(raw.fileno())
            else:
                fill(f"{files.path}/file-{step}", 8)
                files.umount()
            if step == 0:
                self.start_agent("server1", disk, "--skip-free-space=no")
            stamp = self.checkpoint("server1")
            taken.append((stamp, disk.copy(self.path(f"{stamp}.copy"))))
            files.mount()
        return taken

    def segments(self):
        folder = os.path.join(self.data_dir, "agents", "server1", "volumes")
        return sorted(os.path.join(where, name) for where, _folders, names in os.walk(folder) for name in names
                      if name.endswith(".seg") and name != "open.seg")

    def named(self, report):
        return {row["checkpoint"] for row in report["hurt"]}

    def restore_words(self, stamp, *words):
        return ("restore", "--agent=server1", f"--data-dir={self.data_dir}", f"--checkpoint={stamp}",
                f"--output={self.path(stamp + '.img')}", *words)

    def check_restores(self, taken, hurt):
        """A named checkpoint does not restore and leaves nothing; the others restore."""
        for stamp, copy in taken:
            image = self.path(f"{stamp}.img")
            if stamp in hurt:
                self.cli.fails(1, "damaged|cannot use the checkpoint", *self.restore_words(stamp))
                self.assertFalse(os.path.exists(image))
            else:
                check_equal(self.restore("server1", stamp, image), copy)
                os.unlink(image)
        self.assert_no_half_files()

    def check_force(self, stamp, copy, damage):
        """The damaged extents are zeros and listed, everything else is right, and the command fails."""
        done = self.cli.run(*self.restore_words(stamp, "--force"), check=False)
        image = self.path(f"{stamp}.img")
        self.assertEqual((done.returncode, done.stdout), (1, image + "\n"), done.stderr)
        lost = set()
        for extent in damage["extents"]:
            lost |= set(range(extent["offset"] // BLOCK, (extent["offset"] + extent["length"]) // BLOCK))
        different = set(different_blocks(image, copy))
        self.assertTrue(different and different <= lost, f"{sorted(different - lost)} differ too")
        with open(image, "rb") as file:
            for block in lost & different:
                file.seek(block * BLOCK)
                self.assertEqual(file.read(BLOCK), bytes(BLOCK))
        self.assertIn("are zeros", done.stderr)
        os.unlink(image)

    def test_damage_is_named_while_the_dispatcher_runs(self):
        taken = self.take_three()
        stamps = [stamp for stamp, _copy in taken]
        report = self.verify(0)
        self.assertEqual((report["damages"], report["hurt"], report["agents"]), ([], [], 1))
        self.assertGreaterEqual(report["checkpoints"], 3)
        held = sum(os.path.getsize(path) for path in self.segments())
        self.assertGreaterEqual(report["checked_bytes"], held)

        # The newest checkpoint's own frame: only it is hurt.
        newest = self.segments()[-1]
        flip_byte(newest)
        report = self.verify(1)
        damage, = report["damages"]
        self.assertEqual(os.path.join(self.data_dir, damage["file"]), newest)
        self.assertLessEqual(damage["offset"], os.path.getsize(newest) // 2)
        self.assertGreater(damage["offset"] + damage["length"], os.path.getsize(newest) // 2)
        self.assertEqual(self.named(report), {stamps[2]})
        self.check_restores(taken, {stamps[2]})
        self.check_force(*taken[2], damage)
        text = self.cli.run("verify", f"--data-dir={self.data_dir}", "--agent=server1", check=False).stdout.splitlines()
        self.assertTrue(os.path.basename(newest) in text[0] and text[0].endswith(f"of server1: {stamps[2]}"), text)
        flip_byte(newest)

        # A checkpoint that is taken now is not disturbed by any of this.
        self.checkpoint("server1")
        self.assertEqual(self.verify(0)["damages"], [])

    def test_base_index_and_manifest(self):
        taken = self.take_three()
        stamps = [stamp for stamp, _copy in taken]
        self.dispatcher.stop()
        base = self.segments()[0]
        for offset in (8, os.path.getsize(base) - 10, os.path.getsize(base) - 130):  # header, footer, index
            flip_byte(base, offset)
            report = self.verify(1)
            self.assertTrue(set(stamps) <= self.named(report), "all build upon it")
            self.cli.fails(1, os.path.basename(base), *self.restore_words(stamps[1]))
            done = self.cli.run(*self.restore_words(stamps[1], "--force"), check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("nothing of it is missing", done.stderr)
            check_equal(self.path(f"{stamps[1]}.img"), taken[1][1])
            os.unlink(self.path(f"{stamps[1]}.img"))
            flip_byte(base, offset)

        manifest = os.path.join(self.data_dir, "agents", "server1", "checkpoints", stamps[1])
        flip_byte(manifest, 100)
        report = self.verify(1)
        damage, = report["damages"]
        self.assertEqual(os.path.join(self.data_dir, damage["file"]), manifest)
        self.assertNotIn(stamps[0], self.named(report))
        self.assertTrue(set(stamps[1:]) <= self.named(report))
        self.check_restores(taken, set(stamps[1:]))
        flip_byte(manifest, 100)

        os.rename(base, base + ".away")
        self.assertTrue(set(stamps) <= self.named(self.verify(1)))
        os.rename(base + ".away", base)
        self.assertEqual(self.verify(0)["damages"], [])
        self.check_restores(taken, set())

    def test_unknown_agent_and_no_store(self):
        self.start_dispatcher()
        self.cli.fails(1, "web1", "verify", f"--data-dir={self.data_dir}", "--agent=web1")
        self.cli.fails(1, "nowhere", "verify", f"--data-dir={self.path('nowhere')}")
        self.assertEqual(self.verify(0)["agents"], 0)


if __name__ == "__main__":
    main()
