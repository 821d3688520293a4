# SPDX-License-Identifier: Apache-2.0
"""Images that are not raw: each holds what the disk held, and only a whole one gets the name."""

import json
import os
import shutil
import signal
import subprocess
from unittest import mock

from case import Case, main
from checks import allocated_bytes
from damage import flip_byte
from disks import MIB
from nbdkit import Tools
from programs import environment
from registry import REGISTRY, is_running, run, wait_until
from workloads import fill

DISK_MIB = 64
DATA_MIB = 12
DRIVERS = {"qcow2": "qcow2", "vmdk": "vmdk", "vhd": "vpc", "vhdx": "vhdx"}


class SmallRoom:
    """A filesystem that is soon full."""

    def __init__(self, path, mib):
        self.path = path
        os.mkdir(path)
        run("mount", "-t", "tmpfs", "-o", f"size={mib}m", "none", path)
        REGISTRY.add(self)

    def __str__(self):
        return f"tmpfs at {self.path}"

    def close(self):
        run("umount", self.path)


class Formats(Case):
    def setUp(self):
        super().setUp()
        self.disk = self.loop_disk(DISK_MIB)
        files = self.disk.make("ext4")
        fill(f"{files.path}/file", DATA_MIB)
        files.umount()
        self.start_dispatcher()
        self.tools = Tools(self.folder)
        patch = mock.patch.dict(os.environ, PATH=f"{self.tools.folder}:{os.environ['PATH']}")
        patch.start()
        self.addCleanup(patch.stop)

    def take(self, *words):
        """One checkpoint of the disk at rest."""
        agent = self.start_agent("server1", self.disk, "--skip-free-space=no", *words)
        stamp = self.checkpoint("server1")
        agent.stop()
        return stamp

    def words(self, stamp, *more):
        return ["restore", "--agent=server1", f"--data-dir={self.data_dir}", f"--checkpoint={stamp}", *more]

    def check_image(self, path, name):
        """Of that format, as large as the disk, with its content, and sparse."""
        about = json.loads(run("qemu-img", "info", "--output=json", path).stdout)
        self.assertEqual((about["format"], about["virtual-size"]), (DRIVERS[name], DISK_MIB * MIB))
        run("qemu-img", "compare", "-f", DRIVERS[name], "-F", "raw", path, self.disk.path)
        self.assertLess(allocated_bytes(path), 2 * DATA_MIB * MIB)
        return about

    def check_nothing_left(self, folder):
        self.assertEqual(os.listdir(folder), [])
        wait_until("nbdkit has ended", lambda: not any(is_running(pid) for pid, _words in self.tools.runs()))

    def test_each_format_holds_the_disk(self):
        stamp = self.take()
        for name in DRIVERS:
            image = self.restore("server1", stamp, self.path(f"server1.{name}"), f"--format={name}")
            about = self.check_image(image, name)
            if name == "vmdk":
                self.assertEqual(about["format-specific"]["data"]["create-type"], "streamOptimized")
            self.cli.fails(1, "already exists", *self.words(stamp, f"--format={name}", f"--output={image}"))
        self.restore("server1", stamp, image, "--format=vhdx", "--force")  # it replaces a file
        folder = self.path("images")
        os.mkdir(folder)
        in_folder = self.cli.restore("server1", self.data_dir, stamp, "--format=qcow2", f"--output={folder}")
        own = self.cli.restore("server1", self.data_dir, stamp, "--format=qcow2")
        self.assertEqual(in_folder, [os.path.join(folder, f"server1-{stamp}.qcow2")])
        self.assertEqual(own, [os.path.join(self.data_dir, "restore", f"server1-{stamp}.qcow2")])
        for path in in_folder + own:
            self.check_image(path, "qcow2")
        self.assert_no_half_files()

    def test_several_disks_become_one_image_each(self):
        disks = [self.disk, self.loop_disk(DISK_MIB, "second")]
        fill(disks[1].path, 4)
        agent = self.start_agent("server1", disks, "--skip-free-space=no")
        stamp = self.checkpoint("server1")
        agent.stop()
        folder = self.path("images")
        os.mkdir(folder)
        images = self.cli.restore("server1", self.data_dir, stamp, "--format=vhd", f"--output={folder}")
        self.assertEqual(images, [os.path.join(folder, f"server1-{stamp}-{disk.name}.vhd") for disk in disks])
        for image, disk in zip(images, disks):
            run("qemu-img", "compare", "-f", "vpc", "-F", "raw", image, disk.path)

    def test_a_key_is_handed_over_in_secret(self):
        keys = [self.path(name) for name in ("right.key", "wrong.key")]
        for key in keys:
            self.cli.run("keygen", f"--output={key}")
        stamp = self.take(f"--encryption-key={keys[0]}")
        self.cli.fails(1, "is encrypted", *self.words(stamp, "--format=qcow2", f"--output={self.path('no.qcow2')}"))
        # Root's key, and the store's owner writes the image.
        run("chown", "-R", "12345:12345", self.data_dir)
        os.chmod(self.folder, 0o755)
        os.chmod(self.tools.folder, 0o755)
        run("touch", self.tools.log)
        os.chmod(self.tools.log, 0o666)
        own = self.cli.restore("server1", self.data_dir, stamp, "--format=qcow2", *[f"--key={key}" for key in keys])
        self.check_image(own[0], "qcow2")
        self.assertEqual(os.stat(own[0]).st_uid, 12345)
        image = self.restore("server1", stamp, self.path("server1.vhdx"), "--format=vhdx", f"--key={keys[0]}")
        self.check_image(image, "vhdx")
        self.assertEqual(os.stat(image).st_uid, 0)
        with open(keys[0], encoding="ascii") as file:
            secret = next(line.split()[1] for line in file if line.startswith("key"))
        for _pid, words in self.tools.runs():
            self.assertNotIn(secret[:16], words)
            self.assertIn("key=/proc/self/fd/", words)

    def test_what_cannot_be_is_refused(self):
        stamp = self.take()
        output = f"--output={self.path('no.img')}"
        self.cli.fails(2, "no format of images", *self.words(stamp, "--format=vdi", output))
        for word in ("--delta", "--resume"):
            self.cli.fails(2, "raw image or a device", *self.words(stamp, "--format=qcow2", word, output))
        self.cli.fails(2, "not written in order", *self.words(stamp, "--format=qcow2", "--output=-"))
        target = self.loop_disk(DISK_MIB, "target")
        for force in ([], ["--force"]):
            self.cli.fails(2, "is a device", *self.words(stamp, "--format=vhd", f"--output={target.path}", *force))
        with mock.patch.dict(os.environ, PATH=self.path("nowhere")):
            self.cli.fails(1, "install the package nbdkit", *self.words(stamp, "--format=qcow2", output))
        bare = self.path("bare")
        os.mkdir(bare)
        for tool in ("nbdkit", "env"):
            os.symlink(os.path.join(self.tools.folder, tool) if tool == "nbdkit" else shutil.which(tool), os.path.join(bare, tool))
        with mock.patch.dict(os.environ, PATH=bare):
            self.cli.fails(1, "install the package qemu-utils", *self.words(stamp, "--format=qcow2", output))
        shown = self.cli.run(*self.words(stamp, "--format=vhd", output, "--dry-run")).stdout
        self.assertIn("no.img", shown)
        self.assertFalse(os.path.exists(self.path("no.img")))
        self.assert_no_half_files()

    def test_a_full_disk_leaves_nothing(self):
        stamp = self.take()
        room = SmallRoom(self.path("room"), 4)
        words = self.words(stamp, "--format=qcow2", f"--output={room.path}/server1.qcow2")
        self.cli.fails(1, "its filesystem has", *words)
        self.cli.fails(1, "cannot make a qcow2 image of .*No space left on device", *words, "--force")
        self.check_nothing_left(room.path)

    def test_damage_is_named(self):
        stamp = self.take()
        folder = os.path.join(self.data_dir, "agents", "server1", "volumes", self.disk.name)
        segment = sorted(os.listdir(folder))[0]
        flip_byte(os.path.join(folder, segment))
        out = self.path("out")
        os.mkdir(out)
        self.cli.fails(1, f"cannot make a vhd image .*{segment}", *self.words(stamp, "--format=vhd", f"--output={out}/server1.vhd"))
        self.check_nothing_left(out)

    def begin(self, stamp, output):
        """A restore whose qemu-img has been started, and waits for a line before it begins. (the restore, qemu-img's ID, go)"""
        gate, noted = self.path("gate"), self.path("qemu-img.pid")
        if not os.path.exists(gate):
            os.mkfifo(gate)
        self.tools.put("qemu-img", f'echo $$ >{noted}.new\nmv {noted}.new {noted}\nread word <{gate}\nexec {shutil.which("qemu-img", path="/usr/bin")} "$@"')
        process = subprocess.Popen([self.cli.program, *self.words(stamp, "--format=qcow2", f"--output={output}")], text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        wait_until("qemu-img has begun", lambda: os.path.exists(noted))
        with open(noted, encoding="ascii") as file:
            converter = int(file.read())
        os.unlink(noted)

        def go():
            os.unlink(os.path.join(self.tools.folder, "qemu-img"))
            with open(gate, "w", encoding="ascii") as file:
                file.write("go\n")
        return process, converter, go

    def test_whoever_is_killed_takes_the_others_along(self):
        stamp = self.take()
        out = self.path("out")
        os.mkdir(out)
        output = os.path.join(out, "server1.qcow2")
        process, converter, _go = self.begin(stamp, output)
        process.kill()
        process.wait(60)
        wait_until("qemu-img is gone", lambda: not is_running(converter))
        self.assertEqual(os.listdir(out), ["server1.qcow2.partial"])
        wait_until("nbdkit has ended", lambda: not is_running(self.tools.runs()[-1][0]))
        # nbdkit is killed before it is read from, and the next run takes the dead one's file.
        process, converter, go = self.begin(stamp, output)
        os.kill(self.tools.runs()[-1][0], signal.SIGKILL)
        go()
        said = process.communicate(timeout=60)[1]
        self.assertEqual(process.returncode, 1)
        self.assertIn("nbdkit was ended by signal 9", said)
        self.check_nothing_left(out)
        process, converter, go = self.begin(stamp, output)
        os.kill(converter, signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
        self.assertEqual(process.returncode, 1)
        self.assertIn("qemu-img was ended by signal 15", said)
        self.check_nothing_left(out)
        process, converter, go = self.begin(stamp, output)
        go()
        self.assertEqual(process.communicate(timeout=60)[0], output + "\n")
        self.assertEqual(process.returncode, 0)
        self.check_image(output, "qcow2")
        self.cli.run("dispatcher", "verify", f"--data-dir={self.data_dir}")


if __name__ == "__main__":
    main()
