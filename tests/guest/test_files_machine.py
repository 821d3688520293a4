# SPDX-License-Identifier: Apache-2.0
"""
Files of a checkpoint that only a kernel reads, out of the small virtual machine: as they were, by whoever may read the store; and what hangs
it or breaks it ends within a bounded time and leaves nothing.
"""

import json
import os
import subprocess
import sys
import time

import guest

sys.path.insert(0, os.path.join(os.path.dirname(guest.HERE), "e2e"))

from case import Case, main  # noqa: E402
from disks import MIB  # noqa: E402
from nbdkit import Tools  # noqa: E402
from programs import SANITIZER_REPORT, bin_folder, environment  # noqa: E402
from registry import Failure, run, wait_until  # noqa: E402
from test_files import NOBODY, full_tree, make_tree  # noqa: E402
from workloads import fill  # noqa: E402

SECONDS = 300  # for a look on a machine that has much else to do


def uuid_of(device):
    return run("blkid", "-c", "/dev/null", "-p", "-s", "UUID", "-o", "value", device).stdout.strip()


class Machine(Case):
    @classmethod
    def setUpClass(cls):
        cls.kernel = guest.Kernel("6.1")

    def setUp(self):
        super().setUp()
        self.tools = Tools(self.folder)
        self.stamp = None

    def take(self, disks, agent_id="server1"):
        if self.dispatcher is None:
            self.start_dispatcher()
        agent = self.start_agent(agent_id, disks)
        self.stamp = self.checkpoint(agent_id)
        agent.stop()

    def words(self, *words, agent_id="server1"):
        return [os.path.join(bin_folder(), "blxrep"), "dispatcher", "files", f"--agent={agent_id}", f"--checkpoint={self.stamp}",
                f"--data-dir={self.data_dir}", f"--kernel-dir={self.kernel.folder}", *words]

    def environment(self):
        return environment({"PATH": f"{self.tools.folder}:{os.environ['PATH']}"})

    def files(self, *words, status=0, by=(), **named):
        begun = time.monotonic()
        done = run(*by, *self.words(*words, **named), env=self.environment(), check=False, timeout=SECONDS)
        print(f"{time.monotonic() - begun:.1f} s: {' '.join(words)}")
        if done.returncode != status or SANITIZER_REPORT.search(done.stderr):
            raise Failure(f"it ended with {done.returncode} instead of {status}: {done.stdout}{done.stderr}")
        return done

    def store(self):
        return {os.path.join(folder, name): os.stat(os.path.join(folder, name)).st_mtime_ns
                for folder, _folders, names in os.walk(os.path.join(self.data_dir, "agents")) for name in set(names) - {"lock"}}

    def make_folder(self, path):
        os.makedirs(path, exist_ok=True)
        return path

    def check_tree(self, path, expected):
        """xfs shows ACLs twice, and once as it stores them."""
        for entry in expected.values():
            entry[4] = {name: value for name, value in entry[4].items() if not name.startswith("trusted.SGI_ACL")}
        mine = full_tree(path)
        self.assertEqual(set(mine), set(expected))
        self.assertEqual([(name, mine[name], expected[name]) for name in mine if mine[name] != expected[name]], [])

    def make_vfat(self):
        """A disk of its own, by mtools: not every kernel of a machine that tests has vfat."""
        disk = self.loop_disk(40, "efi")
        with open(self.make_folder(self.path("vfat/EFI/BOOT")) + "/a long näme.efi", "wb") as file:
            file.write(os.urandom(100000))
        run("mkfs.vfat", "-n", "ESP", disk.path)
        run("mcopy", "-s", "-m", "-i", disk.path, self.path("vfat/EFI"), "::/", env={**os.environ, "LC_ALL": "C.UTF-8"})
        return disk

    def test_other_filesystems_come_out_as_they_were(self):
        disk = self.loop_disk(800)
        root, home, data = disk.make_partitions([("ext4", 40), ("xfs", 320), ("btrfs", 120)])
        efi = self.make_vfat()
        with open(self.make_folder(f"{root.path}/etc") + "/fstab", "w", encoding="ascii") as file:
            file.write(f"{disk.partition(1)} / ext4 defaults 0 1\nUUID={uuid_of(home.device)} /home xfs defaults 0 0\n"
                       f"UUID={uuid_of(data.device)} /data btrfs defaults 0 0\nLABEL=ESP /boot/efi vfat umask=0077 0 1\n")
        for name in ("home", "data", "boot/efi"):
            self.make_folder(f"{root.path}/{name}")
        make_tree(f"{home.path}/one")
        make_tree(f"{data.path}/two")
        run("btrfs", "subvolume", "create", f"{data.path}/two/sub")
        fill(f"{data.path}/two/sub/inside", 1)
        for path in (f"{home.path}/one", f"{data.path}/two"):
            os.remove(f"{path}/reserved")  # a kernel itself shows its room as data
        expected = {"one": full_tree(f"{home.path}/one"), "two": full_tree(f"{data.path}/two")}
        for part in (root, home, data):
            part.umount()
        self.take([disk, efi])
        before = self.store()
        out = self.make_folder(self.path("out"))
        done = self.files(f"--output={out}", "/home/one", "/data/two", "/boot/efi/EFI", "/etc/fstab")
        self.assertIn("a small virtual machine does so", done.stderr)
        for name, tree in expected.items():
            self.check_tree(f"{out}/{name}", tree)
        self.assertEqual(os.listdir(f"{out}/EFI/BOOT"), ["a long näme.efi"])
        run("cmp", self.path("vfat/EFI/BOOT/a long näme.efi"), f"{out}/EFI/BOOT/a long näme.efi")
        self.assertEqual(sorted(os.listdir(out)), ["EFI", "fstab", "one", "two"])
        for name, most in (("sparse", 200), ("hole", 8)):
            self.assertLessEqual(os.stat(f"{out}/one/{name}").st_blocks // 2, most, name)
        # By somebody who may only read the store.
        os.chmod(self.folder, 0o755)
        run("chmod", "-R", "a+rX", self.data_dir)
        done = self.files("--json", f"--device={disk.partition(2)}", "one/a", "/on[e]", by=NOBODY)
        rows = {row["path"]: row for row in json.loads(done.stdout)}
        self.assertEqual([rows["/one/a"][key] for key in ("mode", "uid", "gid", "filesystem", "device")],
                         ["4640", 1234, 70000, "xfs", disk.partition(2)])
        self.assertEqual(self.store(), before)

if __name__ == "__main__":
    main()
