# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy between agent and dispatcher that can count, hold and cut, so that "in the middle" is a place and not a guess."""

import select
import socket
import struct
import threading

from programs import free_port
from registry import Failure


class Proxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`target_port`. The limits count from the agent to the dispatcher."""

    def __init__(self, registry, target_port):
        self.target_port = target_port
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.sent_bytes = 0
        self.received_bytes = 0
        self._budget = None  # bytes that may still pass; None: no limit
        self._refuse = False
        self._closed = False
        self._pairs = set()
        self._open = {}  # how many directions of a pair still run
        self._change = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        registry.add(self)

    def __str__(self):
        return f"proxy on {self.address}"

    def hold_after(self, count):
        """Lets `count` more bytes through, then holds everything that the agent sends."""
        with self._change:
            self._budget = count

    def wait_held(self, seconds=60):
        with self._change:
            if not self._change.wait_for(lambda: self._budget == 0, seconds):
                raise Failure(f"only {self.sent_bytes} bytes came; the proxy was never filled within {seconds} s")

    def release(self):
        with self._change:
            self._budget = None
            self._change.notify_all()

    def refuse(self, refuse):
        """While true, new connections are closed at once."""
        self._refuse = refuse

    def cut(self):
        """Resets every connection."""
        with self._change:
            pairs, self._pairs = self._pairs, set()
            self._change.notify_all()
        for pair in pairs:
            for end in pair:
                _reset(end)

    def close(self):
        self._closed = True
        self._listener.close()
        self.cut()
        self.release()

    def _accept(self):
        while not self._closed:
            try:
                readable, _, _ = select.select([self._listener], [], [], 0.2)
                if not readable:
                    continue
                client, _ = self._listener.accept()
            except (OSError, ValueError):
                return
            self._connect(client)

    def _connect(self, client):
        if self._refuse:
            _reset(client)
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.target_port), timeout=5)
            server.settimeout(None)
        except OSError:
            _reset(client)
            return
        pair = (client, server)
        with self._change:
            self._pairs.add(pair)
            self._open[pair] = 2
        threading.Thread(target=self._forward, args=(pair, client, server, True), daemon=True).start()
        threading.Thread(target=self._forward, args=(pair, server, client, False), daemon=True).start()

    def _forward(self, pair, source, sink, counted):
        try:
            while True:
                limit = self._allowance(pair) if counted else 1 << 16
                if limit == 0:
                    return
                data = source.recv(limit)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)
                if counted:
                    self._count(len(data))
                else:
                    self.received_bytes += len(data)
        except OSError:
            for end in pair:
                _reset(end)
        finally:
            with self._change:
                self._pairs.discard(pair)
                self._open[pair] -= 1
                if self._open[pair] == 0:
                    del self._open[pair]
                    for end in pair:
                        end.close()
                self._change.notify_all()

    def _allowance(self, pair):
        """How much may be read now; waits while held. 0: the connection was cut meanwhile."""
        with self._change:
            self._change.wait_for(lambda: self._budget != 0 or pair not in self._pairs or self._closed)
            if pair not in self._pairs or self._closed:
                return 0
            return 1 << 16 if self._budget is None else min(self._budget, 1 << 16)

    def _count(self, count):
        with self._change:
            self.sent_bytes += count
            if self._budget is not None:
                self._budget = max(0, self._budget - count)
            self._change.notify_all()


def _reset(end):
    """Closes with RST, as a cut connection looks to the other side; shutdown first, so that a thread in recv() wakes."""
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()
