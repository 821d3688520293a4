# SPDX-License-Identifier: Apache-2.0
"""The base of the end-to-end tests: a folder, disks, a dispatcher and agents, all given back at the end of each test."""

import os
import sys
import unittest

from disks import FailingDisk, LoopDisk, ZramDisk
from programs import Agent, Cli, Dispatcher
from registry import REGISTRY, Folder, guard_process, wait_until


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        if os.geteuid() != 0:
            self.fail("the end-to-end tests need root: loop devices, mounts and eBPF")
        self._problems_before = self._problems_so_far()
        self.addCleanup(self._give_back)
        self.folder = str(Folder(REGISTRY))
        self.data_dir = os.path.join(self.folder, "data")
        self.cli = Cli()
        self.dispatcher = None

    def _problems_so_far(self):
        """unittest has no public way to ask whether this test failed, so the failures are counted."""
        result = self._outcome.result
        return len(result.failures) + len(result.errors)

    def _give_back(self):
        failed = self._problems_so_far() > self._problems_before
        logs = [thing for thing in REGISTRY.things() if hasattr(thing, "log")]
        problems = REGISTRY.close_all()
        if failed or problems:
            for daemon in logs:
                print(f"----- log of {daemon}\n{daemon.log()}", file=sys.stderr)
        if problems:
            self.fail("; ".join(problems))

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def loop_disk(self, mib, name="disk"):
        return LoopDisk(REGISTRY, self.folder, mib, name)

    def failing_disk(self, mib, name="disk"):
        return FailingDisk(REGISTRY, self.folder, mib, name)

    def zram_disk(self, mib):
        return ZramDisk(REGISTRY, self.folder, mib)

    def start_dispatcher(self, *words, clock=None, **named):
        self.dispatcher = Dispatcher(REGISTRY, self.folder, self.data_dir, *words, **named)
        self.dispatcher.clock = clock
        return self.dispatcher.start()

    def restart_dispatcher(self, *words, **named):
        """Another process on the same data and the same port."""
        return self.start_dispatcher(*words, port=self.dispatcher.port, **named)

    def enroll(self, agent_id):
        """The agent's credentials, made once."""
        path = self.path(f"{agent_id}.pem")
        if not os.path.exists(path):
            self.cli.enroll(agent_id, self.data_dir, path)
        return path

    def start_agent(self, agent_id, devices, *words, address=None, online=True, clock=None):
        devices = devices if isinstance(devices, list) else [devices]
        agent = Agent(REGISTRY, self.folder, agent_id, address or self.dispatcher.address, self.enroll(agent_id), devices,
                      *words)
        agent.clock = clock
        agent.start(ready=online)
        if online:
            self.dispatcher.wait_online(agent_id)
        return agent

    def checkpoint(self, agent_id):
        return self.cli.checkpoint(agent_id, self.data_dir)

    def show(self, agent_id, *words):
        return self.cli.show(agent_id, self.data_dir, *words)

    def row(self, agent_id, timestamp):
        """The line of `show --json` of one checkpoint."""
        rows = [row for row in self.show(agent_id) if str(row["checkpoint"]) == timestamp]
        self.assertEqual(len(rows), 1, f"checkpoint {timestamp} is shown once")
        return rows[0]

    def restore(self, agent_id, checkpoint, output, *words):
        """Restores one image to `output` and returns its path."""
        self.assertEqual(self.cli.restore(agent_id, self.data_dir, checkpoint, f"--output={output}", *words), [output])
        return output

    def assert_no_half_files(self):
        """No half-done file is left beside the outputs, nor in the store, where a dispatcher that lives may just be writing one."""
        def half_files():
            return {os.path.join(folder, name) for folder, _folders, files in os.walk(self.folder)
                    for name in files if name.endswith((".partial", ".tmp"))}
        left = half_files()
        being_written = set()
        if self.dispatcher is not None and self.dispatcher.running():
            being_written = {path for path in left if path.startswith(self.data_dir + "/")}
        self.assertEqual(left - being_written, set())
        wait_until(f"no half-done file is left ({sorted(being_written)})", lambda: not being_written & half_files(), 20)


def main(seconds=None):
    """Runs the file's tests. They must end within `seconds`, or else $BLXREP_E2E_SECONDS, which is less than ctest's TIMEOUT."""
    guard_process(seconds or int(os.environ.get("BLXREP_E2E_SECONDS", "900")))
    unittest.main(module="__main__", verbosity=2)
