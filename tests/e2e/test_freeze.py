# SPDX-License-Identifier: Apache-2.0
"""Filesystems are frozen for a moment at each checkpoint: whatever happens to the agent meanwhile, they come back."""

import os
import random
import select
import signal
import threading
import time

from case import Case, main
from checks import Image, check_equal
from registry import REGISTRY, Failure, wait_until
from workloads import Workload, fill

LIMIT_MS = 1000  # the product's default
SLACK_MS = 1500  # a noisy machine, and the fsync after the thaw
WANTED_HITS = 2
MOST_ATTEMPTS = 40


class Freeze(Case):
    """
    The second partition is idle and frozen first (reverse mount order); the first one is busy, so that its freeze takes a while.
    The pre-freeze hook, which runs just before, tells the test the moment through a FIFO.
    """

    def setUp(self):
        super().setUp()
        self.disk = self.loop_disk(512)
        self.busy, self.idle = self.disk.make_partitions([("ext4", 300), ("ext4", 150)])
        fifo = self.path("about-to-freeze")
        os.mkfifo(fifo)
        self.hook = f"echo now >{fifo}"
        self.fifo = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        self.addCleanup(os.close, self.fifo)
        self.randomness = random.Random(os.getpid())
        self.patience = 0.004
        self.start_dispatcher()

    def start(self, *words):
        return self.start_agent("server1", self.disk, f"--pre-freeze={self.hook}", *words)

    def take_in_background(self):
        """Asks for a checkpoint and does not wait for it; the outcome comes with join()."""
        outcome = []

        def take():
            outcome.append(self.cli.run("dispatcher", "checkpoint", "--agent=server1", f"--data-dir={self.data_dir}",
                                        check=False, timeout=60))
        thread = threading.Thread(target=take)
        thread.start()
        return thread, outcome

    def drain_hook(self):
        while select.select([self.fifo], [], [], 0)[0]:
            os.read(self.fifo, 4096)

    def stop_in_freeze(self, agent, tap):
        """Stops the agent when the tap stands still; returns (is it frozen, the checkpoint in the background)."""
        self.drain_hook()
        background = self.take_in_background()
        if not select.select([self.fifo], [], [], 30)[0]:
            raise Failure("the pre-freeze hook did not run within 30 s")
        self.wait_standing_still(tap)
        agent.send(signal.SIGSTOP)
        return self.idle.is_frozen(), background

    def wait_standing_still(self, tap):
        deadline = time.monotonic() + 5
        last, since = tap.taps(), time.monotonic()
        while time.monotonic() < min(deadline, since + self.patience):
            taps = tap.taps()
            if taps != last:
                last, since = taps, time.monotonic()
        self.patience = self.randomness.uniform(0.003, 0.02)  # now early in the freeze, now late

    def wait_thawed_ms(self):
        begun = time.monotonic()
        wait_until("the filesystems come back", lambda: not self.idle.is_frozen() and not self.busy.is_frozen(), 20, 0.01)
        return (time.monotonic() - begun) * 1000

    def hit_freezes(self, act):
        """act(agent, background) is called with an agent that is stopped while it holds the filesystems frozen."""
        load = Workload(REGISTRY, self.folder, "stream", self.busy.path + "/stream", seconds=170)
        tap = Workload(REGISTRY, self.folder, "tap", self.idle.path + "/tap", seconds=170)
        wait_until("the first taps", lambda: tap.taps() > 10)
        agent = self.start()
        self.checkpoint("server1")
        hits = 0
        for attempt in range(MOST_ATTEMPTS):
            frozen, background = self.stop_in_freeze(agent, tap)
            if frozen:
                hits += 1
                agent = act(agent, background)
            else:
                agent.send(signal.SIGCONT)
            background[0].join()
            if hits == WANTED_HITS:
                break
        print(f"{hits} hits in {attempt + 1} attempts")
        self.assertEqual(hits, WANTED_HITS, "the moment of the freeze was hit too seldom to say anything")
        load.stop()
        tap.stop()

    def check_next_checkpoint(self):
        stamp = self.checkpoint("server1")
        consistency = self.row("server1", stamp)["consistency"]
        self.assertEqual(consistency, "filesystem")
        with Image(REGISTRY, self.restore("server1", stamp, self.path(f"{stamp}.img")), partitions=2) as image:
            image.check_ext4(1)
            image.check_ext4(2)

    def test_agent_killed_while_frozen(self):
        def kill(agent, _background):
            agent.kill()
            self.assertLess(self.wait_thawed_ms(), LIMIT_MS + SLACK_MS)
            return self.start()
        self.hit_freezes(kill)
        self.check_next_checkpoint()

    def test_agent_stopped_while_frozen(self):
        def wait_limit(agent, background):
            self.assertLess(self.wait_thawed_ms(), LIMIT_MS + SLACK_MS)
            fill(self.idle.path + "/written-while-the-agent-is-stopped", 1)
            agent.send(signal.SIGCONT)
            background[0].join()
            self.assertEqual(background[1][0].returncode, 0, background[1][0].stderr)
            return agent
        self.hit_freezes(wait_limit)
        for number, row in enumerate(self.show("server1")):
            image = self.restore("server1", row["checkpoint"], self.path(f"{number}.img"))
            with Image(REGISTRY, image, partitions=2) as opened:
                for part in (1, 2):
                    opened.check_ext4(part, replay=row["consistency"] != "filesystem")
            os.unlink(image)
        self.check_next_checkpoint()

    def test_writers_pause_less_than_the_limit(self):
        self.start()
        self.checkpoint("server1")
        load = Workload(REGISTRY, self.folder, "stream", self.busy.path + "/stream", seconds=60)
        probe = Workload(REGISTRY, self.folder, "probe", self.idle.path + "/probe", seconds=60)
        probe.wait_lines(20)
        for _ in range(5):
            self.checkpoint("server1")
        probe.stop()
        load.stop()
        print(f"longest pause of a writer: {probe.longest_ms():.0f} ms")
        self.assertLess(probe.longest_ms(), LIMIT_MS + SLACK_MS)

    def test_freeze_of_somebody_else_is_left_alone(self):
        self.start("--skip-free-space=no")
        self.checkpoint("server1")
        for files in (self.busy, self.idle):
            fill(files.path + "/file", 2)
            files.sync()
            files.freeze()
        stamp = self.checkpoint("server1")
        copy = self.disk.copy(self.path("copy.img"))
        for files in (self.busy, self.idle):
            self.assertTrue(files.is_frozen(), f"{files} was frozen by somebody else")
            files.thaw()
        self.assertIn(self.row("server1", stamp)["consistency"], ("crash", "filesystem"))
        check_equal(self.restore("server1", stamp, self.path("restored.img")), copy)

    def test_no_hook_finds_a_filesystem_in_use(self):
        """Nobody else uses the one that both unmount: it is busy only if the agent holds it."""
        hook = f"umount {self.idle.path} && mount {self.idle.device} {self.idle.path}"
        self.start_agent("server1", self.disk, f"--pre-freeze={hook}", f"--post-thaw={hook}")
        for _ in range(3):
            row = self.row("server1", self.checkpoint("server1"))
            self.assertEqual((row["consistency"], row["note"]), ("filesystem", ""))

    def test_without_freeze_nobody_pauses_and_the_label_says_so(self):
        self.start("--freeze=no")
        self.drain_hook()
        stamp = self.checkpoint("server1")
        self.assertEqual(self.row("server1", stamp)["consistency"], "crash")


if __name__ == "__main__":
    main()
