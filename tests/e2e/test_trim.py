# SPDX-License-Identifier: Apache-2.0
"""After an fstrim the next checkpoint does not read the free space that was discarded, and loses no write beside it."""

import hashlib
import os
import random
import threading

from case import Case, main
from checks import Image
from registry import REGISTRY
from workloads import fill

MIB = 1 << 20
ROUNDS = 4


def read_bytes(disk):
    with open(f"/sys/block/{os.path.basename(disk.path)}/stat", encoding="ascii") as file:
        return int(file.read().split()[2]) * 512


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Trim(Case):
    def trim_and_write(self, kind, mib):
        disk = self.loop_disk(mib, name=kind)
        files = disk.make(kind)
        fill(files.path + "/kept", 8)
        fill(files.path + "/deleted", 64)
        agent = self.start_agent(f"server-{kind}", disk)
        self.checkpoint(f"server-{kind}")
        os.unlink(files.path + "/deleted")
        before = read_bytes(disk)
        files.trim()
        fill(files.path + "/first", 4)  # into space that was just discarded
        agent.wait_line("that were discarded and are free need not be read")
        fill(files.path + "/second", 4)
        row = self.row(f"server-{kind}", self.checkpoint(f"server-{kind}"))
        spent = read_bytes(disk) - before
        print(f"{kind} of {mib} MiB: {spent / MIB:.1f} MiB read at the checkpoint after fstrim")
        self.assertEqual(row["consistency"], "filesystem")
        return files, row, spent

    def test_free_space_is_not_read_after_fstrim(self):
        self.start_dispatcher()
        for kind, mib in (("ext4", 768), ("xfs", 768)):
            with self.subTest(kind=kind):
                files, row, spent = self.trim_and_write(kind, mib)
                self.assertLess(spent, 160 * MIB)
                image = self.restore(f"server-{kind}", str(row["checkpoint"]), self.path(f"{kind}.img"))
                with Image(REGISTRY, image) as restored:
                    if kind == "ext4":
                        restored.check_ext4()
                    else:
                        restored.check_xfs()
                    folder = restored.mount(kind)
                    for name in ("kept", "first", "second"):
                        self.assertEqual(digest(f"{folder}/{name}"), digest(f"{files.path}/{name}"), name)
                    self.assertFalse(os.path.exists(f"{folder}/deleted"))

    def churn(self, folder, stop):
        """Files that come and go. A file's name without ".part" is the digest of what was synced into it."""
        while not stop.is_set():
            data = os.urandom(random.randrange(1, 3 * MIB))
            path = os.path.join(folder, f"{hashlib.sha256(data).hexdigest()}")
            with open(path + ".part", "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.rename(path + ".part", path)
            names = sorted(os.listdir(folder), key=lambda name: os.stat(os.path.join(folder, name)).st_mtime)
            for name in names[:-20]:
                os.unlink(os.path.join(folder, name))

    def test_no_write_is_lost_to_a_trim_beside_it(self):
        """Space that is free when it is discarded is allocated and written at once."""
        self.start_dispatcher()
        disk = self.loop_disk(400)
        files = disk.make("xfs")  # discards all free space each time; ext4 leaves out what it has discarded before
        agent = self.start_agent("server1", disk)
        self.checkpoint("server1")  # it begins with a full pass, which leaves out free space anyway
        stop = threading.Event()
        writer = threading.Thread(target=self.churn, args=(files.path, stop))
        writer.start()
        self.addCleanup(writer.join)
        self.addCleanup(stop.set)
        for number in range(ROUNDS):
            start = len(agent.lines)
            files.trim()
            row = self.row("server1", self.checkpoint("server1"))
            agent.wait_line("that were discarded and are free need not be read", start=start)
            with Image(REGISTRY, self.restore("server1", str(row["checkpoint"]), self.path(f"{number}.img"))) as restored:
                restored.check_xfs()
                folder = restored.mount("xfs")
                names = [name for name in os.listdir(folder) if len(name) == 64]
                for name in names:
                    self.assertEqual(digest(f"{folder}/{name}"), name)
                print(f"{row['consistency']}: {len(names)} files are right")


if __name__ == "__main__":
    main()
