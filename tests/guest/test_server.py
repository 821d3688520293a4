# SPDX-License-Identifier: Apache-2.0
"""
The proof of the whole: a server that boots, works and is protected, its root disk and all, is lost, comes back from its image on a new disk,
and boots with its services and all that its database had acknowledged. Prints each proof with its figure.

    test_server.py PACKAGES        the folder of the packages; BLXREP_BIN has the same programs, for the dispatcher
"""

import os
import subprocess
import sys
import time

import guest
from server import Server, make_server, work_folder

sys.path.insert(0, os.path.join(os.path.dirname(guest.HERE), "e2e"))

from case import Case, main  # noqa: E402

# What an administrator types on the server, besides the line that `enroll --token` printed.
INSTALL = "apt-get install -qq ./libblxrep0_*.deb ./blxrep_*.deb ./blxrep-agent_*.deb"
START = "systemctl enable --now blxrep-agent"
LOAD = ("systemd-run --quiet --unit=load bash -c 'for ((n = 0; ; n++)); do head -c $((RANDOM * 6)) /dev/urandom >/srv/load-$((RANDOM % 40)); "
        "rm -f /srv/load-$((RANDOM % 40)); logger \"load $n\"; [ $((n % 8)) -ne 0 ] || sync -f /srv; done'")
CUTS, STOPS = 8, 20


def say(what):
    print(f"proof: {what}", flush=True)


class ServerLost(Case):
    def test_a_lost_server_boots_from_its_image(self):
        packages = PACKAGES
        with work_folder() as folder:
            disk = make_server(os.path.join(folder, "web1.disk"), packages)
            rescue = os.path.join(folder, "rescue.disk")
            guest.run("cp", "--sparse=always", disk, rescue)
            self.start_dispatcher()
            server = Server(folder, "web1", [("virtio", disk)])
            try:
                self.protect(server, os.path.basename(packages))
                self.freeze_under_load(server)
                self.stop_the_agent_in_cuts(server)
                acknowledged, stamp = self.last_checkpoint(server)
            finally:
                server.crash()
            new = self.rescue(folder, rescue, stamp)
            self.boot(folder, new, acknowledged)

    def protect(self, server, packages):
        say(f"the server is up in {server.wait_up():.0f} s, kernel {server.ssh('uname -r').strip()}, root on /dev/vda, "
            f"{server.ssh('df -BM --output=used / | tail -n 1').strip()} used")
        join = self.cli.run("dispatcher", "enroll", "--agent=web1", f"--data-dir={self.data_dir}", "--token",
                            f"--dispatcher-addr=backup.example.org:{self.dispatcher.port}").stdout.strip()
        begun = time.monotonic()
        commands = [f"cd /root/{packages} && {INSTALL}", f"{join} --device=/dev/vda", START]
        for command in commands:
            server.ssh(command, timeout=300)
        self.dispatcher.wait_checkpoints("web1", 1, seconds=900)
        row = self.show("web1")[0]
        say(f"from packages to the first checkpoint with {len(commands)} commands in {time.monotonic() - begun:.0f} s: {row['consistency']}, "
            f"{row['volumes'][0]['stored_bytes'] >> 20} MiB stored of {row['volumes'][0]['size'] >> 20}")
        self.check_asynchronous_reads(server)

    def check_asynchronous_reads(self, server):
        """The filters of its unit let it have them; nobody else in the server does."""
        requests = int(server.ssh("cat /proc/sys/fs/aio-nr"))
        self.assertGreater(requests, 0)
        self.assertNotIn("refuses asynchronous", server.ssh("journalctl -q -o cat -u blxrep-agent"))
        server.ssh("systemctl stop blxrep-agent")
        self.assertEqual(int(server.ssh("cat /proc/sys/fs/aio-nr")), 0)
        server.ssh("systemctl start blxrep-agent")
        self.dispatcher.wait_online("web1", 120)
        say(f"the agent reads asynchronously as a unit: room for {requests} requests, and none without it")

    def freeze_under_load(self, server):
        """Its binaries, its log and its journal are on what is frozen."""
        server.ssh(LOAD)
        before, begun = server.acknowledged(), time.monotonic()
        for _ in range(CUTS):
            server.wait_acknowledged(3)
            self.checkpoint("web1")
        rows = self.show("web1")[-CUTS:]
        self.assertEqual([row["consistency"] for row in rows], ["filesystem"] * CUTS, [row["note"] for row in rows])
        frozen = [self.frozen_ms(line) for line in self.dispatcher.lines if "committed checkpoint" in line][-CUTS:]
        say(f"{CUTS} checkpoints of the root disk under load: all filesystem, frozen for {min(frozen):.0f} to {max(frozen):.0f} ms, "
            f"{sum(row['volumes'][0]['changed_bytes'] for row in rows) / (1 << 20):.0f} MiB changed, "
            f"{server.acknowledged() - before} commits in {time.monotonic() - begun:.0f} s meanwhile")

    @staticmethod
    def frozen_ms(line):
        number, unit = line.rsplit("frozen for ", 1)[1].split()[:2]
        return float(number) * {"ms": 1, "s": 1000}[unit]

    def stop_the_agent_in_cuts(self, server):
        """
        Stopped for two seconds again and again, with moments of work between: if that comes in a freeze, the guard must thaw at the limit,
        or the ledger would stand still until the agent goes on.
        """
        server.ssh(f"systemd-run --quiet --unit=stopper bash -c 'for n in {{1..{STOPS}}}; do "
                   "pkill -STOP -o -x blxrep-agent; sleep 2; pkill -CONT -x blxrep-agent; sleep 0.1; done'")
        words = [self.cli.program, "dispatcher", "checkpoint", "--agent=web1", f"--data-dir={self.data_dir}"]
        longest = 0
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as asking:
            while asking.poll() is None:
                begun = time.monotonic()
                server.wait_acknowledged(1)
                longest = max(longest, time.monotonic() - begun)
            answer = asking.stdout.read().strip()
        server.ssh("systemctl stop stopper; pkill -CONT -x blxrep-agent", check=False)
        thaws = server.ssh("journalctl -q -o cat -u blxrep-agent").count("longer than the freeze-limit")
        self.assertLess(longest, 10)
        say(f"a checkpoint while the agent was stopped up to {STOPS} times for 2 s: \"{answer}\"; {thaws} freezes came to their limit, the "
            f"ledger never stood still for more than {longest:.1f} s")

    def last_checkpoint(self, server):
        acknowledged = server.acknowledged()
        stamp = self.checkpoint("web1")
        row = self.row("web1", stamp)
        self.assertEqual(row["consistency"], "filesystem", row["note"])
        say(f"checkpoint {stamp}: {row['consistency']}, {acknowledged} commits were acknowledged before it was asked for")
        server.wait_acknowledged(5)  # rows that come later are lost with the server
        return acknowledged, stamp

    def rescue(self, folder, disk, stamp):
        """As docs/restore.md says: a rescue system on the new machine, the image over ssh onto its disk."""
        image = self.restore("web1", stamp, os.path.join(folder, "web1.img"))
        new = guest.make_disk(os.path.join(folder, "new.disk"), os.path.getsize(image) // guest.MIB)
        rescue = Server(folder, "rescue", [("virtio", disk), ("virtio", new)])
        try:
            rescue.wait_up()
            begun = time.monotonic()
            with open(image, "rb") as file:
                packed = subprocess.Popen(["zstd", "-q", "-c"], stdin=file, stdout=subprocess.PIPE)
                rescue.ssh("zstd -dc | dd of=/dev/vdb bs=4M iflag=fullblock oflag=direct", stdin=packed.stdout, timeout=900)
                packed.wait(30)
            say(f"restored onto a new disk over ssh from a rescue system in {time.monotonic() - begun:.0f} s")
            rescue.power_off()
        finally:
            rescue.crash()
        guest.run("cmp", image, new)
        os.unlink(image)
        return new

    def boot(self, folder, disk, acknowledged):
        server = Server(folder, "restored", [("virtio", disk)])
        try:
            seconds = server.wait_up()
            active = server.ssh("systemctl is-active ssh ledger systemd-journald blxrep-agent").split()
            self.assertEqual(active, ["active"] * 4)
            failed = server.ssh("systemctl --failed --no-legend").split()
            self.assertEqual(failed, [])
            say(f"the image boots from its own boot loader: up in {seconds:.0f} s; ssh, ledger, journald and blxrep-agent are active, no "
                "unit failed")
            server.wait_acknowledged(3)
            server.ssh("systemctl stop ledger")
            rows, highest, sound = server.ssh(
                "sqlite3 /srv/ledger.db 'select count(*) from entry; select max(number) from entry; pragma integrity_check'").split()
            self.assertEqual((rows, sound), (highest, "ok"))
            self.assertGreaterEqual(int(rows), acknowledged)
            fresh = server.acknowledged()
            say(f"its database is sound and has all {acknowledged} rows that were acknowledged: 1 to {highest} without a gap, the last of "
                f"them, up to {fresh}, written after the boot")
            journal = server.ssh("journalctl -q -k -b | grep -iE 'EXT4-fs.*(error|recovery|orphan)' || true").strip()
            say(f"the kernel's words on its filesystem: {journal or 'none'}")
            self.dispatcher.wait_online("web1", 120)
            stamp = self.checkpoint("web1")
            row = self.row("web1", stamp)
            say(f"it is protected again by itself: checkpoint {stamp}, {row['kind']}, {row['consistency']}, "
                f"{row['volumes'][0]['changed_bytes'] >> 20} MiB sent")
            server.power_off()
        finally:
            server.crash()


if __name__ == "__main__":
    PACKAGES = os.path.abspath(sys.argv.pop(1))
    main(3000)
