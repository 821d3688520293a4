# SPDX-License-Identifier: Apache-2.0
"""Real block devices: loop devices on sparse files, zram; partitions, filesystems, and copies of the raw device."""

import errno
import fcntl
import mmap
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from registry import Failure, run, wait_until

FIFREEZE = 0xC0045877
FITHAW = 0xC0045878
MIB = 1 << 20
BLOCK = 4096
PIN_ROOT = "/sys/fs/bpf/blxrep"


class Filesystem:
    """A filesystem of a disk, mounted below the test's folder."""

    def __init__(self, registry, device, kind, mount_point, options=()):
        self.device = device
        self.kind = kind
        self.path = mount_point
        self.mounted = False
        make = {"ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
                "xfs": ["mkfs.xfs", "-q", "-f"], "btrfs": ["mkfs.btrfs", "-q", "-f"]}
        run(*make[kind], *options, device)
        registry.add(self)
        self.mount()

    def __str__(self):
        return f"{self.kind} on {self.device}"

    def mount(self, options=None):
        os.makedirs(self.path, exist_ok=True)
        run("mount", *(["-o", options] if options else []), self.device, self.path)
        self.mounted = True

    def umount(self, settled=True):
        """Unmounts. If `settled`, waits until nobody holds the filesystem any more: from then on nothing is written.

        An agent that takes a checkpoint holds it for a moment, and so does a foreign mount namespace.
        """
        wait_until(f"{self} unmounts", lambda: run("umount", self.path, check=False).returncode == 0, 20)
        self.mounted = False
        if settled:
            wait_until(f"{self} is written by nobody", self._is_free, 60)

    def _is_free(self):
        try:
            os.close(os.open(self.device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except OSError as error:
            if error.errno == errno.EBUSY:
                return False
            raise
        return True

    def sync(self):
        run("sync", "-f", self.path)

    def trim(self):
        run("fstrim", self.path)

    def _ioctl(self, request):
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, request, 0)
        finally:
            os.close(fd)

    def freeze(self):
        self._ioctl(FIFREEZE)

    def thaw(self):
        """Thaws it if it is frozen."""
        if self.mounted:
            try:
                self._ioctl(FITHAW)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise

    def is_frozen(self):
        """Whether somebody holds it frozen now. Asking freezes it for a moment if nobody does."""
        try:
            self._ioctl(FIFREEZE)
        except OSError as error:
            if error.errno == errno.EBUSY:
                return True
            raise
        self.thaw()  # whoever was about to thaw it may have been quicker
        return False

    def used_bytes(self):
        info = os.statvfs(self.path)
        return (info.f_blocks - info.f_bfree) * info.f_frsize

    def close(self):
        if self.mounted:
            self.umount()


class Disk:
    """A whole block device. An agent gets `path` as its name."""

    def __init__(self, registry, folder, path, size):
        self.registry = registry
        self.folder = folder
        self.path = path
        self.name = os.path.basename(path)
        self.size = size
        self.partitioned = False
        registry.add(self)

    def __str__(self):
        return self.path

    def make(self, kind, *options):
        """One filesystem over the whole disk, mounted. The options are those of its mkfs."""
        return Filesystem(self.registry, self.path, kind, os.path.join(self.folder, f"{self.name}-mnt"), options)

    def make_partitions(self, parts):
        """Partitions of (kind, MiB), each with its filesystem, mounted."""
        table = "label: gpt\n" + "".join(f"size={mib}MiB, type=L\n" for _kind, mib in parts)
        run("sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", self.path, input_text=table)
        run("partx", "-u", self.path)  # not -a: a loop device keeps the partitions of a user that was killed
        self.partitioned = True
        return [Filesystem(self.registry, self.partition(number), kind, os.path.join(self.folder, f"{self.name}-p{number}"))
                for number, (kind, _mib) in enumerate(parts, 1)]

    def partition(self, number):
        return f"{self.path}p{number}"

    def copy(self, target):
        """A sparse copy of the raw device as it is now, past the page cache."""
        return copy_device(self.path, target)

    def pins(self):
        """The folders in bpffs that belong to this disk and its partitions."""
        if not os.path.isdir(PIN_ROOT):
            return []
        mine = re.compile(rf"^{re.escape(self.name)}(p\d+)?$")
        return [os.path.join(PIN_ROOT, name) for name in os.listdir(PIN_ROOT) if mine.match(name)]

    def forget_tracking(self):
        """What a reboot does to the tracker: its programs and maps are gone."""
        for folder in self.pins():
            shutil.rmtree(folder)

    def close(self):
        self.forget_tracking()
        if self.partitioned:
            run("partx", "-d", self.path)
        self.detach()
        self.registry.forget(self)

    def detach(self):
        raise NotImplementedError


class LoopDisk(Disk):
    def __init__(self, registry, folder, mib, name="disk"):
        self.file = os.path.join(folder, f"{name}.loop")
        with open(self.file, "wb") as file:
            file.truncate(mib * MIB)
        super().__init__(registry, folder, self.attach(), mib * MIB)

    def attach(self):
        return run("losetup", "--find", "--show", self.file).stdout.strip()

    def detach(self):
        run("losetup", "-d", self.path)
        os.unlink(self.file)


class FailingDisk(Disk):
    """A loop device on a file of failing_file.py: its reads can be made to fail, its writes to hang, and both to hang."""

    def __init__(self, registry, folder, mib, name="disk"):
        self.store = os.path.join(folder, f"{name}.store")
        self.file = os.path.join(folder, f"{name}.fuse")
        for path, size in ((self.store, mib * MIB), (self.file, 0)):
            with open(path, "wb") as file:
                file.truncate(size)
        server = os.path.join(os.path.dirname(os.path.abspath(__file__)), "failing_file.py")
        self.server = subprocess.Popen([sys.executable, "-B", server, self.file, self.store], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
        self._await_ok()
        path = run("losetup", "--find", "--show", self.file).stdout.strip()
        super().__init__(registry, folder, path, mib * MIB)

    def _await_ok(self):
        line = self.server.stdout.readline()
        if line != "ok\n":
            raise Failure(f"failing_file.py said {line!r}")

    def _order(self, words):
        self.server.stdin.write(words + "\n")
        self.server.stdin.flush()
        self._await_ok()

    def fail_reads(self, first, count):
        """From now on reads that touch these bytes give EIO."""
        self._order(f"fail {first} {first + count}")

    def stall_writes(self):
        """Until heal() they get no answer, nor do the reads after them."""
        self._order("stall")

    def heal(self):
        self._order("heal")

    def hang(self):
        """Nothing gets an answer until answer()."""
        self.server.send_signal(signal.SIGSTOP)

    def answer(self):
        self.server.send_signal(signal.SIGCONT)

    def halt(self):
        """A test may have failed while it hangs."""
        self.answer()
        self.heal()

    def detach(self):
        run("losetup", "-d", self.path)
        run("umount", self.file)
        self.server.stdin.close()
        self.server.wait(20)
        self.server.stdout.close()


class ZramDisk(Disk):
    def __init__(self, registry, folder, mib):
        with open("/sys/class/zram-control/hot_add", encoding="ascii") as file:
            self.number = int(file.read())
        super().__init__(registry, folder, f"/dev/zram{self.number}", mib * MIB)
        with open(f"/sys/block/zram{self.number}/disksize", "w", encoding="ascii") as file:
            file.write(f"{mib}M")

    def detach(self):
        deadline = time.monotonic() + 10
        while True:
            try:
                with open("/sys/class/zram-control/hot_remove", "w", encoding="ascii") as file:
                    file.write(str(self.number))
                return
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise Failure(f"{self} does not go away: {error}") from error
                time.sleep(0.1)


def copy_device(source, target):
    """Copies with O_DIRECT, because a buffered read of a mounted disk may be stale. Zeros become holes. Returns `target`."""
    chunk = 4 * MIB
    zeros = bytes(chunk)
    fd_in = os.open(source, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    fd_out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with mmap.mmap(-1, chunk) as buffer:
            offset = 0
            while True:
                count = os.preadv(fd_in, [buffer], offset)
                if count == 0:
                    break
                data = buffer[:count]
                if data != zeros[:count]:
                    os.pwrite(fd_out, data, offset)
                offset += count
            os.ftruncate(fd_out, offset)
            return target
    finally:
        os.close(fd_in)
        os.close(fd_out)
