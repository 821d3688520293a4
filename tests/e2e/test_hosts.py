# SPDX-License-Identifier: Apache-2.0
"""Several dispatchers on one data directory, each in a UTS namespace that makes it another host: a standby, and two that share it."""

import json
import os
import re
import signal
import time

from case import Case, main
from checks import check_equal
from programs import Dispatcher, bin_folder, environment, free_port
from registry import REGISTRY, run, wait_until

TAKEOVER_SECONDS = 10


def on_host(name):
    return ["unshare", "--uts", "sh", "-c", f'hostname {name}; exec "$@"', "sh"]


class Hosts(Case):
    def data_dir_of(self, host):
        """Where that host has the data directory; cephfs.py has another place for each."""
        del host
        return self.data_dir

    def start_on(self, host, *words, ready=True):
        dispatcher = Dispatcher(REGISTRY, self.folder, self.data_dir_of(host), *words, name=f"dispatcher-{host}", port=free_port())
        dispatcher.prefix = on_host(host)
        return dispatcher.start(ready=ready)

    def ask(self, host, *words, check=True):
        """`blxrep dispatcher ...` on that host."""
        return run(*on_host(host), os.path.join(bin_folder(), "blxrep"), "dispatcher", *words, f"--data-dir={self.data_dir_of(host)}",
                   check=check, timeout=60, env=environment())

    def states(self, host):
        """Agent -> its state and the other dispatcher that has it."""
        rows = json.loads(self.ask(host, "status", "--json").stdout)
        return {row["id"]: (row["state"].upper(), row["dispatcher"]) for row in rows}

    def wait_state(self, host, agent_id, live, place, seconds=30):
        def seen():
            state, at = self.states(host).get(agent_id, ("OFFLINE", None))
            return (state != "OFFLINE") == live and at == place
        wait_until(f"'{agent_id}' {'live' if live else 'offline'} at {place or 'the one asked'}, as {host} sees it", seen, seconds)

    def test_a_standby_takes_over(self):
        disk = self.loop_disk(64)
        filesystem = disk.make("ext4")
        first = self.dispatcher = self.start_on("alpha")
        second = self.start_on("beta", "--standby")
        addresses = f"{second.address},{first.address}"
        agent = self.start_agent("web1", disk, "--skip-free-space=no", address=addresses)
        self.checkpoint("web1")
        told = agent.run_dir
        shown = self.cli.run("agent", "status", f"--run-dir={told}").stdout
        self.assertIn(f"dispatcher: '{first.address}', connected", shown)
        self.assertIn(addresses, shown)

        self.wait_state("beta", "web1", True, None)
        shown = self.ask("beta", "status").stdout
        self.assertRegex(shown, r"dispatcher 'beta' \(this one\) is a STANDBY since .* would listen on")
        self.assertRegex(shown, r"dispatcher 'alpha' has the data directory alone since .* listens on")
        self.assertRegex(self.ask("alpha", "status").stdout, r"dispatcher 'beta' is a STANDBY since")
        refused = self.ask("beta", "checkpoint", "--agent=web1", check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("this dispatcher is a standby: run the command on the host 'alpha'", refused.stderr)
        self.cli.fails(1, "another dispatcher is running", "start", "--mode=dispatcher", f"--data-dir={self.data_dir}",
                       f"--listen=127.0.0.1:{free_port()}", "--sync-freq=1h")
        second.send(signal.SIGHUP)
        second.wait_line("SIGHUP changes nothing while this dispatcher is a standby")

        with open(os.path.join(filesystem.path, "written"), "wb") as file:
            file.write(os.urandom(1 << 20))
        filesystem.umount()
        copy = disk.copy(self.path("copy"))
        before = time.monotonic()
        first.kill()
        second.wait_line("taking over .* from 'alpha'", TAKEOVER_SECONDS)
        self.dispatcher, self.data_dir = second, self.data_dir_of("beta")
        second.wait_online("web1", TAKEOVER_SECONDS)
        seconds = time.monotonic() - before
        self.assertLess(seconds, TAKEOVER_SECONDS)
        print(f"\nthe agent was back {seconds:.1f} s after kill -9", flush=True)
        stamp = self.checkpoint("web1")
        agent.wait_line("'/dev/loop[0-9]+': resumed, ")
        self.assertNotRegex("\n".join(agent.lines), "rescan \\(|full pass: (?!first sync)")
        check_equal(self.restore("web1", stamp, self.path("image")), copy)
        self.assertNotIn("STANDBY", self.ask("beta", "status").stdout)
        # The one that was killed comes back as the standby of the other.
        third = self.start_on("alpha", "--standby")
        third.wait_line("the dispatcher 'beta' has")
        third.stop()
        second.stop()
        self.cli.run("dispatcher", "verify", f"--data-dir={self.data_dir}")

    def test_two_share_and_an_agent_moves(self):
        disks = {name: self.loop_disk(32, name) for name in ("web1", "web10")}
        alpha = self.dispatcher = self.start_on("alpha", "--shared")
        beta = self.start_on("beta", "--shared")
        self.cli.fails(1, "another dispatcher is running", "start", "--mode=dispatcher", f"--data-dir={self.data_dir}",
                       f"--listen=127.0.0.1:{free_port()}", "--sync-freq=1h")
        addresses = f"{alpha.address},{beta.address}"
        agents = {name: self.start_agent(name, disks[name], address=address, online=False)
                  for name, address in (("web1", addresses), ("web10", f"{beta.address},{alpha.address}"))}
        self.wait_state("alpha", "web1", True, None)
        self.wait_state("beta", "web10", True, None)
        # Each tells about all.
        self.wait_state("alpha", "web10", True, "beta")
        self.wait_state("beta", "web1", True, "alpha")
        self.assertRegex(self.ask("alpha", "status").stdout, r"dispatcher 'beta' shares the data directory since .*: 1 agent\n")
        self.ask("alpha", "checkpoint", "--agent=web1")
        stamp = re.search(r"\b\d{14}\b", self.ask("beta", "checkpoint", "--agent=web10").stdout).group()
        refused = self.ask("alpha", "checkpoint", "--agent=web10", check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("connected to the dispatcher 'beta'", refused.stderr)
        check_equal(self.restore("web10", stamp, self.path("web10.img")), disks["web10"].copy(self.path("web10.copy")))

        self.ask("beta", "move", "--agent=web1", "--to=beta")
        self.wait_state("beta", "web1", True, None)
        self.wait_state("alpha", "web1", True, "beta")
        agents["web1"].wait_line("'/dev/loop[0-9]+': resumed, ")
        self.ask("beta", "checkpoint", "--agent=web1")
        self.assertNotRegex("\n".join(agents["web1"].lines), "rescan \\(")
        unknown = self.ask("beta", "move", "--agent=web1", "--to=gamma", check=False)
        self.assertEqual(unknown.returncode, 1)
        self.assertIn("no dispatcher 'gamma' shares", unknown.stderr)

        # What a command on one host has written ends the session on the other.
        self.ask("alpha", "revoke", "--agent=web10")
        beta.wait_line("agent 'web10' is revoked", 20)
        self.wait_state("alpha", "web10", False, None)

        # The one that is left takes all agents, also one that was moved away from it.
        before = time.monotonic()
        beta.kill()
        self.wait_state("alpha", "web1", True, None, TAKEOVER_SECONDS)
        print(f"\nthe agent was at the other one {time.monotonic() - before:.1f} s after kill -9", flush=True)
        wait_until("a checkpoint at alpha", lambda: self.ask("alpha", "checkpoint", "--agent=web1", check=False).returncode == 0, 20)
        self.assertNotRegex("\n".join(agents["web1"].lines), "rescan \\(")
        alpha.stop()
        self.cli.run("dispatcher", "verify", f"--data-dir={self.data_dir}")


if __name__ == "__main__":
    main()
