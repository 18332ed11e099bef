# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables with vectors as binary COPY, in several files each, beside an archive that holds everything else.

pg_dump writes a vector as text, which a restore has to parse number by number: that is most of what such a restore costs.
"""
from __future__ import annotations

import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..errors import RecoveryError
from . import packing
from .catalog import USER_TABLE, quote_ident, quote_table
from .connection import cancel, psycopg2
from .digest import VECTOR_TYPES, begin

FOLDER = "vectors"
SUFFIX = ".copy"
# Large enough that starting one costs nothing beside it, small enough that the workers end together.
PIECE = 32 << 20
MOST_PIECES = 64
# Base types whose binary form is the same in every supported release of PostgreSQL; enums are sent as their labels.
STABLE_TYPES = (
    "bool", "bytea", "bpchar", "char", "date", "float4", "float8", "int2", "int4", "int8", "json", "jsonb", "name", "numeric", "text",
    "time", "timestamp", "timestamptz", "uuid", "varchar",
)  # fmt: skip
# How this build of pgvector sends a vector: another must read the same bytes as the same numbers.
PROBE = "select encode({send}('[1,-2.5,0.001]'::{type}), 'hex')"
_COLUMNS = """
    select n.nspname, c.relname, a.attname, t.typname, t.typtype::text, coalesce(x.extname, ''), tn.nspname
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    join pg_catalog.pg_type t on t.oid = a.atttypid
    join pg_catalog.pg_namespace tn on tn.oid = t.typnamespace
    left join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass and d.objid = t.oid and d.deptype = 'e'
    left join pg_catalog.pg_extension x on x.oid = d.refobjid
    where c.relkind = 'r' and %s
    order by 1, 2, a.attnum
""" % USER_TABLE
_SIZES = """
    select pg_catalog.pg_table_size(c.oid), pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where n.nspname = %s and c.relname = %s
"""


@dataclass(frozen=True)
class BinaryTable:
    """A table to be saved in binary form.

    :param columns: names, in the table's order.
    """

    schema: str
    name: str
    columns: tuple

    @property
    def label(self):
        """``schema.table``"""
        return "%s.%s" % (self.schema, self.name)


def tables_with_vectors(cursor):
    """Return ([:class:`BinaryTable`], [warning]): tables that have a column of one of pgvector's types. Only the catalog is read.

    One with a type whose binary form may differ between servers is left to the archive, and so is all of a database whose
    encoding says nothing about its bytes.
    """
    cursor.execute("select current_setting('server_encoding') = 'SQL_ASCII'")
    ascii_only = cursor.fetchone()[0]
    cursor.execute(_COLUMNS)
    tables = {}
    for schema, name, *column in cursor.fetchall():
        tables.setdefault((schema, name), []).append(column)
    found, warnings = [], []
    for (schema, name), columns in tables.items():
        if not any(map(_is_vector, columns)):
            continue
        odd = [column[0] for column in columns if not (_is_vector(column) or _is_stable(column))]
        if odd or ascii_only:
            why = "the encoding of the database" if ascii_only else "column %s" % ", ".join(odd)
            warnings.append("%s.%s is saved as text: %s may have another binary form elsewhere" % (schema, name, why))
        else:
            found.append(BinaryTable(schema, name, tuple(column[0] for column in columns)))
    return found, warnings


def _is_vector(column):
    _name, kind, _typtype, extension, _schema = column
    return extension == "vector" and kind in VECTOR_TYPES


def _is_stable(column):
    _name, kind, typtype, _extension, schema = column
    return typtype == "e" or (schema == "pg_catalog" and kind in STABLE_TYPES)


def probe(cursor):
    """Return how the connected database sends a vector, as hexadecimal text; None where it has no pgvector."""
    cursor.execute(
        "select n.nspname, pn.nspname, p.proname from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace"
        " join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass and d.objid = t.oid and d.deptype = 'e'"
        " join pg_catalog.pg_extension x on x.oid = d.refobjid and x.extname = 'vector'"
        " join pg_catalog.pg_proc p on p.oid = t.typsend join pg_catalog.pg_namespace pn on pn.oid = p.pronamespace"
        " where t.typname = 'vector'"
    )
    row = cursor.fetchone()
    if row is None:
        return None
    cursor.execute(PROBE.format(send=quote_table(*row[1:]), type=quote_table(row[0], "vector")))
    return cursor.fetchone()[0]


def pieces(size, pages):
    """Return [(first page, page after the last or None)] of a table; the last piece is open: it takes whatever is there.

    :param size: bytes with TOAST. :param pages: of its heap.
    """
    count = max(1, min(-(-size // PIECE), pages, MOST_PIECES))
    bounds = [pages * i // count for i in range(count)] + [None]
    return list(zip(bounds, bounds[1:]))


def file_name(table, number, compression):
    """Return the path of a piece inside a set: ``vectors/archival_passages.0001.copy.zst``."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", table.name)
    return "%s/%s.%04d%s%s" % (FOLDER, plain, number, SUFFIX, packing.SUFFIXES[compression.partition(":")[0]])


class Taking:
    """Writing the tables of one snapshot.

    :param server: whose default database it is. :param snapshot: name of an exported snapshot that stays open.
    :param folder: the set in the making. :param keys: {``schema.table``: columns} whose values are listed per piece.
    """

    def __init__(self, server, snapshot, folder, compression, keys=None):
        self._server, self._snapshot, self._folder, self._compression = server, snapshot, folder, compression
        self._keys = keys or {}
        self._local, self._opened, self._lock = threading.local(), [], threading.Lock()
        self._stopped = False

    def run(self, tables, jobs):
        """Write all pieces of the tables.

        :returns: manifest ``database.segments``, see docs/architecture.md.
        :raises RecoveryError: ``preflight``; :raises OSError: when the disk is full.
        """
        os.mkdir(os.path.join(self._folder, FOLDER), 0o700)
        work = [(table, number, span) for table in tables for number, span in enumerate(self._spans(table), 1)]
        if len({file_name(table, number, self._compression) for table, number, _span in work}) < len(work):
            raise RecoveryError("preflight", "two tables with vectors have names that look alike: set letta_backup_vectors to text")
        try:
            with ThreadPoolExecutor(max_workers=jobs) as pool:
                done = list(pool.map(lambda item: self._piece(*item), work))
        finally:
            self.stop()
        made = {
            table: {"schema": table.schema, "name": table.name, "columns": list(table.columns), "pieces": []} for table in tables
        }
        for (table, _number, _span), entry in zip(work, done):
            made[table]["pieces"].append(entry)
        return {"compression": self._compression, "tables": list(made.values())}

    def _spans(self, table):
        """Return the spans of pages of a table's pieces; before 14 a span would cost a scan of the whole table."""
        with self._connection().cursor() as cursor:
            cursor.execute(_SIZES, (table.schema, table.name))
            size, count = cursor.fetchone()
            return pieces(size, count if cursor.connection.server_version >= 140000 else 1)

    def stop(self):
        """End what runs, if anything does, and close all connections."""
        with self._lock:
            self._stopped, opened = True, list(self._opened)
            self._opened.clear()
        for conn in opened:
            cancel(conn)
            conn.close()

    def _connection(self):
        conn = getattr(self._local, "conn", None)
        if conn is None:
            conn = self._local.conn = begin(self._server, self._snapshot)
            conn.set_client_encoding("UTF8")
            with self._lock:
                if self._stopped:
                    conn.close()
                self._opened.append(conn)
        return conn

    def _piece(self, table, number, span):
        path = file_name(table, number, self._compression)
        names = ", ".join(map(quote_ident, table.columns))
        bounds = ["t.ctid >= '(%d,0)'" % span[0]] if span[0] else []
        bounds += ["t.ctid < '(%d,0)'" % span[1]] if span[1] is not None else []
        where = "where " + " and ".join(bounds) if bounds else ""
        relation = "only %s t %s" % (quote_table(table.schema, table.name), where)
        try:
            with self._connection().cursor() as cursor:
                with packing.writing(os.path.join(self._folder, path), self._compression) as stream:
                    counted = _Counted(stream)
                    cursor.copy_expert("copy (select %s from %s) to stdout (format binary)" % (names, relation), counted)
                    count = cursor.rowcount
                entry = {"path": path, "rows": count, "bytes": counted.size}
                return dict(entry, keys=self._list_keys(cursor, table, relation, path))
        except psycopg2.Error as exc:
            raise _dump_error(self._server, table, exc) from None

    def _list_keys(self, cursor, table, relation, path):
        """Write the values of the key columns that a piece has; they lie in the heap, so that no vector is read for it."""
        result = {}
        for column in self._keys.get(table.label, ()):
            if column in table.columns:
                name = "%s.%s.keys" % (path.partition(SUFFIX)[0], column)
                cursor.execute("select distinct %s from %s order by 1" % (quote_ident(column), relation))
                values = [str(row[0]) for row in cursor.fetchall() if row[0] is not None]
                if any("\n" in value for value in values):
                    continue  # one value per line: this piece is always read
                text = "".join(value + "\n" for value in values)
                with packing.writing(os.path.join(self._folder, name), "none") as stream:
                    stream.write(text.encode("utf-8"))
                result[column] = name
        return result


def _dump_error(server, table, exc):
    reason = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
    step = "run it again"
    if isinstance(exc, psycopg2.errors.InsufficientPrivilege):
        step = "GRANT pg_read_all_data TO %s, or back up as the owner of the tables" % server.user
    return RecoveryError("preflight", "copying %s out of %s failed: %s" % (table.label, server, reason), next_step=step)


class _Counted:
    """Passes on what is written, and counts it."""

    def __init__(self, stream):
        self._write, self.size = stream.write, 0

    def write(self, data):
        """Pass on bytes."""
        self._write(data)
        self.size += len(data)
