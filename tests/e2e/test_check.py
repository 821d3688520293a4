# SPDX-License-Identifier: Apache-2.0
"""`blxrep check`: what would keep a dispatcher or an agent from working is named, and a healthy one has nothing to name."""

import json
import os
import socket

from case import Case, main
from programs import Clock, free_port, run_with

NOBODY = 65534
YEAR = 365 * 24 * 3600


class Check(Case):
    def examine(self, side, *words, status=0, clock=None):
        """The findings of --json, by check; the exit status and the table agree with them."""
        done = run_with(clock, self.cli.program, side, "check", *words, "--json")
        self.assertEqual(done.stderr, "")
        told = json.loads(done.stdout)
        self.assertEqual((told["version"], told["mode"]), (1, side))
        self.assertEqual(done.returncode, status, done.stdout)
        failed = [row for row in told["checks"] if row["result"] == "fail"]
        self.assertEqual(bool(failed), status == 1, done.stdout)
        self.assertEqual(told["result"] == "fail", status == 1)
        for row in told["checks"]:
            self.assertEqual(set(row), {"check", "result", "object", "text", "way_out"})
        return told["checks"]

    def fails(self, side, check, name, pattern, *words, clock=None):
        """Just this check fails, and it names the object, in JSON and in the table."""
        failed = [row for row in self.examine(side, *words, status=1, clock=clock) if row["result"] == "fail"]
        self.assertEqual([row["check"] for row in failed], [check], failed)
        self.assertIn(name, f"{failed[0]['object']}: {failed[0]['text']}")
        self.assertRegex(failed[0]["text"], pattern)
        shown = run_with(clock, self.cli.program, side, "check", *words)
        self.assertEqual(shown.returncode, 1, shown.stdout)
        lines = [line for line in shown.stdout.splitlines() if line.startswith("FAIL ")]
        self.assertEqual(len(lines), 1, shown.stdout)
        self.assertIn(name, lines[0])
        self.assertRegex(lines[0], pattern)
        self.assertIn("1 FAIL", shown.stdout.splitlines()[-1])
        return failed[0]

    def of_dispatcher(self, port, *words):
        return [f"--config={self.config()}", f"--data-dir={self.data_dir}", "--sync-freq=1h", f"--listen=127.0.0.1:{port}",
                f"--policy-dir={self.policies()}", *words]

    def config(self):
        """Without one the machine's own would be read."""
        path = self.path("config.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write('freeze: true\n')
        return path

    def policies(self):
        os.makedirs(self.path("policies"), exist_ok=True)
        return self.path("policies")

    def script(self, mode):
        path = self.path("tell")
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n")
        os.chmod(path, mode)
        return path

    def results(self, rows):
        return {row["check"]: row["result"] for row in rows}

    def test_a_healthy_dispatcher_and_agent(self):
        self.start_dispatcher()
        disk = self.loop_disk(16)
        agent = self.start_agent("web1", disk)
        self.checkpoint("web1")
        words = self.of_dispatcher(self.dispatcher.port, f"--on-event={self.script(0o755)} now")
        rows = self.examine("dispatcher", *words)
        results = self.results(rows)
        for check in ("configuration", "port", "data-dir", "mount", "certificates", "policies", "commands"):
            self.assertEqual(results.pop(check), "ok", rows)
        self.assertIn(results.pop("owner"), ("ok", "warn"), "root's, on a machine that may have the service's user")
        self.assertIn(results.pop("room"), ("ok", "warn"), "the machine's disk may be nearly full")
        self.assertEqual(results, {})
        room = next(row["text"] for row in rows if row["check"] == "room")
        self.assertRegex(room, r"free.*the last day's checkpoints stored .*room for \d+ day")
        self.assertEqual(len([row for row in rows if row["check"] == "certificates"]), 2)

        rows = self.examine("agent", f"--config={self.config()}", *agent.words[1:], f"--pre-freeze={self.script(0o755)}")
        self.assertEqual([row["check"] for row in rows if row["result"] not in ("ok", "skipped")], [], rows)
        self.assertEqual({row["check"] for row in rows if row["result"] == "skipped"}, {"clock", "reboot"})
        self.assertIn(disk.path, [row["object"] for row in rows if row["check"] == "device"])
        self.assertEqual(self.results(rows)["dispatcher"], "ok")

        self.cli.fails(2, "agent check", "check", f"--config={self.config()}")
        by_mode = self.cli.run("check", "--mode=dispatcher", *words).stdout
        self.assertIn("0 FAIL", by_mode)
        self.assertNotIn("\033", by_mode)

    def test_what_keeps_a_dispatcher_from_working_is_named(self):
        port = free_port()
        words = self.of_dispatcher(port)
        row = self.fails("dispatcher", "data-dir", self.data_dir, "there is no data directory", *words)
        self.assertEqual(row["object"], self.data_dir)
        self.assertFalse(os.path.exists(self.data_dir), "a check makes nothing")

        self.enroll("web1")
        self.examine("dispatcher", *words)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
            taken.listen()
            self.fails("dispatcher", "port", f"127.0.0.1:{port}", "in use|taken", *words)

        script = self.script(0o644)
        self.fails("dispatcher", "commands", script, "not executable", *words, f"--on-event={script} now")
        self.fails("dispatcher", "configuration", "config.yaml", "sync-freq.*missing", *[word for word in words if "sync-freq" not in word])
        with open(os.path.join(self.policies(), "web.yaml"), "w", encoding="utf-8") as file:
            file.write('agents: ["web*"]\nsync-frequency: 3\n')
        self.fails("dispatcher", "policies", "web.yaml", "sync-frequency", *words)
        os.unlink(os.path.join(self.policies(), "web.yaml"))

        os.chmod(self.folder, 0o711)
        os.chmod(os.path.join(self.data_dir, "agents"), 0o700)
        for folder, _folders, files in os.walk(self.data_dir):
            for path in [folder, *[os.path.join(folder, name) for name in files]]:
                os.chown(path, NOBODY, NOBODY)
        self.examine("dispatcher", *words)
        os.chown(os.path.join(self.data_dir, "agents"), 0, 0)
        self.fails("dispatcher", "data-dir", os.path.join(self.data_dir, "agents"), "belongs to the user 0", *words)

    def test_an_expired_certificate_is_named(self):
        self.start_dispatcher()
        agent = self.start_agent("web1", self.loop_disk(16))
        of_agent = [f"--config={self.config()}", *agent.words[1:]]
        words = self.of_dispatcher(self.dispatcher.port)
        clock = Clock(self.folder)
        clock.set(11 * YEAR)
        self.fails("agent", "credentials", self.path("web1.pem"), "expired", *of_agent, clock=clock)
        self.fails("dispatcher", "certificates", "dispatcher.pem", "expired", *words, clock=clock)
        self.assertEqual(self.results(self.examine("agent", *of_agent))["credentials"], "ok", "the clock alone was wrong")

    def test_what_keeps_an_agent_from_working_is_named(self):
        self.start_dispatcher()
        disk = self.loop_disk(16)
        words = [f"--config={self.config()}", "--id=web1", f"--dispatcher-addr={self.dispatcher.address}",
                 f"--credentials={self.enroll('web1')}", f"--run-dir={self.path('run')}"]
        self.examine("agent", *words, f"--device={disk.path}")
        self.dispatcher.wait_line("the agent 'web1' at .* connected and left")
        self.assertNotIn("refusal", self.cli.run("log", f"--data-dir={self.data_dir}").stdout, "nobody was refused")
        self.fails("agent", "device", "/dev/absent", "No such file", *words, f"--device={disk.path}", "--device=/dev/absent")
        self.fails("agent", "device", "/dev/null", "no block device", *words, "--device=/dev/null")
        words.append(f"--device={disk.path}")
        script = self.script(0o644)
        self.fails("agent", "commands", script, "not executable", *words, f"--post-thaw={script}")
        self.fails("agent", "credentials", "web1.pem", "not for 'web2'", *words, "--id=web2")
        address = f"127.0.0.1:{free_port()}"
        others = [word for word in words if not word.startswith("--dispatcher-addr")]
        self.fails("agent", "dispatcher", address, "nothing listens there", *others, f"--dispatcher-addr={address}")
        both = self.examine("agent", *others, f"--dispatcher-addr={address},{self.dispatcher.address}")
        self.assertEqual([(row["object"], row["result"]) for row in both if row["check"] == "dispatcher"],
                         [(address, "skipped"), (self.dispatcher.address, "ok")])
        self.fails("agent", "encryption", self.path("no.key"), "No such file", *words, f"--encryption-key={self.path('no.key')}")
        mark = self.path("web1.pem.encrypted")
        with open(mark, "w", encoding="ascii"):
            pass
        self.fails("agent", "encryption", mark, "sent everything encrypted so far", *words)
        self.examine("agent", *words, "--encryption-key=none")
        os.unlink(mark)
        os.mkdir(self.path("run"))
        os.chown(self.path("run"), NOBODY, NOBODY)
        self.fails("agent", "run-dir", self.path("run"), f"belongs to the user {NOBODY}", *words)


if __name__ == "__main__":
    main()
