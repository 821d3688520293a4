# SPDX-License-Identifier: Apache-2.0
"""
A server is booted from a checkpoint: by the BIOS and by UEFI, with what it writes forgotten, kept, and made into a disk. Whichever of the
processes is killed, nothing is left of the others, and the store is byte for byte what it was.
"""

import fcntl
import hashlib
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import time

import guest
import small

sys.path.insert(0, os.path.join(os.path.dirname(guest.HERE), "e2e"))

from case import Case, main  # noqa: E402
from nbdkit import plugin, plugin_environment  # noqa: E402
from programs import SANITIZER_REPORT, bin_folder, environment  # noqa: E402
from registry import REGISTRY, Failure, run, wait_until  # noqa: E402

SECONDS = 600  # for a boot on a machine that has much else to do
ESCAPE = "\x1d"


class Booted:
    """`blxrep dispatcher boot` at a terminal of its own."""

    def __init__(self, *words, path=None):
        self.terminal, other = pty.openpty()
        self.modes = termios.tcgetattr(other)
        self.spare = other  # so that the terminal stays when the program is gone
        self.said = ""
        self._change = threading.Condition()
        more = plugin_environment() | ({"PATH": path} if path else {})
        self.process = subprocess.Popen([os.path.join(bin_folder(), "blxrep"), "dispatcher", "boot", *words], stdin=other, stdout=other, stderr=other,
                                        env=environment(more), preexec_fn=self._take_terminal)
        REGISTRY.add(self)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @staticmethod
    def _take_terminal():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def __str__(self):
        return "a server that was booted"

    def log(self):
        return self.said

    def _read(self):
        while True:
            ready, _, _ = select.select([self.terminal], [], [], 0.5)
            if not ready:
                if self.process.poll() is not None:
                    return
                continue
            try:
                data = os.read(self.terminal, 65536)
            except OSError:
                return
            with self._change:
                self.said += data.decode(errors="replace")
                self._change.notify_all()

    def wait(self, pattern, seconds=SECONDS, start=0):
        deadline = time.monotonic() + seconds
        expression = re.compile(pattern)
        with self._change:
            while True:
                found = expression.search(self.said, start)
                if found:
                    return found
                if time.monotonic() > deadline or (self.process.poll() is not None and not self._reader.is_alive()):
                    raise Failure(f"'{pattern}' was not said within {seconds} s: {self.said[-4000:]}")
                self._change.wait(0.2)

    def type(self, text):
        os.write(self.terminal, text.encode())

    def wait_end(self, status, seconds=60):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"it did not end within {seconds} s: {self.said[-2000:]}") from error
        self._reader.join(10)
        if self.process.returncode != status or SANITIZER_REPORT.search(self.said):
            raise Failure(f"it ended with {self.process.returncode} instead of {status}: {self.said[-4000:]}")
        wait_until("the terminal has its modes again", lambda: termios.tcgetattr(self.spare) == self.modes, 30)
        return self.said

    def children(self):
        """{name: process ID} of the processes that it has started."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                    name, rest = file.read().split("(", 1)[1].rsplit(")", 1)
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(rest.split()[1]) == self.process.pid:
                found[name] = int(pid)
        return found

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(60)
        self._reader.join(10)
        os.close(self.terminal)
        os.close(self.spare)


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def no_folder_is_left():
    """For a moment each start has one, also one of a test that runs beside this one."""
    return not [name for name in os.listdir("/tmp") if name.startswith("blxrep-boot-")]


class Boot(Case):
    @classmethod
    def setUpClass(cls):
        cls.kernel = guest.Kernel("6.1")

    def setUp(self):
        super().setUp()
        self.disk = self.loop_disk(small.DISK_MIB)
        small.make_small(self.disk.path, self.kernel)
        self.start_dispatcher()
        self.stamp = self.take(self.disk)
        self.before = self.store()

    def take(self, disks, agent_id="web1"):
        agent = self.start_agent(agent_id, disks, "--skip-free-space=no")
        stamp = self.checkpoint(agent_id)
        agent.stop()
        return stamp

    def store(self):
        """{file: its content's sum}."""
        sums = {}
        for folder, _folders, files in os.walk(os.path.join(self.data_dir, "agents")):
            for name in files:
                with open(os.path.join(folder, name), "rb") as file:
                    sums[os.path.join(folder, name)] = hashlib.sha256(file.read()).hexdigest()
        return sums

    def boot(self, *words, agent_id="web1", **named):
        return Booted(f"--agent={agent_id}", "--checkpoint=latest", f"--data-dir={self.data_dir}", "--memory=256M", *words, **named)

    def check_nothing_is_left(self, children):
        for name, pid in children.items():
            wait_until(f"{name} has ended", lambda pid=pid: not lives(pid), 60)
        wait_until("no folder is left", no_folder_is_left)
        self.assertEqual(self.store(), self.before)

    def test_it_boots_and_what_it_writes_is_kept(self):
        kept = self.path("changes")
        server = self.boot("--accelerator=none", f"--keep={kept}")
        server.wait(r"booting the checkpoint \d{14} of 'web1' from /dev/loop\d+ by BIOS, with 256.0 MiB of memory")
        said = server.wait(r"small: boot 1 from /dev/vda3, disks vda, machine bios, networks 0")
        children = server.children()
        self.assertEqual(sum(name.startswith("qemu") for name in children), 1, children)
        with open(f"/proc/{children[next(name for name in children if name.startswith('qemu'))]}/status", encoding="ascii") as file:
            status = file.read()
        self.assertNotRegex(status, r"Uid:\s+0\b")
        self.assertRegex(status, r"Seccomp:\s+2")
        server.wait("small# ", start=said.end())
        server.type("cat /proc/cpuinfo >/root/typed; echo $((6 * 7)); sync\r")
        server.wait(r"\n42\r\n")
        server.type(ESCAPE + "?")
        server.wait("Ctrl-] and then q cuts the power")
        server.type(ESCAPE + "p")
        self.assertIn(f"the server is off; what it wrote is in '{kept}'", server.wait_end(0, SECONDS))
        self.check_nothing_is_left(children)
        image = self.restore("web1", self.stamp, self.path("both.img"), f"--overlay={kept}")
        root = f"{image}?offset={small.ROOT_SECTOR * 512}"
        run("e2fsck", "-f", "-n", root)
        self.assertEqual(run("debugfs", "-R", "cat /boots", root).stdout.strip(), "1")
        self.assertIn("processor", run("debugfs", "-R", "cat /typed", root).stdout)
        plain = self.restore("web1", self.stamp, self.path("plain.img"))
        self.assertEqual(run("debugfs", "-R", "cat /boots", f"{plain}?offset={small.ROOT_SECTOR * 512}").stdout.strip(), "0")
        self.cli.run("dispatcher", "verify", f"--data-dir={self.data_dir}")

    def test_it_boots_by_uefi_with_whatever_works_here(self):
        other = self.loop_disk(8, "other")
        self.take([self.disk, other], "web2")
        self.before = self.store()
        server = self.boot("--firmware=uefi", "--disk-bus=scsi", "--network=user", "--memory=512M", "--vnc", agent_id="web2")
        port = server.wait(r"its screen is at 127\.0\.0\.1:(\d+), by VNC").group(1)
        with socket.create_connection(("127.0.0.1", int(port)), 60) as screen:
            self.assertEqual(screen.recv(4), b"RFB ")
        server.wait(r"small: boot 1 from /dev/sd[ab]3, disks sda,sdb, machine /sys/firmware/efi, networks 1")
        children = server.children()
        server.type(ESCAPE + "q")
        self.assertIn("the server's power is cut, and what it wrote is forgotten", server.wait_end(0))
        self.check_nothing_is_left(children)

    def test_others_can_watch_it_boot(self):
        """The engine as a library: it waits for lines, types, and stops."""
        engine = os.path.join(os.path.dirname(bin_folder()), "tests", "boot_engine")
        done = run(engine, plugin(), self.data_dir, "web1", self.stamp, self.disk.name, "^SeaBIOS", "typed too early", "^GRUB loading",
                   timeout=2 * SECONDS, env=environment(plugin_environment()))
        self.assertRegex(done.stdout, r"SeaBIOS .*\n(.*\n)*GRUB loading")
        self.check_nothing_is_left({})
        wait_until("no QEMU is left", lambda: not run("pgrep", "-f", "qemu.*-name engine", check=False).stdout.strip(), 30)

    def test_whichever_is_killed_nothing_is_left(self):
        for victim, number, status, words in (("itself", signal.SIGKILL, -signal.SIGKILL, ""),
                                              ("nbdkit", signal.SIGKILL, 1, "nbdkit has ended"),
                                              ("qemu-system-x86", signal.SIGKILL, 1, "QEMU ended with status 137"),
                                              ("itself", signal.SIGTERM, 0, "power is cut"),
                                              ("itself", signal.SIGHUP, 0, "power is cut")):
            server = self.boot("--accelerator=none")
            server.wait("SeaBIOS")
            children = server.children()
            self.assertEqual(sorted(children), ["blxrep-terminal", "nbdkit", "qemu-system-x86"])
            os.kill(children.get(victim[:15], server.process.pid), number)
            self.assertIn(words, server.wait_end(status))
            self.check_nothing_is_left(children)

    def refused(self, *words, agent_id="web1", status=1, path=None):
        server = self.boot("--accelerator=none", *words, agent_id=agent_id, path=path)
        said = server.wait_end(status)
        self.assertEqual(self.store(), self.before)
        return re.sub(r"\s+", " ", said)

    def check_no_loader(self):
        """UEFI finds nothing on a disk whose loader has another name than the fallback, as installers leave it."""
        disk = self.loop_disk(48, "uefi")
        run("sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", disk.path, input_text="label: gpt\nstart=2048, size=80000, type=uefi\n")
        run("mkfs.vfat", "--offset", "2048", disk.path, "40000")
        self.take(disk, "uefi1")
        self.before = self.store()
        server = self.boot("--accelerator=none", agent_id="uefi1")
        server.wait(r"UEFI finds no boot loader: the disk has no \\EFI\\BOOT\\BOOTX64\.EFI")
        server.type(ESCAPE + "q")
        server.wait_end(0)

    def test_what_cannot_boot_is_told_before(self):
        plain = self.loop_disk(8, "plain")
        run("mke2fs", "-q", "-t", "ext4", plain.path)
        self.take(plain, "files1")
        self.before = self.store()
        self.assertIn("no disk of the checkpoint", self.refused(agent_id="files1"))
        self.assertIn(f"no device '/dev/vdz': give --device with one of {self.disk.path}", self.refused("--device=/dev/vdz"))
        self.assertIn("is none of virtio|sata|scsi", self.refused("--disk-bus=ide", status=2))
        self.assertIn("is no address for VNC", self.refused("--vnc=127.0.0.1"))
        changes = self.path("no-changes")
        with open(changes, "w", encoding="ascii") as file:
            file.write("something else")
        self.assertIn("holds something else", self.refused(f"--keep={changes}"))
        with self.assertRaisesRegex(Failure, "holds something else"):
            self.restore("web1", self.stamp, self.path("no.img"), f"--overlay={changes}")
        self.check_no_loader()
        programs = self.path("programs")
        os.mkdir(programs)
        os.chmod(self.folder, 0o755)  # QEMU's user looks there
        self.assertIn("install the package nbdkit", self.refused(path=programs))
        os.symlink("/usr/sbin/nbdkit" if os.path.exists("/usr/sbin/nbdkit") else "/usr/bin/nbdkit", f"{programs}/nbdkit")
        self.assertIn("install the package qemu-system-x86", self.refused(path=programs))


if __name__ == "__main__":
    main()
