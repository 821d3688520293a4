# SPDX-License-Identifier: Apache-2.0
"""Agents that are retired: archived, or removed for good."""

import json
import os
import pty

from case import Case, main
from programs import environment


class Remove(Case):
    def check(self):
        return self.cli.run("status", f"--data-dir={self.data_dir}", "--check", check=False)

    def audit(self):
        return json.loads(self.cli.run("log", f"--data-dir={self.data_dir}", "--json").stdout)

    def type_into(self, words, typed):
        """Runs blxrep on a terminal of its own; its status and what it shows."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execvpe(self.cli.program, [self.cli.program, *words], environment())
        os.write(terminal, typed)
        shown = b""
        try:
            while piece := os.read(terminal, 4096):
                shown += piece
        except OSError:
            pass
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()

    def test_an_agent_is_archived_and_then_removed(self):
        self.start_dispatcher()
        agents = {name: self.start_agent(name, self.loop_disk(32, name)) for name in ("web1", "web2")}
        stamps = [self.checkpoint(name) for name in agents]
        web1 = ["--agent=web1", f"--data-dir={self.data_dir}"]
        self.assertEqual(self.check().returncode, 0)

        self.cli.fails(1, "is connected .* revoke --agent=web1", "remove", *web1, "--yes")
        self.cli.run("archive", *web1)
        agents["web1"].wait_line("the agent 'web1' is archived on the dispatcher")
        self.dispatcher.wait_offline("web1")
        shown = self.check()
        self.assertEqual(shown.returncode, 0, shown.stdout)
        self.assertIn("ARCHIVED", shown.stdout)
        self.cli.run("archive", *web1, "--undo")
        self.dispatcher.wait_online("web1")
        self.assertGreater(self.checkpoint("web1"), stamps[0], "it goes on in its chain")

        self.cli.run("revoke", *web1)
        self.assertEqual(self.check().returncode, 1, "a revoked agent is not protected")
        count = len(self.show("web1"))
        self.assertIn(f"would remove all of 'web1': {count} checkpoints", self.cli.run("remove", *web1, "--dry-run").stdout)
        self.cli.fails(1, "nothing was removed: add --yes", "remove", *web1)
        status, shown = self.type_into(["remove", *web1], b"web2\n")
        self.assertEqual(status, 1, shown)
        self.assertIn("nothing was removed", shown)
        self.assertEqual(len(self.show("web1")), count)
        status, shown = self.type_into(["remove", *web1], b"web1\n")
        self.assertEqual(status, 0, shown)

        self.assertEqual(os.listdir(os.path.join(self.data_dir, "agents")), ["web2"])
        shown = self.check()
        self.assertEqual(shown.returncode, 0, "a removed agent is judged no more: " + shown.stdout)
        self.assertNotIn("web1", shown.stdout)
        self.row("web2", stamps[1])
        events = [line["event"] for line in self.audit() if line.get("agent") == "web1"]
        self.assertEqual([event for event in events if event in ("archive", "unarchive", "revoke", "remove")],
                         ["archive", "unarchive", "revoke", "remove"])
        self.cli.run("log", f"--data-dir={self.data_dir}", "--verify")


if __name__ == "__main__":
    main()
