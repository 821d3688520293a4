# SPDX-License-Identifier: Apache-2.0
"""The agent's machine, the dispatcher's, or both are set back to an earlier state: every later checkpoint equals the disk, and
only the side that was set back costs a comparison.

A machine with memory is set back here by its parts: the disk's content below the loop device, past the tracker, and the ledger. The
kernel's bitmap is empty at both moments. tests/guest/test_set_back.py does the same to a whole guest.
"""

import fcntl
import os
import random
import shutil
import subprocess

from case import Case, main
from checks import check_equal
from disks import BLOCK, MIB
from programs import Agent
from registry import REGISTRY

BLKFLSBUF = 0x1261
DISK_MIB = 32
WRITTEN = 500


class SetBack(Case):
    def setUp(self):
        super().setUp()
        self.random = random.Random(15)
        self.start_dispatcher()
        self.disk = self.loop_disk(DISK_MIB)
        self.fill(8 * MIB)
        self.agent = None
        self.start()
        self.take()

    def start(self):
        self.agent = Agent(REGISTRY, self.folder, "server1", self.dispatcher.address, self.enroll("server1"), [self.disk.path],
                           "--skip-free-space=no")
        self.agent.start()
        self.dispatcher.wait_online("server1")

    def write(self, offset, data):
        with open(self.disk.path, "r+b", buffering=0) as device:
            device.seek(offset)
            device.write(data)
            os.fsync(device.fileno())

    def fill(self, size):
        self.write(0, self.random.randbytes(size))

    def write_blocks(self, count=WRITTEN):
        for block in self.random.sample(range(DISK_MIB * MIB // BLOCK), count):
            self.write(block * BLOCK, self.random.randbytes(BLOCK))

    def take(self):
        """Takes a checkpoint, which must equal the disk."""
        stamp = self.checkpoint("server1")
        image = self.restore("server1", stamp, self.path("image"), "--force")
        check_equal(image, self.disk.copy(self.path("copy")))
        os.unlink(image)
        return stamp

    # --- states -----------------------------------------------------------------------------------------------------------------

    def ledger(self):
        return os.path.join(self.agent.run_dir, f"{self.disk.name}.ledger")

    def save_agent(self, name):
        """Nothing is written meanwhile, and nothing was marked: the last checkpoint has the whole disk."""
        self.agent.stop()
        shutil.copyfile(self.disk.file, self.path(f"{name}.disk"))
        shutil.copyfile(self.ledger(), self.path(f"{name}.ledger"))

    def load_agent(self, name):
        self.agent.stop()
        for saved, file in ((f"{name}.disk", self.disk.file), (f"{name}.ledger", self.ledger())):
            with open(self.path(saved), "rb") as source, open(file, "r+b") as target:
                shutil.copyfileobj(source, target)
        with open(self.disk.path, "rb") as device:
            fcntl.ioctl(device, BLKFLSBUF, 0)

    def save_dispatcher(self, name):
        self.dispatcher.stop()
        subprocess.run(["cp", "-a", self.data_dir, self.path(f"{name}.data")], check=True)
        self.restart_dispatcher()

    def load_dispatcher(self, name):
        self.dispatcher.stop()
        shutil.rmtree(self.data_dir)
        subprocess.run(["cp", "-a", self.path(f"{name}.data"), self.data_dir], check=True)
        self.restart_dispatcher()

    def assert_compared(self, reason):
        self.agent.wait_line(rf"rescan \({reason}")

    # --- tests ------------------------------------------------------------------------------------------------------------------

    def test_agent_set_back(self):
        self.save_agent("early")
        self.start()
        self.write_blocks()
        self.take()
        self.load_agent("early")
        self.start()
        self.take()
        self.assert_compared(".*this machine was set back to an earlier state, or is a clone|.*one of them was set back")

    def test_agent_set_back_after_frames_without_a_checkpoint(self):
        """No newer checkpoint shows it; the frames do."""
        self.save_agent("early")
        self.start()
        before = self.dispatcher.agent_state("server1")["received_bytes"]
        self.write_blocks()
        while self.dispatcher.agent_state("server1")["received_bytes"] < before + WRITTEN * BLOCK // 2:
            pass
        self.load_agent("early")
        self.start()
        self.take()
        self.assert_compared("")

    def test_dispatcher_set_back(self):
        self.agent.stop()
        self.save_dispatcher("early")
        self.start()
        self.write_blocks()
        self.take()
        self.agent.stop()
        self.load_dispatcher("early")
        self.start()
        self.take()
        self.assert_compared("")

    def test_both_set_back_together_go_on(self):
        self.save_agent("early")
        self.save_dispatcher("early")
        self.start()
        self.write_blocks()
        self.take()
        self.load_agent("early")
        self.load_dispatcher("early")
        self.start()
        self.agent.wait_line("resumed, 0 B are marked")
        self.write_blocks(20)
        self.take()
        self.assertNotIn("rescan", self.agent.log())

    def test_two_copies_of_a_dispatcher_take_turns(self):
        """The agent is set back, too: no number is used for two frames."""
        self.save_agent("early")
        self.save_dispatcher("one")
        self.start()
        self.write_blocks(50)
        self.take()
        self.agent.stop()
        self.save_dispatcher("two")
        self.load_agent("early")
        self.load_dispatcher("one")
        self.start()
        self.write_blocks(50)
        self.take()
        self.agent.stop()
        self.load_dispatcher("two")
        self.start()
        self.take()
        self.assert_compared("")

    def test_nobody_set_back_compares_nothing(self):
        for how in ("stop", "kill", "dispatcher"):
            self.write_blocks(50)
            if how == "dispatcher":
                self.dispatcher.kill()
                self.restart_dispatcher()
                self.dispatcher.wait_online("server1", 90)
            else:
                getattr(self.agent, how)()
                self.write_blocks(50)
                self.start()
            self.agent.wait_line("resumed")
            self.take()
            self.assertNotIn("rescan", self.agent.log())

    def test_random_interleavings(self):
        self.save_agent("a0")
        self.save_dispatcher("d0")
        self.start()
        for step in range(10):
            action = self.random.choice(["write", "take", "save_agent", "load_agent", "save_dispatcher", "load_dispatcher"])
            print(f"step {step}: {action}")
            if action == "write":
                self.write_blocks(30)
            elif action == "take":
                self.take()
            elif action == "save_agent":
                self.take()
                self.save_agent("a0")
                self.start()
            elif action == "load_agent":
                self.take()
                self.load_agent("a0")
                self.start()
            else:
                self.agent.kill()
                getattr(self, action)("d0" if action == "load_dispatcher" else self.renew("d0"))
                self.start()
        self.write_blocks(30)
        self.take()

    def renew(self, name):
        shutil.rmtree(self.path(f"{name}.data"))
        return name


if __name__ == "__main__":
    main()
