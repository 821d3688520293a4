# SPDX-License-Identifier: Apache-2.0
"""A disk with two partitions, ext4 and xfs, and real software on both."""

import os
import tarfile

from case import Case, main
from checks import Image, check_equal, check_same_tree, different_blocks, tree
from disks import copy_device
from load import Load, check_labels, check_loaded_image, summary
from registry import REGISTRY
from workloads import fill, make_archive

PARTS = [("ext4", 400), ("xfs", 400)]


class DiskPartitions(Case):
    def test_every_checkpoint_under_load_is_right(self):
        disk = self.loop_disk(1024)
        parts = disk.make_partitions(PARTS)
        self.start_dispatcher(sync_freq="3s")
        self.start_agent("server1", disk)
        self.dispatcher.wait_checkpoints("server1", 1)
        load = Load(self.folder, parts)
        load.wait_started()
        before = len(self.show("server1"))
        self.dispatcher.wait_checkpoints("server1", before + 6)
        load.stop()
        rows = self.show("server1")
        print(f"{len(rows)} checkpoints: {summary(rows)}; {len(load.records.lines())} records, "
              f"longest pause {load.records.longest_ms():.0f} ms")
        counts = []
        for row in rows:
            image = self.restore("server1", row["checkpoint"], self.path(f"{row['checkpoint']}.img"))
            counts.append(check_loaded_image(self, [image], [[(1, "ext4"), (2, "xfs")]], row, load.records.lines()))
        checked = [count for count in counts if count > 0]
        self.assertEqual(checked, sorted(checked), "a later checkpoint holds more records")
        self.assertGreaterEqual(len(checked), 4)
        check_labels(self, rows)

    def test_disk_at_rest_equals_its_image_byte_for_byte(self):
        disk = self.loop_disk(1024)
        parts = disk.make_partitions(PARTS)
        self.start_dispatcher()
        self.start_agent("server1", disk, "--skip-free-space=no")
        for files in parts:
            fill(files.path + "/gone", 8)
            fill(files.path + "/kept", 8)
        self.checkpoint("server1")
        for files in parts:
            os.unlink(files.path + "/gone")
            files.trim()
            fill(files.path + "/more", 4)
            files.umount()
        stamp = self.checkpoint("server1")
        copy = disk.copy(self.path("copy.img"))
        check_equal(self.restore("server1", stamp, self.path("restored.img")), copy)

    def test_mounted_quiet_disk_differs_only_in_what_a_thaw_writes(self):
        disk = self.loop_disk(1024)
        parts = disk.make_partitions(PARTS)
        for files in parts:
            fill(files.path + "/file", 8)
            files.sync()
        self.start_dispatcher()
        self.start_agent("server1", disk, "--skip-free-space=no")
        self.checkpoint("server1")
        stamp = self.checkpoint("server1")
        copy = disk.copy(self.path("copy.img"))
        image = self.restore("server1", stamp, self.path("restored.img"))
        different = different_blocks(image, copy)
        self.assertLess(len(different), 40, f"superblocks and log heads alone may differ: {different[:50]}")
        self.check_trees(image, parts)

    def test_free_space_skipped_gives_the_same_files(self):
        disk = self.loop_disk(1024)
        parts = disk.make_partitions(PARTS)
        archive = make_archive(self.path("tree.tar"), limit=4 << 20)
        for files in parts:
            fill(files.path + "/deleted", 60)
            fill(files.path + "/kept", 4)
            self.unpack(archive, files.path)
            files.sync()
            os.unlink(files.path + "/deleted")
            files.sync()
        self.start_dispatcher()
        self.start_agent("server1", disk, "--skip-free-space=yes")
        stamp = self.checkpoint("server1")
        stored = self.show("server1")[0]["volumes"][0]["stored_bytes"]
        self.assertLess(stored, 60 << 20, "deleted files do not cross the wire")
        self.check_trees(self.restore("server1", stamp, self.path("restored.img")), parts)

    @staticmethod
    def unpack(archive, target):
        with tarfile.open(archive) as tar:
            for member in tar:
                tar.extract(member, target + "/tree", set_attrs=False)

    def check_trees(self, path, parts):
        with Image(REGISTRY, path, partitions=2) as image:
            image.check_ext4(1)
            image.check_xfs(2)
            for number, files in enumerate(parts, 1):
                check_same_tree(tree(image.mount(files.kind, number)), tree(files.path))


class OnePartition(Case):
    def test_agent_on_one_partition_sends_that_partition_alone(self):
        disk = self.loop_disk(600)
        parts = disk.make_partitions([("ext4", 200), ("ext4", 200)])
        self.start_dispatcher()
        self.start_agent("server1", disk.partition(2), "--skip-free-space=no")
        self.checkpoint("server1")
        fill(parts[0].path + "/other", 30)
        fill(parts[1].path + "/mine", 3)
        for files in parts:
            files.umount()
        stamp = self.checkpoint("server1")
        volume = self.row("server1", stamp)["volumes"][0]
        self.assertEqual((volume["device"], volume["size"]), (disk.partition(2), 200 << 20))
        self.assertLess(volume["changed_bytes"], 10 << 20)
        image = self.restore("server1", stamp, self.path("restored.img"))
        copy_device(disk.partition(2), self.path("copy.img"))
        check_equal(image, self.path("copy.img"))


if __name__ == "__main__":
    main()
