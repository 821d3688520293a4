# SPDX-License-Identifier: Apache-2.0
"""Agents that get another name: their servers go on with the next increment, whatever dies meanwhile."""

import json
import os
import random
import signal
import subprocess
import time

from case import Case, main
from checks import check_equal
from workloads import fill


class Rename(Case):
    def setUp(self):
        super().setUp()
        self.disk = self.loop_disk(48)
        self.files = self.disk.make("ext4")
        fill(f"{self.files.path}/before", 12)
        self.copies = {}

    def command(self, name, agent, *words):
        return self.cli.run("dispatcher", name, f"--agent={agent}", f"--data-dir={self.data_dir}", *words)

    def names(self):
        return sorted(os.listdir(os.path.join(self.data_dir, "agents")))

    def rename(self, agent, to):
        return self.command("rename", agent, f"--to={to}")

    def settled_checkpoint(self, agent):
        """The disk at rest: its checkpoint, and a copy of it."""
        self.files.umount()
        stamp = self.checkpoint(agent)
        self.copies[stamp] = self.disk.copy(self.path(f"{stamp}.copy"))
        self.files.mount()
        return stamp

    def assert_restores(self, agent, stamp, *words):
        image = self.restore(agent, stamp, self.path(f"{stamp}.img"), *words)
        check_equal(image, self.copies[stamp])
        os.unlink(image)

    def assert_went_on(self, agent, log_from, stamp, name):
        """The checkpoint after the renaming is an increment, and the agent compared and read nothing else."""
        row = self.row(name, stamp)
        self.assertEqual(row["kind"], "incremental", row)
        self.assertLess(sum(volume["changed_bytes"] for volume in row["volumes"]), 24 << 20, row)
        said = agent.log()[log_from:]
        for words in ("full pass", "rescan", "compare"):
            self.assertNotIn(words, said)

    def assert_comes_over_the_network(self, agent, stamp, *words):
        """With a token: the machine that is written derives the keys, from the ID."""
        line = self.command("restore", agent, f"--checkpoint={stamp}", "--token", f"--dispatcher-addr={self.dispatcher.address}").stdout
        image = self.path(f"{stamp}.network")
        self.cli.run("agent", "restore", f"--dispatcher-addr={self.dispatcher.address}", "--token-file=-", f"--output={image}",
                     f"--state-dir={self.path('state')}", *words, input_text=line.split()[1] + "\n")
        check_equal(image, self.copies[stamp])

    def verify(self):
        done = self.cli.run("dispatcher", "verify", f"--data-dir={self.data_dir}")
        self.assertNotIn("damage", (done.stdout + done.stderr).replace("no damage", ""))

    def test_a_connected_agent_that_encrypts_is_renamed(self):
        key = self.path("blxrep.key")
        self.cli.run("keygen", f"--output={key}")
        self.start_dispatcher()
        agent = self.start_agent("web1", self.disk, "--skip-free-space=no", f"--encryption-key={key}")
        first = self.settled_checkpoint("web1")
        self.command("pin", "web1", f"--checkpoint={first}")
        mark = len(agent.log())
        done = self.rename("web1", "db1")
        self.assertIn("'web1' is called 'db1' from now on; its server goes on as 'web1'", done.stdout)
        self.dispatcher.wait_online("db1")
        self.assertEqual(self.names(), ["db1"])
        fill(f"{self.files.path}/after", 4)
        second = self.settled_checkpoint("db1")
        self.assert_went_on(agent, mark, second, "db1")
        for stamp in (first, second):
            self.assert_restores("db1", stamp, f"--key={key}")
        self.assert_comes_over_the_network("db1", first, f"--key={key}")
        shown = self.command("info", "db1", f"--checkpoint={second}").stdout
        self.assertRegex(shown, r"server's ID +web1, which was renamed to db1 here")
        self.assertEqual(json.loads(self.command("info", "db1", f"--checkpoint={second}", "--json").stdout)["server_id"], "web1")
        self.cli.fails(1, "unknown agent 'web1'.*'db1'", "dispatcher", "show", "--agent=web1", f"--data-dir={self.data_dir}")
        self.verify()
        self.command("prune", "db1", "--keep-last=1")
        self.assertEqual(sorted(str(row["checkpoint"]) for row in self.show("db1")), [first, second], "the pin has moved along")
        self.verify()

        self.cli.fails(1, "is the ID of the server that is called 'db1'", "dispatcher", "enroll", "--agent=web1", f"--data-dir={self.data_dir}")
        # By the ID, which is what the server's log says.
        self.assertIn("'db1' is revoked", self.command("revoke", "web1").stdout)
        agent.wait_line("the certificate of the agent 'web1' is revoked")
        self.command("enroll", "db1", f"--output={self.path('again.pem')}")
        os.replace(self.path("again.pem"), self.path("web1.pem"))
        self.dispatcher.wait_online("db1")
        lines = [line for line in json.loads(self.cli.run("dispatcher", "log", f"--data-dir={self.data_dir}", "--json").stdout)
                 if line["event"] == "rename"]
        self.assertEqual([(line["agent"], line["text"]) for line in lines], [("db1", "was 'web1'; its server's ID is 'web1'")])
        agent.stop()

    def test_deaths_while_agents_are_renamed(self):
        """blxrep, the dispatcher and the agent are killed at random moments around a renaming: one agent is left, by one of its
        names, and goes on."""
        self.start_dispatcher()
        agent = self.start_agent("web1", self.disk, "--skip-free-space=no")
        self.settled_checkpoint("web1")
        mark = len(agent.log())
        seed = int(os.environ.get("BLXREP_SEED", "16"))
        moments = random.Random(seed)
        now, other = "web1", "db1"
        for turn in range(6):
            words = [self.cli.program, "dispatcher", "rename", f"--agent={now}", f"--to={other}", f"--data-dir={self.data_dir}"]
            with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                time.sleep(moments.uniform(0.02, 0.4))
                process.send_signal(signal.SIGKILL)
            if turn % 3 == 1:
                self.dispatcher.kill()
                self.restart_dispatcher()
            left = self.names()
            self.assertIn(left, ([now], [other]), f"seed {seed}, turn {turn}")
            if left == [now]:
                self.rename(now, other)
            now, other = other, now
            self.dispatcher.wait_online(now)
        stamp = self.settled_checkpoint(now)
        self.assert_went_on(agent, mark, stamp, now)
        self.dispatcher.stop()
        self.rename(now, "cache1")
        self.restart_dispatcher()
        self.dispatcher.wait_online("cache1")
        agent.kill()
        agent.start()
        self.dispatcher.wait_online("cache1")
        self.command("rescan", "cache1")
        self.assertRegex(agent.wait_line("rescan done")[1], " 0 B differ")
        last = self.settled_checkpoint("cache1")
        self.assertLess(sum(volume["changed_bytes"] for volume in self.row("cache1", last)["volumes"]), 4 << 20,
                        "digests of before the renaming are the disk's: nothing differs")
        self.assertEqual(self.names(), ["cache1"])
        self.assert_comes_over_the_network("cache1", last)
        for stamp in self.copies:
            self.assert_restores("cache1", stamp)
        self.verify()


if __name__ == "__main__":
    main()
