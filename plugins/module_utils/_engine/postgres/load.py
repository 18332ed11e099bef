# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loading an archive into an empty database, in parallel, stopping at the first error."""
from __future__ import annotations

import os
import tempfile
from contextlib import closing

from ..errors import RecoveryError
from ..progress import Progress, Watcher
from .connection import connect, psycopg2
from .sidedb import first_line
from .tools import ToolFailed, run_tool

# Made beforehand by sidedb: the extension needs more rights than the owner may have, and its
# comment and the schema's belong to whoever made them.
PREPARED_TYPES = ("EXTENSION", "SCHEMA")
# For the load only: a crash of the server loses the side database, never the live one, and the
# renames later wait for the disk as every commit does.
SESSION_OPTIONS = "-c synchronous_commit=off -c maintenance_work_mem=256MB -c statement_timeout=0 -c lock_timeout=0"
DEFAULT_PARALLEL_WORKERS = 2  # PostgreSQL's own default of max_parallel_maintenance_workers


def entries_to_load(archive):
    """Return the ids of the table-of-contents entries to load, in the archive's order."""
    wanted = []
    for entry in archive.entries:
        if entry.type in PREPARED_TYPES:
            continue
        if entry.type == "COMMENT" and entry.name.split(" ")[0] in PREPARED_TYPES:
            continue
        wanted.append(entry.id)
    return wanted


def session_options(jobs, cores=None):
    """Return the server options of a load's sessions.

    Index builds bring helpers of their own only where cores are left for them: else they take time from the COPY of the
    largest table, which the whole load waits for (measured on two cores with two jobs: 13.5 s with helpers, 12.6 s without).

    :param jobs: pg_restore's workers; :param cores: of this host, counted when None.
    """
    left = (cores or os.cpu_count() or 1) - jobs
    return "%s -c max_parallel_maintenance_workers=%d" % (SESSION_OPTIONS, min(max(left, 0), DEFAULT_PARALLEL_WORKERS))


def conninfo(database):
    """Return a connection string that means this database: a bare name with ``=`` in it would be read as options."""
    return "dbname='%s'" % database.replace("\\", "\\\\").replace("'", "\\'")


def load_archive(server, database, archive, tools, owner, jobs=1, expected_bytes=0, progress=None):
    """Run pg_restore into a prepared database.

    :param server: admin :class:`Server`; :param database: name of the empty, prepared database.
    :param archive: an opened Archive; :param owner: role that will own every object.
    :param jobs: parallel workers (a tar archive takes one).
    :param expected_bytes: size the database is expected to reach, for progress.
    :raises RecoveryError: ``load_failed`` with pg_restore's own first error.
    """
    progress = progress or Progress(None)
    progress.start("load", total=expected_bytes, unit="bytes")
    target = server.database(database)
    handle, list_file = tempfile.mkstemp(prefix="letta-toc-")
    with os.fdopen(handle, "w") as stream:
        stream.writelines("%d;\n" % number for number in entries_to_load(archive))
    argv = [tools.path("pg_restore"), "--exit-on-error", "--no-owner", "--no-password", "--dbname=" + conninfo(database)]
    argv += ["--use-list=" + list_file]
    if owner != server.user:
        argv.append("--role=" + owner)
    argv += ["--jobs=%d" % jobs] if jobs > 1 and archive.format != "tar" else []
    try:
        with Watcher(progress, _follow(target, progress)):
            run_tool(argv + [archive.path], target, env={"PGOPTIONS": session_options(jobs)})
    except ToolFailed as exc:
        raise RecoveryError(
            "load_failed",
            "pg_restore stopped at its first error in %s: %s" % (database, _first_error(exc.stderr)),
            next_step="see letta_report_dir/latest/report.html; try another set with -e letta_backup_id=…",
        ) from None
    finally:
        os.unlink(list_file)


def _first_error(stderr):
    lines = [line.strip() for line in (stderr or "").splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()] or lines
    return " / ".join(errors[:2]) or "no message"


def analyze(server, database):
    """Gather planner statistics of a whole database."""
    try:
        with closing(connect(server.database(database))) as conn, conn.cursor() as cursor:
            cursor.execute("ANALYZE")
    except psycopg2.Error as exc:
        raise RecoveryError("load_failed", "ANALYZE of %s failed: %s" % (database, first_line(exc))) from None


def _follow(target, progress):
    """Return the function that watches a database grow while pg_restore fills it, on a connection of its own."""
    query = (
        "SELECT pg_database_size(current_database()), coalesce("
        "(SELECT string_agg(DISTINCT relid::regclass::text, ', ') FROM pg_stat_progress_copy WHERE datname = current_database()),"
        "(SELECT 'indexes of ' || string_agg(DISTINCT relid::regclass::text, ', ') FROM pg_stat_progress_create_index"
        " WHERE datname = current_database()), '')"
    )

    def follow(ticks):
        try:
            with closing(connect(target)) as conn, conn.cursor() as cursor:
                for _tick in ticks:
                    cursor.execute(query)
                    size, item = cursor.fetchone()
                    progress.update(done=size, item=item)
        except (psycopg2.Error, RecoveryError):
            return  # watching is a courtesy: the load's own error is the one to report

    return follow
