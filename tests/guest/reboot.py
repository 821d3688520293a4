# SPDX-License-Identifier: Apache-2.0
"""
Planned reboots of a guest that is protected and writes until the end, with the dispatcher outside: after each, the first checkpoint is compared
with the disks, block by block. Then, by choice, what must end in a comparison. Prints each boot with its figures.

    reboot.py [--boots=N] [--bus=virtio|nvme|scsi] [--fs=ext4|xfs] [--layout=partition|dm] [--kernel=6.1|6.12] [FAILURE...]

Failures: rescue (another system writes one sector), power (the power is cut in the save), rw (the initramfs mounts the root writable), uncounted
(the kernel does not count), poweroff, crash (no shutdown at all), used (a save is put back and used again).

The guest has no systemd: its init does what unit and hook do in a server.
"""

import argparse
import os
import random
import re
import shutil
import sys
import time
import unittest

import guest

sys.path.insert(0, os.path.join(os.path.dirname(guest.HERE), "e2e"))

from case import Case  # noqa: E402
from checks import different_blocks  # noqa: E402
from programs import bin_folder  # noqa: E402
from registry import REGISTRY, run  # noqa: E402

MODULES = ["virtio_pci", "virtio_net", "virtio_rng"]
MODULES_OF = {"virtio": ["virtio_blk"], "scsi": ["virtio_scsi", "sd_mod"], "nvme": ["nvme"]}
NAMES = {"virtio": ("vda", "vdb", "{}1"), "scsi": ("sda", "sdb", "{}1"), "nvme": ("nvme0n1", "nvme1n1", "{}p1")}
ROOT_MIB, DATA_MIB = {"ext4": 96, "xfs": 320}, {"ext4": 64, "xfs": 304}
FIRST_SECTOR = 2048
RESCUE_SECTOR = 100000
WAIT_S = 900  # all is emulated, and others may want the machine
KEPT = "tracking kept over the reboot"

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /run /tmp /root /data
mount -t tmpfs run /run
mount -t bpf bpf /sys/fs/bpf
for module in /modules/*.ko; do insmod "$module" 2>/dev/null; done
n=0
while ! [ -e /dev/{part} ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
stty -echo
word() {{ sed -n "s/.*blxrep\\.$1=\\([^ ]*\\).*/\\1/p" /proc/cmdline; }}
how=$(word how) root=/dev/{part} run="--save-file=/root/var/lib/blxrep-agent/reboot.save --run-dir=/run/blxrep"
if [ "$how" = rescue ]; then
    dd if=/dev/urandom of=/dev/{disk} bs=512 seek={sector} count=1 conv=notrunc,fsync 2>/dev/null
    echo "a sector is written"
    poweroff -f
fi
if [ {layout} = dm ]; then
    dmsetup create -u LVM-guest root --table "0 $(cat /sys/class/block/{part}/size) linear /dev/{part} 0"
    dmsetup mknodes
    root=/dev/mapper/root
fi
[ "$how" = uncounted ] && echo 0 >/sys/block/{disk}/queue/iostats
mode=ro
[ "$how" = rw ] && mode=rw
mount -t {fs} -o $mode $root /root
[ "$how" = rw ] && date >/root/early && sync
blxrep agent arm $run
mount -o remount,rw /root
mount -t {fs} /dev/{data} /data
mkdir -p /root/var/lib
blxrep agent arm $run >/dev/null 2>&1
date >/root/early
date >/data/early
ifconfig lo 127.0.0.1
ifconfig eth0 10.0.2.15
writer() {{
    n=0
    while [ -e /run/writing ]; do
        for folder in /root /data; do
            dd if=/dev/urandom of=$folder/file-$((n % 7)) bs=1k count=$((n % 40 + 1)) 2>/dev/null
            dd if=/dev/urandom of=$folder/base bs=4k count=1 seek=$((n * 37 % 400)) conv=notrunc 2>/dev/null
        done
        [ $((n % 5)) -ne 0 ] || sync
        n=$((n + 1))
    done
}}
loud() {{ mount -o remount,rw /root; mount -o remount,rw /data; touch /run/writing; writer & writer=$!; }}
hush() {{ rm -f /run/writing; wait $writer; sync; }}
quiet() {{ hush; mount -o remount,ro /data; mount -o remount,ro /root; }}
down() {{
    kill $agent; wait $agent
    sleep 0.5
    hush; umount /data; mount -o remount,ro /root
    echo; echo "everything is read-only"
    blxrep agent save $run --shutdown=$1
    sync
    echo; echo "down by $1"
    reboot -f
}}
blxrep-agent --id=web1 --dispatcher-addr=10.0.2.2:{port} --credentials=/web1.pem --device=/dev/{disk} --device=/dev/{data} \
    --run-dir=/run/blxrep --skip-free-space=no >/dev/console 2>&1 & agent=$!
loud
echo "the guest is up"
while read -r line; do eval "$line"; done
"""


def plural(count, noun):
    return f"{count} {noun}{'' if count == 1 else 's'}"


class Reboots(Case):
    def setUp(self):
        super().setUp()
        self.kernel = guest.Kernel(CHOSEN.kernel)
        self.disk, self.data, part = NAMES[CHOSEN.bus]
        self.part = part.format(self.disk)
        self.start_dispatcher()
        self.initrd = self.make_initrd()
        self.disks = [self.path("root.disk"), self.path("data.disk")]
        self.make_disks()
        self.machine = None
        self.serials = None
        self.boots = self.kept = self.stale = 0
        self.slowest_s = 0

    def make_disks(self):
        for path, mib in zip(self.disks, (ROOT_MIB[CHOSEN.fs], DATA_MIB[CHOSEN.fs])):
            guest.make_disk(path, mib + 2)
        run("sh", "-c", f"echo 'start={FIRST_SECTOR}, type=83' | sfdisk -q --label=dos '{self.disks[0]}'")
        for path, first in zip(self.disks, (FIRST_SECTOR, 0)):
            part = path + ".part"
            size = os.path.getsize(path) - first * 512
            guest.make_disk(part, size // guest.MIB)
            run(*(["mkfs.xfs", "-q"] if CHOSEN.fs == "xfs" else ["mke2fs", "-q", "-F", "-t", "ext4"]), part)
            run("dd", f"if={part}", f"of={path}", "bs=512", f"seek={first}", "conv=notrunc,sparse")
            os.unlink(part)

    def make_initrd(self):
        """busybox, the programs and their libraries, and the modules."""
        root = self.path("root")
        for folder in ("bin", "modules", "proc", "sys", "dev", "lib64"):
            os.makedirs(f"{root}/{folder}")
        shutil.copy("/bin/busybox", f"{root}/bin/")
        programs = [os.path.abspath(os.path.join(bin_folder(), name)) for name in ("blxrep", "blxrep-agent", "blxrep-reboot")]
        for program in [*programs, shutil.which("dmsetup")]:
            os.makedirs(root + os.path.dirname(program), exist_ok=True)
            shutil.copy(program, root + program)
            if program in programs:
                os.symlink(program, f"{root}/bin/{os.path.basename(program)}")
            else:
                shutil.copy(program, f"{root}/bin/")
            for path in re.findall(r"(/\S+) \(0x", guest.run("ldd", program)):
                os.makedirs(root + os.path.dirname(path), exist_ok=True)
                shutil.copy(path, root + path)
        shutil.copy(self.enroll("web1"), f"{root}/web1.pem")
        self.kernel.copy_modules([*MODULES, *MODULES_OF[CHOSEN.bus], CHOSEN.fs, *(["dm_mod"] if CHOSEN.layout == "dm" else [])], f"{root}/modules")
        guest_init = INIT.format(disk=self.disk, data=self.data, part=self.part, layout=CHOSEN.layout, fs=CHOSEN.fs, port=self.dispatcher.port,
                                 sector=RESCUE_SECTOR)
        with open(f"{root}/init", "w", encoding="ascii") as file:
            file.write(guest_init)
        os.chmod(f"{root}/init", 0o755)
        # Not packed, and without symbols: an emulated processor takes long to unpack.
        guest.run("sh", "-c", "find . -type f -size +64k -exec strip -g {} + 2>/dev/null || true", cwd=root)
        target = self.path("initrd")
        guest.run("sh", "-c", f"find . | cpio --quiet -o -H newc >'{target}'", cwd=root)
        return target

    def boot(self, how="normal"):
        self.boots += 1
        log = self.path(f"boot-{self.boots}.log")
        self.machine = guest.Guest(log, [(CHOSEN.bus, disk) for disk in self.disks], "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n",
                                   "-kernel", self.kernel.image, "-initrd", self.initrd, "-append",
                                   f"console=ttyS0 quiet panic=-1 no_timer_check blxrep.how={how}")
        REGISTRY.add(Running(self.machine))

    def shell(self, line, done, seconds=WAIT_S):
        """The agent's log comes between the prompts, so none is waited for."""
        self.machine.process.stdin.write(f"{line}\r".encode())
        self.machine.process.stdin.flush()
        return self.machine.wait_line(done, seconds)

    def said(self, pattern):
        return [line for line in self.machine.lines if re.search(pattern, line)]

    def come_up(self):
        """Until the first checkpoint, as soon as the agent is there; it and a later one, of a disk that is quiet, are looked at."""
        self.machine.wait_line("the guest is up", WAIT_S)
        self.machine.wait_line("connected to the dispatcher", WAIT_S)
        begun = time.monotonic()
        self.cli.checkpoint("web1", self.data_dir, timeout=WAIT_S)
        first_s = time.monotonic() - begun
        self.shell("quiet; echo; echo all is quiet", "^all is quiet")
        stale = self.count_stale(self.whole_checkpoint())
        self.shell("loud; echo; echo all is loud", "^all is loud")
        kept = len(self.said(rf"^(?:notice: )?'/dev/\S+': {KEPT}"))
        marked = [line.split("resumed, ")[1].split(" are")[0] for line in self.said("resumed, ")]
        compared = [line.split("rescan done: ")[1] for line in self.said("rescan done")]
        self.stale += stale
        print(f"boot {self.boots}: {kept} of 2 disks kept; marked {marked}, compared {compared}; first checkpoint in {first_s:.1f} s after the "
              f"connection; {plural(stale, 'stale block')}", flush=True)
        self.assertEqual(stale, 0)
        return kept, first_s

    def whole_checkpoint(self):
        """One with both disks: while a pass is under way the others go on without its disk."""
        while True:
            stamp = self.cli.checkpoint("web1", self.data_dir, timeout=WAIT_S)
            if len(self.row("web1", stamp)["volumes"]) == 2:
                return stamp
            time.sleep(1)

    def count_stale(self, stamp):
        target = self.path("restored")
        os.makedirs(target)
        self.cli.restore("web1", self.data_dir, stamp, f"--output={target}", timeout=WAIT_S)
        count = 0
        for name, disk in zip((self.disk, self.data), self.disks):
            image, = [f"{target}/{file}" for file in os.listdir(target) if name in file]
            count += len(different_blocks(image, disk))
        shutil.rmtree(target)
        return count

    def go_down(self, verb="reboot"):
        self.shell(f"down {verb}", f"^down by {verb}")
        self.machine.wait_end(WAIT_S)

    def reason(self):
        lines = self.said("rescan \\(|full pass \\(")
        return "; ".join(sorted({re.sub(r"^.*?'/dev/\S+': ", "", line) for line in lines}))

    def test_reboots(self):
        self.boot()
        self.come_up()
        for _ in range(CHOSEN.boots):
            self.go_down()
            self.boot()
            kept, first_s = self.come_up()
            self.kept += kept == 2
            self.slowest_s = max(self.slowest_s, first_s if kept == 2 else 0)
            if kept < 2:
                print(f"  {self.reason()}", flush=True)
        print(f"{plural(CHOSEN.boots, 'reboot')} ({CHOSEN.bus}, {CHOSEN.fs}, {CHOSEN.layout}): kept in {self.kept}, {self.stale} stale blocks, "
              f"first checkpoint in {self.slowest_s:.1f} s at most", flush=True)
        for failure in CHOSEN.failures:
            getattr(self, f"fail_{failure}")()
            kept, _ = self.come_up()
            self.assertLess(kept, 2, failure)
            print(f"{failure}: {self.reason()}", flush=True)
        # Whatever came, the next planned reboot is kept again, if it takes no longer than before.
        if CHOSEN.failures:
            self.go_down()
            self.boot()
            kept, _ = self.come_up()
            print(f"afterwards: {KEPT if kept == 2 else self.reason()}", flush=True)

    def fail_rescue(self):
        self.go_down()
        self.boot("rescue")
        self.machine.wait_end(WAIT_S)
        self.boot()

    def fail_power(self):
        self.shell("down reboot", "^everything is read-only")
        time.sleep(random.uniform(0, 0.3))
        self.machine.crash()
        self.boot()

    def fail_rw(self):
        self.go_down()
        self.boot("rw")

    def fail_uncounted(self):
        self.go_down()
        self.boot("uncounted")

    def fail_poweroff(self):
        self.go_down("poweroff")
        self.boot()

    def fail_crash(self):
        self.machine.crash()
        self.boot()

    def fail_used(self):
        """Both disks are set back to the end of the shutdown, after the dispatcher has got more from them."""
        self.go_down()
        for disk in self.disks:
            run("cp", "--sparse=always", disk, disk + ".old")
        self.boot()
        self.come_up()
        self.machine.crash()
        for disk in self.disks:
            os.rename(disk + ".old", disk)
        self.boot()


class Running:
    """A guest of the registry's."""

    def __init__(self, machine):
        self.machine = machine

    def __str__(self):
        return "the guest"

    def log(self):
        return self.machine.tail(80)

    def halt(self):
        if self.machine.process.poll() is None:
            self.machine.process.kill()

    def close(self):
        if not self.machine.process.stdin.closed:
            self.machine.crash()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="planned reboots of a guest", allow_abbrev=False)
    parser.add_argument("--boots", type=int, default=3)
    parser.add_argument("--bus", choices=NAMES, default="virtio")
    parser.add_argument("--fs", choices=ROOT_MIB, default="ext4")
    parser.add_argument("--layout", choices=("partition", "dm"), default="partition")
    parser.add_argument("--kernel", default="6.1")
    parser.add_argument("failures", nargs="*", choices=["rescue", "power", "rw", "uncounted", "poweroff", "crash", "used", []])
    CHOSEN = parser.parse_args()
    unittest.main(argv=sys.argv[:1], verbosity=2)
