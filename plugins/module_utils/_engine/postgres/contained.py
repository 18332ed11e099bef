# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One client tool, run in a throw-away container: this file is also the program that :mod:`container` lays out as ``pg_dump``.

It runs alone, so it imports nothing of ours. Beside it lies ``settings.json``.
"""

from __future__ import annotations

import json
import os
import sys

SETTINGS = "settings.json"
# Files that libpq is told of by its environment, and the folder of a socket.
_ENVIRONMENT_PATHS = ("PGHOST", "PGPASSFILE", "PGSSLROOTCERT")
_PASSED = ("LANG", "LC_ALL")


def mounts(arguments, environment):
    """Return ``{path: may be written}``: what the tool has to see of this host, each at its own path.

    A path that is not there yet is to be made: then its folder is what the tool writes to.
    """
    found = {}
    for argument in arguments:
        option, _equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        if not value.startswith("/"):
            continue
        if os.path.isfile(value) or os.path.isdir(value):
            found[value] = option == "--file" or found.get(value, False)
        elif not os.path.exists(value):  # what is there and is neither, is a device
            found[os.path.dirname(value)] = True
    for name in _ENVIRONMENT_PATHS:
        value = environment.get(name, "")
        if value.startswith("/") and os.path.exists(value):
            found.setdefault(value, False)
    return found


def command(settings, program, arguments, environment):
    """Return the argument list of ``docker run``. No value of the environment is in it, so no password is.

    :param settings: ``docker`` (argument list), ``image`` (id), ``user`` (``uid:gid``), ``options`` (further ones of ``run``).
    """
    argv = settings["docker"] + ["run", "--rm", "--init", "--pull=never", "--network=host", "--user=" + settings["user"]]
    # The engine would write what the tool says to its log: rows, for one.
    argv += ["--log-driver=none", "--security-opt=label=disable", "--label=letta_ops.recovery=client-tool"] + settings["options"]
    for path, writable in sorted(mounts(arguments, environment).items()):
        argv.append("--mount=" + _field("type=bind") + "," + _field("source=" + path) + "," + _field("target=" + path))
        argv[-1] += "" if writable else ",readonly"
    for name in sorted(environment):
        if name.startswith("PG") or name in _PASSED:
            argv += ["--env", name]
    return argv + ["--entrypoint=" + program, settings["image"]] + list(arguments)


def _field(text):
    """Quote a field of ``--mount``, which is read as CSV."""
    return '"%s"' % text.replace('"', '""')


def main():
    """Become ``docker run``: its signals, its output and its exit status are the tool's."""
    folder, program = os.path.split(os.path.abspath(sys.argv[0]))
    with open(os.path.join(folder, SETTINGS), encoding="utf-8") as stream:
        settings = json.load(stream)
    environment = dict(os.environ, **settings["environment"])
    os.execve(settings["docker"][0], command(settings, program, sys.argv[1:], os.environ), environment)  # noqa: S606


if __name__ == "__main__":
    main()
