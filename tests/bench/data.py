# SPDX-License-Identifier: Apache-2.0
"""The disk that everybody copies: a loop device with a real filesystem of real files, and changes made to it."""

import os
import random
import shutil
import sqlite3

from disks import MIB
from registry import run

SHARES = {"files": 0.5, "logs": 0.15, "database": 0.15, "media": 0.2}  # of the used bytes


def _tree_bytes(folder):
    return int(run("du", "-sb", folder).stdout.split()[0])


def _copy_trees(target, want_bytes):
    """The distribution's programs, libraries, documents and sources, again and again until there are enough."""
    done, number = 0, 0
    while done < want_bytes:
        for source in ("/usr/bin", "/usr/lib/x86_64-linux-gnu", "/usr/share", "/usr/include", "/usr/lib/python3", "/usr/lib/gcc"):
            if not os.path.isdir(source) or done >= want_bytes:
                continue
            copy = os.path.join(target, f"{number}{source.replace('/', '-')}")
            left = want_bytes - done
            if _tree_bytes(source) <= left:
                shutil.copytree(source, copy, symlinks=True, ignore_dangling_symlinks=True)
            else:
                os.makedirs(copy)
                taken = count = 0
                for folder, _folders, names in os.walk(source):
                    for name in names:
                        path = os.path.join(folder, name)
                        if os.path.isfile(path) and not os.path.islink(path) and taken + os.path.getsize(path) <= left:
                            shutil.copyfile(path, os.path.join(copy, f"{count}-{name}"))
                            taken += os.path.getsize(path)
                            count += 1
                done = want_bytes
                break
            done += _tree_bytes(copy)
        number += 1


def _write_logs(path, want_bytes, dice):
    hosts = [f"web{number}" for number in range(20)]
    with open(path, "w", encoding="ascii") as file:
        written = 0
        while written < want_bytes:
            lines = "".join(f"2026-11-{dice.randrange(1, 29):02} {dice.randrange(24):02}:{dice.randrange(60):02}:{dice.randrange(60):02} "
                            f"{dice.choice(hosts)} sshd[{dice.randrange(30000)}]: Accepted publickey for user{dice.randrange(500)} "
                            f"from 10.{dice.randrange(256)}.{dice.randrange(256)}.{dice.randrange(256)} port {dice.randrange(65536)}\n"
                            for _ in range(2000))
            written += file.write(lines)


def _write_database(path, want_bytes, dice):
    with sqlite3.connect(path) as base:
        base.execute("PRAGMA journal_mode=OFF")
        base.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, name TEXT, amount INTEGER, note TEXT)")
        base.execute("CREATE INDEX by_name ON entry (name)")
        while os.path.getsize(path) < want_bytes:
            base.executemany("INSERT INTO entry (name, amount, note) VALUES (?, ?, ?)",
                             [(f"customer {dice.randrange(100000)}", dice.randrange(1 << 40), "paid " * dice.randrange(20))
                              for _ in range(20000)])
            base.commit()
    base.close()


def fill(files, used_mib, seed):
    """Fills the mounted filesystem with about so much."""
    dice = random.Random(seed)
    total = used_mib * MIB
    os.makedirs(files.path + "/files")
    _copy_trees(files.path + "/files", int(total * SHARES["files"]))
    _write_logs(files.path + "/syslog", int(total * SHARES["logs"]), dice)
    _write_database(files.path + "/base.db", int(total * SHARES["database"]), dice)
    with open(files.path + "/media.bin", "wb") as file:
        for _ in range(int(used_mib * SHARES["media"])):
            file.write(dice.randbytes(MIB))
    files.sync()


def used_extents(files):
    """The byte ranges of the device that the filesystem uses, by its own tools. The filesystem must be unmounted."""
    groups = run("dumpe2fs", files.device).stdout
    block, extents, used_until = 4096, [], 0
    total = next(int(line.split(":")[1]) for line in groups.splitlines() if line.startswith("Block count"))
    for line in groups.splitlines():
        if line.startswith("  Free blocks: "):
            for part in line.split(":", 1)[1].split(","):
                if part.strip():
                    first, _dash, last = part.strip().partition("-")
                    if int(first) > used_until:
                        extents.append((used_until * block, int(first) * block))
                    used_until = int(last or first) + 1
    if used_until < total:
        extents.append((used_until * block, total * block))
    return extents


def scatter(path, size_bytes, change_mib, seed):
    """Overwrites so many MiB in blocks of 4 KiB, scattered over the device, each once, with half-compressible bytes."""
    dice = random.Random(seed)
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for block in sorted(dice.sample(range(size_bytes // 4096), change_mib * 256)):
            os.pwrite(fd, dice.randbytes(2048) + bytes([block & 0xff]) * 2048, block * 4096)
        os.fsync(fd)
    finally:
        os.close(fd)
