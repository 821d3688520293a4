# SPDX-License-Identifier: Apache-2.0
"""A zram disk: it is bio-based, so its events come from other tracepoints than a request-based disk's."""

from case import Case, main
from checks import check_equal
from load import Load, check_labels, check_loaded_image, summary
from workloads import fill


class Zram(Case):
    def test_every_checkpoint_under_load_is_right(self):
        disk = self.zram_disk(512)
        files = disk.make("ext4")
        self.start_dispatcher(sync_freq="3s")
        self.start_agent("server1", disk)
        self.dispatcher.wait_checkpoints("server1", 1)
        load = Load(self.folder, [files])
        load.wait_started()
        before = len(self.show("server1"))
        self.dispatcher.wait_checkpoints("server1", before + 4)
        load.stop()
        rows = self.show("server1")
        print(f"{len(rows)} checkpoints: {summary(rows)}; {len(load.records.lines())} records, "
              f"longest pause {load.records.longest_ms():.0f} ms")
        check_labels(self, rows)
        for row in rows:
            image = self.restore("server1", row["checkpoint"], self.path(f"{row['checkpoint']}.img"))
            check_loaded_image(self, [image], [[(0, "ext4")]], row, load.records.lines())

    def test_disk_at_rest_equals_its_image_byte_for_byte(self):
        disk = self.zram_disk(400)
        files = disk.make("xfs")
        self.start_dispatcher()
        self.start_agent("server1", disk, "--skip-free-space=no")
        self.checkpoint("server1")
        fill(files.path + "/one", 12)
        self.checkpoint("server1")
        fill(files.path + "/two", 3)
        files.trim()
        files.umount()
        stamp = self.checkpoint("server1")
        check_equal(self.restore("server1", stamp, self.path("restored.img")), disk.copy(self.path("copy.img")))


if __name__ == "__main__":
    main()
