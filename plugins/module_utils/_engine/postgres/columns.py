# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Content of a database column by column, to tell after a migration which values it touched and which it did not.

Per row and column the md5 of the record (identity of the row, value), its halves summed modulo 2^64 as in :mod:`digest`.
The identity is the table's primary key, else its first unique index. Without either a column's values count as a bag.
"""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

from ..errors import RecoveryError
from ..progress import Progress
from .catalog import quote_ident, quote_table, read_tables
from .connection import connect, psycopg2
from .digest import COLUMNS
from .rowsums import format_digest

_IDENTITIES = """
    select i.indrelid::int8, array_agg(a.attname::text order by k.place)
    from pg_catalog.pg_index i
    cross join lateral unnest(i.indkey::int2[]) with ordinality as k(attnum, place)
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    where i.indisunique and i.indpred is null and i.indexprs is null
    group by i.indrelid, i.indexrelid, i.indisprimary order by i.indisprimary desc, i.indexrelid
"""


@dataclass(frozen=True)
class ColumnDigests:
    """What a table holds, column by column.

    :param rows: number of rows.
    :param identity: columns that say which row a value belongs to, maybe none.
    :param columns: ``{column: digest}``.
    """

    rows: int
    identity: tuple = ()
    columns: dict = field(default_factory=dict)


def digest_columns(server, identities=None, jobs=2, progress=None, only=None):
    """Digest every column of every user table of the server's default database.

    :param identities: ``{"schema.table": (column, …)}``: identities to use, so that two states of a database compare; a table
        that lacks one of the columns gets its own identity.
    :param jobs: connections to use. Nobody else may write meanwhile: there is no common snapshot.
    :param only: names ``schema.table`` to look at; None for all.
    :returns: ``{"schema.table": ColumnDigests}``.
    :raises RecoveryError: ``preflight`` when a table cannot be read.
    """
    progress = progress or Progress(None)
    with closing(_begin(server)) as conn, conn.cursor() as cursor:
        work = [item for item in _statements(cursor, identities or {}) if only is None or item["label"] in only]
    total = sum(item["size"] for item in work)
    progress.start("account", total, "bytes")
    done = [0]

    def run(item):
        with closing(_begin(server)) as conn, conn.cursor() as cursor:
            cursor.execute(item["sql"])
            row = cursor.fetchone()
        done[0] += item["size"]
        progress.update(done[0], item["label"])
        sums = zip(row[1::2], row[2::2])
        digests = {name: format_digest(int(a or 0), int(b or 0)) for name, (a, b) in zip(item["columns"], sums)}
        return item["label"], ColumnDigests(row[0], item["identity"], digests)

    try:
        with ThreadPoolExecutor(max_workers=max(jobs, 1)) as pool:
            return dict(pool.map(run, sorted(work, key=lambda item: -item["size"])))
    except psycopg2.Error as exc:
        reason = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
        raise RecoveryError("preflight", "cannot digest the columns of %s: %s" % (server, reason)) from None


def _statements(cursor, identities):
    """Return one statement per table with what is needed to read its answer."""
    cursor.execute(COLUMNS)
    columns: dict[int, list] = {}
    for relid, name, send in cursor.fetchall():
        columns.setdefault(relid, []).append((name, send))
    cursor.execute(_IDENTITIES)
    own: dict[int, tuple] = {}
    for relid, names in cursor.fetchall():
        own.setdefault(relid, tuple(names))
    work = []
    for schema, name, kind, relid, size, _pages in read_tables(cursor):
        if kind != "r":
            continue
        here = columns.get(relid, [])
        label = "%s.%s" % (schema, name)
        identity = identities.get(label, own.get(relid, ()))
        if not set(identity) <= {column for column, _send in here}:
            identity = own.get(relid, ())
        sql = _statement(schema, name, here, identity)
        work.append({"label": label, "size": size, "identity": identity, "columns": [c for c, _send in here], "sql": sql})
    return work


def _statement(schema, name, columns, identity):
    values = ["md5(%s(t.%s))" % (quote_table(*send), quote_ident(c)) if send else "t." + quote_ident(c) for c, send in columns]
    keys = ["t." + quote_ident(column) for column in identity]
    hashes = ["md5(row(%s)::text) as h%d" % (", ".join(keys + [value]), n) for n, value in enumerate(values)]
    sums = [
        f"sum(('x' || left(h{n}, 16))::bit(64)::int8), sum(('x' || right(h{n}, 16))::bit(64)::int8)" for n in range(len(values))
    ]
    inner = "select %s from only %s t offset 0" % (", ".join(hashes) or "1", quote_table(schema, name))
    return "select %s from (%s) s" % (", ".join(["count(*)"] + sums), inner)


def _begin(server):
    conn = connect(server, application_name="letta_ops account", canonical=True)
    with conn.cursor() as cursor:
        cursor.execute("select pg_catalog.set_config('search_path', '', false)")
        cursor.execute("set row_security = off")
        cursor.execute("set statement_timeout = 0")
    return conn
