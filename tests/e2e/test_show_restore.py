# SPDX-License-Identifier: Apache-2.0
"""A series of checkpoints: each one restores to what the disk held then; show and restore in all their forms."""

import os
import signal
import subprocess

from case import Case, main
from checks import allocated_bytes, check_equal
from damage import flip_byte
from disks import MIB
from programs import bin_folder, environment
from registry import run, wait_until
from workloads import fill, make_archive


class Series(Case):
    def take_series(self, disk, files, steps):
        """Checkpoints of a disk at rest, with a copy of the raw disk for each: a list of (timestamp, copy)."""
        archive = make_archive(self.path("tree.tar"), limit=6 * MIB)
        taken = []
        for step in range(steps):
            run("tar", "-C", files.path, "-xf", archive)
            fill(f"{files.path}/file-{step}", 2 + step)
            if step >= 2:
                os.unlink(f"{files.path}/file-{step - 2}")
                run("rm", "-r", *[os.path.join(files.path, name) for name in sorted(os.listdir(files.path))[:10]
                                  if name not in ("lost+found", f"file-{step}")])
                files.trim()
            files.umount()
            stamp = self.checkpoint("server1")
            taken.append((stamp, disk.copy(self.path(f"{stamp}.copy"))))
            files.mount()
        return taken

    def test_every_checkpoint_of_a_series_restores(self):
        disk = self.loop_disk(256)
        files = disk.make("ext4")
        self.start_dispatcher()
        self.start_agent("server1", disk, "--skip-free-space=no")
        taken = self.take_series(disk, files, 5)
        for stamp, copy in taken:
            image = self.restore("server1", stamp, self.path(f"{stamp}.img"))
            with self.subTest(checkpoint=stamp):
                check_equal(image, copy)
            self.assertLessEqual(allocated_bytes(image), allocated_bytes(copy) + 4 * MIB, "zeros are holes")
        self.check_ranges([stamp for stamp, _copy in taken])
        self.check_resolving([stamp for stamp, _copy in taken])

    def check_ranges(self, stamps):
        everything = [str(row["checkpoint"]) for row in self.show("server1")]
        self.assertTrue(set(stamps) <= set(everything))

        def within(*words):
            return [str(row["checkpoint"]) for row in self.show("server1", *words)]
        self.assertEqual(within(f"--start={everything[0][:12]}"), everything)
        self.assertEqual(within(f"--end={everything[-1][:12]}"), everything, "the end is included")
        self.assertEqual(within(f"--start={everything[0][:12]}", f"--end={everything[-1][:12]}"), everything)
        self.assertEqual(within("--start=209901010000"), [])
        self.assertEqual(within("--end=200001010000"), [])

    def check_resolving(self, stamps):
        words = ("restore", "--agent=server1", f"--data-dir={self.data_dir}")
        minute = next((stamp[:12] for stamp in stamps if len([s for s in stamps if s[:12] == stamp[:12]]) > 1), None)
        if minute is None:  # the clock's minute ended between them: two more will share one
            minute = max(self.checkpoint("server1")[:12] for _ in range(2))
        twins = [str(row["checkpoint"]) for row in self.show("server1") if str(row["checkpoint"])[:12] == minute]
        line = self.cli.fails(1, "fits 2 checkpoints|fits [3-9] checkpoints", *words, f"--checkpoint={minute}", f"--output={self.path('no.img')}")
        self.assertTrue(all(twin in line for twin in twins[:3]), line)
        self.cli.fails(1, "20010101000000", *words, "--checkpoint=20010101000000", f"--output={self.path('no.img')}")
        for text in ("noonish", "2026", "20261399999999", "-1", "../latest", ""):
            self.cli.fails(2, "checkpoint", *words, f"--checkpoint={text}", f"--output={self.path('no.img')}")
        self.assertFalse(os.path.exists(self.path("no.img")))

    def test_existing_file_needs_force(self):
        disk = self.loop_disk(32)
        self.start_dispatcher()
        self.start_agent("server1", disk)
        stamp = self.checkpoint("server1")
        target = self.path("image")
        with open(target, "w", encoding="ascii") as file:
            file.write("mine")
        words = ("restore", "--agent=server1", f"--data-dir={self.data_dir}", f"--checkpoint={stamp}")
        self.cli.fails(1, "--force", *words, f"--output={target}")
        with open(target, encoding="ascii") as file:
            self.assertEqual(file.read(), "mine")
        self.restore("server1", stamp, target, "--force")
        self.assertEqual(os.path.getsize(target), disk.size)
        self.cli.fails(1, "absent", *words, f"--output={self.path('absent', 'image')}")
        self.assertEqual(self.cli.run(*words, "--output=relative.img", cwd=self.folder).stdout, "relative.img\n")
        self.assertTrue(os.path.exists(self.path("relative.img")))
        self.assert_no_half_files()

    def test_onto_a_block_device(self):
        disk = self.loop_disk(64)
        files = disk.make("ext4")
        self.start_dispatcher()
        self.start_agent("server1", disk, "--skip-free-space=no")
        fill(files.path + "/file", 10)
        files.umount()
        stamp = self.checkpoint("server1")
        copy = disk.copy(self.path("copy.img"))
        words = ("restore", "--agent=server1", f"--data-dir={self.data_dir}", f"--checkpoint={stamp}")

        target = self.loop_disk(64, "target")
        with open(target.path, "wb") as device:
            device.write(os.urandom(64 * MIB))
        self.restore("server1", stamp, target.path)
        check_equal(target.copy(self.path("target.copy")), copy)

        held = self.loop_disk(96, "held")
        run("mkfs.ext4", "-q", "-L", "precious", held.path)
        before = held.copy(self.path("held.copy"))
        self.cli.fails(1, f"'{held.path}' holds ext4 'precious'.*--force", *words, f"--output={held.path}")
        check_equal(held.copy(self.path("held.again")), before)
        self.assertIn("holds        ext4 'precious'", self.cli.run(*words, f"--output={held.path}", "--dry-run", "--force").stdout)
        check_equal(held.copy(self.path("held.again")), before)
        done = self.cli.run(*words, f"--output={held.path}", "--force")
        self.assertRegex(done.stderr, r"1 disk restored, [0-9.]+ [KM]iB written in .*; next: ")

        used = self.loop_disk(64, "used")
        mounted = used.make("ext4")
        fill(mounted.path + "/mine", 1)
        self.cli.fails(1, "in use", *words, f"--output={used.path}")
        mounted.umount()
        run("e2fsck", "-fn", used.path)

        small = self.loop_disk(63, "small")
        for force in ([], ["--force"]):
            self.cli.fails(1, "larger one", *words, f"--output={small.path}", *force)
        self.assertEqual(allocated_bytes(small.file), 0, "nothing was written")

    def test_a_stream_is_the_whole_image_or_an_error(self):
        disks = [self.loop_disk(32, "one"), self.loop_disk(32, "two")]
        for disk in disks:
            files = disk.make("ext4")
            fill(files.path + "/file", 8)
            files.umount()
        self.start_dispatcher()
        self.start_agent("server1", [disk.path for disk in disks])
        stamp = self.checkpoint("server1")
        self.dispatcher.stop()
        words = ["restore", "--agent=server1", f"--data-dir={self.data_dir}", f"--checkpoint={stamp}", "--output=-"]
        one = f"--device={disks[0].path}"
        self.cli.fails(2, "2 devices.*--device", *words)
        self.cli.fails(2, "--force", *words, one, "--force")
        done = self.cli.raw(*words, one)
        self.assertEqual((done.returncode, len(done.stdout)), (0, disks[0].size), done.stderr)
        self.assertIn(f"is complete, {disks[0].size} bytes", done.stderr.decode())
        with open(disks[0].copy(self.path("copy.img")), "rb") as file:
            self.assertTrue(file.read() == done.stdout, "the stream is the disk")
        self.assertFalse(os.path.exists("-"))
        with open("/dev/full", "wb") as full:
            ended = subprocess.run([self.cli.program, *words, one], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
        self.assertEqual(ended.returncode, 1)
        self.assertIn(b"ends after 0 bytes", ended.stderr)
        # Damage in the middle ends it with an error.
        folder = os.path.join(self.data_dir, "agents", "server1", "volumes", os.path.basename(disks[0].path))
        segment = max((os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".seg")), key=os.path.getsize)
        with open(segment, "r+b") as file:
            file.seek(os.path.getsize(segment) // 2)
            file.write(b"damage" * 100)
        ended = self.cli.raw(*words, one)
        self.assertEqual(ended.returncode, 1)
        self.assertLess(len(ended.stdout), disks[0].size)
        self.assertIn(f"ends after {len(ended.stdout)} bytes", ended.stderr.decode())

    def test_killed_restore_leaves_no_image(self):
        disk = self.loop_disk(512)
        files = disk.make("ext4")
        fill(files.path + "/file", 200)
        files.umount()
        self.start_dispatcher()
        self.start_agent("server1", disk, "--skip-free-space=no")
        stamp = self.checkpoint("server1")
        target = self.path("image")
        for _ in range(3):
            process = subprocess.Popen([os.path.join(bin_folder(), "blxrep"), "restore", "--agent=server1",
                                        f"--data-dir={self.data_dir}", f"--checkpoint={stamp}", f"--output={target}"],
                                       stdout=subprocess.DEVNULL, env=environment())
            wait_until("a partial file", lambda: os.path.exists(target + ".partial") and
                       allocated_bytes(target + ".partial") > 0 or process.poll() is not None, 30, 0.002)
            process.kill()
            self.assertEqual(process.wait(), -signal.SIGKILL, "it was killed in the middle")
            self.assertFalse(os.path.exists(target))
        check_equal(self.restore("server1", stamp, target), disk.copy(self.path("copy.img")))
        self.assert_no_half_files()

    def test_killed_restore_goes_on_with_resume(self):
        disk = self.loop_disk(512)
        files = disk.make("ext4")
        fill(files.path + "/file", 200)
        files.umount()
        self.start_dispatcher()
        self.start_agent("server1", disk, "--skip-free-space=no")
        stamp = self.checkpoint("server1")
        target = self.path("image")
        words = ["restore", "--agent=server1", f"--data-dir={self.data_dir}", f"--checkpoint={stamp}", f"--output={target}"]
        process = subprocess.Popen([os.path.join(bin_folder(), "blxrep"), *words], stdout=subprocess.DEVNULL, env=environment())
        wait_until("half a partial file", lambda: os.path.exists(target + ".partial") and
                   allocated_bytes(target + ".partial") > 50 * MIB or process.poll() is not None, 30, 0.001)
        process.kill()
        self.assertEqual(process.wait(), -signal.SIGKILL, "it was killed in the middle")
        run("sync", target + ".partial")
        left = allocated_bytes(target + ".partial")
        self.assertGreater(left, 0)
        inode = os.stat(target + ".partial").st_ino
        result = self.cli.run(*words, "--resume")
        copy = disk.copy(self.path("copy.img"))
        check_equal(target, copy)
        self.assertEqual(os.stat(target).st_ino, inode, "the same file")
        written = int(result.stderr.split("bytes of")[0].split()[-1])
        self.assertLessEqual(written, allocated_bytes(copy) - left + 4 * MIB, "only what was missing")
        self.assert_no_half_files()

    def test_delta_writes_only_what_differs(self):
        disk = self.loop_disk(256)
        files = disk.make("ext4")
        self.start_dispatcher()
        self.start_agent("server1", disk, "--skip-free-space=no")
        taken = self.take_series(disk, files, 4)
        target = self.loop_disk(256, "target")
        image = self.path("image")
        self.restore("server1", taken[0][0], target.path)
        self.restore("server1", taken[0][0], image)
        for stamp, copy in taken[1:] + taken[:1]:
            for place in (target.path, image):
                result = self.cli.run("restore", "--agent=server1", f"--data-dir={self.data_dir}", f"--checkpoint={stamp}",
                                      f"--output={place}", "--delta")
                written = int(result.stderr.split("bytes of")[0].split()[-1])
                self.assertLess(written, 64 * MIB)
                check_equal(place if place == image else target.copy(self.path("target.copy")), copy)
            with self.subTest(checkpoint=stamp):
                self.assertLessEqual(allocated_bytes(image), allocated_bytes(copy) + 4 * MIB, "zeros are holes")
        used = self.loop_disk(256, "used")
        mounted = used.make("ext4")
        self.cli.fails(1, "in use", "restore", "--agent=server1", f"--data-dir={self.data_dir}", f"--checkpoint={taken[0][0]}",
                       f"--output={used.path}", "--delta")
        mounted.umount()
        self.assert_no_half_files()

    def test_restore_needs_no_dispatcher(self):
        self.start_dispatcher()
        self.start_agent("server1", self.loop_disk(32))
        stamp = self.checkpoint("server1")
        self.dispatcher.kill()
        self.restore("server1", stamp, self.path("offline.img"))

    def test_damaged_store_is_noticed(self):
        disk = self.loop_disk(128)
        files = disk.make("ext4")
        fill(files.path + "/file", 30)
        files.umount()
        self.start_dispatcher()
        self.start_agent("server1", disk)
        stamp = self.checkpoint("server1")
        segments = [os.path.join(folder, name) for folder, _folders, names in os.walk(self.data_dir) for name in names
                    if name.endswith(".seg")]
        largest = max(segments, key=os.path.getsize)
        flip_byte(largest)
        self.cli.fails(1, os.path.basename(largest), "restore", "--agent=server1", f"--data-dir={self.data_dir}",
                       f"--checkpoint={stamp}", f"--output={self.path('image')}")
        self.assertFalse(os.path.exists(self.path("image")))
        self.assert_no_half_files()


if __name__ == "__main__":
    main()
