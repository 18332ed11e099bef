# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loading an archive into an empty database, in parallel, stopping at the first error."""
from __future__ import annotations

import os
import subprocess
from collections import defaultdict
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial

from ..errors import RecoveryError
from ..progress import Progress, Watcher
from . import copying, olderserver, pieces, planner, schedule
from .building import Building
from .connection import connect, connect_error, conninfo, lost, psycopg2, release_of
from .connection import session_options as as_options
from .listing import use_list
from .process import ToolFailed, run_tool, running_tool
from .refused import load_failed
from .undisturbed import undisturbed

# Made beforehand by sidedb: the extension needs more rights than the owner may have, and its
# comment and the schema's belong to whoever made them. The database's own is set by sidedb too.
PREPARED_TYPES = ("EXTENSION", "SCHEMA", "DATABASE")
# For the load only: a crash of the server loses the side database, never the live one, and the
# renames later wait for the disk as every commit does.
SESSION_SETTINGS = {"synchronous_commit": "off", "maintenance_work_mem": "256MB", "statement_timeout": "0", "lock_timeout": "0"}
LARGE = 2 << 20  # bytes of a member from which on several connections, or a pg_restore of its own, are worth their start
OWN = 128 << 10  # from which on one connection is
TEXT_WEIGHT = 8  # a byte of a compressed member costs about as much as so many of binary COPY (measured, see docs/performance.md)
TICK = 0.05
DEFAULT_PARALLEL_WORKERS = 2  # PostgreSQL's own default of max_parallel_maintenance_workers


def entries_to_load(archive, statistics=()):
    """Return the ids of the table-of-contents entries to load, in the archive's order. :param statistics: see :mod:`planner`."""
    return [entry.id for entry in archive.entries if _is_loaded(entry, statistics)]


def late_entries(archive, statistics=()):
    """Return the ids of the entries to load of section ``post-data``; comments and the like are in that of what they come after."""
    found, section = [], ""
    for entry in archive.entries:
        section = entry.section or section
        if section == "post-data" and _is_loaded(entry, statistics):
            found.append(entry.id)
    return found


def _is_loaded(entry, statistics):
    return entry.id in statistics if entry.type == planner.KIND else not is_prepared(entry)


def is_prepared(entry):
    """Tell whether an entry is something that is made beforehand, or the comment on such a thing: its statement is never run."""
    kind = entry.name.split(" ")[0] if entry.type == "COMMENT" else entry.type
    return kind in PREPARED_TYPES


def session_settings(jobs, cores=None):
    """Return the server settings of a load's sessions, ``{name: value}``.

    Index builds bring helpers of their own only where cores are left for them: else they take time from the COPY of the
    largest table, which the whole load waits for (measured on two cores with two jobs: 13.5 s with helpers, 12.6 s without).

    :param jobs: pg_restore's workers; :param cores: of this host, counted when None.
    """
    left = (cores or os.cpu_count() or 1) - jobs
    return dict(SESSION_SETTINGS, max_parallel_maintenance_workers=str(min(max(left, 0), DEFAULT_PARALLEL_WORKERS)))


def session_options(jobs, cores=None):
    """Return :func:`session_settings` as ``PGOPTIONS`` takes them."""
    return as_options(session_settings(jobs, cores).items())


def load_archive(  # noqa: PLR0913, PLR0917
    server, database, archive, tools, owner, jobs=1, expected_bytes=0, progress=None, saved=None, digesting=None, rows=None
):
    """Load an archive into a prepared database, with the planner's statistics.

    One of directory format: definitions by pg_restore, then in one schedule the rows (large tables by several connections each, beside the
    pieces of tables in binary form), keys, indexes and foreign keys, statistics and digests. Any other by one run of pg_restore.

    :param server: admin :class:`Server`; :param database: name of the empty, prepared database.
    :param archive: an opened Archive; :param owner: role that will own every object.
    :param jobs: parallel workers (a tar archive takes one).
    :param expected_bytes: size the database is expected to reach, for progress.
    :param saved: :class:`pieces.Saved`, or None.
    :param digesting: :class:`digest.Digesting` of this database, whose work is done beside, or None.
    :param rows: how many each table will have, ``{"schema.table": rows}``: only statistics of so many are taken from the archive.
    :raises RecoveryError: ``load_failed`` with pg_restore's or the server's own first error; ``backup_corrupt`` for a damaged piece.
    """
    progress = progress or Progress(None)
    progress.start("load", total=expected_bytes, unit="bytes")
    target = server.database(database)
    work = Restoring(target, archive, tools, owner, jobs, rows)
    with Watcher(progress, _follow(target, progress)):
        if archive.format != "directory":
            work.run(entries_to_load(archive))
            schedule.run(planner.analysis(target, session_settings(jobs), jobs) + (digesting.tasks() if digesting else []), jobs)
            return
        work.run(entries_to_load(archive), "pre-data")
        data = work.data_tasks() + (pieces.tasks(target, owner, saved, session_settings(jobs)) if saved else [])
        work.finish(data, digesting)


class Restoring:
    """Running pg_restore on one archive into one database."""

    def __init__(self, target, archive, tools, owner, jobs, rows=None):
        self._environment = {"PGOPTIONS": session_options(jobs)}
        self._target, self._archive, self._tools, self._owner = target, archive, tools, owner
        self._jobs = jobs if archive.format != "tar" else 1
        release = release_of(target)
        self._further, self._forgiven = olderserver.way(tools, release)
        self._analysed, of_indexes = planner.carried(archive, rows or {}, release)
        self._statistics = {*self._analysed.values(), *of_indexes}

    def run(self, numbers, section=None):
        """Load the entries with these ids, of one section or of all. :raises RecoveryError: ``load_failed``."""
        jobs = 1 if section == "pre-data" else self._jobs  # that is done before pg_restore starts its workers
        with self._command(numbers, section, jobs) as argv:
            try:
                run_tool(argv, self._target, env=self._environment, forgiven=self._forgiven)
            except ToolFailed as exc:
                raise self._failed(exc) from None

    def data_tasks(self):
        """Return tasks for :mod:`schedule`: several for each large table, one, named ``rows``, for everything else that is data."""
        sizes = {entry.id: self._archive.member_bytes(entry) for entry in self._archive.data_entries()}
        large = [entry for entry in self._archive.data_entries() if sizes[entry.id] >= self._least(entry)]
        tasks = [task for entry in large for task in self._table(entry)]
        apart = {entry.id for entry in large}
        rest = [number for number in entries_to_load(self._archive, self._statistics) if number not in apart]
        small = sum(sizes.values()) - sum(sizes[entry.id] for entry in large)
        tasks.append(schedule.Task(small, partial(self._work, rest, "data", 1), "rows"))
        return [replace(task, size=task.size * TEXT_WEIGHT) for task in tasks]

    def finish(self, data, digesting):
        """Run the tasks that load rows, with all that follows from them."""
        large = defaultdict(int)
        for task in data:
            large[task.name] += task.size
        tables = [(entry.schema, entry.name) for entry in self._archive.entries if entry.type == "TABLE"]
        known = {table: copying.rows_of(*table) for table in tables if copying.rows_of(*table) in large}
        sizes = {table: large[name] for table, name in known.items()}
        building = Building(self._target, self._owner, self._archive, session_settings(self._jobs), sizes, self._jobs)
        made, keys, every = building.tasks(known)
        left = [number for number in late_entries(self._archive, self._statistics) if number not in building.numbers]
        if left:
            made.append(schedule.Task(0, partial(self._work, left, "post-data", self._jobs), "left", every, schedule.DEFINITIONS))
        made += planner.analysis(self._target, session_settings(self._jobs), self._jobs, (*every, "left"), self._analysed)
        made += digesting.tasks((*known.values(), "rows", *keys)) if digesting else []
        session = partial(copying.session, self._target, self._owner, session_settings(self._jobs), self._archive.encoding())
        with closing(building), undisturbed(session, sorted(known)):
            schedule.run(data + made, self._jobs)

    def _least(self, entry):
        """From how many bytes on a table's rows are a task of their own."""
        return OWN if copying.readable(self._archive, entry) else LARGE

    def _table(self, entry):
        size = self._archive.member_bytes(entry)
        if copying.readable(self._archive, entry):
            jobs = self._jobs if size >= LARGE else 1
            return copying.text_tasks(self._target, self._owner, self._archive, entry, session_settings(self._jobs), jobs)
        name = copying.rows_of(entry.schema, entry.name)
        return [schedule.Task(size, partial(self._work, [entry.id], "data", 1), name)]

    def _work(self, numbers, section, jobs, stopped):
        """Load entries of a section in a thread of its own, until done or ``stopped``."""
        with self._command(numbers, section, jobs) as argv:
            try:
                running = running_tool(argv, self._target, self._environment, subprocess.DEVNULL, forgiven=self._forgiven)
                with running as process:
                    while process.poll() is None and not stopped.wait(TICK):
                        pass
                    if stopped.is_set():
                        raise schedule.Stopped
            except ToolFailed as exc:
                raise self._failed(exc) from None

    @contextmanager
    def _command(self, numbers, section, jobs):
        with use_list("%d;\n" % number for number in numbers) as listing:
            argv = [self._tools.path("pg_restore"), *self._further, "--no-owner", "--no-password"]
            argv += ["--dbname=" + conninfo(self._target.dbname), "--use-list=" + listing]
            argv += ["--section=" + section] if section else []
            argv += ["--role=" + self._owner] if self._owner != self._target.user else []
            argv += ["--jobs=%d" % jobs] if jobs > 1 else []
            yield [*argv, self._archive.path]

    def _failed(self, exc):
        if "connection to server" in exc.stderr and "failed: " in exc.stderr:  # it did not even begin
            return connect_error(self._target, exc.stderr)
        said = "pg_restore stopped at its first error in %s: %s" % (self._target.dbname, first_error(exc.stderr))
        return lost(self._target, exc.stderr) or load_failed(said, exc.stderr)


def first_error(stderr):
    """Return what went wrong first, out of what pg_restore said."""
    lines = [line.strip() for line in olderserver.without_the_setting(stderr or "").splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()] or lines
    return " / ".join(errors[:2]) or "no message"


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
