# SPDX-License-Identifier: Apache-2.0
"""What others need for the same: a file of the disk that is read where the copy lies. Each shows the same image; a class has show() and hide()."""

import os
import shutil
import signal
import subprocess
import time

from disks import MIB
from registry import run, wait_until

RUN_BYTES = 4096
SEQUENTIAL_BYTES = 256 * MIB


class Shown:
    """`image` is the disk as it is at the end of the history."""

    def __init__(self, folder, image):
        self.folder = os.path.join(folder, "open-" + type(self).__name__.lower())
        self.point = os.path.join(self.folder, "mnt")
        self.image = image
        self.process = None
        os.makedirs(self.point)

    @classmethod
    def installed(cls):
        return shutil.which(cls.program) is not None

    def run(self, *command):
        return run(*command, timeout=3600, env=self.environment())

    def environment(self):
        return dict(os.environ)

    def start(self, *command):
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=self.environment())

    def hide(self):
        run("fusermount3", "-u", self.point)
        wait_until("it is unmounted", lambda: not os.path.ismount(self.point))


class Restic(Shown):
    """One copy: its history does not make it slower, nor faster."""
    program = "restic"

    def environment(self):
        return dict(os.environ, RESTIC_PASSWORD="none", RESTIC_REPOSITORY=os.path.join(self.folder, "repository"),
                    RESTIC_CACHE_DIR=os.path.join(self.folder, "cache"))

    def make(self, _dice, _layers, _change_mib):
        self.run("restic", "init", "-q")
        self.run("sh", "-c", f"restic backup -q --stdin --stdin-filename=disk <{self.image}")

    def show(self):
        self.start("restic", "mount", "-q", self.point)
        path = os.path.join(self.point, "snapshots", "latest", "disk")
        wait_until("restic has mounted", lambda: os.path.exists(path), 120, 0.01)
        return path

    def hide(self):
        """It unmounts by itself."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)


class Borg(Shown):
    """As with restic."""
    program = "borg"

    def environment(self):
        return dict(os.environ, BORG_BASE_DIR=os.path.join(self.folder, "home"), BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes")

    def make(self, _dice, _layers, _change_mib):
        repository = os.path.join(self.folder, "repository")
        self.run("borg", "init", "--encryption=none", repository)
        self.run("sh", "-c", f"borg create --compression=zstd,1 --stdin-name=disk {repository}::last - <{self.image}")

    def show(self):
        self.run("borg", "mount", os.path.join(self.folder, "repository") + "::last", self.point)
        return os.path.join(self.point, "disk")


class QemuImg(Shown):
    """A chain of overlays. What an overlay holds is another content than the image's, of the same amount."""
    program = "qemu-storage-daemon"

    def layer(self, number):
        return os.path.join(self.folder, f"{number}.qcow2")

    def make(self, dice, layers, change_mib):
        self.run("qemu-img", "convert", "-c", "-o", "compression_type=zstd", "-O", "qcow2", self.image, self.layer(0))
        places = os.path.getsize(self.image) // RUN_BYTES
        for number in range(1, layers):
            self.run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", self.layer(number - 1), self.layer(number))
            writes = "\n".join(f"write -q -P {number} {dice.randrange(places) * RUN_BYTES} {RUN_BYTES}" for _ in range(change_mib * MIB // RUN_BYTES))
            subprocess.run(["qemu-io", "-t", "unsafe", self.layer(number)], input=writes.encode(), stdout=subprocess.DEVNULL, check=True, timeout=600)
        self.top = self.layer(layers - 1)
        self.file = os.path.join(self.folder, "shown")

    def show(self):
        """It is mounted over a file."""
        with open(self.file, "wb"):
            pass
        size = os.path.getsize(self.image)
        self.start("qemu-storage-daemon", "--blockdev", f"driver=qcow2,node-name=disk,read-only=on,file.driver=file,file.filename={self.top}",
                   "--export", f"type=fuse,id=disk,node-name=disk,mountpoint={self.file}")
        wait_until("qemu-storage-daemon has mounted", lambda: os.path.getsize(self.file) == size, 60, 0.01)
        return self.file

    def hide(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


class Ours(Shown):
    """A store of opening.py."""

    def __init__(self, folder, store):
        super().__init__(folder, store.image)
        self.store = store

    def make(self, _dice, _layers, _change_mib):
        shutil.rmtree(self.folder)
        self.folder = self.store.folder

    def show(self):
        self.store.mount()
        return self.store.shown()

    def hide(self):
        self.store.umount()


PEERS = [Restic, Borg, QemuImg]


def cool(folder):
    """Takes its files out of the page cache; those that are mounted below it are left alone."""
    device = os.stat(folder).st_dev
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if os.stat(os.path.join(path, name)).st_dev == device]
        for name in names:
            file_path = os.path.join(path, name)
            if os.path.isfile(file_path):
                with open(file_path, "rb") as file:
                    os.fsync(file.fileno())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure_one(shown, places, sequential_bytes):
    """Seconds to the first byte from a cold start, milliseconds of a random read (median), MB/s of reading on."""
    cool(shown.folder)
    begun = time.monotonic()
    path = shown.show()
    try:
        with open(path, "rb", buffering=0) as file:
            file.read(RUN_BYTES)
            first = time.monotonic() - begun
            took = []
            for place in places:
                begun = time.monotonic()
                os.pread(file.fileno(), RUN_BYTES, place * RUN_BYTES)
                took.append(time.monotonic() - begun)
    finally:
        shown.hide()
    cool(shown.folder)
    path = shown.show()
    try:
        begun, done = time.monotonic(), 0
        with open(path, "rb", buffering=0) as file:
            while done < sequential_bytes:
                done += len(file.read(MIB))
        rate = done / 1e6 / (time.monotonic() - begun)
    finally:
        shown.hide()
    return first, sorted(took)[len(took) // 2] * 1000, rate


def chosen(bench):
    return [kind for kind in PEERS if kind.__name__.lower() in bench.names and kind.installed()]


def compare(bench, store, layers, change_mib):
    """How many times faster we are, round by round, in turn."""
    all_shown = [Ours(bench.folder, store)] + [kind(bench.folder, store.image) for kind in chosen(bench)]
    for shown in all_shown:
        shown.make(bench.dice, layers, change_mib)
    size = os.path.getsize(store.image)
    found = {shown: [] for shown in all_shown}
    for _ in range(bench.rounds):
        places = [bench.dice.randrange(size // RUN_BYTES) for _ in range(200)]
        for shown in bench.in_any_order(all_shown):
            found[shown].append(measure_one(shown, places, min(size, SEQUENTIAL_BYTES)))
    words = (("first byte", "s"), ("random 4 KiB, cold, median", "ms"), ("sequential read", "MB/s"))
    for at, (what, unit) in enumerate(words):
        mine = [figures[at] for figures in found[all_shown[0]]]
        bench.report.add("open", f"{what}, chain of {layers}, blxrep", unit, mine)
        for shown in all_shown[1:]:
            theirs = [figures[at] for figures in found[shown]]
            ratios = [a / b if unit == "MB/s" else b / a for a, b in zip(mine, theirs, strict=True)]
            bench.report.add("open", f"{what}, {shown.program} / blxrep", "x", ratios, goal=1, better="higher")
