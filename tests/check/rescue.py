# SPDX-License-Identifier: Apache-2.0
"""The rescue system's scripts: shellcheck is content, and only programs that the image brings are called in it."""

import os
import pathlib
import re
import subprocess
import unittest

FOLDER = pathlib.Path(os.environ["BLXREP_SOURCE"]) / "etc" / "rescue"
INSIDE = ["init", "network", "dialogue", "dhcp"]
# The shell's own words, the scripts' functions aside.
SHELL = set("if then else elif fi case esac for in do done while until return exit break continue set shift trap export exec echo printf read wait "
            "true umask".split())


class Scripts(unittest.TestCase):
    def test_shellcheck_is_content(self):
        done = subprocess.run(["shellcheck", "-S", "warning", *(FOLDER / name for name in [*INSIDE, "blxrep-rescue-image"])], capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.stdout + done.stderr, "")

    def test_only_busybox_and_blxrep_are_called(self):
        busybox = set(subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split())
        functions = set()
        for name in INSIDE:
            functions |= set(re.findall(r"(?m)^\s*(\w+)\(\)", (FOLDER / name).read_text()))
        for name in INSIDE:
            text = re.sub(r"(?m)#.*$|^[^(\n]*\)( |$)", "", (FOLDER / name).read_text())  # without comments and the patterns of `case`
            called = set(re.findall(r"(?m)(?:^\s*|\$\(|\| |&& )([a-z]\w*)(?= |$)", text))
            self.assertIn({"init": "setsid", "network": "udhcpc", "dialogue": "blxrep", "dhcp": "ip"}[name], called)
            self.assertLessEqual(called - functions - SHELL, busybox | {"blxrep"}, name)

    def test_the_list_of_drivers_names_each_one_once(self):
        names = re.sub(r"#.*", "", (FOLDER / "modules").read_text()).split()
        self.assertEqual(sorted(names), sorted(set(names)))
        self.assertGreater(len(names), 60)


if __name__ == "__main__":
    unittest.main()
