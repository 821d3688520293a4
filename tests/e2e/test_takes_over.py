# SPDX-License-Identifier: Apache-2.0
"""A server that is restored onto another machine, with `--takes-over`: the new one is the agent, by a rescan, and the old one is refused
although both disks hold the same certificate. Machines are mount namespaces with a firmware's UUID of their own."""

import json
import os
import shutil
import time
import urllib.request

from case import Case, main
from checks import check_equal
from disks import MIB
from programs import Agent, free_port
from registry import REGISTRY, run, wait_until

OLD, NEW, THIRD = ("9c1f3a52-0001-4c0e-8000-00000000000" + letter for letter in "123")


def content(path):
    with open(path, "rb") as file:
        return file.read()


class Machine:
    """A computer: its UUID, its disk, which it calls as the old one does, and the files of its agent."""

    def __init__(self, case, name, uuid, disk, shown_as):
        self.case, self.name, self.disk, self.shown_as = case, name, disk, shown_as
        self.folder = case.path(name)
        os.mkdir(self.folder)
        self.credentials = os.path.join(self.folder, "agent.pem")
        with open(os.path.join(self.folder, "uuid"), "w", encoding="ascii") as file:
            file.write(uuid + "\n")
        os.mkdir(os.path.join(self.folder, "class"))
        # sysfs takes no new folder, so /sys/class is a tmpfs with the parts that are read, and one more.
        script = """set -e
            class=$1; uuid=$2; mine=$3; shown=$4; shift 4
            mount -t tmpfs none "$class"
            mkdir "$class/block" "$class/net" "$class/dmi" "$class/dmi/id"
            mount --bind /sys/class/block "$class/block"
            mount --bind /sys/class/net "$class/net"
            if test -n "$uuid"; then cp "$uuid" "$class/dmi/id/product_uuid"; fi
            mount --rbind "$class" /sys/class
            if test "$mine" != "$shown"; then mount --bind "$mine" "$shown"; fi
            exec "$@" """
        shown = shown_as.path if shown_as else ""
        self.prefix = ["unshare", "-m", "--propagation", "slave", "sh", "-c", script, "sh", os.path.join(self.folder, "class"),
                       os.path.join(self.folder, "uuid"), disk.path if disk else "", shown]

    def agent(self, start=True):
        agent = Agent(REGISTRY, self.folder, "server1", self.case.dispatcher.address, self.credentials, [self.shown_as.path],
                      "--skip-free-space=no")
        agent.prefix = self.prefix
        return agent.start() if start else agent

    def run(self, *words, input_text="", check=True):
        return run(*self.prefix, self.case.cli.program, *words, input_text=input_text, check=check, timeout=120)


class TakesOver(Case):
    def setUp(self):
        super().setUp()
        self.old_disk = self.loop_disk(64, "old")
        self.new_disk = self.loop_disk(64, "new")
        with open(self.old_disk.path, "r+b", buffering=0) as device:
            device.write(os.urandom(24 * MIB))
            os.fsync(device.fileno())
        self.told = self.path("events")
        script = self.path("on-event")
        with open(script, "w", encoding="ascii") as file:
            file.write(f'#!/bin/sh\necho "$BLXREP_EVENTS" >>{self.told}\n')
        os.chmod(script, 0o755)
        self.metrics = f"127.0.0.1:{free_port()}"
        self.words = [f"--on-event={script}", f"--metrics-listen={self.metrics}"]
        self.start_dispatcher(*self.words)
        self.old = Machine(self, "machine1", OLD, self.old_disk, self.old_disk)
        self.new = Machine(self, "machine2", NEW, self.new_disk, self.old_disk)
        shutil.copy(self.enroll("server1"), self.old.credentials)

    def write(self, disk, mib):
        with open(disk.path, "r+b", buffering=0) as device:
            device.seek(mib * MIB)
            device.write(os.urandom(MIB))
            os.fsync(device.fileno())

    def token(self, stamp, *words):
        done = self.cli.run("dispatcher", "restore", "--agent=server1", f"--checkpoint={stamp}", f"--data-dir={self.data_dir}", "--token",
                            f"--dispatcher-addr={self.dispatcher.address}", *words)
        return done.stdout.split()[1], done

    def pull(self, machine, token, output, check=True):
        return machine.run("agent", "restore", f"--dispatcher-addr={self.dispatcher.address}", "--token-file=-", f"--output={output}",
                           f"--state-dir={machine.folder}/state", "--force", input_text=token + "\n", check=check)

    def take_over(self, stamp):
        """The new machine has the disk, and with it the old one's credentials."""
        token, done = self.token(stamp, "--takes-over")
        self.assertIn("the old one is refused from then on", done.stderr)
        done = self.pull(self.new, token, self.new_disk.path)
        self.assertIn("this machine is the agent 'server1' from now on", done.stderr)
        shutil.copy(self.old.credentials, self.new.credentials)

    def status(self):
        return self.dispatcher.agent_state("server1")

    def settled(self):
        wait_until("the new machine has a certificate of its own", lambda: self.status()["handover"]["state"] == "settled", 60)

    def checked(self, disk, kind):
        """A checkpoint shows this disk, and was made without a full pass."""
        stamp = self.checkpoint("server1")
        row = self.row("server1", stamp)
        self.assertEqual(row["kind"], kind)
        check_equal(self.restore("server1", stamp, self.path(f"{stamp}.img")), disk.copy(self.path(f"{stamp}.copy")))

    def readmit(self):
        return self.cli.run("dispatcher", "readmit", "--agent=server1", f"--data-dir={self.data_dir}")

    def rename(self, agent_id, to):
        self.cli.run("dispatcher", "rename", f"--agent={agent_id}", f"--to={to}", f"--data-dir={self.data_dir}")

    def test_the_restored_machine_is_the_agent(self):
        old = self.old.agent()
        self.dispatcher.wait_online("server1")
        stamp = self.checkpoint("server1")
        self.write(self.old_disk, 30)
        self.checkpoint("server1")
        # The old one lives while the new one restores, and is refused once that is done.
        self.take_over(stamp)
        refused = "was restored onto another machine .*and this is not that one: .*readmit --agent=server1"
        old.wait_line(refused)
        self.dispatcher.wait_line("refused the connection|session ended after", 20)
        wait_until("status tells of it", lambda: self.status()["handover"]["refused"] > 0, 30)
        self.assertEqual(self.status()["handover"]["state"], "waiting")
        # It is refused although it came first; also a new process, and by a dispatcher that has just started.
        old.kill()
        self.dispatcher.kill()
        self.restart_dispatcher(*self.words)
        old = self.old.agent()
        old.wait_line(refused)
        wait_until("an event", lambda: os.path.exists(self.told) and b"machine-refused server1" in content(self.told), 60)
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=20) as answer:
            self.assertRegex(answer.read().decode(), r'(?m)^blxrep_agent_machines_refused_total\{agent="server1"\} [1-9]')
        own = self.cli.run("agent", "status", f"--run-dir={old.run_dir}", "--json").stdout
        self.assertIn("was restored onto another machine", json.loads(own)["last_refusal"]["text"])
        before = content(self.new.credentials)
        new = self.new.agent()
        new.wait_line("takes it over: it gets a certificate of its own")
        self.dispatcher.wait_online("server1")
        self.settled()
        self.assertNotEqual(content(self.new.credentials), before)
        self.assertEqual(content(self.old.credentials), before)
        self.dispatcher.wait_line("begins a rescan")
        self.write(self.new_disk, 40)
        self.checked(self.new_disk, "incremental")
        # From now on the certificate alone decides: the hardware is of no use to whoever has the old one.
        new.stop()
        thief = Machine(self, "thief", NEW, self.new_disk, self.old_disk)
        shutil.copy(self.old.credentials, thief.credentials)
        agent = thief.agent()
        agent.wait_line(refused)
        agent.kill()
        # And the new one may move to other hardware, and starts again as ever.
        moved = Machine(self, "moved", THIRD, self.new_disk, self.old_disk)
        shutil.copy(self.new.credentials, moved.credentials)
        new = moved.agent()
        self.dispatcher.wait_online("server1")
        self.checked(self.new_disk, "incremental")
        table = self.cli.run("dispatcher", "status", f"--data-dir={self.data_dir}").stdout
        self.assertRegex(table, r"server1: restored onto another machine, from 127\.0\.0\.1:\d+ at .*REFUSED .* ago \(if it is the right one: readmit\)")
        shown = self.cli.run("dispatcher", "show", "--agent=server1", f"--data-dir={self.data_dir}").stdout
        self.assertIn("server1: restored onto another machine", shown)
        log = self.cli.run("dispatcher", "log", f"--data-dir={self.data_dir}", "--agent=server1").stdout
        for event in ("handover ", "handover-come", "handover-done"):
            self.assertIn(event, log)
        # One command takes it back: with the ID that the refusal says, even if the dispatcher calls the agent by another name.
        self.rename("server1", "db1")
        self.dispatcher.wait_online("db1")
        self.assertIn("'db1' is the old machine again", self.readmit().stdout)
        new.wait_line("`readmit` has given the name back to the old one")
        new.kill()  # each of its tries could end a session of the old one that has not shown its hardware yet
        self.rename("db1", "server1")
        wait_until("the old one is back", lambda: old.running() and self.status()["state"].upper() != "OFFLINE", 60)
        self.write(self.old_disk, 41)
        self.checked(self.old_disk, "incremental")
        self.assertEqual(self.status()["handover"]["state"], "undone")
        self.cli.fails(1, "is the old machine already", "dispatcher", "readmit", "--agent=server1", f"--data-dir={self.data_dir}")

    def test_undone_before_it_came(self):
        old = self.old.agent()
        self.dispatcher.wait_online("server1")
        stamp = self.checkpoint("server1")
        self.cli.fails(1, "no restore of it took over", "dispatcher", "readmit", "--agent=server1", f"--data-dir={self.data_dir}")
        self.take_over(stamp)
        old.wait_line("was restored onto another machine")
        old.kill()
        self.readmit()
        new = self.new.agent()
        new.wait_line("`readmit` has given the name back to the old one")
        new.kill()  # as above
        old = self.old.agent()
        self.dispatcher.wait_online("server1")
        self.checked(self.old_disk, "incremental")
        # A token is a person's word, also for that machine.
        old.stop()
        done = self.cli.run("dispatcher", "enroll", "--agent=server1", f"--data-dir={self.data_dir}", "--token")
        self.new.run("agent", "join", f"--dispatcher-addr={self.dispatcher.address}", "--token-file=-", f"--credentials={self.new.credentials}",
                     "--force", input_text=done.stdout.split()[1] + "\n")
        self.new.agent()
        self.dispatcher.wait_online("server1")

    def test_what_cannot_take_over(self):
        agent = self.old.agent()
        self.dispatcher.wait_online("server1")
        stamp = self.checkpoint("server1")
        words = ["dispatcher", "restore", "--agent=server1", f"--checkpoint={stamp}", f"--data-dir={self.data_dir}", "--takes-over"]
        self.cli.fails(2, "give --token, too", *words, f"--output={self.path('x.img')}")
        self.cli.fails(2, "needs all disks", *words, "--token", f"--device={self.old_disk.path}")
        # A machine without a number of its own is told so before anything is written.
        token, _done = self.token(stamp, "--takes-over")
        for uuid in ("", "ffffffff-ffff-ffff-ffff-ffffffffffff"):
            nobody = Machine(self, f"nobody{len(uuid)}", uuid, None, None)
            done = self.pull(nobody, token, self.path("out.img"), check=False)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, "nothing of this machine's hardware tells it|another machine restores")
            self.assertFalse(os.path.exists(self.path("out.img")))
        # Without --takes-over nobody is refused.
        token, _done = self.token(stamp)
        self.pull(self.new, token, self.path("plain.img"))
        begun = time.monotonic()
        self.checkpoint("server1")
        self.assertLess(time.monotonic() - begun, 30)
        self.assertIsNone(self.status()["handover"])
        agent.stop()


if __name__ == "__main__":
    main()
