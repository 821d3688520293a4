#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A file whose reads can be made to fail, and whose writes to hang: one regular file on FUSE, by the kernel's protocol, without a library.

    failing_file.py MOUNT_POINT STORE

MOUNT_POINT and STORE are files; what is written to the first lies in the second. Orders come on stdin, a line each, and are
answered with "ok": `fail FIRST END` (bytes; reads that touch them give EIO from now on), `stall` (writes get no answer from now
on) and `heal`, after which those writes are done. It ends with its stdin. Stop the process, and nothing gets an answer.
"""

import ctypes
import errno
import os
import select
import stat
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
MAX_WRITE = 128 * 1024
IN_HEADER = struct.Struct("<IiQQIIIHH")
OUT_HEADER = struct.Struct("<IiQ")
# The numbers of the kernel's requests.
FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH, INIT = 2, 3, 4, 14, 15, 16, 17, 18, 20, 25, 26
INTERRUPT, DESTROY, BATCH_FORGET = 36, 38, 42
SILENT = (FORGET, BATCH_FORGET, INTERRUPT)
BIG_WRITES = 1 << 5
OPEN_DIRECT_IO = 1  # every read comes here: nothing is answered by the page cache


class FailingFile:
    def __init__(self, mount_point, store):
        self.store = os.open(store, os.O_RDWR | os.O_CLOEXEC)
        self.failing = []
        self.stalls = False
        self.stalled = []
        self.fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.fuse},rootmode={stat.S_IFREG | 0o600:o},user_id=0,group_id=0"
        if LIBC.mount(b"failing_file", mount_point.encode(), b"fuse", 0, options.encode()) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"mount of {mount_point}: {os.strerror(code)}")

    def attributes(self):
        size = os.fstat(self.store).st_size
        return struct.pack("<QIIQQQQQQIIIIIIIIII", 0, 0, 0, 1, size, size // 512, 0, 0, 0, 0, 0, 0, stat.S_IFREG | 0o600, 1,
                           0, 0, 0, 4096, 0)

    def read(self, body):
        _handle, offset, size = struct.unpack_from("<QQI", body)
        if any(offset < end and first < offset + size for first, end in self.failing):
            raise OSError(errno.EIO, "as ordered")
        return os.pread(self.store, size, offset)

    def write(self, body):
        _handle, offset, size = struct.unpack_from("<QQI", body)
        return struct.pack("<II", os.pwrite(self.store, body[40:40 + size], offset), 0)

    def answer(self, opcode, body):
        if opcode == INIT:
            return struct.pack("<IIIIHHIIHHII6I", 7, 31, MAX_WRITE, BIG_WRITES, 16, 12, MAX_WRITE, 1, 0, 0, 0, 0, *[0] * 6)
        if opcode in (GETATTR, SETATTR):
            return self.attributes()
        if opcode == OPEN:
            return struct.pack("<QII", 1, OPEN_DIRECT_IO, 0)
        if opcode == READ:
            return self.read(body)
        if opcode == WRITE:
            return self.write(body)
        if opcode == STATFS:
            return bytes(80)
        if opcode in (FSYNC, FLUSH, RELEASE, DESTROY):
            return b""
        raise OSError(errno.ENOSYS, "not needed for a loop device")

    def serve_one(self):
        request = os.read(self.fuse, MAX_WRITE + 8192)
        if self.stalls and IN_HEADER.unpack_from(request)[1] == WRITE:
            self.stalled.append(request)
        else:
            self.serve(request)

    def serve(self, request):
        _length, opcode, unique, *_rest = IN_HEADER.unpack_from(request)
        try:
            error, data = 0, self.answer(opcode, request[IN_HEADER.size:])
        except OSError as failure:
            error, data = -failure.errno, b""
        if opcode not in SILENT:
            os.write(self.fuse, OUT_HEADER.pack(OUT_HEADER.size + len(data), error, unique) + data)

    def obey(self, words):
        self.failing = [(int(words[1]), int(words[2]))] if words[0] == "fail" else []
        self.stalls = words[0] == "stall"
        while not self.stalls and self.stalled:
            self.serve(self.stalled.pop(0))
        print("ok", flush=True)


def main():
    file = FailingFile(*sys.argv[1:3])
    print("ok", flush=True)
    while True:
        readable, _, _ = select.select([file.fuse, sys.stdin], [], [])
        if sys.stdin in readable:
            line = sys.stdin.readline()
            if not line:
                return
            file.obey(line.split())
        if file.fuse in readable:
            try:
                file.serve_one()
            except OSError as failure:
                if failure.errno == errno.ENODEV:  # unmounted
                    return
                if failure.errno not in (errno.ENOENT, errno.EINTR):
                    raise


if __name__ == "__main__":
    main()
