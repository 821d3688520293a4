# SPDX-License-Identifier: Apache-2.0
"""Joining with a token, renewal, revocation: the key never travels, a token works once, and whoever is shut out stays out."""

import datetime
import os
import pty
import re
import signal
import termios
import threading
import time

from case import Case, main
from programs import Agent, Cli, environment
from proxy import Proxy
from registry import REGISTRY, run, wait_until
from workloads import fill


class Join(Case):
    def setUp(self):
        super().setUp()
        self.start_dispatcher()

    def tearDown(self):
        self.assert_no_half_files()

    def printed_line(self, agent_id="web1", data_dir=None):
        """The line that the administrator pastes."""
        done = self.cli.run("dispatcher", "enroll", f"--agent={agent_id}", f"--data-dir={data_dir or self.data_dir}", "--token",
                            f"--dispatcher-addr={self.dispatcher.address}", "--init")
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 1, "one line to paste")
        self.assertRegex(lines[0], r"^echo [a-z0-9]{95} \| blxrep agent join --dispatcher-addr=[0-9.:]+ --token-file=-$")
        self.assertIn("once", done.stderr)
        return lines[0]

    def token_line(self, agent_id="web1", data_dir=None):
        """The line's words without the program's name, the token as the last one, so that a test can take it."""
        words = self.printed_line(agent_id, data_dir).split()
        return words[4:7] + ["--token=" + words[1]]

    def join(self, words, name="web1", *more):
        path = self.path(f"{name}.pem")
        done = self.cli.run(*words, f"--credentials={path}", *more)
        self.assertEqual(done.stdout, f"{path}\n")
        return path

    def token_is_seen(self, token):
        """Whether a process of this machine, other than this one, has the token among its words."""
        for pid in os.listdir("/proc"):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    if token.encode() in file.read():
                        return True
            except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
                pass
        return False

    def held_join(self, start, token):
        """Runs start(address) against a dispatcher that answers late. Returns whether the token was seen meanwhile, and start's result."""
        proxy = Proxy(REGISTRY, self.dispatcher.port)
        proxy.hold_after(1)
        result = []
        thread = threading.Thread(target=lambda: result.append(start(proxy.address)))
        thread.start()
        proxy.wait_held(20)
        seen = self.token_is_seen(token)
        proxy.release()
        thread.join(60)
        proxy.close()
        return seen, result[0]

    def test_a_pasted_line_shows_nobody_the_token(self):
        line, path = self.printed_line(), self.path("web1.pem")
        pasted = line.replace("| blxrep", f"| '{self.cli.program}'") + f" --credentials='{path}'"

        def paste(address):
            return run("sh", input_text=re.sub("--dispatcher-addr=[^ ]+", f"--dispatcher-addr={address}", pasted) + "\n", env=environment())
        seen, done = self.held_join(paste, line.split()[1])
        self.assertFalse(seen)
        self.assertEqual(done.stdout, f"{path}\n")

    def test_a_token_on_the_command_line_is_wiped(self):
        for separator in ("=", " "):
            words, path = self.token_line(), self.path("web1.pem")
            token = words[-1].split("=")[1]
            last = f"--token{separator}{token}".split(" ")
            seen, done = self.held_join(lambda address, last=last, words=words: self.cli.run(
                *words[:2], f"--dispatcher-addr={address}", *last, f"--credentials={path}", "--force"), token)
            self.assertFalse(seen)
            self.assertEqual(done.stdout, f"{path}\n")

    def test_a_token_from_a_file(self):
        words = self.token_line()
        token = words[-1].split("=")[1]
        file, path = self.path("token"), self.path("web1.pem")
        for content, pattern in (("", "empty"), ("x" * 4096, "too long"), (token[:-1] + "\n", "not whole")):
            with open(file, "w", encoding="ascii") as out:
                out.write(content)
            self.cli.fails(1, pattern, *words[:3], f"--token-file={file}", f"--credentials={path}")
        self.cli.fails(1, "No such file", *words[:3], f"--token-file={file}.none", f"--credentials={path}")
        self.cli.fails(1, "empty", *words[:3], "--token-file=-", f"--credentials={path}")
        with open(file, "w", encoding="ascii") as out:
            out.write(f"  {token} \r\nanother line\n")
        done = self.cli.run(*words[:3], f"--token-file={file}", f"--credentials={path}")
        self.assertEqual(done.stdout, f"{path}\n")

    def ask(self, words, typed):
        """Runs a command on a terminal and types. Returns its status and all that the terminal showed. Echo must be on again."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execvpe(self.cli.program, [self.cli.program, *words], environment())
        shown = b""
        while b"Token: " not in shown:
            shown += os.read(terminal, 4096)
        wait_until("no echo", lambda: not termios.tcgetattr(terminal)[3] & termios.ECHO, 10)
        os.write(terminal, typed)
        try:
            while True:
                piece = os.read(terminal, 4096)
                if not piece:
                    break
                shown += piece
        except OSError:
            pass
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(terminal)
        return status, shown.decode()

    def test_a_terminal_is_asked_and_shows_nothing(self):
        words, path = self.token_line(), self.path("web1.pem")
        token = words[-1].split("=")[1]
        for typed, status, said in ((b"\x03", 1, "interrupted"), (b"\n", 1, "empty"), (token.encode() + b"\n", 0, path)):
            got, shown = self.ask([*words[:3], f"--credentials={path}"], typed)
            self.assertEqual(got, status, shown)
            self.assertIn(said, shown)
            self.assertNotIn(token[:40], shown)

    def join_fails(self, pattern, words, name="other", *more):
        path = self.path(f"{name}.pem")
        line = self.cli.fails(1, pattern, *words, f"--credentials={path}", *more, timeout=60)
        self.assertNotIn(words[-1].split("=")[1][7:20], line, "no token in an error")
        self.assertFalse(os.path.exists(path))

    def serial(self, path):
        return run("openssl", "x509", "-in", path, "-noout", "-serial").stdout.strip().split("=")[1]

    def public_key(self, path):
        return run("openssl", "pkey", "-in", path, "-pubout").stdout

    def joined_agent(self, disk, *words):
        """An agent that has joined; Case.start_agent() finds its file there and enrolls nobody."""
        self.join(self.token_line())
        return self.start_agent("web1", disk, *words)

    def join_in_another_etc(self, before):
        """Joins with disks that are not there while /etc holds only what the shell command `before` makes. Returns the command's output and
        the settings."""
        done = run("unshare", "-m", "sh", "-ec", f'mount -t tmpfs etc /etc; {before}; "$@"; cat /etc/blxrep/config.yaml', "sh",
                   self.cli.program, *self.token_line(), "--device=/dev/none1", "--device=/dev/none2", "--force", env=environment())
        return done.stdout.splitlines(), done.stderr

    def test_joining_with_a_disk_writes_the_settings_once(self):
        lines, said = self.join_in_another_etc(":")
        self.assertTrue(said.endswith("next: systemctl enable --now blxrep-agent\n"), said)
        self.assertEqual(lines[:2], ["/etc/blxrep/agent.pem", "/etc/blxrep/config.yaml"])
        self.assertEqual(lines[-3:], ['id: "web1"', f'dispatcher-addr: "{self.dispatcher.address}"', 'device: [ "/dev/none1", "/dev/none2" ]'])
        lines, said = self.join_in_another_etc("mkdir /etc/blxrep; echo 'id: \"mine\"' >/etc/blxrep/config.yaml")
        self.assertEqual(lines[:3], ["/etc/blxrep/agent.pem", "/etc/blxrep/config.yaml", 'id: "mine"'])
        self.assertEqual(lines[-2:], [f'dispatcher-addr: "{self.dispatcher.address}"', 'device: [ "/dev/none1", "/dev/none2" ]'])
        self.assertIn("next: write into '/etc/blxrep/config.yaml': id: \"web1\"\n", said)
        whole = f'id: "web1"\ndispatcher-addr: "{self.dispatcher.address}"\ndevice: "/dev/none1"'
        lines, said = self.join_in_another_etc(f"mkdir /etc/blxrep; echo '{whole}' >/etc/blxrep/config.yaml")
        self.assertEqual(lines, ["/etc/blxrep/agent.pem", *whole.split("\n")])
        self.assertIn("write into '/etc/blxrep/config.yaml': device: \"/dev/none2\"\n", said)

    def test_a_device_that_is_not_there_uses_up_no_token(self):
        words, plain = self.token_line(), self.path("a file")
        with open(plain, "w", encoding="ascii"):
            pass
        for name in ("/dev/none", "/dev/none[ab]", plain):
            self.join_fails(re.escape(f"there is no block device '{name}'"), words, "web1", f"--device={name}")
        self.join(words)

    def test_a_server_joins_and_is_protected(self):
        path = self.join(self.token_line())
        self.assertEqual(os.stat(path).st_mode & 0o7777, 0o600)
        with open(path, encoding="ascii") as file:
            key = re.search(r"-----BEGIN PRIVATE KEY-----\n(.*?)\n-----END", file.read(), re.DOTALL).group(1)
        found = run("grep", "-rlF", key.splitlines()[1], self.data_dir, check=False)
        self.assertEqual(found.stdout, "", "the key stays where it was made")
        disk = self.loop_disk(32)
        disk.make("ext4")
        self.start_agent("web1", disk)
        self.row("web1", self.checkpoint("web1"))

    def test_a_token_works_once(self):
        words = self.token_line()
        self.join(words)
        self.join_fails("used already", words)

    def test_of_many_with_one_token_one_wins(self):
        words = self.token_line()
        results = []

        def one(number):
            results.append(Cli().run(*words, f"--credentials={self.path(f'n{number}.pem')}", check=False).returncode)
        threads = [threading.Thread(target=one, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(results), [0] + [1] * 5)
        self.assertEqual(len([name for name in os.listdir(self.folder) if re.fullmatch(r"n\d\.pem", name)]), 1)

    def test_an_expired_token(self):
        words = self.token_line()
        folder = os.path.join(self.data_dir, "pki", "tokens")
        path = os.path.join(folder, os.listdir(folder)[0])
        with open(path, encoding="ascii") as file:
            lines = file.read().split("\n")
        self.assertAlmostEqual(int(lines[2]), time.time() + 3600, delta=120)
        lines[2] = str(int(time.time()) - 1)
        with open(path, "w", encoding="ascii") as file:
            file.write("\n".join(lines))
        self.join_fails("has expired", words)

    def test_a_forged_token(self):
        words = self.token_line()
        token = words[-1]
        changed = token[:-20] + ("b" if token[-20] == "a" else "a") + token[-19:]
        self.join_fails("not whole", words[:-1] + [changed])
        self.join_fails("not whole", words[:-1] + [token[:-1]])
        self.join_fails("not whole", words[:-1] + ["--token=open-sesame"])
        self.join(words)

    def test_another_dispatcher_answers(self):
        """A man in the middle with a CA of his own, and a token of another site: nothing is shown to the wrong one."""
        elsewhere = self.path("elsewhere")
        words = self.token_line(data_dir=elsewhere)
        self.join_fails("not the dispatcher that made the token", words)
        folder = os.path.join(elsewhere, "pki", "tokens")
        names = os.listdir(folder)
        self.assertEqual(len(names), 1)
        with open(os.path.join(folder, names[0]), encoding="ascii") as file:
            self.assertTrue(file.read().endswith("open\n"))

    def test_an_existing_file_stays_without_force(self):
        words = self.token_line()
        path = self.join(words)
        before = self.serial(path)
        again = self.token_line()
        self.cli.fails(1, "--force", *again, f"--credentials={path}")
        self.assertEqual(self.serial(path), before)
        self.join(again, "web1", "--force")
        self.assertNotEqual(self.serial(path), before)

    def test_usage(self):
        self.cli.fails(2, "token", "agent", "join", "--dispatcher-addr=127.0.0.1:9")
        self.cli.fails(2, "dispatcher-addr", "join", "--token=x")
        self.cli.fails(2, "exclude", "join", "--dispatcher-addr=127.0.0.1:9", "--token=x", "--token-file=-")
        self.cli.fails(2, "exclude", "enroll", "--agent=a", f"--data-dir={self.data_dir}", "--token", "--output=x")
        self.cli.fails(2, "unknown command", "dispatcher", "join")
        self.cli.fails(2, "unknown command", "agent", "show")
        self.cli.fails(2, "agent", "revoke", f"--data-dir={self.data_dir}")

    def test_the_sites_own_certificates(self):
        pki = os.path.join(self.data_dir, "pki")
        config = self.path("site.yaml")
        with open(config, "w", encoding="ascii") as file:
            file.write(f'tls: {{ ca: "{pki}/ca.pem", cert: "{pki}/dispatcher.pem", key: "{pki}/dispatcher.key" }}\n')
        words = self.token_line()
        self.cli.fails(1, "site's own certificates", "enroll", "--agent=web1", f"--data-dir={self.data_dir}", "--token",
                       f"--config={config}")
        self.cli.fails(1, "site's own certificates", *words, f"--config={config}")
        self.dispatcher.stop()
        self.restart_dispatcher(f"--config={config}")
        self.join_fails("takes no joins", words)

    def test_the_dispatcher_dies_in_the_middle(self):
        """Whenever the server dies, the token works once or never, and the server has whole credentials or none."""
        joined = 0
        for held_bytes in (0, 300, 600, 900, 1200):
            proxy = Proxy(REGISTRY, self.dispatcher.port)
            proxy.hold_after(held_bytes)
            words = self.token_line()
            path = self.path(f"m{held_bytes}.pem")
            result = []
            thread = threading.Thread(target=lambda: result.append(Cli().run(
                *words[:2], f"--dispatcher-addr={proxy.address}", words[-1], f"--credentials={path}", check=False)))
            thread.start()
            wait_until("the middle", lambda: proxy.sent_bytes >= held_bytes or result, 20)
            self.dispatcher.kill()
            proxy.close()
            thread.join(60)
            self.assertFalse(thread.is_alive())
            self.restart_dispatcher()
            if result[0].returncode == 0:
                joined += 1
                self.join_fails("used already", words)
            else:
                self.assertFalse(os.path.exists(path))
                again = self.cli.run(*words, f"--credentials={path}", check=False)
                if again.returncode != 0:
                    self.assertIn("used already", again.stderr)
                    self.assertGreater(held_bytes, 300, "not even the handshake was over")
                self.assertEqual(os.path.exists(path), again.returncode == 0)
        self.assertLess(joined, 5)

    def test_revoked_under_load(self):
        disk = self.loop_disk(64)
        files = disk.make("ext4")
        agent = self.joined_agent(disk)
        self.checkpoint("web1")
        stop = threading.Event()

        def write():
            number = 0
            while not stop.is_set():
                fill(f"{files.path}/load-{number % 4}", 2)
                number += 1
        writer = threading.Thread(target=write)
        writer.start()
        try:
            taken = self.checkpoint("web1")
            begun = time.monotonic()
            done = self.cli.run("dispatcher", "revoke", "--agent=web1", f"--data-dir={self.data_dir}")
            lasted = time.monotonic() - begun
            self.assertEqual(self.dispatcher.agent_state("web1")["state"].upper(), "OFFLINE")
            self.assertLess(lasted, 10)
            self.assertIn("revoked", done.stdout)
            agent.wait_line("revoked: have it join again", 60)
            self.assertTrue(agent.running())
        finally:
            stop.set()
            writer.join()
        self.row("web1", taken)
        self.restore("web1", taken, self.path("image"))
        wait_until("it counts as revoked", lambda: self.cli.status(self.data_dir)[0]["protection"] == "revoked", 30)
        self.assertIn("1 revoked", self.cli.run("status", f"--data-dir={self.data_dir}").stdout)
        # A restarted dispatcher still refuses the old file.
        self.dispatcher.stop()
        self.restart_dispatcher()
        line = len(agent.lines)
        agent.wait_line("revoked: have it join again", 60, start=line)
        # After a new join the same process reconnects by itself, and goes on from there.
        self.join(self.token_line(), "web1", "--force")
        self.dispatcher.wait_online("web1", 90)
        newest = self.checkpoint("web1")
        state = self.cli.status(self.data_dir)[0]
        self.assertNotEqual(state["protection"], "revoked")
        self.assertGreater(state["changed_bytes"], 0)
        self.assertGreaterEqual(state["stored_bytes"] + state["saved_bytes"], state["changed_bytes"])
        self.assertEqual(self.row("web1", newest)["kind"], "incremental")
        agent.wait_line("credentials .* have changed", 10)
        agent.stop()

    def test_revoke_while_no_dispatcher_runs(self):
        words = self.token_line()
        path = self.join(words)
        waiting = self.token_line()
        self.dispatcher.stop()
        done = self.cli.run("revoke", "--agent=web1", f"--data-dir={self.data_dir}")
        self.assertEqual(done.stderr, "")  # its folder was made by `enroll`
        self.restart_dispatcher()
        self.join_fails("does not know the token", waiting)
        agent = Agent(REGISTRY, self.folder, "web1", self.dispatcher.address, path, [self.loop_disk(16)])
        agent.start()
        agent.wait_line("revoked: have it join again", 30)

    def test_revoke_of_a_name_that_nobody_has(self):
        self.start_agent("web1", self.loop_disk(16))
        words = ["revoke", "--agent=wbe1", f"--data-dir={self.data_dir}"]
        self.assertRegex(self.cli.fails(1, "unknown agent 'wbe1'", *words), "it knows 'web1'.*--force")
        self.assertEqual(self.cli.status(self.data_dir)[0]["protection"] == "revoked", False)
        self.assertFalse(os.path.exists(os.path.join(self.data_dir, "pki/revoked/wbe1")))
        self.assertIn("'wbe1' is revoked", self.cli.run(*words, "--force").stdout)

    def short_lived(self, name, begun_days_ago, days_left):
        """Credentials as a join long ago would have left them: signed by the dispatcher's CA, with these dates."""
        pki = os.path.join(self.data_dir, "pki")
        now = datetime.datetime.now(datetime.timezone.utc)
        dates = [(now + datetime.timedelta(days=days)).strftime("%Y%m%d%H%M%SZ") for days in (-begun_days_ago, days_left)]
        folder = self.path("ca")
        os.makedirs(folder)
        for file, text in (("index", ""), ("extensions", "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\n"),
                           ("config", f"[ca]\ndefault_ca=own\n[own]\ndatabase={folder}/index\nnew_certs_dir={folder}\n"
                            "rand_serial=yes\ndefault_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n")):
            with open(f"{folder}/{file}", "w", encoding="ascii") as out:
                out.write(text)
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{folder}/key", "-out", f"{folder}/request")
        run("openssl", "ca", "-batch", "-notext", "-config", f"{folder}/config", "-extfile", f"{folder}/extensions", "-cert",
            f"{pki}/ca.pem", "-keyfile", f"{pki}/ca.key", "-in", f"{folder}/request", "-out", f"{folder}/cert", "-startdate",
            dates[0], "-enddate", dates[1])
        path = self.path(f"{name}.pem")
        with open(path, "w", encoding="ascii") as bundle:
            for part in (f"{folder}/key", f"{folder}/cert", f"{pki}/ca.pem"):
                with open(part, encoding="ascii") as file:
                    bundle.write(file.read())
        os.chmod(path, 0o600)
        return path

    def test_a_certificate_that_is_about_to_expire_renews_itself(self):
        path = self.short_lived("web1", 80, 20)
        serial, key = self.serial(path), self.public_key(path)
        disk = self.loop_disk(32)
        files = disk.make("ext4")
        agent = self.start_agent("web1", disk)
        agent.wait_line("the certificate is renewed", 60)
        self.assertNotEqual(self.serial(path), serial)
        self.assertNotEqual(self.public_key(path), key, "with a new key")
        self.assertEqual(os.stat(path).st_mode & 0o7777, 0o600)
        run("openssl", "x509", "-in", path, "-noout", "-checkend", str(360 * 24 * 3600))
        fill(files.path + "/after", 1)
        self.checkpoint("web1")
        self.assertNotIn("session ended", self.dispatcher.log(), "the session was not disturbed")
        agent.send(signal.SIGKILL)
        self.dispatcher.wait_offline("web1")
        self.start_agent("web1", disk)
        fill(files.path + "/restarted", 1)
        self.assertEqual(self.row("web1", self.checkpoint("web1"))["kind"], "incremental")
        self.assertEqual(self.dispatcher.log().count("its certificate is renewed"), 1)

    def test_a_young_certificate_stays(self):
        path = self.short_lived("web1", 60, 40)
        serial = self.serial(path)
        self.start_agent("web1", self.loop_disk(16))
        self.checkpoint("web1")
        self.checkpoint("web1")
        self.assertEqual(self.serial(path), serial)

    def test_a_renewal_that_cannot_be_had_harms_nothing(self):
        path = self.short_lived("web1", 80, 20)
        key = os.path.join(self.data_dir, "pki", "ca.key")
        os.rename(key, self.path("ca.key"))
        serial = self.serial(path)
        agent = self.start_agent("web1", self.loop_disk(16))
        agent.wait_line("not renewed: the dispatcher says: .*ca.key", 60)
        self.checkpoint("web1")
        self.assertEqual(self.serial(path), serial)


if __name__ == "__main__":
    main()
