#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The tests of test_hosts.py on a CephFS, each host with a mount of its own by ceph-fuse, and what a host's loss costs there.

By hand, as root; some minutes:

    apt-get install --no-install-recommends ceph-mon ceph-osd ceph-mgr ceph-mds ceph-common ceph-fuse
    BLXREP_BIN=build-release/bin tests/e2e/cephfs.py

The cluster has one monitor, one OSD in memory and one MDS, on loopback, in a temporary folder. It measures how long the standby takes
after kill -9 of the first dispatcher, and after its whole host has fallen silent: dispatcher and ceph-fuse are stopped by SIGSTOP,
as if the network were cut. Then the MDS must first give up on that client (session_timeout, 30 s here).
"""

import os
import re
import signal
import subprocess
import time
import uuid

import test_hosts
from case import main
from checks import check_equal
from programs import free_port
from registry import REGISTRY, Failure, run, wait_until

SESSION_SECONDS = 30
# Ceph's default is 5. An MDS of 16.2 flushes its journal that often, and a file that another client has changed is not given sooner.
TICK_SECONDS = int(os.environ.get("CEPHFS_TICK", "1"))


class Ceph:
    """A cluster of one of each."""

    def __init__(self, registry, folder):
        self.folder = os.path.join(folder, "ceph")
        self.mounts = {}
        os.makedirs(os.path.join(self.folder, "run"))
        self.env = dict(os.environ, CEPH_CONF=os.path.join(self.folder, "ceph.conf"))
        registry.add(self)
        self.begin()

    def __str__(self):
        return "the Ceph cluster"

    def call(self, *words, check=True, timeout=60):
        return run(*words, env=self.env, check=check, timeout=timeout).stdout

    def keys(self):
        everything = ("--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *", "--cap", "mds", "allow *")
        self.call("ceph-authtool", "-C", f"{self.folder}/keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        for name in ("client.admin", "mgr.x", "osd.0", "mds.a"):
            self.call("ceph-authtool", f"{self.folder}/keyring", "--gen-key", "-n", name, *everything)

    def begin(self):
        folder, fsid = self.folder, uuid.uuid4()
        address = f"[v2:127.0.0.1:{free_port()},v1:127.0.0.1:{free_port()}]"
        with open(self.env["CEPH_CONF"], "w", encoding="ascii") as file:
            file.write(f"""[global]
fsid = {fsid}
mon_initial_members = a
mon_host = {address}
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv6 = false
keyring = {folder}/keyring
run_dir = {folder}/run
admin_socket = {folder}/run/$name.$pid.asok
pid_file = {folder}/run/$name.$pid.pid
log_file = {folder}/$name.log
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
auth_allow_insecure_global_id_reclaim = false
mon_data_avail_crit = 1
mon_data = {folder}/mon
mgr_data = {folder}/mgr
osd_data = {folder}/osd
mds_data = {folder}/mds
mgr_initial_modules =
[osd]
osd_objectstore = memstore
memstore_device_bytes = 2147483648
[mds]
mds_tick_interval = {TICK_SECONDS}
""")
        self.keys()
        self.call("monmaptool", "--create", "--clobber", "--fsid", str(fsid), "--addv", "a", address, f"{folder}/monmap")
        for name in ("mon", "mgr", "osd", "mds"):
            os.makedirs(os.path.join(folder, name), exist_ok=True)
        self.call("ceph-mon", "--mkfs", "-i", "a", "--monmap", f"{folder}/monmap", "--keyring", f"{folder}/keyring")
        self.call("ceph-mon", "-i", "a")
        self.call("ceph-mgr", "-i", "x")
        osd = str(uuid.uuid4())
        number = self.call("ceph", "osd", "new", osd).strip()
        self.call("ceph-osd", "-i", number, "--mkfs", "--osd-uuid", osd)
        self.call("ceph-osd", "-i", number)
        for pool in ("meta", "data"):
            self.call("ceph", "osd", "pool", "create", pool, "8")
        self.call("ceph", "fs", "new", "store", "meta", "data")
        self.call("ceph", "fs", "set", "store", "session_timeout", str(SESSION_SECONDS))
        self.call("ceph-mds", "-i", "a")
        wait_until("an active MDS", lambda: "up:active" in self.call("ceph", "mds", "stat", check=False), 60, interval=1)

    def mount(self, host):
        """A mount of its own, as another host has it. Returns its path."""
        path = os.path.join(self.folder, f"mount-{host}")
        os.makedirs(path)
        client = subprocess.Popen(["ceph-fuse", "-f", "--pid-file", f"{self.folder}/fuse-{host}.pid", path], env=self.env,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.mounts[host] = (path, client)
        wait_until(f"the mount of {host}", lambda: os.path.ismount(path), 60)
        # The monitor learns of the OSD's room some seconds later; until then the filesystem is full.
        wait_until("room", lambda: os.statvfs(path).f_bavail > 0, 60, interval=0.5)
        return path

    def freeze(self, host):
        self.mounts[host][1].send_signal(signal.SIGSTOP)

    def halt(self):
        for _, client in self.mounts.values():
            client.send_signal(signal.SIGCONT)

    def close(self):
        for path, client in self.mounts.values():
            run("umount", "-l", path, check=False)
            client.kill()
            client.wait(30)
        pids = []
        for name in os.listdir(os.path.join(self.folder, "run")):
            if name.endswith(".pid"):
                with open(os.path.join(self.folder, "run", name), encoding="ascii") as file:
                    pids.append(int(file.read()))
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)  # nothing of it is kept
            except ProcessLookupError:
                continue
            wait_until(f"the end of process {pid}", lambda pid=pid: not os.path.exists(f"/proc/{pid}"), 30)


class CephHosts(test_hosts.Hosts):
    def setUp(self):
        super().setUp()
        try:
            self.ceph = Ceph(REGISTRY, self.folder)
            for host in ("alpha", "beta"):
                self.ceph.mount(host)
        except Failure:
            self.doCleanups()
            raise
        self.data_dir = self.data_dir_of("alpha")

    def data_dir_of(self, host):
        return os.path.join(self.ceph.mounts[host][0], "data")

    def test_a_standby_takes_over_from_a_host_that_fell_silent(self):
        disk = self.loop_disk(64)
        filesystem = disk.make("ext4")
        first = self.dispatcher = self.start_on("alpha")
        second = self.start_on("beta", "--standby")
        agent = self.start_agent("web1", disk, "--skip-free-space=no", address=f"{first.address},{second.address}")
        self.checkpoint("web1")
        with open(os.path.join(filesystem.path, "written"), "wb") as file:
            file.write(os.urandom(1 << 20))
        filesystem.umount()
        copy = disk.copy(self.path("copy"))
        before = time.monotonic()
        first.send(signal.SIGSTOP)
        self.ceph.freeze("alpha")
        second.wait_line("taking over", 5 * SESSION_SECONDS)
        print(f"\nthe standby had the directory {time.monotonic() - before:.1f} s after the host fell silent", flush=True)
        self.dispatcher, self.data_dir = second, self.data_dir_of("beta")
        second.wait_online("web1", 60)
        print(f"the agent was back after {time.monotonic() - before:.1f} s", flush=True)
        stamp = re.search(r"\b\d{14}\b", self.ask("beta", "checkpoint", "--agent=web1").stdout).group()
        agent.wait_line("'/dev/loop[0-9]+': resumed, ")
        check_equal(self.restore("web1", stamp, self.path("image")), copy)
        # The host comes back, and finds that it has nothing any more.
        self.ceph.halt()
        first.send(signal.SIGCONT)
        first.wait_line("the lock of .* is lost .*: another host may have the data directory now", 60)
        wait_until("the end of the first dispatcher", lambda: not first.running(), 60)
        self.assertEqual(first.process.returncode, 1)
        self.ask("beta", "verify")


if __name__ == "__main__":
    main(1800)
