# SPDX-License-Identifier: Apache-2.0
"""Every example is YAML and libconfig at once, with the same values in both."""

import json
import os
import pathlib
import re
import subprocess
import unittest

import yaml

SOURCE = pathlib.Path(os.environ["BLXREP_SOURCE"])
PARSER = os.environ["CONFIG_PARSE"]
BLXREP = os.path.join(os.environ["BLXREP_BIN"], "blxrep")
UNITS = {"": None, "ms": 1, "s": 1000, "m": 60000, "h": 3600000}
BARE_UNIT = {"sync-freq": 60000, "hook-timeout": 1000, "freeze-budget": 1000, "freeze-limit": 1000, "disk-timeout": 1000, "prune-grace": 60000,
             "heartbeat-freq": 60000}
SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def parse(path, command):
    done = subprocess.run([PARSER, command, f"--config={path}"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{path} as {command}: {done.stderr}")
    return json.loads(done.stdout)


def rule(text):
    """Of a bandwidth-limit, as the parser prints it: days (bit 0: Sunday), first and last minute, bytes a second."""
    days, _, start, end, number, unit = re.fullmatch(
        r"(mon-fri)? ?((\d\d:\d\d)-(\d\d:\d\d))? ?([0-9]+)([KMG]?)", text).groups()
    minutes = [60 * int(t[:2]) + int(t[3:]) for t in (start or "00:00", end or "24:00")]
    return [0b111110 if days else 0b1111111, *minutes, int(number) * SIZES[unit]]


def normal(key, value):
    """A YAML value as the parser prints it: times in ms, sizes in bytes, devices as a list."""
    if key in ("device", "exclude", "admit"):
        return value if isinstance(value, list) else [value]
    if key in BARE_UNIT:
        number, unit = re.fullmatch(r"([0-9.]+)([a-z]*)", str(value)).groups()
        return round(float(number) * (UNITS[unit] or BARE_UNIT[key]))
    if key in ("freeze-buffer", "memory-limit", "rewrite-rate"):
        number, unit = re.fullmatch(r"([0-9.]+)([KMG]?)", str(value)).groups()
        return int(float(number) * SIZES[unit])
    if key == "restore-test":  # as `blxrep policy` prints it
        whole = {"at": "", "within": "5m", "expect": "", "command": "", "level": 2, **value}
        return {k: normal("sync-freq", v.replace("1d", "24h")) if k in ("every", "within") else v for k, v in whole.items()}
    if key == "bandwidth-limit":
        return [rule(r.strip()) for r in value.split(",")]
    return value


def uncommented(text):
    """The example with its commented-out keys in force."""
    return re.sub(r"(?m)^# (?=[a-z-]+: (?:[\"{\[0-9]|true|false))", "", text)


class Examples(unittest.TestCase):
    def compare(self, path, text):
        wanted = yaml.safe_load(text)
        got = parse(path, "start")
        for key, value in wanted.items():
            self.assertEqual(normal(key, value), got.get(key), f"{path}: {key}")

    def test_examples_have_the_same_values_as_yaml(self):
        paths = sorted((SOURCE / "etc/examples").glob("*.yaml"))
        self.assertGreaterEqual(len(paths), 3)
        for path in paths:
            self.compare(path, path.read_text())

    def test_commented_out_keys_are_right_as_well(self):
        for path in sorted((SOURCE / "etc/examples").glob("*.yaml")):
            text = uncommented(path.read_text())
            copy = pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / f"blxrep-{os.getpid()}.yaml"
            copy.write_text(text)
            try:
                self.compare(copy, text)
            finally:
                copy.unlink()

    def test_policies_have_the_same_values_as_yaml(self):
        folder = SOURCE / "etc/examples/policies"
        paths = sorted(folder.glob("*.yaml"))
        self.assertGreaterEqual(len(paths), 2)
        for path in paths:
            wanted = yaml.safe_load(path.read_text())
            agents = wanted.pop("agents")
            agent = re.sub(r"\[(.).*\]", r"\1", agents if isinstance(agents, str) else agents[0]).replace("*", "7")
            done = subprocess.run([BLXREP, "policy", f"--agent={agent}", f"--policy-dir={folder}", "--json"], capture_output=True,
                                  text=True, check=True)
            got = json.loads(done.stdout)
            for key, value in wanted.items():
                value = value if key == "bandwidth-limit" else normal(key, value)  # it is shown as it is written
                self.assertEqual((got[key]["value"], got[key]["file"]), (value, str(path)), f"{path}: {key}")

    def test_examples_start_their_daemons(self):
        for name, commands in {"config": ["agent", "dispatcher"], "agent": ["agent"], "dispatcher": ["dispatcher"]}.items():
            for command in commands:
                parse(SOURCE / f"etc/examples/{name}.yaml", command)

    def test_examples_name_every_key_together(self):
        table = json.loads(subprocess.run([PARSER, "table"], capture_output=True, check=True).stdout)
        text = "".join(p.read_text() for p in (SOURCE / "etc/examples").glob("*.yaml"))
        named = set(yaml.safe_load("".join(f"{k}: 1\n" for k in set(re.findall(r"(?m)^(?:# )?([a-z-]+):", text)))))
        for option in table:
            if option["in_file"]:
                self.assertIn(option["name"], named)
        self.assertIn("tls", named)
        self.assertIn("retention", named)


if __name__ == "__main__":
    unittest.main()
