# SPDX-License-Identifier: Apache-2.0
"""Checkpoints under load: real software writes, checkpoints follow by the clock, and afterwards every one of them is checked."""

import os

from checks import Image, check_database, check_prefix
from registry import REGISTRY
from workloads import Workload, make_archive


class Load:
    """Databases, unpacking and ordered records on the filesystems given; the records go to all of them in turn."""

    def __init__(self, folder, filesystems):
        self.filesystems = filesystems
        archive = make_archive(os.path.join(folder, "tree.tar"))
        self.records = Workload(REGISTRY, folder, "append", *[files.path + "/records" for files in filesystems])
        self.others = []
        for files in filesystems:
            self.others.append(Workload(REGISTRY, folder, "database", files.path + "/base.db"))
            self.others.append(Workload(REGISTRY, folder, "unpack", archive, files.path))

    def wait_started(self):
        self.records.wait_lines(20)
        for workload in self.others:
            workload.wait_lines(1)

    def stop(self):
        for workload in [self.records, *self.others]:
            workload.stop()


def check_loaded_image(case, paths, kinds, row, log):
    """
    Returns how many records are in it. `paths` are the images of one checkpoint; kinds[i] lists the filesystems of image i as (partition, kind), partition 0 being
    the whole disk. `row` is its line of `show --json`, `log` the record writer's.
    """
    if row["consistency"] == "none":
        return 0  # it promises nothing, and says so
    record_files = []
    images = []
    for path, parts in zip(paths, kinds, strict=True):
        image = Image(REGISTRY, path, partitions=sum(1 for part, _kind in parts if part))
        images.append(image)
        for part, kind in parts:
            if kind == "ext4":
                image.check_ext4(part, replay=row["consistency"] != "filesystem")
            else:
                image.check_xfs(part)
        for part, kind in parts:
            point = image.mount(kind, part)
            record_files.append(point + "/records")
            if os.path.exists(point + "/base.db"):
                check_database(point + "/base.db")
    count = check_prefix(record_files, log, str(row["checkpoint"]))
    for image in images:
        image.close()
        os.unlink(image.path)
    return count


def check_labels(case, rows):
    """Most of the checkpoints must have frozen their filesystems. On a busy machine a few may be labelled lower."""
    labels = [row["consistency"] for row in rows]
    case.assertGreater(labels.count("filesystem"), len(labels) // 2, f"{summary(rows)}: {[row['note'] for row in rows]}")


def summary(rows):
    """How many checkpoints of which consistency."""
    labels = [row["consistency"] for row in rows]
    return ", ".join(f"{labels.count(label)} {label}" for label in sorted(set(labels)))
