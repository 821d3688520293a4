# SPDX-License-Identifier: Apache-2.0
"""The programs under test: the command `blxrep` and the two daemons, started as a user starts them."""

import http.client
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import json_schema
from registry import Failure, run, wait_until

SANITIZER_REPORT = re.compile(r"ERROR: (Address|Leak|Thread)Sanitizer|runtime error:|WARNING: ThreadSanitizer")


def bin_folder():
    folder = os.environ.get("BLXREP_BIN")
    if not folder:
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        folder = os.path.join(root, "build-dev", "bin")
    for name in ("blxrep", "blxrep-agent", "blxrep-dispatcher", "blxrep-mount", "blxrep-files", "blxrep-boot", "blxrep-test", "blxrep-tester"):
        if not os.access(os.path.join(folder, name), os.X_OK):
            raise Failure(f"no program \"{name}\" in \"{folder}\": build first, or set BLXREP_BIN")
    return folder


def free_port():
    """A port of loopback that nobody listens on, below the range that outgoing connections take theirs from."""
    for _ in range(200):
        port = random.randint(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Failure("no free port between 20000 and 32000")


class Clock:
    """A wall clock for daemons: the machine's, plus or minus some seconds."""

    def __init__(self, folder):
        self.file = os.path.join(folder, "clock")
        self.library = os.path.join(os.path.dirname(bin_folder()), "tests", "libtest_clock.so")
        if not os.path.exists(self.library):
            raise Failure(f"no \"{self.library}\": build the tests, too")
        self.set(0)

    def set(self, seconds):
        with open(self.file, "r+b" if os.path.exists(self.file) else "wb") as file:
            file.write(struct.pack("=q", seconds))

    def environment(self):
        """The sanitizers want to be loaded first, but also work if they come second."""
        options = os.environ.get("ASAN_OPTIONS", "")
        return {"LD_PRELOAD": self.library, "BLXREP_TEST_CLOCK": self.file,
                "ASAN_OPTIONS": f"{options}:verify_asan_link_order=0".strip(":")}


def environment(extra=None):
    env = dict(os.environ, LC_ALL="C")
    env.pop("NOTIFY_SOCKET", None)
    env.pop("JOURNAL_STREAM", None)
    env.update(extra or {})
    return env


def run_with(clock, *words):
    """Runs a program that ends by itself with that clock; None: the machine's."""
    done = run(*words, check=False, timeout=60, env=environment(clock.environment() if clock else None))
    if SANITIZER_REPORT.search(done.stderr):
        raise Failure(f"{' '.join(map(str, words))}: sanitizer report\n{done.stderr}")
    return done


class Cli:
    """`blxrep ...`, one run at a time."""

    def __init__(self):
        self.program = os.path.join(bin_folder(), "blxrep")

    def run(self, *words, check=True, timeout=120, cwd=None, input_text=""):
        """Its standard input is never a terminal, so that it asks no question."""
        done = run(self.program, *words, check=check, timeout=timeout, cwd=cwd, env=environment(), input_text=input_text)
        if SANITIZER_REPORT.search(done.stderr):
            raise Failure(f"blxrep {' '.join(map(str, words))}: sanitizer report\n{done.stderr}")
        if "--json" in words and done.stdout and (faults := json_schema.check(words, done.stdout)):
            raise Failure(f"`blxrep {' '.join(map(str, words))}` does not print what docs/json.md says: {'; '.join(faults)}")
        return done

    def raw(self, *words):
        """What it prints, as bytes, whatever its status is."""
        return subprocess.run([self.program, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False, env=environment())

    def fails(self, status, pattern, *words, cwd=None, timeout=30):
        """Must end with `status` and say why in one line that matches `pattern`. Returns the line."""
        done = self.run(*words, check=False, cwd=cwd, timeout=timeout)
        shown = f"`blxrep {' '.join(map(str, words))}` ended with {done.returncode}\nstdout: {done.stdout}\nstderr: {done.stderr}"
        if done.returncode != status:
            raise Failure(f"status {status} was expected: {shown}")
        if done.stdout:
            raise Failure(f"errors belong on stderr alone: {shown}")
        lines = [line for line in done.stderr.splitlines() if not line.startswith(("info:", "notice:", "debug:"))]
        if len(lines) != 1 or not re.search(pattern, lines[0], re.IGNORECASE):
            raise Failure(f"one line matching /{pattern}/ was expected: {shown}")
        return lines[0]

    def enroll(self, agent_id, data_dir, output):
        self.run("dispatcher", "enroll", f"--agent={agent_id}", f"--data-dir={data_dir}", f"--output={output}", "--init")
        return output

    def show(self, agent_id, data_dir, *words):
        done = self.run("dispatcher", "show", f"--agent={agent_id}", f"--data-dir={data_dir}", "--json", *words)
        return json.loads(done.stdout)

    def status(self, data_dir):
        return json.loads(self.run("dispatcher", "status", f"--data-dir={data_dir}", "--json").stdout)

    def checkpoint(self, agent_id, data_dir, timeout=180):
        """Takes one now; returns its timestamp."""
        done = self.run("dispatcher", "checkpoint", f"--agent={agent_id}", f"--data-dir={data_dir}", timeout=timeout)
        found = re.search(r"\b\d{14}\b", done.stdout)
        if not found:
            raise Failure(f"checkpoint printed no timestamp: {done.stdout!r} {done.stderr!r}")
        return found.group()

    def restore(self, agent_id, data_dir, checkpoint, *words, cwd=None, timeout=300):
        """Returns the paths that it printed."""
        done = self.run("dispatcher", "restore", f"--checkpoint={checkpoint}", f"--agent={agent_id}", f"--data-dir={data_dir}",
                        *words, cwd=cwd, timeout=timeout)
        return done.stdout.splitlines()


class Daemon:
    """A foreground daemon, its log, and what it tells the service manager."""

    def __init__(self, registry, folder, name, *words):
        self.name = name
        self.words = [str(word) for word in words]
        self.folder = folder
        self.process = None
        self.prefix = []  # a program that starts it, such as unshare
        self.program = ["blxrep", "start"]
        self.environment = {}
        self.clock = None  # the machine's, or a Clock
        self.lines = []
        self._change = threading.Condition()
        self._reader = None
        self._notify = None
        registry.add(self)

    def __str__(self):
        return self.name

    def start(self, ready=True):
        if self._notify:
            self._notify.close()
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = os.path.join(self.folder, f"notify-{random.randrange(1 << 40):x}")
        self._notify.bind(path)
        os.chmod(path, 0o777)  # as systemd's
        self.process = subprocess.Popen([*self.prefix, os.path.join(bin_folder(), self.program[0]), *self.program[1:], *self.words],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                        errors="replace", cwd=self.folder,
                                        env=environment({"NOTIFY_SOCKET": path, **self.environment,
                                                         **(self.clock.environment() if self.clock else {})}))
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        if ready:
            self.wait_notified("READY=1")
        return self

    def _read(self, stream):
        with stream, open(os.path.join(self.folder, f"{self.name}.log"), "a", encoding="utf-8") as log:
            for line in stream:
                log.write(line)
                with self._change:
                    self.lines.append(line.rstrip("\n"))
                    self._change.notify_all()
        with self._change:
            self._change.notify_all()

    def log(self):
        with self._change:
            return "\n".join(self.lines)

    def wait_notified(self, what, seconds=60):
        """Waits for a line of the service manager's protocol, or for the process to end, which is a failure."""
        deadline = time.monotonic() + seconds
        self._notify.settimeout(0.2)
        while True:
            try:
                if what in self._notify.recv(4096).decode().splitlines():
                    return
            except TimeoutError:
                pass
            if self.process.poll() is not None:
                self._reader.join(5)
                raise Failure(f"{self.name} ended with {self.process.returncode} and never said {what}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise Failure(f"{self.name} did not say {what} within {seconds} s:\n{self.log()}")

    def wait_line(self, pattern, seconds=60, start=0):
        """Waits for a log line that matches, looking from line number `start` on. Returns (line number, line)."""
        expression = re.compile(pattern)
        deadline = time.monotonic() + seconds
        with self._change:
            while True:
                for number in range(start, len(self.lines)):
                    if expression.search(self.lines[number]):
                        return number, self.lines[number]
                start = max(start, len(self.lines))
                left = deadline - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not self._reader.is_alive()):
                    break
                self._change.wait(min(left, 0.5))
        raise Failure(f"{self.name} logged nothing like /{pattern}/:\n{self.log()}")

    def running(self):
        return self.process is not None and self.process.poll() is None

    def send(self, number):
        self.process.send_signal(number)

    def halt(self):
        if self.running():
            self.process.kill()

    def kill(self):
        """kill -9; harmless if it has ended."""
        self.halt()
        if self.process is not None:
            self.process.wait(30)

    def stop(self, seconds=30):
        """SIGTERM; must end by itself, with 0."""
        self.send(signal.SIGTERM)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{self.name} did not end within {seconds} s of SIGTERM:\n{self.log()}") from error
        self._reader.join(5)
        if status != 0:
            raise Failure(f"{self.name} ended with {status} on SIGTERM:\n{self.log()}")

    def close(self):
        self.kill()
        if self._reader:
            self._reader.join(5)
        if self._notify:
            self._notify.close()
        if SANITIZER_REPORT.search(self.log()):
            raise Failure(f"{self.name}: sanitizer report\n{self.log()}")


class Dispatcher(Daemon):
    def __init__(self, registry, folder, data_dir, *words, sync_freq="1h", port=None, name="dispatcher", host="127.0.0.1"):
        self.data_dir = data_dir
        self.port = port or free_port()
        self.address = f"{host}:{self.port}"
        freq = [f"--sync-freq={sync_freq}"] if sync_freq else []  # a flag outranks the file
        super().__init__(registry, folder, name, "--mode=dispatcher", f"--data-dir={data_dir}", *freq,
                         f"--listen={self.address}", "--init", *words)

    def agent_state(self, agent_id):
        """The agent's row of `status`, or None."""
        rows = [row for row in Cli().status(self.data_dir) if row["id"] == agent_id]
        return rows[0] if rows else None

    def wait_online(self, agent_id, seconds=60):
        def online():
            row = self.agent_state(agent_id)
            return row if row and row["state"].upper() != "OFFLINE" else None
        return wait_until(f"agent \"{agent_id}\" online", online, seconds)

    def wait_session(self, agent_id, earlier, seconds=60):
        """Waits for a session after the first `earlier` ones (`sessions` in `status`)."""
        wait_until(f"session {earlier + 1} of agent \"{agent_id}\"", lambda: self.agent_state(agent_id)["sessions"] > earlier, seconds)
        return self.wait_online(agent_id, seconds)

    def wait_offline(self, agent_id, seconds=60):
        wait_until(f"agent \"{agent_id}\" offline", lambda: self.agent_state(agent_id)["state"].upper() == "OFFLINE", seconds)

    def wait_checkpoints(self, agent_id, count, seconds=240):
        """Waits until the agent has `count` checkpoints; returns them."""
        def enough():
            shown = Cli().run("show", f"--agent={agent_id}", f"--data-dir={self.data_dir}", "--json", check=False)
            rows = json.loads(shown.stdout) if shown.returncode == 0 else []
            return rows if len(rows) >= count else None
        return wait_until(f"{count} checkpoints of \"{agent_id}\"", enough, seconds, interval=0.2)


class Tester(Daemon):
    def __init__(self, registry, folder, data_dir, *words):
        super().__init__(registry, folder, "tester", f"--data-dir={data_dir}", *words)
        self.program = ["blxrep-tester"]


class Agent(Daemon):
    def __init__(self, registry, folder, agent_id, address, credentials, devices, *words):
        self.id = agent_id
        self.run_dir = os.path.join(folder, f"run-{agent_id}")
        super().__init__(registry, folder, f"agent-{agent_id}", "--mode=agent", f"--id={agent_id}",
                         f"--dispatcher-addr={address}", f"--credentials={credentials}", f"--run-dir={self.run_dir}",
                         *[f"--device={device}" for device in devices], *words)


class Page(Daemon):
    """blxrep-page, and a browser's requests to it."""

    def __init__(self, registry, folder, data_dir, *words):
        self.data_dir = data_dir
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        super().__init__(registry, folder, "page", f"--data-dir={data_dir}", f"--page-listen={self.address}", *words)
        self.program = ["blxrep-page"]

    def invite(self, *words):
        """The address that `blxrep dispatcher page` prints, without the host."""
        url = Cli().run("dispatcher", "page", f"--data-dir={self.data_dir}", f"--page-listen={self.address}", *words).stdout.strip()
        start = f"http://{self.address}/"
        if not url.startswith(start):
            raise Failure(f"`blxrep dispatcher page` printed {url!r}")
        return url[len(start) - 1:]

    def invite_for(self, host):
        """The whole address, if it listens at `host`."""
        return Cli().run("dispatcher", "page", f"--data-dir={self.data_dir}", f"--page-listen={host}:{self.port}").stdout.strip()

    def request(self, url, method="GET", cookie=None, source=None, body=None, **headers):
        """(status, headers, body). `Name_of_header="value"`; `source`: the address to come from."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60,
                                                source_address=(source, 0) if source else None)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, url, body=body, headers={**({"Cookie": cookie} if cookie else {}), **named})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def enter(self, *words):
        """A session's cookie."""
        status, headers, body = self.request(self.invite(*words))
        if status != 200:
            raise Failure(f"the page let nobody in: {status} {body!r}")
        return headers["Set-Cookie"].split(";")[0]
