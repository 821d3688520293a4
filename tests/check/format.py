# SPDX-License-Identifier: Apache-2.0
"""
Every C file is what clang-format makes of it, and no line of a comment is wider than 100 columns. clang-format leaves the lines
of comments alone (ReflowComments: false), because many hold drawings and tables; so their width is checked here.
argv: clang-format.
"""

import re
import subprocess
import sys

import tree

WIDTH = 100
# Releases of clang-format differ in details. The tree follows Debian 12's and Ubuntu 22.04's.
RELEASE = 14


def settings():
    """A drawing survives only as long as this setting stands."""
    return [] if re.search(r"(?m)^ReflowComments: false$", tree.read(".clang-format")) else [
        '.clang-format: "ReflowComments: false" is missing: clang-format would join the lines of drawings and tables']


def wide_comments(name):
    for number, line in enumerate(tree.c_comments(tree.read(name)).split("\n"), 1):
        if len(line.rstrip()) > WIDTH:
            yield f"{name}:{number}: a comment's line of {len(line.rstrip())} columns; {WIDTH} is the limit"


def unformatted(program, files):
    done = subprocess.run([program, "--dry-run", "-Werror", "--ferror-limit=1", *files], cwd=tree.SOURCE,
                          capture_output=True, text=True, check=False)
    lines = re.findall(r"(?m)^(\S+?:\d+):\d+: error: ", done.stderr)
    wrong = [f"{line}: not as clang-format writes it: run `{program} -i` on the file" for line in lines]
    # An error that is no finding, such as an unknown setting, is shown as it came.
    return wrong or ([done.stderr] if done.returncode != 0 else [])


def release(program):
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"version (\d+)\.", said)[1])


def main():
    program = sys.argv[1]
    files = [name for name in tree.names() if name.endswith((".c", ".h"))]
    wrong = settings() + [line for name in files for line in wide_comments(name)] + unformatted(program, files)
    if wrong and release(program) != RELEASE:
        wrong.append(f"{program} is release {release(program)}; the tree follows release {RELEASE}: install clang-format-{RELEASE}")
    print("\n".join([*wrong, f"{len(files)} files, {len(wrong)} wrong"]))
    return 1 if wrong or not files else 0


if __name__ == "__main__":
    sys.exit(main())
