# SPDX-License-Identifier: Apache-2.0
"""Checkpoints are removed, by hand and automatically. The others stay, to the byte, whatever happens meanwhile."""

import hashlib
import json
import os
import random
import signal
import subprocess
import time

from case import Case, main
from disks import BLOCK, MIB
from programs import environment
from registry import wait_until

DISK_MIB = 24
WRITTEN_MIB = 2  # little, so that what is written is soon overwritten


class Retention(Case):
    def setUp(self):
        super().setUp()
        self.random = random.Random(20261123)
        self.known = {}  # timestamp -> hash of the disk

    def take(self, disk, count):
        """Takes `count` checkpoints of a disk that nobody else writes, each with different content."""
        for number in range(count):
            with open(disk.path, "r+b", buffering=0) as raw:
                if number % 4 == 3:  # nothing of what was written before is needed any more
                    raw.write(self.random.randbytes(WRITTEN_MIB * MIB + 64 * BLOCK))
                for _ in range(self.random.randrange(1, 6)):
                    raw.seek(self.random.randrange(WRITTEN_MIB * MIB // BLOCK) * BLOCK)
                    raw.write(self.random.randbytes(BLOCK * self.random.randrange(1, 64)))
                os.fsync(raw.fileno())
            self.remember(self.checkpoint("server1"), disk)

    def remember(self, stamp, disk):
        with open(disk.path, "rb") as raw:
            self.known[stamp] = hashlib.sha256(raw.read()).hexdigest()

    def listed(self):
        return [row["checkpoint"] for row in self.show("server1")]

    def check_listed(self):
        for stamp in self.listed():
            self.check_restores(stamp)
        done = self.cli.run("dispatcher", "verify", f"--data-dir={self.data_dir}", check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def check_restores(self, stamp):
        image = self.restore("server1", stamp, self.path(f"{stamp}.img"))
        with open(image, "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).hexdigest(), self.known[stamp], stamp)
        os.unlink(image)

    def prune_words(self, *words):
        return ("dispatcher", "prune", f"--data-dir={self.data_dir}", *words)

    def prune(self, *words):
        """Prunes; returns the report on the one agent."""
        done = self.cli.run(*self.prune_words("--json", *words))
        agents = json.loads(done.stdout)
        self.assertEqual([agent["agent"] for agent in agents], ["server1"])
        return agents[0]

    def start(self, *words):
        disk = self.loop_disk(DISK_MIB)
        self.start_dispatcher(*words)
        self.start_agent("server1", disk, "--skip-free-space=no")
        for row in self.dispatcher.wait_checkpoints("server1", 1):  # the first one comes unasked
            self.remember(row["checkpoint"], disk)
        return disk

    def test_rules_pins_and_reasons(self):
        disk = self.start()
        self.take(disk, 12)
        before = self.listed()
        self.cli.fails(2, "no rule says what to keep", *self.prune_words())
        self.cli.fails(2, "not a whole number", *self.prune_words("--keep-last=-1"))
        self.cli.fails(1, "unknown agent 'nobody'", *self.prune_words("--keep-last=1", "--agent=nobody"))
        pinned = before[2]
        words = ("--agent=server1", f"--data-dir={self.data_dir}", f"--checkpoint={pinned}")
        self.assertEqual(self.cli.run("dispatcher", "pin", *words).stdout, pinned + "\n")
        self.assertEqual([row["checkpoint"] for row in self.show("server1") if row["pinned"]], [pinned])
        self.assertRegex(self.cli.run("show", "--agent=server1", f"--data-dir={self.data_dir}").stdout, rf"(?m)^{pinned} .* pinned$")

        plan = self.prune("--keep-last=3", "--dry-run")
        self.assertEqual((plan["removed"], self.listed()), (0, before))
        actions = {row["checkpoint"]: (row["action"], row["reasons"]) for row in plan["checkpoints"]}
        wanted = {stamp: ("remove", []) for stamp in before[:-3]} | {stamp: ("keep", ["keep-last"]) for stamp in before[-3:]}
        wanted[pinned] = ("keep", ["pinned"])
        wanted[before[-1]] = ("keep", ["keep-last", "newest"])
        self.assertEqual(actions, wanted)

        done = self.prune("--keep-last=3")
        self.assertEqual((done["removed"], done["in_use"]), (9, 0))
        self.assertGreater(done["freed_bytes"], 0)
        self.assertEqual(self.listed(), [pinned, *before[-3:]])
        self.check_listed()

        self.cli.run("dispatcher", "unpin", *words)
        self.take(disk, 2)
        self.dispatcher.stop()  # it works without a dispatcher, too
        table = self.cli.run(*self.prune_words("--keep-last=1"))
        self.assertRegex(table.stdout, rf"(?m)^server1 +{pinned} +remove +no rule keeps it$")
        self.assertRegex(table.stderr, r"^blxrep: 'server1': 5 checkpoints removed, .* freed\n$")
        self.assertEqual(len(self.listed()), 1)
        self.check_listed()

    def test_kill_at_any_point_leaves_whole_checkpoints(self):
        disk = self.start()
        self.take(disk, 30)
        kills, longest = 0, 0.3
        for keep in range(27, 0, -2):
            child = subprocess.Popen([self.cli.program, *self.prune_words(f"--keep-last={keep}")], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
            time.sleep(self.random.random() * longest)
            child.send_signal(signal.SIGKILL)
            if child.wait() == -signal.SIGKILL:
                kills += 1
            else:  # it ended before the kill, so the next kill comes earlier
                longest *= 0.6
            self.take(disk, 1)
            self.assertEqual(self.listed()[-keep:], sorted(self.known)[-keep:])
            for stamp in self.random.sample(self.listed(), min(4, len(self.listed()))):
                self.check_restores(stamp)
        self.assertGreater(kills, 3)
        self.check_listed()
        self.prune("--keep-last=2")
        self.assertEqual(self.listed(), sorted(self.known)[-2:])
        self.check_listed()

    def test_restores_run_while_everything_around_them_is_removed(self):
        disk = self.start()
        self.take(disk, 16)
        running = []
        for number, stamp in enumerate(self.listed()):
            image = self.path(f"storm-{number}.img")
            running.append((stamp, image, subprocess.Popen(
                [self.cli.program, "restore", f"--checkpoint={stamp}", "--agent=server1", f"--data-dir={self.data_dir}", f"--output={image}"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment())))
            self.prune("--keep-last=2")
        for stamp, image, child in running:
            _, said = child.communicate(timeout=60)
            if child.returncode == 0:
                with open(image, "rb") as file:
                    self.assertEqual(hashlib.sha256(file.read()).hexdigest(), self.known[stamp], stamp)
            else:
                self.assertRegex(said, "has no checkpoint", stamp)
                self.assertFalse(os.path.exists(image))
        self.prune("--keep-last=2")
        self.assertEqual(self.listed(), sorted(self.known)[-2:])
        self.check_listed()

    def test_dispatcher_prunes_by_itself(self):
        config = self.path("retention.yaml")
        with open(config, "w", encoding="ascii") as file:
            file.write('retention: { keep-last: 3, min-age: "1ms" }\n')
        disk = self.start(f"--config={config}")
        self.take(disk, 10)
        wait_until("only three checkpoints are left", lambda: len(self.listed()) == 3, 60)
        self.assertEqual(self.listed(), sorted(self.known)[-3:])
        self.assertIn("by the rules of retention", self.dispatcher.log())
        self.check_listed()
        # The file's rules serve the command as well, and flags replace them.
        self.assertEqual(self.prune(f"--config={config}", "--dry-run")["removed"], 0)
        self.assertEqual(self.prune(f"--config={config}", "--keep-last=1")["removed"], 2)
        self.check_listed()

    def test_dispatcher_rewrites_what_is_mostly_dead(self):
        make_store = os.path.join(os.environ["BLXREP_BIN"], "..", "tests", "make_store")
        subprocess.run([make_store, f"--data-dir={self.data_dir}", "--agent=server1", "--size=8M", "--checkpoints=150", "--change=12K",
                        "--run=4K"], check=True, stdout=subprocess.DEVNULL)
        stamp = self.listed()[-1]
        with open(self.restore("server1", stamp, self.path("before.img")), "rb") as file:
            self.known[stamp] = hashlib.sha256(file.read()).hexdigest()
        config = self.path("rewrite.yaml")
        with open(config, "w", encoding="ascii") as file:
            file.write('retention: { keep-last: 1, min-age: "1ms" }\nprune-grace: "1s"\nrewrite-rate: "4M"\n')
        # Another disk: so the old one's newest checkpoint stays, and takes over what it needs of 149 others.
        disk = self.loop_disk(DISK_MIB)
        self.start_dispatcher(f"--config={config}")
        self.start_agent("server1", disk, "--skip-free-space=no")
        wait_until("segments were rewritten", lambda: "agent 'server1': rewrote " in self.dispatcher.log(), 90)
        self.assertIn(stamp, self.listed())
        segments = [name for name in os.listdir(os.path.join(self.data_dir, "agents", "server1", "volumes", "sda")) if name.endswith(".seg")]
        self.assertLess(len(segments), 10)
        self.check_restores(stamp)
        done = self.cli.run("dispatcher", "verify", f"--data-dir={self.data_dir}", check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)


if __name__ == "__main__":
    main()
