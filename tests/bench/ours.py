# SPDX-License-Identifier: Apache-2.0
"""blxrep under measurement: its two daemons, and what they cost."""

import os
import shutil

from programs import Agent, Cli, Dispatcher
from registry import REGISTRY


class Ours:
    """A dispatcher and an agent of the disk, over TLS on loopback, or with the dispatcher behind a `link`; `words` are the agent's."""

    def __init__(self, folder, disk, link=None, words=()):
        self.folder = folder
        self.disk = disk
        self.link = link
        self.words = words
        self.cli = Cli()
        self.number = 0
        self.dispatcher = self.agent = None
        os.makedirs(self.folder)

    def forget(self):
        """No store, no tracker."""
        for daemon in (self.agent, self.dispatcher):
            if daemon is not None:
                daemon.stop()
                REGISTRY.forget(daemon)
        self.agent = self.dispatcher = None
        self.disk.forget_tracking()
        shutil.rmtree(self.folder)
        os.makedirs(self.folder)

    def begin(self):
        """A dispatcher that waits; the agent is another one each time."""
        self.number += 1
        self.id = f"bench{self.number}"
        self.data_dir = os.path.join(self.folder, f"data{self.number}")
        self.dispatcher = Dispatcher(REGISTRY, self.folder, self.data_dir, name=f"dispatcher{self.number}",
                                     host=self.link.address if self.link else "127.0.0.1")
        if self.link:
            self.dispatcher.prefix = ["nsenter", f"--net={self.link.net}"]
        self.dispatcher.start()
        self.credentials = self.cli.enroll(self.id, self.data_dir, os.path.join(self.folder, f"{self.id}.pem"))

    def full(self):
        """From the start of the agent to a durable checkpoint."""
        self.agent = Agent(REGISTRY, self.folder, self.id, self.dispatcher.address, self.credentials, [self.disk.path],
                           *self.words)
        self.agent.start()
        self.dispatcher.wait_online(self.id)
        self.again()

    def again(self):
        self.stamp = self.cli.checkpoint(self.id, self.data_dir, timeout=3600)

    def restore(self, output):
        self.cli.restore(self.id, self.data_dir, self.stamp, f"--output={output}", timeout=3600)

    def cpu_seconds(self):
        """Of agent and dispatcher so far."""
        return cpu_of(self.agent), cpu_of(self.dispatcher)

    def received_bytes(self):
        return self.dispatcher.agent_state(self.id)["received_bytes"]


def cpu_of(daemon):
    """Seconds so far, with those of the helper processes that read for it."""
    family = {daemon.process.pid}
    spent = sum(int(field) for field in stat_of(daemon.process.pid)[11:13])
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            stat = stat_of(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(stat[1]) in family:
            family.add(pid)
            spent += sum(int(field) for field in stat[11:13])
    return spent / os.sysconf("SC_CLK_TCK")


def stat_of(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rpartition(")")[2].split()
