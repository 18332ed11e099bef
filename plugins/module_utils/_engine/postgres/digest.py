# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Content digests of tables, computed by the server in one pass per table.

A digest does not depend on the order of rows or of columns: per row the md5 of the record text of the columns sorted by
name, its two halves as 64-bit integers, each summed modulo 2^64. Sums add up, so a table may be digested in pieces.
md5 is there to notice damage and loss, not to withstand a forger: it is no signature. (sha256 proves no more here and is
several times slower in some builds of PostgreSQL.)

Generated columns are left out: an archive does not carry them, and they follow from the others.
"""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass, field

from ..errors import RecoveryError
from ..progress import Progress
from .catalog import quote_ident, quote_table, read_tables
from .connection import connect, psycopg2

MODULO = 1 << 64
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
_DIGEST = """
    select {key}, count(*), sum(('x' || left(h, 16))::bit(64)::int8), sum(('x' || right(h, 16))::bit(64)::int8)
    from (select {group} as k, md5({record}) as h from only {table} t {where} offset 0) s {by}
"""


@dataclass(frozen=True)
class TableDigest:
    """What a table holds.

    :param rows: number of rows.
    :param digest: ``md5sum:<16 hex><16 hex>``; all zeros for an empty table.
    :param groups: ``{value of the grouping column: (rows, digest)}``; NULL counts as the empty text.
    """

    rows: int
    digest: str
    groups: dict = field(default_factory=dict)


class Sums:
    """Adds up rows and halves, per group, from pieces in any order."""

    def __init__(self):
        self.groups = {}

    def add(self, key, rows, first, second):
        """Add ``rows`` rows of a group whose halves sum to ``first`` and ``second`` (any integers)."""
        entry = self.groups.setdefault(key, [0, 0, 0])
        entry[0] += rows
        entry[1] += first
        entry[2] += second

    def merge(self, other):
        """Add the sums of another piece."""
        for key, entry in other.groups.items():
            self.add(key, *entry)

    def result(self, grouped):
        """Return the :class:`TableDigest` of all that was added."""
        totals = [sum(entry[i] for entry in self.groups.values()) for i in range(3)]
        groups = {key: (rows, format_digest(a, b)) for key, (rows, a, b) in self.groups.items()} if grouped else {}
        return TableDigest(totals[0], format_digest(totals[1], totals[2]), groups)


def format_digest(first, second):
    """Return the text form of two sums of halves."""
    return "md5sum:%016x%016x" % (first % MODULO, second % MODULO)


def record_text(columns, alias):
    """Return the SQL expression of a row's text, as digests take it.

    :param columns: [(name, (schema, send function) of pgvector's types or None)], sorted as :data:`COLUMNS` sorts them.
    :param alias: of the table.
    """
    values = []
    for column, send in columns:
        value = "%s.%s" % (alias, quote_ident(column))
        values.append("md5(%s(%s))" % (quote_table(*send), value) if send else value)
    return "row(%s)::text" % ", ".join(values)


def digest_database(server, snapshot=None, jobs=1, groups=None, progress=None):
    """Digest every user table of the server's default database, all in one snapshot.

    :param snapshot: name of an exported snapshot; None: one of our own is taken.
    :param jobs: connections to use.
    :param groups: ``{"schema.table": "column"}``: digest these also per value of that column, in the same pass.
    :param progress: a Progress; counts bytes of tables.
    :returns: ``{"schema.table": TableDigest}`` of the ordinary tables. A partitioned table is digested through its partitions.
    :raises RecoveryError: ``preflight`` when the role may not read a table.
    """
    progress = progress or Progress(None)
    with closing(begin(server, snapshot)) as leader:
        with leader.cursor() as cursor:
            if snapshot is None:
                cursor.execute("select pg_catalog.pg_export_snapshot()")
                snapshot = cursor.fetchone()[0]
            work = _Work(cursor, leader.server_version, jobs, groups or {}, progress)
        workers = [_Worker(server, snapshot, work) for unused in range(1, min(jobs, len(work.pieces)))]
        try:
            for worker in workers:
                worker.start()
            work.run(leader)
        finally:
            for worker in workers:
                if work.error is not None:
                    worker.cancel()
                worker.join()
    if work.error is not None:
        raise _digest_error(server, work.error)
    return {name: sums.result(name in work.groups) for name, sums in sorted(work.sums.items())}


class _Work:
    """The pieces to digest, largest first, and the sums they add to."""

    def __init__(self, cursor, version, jobs, groups, progress):
        self.groups, self.progress = groups, progress
        self.error = None
        self._lock = threading.Lock()
        cursor.execute("show server_encoding")
        # the archive's text is compared as UTF-8, whatever the database is kept in
        self._as_utf8 = cursor.fetchone()[0] not in ("UTF8", "SQL_ASCII")
        cursor.execute(COLUMNS)
        columns = {}
        for relid, name, send in cursor.fetchall():
            columns.setdefault(relid, []).append((name, send))
        ordinary = [row for row in read_tables(cursor) if row[2] == "r"]
        self.sums = {"%s.%s" % row[:2]: Sums() for row in ordinary}
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
        self._next = 0
        self._done = 0
        progress.start("digest", total, "bytes")

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
        record = record_text(columns, "t")
        group = self.groups.get("%s.%s" % (schema, name))
        return _DIGEST.format(
            key="coalesce(k, '')" if group else "''",
            group="t.%s::text" % quote_ident(group) if group else "null::text",
            record="convert_to(%s, 'UTF8')" % record if self._as_utf8 else record,
            table=quote_table(schema, name),
            where=where,
            by="group by 1" if group else "",
        )

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
    """A connection of its own in the leader's snapshot."""

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

    def cancel(self):
        """Stop the statement that runs, if any."""
        conn = self._conn
        if conn is not None and not conn.closed:
            try:
                conn.cancel()
            except psycopg2.Error:
                return  # it ended in the meantime


def begin(server, snapshot):
    """Open a connection in a snapshot (None: one of its own), read only; what names mean depends on no search path."""
    conn = connect(server, application_name="letta_ops digest", canonical=True)
    try:
        with conn.cursor() as cursor:
            # as pg_dump does: names in values fully qualified, and an error rather than silently filtered rows
            cursor.execute("select pg_catalog.set_config('search_path', '', false)")
            cursor.execute("set row_security = off")
            cursor.execute("set statement_timeout = 0")
            cursor.execute("begin isolation level repeatable read read only")
            if snapshot is not None:
                cursor.execute("set transaction snapshot %s", (snapshot,))
    except BaseException:
        conn.close()
        raise
    return conn


def _digest_error(server, exc):
    if isinstance(exc, RecoveryError):
        return exc
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
