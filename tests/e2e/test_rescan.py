# SPDX-License-Identifier: Apache-2.0
"""Whatever makes tracking doubtful leads to a rescan: digests cross the wire, and the blocks that differ; the chain goes on."""

import os
import shutil

from case import Case, main
from checks import check_equal
from damage import flip_byte
from disks import BLOCK, MIB
from proxy import Proxy
from registry import REGISTRY, run, wait_until
from workloads import fill

DISK_MIB = 256
BASE_MIB = 80
WIRE_LIMIT = 0.0005  # of the disk's used bytes; both directions, everything included
READ_LIMIT = 0.01  # of the same; by the dispatcher, everything included


class Rescan(Case):
    def setUp(self):
        super().setUp()
        self.disk = self.loop_disk(DISK_MIB)
        self.files = self.disk.make("ext4")
        self.start_dispatcher()
        self.proxy = Proxy(REGISTRY, self.dispatcher.port)

    def start(self, *words):
        return self.start_agent("server1", self.disk, *words, address=self.proxy.address)

    def start_synced(self, *words):
        fill(self.files.path + "/base", BASE_MIB)
        agent = self.start(*words)
        self.checkpoint("server1")
        return agent

    def reboot(self, agent):
        """The machine goes down: pins and run directory are gone with it."""
        agent.stop()
        self.proxy.cut()
        self.disk.forget_tracking()
        shutil.rmtree(agent.run_dir)

    def overwrite_raw(self, blocks):
        """Changes blocks inside of the file, past the filesystem, while nobody tracks."""
        shown = run("filefrag", "-b4096", "-v", self.files.path + "/base").stdout
        starts = [line.split(":")[2].split("..")[0].strip() for line in shown.splitlines() if line.strip()[:1].isdigit()]
        start = int(starts[0])
        self.files.umount()
        with open(self.disk.path, "r+b") as device:
            for number in range(blocks):
                device.seek((start + 7 * number) * BLOCK)
                device.write(os.urandom(BLOCK))
            device.flush()
            os.fsync(device.fileno())
        self.files.mount()

    def check_checkpoint(self, limit_bytes, kind="incremental"):
        """The disk comes to rest; its checkpoint is of that kind and size and equals the disk, free space aside."""
        self.files.umount()
        stamp = self.checkpoint("server1")
        row = self.row("server1", stamp)
        if kind:
            self.assertEqual(row["kind"], kind)
        self.assertLess(row["volumes"][0]["changed_bytes"], limit_bytes)
        image = self.restore("server1", stamp, self.path(f"{stamp}.img"))
        check_equal(image, self.disk.copy(self.path(f"{stamp}.copy")))
        os.unlink(image)
        os.unlink(self.path(f"{stamp}.copy"))
        self.files.mount()
        return row["volumes"][0]["changed_bytes"]

    def state(self):
        return self.dispatcher.agent_state("server1")

    def both_ways(self):
        return self.proxy.sent_bytes + self.proxy.received_bytes

    def test_reboot_sends_what_changed(self):
        agent = self.start_synced("--skip-free-space=no")
        self.check_checkpoint(MIB)
        self.reboot(agent)
        self.overwrite_raw(20)
        agent = self.start("--skip-free-space=no")
        changed = self.check_checkpoint(2 * MIB)
        self.assertGreaterEqual(changed, 20 * BLOCK)
        agent.wait_line(r"rescan done: 256.0 MiB compared")

    def read_bytes(self):
        """What the dispatcher has read from files so far."""
        with open(f"/proc/{self.dispatcher.process.pid}/io", encoding="ascii") as file:
            return int(file.readline().split()[1])

    def test_unchanged_rescan_costs_next_to_nothing(self):
        """The connection's bytes in both directions, with TLS and handshake, from the agent's start to its rescan's end; and what the
        dispatcher reads: digests, and no frame."""
        agent = self.start_synced("--freeze=no")
        self.files.umount()
        self.checkpoint("server1")
        self.reboot(agent)
        before, read_before = self.both_ways(), self.read_bytes()
        agent = self.start("--freeze=no")
        agent.wait_line(r"rescan done: .* compared in .*, 0 B differ")
        read = self.read_bytes() - read_before
        handshake = 20000  # TLS, certificates, HELLO to BEGIN
        used = DISK_MIB * MIB  # nothing is mounted, so that everything counts as used
        cost = self.both_ways() - before
        print(f"unchanged rescan: {cost} bytes for {used} used, {100 * cost / used:.4f} %")
        self.assertLess(cost - handshake, WIRE_LIMIT * used)
        self.assertLess(cost, 2 * WIRE_LIMIT * used)
        print(f"the dispatcher read {read} bytes, {100 * read / used:.4f} %")
        self.assertLess(read, READ_LIMIT * used)

    def test_unchanged_rescan_of_a_mounted_filesystem(self):
        """Free space is left out on both sides. The mount itself writes a few blocks."""
        agent = self.start_synced()
        fill(self.files.path + "/more", 40)
        os.unlink(self.files.path + "/more")
        self.checkpoint("server1")
        self.reboot(agent)
        before = self.both_ways()
        agent = self.start()
        _number, line = agent.wait_line(r"rescan done: .* compared in .*, .* differ")
        cost = self.both_ways() - before
        used = self.files.used_bytes()
        print(f"mounted: {cost} bytes for {used} used, {100 * cost / used:.4f} %: {line}")
        self.assertNotRegex(line, r"rescan done: 2\d\d\.", "free space is not compared")
        self.assertLess(cost - 20000, 4 * WIRE_LIMIT * used)
        stamp = self.checkpoint("server1")
        self.assertLess(self.row("server1", stamp)["volumes"][0]["changed_bytes"], 2 * MIB)

    def test_first_sync_interrupted_by_a_reboot_goes_on(self):
        fill(self.files.path + "/base", BASE_MIB)
        self.proxy.hold_after(BASE_MIB * MIB // 2)
        agent = self.start("--skip-free-space=no")
        self.proxy.wait_held()
        agent.kill()
        self.proxy.cut()
        self.proxy.release()
        self.disk.forget_tracking()
        shutil.rmtree(agent.run_dir)
        fill(self.files.path + "/untracked", 4)
        agent = self.start("--skip-free-space=no")
        # The dispatcher asks for the first checkpoint by itself, so that ours may be the second.
        self.check_checkpoint(DISK_MIB * MIB, kind=None)
        self.assertEqual(self.show("server1")[0]["kind"], "full")
        self.assertLess(self.proxy.sent_bytes, (BASE_MIB + 4 + 32) * MIB, "what had arrived is not sent again")
        agent.wait_line("rescan done")
        self.check_checkpoint(MIB)

    def test_older_copy_of_the_data_directory(self):
        agent = self.start_synced("--skip-free-space=no")
        self.dispatcher.stop()
        kept = self.path("older")
        shutil.copytree(self.data_dir, kept, ignore=shutil.ignore_patterns("control.sock"))
        self.restart_dispatcher()
        self.dispatcher.wait_online("server1")
        fill(self.files.path + "/step", 12)
        self.checkpoint("server1")
        self.dispatcher.stop()
        newer = self.path("newer")
        os.rename(self.data_dir, newer)
        os.rename(kept, self.data_dir)
        self.restart_dispatcher()
        number, _line = agent.wait_line("older than the one it had confirmed|lost frames that it had acknowledged")
        agent.wait_line("rescan done", start=number)
        self.check_checkpoint(20 * MIB)
        # And back: what it has sent to the other one must not be taken for sent to this one.
        fill(self.files.path + "/third", 3)
        self.checkpoint("server1")
        self.dispatcher.stop()
        shutil.rmtree(self.data_dir)
        os.rename(newer, self.data_dir)
        self.restart_dispatcher()
        number, _line = agent.wait_line("other frames than this agent's last ones")
        agent.wait_line("rescan done", start=number)
        self.check_checkpoint(24 * MIB)

    def test_grown_disk_sends_its_new_part_only(self):
        agent = self.start_synced("--skip-free-space=no")
        self.check_checkpoint(MIB)
        with open(self.disk.file, "r+b") as file:
            file.truncate(384 * MIB)
            file.seek(350 * MIB)
            file.write(os.urandom(MIB))
        run("losetup", "-c", self.disk.path)
        self.disk.size = 384 * MIB
        # A request that comes while the agent lets go of the old size may be lost with its session.
        self.cli.run("dispatcher", "checkpoint", "--agent=server1", f"--data-dir={self.data_dir}", check=False)
        agent.wait_line("it grew from 268435456 to 402653184 bytes")
        self.dispatcher.wait_online("server1")
        agent.wait_line(r"rescan done: 256.0 MiB compared")
        self.files.umount()
        stamp = self.checkpoint("server1")
        row = self.row("server1", stamp)
        self.assertEqual((row["kind"], row["volumes"][0]["size"]), ("incremental", 384 * MIB))
        self.assertLess(row["volumes"][0]["changed_bytes"], 130 * MIB)
        check_equal(self.restore("server1", stamp, self.path("grown.img")), self.disk.copy(self.path("grown.copy")))

    def test_shrunk_disk_begins_a_chain_of_its_own(self):
        agent = self.start_synced("--skip-free-space=no")
        self.files.umount()
        agent.stop()
        os.truncate(self.disk.file, 128 * MIB)
        run("losetup", "-c", self.disk.path)
        self.disk.size = 128 * MIB
        agent = self.start("--skip-free-space=no")
        agent.wait_line("full pass .it shrank from 268435456 to 134217728 bytes")
        self.dispatcher.wait_line("it shrank from")
        stamp = self.checkpoint("server1")
        self.assertEqual(self.row("server1", stamp)["kind"], "full")
        check_equal(self.restore("server1", stamp, self.path("shrunk.img")), self.disk.copy(self.path("shrunk.copy")))

    def test_on_demand(self):
        agent = self.start_synced("--skip-free-space=no")
        self.check_checkpoint(MIB)
        words = ("dispatcher", "rescan", "--agent=server1", f"--data-dir={self.data_dir}")
        self.assertIn("server1", self.cli.run(*words).stdout)
        agent.wait_line(r"rescan done: 256.0 MiB compared in .*, 0 B differ")
        self.check_checkpoint(MIB)
        self.cli.fails(1, "not known here", "dispatcher", "rescan", "--agent=nobody", f"--data-dir={self.data_dir}")
        agent.stop()
        self.dispatcher.wait_offline("server1")
        self.assertIn("as soon as the agent is connected", self.cli.run(*words).stdout)
        agent = self.start("--skip-free-space=no")
        agent.wait_line(r"rescan done: 256.0 MiB compared in .*, 0 B differ")

    def test_status_shows_a_rescan_and_why(self):
        agent = self.start_synced("--skip-free-space=no")
        self.reboot(agent)
        self.proxy.hold_after(6000)  # the handshake and the first requests
        self.start_agent("server1", self.disk, "--skip-free-space=no", address=self.proxy.address, online=False)
        row = wait_until("the state RESCAN", lambda: (self.state() or {}).get("state") == "RESCAN" and self.state(), 30)
        self.assertRegex(row["reason"], "reboot")
        self.proxy.release()
        self.check_checkpoint(2 * MIB)
        self.assertNotEqual(self.state()["state"], "OFFLINE")

    def damage_the_base(self):
        """Flips a byte in the middle of the first segment. Its checkpoint does not restore any more."""
        folder = os.path.join(self.data_dir, "agents/server1/volumes", self.disk.name)
        segment = os.path.join(folder, sorted(name for name in os.listdir(folder) if name.endswith(".seg"))[0])
        flip_byte(segment)
        broken = self.show("server1")[-1]["checkpoint"]
        self.cli.run("restore", f"--checkpoint={broken}", "--agent=server1", f"--data-dir={self.data_dir}",
                     f"--output={self.path('broken.img')}", check=False)
        self.assertFalse(os.path.exists(self.path("broken.img")))

    def verify(self, status, notice):
        done = self.cli.run("dispatcher", "verify", f"--data-dir={self.data_dir}", check=False)
        self.assertEqual(done.returncode, status, done.stdout)
        self.assertRegex(done.stderr, notice)

    def test_damage_that_verify_finds_heals(self):
        """A block whose frame is damaged counts as different, so that the next checkpoint is whole again."""
        agent = self.start_synced("--skip-free-space=no")
        self.files.umount()
        self.damage_the_base()
        self.verify(1, "^the agent 'server1' is asked to send the damaged blocks again$")
        self.dispatcher.wait_line("the damaged blocks are fetched again")
        agent.wait_line("rescan done: ")
        self.files.mount()
        self.check_checkpoint(4 * MIB)
        self.verify(1, "^$")  # the old checkpoint stays hurt, and there is no more to do

    def test_damage_heals_when_the_agent_comes_back(self):
        agent = self.start_synced("--skip-free-space=no")
        agent.stop()
        self.dispatcher.wait_offline("server1")
        self.damage_the_base()
        self.verify(1, "the damaged blocks again as soon as it is connected$")
        self.dispatcher.stop()
        self.verify(1, "the damaged blocks again as soon as the dispatcher runs$")
        self.restart_dispatcher()
        self.start("--skip-free-space=no")
        self.dispatcher.wait_line("the damaged blocks are fetched again")
        self.check_checkpoint(4 * MIB)
        self.verify(1, "^$")

    def test_agent_dies_in_the_middle_of_a_rescan(self):
        agent = self.start_synced("--skip-free-space=no")
        self.reboot(agent)
        self.overwrite_raw(5)
        self.proxy.hold_after(24000)
        agent = self.start_agent("server1", self.disk, "--skip-free-space=no", address=self.proxy.address, online=False)
        agent.wait_line("rescan from block 0:")
        self.proxy.wait_held()
        agent.kill()
        self.proxy.cut()
        self.proxy.release()
        fill(self.files.path + "/while-no-agent-ran", 2)
        self.start("--skip-free-space=no")
        self.check_checkpoint(5 * MIB)


if __name__ == "__main__":
    main()
