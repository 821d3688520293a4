# SPDX-License-Identifier: Apache-2.0
"""
The rescue system, in guests without a system of their own.

    test_rescue.py Rescue.test_the_questions_lead_to_the_disk       the short form
    test_rescue.py                                                  also the ISO on each firmware, and a takeover

The programs are those of BLXREP_BIN if blxrep-static is among them. A build with sanitizers has none; then one is built in the cache.
"""

import os
import pathlib
import shutil
import tempfile
import unittest

import guest
from guest import MIB, SOURCE, Failure, run

BIN = pathlib.Path(os.environ["BLXREP_BIN"])
FIRMWARE = "/usr/share/OVMF"
EMULATED = "no_timer_check"  # a busy machine cannot emulate the timer in time for the kernel's look at it
TOKEN = "blxrep1-a-token-that-is-none"
# A prompt; the shell also asks the terminal where its cursor is.
SHELL = r"# (\x1b\[6n)?$"


def programs():
    """The folder with blxrep-static, and with the rescue system's scripts."""
    if (BIN / "blxrep-static").exists():
        return BIN
    build = pathlib.Path(guest.cache("static-build"))
    launcher = ["-DCMAKE_C_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    run("cmake", "-S", SOURCE, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DBLXREP_TESTS=OFF", *launcher)
    run("cmake", "--build", build, "--target", "blxrep_static", timeout=1200)
    return build / "bin"


def make_old_disk(path, mib):
    """As a restore of a server with a disk of 64 MiB leaves a larger one: a GPT amid it, and a filesystem with something in it."""
    guest.make_disk(path, 64)
    run("sh", "-c", f"printf 'start=2048, name=root\\n' | sfdisk -q --label=gpt '{path}'")
    run("mkfs.ext4", "-q", "-F", "-L", "ledger", "-E", "offset=1048576", path, "62M")
    with open(path, "r+b") as file:
        file.truncate(mib * MIB)


def content(path):
    with open(path, "rb") as file:
        return file.read()


class Rescue(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.maker = programs() / "blxrep-rescue-image"
        cls.kernel = guest.Kernel("6.1")
        temporary = tempfile.TemporaryDirectory(prefix="blxrep-rescue-", dir=guest.cache())
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = temporary.name
        cls.pxe, cls.iso = os.path.join(cls.folder, "pxe"), os.path.join(cls.folder, "rescue.iso")
        cls.said = cls.make(cls.pxe, cls.iso)

    @classmethod
    def make(cls, pxe, iso):
        return run(cls.maker, f"--pxe={pxe}", f"--output={iso}", "--dispatcher-addr=10.0.2.2:8080", f"--kernel-dir={cls.kernel.folder}")

    def path(self, name):
        return os.path.join(self.folder, name)

    def boot(self, name, disks, *words):
        started = guest.Guest(self.path(f"{name}.console"), disks, *words, "-netdev", "user,id=n,restrict=on", "-device", "virtio-net-pci,netdev=n")
        self.addCleanup(started.crash)
        return started

    def boot_directly(self, name, disks, more="", initrd=None):
        """As a network card does: kernel and initrd, and words for the kernel."""
        line = f"{content(os.path.join(self.pxe, 'cmdline')).decode().strip()} {EMULATED} {more}"
        return self.boot(name, disks, "-kernel", f"{self.pxe}/vmlinuz", "-initrd", initrd or f"{self.pxe}/initrd.img", "-append", line)

    def test_the_image_is_small_and_the_same_each_time(self):
        again = self.path("again")
        os.mkdir(again)
        self.make(os.path.join(again, "pxe"), os.path.join(again, "rescue.iso"))
        for name in ("pxe/vmlinuz", "pxe/initrd.img", "pxe/cmdline", "pxe/rescue.ipxe", "rescue.iso"):
            self.assertEqual(content(os.path.join(self.folder, name)), content(os.path.join(again, name)), name)
        self.assertLess(os.path.getsize(self.iso), 64 * MIB)
        self.assertNotIn("no driver", self.said)
        said = run("xorriso", "-indev", self.iso, "-report_el_torito", "plain")
        self.assertRegex(said, r"El Torito boot img :.*BIOS")
        self.assertRegex(said, r"El Torito boot img :.*UEFI")

    def test_what_is_missing_is_named(self):
        empty = self.path("no-kernel")
        os.mkdir(empty)
        with self.assertRaisesRegex(Failure, r"there is no kernel with modules in .*--kernel-package="):
            run(self.maker, f"--pxe={empty}", f"--kernel-dir={empty}")
        with self.assertRaisesRegex(Failure, "missing --output"):
            run(self.maker)
        with self.assertRaisesRegex(Failure, r"is a folder: --output wants a file"):
            run(self.maker, f"--output={empty}")

    def answer_up_to_the_disk(self, machine):
        machine.answer(r"Dispatcher \(HOST:PORT\) \[10.0.2.2:8080\]: $", "", 600)
        machine.answer(r"Token: $", TOKEN, 30)

    def test_the_questions_lead_to_the_disk(self):
        """Nothing is written before the disk's name was typed; then the restore begins. In the shell the disk's table is put right."""
        disk = self.path("disk")
        make_old_disk(disk, 96)
        before = content(disk)
        machine = self.boot_directly("questions", [("virtio", disk)])
        machine.wait_line(r"Network: eth0: 10\.0\.2\.15/24 by DHCP", 600)
        self.answer_up_to_the_disk(machine)
        machine.wait_line(r"^vda +96\.0 MiB .*blxrep0 +a gpt partition table", 30)
        machine.wait_line(r"^  vda1 +62\.\d MiB .*ext4 'ledger'", 30)
        machine.answer(r"Disk to restore to: $", "vdx", 30)
        machine.wait_line("There is no disk 'vdx'", 30)
        machine.answer(r"Disk to restore to: $", "/dev/vda", 30)
        machine.answer(r"if the token is for several \[the only one\]: $", "", 30)
        machine.answer(r"encrypted \(y or n\) \[n\]: $", "", 30)
        machine.answer(r"Type the disk's name to go on: $", "vdb", 30)
        machine.wait_line("'vdb' is not 'vda': nothing was written", 30)
        self.assertEqual(content(disk), before)

        self.answer_up_to_the_disk(machine)
        machine.answer(r"Disk to restore to: $", "vda", 30)
        machine.answer(r"the only one\]: $", "", 30)
        machine.answer(r"encrypted \(y or n\) \[n\]: $", "", 30)
        machine.answer(r"Type the disk's name to go on: $", "vda", 30)
        machine.wait_line(r"^blxrep agent restore --dispatcher-addr=10.0.2.2:8080 --token-file=\S+ --output=/dev/vda --force", 30)
        machine.wait_line("The restore did not finish", 60)
        machine.answer(r"What now \[1\]: $", "2", 30)
        machine.answer(SHELL, "cat /run/rescue/token.ttyS0", 60)
        machine.wait_line(f"^{TOKEN}$", 30)
        machine.answer(SHELL, "blxrep agent move-gpt --output=/dev/vda", 60)
        machine.wait_line(r"moved the second copy of the GPT to the end of '/dev/vda': partitions can grow", 30)
        machine.wait_line(r"^by 32\.0 MiB$", 30)  # it is broken at the console's width
        machine.answer(SHELL, "exit", 60)
        machine.answer(r"What now \[1\]: $", "5", 30)
        machine.wait_end(60)
        self.assertIn("No errors detected", run("sfdisk", "--verify", disk))
        self.assertEqual(content(disk)[MIB:63 * MIB], before[MIB:63 * MIB])

    def test_static_addresses_and_words_of_the_command_line(self):
        disk = guest.make_disk(self.path("static"), 32)
        machine = self.boot_directly("static", [("nvme", disk)], "ip=10.0.2.99::10.0.2.2:255.255.255.0:web1::off:10.0.2.3: blxrep.output=/dev/nvme0n1 "
                            f"blxrep.token={TOKEN} blxrep.unattended")
        machine.wait_line(r"Network: eth0: 10\.0\.2\.99/24, as it was told", 600)
        machine.wait_line(r"^blxrep agent restore --dispatcher-addr=10.0.2.2:8080 .*--output=/dev/nvme0n1", 60)
        # It cannot end well: nobody listens. Then somebody must answer.
        machine.answer(r"What now \[1\]: $", "2", 120)
        machine.answer(SHELL, "ip route; cat /etc/resolv.conf", 60)
        machine.wait_line("^default via 10.0.2.2 dev eth0", 30)
        machine.wait_line("^nameserver 10.0.2.3", 30)

    def test_takeover(self):
        """The rescue system takes over from itself, whose initrd has another one in it. The address is carried over."""
        extra = self.path("extra")
        shutil.copytree(self.pxe, f"{extra}/payload")
        line = content(f"{extra}/payload/cmdline").decode().strip()
        with open(f"{extra}/payload/cmdline", "w", encoding="ascii") as file:
            file.write(f"{line} {EMULATED}\n")
        # The kernel looks for a second archive after zeroes.
        run("sh", "-c", f"cp '{self.pxe}/initrd.img' '{extra}.img' && truncate -s %512 '{extra}.img' && find . | cpio --quiet -o -H newc >>'{extra}.img'", cwd=extra)
        machine = self.boot_directly("takeover", [], initrd=f"{extra}.img")
        machine.answer(r"Dispatcher \(HOST:PORT\)", "!", 600)
        machine.answer(SHELL, "ip link set eth0 down; ip link set eth0 name lan7; ip link set lan7 up; ip route add default via 10.0.2.2 dev lan7", 60)
        machine.answer(SHELL, "blxrep agent takeover --rescue=/payload --dispatcher-addr=10.9.8.7:1 --output=/dev/vdq --dry-run", 60)
        machine.wait_line(r"^console=ttyS0.* ip=10\.0\.2\.15::10\.0\.2\.2:255\.255\.255\.0:rescue::off:: BOOTIF=01-52-54-00-12-34-56 "
                          r"blxrep.dispatcher=10.9.8.7:1 blxrep.output=/dev/vdq$", 60)
        machine.answer(SHELL, "blxrep agent takeover --rescue=/payload --dispatcher-addr=10.9.8.7:1", 60)
        machine.answer(r"Type the machine's name to go on: $", "web1", 60)
        machine.wait_line("'web1' is not 'rescue': nothing was done", 60)
        machine.answer(SHELL, "blxrep agent takeover --rescue=/payload --dispatcher-addr=10.9.8.7:1 --yes", 60)
        machine.wait_line(r"Network: eth0: 10\.0\.2\.15/24, as it was told", 600)
        machine.answer(r"Dispatcher \(HOST:PORT\) \[10\.9\.8\.7:1\]: $", "", 60)

    def boots(self, name, *words):
        machine = self.boot(name, [], *words)
        machine.answer(r"Dispatcher \(HOST:PORT\) \[10.0.2.2:8080\]: $", "", 900)
        machine.wait_line(r"=== blxrep rescue system .*\(ttyS0\)", 1)
        machine.crash()

    def uefi(self, name):
        variables = self.path(f"{name}.vars")
        shutil.copy(f"{FIRMWARE}/OVMF_VARS.fd", variables)
        return ["-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE}/OVMF_CODE.fd", "-drive", f"if=pflash,format=raw,file={variables}"]

    def cd(self):
        return ["-cdrom", self.iso]

    def stick(self):
        return ["-drive", f"if=none,id=stick,file={self.iso},format=raw,readonly=on", "-device", "qemu-xhci",
                "-device", "usb-storage,drive=stick,bootindex=1"]

    def test_it_boots_by_bios_from_a_cd(self):
        self.boots("bios-cd", *self.cd())

    def test_it_boots_by_bios_from_a_usb_stick(self):
        self.boots("bios-stick", *self.stick())

    def test_it_boots_by_uefi_from_a_cd(self):
        self.boots("uefi-cd", *self.uefi("cd"), *self.cd())

    def test_it_boots_by_uefi_from_a_usb_stick(self):
        self.boots("uefi-stick", *self.uefi("stick"), *self.stick())


if __name__ == "__main__":
    unittest.main(verbosity=2)
