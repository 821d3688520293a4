# SPDX-License-Identifier: Apache-2.0
"""
The tracking is kept over a planned reboot, or the disks are compared, with the reason. Two loop devices are a root disk and a data disk;
a "boot" takes them away and makes them again, with counters of their own that begin at zero, and the trackers, the run directory and the
boot's ID are others.
"""

import fcntl
import json
import os
import shutil
import time
import uuid

from case import Case, main
from checks import check_equal
from disks import MIB, Disk
from programs import SANITIZER_REPORT, Clock, environment
from registry import REGISTRY, Failure, run, wait_until
from workloads import fill

LOOP_CTL_ADD, LOOP_CTL_REMOVE = 0x4C80, 0x4C81
KEPT = "tracking kept over the reboot"
# From the save to the next kernel's start, as the clocks tell it, which count in whole seconds. No reboot is known to take less.
REBOOT_S = 1
LONG_S = 60  # time enough for another system


def loop_control(request, number):
    fd = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        return fcntl.ioctl(fd, request, number)
    finally:
        os.close(fd)


class BootDisk(Disk):
    """A loop device that can be made again under its name, so that the kernel counts from zero."""

    def __init__(self, registry, folder, number, mib, name):
        self.number = number
        self.file = os.path.join(folder, f"{name}.loop")
        with open(self.file, "wb") as file:
            file.truncate(mib * MIB)
        self.attach()
        super().__init__(registry, folder, f"/dev/loop{number}", mib * MIB)

    def attach(self):
        loop_control(LOOP_CTL_ADD, self.number)
        wait_until("the loop device's node", lambda: os.path.exists(f"/dev/loop{self.number}"), 10)
        run("losetup", f"/dev/loop{self.number}", self.file)

    def take_away(self):
        def removed():
            try:
                loop_control(LOOP_CTL_REMOVE, self.number)
            except OSError:
                return False
            return True
        run("losetup", "-d", self.path)
        wait_until(f"{self} goes", removed, 20)

    def detach(self):
        self.take_away()
        os.unlink(self.file)


class Reboot(Case):
    def setUp(self):
        super().setUp()
        number = 300 + os.getpid() % 100000 * 2
        self.root = BootDisk(REGISTRY, self.folder, number, 64, "root")
        self.data = BootDisk(REGISTRY, self.folder, number + 1, 32, "data")
        self.root_files = self.root.make("ext4")
        self.data_files = self.data.make("ext4")
        self.save_file = f"{self.root_files.path}/var/lib/blxrep-agent/reboot.save"
        self.clock = Clock(self.folder)
        self.new_boot_id()
        self.start_dispatcher()
        self.reboot_program("arm")  # makes the file
        fill(self.root_files.path + "/first", 4)
        fill(self.data_files.path + "/first", 4)
        self.agent = self.start_agent("server1", [self.root, self.data], "--skip-free-space=no")
        self.checkpoint("server1")

    def take_away(self):
        for disk in (self.root, self.data):
            disk.take_away()
            disk.forget_tracking()

    def new_boot_id(self):
        with open(self.path("boot_id"), "w", encoding="ascii") as file:
            file.write(f"{uuid.uuid4()}\n")

    def reboot_program(self, command, *words):
        """`blxrep agent save` and `arm`, in a kernel that has that boot's ID and that clock."""
        script = 'mount --bind "$1" /proc/sys/kernel/random/boot_id && shift && exec "$@"'
        done = run("unshare", "-m", "--propagation", "slave", "sh", "-c", script, "sh", self.path("boot_id"), self.cli.program, "agent", command,
                   f"--save-file={self.save_file}", f"--run-dir={self.path('run-server1')}", *words, check=False, timeout=60,
                   env=environment(self.clock.environment()))
        if done.returncode != 0 or SANITIZER_REPORT.search(done.stderr):
            raise Failure(f"{command} ended with {done.returncode}:\n{done.stderr}")
        return done.stderr

    def shut_down(self, verb="reboot", kill=False, writable=False):
        """Writes until the end, as the last services do. `writable`: something keeps the filesystems from being made read-only."""
        for files in (self.root_files, self.data_files):
            fill(f"{files.path}/last-{uuid.uuid4()}", 1)
        if kill:
            self.agent.kill()
        else:
            self.agent.stop()
        for files in (self.root_files, self.data_files):
            fill(f"{files.path}/very-last", 1)
        if not writable:
            self.data_files.umount()
            run("mount", "-o", "remount,ro", self.root_files.path)
        said = self.reboot_program("save", f"--shutdown={verb}")
        self.saved = time.monotonic()
        if writable:
            fill(f"{self.data_files.path}/after-the-save", 1)
            self.data_files.umount()
        return said

    def power_cycle(self, away_s=REBOOT_S, between=None):
        """Both disks begin to be counted again. `between`: what another system does, of which neither kernel knows."""
        if self.root_files.mounted:
            self.root_files.umount()
        self.take_away()
        if between:
            for disk in (self.root, self.data):
                disk.attach()
            between()
            self.take_away()
        for disk in (self.root, self.data):
            disk.attach()
        shutil.rmtree(self.path("run-server1"))
        self.new_boot_id()
        # The kernel's start is now - CLOCK_BOOTTIME: the clock is set so that this is `away_s` after the save.
        self.clock.set(round(time.clock_gettime(time.CLOCK_BOOTTIME) + away_s - (time.monotonic() - self.saved)))

    def boot(self):
        self.root_files.mount("ro")
        said = self.reboot_program("arm")
        run("mount", "-o", "remount,rw", self.root_files.path)
        self.data_files.mount()
        for files in (self.root_files, self.data_files):
            fill(f"{files.path}/early", 1)
        self.clock.set(0)
        self.agent = self.start_agent("server1", [self.root, self.data], "--skip-free-space=no")
        return said

    def teach(self):
        """The first reboot tells how long one takes. It may be kept: some processors tell that of the one before."""
        self.shut_down()
        self.power_cycle()
        self.boot()
        self.checkpoint("server1")  # also a comparison goes on over a reboot: this one ends

    def check_checkpoint(self):
        """Both images are the disks: nothing is stale."""
        for files in (self.root_files, self.data_files):
            files.umount()
        stamp = self.checkpoint("server1")
        os.mkdir(self.path("restored"))
        self.cli.restore("server1", self.data_dir, stamp, f"--output={self.path('restored')}")
        for disk in (self.root, self.data):
            image, = [os.path.join(self.path("restored"), name) for name in os.listdir(self.path("restored")) if disk.name in name]
            check_equal(image, disk.copy(self.path("copy")))
        shutil.rmtree(self.path("restored"))
        for files in (self.root_files, self.data_files):
            files.mount()

    def check_compared(self, said, reason):
        """Every disk, with the reason in both logs and in `status`."""
        self.assertNotIn(f": {KEPT}", said)
        self.assertRegex(said, reason)
        for disk in (self.root, self.data):
            self.agent.wait_line(rf"'{disk.path}': rescan \(the tracking was not kept over the reboot: .*({reason})", 60)
        shown = self.cli.run("agent", "status", f"--run-dir={self.agent.run_dir}", "--json").stdout
        self.assertRegex(shown, reason)

    def test_kept_or_compared(self):
        self.teach()
        self.check_kept()
        # Each of these ends in a comparison, with its reason, and no block is stale.
        tries = [
            ("the machine went down by 'poweroff'", {"verb": "poweroff"}, {}, None),
            ("the agent did not end in order", {"kill": True}, {}, None),
            ("could not be made read-only", {"writable": True}, {}, None),
            (r"the machine was away for \d+ s", {}, {"away_s": LONG_S, "between": self.write_one_sector}, None),
            ("superblocks", {}, {"between": self.mount_for_a_moment}, None),
            ("torn or damaged", {}, {"between": self.tear_the_save}, None),
            ("sectors were written to it before|does not count what is written", {}, {}, self.write_or_count_nothing),
        ]
        for reason, down, cycle, late in tries:
            self.shut_down(**down)
            self.power_cycle(**cycle)
            if late:
                late()
            self.check_compared(self.boot(), reason)
            if cycle or late:
                self.check_checkpoint()
        # The shutdown makes no save, and the one before was used.
        self.agent.stop()
        for files in (self.root_files, self.data_files):
            files.umount()
        self.saved = time.monotonic()
        self.power_cycle()
        self.check_compared(self.boot(), "an earlier boot has used it")

    def check_kept(self):
        saved = self.shut_down()
        while "tracking of 2 of 2 volumes is saved" not in saved:
            # Some kernels leave out a run of the tracker now and then, as agent/track/witness.h tells.
            self.assertIn("without a run of the tracker", saved)
            self.power_cycle()
            self.boot()
            self.checkpoint("server1")
            saved = self.shut_down()
        self.power_cycle()
        said = self.boot()
        self.assertEqual(said.count(f": {KEPT}"), 2, said)
        for disk in (self.root, self.data):
            self.agent.wait_line(rf"'{disk.path}': resumed")
        self.check_checkpoint()
        self.assertNotIn("rescan", self.agent.log())
        shown = json.loads(self.cli.run("agent", "status", f"--run-dir={self.agent.run_dir}", "--json").stdout)
        self.assertEqual([disk["why"] for disk in shown["disks"]], [KEPT] * 2)

    def write_one_sector(self):
        """Where a file has its content: no superblock tells."""
        for disk in (self.root, self.data):
            with open(disk.path, "r+b", buffering=0) as raw:
                raw.seek(disk.size - MIB + 512 * 11)
                raw.write(os.urandom(512))
                os.fsync(raw.fileno())

    def mount_for_a_moment(self):
        for files in (self.root_files, self.data_files):
            files.mount()
            fill(f"{files.path}/other", 1)
            files.umount()

    def tear_the_save(self):
        """As if the power went while its body was written."""
        with open(self.root.file, "r+b") as disk:
            content = disk.read()
            head = content.index(b"BXLSAVE1")
            disk.seek(head + 8192 + 700)
            disk.write(b"torn")

    def write_or_count_nothing(self):
        """In the boot itself, before the tracker is there."""
        with open(f"/sys/block/{self.root.name}/queue/iostats", "w", encoding="ascii") as file:
            file.write("0")
        with open(self.data.path, "r+b", buffering=0) as raw:
            raw.seek(self.data.size - MIB)
            raw.write(os.urandom(4096))
            os.fsync(raw.fileno())


if __name__ == "__main__":
    main()
