# SPDX-License-Identifier: Apache-2.0
"""What people and monitoring see of a hundred agents: status, status --watch on a terminal, the metrics, on-event."""

import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shutil
import struct
import subprocess
import termios
import time
import urllib.error
import urllib.request

from case import Case, main
from damage import flip_byte
from programs import bin_folder, environment
from registry import REGISTRY, run, wait_until

AGENTS = 100
SOURCE = pathlib.Path(__file__).resolve().parents[2]


class Crowd:
    """A hundred agents of one process, see crowd.c."""

    def __init__(self, registry, dispatcher, folder, count):
        self.process = subprocess.Popen([os.path.join(bin_folder(), "..", "tests", "crowd"), dispatcher.data_dir, folder,
                                         dispatcher.address, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=environment())
        registry.add(self)
        self._hear("ready")

    def __str__(self):
        return "crowd"

    def _hear(self, word):
        line = self.process.stdout.readline().strip()
        if line != word:
            raise AssertionError(f"the crowd said {line!r}, not {word!r}")

    def leave(self, count):
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        self._hear("left")

    def halt(self):
        self.process.kill()

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)
        self.process.stdout.close()


class Terminal:
    """A program on a terminal of its own, and the picture that it draws. It knows the few escape sequences that blxrep uses."""

    def __init__(self, registry, words, rows, columns, more=None):
        self.rows = rows
        self.raw = ""
        main_fd, program_fd = pty.openpty()
        fcntl.ioctl(program_fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(words, stdin=program_fd, stdout=program_fd, stderr=program_fd, start_new_session=True,
                                        env=environment({"TERM": "xterm", **(more or {})}))
        os.close(program_fd)
        self.fd = main_fd
        registry.add(self)

    def __str__(self):
        return "terminal"

    def read(self, seconds):
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:
                    return
                if not data:
                    return
                self.raw += data.decode()

    def picture(self):
        """The last whole picture's lines, without colours."""
        pictures = self.raw.split("\x1b[H")[1:]
        whole = [p for p in pictures if "\x1b[J" in p]
        if not whole:
            return []
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", whole[-1].split("\x1b[J")[0])
        return text.replace("\r", "").splitlines()

    def wait_picture(self, pattern, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.read(0.3)
            if re.search(pattern, "\n".join(self.picture())):
                return self.picture()
        raise AssertionError(f"nothing like /{pattern}/ was drawn:\n" + "\n".join(self.picture()))

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def halt(self):
        self.process.kill()

    def close(self):
        self.halt()
        self.process.wait(20)
        os.close(self.fd)


def parse_metrics(text):
    """{name: {labels as text: value}}; every sample has its HELP and TYPE before it, and stands once."""
    types, helped, samples = {}, set(), {}
    for line in text.splitlines():
        if match := re.fullmatch(r"# HELP (\w+) \S.*\.", line):
            helped.add(match[1])
        elif match := re.fullmatch(r"# TYPE (\w+) (counter|gauge)", line):
            types[match[1]] = match[2]
        else:
            match = re.fullmatch(r"(\w+)(\{[^}]*\})? (\S+)", line)
            assert match, f"no sample: {line!r}"
            name, labels = match[1], match[2] or ""
            assert name in types and name in helped, f"{name} comes before its head"
            assert name.endswith("_total") == (types[name] == "counter"), f"{name} is a {types[name]}"
            assert labels not in samples.setdefault(name, {}), f"twice: {line}"
            samples[name][labels] = float(match[3])
    assert helped == set(types)
    return samples, set(types)


class Seeing(Case):
    def begin(self, count, *words):
        self.start_dispatcher("--metrics-listen=:0", *words)
        found = self.dispatcher.wait_line(r"metrics are served at (http://127\.0\.0\.1:\d+/metrics)$")[1]
        self.url = found.split()[-1]
        return Crowd(REGISTRY, self.dispatcher, self.folder, count)

    def fetch(self, url=None, **named):
        with urllib.request.urlopen(urllib.request.Request(url or self.url, **named), timeout=20) as answer:
            return answer.read().decode(), answer.headers

    def status(self):
        return self.cli.run("status", f"--data-dir={self.data_dir}").stdout.splitlines()

    def wait_protected(self, count):
        wait_until(f"{count} protected agents",
                   lambda: sum(row["protected"] for row in self.cli.status(self.data_dir)) == count, 90)

    def test_a_hundred_agents(self):
        crowd = self.begin(AGENTS)
        self.wait_protected(AGENTS - 1)
        self.check_table()
        self.check_watch(crowd)
        text, headers = self.fetch()
        self.assertEqual(headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        self.check_metrics(text)
        self.check_names(text)
        self.check_promtool(text)
        self.check_refusals()

    def test_somebody_is_told(self):
        """on-event hears of damage that verify finds, and of an agent that is gone."""
        told = self.path("told")
        crowd = self.begin(3, f"--on-event=echo \"$BLXREP_EVENTS\" >> {told}")
        self.wait_protected(2)
        crowd.leave(1)
        segment = self.path("data", "agents", "a001", "volumes", "vda", "00000001.seg")
        flip_byte(segment)
        self.assertEqual(self.cli.run("verify", f"--data-dir={self.data_dir}", check=False).returncode, 1)
        read = lambda: pathlib.Path(told).read_text() if os.path.exists(told) else ""
        wait_until("damage-found", lambda: "damage-found a001 verify found " in read(), 30)
        wait_until("agent-lost", lambda: re.search(r"agent-lost a002 .*not connected for 1 m", read()), 150)
        self.dispatcher.wait_line("agent 'a002': agent-lost: ", 5)
        self.assertEqual(read().count("\n"), 2, read())

    def check_table(self):
        lines = self.status()
        self.assertRegex(lines[0], rf"^1 of {AGENTS} agents NOT protected: 1 syncing; the oldest checkpoint is ")
        self.assertRegex(lines[1], r"^data directory: .* free.*, .*/s coming in$")
        self.assertRegex(lines[2], r"^AGENT +PROTECTED +STATE +CHECKPOINT +AGE +CONSISTENCY +FREEZE +SIZE +CHANGED +STORED +BACKLOG +RATE +PROGRESS +WHY$")
        self.assertEqual(len(lines), 3 + AGENTS)
        self.assertRegex(lines[3], r"^a000 +SYNCING +FULL SYNC .* 25 % of 80.0 GiB, ETA 4 m 0 s +nothing is stored yet$")
        self.assertTrue(any(re.match(r"a010 +yes +RESCAN .*the machine was rebooted$", line) for line in lines))
        self.assertNotIn("\x1b", "\n".join(lines))
        checked = self.cli.run("status", "--check", f"--data-dir={self.data_dir}", check=False)
        self.assertEqual(checked.returncode, 1)

    def check_watch(self, crowd):
        words = [os.path.join(bin_folder(), "blxrep"), "status", "--watch", f"--data-dir={self.data_dir}"]
        screen = Terminal(REGISTRY, words, 24, 90)
        lines = screen.wait_picture(r"^1 of 100 agents NOT protected", 20)
        self.assertLess(len(lines), 24, "the last line stays free, so that nothing scrolls")
        self.assertLessEqual(max(map(len, lines)), 90)
        shown = sum(re.match(r"a\d{3} ", line) is not None for line in lines)
        self.assertGreater(shown, 3)
        self.assertEqual(lines[-1], f"... and {AGENTS - shown} more")
        self.assertIn("\x1b[33m", screen.raw, "the first sync is yellow")
        crowd.leave(3)
        screen.type("q")
        screen.read(1)
        self.assertEqual(screen.process.wait(20), 0)
        self.assertTrue(screen.raw.rstrip().endswith("\x1b[?25h\x1b[?1049l"), "the terminal is as it was")
        plain = Terminal(REGISTRY, words, 250, 200, {"NO_COLOR": "1"})
        lines = plain.wait_picture(r"\na099 +yes +OFFLINE (?s:.*)not connected for", 20)
        self.assertEqual(sum(re.match(r"a\d{3} ", line) is not None for line in lines), AGENTS)
        self.assertNotRegex(plain.raw, r"\x1b\[\d*m")
        os.kill(plain.process.pid, 15)
        self.assertEqual(plain.process.wait(20), 0)

    def check_metrics(self, text):
        samples, _names = parse_metrics(text)
        self.assertEqual(samples["blxrep_agents"][""], AGENTS)
        self.assertEqual(sum(samples["blxrep_agent_up"].values()), AGENTS - 3)
        self.assertEqual(sum(samples["blxrep_agent_protected"].values()), AGENTS - 1)
        self.assertEqual(samples["blxrep_agent_backlog_bytes"]['{agent="a007"}'], 7 << 20)
        self.assertNotIn('{agent="a099"}', samples["blxrep_agent_backlog_bytes"])
        self.assertEqual(samples["blxrep_agent_protection"]['{agent="a000",protection="first-sync"}'], 1)
        self.assertEqual(samples["blxrep_agent_state"]['{agent="a010",state="RESCAN"}'], 1)
        self.assertEqual(samples["blxrep_agent_checkpoints_total"]['{agent="a007",consistency="filesystem"}'], 1)
        self.assertAlmostEqual(samples["blxrep_agent_last_freeze_seconds"]['{agent="a007"}'], 0.02)
        self.assertAlmostEqual(samples["blxrep_agent_last_checkpoint_timestamp_seconds"]['{agent="a007"}'], time.time(), delta=200)
        self.assertEqual(samples["blxrep_agent_received_bytes_total"]['{agent="a099"}'],
                         next(r for r in self.cli.status(self.data_dir) if r["id"] == "a099")["total_received_bytes"])
        self.assertEqual(samples["blxrep_agent_reason"]['{agent="a000",reason="first-sync"}'], 1)
        for name, rows in samples.items():
            self.assertTrue(rows, name)

    def check_names(self, text):
        """The manual, the dashboard and the alerts speak of what is really served."""
        _samples, served = parse_metrics(text)
        page = (SOURCE / "dispatcher/blxrep-dispatcher.8").read_text()
        self.assertEqual(set(re.findall(r"(?m)^\\fB(blxrep_\w+)[^\n]*\\fR \(", page)), served)
        for name in ("grafana-dashboard.json", "prometheus-alerts.yaml"):
            used = set(re.findall(r"\bblxrep_\w+", (SOURCE / "etc/monitoring" / name).read_text()))
            self.assertTrue(used, name)
            self.assertLessEqual(used, served, name)
        json.loads((SOURCE / "etc/monitoring/grafana-dashboard.json").read_text())

    def check_promtool(self, text):
        """Prometheus's own opinion, if it is installed; the checks above do not need it."""
        if promtool := shutil.which("promtool"):
            path = self.path("metrics")
            pathlib.Path(path).write_text(text)
            with open(path, encoding="utf-8") as file:
                done = subprocess.run([promtool, "check", "metrics"], stdin=file, capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
            run(promtool, "check", "rules", str(SOURCE / "etc/monitoring/prometheus-alerts.yaml"))

    def check_refusals(self):
        for url, method, status in ((self.url, "POST", 405), (self.url.replace("/metrics", "/"), "GET", 404)):
            with self.assertRaises(urllib.error.HTTPError) as raised:
                self.fetch(url, method=method)
            self.assertEqual(raised.exception.code, status)
            raised.exception.close()
        self.assertEqual(self.fetch(method="HEAD")[0], "")


if __name__ == "__main__":
    main()
