# SPDX-License-Identifier: Apache-2.0
"""The dispatcher's disk, made to run full, to fail and to lose its power: all of it real, and none of it the machine's own.

The store lies on an ext4 on a loop device. The loop device's file lies on an xfs of its own. So

- filling the ext4, or using up its inodes, gives ENOSPC;
- filling the xfs leaves the loop device no room for what is written to it: the ext4 gets EIO from its disk;
- a clone of the loop device's file, which xfs makes in one instant, is the disk as a power failure leaves it: without
  the bytes that only the page cache had.
"""

import errno
import os
import shutil
import struct

from disks import LoopDisk
from registry import run

FRAME_HEADER = struct.Struct("<4s4xIIQ")  # magic, frame_bytes, extent_count, seq: proto/PROTOCOL.md, section 3
SEGMENT_HEADER_BYTES = 32
PAGE_BYTES = 4096
INODES = 16384  # so few that they can be used up in a moment; hours of checkpoints take less
LEDGER_ACKED_OFFSET = 128  # acked_seq in struct agent_ledger_head, agent/track/ledger.h


class StoreDisk:
    def __init__(self, registry, folder, mib=8192):
        self.shelf = LoopDisk(registry, folder, 2 * mib, "shelf").make("xfs")
        self.disk = LoopDisk(registry, self.shelf.path, mib, "store")
        self.files = self.disk.make("ext4", "-N", str(INODES))
        self.path = self.files.path
        registry.add(self)

    def __str__(self):
        return f"the store's disk {self.disk}"

    def fill(self, spare_bytes):
        """Leaves no room on the filesystem except for `spare_bytes`."""
        take_room(self.path, spare_bytes)

    def use_inodes(self, spare):
        """No inode on the filesystem but for `spare`."""
        folder = os.path.join(self.path, "inodes")
        os.makedirs(folder, exist_ok=True)
        for number in range(os.statvfs(self.path).f_favail - spare):
            try:
                os.mknod(os.path.join(folder, str(number)), 0o600)
            except OSError as error:  # the dispatcher was faster
                if error.errno != errno.ENOSPC:
                    raise
                return

    def fail(self, spare_bytes):
        """Writes to the disk fail with EIO once they have taken `spare_bytes` of new room."""
        take_room(self.shelf.path, spare_bytes)

    def relieve(self):
        """Makes the disk good again. True if the filesystem has given up meanwhile and needs repair()."""
        give_room(self.shelf.path)
        try:
            give_room(self.path)
            shutil.rmtree(os.path.join(self.path, "inodes"), ignore_errors=True)
            self._write_something()
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EIO):
                raise
            return True
        return False

    def _write_something(self):
        """An ext4 that has met an error refuses to be written to; its flags do not say so on every kernel."""
        probe = os.path.join(self.path, "probe")
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, b"probe")
            os.fsync(fd)
        finally:
            os.close(fd)
        os.unlink(probe)

    halt = relieve  # otherwise unmounting at the end would wait for room

    def repair(self):
        """What the administrator does with a filesystem that turned itself read-only. Nobody may be using it."""
        self.files.umount()
        done = run("e2fsck", "-fp", self.disk.path, check=False)
        if done.returncode > 1:  # 1: it has mended something
            run("e2fsck", "-fy", self.disk.path, check=False)
        self.files.mount()
        give_room(self.path)

    def clone(self, name):
        """Clones the disk as it is at this instant; returns the file's path."""
        path = os.path.join(self.shelf.path, name)
        run("cp", "--reflink=always", self.disk.file, path)
        return path

    def swap(self, clone):
        """The clone takes the disk's place: the power is back. Nobody may be using the filesystem."""
        self.files.umount(settled=False)  # whoever still holds the old device holds one that nobody looks at any more
        run("losetup", "-d", self.disk.path)
        os.rename(clone, self.disk.file)
        self.disk.path = run("losetup", "--find", "--show", self.disk.file).stdout.strip()
        self.files.device = self.disk.path
        self.files.mount()


def take_room(folder, spare_bytes):
    fd = os.open(os.path.join(folder, "filler"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        step = 1 << 30
        while step >= 4096:
            room = os.fstatvfs(fd)
            if room.f_bfree * room.f_frsize < step + spare_bytes:
                step //= 2
                continue
            try:
                os.posix_fallocate(fd, size, step)
                size += step
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                step //= 2
    finally:
        os.close(fd)


def give_room(folder):
    try:
        os.unlink(os.path.join(folder, "filler"))
    except FileNotFoundError:
        pass


def acknowledged_seq(ledger):
    """The last frame that the dispatcher has called durable, as the agent remembers it."""
    with open(ledger, "rb") as file:
        file.seek(LEDGER_ACKED_OFFSET)
        return struct.unpack("<Q", file.read(8))[0]


def tear(path, acked_seq, dice):
    """
    Loses or tears what a power cut may take of an open segment: bytes after the frame `acked_seq`. Either everything from
    some byte to the end is gone, or pages in the middle are zero, as on a disk that writes in another order. Returns a text
    that says which.
    """
    with open(path, "r+b") as file:
        end = os.fstat(file.fileno()).st_size
        offset = durable = SEGMENT_HEADER_BYTES
        while offset + FRAME_HEADER.size <= end:
            file.seek(offset)
            magic, frame_bytes, _extents, seq = FRAME_HEADER.unpack(file.read(FRAME_HEADER.size))
            if magic != b"BLXF":
                break
            offset += frame_bytes
            if seq <= acked_seq:
                durable = offset
        if durable >= end:
            return "nothing was unsynced"
        at = dice.randrange(durable, end)
        if dice.random() < 0.5:
            page = max(durable, at // PAGE_BYTES * PAGE_BYTES)
            file.seek(page)
            file.write(bytes(min(PAGE_BYTES, end - page)))
            return f"a page of {end - durable} unsynced bytes zero"
        file.truncate(at)
        if dice.random() < 0.5:
            file.truncate(end)
            return f"{end - at} bytes zero"
        return f"{end - at} bytes gone"
