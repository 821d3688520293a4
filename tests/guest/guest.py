# SPDX-License-Identifier: Apache-2.0
"""Booting guests: other kernels and other disks than this machine has, in QEMU, emulated, so that no KVM is needed.

A guest has a Kernel of Debian's, disks (sparse files), and one of two systems:

- the machine's own files, read-only with a layer in memory over them, for a job that runs alone (run_job). Nothing has to be installed:
  programs, libraries and tests are those of the machine. Boots within seconds.
- a system on a disk of its own, which boots as a server does (server.py makes it).

Kernels and what is made of them stay in the cache, BLXREP_GUEST_CACHE or build-guest/ in the sources. All is emulated with one CPU; run one
guest at a time.
"""

import fcntl
import glob
import lzma
import os
import re
import shutil
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
MIB = 1 << 20
JOB_MODULES = ["virtio_pci", "9pnet_virtio", "9p", "overlay"]


class Failure(AssertionError):
    """The guest failed, or could not be made."""


def run(*command, cwd=None, timeout=600, **named):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          check=False, cwd=cwd, timeout=timeout, **named)
    if done.returncode != 0:
        raise Failure(f"`{' '.join(map(str, command))}` ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def cache(*names):
    folder = os.environ.get("BLXREP_GUEST_CACHE") or os.path.join(SOURCE, "build-guest")
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, *names)


def make_once(path, make):
    """`make(temporary)` makes a file or folder, which is there whole or not at all. Returns the path."""
    with open(cache("lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(path):
            shutil.rmtree(path + ".new", ignore_errors=True)
            make(path + ".new")
            os.rename(path + ".new", path)
    return path


class Kernel:
    """A kernel of Debian 12: "6.1", its own, or "6.12", the newer one that its security archive carries."""

    PACKAGES = {"6.1": "linux-image-amd64", "6.12": "linux-image-6.12-amd64"}

    def __init__(self, series):
        self.series = series
        self.folder = make_once(cache(f"kernel-{series}"), self._fetch)
        self.image, = glob.glob(f"{self.folder}/boot/vmlinuz-*")
        self.release = os.path.basename(self.image).removeprefix("vmlinuz-")
        self.modules = f"{self.folder}/lib/modules/{self.release}"

    def _fetch(self, folder):
        os.makedirs(folder)
        depends = run("apt-cache", "depends", "--no-recommends", self.PACKAGES[self.series])
        found = re.search(r"Depends: (linux-image-\S+)", depends)
        if not found:
            raise Failure(f"apt knows no kernel {self.series}: guests need Debian 12's archive with its security part")
        run("apt-get", "download", "-q", found.group(1), cwd=folder)
        deb, = glob.glob(f"{folder}/*.deb")
        run("dpkg-deb", "-x", deb, folder)
        os.unlink(deb)
        release, = os.listdir(f"{folder}/lib/modules")
        if not release.startswith(self.series + "."):
            raise Failure(f"{self.PACKAGES[self.series]} is {release}, not {self.series}: guests need Debian 12's archive")
        run("depmod", "-b", folder, release)

    def job_initrd(self):
        """A small first system that goes over to the machine's files."""
        return make_once(cache(f"initrd-{self.series}.gz"), self._pack)

    def _pack(self, target):
        root = target + ".root"
        shutil.rmtree(root, ignore_errors=True)
        for folder in ("bin", "modules", "proc", "dev", "sys", "lower", "layer", "new"):
            os.makedirs(f"{root}/{folder}")
        shutil.copy("/bin/busybox", f"{root}/bin/")
        shutil.copy(f"{HERE}/job_init.sh", f"{root}/init")
        os.chmod(f"{root}/init", 0o755)
        self.copy_modules(JOB_MODULES, f"{root}/modules")
        run("sh", "-c", f"find . | cpio --quiet -o -H newc | gzip -1 >'{target}'", cwd=root)
        shutil.rmtree(root)

    def copy_modules(self, modules, folder):
        """And those that they need, unpacked, under names in whose order they can be loaded."""
        for number, path in enumerate(self._with_needed(modules)):
            with (lzma.open if path.endswith(".xz") else open)(path, "rb") as packed:
                with open(f"{folder}/{number:02d}.ko", "wb") as file:
                    shutil.copyfileobj(packed, file)

    def _with_needed(self, modules):
        paths = []
        for module in modules:
            for line in run("modprobe", "-d", self.folder, "-S", self.release, "--show-depends", module).splitlines():
                if line.startswith("insmod") and line.split()[1] not in paths:
                    paths.append(line.split()[1])
        return paths


def make_disk(path, mib):
    with open(path, "wb") as file:
        file.truncate(mib * MIB)
    return path


class Guest:
    """
    A machine that runs. `disks` are (bus, file) in the order in which the guest sees them; buses: "virtio", "nvme", "scsi", or None for one that
    may be plugged in later (hotplug.py). `words` go to QEMU as they are. What the guest says on its console is in `lines`, and in `log`, a file;
    what it says last, without a line's end, is in `unfinished`. Its monitor listens on the socket `monitor`.
    """

    BUSES = {"virtio": "virtio-blk-pci", "nvme": "nvme", "scsi": "scsi-hd,bus=scsi0.0"}

    def __init__(self, log, disks, *words, memory_mib=1024):
        command = ["nice", "-n", "5", "qemu-system-x86_64", "-accel", "tcg", "-smp", "1", "-cpu", "max", "-m", str(memory_mib),
                   "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot", "-device", "virtio-rng-pci"]
        if any(bus == "scsi" for bus, _file in disks):
            command += ["-device", "virtio-scsi-pci,id=scsi0"]
        for number, (bus, file) in enumerate(disks):
            command += ["-blockdev", f"driver=raw,node-name=d{number},discard=unmap,cache.no-flush=on,file.driver=file,file.filename={file},"
                        "file.discard=unmap,file.cache.no-flush=on"]
            if bus:
                command += ["-device", f"{self.BUSES[bus]},drive=d{number},id=disk{number},serial=blxrep{number}"]
        self.log = log
        self.monitor = log + ".qmp"
        command += ["-qmp", f"unix:{self.monitor},server=on,wait=off"]
        self.lines = []
        self.unfinished = ""
        self._change = threading.Condition()
        self._begun = time.monotonic()
        self.process = subprocess.Popen([*command, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        rest = b""
        with open(self.log, "w", encoding="utf-8") as log:
            while piece := os.read(self.process.stdout.fileno(), 65536):
                *ended, rest = (rest + piece).split(b"\n")
                lines = [raw.decode(errors="replace").rstrip("\r") for raw in ended]
                log.write("".join(f"{time.monotonic() - self._begun:7.1f} {line}\n" for line in lines))
                log.flush()
                with self._change:
                    self.lines += lines
                    self.unfinished = rest.decode(errors="replace")
                    self._change.notify_all()
        with self._change:
            if rest:
                self.lines.append(self.unfinished)
                self.unfinished = ""
            self._change.notify_all()

    def tail(self, count=60):
        return "\n".join(self.lines[-count:])

    def wait_line(self, pattern, seconds):
        """Returns the match in the first line of the console that has one; fails if the guest ends before, or at a kernel's panic."""
        expression = re.compile(pattern)
        deadline = time.monotonic() + seconds
        seen = 0
        with self._change:
            while True:
                for line in self.lines[seen:]:
                    found = expression.search(line)
                    if found:
                        return found
                seen = len(self.lines)
                left = deadline - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not self._reader.is_alive()):
                    raise Failure(f"the guest did not say /{pattern}/ within {seconds} s:\n{self.tail()}")
                self._change.wait(min(left, 0.5))

    def answer(self, question, text, seconds):
        """Waits until the guest's last line, which is not ended, matches, and types a line."""
        expression = re.compile(question)
        deadline = time.monotonic() + seconds
        with self._change:
            while not expression.search(self.unfinished):
                left = deadline - time.monotonic()
                if left <= 0 or self.process.poll() is not None:
                    raise Failure(f"the guest did not ask /{question}/ within {seconds} s:\n{self.tail()}\n{self.unfinished}")
                self._change.wait(min(left, 0.5))
            self.unfinished = ""
        self.process.stdin.write(f"{text}\r".encode())
        self.process.stdin.flush()

    def wait_end(self, seconds):
        """The guest powers itself off."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"the guest did not end within {seconds} s:\n{self.tail()}") from error
        self._reader.join(10)

    def crash(self):
        """As if its power were cut. Harmless if it has ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        self._reader.join(10)
        self.process.stdin.close()
        self.process.stdout.close()


def run_job(kernel, log, disks, script, seconds, memory_mib=2048, serve=None, kernel_words=""):
    """
    Runs a shell script, alone, in a guest on the machine's own files, and shows what it says. Its modules are those of the kernel; $TMPDIR, /run
    and the like are memory of the guest; what it writes elsewhere goes with it. Fails unless the script ends with 0. `serve(guest)` may begin
    something that helps it from outside. `kernel_words` are for the kernel.
    """
    job = log + ".job"
    with open(job, "w", encoding="utf-8") as file:
        file.write(f"export BLXREP_GUEST_MODULES='{kernel.modules}'\n{script}\n")
    guest = Guest(log, disks, "-nic", "none",
                  "-virtfs", "local,path=/,mount_tag=machine,security_model=none,readonly=on,multidevs=remap",
                  "-kernel", kernel.image, "-initrd", kernel.job_initrd(),
                  "-append", f"console=ttyS0 quiet panic=-1 no_timer_check blxrep.init={HERE}/job.sh blxrep.job={job} {kernel_words}", memory_mib=memory_mib)
    if serve:
        serve(guest)
    try:
        status = int(guest.wait_line(r"^job ended with (\d+)", seconds).group(1))
        guest.wait_end(60)
    finally:
        guest.crash()
        sys.stdout.write("".join(f"  | {line}\n" for line in guest.lines))
    if status != 0:
        raise Failure(f"the guest's job ended with {status}, see above")
