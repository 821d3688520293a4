# SPDX-License-Identifier: Apache-2.0
"""What a user would pick instead, each told to do its best with a block device. full() makes a first copy, again() brings it up to date."""

import os
import shutil

from registry import run


class Peer:
    package = None

    def __init__(self, folder, device):
        self.folder = os.path.join(folder, self.name())
        self.device = device
        self.wipe()

    @classmethod
    def name(cls):
        return cls.__name__.lower()

    @classmethod
    def program(cls):
        return cls.name()

    @classmethod
    def installed(cls):
        return shutil.which(cls.program()) is not None

    def wipe(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)

    def run(self, *command):
        return run(*command, timeout=3600, env=dict(os.environ, **self.environment()))

    def environment(self):
        return {}

    def target(self, name="copy"):
        return os.path.join(self.folder, name)

    def full(self):
        raise NotImplementedError

    def again(self):
        self.full()

    def restore(self, output):
        raise NotImplementedError


class Dd(Peer):
    """The disk's own speed."""

    def full(self):
        self.run("dd", f"if={self.device}", f"of={self.target()}", "bs=4M", "iflag=direct", "conv=fsync,sparse", "status=none")

    def restore(self, output):
        self.run("dd", f"if={self.target()}", f"of={output}", "bs=4M", "conv=fsync,sparse", "status=none")


class Zstd(Peer):
    """The floor of any full copy: everything, compressed on all cores, to a file."""
    package = "zstd"

    def full(self):
        self.run("sh", "-c", f"zstd -q -f -1 -T0 <{self.device} >{self.target()} && sync {self.target()}")

    def restore(self, output):
        self.run("sh", "-c", f"zstd -q -d -f --sparse -o {output} {self.target()} && sync {output}")


class Borg(Peer):
    package = "borgbackup"
    count = 0

    def environment(self):
        return {"BORG_BASE_DIR": self.target("home"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}

    def full(self):
        self.wipe()
        self.run("borg", "init", "--encryption=none", self.target("repository"))
        self.again()

    def again(self):
        self.count += 1
        self.run("borg", "create", "--read-special", "--compression=zstd,1", f"{self.target('repository')}::{self.count}", self.device)

    def restore(self, output):
        self.run("sh", "-c", f"borg extract --stdout --sparse {self.target('repository')}::{self.count} >{output} && sync {output}")


class Restic(Peer):
    package = "restic"

    def environment(self):
        return {"RESTIC_PASSWORD": "none", "RESTIC_REPOSITORY": self.target("repository"), "RESTIC_CACHE_DIR": self.target("cache")}

    def full(self):
        self.wipe()
        self.run("restic", "init", "-q")
        self.again()

    def again(self):
        self.run("sh", "-c", f"restic backup -q --stdin --stdin-filename=disk <{self.device}")

    def restore(self, output):
        self.run("sh", "-c", f"restic dump -q latest disk >{output} && sync {output}")


class QemuImg(Peer):
    package = "qemu-utils"

    @classmethod
    def program(cls):
        return "qemu-img"

    def full(self):
        self.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd", self.device, self.target())
        self.run("sync", self.target())

    def restore(self, output):
        self.run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", self.target(), output)
        self.run("sync", output)


class Casync(Peer):
    package = "casync"

    def full(self):
        self.wipe()
        self.again()

    def again(self):
        self.run("casync", "make", f"--store={self.target('store')}", self.target("disk.caibx"), self.device)
        self.run("sync", "-f", self.folder)

    def restore(self, output):
        self.run("casync", "extract", f"--store={self.target('store')}", self.target("disk.caibx"), output)
        self.run("sync", output)


class Rsync(Peer):
    package = "rsync"

    def full(self):
        self.wipe()
        self.again()

    def again(self):
        self.run("rsync", "--copy-devices", "--inplace", "--no-whole-file", self.device, self.target())
        self.run("sync", self.target())

    def restore(self, output):
        self.run("cp", "--sparse=always", self.target(), output)
        self.run("sync", output)


PEERS = [Dd, Zstd, Borg, Restic, QemuImg, Casync, Rsync]
