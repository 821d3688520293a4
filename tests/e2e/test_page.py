# SPDX-License-Identifier: Apache-2.0
"""The page: it shows what the commands print, lets in whoever has a token, and does for an operator what a viewer may not have."""

import hashlib
import http.client
import io
import json
import os
import re
import socket
import ssl
import tarfile
import time
import urllib.parse

from case import Case, main
from programs import Page
from registry import REGISTRY, run, wait_until

HOSTILE = "<img src=x onerror=alert(1)>&\"'.txt"
# What the unit's ProtectSystem=strict and ReadWritePaths= come to; then the program.
SEAL = """
mount --make-rprivate / && mount --bind "$0" "$0" && cd "$0" && 
for name in page audit; do mount --bind $name $name || exit; done &&
mount -o remount,bind,ro "$0" && cd / && exec "$@"
"""


class Test(Case):
    def setUp(self):
        super().setUp()
        self.start_dispatcher()
        self.page = Page(REGISTRY, self.folder, self.data_dir).start()

    def get(self, url, **named):
        return self.page.request(url, cookie=self.cookie, **named)

    def json(self, url, status=200):
        found, headers, body = self.get(url)
        self.assertEqual(found, status, body)
        self.assertEqual(headers["Content-Type"], "application/json")
        return json.loads(body)

    def act(self, url, cookie, **headers):
        session = json.loads(self.page.request("/api/session", cookie=cookie)[2])
        return self.page.request(url, method="POST", cookie=cookie,
                                 **{"Origin": f"http://{self.page.address}", "X_CSRF_Token": session["csrf"], **headers})

    def make_server(self):
        """A server with one disk and one checkpoint."""
        disk = self.loop_disk(48)
        root = disk.make("ext4").path
        os.makedirs(f"{root}/etc")
        with open(f"{root}/etc/fstab", "w", encoding="utf-8") as file:
            file.write("/dev/root / ext4 defaults 0 1\n" * 4000)
        with open(f"{root}/etc/{HOSTILE}", "w", encoding="utf-8") as file:
            file.write("hostile name")
        with open(f"{root}/etc/grüße", "w", encoding="utf-8") as file:
            file.write("not ASCII")
        self.start_agent("web1", disk.path)
        self.checkpoint_name = self.checkpoint("web1")

    def test_shows_what_the_commands_print_and_gives_files_and_images_back(self):
        self.make_server()
        self.cookie = self.page.enter()
        self.check_json()
        self.check_readable()
        self.check_files()
        self.check_image()
        self.check_actions()
        self.check_events()
        self.check_read_only_store()
        self.check_dispatcher_down()

    def check_json(self):
        stamp = self.checkpoint_name
        self.assertEqual(self.json("/api/show?agent=web1"), self.show("web1"))
        info = self.cli.run("dispatcher", "info", "--agent=web1", f"--checkpoint={stamp}", f"--data-dir={self.data_dir}", "--json")
        self.assertEqual(self.json(f"/api/info?agent=web1&checkpoint={stamp}"), json.loads(info.stdout))
        log = self.cli.run("dispatcher", "log", "--agent=web1", f"--data-dir={self.data_dir}", "--json")
        self.assertEqual(self.json("/api/log?agent=web1"), json.loads(log.stdout))
        moving = {"age", "connected_ms", "rate_bytes_per_s", "received_bytes", "total_received_bytes", "tracked_events"}
        mine, theirs = self.json("/api/status"), self.cli.status(self.data_dir)
        self.assertEqual([{k: v for k, v in row.items() if k not in moving} for row in mine],
                         [{k: v for k, v in row.items() if k not in moving} for row in theirs])
        session = self.json("/api/session")
        self.assertEqual((session["role"], session["data_dir"]), ("operator", os.path.realpath(self.data_dir)))
        for url, status in (("/api/show", 400), ("/api/show?agent=../x", 400), ("/api/show?agent=nobody", 502),
                            ("/api/info?agent=web1&checkpoint=20269999999999", 400), ("/api/show?agent=web1%00x", 400),
                            ("/api/show?agent=--data-dir=/", 400), ("/api/files?agent=web1&checkpoint=latest&device=-x", 400),
                            ("/api/files?agent=web1&checkpoint=latest&path=etc", 400)):
            self.assertIn("error", self.json(url, status), url)

    def check_readable(self):
        _status, headers, body = self.get("/")
        text = body.decode()
        self.assertIn('<a href="/agent?id=web1">web1</a>', text)
        policy = headers["Content-Security-Policy"]
        self.assertIn("default-src 'self'", policy)
        self.assertIn("frame-ancestors 'none'", policy)
        self.assertNotIn("unsafe", policy)
        self.assertEqual((headers["X-Content-Type-Options"], headers["Referrer-Policy"], headers["Cache-Control"]),
                         ("nosniff", "no-referrer", "no-store"))
        stamp = self.checkpoint_name
        self.assertIn(f"/checkpoint?agent=web1&amp;checkpoint={stamp}", self.get("/agent?id=web1")[2].decode())
        text = self.get(f"/checkpoint?agent=web1&checkpoint={stamp}")[2].decode()
        self.assertIn(f"blxrep dispatcher boot --agent=web1 --checkpoint={stamp}", text)
        for body in (text, self.get("/")[2].decode()):
            self.assertEqual(re.findall(r"<script(?! src=)", body), [])
            self.assertEqual(re.findall(r"(?:src|href)=\"(?!/)", body), [])

    def check_files(self):
        words = f"agent=web1&checkpoint={self.checkpoint_name}"
        rows = self.json(f"/api/files?{words}&path=/etc")
        self.assertEqual({row["path"] for row in rows}, {"/etc/fstab", "/etc/grüße", f"/etc/{HOSTILE}"})
        text = self.get(f"/files?{words}&path=/etc")[2].decode()
        self.assertNotIn("<img", text)
        self.assertIn("&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#39;.txt", text)
        link = re.search(r'href="(/download[^"]*onerror[^"]*)"', text).group(1).replace("&amp;", "&")
        status, headers, body = self.get(link)
        self.assertEqual((status, body), (200, b"hostile name"))
        self.assertRegex(headers["Content-Disposition"], r'^attachment; filename="[A-Za-z0-9._-]+"$')
        status, headers, body = self.get(f"/download?{words}&path=/etc/fstab")
        self.assertEqual((status, body), (200, b"/dev/root / ext4 defaults 0 1\n" * 4000))
        self.assertEqual(headers["Content-Length"], str(len(body)))
        status, _headers, body = self.get(f"/download?{words}&path=/etc&as=tar")
        self.assertEqual(status, 200)
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            self.assertEqual({os.path.basename(name) for name in tar.getnames()} - {"etc"}, {"fstab", "grüße", HOSTILE})
        self.assertEqual(self.get(f"/download?{words}&path=/etc/none")[0], 502)
        self.assertEqual(self.get(f"/download?{words}&path=/etc/{urllib.parse.quote('grüße')}")[2], b"not ASCII")
        for folder in ("/etc", "/etc/", "/"):
            status, _headers, body = self.get(f"/download?{words}&path={folder}")
            self.assertEqual(status, 400, body)
            self.assertIn(b"as=tar", body)

    def check_image(self):
        output = self.restore("web1", self.checkpoint_name, self.path("disk.img"))
        with open(output, "rb") as file:
            whole = file.read()
        url = f"/image?agent=web1&checkpoint={self.checkpoint_name}"
        status, headers, body = self.get(url)
        self.assertEqual((status, hashlib.sha256(body).digest()), (200, hashlib.sha256(whole).digest()))
        tag = headers["ETag"]
        for asked, first, last in (("bytes=1000-5000", 1000, 5000), (f"bytes={len(whole) - 7}-", len(whole) - 7, len(whole) - 1),
                                   ("bytes=-4097", len(whole) - 4097, len(whole) - 1)):
            status, headers, body = self.get(url, Range=asked, If_Range=tag)
            self.assertEqual((status, headers["Content-Range"]), (206, f"bytes {first}-{last}/{len(whole)}"))
            self.assertEqual(body, whole[first:last + 1])
        self.assertEqual(self.get(url, Range=f"bytes={len(whole)}-")[0], 416)
        self.assertEqual(len(self.get(url, Range="bytes=0-9", If_Range='"another"')[2]), len(whole))
        self.assertEqual(self.get(url + "&device=/dev/none")[0], 404)

    def check_actions(self):
        pin = f"/api/pin?agent=web1&checkpoint={self.checkpoint_name}"
        viewer = self.page.enter("--role=viewer")
        for url in (pin, "/api/checkpoint?agent=web1", f"/api/token?agent=web1&checkpoint={self.checkpoint_name}"):
            self.assertEqual(self.act(url, viewer)[0], 403)
        for what in ("files", "api/files", "download", "image"):
            url = f"/{what}?agent=web1&checkpoint={self.checkpoint_name}"
            self.assertEqual(self.page.request(url, cookie=viewer)[0], 403, "what is on the disks is no viewer's")
        self.assertEqual(self.act(pin, self.cookie, Origin="http://evil.example")[0], 403)
        self.assertEqual(self.act(pin, self.cookie, X_CSRF_Token="0" * 64)[0], 403)
        self.assertEqual(self.act(pin, self.cookie, X_CSRF_Token=json.loads(self.page.request("/api/session", cookie=viewer)[2])["csrf"])[0], 403)
        self.assertEqual(self.page.request(pin, method="POST", cookie=self.cookie)[0], 403)
        self.assertEqual(self.get(pin)[0], 405)
        self.assertFalse(self.row("web1", self.checkpoint_name)["pinned"])
        status, _headers, body = self.act(pin, self.cookie)
        self.assertEqual(status, 200, body)
        done = json.loads(body)
        self.assertEqual(done["output"], self.checkpoint_name)
        self.assertTrue(done["command"].startswith("blxrep dispatcher pin --agent=web1"))
        self.assertTrue(self.row("web1", self.checkpoint_name)["pinned"])
        status, _headers, body = self.act("/api/checkpoint?agent=web1", self.cookie)
        self.assertEqual(status, 200, body)
        self.assertEqual([row["checkpoint"] for row in self.show("web1")][-1], json.loads(body)["output"])
        status, _headers, body = self.act(f"/api/token?agent=web1&checkpoint={self.checkpoint_name}", self.cookie)
        self.assertEqual(status, 200, body)
        self.assertIn("| blxrep agent restore", json.loads(body)["output"])
        events = [row["event"] for row in self.json("/api/log")]
        self.assertEqual(events.count("page"), 3)
        self.assertEqual(events.count("page-token"), 2)
        self.assertEqual([row["text"] for row in self.json("/api/log") if row["event"] == "page-session"],
                         ["operator at 127.0.0.1", "viewer at 127.0.0.1"])

    def check_events(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.page.port, timeout=30)
        connection.request("GET", "/events", headers={"Cookie": self.cookie})
        stream = connection.getresponse()
        self.assertEqual(stream.headers["Content-Type"], "text/event-stream")
        self.assertEqual(stream.readline(), b"event: hello\n")
        stamp = self.checkpoint("web1")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            line = stream.readline()
            if line.startswith(b"data: ") and stamp.encode() in line:
                break
        self.assertEqual(json.loads(line[6:])["agents"][0]["last_checkpoint"], stamp)
        connection.close()

    def check_read_only_store(self):
        """As its unit has it: the dispatcher pins in its stead, and only tokens for restores need more."""
        sealed = Page(REGISTRY, self.folder, self.data_dir)
        sealed.prefix = ["unshare", "--mount", "sh", "-c", SEAL, self.data_dir]
        sealed.start()
        cookie = sealed.enter()
        words = f"agent=web1&checkpoint={self.checkpoint_name}"
        for url in ("/", "/api/show?agent=web1", f"/api/info?{words}", f"/download?{words}&path=/etc/fstab", f"/image?{words}"):
            self.assertEqual(sealed.request(url, cookie=cookie)[0], 200, url)
        csrf = json.loads(sealed.request("/api/session", cookie=cookie)[2])["csrf"]
        self.cli.run("dispatcher", "unpin", "--agent=web1", f"--checkpoint={self.checkpoint_name}", f"--data-dir={self.data_dir}")
        for act, wanted in (("pin", 200), ("token", 502)):
            status, _headers, body = sealed.request(f"/api/{act}?{words}", method="POST", cookie=cookie,
                                                    **{"Origin": f"http://{sealed.address}", "X_CSRF_Token": csrf})
            self.assertEqual(status, wanted, body)
        self.assertIn(b"Read-only file system", body)
        self.assertTrue(self.row("web1", self.checkpoint_name)["pinned"])
        sealed.stop()

    def check_dispatcher_down(self):
        self.dispatcher.stop()
        wait_until("the page tells it", lambda: "no dispatcher runs" in self.get("/")[2].decode(), 10)
        self.assertEqual(self.json("/api/status")[0]["judgement"]["reason"], "no-dispatcher")
        self.cli.run("dispatcher", "verify", f"--data-dir={self.data_dir}")  # nothing that was read has changed anything

    def test_lets_in_only_whoever_has_a_token_and_nobody_else(self):
        url = self.page.invite()
        status, headers, _body = self.page.request(url)
        self.assertEqual(status, 200)
        cookie = headers["Set-Cookie"]
        for wanted in ("HttpOnly", "SameSite=Strict", "Path=/"):
            self.assertIn(wanted, cookie)
        self.cookie = cookie.split(";")[0]
        self.assertEqual(self.get("/")[0], 200)
        self.assertEqual(self.page.request(url)[0], 403, "a token is for once")
        self.assertEqual(self.page.request("/enter?token=" + "0" * 40)[0], 403)
        self.assertEqual(self.page.request("/enter?token=../../x")[0], 403)
        self.assertEqual(self.page.request("/enter")[0], 403)
        self.assertEqual(self.page.request("/", cookie=self.cookie, source="127.0.0.2")[0], 401, "stolen")
        self.assertEqual(self.page.request("/", cookie=self.cookie[:-1] + ("0" if self.cookie[-1] != "0" else "1"))[0], 401)
        for url in ("/", "/agent?id=x", "/api/status", "/api/session", "/events", "/files", "/download", "/image"):
            self.assertEqual(self.page.request(url)[0], 401, url)
        self.assertEqual(self.get("/", Host="evil.example")[0], 421)
        self.assertEqual(self.get("/", Host=f"localhost:{self.page.port}")[0], 200)
        self.assertEqual(self.get("/", Host="[::1]:1")[0], 200)
        self.assertEqual(self.get("/", Origin="http://evil.example")[0], 403)
        self.assertEqual(self.get("/api/status", method="DELETE")[0], 405)
        self.assertEqual(self.get("/api/status", method="POST", Origin=f"http://{self.page.address}")[0], 405)
        self.assertEqual(self.get("/api/status", method="POST", body="x" * 100)[0], 413)
        for path in ("/../../etc/passwd", "/page.css/../page.js", "/%2e%2e/%2e%2e/etc/passwd", "//page.css", "/ui/page.css", "/index.html"):
            self.assertEqual(self.get(path)[0], 404, path)
        status, headers, body = self.page.request("/page.css")
        self.assertEqual((status, headers["X-Content-Type-Options"]), (200, "nosniff"))
        self.assertEqual(self.page.request("/page.css", If_None_Match=headers["ETag"])[0], 304)
        self.assertEqual(os.stat(f"{self.data_dir}/page/tokens").st_mode & 0o777, 0o700)
        self.assertEqual(os.listdir(f"{self.data_dir}/page/tokens"), [])
        self.check_slow_clients()

    def test_other_machines_come_by_tls_and_by_a_name_of_the_certificate(self):
        ca = f"{self.data_dir}/pki/ca.pem"
        far = Page(REGISTRY, self.folder, self.data_dir)
        far.words += [f"--page-listen=0.0.0.0:{far.port}"]  # with the certificate that the dispatcher has made
        far.start()
        token = far.invite_for("0.0.0.0").split("token=")[1]
        context = ssl.create_default_context(cafile=ca)
        def get(name, url, cookie=None):
            connection = http.client.HTTPSConnection("127.0.0.1", far.port, timeout=30, context=context)
            raw = socket.create_connection(("127.0.0.1", far.port))
            connection.sock = context.wrap_socket(raw, server_hostname="dispatcher.blxrep.internal")
            connection.request("GET", url, headers={"Host": f"{name}:{far.port}", **({"Cookie": cookie} if cookie else {})})
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            return answer.status, answer.headers, body
        status, headers, body = get("dispatcher.blxrep.internal", f"/enter?token={token}")
        self.assertEqual(status, 200, body)
        self.assertIn("; Secure", headers["Set-Cookie"])
        cookie = headers["Set-Cookie"].split(";")[0]
        self.assertEqual(get("dispatcher.blxrep.internal", "/", cookie)[0], 200)
        self.assertEqual(get("127.0.0.1", "/", cookie)[0], 421)
        with self.assertRaises((OSError, http.client.HTTPException)):
            far.request("/", cookie=cookie)  # without TLS
        far.stop()

    def check_slow_clients(self):
        """Whoever sends a head byte by byte is cut, and meanwhile others are served."""
        slow = [socket.create_connection(("127.0.0.1", self.page.port)) for _ in range(50)]
        for at in slow:
            at.sendall(b"GET / HTTP/1.1\r\nHost: ")
        begun = time.monotonic()
        cut = False
        while not cut and time.monotonic() < begun + 40:
            time.sleep(0.5)
            try:
                slow[0].sendall(b"x")
                slow[0].settimeout(0.01)
                cut = slow[0].recv(1) == b""
            except TimeoutError:
                pass
            except OSError:
                cut = True
            if int(time.monotonic() - begun) == 3:
                self.assertEqual(self.get("/api/session")[0], 200)
        self.assertTrue(cut, "a slow client is cut")
        self.assertLess(time.monotonic() - begun, 30)
        for at in slow:
            at.close()


if __name__ == "__main__":
    main()
