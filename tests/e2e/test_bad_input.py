# SPDX-License-Identifier: Apache-2.0
"""Wrong usage and a wrong world: one clear line on stderr, the right exit status, nothing left half done."""

import os
import shutil
import socket

from case import Case, main
from programs import environment, free_port
from proxy import Proxy
from registry import REGISTRY, run, wait_until
from workloads import fill

NOBODY = "127.0.0.1:9"  # nobody listens there


class BadInput(Case):
    def tearDown(self):
        self.assert_no_half_files()

    def agent_fails(self, status, pattern, *, device, agent_id="server1", credentials=None, more=()):
        self.make_data_dir()
        if credentials is None:
            credentials = self.enroll("server1")
        self.cli.fails(status, pattern, "start", "--mode=agent", f"--id={agent_id}", f"--dispatcher-addr={NOBODY}",
                       f"--device={device}", f"--credentials={credentials}", f"--run-dir={self.path('run')}", *more)

    def dispatcher_fails(self, status, pattern, *more, data_dir=None, sync_freq="5"):
        self.cli.fails(status, pattern, "start", "--mode=dispatcher", f"--data-dir={data_dir or self.data_dir}",
                       f"--sync-freq={sync_freq}", f"--listen=127.0.0.1:{free_port()}", "--init", *more)

    def make_data_dir(self):
        os.makedirs(self.data_dir, exist_ok=True)

    def test_device_is_missing(self):
        self.agent_fails(1, "[\"']/dev/absent[\"']", device="/dev/absent")

    def test_device_is_a_file(self):
        path = fill(self.path("file"), 1)
        self.agent_fails(1, "block device", device=path)

    def test_device_is_a_character_device(self):
        self.agent_fails(1, "block device", device="/dev/null")

    def test_credentials_are_missing(self):
        self.agent_fails(1, "absent.pem", device=self.loop_disk(16).path, credentials=self.path("absent.pem"))

    def test_credentials_are_garbage(self):
        self.agent_fails(1, "file", device=self.loop_disk(16).path, credentials=fill(self.path("file"), 1))

    def test_credentials_of_another_agent(self):
        self.make_data_dir()
        disk = self.loop_disk(16)
        self.agent_fails(1, "web1", device=disk.path, agent_id="web10", credentials=self.enroll("web1"))
        self.assertEqual(disk.pins(), [], "a refused start leaves no tracker")

    def test_too_few_descriptors_are_named_as_what_they_are(self):
        disk = self.loop_disk(16)
        self.make_data_dir()
        words = ["--id=server1", f"--dispatcher-addr={NOBODY}", f"--device={disk.path}",
                 f"--credentials={self.enroll('server1')}", f"--run-dir={self.path('run')}"]
        for limit in (18, 20, 22, 24):
            done = run("prlimit", f"--nofile={limit}:{limit}", self.cli.program, "start", "--mode=agent", *words, check=False,
                       timeout=60, env=environment())
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertRegex(done.stderr, "LimitNOFILE|open files")
            self.assertNotIn("5.12", done.stderr)
            print(done.stderr.strip())

    def test_agent_without_what_it_needs(self):
        self.cli.fails(2, "id", "start", "--mode=agent", "--device=/dev/null", f"--dispatcher-addr={NOBODY}")
        self.cli.fails(2, "device", "start", "--mode=agent", "--id=a", f"--dispatcher-addr={NOBODY}")
        self.cli.fails(2, "dispatcher-addr", "start", "--mode=agent", "--id=a", "--device=/dev/null")
        self.cli.fails(2, "mode", "start")
        self.cli.fails(2, "mode", "start", "--mode=both")

    def test_ids_that_are_no_names(self):
        self.make_data_dir()
        for name in ("a/b", "..", "../../etc/passwd", ".", "", "x" * 300, "a b", "-x", "a\nb", "ü"):
            for command in ("enroll", "show", "checkpoint"):
                self.cli.fails(2, "agent", "dispatcher", command, f"--agent={name}", f"--data-dir={self.data_dir}")
            self.cli.fails(2, "agent", "restore", f"--agent={name}", f"--data-dir={self.data_dir}", "--checkpoint=latest")
            self.cli.fails(2, "id", "start", "--mode=agent", f"--id={name}", f"--dispatcher-addr={NOBODY}",
                           "--device=/dev/null")
        self.assertEqual(os.listdir(self.data_dir), [])

    def test_usage(self):
        data = f"--data-dir={self.data_dir}"
        self.cli.fails(2, "did you mean", "show", "--agnet=a", data)
        self.cli.fails(2, "data-dir", "show", "--agent=a")
        self.cli.fails(2, "checkpoint", "restore", "--agent=a", data)
        self.cli.fails(2, "frobnicate", "frobnicate")
        self.cli.fails(2, "frobnicate", "dispatcher", "frobnicate")
        self.cli.fails(2, "stray", "show", "--agent=a", data, "stray")
        self.cli.fails(2, "start", "show", "--agent=a", data, "--start=2026")
        self.cli.fails(2, "sync-freq", "start", "--mode=dispatcher", data)
        for value in ("0", "-1", "soon", "1y", "nan", "1e9"):
            self.dispatcher_fails(2, "sync-freq", sync_freq=value)
        self.assertFalse(os.path.exists(self.data_dir))

    def test_port_is_taken(self):
        with socket.create_server(("127.0.0.1", free_port())) as taken:
            port = taken.getsockname()[1]
            self.cli.fails(1, f"{port}.*(in use|taken)", "start", "--mode=dispatcher", f"--data-dir={self.data_dir}",
                           "--sync-freq=5", f"--listen=127.0.0.1:{port}", "--init")

    def test_listen_address_is_nonsense(self):
        for address in ("127.0.0.1:99999", "127.0.0.1:http:x", "no such host:1"):
            done = self.cli.run("start", "--mode=dispatcher", f"--data-dir={self.data_dir}", "--sync-freq=5",
                                f"--listen={address}", "--init", check=False, timeout=30)
            self.assertIn(done.returncode, (1, 2))
            self.assertIn(address, done.stderr)

    def test_data_dir_is_a_file(self):
        self.dispatcher_fails(1, "directory", data_dir=fill(self.path("file"), 1))

    def test_data_dir_below_a_file(self):
        self.dispatcher_fails(1, "file", data_dir=fill(self.path("file"), 1) + "/data")

    def test_data_dir_is_read_only(self):
        self.make_data_dir()
        run("mount", "-t", "tmpfs", "-o", "ro", "blxrep-test", self.data_dir)
        try:
            self.dispatcher_fails(1, "read-only")
        finally:
            run("umount", self.data_dir)

    def test_data_dir_of_something_else(self):
        self.make_data_dir()
        fill(os.path.join(self.data_dir, "holiday.jpg"), 1)
        self.dispatcher_fails(1, "empty")
        self.assertEqual(os.listdir(self.data_dir), ["holiday.jpg"])

    def test_data_dir_of_a_newer_format(self):
        self.start_dispatcher()
        self.dispatcher.stop()
        with open(os.path.join(self.data_dir, "format"), encoding="ascii") as file:
            text = file.read()
        with open(os.path.join(self.data_dir, "format"), "w", encoding="ascii") as file:
            file.write(text.replace("1", "987"))
        self.dispatcher_fails(1, "987")
        self.cli.fails(1, "987", "show", "--agent=a", f"--data-dir={self.data_dir}")

    def test_second_dispatcher_on_the_same_data(self):
        self.start_dispatcher()
        self.dispatcher_fails(1, "another dispatcher")
        self.assertTrue(self.dispatcher.running())

    def test_a_store_that_is_not_there_is_not_made(self):
        """Its disk may not be mounted."""
        words = (["enroll", "--agent=server1"], ["enroll", "--agent=server1", "--token"],
                 ["start", "--mode=dispatcher", "--sync-freq=5", f"--listen=127.0.0.1:{free_port()}"])
        for command in words:
            self.cli.fails(1, f"no data directory '{self.data_dir}'.*mount.*--init", *command, f"--data-dir={self.data_dir}", cwd=self.folder)
        self.make_data_dir()
        for command in words:
            self.cli.fails(1, f"'{self.data_dir}' is no store.*mount.*--init", *command, f"--data-dir={self.data_dir}", cwd=self.folder)
        self.assertEqual(os.listdir(self.data_dir), [])
        self.assertFalse(os.path.exists(self.path("server1.pem")))

    def test_second_dispatcher_after_the_lock_was_removed(self):
        self.start_dispatcher()
        os.unlink(os.path.join(self.data_dir, "lock"))
        self.dispatcher_fails(1, "another dispatcher")
        self.cli.run("status", f"--data-dir={self.data_dir}")
        self.assertTrue(os.path.exists(os.path.join(self.data_dir, "control.sock")))

    def test_data_dir_is_missing_for_a_reader(self):
        for command in (["show", "--agent=a"], ["restore", "--agent=a", "--checkpoint=latest"], ["dispatcher", "status"]):
            self.cli.fails(1, "data", *command, f"--data-dir={self.data_dir}")
        self.assertFalse(os.path.exists(self.data_dir))

    def test_enroll_never_replaces_credentials(self):
        path = self.path("taken.pem")
        with open(path, "w", encoding="ascii") as file:
            file.write("mine")
        self.cli.fails(1, "taken.pem", "dispatcher", "enroll", "--agent=a", f"--data-dir={self.data_dir}", f"--output={path}", "--init")
        with open(path, encoding="ascii") as file:
            self.assertEqual(file.read(), "mine")

    def test_enroll_by_default_into_the_current_folder(self):
        self.cli.run("dispatcher", "enroll", "--agent=server1", f"--data-dir={self.data_dir}", "--init", cwd=self.folder)
        self.assertEqual(os.stat(self.path("server1.pem")).st_mode & 0o777, 0o600)


class NoCheckpoint(Case):
    def test_a_history_that_is_removed_is_missed(self):
        told = self.path("told")
        self.start_dispatcher(f"--on-event=echo \"$BLXREP_EVENTS\" >> {told}", sync_freq="2s")
        agent = self.start_agent("server1", self.loop_disk(16))
        self.dispatcher.wait_checkpoints("server1", 1)
        shutil.rmtree(os.path.join(self.data_dir, "agents", "server1"))
        agent.wait_line("none of this server's checkpoints any more")
        self.dispatcher.wait_line(r"history is gone from the store: checkpoint \d{14} was the newest")

        def read():
            with open(told, encoding="ascii") as file:
                return file.read()
        wait_until("history-gone", lambda: os.path.exists(told) and "history-gone server1 its history is gone" in read(), 60)

    def test_checkpoint_needs_a_dispatcher_and_the_agent(self):
        words = ("dispatcher", "checkpoint", "--agent=server1", f"--data-dir={self.data_dir}")
        self.start_dispatcher()
        self.cli.fails(1, "server1", *words)
        self.start_agent("server1", self.loop_disk(16)).stop()
        self.dispatcher.wait_offline("server1")
        self.cli.fails(1, "server1", *words)
        self.dispatcher.stop()
        self.cli.fails(1, "dispatcher", *words)

    def test_unknown_agent(self):
        self.start_dispatcher()
        for command in (["show"], ["restore", "--checkpoint=latest"], ["dispatcher", "checkpoint"]):
            self.cli.fails(1, "[\"']nobody[\"']", *command, "--agent=nobody", f"--data-dir={self.data_dir}")
        self.assertEqual(self.cli.status(self.data_dir), [])

    def test_before_the_first_checkpoint(self):
        disk = self.loop_disk(128)
        files = disk.make("ext4")
        fill(files.path + "/file", 40)
        self.start_dispatcher()
        proxy = Proxy(REGISTRY, self.dispatcher.port)
        proxy.hold_after(8 << 20)
        self.start_agent("server1", disk, address=proxy.address)
        proxy.wait_held()
        wait_until("a full sync", lambda: self.dispatcher.agent_state("server1")["state"] == "FULL SYNC", 30)
        shown = self.cli.run("show", "--agent=server1", f"--data-dir={self.data_dir}", "--json")
        self.assertEqual(shown.stdout.strip(), "[]")
        self.cli.fails(1, "no checkpoint", "restore", "--agent=server1", f"--data-dir={self.data_dir}",
                       "--checkpoint=latest")
        self.assertFalse(os.path.exists(os.path.join(self.data_dir, "restore"))
                         and os.listdir(os.path.join(self.data_dir, "restore")))
        proxy.release()
        self.dispatcher.wait_checkpoints("server1", 1)


if __name__ == "__main__":
    main()
