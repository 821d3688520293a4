# SPDX-License-Identifier: Apache-2.0
"""
By hand: a Debian server is tested as it is, and then broken in seven ways, each of which a test has to find. Prints a line for each, with the record's
reason and the seconds.

    BLXREP_BIN=build-release/bin tests/guest/broken_boots.py [NAME ...]

The ways: init (/sbin/init is gone), initrd (cut short), fstab (a wrong UUID), loader (zeros in its place), root (the filesystem is damaged), service
(one fails), panic (a login prompt is printed by something else, then the kernel panics).
"""

import os
import subprocess
import sys

import guest
import server
from guest import run
from test_proof import Proof

sys.path.insert(0, os.path.join(os.path.dirname(guest.HERE), "e2e"))

from case import main  # noqa: E402

SECONDS = 4 * 3600
WITHIN = "10m"
UNITS = "/etc/systemd/system"
PANIC = """[Unit]
DefaultDependencies=no
After=local-fs.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'printf "\\\\nDebian GNU/Linux 12 web1 ttyS0\\\\n\\\\nweb1 login: " >/dev/ttyS0; sleep 1; echo c >/proc/sysrq-trigger'
"""
FAILS = """[Service]
Type=oneshot
ExecStart=/bin/false
"""


def offset_of(disk):
    return f"{disk.path}?offset={server.FIRST_SECTOR * 512}"


def debugfs(disk, *commands):
    run("debugfs", "-w", "-f", "-", offset_of(disk), input="\n".join(commands) + "\n")


def read(disk, path):
    return run("debugfs", "-R", f"cat {path}", offset_of(disk)).split("\n", 1)[1]


def put(case, disk, path, text):
    source = case.path("put")
    with open(source, "w", encoding="ascii") as file:
        file.write(text)
    debugfs(disk, f"rm {path}", f"write {source} {path}")


def put_unit(case, disk, name, text):
    put(case, disk, f"{UNITS}/{name}", text)
    debugfs(disk, f"mkdir {UNITS}/sysinit.target.wants", f"symlink {UNITS}/sysinit.target.wants/{name} ../{name}")


def cut_initrd(case, disk):
    target = run("debugfs", "-R", "stat /initrd.img", offset_of(disk)).split('Fast link dest: "')[1].split('"')[0]
    whole = case.path("initrd")
    run("debugfs", "-R", f"dump /{target} {whole}", offset_of(disk))
    os.truncate(whole, os.path.getsize(whole) // 3)
    debugfs(disk, f"rm /{target}", f"write {whole} /{target}")


def zero_loader(_case, disk):
    with open(disk.path, "r+b") as file:
        file.write(bytes(440))
        file.seek(512)
        file.write(bytes((server.FIRST_SECTOR - 1) * 512))


def damage_root(_case, disk):
    """Inodes of the first group, but not the superblock: it still mounts."""
    with open(disk.path, "r+b") as file:
        for block in range(600, 640):
            file.seek(server.FIRST_SECTOR * 512 + block * 4096)
            file.write(os.urandom(4096))


def mend(disk):
    """What debugfs leaves behind is not the way that is tried."""
    subprocess.run(["e2fsck", "-f", "-y", offset_of(disk)], stdout=subprocess.DEVNULL, check=False)
    run("e2fsck", "-f", "-n", offset_of(disk))


WAYS = {
    "init": lambda case, disk: debugfs(disk, "rm /sbin/init", "rm /usr/sbin/init"),
    "initrd": cut_initrd,
    "fstab": lambda case, disk: put(case, disk, "/etc/fstab", read(disk, "/etc/fstab") +
                                    "UUID=11111111-2222-3333-4444-555555555555 /srv ext4 defaults,x-systemd.device-timeout=20s 0 2\n"),
    "loader": zero_loader,
    "root": damage_root,
    "service": lambda case, disk: put_unit(case, disk, "broken.service", FAILS),
    "panic": lambda case, disk: put_unit(case, disk, "panic.service", PANIC),
}


class BrokenBoots(Proof):
    def words(self, agent_id, *more):
        return [word.replace("--memory=256M", "--memory=1G") for word in super().words(agent_id, *more)]

    def test_what_is_broken_is_never_called_good(self):
        packages = self.path("packages")
        os.mkdir(packages)
        raw = server.make_server(self.path("web1.disk"), packages)
        wanted = NAMES or ["good", *WAYS]
        for name in wanted:
            disk = self.loop_disk(server.DISK_MIB, name)
            run("dd", f"if={raw}", f"of={disk.path}", "bs=4M", "conv=sparse,notrunc")
            if name != "good":
                WAYS[name](self, disk)
            if name not in ("root", "loader"):
                mend(disk)
            self.take(disk, name)
            status, record = self.run_test(name, f"--within={WITHIN}", *(["--command=test -s /etc/hostname"] if name == "good" else []))
            print(f"{name}: {record['verdict']}: {record['reason'] or record['seen']}; {record['machine']}, {record['took_ms'] / 1000:.0f} s", flush=True)
            self.assertEqual((status, record["passed"]), (0, True) if name == "good" else (1, False), record)
            if name == "good":
                self.assertEqual(record["verdict"], "command")
            disk.close()


# Those of the short form run with ctest.
for inherited in [name for name in dir(Proof) if name.startswith("test_")]:
    setattr(BrokenBoots, inherited, None)
del Proof

if __name__ == "__main__":
    NAMES = [sys.argv.pop(1) for _ in sys.argv[1:] if sys.argv[1] in {"good", *WAYS}]
    main(SECONDS)
