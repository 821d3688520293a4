# SPDX-License-Identifier: Apache-2.0
"""Whoever can read a store can use it: an immutable copy, another user's, one without a free inode or byte, a read-only mount."""

import errno
import os
import shutil

from case import Case, main
from checks import check_equal
from programs import environment
from registry import run
from store_disk import take_room
from workloads import fill

NOBODY = 65534


class Copies(Case):
    def setUp(self):
        super().setUp()
        self.shelf = self.loop_disk(256, "shelf").make("ext4")
        os.chmod(self.folder, 0o711)
        self.copy = os.path.join(self.shelf.path, "copy")
        self.stamp, self.original = self.take_one()

    def take_one(self):
        """Takes one checkpoint and stops both daemons. Returns the checkpoint, and a copy of the disk."""
        disk = self.loop_disk(32)
        files = disk.make("ext4")
        fill(files.path + "/first", 4)
        self.start_dispatcher()
        agent = self.start_agent("web1", disk)
        files.umount()
        stamp = self.checkpoint("web1")
        original = disk.copy(self.path("original"))
        agent.stop()
        self.dispatcher.stop()
        return stamp, original

    def make_copy(self, with_lock):
        shutil.copytree(self.data_dir, self.copy, ignore=lambda _folder, names: [name for name in names if name == "control"])
        lock = os.path.join(self.copy, "agents", "web1", "lock")
        if os.path.exists(lock):
            os.unlink(lock)
        if with_lock:
            with open(lock, "wb"):
                os.chmod(lock, 0o600)

    def run_as(self, user, *words):
        prefix = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        done = run(*prefix, self.cli.program, "dispatcher", *words, f"--data-dir={self.copy}", env=environment(), input_text="")
        self.assertEqual([line for line in done.stderr.splitlines() if "cannot" in line], [])
        return done.stdout

    def check_reading(self, user=None):
        self.assertIn(self.stamp, self.run_as(user, "show", "--agent=web1"))
        self.assertIn(self.stamp, self.run_as(user, "info", "--agent=web1", f"--checkpoint={self.stamp}"))
        self.run_as(user, "verify")
        folder = self.path("out")
        os.makedirs(folder)
        os.chown(folder, user or 0, user or 0)
        image = f"{folder}/image"
        self.run_as(user, "restore", "--agent=web1", f"--checkpoint={self.stamp}", f"--output={image}")
        check_equal(image, self.original)
        shutil.rmtree(folder)

    def test_an_immutable_copy(self):
        for with_lock in (False, True):
            self.make_copy(with_lock)
            run("chattr", "-R", "+i", self.copy)
            try:
                with self.assertRaises(PermissionError):
                    os.mkdir(self.copy + "/agents/web1/new")
                self.check_reading()
            finally:
                run("chattr", "-R", "-i", self.copy)
            shutil.rmtree(self.copy)

    def test_another_users_copy(self):
        for with_lock, lock_mode in ((False, None), (True, 0o600), (True, 0o644)):
            self.make_copy(with_lock)
            run("chmod", "-R", "a+rX", self.copy)
            if with_lock:
                os.chmod(self.copy + "/agents/web1/lock", lock_mode)
            self.check_reading(NOBODY)
            shutil.rmtree(self.copy)

    def use_all_inodes(self):
        folder = self.shelf.path + "/many"
        os.mkdir(folder)
        with self.assertRaises(OSError) as caught:
            for number in range(os.statvfs(self.shelf.path).f_files + 1):
                os.mknod(f"{folder}/{number}")
        self.assertEqual(caught.exception.errno, errno.ENOSPC)

    def test_no_free_inode(self):
        self.make_copy(False)
        self.use_all_inodes()
        self.check_reading()

    def test_no_free_byte(self):
        self.make_copy(False)
        take_room(self.shelf.path, 0)
        self.check_reading()

    def test_a_read_only_mount(self):
        self.make_copy(False)
        self.shelf.mount("remount,ro")
        self.check_reading()

    def test_a_linked_file_is_not_given_away(self):
        """The owner of the store's folders makes the lock's name a link to a file of root."""
        self.make_copy(False)
        secret = self.shelf.path + "/secret"
        with open(secret, "wb"):
            os.chmod(secret, 0o600)
        run("chown", "-R", f"{NOBODY}:{NOBODY}", self.copy)
        lock = self.copy + "/agents/web1/lock"
        os.link(secret, lock)
        self.check_reading()
        self.assertEqual(os.stat(secret).st_uid, 0)
        os.unlink(lock)
        self.check_reading()
        if os.path.exists(lock):
            self.assertEqual(os.stat(lock).st_uid, NOBODY)

    def test_root_works_as_the_owner(self):
        """The owner of the store's folders puts links there to files that only root can read or write."""
        self.make_copy(False)
        private = self.shelf.path + "/private"
        os.mkdir(private, 0o700)
        run("chown", "-R", f"{NOBODY}:{NOBODY}", self.copy)
        os.chmod(self.copy, 0o700)
        words = ["restore", "--agent=web1", f"--checkpoint={self.stamp}"]
        image = self.run_as(None, *words).strip()
        check_equal(image, self.original)
        self.assertEqual(os.stat(image).st_uid, NOBODY)
        shutil.rmtree(self.copy + "/restore")
        os.symlink(private, self.copy + "/restore")
        self.cli.fails(1, "restore", "dispatcher", *words, f"--data-dir={self.copy}")
        self.assertEqual(os.listdir(private), [])
        for name in (["revoke", "--agent=web1"], ["enroll", "--agent=web2", "--token"]):
            self.run_as(None, *name)
        made = [os.path.join(folder, name) for folder, _folders, names in os.walk(self.copy) for name in names]
        self.assertEqual({os.lstat(path).st_uid for path in made if not os.path.islink(path)}, {NOBODY})
        manifest = f"{self.copy}/agents/web1/checkpoints/{self.stamp}"
        os.rename(manifest, private + "/manifest")
        os.symlink(private + "/manifest", manifest)
        for name in (["show", "--agent=web1"], ["info", "--agent=web1", f"--checkpoint={self.stamp}"], ["verify"], words):
            done = self.cli.run("dispatcher", *name, f"--data-dir={self.copy}", check=False)
            self.assertNotEqual(done.returncode, 0, name)
            self.assertIn("Permission denied", done.stderr + done.stdout)

    def test_a_copy_in_a_folder_of_roots_is_read_as_root(self):
        """`cp -a` keeps the old owner, who cannot reach the copy."""
        self.make_copy(False)
        run("chown", "-R", f"{NOBODY}:{NOBODY}", self.copy)
        os.chmod(self.shelf.path, 0o700)
        self.check_reading()


if __name__ == "__main__":
    main()
