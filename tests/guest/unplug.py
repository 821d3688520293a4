# SPDX-License-Identifier: Apache-2.0
"""
Runs inside a guest: a disk is pulled out while its filesystem is written to and checkpoints follow each other, and comes back.

The guest's disks in the order in which test_kernels.py gives them: virtio, which stays; virtio, nvme and scsi, which go and come; one that is
plugged in later.
"""

import os
import pathlib
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

from case import Case, main  # noqa: E402
from checks import Image, check_equal  # noqa: E402
from devices import GuestDisk  # noqa: E402
from disks import PIN_ROOT  # noqa: E402
from registry import REGISTRY, run, wait_until  # noqa: E402
from workloads import Workload  # noqa: E402

AGENT = "server1"
BY_ID = "/dev/disk/by-id"
SERIALS = ("serial", "device/serial", "device/vpd_pg80")


def ask_host(request):
    """See hotplug.py."""
    print(f"\nhost: {request}", flush=True)


def serial(disk):
    """The serial number that the kernel gives for that folder of /sys/block; "" if the disk is just coming or going, or has none."""
    for file in SERIALS:
        try:
            return (disk / file).read_bytes().decode(errors="replace")
        except OSError:
            continue
    return ""


def kernel_name(number):
    """What the kernel calls the disk of that number now, or None."""
    names = [disk.name for disk in pathlib.Path("/sys/block").iterdir() if re.search(rf"blxrep{number}\b", serial(disk))]
    return names[0] if names else None


class HotDisk(GuestDisk):
    """Known by a link of its own, as udev would make it, whatever the kernel calls it."""

    def __init__(self, folder, number, bus):
        self.number = self.first = number
        self.bus = bus
        self.link = f"{BY_ID}/blxrep{number}"
        self.make_link()
        super().__init__(folder, self.link)

    def make_link(self):
        os.makedirs(BY_ID, exist_ok=True)
        wait_until(f"disk {self.number} has a node", lambda: os.path.exists(f"/dev/{kernel_name(self.number)}"), 60)
        os.symlink(f"/dev/{kernel_name(self.number)}", self.link)

    def pins(self):
        return super().pins() if os.path.exists(self.link) else []

    def unplug(self):
        """Returns what the kernel called it."""
        name = kernel_name(self.number)
        ask_host(f"unplug {self.number}")
        self.wait_gone(name)
        return name

    def wait_gone(self, name):
        wait_until(f"disk {self.number} is gone", lambda: not os.path.exists(f"/dev/{name}"), 60)
        os.unlink(self.link)

    def plug(self, number=None):
        """Or another disk in its place."""
        self.number = number or self.first
        ask_host(f"plug {self.number} {self.bus}")
        self.make_link()
        return kernel_name(self.number)

    def detach(self):
        """As it was before."""
        if self.number != self.first and kernel_name(self.number):
            self.unplug()
        if not kernel_name(self.first):
            self.plug()
        os.unlink(self.link)


class Unplug(Case):
    def setUp(self):
        super().setUp()
        run("dmesg", "-n", "1")  # the kernel logs much about what follows, and the console is needed to ask the host

    def begin(self, number, bus, *words, sync_freq="2s", devices=None):
        self.stays, self.goes = GuestDisk(self.folder, "/dev/vda"), HotDisk(self.folder, number, bus)
        self.files = [disk.make("ext4") for disk in (self.stays, self.goes)]
        self.start_dispatcher(sync_freq=sync_freq)
        self.agent = self.start_agent(AGENT, devices or [self.stays.path, self.goes.path], "--skip-free-space=no", *words)
        self.works = [self.work(files) for files in self.files]
        self.dispatcher.wait_checkpoints(AGENT, 1)

    def work(self, files):
        work = Workload(REGISTRY, self.folder, "scatter", files.path, seconds=900)
        work.wait_lines(10)
        return work

    def volumes(self, row):
        return sorted(volume["device"] for volume in row["volumes"])

    def both(self):
        return sorted(disk.path for disk in (self.stays, self.goes))

    def wait_row(self, volumes, count=1):
        """Waits for that many checkpoints in a row, from now on, of just these volumes; returns the last one."""
        before = len(self.show(AGENT))

        def found():
            rows = self.show(AGENT)[before:]
            same = [row for row in rows if self.volumes(row) == volumes]
            return same[-1] if len(same) >= count and rows[-1] == same[-1] else None
        return wait_until(f"{count} checkpoints of {volumes}", found, 120, interval=0.5)

    def pull_out(self):
        """Pulled out under load: the other disk stays protected, and the log says what happened."""
        before = len(self.agent.lines)
        name = self.goes.unplug()
        begun = time.monotonic()
        self.agent.wait_line(rf"'{self.goes.path}'.*NOT protected", start=before)
        told = time.monotonic() - begun
        row = self.wait_row([self.stays.path], 2)
        self.assertIn(f"without '{self.goes.path}'", row["note"])
        self.assertEqual(row["consistency"], "filesystem", row["note"])
        state = wait_until("it is not called protected", lambda: (lambda row: None if row["protected"] else row)(self.dispatcher.agent_state(AGENT)), 30)
        self.assertEqual(state["protection"], "damaged", state)
        self.assertIn(self.goes.path, state["why"])
        self.assertFalse(os.path.exists(f"{PIN_ROOT}/{name}"))
        lines = [line for line in self.agent.lines[before:] if self.goes.path in line and "checkpoint cut" not in line]
        print(f"{name} was pulled out: told after {told:.1f} s, in {len(lines)} lines; status: {state['why']}")
        print("".join(f"  {line}\n" for line in lines), end="")
        self.assertLess(len(lines), 8)
        self.works[1].close()

    def check_last_with_both(self):
        """No checkpoint has half of the disk, and the last one with it is what it was."""
        rows = self.show(AGENT)
        self.assertEqual([row["checkpoint"] for row in rows if row["damaged"]], [])
        row = [row for row in rows if self.volumes(row) == self.both()][-1]
        path = self.restore(AGENT, row["checkpoint"], self.path("last"), f"--device={self.goes.path}")
        with Image(REGISTRY, path) as image:
            image.check_ext4(replay=row["consistency"] != "filesystem")
        os.unlink(path)
        return row["checkpoint"]

    def put_back(self):
        """The same disk comes back, under another name if something has the old one open. It joins by itself, and the next checkpoint has all of it."""
        before = len(self.agent.lines)
        name = self.goes.plug()
        self.agent.wait_line(rf"'{self.goes.path}' is tracked", start=before)
        line = self.agent.wait_line(rf"'{self.goes.path}': full pass \(the last checkpoint does not have it\)", start=before)[1]
        self.files[1].umount(settled=False)
        self.files[1].mount()
        self.works[1] = self.work(self.files[1])
        self.wait_row(self.both())
        wait_until("it is protected", lambda: self.dispatcher.agent_state(AGENT)["protected"], 30)
        print(f"back as {name}: {line}")

    def check_equal_to_disks(self):
        """What the last checkpoint holds of both disks, when nobody writes to them any more."""
        for work, files in zip(self.works, self.files):
            work.stop()
            files.umount()
        stamp = self.checkpoint(AGENT)
        for disk in (self.stays, self.goes):
            image = self.restore(AGENT, stamp, self.path("image"), f"--device={disk.path}")
            check_equal(image, disk.copy(self.path("copy")))
            os.unlink(image)
        for number, files in enumerate(self.files):
            files.mount()
            self.works[number] = self.work(files)

    def stop_without(self):
        """The agent is stopped just then, and another process begins without the disk."""
        self.goes.unplug()
        begun = time.monotonic()
        self.agent.stop()
        print(f"stopped in {time.monotonic() - begun:.1f} s, without the disk")
        self.works[1].close()
        before = len(self.agent.lines)
        self.agent.start()
        self.agent.wait_line(rf"'{self.goes.path}'.*NOT protected", start=before)
        self.assertEqual(self.wait_row([self.stays.path])["consistency"], "filesystem")

    def prove(self, number, bus):
        self.begin(number, bus)
        self.pull_out()
        self.check_last_with_both()
        self.put_back()
        self.check_equal_to_disks()
        self.stop_without()
        self.put_back()
        self.check_equal_to_disks()

    def test_virtio(self):
        self.prove(1, "virtio")

    def test_nvme(self):
        self.prove(2, "nvme")

    def test_scsi(self):
        self.prove(3, "scsi")

    def test_back_before_the_next_checkpoint(self):
        """It need not be sent again: what was written meanwhile is found by comparing."""
        self.begin(1, "virtio", sync_freq="1h")
        self.checkpoint(AGENT)
        self.goes.unplug()
        self.agent.wait_line(rf"'{self.goes.path}'.*NOT protected")
        self.works[1].close()
        self.files[1].umount(settled=False)
        before = len(self.agent.lines)
        self.goes.plug()
        print(self.agent.wait_line(rf"'{self.goes.path}': rescan \(it was gone", start=before)[1])
        self.files[1].mount()
        self.works[1] = self.work(self.files[1])
        self.check_equal_to_disks()
        self.assertEqual(self.show(AGENT)[-1]["kind"], "incremental")

    def test_another_disk_in_its_place(self):
        """It begins a chain of its own; the first one's last checkpoint stays what it was."""
        self.begin(3, "scsi")
        self.pull_out()
        stamp = self.check_last_with_both()
        kept = self.restore(AGENT, stamp, self.path("kept"), f"--device={self.goes.path}")
        before = len(self.agent.lines)
        self.goes.plug(4)
        print(self.agent.wait_line(rf"'{self.goes.path}': full pass \(the disk '\S*blxrep3' was replaced by '\S*blxrep4'\)", start=before)[1])
        self.files[1].umount(settled=False)
        self.files[1] = self.goes.make("ext4")
        self.works[1] = self.work(self.files[1])
        self.wait_row(self.both())
        self.check_equal_to_disks()
        check_equal(self.restore(AGENT, stamp, self.path("again"), f"--device={self.goes.path}"), kept)

    def test_in_the_moments_of_a_cut(self):
        """The hook before the freeze asks for it: the disk goes during the freeze, or just before or after it."""
        order, pause = self.path("order"), self.path("pause")
        hook = f"if [ -e {order} ]; then rm {order}; echo; echo 'host: unplug 1'; sleep $(cat {pause}); fi >/dev/console"
        self.begin(1, "virtio", f"--pre-freeze={hook}", sync_freq="1h")
        for seconds in ("0", "0.1", "0.3", "1"):
            for path, text in ((pause, seconds), (order, "now")):
                pathlib.Path(path).write_text(text, encoding="ascii")
            name, begun = kernel_name(1), time.monotonic()
            done = self.cli.run("dispatcher", "checkpoint", f"--agent={AGENT}", f"--data-dir={self.data_dir}", check=False)
            print(f"pulled out {seconds} s before a freeze: \"{(done.stdout + done.stderr).strip()}\" in {time.monotonic() - begun:.1f} s")
            if done.returncode != 0:
                self.assertIn(f"'{self.goes.path}' is gone", done.stderr)
            self.goes.wait_gone(name)
            self.works[1].close()
            self.assertEqual([row["checkpoint"] for row in self.show(AGENT) if row["damaged"]], [])
            wait_until("one disk is left", lambda: self.dispatcher.agent_state(AGENT)["volumes"] == 1, 60)
            row = self.row(AGENT, self.checkpoint(AGENT))
            self.assertEqual((self.volumes(row), row["consistency"]), ([self.stays.path], "filesystem"), row["note"])
            self.goes.plug()
            wait_until("both are there", lambda: self.dispatcher.agent_state(AGENT)["volumes"] == 2, 60)
            self.files[1].umount(settled=False)
            self.files[1].mount()
            self.works[1] = self.work(self.files[1])
            self.checkpoint(AGENT)
        self.check_equal_to_disks()

    def test_one_that_a_pattern_stands_for(self):
        self.begin(1, "virtio", sync_freq="1h", devices=["/dev/vd*"])
        self.checkpoint(AGENT)
        self.goes.unplug()
        self.agent.wait_line("'/dev/vdb' has vanished: it is not protected any more; its checkpoints stay")
        self.works[1].close()
        self.files[1].umount(settled=False)
        before = len(self.agent.lines)
        row = self.row(AGENT, self.checkpoint(AGENT))
        self.assertEqual((self.volumes(row), row["consistency"]), ([self.stays.path], "filesystem"), row["note"])
        self.goes.plug()
        self.agent.wait_line("'/dev/vdb' is tracked", start=before)
        wait_until("both are there", lambda: self.dispatcher.agent_state(AGENT)["volumes"] == 2, 60)
        self.assertEqual(len(self.row(AGENT, self.checkpoint(AGENT))["volumes"]), 2)

    def test_scsi_disk_that_the_kernel_gives_up(self):
        """The device stays, but takes no request any more: nobody can write, read or open it."""
        self.begin(3, "scsi", sync_freq="1h")
        good = self.checkpoint(AGENT)
        kept = self.restore(AGENT, good, self.path("kept"), f"--device={self.goes.path}")
        state = pathlib.Path(f"/sys/block/{kernel_name(3)}/device/state")
        state.write_text("offline\n", encoding="ascii")
        self.works[0].wait_lines(len(self.works[0].lines()) + 10)
        row = self.row(AGENT, self.checkpoint(AGENT))
        print(f"with a disk that is offline: {row['consistency']}, damaged: {row['damaged']}, {row['note']}")
        self.assertTrue(row["damaged"])
        self.assertIn(f"of '{self.goes.path}' could not be read", row["note"])
        path = self.restore(AGENT, row["checkpoint"], self.path("other"), f"--device={self.stays.path}")
        with Image(REGISTRY, path) as image:
            image.check_ext4(replay=row["consistency"] != "filesystem")
        before = len(self.agent.lines)
        self.agent.stop()
        self.agent.start()
        print(self.agent.wait_line(rf"'{self.goes.path}'.*NOT protected", start=before)[1])
        self.dispatcher.wait_online(AGENT)
        row = self.row(AGENT, self.checkpoint(AGENT))
        self.assertEqual((self.volumes(row), row["damaged"]), ([self.stays.path], False))
        state.write_text("running\n", encoding="ascii")
        self.agent.wait_line(f"'{self.goes.path}' is tracked", start=before)
        wait_until("both are there", lambda: self.dispatcher.agent_state(AGENT)["volumes"] == 2, 60)
        self.works[1].close()
        self.files[1].umount(settled=False)
        self.files[1].mount()
        self.works[1] = self.work(self.files[1])
        self.check_equal_to_disks()
        check_equal(self.restore(AGENT, good, self.path("again"), f"--device={self.goes.path}"), kept)


if __name__ == "__main__":
    main(1600)
