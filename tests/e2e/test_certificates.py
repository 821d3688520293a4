# SPDX-License-Identifier: Apache-2.0
"""The dispatcher's certificate renews itself, its CA gets a successor: who is there notices nothing, who was away reads the way out."""

import os
import re

from case import Case, main
from programs import Clock
from registry import run, wait_until
from workloads import fill

YEAR = 365 * 24 * 3600


class Certificates(Case):
    def setUp(self):
        super().setUp()
        self.clock = Clock(self.folder)
        self.start_dispatcher(clock=self.clock)
        self.pki = os.path.join(self.data_dir, "pki")

    def tearDown(self):
        self.assert_no_half_files()

    def certificates(self, path):
        with open(path, encoding="ascii") as file:
            return re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", file.read(), re.DOTALL)

    def lasts(self, path, seconds):
        return run("openssl", "x509", "-in", path, "-noout", "-checkend", str(seconds), check=False).returncode == 0

    def command(self, *words, check=True):
        return self.cli.run("dispatcher", words[0], f"--data-dir={self.data_dir}", *words[1:], check=check)

    def agent(self, agent_id, **named):
        disk = self.loop_disk(16, agent_id)
        files = disk.make("ext4")
        return self.start_agent(agent_id, disk, clock=self.clock, **named), files, disk

    def assert_undisturbed(self, *agents):
        self.assertNotIn("session ended", self.dispatcher.log())
        for agent in agents:
            self.assertEqual(agent.log().count("connected to the dispatcher"), 1)

    def events(self):
        return re.findall(r'"event": ?"([a-z-]+)"', self.command("log", "--json").stdout)

    def test_the_dispatchers_certificate_renews_itself(self):
        agent, _files, _disk = self.agent("web1")
        cert, key = os.path.join(self.pki, "dispatcher.pem"), os.path.join(self.pki, "dispatcher.key")
        before, before_key = self.certificates(cert), run("openssl", "pkey", "-in", key, "-pubout").stdout
        self.assertFalse(self.lasts(cert, 11 * YEAR))
        first = self.dispatcher.agent_state("web1")["certificate_ends"]
        self.assertRegex(first, r"^\d{4}-")
        self.clock.set(8 * YEAR)
        self.dispatcher.wait_line("certificates have changed: the new ones are used", 60)
        self.assertTrue(self.lasts(cert, 17 * YEAR))
        self.assertNotEqual(run("openssl", "pkey", "-in", key, "-pubout").stdout, before_key, "with a new key")
        agent.wait_line("the certificate is renewed", 60)
        self.checkpoint("web1")
        self.assert_undisturbed(agent)
        self.assertIsNone(self.dispatcher.agent_state("web1")["certificate_ends"], "its next session shows the newer one")
        # By hand, and what it shows to a newcomer is the newest.
        lines = len(self.dispatcher.lines)
        self.command("renew")
        self.assertEqual(self.events()[-1], "renew")
        self.dispatcher.wait_line("certificates have changed", 60, start=lines)
        shown = run("openssl", "s_client", "-connect", self.dispatcher.address, "-alpn", "blxrep-join/1", check=False).stdout
        self.assertEqual(self.certificates(cert)[0], re.search(r"-----BEGIN CERT.*?-----END CERTIFICATE-----\n", shown, re.DOTALL)[0])
        self.assertNotEqual(self.certificates(cert), before)
        self.assert_undisturbed(agent)
        agent.stop()
        self.dispatcher.wait_offline("web1")
        agent.start()
        self.dispatcher.wait_online("web1")
        self.assertNotIn(self.dispatcher.agent_state("web1")["certificate_ends"], (None, first))

    def test_a_ca_that_cannot_sign_is_logged(self):
        os.rename(os.path.join(self.pki, "ca.key"), self.path("ca.key"))
        self.clock.set(10 * YEAR - 10 * 24 * 3600)
        self.dispatcher.wait_line("dispatcher.pem' expires in 1[0-9] days.*put ca.key back", 60)
        self.dispatcher.wait_line("certificate-ends: the dispatcher's certificate ends in 1[0-9] days", 60)
        self.cli.fails(1, "ca.key' is missing", "dispatcher", "renew-ca", f"--data-dir={self.data_dir}")

    def test_the_ca_gets_a_successor(self):
        agent, files, disk = self.agent("web1")
        away, _files, _disk = self.agent("web2")
        for agent_id in ("web1", "web2"):
            self.checkpoint(agent_id)
        away.stop()
        self.dispatcher.wait_offline("web2")
        ended = self.dispatcher.log().count("session ended")
        ca = os.path.join(self.pki, "ca.pem")
        old = self.certificates(ca)
        bundle = self.path("web1.pem")
        self.cli.fails(1, "no successor.*renew-ca", "dispatcher", "retire-ca", f"--data-dir={self.data_dir}")

        self.command("renew-ca")
        self.cli.fails(1, "has a successor already", "dispatcher", "renew-ca", f"--data-dir={self.data_dir}")
        self.dispatcher.wait_line("certificates have changed", 60)
        wait_until("web1 has moved", lambda: os.path.exists(os.path.join(self.pki, "next", "moved", "web1")), 60)
        new = self.certificates(os.path.join(self.pki, "next", "ca.pem"))
        self.assertEqual(self.certificates(bundle)[1:], new + old, "it trusts both")
        self.assertEqual(os.stat(bundle).st_mode & 0o7777, 0o600)
        self.assertIn("the CA is being replaced, 1 agent still needs the old one", self.command("status").stdout)

        # A server that joins now, and one that gets a file: both are through before the end.
        line = self.cli.run("dispatcher", "enroll", "--agent=web3", f"--data-dir={self.data_dir}", "--token",
                            f"--dispatcher-addr={self.dispatcher.address}").stdout.split()
        self.cli.run(*line[4:7], "--token=" + line[1], f"--credentials={self.path('web3.pem')}")
        joined, _files, _disk = self.agent("web3")
        wait_until("web3 has moved", lambda: os.path.exists(os.path.join(self.pki, "next", "moved", "web3")), 60)
        given, _files, _disk = self.agent("web4")
        self.assertEqual(self.certificates(self.path("web4.pem"))[1:], new + old)
        wait_until("web4 has moved", lambda: os.path.exists(os.path.join(self.pki, "next", "moved", "web4")), 60)

        for words, status, said in ((["--dry-run"], 0, "1 agent would have to join again"), ([], 1, "--force")):
            done = self.command("retire-ca", *words, check=False)
            self.assertEqual((done.returncode, done.stdout), (status, "web2\n"), done.stderr)
            self.assertIn(said, done.stderr)
        self.assertEqual(self.certificates(ca), old)
        self.command("retire-ca", "--force")
        self.assertEqual(self.certificates(ca), new)
        self.assertFalse(os.path.exists(os.path.join(self.pki, "next")) or os.path.exists(os.path.join(self.pki, "retiring")))
        self.assertEqual([event for event in self.events() if event.endswith("-ca")], ["renew-ca", "retire-ca"])
        for agent_id in ("web1", "web3", "web4"):
            wait_until(f"{agent_id} trusts the new one alone",
                       lambda path=self.path(f"{agent_id}.pem"): self.certificates(path)[1:] == new, 60)
        self.checkpoint("web1")
        self.assertEqual(self.dispatcher.log().count("session ended"), ended, "no session was disturbed")
        for there in (agent, joined, given):
            self.assertEqual(there.log().count("connected to the dispatcher"), 1)

        # Another process of each: a restart goes on where it was.
        fill(files.path + "/after", 1)
        agent.stop()
        self.dispatcher.stop()
        self.restart_dispatcher(clock=self.clock)
        self.start_agent("web1", disk, clock=self.clock)
        self.assertEqual(self.row("web1", self.checkpoint("web1"))["kind"], "incremental")

        # Whoever was away reads what to do, and after that is back where it was.
        away.start(ready=False)
        away.wait_line("another authority.*join again", 60)
        line = self.cli.run("dispatcher", "enroll", "--agent=web2", f"--data-dir={self.data_dir}", "--token",
                            f"--dispatcher-addr={self.dispatcher.address}").stdout.split()
        self.cli.run(*line[4:7], "--token=" + line[1], f"--credentials={self.path('web2.pem')}", "--force")
        self.dispatcher.wait_online("web2", 90)
        self.assertEqual(self.row("web2", self.checkpoint("web2"))["kind"], "incremental")

    def test_a_site_names_the_agents_that_it_admits(self):
        """The site's authority has signed for more clients than the agents."""
        admitted, refused = self.enroll("web1"), self.enroll("laptop")
        config = self.path("site.yaml")
        with open(config, "w", encoding="ascii") as file:
            file.write(f'tls: {{ ca: "{self.pki}/ca.pem", cert: "{self.pki}/dispatcher.pem", key: "{self.pki}/dispatcher.key" }}\n')
        self.dispatcher.stop()
        self.restart_dispatcher(f"--config={config}")
        self.dispatcher.wait_line("every client .* is admitted as an agent: name the agents", 10)
        self.dispatcher.stop()
        with open(config, "a", encoding="ascii") as file:
            file.write('admit: ["db1", "web*"]\n')
        self.restart_dispatcher(f"--config={config}")
        self.assertNotIn("name the agents", self.dispatcher.log())
        self.assertTrue(os.path.exists(admitted) and os.path.exists(refused))
        self.start_agent("web1", self.loop_disk(16, "web1"))
        agent = self.start_agent("laptop", self.loop_disk(16, "laptop"), online=False)
        agent.wait_line("'laptop' is not admitted here: its ID is not in 'admit'", 60)
        self.dispatcher.wait_line("refused .*agent 'laptop'.*not admitted", 60)
        self.checkpoint("web1")
        self.assertEqual({row["id"] for row in self.cli.status(self.data_dir) if row["sessions"] > 0}, {"web1"})


if __name__ == "__main__":
    main()
