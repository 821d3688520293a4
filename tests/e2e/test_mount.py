# SPDX-License-Identifier: Apache-2.0
"""Checkpoints as files: what a mount shows is what a restore writes, nobody is blocked by it, and the store stays as it was."""

import errno
import hashlib
import os
import re
import signal
import stat
import subprocess

from case import Case, main
from checks import check_equal, check_same_tree, different_blocks, tree
from damage import flip_byte
from disks import BLOCK, MIB
from programs import SANITIZER_REPORT, bin_folder, environment
from registry import REGISTRY, Failure, is_running, run, wait_until
from workloads import fill


class Mount:
    """`blxrep dispatcher mount`, in the background as a user starts it."""

    def __init__(self, test, *words, agent="server1", prefix=(), name="mnt"):
        self.path = test.path(name)
        self.pid = None
        self.words = [*prefix, test.cli.program, "dispatcher", "mount", f"--agent={agent}", f"--data-dir={test.data_dir}",
                      *words, self.path]
        if not os.path.isdir(self.path):
            os.makedirs(self.path)
            os.chmod(self.path, 0o755)

    def __str__(self):
        return f"the mount at {self.path}"

    def start(self):
        """Returns when it is ready, as the command does."""
        done = run(*self.words, timeout=60, env=environment())
        if done.stdout or SANITIZER_REPORT.search(done.stderr):
            raise Failure(f"{self} said {done.stdout} {done.stderr}")
        REGISTRY.add(self)
        self.pid = int(self.line().split(" - ")[1].split()[1].split(":")[3])
        return self

    def line(self):
        """Of the kernel's table of mounts; None: it is not mounted."""
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            return next((line for line in file if line.split()[4] == self.path), None)

    def is_running(self):
        return is_running(self.pid)

    def image(self, *names):
        return os.path.join(self.path, *names)

    def has_ended(self):
        return self.line() is None and not self.is_running()

    def wait_end(self):
        wait_until(f"{self} ends", self.has_ended, 60)
        REGISTRY.forget(self)

    def stop(self):
        run("fusermount3", "-u", self.path)
        self.wait_end()

    def close(self):
        if self.line():
            run("fusermount3", "-u", "-z", self.path, check=False)


def failing_blocks(path):
    """The blocks that cannot be read, each asked for by itself."""
    failing = []
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for block in range(os.fstat(fd).st_size // BLOCK):
            try:
                os.pread(fd, BLOCK, block * BLOCK)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                failing.append(block)
    finally:
        os.close(fd)
    return failing


class Mounts(Case):
    def take(self, count, *words):
        """Checkpoints of a disk with two partitions, at rest: [(timestamp, copy, tree of the first partition)]."""
        self.disk = self.loop_disk(96)
        parts = self.disk.make_partitions([("ext4", 40), ("ext4", 40)])
        self.start_dispatcher()
        taken = []
        for step in range(count):
            fill(f"{parts[0].path}/file-{step}", 3)
            os.makedirs(f"{parts[0].path}/folder-{step}/deep")
            fill(f"{parts[1].path}/other-{step}", 2)
            here = tree(parts[0].path)
            for part in parts:
                part.umount()
            if step == 0:
                self.agent = self.start_agent("server1", self.disk, "--skip-free-space=no", *words)
            stamp = self.checkpoint("server1")
            taken.append((stamp, self.disk.copy(self.path(f"{stamp}.copy")), here))
            for part in parts:
                part.mount()
        self.parts = parts
        return taken

    def stop_daemons(self):
        self.agent.stop()
        self.dispatcher.stop()

    def hashes(self):
        found = {}
        for folder, _folders, names in os.walk(os.path.join(self.data_dir, "agents")):
            for name in set(names) - {"lock"}:  # which is empty
                with open(os.path.join(folder, name), "rb") as file:
                    found[os.path.join(folder, name)] = hashlib.file_digest(file, "sha256").hexdigest()
        return found

    def volume(self):
        return self.disk.name

    def image_name(self, partition=None):
        return f"{self.volume()}{f'p{partition}' if partition else ''}.img"

    def verify_is_clean(self):
        self.cli.run("dispatcher", "verify", f"--data-dir={self.data_dir}")

    def check_images(self, mount, taken):
        for stamp, copy, _tree in taken:
            check_equal(mount.image(stamp, self.image_name()), copy)

    def check_partition(self, mount, stamp, expected):
        """A partition is mounted by itself, and what lies in it is found and packed as it was."""
        point = self.path("part")
        os.makedirs(point, exist_ok=True)
        run("mount", "-o", "loop,ro,noload", mount.image(stamp, self.image_name(1)), point)
        try:
            check_same_tree(tree(point), expected)
            packed = subprocess.run(["tar", "-C", point, "-c", "."], stdout=subprocess.PIPE, check=True).stdout
            self.assertGreater(len(packed), MIB)
        finally:
            run("umount", point)

    def prune(self):
        """What is left."""
        self.cli.run("dispatcher", "prune", f"--data-dir={self.data_dir}", "--agent=server1", "--keep-last=1")
        return [str(row["checkpoint"]) for row in self.show("server1")]

    def test_a_mount_shows_what_a_restore_writes(self):
        taken = self.take(3)
        stamps = [str(row["checkpoint"]) for row in self.show("server1")]  # one of the start is among them
        mount = Mount(self).start()
        self.assertEqual(sorted(os.listdir(mount.path)), sorted([*stamps, "latest"]))
        self.assertEqual(os.readlink(mount.image("latest")), stamps[-1])
        self.assertEqual(sorted(os.listdir(mount.image("latest"))), sorted([self.image_name(), self.image_name(1), self.image_name(2)]))
        self.check_images(mount, taken)
        restored = self.restore("server1", stamps[1], self.path("restored.img"))
        self.assertEqual(different_blocks(mount.image(stamps[1], self.image_name()), restored), [])
        for stamp, _copy, expected in taken:
            self.check_partition(mount, stamp, expected)
        stamps = [stamp for stamp, _copy, _tree in taken]
        self.assertRaises(OSError, open, mount.image(stamps[0], self.image_name()), "r+b")
        # Others see it.
        row = self.cli.status(self.data_dir)[0]
        self.assertEqual([(m["path"], m["checkpoint"], m["all"], m["writable"]) for m in row["mounts"]], [(mount.path, None, True, False)])
        for command in (["status"], ["show", "--agent=server1"]):
            shown = self.cli.run("dispatcher", *command, f"--data-dir={self.data_dir}").stdout
            self.assertRegex(shown, rf"(?m)^mounted for .*: all checkpoints of server1 at {re.escape(mount.path)} \(process \d+\)$")
        # While a file is open, the rest of the world goes on.
        with open(mount.image(stamps[1], self.image_name()), "rb", buffering=0) as held:
            new = self.checkpoint("server1")
            self.assertEqual(os.readlink(mount.image("latest")), new)
            self.assertIn(self.image_name(2), os.listdir(mount.image("latest")))
            # What nobody uses any more is closed after some seconds.
            wait_until("all but the open one are pruned", lambda: self.prune() == [stamps[1], new])
            self.verify_is_clean()
            held.seek(0)
            with open(taken[1][1], "rb") as copy:
                self.assertEqual(held.read(), copy.read())
            self.assertEqual(sorted(os.listdir(mount.path)), [stamps[1], new, "latest"])
        mount.stop()
        self.assertEqual(self.prune(), [new])

    def test_a_killed_mount_leaves_nothing(self):
        taken = self.take(2)
        self.stop_daemons()
        before = self.hashes()
        mount = Mount(self).start()
        held = os.open(mount.image(taken[0][0], self.image_name()), os.O_RDONLY | os.O_CLOEXEC)
        os.pread(held, BLOCK, 0)
        os.kill(mount.pid, signal.SIGKILL)
        mount.wait_end()  # although a file is open
        self.assertRaises(OSError, os.close, held)
        self.assertEqual(self.cli.status(self.data_dir)[0]["mounts"], [])
        self.verify_is_clean()
        mount = Mount(self).start()  # at the same place
        self.check_images(mount, taken)
        os.kill(mount.pid, signal.SIGTERM)
        mount.wait_end()
        self.assertEqual(self.hashes(), before)
        self.cli.run("dispatcher", "prune", f"--data-dir={self.data_dir}", "--agent=server1", "--keep-last=1")

    def test_an_idle_mount_ends_by_itself(self):
        self.take(1)
        mount = Mount(self, "--idle=1s").start()
        mount.wait_end()

    def test_a_damaged_frame_costs_its_blocks(self):
        taken = self.take(2)
        self.stop_daemons()
        folder = os.path.join(self.data_dir, "agents", "server1", "volumes", self.volume())
        segment = os.path.join(folder, sorted(os.listdir(folder))[0])
        flip_byte(segment)
        stamp, copy, _tree = taken[1]
        done = self.cli.run("restore", "--agent=server1", f"--data-dir={self.data_dir}", f"--checkpoint={stamp}",
                            f"--output={self.path('forced.img')}", "--force", check=False)
        lost = set()
        for first, last in re.findall(r"bytes (\d+)-(\d+) are zeros", done.stderr):
            lost |= set(range(int(first) // BLOCK, int(last) // BLOCK + 1))
        mount = Mount(self, f"--checkpoint={stamp}").start()
        self.assertEqual(os.listdir(mount.path), [stamp, "latest"])
        image = mount.image(stamp, self.image_name())
        failing = failing_blocks(image)
        self.assertTrue(failing)
        self.assertEqual(set(failing), lost)
        with open(image, "rb", buffering=0) as shown, open(copy, "rb") as expected:
            for block in range(96 * MIB // BLOCK):
                if block not in lost:
                    self.assertEqual(os.pread(shown.fileno(), BLOCK, block * BLOCK),
                                     os.pread(expected.fileno(), BLOCK, block * BLOCK), block)
        mount.stop()

    def test_what_is_written_goes_elsewhere(self):
        taken = self.take(1)
        self.stop_daemons()
        before = self.hashes()
        stamp, copy, expected = taken[0]
        overlay = self.path("changes.overlay")
        self.cli.fails(2, "--writable needs one checkpoint", *Mount(self, f"--writable={overlay}").words[1:])
        mount = Mount(self, f"--checkpoint={stamp}", f"--writable={overlay}").start()
        self.cli.fails(1, "is in use by a mount", *Mount(self, f"--checkpoint={stamp}", f"--writable={overlay}", name="mnt2").words[1:])
        point = self.path("part")
        os.makedirs(point)
        run("mount", "-o", "loop", mount.image(stamp, self.image_name(1)), point)
        check_same_tree(tree(point), expected)
        fill(f"{point}/new", 5)
        os.unlink(f"{point}/file-0")
        changed = tree(point)
        run("umount", point)
        with open(mount.image(stamp, self.image_name()), "r+b", buffering=0) as image:
            image.seek(90 * MIB + 700)
            image.write(b"x" * 5000)  # parts of units
            self.assertRaises(OSError, image.truncate, MIB)
        os.kill(mount.pid, signal.SIGKILL)
        mount.wait_end()
        mount = Mount(self, f"--checkpoint={stamp}", f"--writable={overlay}").start()
        self.check_writes(mount, stamp, changed, copy, point)
        mount.stop()
        self.cli.fails(1, "holds something else", *Mount(self, f"--checkpoint={stamp}", f"--writable={copy}").words[1:])
        self.assertEqual(self.hashes(), before)
        mount = Mount(self, f"--checkpoint={stamp}", "--writable").start()
        with open(mount.image(stamp, self.image_name()), "r+b", buffering=0) as image:
            image.write(b"y" * BLOCK)
            image.seek(0)
            self.assertEqual(image.read(BLOCK), b"y" * BLOCK)
        mount.stop()
        self.assertEqual(self.hashes(), before)

    def check_writes(self, mount, stamp, changed, copy, point):
        run("e2fsck", "-fn", mount.image(stamp, self.image_name(1)))
        run("mount", "-o", "loop,ro,noload", mount.image(stamp, self.image_name(1)), point)
        try:
            check_same_tree(tree(point), changed)
        finally:
            run("umount", point)
        with open(mount.image(stamp, self.image_name()), "rb") as image, open(copy, "rb") as original:
            image.seek(90 * MIB)
            original.seek(90 * MIB)
            expected = bytearray(original.read(2 * BLOCK))
            expected[700:5700] = b"x" * 5000
            self.assertEqual(image.read(2 * BLOCK), bytes(expected))

    def test_an_encrypted_checkpoint_needs_its_key(self):
        keys = [self.path(name) for name in ("right.key", "wrong.key")]
        for key in keys:
            self.cli.run("keygen", f"--output={key}")
        taken = self.take(2, f"--encryption-key={keys[0]}")
        for words in ([], [f"--key={keys[1]}"]):
            self.cli.fails(1, "key", *Mount(self, *words).words[1:])
        mount = Mount(self, f"--key={keys[0]}").start()
        self.check_images(mount, taken)
        self.check_partition(mount, taken[1][0], taken[1][2])
        mount.stop()

    def test_it_runs_as_the_owner_and_for_any_reader(self):
        taken = self.take(1)
        self.stop_daemons()
        os.chmod(self.folder, 0o755)
        run("chown", "-R", "12345:12345", self.data_dir)
        mount = Mount(self).start()
        self.assertEqual(os.stat(f"/proc/{mount.pid}").st_uid, 12345)
        self.check_images(mount, taken)
        mount.stop()
        run("chmod", "-R", "a+rX", self.data_dir)
        reader = Mount(self, prefix=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], name="theirs")
        os.chown(reader.path, 65534, 65534)
        reader.start()
        done = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sha256sum",
                   reader.image("latest", self.image_name()))
        with open(taken[0][1], "rb") as copy:
            self.assertEqual(done.stdout.split()[0], hashlib.file_digest(copy, "sha256").hexdigest())
        run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "fusermount3", "-u", reader.path)
        reader.wait_end()

    def test_mistakes_are_told(self):
        taken = self.take(1)
        for status, pattern, words in [
                (2, "missing --mountpoint", [f"--agent=server1", f"--data-dir={self.data_dir}"]),
                (1, "no checkpoint|unknown", ["--agent=server1", f"--data-dir={self.data_dir}", "--checkpoint=20010101000000", self.path()]),
                (1, "unknown agent", ["--agent=server2", f"--data-dir={self.data_dir}", self.path("new")]),
                (1, "cannot mount at", ["--agent=server1", f"--data-dir={self.data_dir}", self.path("missing")])]:
            os.makedirs(self.path("new"), exist_ok=True)
            words = [self.path("new") if word == self.path() else word for word in words]
            self.cli.fails(status, pattern, "dispatcher", "mount", *words)
        relative = Mount(self, name="relative")
        relative.words = [word.replace(self.data_dir, "data") for word in relative.words]
        done = run(*relative.words, cwd=self.folder, env=environment())
        self.assertEqual(done.stdout + done.stderr, "")
        REGISTRY.add(relative)
        check_equal(relative.image("latest", self.image_name()), taken[0][1])
        run("fusermount3", "-u", relative.path)
        process = subprocess.Popen([os.path.join(bin_folder(), "blxrep-mount"), "--agent=server1", f"--data-dir={self.data_dir}",
                                    "--foreground", self.path("new")], env=environment())
        wait_until("it is mounted", lambda: os.path.exists(self.path("new", taken[0][0])))
        self.assertTrue(stat.S_ISDIR(os.stat(self.path("new", "latest")).st_mode))
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(30), 0)
        self.assertEqual(os.listdir(self.path("new")), [])


if __name__ == "__main__":
    main()
