# SPDX-License-Identifier: Apache-2.0
"""Every option of the table is in --help, in its man page and in the completions, and nothing else is."""

import fcntl
import json
import os
import pathlib
import pty
import re
import struct
import subprocess
import termios
import unittest

SOURCE = pathlib.Path(os.environ["BLXREP_SOURCE"])
BIN = pathlib.Path(os.environ["BLXREP_BIN"])
TABLE = json.loads(subprocess.run([os.environ["CONFIG_PARSE"], "table"], capture_output=True, check=True).stdout)
PROGRAMS = {"agent": ["blxrep-agent"], "dispatcher": ["blxrep-dispatcher"], "page-server": ["blxrep-page"], "tester": ["blxrep-tester"]}
PAGES = {"agent": "agent/blxrep-agent.8", "dispatcher": "dispatcher/blxrep-dispatcher.8", "page-server": "page/blxrep-page.8",
         "tester": "proof/blxrep-tester.8"}


def read(path):
    return (SOURCE / path).read_text()


# Each with its bit in the table's masks.
COMMANDS = {name.lower().replace("_", "-"): int(bit) for name, bit in re.findall(r"BLX_COMMAND_(\w+) = 1(?:ULL)? << (\d+)", read("lib/config/config.h"))}
COMMANDS["agent restore"] = COMMANDS.pop("pull")
del COMMANDS["fetch"]  # blxrep types it, and nobody else


def taken(command):
    bit = 1 << COMMANDS[command]
    return {o["name"] for o in TABLE if o["commands"] & bit}


def flags_of_page(text):
    return {f.replace("\\-", "-") for f in re.findall(r"(?m)^\\fB\\-\\-([a-z\\-]+)\\fR", text)}


def bash_answer(line):
    """What the completion offers for the words of `line`, the last of which is being typed."""
    words = line.split(" ")
    script = (
        f"source {SOURCE}/etc/completions/blxrep.bash\n"
        f"COMP_WORDS=({' '.join(repr(w) for w in words)})\nCOMP_CWORD={len(words) - 1}\n"
        '_blxrep\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    return set(subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split())


class Options(unittest.TestCase):
    def test_help_lists_them(self):
        for command in COMMANDS:
            argv = PROGRAMS.get(command, ["blxrep", *command.split()])
            done = subprocess.run([BIN / argv[0], *argv[1:], "--help"], capture_output=True, text=True, check=True)
            listed = set(re.findall(r"(?m)^  --([a-z-]+)", done.stdout))
            self.assertEqual(listed, taken(command), command)
            self.assertEqual(done.stderr, "")
            if command not in PROGRAMS:
                self.check_examples(command, done.stdout)

    def check_examples(self, command, text):
        """Each is of the command, on a line of its own or broken, and has only its options."""
        _help, mark, rest = text.partition("\nExamples:\n")
        examples = re.findall(r"(?m)^  (blxrep .*(?:\n    .*)*)$", rest)
        self.assertTrue(mark and len(examples) >= 2, f"{command}: two examples")
        for example in examples:
            words = [word for word in example.split("|")[0].split() if word not in ("dispatcher", "agent")]
            self.assertEqual(words[1], command.split()[-1], example)
            self.assertLessEqual({word[2:].split("=")[0] for word in words if word.startswith("--")}, taken(command), example)

    def test_help_fits_the_terminal(self):
        for command in COMMANDS:
            for columns in (80, 132):
                if command in PROGRAMS:
                    continue  # a daemon's help has the width of a page
                pid, terminal = pty.fork()
                if pid == 0:
                    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
                    os.execv(BIN / "blxrep", ["blxrep", *command.split(), "--help"])
                shown = b""
                try:
                    while piece := os.read(terminal, 65536):
                        shown += piece
                except OSError:
                    pass  # the program has ended
                os.close(terminal)
                self.assertEqual(os.waitpid(pid, 0)[1], 0)
                lines = shown.decode().replace("\r", "").splitlines()
                self.assertIn("Options:", lines)
                self.assertEqual([line for line in lines if len(line) > columns], [], f"{command}, {columns}")

    def test_man_pages_list_them(self):
        for command, page in PAGES.items():
            self.assertEqual(flags_of_page(read(page)), taken(command), page)
        sections = dict(re.findall(r"(?ms)^\.SH ([A-Z-]+)\n(.*?)(?=^\.SH |\Z)", read("cli/blxrep.1")))
        for command in COMMANDS:
            if command in PAGES:
                continue
            listed = flags_of_page(sections["OPTIONS"]) | flags_of_page(sections[command.upper().replace(" ", "-")])
            self.assertEqual(listed, taken(command), f"blxrep(1), {command}")

    def test_man_pages_name_the_defaults_of_the_help(self):
        for command, page in {**PAGES, "start": "cli/blxrep.1"}.items():
            argv = PROGRAMS.get(command, ["blxrep", *command.split()])
            help_text = subprocess.run([BIN / argv[0], *argv[1:], "--help"], capture_output=True, text=True, check=True).stdout
            entries = re.findall(r"(?ms)^  --([a-z-]+)(.*?)(?=^  --|^$)", help_text)
            text = read(page).replace("\\-", "-")
            for name, body in entries:
                default = re.search(r"\(default: (.*)\)", " ".join(body.split()))
                if default is None or name == "config":
                    continue
                entry = re.search(rf"(?ms)^\\fB--{name}\\fR[^\n]*\n(.*?)(?=^\.(?:TP|PP|SH)|\Z)", text).group(1)
                self.assertRegex(entry, rf"The default is \\f[BI]{re.escape(default.group(1))}\\fR", f"{page}: {name}")

    def test_man_page_of_the_file_lists_its_keys(self):
        listed = {k.replace("\\-", "-") for k in re.findall(r"(?m)^\\fB([a-z\\-]+)\\fR \(", read("lib/config/blxrep-config.5"))}
        self.assertEqual(listed, {o["name"] for o in TABLE if o["in_file"]} | {"retention", "tls", "object-store", "source"})

    def test_bash_offers_them(self):
        lines = {"agent": "blxrep-agent --", "dispatcher": "blxrep-dispatcher --", "page-server": "blxrep-page --", "tester": "blxrep-tester --"}
        for command in COMMANDS:
            answer = bash_answer(lines.get(command, f"blxrep {command} --"))
            self.assertEqual(answer, {f"--{name}" for name in taken(command)}, command)
            if command not in PROGRAMS and " " not in command:
                self.assertEqual(answer, bash_answer(f"blxrep dispatcher {command} --"), command)

    def test_bash_offers_commands_and_values(self):
        self.assertEqual(bash_answer("blxrep s"), {"start", "show", "status"})
        self.assertEqual(bash_answer("blxrep p"), {"page", "prune", "pin", "policy", "pause"})
        self.assertEqual(bash_answer("blxrep dispatcher s"), {"start", "show", "status"})
        self.assertEqual(bash_answer("blxrep agent t"), {"takeover"})
        self.assertEqual(bash_answer("blxrep r"), {"restore", "rescan", "revoke", "renew", "renew-ca", "retire-ca", "remove", "rename", "readmit", "resume", "rescue-image"})
        self.assertEqual(bash_answer("blxrep start --mode = a"), {"agent"})
        self.assertEqual(bash_answer("blxrep start --compression z"), {"zlib", "zstd"})
        self.assertIn("--output", bash_answer("blxrep restore --force --o"))

    def test_zsh_and_fish_know_them(self):
        zsh, fish = read("etc/completions/_blxrep"), read("etc/completions/blxrep.fish")
        names = {o["name"] for o in TABLE}
        self.assertEqual(set(re.findall(r"(?m)^        ([a-z-]+) ['\"]\*?--", zsh)), names)
        self.assertEqual(set(re.findall(r"-l ([a-z-]+) ", fish)) - {"commands", "none", "both", "daemons", "subcommands"}, names)

    def test_every_argument_of_the_examples_in_the_man_pages_is_an_option(self):
        for page in ["cli/blxrep.1", *PAGES.values(), "lib/config/blxrep-config.5"]:
            named = {f.replace("\\-", "-") for f in re.findall(r"\\-\\-([a-z]+(?:\\-[a-z]+)*)", read(page))} - {"name"}
            self.assertLessEqual(named, {o["name"] for o in TABLE}, page)


if __name__ == "__main__":
    unittest.main()
