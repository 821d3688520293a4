# SPDX-License-Identifier: Apache-2.0
"""The checks that a restored image must pass: clean filesystems, a sound database, records that form a prefix, equal bytes, equal trees."""

import calendar
import hashlib
import os
import sqlite3
import stat
import time

from disks import BLOCK, MIB
from registry import Failure, run
from workloads import RECORD_BYTES, record


class Image:
    """A restored image, attached to a loop device. Checks may write to it: it is a copy."""

    def __init__(self, registry, path, partitions=0):
        self.path = path
        self.device = run("losetup", "--find", "--show", path).stdout.strip()
        self.partitions = partitions
        self.mounts = []
        registry.add(self)
        self.registry = registry
        if partitions:
            run("partx", "-u", self.device)  # not -a: a loop device keeps the partitions of a user that was killed

    def __str__(self):
        return f"image {self.path}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def device_of(self, partition):
        return f"{self.device}p{partition}" if partition else self.device

    def check_ext4(self, partition=0, replay=False):
        """e2fsck finds nothing to mend. Without `replay` it must be clean before any journal is replayed."""
        device = self.device_of(partition)
        if replay:
            self.unmount(self.mount("ext4", partition))
        done = run("e2fsck", "-fn", device, check=False)
        if done.returncode != 0 or "skipping journal recovery" in done.stderr + done.stdout:
            raise Failure(f"{self}: ext4 on {device} is not clean:\n{done.stdout}{done.stderr}")

    def check_xfs(self, partition=0):
        """The log of a frozen xfs is replayed by one mount; then xfs_repair finds nothing to mend."""
        device = self.device_of(partition)
        self.unmount(self.mount("xfs", partition))
        done = run("xfs_repair", "-n", device, check=False)
        if done.returncode != 0:
            raise Failure(f"{self}: xfs on {device} is not clean:\n{done.stdout}{done.stderr}")

    def mount(self, kind, partition=0):
        point = f"{self.path}.mnt{partition}"
        os.makedirs(point, exist_ok=True)
        options = ["-o", "nouuid"] if kind == "xfs" else []
        run("mount", "-t", kind, *options, self.device_of(partition), point)
        self.mounts.append(point)
        return point

    def unmount(self, point):
        run("umount", point)
        os.rmdir(point)
        self.mounts.remove(point)

    def close(self):
        for point in list(reversed(self.mounts)):
            self.unmount(point)
        if self.partitions:
            run("partx", "-d", self.device)
        run("losetup", "-d", self.device)
        self.registry.forget(self)


def check_database(path):
    """The database opens, recovers, is sound, and holds whole transactions only. Returns its number of rows."""
    base = sqlite3.connect(path)
    try:
        verdict = base.execute("pragma integrity_check").fetchall()
        if verdict != [("ok",)]:
            raise Failure(f"database {path}: {verdict[:5]}")
        if not base.execute("select 1 from sqlite_master where name = 'entry'").fetchone():
            return 0
        total, rows = base.execute("select coalesce(sum(amount), 0), count(*) from entry").fetchone()
        if total != 0:
            raise Failure(f"database {path}: half a transaction is in it (sum {total})")
        return rows
    finally:
        base.close()


def present_records(path):
    """The numbers of the whole records in a file. Only the bytes after the last whole record may be torn."""
    if not os.path.exists(path):
        return []
    with open(path, "rb") as file:
        data = file.read()
    numbers = []
    for offset in range(0, len(data) - RECORD_BYTES + 1, RECORD_BYTES):
        text = data[offset:offset + RECORD_BYTES]
        if not text[:12].isdigit() or record(int(text[:12])) != text:
            if offset + 2 * RECORD_BYTES <= len(data):
                raise Failure(f"{path}: the record at byte {offset} is damaged, and others follow it")
            break
        numbers.append(int(text[:12]))
    return numbers


def check_prefix(files, log=None, timestamp=None):
    """
    The records of all files together are a prefix of the order in which they were fsynced. With the writer's log and the
    checkpoint's timestamp: whatever was acknowledged before the second of the cut is there, and nothing that was begun after
    it. Returns how many records are there.
    """
    present = sorted(number for path in files for number in present_records(path))
    if present != list(range(len(present))):
        missing = sorted(set(range(present[-1] + 1)) - set(present))
        raise Failure(f"the records in {files} are no prefix: missing {missing[:10]} of {present[-1] + 1}")
    if log and timestamp:
        first_ns, last_ns = cut_range_ns(timestamp)
        must = sum(1 for _number, _begun, ended in log if ended < first_ns)
        may = sum(1 for _number, begun, _ended in log if begun < last_ns)
        if not must <= len(present) <= may + 1:
            raise Failure(f"checkpoint {timestamp} holds {len(present)} records; {must} to {may} were written by then")
    return len(present)


def cut_range_ns(timestamp):
    """The range of wall-clock time in which a cut of that name lies: its second, or, if that name was taken, the second before."""
    second = calendar.timegm(time.strptime(timestamp, "%Y%m%d%H%M%S"))
    return (second - 1) * 10**9, (second + 1) * 10**9


def different_blocks(path_a, path_b, limit=10000):
    """The numbers of the blocks that differ between two files; the files must be of one size."""
    if os.path.getsize(path_a) != os.path.getsize(path_b):
        raise Failure(f"{path_a} has {os.path.getsize(path_a)} bytes, {path_b} has {os.path.getsize(path_b)}")
    different = []
    with open(path_a, "rb") as file_a, open(path_b, "rb") as file_b:
        offset = 0
        while True:
            chunk_a, chunk_b = file_a.read(4 * MIB), file_b.read(4 * MIB)
            if not chunk_a:
                return different
            if chunk_a != chunk_b:
                different += [(offset + start) // BLOCK for start in range(0, len(chunk_a), BLOCK)
                              if chunk_a[start:start + BLOCK] != chunk_b[start:start + BLOCK]]
                if len(different) > limit:
                    return different
            offset += len(chunk_a)


def check_equal(image, copy):
    """Byte for byte."""
    different = different_blocks(image, copy)
    if different:
        raise Failure(f"{image} differs from {copy} in {len(different)} blocks ({zero_blocks(image, different)} of them zero in "
                      f"the image, {zero_blocks(copy, different)} in the copy): {different[:200]}")


def zero_blocks(path, blocks):
    """How many of the blocks are zero."""
    with open(path, "rb") as file:
        def is_zero(block):
            file.seek(block * BLOCK)
            return not any(file.read(BLOCK))
        return sum(map(is_zero, blocks))


def tree(root):
    """What a folder holds, for comparing: kind, rights, size and content of everything below it."""
    found = {}
    for folder, folders, names in os.walk(root):
        if "lost+found" in folders:
            folders.remove("lost+found")
        for name in folders + names:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            entry = (stat.S_IFMT(info.st_mode), stat.S_IMODE(info.st_mode))
            if stat.S_ISREG(info.st_mode):
                with open(path, "rb") as file:
                    entry += (info.st_size, hashlib.file_digest(file, "sha256").hexdigest())
            elif stat.S_ISLNK(info.st_mode):
                entry += (os.readlink(path),)
            found[os.path.relpath(path, root)] = entry
    return found


def check_same_tree(restored, expected):
    """`expected` and `restored` are what tree() returned."""
    if restored != expected:
        missing = sorted(set(expected) - set(restored))[:5]
        extra = sorted(set(restored) - set(expected))[:5]
        changed = sorted(name for name in set(expected) & set(restored) if expected[name] != restored[name])[:5]
        raise Failure(f"trees differ: missing {missing}, extra {extra}, changed {changed}")


def allocated_bytes(path):
    return os.stat(path).st_blocks * 512
