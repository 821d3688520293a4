# SPDX-License-Identifier: Apache-2.0
"""Reads a checkpoint's volume out of a data directory, by the words of lib/store/STORE.md and proto/PROTOCOL.md alone: what a stranger would write.

    store_reader.py DIR AGENT CHECKPOINT VOLUME IMAGE

Needs Python, the `zstd` command and libxxhash. Shares nothing with blxrep. It holds the image in memory, so it is for small disks.
"""

import ctypes
import os
import struct
import subprocess
import sys
import zlib

xxhash = ctypes.CDLL("libxxhash.so.0")
xxhash.XXH3_64bits.restype = ctypes.c_uint64
xxhash.XXH3_64bits.argtypes = (ctypes.c_char_p, ctypes.c_size_t)


class Damaged(Exception):
    """The bytes are not what the document says."""


def check(good, what):
    if not good:
        raise Damaged(what)


def checksum(data, field=None):
    """XXH3 over everything, the eight bytes at `field` as zero."""
    if field is not None:
        data = data[:field] + bytes(8) + data[field + 8:]
    return xxhash.XXH3_64bits(data, len(data))


def text(field):
    return field.split(b"\0", 1)[0].decode()


def read_file(path):
    with open(path, "rb") as file:
        return file.read()


def read_manifest(path):
    """(parent, {volume: fields})"""
    data = read_file(path)
    magic, version, consistency, _, stamp, parent, _, _, _, count, carried, _, total = struct.unpack("<4sBBHQQQQQII256sQ", data[:320])
    check(magic == b"BLXM" and version in (1, 2) and total == checksum(data, 312), f"{path}: not a manifest")
    check(consistency <= 2 and str(stamp) == os.path.basename(path) and parent < stamp, path)
    volumes, at = {}, 320
    for number in range(count + (carried if version == 2 else 0)):
        (name, _, _, _, size, _, _, _, shift, flags, _, following, segment_count, unreadable_count) = struct.unpack(
            "<72s256s256s16sQQQQBBHIII", data[at:at + 648])
        at += 648
        segments = struct.unpack(f"<{segment_count}I", data[at:at + 4 * segment_count])
        at += 4 * segment_count
        check(list(segments) == sorted(set(segments)) and all(segment < following for segment in segments), path)
        at += 16 * unreadable_count
        volumes[text(name)] = {"size": size, "shift": shift, "base": bool(flags & 1), "segments": segments, "unreadable": unreadable_count,
                               "carried": number >= count}
    check(at == len(data), f"{path}: its volumes do not fill it")
    return parent, volumes


def read_tested(path):
    """{field: value} of a record of a test."""
    data = read_file(path)
    magic, version, level, machine, _, results, _, stamp, begun, took, booted, within, total, expect, command, seen, reason, screen = struct.unpack(
        "<4sBBBB4sIQQQQQQ256s384s512s512s2368s", data)
    check(magic == b"BLXT" and version == 1 and total == checksum(data, 56), f"{path}: not a record of a test")
    check(level in (1, 2) and machine <= 2 and max(results) <= 2 and str(stamp) == os.path.basename(path).split(".", 1)[0], path)
    return {"level": level, "machine": machine, "results": list(results), "begun_ns": begun, "took_ms": took, "booted_ms": booted, "within_ms": within,
            "expect": text(expect), "command": text(command), "seen": text(seen), "reason": text(reason), "screen": text(screen),
            "good": 2 not in results and results[level - 1] == 1}


FIGURES = ("data_bytes", "hard_bytes", "changed_bytes", "zeroed_bytes", "fresh_bytes", "fresh_hard_bytes", "replaced_bytes",
           "packed_before_bytes", "packed_after_bytes", "hardened_bytes")


def read_suspicion(path):
    """The mark of a suspicious checkpoint."""
    data = read_file(path)
    check(len(data) == 512 and data[:5] == b"BLXU\x01" and data[7] == 0, "a mark")
    check(checksum(data, 40) == struct.unpack_from("<Q", data, 40)[0], "a mark's checksum")
    stamp, since, calm, judged_ns = struct.unpack_from("<4Q", data, 8)
    check(str(stamp) == os.path.basename(path).removesuffix(".suspicious"), "a mark's name")
    figures = dict(zip(FIGURES, struct.unpack_from("<10Q", data, 48), strict=True))
    return {"kind": (None, "hardened", "slow", "fresh")[data[5]], "sensitivity": ("default", "low", "high")[data[6]], "checkpoint": stamp,
            "since": since, "calm": calm, "judged_ns": judged_ns, "reason": text(data[128:512]), **figures}


def read_changes(path):
    """The rows of an agent's history that are sound: {timestamp: (is it suspicious, figures)}."""
    data, rows = read_file(path), {}
    for at in range(0, len(data) - 127, 128):
        row = data[at:at + 128]
        if row[:5] == b"BLXH\x01" and checksum(row, 16) == struct.unpack_from("<Q", row, 16)[0]:
            rows[struct.unpack_from("<Q", row, 8)[0]] = (row[5] == 1, dict(zip(FIGURES, struct.unpack_from("<10Q", row, 24), strict=True)))
    return rows


def read_ratios(path):
    """The checkpoint that a map shows, and a byte for each block, as far as the file goes."""
    data = read_file(path)
    check(data[:5] == b"BLXR\x01" and checksum(data[:64], 32) == struct.unpack_from("<Q", data, 32)[0], "a map's head")
    stamp, blocks, hard = struct.unpack_from("<3Q", data, 8)
    ratios = data[4096:]
    check(len(ratios) - ratios.count(0) == blocks, "a map's count of blocks")
    check(sum(1 for ratio in ratios if ratio >= 208) == hard, "a map's count of hard blocks")
    return stamp, ratios


def read_index(path, number):
    """(block shift, rewritten, [(first block, blocks, offset, bytes, data block, zero)])"""
    data = read_file(path)
    magic, version, shift, flags, _, found, _, total = struct.unpack("<4sBBBBI12sQ", data[:32])
    check((magic, found) == (b"BLXS", number) and version in (1, 2) and total == checksum(data[:32], 24), f"{path}: header")
    check(flags & ~1 == 0, f"{path}: flags")
    footer = data[-128:]
    (magic, footer_version, footer_shift, footer_flags, _, found, digests, offset, count, _, blocks, _, _, _, _, index_sum, _, digest_key,
     digest_sum, total) = struct.unpack("<4sBBBBIIQQQQQQQ16sQ8s8sQQ", footer)
    check((magic, footer_version, found, footer_shift, footer_flags) == (b"BLXE", version, number, shift, flags), f"{path}: footer")
    check(total == checksum(footer, 120) and offset + 36 * count + 128 == len(data), f"{path}: footer")
    index = data[offset:-128]
    check(checksum(index) == index_sum, f"{path}: index")
    rows = list(struct.iter_unpack("<QQQIII", index))
    entries = [entry[:5] + (bool(entry[5] & 1),) for entry in rows]
    check(sum(entry[1] for entry in entries) == blocks, f"{path}: index")
    if version == 2:
        check(sum(entry[1] for entry in rows if entry[5] & 2) == digests, f"{path}: digests")
        check(digests == 0 or (any(digest_key) and checksum(data[offset - 16 * digests:offset]) == digest_sum), f"{path}: digests")
    return shift, bool(flags), entries


def read_frame(path, offset, size, shift):
    """(codec, payload, data bytes, {block: its place in the data}) of a frame."""
    with open(path, "rb") as file:
        file.seek(offset)
        frame = file.read(size)
    (magic, version, codec, frame_shift, flags, frame_bytes, extent_count, _, data_bytes, payload_bytes, _, reserved, total) = struct.unpack(
        "<4sBBBBIIQII16sQQ", frame[:64])
    check((magic, version, frame_shift, flags, reserved, frame_bytes) == (b"BLXF", 1, shift, 0, 0, size), f"{path}: a frame at {offset}")
    check(total == checksum(frame, 56), f"{path}: the frame at {offset} has a wrong checksum")
    places, at = {}, 0
    for first, count, extent_flags in struct.iter_unpack("<QII", frame[64:64 + 16 * extent_count]):
        if extent_flags & 1:
            continue
        for block in range(first, first + count):
            places[block] = at
            at += 1
    payload = frame[64 + 16 * extent_count:]
    check(len(payload) == payload_bytes and at << shift == data_bytes, f"{path}: the frame at {offset}")
    return codec, payload, data_bytes, places


def unpack_all(frames):
    """The data of each frame. All zstd frames go through one process, since zstd reads them one after the other."""
    packed = [payload for codec, payload, _, _ in frames if codec == 2]
    plain = subprocess.run(["zstd", "-dc"], input=b"".join(packed), capture_output=True, check=True).stdout if packed else b""
    at = 0
    for codec, payload, data_bytes, _ in frames:
        if codec == 2:
            yield plain[at:at + data_bytes]
            at += data_bytes
        else:
            data = zlib.decompress(payload) if codec == 1 else payload
            check(len(data) == data_bytes, "a frame does not unpack to its size")
            yield data
    check(at == len(plain), "frames do not unpack to their sizes")


def walk_chain(agent_dir, checkpoint, volume):
    """The volume's fields in the checkpoint, and all its segments, the newest first."""
    newest, numbers = None, []
    while True:
        parent, volumes = read_manifest(os.path.join(agent_dir, "checkpoints", str(checkpoint)))
        fields = volumes[volume]
        check(newest or not fields["carried"], "the checkpoint does not have the volume")
        newest = newest or fields
        check(fields["shift"] == newest["shift"] and fields["size"] <= newest["size"], "the chain does not fit together")
        numbers += reversed(fields["segments"])
        if fields["base"]:
            return newest, numbers
        check(parent != 0, "the chain has no base")
        checkpoint = parent


def read_image(data_dir, agent, checkpoint, volume):
    """The volume's bytes."""
    check(read_file(os.path.join(data_dir, "format")) == b"blxrep store 1\n", "another format")
    agent_dir = os.path.join(data_dir, "agents", agent)
    fields, numbers = walk_chain(agent_dir, checkpoint, volume)
    check(fields["unreadable"] == 0, "the checkpoint is damaged")
    shift, wanted, known = fields["shift"], {}, set()
    for number in numbers:
        path = os.path.join(agent_dir, "volumes", volume, f"{number:08}.seg")
        segment_shift, _, entries = read_index(path, number)
        check(segment_shift == shift, f"{path}: another block size")
        for first, count, offset, size, place, zero in entries:
            for block in range(first, first + count):
                if block not in known and not zero:
                    wanted.setdefault((path, offset, size), []).append((block, place + block - first))
                known.add(block)
    keys = sorted(wanted)
    frames = [read_frame(*key, shift) for key in keys]
    image = bytearray(((fields["size"] >> shift) + 1) << shift)
    for key, frame, data in zip(keys, frames, unpack_all(frames)):
        for block, place in wanted[key]:
            check(frame[3].get(block) == place, f"{key[0]}: the index names another place than the frame")
            image[block << shift:(block + 1) << shift] = data[place << shift:(place + 1) << shift]
    return bytes(image[:fields["size"]])


if __name__ == "__main__":
    with open(sys.argv[5], "wb") as out:
        out.write(read_image(*sys.argv[1:3], int(sys.argv[3]), sys.argv[4]))
