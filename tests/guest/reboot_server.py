# SPDX-License-Identifier: Apache-2.0
"""
Planned reboots of a whole server, Debian 12 with systemd: its packages bring unit, hook and file. Its database commits until the end; after
each reboot the first checkpoint has all that was acknowledged before, and the image equals the disk of a server that is off. Prints each boot.

    reboot_server.py PACKAGES [REBOOTS]       BLXREP_BIN has the same programs, for the dispatcher
"""

import functools
import os
import sys
import time
import unittest

import guest
import server as servers
from server import Server, make_server, work_folder

sys.path.insert(0, os.path.join(os.path.dirname(guest.HERE), "e2e"))

from case import Case  # noqa: E402
from checks import different_blocks  # noqa: E402

INSTALL = "dpkg -i /root/{0}/libblxrep0_*.deb /root/{0}/blxrep_*.deb /root/{0}/blxrep-agent_*.deb"
KEPT = "tracking kept over the reboot"
WAIT_S = 1200


def install(make_bootable, path, root):
    """As whoever makes images does, before the disk is made: an emulated processor takes long for it."""
    guest.run("chroot", root, "sh", "-c", INSTALL.format(os.path.basename(PACKAGES)))
    make_bootable(path, root)


class ServerReboots(Case):
    def test_reboots(self):
        with work_folder() as folder:
            servers.make_bootable = functools.partial(install, servers.make_bootable)
            disk = make_server(os.path.join(folder, "web1.disk"), PACKAGES)
            self.start_dispatcher()
            server = Server(folder, "boot-0", [("virtio", disk)])
            try:
                self.protect(server)
                for number in range(1, REBOOTS + 1):
                    server = self.reboot(server, folder, f"boot-{number}", disk)
                self.power_off_and_compare(server, disk)
            finally:
                server.crash()

    def protect(self, server):
        print(f"up in {server.wait_up(WAIT_S):.0f} s", flush=True)
        join = self.cli.run("dispatcher", "enroll", "--agent=web1", f"--data-dir={self.data_dir}", "--token",
                            f"--dispatcher-addr=backup.example.org:{self.dispatcher.port}").stdout.strip()
        for command in (f"{join} --device=/dev/vda", "systemctl enable --now blxrep-agent"):
            server.ssh(command, timeout=WAIT_S)
        self.dispatcher.wait_checkpoints("web1", 1, seconds=WAIT_S)
        print(server.ssh("ls -l /var/lib/blxrep-agent/ /usr/lib/systemd/system-shutdown/; blxrep agent check | grep reboot", check=False), flush=True)

    def reboot(self, server, folder, name, disk):
        server.ssh("systemctl --no-block reboot", check=False)
        server.wait_end(WAIT_S)
        server = Server(folder, name, [("virtio", disk)])
        server.wait_up(WAIT_S)
        begun = time.monotonic()
        self.dispatcher.wait_online("web1", WAIT_S)
        stamp = self.cli.checkpoint("web1", self.data_dir, timeout=WAIT_S)
        first_s = time.monotonic() - begun
        armed = server.ssh("journalctl -b -q -o short-monotonic -u blxrep-reboot; systemctl --failed --no-legend; "
                           "journalctl -b -q -o cat | grep -i 'ordering cycle'", check=False)
        resumed = server.ssh("journalctl -b -q -o cat -u blxrep-agent | grep -E 'resumed|rescan|full pass'", check=False)
        print(f"{name}: checkpoint {stamp} {first_s:.1f} s after it was online\n{armed}{resumed}", flush=True)
        self.assertNotIn("cycle", armed)
        self.assertIn(KEPT, armed)
        return server

    def power_off_and_compare(self, server, disk):
        """The root is busy until the end, so what is compared is the checkpoint of a root that is read-only for a moment."""
        server.ssh("systemctl stop ledger systemd-journald.socket systemd-journald systemd-timesyncd; sync; mount -o remount,ro / ; true", check=False)
        stamp = self.cli.checkpoint("web1", self.data_dir, timeout=WAIT_S)
        image = self.restore("web1", stamp, self.path("web1.img"))
        is_read_only = server.ssh("grep -c ' / ext4 ro' /proc/mounts", check=False).strip()
        print(f"stale blocks: {len(different_blocks(image, disk))}, root read-only: {is_read_only}", flush=True)


if __name__ == "__main__":
    PACKAGES = os.path.abspath(sys.argv[1])
    REBOOTS = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    unittest.main(argv=sys.argv[:1], verbosity=2)
