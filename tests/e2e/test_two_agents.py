# SPDX-License-Identifier: Apache-2.0
"""Two agents at one dispatcher, the name of one a prefix of the other's."""

import threading

from case import Case, main
from checks import check_equal
from disks import MIB
from workloads import fill


class TwoAgents(Case):
    def test_web1_and_web10_never_mix(self):
        disks = {name: self.loop_disk(200 + 56 * number, name) for number, name in enumerate(("web1", "web10"))}
        filesystems = {name: disk.make("ext4") for name, disk in disks.items()}
        self.start_dispatcher()
        for name, disk in disks.items():
            self.start_agent(name, disk, "--skip-free-space=no")
        stamps = {"web1": [], "web10": []}
        copies = {}
        for step in range(3):
            for name, files in filesystems.items():
                fill(f"{files.path}/{name}-{step}", 2 if name == "web1" else 6)
                files.umount()
            self.checkpoint_both(stamps)
            for name, files in filesystems.items():
                copies[name, stamps[name][-1]] = disks[name].copy(self.path(f"{name}-{step}.copy"))
                files.mount()
        for name in disks:
            rows = self.show(name)
            manual = [str(row["checkpoint"]) for row in rows if str(row["checkpoint"]) in stamps[name]]
            self.assertEqual(manual, stamps[name])
            self.assertEqual({row["volumes"][0]["size"] for row in rows}, {disks[name].size})
            self.assertLess(max(row["volumes"][0]["changed_bytes"] for row in rows[1:]), 12 * MIB)
        for (name, stamp), copy in copies.items():
            check_equal(self.restore(name, stamp, self.path(f"{name}-{stamp}.img")), copy)

    def checkpoint_both(self, stamps):
        """Both at once."""
        def take(name):
            stamps[name].append(self.checkpoint(name))
        threads = [threading.Thread(target=take, args=(name,)) for name in stamps]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len({len(taken) for taken in stamps.values()}), 1, "both checkpoints were taken")

    def test_status_lists_each_agent_once(self):
        self.start_dispatcher()
        agents = {name: self.start_agent(name, self.loop_disk(32, name)) for name in ("web1", "web10")}
        self.assertEqual(sorted(row["id"] for row in self.cli.status(self.data_dir)), ["web1", "web10"])
        for name in agents:
            self.checkpoint(name)
        agents["web1"].kill()
        self.dispatcher.wait_offline("web1")
        self.assertNotEqual(self.dispatcher.agent_state("web10")["state"].upper(), "OFFLINE")


if __name__ == "__main__":
    main()
