# SPDX-License-Identifier: Apache-2.0
"""
Files of a checkpoint that only a kernel reads, out of the small virtual machine: as they were, by whoever may read the store; and what hangs
it or breaks it ends within a bounded time and leaves nothing.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import guest

sys.path.insert(0, os.path.join(os.path.dirname(guest.HERE), "e2e"))

from case import Case, main  # noqa: E402
from disks import MIB  # noqa: E402
from nbdkit import Tools  # noqa: E402
from programs import SANITIZER_REPORT, bin_folder, environment  # noqa: E402
from registry import Failure, is_running, run, wait_until  # noqa: E402
from test_files import NOBODY, full_tree, make_tree  # noqa: E402
from workloads import fill  # noqa: E402

SECONDS = 300  # for a look on a machine that has much else to do


def uuid_of(device):
    return run("blkid", "-c", "/dev/null", "-p", "-s", "UUID", "-o", "value", device).stdout.strip()


class Look(Case):
    """What the tests share. The environment may choose another kernel: BLXREP_GUEST_KERNEL=6.12."""

    @classmethod
    def setUpClass(cls):
        cls.kernel = guest.Kernel(os.environ.get("BLXREP_GUEST_KERNEL", "6.1"))

    def setUp(self):
        super().setUp()
        self.tools = Tools(self.folder)
        self.stamp = None

    def take(self, disks, agent_id="server1"):
        if self.dispatcher is None:
            self.start_dispatcher()
        agent = self.start_agent(agent_id, disks)
        self.stamp = self.checkpoint(agent_id)
        while self.row(agent_id, self.stamp)["missing"]:  # a disk whose first pass takes longer than another's
            self.stamp = self.checkpoint(agent_id)
        agent.stop()

    def words(self, *words, agent_id="server1"):
        """To be run in the test's folder: paths may be relative, also with an output, for which the writer goes elsewhere."""
        return [os.path.join(bin_folder(), "blxrep"), "dispatcher", "files", f"--agent={agent_id}", f"--checkpoint={self.stamp}",
                f"--data-dir={os.path.relpath(self.data_dir, self.folder)}", f"--kernel-dir={os.path.relpath(self.kernel.folder, self.folder)}", *words]

    def environment(self):
        return environment({"PATH": f"{self.tools.folder}:{os.environ['PATH']}"})

    def files(self, *words, status=0, by=(), **named):
        begun = time.monotonic()
        done = run(*by, *self.words(*words, **named), env=self.environment(), check=False, timeout=SECONDS, cwd=self.folder)
        print(f"{time.monotonic() - begun:.1f} s: {' '.join(words)}")
        if done.returncode != status or SANITIZER_REPORT.search(done.stderr):
            raise Failure(f"it ended with {done.returncode} instead of {status}: {done.stdout}{done.stderr}")
        return done

    def store(self):
        return {os.path.join(folder, name): os.stat(os.path.join(folder, name)).st_mtime_ns
                for folder, _folders, names in os.walk(os.path.join(self.data_dir, "agents")) for name in set(names) - {"lock"}}

    def make_folder(self, path):
        os.makedirs(path, exist_ok=True)
        return path

    def check_tree(self, path, expected):
        """xfs shows ACLs twice, and once as it stores them."""
        for entry in expected.values():
            entry[4] = {name: value for name, value in entry[4].items() if not name.startswith("trusted.SGI_ACL")}
        mine = full_tree(path)
        self.assertEqual(set(mine), set(expected))
        self.assertEqual([(name, mine[name], expected[name]) for name in mine if mine[name] != expected[name]], [])

    def take_hostile(self):
        """A filesystem that says what it is, and makes no sense beyond that."""
        disk = self.loop_disk(320)
        run("mkfs.xfs", "-q", "-f", disk.path)
        with open(disk.path, "r+b") as file:
            file.seek(56)  # where the root folder is
            file.write(b"\xff" * 24)
        self.take(disk)
        return disk

    def make_tree_with(self, helper):
        """The folder of a blxrep-files with another first process of the virtual machine."""
        folder = self.make_folder(self.path("tree/bin"))
        os.symlink(os.path.join(os.path.dirname(bin_folder()), "lib"), self.path("tree/lib"))
        shutil.copy(os.path.join(bin_folder(), "blxrep-files"), folder)
        shutil.copy(helper, f"{folder}/blxrep-files-guest")
        return folder

    def family(self, pid):
        """{process ID: name} of it and all its descendants."""
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                found = {pid: file.read().strip()}
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
                for child in file.read().split():
                    found |= self.family(int(child))
        except (FileNotFoundError, ProcessLookupError):
            return {}
        return found


class Machine(Look):
    def make_vfat(self):
        """A disk of its own, by mtools: not every kernel of a machine that tests has vfat."""
        disk = self.loop_disk(40, "efi")
        with open(self.make_folder(self.path("vfat/EFI/BOOT")) + "/a long näme.efi", "wb") as file:
            file.write(os.urandom(100000))
        run("mkfs.vfat", "-n", "ESP", disk.path)
        run("mcopy", "-s", "-m", "-i", disk.path, self.path("vfat/EFI"), "::/", env={**os.environ, "LC_ALL": "C.UTF-8"})
        return disk

    def test_other_filesystems_come_out_as_they_were(self):
        disk = self.loop_disk(800)
        root, home, data = disk.make_partitions([("ext4", 40), ("xfs", 320), ("btrfs", 120)])
        efi = self.make_vfat()
        with open(self.make_folder(f"{root.path}/etc") + "/fstab", "w", encoding="ascii") as file:
            file.write(f"{disk.partition(1)} / ext4 defaults 0 1\nUUID={uuid_of(home.device)} /home xfs defaults 0 0\n"
                       f"UUID={uuid_of(data.device)} /data btrfs defaults 0 0\nLABEL=ESP /boot/efi vfat umask=0077 0 1\n")
        for name in ("home", "data", "boot/efi"):
            self.make_folder(f"{root.path}/{name}")
        make_tree(f"{home.path}/one")
        make_tree(f"{data.path}/two")
        run("btrfs", "subvolume", "create", f"{data.path}/two/sub")
        fill(f"{data.path}/two/sub/inside", 1)
        for path in (f"{home.path}/one", f"{data.path}/two"):
            os.remove(f"{path}/reserved")  # a kernel itself shows its room as data
        expected = {"one": full_tree(f"{home.path}/one"), "two": full_tree(f"{data.path}/two")}
        for part in (root, home, data):
            part.umount()
        self.take([disk, efi])
        before = self.store()
        out = self.make_folder(self.path("out"))
        done = self.files(f"--output={out}", "/home/one", "/data/two", "/boot/efi/EFI", "/etc/fstab")
        self.assertIn("a small virtual machine does so", done.stderr)
        for name, tree in expected.items():
            self.check_tree(f"{out}/{name}", tree)
        self.assertEqual(os.listdir(f"{out}/EFI/BOOT"), ["a long näme.efi"])
        run("cmp", self.path("vfat/EFI/BOOT/a long näme.efi"), f"{out}/EFI/BOOT/a long näme.efi")
        self.assertEqual(sorted(os.listdir(out)), ["EFI", "fstab", "one", "two"])
        for name, most in (("sparse", 200), ("hole", 8)):
            self.assertLessEqual(os.stat(f"{out}/one/{name}").st_blocks // 2, most, name)
        # By somebody who may only read the store.
        os.chmod(self.folder, 0o755)
        run("chmod", "-R", "a+rX", self.data_dir)
        done = self.files("--json", f"--device={disk.partition(2)}", "one/a", "/on[e]", by=NOBODY)
        rows = {row["path"]: row for row in json.loads(done.stdout)}
        self.assertEqual([rows["/one/a"][key] for key in ("mode", "uid", "gid", "filesystem", "device")],
                         ["4640", 1234, 70000, "xfs", disk.partition(2)])
        self.assertEqual(self.store(), before)

    def make_filesystem(self, name, kind, mib, fill_in):
        """An image whose tree fill_in() makes. Returns its path and the tree at the path that fill_in() returns."""
        disk = self.loop_disk(mib, name)
        files = disk.make(kind)
        tree = full_tree(fill_in(files.path))
        files.umount()
        return disk.file, tree

    def make_root(self, path):
        for name in ("etc", "srv/data", "home"):
            self.make_folder(f"{path}/{name}")
        with open(f"{path}/etc/fstab", "w", encoding="ascii") as file:
            file.write("/dev/mapper/group-root / ext4 defaults 0 1\n/dev/group/data-two /srv/data ext4 defaults 0 2\n"
                       "/dev/md/home /home btrfs defaults 0 0\n")
        return path

    def make_home(self, path):
        make_tree(f"{path}/all")
        os.remove(f"{path}/all/reserved")  # a kernel itself shows its room as data
        return path

    def make_data(self, path):
        make_tree(f"{path}/all")
        return f"{path}/all"

    def make_volumes(self):
        """Two disks with a group of volumes and a mirror over both, made by LVM and mdadm themselves, in a guest."""
        root, self.root = self.make_filesystem("root", "ext4", 24, self.make_root)
        data, self.data = self.make_filesystem("data", "ext4", 24, self.make_data)
        home, self.home = self.make_filesystem("home", "btrfs", 112, self.make_home)
        disks = [self.loop_disk(200, name) for name in ("one", "two")]
        for disk in disks:
            run("sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", disk.path, input_text="label: gpt\nsize=60MiB, type=lvm\nsize=120MiB, type=raid\n")
        guest.run_job(self.kernel, self.path("guest.log"), [("virtio", disk.file) for disk in disks] + [("virtio", image) for image in (root, data, home)],
                      """set -ex
modprobe -a dm-mod raid1
config='activation { udev_sync=0 udev_rules=0 } devices { use_devicesfile=0 }'
vgcreate -qq --config "$config" -s 1M group /dev/vda1 /dev/vdb1
lvcreate -qq --config "$config" -Wn -l 30 -n root group /dev/vda1:0-15 /dev/vdb1
lvcreate -qq --config "$config" -Wn -l 30 -i 2 -I 64k -n data-two group
mdadm --create /dev/md/home --run --quiet --level=1 --raid-devices=2 --assume-clean --metadata=1.2 --bitmap=none --homehost=any /dev/vda2 /dev/vdb2
dd if=/dev/vdc of=/dev/group/root bs=1M
dd if=/dev/vdd of=/dev/group/data-two bs=1M
dd if=/dev/vde of=/dev/md/home bs=1M
mdadm --stop /dev/md/home
vgchange -qq --config "$config" -an group
""", SECONDS)
        return disks

    def test_volumes_and_arrays_are_put_together(self):
        self.take(self.make_volumes())
        out = self.make_folder(self.path("out"))
        done = self.files(f"--output={out}", "/srv/data/all", "/home", "/etc/fstab")
        self.assertIn("only a kernel reads what may hold the server's root", done.stderr)
        self.check_tree(f"{out}/all", self.data)
        self.check_tree(f"{out}/home", self.home)
        listed = json.loads(self.files("--json", "--device=/dev/mapper/group-data--two", "/all/b*").stdout)
        self.assertEqual([(row["device"], row["filesystem"], row["path"]) for row in listed if row["path"] == "/all/big"],
                         [("/dev/group/data-two", "ext4", "/all/big")])
        done = self.files("--device=/dev/group/other", status=1)
        self.assertIn("no device '/dev/group/other'", done.stderr)
        for name in ("/dev/md127 (btrfs)", "/dev/group/root (ext4)", "/dev/group/data-two (ext4)"):
            self.assertIn(name, done.stderr)

    def test_what_breaks_it_ends_it(self):
        disk = self.take_hostile()
        self.assertIn("the kernel does not mount its xfs", self.files(status=1).stderr)
        # A kernel that panics, as one may that a filesystem has led astray.
        folder = self.make_tree_with("/sbin/ldconfig")  # a static program that ends at once
        done = run(f"{folder}/blxrep-files", *self.words()[3:], env=self.environment(), check=False, timeout=SECONDS, cwd=self.folder)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"ended before it was done; the filesystem may be damaged or hostile; its last words: .*panic")
        for victim in ("writer", "machine", "qemu-system-x86", "nbdkit"):
            self.check_killed(victim)
        os.chmod(self.folder, 0o755)  # QEMU's user looks there
        programs = self.make_folder(self.path("programs"))
        for program in (f"{self.tools.folder}/nbdkit", shutil.which("ldd"), shutil.which("env")):
            os.symlink(program, os.path.join(programs, os.path.basename(program)))
        for words, missing in (([f"--kernel-dir={self.folder}"], "install the package linux-image-amd64"), ([], "install the package qemu-system-x86")):
            done = run(*self.words(*words), env=environment({"PATH": programs}), check=False, cwd=self.folder)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, f"only a kernel reads what may hold the server's root, {disk.path} \\(xfs\\): .*{missing}.*--kernel has this host's")
        done = run(os.path.join(bin_folder(), "blxrep-files-guest"), check=False)
        self.assertEqual((done.returncode, "in a virtual machine" in done.stderr), (2, True))

    def kill_again(self, writer, killed):
        """A QEMU that is killed while it is tried under KVM has a successor, which is emulated and is killed, too."""
        def find():
            family = self.family(writer)
            others = [pid for pid, name in family.items() if name == "qemu-system-x86" and pid != killed]
            return (family, others) if others or len(family) < 2 else None
        family, others = wait_until("QEMU runs again, or all ends", find)
        for pid in others:
            os.kill(pid, signal.SIGKILL)
        return family

    def check_killed(self, victim):
        process = subprocess.Popen([os.path.join(bin_folder(), "blxrep-files"), *self.words()[3:]], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, env=self.environment(), cwd=self.folder)
        try:
            self.assertIn(b"a small virtual machine does so", process.stderr.readline())
            family = self.family(process.pid)
            with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
                machine = int(file.read().split()[0])
            pids = {name: pid for pid, name in family.items()} | {"writer": process.pid, "machine": machine}
            os.kill(pids[victim], signal.SIGKILL)
            if victim == "qemu-system-x86":
                family |= self.kill_again(process.pid, pids[victim])
            told = process.communicate(timeout=60)[1].decode()
        finally:
            process.kill()
            process.communicate()
        self.assertNotEqual(process.returncode, 0)
        expected = {"writer": "", "machine": "killed by signal 9", "qemu-system-x86": "QEMU ended with status 137", "nbdkit": "nbdkit has ended"}
        self.assertIn(expected[victim], told)
        wait_until(f"after {victim} all others have ended", lambda: not [pid for pid in family if is_running(pid)], 60)


class Patience(Look):
    """What takes minutes: run.sh has it, and not every build."""

    def test_a_machine_that_hangs_is_ended(self):
        self.take_hostile()
        process = subprocess.Popen([os.path.join(bin_folder(), "blxrep-files"), *self.words()[3:]], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, env=self.environment(), cwd=self.folder)
        try:
            self.assertIn(b"a small virtual machine does so", process.stderr.readline())
            family = self.family(process.pid)
            begun = time.monotonic()
            os.kill(next(pid for pid, name in family.items() if name.startswith("qemu")), signal.SIGSTOP)
            told = process.communicate(timeout=SECONDS)[1].decode()
        finally:
            process.kill()
            process.communicate()
        self.assertRegex(told, r"got nowhere for 120 s, so it was ended; the filesystem may be damaged or hostile")
        self.assertLess(time.monotonic() - begun, 150)
        wait_until("all others have ended", lambda: not [pid for pid in family if is_running(pid)], 60)

    def test_a_machine_that_only_complains_is_ended(self):
        """As a kernel does that a filesystem has caught in a loop."""
        self.take_hostile()
        source = self.path("complain.c")
        with open(source, "w", encoding="ascii") as file:
            file.write("#include <unistd.h>\nint main(void)\n{\n    for (;;) {\n        write(2, \"stuck\\n\", 6);\n        usleep(200000);\n    }\n}\n")
        run("gcc", "-static", "-w", "-o", self.path("complain"), source)
        folder = self.make_tree_with(self.path("complain"))
        done = run(f"{folder}/blxrep-files", *self.words()[3:], env=self.environment(), check=False, timeout=SECONDS, cwd=self.folder)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"got nowhere for 120 s, so it was ended; .* its last words: stuck")


if __name__ == "__main__":
    main()
