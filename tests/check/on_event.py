# SPDX-License-Identifier: Apache-2.0
"""The on-event scripts of etc/examples: shellcheck is content, and each one says to a local listener what happened."""

import http.server
import json
import os
import pathlib
import socketserver
import subprocess
import threading
import unittest

SCRIPTS = pathlib.Path(os.environ["BLXREP_SOURCE"]) / "etc/examples/on-event"
TEXT = 'not connected for 1 m 3 s: "web1" \\ is off; start it'
EVENTS = f"agent-lost web1 {TEXT}\ndisk-nearly-full - 2 % is free"
VARIABLES = {"BLXREP_EVENT": "agent-lost", "BLXREP_AGENT": "web1", "BLXREP_TEXT": TEXT, "BLXREP_COUNT": "2", "BLXREP_EVENTS": EVENTS,
             "BLXREP_DATA_DIR": "/var/lib/blxrep"}


class Web(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.got.append((self.path, self.headers, self.rfile.read(int(self.headers["Content-Length"])).decode()))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_args):
        pass


class Smtp(socketserver.StreamRequestHandler):
    timeout = 20

    def answer(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        self.answer("220 here")
        while line := self.rfile.readline().decode().strip():
            self.server.got.append(line)
            if line == "DATA":
                self.answer("354 go on")
                lines = []
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(line.decode())
                self.server.mail = "".join(lines)
            self.answer("221 bye" if line == "QUIT" else "250 fine")


class Scripts(unittest.TestCase):
    def listen(self, handler):
        server = socketserver.TCPServer(("127.0.0.1", 0), handler)
        server.got, server.status = [], 200
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        return server, f"127.0.0.1:{server.server_address[1]}"

    def tell(self, name, *words, check=True, **more):
        env = {"PATH": os.environ["PATH"], "no_proxy": "*", **VARIABLES, **more}
        return subprocess.run([SCRIPTS / name, *words], env=env, capture_output=True, text=True, timeout=60, check=check)

    def test_shellcheck_is_content(self):
        names = sorted(SCRIPTS.iterdir())
        self.assertEqual([path.name for path in names], ["mail", "ntfy", "webhook"])
        done = subprocess.run(["shellcheck", *names], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_webhook(self):
        server, address = self.listen(Web)
        self.tell("webhook", f"http://{address}/hook")
        (path, headers, body), = server.got
        self.assertEqual((path, headers["Content-Type"]), ("/hook", "application/json"))
        told = json.loads(body)
        self.assertEqual(told.pop("host"), os.uname().nodename)
        self.assertEqual(told, {"event": "agent-lost", "agent": "web1", "text": TEXT, "count": 2, "events": EVENTS})

    def test_ntfy(self):
        server, address = self.listen(Web)
        self.tell("ntfy", f"http://{address}/backups")
        (path, headers, body), = server.got
        self.assertEqual((path, headers["Title"], headers["Priority"]), ("/backups", "blxrep: agent-lost web1", "high"))
        self.assertEqual(body, EVENTS)
        self.tell("ntfy", f"http://{address}/backups", BLXREP_EVENT="agent-protected")
        self.assertEqual(server.got[1][1]["Priority"], "low")

    def test_mail(self):
        server, address = self.listen(Smtp)
        self.tell("mail", "root@example.org", f"smtp://{address}")
        self.assertIn("RCPT TO:<root@example.org>", server.got)
        head, _, body = server.mail.partition("\r\n\r\n")
        self.assertIn("Subject: blxrep: agent-lost web1", head.split("\r\n"))
        self.assertTrue(body.startswith(EVENTS.replace("\n", "\r\n") + "\r\n"), body)

    def test_a_receiver_that_refuses_is_a_failure(self):
        """The dispatcher then logs it."""
        server, address = self.listen(Web)
        server.status = 500
        for name in ("webhook", "ntfy"):
            done = self.tell(name, f"http://{address}/", check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("500", done.stderr)
        for name in ("webhook", "ntfy", "mail"):
            self.assertNotEqual(self.tell(name, check=False).returncode, 0, "without an address")


if __name__ == "__main__":
    unittest.main()
