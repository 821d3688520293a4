# SPDX-License-Identifier: Apache-2.0
"""A server whose files are encrypted: the checkpoint is marked, the last calm one pinned, and the comparison names the files."""

import json
import os
import re

import store_reader
from case import Case, main
from disks import MIB
from registry import wait_until


class Suspicious(Case):
    def setUp(self):
        super().setUp()
        self.disk = self.loop_disk(96)
        self.files = self.disk.make("ext4")
        os.mkdir(self.files.path + "/documents")
        for number in range(12):
            self.write(f"documents/{number:02}", self.text(number, 2 * MIB))
        self.write("log", self.text(99, MIB))
        self.events = self.path("events")
        self.start_dispatcher(f"--on-event=echo \"$BLXREP_EVENTS\" >> {self.events}")

    def text(self, seed, size):
        """Packs to a third or so."""
        return b"".join(b"%d %x line of %d\n" % (seed, number * 2654435761 % (1 << 40), number) for number in range(size // 24 + 1))[:size]

    def write(self, name, content, mode="wb"):
        with open(f"{self.files.path}/{name}", mode) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def take(self):
        self.files.sync()
        return self.checkpoint("server1")

    def of_store(self, command, *words):
        return self.cli.run("dispatcher", command, f"--data-dir={self.data_dir}", "--agent=server1", *words)

    def told(self):
        """The events so far."""
        if not os.path.exists(self.events):
            return ""
        with open(self.events, encoding="utf-8") as file:
            return file.read()

    def row_of(self, stamp):
        return self.row("server1", stamp)

    def compare(self, stamp, other, *words):
        return self.of_store("info", f"--checkpoint={stamp}", f"--compare={other}", *words)

    def test_encrypted_files_are_noticed_named_and_answered_by_a_person(self):
        self.start_agent("server1", self.disk)
        first = self.take()
        self.write("log", self.text(98, 300 * 1024), "ab")
        calm = self.take()
        self.assertIsNone(self.row_of(calm)["suspicious"])
        for number in range(3):  # 6 of 25 MiB, in place
            self.write(f"documents/{number:02}", os.urandom(2 * MIB), "r+b")
        marked = self.take()
        self.check_mark(calm, marked)
        self.check_files(calm, marked)
        self.check_answer(first, calm, marked)

    def check_mark(self, calm, marked):
        mark = self.row_of(marked)["suspicious"]
        self.assertEqual((mark["kind"], mark["calm"], mark["since"]), ("hardened", calm, marked))
        self.assertGreaterEqual(mark["hardened_bytes"], 5 * MIB)
        self.assertRegex(self.of_store("show").stdout, rf"{calm} .*pinned\n{marked} .*suspicious *\n")
        told = self.of_store("info", f"--checkpoint={marked}").stdout
        self.assertRegex(told.replace("\n" + " " * 17, " "), r"suspicious +yes \(a signal, no verdict\): .* of data that packed well")
        self.assertRegex(self.of_store("info", f"--checkpoint={calm}").stdout, r"pinned +yes, automatic: the last calm checkpoint")
        self.check_files_of_store(mark, marked)
        status = self.dispatcher.agent_state("server1")
        self.assertEqual((status["suspicious"]["checkpoint"], status["automatic_pin"]), (marked, calm))
        event = wait_until("the event", lambda: re.search(r"suspicious server1 .*", self.told()), 30)
        self.assertIn(f"the last calm one, {calm}, is pinned", event.group())
        lines = self.cli.run("dispatcher", "log", f"--data-dir={self.data_dir}", "--json").stdout
        self.assertIn('"suspicious"', lines)

    def check_files_of_store(self, mark, marked):
        """As STORE.md has them."""
        agent = f"{self.data_dir}/agents/server1"
        read = store_reader.read_suspicion(f"{agent}/checkpoints/{marked}.suspicious")
        self.assertEqual({name: str(read[name]) for name in ("kind", "since", "calm", "reason", *store_reader.FIGURES)},
                         {name: str(mark[name]) for name in ("kind", "since", "calm", "reason", *store_reader.FIGURES)})
        suspicious, figures = store_reader.read_changes(f"{agent}/changes")[int(marked)]
        self.assertTrue(suspicious and all(figures[name] == read[name] for name in store_reader.FIGURES))
        (volume,) = os.listdir(f"{agent}/volumes")
        stamp, ratios = store_reader.read_ratios(f"{agent}/volumes/{volume}/ratios")
        self.assertEqual(stamp, int(marked))
        self.assertGreaterEqual(sum(1 for ratio in ratios if ratio >= 208), 5 * MIB // 4096)

    def check_files(self, calm, marked):
        (disk,) = json.loads(self.compare(marked, calm, "--json").stdout)
        self.assertTrue(disk["tells_files"] and disk["filesystem"] == "ext4")
        self.assertEqual([file["path"] for file in disk["files"]][:3], sorted(file["path"] for file in disk["files"])[:3])
        self.assertEqual({file["path"] for file in disk["files"] if file["written_bytes"] == 2 * MIB},
                         {f"documents/{number:02}" for number in range(3)})
        self.assertNotIn("documents/05", {file["path"] for file in disk["files"]})
        self.assertGreaterEqual(disk["written_bytes"], disk["files_bytes"])
        self.assertGreaterEqual(disk["files_bytes"], 6 * MIB)
        self.assertEqual(json.loads(self.compare(calm, marked, "--json").stdout)[0]["written_bytes"], disk["written_bytes"], "both ways")
        self.assertRegex(self.compare(marked, calm).stdout, r"written \(ext4\)\n  .* in \d+ files and folders, .*\n(?s:.*)2.0 MiB of +2.0 MiB  documents/0")
        self.cli.fails(1, "same checkpoint", "dispatcher", "info", f"--data-dir={self.data_dir}", "--agent=server1", f"--checkpoint={calm}",
                       f"--compare={calm}")

    def check_answer(self, first, calm, marked):
        self.cli.fails(1, "pinned", "dispatcher", "remove", f"--data-dir={self.data_dir}", "--agent=server1", "--yes")
        self.of_store("unpin", f"--checkpoint={calm}")
        self.assertIsNone(self.dispatcher.agent_state("server1")["automatic_pin"])
        self.assertFalse(self.row_of(calm)["pinned"])
        verified = self.cli.run("dispatcher", "verify", f"--data-dir={self.data_dir}", check=False)
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)
        self.of_store("prune", "--keep-last=1")
        self.assertEqual([str(row["checkpoint"]) for row in self.show("server1")], [marked], f"{first} went, too")


if __name__ == "__main__":
    main()
