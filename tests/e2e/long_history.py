#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prunes most of a long history of checkpoints, while prunes are killed and restores run. The checkpoints that stay are equal to the bit,
for blxrep and for a reader that knows only STORE.md.

The suite runs it small. The full size, by hand: BLXREP_BIN=... tests/e2e/long_history.py --checkpoints=2000 --size=64M --kills=20
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import store_reader

BIN = os.environ["BLXREP_BIN"]
AGENT = "web1"


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read()).hexdigest()


class History:
    def __init__(self, options, folder, codec):
        self.random = random.Random(options.seed)
        self.folder, self.data_dir = folder, os.path.join(folder, f"data-{codec}")
        subprocess.run([os.path.join(BIN, "..", "tests", "make_store"), f"--data-dir={self.data_dir}", f"--size={options.size}",
                        f"--checkpoints={options.checkpoints}", f"--change={options.change}", "--run=4K", f"--codec={codec}",
                        f"--seed={options.seed}"], check=True, stdout=subprocess.DEVNULL)
        self.known = {}

    def words(self, command, *more):
        return [os.path.join(BIN, "blxrep"), "dispatcher", command, f"--data-dir={self.data_dir}", *more]

    def run(self, command, *more):
        return subprocess.run(self.words(command, *more), check=True, capture_output=True, text=True).stdout

    def listed(self):
        return [row["checkpoint"] for row in json.loads(self.run("show", f"--agent={AGENT}", "--json"))]

    def restore(self, stamp, name):
        image = os.path.join(self.folder, name)
        self.run("restore", f"--agent={AGENT}", f"--checkpoint={stamp}", f"--output={image}", "--force")
        found = digest(image)
        os.unlink(image)
        return found

    def keep(self, percent):
        """Pins the newest checkpoint and some at random. Remembers the content of each."""
        stamps = self.listed()
        kept = sorted(self.random.sample(stamps[:-1], max(1, len(stamps) * percent // 100))) + stamps[-1:]
        for stamp in kept:
            self.run("pin", f"--agent={AGENT}", f"--checkpoint={stamp}")
            self.known[stamp] = self.restore(stamp, "before.img")

    def check_kept(self, stamps):
        for stamp in stamps:
            found = self.restore(stamp, "after.img")
            assert found == self.known[stamp], f"{stamp} is not what it was"

    def storm(self, kills):
        """Kills prunes at random moments, in their removals and in their rewrites, beside restores. Returns how many were killed."""
        killed, longest = 0, 1.0
        stages = self.listed()
        for number in range(kills):
            left = max(1, len(stages) * (kills - number - 1) // kills)
            stamp = self.random.choice(sorted(self.known))
            image = os.path.join(self.folder, "storm.img")
            restore = subprocess.Popen(self.words("restore", f"--agent={AGENT}", f"--checkpoint={stamp}", f"--output={image}", "--force"),
                                       stdout=subprocess.DEVNULL)
            prune = subprocess.Popen(self.words("prune", f"--keep-last={left}"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(self.random.random() * longest)
            prune.send_signal(signal.SIGKILL)
            if prune.wait() == -signal.SIGKILL:
                killed += 1
                longest *= 1.1
            else:  # it ended before the kill, so the next kill comes earlier
                longest *= 0.6
            assert restore.wait() == 0, f"{stamp} cannot be restored"
            assert digest(image) == self.known[stamp], f"{stamp} is not what it was"
            os.unlink(image)
        return killed

    def check_reader(self, stamps):
        for stamp in stamps:
            image = store_reader.read_image(self.data_dir, AGENT, int(stamp), "sda")
            assert hashlib.sha256(image).hexdigest() == self.known[stamp], f"the reader reads another {stamp}"

    def space(self):
        """Returns (bytes of the segments, bytes of them that the manifests need, number of segments that were rewritten)."""
        needed = sum(volume["stored_bytes"] for row in json.loads(self.run("show", f"--agent={AGENT}", "--json")) for volume in row["volumes"])
        used = rewritten = 0
        volume_dir = os.path.join(self.data_dir, "agents", AGENT, "volumes", "sda")
        for name in os.listdir(volume_dir):
            if name.endswith(".seg"):
                path = os.path.join(volume_dir, name)
                used += os.stat(path).st_blocks * 512
                rewritten += store_reader.read_index(path, int(name[:-4]))[1]
        return used, needed, rewritten


def play(options, folder, codec):
    history = History(options, folder, codec)
    history.keep(options.keep)
    kept = sorted(history.known)
    some = history.random.sample(kept, min(options.read, len(kept)))
    history.check_reader(some)
    before = history.space()
    killed = history.storm(options.kills)
    print(f"{codec}: {len(kept)} of {options.checkpoints} checkpoints kept, {killed} of {options.kills} prunes killed")
    # The storm may have left very few to be removed; this ends what it began.
    history.run("prune", "--keep-last=1")
    assert history.listed() == kept, "other checkpoints are left than were pinned"
    history.check_kept(kept)
    history.check_reader(some)
    used, needed, rewritten = history.space()
    print(f"{codec}: {before[0]} bytes taken before, {used} now, {needed} needed: {100 * used / needed - 100:.1f} % more; "
          f"{rewritten} segments were rewritten")
    assert rewritten > 0, "nothing was rewritten"
    assert used <= needed * 1.15, "the segments take over 15 % more than is needed"
    history.run("verify")
    shutil.rmtree(history.data_dir)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoints", type=int, default=150)
    parser.add_argument("--size", default="16M")
    parser.add_argument("--change", default="20K")
    parser.add_argument("--keep", type=int, default=10, help="percent of the checkpoints")
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--read", type=int, default=3, help="checkpoints for the independent reader")
    parser.add_argument("--codecs", default="zstd,zlib")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", help="where the store is kept during the run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="blxrep-history-", dir=options.folder) as folder:
        for codec in options.codecs.split(","):
            play(options, folder, codec)


if __name__ == "__main__":
    sys.exit(main())
