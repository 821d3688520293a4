# SPDX-License-Identifier: Apache-2.0
"""Writes smaller than a block, straight to the disk, while checkpoints are taken all the time: each image must hold the last of them.

This is the load under which a kernel that leaves tracing programs out (agent/track/witness.h) shows most: every lost event is a wrong block.
"""

import random
import subprocess

from case import Case, main
from checks import check_equal
from registry import run

SEED = 20261123
ROUNDS = 5


class SmallWrites(Case):
    def fio(self, disk, dice):
        """Runs some seconds of such writes in the background."""
        process = subprocess.Popen(
            ["fio", "--name=small", f"--filename={disk.path}", f"--rw={dice.choice(['randwrite', 'write'])}",
             f"--bs={dice.choice(['1k', '2k'])}", "--direct=1", f"--ioengine={dice.choice(['libaio', 'psync'])}", "--numjobs=2",
             f"--iodepth={dice.choice([1, 4, 16])}", "--size=100M", f"--offset={dice.choice(['0', '20M'])}", "--norandommap",
             f"--randseed={dice.randrange(1 << 30)}", "--refill_buffers", "--time_based", f"--runtime={dice.uniform(0.3, 3):.1f}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_every_image_of_a_disk_of_small_writes_is_right(self):
        dice = random.Random(SEED)
        disk = self.loop_disk(128)
        self.start_dispatcher(sync_freq="1s")
        load = self.fio(disk, dice)
        agent = self.start_agent("server1", disk, "--skip-free-space=no", "--freeze=no")
        for number in range(ROUNDS):
            output, _ = load.communicate(timeout=60)
            self.assertEqual(load.returncode, 0, output)
            stamp = self.checkpoint("server1")
            check_equal(self.restore("server1", stamp, self.path(f"{number}.img")), disk.copy(self.path("copy.img")))
            load = self.fio(disk, dice)
        load.communicate(timeout=60)
        doubts = sum("tracking is doubtful" in line for line in agent.lines)
        print(f"seed {SEED}: {ROUNDS} images right, {len(self.show('server1'))} checkpoints, tracking was doubtful {doubts} times")


if __name__ == "__main__":
    run("fio", "--version")
    main()
