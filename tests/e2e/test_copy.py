# SPDX-License-Identifier: Apache-2.0
"""Copies in an object store and in a folder: a store that is lost comes back from them, whatever was done to the copies."""

import datetime
import json
import os
import re
import secrets
import shutil
import subprocess
import time

from attacker import Client, attack
from case import Case, main
from checks import check_equal
from programs import bin_folder, environment
from registry import run, wait_until
from s3_server import ACCESS, SECRET, Store, Version
from workloads import fill

MIB = 1 << 20


class Copy(Case):
    def store(self, *lies, **named):
        store = Store(*lies, **named)
        self.addCleanup(store.close)
        return store

    def configure(self, store, lock='"compliance 30d"', more=', every: "1s"'):
        credentials = self.path("credentials")
        with open(credentials, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(f"aws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n")
        lock = f", lock: {lock}" if lock else ""
        with open(self.path("config.yaml"), "w", encoding="ascii") as file:
            file.write(f'object-store: {{ url: "{store.url}/copies/room", credentials: "{credentials}"{lock}{more} }}\n')

    def command(self, command, *words, check=0, data_dir=None):
        words = [command, f"--data-dir={data_dir or self.data_dir}", *words]
        if os.path.exists(self.path("config.yaml")):
            words.append(f"--config={self.path('config.yaml')}")
        result = self.cli.run("dispatcher", *words, check=False)
        self.assertEqual(result.returncode, check, result.stdout + result.stderr)
        return result

    def copy(self, *words, check=0):
        return json.loads(self.command("copy", "--json", *words, check=check).stdout)

    def adopt(self, store, name):
        self.command("adopt", f"--from={store.url}/copies/room", data_dir=self.path(name))

    def protect(self, mib=48):
        disk = self.loop_disk(mib)
        files = disk.make("ext4")
        self.start_dispatcher()
        agent = self.start_agent("web1", disk)
        return disk, files, agent

    def status(self, agent_id):
        agent, = [agent for agent in self.cli.status(self.data_dir) if agent["id"] == agent_id]
        return agent

    def take(self, disk, files, name, mib=2):
        """Another checkpoint, and what its image must be."""
        files.mount() if not os.path.ismount(files.path) else None
        fill(f"{files.path}/{name}", mib)
        files.umount()
        stamp = self.checkpoint("web1")
        # Of several in a second the last one's name lies ahead, and until then it is not due.
        wait_until("the time that it is named after", lambda: time.strftime("%Y%m%d%H%M%S", time.gmtime()) >= stamp, 30)
        original = disk.copy(self.path(f"original-{name}"))
        files.mount()
        return stamp, original

    def check_adopted(self, data_dir, expected):
        for stamp, original in expected:
            image = self.path(f"restored-{stamp}")
            self.cli.run("dispatcher", "restore", "--agent=web1", f"--data-dir={data_dir}", f"--checkpoint={stamp}",
                         f"--output={image}")
            check_equal(image, original)
            os.unlink(image)
        self.cli.run("dispatcher", "verify", f"--data-dir={data_dir}")

    def test_a_burned_host(self):
        """The bucket is all that is left: the agent goes on against the new host, and sends only what differs."""
        store = self.store("small pages")
        recovery = self.path("recovery.key")
        self.cli.run("dispatcher", "keygen", f"--output={recovery}")
        self.configure(store, more=f', every: "1s", recovery-key: "{recovery}"')
        disk, files, agent = self.protect()
        expected = [self.take(disk, files, "first", 16)]
        self.copy()
        expected.append(self.take(disk, files, "second"))
        report, = self.copy()
        self.assertEqual((report["checkpoints"], report["whole_volumes"], report["not_locked"]), (1, 0, ""))
        self.assertGreater(report["locked_until"], time.time() + 29 * 86400)
        self.assertEqual([row["checkpoints"] for row in self.copy()], [0], "nothing is copied twice")
        for key, versions in store.keys.items():
            self.assertTrue("canary" in key or versions[0].is_locked(), key)
        agent.stop()
        self.dispatcher.stop()
        self.check_read_in_place(store, expected)
        shutil.rmtree(self.data_dir)
        sent = [key for key in store.keys if "/host/" in key]
        self.assertEqual(len(sent), 1, "the keys are sent again only when they change")
        self.assertFalse(any(b"PRIVATE KEY" in version.content for versions in store.keys.values() for version in versions))
        self.cli.run("dispatcher", "keygen", f"--output={self.path('other.key')}")
        wrong = self.command("adopt", f"--from={store.url}/copies/room", f"--key={self.path('other.key')}", data_dir=self.path("wrong"),
                             check=1)
        self.assertRegex(wrong.stderr, "the key does not open .*recovery-key")
        self.assertNotIn("pki", os.listdir(self.path("wrong")))
        self.command("adopt", f"--from={store.url}/copies/room", f"--key={recovery}")
        self.check_adopted(self.data_dir, expected)
        self.restart_dispatcher()
        agent = self.start_agent("web1", disk)
        expected.append(self.take(disk, files, "third"))
        self.assertIn("rescan", agent.log())
        row = self.row("web1", expected[-1][0])
        self.assertEqual(row["kind"], "incremental", row)
        self.assertLess(sum(volume["changed_bytes"] for volume in row["volumes"]), 6 * MIB)
        report, = self.copy()
        self.assertEqual((report["checkpoints"], report["whole_volumes"]), (1, 0), "the copy goes on, too")
        self.command("adopt", f"--from={store.url}/copies/room", "--agent=web1", "--checkpoint=latest", data_dir=self.path("one"))
        self.check_adopted(self.path("one"), expected[-1:])
        self.assertEqual(len(self.cli.show("web1", self.path("one"))), 1)
        # A longer lock of the newest checkpoint is one of its whole chain.
        self.configure(store, lock='"compliance 60d"')
        expected.append(self.take(disk, files, "fourth", 1))
        report, = self.copy()
        self.assertGreaterEqual(report["relocked"], 1)
        self.assertGreater(report["locked_until"], time.time() + 59 * 86400)
        base = max((versions[0] for key, versions in store.keys.items() if key.endswith(".seg")), key=lambda v: len(v.content))
        self.assertGreater(base.until.timestamp(), report["locked_until"])
        self.adopt(store, "other")
        self.check_adopted(self.path("other"), expected)

    def read(self, command, *words, check=0, cache="cache", data_dir=None):
        return self.command(command, "--agent=web1", f"--cache-dir={self.path(cache)}", *words, check=check, data_dir=data_dir)

    def check_read_in_place(self, store, expected):
        """Without a dispatcher and its data directory: the copies themselves are --data-dir."""
        url, cache = store.url + "/copies/room", self.path("cache")
        rows = json.loads(self.read("show", "--json", data_dir=url).stdout)
        self.assertEqual([str(row["checkpoint"]) for row in rows][-2:], [stamp for stamp, _ in expected])
        store.requests.clear()
        self.read("info", "--checkpoint=latest", data_dir=url)
        large = [version for key, versions in store.keys.items() if key.endswith(".seg") for version in versions
                 if len(version.content) > 1 << 20]
        self.assertGreater(len(large), 0)
        self.assertLess(len(store.requests), 40)
        self.assertEqual(sum(os.path.getsize(os.path.join(cache, "objects", name)) for name in os.listdir(cache + "/objects")
                             if os.path.getsize(os.path.join(cache, "objects", name)) > 1 << 20), 0, "only tails came")
        for stamp, original in expected:
            image = self.path("in-place")
            self.read("restore", f"--checkpoint={stamp}", f"--output={image}", data_dir=url)
            check_equal(image, original)
            os.unlink(image)
        self.assertRegex(self.read("restore", "--checkpoint=latest", data_dir=url, check=2).stderr, "give --output=FILE")
        self.assertRegex(self.command("pin", "--agent=web1", "--checkpoint=latest", data_dir=url, check=2).stderr, "is a copy, which")
        self.command("verify", "--agent=web1", f"--cache-dir={cache}", data_dir=url)
        listing = self.read("files", "--checkpoint=latest", "/", data_dir=url)
        self.assertIn("second", listing.stdout)
        # The mount goes on in the background, and what it reads is fetched then.
        folder = self.path("mounted")
        os.mkdir(folder)
        self.read("mount", "--checkpoint=latest", folder, data_dir=url)
        disk, = [os.path.join(path, name) for path, _folders, names in os.walk(folder) for name in names
                 if re.fullmatch(r"loop\d+\.img", name)]
        check_equal(disk, expected[-1][1])
        self.assertEqual(len([name for name in os.listdir(cache) if name.startswith("run-")]), 1)
        run("fusermount3", "-u", folder)
        wait_until("nothing is left of the runs", lambda: os.listdir(cache) == ["objects"], 20)
        # What is damaged in the cache, or gone, comes again; a folder of copies is read in the same way.
        shutil.rmtree(cache)
        os.mkdir(self.path("folder"))
        self.command("copy", f"--to={self.path('folder')}")
        image = self.path("in-place")
        self.read("restore", "--checkpoint=latest", f"--output={image}", "--cache-size=1M", data_dir=self.path("folder"))
        check_equal(image, expected[-1][1])
        wait_until("the cache is as small as it may be", lambda: sum(entry.stat().st_size for entry in os.scandir(cache + "/objects"))
                   <= 1 << 20, 20)

    def test_the_dispatcher_copies_by_itself(self):
        store = self.store()
        self.configure(store, more=', every: "2s"')
        disk = self.loop_disk(16)
        files = disk.make("ext4")
        self.start_dispatcher(f"--config={self.path('config.yaml')}")
        agent = self.start_agent("web1", disk)
        stamp, _original = self.take(disk, files, "first", 1)
        agent.stop()
        wait_until("the checkpoint is copied", lambda: any(f"/checkpoints/{stamp}-" in key for key in list(store.keys)), 60)
        wait_until("it is told", lambda: f"copied up to {stamp}" in self.dispatcher.log(), 20)
        self.assertIn("LOCKED UNTIL", self.dispatcher.log())
        copy = self.status("web1")["copy"]
        self.assertEqual((copy["checkpoint"], copy["locked"], copy["lock_wanted"], copy["late"], copy["not_locked"]),
                         (stamp, True, True, False, ""), copy)
        self.assertRegex(self.cli.run("dispatcher", "status", f"--data-dir={self.data_dir}").stdout,
                         f"web1: copied to {store.url}/copies/room up to {stamp}, .* ago; LOCKED UNTIL 20")
        self.assertRegex(self.cli.run("dispatcher", "show", "--agent=web1", f"--data-dir={self.data_dir}").stdout, "LOCKED UNTIL 20")
        # Whoever has the credentials writes a checkpoint of the future: it is told, and the next one is copied all the same.
        key = next(key for key in store.keys if f"/checkpoints/{stamp}-" in key)
        store.keys[key.replace(stamp, "99991231235958")] = store.keys[key]
        store.lies = ("delete locked",)
        wait_until("the lie is found", lambda: "copying to" in self.dispatcher.log(), 60)
        agent = self.start_agent("web1", disk)
        stamp = self.checkpoint("web1")
        wait_until("the next one is copied", lambda: self.status("web1")["copy"]["checkpoint"] == stamp, 60)
        copy = self.status("web1")["copy"]
        self.assertEqual((copy["locked"], copy["strange"]), (False, 1), copy)
        self.assertIn("can delete a locked object", copy["not_locked"])
        wait_until("events tell", lambda: "copy-strange" in self.dispatcher.log() and "copy-not-locked" in self.dispatcher.log(), 20)
        agent.stop()
        self.dispatcher.stop()

    def test_what_may_happen_to_copies(self):
        """Written over, deleted, cut off and killed: what is locked comes back; what is not there is sent again, and no more."""
        store = self.store("write twice")
        self.configure(store)
        disk, files, agent = self.protect()
        expected = [self.take(disk, files, "first", 8)]
        agent.stop()
        self.dispatcher.stop()
        copier = subprocess.Popen([os.path.join(bin_folder(), "blxrep"), "dispatcher", "copy", f"--data-dir={self.data_dir}",
                                   f"--config={self.path('config.yaml')}", "--bandwidth-limit=1M"], env=environment())
        wait_until("the copy has begun", lambda: any("agents/" in request for request in list(store.requests)), 30)
        copier.kill()
        copier.wait()
        store.busy = 3
        self.copy()
        self.assertEqual([row["objects"] for row in self.copy()], [0])
        # An intruder with our credentials writes over every key, and puts a marker over that.
        for key, versions in store.keys.items():
            if "agents/" in key:
                versions.append(Version(secrets.token_bytes(len(versions[0].content))))
                versions.append(Version(b"", marker=True))
        self.adopt(store, "other")
        self.check_adopted(self.path("other"), expected)
        # Without its own version an object is lost, and named.
        key = next(key for key in store.keys if key.endswith(".seg"))
        del store.keys[key][0]
        self.assertRegex(self.command("adopt", f"--from={store.url}/copies/room", data_dir=self.path("third"), check=1).stderr,
                         "none of them has the content that its name says")
        self.assertNotIn("web1", os.listdir(self.path("third", "agents")) if os.path.exists(self.path("third", "agents")) else [])
        self.assertRegex(self.command("adopt", f"--from={store.url}/copies/room", check=1).stderr, "has the agent 'web1' already")

    def test_locks_that_do_not_hold_are_told(self):
        store = self.store("delete locked")
        self.configure(store)
        disk, files, _agent = self.protect(16)
        self.take(disk, files, "first", 1)
        report, = self.copy(check=1)
        self.assertGreaterEqual(report["checkpoints"], 1)
        self.assertEqual(report["locked_until"], 0)
        self.assertIn("can delete a locked object", report["not_locked"])
        # What was locked in one mode is not said to be locked in another one, unless the store has changed it.
        store.lies, store.bypass = ("keep modes",), False
        self.configure(store, lock='"governance 30d"')
        self.take(disk, files, "second", 3)
        report, = self.copy()
        self.assertEqual(report["not_locked"], "")
        self.configure(store)
        self.take(disk, files, "third", 1)
        report, = self.copy()
        self.assertEqual(report["locked_until"], 0)
        self.assertRegex(report["not_locked"], "the mode cannot be changed")
        store.lies = ()
        self.take(disk, files, "fourth", 1)
        report, = self.copy()
        self.assertEqual(report["not_locked"], "")
        self.assertEqual({version.mode for versions in store.keys.values() for version in versions if len(version.content) > 1 << 20},
                         {"COMPLIANCE"})
        text = self.command("copy", "--to=" + self.path(), check=0).stdout
        self.assertRegex(text, "web1: [0-9]+ checkpoints? copied .* NOT LOCKED: a folder has no locks")

    def test_an_attacker_with_our_credentials(self):
        """Whatever it does, each locked checkpoint restores, and the next copy goes on."""
        store = self.store()
        self.configure(store)
        disk, files, agent = self.protect(16)
        expected = [self.take(disk, files, "first", 1)]
        self.copy()
        expected.append(self.take(disk, files, "second", 1))
        self.assertEqual(self.copy()[0]["not_locked"], "")
        self.assertGreater(attack(Client(store.url + "/copies", ACCESS, SECRET), 2), 20)
        self.adopt(store, "other")
        self.check_adopted(self.path("other"), expected)
        expected.append(self.take(disk, files, "third", 1))
        report, = self.copy()
        self.assertEqual((report["checkpoints"], report["not_locked"]), (1, ""), report)
        self.assertGreaterEqual(report["strange"], 1)
        agent.stop()
        self.command("adopt", f"--from={store.url}/copies/room", "--checkpoint=latest", data_dir=self.path("latest"))
        self.check_adopted(self.path("latest"), expected[-1:])
        # The copies' own retention: what is locked stays, and when it is not, only what nobody needs goes.
        self.configure(store, more=', every: "1s", keep-last: 1')
        before = {key for key, versions in store.keys.items() if versions and "agents/" in key}
        result = self.command("copy")
        self.assertEqual(result.stderr.count("cannot"), 0, result.stderr)
        self.assertRegex(result.stdout, r"web1: 0 copied checkpoints and 0 objects removed .* [1-9][0-9]* are locked")
        self.assertEqual({key for key, versions in store.keys.items() if versions and "agents/" in key}, before)
        old = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
        for versions in store.keys.values():
            for version in versions:
                version.until, version.written = old, old
        self.forget_retention()
        self.assertRegex(self.command("copy").stdout, r"web1: [2-9][0-9]* copied checkpoints and [1-9][0-9]* objects removed")
        self.command("adopt", f"--from={store.url}/copies/room", "--checkpoint=" + expected[-1][0], data_dir=self.path("kept"))
        self.check_adopted(self.path("kept"), expected[-1:])
        self.assertNotIn(expected[0][0], " ".join(key for key, versions in store.keys.items() if versions))

    def forget_retention(self):
        """It runs once a day."""
        os.unlink(os.path.join(self.data_dir, "agents", "web1", "elsewhere"))

    def test_large_objects_go_in_parts(self):
        store = self.store()
        self.configure(store)
        disk = self.loop_disk(128)
        files = disk.make("ext4")
        run("dd", "if=/dev/urandom", f"of={files.path}/noise", "bs=1M", "count=80", "conv=fsync", "status=none")
        self.start_dispatcher()
        agent = self.start_agent("web1", disk)
        expected = [self.take(disk, files, "first", 1)]
        agent.stop()
        self.copy()
        self.assertEqual((store.put_together, len(store.uploads)), (1, 0))
        large = max((versions[0] for versions in store.keys.values() if versions), key=lambda version: len(version.content))
        self.assertGreater(len(large.content), 64 * MIB)
        self.assertTrue(large.is_locked())
        self.adopt(store, "other")
        self.check_adopted(self.path("other"), expected)


if __name__ == "__main__":
    main()
