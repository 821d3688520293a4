# SPDX-License-Identifier: Apache-2.0
"""
Disks that are plugged in and pulled out of a guest while it runs. The host does it, by QEMU's monitor; a job in the guest asks for it with a
line on its console:

    host: unplug NUMBER            the disk of that number in the guest's list
    host: plug NUMBER BUS          it, or one that was not plugged in at the start
"""

import json
import re
import socket
import threading
import time

from guest import Failure

BUSES = {"virtio": "virtio-blk-pci", "nvme": "nvme", "scsi": "scsi-hd"}
REQUEST = re.compile(r"host: (unplug|plug) (\d+) ?(\w*)$")
RELEASE_SECONDS = 30  # until the guest has let go of what was unplugged


class Monitor:
    """QEMU's, spoken to in QMP."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(path)
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._lines.readline()  # its greeting
        self.run("qmp_capabilities")

    def run(self, command, **arguments):
        """Raises QEMU's error, if it gives one; events in between are ignored."""
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            answer = json.loads(self._lines.readline())
            if "error" in answer:
                raise Failure(f"QEMU: {command} {arguments}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def unplug(self, number):
        self.run("device_del", id=f"disk{number}")

    def plug(self, number, bus):
        deadline = time.monotonic() + RELEASE_SECONDS
        while True:
            try:
                return self.run("device_add", driver=BUSES[bus], drive=f"d{number}", id=f"disk{number}", serial=f"blxrep{number}")
            except Failure:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def close(self):
        self._lines.close()
        self._socket.close()


def _serve(guest):
    monitor = None
    seen = 0
    while guest.process.poll() is None:
        requests = [found for found in map(REQUEST.search, guest.lines[seen:]) if found]
        seen = len(guest.lines)
        for what, number, bus in (found.groups() for found in requests):
            monitor = monitor or Monitor(guest.monitor)
            if what == "unplug":
                monitor.unplug(number)
            else:
                monitor.plug(number, bus)
        time.sleep(0.1)
    if monitor:
        monitor.close()


def serve(guest):
    """Does what the guest's job asks for, until the guest ends. Errors are shown; the job then waits in vain."""
    threading.Thread(target=_serve, args=(guest,), daemon=True).start()
