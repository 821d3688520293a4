# SPDX-License-Identifier: Apache-2.0
"""
By hand: a Debian server with a database is lost while it commits, boots from the store, and has every row that its database had acknowledged.
Then its time to boot is compared, in turns, with that from the raw file, and with a FUSE mount's in place of nbdkit. Prints each proof with its
figure.

    BLXREP_BIN=build-release/bin tests/guest/boot_server.py [ROUNDS]

All are emulated by the same QEMU with the same machine. On a machine that has other things to do the CPU's seconds tell more than the clock's.
"""

import os
import re
import subprocess
import sys
import time

import guest
import server
from guest import run
from test_boot import Booted

sys.path.insert(0, os.path.join(os.path.dirname(guest.HERE), "e2e"))

from case import Case, main  # noqa: E402
from registry import wait_until  # noqa: E402

SECONDS = 1800
ACKNOWLEDGED = 50
WITHOUT_NETWORK = "systemd-networkd-wait-online.service,"
PROOF = """[Unit]
After=multi-user.target ledger.service
[Service]
Type=oneshot
StandardOutput=tty
TTYPath=/dev/ttyS0
ExecStart=/bin/sh -c 'sqlite3 /srv/ledger.db "select \\'proof: rows \\' || count(*) || \\' highest \\' || max(number) from entry" ; \\
    echo "proof: $(sqlite3 /srv/ledger.db "pragma integrity_check") root $(findmnt -no SOURCE /) failed $(systemctl --failed --plain --no-legend | cut -d" " -f1 | tr "\\n" ,)."'
[Install]
WantedBy=default.target
"""
SAID = r"proof: rows (\d+) highest (\d+)\s+proof: (\w+) root (\S+) failed (\S*)\."


def say(what):
    print(f"proof: {what}", flush=True)


def put_proof(disk):
    """Into its filesystem, which nobody has mounted."""
    unit = disk + ".proof"
    with open(unit, "w", encoding="ascii") as file:
        file.write(PROOF)
    folder = "/etc/systemd/system"
    commands = (f"write {unit} {folder}/proof.service\nmkdir {folder}/default.target.wants\n"
                f"symlink {folder}/default.target.wants/proof.service {folder}/proof.service\n")
    run("debugfs", "-w", "-f", "-", f"{disk}?offset={server.FIRST_SECTOR * 512}", input=commands)


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


class BootServer(Case):
    def test_a_server_boots_from_the_store(self):
        packages = self.path("packages")
        os.mkdir(packages)
        raw = server.make_server(self.path("web1.disk"), packages)
        put_proof(raw)
        living = server.Server(self.folder, "web1", [("virtio", raw)])
        try:
            wait_until("QEMU has opened its ports", lambda: os.path.exists(living.acks))
            living.wait_acknowledged(ACKNOWLEDGED, SECONDS)
        finally:
            living.crash()
        acknowledged = living.acknowledged()
        disk = self.loop_disk(server.DISK_MIB)
        run("dd", f"if={raw}", f"of={disk.path}", "bs=4M", "conv=sparse,notrunc")
        self.start_dispatcher()
        agent = self.start_agent("web1", disk, "--skip-free-space=no")
        self.checkpoint("web1")
        agent.stop()
        self.check_rows(acknowledged)
        ways = {"raw": lambda: self.time_raw(raw), "store": self.time_store, "mount": self.time_mount}
        rounds = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, measure in ways.items():
                rounds[way].append(measure())
        for way, figures in rounds.items():
            say(f"{way}: " + ", ".join(f"{wall:.1f} s ({cpu:.1f} s of CPU)" for wall, cpu in figures))
        for way in ("store", "mount"):
            wall, cpu = (sorted(theirs[n] / own[n] for theirs, own in zip(rounds[way], rounds["raw"]))[ROUNDS // 2] for n in (0, 1))
            say(f"{way} to raw, median of {ROUNDS} pairs: {wall:.3f} of the time, {cpu:.3f} of the CPU's seconds")

    def boot(self):
        return Booted("--agent=web1", "--checkpoint=latest", f"--data-dir={self.data_dir}", "--memory=1G", "--accelerator=none")

    def check_rows(self, acknowledged):
        booted = self.boot()
        rows, highest, sound, root, failed = booted.wait(SAID, SECONDS).groups()
        booted.type("\x1dq")
        booted.wait_end(0)
        self.assertEqual((rows, sound), (highest, "ok"))
        self.assertIn(failed, ("", WITHOUT_NETWORK))
        self.assertGreaterEqual(int(rows), acknowledged)
        say(f"lost while it committed, it boots from the store on {root}, with all {acknowledged} acknowledged rows: 1 to {highest} without a gap, "
            f"the database is sound, units that failed: {failed or 'none'}")

    def time_store(self):
        begun = time.monotonic()
        booted = self.boot()
        booted.wait(SAID, SECONDS)
        taken = time.monotonic() - begun, cpu_seconds(pid for name, pid in booted.children().items() if name != "blxrep-terminal")
        booted.type("\x1dq")
        booted.wait_end(0)
        return taken

    def time_raw(self, image, more=()):
        """The machine that `boot` makes, from a file that is not changed."""
        begun = time.monotonic()
        with subprocess.Popen(["nice", "-n", "0", "qemu-system-x86_64", "-no-user-config", "-nodefaults", "-machine", "q35,graphics=off", "-accel",
                               "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", "1024M", "-serial", "stdio", "-device", "VGA", "-display", "none",
                               "-device", "virtio-rng-pci", "-nic", "none", "-snapshot", "-blockdev",
                               f"driver=file,node-name=file0,filename={image}", "-blockdev",
                               f"driver=qcow2,node-name=disk0,file.driver=file,file.filename={self.layer()},backing=file0", "-device",
                               "virtio-blk-pci,drive=disk0,bootindex=0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as machine:
            said = ""
            while not re.search(SAID, said):
                data = os.read(machine.stdout.fileno(), 65536)
                if not data:
                    self.fail(f"QEMU has ended: {said[-2000:]}")
                said += data.decode(errors="replace")
            taken = time.monotonic() - begun, cpu_seconds([machine.pid, *more])
            machine.kill()
        return taken

    def layer(self):
        """What is written goes there."""
        path = self.path("layer.qcow2")
        run("qemu-img", "create", "-q", "-f", "qcow2", path, f"{server.DISK_MIB}M")
        return path

    def time_mount(self):
        point = self.path("mount")
        os.makedirs(point, exist_ok=True)
        with subprocess.Popen([os.path.join(os.environ["BLXREP_BIN"], "blxrep-mount"), "--foreground", "--agent=web1", "--checkpoint=latest",
                               f"--data-dir={self.data_dir}", point]) as mount:
            while not os.path.ismount(point) or not os.listdir(point):
                time.sleep(0.05)
            stamp = self.show("web1")[-1]
            taken = self.time_raw(f"{point}/{stamp['checkpoint']}/{stamp['volumes'][0]['device'].rsplit('/', 1)[1]}.img", [mount.pid])
            mount.terminate()
        return taken


if __name__ == "__main__":
    ROUNDS = int(sys.argv.pop(1)) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 3
    main(4 * SECONDS)
