# SPDX-License-Identifier: Apache-2.0
"""Damage to a file of the store."""

import os


def flip_byte(path, offset=None):
    """Changes one bit of one byte: the one in the middle, unless another place is given."""
    with open(path, "r+b") as file:
        at = os.path.getsize(path) // 2 if offset is None else offset
        byte = os.pread(file.fileno(), 1, at)
        os.pwrite(file.fileno(), bytes([byte[0] ^ 1]), at)
