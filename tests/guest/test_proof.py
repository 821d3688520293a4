# SPDX-License-Identifier: Apache-2.0
"""
Checkpoints are tested: filesystems are checked without a mount, and a server is booted. What is broken is never called good, and nothing is left
of a test that is killed. broken_boots.py has a whole server, and breaks it in more ways.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import guest
import small

sys.path.insert(0, os.path.join(os.path.dirname(guest.HERE), "e2e"))

import store_reader  # noqa: E402
from case import Case, main  # noqa: E402
from guest import run  # noqa: E402
from nbdkit import plugin_environment  # noqa: E402
from programs import Tester, bin_folder, environment  # noqa: E402
from registry import REGISTRY, wait_until  # noqa: E402
from test_boot import lives, no_folder_is_left  # noqa: E402

PROMPT = "^small# "
SECONDS = 1800
# Its kernel echoes what is typed there, as long as it lives.
LIAR = """#!/bin/busybox sh
/bin/busybox printf 'Welcome\\nsmall# '
/bin/busybox sleep 6
/bin/busybox mount -t proc proc /proc
/bin/busybox echo c >/proc/sysrq-trigger
"""


def descendants(pid):
    """{pid: name} of everything that the process has started."""
    found = {}
    for child in subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout.split():
        try:
            with open(f"/proc/{child}/comm", encoding="ascii") as file:
                found[int(child)] = file.read().strip()
        except FileNotFoundError:
            continue
        found.update(descendants(child))
    return found


class Proof(Case):
    @classmethod
    def setUpClass(cls):
        cls.kernel = guest.Kernel("6.1")

    def take(self, disk, agent_id):
        if self.dispatcher is None:
            self.start_dispatcher()
        agent = self.start_agent(agent_id, disk, "--skip-free-space=no")
        stamp = self.checkpoint(agent_id)
        agent.stop()
        return stamp

    def words(self, agent_id, *more):
        return [os.path.join(bin_folder(), "blxrep"), "dispatcher", "test", f"--agent={agent_id}", f"--data-dir={self.data_dir}", "--memory=256M",
                "--accelerator=none", *more]

    def refused(self, agent_id, *more, **variables):
        """What is said instead of a record."""
        done = subprocess.run(self.words(agent_id, *more), capture_output=True, text=True, timeout=SECONDS, env=environment({**plugin_environment(), **variables}),
                              check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        return done.stderr

    def run_test(self, agent_id, *more):
        """(exit status, the record that --json prints). A host that is too busy is no verdict, so it is tried again."""
        for _ in range(10):
            done = self.try_test(agent_id, *more)
            if "this host was too busy" not in done.stderr:
                break
        self.assertTrue(done.stdout, done.stderr)
        return done.returncode, json.loads(done.stdout)

    def try_test(self, agent_id, *more):
        return subprocess.run(self.words(agent_id, "--json", *more), capture_output=True, text=True, timeout=SECONDS, env=environment(plugin_environment()), check=False)

    def store(self):
        """{file: its content's sum}, without records of tests."""
        sums = {}
        for folder, _folders, files in os.walk(os.path.join(self.data_dir, "agents")):
            for name in files:
                if not name.endswith(".tested"):
                    with open(os.path.join(folder, name), "rb") as file:
                        sums[os.path.join(folder, name)] = hashlib.sha256(file.read()).hexdigest()
        return sums

    def record(self, agent_id, stamp):
        return store_reader.read_tested(os.path.join(self.data_dir, "agents", agent_id, "checkpoints", f"{stamp}.tested"))

    def try_without_room(self, disk):
        """A journal has to be replayed over the checkpoint, and this host has no room for it: that is not the checkpoint's failure."""
        run("debugfs", "-w", "-R", "feature needs_recovery", disk.path)
        stamp = self.take(disk, "ext4")
        room = self.path("room")
        os.mkdir(room)
        run("mount", "-t", "tmpfs", "-o", "size=12k", "room", room)
        try:
            self.assertRegex(self.refused("ext4", "--level=1", TMPDIR=room), rf"{stamp} of 'ext4' was not tested: .*o space left on device")
        finally:
            run("umount", room)
        self.assertNotIn("tested", {key for key, value in self.row("ext4", stamp).items() if value})
        self.assertEqual(self.run_test("ext4", "--level=1")[0], 0)

    def test_filesystems_are_checked_without_a_mount(self):
        for kind, damage in (("ext4", (2 << 20, 4 << 20)), ("xfs", (64 << 10, 128 << 10)), ("btrfs", None)):
            disk = self.loop_disk({"ext4": 32, "xfs": 320, "btrfs": 128}[kind], kind)
            run(f"mkfs.{kind}", "-q", disk.path)
            stamp = self.take(disk, kind)
            before = self.store()
            status, record = self.run_test(kind, "--level=1")
            self.assertEqual((status, record["verdict"], record["filesystem"], record["boot"]), (0, "filesystem", "good", "not made"), record)
            self.assertRegex(record["seen"], rf"^1 filesystem is clean: {disk.path} \({kind}\)$")
            self.assertTrue(self.record(kind, stamp)["good"])
            self.assertEqual(self.store(), before)
            if kind == "ext4":
                self.try_without_room(disk)
            if damage is None:
                continue
            with open(disk.path, "r+b") as file:
                file.seek(damage[0])
                file.write(os.urandom(damage[1] - damage[0]))
            stamp = self.take(disk, kind)
            status, record = self.run_test(kind, "--level=1")
            self.assertEqual((status, record["verdict"], record["filesystem"]), (1, "failed", "bad"), record)
            self.assertRegex(record["reason"], rf"^{disk.path}: \w+ finds: ")
            self.assertNotRegex(record["reason"], "ermission denied|says nothing")
            self.assertFalse(self.record(kind, stamp)["good"])

    def test_a_true_boot_has_a_true_record(self):
        disk = self.loop_disk(small.DISK_MIB)
        small.make_small(disk.path, self.kernel, ["etc/systemd/system"])  # of a system that is not the one that boots
        stamp = self.take(disk, "web1")
        before = self.store()
        begun_ns = time.time_ns()
        status, record = self.run_test("web1", f"--expect={PROMPT}", "--within=10m")
        self.assertEqual((status, record["verdict"]), (0, "booted"), record)
        self.assertEqual([record[check] for check in ("filesystem", "boot", "services", "command")], ["good", "good", "not made", "not made"])
        self.assertEqual((record["machine"], record["expect"], record["within_ms"], record["reason"]), ("TCG", PROMPT, 600000, ""))
        self.assertGreater(record["booted_ms"], 1000)
        self.assertLess(record["booted_ms"], record["took_ms"])
        self.assertRegex(record["seen"], r"^1 filesystem is clean: \S+p3 \(ext4\); not checked: \S+p2 \(vfat\); the console had '\^small# '; it booted and "
                                         r"answered; services were not looked at: the system that booted does not start the unit in '\S+p3'$")
        self.assertRegex(record["screen"], r"small: boot 1 from /dev/vda3")
        kept = self.record("web1", stamp)
        self.assertTrue(kept["good"])
        self.assertEqual((kept["screen"], kept["machine"]), (record["screen"], 2))
        self.assertTrue(begun_ns <= kept["begun_ns"] <= time.time_ns())
        self.assertEqual(self.store(), before)
        self.assertEqual(self.row("web1", stamp)["tested"], record)
        show = self.cli.run("show", "--agent=web1", f"--data-dir={self.data_dir}").stdout
        self.assertRegex(show, rf"(?m)^{stamp} .* booted, boots in \d")
        self.assertEqual(self.cli.status(self.data_dir)[0]["proven"], record)
        info = self.cli.run("dispatcher", "info", "--agent=web1", f"--checkpoint={stamp}", f"--data-dir={self.data_dir}").stdout
        for line in (r"test checked +filesystem: good", r" +services: not made", r"test asked +a boot within 10 m 0 s, expecting \^small# ", r"test saw +1 filesystem is clean",
                     r"    \| small: boot 1 from /dev/vda3"):
            self.assertRegex(info, rf"(?m)^{line}")
        self.cli.run("dispatcher", "verify", f"--data-dir={self.data_dir}")
        # And now without a boot loader.
        with open(disk.path, "r+b") as file:
            file.write(bytes(440))
        self.take(disk, "web1")
        status, record = self.run_test("web1", "--firmware=bios", f"--expect={PROMPT}", "--within=6s")
        self.assertEqual((status, record["verdict"], record["boot"]), (1, "failed", "bad"), record)
        self.assertIn("did not boot within 6", record["reason"])

    def test_a_text_alone_proves_nothing(self):
        disk = self.loop_disk(small.DISK_MIB)
        honest = small.INIT
        small.INIT = LIAR
        try:
            small.make_small(disk.path, self.kernel)
        finally:
            small.INIT = honest
        self.take(disk, "web1")
        status, record = self.run_test("web1", f"--expect={PROMPT}", "--within=10m")
        self.assertEqual((status, record["verdict"], record["boot"]), (1, "failed", "bad"), record)
        self.assertRegex(record["reason"], "panicked|nobody answers|restarted")

    def start_tester(self):
        tester = Tester(REGISTRY, self.folder, self.data_dir, "--memory=256M", "--accelerator=none")
        tester.environment = plugin_environment()
        return tester.start()

    def set_policy(self, group):
        with open(self.path("policies", "web.yaml"), "w", encoding="ascii") as file:
            file.write(f'agents: "web*"\nrestore-test: {group}\n')
        start = len(self.dispatcher.lines)
        self.dispatcher.send(signal.SIGHUP)
        self.dispatcher.wait_line("were read again", start=start)

    def test_the_policies_have_it_done_and_what_is_killed_leaves_nothing(self):
        os.mkdir(self.path("policies"))
        self.start_dispatcher(f"--policy-dir={self.path('policies')}")
        disk = self.loop_disk(small.DISK_MIB)
        small.make_small(disk.path, self.kernel)
        stamp = self.take(disk, "web1")
        before = self.store()
        record = os.path.join(self.data_dir, "agents", "web1", "checkpoints", f"{stamp}.tested")
        self.set_policy('{ every: "1d", within: "10m", expect: "%s" }' % PROMPT)
        tester = self.start_tester()
        wait_until("QEMU runs", lambda: any(name.startswith("qemu") for name in descendants(tester.process.pid).values()), 120)
        children = descendants(tester.process.pid)
        self.assertEqual({os.getpriority(os.PRIO_PROCESS, pid) for pid in children}, {19})
        for pid in children:
            with open(f"/proc/{pid}/oom_score_adj", encoding="ascii") as file:
                self.assertEqual(int(file.read()), 1000)
        second = subprocess.run([os.path.join(bin_folder(), "blxrep-tester"), f"--data-dir={self.data_dir}"], capture_output=True, text=True, env=environment(), check=False)
        self.assertEqual(second.returncode, 1)
        self.assertIn("another blxrep-tester works on", second.stderr)
        tester.kill()
        for pid, name in children.items():
            wait_until(f"{name} has ended", lambda pid=pid: not lives(pid), 60)
        wait_until("no folder is left", no_folder_is_left)
        self.assertEqual(self.store(), before)
        self.assertFalse(os.path.exists(record))
        # The next one begins where that one was, by the rules that are in force by then.
        self.set_policy('{ every: "1d", level: 1 }')
        self.assertEqual(self.policy("web1")["every"], 86400000)
        tester = self.start_tester()
        tester.wait_line(f"the checkpoint {stamp} of 'web1' passed: filesystem")
        tester.stop()
        self.assertEqual(self.row("web1", stamp)["tested"]["verdict"], "filesystem")
        self.cli.run("dispatcher", "prune", f"--data-dir={self.data_dir}", "--agent=web1", "--keep-last=1")

    def policy(self, agent_id):
        return json.loads(self.cli.run("dispatcher", "policy", f"--agent={agent_id}", f"--data-dir={self.data_dir}", f"--policy-dir={self.path('policies')}",
                                       "--json").stdout)["restore-test"]["value"]


if __name__ == "__main__":
    main()
