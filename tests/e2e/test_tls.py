# SPDX-License-Identifier: Apache-2.0
"""Strangers at the port: each costs one connection, never the daemon, never another agent's data."""

import os
import socket
import ssl
import struct

from case import Case, main
from registry import run
from workloads import fill

HELLO, GOODBYE = 1, 15


def message(kind, body=b""):
    return struct.pack("<IHH", len(body), kind, 0) + body


def hello(agent_id, volumes=1):
    return message(HELLO, struct.pack("<IIQII72s256s16s", 1, 1, 0, volumes, 0, agent_id.encode(), b"a stranger 0.0.0", b""))


class Tls(Case):
    def setUp(self):
        super().setUp()
        self.disk = self.loop_disk(64)
        self.files = self.disk.make("ext4")
        self.start_dispatcher()
        self.agent = self.start_agent("web1", self.disk)
        self.checkpoint("web1")
        self.admitted = set()

    def tearDown(self):
        """The daemon lives, the agent's session lives, and nobody else came into the store."""
        self.assertTrue(self.dispatcher.running())
        fill(self.files.path + "/still-working", 1)
        self.checkpoint("web1")
        connected = len([line for line in self.dispatcher.lines if "connected from" in line and "web1'" in line])
        self.assertLessEqual(connected, 1, "the agent's session was not disturbed")
        known = [row["id"] for row in self.cli.status(self.data_dir) if row["protection"] != "never-joined"]
        self.assertEqual(known, sorted({"web1", *self.admitted}), "nobody else came in")

    def socket(self):
        return socket.create_connection(("127.0.0.1", self.dispatcher.port), timeout=20)

    @staticmethod
    def context(credentials=None, alpn="blxrep/1"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if credentials:
            context.load_cert_chain(credentials)
        if alpn:
            context.set_alpn_protocols([alpn])
        return context

    def refused(self, context, data=None):
        """The dispatcher ends the connection without a WELCOME; returns what it said."""
        heard = b""
        try:
            with context.wrap_socket(self.socket()) as tls:
                tls.sendall(data or hello("web1"))
                while chunk := tls.recv(4096):
                    heard += chunk
        except (ssl.SSLError, ConnectionError) as error:
            heard += str(error).encode()
        self.assertNotEqual(heard[4:6], b"\2\0", "it was welcomed")
        return heard.decode(errors="replace")

    def test_agent_of_a_stranger(self):
        elsewhere = self.path("elsewhere")
        stranger = self.cli.enroll("web1", elsewhere, self.path("stranger.pem"))
        self.refused(self.context(stranger))
        self.dispatcher.wait_line("refused .*(authority|CA|certificate)", 20)

    def test_agent_process_with_credentials_of_a_stranger_says_why(self):
        elsewhere = self.path("elsewhere")
        os.rename(self.cli.enroll("web2", elsewhere, self.path("x")), self.path("web2.pem"))
        agent = self.start_agent("web2", self.loop_disk(16, "second"), online=False)
        agent.wait_line("authority|CA|certificate", 20)
        self.assertTrue(agent.running(), "it goes on trying: the dispatcher may be put right")

    def test_certificate_made_without_any_authority(self):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
            "-subj", "/CN=web1", "-keyout", self.path("self.key"), "-out", self.path("self.crt"))
        with open(self.path("self.pem"), "w", encoding="ascii") as bundle:
            for part in ("self.key", "self.crt"):
                with open(self.path(part), encoding="ascii") as file:
                    bundle.write(file.read())
        self.refused(self.context(self.path("self.pem")))

    def test_no_certificate(self):
        self.refused(self.context())

    def test_certificate_of_another_agent(self):
        said = self.refused(self.context(self.enroll("web10")), hello("web1"))
        self.assertIn("web10", said)
        self.assertIn("web1", said)

    def test_another_protocol_by_alpn(self):
        self.refused(self.context(self.enroll("web10"), alpn="http/1.1"), hello("web10"))
        self.refused(self.context(self.enroll("web10"), alpn=None), hello("web10"))

    def test_older_tls(self):
        context = self.context(self.enroll("web10"))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.refused(context, hello("web10"))

    def test_plaintext_and_garbage(self):
        for data in (b"GET / HTTP/1.0\r\n\r\n", hello("web1"), os.urandom(4096), b"\x16\x03\x01\xff\xff" + bytes(2000), b"\0"):
            with self.socket() as plain:
                plain.sendall(data)
                plain.shutdown(socket.SHUT_WR)
                try:
                    while plain.recv(4096):
                        pass
                except ConnectionError:
                    pass
        for _ in range(50):
            self.socket().close()

    def test_garbage_after_a_good_handshake(self):
        credentials = self.enroll("web10")
        self.admitted = {"web10"}  # its HELLO is good, what follows is not
        for data in (os.urandom(4096), message(99), message(HELLO, b"short"), struct.pack("<IHH", 0xFFFFFFFF, HELLO, 0),
                     hello("../../etc"), hello("web10", volumes=0), hello("web10", volumes=1 << 31), message(GOODBYE),
                     message(6, bytes(88)), hello("web10") + message(6, bytes(88)), hello("web10") + message(5, bytes(16))):
            heard = b""
            try:
                with self.context(credentials).wrap_socket(self.socket()) as tls:
                    tls.sendall(data)
                    while chunk := tls.recv(4096):
                        heard += chunk
            except (ssl.SSLError, ConnectionError):
                pass  # it was cut off, as it should be
        self.assertFalse(os.path.exists(os.path.join(self.data_dir, "agents", "web10", "checkpoints")) and
                         os.listdir(os.path.join(self.data_dir, "agents", "web10", "checkpoints")))

    def test_idle_strangers_do_not_keep_agents_out(self):
        self.admitted = {"web2"}
        idle = [self.socket() for _ in range(40)]
        try:
            second = self.start_agent("web2", self.loop_disk(16, "second"))
            self.checkpoint("web2")
            second.stop()
        finally:
            for each in idle:
                each.close()

    def test_later_session_of_the_same_agent_takes_over(self):
        """An agent whose old connection looks alive to the dispatcher gets in all the same."""
        self.admitted = {"web2"}
        credentials = self.enroll("web2")
        with self.context(credentials).wrap_socket(self.socket()) as tls:
            tls.sendall(hello("web2"))
            self.assertEqual(tls.recv(8)[4:6], b"\2\0", "welcomed")
            disk = self.loop_disk(16, "second")
            agent = self.start_agent("web2", disk)
            agent.wait_line("connected to the dispatcher")  # that web2 is online was true before
            self.checkpoint("web2")
            agent.stop()


if __name__ == "__main__":
    main()
