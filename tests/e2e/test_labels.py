# SPDX-License-Identifier: Apache-2.0
"""The label oracle: a checkpoint's label never says more than its image shows, and not less without a reason.

A writer of numbered blocks in a permuted ring shows whether an image is of one instant. The agent has exactly its unit's rights.
The suite runs it short. The full run, by hand: tests/e2e/test_labels.py --checkpoints=200
"""

import mmap
import os
import signal
import subprocess
import sys

from case import Case, main
from disks import Filesystem
from programs import Agent
from registry import REGISTRY, Failure, run
from unit_rights import unit_prefix
from workloads import Workload, ring_is_of_one_instant

CHECKPOINTS = 2
SECONDS = 60


class Hermit:
    """A process in a mount namespace of its own."""

    def __init__(self, command):
        self.process = subprocess.Popen(["unshare", "-m", "--propagation=private", "sh", "-c",
                                         f"{command} && echo ready && exec sleep 3600"], stdout=subprocess.PIPE, text=True)
        REGISTRY.add(self)
        if self.process.stdout.readline() != "ready\n":
            raise Failure(f"`{command}` failed in a mount namespace of its own")

    def __str__(self):
        return "hermit"

    def path(self, path):
        """The path inside of the namespace, by a name that works outside."""
        return f"/proc/{self.process.pid}/root{path}"

    def close(self):
        self.process.kill()
        self.process.wait(30)
        self.process.stdout.close()


class Swap:
    def __init__(self, device):
        self.device = device
        run("mkswap", device)
        run("swapon", "-p", "32767", device)
        REGISTRY.add(self)

    def __str__(self):
        return f"swap on {self.device}"

    def close(self):
        run("swapoff", self.device)


def has_marker(image, marker):
    with open(image, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        return data.find(marker[:512]) >= 0


class Labels(Case):
    def setUp(self):
        super().setUp()
        self.start_dispatcher()

    def make_disk(self, mib=40):
        """A normal mounted ext4 with a load that makes the cut long, and a second partition to hide a writer on."""
        disk = self.loop_disk(160 + mib + 8)
        self.normal, self.second = disk.make_partitions([("ext4", 160), ("ext4", mib)])
        self.load = Workload(REGISTRY, self.folder, "stream", self.normal.path + "/stream", seconds=SECONDS + 10 * CHECKPOINTS)
        return disk

    def start(self, disk, *words):
        agent = Agent(REGISTRY, self.folder, "server1", self.dispatcher.address, self.enroll("server1"), [disk], *words)
        agent.prefix = unit_prefix()
        agent.start()
        self.dispatcher.wait_online("server1")
        return agent

    def write_ring(self, path):
        load = Workload(REGISTRY, self.folder, "ring", path, seconds=SECONDS + 10 * CHECKPOINTS)
        load.wait_lines(1)
        return load

    def judge_checkpoints(self, disk, folder=None):
        """Takes checkpoints under the ring's load; returns their rows. The rule of the oracle is checked here.

        Just before each one a file is written into `folder` and not synced: a filesystem that was frozen has it.
        """
        self.start(disk)
        self.checkpoint("server1")  # the first one ends a full pass
        rows, torn = [], 0
        for _ in range(CHECKPOINTS):
            marker = self.write_marker(folder)
            stamp = self.checkpoint("server1")
            row = self.row("server1", stamp)
            image = self.restore("server1", stamp, self.path("oracle.img"))
            whole, wrong = ring_is_of_one_instant(image)
            self.assertTrue(row["consistency"] != "filesystem" or has_marker(image, marker),
                            "filesystem, and a file that was written just before is missing")
            os.unlink(image)
            torn += not whole
            self.assertTrue(whole or row["consistency"] == "none",
                            f"{row['consistency']} ({row['note']}), and {wrong} blocks are of other instants")
            rows.append(row)
        print(f"{self.id()}: {torn} of {len(rows)} torn; " +
              "; ".join(sorted({f"{row['consistency']} ({row['note']})" for row in rows})))
        return rows

    def write_marker(self, folder):
        marker = os.urandom(4096)
        if folder:
            with open(os.path.join(folder, "marker"), "wb") as file:
                file.write(marker)
        return marker if folder else b""

    def expect_filesystem(self, rows):
        for row in rows:
            self.assertEqual((row["consistency"], row["note"]), ("filesystem", ""))

    def expect_less(self, rows, name):
        for row in rows:
            self.assertIn(row["consistency"], ("none", "crash"))
            self.assertIn(name, row["note"])

    def test_normal_mount(self):
        disk = self.make_disk()
        self.write_ring(self.second.path + "/ring")
        self.expect_filesystem(self.judge_checkpoints(disk, self.second.path))

    def test_mount_of_another_user(self):
        disk = self.make_disk()
        os.chown(self.second.path, 4711, 4711)
        os.chmod(self.second.path, 0o700)
        self.write_ring(self.second.path + "/ring")
        self.expect_filesystem(self.judge_checkpoints(disk, self.second.path))

    def test_mount_in_another_namespace(self):
        disk = self.make_disk()
        self.second.umount()
        hermit = Hermit(f"mount {self.second.device} {self.second.path}")
        self.write_ring(hermit.path(self.second.path + "/ring"))
        self.expect_less(self.judge_checkpoints(disk, hermit.path(self.second.path)), self.second.device)

    def test_mount_that_is_covered(self):
        disk = self.make_disk()
        load = self.write_ring(self.second.path + "/ring")
        run("mount", "-t", "tmpfs", "none", self.second.path)
        try:
            self.expect_less(self.judge_checkpoints(disk), self.second.path)
        finally:
            load.stop()
            run("umount", self.second.path)

    def test_mount_after_a_lazy_unmount(self):
        disk = self.make_disk()
        load = self.write_ring(self.second.path + "/ring")
        run("umount", "-l", self.second.path)
        self.second.mounted = False
        self.expect_less(self.judge_checkpoints(disk), self.second.device)
        load.stop()

    def test_raw_partition(self):
        disk = self.make_disk()
        self.second.umount()
        self.write_ring(self.second.device)
        for row in self.judge_checkpoints(disk):
            if row["consistency"] != "filesystem":
                self.assertIn(self.second.device, row["note"])

    def test_swap_in_use(self):
        disk = self.make_disk(mib=32)  # all of it is written all the time, and must fit into the freeze buffer
        self.second.umount()
        self.load.close()  # both together are more than that holds
        Swap(self.second.device)
        Workload(REGISTRY, self.folder, "pageout", "none", seconds=SECONDS + 10 * CHECKPOINTS).wait_lines(1)
        self.write_ring(self.normal.path + "/ring")
        self.expect_filesystem(self.judge_checkpoints(disk))

    def test_filesystem_in_a_file(self):
        disk = self.make_disk()
        image = self.normal.path + "/image"
        with open(image, "wb") as file:
            file.truncate(40 << 20)
        device = run("losetup", "--find", "--show", image).stdout.strip()
        try:
            inner = Filesystem(REGISTRY, device, "ext4", self.path("inner"))
            load = self.write_ring(inner.path + "/ring")
            self.expect_filesystem(self.judge_checkpoints(disk, inner.path))
            load.stop()
            inner.umount()
        finally:
            run("losetup", "-d", device)

    def test_raw_loop_device_on_a_file(self):
        """As a virtual machine's disk: without a filesystem of its own, its file on one that is frozen."""
        disk = self.make_disk()
        image = self.normal.path + "/image"
        with open(image, "wb") as file:
            file.truncate(40 << 20)
        device = run("losetup", "--find", "--show", image).stdout.strip()
        try:
            load = self.write_ring(device)
            for row in self.judge_checkpoints(disk):
                self.assertIn(row["consistency"], ("filesystem", "crash"))  # less only if no freeze could be held
                self.assertNotIn("not of one instant", row["note"])
            load.stop()
        finally:
            run("losetup", "-d", device)

    def test_hooks_that_fail_stand_in_the_note(self):
        disk = self.make_disk()
        self.start(disk, "--pre-freeze=false", "--post-thaw=exit 3")
        row = self.row("server1", self.checkpoint("server1"))
        self.assertEqual((row["consistency"], row["note"]),
                         ("filesystem", "the pre-freeze command failed; the post-thaw command failed"))
        self.dispatcher.wait_line("agent 'server1': hook-failed: the pre-freeze and the post-thaw command failed for the last checkpoint")
        # As the manifest says it, too: after a restart status is made from that.
        self.dispatcher.stop()
        self.restart_dispatcher()
        self.dispatcher.wait_online("server1")
        self.assertEqual(self.dispatcher.agent_state("server1")["judgement"]["reason"], "hook-failed")

    def test_mount_that_the_pre_freeze_hook_makes(self):
        disk = self.make_disk()
        self.second.umount()
        with open(self.path("marker"), "wb") as file:
            file.write(os.urandom(4096))
        self.start(disk, f"--pre-freeze=mountpoint -q {self.second.path} || mount {self.second.device} {self.second.path}; "
                         f"cp {self.path('marker')} {self.second.path}")
        stamp = self.checkpoint("server1")
        self.second.mounted = True
        row = self.row("server1", stamp)
        self.assertEqual((row["consistency"], row["note"]), ("filesystem", ""))
        with open(self.path("marker"), "rb") as file:
            self.assertTrue(has_marker(self.restore("server1", stamp, self.path("oracle.img")), file.read()))

    def test_mount_that_the_post_thaw_hook_ends(self):
        """Nothing holds a mount point longer than the freeze: no "target is busy"."""
        disk = self.make_disk()
        self.second.umount()
        self.start(disk, f"--pre-freeze=mount {self.second.device} {self.second.path}", f"--post-thaw=umount {self.second.path}")
        for _ in range(5):
            row = self.row("server1", self.checkpoint("server1"))
            self.assertEqual((row["consistency"], row["note"]), ("filesystem", ""))

    def test_note_tells_why_nothing_was_frozen(self):
        """A freeze under the stream takes longer than the shortest limit."""
        self.start(self.make_disk(), "--freeze-limit=20ms", "--freeze-budget=10ms")
        notes = [self.row("server1", self.checkpoint("server1"))["note"] for _ in range(2)]
        self.assertTrue(any("the filesystems were not frozen: the freeze took longer than the freeze-limit" in note for note in notes), notes)

    def test_freeze_of_somebody_else_is_named(self):
        disk = self.make_disk()
        self.start(disk)
        self.checkpoint("server1")
        self.second.freeze()
        row = self.row("server1", self.checkpoint("server1"))
        self.second.thaw()
        self.assertEqual((row["consistency"], row["note"]),
                         ("crash", f"'{self.second.path}' was frozen by somebody else already"))

    def test_filesystem_that_needs_another_disk(self):
        disk, other = self.loop_disk(64), self.loop_disk(16, name="journal")
        run("mke2fs", "-q", "-F", "-O", "journal_dev", "-b", "4096", other.path)
        run("mkfs.ext4", "-q", "-F", "-b", "4096", "-J", f"device={other.path}", disk.path)
        os.makedirs(self.path("mnt"))
        run("mount", disk.path, self.path("mnt"))
        try:
            self.start(disk)
            row = self.row("server1", self.checkpoint("server1"))
        finally:
            run("umount", self.path("mnt"))
        self.assertEqual((row["consistency"], row["note"]),
                         ("crash", f"'{self.path('mnt')}' also needs '{other.path}', which is not protected"))

    def test_agent_and_guard_killed_in_a_freeze(self):
        """As KillMode=control-group does it: the next start thaws."""
        disk = self.make_disk()
        agent = self.start(disk)
        self.checkpoint("server1")
        guard = int(run("pgrep", "-P", str(agent.process.pid), "blxrep-guard").stdout)
        os.kill(agent.process.pid, signal.SIGSTOP)
        with open(os.path.join(agent.run_dir, f"frozen-{agent.process.pid}"), "w", encoding="utf-8") as file:
            numbers = os.stat(self.second.device).st_rdev
            file.write(f"{os.major(numbers)}:{os.minor(numbers)} {self.second.path}\0")
        os.kill(guard, signal.SIGKILL)
        agent.kill()
        self.second.freeze()
        agent = self.start(disk)
        agent.wait_line(f"'{self.second.path}' was frozen since an agent was killed")
        self.assertFalse(self.second.is_frozen())

    def test_any_number_of_filesystems(self):
        disks = [self.loop_disk(65 * 4 + 8, name=f"many-{number}") for number in range(2)]
        for disk in disks:
            disk.make_partitions([("ext4", 4)] * 65)
        agent = Agent(REGISTRY, self.folder, "server1", self.dispatcher.address, self.enroll("server1"), disks)
        agent.prefix = unit_prefix()
        agent.start()
        self.dispatcher.wait_online("server1")
        for _ in range(CHECKPOINTS):
            row = self.row("server1", self.checkpoint("server1"))
            print(f"130 filesystems frozen for {row['freeze_ms']} ms")
            self.expect_filesystem([row])

    def test_full_speed_writers_are_no_false_alarm(self):
        for kind, mib in (("ext4", 160), ("xfs", 400), ("btrfs", 400)):
            with self.subTest(kind=kind):
                disk = self.loop_disk(mib + 8, name=kind)
                files = disk.make(kind)
                load = Workload(REGISTRY, self.folder, "stream", files.path + "/stream", seconds=SECONDS + 10 * CHECKPOINTS)
                agent_id = f"server-{kind}"
                agent = Agent(REGISTRY, self.folder, agent_id, self.dispatcher.address, self.enroll(agent_id), [disk],
                              "--freeze-limit=10s")
                agent.prefix = unit_prefix()
                agent.start()
                self.dispatcher.wait_online(agent_id)
                labels = [self.row(agent_id, self.checkpoint(agent_id)) for _ in range(CHECKPOINTS)]
                print(f"{kind}: " + "; ".join(sorted({f"{row['consistency']} ({row['note']})" for row in labels})))
                self.expect_filesystem(labels)
                load.stop()
                agent.stop()


if __name__ == "__main__":
    for word in [word for word in sys.argv if word.startswith("--checkpoints=")]:
        CHECKPOINTS = int(word.partition("=")[2])
        sys.argv.remove(word)
    main(seconds=600 + 600 * CHECKPOINTS if CHECKPOINTS > 2 else None)
