# SPDX-License-Identifier: Apache-2.0
"""Every header compiles alone. argv: the C compiler, the folder of the generated headers."""

import os
import pathlib
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(os.environ["BLXREP_SOURCE"])
FLAGS = ["-std=gnu17", "-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]


def headers():
    for room in ["lib", "agent", "dispatcher", "cli"]:
        yield from sorted((SOURCE / room).rglob("*.h"))


def main():
    compiler, generated = sys.argv[1:]
    broken = 0
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        unit = pathlib.Path(folder) / "alone.c"
        for header in headers():
            # Twice, so that a missing "#pragma once" shows as well.
            unit.write_text(f'#include "{header}"\n#include "{header}"\n')
            include = [f"-I{SOURCE / 'lib'}", f"-I{SOURCE}", f"-I{generated}"]
            done = subprocess.run([compiler, *FLAGS, *include, unit], capture_output=True, text=True, check=False)
            count += 1
            if done.returncode != 0:
                broken += 1
                print(f"{header.relative_to(SOURCE)} does not compile alone:\n{done.stderr}")
    print(f"{count} headers, {broken} broken")
    return 1 if broken or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
