# SPDX-License-Identifier: Apache-2.0
"""
libblxrep exports what the three programs use, and nothing else. lib/exports.map has the list; the linker hides the rest. A function of
lib that a program begins to use gets a line there (until then the program does not link), and loses it when none uses it any more.
`cmake --build BUILD --target exports` writes the list from the objects as they are.

    exports.py NM OBJECTS LIBRARY    compares the list with the programs' objects, and with the shared library
    exports.py NM OBJECTS            writes the list

OBJECTS is a file in which the build lists objects, each in a line, after "lib" or "programs".
"""

import re
import subprocess
import sys

import tree

MAP = tree.SOURCE / "lib" / "exports.map"
# lib/base/assert.h's: builds without asserts do not use them.
OF_ASSERTS = {"blx_assert_failed", "blx_mutex_is_held"}
HEAD = """\
/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs use of libblxrep: tests/check/exports.py compares it with them, and says how to change it. */
{
global:
"""
TAIL = """\
local:
    *;
};
"""


def symbols(nm, flags, files):
    done = subprocess.run([nm, "--format=posix", *flags, *files], capture_output=True, text=True, check=True).stdout
    # A line with one word only names a file.
    return {line.split()[0].split("@")[0] for line in done.splitlines() if len(line.split()) > 1}


def used(nm, listed):
    objects = {"lib": [], "programs": []}
    with open(listed, encoding="utf-8") as lines:
        for line in lines:
            side, path = line.rstrip("\n").split(" ", 1)
            objects[side].append(path)
    imported = symbols(nm, ["--undefined-only"], objects["programs"]) | OF_ASSERTS
    return imported & symbols(nm, ["--defined-only", "--extern-only"], objects["lib"])


def mapped():
    return set(re.findall(r"(?m)^    (\w+);$", MAP.read_text()))


def compare(wanted, exported):
    listed = mapped()
    yield from (f"{name} is in lib/exports.map, but no program uses it" for name in sorted(listed - wanted))
    yield from (f"{name} is used by a program, but is not in lib/exports.map" for name in sorted(wanted - listed))
    yield from (f"{name} is exported, but is not in lib/exports.map" for name in sorted(exported - listed))
    yield from (f"{name} is in lib/exports.map, but is not exported" for name in sorted(listed - exported))


def main():
    nm, listed, *library = sys.argv[1:]
    wanted = used(nm, listed)
    if not library:
        MAP.write_text(HEAD + "".join(f"    {name};\n" for name in sorted(wanted)) + TAIL)
        return 0
    wrong = list(compare(wanted, symbols(nm, ["--dynamic", "--defined-only", "--extern-only"], library)))
    print("\n".join([*wrong, f"{len(wanted)} functions and tables exported, {len(wrong)} wrong"]))
    return 1 if wrong or not wanted else 0


if __name__ == "__main__":
    sys.exit(main())
