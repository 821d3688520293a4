# SPDX-License-Identifier: Apache-2.0
"""A disk that cannot be read everywhere: its checkpoints say what they lack, hold all the rest, and get whole again by themselves."""

import os
import shutil

from case import Case, main
from checks import check_equal
from disks import BLOCK, MIB
from registry import run, wait_until
from workloads import fill

REASON = "could not be read"


class Damaged(Case):
    def setUp(self):
        super().setUp()
        self.disk = self.failing_disk(64)
        self.start_dispatcher()

    def start(self):
        return self.start_agent("server1", self.disk, "--skip-free-space=no")

    def overwrite(self, first, count, path=None):
        """Writes new random blocks: to the disk, unless a file is named."""
        with open(path or self.disk.path, "r+b", buffering=0) as file:
            file.seek(first * BLOCK)
            file.write(os.urandom(count * BLOCK))
            os.fsync(file.fileno())

    def fail_blocks(self, first, count):
        self.disk.fail_reads(first * BLOCK, count * BLOCK)

    def damaged_checkpoint(self, first, count):
        """Takes a checkpoint that lacks just these blocks, and checks that everybody says so."""
        done = self.cli.run("dispatcher", "checkpoint", "--agent=server1", f"--data-dir={self.data_dir}")
        stamp = done.stdout.strip()
        self.assertIn("damaged", done.stderr)
        row = self.row("server1", stamp)
        self.assertTrue(row["damaged"])
        self.assertIn(REASON, row["note"])
        self.assertEqual(row["volumes"][0]["unreadable"], [{"offset": first * BLOCK, "length": count * BLOCK}])
        self.assertEqual(row["volumes"][0]["unreadable_bytes"], count * BLOCK)
        state = wait_until("the status tells it", lambda: self.status_if(count * BLOCK), 10)
        self.assertTrue(state["damaged"])
        self.assertEqual((state["protected"], state["protection"]), (False, "damaged"))
        table = self.cli.run("show", "--agent=server1", f"--data-dir={self.data_dir}").stdout
        self.assertRegex(table, rf"{stamp} .*damaged")
        self.check_restore(stamp, first, count)
        return stamp

    def status_if(self, unreadable_bytes):
        state = self.dispatcher.agent_state("server1")
        return state if state["unreadable_bytes"] == unreadable_bytes else None

    def check_restore(self, stamp, first, count):
        """The restore is refused, with the blocks' names. With --force the lacking blocks are as in the last whole
        checkpoint, or zero, and all others are right."""
        extent = f"{first * BLOCK}-{(first + count) * BLOCK - 1}"
        image = self.path(f"{stamp}.img")
        self.cli.fails(1, rf"{stamp}.*{extent}.*--force", "restore", "--agent=server1", f"--data-dir={self.data_dir}",
                       f"--checkpoint={stamp}", f"--output={image}")
        self.assert_no_half_files()
        self.assertFalse(os.path.exists(image))
        done = self.cli.run("restore", "--agent=server1", f"--data-dir={self.data_dir}", f"--checkpoint={stamp}",
                            f"--output={image}", "--force", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout.strip(), image)
        self.assertIn(extent, done.stderr)
        expected = self.path(f"{stamp}.expected")
        shutil.copyfile(self.disk.store, expected)
        older = bytes(count * BLOCK)
        if os.path.exists(self.path("older")):
            with open(self.path("older"), "rb") as file:
                file.seek(first * BLOCK)
                older = file.read(count * BLOCK)
        self.assertIn(f"{extent} {'have older content' if any(older) else 'are zeros'}", done.stderr)
        with open(expected, "r+b") as file:
            file.seek(first * BLOCK)
            file.write(older)
        check_equal(image, expected)
        os.unlink(image)
        os.unlink(expected)

    def whole_checkpoint(self):
        stamp = self.checkpoint("server1")
        row = self.row("server1", stamp)
        self.assertFalse(row["damaged"])
        self.assertNotIn(REASON, row["note"])
        self.assertEqual(row["volumes"][0]["unreadable"], [])
        self.assertFalse(self.dispatcher.agent_state("server1")["damaged"])
        wait_until("it is protected", lambda: self.dispatcher.agent_state("server1")["protected"], 20)
        image = self.restore("server1", stamp, self.path(f"{stamp}.img"))
        check_equal(image, self.disk.store)
        os.replace(image, self.path("older"))
        return row

    def verify(self):
        done = self.cli.run("dispatcher", "verify", f"--data-dir={self.data_dir}")
        self.assertIn("no damage", done.stdout)
        return done.stdout

    def reboot(self, agent):
        agent.stop()
        self.disk.forget_tracking()
        shutil.rmtree(agent.run_dir)

    def test_a_bad_range_appears_and_heals(self):
        self.overwrite(0, 4096)
        agent = self.start()
        self.whole_checkpoint()
        self.fail_blocks(1000, 3)
        self.overwrite(990, 200)  # what cannot be read can be written
        self.damaged_checkpoint(1000, 3)
        agent.wait_line(rf"'{self.disk.path}': cannot read bytes {1000 * BLOCK}-{1003 * BLOCK - 1} .*Input/output error")
        self.overwrite(5000, 10)
        self.damaged_checkpoint(1000, 3)
        self.assertIn("2 checkpoints lack", self.verify())

        agent.kill()  # the ledger remembers the blocks that could not be read, not the process
        agent = self.start()
        self.damaged_checkpoint(1000, 3)
        self.disk.heal()
        row = self.whole_checkpoint()
        self.assertEqual(row["kind"], "incremental")
        self.assertLess(row["volumes"][0]["changed_bytes"], MIB)
        agent.wait_line(rf"'{self.disk.path}': every block that could not be read can be read again")
        self.whole_checkpoint()
        self.verify()

    def test_a_block_that_is_read_again_by_itself_needs_no_checkpoint(self):
        self.overwrite(0, 1000)
        agent = self.start()
        self.whole_checkpoint()
        self.fail_blocks(0, 2000)
        self.overwrite(100, 500)
        agent.wait_line("cannot read bytes")
        wait_until("the status tells it", lambda: self.status_if(500 * BLOCK), 10)
        self.disk.heal()
        wait_until("the background has read them", lambda: self.status_if(0), 60)
        self.whole_checkpoint()

    def test_a_first_sync_never_takes_unread_blocks_for_zero(self):
        self.overwrite(0, 16384)
        self.fail_blocks(8000, 5)
        agent = self.start()
        self.damaged_checkpoint(8000, 5)
        self.assertEqual(self.show("server1")[0]["kind"], "full")
        self.reboot(agent)
        agent = self.start()
        self.damaged_checkpoint(8000, 5)
        self.reboot(agent)
        self.disk.heal()
        self.start()
        self.assertEqual(self.whole_checkpoint()["kind"], "incremental")

    def test_a_mounted_filesystem_is_frozen_all_the_same(self):
        files = self.disk.make("ext4")
        fill(files.path + "/victim", 8)
        agent = self.start()
        self.checkpoint("server1")
        shown = run("filefrag", "-b4096", "-v", files.path + "/victim").stdout
        first = int([line.split(":")[2].split("..")[0] for line in shown.splitlines() if line.strip()[:1].isdigit()][0])
        self.fail_blocks(first + 5, 1)
        self.overwrite(0, 20, files.path + "/victim")
        stamp = self.checkpoint("server1")
        row = self.row("server1", stamp)
        self.assertTrue(row["damaged"])
        self.assertEqual(row["consistency"], "filesystem")
        self.assertEqual(row["volumes"][0]["unreadable"], [{"offset": (first + 5) * BLOCK, "length": BLOCK}])
        self.assertTrue(agent.running())
        files.umount()
        self.disk.heal()
        self.whole_checkpoint()


if __name__ == "__main__":
    main()
