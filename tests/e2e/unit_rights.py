# SPDX-License-Identifier: Apache-2.0
"""The rights that a systemd unit gives its service, as a command that starts a program with exactly these."""

import os
import re

from programs import bin_folder
from registry import Failure


def unit_path():
    """The agent's unit as it is installed; in a build tree it is beside the programs."""
    build = os.path.dirname(bin_folder())
    for folder, _folders, names in os.walk(os.path.join(build, "etc")):
        if "blxrep-agent.service" in names:
            return os.path.join(folder, "blxrep-agent.service")
    raise Failure(f"no blxrep-agent.service below \"{build}/etc\": configure first")


def unit_settings(path):
    settings = {}
    with open(path, encoding="utf-8") as file:
        for key, value in re.findall(r"^(\w+)=(.*)$", file.read(), re.MULTILINE):
            settings[key] = value
    return settings


def unit_prefix():
    """setpriv with the unit's capabilities and no others."""
    settings = unit_settings(unit_path())
    capabilities = [name.lower().removeprefix("cap_") for name in settings["CapabilityBoundingSet"].split()]
    words = ["setpriv", "--bounding-set=" + ",".join(["-all", *[f"+{name}" for name in capabilities]]), "--inh-caps=-all"]
    return [*words, *(["--no-new-privs"] if settings.get("NoNewPrivileges") == "yes" else [])]
