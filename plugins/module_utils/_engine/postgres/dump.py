# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumping a database into an archive of directory format."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress

from ..errors import RecoveryError
from ..progress import Progress
from . import planner
from .catalog import database_facts, quote_table
from .connection import CANONICAL_SETTINGS, conninfo, lost, session_options
from .process import ToolFailed, running_tool
from .tools import best_compression

POLL_SECONDS = 0.2
NO_SET = "live database untouched; no backup set was made"


def dump_directory(server, target, tools, jobs=1, compression=None, snapshot=None, progress=None, without=(), written=None):  # noqa: PLR0913, PLR0917
    """Run pg_dump in directory format into ``target``, which must not exist. To flush it to disk is the caller's.

    :param tools: Tools whose pg_dump is at least as new as the server.
    :param jobs: parallel workers of pg_dump.
    :param compression: ``zstd:3``, ``lz4``, ``gzip:1``, ``none``; None: the best the tools have.
    :param snapshot: name of an exported snapshot whose transaction stays open meanwhile.
    :param without: [(schema, table)] whose rows are left out.
    :param progress: a Progress; counts bytes written against the size of the database (the archive ends smaller).
    :param written: function that returns these bytes, where more than the archive is written.
    :returns: dict ``compression``, ``bytes``, ``seconds``, ``dump_version``.
    :raises RecoveryError: ``preflight`` with pg_dump's own words; what it left in ``target`` is the caller's to remove.
    """
    progress = progress or Progress(None)
    written = written or (lambda: folder_bytes(target))
    compression = compression or best_compression(tools)
    started = time.monotonic()
    progress.start("dump", database_facts(server)["size_bytes"], "bytes")
    argv = [tools.path("pg_dump"), "--format=directory", "--jobs=%d" % jobs, "--file=%s" % target, "--no-sync", "--no-password"]
    argv.append("--dbname=%s" % conninfo(server.dbname))
    argv.append("--compress=%s" % _compress_option(tools, compression))
    if tools.version[0] >= planner.SINCE:
        argv.append("--statistics")
    argv += ["--exclude-table-data=%s" % quote_table(*name) for name in without]
    if snapshot:
        argv.append("--snapshot=%s" % snapshot)
    try:
        with running_tool(argv, server, env=_canonical_environment(), stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                progress.update(written())
                with suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_SECONDS)
    except ToolFailed as exc:
        raise _dump_error(server, exc) from None
    size = _make_private(target)
    progress.update(written())
    return {
        "compression": compression,
        "bytes": size,
        "seconds": round(time.monotonic() - started, 3),
        "dump_version": tools.version_text,
    }


def _compress_option(tools, compression):
    """Return the value of ``--compress``; before 16 it was a gzip level, 0 for none."""
    method, dummy, level = compression.partition(":")
    if tools.version[0] >= 16:
        return compression
    return "0" if method == "none" else level or "6"


def _canonical_environment():
    """Text of values in one form (pg_dump sets DateStyle and IntervalStyle itself, the rest it leaves to the server)."""
    names = ("TimeZone", "bytea_output")
    options = [(name, value) for name, value in CANONICAL_SETTINGS if name in names]
    return {"PGOPTIONS": session_options([*options, ("statement_timeout", "0")])}


def folder_bytes(folder):
    """Return the bytes of the files in a folder, 0 while there is none."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                total += entry.stat().st_size
    except FileNotFoundError:
        return total  # not there yet
    return total


def _make_private(folder):
    """Give folder and files their modes, return the bytes of the files."""
    total = 0
    os.chmod(folder, 0o700)
    with os.scandir(folder) as entries:
        for entry in entries:
            os.chmod(entry.path, 0o600)
            total += entry.stat().st_size
    return total


def _dump_error(server, exc):
    text = exc.stderr
    step = "run it again"
    if "server version mismatch" in text:
        step = "install PostgreSQL client tools at least as new as the server, or set letta_pg_bin_dir"
    elif "permission denied" in text and "for table" in text:
        step = "GRANT pg_read_all_data TO %s, or back up as the owner of the tables" % server.user
    elif "row-level security" in text:
        step = "policies hide rows from %s: back up as a superuser, or ALTER ROLE … BYPASSRLS" % server.user
    elif "No space left" in text:
        step = "free space under letta_backup_root, or prune: ansible-playbook playbooks/catalog.yml --tags prune"
    reason = next((line for line in text.splitlines() if "error:" in line), str(exc))
    gone = lost(server, text)
    if gone is not None:
        return gone.with_now(NO_SET)
    return RecoveryError(
        "preflight", "pg_dump of %s failed: %s" % (server, reason), now=NO_SET, next_step=step, details={"stderr": text[-1000:]}
    )
