# SPDX-License-Identifier: Apache-2.0
"""
A server in a guest: Debian 12 with its own kernel, systemd, sshd and a database, on a disk that boots by itself. As such it can be lost,
and come back.

The database is a ledger: `ledger.service` commits one numbered row after the other, and says so on the second serial port, outside of the
disk, each time that the database has acknowledged one. What was said there before a checkpoint was asked for must be in it.

It reaches this machine's loopback as backup.example.org, and is reached by ssh.
"""

import glob
import hashlib
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import time

import guest
from guest import HERE, MIB, Failure, run

DISK_MIB = 1536
FIRST_SECTOR = 2048
SYSTEM = ("systemd-sysv,dbus,udev,e2fsprogs,mount,kmod,initramfs-tools,linux-image-cloud-amd64,grub-pc-bin,grub-common,openssh-server,sqlite3,zstd,"
          "iproute2,procps,qemu-utils")
NETWORK = """[Match]
Name=e*
[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
"""
GRUB = """serial --unit=0
terminal_output serial
linux /vmlinuz root=UUID={uuid} ro console=ttyS0 quiet panic=-1
initrd /initrd.img
boot
"""


def system(packages):
    """The archive of a system with everything that the folder's packages depend on, of alternatives the first; servers have no network."""
    fields = "".join(run("dpkg-deb", "-f", deb, "Depends") for deb in glob.glob(f"{packages}/*.deb"))
    needed = sorted({name.split()[0] for name in fields.replace("\n", ",").split(",") if name.strip() and "blxrep" not in name})
    include = f"{SYSTEM},{','.join(needed)}"

    def make(target):
        run("mmdebstrap", "--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*", f"--include={include}", "--format=tar", "bookworm", target,
            "deb http://deb.debian.org/debian bookworm main", "deb http://deb.debian.org/debian-security bookworm-security main", timeout=3600)
    return guest.make_once(guest.cache(f"system-{hashlib.sha256(include.encode()).hexdigest()[:12]}.tar"), make)


def ssh_key():
    return guest.make_once(guest.cache("ssh-key"), lambda path: (
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "guest", "-f", path), os.rename(path + ".pub", guest.cache("ssh-key.pub"))))


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


def make_server(path, packages, *more):
    """A disk that boots, at `path`; the folder `packages` and those of `more` lie below /root."""
    root = path + ".root"
    shutil.rmtree(root, ignore_errors=True)
    os.mkdir(root)
    run("tar", "-xf", system(packages), "-C", root, "--exclude=./dev/*")
    for folder in (packages, *more):
        shutil.copytree(folder, f"{root}/root/{os.path.basename(folder)}")
    shutil.copy(f"{HERE}/ledger.sh", f"{root}/usr/local/bin/ledger")
    os.chmod(f"{root}/usr/local/bin/ledger", 0o755)
    shutil.copy(f"{HERE}/ledger.service", f"{root}/etc/systemd/system/")
    ssh_key()
    with open(guest.cache("ssh-key.pub"), encoding="ascii") as key:
        write(f"{root}/root/.ssh/authorized_keys", key.read(), 0o600)
    write(f"{root}/etc/hostname", "web1\n")
    write(f"{root}/etc/hosts", "127.0.0.1 localhost web1\n10.0.2.2 backup.example.org\n")
    write(f"{root}/etc/systemd/network/guest.network", NETWORK)
    os.makedirs(f"{root}/var/log/journal", exist_ok=True)  # it lies on the disk, as on most servers
    run("chroot", root, "systemctl", "--quiet", "enable", "systemd-networkd", "ssh", "ledger")
    run("chroot", root, "systemctl", "--quiet", "mask", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
        "e2scrub_all.timer", "fstrim.timer", "serial-getty@ttyS0.service", "getty@tty1.service")
    make_bootable(path, root)
    shutil.rmtree(root)
    return path


def make_bootable(path, root):
    """One partition with the system, and GRUB in front of it, as grub-install lays it."""
    uuid = run("cat", "/proc/sys/kernel/random/uuid").strip()
    write(f"{root}/boot/grub/grub.cfg", GRUB.format(uuid=uuid))
    write(f"{root}/etc/fstab", f"UUID={uuid} / ext4 errors=remount-ro 0 1\n")
    run("chroot", root, "grub-mkimage", "-O", "i386-pc", "-p", "(hd0,msdos1)/boot/grub", "-o", "/boot/grub/core.img", "biosdisk", "part_msdos",
        "ext2", "normal", "linux", "serial", "terminal", "boot", "configfile")
    guest.make_disk(path, DISK_MIB)
    run("sh", "-c", f"echo 'start={FIRST_SECTOR}, type=83, bootable' | sfdisk -q --label=dos '{path}'")
    run("mke2fs", "-q", "-F", "-t", "ext4", "-U", uuid, "-E", f"offset={FIRST_SECTOR * 512}", "-d", root, path, f"{DISK_MIB - 2}M")
    with open(f"{root}/usr/lib/grub/i386-pc/boot.img", "rb") as file:
        boot = file.read(440)
    with open(f"{root}/boot/grub/core.img", "rb") as file:
        core = file.read()
    if len(core) > (FIRST_SECTOR - 1) * 512 or struct.unpack_from("<Q", core, 0x1F4) != (2,):
        raise Failure("GRUB's core does not fit before the partition")
    with open(path, "r+b") as disk:
        disk.write(boot)
        disk.seek(512)
        disk.write(core)


def free_port():
    with socket.socket() as probe:
        while True:
            port = random.randint(20000, 32000)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Server(guest.Guest):
    """Boots from its first disk. `name` names its log and its acknowledgements, in `folder`."""

    def __init__(self, folder, name, disks):
        self.port = free_port()
        self.acks = os.path.join(folder, f"{name}.acks")
        self.name = name
        super().__init__(os.path.join(folder, f"{name}.console"), disks, "-serial", f"file:{self.acks}", "-netdev",
                         f"user,id=n,hostfwd=tcp:127.0.0.1:{self.port}-:22", "-device", "virtio-net-pci,netdev=n", "-boot", "c")

    def _ssh_words(self, command):
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "ConnectTimeout=20"]
        return ["ssh", "-q", "-i", ssh_key(), "-p", str(self.port), *[word for option in options for word in ("-o", option)],
                "root@127.0.0.1", command]

    def ssh_shown(self, command, timeout):
        """Runs a command line in the server and shows what it says; returns its status."""
        return subprocess.run(self._ssh_words(command), stdin=subprocess.DEVNULL, timeout=timeout, check=False).returncode

    def ssh(self, command, check=True, timeout=120, stdin=None):
        """Runs a command line in the server; returns what it printed."""
        try:
            done = subprocess.run(self._ssh_words(command), stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  errors="replace", timeout=timeout, check=False)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{self.name}: `{command}` did not end within {timeout} s:\n{self.tail(20)}") from error
        if check and done.returncode != 0:
            raise Failure(f"{self.name}: `{command}` ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def wait_up(self, seconds=300):
        """Until sshd lets people in and systemd has started everything; returns how long it took."""
        deadline = time.monotonic() + seconds
        while "up" not in self.ssh("echo up", check=False):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise Failure(f"{self.name} did not come up within {seconds} s:\n{self.tail()}")
            time.sleep(1)
        self.ssh("systemctl is-system-running --wait", check=False, timeout=seconds)
        return time.monotonic() - self._begun

    def acknowledged(self):
        """The number of the last row that the database has acknowledged, 0 for none."""
        with open(self.acks, encoding="ascii", errors="replace") as file:
            numbers = re.findall(r"^ack (\d+)\s*$", file.read(), re.MULTILINE)
        return int(numbers[-1]) if numbers else 0

    def wait_acknowledged(self, count, seconds=120):
        """Waits for that many further acknowledgements."""
        goal = self.acknowledged() + count
        deadline = time.monotonic() + seconds
        while self.acknowledged() < goal:
            if time.monotonic() > deadline:
                raise Failure(f"{self.name}: the ledger stands still at {self.acknowledged()}:\n{self.tail(20)}")
            time.sleep(0.1)
        return goal

    def power_off(self):
        self.ssh("systemctl --no-block poweroff", check=False)
        self.wait_end(180)


def work_folder():
    return tempfile.TemporaryDirectory(prefix="blxrep-guest-", dir=guest.cache())
