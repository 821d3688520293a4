# SPDX-License-Identifier: Apache-2.0
"""
Runs inside a guest: devices of every kind that this kernel has, alone and stacked. Each is tracked (marks.c) while known blocks are written
through it. Its image must be equal to it, or a doubt must have been noted. One line for each case.

    stacks.py MARKS [CASE...]       a case is named by a part of its name; it needs four disks, /dev/vda to /dev/vdd, of 24 MiB
"""

import contextlib
import glob
import mmap
import os
import pathlib
import random
import re
import subprocess
import sys
import threading
import time

BLOCK = 4096
SECTORS = 16384  # of a device-mapper target: 8 MiB
DISKS = ["/dev/vda", "/dev/vdb", "/dev/vdc", "/dev/vdd"]
SINGLE, LARGE = 120, 2


def run(*words, text=None):
    done = subprocess.run([str(word) for word in words], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"`{' '.join(map(str, words))}`: {done.stdout.strip()}")
    return done.stdout


def write(path, text):
    pathlib.Path(path).write_text(f"{text}\n", encoding="ascii")


def wait_for(path, seconds=20):
    deadline = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{path} does not come")
        time.sleep(0.05)
    return path


class Missing(Exception):
    """This kernel has no such device."""


class Stack(contextlib.ExitStack):
    """Builds devices, and takes them down in the opposite order."""

    def __init__(self):
        super().__init__()
        self.free = list(DISKS)
        self.names = 0

    def disk(self):
        return self.free.pop(0)

    @staticmethod
    def need(*modules):
        for module in modules:
            if subprocess.run(["modprobe", "-q", module], check=False).returncode != 0:
                raise Missing(f"no {module}")

    def md(self, level, *members, iostats=None):
        self.need({"linear": "md-linear" if os.path.exists("/sys/module/md_linear") else "linear", "5": "raid456", "raid0": "raid0",
                   "1": "raid1", "10": "raid10"}[level])
        self.names += 1
        path = f"/dev/md{self.names}"
        for member in members:  # mirrors that are assumed to be clean must be equal
            run("blkdiscard", "-f", "-z", member)
        run("mdadm", "--build" if level in ("linear", "raid0") else "--create", path, "--run", f"--level={level}",
            f"--raid-devices={len(members)}", *(["--chunk=64"] if level in ("raid0", "5", "10") else []),
            *([] if level in ("linear", "raid0") else ["--assume-clean", "--metadata=1.2", "--bitmap=none"]), *members)
        self.callback(self.stop_md, path, members)
        return self.set_iostats(path, iostats)

    @staticmethod
    def stop_md(path, members):
        for _ in range(20):
            if subprocess.run(["mdadm", "-q", "--stop", path], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                break
            time.sleep(0.1)
        subprocess.run(["mdadm", "-q", "--zero-superblock", *members], stderr=subprocess.DEVNULL, check=False)

    @staticmethod
    def set_iostats(path, iostats):
        if iostats is not None:
            number = os.stat(path).st_rdev
            write(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/queue/iostats", iostats)
        return path

    def dm(self, table, *modules):
        self.need("dm_mod", *modules)
        self.names += 1
        name = f"case{self.names}"
        run("dmsetup", "create", "--noudevsync", name, text=table)
        self.callback(run, "dmsetup", "remove", "--noudevsync", "--retry", name)
        run("dmsetup", "mknodes", name)
        return f"/dev/mapper/{name}"

    def linear(self, below, start=2048):
        return self.dm(f"0 {SECTORS} linear {below} {start}\n")

    def striped(self, *below):
        return self.dm(f"0 {SECTORS} striped {len(below)} 16 {' '.join(f'{disk} 0' for disk in below)}\n")

    def crypt(self, below):
        return self.dm(f"0 {SECTORS} crypt aes-xts-plain64 {'0' * 64} 0 {below} 0\n", "dm_crypt", "xts", "aes_generic")

    def delay(self, below, ms=20):
        return self.dm(f"0 {SECTORS} delay {below} 0 0 {below} 0 {ms}\n", "dm_delay")

    def thin(self, meta, data):
        subprocess.run(["dd", "if=/dev/zero", f"of={meta}", "bs=64k", "count=1", "oflag=direct"], stderr=subprocess.DEVNULL, check=True)
        pool = self.dm(f"0 32768 thin-pool {meta} {data} 128 0\n", "dm_thin_pool")
        run("dmsetup", "message", pool, "0", "create_thin 0")
        return self.dm(f"0 {SECTORS} thin {pool} 0\n")

    def snapshot(self, below, store, which):
        subprocess.run(["dd", "if=/dev/zero", f"of={store}", "bs=64k", "count=1", "oflag=direct"], stderr=subprocess.DEVNULL, check=True)
        real = self.linear(below)
        snapshot = self.dm(f"0 {SECTORS} snapshot {real} {store} P 16\n", "dm_snapshot")
        origin = self.dm(f"0 {SECTORS} snapshot-origin {real}\n")
        return {"snapshot": snapshot, "origin": origin}[which]

    def bcache(self, backing, cache=None):
        self.need("bcache")
        words = ["-B", backing] + (["-C", cache, "-b", "16k"] if cache else [])
        for disk in filter(None, (backing, cache)):
            subprocess.run(["wipefs", "-aq", disk], check=False)
        run("make-bcache", "--wipe-bcache", *words)
        for disk in filter(None, (cache, backing)):
            with contextlib.suppress(OSError):
                write("/sys/fs/bcache/register", disk)
        path = wait_for(f"/dev/bcache{len(glob.glob('/sys/block/bcache*')) - 1}" if glob.glob("/sys/block/bcache*") else "/dev/bcache0")
        name = os.path.basename(path)
        self.callback(self.stop_bcache, name)
        wait_for(f"/sys/block/{name}/bcache/state")
        if cache:
            deadline = time.monotonic() + 20
            while pathlib.Path(f"/sys/block/{name}/bcache/state").read_text(encoding="ascii").startswith("no cache"):
                if time.monotonic() > deadline:
                    raise RuntimeError("the cache is not attached: " + run("dmesg")[-600:])
                time.sleep(0.1)
            write(f"/sys/block/{name}/bcache/cache_mode", "writeback")
            write(f"/sys/block/{name}/bcache/sequential_cutoff", 0)
        else:
            with contextlib.suppress(OSError):  # it runs already
                write(f"/sys/block/{name}/bcache/running", 1)
        return path

    @staticmethod
    def stop_bcache(name):
        for stop in [f"/sys/block/{name}/bcache/stop", *glob.glob("/sys/fs/bcache/*-*/stop")]:
            with contextlib.suppress(OSError):
                write(stop, 1)
        deadline = time.monotonic() + 20
        while os.path.exists(f"/sys/block/{name}") or glob.glob("/sys/fs/bcache/*-*"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} does not go away")
            time.sleep(0.1)

    def zram(self):
        self.need("zram")
        number = pathlib.Path("/sys/class/zram-control/hot_add").read_text(encoding="ascii").strip()
        write(f"/sys/block/zram{number}/disksize", "16M")
        self.callback(write, "/sys/class/zram-control/hot_remove", number)
        return f"/dev/zram{number}"

    def module(self, name, path, *words):
        if subprocess.run(["modprobe", "-q", name, *words], check=False).returncode != 0:
            raise Missing(f"no {name}")
        self.callback(run, "modprobe", "-r", name)
        return wait_for(path)

    def brd(self):
        return self.module("brd", "/dev/ram0", "rd_nr=2", "rd_size=16384")

    def null_blk(self, **settings):
        if subprocess.run(["modprobe", "-q", "null_blk", "nr_devices=0"], check=False).returncode != 0:
            raise Missing("no null_blk")
        self.callback(run, "modprobe", "-r", "null_blk")
        subprocess.run(["mount", "-t", "configfs", "configfs", "/sys/kernel/config"], stderr=subprocess.DEVNULL, check=False)
        before = set(glob.glob("/dev/nullb*"))
        folder = "/sys/kernel/config/nullb/nullb0"
        os.mkdir(folder)
        self.callback(os.rmdir, folder)
        for name, value in {"size": 16, "memory_backed": 1, "queue_mode": 0, **settings, "power": 1}.items():
            write(f"{folder}/{name}", value)
        self.callback(write, f"{folder}/power", 0)
        if pathlib.Path(f"{folder}/queue_mode").read_text(encoding="ascii").strip() != "0":
            raise Missing("null_blk takes no bios")
        return (set(glob.glob("/dev/nullb*")) - before).pop()

    @staticmethod
    def pmem():
        for module in ("nd_e820", "nd_pmem"):
            subprocess.run(["modprobe", "-q", module], check=False)
        if not os.path.exists("/dev/pmem0"):
            raise Missing("no pmem")
        return "/dev/pmem0"

    def partition(self, disk):
        run("sfdisk", "-q", "--no-reread", disk, text="2048,16384\n")
        subprocess.run(["partx", "-a", disk], stderr=subprocess.DEVNULL, check=False)
        self.callback(subprocess.run, ["partx", "-d", disk], stderr=subprocess.DEVNULL, check=False)
        return wait_for(disk + "p1")


# A case makes a stack; it returns the device that is tracked, and the one that is written to if that is another.
def cases():
    found = {}

    def case(name, make):
        found[name] = make

    for iostats in (1, 0):
        for level, count in (("linear", 2), ("raid0", 2), ("1", 2), ("5", 3), ("10", 4)):
            case(f"md {level} iostats={iostats}",
                 lambda s, level=level, count=count, iostats=iostats: s.md(level, *DISKS[:count], iostats=iostats))
    case("bcache without cache", lambda s: s.bcache("/dev/vda"))
    case("bcache with cache", lambda s: s.bcache("/dev/vda", "/dev/vdb"))
    case("dm linear", lambda s: s.linear("/dev/vda"))
    case("dm linear iostats=0", lambda s: s.set_iostats(s.linear("/dev/vda"), 0))
    case("dm striped", lambda s: s.striped("/dev/vda", "/dev/vdb"))
    case("dm thin", lambda s: s.thin("/dev/vda", "/dev/vdb"))
    case("dm crypt", lambda s: s.crypt("/dev/vda"))
    case("dm snapshot", lambda s: s.snapshot("/dev/vda", "/dev/vdb", "snapshot"))
    case("dm snapshot origin", lambda s: s.snapshot("/dev/vda", "/dev/vdb", "origin"))
    case("dm delay", lambda s: s.delay("/dev/vda"))
    case("zram", lambda s: s.zram())
    case("brd", lambda s: s.brd())
    case("null_blk bio", lambda s: s.null_blk())
    case("null_blk bio timer", lambda s: s.null_blk(irqmode=2, completion_nsec=2000000))
    case("pmem", lambda s: s.pmem())
    # Two stacked: the upper one.
    case("dm linear on md linear", lambda s: s.linear(s.md("linear", *DISKS[:2])))
    case("dm linear on md raid0 iostats=0", lambda s: s.linear(s.md("raid0", *DISKS[:2], iostats=0)))
    case("dm crypt on dm linear", lambda s: s.crypt(s.linear("/dev/vda")))
    case("dm thin on md raid1", lambda s: s.thin("/dev/vda", s.md("1", "/dev/vdb", "/dev/vdc")))
    case("dm delay on md linear", lambda s: s.delay(s.md("linear", *DISKS[:2])))
    case("dm striped on dm crypt", lambda s: s.striped(s.crypt("/dev/vda"), s.crypt("/dev/vdb")))
    case("md linear on dm linear", lambda s: s.md("linear", s.linear("/dev/vda"), s.linear("/dev/vdb")))
    case("md linear on dm delay", lambda s: s.md("linear", s.delay("/dev/vda"), s.delay("/dev/vdb")))
    case("md linear on md linear", lambda s: s.md("linear", s.md("linear", *DISKS[:2]), "/dev/vdc"))
    case("md raid0 iostats=0 on md linear", lambda s: s.md("raid0", s.md("linear", *DISKS[:2]), "/dev/vdc", iostats=0))
    case("md raid0 iostats=0 on zram", lambda s: s.md("raid0", s.zram(), s.zram(), iostats=0))
    case("md linear on brd", lambda s: s.md("linear", s.brd(), "/dev/ram1"))
    case("md raid1 on md linear", lambda s: s.md("1", s.md("linear", *DISKS[:2]), "/dev/vdc"))
    case("bcache without cache on md linear", lambda s: s.bcache(s.md("linear", *DISKS[:2])))
    case("bcache without cache on dm striped", lambda s: s.bcache(s.striped(*DISKS[:2])))
    case("md linear on bcache without cache", lambda s: s.md("linear", s.bcache("/dev/vda"), "/dev/vdb"))
    case("partition of md linear", lambda s: s.partition(s.md("linear", *DISKS[:2])))
    # Two stacked: the lower one, written to through the upper one.
    def lower(make_lower, make_upper):
        def make(s):
            below = make_lower(s)
            return below, make_upper(s, below)
        return make
    case("below md linear: dm linear", lower(lambda s: s.linear("/dev/vda"), lambda s, b: s.md("linear", b, "/dev/vdb")))
    case("below md linear: dm striped", lower(lambda s: s.striped(*DISKS[:2]), lambda s, b: s.md("linear", b, "/dev/vdc")))
    case("below md linear: md linear", lower(lambda s: s.md("linear", *DISKS[:2]), lambda s, b: s.md("linear", b, "/dev/vdc")))
    case("below md linear: bcache without cache", lower(lambda s: s.bcache("/dev/vda"), lambda s, b: s.md("linear", b, "/dev/vdb")))
    case("below md linear: zram", lower(lambda s: s.zram(), lambda s, b: s.md("linear", b, "/dev/vdb")))
    case("below md raid0 iostats=0: dm striped",
         lower(lambda s: s.striped(*DISKS[:2]), lambda s, b: s.md("raid0", b, "/dev/vdc", iostats=0)))
    case("below bcache without cache: dm linear", lower(lambda s: s.linear("/dev/vda"), lambda s, b: s.bcache(b)))
    case("below bcache without cache: dm striped", lower(lambda s: s.striped(*DISKS[:2]), lambda s, b: s.bcache(b)))
    case("below bcache without cache: md linear", lower(lambda s: s.md("linear", *DISKS[:2]), lambda s, b: s.bcache(b)))
    case("below bcache without cache: md raid0 iostats=0",
         lower(lambda s: s.md("raid0", *DISKS[:2], iostats=0), lambda s, b: s.bcache(b)))
    # A write that is under way when tracking begins: across the edge of two slow targets, and through a device that hands bios on.
    def slow(s, ms=3000):
        return s.dm("".join(f"{start} 8192 delay {disk} 0 0 {disk} 0 {ms}\n" for start, disk in ((0, "/dev/vda"), (8192, "/dev/vdb"))),
                    "dm_delay")  # of writes only
    case("under way: dm delay", slow)
    case("under way: dm delay, long", lambda s: slow(s, 10000))
    case("under way: md linear on dm delay", lambda s: s.md("linear", slow(s), "/dev/vdc"))
    case("under way: dm linear on dm delay", lambda s: s.dm(f"0 16384 linear {slow(s)} 0\n"))
    case("under way: dm delay iostats=0", lambda s: s.set_iostats(slow(s), 0))
    return found


class Writer:
    """Known blocks: each write has content of its own, so that a stale one shows."""

    def __init__(self, path):
        self.path = path
        self.direct = os.open(path, os.O_RDWR | os.O_DIRECT)
        self.buffered = os.open(path, os.O_RDWR)
        self.size = os.lseek(self.direct, 0, os.SEEK_END) // BLOCK * BLOCK
        self.size = min(self.size, 32 << 20)

    def close(self):
        os.close(self.direct)
        os.close(self.buffered)

    def put(self, offset, length):
        with mmap.mmap(-1, length) as buffer:
            buffer.write(os.urandom(64) * (length // 64))
            os.pwritev(self.direct, [buffer], offset)

    def some(self, length):
        return random.randrange((self.size - length) // BLOCK) * BLOCK

    def directly(self):
        for _ in range(SINGLE):
            self.put(self.some(BLOCK), BLOCK)
        for _ in range(LARGE):
            self.put(self.some(1 << 20), 1 << 20)

    def through_the_cache(self):
        for length in [BLOCK] * (SINGLE // 4) + [1 << 20] * LARGE:
            os.pwrite(self.buffered, os.urandom(64) * (length // 64), self.some(length))
        os.fsync(self.buffered)
        if random.randrange(2):
            subprocess.run(["blkdiscard", "-f", "-z", "-o", str(self.some(1 << 20)), "-l", str(1 << 20), self.path],
                           stderr=subprocess.DEVNULL, check=True)
        os.posix_fadvise(self.buffered, 0, 0, os.POSIX_FADV_DONTNEED)


class Marks:
    def __init__(self, program, device, image):
        self.process = subprocess.Popen([program, device, image], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.copied = 0
        self.first = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        found = re.match(r"copied (\d+) owed (\d) (missed \d+ passthrough \d+ unmarked \d+ unseen \d+)$", line)
        if not found:
            raise RuntimeError(f"marks: {line!r}")
        self.copied = int(found[1])
        self.doubts = found[3]
        return found

    def cut(self):
        self.process.stdin.write("cut\n")
        self.process.stdin.flush()
        return self.answer()

    def end(self):
        self.process.stdin.close()
        if self.process.wait(30) != 0:
            raise RuntimeError("marks failed")


def different(device, image):
    """How many blocks of the two differ, and how many are there."""
    fd = os.open(device, os.O_RDONLY | os.O_DIRECT)
    total = count = 0
    with open(image, "rb") as file, mmap.mmap(-1, 1 << 20) as buffer:
        while True:
            length = os.preadv(fd, [buffer], total * BLOCK)
            if length <= 0:
                break
            copy = file.read(length)
            if buffer[:length] != copy:
                count += sum(buffer[i:i + BLOCK] != copy[i:i + BLOCK] for i in range(0, length, BLOCK))
            total += (length + BLOCK - 1) // BLOCK
    os.close(fd)
    return count, total


def write_under_way(writer):
    """Sixteen blocks across the edge of the two targets, and some elsewhere."""
    threads = [threading.Thread(target=writer.put, args=(8192 * 512 + (n * 64 - 8) * BLOCK, 16 * BLOCK)) for n in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    return threads


def try_case(name, make, program):
    with Stack() as stack:
        made = make(stack)
        tracked, written = made if isinstance(made, tuple) else (made, made)
        writer = Writer(written)
        threads = write_under_way(writer) if name.startswith("under way") else []
        marks = Marks(program, tracked, "/run/image")
        for thread in threads:
            thread.join()
        before = marks.doubts
        if not threads:
            writer.directly()
            marks.cut()
            thread = threading.Thread(target=writer.through_the_cache)
            thread.start()
            while thread.is_alive():
                marks.cut()
                time.sleep(0.1)
            thread.join()
        writer.close()
        marks.cut()
        stale, total = different(tracked, "/run/image")
        quiet = [int(marks.cut()[1]) for _ in range(2)]
        again = marks.copied
        marks.end()
    born = " ".join(word for word in re.findall(r"\w+ [1-9]\d*", before))
    doubts = " ".join(word for word in re.findall(r"\w+ [1-9]\d*", marks.doubts))
    verdict = "ok" if stale == 0 or doubts else "LOST"
    print(f"case {name}: {verdict}: {stale} of {total} blocks differ; doubts: {doubts or 'none'}{' (at birth)' if born else ''}; "
          f"copied again at rest: {again}{', owed' if quiet[-1] else ''}", flush=True)
    return verdict


def main():
    program, *wanted = sys.argv[1:]
    tally = {}
    random.seed(1)
    begun = time.monotonic()
    for name, make in cases().items():
        if wanted and not any(word == name or (word.endswith("*") and name.startswith(word[:-1])) for word in wanted):
            continue
        try:
            verdict = try_case(name, make, program)
        except Missing as missing:
            verdict = "not there"
            print(f"case {name}: not there: {missing}", flush=True)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            verdict = "FAILED"
            print(f"case {name}: FAILED: {error}", flush=True)
        tally[verdict] = tally.get(verdict, 0) + 1
    print(f"cases of {os.uname().release}: {', '.join(f'{count} {verdict}' for verdict, count in sorted(tally.items()))} "
          f"in {time.monotonic() - begun:.0f} s", flush=True)
    return 1 if tally.get("LOST") or tally.get("FAILED") or not tally.get("ok") else 0


if __name__ == "__main__":
    sys.exit(main())
