# SPDX-License-Identifier: Apache-2.0
"""The machine's resources that a test holds, and how they are given back.

Every disk, mount, program and folder registers itself here when it is made. close_all() gives everything back in an order that cannot
hang: first the programs die (so that nobody freezes again), then every filesystem is thawed (a frozen one keeps its writers
unkillable), then the rest goes, the newest first. It runs at the end of each test, and at the end of the process, whatever ends
it: failure, exception, SIGTERM, or the deadline of the whole file.
"""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time


class Failure(AssertionError):
    """Something outside of the test's own assertions went wrong: a command, a deadline."""


def run(*command, check=True, timeout=120, input_text=None, cwd=None, env=None):
    """Runs a command to its end; a failure carries the command's output."""
    command = [str(word) for word in command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, input=input_text, cwd=cwd, env=env,
                              errors="replace", check=False)
    except FileNotFoundError as error:
        raise Failure(f"`{command[0]}` is missing on this machine: the end-to-end tests need it") from error
    except subprocess.TimeoutExpired as error:
        raise Failure(f"`{' '.join(command)}` did not end within {timeout} s\n{error.stdout}\n{error.stderr}") from error
    if check and done.returncode != 0:
        raise Failure(f"`{' '.join(command)}` ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def wait_until(what, condition, seconds=60, interval=0.05):
    """Returns the first true value of condition(); for events that can only be polled."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"waited {seconds} s in vain for: {what}")
        time.sleep(interval)


class Registry:
    def __init__(self):
        self._things = []
        self._lock = threading.RLock()

    def add(self, thing):
        with self._lock:
            self._things.append(thing)
        return thing

    def forget(self, thing):
        with self._lock:
            if thing in self._things:
                self._things.remove(thing)

    def things(self):
        with self._lock:
            return list(self._things)

    def close_all(self):
        """Gives everything back; returns the errors, as texts."""
        problems = []
        self._each("halt", problems)
        self._each("thaw", problems)
        self._each("close", problems)
        with self._lock:
            self._things.clear()
        return problems

    def _each(self, method, problems):
        for thing in reversed(self.things()):
            function = getattr(thing, method, None)
            if function is None:
                continue
            try:
                function()
            except Exception as error:  # the rest must be given back all the same
                problems.append(f"{method} of {thing}: {error}")


class Folder:
    """A temporary folder, checked for left-overs of the test before it goes."""

    def __init__(self, registry):
        self.path = tempfile.mkdtemp(prefix="blxrep-e2e-")
        registry.add(self)

    def __str__(self):
        return self.path

    def close(self):
        left = left_behind(self.path)
        for mount_point in mounts_below(self.path):
            run("umount", "-l", mount_point, check=False)
        for name in loops_below(self.path):
            run("losetup", "-d", f"/dev/{name}", check=False)
        if not os.environ.get("BLXREP_E2E_KEEP"):  # to look at what a failed test left
            shutil.rmtree(self.path, ignore_errors=True)
        if left:
            raise Failure("left behind: " + "; ".join(left))


def mounts_below(path):
    """The mount points below `path`, deepest first."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [line.split()[4].encode().decode("unicode_escape") for line in file]
    return sorted((point for point in points if point.startswith(path + "/")), reverse=True)


def loops_below(path):
    loops = []
    for name in os.listdir("/sys/block"):
        try:
            with open(f"/sys/block/{name}/loop/backing_file", encoding="utf-8") as file:
                if file.read().startswith(path + "/"):
                    loops.append(name)
        except OSError:
            continue
    return loops


def is_running(pid):
    """Whether there is a process of that ID that has not ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def processes_naming(path):
    """(pid, command) of the processes that have `path` on their command line, except for this one."""
    found = []
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                command = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if path in command and is_running(pid):
            found.append((int(pid), command))
    return found


def left_behind(path):
    """The mounts, loop devices and processes that the test left. Processes and loop devices get a moment to end."""
    deadline = time.monotonic() + 10
    while (processes_naming(path) or loops_below(path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    processes = processes_naming(path)
    for pid, _command in processes:
        os.kill(pid, signal.SIGKILL)
    return (["mount " + point for point in mounts_below(path)] + ["loop device " + name for name in loops_below(path)]
            + [f"process {pid} ({command})" for pid, command in processes])


REGISTRY = Registry()


def _interrupt(number, _frame):
    raise KeyboardInterrupt(f"signal {number}")


def guard_process(seconds):
    """Makes sure that everything is given back, whatever ends this process, and that it ends within `seconds`."""
    atexit.register(lambda: [print(text, file=sys.stderr) for text in REGISTRY.close_all()])
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, _interrupt)
    signal.alarm(seconds)
