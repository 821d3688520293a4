# SPDX-License-Identifier: Apache-2.0
"""Two hosts in namespaces of their own (host.sh), with a cable between them."""

import os
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
COMMAND_S = 300  # for apt, beside other tests


def run(*words):
    done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=COMMAND_S)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


class Host:
    """Lives until close()."""

    def __init__(self, name, packages, disks=()):
        self.name = name
        self.work = tempfile.mkdtemp(prefix=f"blxrep-newcomer-{name}-")
        self.process = subprocess.Popen([HERE / "host.sh", name, self.work, packages, *disks],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not self.process.stdout.readline().startswith("ready"):
            self.close()
            raise AssertionError(f"the host {name} does not come up")
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
            self.pid = file.read().split()[0]
        self.root = f"/proc/{self.pid}/root{self.work}/root"  # as seen from outside
        self.inside = ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--net", "--pid", "chroot", f"{self.work}/root"]

    def type(self, line, timeout=COMMAND_S):
        """As root, in a shell, in root's home; (status, what it prints, what it says)."""
        done = subprocess.run([*self.inside, "/bin/bash", "-c", f"cd /root; {line}"], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False, timeout=timeout,
                              env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
                                   "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"})
        return done.returncode, done.stdout, done.stderr

    def prepare(self, line):
        """What the newcomer does not type: the state of the host that the job begins with, or a look."""
        status, out, said = self.type(line)
        if status != 0:
            raise AssertionError(f"{self.name}: {line} ended with {status}:\n{out}{said}")
        return out

    def log(self):
        return "".join(f"----- {self.name} {name}\n{self.type(f'cat /run/log/{name}')[1]}" for name in ("blxrep-dispatcher", "blxrep-agent"))

    def close(self):
        """Whatever runs there ends with its first process."""
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        os.rmdir(self.work)


def connect(first, first_address, second, second_address):
    """A cable."""
    run("ip", "link", "add", "eth0", "netns", first.pid, "type", "veth", "peer", "name", "eth0", "netns", second.pid)
    for host, address in ((first, first_address), (second, second_address)):
        host.prepare(f"ip address add {address}/24 dev eth0 && ip link set eth0 up")


class Disk:
    """A sparse file as a loop device."""

    def __init__(self, folder, name, mib):
        self.file = f"{folder}/{name}"
        run("truncate", "-s", f"{mib}M", self.file)
        self.device = run("losetup", "--find", "--show", self.file).strip()

    def close(self):
        run("losetup", "--detach", self.device)
