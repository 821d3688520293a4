# SPDX-License-Identifier: Apache-2.0
"""Real software writing: a database, an unpacked source tree, records fsynced in order. Run as a program it is one workload;
the class Workload runs it from a test, in a process of its own so that a frozen filesystem stops the writer and not the test.

Every workload is bounded in time, writes its progress to a log outside of the disk under test, and ends at SIGTERM.
"""

import argparse
import hashlib
import mmap
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tarfile
import time

from registry import wait_until

RECORD_BYTES = 512
ROUND_SECONDS = 1
TRIM_SECONDS = 6
STOP = False


def record(sequence):
    """A record of RECORD_BYTES that can be recognised as whole."""
    head = f"{sequence:012d} "
    body = hashlib.sha256(head.encode()).hexdigest()
    return (head + body * 8)[:RECORD_BYTES - 1].encode() + b"\n"


def append(files, log_path, deadline):
    """Appends numbered records to the files in turn, each fsynced before the next begins."""
    fds = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) for path in files]
    with open(log_path, "a", encoding="ascii", buffering=1) as log:
        sequence = 0
        while not STOP and time.monotonic() < deadline:
            fd = fds[sequence % len(fds)]
            begun = time.time_ns()
            os.write(fd, record(sequence))
            os.fsync(fd)
            log.write(f"{sequence} {begun} {time.time_ns()}\n")
            sequence += 1


def database(files, log_path, deadline):
    """Inserts and deletes in a database with full fsyncs; each transaction leaves the sum of its rows at zero."""
    base = sqlite3.connect(files[0], isolation_level=None, timeout=60)
    base.execute("pragma journal_mode=wal")
    base.execute("pragma synchronous=full")
    base.execute("pragma wal_autocheckpoint=200")
    base.execute("create table if not exists entry (number integer primary key, amount integer, text blob)")
    with open(log_path, "a", encoding="ascii", buffering=1) as log:
        number = 0
        while not STOP and time.monotonic() < deadline:
            begun = time.time_ns()
            base.execute("begin immediate")
            for amount in (number, -number):
                base.execute("insert into entry (amount, text) values (?, ?)", (amount, os.urandom(900)))
            if number % 10 == 9:
                base.execute("delete from entry where abs(amount) < ?", (number - 50,))
            base.execute("commit")
            log.write(f"{number} {begun} {time.time_ns()}\n")
            number += 1
    base.close()


def unpack(files, log_path, deadline):
    """Unpacks the archive files[0] into files[1] once a second, deletes older trees, and trims now and then.

    A trim changes all free space at once; trimming without a break would leave no moment in which the rest of a cut is small.
    """
    archive, target = files
    rounds = 0
    trimmed = time.monotonic()
    with open(log_path, "a", encoding="ascii", buffering=1) as log:
        while not STOP and time.monotonic() < deadline:
            begun = time.monotonic()
            tree = os.path.join(target, f"tree-{rounds}")
            with tarfile.open(archive) as tar:
                for member in tar:
                    if STOP:
                        return
                    tar.extract(member, tree, set_attrs=False)
            if rounds >= 1:
                shutil.rmtree(os.path.join(target, f"tree-{rounds - 1}"))
            if time.monotonic() - trimmed > TRIM_SECONDS:
                subprocess.run(["fstrim", target], check=True)
                trimmed = time.monotonic()
            log.write(f"{rounds} 0 {time.time_ns()}\n")
            rounds += 1
            time.sleep(max(0, begun + ROUND_SECONDS - time.monotonic()))


def scatter(files, log_path, deadline):
    """Changes eight files of 2 MiB in the folder files[0] at random: writes of any size anywhere, holes, truncations, deletions, fsyncs."""
    size = 2 << 20
    with open(log_path, "a", encoding="ascii", buffering=1) as log:
        rounds = 0
        while not STOP and time.monotonic() < deadline:
            path = os.path.join(files[0], f"scatter-{random.randrange(8)}")
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            for _ in range(random.randrange(1, 10)):
                os.pwrite(fd, os.urandom(random.choice((1, 512, 4096, 5000, 70000))), random.randrange(size))
            if random.randrange(3) == 0:
                os.ftruncate(fd, random.randrange(size))
            if random.randrange(2) == 0:
                os.fsync(fd)
            os.close(fd)
            if random.randrange(4) == 0:
                os.unlink(path)
            log.write(f"{rounds} 0 {time.time_ns()}\n")
            rounds += 1
            time.sleep(0.05)  # it is to scatter changes, not to take the machine


def stream(files, _log_path, deadline):
    """Overwrites a file of 48 MiB through the page cache, as fast as the disk lets it."""
    chunk = os.urandom(1 << 20)
    fd = os.open(files[0], os.O_WRONLY | os.O_CREAT, 0o644)
    rounds = 0
    while not STOP and time.monotonic() < deadline:
        os.pwrite(fd, chunk, (rounds % 48) << 20)
        rounds += 1


def probe(files, log_path, deadline):
    """Writes and fsyncs a small file for ever; the log shows how long the filesystem let nobody write."""
    fd = os.open(files[0], os.O_WRONLY | os.O_CREAT, 0o644)
    with open(log_path, "a", encoding="ascii", buffering=1) as log:
        number = 0
        while not STOP and time.monotonic() < deadline:
            begun = time.time_ns()
            os.pwrite(fd, record(number), 0)
            os.fsync(fd)
            log.write(f"{number} {begun} {time.time_ns()}\n")
            number += 1
            time.sleep(0.005)  # a probe, not a load


def tap(files, log_path, deadline):
    """Writes into the page cache for ever, and counts in 8 bytes of the log: it stands still at once when a freeze begins."""
    fd = os.open(files[0], os.O_WRONLY | os.O_CREAT, 0o644)
    with open(log_path, "w+b") as log:
        log.truncate(mmap.PAGESIZE)
        with mmap.mmap(log.fileno(), mmap.PAGESIZE) as page:
            count = 0
            while not STOP and time.monotonic() < deadline:
                os.pwrite(fd, b"tap", 0)
                count += 1
                page[:8] = count.to_bytes(8, "little")
                time.sleep(0.0002)


RING_SLOTS = 2048
RING_BYTES = 4096
RING_MAGIC = bytes.fromhex("c5a1d6f0e9b2473a8c1e5d7f6b3a9204")


def ring_slot(number):
    """Where in the ring the block with this number is written: neighbours in time are far apart."""
    return number * 1103 % RING_SLOTS


def ring(files, log_path, deadline):
    """Writes numbered blocks over a ring of slots for ever, each through to the disk before the next one begins.

    The disk at one instant has the last RING_SLOTS numbers, all of them (ring_is_of_one_instant).
    """
    fd = os.open(files[0], os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o644)
    with mmap.mmap(-1, RING_BYTES) as block, open(log_path, "a", encoding="ascii", buffering=1) as log:
        number = 0
        while not STOP and time.monotonic() < deadline:
            block[:32] = RING_MAGIC + struct.pack("<QQ", ring_slot(number), number)
            os.pwrite(fd, block, ring_slot(number) * RING_BYTES)
            number += 1
            if number % RING_SLOTS == 0:
                log.write(f"{number} 0 {time.time_ns()}\n")


def ring_is_of_one_instant(path):
    """(whether a raw image is of one instant, how many slots are not as they were when its newest number was written)."""
    found = {}
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        at = data.find(RING_MAGIC)
        while at >= 0:
            slot, number = struct.unpack("<QQ", data[at + 16:at + 32])
            found[slot] = max(found.get(slot, 0), number)
            at = data.find(RING_MAGIC, at + RING_BYTES // 4)
    if len(found) != RING_SLOTS:
        raise AssertionError(f"{path} has {len(found)} of {RING_SLOTS} slots: the ring was not written when it was taken")
    newest = max(found.values())
    wrong = sum(found[ring_slot(number)] != number for number in range(newest - RING_SLOTS + 1, newest + 1))
    return wrong == 0, wrong


def pageout(files, log_path, deadline):
    """Has the kernel write memory to the swap for ever."""
    del files
    with mmap.mmap(-1, 16 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory, \
            open(log_path, "a", encoding="ascii", buffering=1) as log:
        rounds = 0
        while not STOP and time.monotonic() < deadline:
            for at in range(0, len(memory), mmap.PAGESIZE):
                memory[at:at + 8] = os.urandom(8)
            memory.madvise(21)  # MADV_PAGEOUT
            rounds += 1
            log.write(f"{rounds} 0 {time.time_ns()}\n")


KINDS = {"append": append, "database": database, "unpack": unpack, "scatter": scatter, "stream": stream, "probe": probe,
         "tap": tap, "ring": ring, "pageout": pageout}


class Workload:
    def __init__(self, registry, folder, kind, *files, seconds=120):
        self.kind = kind
        self.log_path = os.path.join(folder, f"{kind}-{time.monotonic_ns()}.log")
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), kind, f"--log={self.log_path}",
                                         f"--seconds={seconds}", *map(str, files)], stdin=subprocess.DEVNULL)
        registry.add(self)

    def __str__(self):
        return f"workload {self.kind}"

    def lines(self):
        """(sequence, begun_ns, acknowledged_ns) of all that is done so far."""
        try:
            with open(self.log_path, encoding="ascii") as file:
                return [tuple(map(int, line.split())) for line in file if line.endswith("\n")]
        except FileNotFoundError:
            return []

    def taps(self):
        """How often a tap has written so far."""
        try:
            with open(self.log_path, "rb") as file:
                return int.from_bytes(file.read(8), "little")
        except FileNotFoundError:
            return 0

    def wait_lines(self, count, seconds=60):
        return wait_until(f"{count} rounds of {self}", lambda: len(self.lines()) >= count, seconds)

    def longest_ms(self, since_ns=0):
        """The longest time that one round took, of those that ended after `since_ns`."""
        return max((ended - begun for _number, begun, ended in self.lines() if ended > since_ns), default=0) / 1e6

    def halt(self):
        if self.process.poll() is None:
            self.process.kill()

    def stop(self):
        """Ends it in order; it must have worked without an error until now."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        if status != 0:
            raise AssertionError(f"{self} failed with status {status}")

    def close(self):
        self.halt()
        self.process.wait(30)


def make_archive(path, source="/usr/include", limit=12 << 20):
    """An archive of a real source tree, of about `limit` bytes."""
    size = 0
    with tarfile.open(path, "w") as tar:
        for folder, folders, names in os.walk(source):
            folders.sort()
            for name in sorted(names):
                file = os.path.join(folder, name)
                if not os.path.isfile(file) or os.path.islink(file):
                    continue
                tar.add(file, arcname=os.path.relpath(file, source))
                size += os.path.getsize(file)
                if size >= limit:
                    return path
    return path


def fill(path, mib):
    """A file of data that does not compress, written through to the disk."""
    with open(path, "wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
    return path


def _stop(_number, _frame):
    global STOP
    STOP = True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--log", required=True)
    parser.add_argument("--seconds", type=float, default=120)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    KINDS[arguments.kind](arguments.files, arguments.log, time.monotonic() + arguments.seconds)


if __name__ == "__main__":
    main()
