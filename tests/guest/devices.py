# SPDX-License-Identifier: Apache-2.0
"""
Runs inside a guest: every kind of disk that this kernel has, under a filesystem that works. What the tracker marked must be what changed.

The guest's disks in the order in which test_kernels.py gives them: virtio, nvme, scsi; virtio for LVM; scsi and nvme for a mirror.
"""

import os
import pathlib
import random
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

from case import Case, main  # noqa: E402
from checks import Image, check_equal, different_blocks  # noqa: E402
from disks import BLOCK, PIN_ROOT, Disk, copy_device  # noqa: E402
from registry import REGISTRY, run, wait_until  # noqa: E402
from workloads import Workload  # noqa: E402

SECTOR = 512


class GuestDisk(Disk):
    """A disk that is there when the guest boots, or that `give_back` takes apart."""

    def __init__(self, folder, path, give_back=None):
        super().__init__(REGISTRY, folder, path, int(run("blockdev", "--getsize64", path).stdout))
        self.give_back = give_back

    def kernel_name(self):
        """Also of /dev/mapper/NAME, which is no link if there is no udev."""
        number = os.stat(self.path).st_rdev
        return os.path.basename(os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"))

    def takes_discards(self):
        return pathlib.Path(f"/sys/block/{self.kernel_name()}/queue/discard_max_bytes").read_text() != "0\n"

    def pins(self):
        return [folder for folder in [os.path.join(PIN_ROOT, self.kernel_name())] if os.path.isdir(folder)]

    def detach(self):
        if self.give_back:
            self.give_back()


def lvm(*words):
    """There is no udev here, so lvm must make the nodes itself and wait for nobody."""
    run("lvm", *words, "--config", "activation { udev_sync=0 udev_rules=0 } devices { use_devicesfile=0 }", "-qq")


def write_sectors(disk):
    """Past every filesystem: single sectors, odd runs, discards and zeroes, none of them aligned to blocks."""
    sectors = disk.size // SECTOR
    fd = os.open(disk.path, os.O_WRONLY)
    for _ in range(40):
        os.pwrite(fd, os.urandom(SECTOR * random.randrange(1, 40)), random.randrange(sectors - 40) * SECTOR)
        os.fsync(fd)
    os.close(fd)
    for words in [["--zeroout"], []] if disk.takes_discards() else [["--zeroout"]]:
        for _ in range(4):
            offset, length = random.randrange(sectors - 5000) * SECTOR, random.randrange(1, 5000) * SECTOR
            run("blkdiscard", "-f", *words, f"--offset={offset}", f"--length={length}", disk.path)


class Devices(Case):
    def prove(self, tracked, files_on):
        """Work on the filesystem of one disk; the checkpoints of all that are tracked hold every change."""
        files = files_on.make("ext4")
        self.start_dispatcher()
        agent = self.start_agent("server1", tracked, "--skip-free-space=no")
        first = self.images(tracked, self.checkpoint("server1"), "first")
        work = Workload(REGISTRY, self.folder, "scatter", files.path, seconds=900)
        work.wait_lines(30)
        busy = self.checkpoint("server1")
        work.wait_lines(len(work.lines()) + 20)
        work.stop()
        self.check_busy(busy, files_on)
        for name in os.listdir(files.path)[:3]:
            if name.startswith("scatter"):
                os.unlink(os.path.join(files.path, name))
        if files_on.takes_discards():
            files.trim()
        files.umount()
        write_sectors(files_on)
        self.settle()
        stamp = self.checkpoint("server1")
        for disk, old, new in zip(tracked, first, self.images(tracked, stamp, "last"), strict=True):
            check_equal(new, disk.copy(self.path("copy")))
            print(f"{disk}: {len(different_blocks(old, new, limit=1 << 30))} of {disk.size // BLOCK} blocks differ from the first checkpoint, "
                  f"0 from the disk; work: {len(work.lines())} rounds")
            os.unlink(old)
        self.assertEqual({row["kind"] for row in self.show("server1")[1:]}, {"incremental"})
        self.assertNotRegex(agent.log().lower(), "rescan", "nothing was doubtful, so nothing was compared")
        agent.stop()

    def images(self, tracked, stamp, name):
        return [self.restore("server1", stamp, self.path(f"{name}-{disk.kernel_name()}"), f"--device={disk.path}") for disk in tracked]

    def check_busy(self, stamp, disk):
        row = self.row("server1", stamp)
        self.assertEqual(row["consistency"], "filesystem", row["note"])
        with Image(REGISTRY, self.restore("server1", stamp, self.path("busy"), f"--device={disk.path}")) as image:
            image.check_ext4()
        os.unlink(self.path("busy"))

    def settle(self):
        """A mirror notes on its members that it is clean some moments after the last write."""
        for state in pathlib.Path("/sys/block").glob("*/md/array_state"):
            wait_until(f"{state} is not active", lambda file=state: file.read_text().strip() != "active", 30)

    def disk(self, path, give_back=None):
        return GuestDisk(self.folder, path, give_back)

    def test_virtio(self):
        disk = self.disk("/dev/vda")
        self.prove([disk], disk)

    def test_nvme(self):
        disk = self.disk("/dev/nvme0n1")
        self.prove([disk], disk)

    def test_scsi(self):
        disk = self.disk("/dev/sda")
        self.prove([disk], disk)

    def volume_group(self):
        disk = self.disk("/dev/vdb", lambda: lvm("vgremove", "-f", "group"))
        lvm("vgcreate", "group", disk.path)
        lvm("lvcreate", "-Wn", "-an", "--extents", "5", "--name=other", "group")
        lvm("lvcreate", "-Wn", "--extents", "15", "--name=files", "group")
        return disk, self.disk("/dev/mapper/group-files")

    def test_lvm_at_the_disk_and_at_the_logical_volume(self):
        below, above = self.volume_group()
        self.prove([below, above], above)

    def snapshot(self):
        below, origin = self.volume_group()
        lvm("lvcreate", "-s", "--extents", "17", "--name=before", "group/files")
        return below, origin, self.disk("/dev/mapper/group-before")

    def test_origin_of_an_lvm_snapshot(self):
        """Its device takes each write to two places, and the snapshot stays what it was."""
        below, origin, snapshot = self.snapshot()
        before = copy_device(snapshot.path, self.path("before"))
        self.prove([below, origin], origin)
        check_equal(copy_device(snapshot.path, self.path("after")), before)

    def test_lvm_snapshot_that_is_written_to(self):
        below, _origin, snapshot = self.snapshot()
        self.prove([below, snapshot], snapshot)

    def test_mirror_at_the_array_and_at_both_members(self):
        members = [self.disk("/dev/sdb"), self.disk("/dev/nvme1n1")]
        run("mdadm", "--create", "/dev/md0", "--run", "--level=1", "--raid-devices=2", "--assume-clean", "--metadata=1.2", "--bitmap=none",
            *[member.path for member in members])

        def stop():
            run("mdadm", "--stop", "/dev/md0")
            run("mdadm", "--zero-superblock", *[member.path for member in members])
        array = self.disk("/dev/md0", stop)
        self.prove([array, *members], array)


if __name__ == "__main__":
    for name in ("dm_mod", "dm_snapshot", "raid1"):
        subprocess.run(["modprobe", name], check=True)
    main(1500)
