# SPDX-License-Identifier: Apache-2.0
"""`blxrep status` and `blxrep check` on a protected server, which ask the agent there."""

import json
import os
import socket
import stat
import subprocess

from case import Case, main
from disks import MIB
from programs import environment
from registry import run, wait_until
from workloads import fill


class AgentStatus(Case):
    def config(self, agent, *lines):
        """An agent's configuration; `blxrep` needs no option on such a machine."""
        path = self.path("agent.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join([f'id: "{agent.id}"', f'run-dir: "{agent.run_dir}"', *lines]) + "\n")
        return f"--config={path}"

    def ask(self, config, *words):
        return json.loads(self.cli.run("status", config, "--json", *words).stdout)

    def test_the_agent_tells_what_it_knows(self):
        disk, away = self.loop_disk(64), self.path("absent")
        files = disk.make("ext4")
        self.start_dispatcher()
        agent = self.start_agent("web1", [disk.path, away], "--pre-freeze=true")
        config = self.config(agent)
        timestamp = self.checkpoint("web1")
        told = self.ask(config)
        self.assertEqual((told["version"], told["mode"], told["id"]), (1, "agent", "web1"))
        self.assertEqual((told["last_checkpoint"], told["consistency"]), (timestamp, "filesystem"))
        self.assertEqual((told["dispatcher"], told["sync_freq_ms"]), (self.dispatcher.address, 3600000))
        self.assertGreater(told["connected_ms"], 0)
        self.assertIsNone(told["last_refusal"])
        self.assertFalse(told["encrypts"])
        rows = {row["device"]: row for row in told["disks"]}
        self.assertEqual((rows[disk.path]["state"], rows[disk.path]["size"]), ("protected", disk.size))
        self.assertEqual(rows[away]["state"], "refused")
        self.assertIn(away, rows[away]["why"])
        # The same judgement as the dispatcher's, which the agent tells every few seconds.
        judged = wait_until("the dispatcher's judgement", lambda: (lambda row: row if row["protection"] != "protected" else None)(
            self.dispatcher.agent_state("web1")), 30)
        self.assertEqual((told["protection"], told["judgement"]["reason"]), (judged["protection"], judged["judgement"]["reason"]))
        self.assertEqual(told["protection"], "damaged")
        self.assertEqual(self.cli.run("status", config, "--check", check=False).returncode, 1)
        self.check_rights(agent)
        self.check_slow_reader(agent, files)
        self.check_pause(config)

    def check_rights(self, agent):
        """Root alone may ask."""
        mode = os.stat(os.path.join(agent.run_dir, "control.sock")).st_mode
        self.assertTrue(stat.S_ISSOCK(mode))
        self.assertEqual(stat.S_IMODE(mode), 0o600)
        done = subprocess.run([self.cli.program, "agent", "status", f"--run-dir={agent.run_dir}"], user=65534, cwd="/",
                              capture_output=True, text=True, env=environment(), timeout=60, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"cannot reach the agent on .*\(run this as root\)")

    def check_slow_reader(self, agent, files):
        """Clients that ask and do not read hold up no checkpoint."""
        deaf = []
        for _ in range(8):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.addCleanup(client.close)
            client.connect(os.path.join(agent.run_dir, "control.sock"))
            client.sendall(bytes([0, 0, 0, 0, 66, 0, 0, 0]) * 2)
            deaf.append(client)
        fill(files.path + "/more", 4)
        self.checkpoint("web1")
        for client in deaf:
            client.close()

    def check_pause(self, config):
        self.cli.run("pause", "--agent=web1", f"--data-dir={self.data_dir}")
        told = wait_until("the pause", lambda: (lambda row: row if row["paused_since"] else None)(self.ask(config)), 30)
        self.assertEqual(told["protection"], "paused")
        self.cli.run("resume", "--agent=web1", f"--data-dir={self.data_dir}")
        wait_until("its end", lambda: self.ask(config)["paused_since"] is None, 30)

    def test_an_agent_without_a_dispatcher_says_why(self):
        disk = self.loop_disk(64)
        files = disk.make("ext4")
        self.start_dispatcher(sync_freq="10s")
        agent = self.start_agent("web1", disk)
        config = self.config(agent)
        timestamp = self.checkpoint("web1")
        told = self.ask(config)
        self.assertTrue(told["protected"], told)
        shown = self.cli.run("status", config, "--check").stdout.splitlines()
        self.assertEqual(shown[0], "this server ('web1') is protected")
        self.assertRegex(shown[1], rf"^dispatcher: '{self.dispatcher.address}', connected for ")
        self.dispatcher.stop()
        fill(files.path + "/more", 8)
        run("sync", "-f", files.path)
        told = wait_until("LOST", lambda: (lambda row: row if row["protection"] == "lost" else None)(self.ask(config)), 60)
        self.assertEqual(told["judgement"]["reason"], "no-session")
        self.assertRegex(told["last_refusal"]["text"], "nothing listens there|goodbye")
        self.assertGreaterEqual(int(told["last_checkpoint"]), int(timestamp))
        # A try that failed has looked again how much waits.
        wait_until("what is owed", lambda: self.ask(config)["dirty_bytes"] >= 8 * MIB, 60)
        done = self.cli.run("status", config, "--check", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout.splitlines()[0], r"NOT protected: no-session: .*: `blxrep agent check` looks for the cause$")
        checked = json.loads(self.cli.run("agent", "check", config, "--json", check=False).stdout)
        rows = [row for row in checked["checks"] if row["check"] == "session"]
        self.assertEqual([row["result"] for row in rows], ["fail"], rows)
        self.assertRegex(rows[0]["text"], "^lost: ")
        # It comes back, and knows by itself which checkpoint is the last.
        self.restart_dispatcher(sync_freq="10s")
        wait_until("protected again", lambda: self.ask(config)["protected"], 90)
        agent.kill()
        self.cli.fails(1, "no agent runs here, or its run-dir is not .*: start it with", "status", config)
        agent.start()
        self.dispatcher.wait_online("web1")
        wait_until("another process", lambda: self.ask(config)["state"] != "OFFLINE", 60)

    def test_a_refusal_is_told(self):
        disk = self.loop_disk(64)
        self.start_dispatcher()
        agent = self.start_agent("web1", disk)
        config = self.config(agent)
        self.checkpoint("web1")
        self.cli.run("revoke", "--agent=web1", f"--data-dir={self.data_dir}")
        told = wait_until("the refusal", lambda: self.ask(config)["last_refusal"], 60)
        self.assertRegex(told["text"], "revoked")

    def test_without_a_configuration_the_data_directory_is_missing(self):
        path = self.path("empty.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write("freeze: true\n")
        self.cli.fails(2, "key 'data-dir': missing", "status", f"--config={path}")


if __name__ == "__main__":
    main()
