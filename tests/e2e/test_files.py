# SPDX-License-Identifier: Apache-2.0
"""Files of a checkpoint: listed and copied out as they were, by anybody who may read the store, and nothing else is touched."""

import errno
import hashlib
import json
import os
import signal
import stat
import subprocess
import time

from case import Case, main
from disks import MIB
from programs import SANITIZER_REPORT, bin_folder, environment
from registry import Failure, run, wait_until
from workloads import fill

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
MANY = 10000


def attributes(path):
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)}


def full_tree(root):
    """Everything that a copy must keep. Hard links are told by the first name of a file."""
    found, first = {}, {}
    for folder, folders, names in os.walk(root):
        folders.sort()
        if "lost+found" in folders:
            folders.remove("lost+found")
        for name in sorted(folders + names):
            path = os.path.join(folder, name)
            info = os.lstat(path)
            here = os.path.relpath(path, root)
            kind = stat.S_IFMT(info.st_mode)
            entry = [kind, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, attributes(path)]
            if kind != stat.S_IFDIR:
                entry.append(first.setdefault(info.st_ino, here))
            entry.append(info.st_mtime_ns)
            if kind == stat.S_IFREG:
                with open(path, "rb") as file:
                    entry += [info.st_size, hashlib.file_digest(file, "sha256").hexdigest()]
            elif kind == stat.S_IFLNK:
                entry.append(os.readlink(path))
            elif kind in (stat.S_IFCHR, stat.S_IFBLK):
                entry.append(info.st_rdev)
            found[here] = entry
    return found


def make_tree(root):
    """A folder with everything that a filesystem can hold."""
    os.makedirs(f"{root}/deep/" + "/".join(["folder"] * 30))
    os.makedirs(f"{root}/acl")
    for name, content in [("a", b"a"), ("empty", b""), ("n" * 255, b"long"), ("b\udcffad\nname", b"odd"), ("grüße", b"text")]:
        with open(f"{root}/{name}", "wb") as file:
            file.write(content)
    os.chown(f"{root}/a", 1234, 70000)
    os.chmod(f"{root}/a", 0o4640)
    os.link(f"{root}/a", f"{root}/deep/again")
    os.setxattr(f"{root}/a", "user.note", b"x" * 300)
    os.setxattr(f"{root}/a", "trusted.secret", b"\x00\x01")
    os.setxattr(f"{root}/a", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
    run("setfacl", "-m", "u:77:rw,g:88:r", f"{root}/empty")
    run("setfacl", "-d", "-m", "u:77:rwx", f"{root}/acl")
    os.mkfifo(f"{root}/fifo", 0o620)
    os.mknod(f"{root}/null", 0o20666, os.makedev(1, 3))
    os.symlink("/../../../../etc/passwd", f"{root}/out")
    os.symlink("x" * 200, f"{root}/nowhere")
    with open(f"{root}/sparse", "wb") as file:
        file.truncate(20 * MIB + 77)
        for offset in (3 * MIB + 1000, 9 * MIB):
            file.seek(offset)
            file.write(os.urandom(30000))
    with open(f"{root}/hole", "wb") as file:
        file.truncate(5 * MIB)
    with open(f"{root}/reserved", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, MIB)
        file.write(b"only this")
    fill(f"{root}/big", 4)
    os.utime(f"{root}/a", ns=(1_000_000_000_123_456_789, 4_500_000_000_987_654_321))


def commit_all(root):
    """Everything is in the journal, and its places are not written yet, as they are by sync(2)."""
    for folder, _folders, names in os.walk(root):
        for path in [folder, *(os.path.join(folder, name) for name in names)]:
            if stat.S_IFMT(os.lstat(path).st_mode) in (stat.S_IFREG, stat.S_IFDIR):
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)


class Files(Case):
    def take(self, *words, many=100):
        """A server's disk with a root and a home, whose fstab names them, as a checkpoint at rest."""
        self.disk = self.loop_disk(160)
        root, home = self.disk.make_partitions([("ext4", 90), ("ext4", 50)])
        ids = [run("blkid", "-c", "/dev/null", "-s", "UUID", "-o", "value", part.device).stdout.strip() for part in (root, home)]
        for folder in ("etc/conf.d", "usr/bin", "home", "many", "srv"):
            os.makedirs(f"{root.path}/{folder}")
        os.symlink("usr/bin", f"{root.path}/bin")
        os.symlink("/etc/conf.d", f"{root.path}/srv/conf")
        with open(f"{root.path}/etc/fstab", "w", encoding="ascii") as file:
            file.write(f"UUID={ids[0]} / ext4 defaults 0 1\nUUID={ids[1]} /home ext4 defaults 0 2\n"
                       "UUID=0000-1111 /boot/efi vfat umask=0077 0 1\ntmpfs /tmp tmpfs defaults 0 0\n")
        for name in ("etc/a.conf", "etc/b.conf", "etc/other", "etc/conf.d/c.conf", "usr/bin/tool", "home/hidden"):
            with open(f"{root.path}/{name}", "w", encoding="ascii") as file:
                file.write(name)
        for number in range(many):
            os.close(os.open(f"{root.path}/many/file-{number}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
        os.makedirs(f"{home.path}/alice")
        make_tree(f"{home.path}/alice/all")
        self.expected = full_tree(f"{home.path}/alice/all")
        self.start_dispatcher()
        root.umount()
        home.umount()
        agent = self.start_agent("server1", self.disk, "--skip-free-space=no", *words)
        self.stamp = self.checkpoint("server1")
        agent.stop()
        self.dispatcher.stop()

    def words(self, *words):
        return ["dispatcher", "files", "--agent=server1", f"--checkpoint={self.stamp}", f"--data-dir={self.data_dir}", *words]

    def files(self, *words):
        return self.cli.run(*self.words(*words))

    def fails(self, pattern, *words, status=1):
        self.cli.fails(status, pattern, *self.words(*words))

    def names(self, *words):
        return [row["path"] for row in json.loads(self.files("--json", *words).stdout)]

    def folder_for(self, name):
        path = self.path(name)
        os.makedirs(path)
        return path

    def hashes(self):
        found = {}
        for folder, _folders, names in os.walk(os.path.join(self.data_dir, "agents")):
            for name in set(names) - {"lock"}:
                with open(os.path.join(folder, name), "rb") as file:
                    found[os.path.join(folder, name)] = hashlib.file_digest(file, "sha256").hexdigest()
        return found

    def test_files_come_out_as_they_were(self):
        self.take()
        before = self.hashes()
        out = self.folder_for("out")
        self.files(f"--output={out}", "/home/alice/all", "/etc/*.conf", "/bin/tool")
        self.assertEqual(sorted(os.listdir(out)), ["a.conf", "all", "b.conf", "tool"])
        self.assertEqual(full_tree(f"{out}/all"), self.expected)
        for name, most in (("sparse", 200), ("hole", 8), ("reserved", 8)):
            self.assertLessEqual(os.stat(f"{out}/all/{name}").st_blocks // 2, most, name)
        # As a tar archive, which tar unpacks.
        unpacked = self.folder_for("unpacked")
        archive = self.path("all.tar")
        with open(archive, "wb") as file:
            done = subprocess.run([self.cli.program, *self.words("--output=-", "/home/alice", "/etc")], stdout=file, stderr=subprocess.PIPE,
                                  text=True, env=environment(), check=False)
        if done.returncode != 0 or SANITIZER_REPORT.search(done.stderr):
            raise Failure(f"files --output=- said {done.stderr}")
        run("tar", "-C", unpacked, "--xattrs", "--xattrs-include=*", "--acls", "-xpf", archive)
        self.assertEqual(full_tree(f"{unpacked}/home/alice/all"), self.expected)
        self.assertEqual(sorted(os.listdir(f"{unpacked}/etc")), ["a.conf", "b.conf", "conf.d", "fstab", "other"])
        self.check_speed()
        self.assertEqual(self.hashes(), before)
        self.cli.run("dispatcher", "verify", f"--data-dir={self.data_dir}")
        self.check_existing(out)
        self.check_nothing_left()

    def check_nothing_left(self):
        left = [name for _folder, folders, _names in os.walk(self.folder) for name in folders if name.startswith(".blxrep-files")]
        self.assertEqual(left, [])

    def check_speed(self):
        """Listed in 1 s, out in 2: several times that here, because other tests run beside."""
        begun = time.monotonic()
        self.files("/etc/a.conf")
        self.files(f"--output={self.folder_for('one')}", "/etc/a.conf")
        self.assertLess(time.monotonic() - begun, 20)

    def check_existing(self, out):
        self.fails("already exists", f"--output={out}", "/etc/other", "/etc/a.conf")
        self.assertFalse(os.path.exists(f"{out}/other"), "nothing is half done")
        with open(f"{out}/a.conf", "w", encoding="ascii") as file:
            file.write("mine")
        self.files(f"--output={out}", "--force", "/etc/a.conf")
        with open(f"{out}/a.conf", encoding="ascii") as file:
            self.assertEqual(file.read(), "etc/a.conf")
        self.fails("is a folder", f"--output={out}", "--force", "/home/alice/all")
        # A link of somebody is replaced, and not followed.
        os.unlink(f"{out}/a.conf")
        os.symlink(self.path("victim"), f"{out}/a.conf")
        self.files(f"--output={out}", "--force", "/etc/a.conf")
        self.assertFalse(os.path.lexists(self.path("victim")))
        self.assertTrue(stat.S_ISREG(os.lstat(f"{out}/a.conf").st_mode))
        self.fails("would have the same name", f"--output={out}", "--force", "/etc/a.conf", "/etc/conf.d/../a.conf", "/usr/bin/tool", "/bin",
                   "/usr/bin")

    def test_lists_say_what_lies_where(self):
        self.take(many=MANY)
        shown = self.files().stdout.splitlines()
        self.assertEqual(shown[0], f"/ on {self.disk.partition(1)} (ext4)")
        self.assertRegex(shown[1], r"^lrwxrwxrwx +1 +0 +0 +7 \d{4}-\d\d-\d\d \d\d:\d\d bin -> usr/bin$")
        self.assertEqual(self.names("/etc/*.conf", "/srv/conf/c.conf", "/home/../etc/oth?r"),
                         ["/etc/a.conf", "/etc/b.conf", "/etc/conf.d/c.conf", "/etc/other"])
        self.assertEqual(self.names("/home"), ["/home/alice", "/home/lost+found"])  # not what lies below the mount
        self.assertIn(f"'/home' was on {self.disk.partition(2)}", self.files("/").stderr)
        self.assertEqual(len(self.names("/many")), MANY)
        self.assertEqual(len(self.names("/many/file-999*")), 11)
        self.assertEqual(self.names(f"--device={self.disk.partition(2)}", "alice"), ["/alice/all"])
        self.assertEqual(self.names("/home/alice/all/out"), ["/home/alice/all/out"])  # the link itself
        self.assertNotIn("\n\n\n", self.files("/home/alice/all").stdout)
        rows = json.loads(self.files("--json", "/home/alice/all/a").stdout)
        self.assertEqual([(row["mode"], row["uid"], row["gid"], row["size"], row["device"]) for row in rows],
                         [("4640", 1234, 70000, 1, self.disk.partition(2))])
        out = self.folder_for("out")
        for pattern, words in [
                ("there is no '/nope' in the checkpoint", ["/nope"]),
                ("nothing in the checkpoint matches '/etc/\\*.nope'", ["/etc/*.nope"]),
                ("Not a directory", ["/etc/other/x"]),
                ("there is no '/home/alice/all/out/' in the checkpoint", ["/home/alice/all/out/"]),
                ("there is no '/nope'", [f"--output={out}", "/etc/a.conf", "/nope"]),
                ("no device '/dev/nope'", ["--device=/dev/nope"]),
                ("cannot write to", [f"--output={self.path('missing')}", "/etc/a.conf"])]:
            self.fails(pattern, *words)
        self.assertEqual(os.listdir(out), [])
        self.fails("needs a PATH", f"--output={out}", status=2)
        self.fails("give one of them", f"--output={out}", "--json", "/", status=2)
        done = subprocess.run([self.cli.program, *self.words("/")], stdout=os.open("/dev/full", os.O_WRONLY | os.O_CLOEXEC),
                              stderr=subprocess.PIPE, env=environment(), check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"cannot print the list", done.stderr)

    def test_anybody_who_may_read_the_store_can_use_it(self):
        self.take()
        os.chmod(self.folder, 0o755)
        out = self.folder_for("out")
        run("chown", "-R", "12345:12345", self.data_dir)  # and root acts as the owner
        self.assertEqual(self.names("/etc/o*"), ["/etc/other"])
        run("chmod", "-R", "a+rX", self.data_dir)
        os.chown(out, 65534, 65534)
        done = run(*NOBODY, self.cli.program, *self.words(f"--output={out}", "/etc", "/home/alice/all"), env=environment(), check=False)
        self.assertEqual(done.returncode, 1, done.stderr)  # the device is not made, which is told
        self.assertRegex(done.stderr, r"cannot write 'all/null'")
        self.assertEqual(len([line for line in done.stderr.splitlines() if "cannot write" in line]), 1, done.stderr)
        mine = full_tree(f"{out}/all")
        self.assertEqual(set(self.expected) - set(mine), {"null"})
        for name, entry in mine.items():
            self.assertEqual((entry[0], entry[2], entry[3]), (self.expected[name][0], 65534, 65534), name)
            self.assertEqual(entry[6:], self.expected[name][6:], name)
        self.assertEqual(mine["a"][4], {"user.note": b"x" * 300})

    def test_keys_and_damage(self):
        key, wrong = self.path("right.key"), self.path("wrong.key")
        for path in (key, wrong):
            self.cli.run("keygen", f"--output={path}")
        self.take(f"--encryption-key={key}")
        self.fails("key", "/etc")
        self.fails("key", f"--key={wrong}", "/etc")
        self.assertIn("/etc/other", self.names(f"--key={key}", "/etc"))
        # A frame in the middle of the segment, which holds a large file, is damaged.
        folder = os.path.join(self.data_dir, "agents", "server1", "volumes", self.disk.name)
        segment = os.path.join(folder, sorted(os.listdir(folder))[0])
        with open(segment, "r+b") as file:
            at = os.path.getsize(segment) * 2 // 3
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 1]))
        out = self.folder_for("out")
        done = self.cli.run(*self.words(f"--key={key}", f"--output={out}", "/home/alice/all"), check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"'/home/alice/all/big': bytes \d+-\d+ are zeros in the copy: ")
        self.assertIn("not all is as it was", done.stderr)
        mine = full_tree(f"{out}/all")
        self.assertEqual({name for name in self.expected if mine.get(name) != self.expected[name]}, {"big"})
        self.assertEqual(os.path.getsize(f"{out}/all/big"), 4 * MIB)

    def test_a_killed_part_ends_the_rest(self):
        self.take(many=MANY)
        out = self.folder_for("out")
        for which in ("reader", "keeper", "writer"):
            process = subprocess.Popen([os.path.join(bin_folder(), "blxrep-files"), *self.words("--output=-", "/")[2:]],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
            children = []
            wait_until("it has started both", lambda: len(self.children(process.pid, children)) == 2)
            process.stdout.read(1000)  # it is at work, and waits for us
            victim = {"reader": children[0], "keeper": children[1], "writer": process.pid}[which]
            os.kill(victim, signal.SIGKILL)
            output, told = process.communicate(timeout=60)
            self.assertNotEqual(process.returncode, 0, which)
            self.assertFalse(output.endswith(bytes(1024)), "the archive has no end")
            if which != "writer":
                self.assertIn({"reader": b"killed by signal 9", "keeper": b"cannot ask for the checkpoint's blocks"}[which], told)
            wait_until("the others end", lambda: not [pid for pid in children if os.path.exists(f"/proc/{pid}")])
        process = subprocess.Popen([os.path.join(bin_folder(), "blxrep-files"), *self.words(f"--output={out}", "/many", "/home/alice")[2:]],
                                   stderr=subprocess.PIPE, env=environment())
        wait_until("it writes", lambda: os.listdir(out))
        process.send_signal(signal.SIGTERM)
        told = process.communicate(timeout=60)[1]
        self.assertEqual((process.returncode, b"stopped" in told), (1, True), told)
        self.assertEqual(os.listdir(out), [])

    def test_a_journal_is_replayed(self):
        """A filesystem in use has its newest changes in its journal alone: a mount replays it, and so does files, in memory."""
        for options in ([], ["-O", "^metadata_csum,^64bit", "-b", "1024", "-J", "size=2"]):
            with self.subTest(options=options):
                self.check_journal(options)

    def check_journal(self, options):
        name = f"disk{len(options)}"
        living = self.loop_disk(64, f"{name}-living")
        files = living.make("ext4", *options)
        if self.dispatcher is None:
            self.start_dispatcher()
        for number in range(60):  # more than a short journal holds: it turns round
            os.makedirs(f"{files.path}/old-{number}/x")
        files.sync()
        for number in range(60):
            os.rmdir(f"{files.path}/old-{number}/x")  # revokes what was its content
            with open(f"{files.path}/old-{number}/file", "wb") as file:
                file.write(os.urandom(3000))
                os.fsync(file.fileno())
        make_tree(f"{files.path}/all")
        commit_all(files.path)
        self.disk = self.loop_disk(64, name)
        # As a power cut leaves it. An agent has it written first, and so would have who reads the device.
        run("dd", f"if={living.file}", f"of={self.disk.path}", "bs=1M", "oflag=direct")
        agent = self.start_agent(name, self.disk, "--skip-free-space=no")
        stamp = self.checkpoint(name)
        agent.stop()
        image = self.restore(name, stamp, self.path(f"{name}.img"))
        self.assertIn("needs_recovery", run("dumpe2fs", "-h", image).stdout)
        point, out = self.folder_for(f"{name}.point"), self.folder_for(f"{name}.out")
        stale, expected = self.tree_of(image, point, "loop,ro,noload"), self.tree_of(image, point, "loop")
        self.assertNotEqual(stale, expected, "the journal has something new")
        done = self.cli.run("dispatcher", "files", f"--agent={name}", f"--checkpoint={stamp}", f"--data-dir={self.data_dir}", f"--output={out}", "/")
        self.assertNotIn("journal", done.stderr)
        mine = full_tree(out)
        self.assertEqual(set(mine), set(expected))
        self.assertEqual({key for key in mine if mine[key] != expected[key]}, set())
        files.umount()

    def tree_of(self, image, point, options):
        run("mount", "-o", options, image, point)
        try:
            return full_tree(point)
        except OSError as error:  # without its journal a filesystem may be damaged
            return error
        finally:
            run("umount", point)

    def test_the_kernel_reads_every_filesystem(self):
        self.disk = self.loop_disk(180)
        root, home = self.disk.make_partitions([("ext4", 40), ("btrfs", 120)])
        uuid = run("blkid", "-c", "/dev/null", "-s", "UUID", "-o", "value", home.device).stdout.strip()
        os.makedirs(f"{root.path}/etc")
        os.makedirs(f"{root.path}/home")
        with open(f"{root.path}/etc/fstab", "w", encoding="ascii") as file:
            file.write(f"{self.disk.partition(1)} / ext4 defaults 0 1\nUUID={uuid} /home btrfs defaults 0 0\n")
        make_tree(f"{home.path}/all")
        run("btrfs", "subvolume", "create", f"{home.path}/all/sub")
        fill(f"{home.path}/all/sub/inside", 1)
        os.remove(f"{home.path}/all/reserved")  # the kernel itself shows its room as data
        expected = full_tree(f"{home.path}/all")
        key = self.path("the.key")
        self.cli.run("keygen", f"--output={key}")
        self.start_dispatcher()
        root.umount()
        home.umount()
        agent = self.start_agent("server1", self.disk, "--skip-free-space=no", f"--encryption-key={key}")
        self.stamp = self.checkpoint("server1")
        agent.stop()
        self.dispatcher.stop()
        before = self.hashes()
        self.fails("holds btrfs, which only a kernel reads: the virtual machine .*there is no kernel with modules", f"--key={key}",
                   f"--kernel-dir={self.folder}", "/home")
        self.assertEqual(self.names(f"--key={key}", "/etc"), ["/etc/fstab"])
        out = self.folder_for("out")
        done = self.files(f"--key={key}", "--kernel", f"--output={out}", "/home/all", "/etc/fstab")
        self.assertIn("if the server was broken into", done.stderr)
        self.assertEqual(full_tree(f"{out}/all"), expected)
        self.assertEqual(sorted(os.listdir(out)), ["all", "fstab"])
        process = subprocess.Popen([os.path.join(bin_folder(), "blxrep-files"),
                                    *self.words(f"--key={key}", "--kernel", "--output=-", "/home/all")[2:]],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        process.stdout.read(1000)
        self.assertTrue(self.mounts_of_ours())
        process.kill()
        process.communicate()
        wait_until("nothing of it is left", lambda: not self.mounts_of_ours(), 60)
        self.assertEqual(os.listdir("/run/blxrep-files"), [])
        self.assertEqual(self.hashes(), before)
        os.chmod(self.folder, 0o755)
        done = run(*NOBODY, self.cli.program, *self.words("--kernel", "/etc"), env=environment(), check=False)
        self.assertEqual((done.returncode, "only root" in done.stderr), (2, True), done.stderr)

    def mounts_of_ours(self):
        """The processes that show our store, in whatever namespace."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                    words = file.read().split("\0")
            except OSError:
                continue
            if os.path.basename(words[0]) == "blxrep-mount" and f"--data-dir={self.data_dir}" in words:
                found.append(pid)
        return found

    def children(self, pid, found):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            found[:] = [int(word) for word in file.read().split()]
        return found

    def test_the_reader_can_do_nothing(self):
        self.take()
        process = subprocess.Popen([os.path.join(bin_folder(), "blxrep-files"), *self.words("--output=-", "/")[2:]],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        try:
            children = []
            wait_until("it has started both", lambda: len(self.children(process.pid, children)) == 2)
            process.stdout.read(1000)
            with open(f"/proc/{children[0]}/status", encoding="ascii") as file:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            self.assertEqual(status["Uid"].split(), ["65534"] * 4)
            self.assertEqual((status["Seccomp"], status["NoNewPrivs"]), ("2", "1"))
            self.assertEqual([status[name] for name in ("CapInh", "CapPrm", "CapEff")], ["0" * 16] * 3)
            links = {int(fd): os.readlink(f"/proc/{children[0]}/fd/{fd}") for fd in os.listdir(f"/proc/{children[0]}/fd")}
            self.assertEqual([links[fd] for fd in range(3)], ["/dev/null"] * 3)
            self.assertEqual([links[fd].split(":")[0] for fd in (3, 4, 5)], ["socket", "pipe", "/memfd"])
            self.assertEqual(len(links), 6)
        finally:
            process.kill()
            process.communicate()


if __name__ == "__main__":
    main()
