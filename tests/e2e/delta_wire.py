#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a delta over the network costs on the wire: a disk of which a part was changed goes back to the checkpoint before.

    delta_wire.py [--gib=8] [--used=0.25] [--changed=0.01] [--run-kib=1024] [--encrypted]

The disk holds data that half compresses; then so much of the disk is changed, in runs of this size at random places. Prints the bytes of
both directions, and what they should be: what differs, as it is stored, and 0.01 % of what is in use. The target must be right at the end.
"""

import argparse
import os
import random
import sys
import time
import unittest

from case import Case
from checks import check_equal
from disks import MIB
from proxy import Proxy
from registry import REGISTRY, guard_process, run

RUN_MIB = 4
MAX_SURPLUS = 1.5  # of the bytes that it should be, in the short form: small disks and runs have more around them


class DeltaWire(Case):
    mib, used, changed, run_kib, encrypted = 256, 0.5, 0.02, 256, False

    def half_compressible(self, size):
        """Zeros do not count as data, so it is text and noise by turns."""
        return b"".join(os.urandom(2048) + b"some text that says the same again.\n" * 56 + b"0123456789abcdef" * 2 for _ in range(size // 4096))[:size]

    def write_at(self, path, places, size):
        with open(path, "r+b", buffering=0) as disk:
            for place in places:
                disk.seek(place)
                disk.write(self.half_compressible(size))
            os.fsync(disk.fileno())

    def pull(self, token, output, *more):
        proxy = Proxy(REGISTRY, self.dispatcher.port)
        begun = time.monotonic()
        done = self.cli.run("agent", "restore", f"--dispatcher-addr={proxy.address}", "--token-file=-", f"--output={output}",
                            f"--state-dir={self.path('state')}", *more, input_text=token + "\n")
        return proxy.received_bytes, proxy.sent_bytes, time.monotonic() - begun, done.stderr.strip().splitlines()[-1]

    def token(self, stamp):
        done = self.cli.run("dispatcher", "restore", "--agent=server1", f"--checkpoint={stamp}", f"--data-dir={self.data_dir}", "--token",
                            f"--dispatcher-addr={self.dispatcher.address}")
        return done.stdout.split()[1]

    def test_delta(self):
        words, key = [], self.path("blxrep.key")
        disk = self.loop_disk(self.mib)
        places = [RUN_MIB * MIB * at for at in range(int(self.mib * self.used / RUN_MIB))]
        self.write_at(disk.path, places, RUN_MIB * MIB)
        self.start_dispatcher()
        if self.encrypted:
            self.cli.run("keygen", f"--output={key}")
            words = [f"--key={key}"]
        self.start_agent("server1", disk, "--skip-free-space=no", *([f"--encryption-key={key}"] if self.encrypted else []))
        stamp = self.checkpoint("server1")
        yesterday, target = disk.copy(self.path("yesterday")), self.path("target.img")
        full, _sent, _seconds, _line = self.pull(self.token(stamp), self.path("full.img"), *words)
        used_bytes = len(places) * RUN_MIB * MIB
        run("cp", "--sparse=always", yesterday, target)
        size, count = self.run_kib << 10, max(1, int(self.mib * MIB * self.changed / (self.run_kib << 10)))
        slots = used_bytes // size
        at = [slot * size for slot in random.Random(7).sample(range(slots), min(count, slots))]
        self.write_at(target, at, size)
        received, sent, seconds, line = self.pull(self.token(stamp), target, "--delta", *words)
        check_equal(target, yesterday)
        differs = len(at) * size
        ratio = full / used_bytes
        goal = differs * ratio + used_bytes * 0.0001
        print(f"{self.mib} MiB, {used_bytes / MIB:.0f} MiB in use, ratio {ratio:.3f}, {len(at)} runs of {self.run_kib} KiB differ:"
              f" {differs / MIB:.1f} MiB; received {received}, sent {sent} bytes: {(received + sent) / goal:.3f} of the goal {goal:.0f},"
              f" in {seconds:.1f} s\n{line}")
        self.assertLess(received + sent, MAX_SURPLUS * goal)
        received, sent, seconds, line = self.pull(self.token(stamp), target, "--delta", *words)
        print(f"equal: received {received}, sent {sent} bytes: {100 * (received + sent) / used_bytes:.4f} % of what is in use, in {seconds:.1f} s")
        self.assertLess(received + sent, 30_000 + used_bytes * 0.0001)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=0.25)
    parser.add_argument("--used", type=float, default=0.5)
    parser.add_argument("--changed", type=float, default=0.02)
    parser.add_argument("--run-kib", type=int, default=256)
    parser.add_argument("--encrypted", action="store_true")
    options = parser.parse_args()
    DeltaWire.mib, DeltaWire.used, DeltaWire.changed = int(options.gib * 1024), options.used, options.changed
    DeltaWire.run_kib, DeltaWire.encrypted = options.run_kib, options.encrypted
    guard_process(170 + int(options.gib * 300))
    unittest.main(module="__main__", argv=[sys.argv[0]], verbosity=2)


if __name__ == "__main__":
    main()
