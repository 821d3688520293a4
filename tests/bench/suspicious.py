#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How often the signal of a suspicious checkpoint is right and wrong: loads on a real ext4 over a loop device, real programs, real checkpoints.

    BLXREP_BIN=build-release/bin tests/bench/suspicious.py [--disk-mib=1024] [--output=DIR]

Each load has files of its own, which are in the store before it begins. New files come where nothing was stored: the loads that free room come
last, and the very last one writes over it. After a load a checkpoint is taken (several, if it is slow), and its figures are judged at each
sensitivity, against the same calm history for every load: otherwise a load would be history for the next one.
All of it runs twice, without and with a key of end-to-end encryption. Prints a table in Markdown; docs/signal.md has one.
"""

import argparse
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from disks import MIB, LoopDisk  # noqa: E402
from programs import Agent, Cli, Dispatcher, bin_folder  # noqa: E402
from registry import REGISTRY, Failure, Folder, guard_process, run  # noqa: E402

LEVELS = ("low", "default", "high")
WORDS = [word.encode() for word in ("disk block frame segment checkpoint agent dispatcher store chain manifest index volume generation restore "
                                    "rescan prune pin verify mount view session pass batch claim dirty pending").split()]


def pool(size=4 * MIB):
    """Lines as logs and documents have them: they pack to about a third."""
    state, out, used = 1, [], 0
    while used < size:
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        value = state >> 16
        out.append(b"%x %s %s %s %d %s\n" % (value, WORDS[value % 25], WORDS[value // 25 % 25], WORDS[value // 625 % 25], value % 100000,
                                             WORDS[value // 15625 % 25]))
        used += len(out[-1])
    return b"".join(out)


POOL = pool()


class Text:
    """Pieces of the pool, in another order for each seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def lines(self, size):
        starts = (self.random.randrange(len(POOL) - 1024) for _ in range(size // 1024 + 1))
        return b"".join(POOL[start:start + 1024] for start in starts)[:size]


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def tree(folder, mib, seed, file_kib=256):
    """Files of text."""
    os.makedirs(folder)
    text = Text(seed)
    for number in range(mib * 1024 // file_kib):
        with open(f"{folder}/{number:05}.txt", "wb") as file:
            file.write(text.lines(file_kib * 1024))


def files_of(folder):
    return sorted(os.path.join(place, name) for place, _folders, names in os.walk(folder) for name in names)


def encrypted(path):
    done = subprocess.run(["openssl", "enc", "-aes-256-ctr", "-pass", "pass:signal", "-pbkdf2", "-iter", "1", "-in", path], capture_output=True,
                          check=True)
    return done.stdout


def encrypt_in_place(paths):
    for path in paths:
        content = encrypted(path)
        with open(path, "r+b") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


class Bench:
    """One agent with two disks, and the loads."""

    def __init__(self, folder, disk_mib, key):
        self.folder = folder
        self.key = key
        os.makedirs(folder)
        self.cli = Cli()
        self.disk = LoopDisk(REGISTRY, folder, disk_mib, "root")
        self.other = LoopDisk(REGISTRY, folder, 256, "other")
        self.files = self.disk.make("ext4")
        self.root = self.files.path
        self.part = max(16, disk_mib // 20)  # of each load: 5 % of the disk
        self.data_dir = os.path.join(folder, "data")
        self.stamps = []

    def place(self, name):
        return os.path.join(self.root, name)

    def checkpoint(self):
        self.files.sync()
        while True:  # two in a second would be a second apart anyway
            stamp = self.cli.checkpoint("bench", self.data_dir, timeout=600)
            if stamp not in self.stamps:
                self.stamps.append(stamp)
                return stamp

    def start(self):
        self.dispatcher = Dispatcher(REGISTRY, self.folder, self.data_dir)
        self.dispatcher.start()
        credentials = self.cli.enroll("bench", self.data_dir, os.path.join(self.folder, "bench.pem"))
        words = []
        if self.key:
            words = [f"--encryption-key={os.path.join(self.folder, 'bench.key')}"]
            self.cli.run("keygen", f"--output={os.path.join(self.folder, 'bench.key')}")
        self.agent = Agent(REGISTRY, self.folder, "bench", self.dispatcher.address, credentials, [self.disk.path, self.other.path], *words)
        self.agent.start()
        self.dispatcher.wait_online("bench")

    def stop(self):
        self.agent.stop()
        self.dispatcher.stop()
        for disk in (self.disk, self.other):
            disk.close()

    # What each load begins with.

    def prepare(self):
        for number, name in enumerate(("in_place", "slow", "new_file", "package", "targz", "freed")):
            tree(self.place(name), self.part, number)
        for number, name in enumerate(("quiet", "archive_of")):
            tree(self.place(name), self.part // 2, number + 10)
        self.database("vacuum.db")
        self.database("reindex.db")
        tree(self.place("logs"), self.part // 2, 20, file_kib=4096)
        self.vm_image()
        self.fragmented()
        write(self.place("nightly.tar.gz"), os.urandom(self.part * MIB // 3))
        with open(self.other.path, "r+b") as device:
            device.write(Text(30).lines(200 * MIB))
            device.flush()
            os.fsync(device.fileno())

    def database(self, name):
        text = Text(len(name))
        base = sqlite3.connect(self.place(name))
        base.execute("create table notes (id integer primary key, owner text, body text)")
        base.execute("create index notes_owner on notes (owner, body)")
        rows = text.lines(self.part * MIB // 3).split(b"\n")
        base.executemany("insert into notes (owner, body) values (?, ?)", ((row[:12].decode(), row.decode()) for row in rows))
        base.commit()
        base.close()

    def vm_image(self):
        """A small server's disk: a filesystem with text and with what does not pack."""
        image = self.place("vm.raw")
        with open(image, "wb") as file:
            file.truncate(self.part * MIB)
        source = os.path.join(self.folder, "vm")
        tree(source, self.part // 3, 40)
        write(f"{source}/photo", os.urandom(self.part * MIB // 4))
        run("mkfs.ext4", "-q", "-d", source, image)
        shutil.rmtree(source)

    def fragmented(self):
        """Two files that grow in turns."""
        text = Text(50)
        for _ in range(self.part * 4):
            for name in ("frag_a", "frag_b"):
                with open(self.place(name), "ab") as file:
                    file.write(text.lines(128 * 1024))
                    os.fsync(file.fileno())

    def calm(self):
        """Every-day work: some logs, some edits."""
        text = Text(int(time.monotonic()))
        with open(self.place("syslog"), "ab") as file:
            file.write(text.lines(2 * MIB))
        for path in files_of(self.place("quiet"))[:12]:
            with open(path, "r+b") as file:
                file.write(text.lines(64 * 1024))
        write(self.place("thumbnail.jpg"), os.urandom(300 * 1024))

    # The loads. One that yields wants a checkpoint there, too.

    def in_place(self):
        encrypt_in_place(files_of(self.place("in_place")))

    def in_place_slow(self):
        paths = files_of(self.place("slow"))
        step = len(paths) // 10
        for first in range(0, len(paths), step):
            encrypt_in_place(paths[first:first + step])
            self.calm()
            yield

    def new_file(self):
        for path in files_of(self.place("new_file")):
            write(path + ".locked", encrypted(path))
            os.unlink(path)

    def package_upgrade(self):
        text = Text(60)
        for path in files_of(self.place("package")):
            write(path + ".dpkg-new", text.lines(260 * 1024))
            os.rename(path + ".dpkg-new", path)

    def vacuum(self):
        base = sqlite3.connect(self.place("vacuum.db"))
        base.execute("delete from notes where id % 3 = 0")
        base.commit()
        base.execute("vacuum")
        base.close()

    def reindex(self):
        base = sqlite3.connect(self.place("reindex.db"))
        base.execute("reindex")
        base.commit()
        base.close()

    def log_rotation(self):
        run("gzip", *files_of(self.place("logs")))
        for number in range(3):
            write(self.place(f"logs/new{number}"), Text(70 + number).lines(2 * MIB))

    def video(self):
        write(self.place("video.mp4"), os.urandom(self.part * MIB))

    def targz(self):
        run("tar", "-czf", self.place("backup.tar.gz"), "-C", self.root, "targz", "quiet", "archive_of")

    def nightly(self):
        """An archive that takes the place of last night's."""
        with open(self.place("nightly.tar.gz"), "r+b") as file:
            file.write(os.urandom(self.part * MIB // 3))

    def vm_copy(self):
        shutil.copyfile(self.place("vm.raw"), self.place("vm-copy.raw"))

    def defragment(self):
        run("e4defrag", self.place("frag_a"), self.place("frag_b"))

    def mkfs(self):
        run("mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", self.other.path)

    def video_over_freed(self):
        """The hardest one: without discard the freed blocks still have their text, and the video comes over it."""
        fill = self.place("fill")
        used = os.statvfs(self.root)
        run("fallocate", "-l", used.f_bavail * used.f_frsize - 2 * MIB, fill)  # so that it can go nowhere else
        shutil.rmtree(self.place("freed"))
        self.files.sync()
        write(self.place("film.mp4"), os.urandom((self.part - 4) * MIB))
        os.unlink(fill)


LOADS = [
    ("video copy", "video", False),
    ("tar.gz of 10 % of the disk", "targz", False),
    ("VM image copy", "vm_copy", False),
    ("in-place encryption, full speed", "in_place", True),
    ("in-place encryption, 0.5 % of the disk a checkpoint", "in_place_slow", True),
    ("encryption to new files, the old ones deleted", "new_file", True),
    ("archive in the place of last night's", "nightly", False),
    ("reindex (SQLite)", "reindex", False),
    ("database vacuum (SQLite)", "vacuum", False),
    ("defragmentation (e4defrag)", "defragment", False),
    ("package upgrade", "package_upgrade", False),
    ("log rotation with gzip", "log_rotation", False),
    ("mkfs of a second disk", "mkfs", False),
    ("video over deleted text", "video_over_freed", False),
]


def measure(bench):
    """{load: its checkpoints}, and the calm history."""
    bench.prepare()
    bench.start()
    bench.checkpoint()
    while len(bench.cli.show("bench", bench.data_dir, "--last=1")[0]["volumes"]) < 2:
        time.sleep(1)  # the first pass of a disk may still be under way
        bench.checkpoint()
    calm = []
    for _ in range(6):
        bench.calm()
        calm.append(bench.checkpoint())
    taken = {}
    for _title, name, _attack in LOADS:
        stamps = []
        steps = getattr(bench, name)()
        for _ in steps or ():
            stamps.append(bench.checkpoint())
        taken[name] = stamps or [bench.checkpoint()]
        shown = json.loads(bench.cli.run("show", "--agent=bench", f"--data-dir={bench.data_dir}", "--json").stdout)
        print(f"  {name}: {', '.join(taken[name])}; marked here: "
              f"{sum(1 for row in shown if row['checkpoint'] in taken[name] and row['suspicious'])}", flush=True)
    return calm, taken


def judge(bench, calm, stamps):
    """[(low, default, high)] of the load's checkpoints, and the first one's figures."""
    program = os.path.join(os.path.dirname(bin_folder()), "tests", "bench_judge")
    lines = run(program, bench.data_dir, "bench", *calm, "--", *stamps).stdout.splitlines()
    rows = [line.split() for line in lines]
    if len(rows) != len(stamps):
        raise Failure(f"{len(rows)} judgements of {len(stamps)} checkpoints")
    return [row[1:4] for row in rows], [[int(value) for value in row[4:]] for row in rows]


def percent(part, whole):
    return f"{100 * part / whole:.0f} %" if whole else "-"


def cell(judged, level, attack):
    """When it was noticed, and whether that is right."""
    hits = [number for number, row in enumerate(judged) if row[level] != "none"]
    right = bool(hits) == attack
    when = f"{judged[hits[0]][level]}" + (f", checkpoint {hits[0] + 1}" if len(judged) > 1 else "") if hits else "calm"
    return f"{when}: {'right' if right else 'WRONG'}", right


def report(results):
    lines = ["| load | key | hardened | of the replaced | packed before, now | fresh, of it hard | low | default | high |",
             "|---|---|---|---|---|---|---|---|---|"]
    score = {level: [0, 0] for level in LEVELS}  # missed attacks, false signals
    for keyed, bench, calm, taken in results:
        for title, name, attack in LOADS:
            judged, figures = judge(bench, calm, taken[name])
            total = [sum(column) for column in zip(*figures)]
            _data, _hard, _changed, _zeroed, fresh, fresh_hard, replaced, before, after, hardened = total
            cells = []
            for level, _name in enumerate(LEVELS):
                text, right = cell(judged, level, attack)
                score[LEVELS[level]][0 if attack else 1] += not right
                cells.append(text)
            lines.append(f"| {title} | {'yes' if keyed else 'no'} | {hardened // MIB} MiB | {percent(hardened, replaced)} | "
                         f"{percent(before, replaced)}, {percent(after, replaced)} | {fresh // MIB} MiB, {percent(fresh_hard, fresh)} | "
                         f"{' | '.join(cells)} |")
    lines.append("")
    for level in LEVELS:
        lines.append(f"{level}: {score[level][0]} missed, {score[level][1]} false signals")
    return "\n".join(lines), score


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--disk-mib", type=int, default=1024)
    parser.add_argument("--no-key", action="store_true", help="only without a key")
    parser.add_argument("--output", help="a folder for the table")
    options = parser.parse_args()
    guard_process(3000)
    os.environ["BLXREP_BIN"] = os.path.abspath(bin_folder())
    folder = str(Folder(REGISTRY))
    results = []
    for keyed in (False,) if options.no_key else (False, True):
        print(f"{'with' if keyed else 'without'} a key", flush=True)
        bench = Bench(os.path.join(folder, "keyed" if keyed else "plain"), options.disk_mib, keyed)
        calm, taken = measure(bench)
        bench.stop()
        results.append((keyed, bench, calm, taken))
        text, score = report(results)
        print(text, flush=True)
    if options.output:
        os.makedirs(options.output, exist_ok=True)
        write(os.path.join(options.output, "signal.md"), (text + "\n").encode())
    problems = REGISTRY.close_all()
    missed, wrong = score["default"]
    print("\n".join(problems), end="")
    return 1 if problems or missed > len(results) or wrong > len(results) else 0


if __name__ == "__main__":
    sys.exit(main())
