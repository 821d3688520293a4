#!/usr/bin/env python3
"""Torture: a real disk under real load, everything killed and cut at random, and after each round what is restored is checked.

    torture.py [--rounds=N] [--minutes=M] [--seed=S]

A round does one random mischief, lets everything come back, takes a checkpoint, restores it and a random older one, and checks
both: filesystems clean, database sound, the records that were fsynced in order a prefix, and none missing that was fsynced
before the checkpoint was asked for. The seed decides what is done and when; a failure prints it.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import time

from case import Case
from load import check_loaded_image, summary
from proxy import Proxy
from registry import REGISTRY, guard_process
from workloads import Workload

PARTS = [("ext4", 400), ("xfs", 400)]
AGENT = "server1"


class Torture(Case):
    rounds = 4
    deadline = None
    seed = 0

    def setUp(self):
        super().setUp()
        self.random = random.Random(self.seed)
        self.deeds = {}
        self.checked = 0

    def test_nothing_is_lost_whatever_dies(self):
        self.disk = self.loop_disk(1024)
        parts = self.disk.make_partitions(PARTS)
        self.start_dispatcher(sync_freq="2s")
        self.proxy = Proxy(REGISTRY, self.dispatcher.port)
        self.agent = self.start_agent(AGENT, self.disk, address=self.proxy.address)
        self.dispatcher.wait_checkpoints(AGENT, 1)
        seconds = 3600 * 24
        self.records = Workload(REGISTRY, self.folder, "append", *[files.path + "/records" for files in parts],
                                seconds=seconds)
        for files in parts:
            Workload(REGISTRY, self.folder, "database", files.path + "/base.db", seconds=seconds)
        done = 0
        while done < self.rounds and (self.deadline is None or time.monotonic() < self.deadline):
            done += 1
            deed = self.random.choice([self.kill_agent, self.kill_dispatcher, self.kill_both, self.cut, self.hold,
                                       self.stop_agent_for_a_while, self.reboot])
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
              f"{self.checked} checked, {len(self.records.lines())} records, nothing lost")

    # What is done to it.

    def kill_agent(self):
        self.agent.kill()
        time.sleep(self.random.uniform(0, 1))
        self.agent.start()

    def kill_dispatcher(self):
        self.dispatcher.kill()
        time.sleep(self.random.uniform(0, 1))
        self.dispatcher.start()

    def kill_both(self):
        self.agent.kill()
        self.dispatcher.kill()
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

    def reboot(self):
        """Pins and run directory are gone, and what is written meanwhile is tracked by nobody."""
        self.agent.kill()
        self.disk.forget_tracking()
        shutil.rmtree(self.agent.run_dir)
        time.sleep(self.random.uniform(0, 1))
        self.agent.start()

    # What must be true afterwards.

    def check_round(self):
        self.dispatcher.wait_online(AGENT)
        fsynced = len(self.records.lines())
        stamp = self.take_checkpoint()
        rows = {str(row["checkpoint"]): row for row in self.show(AGENT)}
        held = self.check_checkpoint(rows[stamp])
        if rows[stamp]["consistency"] != "none":
            self.assertGreaterEqual(held, fsynced, f"checkpoint {stamp} lacks records fsynced before it was asked for")
        self.check_checkpoint(rows[self.random.choice(sorted(rows))])

    def take_checkpoint(self):
        """The session may still be the one that was just cut: then the request fails, and is made again."""
        deadline = time.monotonic() + 120
        while True:
            done = self.cli.run("checkpoint", f"--agent={AGENT}", f"--data-dir={self.data_dir}", check=False, timeout=180)
            if done.returncode == 0:
                return done.stdout.strip()
            self.assertLess(time.monotonic(), deadline, done.stderr)
            time.sleep(0.2)

    def check_checkpoint(self, row):
        image = self.restore(AGENT, row["checkpoint"], self.path(f"{row['checkpoint']}.img"))
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
    arguments = parser.parse_args()
    Torture.seed = arguments.seed
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
