# SPDX-License-Identifier: Apache-2.0
"""
A guest that is protected is set back to a snapshot with its memory, and cloned while it runs: savevm and loadvm of QEMU. The dispatcher
is outside. Every checkpoint equals the disk. Of a clone and its original one is refused.

    test_set_back.py [6.1|6.12]
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

import guest

sys.path.insert(0, os.path.join(os.path.dirname(guest.HERE), "e2e"))

from case import Case  # noqa: E402
from programs import bin_folder  # noqa: E402
from registry import REGISTRY  # noqa: E402

MODULES = ["virtio_pci", "virtio_blk", "virtio_net", "virtio_rng"]
DISK_MIB = 64
WRITTEN = 500
WAIT_S = 300  # all is emulated, and others may want the machine

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs trace /sys/kernel/tracing
mkdir -p /run /tmp
mount -t tmpfs run /run
for module in /modules/*.ko; do insmod "$module"; done
ifconfig lo 127.0.0.1
ifconfig eth0 10.0.2.15
stty -echo
echo the guest is up
exec sh
"""


class Machine:
    """A guest on a disk in qcow2 form, with a shell on its console."""

    def __init__(self, folder, name, kernel, initrd, disk, *words):
        self.name = name
        self.monitor = os.path.join(folder, f"{name}.qmp")
        self.lines = []
        self._change = threading.Condition()
        self._marks = 0
        self.process = subprocess.Popen(
            ["nice", "-n", "5", "qemu-system-x86_64", "-accel", "tcg", "-smp", "1", "-cpu", "max", "-m", "1024", "-display", "none",
             "-serial", "stdio", "-monitor", "none", "-no-reboot", "-device", "virtio-rng-pci",
             "-drive", f"file={disk},if=none,id=d0,format=qcow2,cache=unsafe", "-device", "virtio-blk-pci,drive=d0,serial=blxrep0",
             "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n",
             "-qmp", f"unix:{self.monitor},server=on,wait=off", "-kernel", kernel.image, "-initrd", initrd,
             "-append", "console=ttyS0 quiet panic=-1", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        REGISTRY.add(self)
        threading.Thread(target=self._read, daemon=True).start()

    def __str__(self):
        return f"guest {self.name}"

    def log(self):
        return "\n".join(self.lines)

    def _read(self):
        for raw in self.process.stdout:
            with self._change:
                self.lines.append(raw.decode(errors="replace").rstrip("\r\n"))
                self._change.notify_all()

    def wait_line(self, pattern, seconds=WAIT_S, start=0):
        expression = re.compile(pattern)
        deadline = time.monotonic() + seconds
        with self._change:
            while True:
                for number in range(start, len(self.lines)):
                    found = expression.search(self.lines[number])
                    if found:
                        return found
                start = len(self.lines)
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise guest.Failure(f"{self} did not say /{pattern}/")
                self._change.wait(0.5)

    def shell(self, command, seconds=WAIT_S):
        """Runs it on the console, and returns what it said. Not while another command runs."""
        self._marks += 1
        mark = f"{self.name}-{self._marks}"
        start = len(self.lines)
        self.process.stdin.write(f"{command}; echo; echo {mark[:3]}''{mark[3:]} ended $?\n".encode())
        self.process.stdin.flush()
        status = self.wait_line(rf"{mark} ended (\d+)", seconds, start).group(1)
        if status != "0":
            raise guest.Failure(f"{self}: `{command}` ended with {status}")
        return "\n".join(self.lines[start:])

    def order(self, command, **arguments):
        """An order to the monitor; returns its answer."""
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(300)
            peer.connect(self.monitor)
            with peer.makefile("rw") as file:
                file.readline()
                for name, words in (("qmp_capabilities", {}), (command, arguments)):
                    file.write(json.dumps({"execute": name, "arguments": words}) + "\n")
                    file.flush()
                    answer = {}
                    while "return" not in answer and "error" not in answer:
                        answer = json.loads(file.readline())
        if "error" in answer:
            raise guest.Failure(f"{self}: {command}: {answer['error']}")
        return answer["return"]

    def human(self, line):
        said = self.order("human-monitor-command", **{"command-line": line})
        if said.strip():
            raise guest.Failure(f"{self}: {line}: {said}")

    def halt(self):
        self.process.kill()

    def close(self):
        self.process.kill()
        self.process.wait(30)
        self.process.stdin.close()


class SetBack(Case):
    def setUp(self):
        super().setUp()
        self.kernel = guest.Kernel(SERIES)
        self.start_dispatcher()
        self.initrd = self.make_initrd()
        self.image = self.path("disk.qcow2")
        guest.run("qemu-img", "create", "-q", "-f", "qcow2", self.image, f"{DISK_MIB}M")
        begun = time.monotonic()
        self.machine = self.boot("one")
        self.machine.wait_line("the guest is up")
        print(f"the guest, kernel {self.kernel.release}, is up in {time.monotonic() - begun:.0f} s", flush=True)
        self.machine.shell("dd if=/dev/urandom of=/dev/vda bs=1M count=16 conv=fsync 2>/dev/null")
        self.machine.shell(f"(blxrep-agent --id=web1 --dispatcher-addr=10.0.2.2:{self.dispatcher.port} --credentials=/web1.pem "
                           "--device=/dev/vda --run-dir=/run/blxrep >/dev/console 2>&1 &)")
        self.dispatcher.wait_online("web1", WAIT_S)
        self.check(self.machine)

    def boot(self, name, *words, disk=None):
        return Machine(self.folder, name, self.kernel, self.initrd, disk or self.image, *words)

    def make_initrd(self):
        """busybox, the agent and its libraries, and the modules."""
        root = self.path("root")
        for folder in ("bin", "modules", "proc", "sys", "dev", "run", "tmp", "lib64"):
            os.makedirs(f"{root}/{folder}")
        shutil.copy("/bin/busybox", f"{root}/bin/")
        agent = os.path.abspath(os.path.join(bin_folder(), "blxrep-agent"))
        # At its own place, as it looks for its library beside itself.
        os.makedirs(root + os.path.dirname(agent), exist_ok=True)
        shutil.copy(agent, root + agent)
        os.symlink(agent, f"{root}/bin/blxrep-agent")
        shutil.copy(self.enroll("web1"), f"{root}/web1.pem")
        for path in re.findall(r"(/\S+) \(0x", guest.run("ldd", agent)):
            os.makedirs(root + os.path.dirname(path), exist_ok=True)
            shutil.copy(path, root + path)
        # pylint: disable=protected-access
        for number, path in enumerate(self.kernel._with_needed(MODULES)):
            packed = guest.lzma.open(path) if path.endswith(".xz") else open(path, "rb")
            with packed, open(f"{root}/modules/{number:02d}.ko", "wb") as file:
                shutil.copyfileobj(packed, file)
        with open(f"{root}/init", "w", encoding="ascii") as file:
            file.write(INIT)
        os.chmod(f"{root}/init", 0o755)
        target = self.path("initrd.gz")
        guest.run("sh", "-c", f"find . | cpio --quiet -o -H newc | gzip -1 >'{target}'", cwd=root)
        return target

    def write(self, machine):
        """Blocks at places that are others each time."""
        machine.shell(f"n=0; while [ $n -lt {WRITTEN} ]; do dd if=/dev/urandom of=/dev/vda bs=4k count=1 seek=$((RANDOM % 16384)) "
                      "conv=notrunc 2>/dev/null; n=$((n + 1)); done; sync", 2 * WAIT_S)

    def check(self, machine):
        stamp = self.checkpoint("web1")
        said = machine.shell("echo 3 >/proc/sys/vm/drop_caches; sha256sum /dev/vda")
        on_disk = re.search(r"([0-9a-f]{64})", said).group(1)
        image = self.restore("web1", stamp, self.path("image"), "--force")
        stored = guest.run("sha256sum", image).split()[0]
        os.unlink(image)
        self.assertEqual(stored, on_disk, f"checkpoint {stamp} is the disk")
        return self.row("web1", stamp)

    def test_set_back_with_memory(self):
        machine = self.machine
        machine.human("savevm early")
        self.write(machine)
        self.check(machine)
        start = len(machine.lines)
        machine.human("loadvm early")
        self.write(machine)
        machine.wait_line(r"rescan \(.*set back", WAIT_S, start)
        self.check(machine)
        print(f"set back: {machine.wait_line('rescan done: .*', WAIT_S, start).group(0)}", flush=True)
        self.assertNotIn("rescan", "\n".join(machine.lines[:start]))

    def test_cloned_while_it_runs(self):
        machine = self.machine
        machine.human("savevm early")
        machine.order("stop")
        shutil.copy(self.image, self.path("clone.qcow2"))
        machine.order("cont")
        self.write(machine)
        self.check(machine)
        clone = self.boot("two", "-loadvm", "early", disk=self.path("clone.qcow2"))
        for both in (machine, clone):
            self.write(both)
        # The clone was let in once, as it looks like the original; then the two are told apart.
        self.dispatcher.wait_line("the agent 'web1' is connected from .* already, and answers", WAIT_S)
        sessions = self.dispatcher.agent_state("web1")["sessions"]
        print(f"a clone: one of the two is refused after {sessions} sessions", flush=True)
        winner = clone if any("the agent 'web1' is connected" in line or "another agent with the credentials" in line
                              for line in machine.lines) else machine
        self.check(winner)
        time.sleep(20)
        self.write(winner)
        self.check(winner)
        self.assertEqual(self.dispatcher.agent_state("web1")["sessions"], sessions, "they do not take over from each other")


if __name__ == "__main__":
    import unittest
    SERIES = sys.argv.pop(1) if len(sys.argv) > 1 and sys.argv[1][0].isdigit() else "6.1"
    unittest.main(verbosity=2)
