# SPDX-License-Identifier: Apache-2.0
"""A checkpoint over NBD: every tool that speaks it reads what a restore writes, and the store stays as it was."""

import json
import os
import signal
import subprocess

from case import Case, main
from checks import check_equal
from damage import flip_byte
from disks import MIB
from nbdkit import Nbdkit, plugin, plugin_environment, refused
from programs import environment
from registry import run, wait_until
from workloads import fill

DISK_MIB = 64


class Nbd(Case):
    def setUp(self):
        super().setUp()
        self.disk = self.loop_disk(DISK_MIB)
        self.files = self.disk.make("ext4")
        self.start_dispatcher()

    def take(self, count, *words):
        """Checkpoints of the disk at rest, all with the same agent: [(timestamp, copy)]."""
        taken = []
        agent = None
        for _step in range(count):
            fill(f"{self.files.path}/file-{len(os.listdir(self.files.path))}", 5)
            self.files.umount()
            agent = agent or self.start_agent("server1", self.disk, "--skip-free-space=no", *words)
            stamp = self.checkpoint("server1")
            taken.append((stamp, self.disk.copy(self.path(f"{stamp}.copy"))))
            self.files.mount()
        agent.stop()
        return taken

    def words(self, stamp, *more):
        return [f"data-dir={self.data_dir}", "agent=server1", f"checkpoint={stamp}", *more]

    def check_map(self, server, copy):
        """Extents cover the disk, are joined, and what they call zero is."""
        extents = json.loads(run("nbdinfo", "--map", "--json", server.uri).stdout)
        with open(copy, "rb") as file:
            at, last, zeros = 0, None, 0
            for extent in extents:
                self.assertEqual(extent["offset"], at)
                self.assertNotEqual(extent["type"], last)
                content = file.read(extent["length"])
                if extent["type"] & 2:
                    self.assertEqual(content.count(0), len(content))
                    zeros += len(content)
                at, last = at + extent["length"], extent["type"]
        self.assertEqual(at, DISK_MIB * MIB)
        self.assertGreater(zeros, DISK_MIB * MIB // 4)

    def check_served(self, stamp, copy, *more):
        restored = self.restore("server1", stamp, self.path("restored.img"), "--force", *[f"--{word}" for word in more])
        server = Nbdkit(self.folder, *self.words(stamp, *more))
        run("qemu-img", "compare", "-f", "raw", "-F", "raw", server.uri, restored)
        several = self.path("several.img")
        run("nbdcopy", "--connections=4", "--requests=32", "--request-size=65536", server.uri, several)
        check_equal(several, copy)
        self.check_map(server, copy)
        run("nbdinfo", "--can", "multi-conn", server.uri)  # it tells by its status
        run("nbdinfo", "--is", "read-only", server.uri)
        server.end(signal.SIGTERM)

    def test_every_checkpoint_is_what_a_restore_writes(self):
        taken = self.take(2)
        keys = [self.path(name) for name in ("right.key", "wrong.key")]
        for key in keys:
            self.cli.run("keygen", f"--output={key}")
        secret = self.take(1, f"--encryption-key={keys[0]}")[0]
        for stamp, copy in taken:
            self.check_served(stamp, copy)
        self.check_served(*secret, f"key={keys[0]}")
        self.assertRegex(refused(*self.words(secret[0])), "key")
        self.assertRegex(refused(*self.words(secret[0], f"key={keys[1]}")), "key")
        self.assertRegex(refused(*self.words("latest", f"key={keys[0]}", "volume=vdz")), f"no volume 'vdz'.*{self.disk.name}")
        self.assertRegex(refused(f"data-dir={self.data_dir}"), "add agent=ID")
        self.assertRegex(refused("agent=server1"), "add data-dir=DIR")
        self.assertRegex(refused(f"data-dir={self.data_dir}", "agent=nobody"), "nobody")
        self.assertRegex(refused(*self.words("latest", "color=red")), "'color' is no parameter")

    def test_a_killed_nbdkit_leaves_nothing(self):
        stamp, copy = self.take(2)[0]
        server = Nbdkit(self.folder, *self.words(stamp))
        newest = self.checkpoint_of_now()
        prune = ["dispatcher", "prune", f"--data-dir={self.data_dir}", "--agent=server1", "--keep-last=1"]
        self.cli.run(*prune)
        self.assertEqual([str(row["checkpoint"]) for row in self.show("server1")], [stamp, newest])  # it is held
        with subprocess.Popen(["nbdcopy", server.uri, "null:"], stderr=subprocess.DEVNULL) as reader:
            server.end(signal.SIGKILL)
            reader.wait(60)
        self.cli.run("dispatcher", "verify", f"--data-dir={self.data_dir}")
        self.check_served(stamp, copy)
        self.cli.run(*prune)
        self.assertEqual([str(row["checkpoint"]) for row in self.show("server1")], [newest])

    def checkpoint_of_now(self):
        return str(self.show("server1")[-1]["checkpoint"])

    def test_a_damaged_frame_costs_its_blocks(self):
        stamp, _copy = self.take(1)[0]
        folder = os.path.join(self.data_dir, "agents", "server1", "volumes", self.disk.name)
        segment = os.path.join(folder, sorted(os.listdir(folder))[0])
        flip_byte(segment)
        forced = self.path("forced.img")
        done = self.cli.run("restore", "--agent=server1", f"--data-dir={self.data_dir}", f"--checkpoint={stamp}", f"--output={forced}",
                            "--force", check=False)
        self.assertIn("are zeros", done.stderr)
        server = Nbdkit(self.folder, *self.words(stamp))
        done = run("qemu-img", "convert", "-f", "raw", "-O", "raw", server.uri, self.path("whole.img"), check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("Input/output error", done.stderr)
        salvaged = self.path("salvaged.img")  # it reads again by sectors, and leaves zero what it cannot read
        run("qemu-img", "convert", "--salvage", "-f", "raw", "-O", "raw", server.uri, salvaged)
        check_equal(salvaged, forced)
        server.end(signal.SIGTERM)

    def test_what_is_written_goes_over_the_checkpoint(self):
        """Each disk is an export; what is written to one is there for the next nbdkit, and nowhere else."""
        other = self.loop_disk(16, "other")
        run("mkfs.ext4", "-q", other.path)
        self.files.umount()
        agent = self.start_agent("server1", [self.disk, other], "--skip-free-space=no")
        stamp = self.checkpoint("server1")
        agent.stop()
        copies = {disk.name: disk.copy(self.path(f"{disk.name}.copy")) for disk in (self.disk, other)}
        changes = self.path("changes")
        server = Nbdkit(self.folder, *self.words(stamp, f"overlay={changes}"))
        listed = json.loads(run("nbdinfo", "--list", "--json", server.uri).stdout)
        self.assertEqual({export["export-name"]: export["export-size"] for export in listed["exports"]},
                         {self.disk.name: DISK_MIB * MIB, other.name: 16 * MIB})
        done = run("nbdinfo", server.export("vdz"), check=False)
        self.assertRegex(done.stderr, "No such file or directory for export: vdz")
        for name, byte in ((self.disk.name, 7), (other.name, 9)):
            run("qemu-io", "-f", "raw", "-c", f"write -P {byte} 5000 70000", "-c", "flush", server.export(name))
            with open(copies[name], "r+b") as copy:
                copy.seek(5000)
                copy.write(bytes([byte]) * 70000)
        server.end(signal.SIGKILL)
        server = Nbdkit(self.folder, *self.words(stamp, f"overlay={changes}"))
        for name, copy in copies.items():
            run("qemu-img", "compare", "-f", "raw", "-F", "raw", server.export(name), copy)
        self.assertIn("in use", refused(*self.words(stamp, f"overlay={changes}")))
        server.end(signal.SIGTERM)
        self.cli.run("dispatcher", "verify", f"--data-dir={self.data_dir}")
        server = Nbdkit(self.folder, *self.words(stamp, f"volume={other.name}"))
        self.assertNotEqual(run("qemu-io", "-f", "raw", "-c", "write 0 512", server.uri, check=False).returncode, 0)
        run("qemu-io", "-r", "-f", "raw", "-c", "read -P 0 0 1024", server.uri)
        server.end(signal.SIGTERM)

    def test_it_reads_as_the_owner_and_leaves_as_the_caller(self):
        stamp, copy = self.take(1)[0]
        self.dispatcher.stop()
        os.chmod(self.folder, 0o755)
        run("chown", "-R", "12345:12345", self.data_dir)
        server = Nbdkit(self.folder, *self.words(stamp), options=["--filter=cow"])
        run("qemu-io", "-f", "raw", "-c", "write -P 7 4096 8192", "-c", "read -P 7 4096 8192", server.uri)
        with open(f"/proc/{server.pid}/status", encoding="ascii") as file:
            self.assertEqual(next(line.split()[2] for line in file if line.startswith("Uid:")), "12345")
        server.end(signal.SIGTERM)
        private = self.path("private")
        os.mkdir(private)
        copied = self.path("copied.img")
        run("nbdkit", "-U", "-", plugin(), *self.words(stamp), "--run", f'env -u LD_PRELOAD nbdcopy "$uri" {copied}',
            env=environment({**plugin_environment(), "TMPDIR": private}))
        check_equal(copied, copy)
        wait_until("nbdkit has removed its folder", lambda: os.listdir(private) == [], 60)


if __name__ == "__main__":
    main()
