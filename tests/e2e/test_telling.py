# SPDX-License-Identifier: Apache-2.0
"""Nobody is misled: a store that is full, read-only, another's or unmounted is told as that, and never as the agents' absence."""

import os
import pty
import re
import select
import signal
import subprocess

from case import Case, main
from disks import LoopDisk
from programs import environment
from registry import REGISTRY, run, wait_until
from store_disk import give_room, take_room


class Telling(Case):
    def begin(self):
        self.store = LoopDisk(REGISTRY, self.folder, 96, "store").make("ext4")
        self.store.mount("remount,errors=remount-ro")
        self.data_dir = os.path.join(self.store.path, "data")
        self.disk = self.loop_disk(16)
        self.start_dispatcher("--metrics-listen=:0", sync_freq="2s")
        self.url = self.dispatcher.wait_line(r"metrics are served at (http://127\.0\.0\.1:\d+/metrics)$")[1].split()[-1]
        self.start_agent("server1", self.disk, "--skip-free-space=no")
        self.dispatcher.wait_checkpoints("server1", 1)

    def row(self, agent_id="server1"):
        rows = {row["id"]: row for row in self.cli.status(self.data_dir)}
        return rows[agent_id]

    def wait_reason(self, reason, protection, seconds=60):
        def told():
            row = self.row()
            return row if (row["judgement"]["reason"], row["protection"]) == (reason, protection) else None
        return wait_until(f"the reason {reason}", told, seconds)

    def change(self):
        """So that a checkpoint has something to store."""
        with open(self.disk.path, "r+b", buffering=0) as raw:
            raw.write(os.urandom(1 << 20))
            os.fsync(raw.fileno())

    def check_told(self, reason, text):
        """status, --check, the log and the metrics say the same."""
        row = self.row()
        self.assertEqual(row["judgement"]["object"], "the store")
        self.assertRegex(row["judgement"]["since"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertNotEqual(row["judgement"]["way_out"], "")
        self.assertRegex(row["why"], text)
        self.assertNotRegex(row["why"], "not connected")
        done = self.cli.run("status", "--check", f"--data-dir={self.data_dir}", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"^1 of 1 agent NOT protected: 1 not stored")
        self.assertRegex(done.stdout, text)
        self.dispatcher.wait_line("store-fails: .*" + text)
        metrics = run("curl", "-s", self.url, env=environment()).stdout
        self.assertRegex(metrics, rf'(?m)^blxrep_agent_reason\{{agent="server1",reason="{reason}"\}} 1$')
        self.assertRegex(metrics, r"(?m)^blxrep_store_fails 1$")

    def test_on_event_can_be_tried(self):
        self.start_dispatcher()
        self.dispatcher.stop()
        words = ("dispatcher", "test-event", f"--data-dir={self.data_dir}")
        done = self.cli.run(*words, "--on-event=echo \"said: $BLXREP_EVENT $BLXREP_AGENT $BLXREP_COUNT $BLXREP_TEXT\"")
        self.assertIn("said: agent-lost test-event 1 this is a test by `blxrep dispatcher test-event`", done.stderr)
        self.assertRegex(done.stdout, r"^the on-event command ended with status 0 after ")
        done = self.cli.run(*words, "--on-event=echo no route; exit 7", check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"(?s)no route\n.*on-event command 'echo no route; exit 7' ended with status 7")
        done = self.cli.run(*words, "--on-event=sleep 60", "--hook-timeout=200ms", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("was killed after its limit of 200 ms", done.stderr)
        self.cli.fails(2, "on-event", *words, f"--config={self.empty_config()}")

    def empty_config(self):
        path = self.path("empty.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write("freeze: true\n")
        return path

    def test_store_in_trouble(self):
        self.begin()
        take_room(self.store.path, 0)
        self.change()
        self.wait_reason("store-full", "not-stored")
        self.check_told("store-full", "is full")
        self.check_back_off()
        self.assertRegex(self.restored_note(), r"^blxrep: 'server1' is not-stored now: store-full: ")
        give_room(self.store.path)
        self.dispatcher.wait_line("store-works: ")
        wait_until("protection", lambda: self.row()["protected"], 90)

        self.assertFalse([line for line in self.dispatcher.lines if "agent-not-stored" in line])

        with open(f"/sys/fs/ext4/{os.path.basename(self.store.device)}/trigger_fs_error", "w") as trigger:
            trigger.write("a test\n")  # it turns itself read-only
        self.change()
        self.wait_reason("store-read-only", "not-stored")
        self.check_told("store-read-only", "[Rr]ead-only")

    def test_store_that_is_unmounted(self):
        self.begin()
        run("umount", "-l", self.store.path)
        self.store.mounted = False
        self.dispatcher.wait_line(r"store-fails: .*is not the folder that the dispatcher opened")
        self.assertIn('reason="store-gone"', run("curl", "-s", self.url, env=environment()).stdout)
        self.cli.fails(1, "is the data directory mounted", "status", f"--data-dir={self.data_dir}")

    def check_back_off(self):
        """Each session ends at once, and each one waits longer: the gaps grow, and the log stays short."""
        before = self.row()["sessions"]
        wait_until("two more sessions", lambda: self.row()["sessions"] >= before + 2, 120)
        start = len(self.dispatcher.lines)
        sessions = self.row()["sessions"]
        wait_until("another session", lambda: self.row()["sessions"] > sessions, 60)
        self.assertLess(len(self.dispatcher.lines) - start, 12)

    def test_checkpoint_tells_what_it_waits_for(self):
        """On a terminal; the agent stands still until the words are there. Elsewhere there are none."""
        self.disk = self.loop_disk(16)
        self.start_dispatcher()
        agent = self.start_agent("server1", self.disk, "--skip-free-space=no")
        self.checkpoint("server1")
        terminal, program_fd = pty.openpty()
        with open(self.path("plain"), "w+b") as plain:
            agent.send(signal.SIGSTOP)
            try:
                words = [self.cli.program, "checkpoint", "--agent=server1", f"--data-dir={self.data_dir}"]
                watched = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=program_fd, env=environment())
                other = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=plain, env=environment())
                os.close(program_fd)
                shown = b""
                while b"waits: the agent 'server1' " not in shown:
                    self.assertTrue(select.select([terminal], [], [], 30)[0], "nothing is told")
                    shown += os.read(terminal, 4096)
            finally:
                agent.send(signal.SIGCONT)
            for process in (watched, other):
                self.assertRegex(process.communicate(timeout=120)[0], rb"^\d{14}\n$")
            os.close(terminal)
            plain.seek(0)
            self.assertEqual(plain.read(), b"")

    def test_enrolled_and_never_joined(self):
        self.start_dispatcher()
        self.enroll("server2")
        row = self.row("server2")
        self.assertEqual((row["protection"], row["judgement"]["reason"]), ("never-joined", "never-joined"))
        done = self.cli.run("status", "--check", f"--data-dir={self.data_dir}", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"^1 of 1 agent NOT protected: 1 never joined")
        self.dispatcher.stop()
        self.assertEqual(self.row("server2")["judgement"]["reason"], "no-dispatcher")

    def test_files_of_another_user(self):
        """The dispatcher runs as nobody, and one start by hand as root has left a file that only root may read."""
        self.begin()
        self.dispatcher.stop()
        run("chown", "-R", "65534:65534", self.data_dir)
        os.chmod(self.folder, 0o755)
        folder = os.path.join(self.data_dir, "agents", "server1", "checkpoints")
        last = os.path.join(folder, max(name for name in os.listdir(folder) if re.fullmatch(r"\d{14}", name)))
        os.chown(last, 0, 0)
        os.chmod(last, 0o600)
        self.dispatcher.prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        self.dispatcher.start(ready=False)  # nobody may not write to the test's own $NOTIFY_SOCKET
        self.dispatcher.wait_line("listening on")
        row = self.wait_reason("store-denied", "not-stored")
        self.assertRegex(row["why"], "ermission denied")
        self.assertNotRegex(row["why"], "never had a checkpoint")
        self.dispatcher.wait_line("agent 'server1': agent-not-stored: .*store-denied: ")
        os.chown(last, 65534, 65534)
        wait_until("protection", lambda: self.row()["protected"], 90)
        agents = os.path.join(self.data_dir, "agents")
        os.chown(agents, 0, 0)
        row = self.wait_reason("store-denied", "not-stored")
        self.assertIn("'" + agents + "'", row["why"])
        os.chown(agents, 65534, 65534)
        wait_until("protection", lambda: self.row()["protected"], 90)

    def restored_note(self):
        done = self.cli.run("restore", "--agent=server1", "--checkpoint=latest", f"--data-dir={self.data_dir}",
                            f"--output={self.path('image')}")
        return done.stderr


if __name__ == "__main__":
    main()
