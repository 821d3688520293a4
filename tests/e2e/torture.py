#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Torture: a real disk under real load, everything killed and cut at random, and after each round what is restored is checked.

    torture.py [--rounds=N] [--minutes=M] [--seed=S] [--deeds=NAME,...]

A round does one random mischief, lets everything come back, takes a checkpoint, and restores it and a random older one. Both must
pass: the filesystems are clean, the database is sound, the records form a prefix of their order, and none is missing that was fsynced
before the checkpoint was asked for. A checkpoint that was ever shown does not vanish, and only the first one is full. The seed decides
what is done and when; a failure prints it.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time

from case import Case
from load import check_loaded_image, summary
from programs import Clock, bin_folder
from proxy import Proxy
from registry import REGISTRY, guard_process, run
from store_disk import StoreDisk, acknowledged_seq, tear
from workloads import Workload, fill

PARTS = [("ext4", 400), ("xfs", 400)]
AGENT = "server1"
LIAR = "liar1"
DAY = 86400


class Torture(Case):
    rounds = 4
    deadline = None
    seed = 0
    names = None

    def setUp(self):
        super().setUp()
        self.random = random.Random(self.seed)
        self.deeds = {}
        self.deck = []
        self.kills = 0
        self.checked = 0
        self.stamps = set()
        self.liars_stamps = set()
        self.store = StoreDisk(REGISTRY, self.folder)
        self.clocks = []
        for name in ("agent-clock", "dispatcher-clock"):
            os.mkdir(self.path(name))
            self.clocks.append(Clock(self.path(name)))
        self.data_dir = os.path.join(self.store.path, "data")

    def test_nothing_is_lost_whatever_dies(self):
        self.disk = self.loop_disk(1024)
        self.parts = parts = self.disk.make_partitions(PARTS)
        self.start_dispatcher(sync_freq="2s", clock=self.clocks[1])
        self.proxy = Proxy(REGISTRY, self.dispatcher.port)
        self.agent = self.start_agent(AGENT, self.disk, address=self.proxy.address, clock=self.clocks[0])
        self.dispatcher.wait_checkpoints(AGENT, 1)
        seconds = 3600 * 24
        self.records = Workload(REGISTRY, self.folder, "append", *[files.path + "/records" for files in parts],
                                seconds=seconds)
        for files in parts:
            Workload(REGISTRY, self.folder, "database", files.path + "/base.db", seconds=seconds)
        done = 0
        while done < self.rounds and (self.deadline is None or time.monotonic() < self.deadline):
            done += 1
            deed = self.deal()
            self.deeds[deed.__name__] = self.deeds.get(deed.__name__, 0) + 1
            try:
                time.sleep(self.random.uniform(0, 3))  # so that the mischief falls anywhere in the beat
                deed()
                self.check_round()
            except BaseException:
                print(f"round {done}, {deed.__name__}, seed {self.seed}", file=sys.stderr)
                raise
            print(f"round {done}: {deed.__name__}; {self.checked} checkpoints checked, "
                  f"{len(self.records.lines())} records", flush=True)
        rows = self.show(AGENT)
        print(f"{done} rounds, seed {self.seed}, {self.deeds}; {len(rows)} checkpoints ({summary(rows)}), "
              f"{self.checked} checked, {self.kills} kills, {len(self.records.lines())} records, nothing lost")

    def deal(self):
        """One after the other in random order, so that a short run does many different things."""
        if not self.deck:
            self.deck = [self.kill_agent, self.kill_dispatcher, self.kill_both, self.cut, self.hold, self.reboot,
                         self.stop_agent_for_a_while, self.set_agents_clock, self.set_dispatchers_clock, self.disk_full,
                         self.inodes_full, self.disk_fails, self.power_cut, self.copy_store, self.revoke, self.lie]
            if self.names:
                self.deck = [getattr(self, name) for name in self.names]
            self.random.shuffle(self.deck)
        return self.deck.pop()

    # What is done to it.

    def kill(self, daemon):
        daemon.kill()
        self.kills += 1

    def kill_agent(self):
        self.kill(self.agent)
        time.sleep(self.random.uniform(0, 1))
        self.agent.start()

    def kill_dispatcher(self):
        self.kill(self.dispatcher)
        time.sleep(self.random.uniform(0, 1))
        self.dispatcher.start()

    def kill_both(self):
        self.kill(self.agent)
        self.kill(self.dispatcher)
        self.dispatcher.start()
        self.agent.start()

    def cut(self):
        for _ in range(self.random.randint(1, 4)):
            self.proxy.cut()
            time.sleep(self.random.uniform(0, 0.5))

    def hold(self):
        """The network takes some more bytes and then no more, and at last the connection is reset."""
        self.proxy.hold_after(self.random.randrange(1, 1 << 20))
        time.sleep(self.random.uniform(0.5, 3))
        self.proxy.cut()
        self.proxy.release()

    def stop_agent_for_a_while(self):
        self.agent.send(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.1, 3))
        self.agent.send(signal.SIGCONT)

    def set_agents_clock(self):
        """Back or forth, by up to five days."""
        self.clocks[0].set(self.random.randint(-5 * DAY, 5 * DAY))

    def set_dispatchers_clock(self):
        """This one names the checkpoints: those that it has named keep their names and their order."""
        self.clocks[1].set(self.random.randint(-5 * DAY, 5 * DAY))

    def revoke(self):
        """While it sends; what it has stored stays, and with new credentials it goes on there."""
        self.burst()
        known = {str(row["checkpoint"]) for row in self.show(AGENT)}
        self.cli.run("dispatcher", "revoke", f"--agent={AGENT}", f"--data-dir={self.data_dir}")
        lines = len(self.agent.lines)
        self.agent.wait_line("revoked: have it join again", start=lines)
        self.verify(self.data_dir)
        self.assertLessEqual(known, {str(row["checkpoint"]) for row in self.show(AGENT)})
        new = self.path("again.pem")
        self.cli.enroll(AGENT, self.data_dir, new)
        os.replace(new, self.path(f"{AGENT}.pem"))

    def lie(self):
        """Another agent was broken into. It hurts nobody else, and what it once committed is still there."""
        credentials = self.enroll(LIAR)
        liar = subprocess.Popen([os.path.join(os.path.dirname(bin_folder()), "tests", "liar"), self.dispatcher.address,
                                 credentials, LIAR, "12", str(self.random.randrange(1 << 32))],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            self.burst()
            self.take_checkpoint()
            print(f"liar: {liar.communicate(timeout=300)[0].strip()}", flush=True)
        finally:
            liar.kill()
            liar.wait()
        self.assertEqual(liar.returncode, 0)
        self.verify(self.data_dir)
        rows = {str(row["checkpoint"]) for row in self.show(LIAR)}
        self.assertLessEqual(self.liars_stamps, rows)
        self.liars_stamps = rows

    def reboot(self):
        """Pins and run directory are gone, and nobody tracks what is written meanwhile."""
        self.kill(self.agent)
        self.disk.forget_tracking()
        shutil.rmtree(self.agent.run_dir)
        time.sleep(self.random.uniform(0, 1))
        self.agent.start()

    def disk_full(self):
        """ENOSPC at the dispatcher, at any point of what it writes."""
        self.burst()
        self.store.fill(self.random.randrange(2 << 20))
        self.suffer()

    def inodes_full(self):
        """No new file at the dispatcher, at any point."""
        self.burst()
        self.store.use_inodes(self.random.randrange(12))
        self.suffer()

    def disk_fails(self):
        """EIO from the dispatcher's disk. If the filesystem turns itself read-only it is repaired."""
        self.burst()
        self.store.fail(self.random.randrange(2 << 20))
        self.suffer()

    def suffer(self):
        time.sleep(self.random.uniform(0.5, 4))
        killed = self.random.random() < 0.3
        if killed:
            self.kill(self.dispatcher)
        if self.store.relieve():
            if not killed:
                self.kill(self.dispatcher)
                killed = True
            self.store.repair()
        if killed:
            lines = len(self.dispatcher.lines)
            self.dispatcher.start()
            # It has opened the segment in which the disk refused a write, and cut the torn end off.
            self.dispatcher.wait_line(f"agent '{AGENT}' connected", start=lines)
        self.dispatcher.wait_online(AGENT)
        self.verify(self.data_dir)

    def power_cut(self):
        """The dispatcher's machine goes down: what only its page cache held is gone. What it has acknowledged is not."""
        self.burst()
        time.sleep(self.random.uniform(0, 2))
        ledger, = [name for name in os.listdir(self.agent.run_dir) if name.endswith(".ledger")]
        self.dispatcher.send(signal.SIGSTOP)
        time.sleep(0.5)  # acknowledgements on the wire still come to the ledger
        acked_seq = acknowledged_seq(os.path.join(self.agent.run_dir, ledger))
        clone = self.store.clone("cut.loop")
        self.kill(self.dispatcher)
        self.store.swap(clone)
        self.tear_tail(self.data_dir, acked_seq)
        logged = len(self.agent.lines)
        self.dispatcher.start()
        self.dispatcher.wait_online(AGENT)
        for line in self.agent.lines[logged:]:
            self.assertNotRegex(line, "lost frames that it had acknowledged|older than the one it had confirmed")
        self.verify(self.data_dir)

    def copy_store(self):
        """A copy of what is on the disk, taken while the dispatcher writes, is a store from which everything restores."""
        self.burst()
        known = {str(row["checkpoint"]) for row in self.show(AGENT)}
        clone = self.store.clone("copy.loop")
        device = run("losetup", "--find", "--show", clone).stdout.strip()
        point = self.path("copy")
        os.makedirs(point, exist_ok=True)
        run("mount", device, point)
        try:
            data_dir = os.path.join(point, "data")
            self.verify(data_dir)
            rows = {str(row["checkpoint"]): row for row in self.cli.show(AGENT, data_dir)}
            self.assertLessEqual(known, set(rows), "a checkpoint that was shown is durable")
            self.check_checkpoint(rows[max(rows)], data_dir)
        finally:
            run("umount", point)
            run("losetup", "-d", device)
            os.unlink(clone)

    def tear_tail(self, data_dir, acked_seq):
        folder = os.path.join(data_dir, "agents", AGENT, "volumes", self.disk.name)
        path = os.path.join(folder, "open.seg")
        if os.path.exists(path) and self.random.random() < 0.7:
            print(f"open.seg: {tear(path, acked_seq, self.random)}")

    def verify(self, data_dir):
        done = self.cli.run("dispatcher", "verify", f"--data-dir={data_dir}", check=False, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def burst(self):
        """So much to send at once that the dispatcher is busy writing for a while."""
        fill(self.parts[self.random.randrange(len(self.parts))].path + "/burst", self.random.randint(4, 48))

    # What must be true afterwards.

    def check_round(self):
        self.dispatcher.wait_online(AGENT)
        fsynced = len(self.records.lines())
        stamp = self.take_checkpoint()
        rows = {str(row["checkpoint"]): row for row in self.show(AGENT)}
        self.assertLessEqual(self.stamps, set(rows), "no checkpoint that was shown vanishes")
        self.stamps = set(rows)
        full = [stamp for stamp, row in rows.items() if row["kind"] == "full"]
        self.assertEqual(full, [min(rows)], "only the first checkpoint is full")
        held = self.check_checkpoint(rows[stamp])
        if rows[stamp]["consistency"] != "none":
            self.assertGreaterEqual(held, fsynced, f"checkpoint {stamp} lacks records fsynced before it was asked for")
        self.check_checkpoint(rows[self.random.choice(sorted(rows))])

    def take_checkpoint(self):
        """The session may still be the one that was just cut: then the request fails, and is made again."""
        deadline = time.monotonic() + 120
        while True:
            done = self.cli.run("checkpoint", f"--agent={AGENT}", f"--data-dir={self.data_dir}", check=False, timeout=600)
            if done.returncode == 0:
                return done.stdout.strip()
            self.assertLess(time.monotonic(), deadline, done.stderr)
            time.sleep(0.2)

    def check_checkpoint(self, row, data_dir=None):
        image = self.path(f"{row['checkpoint']}.img")
        self.cli.restore(AGENT, data_dir or self.data_dir, row["checkpoint"], f"--output={image}")
        held = check_loaded_image(self, [image], [[(1, "ext4"), (2, "xfs")]], row, None)
        if os.path.exists(image):
            os.unlink(image)
        self.checked += 1
        return held


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--deeds", help="only these, by their names", type=lambda text: text.split(","))
    arguments = parser.parse_args()
    Torture.seed = arguments.seed
    Torture.names = arguments.deeds
    if arguments.minutes:
        Torture.rounds = arguments.rounds or 1 << 30
        Torture.deadline = time.monotonic() + arguments.minutes * 60
    elif arguments.rounds:
        Torture.rounds = arguments.rounds
    guard_process(int(600 + (arguments.minutes or 0) * 60 + Torture.rounds % (1 << 30) * 60))
    import unittest
    unittest.main(module="__main__", argv=[sys.argv[0]], verbosity=2)


if __name__ == "__main__":
    main()
