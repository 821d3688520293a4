# SPDX-License-Identifier: Apache-2.0
"""`object-store check` tells what a store really keeps; a store that lies is found out, and the way out is named."""

import json
import os

from case import Case, main
from s3_server import ACCESS, SECRET, Store


class ObjectStore(Case):
    def store(self, *lies, **named):
        store = Store(*lies, **named)
        self.addCleanup(store.close)
        return store

    def write(self, name, text, mode=0o600):
        path = self.path(name)
        with open(path, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
        return path

    def config(self, store, lock='"compliance 30d"', url=None, secret=SECRET, more=""):
        credentials = self.write("credentials", f"[default]\naws_access_key_id = {ACCESS}\naws_secret_access_key={secret}\n")
        lock = f", lock: {lock}" if lock else ""
        return self.write("config.yaml", f'object-store: {{ url: "{url or store.url + "/copies/server/room"}", '
                                         f'credentials: "{credentials}"{lock}{more} }}\n', 0o644)

    def check(self, config, check=True):
        result = self.cli.run("dispatcher", "object-store", "check", f"--config={config}", "--json", check=False)
        if check:
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        report = json.loads(result.stdout)
        findings = {finding["promise"]: finding for finding in report["findings"]}
        self.assertEqual(len(findings), len(report["findings"]), "each promise is told once")
        return report, findings

    def fails(self, store, promise, pattern, **named):
        report, findings = self.check(self.config(store, **named), check=False)
        self.assertEqual(findings[promise]["result"], "FAIL", report)
        self.assertRegex(findings[promise]["text"], pattern)
        return report

    def test_an_honest_store(self):
        store = self.store()
        config = self.config(store)
        report, findings = self.check(config)
        self.assertTrue(report["usable"] and report["locked"])
        self.assertEqual({finding["result"] for finding in findings.values()}, {"ok"}, report)
        left = [(key, version) for key, versions in store.keys.items() for version in versions]
        self.assertEqual(len(left), 1, "only the locked canary stays")
        self.assertTrue(left[0][0].startswith("server/room/canary/") and left[0][1].is_locked())
        # The next one removes it when its lock has ended.
        left[0][1].until = left[0][1].until.replace(year=2020)
        self.check(config)
        self.assertNotIn(left[0][0], [key for key, versions in store.keys.items() if versions])
        text = self.cli.run("dispatcher", "object-store", "check", f"--config={config}").stdout
        self.assertIn("LOCKED: what is copied there cannot be deleted before its time.", text)
        self.assertNotIn(SECRET, text)

    def test_governance(self):
        lock = '"governance 7d"'
        report = self.fails(self.store(), "lock", "BypassGovernanceRetention", lock=lock)
        self.assertTrue(report["usable"] and not report["locked"])
        self.assertTrue(self.check(self.config(self.store(bypass=False), lock=lock))[0]["locked"])

    def test_locks_that_do_not_hold(self):
        for lie, pattern in (("delete locked", "can delete a locked object"), ("shorten locks", "can shorten a lock"),
                             ("forget locks", "does not have it afterwards"),
                             ("weaken locks", "can turn a lock of the mode COMPLIANCE into GOVERNANCE")):
            with self.subTest(lie):
                report = self.fails(self.store(lie), "lock", pattern)
                self.assertTrue(report["usable"])
                self.assertFalse(report["locked"])
        self.fails(self.store(lockable=False), "lock", "made without object lock")
        report, findings = self.check(self.config(self.store(), lock=None))
        self.assertRegex(findings["lock"]["text"], 'none is configured: write lock: "compliance 30d"')
        self.assertFalse(report["locked"])

    def test_what_else_a_store_may_not_keep(self):
        _report, findings = self.check(self.config(self.store("write twice")))
        self.assertEqual(findings["write once"]["result"], "doubt")
        self.assertRegex(findings["write once"]["text"], "its oldest version is the one that is read")
        for lie, promise, pattern in (("other bytes", "readable", "other bytes"), ("lose versions", "history", "is lost"),
                                      ("endless list", "reachable", "has no end"), ("entities", "reachable", "too deep or too"),
                                      ("cut bodies", "reachable", "does not answer")):
            with self.subTest(lie):
                self.assertFalse(self.fails(self.store(lie), promise, pattern)["usable"])
        self.assertFalse(self.fails(self.store(versioned=False, lockable=False), "versions", "turn versioning on")["usable"])

    def test_a_busy_store_is_asked_again(self):
        store = self.store()
        store.busy = 2
        self.assertTrue(self.check(self.config(store))[0]["locked"])
        self.assertEqual(store.requests[0], store.requests[1])

    def test_clocks(self):
        store = self.store()
        store.clock_ahead_s = 100
        self.assertEqual(self.check(self.config(store))[1]["clock"]["result"], "doubt")
        store.clock_ahead_s = 1000
        self.fails(store, "reachable", "is this host's time right")

    def test_wrong_credentials_and_addresses(self):
        store = self.store()
        self.fails(store, "reachable", "the secret, or the region, is another one", secret="wrong")
        self.fails(store, "reachable", "NoSuchBucket.*mend the URL", url=store.url + "/other")
        self.fails(store, "reachable", "write region", more=', region: "eu-central-1"')
        self.fails(store, "reachable", "cannot be reached.*https_proxy", url="http://127.0.0.1:9/copies")
        config = self.config(store)
        os.chmod(self.path("credentials"), 0o640)
        words = ("dispatcher", "object-store", "check", f"--config={config}")
        self.cli.fails(1, "can be read or written by others.*chmod 0600", *words[1:])
        self.write("credentials", f"aws_access_key_id = {ACCESS}\n")
        self.cli.fails(1, "has no aws_secret_access_key", *words[1:])
        self.write("config.yaml", 'data-dir: "/nowhere"\n')
        self.cli.fails(1, "object-store: { url", *words[1:])

    def test_the_configuration(self):
        credentials = self.write("credentials", "aws_access_key_id = a\naws_secret_access_key = b\n")
        for text, pattern in (('{ url: "ftp://a/b" }', "is no object store: write https://"),
                              ('{ url: "s3://bucket" }', "needs a region"),
                              ('{ url: "https://host" }', "names no bucket"),
                              ('{ url: "https://name:secret@host/bucket" }', "credentials go into a file"),
                              ('{ url: "https://host/bucket/a/../b" }', "an empty part")):
            text = text.replace(" }", f', credentials: "{credentials}" }}')
            config = self.write("config.yaml", f"object-store: {text}\n")
            self.cli.fails(1, pattern, "object-store", "check", f"--config={config}")
        for text, pattern in (('{ url: "https://host/bucket", lock: "forever" }', 'is no lock: write "compliance 30d"'),
                              ('{ url: "https://host/bucket", agents: [ ] }', "an empty list"),
                              ('{ url: "https://host/bucket", keep-daily: "x" }', "keep-daily"),
                              ('{ url: "https://host/bucket", lock: "compliance 1s" }', "from 1d"),
                              ('{ lock: "compliance 30d" }', "'url' is missing"), ('{ uri: "a" }', "'object-store' has url")):
            config = self.write("config.yaml", f"object-store: {text}\n")
            self.cli.fails(2, pattern, "object-store", "check", f"--config={config}")
        self.cli.fails(2, "unknown action 'chek'", "object-store", "chek")


if __name__ == "__main__":
    main()
