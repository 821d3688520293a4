# SPDX-License-Identifier: Apache-2.0
"""A store whose texts somebody else has written: what the commands and the dispatcher print of it commands no terminal."""

import os
import re
import struct

from case import Case, main
from store_reader import checksum

# Valid for a reader of before: no byte below 0x20. A control sequence in C1, a text that runs backwards, an invisible mark, no UTF-8.
TEXT = b"/dev/sd\xc2\x9b2J\xe2\x80\xaegpj\xe2\x81\xa6\xef\xbb\xbf\xff\xc3"
# Names of files may hold any byte.
NAME = b"x\x1b[31m\x07\xe2\x80\xae\xff.seg"
BAD = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
CHECKSUM, NOTE = 312, 56


class Hostile(Case):
    def setUp(self):
        super().setUp()
        self.start_dispatcher()
        disk = self.loop_disk(16)
        disk.make("ext4")
        agent = self.start_agent("web1", disk)
        self.stamp = self.checkpoint("web1")
        agent.stop()
        self.dispatcher.stop()
        self.home = os.path.join(self.data_dir, "agents", "web1")
        self.device = disk.path.encode()

    def spoil_manifest(self):
        """Puts the text in place of the note and of the device's path, with a checksum that is right."""
        folder = os.path.join(self.home, "checkpoints")
        path = os.path.join(folder, [name for name in os.listdir(folder) if name.startswith(self.stamp)][0])
        with open(path, "rb") as file:
            data = bytearray(file.read())
        data[NOTE:NOTE + 256] = TEXT.ljust(256, b"\0")
        at = data.index(self.device + b"\0")
        data[at:at + len(TEXT)] = TEXT
        data[CHECKSUM:CHECKSUM + 8] = bytes(8)
        data[CHECKSUM:CHECKSUM + 8] = struct.pack("<Q", checksum(bytes(data), CHECKSUM))
        with open(path, "wb") as file:
            file.write(data)

    def assert_harmless(self, shown):
        """The bytes as they came: UTF-8, and nothing but lines of printable text."""
        self.assertEqual(BAD.findall(shown.decode("utf-8")), [], shown)

    def test_nothing_of_it_reaches_a_terminal(self):
        self.spoil_manifest()
        for folder in [self.home, *[os.path.join(self.home, name) for name in os.listdir(self.home)]]:
            if os.path.isdir(folder):
                with open(os.path.join(folder.encode(), NAME), "wb") as file:
                    file.write(b"nonsense")
        log = os.path.join(self.data_dir, "audit")
        with open(os.path.join(log, sorted(os.listdir(log))[-1]), "ab") as file:
            file.write(b'{"seq": 99, "time": "now", "event": "\xc2\x9b31m", "agent": "web1", "text": "' + TEXT + b'\x1b[2J"}\n')
        shown = b""
        for words in (["show"], ["show", "--json"], ["info", f"--checkpoint={self.stamp}"], ["info", f"--checkpoint={self.stamp}", "--json"],
                      ["status"], ["status", "--json"], ["verify"], ["verify", "--json"], ["log"], ["log", "--verify"], ["log", "--json"]):
            agent = [] if words[0] in ("status", "verify", "log") else ["--agent=web1"]
            done = self.cli.raw("dispatcher", *words, *agent, f"--data-dir={self.data_dir}")
            self.assert_harmless(done.stdout + done.stderr)
            self.assertTrue(done.stdout, words)
            shown += done.stdout
        self.assertIn(b"/dev/sd??2J???gpj", shown, "it is shown, as far as it can be")
        self.restart_dispatcher()
        self.assertEqual(self.cli.status(self.data_dir)[0]["id"], "web1")
        self.dispatcher.stop()
        with open(self.path("dispatcher.log"), "rb") as file:
            self.assert_harmless(file.read())


if __name__ == "__main__":
    main()
