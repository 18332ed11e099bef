# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Content digests of tables, computed by the server in one pass per table.

A digest does not depend on the order of rows or of columns: each row, its columns sorted by name, becomes two 64-bit
integers (see :mod:`rowsums`), each summed modulo 2^64. Sums add up, so a table may be digested in pieces. It is there to
notice damage and loss, not to withstand a forger: it is no signature.

Generated columns are left out: an archive does not carry them, and they follow from the others.
"""

from __future__ import annotations

import threading
from contextlib import closing

from ..errors import RecoveryError
from ..progress import Progress
from . import rowsums, schedule
from .catalog import quote_table, read_tables
from .connection import cancel, cancelled_when, connect, losses_told, lost, psycopg2
from .rowsums import MD5, Sums

VECTOR_TYPES = ("vector", "halfvec", "sparsevec")
# Below this a piece of a table costs more in overhead than it gains.
SMALLEST_PIECE = 16 << 20

# Columns of every user table that an archive carries, sorted as the digest wants them (by name, bytewise), with the
# send function of pgvector's types: their binary form is both faster and exact.
COLUMNS = """
    select a.attrelid::int8, a.attname,
           case when x.extname = 'vector' and t.typname in ('vector', 'halfvec', 'sparsevec')
                then array[pn.nspname, p.proname]::text[] end
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_class c on c.oid = a.attrelid and c.relkind = 'r'
    join pg_catalog.pg_type t on t.oid = a.atttypid
    left join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass and d.objid = t.oid and d.deptype = 'e'
    left join pg_catalog.pg_extension x on x.oid = d.refobjid
    left join pg_catalog.pg_proc p on p.oid = t.typsend
    left join pg_catalog.pg_namespace pn on pn.oid = p.pronamespace
    where a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and c.relnamespace <> 'pg_catalog'::pg_catalog.regnamespace
    order by a.attrelid, a.attname collate "C"
"""


def digest_database(server, snapshot=None, jobs=1, groups=None, progress=None, form=MD5):
    """Digest every user table of the server's default database, all in one snapshot.

    :param snapshot: name of an exported snapshot; None: one of our own is taken.
    :param jobs: connections to use.
    :param groups: ``{"schema.table": "column"}``: digest these also per value of that column, in the same pass.
    :param progress: a Progress; counts bytes of tables.
    :param form: of :data:`rowsums.FORMS`; None: the quickest that this server computes as every other would.
    :returns: ``{"schema.table": TableDigest}`` of the ordinary tables. A partitioned table is digested through its partitions.
    :raises RecoveryError: ``preflight`` when the role may not read a table, or the server computes another ``form`` than others do.
    """
    progress = progress or Progress(None)
    with losses_told(server), closing(begin(server, snapshot)) as leader:
        with leader.cursor() as cursor:
            if snapshot is None:
                cursor.execute("select pg_catalog.pg_export_snapshot()")
                snapshot = cursor.fetchone()[0]
            work = _Work(cursor, leader.server_version, jobs, groups or {}, progress, form)
        workers = [_Worker(server, snapshot, work) for unused in range(1, min(jobs, len(work.pieces)))]
        try:
            for worker in workers:
                worker.start()
            work.run(leader)
        finally:
            for worker in workers:
                worker.end() if work.error is not None else worker.join()
    return work.result(server)


class Digesting:
    """Digests of a database whose rows are all there and change no more, taken while other work on it goes on.

    No snapshot is held, and no lock for longer than a statement.

    :param server: whose default database it is. :param jobs: connections.
    :param form: as for :func:`digest_database`.
    """

    RANK = schedule.DIGESTS

    def __init__(self, server, jobs=1, form=MD5):
        self._server, self._jobs, self._form = server, jobs, form
        self._work, self._error, self._lock = None, None, threading.Lock()
        self._progress = Progress(None)

    def tasks(self, after=()):
        """Return tasks for :mod:`schedule`. What goes wrong in them is told by :meth:`result`. :param after: as of a task."""
        return [schedule.Task(1, self._take, "digest", after, self.RANK) for _number in range(self._jobs)]

    def result(self, progress=None):
        """Return what :func:`digest_database` does, and raise what it raises; the work is done now, unless its tasks were run."""
        if self._work is None and self._error is None:
            self._progress = progress or self._progress
            schedule.run(self.tasks(), self._jobs)
        if self._error is not None or self._work is None:
            raise _digest_error(self._server, self._error)
        return self._work.result(self._server)

    def _take(self, stopped):
        try:
            with closing(begin(self._server, held=False)) as conn, cancelled_when(stopped, conn):
                self._begun(conn).run(conn)
        except Exception as exc:  # noqa: BLE001  a thread has nobody above it: whoever asks for the result is told
            self._error = self._error or exc

    def _begun(self, conn):
        """Return the work; whoever comes first finds out what there is to do."""
        with self._lock, conn.cursor() as cursor:
            if self._work is None:
                self._work = _Work(cursor, conn.server_version, self._jobs, {}, self._progress, self._form)
        return self._work


class _Work:
    """The pieces to digest, largest first, and the sums they add to."""

    def __init__(self, cursor, version, jobs, groups, progress, form):
        self.groups = groups
        self.form, self._as_utf8 = rowsums.settle(cursor, form)
        self.error = None
        self._lock = threading.Lock()
        cursor.execute(COLUMNS)
        columns = {}
        for relid, name, send in cursor.fetchall():
            columns.setdefault(relid, []).append((name, send))
        ordinary = [row for row in read_tables(cursor) if row[2] == "r"]
        self.sums = {"%s.%s" % row[:2]: Sums(self.form) for row in ordinary}
        unknown = set(groups) - set(self.sums)
        if unknown:
            raise RecoveryError("usage", "no such table to digest by group: %s" % ", ".join(sorted(unknown)))
        total = sum(row[4] for row in ordinary)
        # TID range scans came with 14; before, a piece would cost a scan of the whole table
        piece = max(total // (2 * jobs), SMALLEST_PIECE) if jobs > 1 and version >= 140000 else None
        self.pieces = []
        for row in ordinary:
            self.pieces += self._split(row, columns.get(row[3], []), piece)
        self.pieces.sort(key=lambda part: part[0], reverse=True)
        self._next, self._done = 0, 0
        self.progress = progress
        progress.start("digest", total, "bytes")

    def result(self, server):
        """Return the digests. :raises RecoveryError: when a worker failed."""
        if self.error is not None:
            raise _digest_error(server, self.error)
        return {name: sums.result(name in self.groups) for name, sums in sorted(self.sums.items())}

    def _split(self, row, columns, piece):
        schema, name, dummy_kind, dummy_oid, size, pages = row
        label = "%s.%s" % (schema, name)
        count = min(-(-size // piece), pages) if piece and size > piece else 1
        if count <= 1:
            return [(size, label, self._sql(schema, name, columns, ""))]
        bounds = [pages * i // count for i in range(count)] + [None]  # the last one is open: it takes whatever is there
        result = []
        for low, high in zip(bounds, bounds[1:]):
            where = "where t.ctid >= '(%d,0)'" % low + (" and t.ctid < '(%d,0)'" % high if high is not None else "")
            result.append((size // count, label, self._sql(schema, name, columns, where)))
        return result

    def _sql(self, schema, name, columns, where):
        group = self.groups.get("%s.%s" % (schema, name))
        return rowsums.sums(self.form, columns, "only " + quote_table(schema, name), group, where, self._as_utf8)

    def run(self, conn):
        """Digest pieces until there is none left or somebody failed."""
        try:
            with conn.cursor() as cursor:
                while True:
                    with self._lock:
                        if self.error is not None or self._next >= len(self.pieces):
                            return
                        size, label, sql = self.pieces[self._next]
                        self._next += 1
                        self.progress.update(item=label)
                    cursor.execute(sql)
                    rows = cursor.fetchall()
                    with self._lock:
                        for key, count, first, second in rows:
                            if count:
                                self.sums[label].add(key, count, int(first), int(second))
                        self._done += size
                        self.progress.update(self._done)
        except BaseException as exc:
            with self._lock:
                self.error = self.error or exc
            if not isinstance(exc, (psycopg2.Error, RecoveryError)):
                raise


class _Worker(threading.Thread):
    """A connection of its own, in the leader's snapshot."""

    def __init__(self, server, snapshot, work):
        super().__init__(daemon=True)
        self._server, self._snapshot, self._work = server, snapshot, work
        self._conn = None

    def run(self):
        try:
            with closing(begin(self._server, self._snapshot)) as self._conn:
                self._work.run(self._conn)
        except Exception as exc:  # noqa: BLE001  a thread has nobody above it: the leader raises it
            self._work.error = self._work.error or exc

    def end(self):
        """Stop the statement that runs, if any, and wait for the end; the work's ``error`` keeps it from another."""
        while self.is_alive():
            conn = self._conn
            if conn is not None and not conn.closed:
                cancel(conn)
            self.join(0.05)  # what was about to be sent is cancelled the next time


def begin(server, snapshot=None, held=True):
    """Open a connection in a snapshot (None: one of its own), read only; what names mean depends on no search path.

    :param held: False: each statement is a transaction of its own.
    """
    conn = connect(server, application_name="letta_ops digest", canonical=True)
    try:
        with conn.cursor() as cursor:
            # as pg_dump does: names in values fully qualified, and an error rather than silently filtered rows
            cursor.execute("select pg_catalog.set_config('search_path', '', false)")
            cursor.execute("set row_security = off")
            cursor.execute("set statement_timeout = 0")
            cursor.execute("begin isolation level repeatable read read only" if held else "set default_transaction_read_only = on")
            if snapshot is not None:
                cursor.execute("set transaction snapshot %s", (snapshot,))
    except BaseException:
        conn.close()
        raise
    return conn


def _digest_error(server, exc):
    if isinstance(exc, RecoveryError):
        return exc
    gone = lost(server, exc)
    if gone is not None:
        return gone
    reason = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
    step = "run it again"
    if isinstance(exc, psycopg2.errors.InsufficientPrivilege):
        step = "GRANT pg_read_all_data TO %s, or use the owner of the tables" % server.user
    return RecoveryError("preflight", "cannot digest the tables of %s: %s" % (server, reason), next_step=step)


def digest_archive(archive, tools, groups=None, progress=None, jobs=1):
    """Digest every table of an archive from its own text, without a server; equal to :func:`digest_database` of its source.

    See :mod:`archive_digest`, which is imported late: a database's digest needs none of it.
    """
    from .archive_digest import digest_archive as digest

    return digest(archive, tools, groups, progress, jobs)
