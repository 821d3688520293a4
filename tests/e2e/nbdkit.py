# SPDX-License-Identifier: Apache-2.0
"""nbdkit with the plugin that was built, also if that needs a sanitizer's library."""

import os
import re
import shutil
import subprocess

from programs import SANITIZER_REPORT, bin_folder, environment
from registry import REGISTRY, Failure, is_running, run, wait_until

PLUGIN = "nbdkit-blxrep-plugin.so"


def plugin():
    return os.path.join(os.path.dirname(bin_folder()), "lib", PLUGIN)


def plugin_environment():
    """nbdkit is nobody's but the distribution's, so a sanitizer has to be there before it. What it leaks is not ours."""
    found = re.search(r"(/\S*/lib[at]san\S*)", run("ldd", plugin()).stdout)
    if not found:
        return {}
    stay_locale = os.path.join(os.path.dirname(bin_folder()), "tests", "libtest_stay_locale.so")
    return {"LD_PRELOAD": f"{found.group(1)} {stay_locale}", "ASAN_OPTIONS": "detect_leaks=0"}


def refused(*words):
    """What nbdkit says instead of beginning."""
    done = run("nbdkit", "-f", "-U", "/nonexistent/nbd.sock", plugin(), *words, check=False, timeout=60, env=environment(plugin_environment()))
    if done.returncode != 1 or SANITIZER_REPORT.search(done.stderr):
        raise Failure(f"nbdkit ended with {done.returncode}: {done.stderr}")
    return done.stderr


class Nbdkit:
    """In the background of nbdkit's own, at a socket."""

    def __init__(self, folder, *words, options=()):
        self.socket = os.path.join(folder, "nbd.sock")
        self.pid_file = os.path.join(folder, "nbd.pid")
        self.log_path = os.path.join(folder, "nbdkit.log")
        with open(self.log_path, "wb") as log:  # a pipe would not end with the parent
            status = subprocess.run(["nbdkit", "-U", self.socket, "-P", self.pid_file, *options, plugin(), *words], stdin=subprocess.DEVNULL,
                                    stdout=log, stderr=log, timeout=60, check=False, env=environment(plugin_environment())).returncode
        if status != 0:
            raise Failure(f"nbdkit ended with {status}: {self.said()}")
        self.pid = int(wait_until("nbdkit's process has told its ID", self.read_pid))
        REGISTRY.add(self)

    def __str__(self):
        return f"nbdkit at {self.socket}"

    @property
    def uri(self):
        return self.export("")

    def export(self, name):
        return f"nbd+unix:///{name}?socket={self.socket}"

    def read_pid(self):
        """nbdkit writes it after its parent has ended; None: not yet."""
        try:
            with open(self.pid_file, encoding="ascii") as file:
                text = file.read()
        except FileNotFoundError:
            return None
        return text if text.endswith("\n") else None

    def said(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def is_running(self):
        return is_running(self.pid)

    def end(self, number):
        """By a signal; until then it ran, so no sanitizer ended it. nbdkit leaves a socket that was named, and its file."""
        if not self.is_running():
            raise Failure(f"{self} ended by itself: {self.said()}")
        os.kill(self.pid, number)
        wait_until(f"{self} ends", lambda: not self.is_running(), 60)
        REGISTRY.forget(self)
        for path in (self.socket, self.pid_file):
            os.unlink(path)
        if SANITIZER_REPORT.search(self.said()):
            raise Failure(f"{self}: sanitizer report\n{self.said()}")

    def close(self):
        if self.is_running():
            self.end(9)


class Tools:
    """A folder for PATH: nbdkit with what the plugin that was built needs, and whatever else a test wants. It notes nbdkit's words."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, "tools")
        self.log = os.path.join(folder, "nbdkit.words")
        os.mkdir(self.folder)
        wanted = " ".join(f"'{name}={value}'" for name, value in plugin_environment().items())
        self.put("nbdkit", f'echo "$$ $*" >>{self.log}\nexec env {wanted} {shutil.which("nbdkit")} "$@"')

    def put(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\n{text}\n")
        os.chmod(path, 0o755)

    def runs(self):
        """(pid, words) of each nbdkit that was started."""
        if not os.path.exists(self.log):
            return []
        with open(self.log, encoding="utf-8") as file:
            return [(int(pid), words) for pid, words in (line.rstrip("\n").split(" ", 1) for line in file)]
