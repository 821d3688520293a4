# SPDX-License-Identifier: Apache-2.0
"""The packages: what is in them, what they ask for, what lintian says, that two builds give the same bytes, and their life on a machine."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parent.parent
PACKAGES = ["blxrep", "blxrep-agent", "blxrep-dispatcher", "blxrep-nbdkit", "libblxrep0", "blxrep-rescue", "blxrep-static"]
EPOCH = "1767225600"
OLD, NEW = "0.1", "0.2"
GUEST = "bin/blxrep-files-guest"


def run(*words, **named):
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **named)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def build(source, folder, release=OLD, targets=("package",)):
    """These targets of a build in `folder`; the folder of the packages that came out."""
    shutil.rmtree(folder / "packages", ignore_errors=True)
    environment = dict(os.environ, SOURCE_DATE_EPOCH=EPOCH, LC_ALL="C", CCACHE_DISABLE="1")
    run("cmake", "-S", source, "-B", folder, "-G", "Ninja", "-DBLXREP_TESTS=OFF", f"-DBLXREP_PACKAGE_RELEASE={release}",
        "-DBLXREP_PACKAGES=DEB;RPM" if release == OLD else "-DBLXREP_PACKAGES=DEB", env=environment)
    run("cmake", "--build", folder, "--target", *targets, "--", "-j2", env=environment)
    return folder / "packages"


class Package(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="blxrep-package-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        first = cls.folder / "first"
        cls.old = cls.folder / "old"
        shutil.copytree(build(SOURCE, first), cls.old)
        # For tests/newcomer. It replaces the folder, so it has another name than the one where somebody's own packages may lie.
        if "BLXREP_LEAVE_PACKAGES" in os.environ:
            shutil.rmtree(os.environ["BLXREP_LEAVE_PACKAGES"], ignore_errors=True)
            shutil.copytree(cls.old, os.environ["BLXREP_LEAVE_PACKAGES"])
        cls.new = cls.folder / "new"
        shutil.copytree(build(SOURCE, first, NEW), cls.new)

    def deb(self, package, folder=None):
        found = list((folder or self.old).glob(f"{package}_*.deb"))
        self.assertEqual(len(found), 1, f"packages of {package}")
        return found[0]

    def field(self, package, name):
        return run("dpkg-deb", "-f", self.deb(package), name).strip()

    def files(self, package):
        """The paths in the package, without folders."""
        lines = [line.split(None, 5) for line in run("dpkg-deb", "-c", self.deb(package)).splitlines()]
        self.assertEqual({line[1] for line in lines}, {"root/root"})
        return {line[5].split(" -> ")[0].lstrip(".") for line in lines if not line[0].startswith("d")}

    def test_each_package_has_what_it_is_for(self):
        library = self.files("libblxrep0")
        self.assertTrue(any(re.fullmatch(r"/usr/lib/[^/]+/libblxrep\.so\.0", path) for path in library), library)
        self.assertFalse([path for path in library if path.endswith((".so", ".h"))], "the library is private")
        expected = {
            "blxrep": ["bin/blxrep", "share/man/man1/blxrep.1.gz", "share/man/man5/blxrep-config.5.gz", "share/man/man7/blxrep-recovery.7.gz",
                       "share/man/man7/blxrep-protocol.7.gz", "share/bash-completion/completions/blxrep", "share/zsh/vendor-completions/_blxrep",
                       "share/fish/vendor_completions.d/blxrep.fish", "share/doc/blxrep/examples/agent.yaml",
                       "share/doc/blxrep/examples/dispatcher.yaml", "share/doc/blxrep/README.md", "share/doc/blxrep/SECURITY.md",
                       "share/doc/blxrep/docs/restore.md", "share/doc/blxrep/docs/status.svg", "share/doc/blxrep/docs/page/overview.png",
                       "share/doc/blxrep/examples/policies/10-servers.yaml", "share/doc/blxrep/examples/on-event/mail"],
            "blxrep-agent": ["bin/blxrep-agent", "lib/systemd/system/blxrep-agent.service", "share/man/man8/blxrep-agent.8.gz",
                             "bin/blxrep-reboot", "lib/systemd/system/blxrep-reboot.service", "lib/systemd/system-shutdown/blxrep",
                             "lib/systemd/system/sysinit.target.wants/blxrep-reboot.service",
                             "share/man/man8/blxrep-reboot.8.gz",
                             "share/bash-completion/completions/blxrep-agent"],
            "blxrep-dispatcher": ["bin/blxrep-dispatcher", "lib/systemd/system/blxrep-dispatcher.service",
                                  "lib/systemd/system/blxrep-tester.service", "bin/blxrep-tester", "share/man/man8/blxrep-tester.8.gz",
                                  "lib/sysusers.d/blxrep.conf", "lib/tmpfiles.d/blxrep.conf",
                                  "share/man/man8/blxrep-dispatcher.8.gz", "bin/blxrep-mount",
                                  "share/man/man8/blxrep-mount.8.gz", "bin/blxrep-boot",
                                  "bin/blxrep-test", "share/man/man8/blxrep-test.8.gz",
                                  "bin/blxrep-page", "share/man/man8/blxrep-page.8.gz", "lib/systemd/system/blxrep-page.service",
                                  "share/man/man8/blxrep-boot.8.gz", "bin/blxrep-files",
                                  "share/man/man8/blxrep-files.8.gz", "libexec/blxrep/blxrep-files-guest",
                                  "share/bash-completion/completions/blxrep-dispatcher"],
            "blxrep-nbdkit": ["share/man/man1/nbdkit-blxrep-plugin.1.gz"],
            "blxrep-rescue": ["bin/blxrep-rescue-image", "share/man/man8/blxrep-rescue-image.8.gz",
                              *(f"share/blxrep/rescue/{name}" for name in ("init", "dialogue", "network", "dhcp", "modules", "grub.cfg"))],
            "blxrep-static": ["bin/blxrep-static", "share/man/man1/blxrep-static.1.gz"],
        }
        for package, paths in expected.items():
            self.assertLessEqual({f"/usr/{path}" for path in paths}, self.files(package))
        self.assertTrue(any(re.fullmatch(r"/usr/lib/[^/]+/nbdkit/plugins/nbdkit-blxrep-plugin\.so", path)
                            for path in self.files("blxrep-nbdkit")))
        seen = set()
        for package in PACKAGES:
            documents = {f"/usr/share/doc/{package}/{name}" for name in ("copyright", "changelog.gz", "changelog.Debian.gz")}
            self.assertLessEqual(documents, self.files(package))
            self.assertFalse(seen & self.files(package), "a file is in two packages")
            seen |= self.files(package)

    def test_no_package_brings_settings(self):
        """They would be wrong on every machine, and dpkg would ask about them if they are made before the package comes."""
        for package in PACKAGES:
            self.assertFalse([path for path in self.files(package) if path.startswith("/etc")])
            control = run("dpkg-deb", "--ctrl-tarfile", self.deb(package), errors="replace")
            self.assertNotIn("conffiles", control)

    def test_dependencies_are_exact_between_us_and_found_for_others(self):
        self.assertEqual(self.field("blxrep", "Version"), f"0.1.0-{OLD}")
        mine = f"(= 0.1.0-{OLD})"
        for package, needs in {"blxrep": ["libblxrep0"], "blxrep-agent": ["libblxrep0", "blxrep"],
                               "blxrep-dispatcher": ["libblxrep0", "blxrep"], "blxrep-nbdkit": ["libblxrep0"],
                               "blxrep-rescue": ["blxrep", "blxrep-static"]}.items():
            depends = self.field(package, "Depends").split(", ")
            self.assertLessEqual({f"{name} {mine}" for name in needs}, set(depends))
        self.assertRegex(self.field("blxrep-agent", "Depends"), r"\blibbpf[01]\b")
        for name in ("libc6", "libssl3", "libzstd1", "libxxhash0", "libconfig"):
            self.assertIn(name, self.field("libblxrep0", "Depends"))

    def test_the_static_program_needs_nothing(self):
        """No library and no configuration file; and no library under the LGPL is in it, except glibc."""
        self.assertEqual(self.field("blxrep-static", "Depends"), "")
        program = self.folder / "first" / "bin" / "blxrep-static"
        root = self.folder / "empty-root"
        root.mkdir()
        shutil.copy(program, root)
        self.assertEqual(run("chroot", root, "/blxrep-static", "--version").strip(), "blxrep 0.1.0")
        symbols = set(re.findall(r"(?m)^[0-9a-f]+ T (\w+)$", run("nm", program)))
        self.assertIn("blx_gpt_move", symbols)
        self.assertEqual([name for name in symbols if re.match(r"config_|elf_|bpf_|blkid_|fuse_|MHD_", name)], [])

    def test_lintian_is_content(self):
        said = run("lintian", "--allow-root", "--fail-on=error,warning", "--tag-display-limit=0", *self.old.glob("*.deb"))
        self.assertEqual(said.strip(), "")

    def test_rpms_ask_for_each_other(self):
        for package in PACKAGES[:4]:
            found = self.old / f"{package}-0.1.0-{OLD}.x86_64.rpm"
            requires = run("rpm", "-qpR", found).splitlines()
            self.assertIn(f"libblxrep0 = 0.1.0-{OLD}", requires)
            self.assertFalse([path for path in run("rpm", "-qpl", found).splitlines() if "Debian" in path or "build-id" in path])
        listed = run("rpm", "-qpl", next(self.old.glob("blxrep-agent-*.rpm")))
        for path in ("system/blxrep-agent.service", "system/blxrep-reboot.service", "system-shutdown/blxrep"):
            self.assertIn(f"/usr/lib/systemd/{path}", listed)

    def test_units_are_valid_and_locked_up(self):
        for daemon, most in {"agent": 4.0, "dispatcher": 2.0, "tester": 3.0, "page": 1.7}.items():
            unit = self.folder / f"blxrep-{daemon}.service"
            text = (self.folder / "first" / "etc" / unit.name).read_text()
            unit.write_text(text.replace("/usr/bin/blxrep", str(self.folder / "first" / "bin" / "blxrep")))
            self.assertEqual(run("systemd-analyze", "verify", "--man=no", unit).strip(), "")
            said = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
            exposure = float(re.search(r"Overall exposure level[^:]*: ([0-9.]+)", said).group(1))
            self.assertLessEqual(exposure, most, said)

    def test_the_unit_that_tests_comes_to_kvm(self):
        """udev gives /dev/kvm to a group, which must be there, because a unit with an unknown group does not start."""
        unit = (self.folder / "first" / "etc" / "blxrep-tester.service").read_text()
        self.assertRegex(unit, r"(?m)^DeviceAllow=/dev/kvm rw$")
        self.assertRegex(unit, r"(?m)^SupplementaryGroups=kvm$")
        self.assertRegex((SOURCE / "etc" / "systemd" / "sysusers.conf").read_text(), r"(?m)^g kvm -$")

    def test_two_builds_give_the_same_bytes(self):
        """In another folder, of a copy of the sources elsewhere, with the build inside of it: a small program, which has the flags of all.
        The packages are packed once more. With BLXREP_EXHAUSTIVE everything is built again."""
        copy = self.folder / "a-copy-elsewhere"
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns(".git", "build*", "corpus"))
        names = sorted(path.name for path in self.old.iterdir())
        self.assertEqual(len(names), 14)
        if "BLXREP_EXHAUSTIVE" in os.environ:
            again = build(copy, copy / "build")
        else:
            build(copy, copy / "build", targets=("blxrep-files-guest",))
            self.assertEqual((self.folder / "first" / GUEST).read_bytes(), (copy / "build" / GUEST).read_bytes())
            again = build(SOURCE, self.folder / "first")
        self.assertEqual(sorted(path.name for path in again.iterdir()), names)
        differing = [name for name in names if (self.old / name).read_bytes() != (again / name).read_bytes()]
        self.assertEqual(differing, [])

    def test_life_in_a_scratch_root(self):
        """The machine's own system under an overlay, so that all that the packages need is there; gone with its namespaces."""
        said = run(HERE / "scratch.sh", self.old, self.new, self.folder / "scratch", timeout=300)
        self.assertIn("life: passed", said)


if __name__ == "__main__":
    unittest.main(verbosity=2)
