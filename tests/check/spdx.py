# SPDX-License-Identifier: Apache-2.0
"""Each source file opens with its SPDX line: in the first line, or in the second after one that a program wants first."""

import re
import sys

import tree

OURS = "Apache-2.0"
# The kernel runs eBPF programs under the GPL only; what user space shares with them is under both.
DUAL = "(GPL-2.0-only OR Apache-2.0)"

# What has no such line, and why.
WITHOUT = re.compile(r"""
      .*\.md | LICENSE                  # documents, under the LICENSE beside them
    | .*\.(json|svg|cast|png)           # made by machines, or without comments
    | .*\.hex | tests/fuzz/corpus/.*    # bytes for decoders
    | etc/examples/.*                   # settings, which users copy and make their own
    | packaging/debian/(changelog\.in|copyright|(library|static)/.* | dispatcher/(copyright|lintian-overrides)) | packaging/rpm/library-ldconfig  # their formats are others'
""", re.VERBOSE)
FIRST = ("#!", "#compdef", "'\\\"", "<?xml", "<!DOCTYPE")


def licence(name):
    return DUAL if name.startswith("bpf/") or name.endswith(".bpf.c") else OURS


def opening(name):
    lines = tree.read(name).split("\n", 2)
    return lines[1] if lines[0].startswith(FIRST) and len(lines) > 1 else lines[0]


def main():
    files = [name for name in tree.names() if not WITHOUT.fullmatch(name)]
    wrong = []
    for name in files:
        wanted = f"SPDX-License-Identifier: {licence(name)}"
        found = re.fullmatch(r"(?:/\*|#|//|<!--|\.\\\"|'\\\"|\.\.) ?(.*?)(?: \*/| -->)?", opening(name))
        if found is None or found[1] != wanted:
            wrong.append(f"{name}: does not open with \"{wanted}\"")
    print("\n".join([*wrong, f"{len(files)} files, {len(wrong)} wrong"]))
    return 1 if wrong or not files else 0


if __name__ == "__main__":
    sys.exit(main())
