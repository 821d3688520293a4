# SPDX-License-Identifier: Apache-2.0
"""Policies, pauses, and disks that come and go, as an operator meets them."""

import json
import os
import random
import signal
import stat
import time

from case import Case, main
from checks import check_equal
from disks import MIB, LoopDisk
from load import Load
from registry import REGISTRY, run, wait_until
from workloads import fill


class NumberedDisk(LoopDisk):
    """A loop device with a number that the test chooses, so that a pattern matches only the test's disks."""

    def __init__(self, folder, number, mib):
        self.wanted = f"/dev/loop{number}"
        super().__init__(REGISTRY, folder, mib, f"numbered-{number}-{random.randrange(1 << 30)}")

    def attach(self):
        run("losetup", self.wanted, self.file)
        return self.wanted

    def hide(self):
        """Looks like a disk that is pulled out. A loop device itself stays as long as somebody has it open."""
        os.unlink(self.path)

    def detach(self):
        if not os.path.exists(self.path):
            os.mknod(self.path, stat.S_IFBLK | 0o600, os.makedev(7, int(self.name.removeprefix("loop"))))
        super().detach()


def free_numbers():
    """Ten loop devices that nobody uses, numbered from a multiple of ten on."""
    while True:
        base = 10 * random.randrange(20, 90)
        if not any(os.path.exists(f"/sys/block/loop{number}/loop/backing_file") for number in range(base, base + 10)):
            return base


class Policy(Case):
    def setUp(self):
        super().setUp()
        self.policies = self.path("policies")
        os.mkdir(self.policies)
        self.word = f"--policy-dir={self.policies}"

    def write(self, name, *lines):
        with open(os.path.join(self.policies, name), "w", encoding="ascii") as file:
            file.write("".join(line + "\n" for line in lines))

    def reload(self, pattern):
        start = len(self.dispatcher.lines)
        self.dispatcher.send(signal.SIGHUP)
        return self.dispatcher.wait_line(pattern, start=start)[1]

    def policy(self, agent_id, *words):
        done = self.cli.run("dispatcher", "policy", f"--agent={agent_id}", self.word, "--json", *words)
        return json.loads(done.stdout)

    def volumes(self, agent_id):
        return sorted(volume["device"] for volume in self.show(agent_id)[-1]["volumes"])

    def assert_no_rescan(self, log):
        """Except one that the kernel is to blame for, see "A witness beside the tracker" in docs/decisions/tracking.md."""
        if "without a run of the tracker" not in log:
            self.assertNotIn("rescan", log)

    def pause(self, agent_id, word="pause"):
        self.cli.run("dispatcher", word, f"--agent={agent_id}", f"--data-dir={self.data_dir}")

    def test_policy_says_what_applies_and_why(self):
        self.write("10-all.yaml", 'agents: "*"', "retention: { keep-daily: 7 }", "sync-freq: 5")
        self.write("20-db.yaml", 'agents: ["web*", "db[1-3]"]', 'sync-freq: "30s"', 'bandwidth-limit: "mon-fri 08:00-18:00 2M, 20M"',
                   'exclude: ["sdb", "loop*"]')
        self.write(".hidden.yaml", "rubbish")
        found = self.policy("db2")
        self.assertEqual(found["sync-freq"], {"value": 30000, "source": "policy", "file": f"{self.policies}/20-db.yaml",
                                              "pattern": "db[1-3]"})
        self.assertEqual(found["retention"]["value"], {"keep-daily": 7})
        self.assertEqual(found["retention"]["pattern"], "*")
        self.assertEqual(found["exclude"]["value"], ["sdb", "loop*"])
        self.assertEqual(found["bandwidth-limit"]["value"], "mon-fri 08:00-18:00 2M, 20M")
        self.assertEqual(self.policy("db4")["sync-freq"]["value"], 300000)
        self.assertEqual(self.policy("db4")["exclude"], {"value": [], "source": "default"})
        table = self.cli.run("dispatcher", "policy", "--agent=web9", self.word).stdout
        self.assertRegex(table, r"sync-freq +30.0 s +\S+20-db.yaml +web\*")
        self.write("30-bad.yaml", "agents: web1", "sync-freq: 3")
        self.cli.fails(2, r"30-bad.yaml', line 1, key 'agents': .*write +agents: \"web1\"", "dispatcher", "policy", "--agent=a", self.word)
        self.cli.fails(2, "30-bad.yaml", "start", "--mode=dispatcher", f"--data-dir={self.data_dir}", "--sync-freq=1h",
                       "--listen=127.0.0.1:0", self.word)

    def test_reload_reads_the_configuration(self):
        """sync-freq, retention and on-event are taken; what needs a restart is named; a mistake changes nothing."""
        config = self.path("config.yaml")

        def write(*lines):
            with open(config, "w", encoding="ascii") as file:
                file.write("".join(line + "\n" for line in lines))
        write('sync-freq: "1h"', 'on-event: "true"')
        self.start_dispatcher(self.word, f"--config={config}", sync_freq=None)
        self.start_agent("server1", self.loop_disk(16))
        self.assertEqual(self.dispatcher.agent_state("server1")["sync_freq_ms"], 3600000)
        write('sync-freq: "2s"', 'on-event: "false"', 'retention: { keep-last: 7 }', 'rewrite-rate: "1M"')
        start = len(self.dispatcher.lines)
        self.reload("sync-freq and retention are new, on-event is new")
        self.dispatcher.wait_line("rewrite-rate is another one in the configuration: restart", start=start)
        self.assertEqual(self.dispatcher.agent_state("server1")["sync_freq_ms"], 2000)
        self.dispatcher.wait_checkpoints("server1", 3)
        self.reload("sync-freq and retention are as before, on-event is as before")
        write('sync-freq: "2s"', "retention: { keep-lst: 7 }")
        self.reload("stay as they were: .*keep-lst")
        self.assertEqual(self.dispatcher.agent_state("server1")["sync_freq_ms"], 2000)

    def test_what_is_in_force_is_shown_and_what_is_not(self):
        """`policy` asks the dispatcher; a file that was changed and not read again is told, by `status`, too."""
        self.write("web.yaml", 'agents: "web*"', 'sync-freq: "30s"', "retention: { keep-last: 20 }")
        config = self.path("config.yaml")
        with open(config, "w", encoding="ascii") as file:
            file.write('sync-freq: "1h"\n')
        self.start_dispatcher(self.word, f"--config={config}", sync_freq=None)
        words = ("--agent=web1", self.word, f"--data-dir={self.data_dir}", f"--config={config}")

        def ask():
            done = self.cli.run("dispatcher", "policy", *words, "--json")
            return json.loads(done.stdout), done.stderr

        def status():
            return self.cli.run("status", f"--data-dir={self.data_dir}").stdout
        found, said = ask()
        self.assertEqual(found["sync-freq"], {"value": 30000, "source": "policy", "file": f"{self.policies}/web.yaml", "pattern": "web*"})
        self.assertEqual(found["retention"]["value"], {"keep-last": 20})
        self.assertEqual(said, "")
        self.assertNotIn("configuration:", status())
        # A change is not in force before a reload.
        self.write("web.yaml", 'agents: "web*"', 'sync-freq: "30s"', "retention: { keep-last: 2 }")
        found, said = ask()
        self.assertEqual(found["retention"]["value"], {"keep-last": 20})
        self.assertEqual(found["retention"]["pending"]["value"], {"keep-last": 2})
        self.assertNotIn("pending", found["sync-freq"])
        self.assertRegex(said, r"NOT in force: retention: keep-last: 2 \(\S+/web.yaml\): systemctl reload blxrep-dispatcher")
        self.assertRegex(status(), r"(?m)^configuration: '\S+/web.yaml' was changed and is not in force: systemctl reload blxrep-dispatcher$")
        # Neither is one that a reload would refuse.
        self.write("bad.yaml", "agents: web1")
        found, said = ask()
        self.assertEqual(found["retention"]["value"], {"keep-last": 20})
        self.assertRegex(said, "the files cannot be loaded again: .*bad.yaml")
        self.reload("stay as they were: .*bad.yaml")
        self.assertIn("is not in force", status())
        os.unlink(os.path.join(self.policies, "bad.yaml"))
        with open(config, "w", encoding="ascii") as file:
            file.write('sync-freq: "2h"\nrewrite-rate: "1M"\n')
        self.reload("policies in .* were read again: 1")
        found, said = ask()
        self.assertEqual(found["retention"]["value"], {"keep-last": 2})
        self.assertNotIn("pending", found["retention"])
        self.assertRegex(status(), r"(?m)^configuration: rewrite-rate is another one in the configuration: systemctl restart ")
        # A policy that is new, or gone, is one that is not in force.
        self.write("other.yaml", 'agents: "db*"', "sync-freq: 3")
        self.assertRegex(status(), r"(?m)^configuration: '\S+/other.yaml' is new and is not in force")
        os.unlink(os.path.join(self.policies, "other.yaml"))
        os.unlink(os.path.join(self.policies, "web.yaml"))
        self.assertRegex(status(), r"(?m)^configuration: '\S+/web.yaml' is gone and is not in force")
        self.dispatcher.stop()
        found, said = ask()
        self.assertEqual(found["sync-freq"], {"value": 7200000, "source": "config"})
        self.assertIn("these are the files' settings", said)

    def test_a_reload_announces_what_the_next_prune_would_remove(self):
        """In the log and the audit log, before anything goes, also of an agent that is away; a dry run agrees."""
        self.write("web.yaml", 'agents: "web*"', 'retention: { keep-last: 20, min-age: "1ms" }')
        self.start_dispatcher(self.word, "--prune-grace=1h")
        agents = [self.start_agent(name, self.loop_disk(16, name)) for name in ("web1", "web2", "db1")]
        for agent in agents:
            for _ in range(4 if agent.id == "web1" else 1):
                self.checkpoint(agent.id)
        agents[0].stop()
        before = len(self.show("web1"))
        # Checkpoints of one second have names ahead of the clock, and min-age keeps them until then.
        newest = str(self.show("web1")[-1]["checkpoint"])
        wait_until("the newest one's time", lambda: time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() - 1)) > newest, 30)
        self.write("web.yaml", 'agents: "web*"', 'retention: { keep-last: 3, min-age: "1ms" }')
        start = len(self.dispatcher.lines)
        self.reload("policies in .* were read again: 1")
        line = f"retention of agent 'web1' changed: the next prune would remove {before - 3} of {before} checkpoints"
        self.dispatcher.wait_line(line, start=start)
        told = json.loads(self.cli.run("dispatcher", "log", f"--data-dir={self.data_dir}", "--json").stdout)
        texts = [(row["agent"], row["text"]) for row in told if row["event"] == "retention"]
        self.assertEqual(texts, [("web1", f"changed: the next prune would remove {before - 3} of {before} checkpoints")])
        done = self.cli.run("prune", f"--data-dir={self.data_dir}", "--agent=web1", "--dry-run", self.word)
        self.assertIn(f"'web1': {before - 3} of {before} checkpoints would be removed", done.stderr)
        self.assertEqual(len(self.show("web1")), before, "nothing is gone yet")
        # Rules that stay the same are not announced again, and neither are those of others.
        start = len(self.dispatcher.lines)
        self.reload("policies in .* were read again: 1")
        self.write("web.yaml", 'agents: "web*"', "retention: { }")
        self.reload("policies in .* were read again: 1")
        self.dispatcher.stop()
        self.assertNotIn("retention of agent", "\n".join(self.dispatcher.lines[start:]))

    def test_agents_have_their_own_sync_freq_and_retention(self):
        self.write("web.yaml", 'agents: "web*"', 'sync-freq: "2s"', 'retention: { keep-last: 2, min-age: "1ms" }')
        self.start_dispatcher(self.word)
        for name in ("web1", "db1"):
            self.start_agent(name, self.loop_disk(16, name))
        self.dispatcher.wait_checkpoints("db1", 1)
        self.dispatcher.wait_line(r"agent 'web1': removed \d+ checkpoint")
        # New ones may come before the next round of the pruner.
        wait_until("that few are left", lambda: len(self.show("web1")) <= 3, 60)
        self.assertEqual(self.dispatcher.agent_state("web1")["sync_freq_ms"], 2000)
        self.assertEqual(self.dispatcher.agent_state("db1")["sync_freq_ms"], 3600000)
        # Its beat, once an hour, may just have come.
        self.assertLessEqual(len(self.show("db1")), 2)
        # A changed file counts without a restart; a wrong one changes nothing.
        self.write("web.yaml", 'agents: "db*"', 'sync-freq: "2s"', "retention: { }")
        self.reload("policies in .* were read again: 1")
        self.dispatcher.wait_checkpoints("db1", 4)
        self.assertEqual(self.dispatcher.agent_state("web1")["sync_freq_ms"], 3600000)
        self.write("bad.yaml", 'agents: "db*"', "sync-frek: 1")
        self.assertIn("bad.yaml', line 2, key 'sync-frek'", self.reload("the policies stay as they were"))
        before = len(self.show("db1"))
        self.dispatcher.wait_checkpoints("db1", before + 2)

    def test_required_encryption_takes_nothing_in_the_clear(self):
        key = self.path("web.key")
        self.cli.run("keygen", f"--output={key}")
        self.write("web.yaml", 'agents: "web*"', 'encryption: "required"')
        self.assertEqual(self.policy("web1")["encryption"]["value"], "required")
        self.start_dispatcher(self.word)
        plain = self.start_agent("web1", self.loop_disk(16, "web1"), online=False)
        plain.wait_line("the policy of the agent 'web1' on the dispatcher demands encryption.*encryption-key")
        row = self.dispatcher.agent_state("web1")
        self.assertEqual((row["protection"], row["judgement"]["reason"]), ("not-stored", "unencrypted"))
        self.start_agent("web2", self.loop_disk(16, "web2"), f"--encryption-key={key}")
        self.checkpoint("web2")
        self.assertFalse(os.path.exists(os.path.join(self.data_dir, "agents", "web1", "volumes")))
        self.write("web.yaml", 'agents: "web*"', 'encryption: "optional"')
        self.reload("policies in .* were read again: 1")
        self.dispatcher.wait_online("web1")
        self.checkpoint("web1")
        # And back: the session that runs ends at once, the encrypted one stays.
        self.write("web.yaml", 'agents: "web*"', 'encryption: "required"')
        self.reload("policies in .* were read again: 1")
        wait_until("it is refused again", lambda: self.dispatcher.agent_state("web1")["protection"] == "not-stored", 60)
        self.checkpoint("web2")

    def test_exclude_leaves_out_and_takes_back(self):
        disks = [self.loop_disk(16, name) for name in ("one", "two")]
        self.write("x.yaml", 'agents: "web1"', f'exclude: ["{disks[1].name}"]')
        self.start_dispatcher(self.word)
        agent = self.start_agent("web1", [disk.path for disk in disks])
        # Its first session brings the policy, and ends with it.
        wait_until("one disk is left out", lambda: (self.dispatcher.agent_state("web1") or {}).get("volumes") == 1, 30)
        self.checkpoint("web1")
        self.assertEqual(self.volumes("web1"), [disks[0].path])
        os.unlink(f"{self.policies}/x.yaml")
        self.reload("were read again: 0")
        agent.wait_line(f"'{disks[1].path}' is tracked", start=len(agent.lines) - 1)
        wait_until("both disks are there", lambda: self.dispatcher.agent_state("web1")["volumes"] == 2, 30)
        both = self.checkpoint("web1")
        self.assertEqual(self.volumes("web1"), sorted(disk.path for disk in disks))
        self.assertEqual(len(self.cli.restore("web1", self.data_dir, both)), 2)
        self.write("x.yaml", 'agents: "web1"', f'exclude: ["{disks[0].path}"]')
        self.reload("were read again: 1")
        agent.wait_line(f"'{disks[0].path}' is left out")
        wait_until("one disk is left", lambda: self.dispatcher.agent_state("web1")["volumes"] == 1, 30)
        self.checkpoint("web1")
        self.assertEqual(self.volumes("web1"), [disks[1].path])
        self.assertEqual(disks[0].pins(), [])
        # All disks excluded: the agent waits, says why, and comes back.
        self.write("x.yaml", 'agents: "web1"', 'exclude: ["loop*"]')
        self.reload("were read again: 1")
        agent.wait_line("there is nothing to protect")
        os.unlink(f"{self.policies}/x.yaml")
        self.reload("were read again: 0")
        wait_until("both are back", lambda: (self.dispatcher.agent_state("web1") or {}).get("connected_ms", 0) > 0
                   and self.dispatcher.agent_state("web1")["volumes"] == 2, 60)
        self.checkpoint("web1")

    def test_disks_that_come_and_go(self):
        base = free_numbers()
        first = NumberedDisk(self.folder, base, 64)
        files = first.make("ext4")
        self.start_dispatcher(self.word)
        agent = self.start_agent("web1", f"/dev/loop{base // 10}[0-9]", f"--exclude=loop{base + 9}", "--skip-free-space=no")
        self.checkpoint("web1")
        self.assertEqual(self.volumes("web1"), [first.path])
        load = Load(self.folder, [files])
        load.wait_started()
        NumberedDisk(self.folder, base + 9, 16)
        second = NumberedDisk(self.folder, base + 1, 32)
        agent.wait_line(f"'{second.path}' is tracked")
        wait_until("the new disk is there", lambda: self.dispatcher.agent_state("web1")["volumes"] == 2, 60)
        stamp = self.checkpoint("web1")
        self.assertEqual(self.volumes("web1"), [first.path, second.path])
        # The other disk's tracking went on: nothing of it was compared or sent again.
        log = agent.log()
        self.assertNotIn("tracking starts again", log)
        self.assertEqual(log.count("full pass"), 2)
        self.assert_no_rescan(log)
        load.stop()
        files.umount()
        last = self.checkpoint("web1")
        copies = {disk.name: disk.copy(self.path(f"{disk.name}.copy")) for disk in (first, second)}
        paths = self.cli.restore("web1", self.data_dir, last)
        self.assertEqual(len(paths), 2)
        for path in paths:
            name = next(name for name in copies if path.endswith(f"-{name}.img"))
            check_equal(path, copies[name])
        # A disk that vanishes is logged, and the others go on; its checkpoints stay.
        second.hide()
        agent.wait_line(f"'{second.path}' has vanished: it is not protected any more")
        wait_until("it is gone", lambda: self.dispatcher.agent_state("web1")["volumes"] == 1, 60)
        self.checkpoint("web1")
        self.assertEqual(self.volumes("web1"), [first.path])
        self.assertEqual(second.pins(), [])
        self.assertEqual(len(self.cli.restore("web1", self.data_dir, stamp)), 2)

    def test_paused_agent_sends_nothing_and_loses_nothing(self):
        disk = self.loop_disk(128)
        files = disk.make("ext4")
        self.start_dispatcher(self.word, sync_freq="2s")
        agent = self.start_agent("web1", disk, "--skip-free-space=no")
        self.dispatcher.wait_checkpoints("web1", 2)
        load = Load(self.folder, [files])
        load.wait_started()
        self.pause("web1")
        agent.wait_line("paused by the dispatcher")
        wait_until("the paused session stands", lambda: self.dispatcher.agent_state("web1")["connected_ms"] > 0, 30)
        row = self.dispatcher.agent_state("web1")
        self.assertEqual(row["protection"], "paused")
        self.assertRegex(row["why"], "^paused since 20")
        self.assertRegex(row["paused_since"], "^20.*Z$")
        before = [row["checkpoint"] for row in self.show("web1")]
        self.cli.fails(1, "is paused.*resume", "dispatcher", "checkpoint", "--agent=web1", f"--data-dir={self.data_dir}")
        fill(f"{files.path}/while-paused", 8)
        files.sync()
        wait_until("the backlog is shown", lambda: (self.dispatcher.agent_state("web1")["dirty_bytes"] or 0) > 8 * MIB, 30)
        # It outlives the dispatcher and the agent, and can be given while no dispatcher runs.
        self.dispatcher.stop()
        self.assertEqual(self.cli.status(self.data_dir)[0]["protection"], "paused")
        self.pause("web1", "resume")
        self.assertNotEqual(self.cli.status(self.data_dir)[0]["protection"], "paused")
        self.pause("web1")
        self.restart_dispatcher(self.word, sync_freq="2s")
        self.dispatcher.wait_online("web1")
        agent.kill()
        agent.start()
        self.dispatcher.wait_online("web1")
        received = self.dispatcher.agent_state("web1")["total_received_bytes"]
        agent.wait_line("paused by the dispatcher", start=len(agent.lines) - 5)
        fill(f"{files.path}/still-paused", 4)
        files.sync()
        wait_until("the backlog grows", lambda: (self.dispatcher.agent_state("web1")["dirty_bytes"] or 0) > 12 * MIB, 30)
        self.assertEqual(self.dispatcher.agent_state("web1")["total_received_bytes"], received)
        self.assertEqual([row["checkpoint"] for row in self.show("web1")], before)
        load.stop()
        files.umount()
        copy = disk.copy(self.path("disk.copy"))
        start = len(agent.lines)
        self.pause("web1", "resume")
        agent.wait_line("resumed by the dispatcher", start=start)
        rows = self.dispatcher.wait_checkpoints("web1", len(before) + 1)
        self.assertEqual(rows[len(before)]["kind"], "incremental")
        self.assert_no_rescan(agent.log())
        self.assertEqual(agent.log().count("full pass"), 1)
        check_equal(self.restore("web1", str(rows[len(before)]["checkpoint"]), self.path("resumed.img")), copy)
        wait_until("it is protected", lambda: self.dispatcher.agent_state("web1")["protection"] == "protected", 30)


if __name__ == "__main__":
    main()
