# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of a side database: what migrations left in plain text is encrypted, and all of them can be brought under another key.

Plain values are held in the memory of this process and nowhere else: PostgreSQL, its log and its write-ahead log get ciphertext.
"""
from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

from ..errors import LIVE_UNTOUCHED, RecoveryError
from ..letta import ciphers
from ..letta.entities import bare_name
from ..postgres.catalog import quote_ident
from ..postgres.columns import digest_columns
from ..postgres.connection import connect, sql
from ..progress import Progress

# One derivation of a key costs about 30 ms of a core, as Letta chose it to; a batch keeps every core busy and the memory flat.
BATCH = 200
_TYPES = "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"


def count_plain(side, schema):
    """Return ``{"table.encrypted column": rows}`` of secrets that stand only in the plain column beside the encrypted one.

    :param side: :class:`Server` of the database; :param schema: where Letta's tables are in it.
    """
    found = {}
    with closing(connect(side)) as conn, conn.cursor() as cursor:
        for table, pairs in _pairs(cursor, schema):
            for encrypted, plain in pairs:
                statement = "SELECT count(*) FROM {}.{} WHERE coalesce(%s, '') <> '' AND {} IS NULL" % plain
                cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, (schema, table, encrypted))))
                found["%s.%s" % (table, encrypted)] = cursor.fetchone()[0]
    return {name: rows for name, rows in found.items() if rows}


def seal_plain(side, schema, key, progress=None):
    """Encrypt the secrets of :func:`count_plain` into the column that Letta reads; the plain column stays as it is.

    :returns: ``{"table.encrypted column": rows}``. :raises RecoveryError: ``preflight`` without the package ``cryptography``.
    """

    def renew(value, plain):
        return ciphers.seal(plain, key) if plain and value is None else None

    return _rewrite(side, schema, renew, progress)


def change_key(side, schema, old, new, progress=None):
    """Bring every secret under another key, in one transaction: what is under the old key, and what is plain text.

    :param old, new: keys as text; ``old`` may be empty where nothing is encrypted.
    :returns: ``{"table.encrypted column": rows}``.
    :raises RecoveryError: ``key_mismatch`` with the count when a value does not open; then nothing was written.
    """
    closed = []

    def renew(value, _plain):
        if not value:
            return None
        # Whatever key it is under, an encrypted empty string is that of every provider without a key of its own.
        text = "" if ciphers.holds_nothing(value) else ciphers.unseal(value, old) if ciphers.is_encrypted(value) else value
        if text is None:
            closed.append(1)
            return None
        return ciphers.seal(text, new)

    def accept():
        if closed:
            raise RecoveryError(
                "key_mismatch",
                "%d encrypted values of %s do not open under letta_encryption_key: they are under another key, or damaged"
                % (len(closed), side.dbname),
                now=LIVE_UNTOUCHED,
                next_step="restore without letta_encryption_new_key; Letta's owners of these secrets must set them again first",
            )

    return _rewrite(side, schema, renew, progress, accept)


def tell_sealed(rows, before, side, sealed, why, jobs=2):
    """Explain in the report's rows which secrets were written anew, and find what else changed with them.

    :param rows: report rows, changed in place. :param before: of :func:`digest_columns` before it.
    :param sealed: {"table.column": values written}. :param why: half a sentence.
    :returns: names of the tables in which anything else is different now.
    """
    columns: dict[str, dict] = {}
    for name, count in sealed.items():
        table, _dot, column = name.partition(".")
        place = next(label for label in before if bare_name(label) == table)
        columns.setdefault(place, {})[column] = count
    after, bad = digest_columns(side, {name: before[name].identity for name in columns}, jobs, only=columns), []
    for name, written in columns.items():
        was, now = (_without(item, written) for item in (before[name], after[name]))
        bad += [name] if was != now else []
        text = "%s: %s" % (why, ", ".join("%d of %s" % (count, column) for column, count in sorted(written.items())))
        row = next(row for row in rows if row["name"] == name)
        row["explanation"] = "; ".join(part for part in (row["explanation"], text) if part)
        row["digest"] = "differs" if was != now else "explained"
    return bad


def _without(item, columns):
    return replace(item, columns={name: digest for name, digest in item.columns.items() if name not in columns})


def _rewrite(side, schema, renew, progress, accept=lambda: None):
    """Give every row of the tables with secrets to ``renew(encrypted value, plain value)``, which returns a new value or None.

    :param accept: called before the commit; what it raises rolls everything back.
    """
    changed = {}
    progress = progress or Progress(None)
    workers = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
    with workers, closing(connect(side, application_name="letta_ops secrets", autocommit=False)) as conn:
        with conn.cursor() as cursor:
            for table, pairs in _pairs(cursor, schema):
                names = [encrypted for encrypted, _plain in pairs]
                cursor.execute(sql.SQL("LOCK TABLE {}.{} IN EXCLUSIVE MODE").format(sql.Identifier(schema), sql.Identifier(table)))
                progress.start("secrets of %s" % table, 0, "rows")
                done = 0
                for rows in _batches(conn, schema, table, pairs):
                    values = [row[number : number + 2] for row in rows for number in range(1, len(row), 2)]
                    renewed = list(workers.map(lambda pair: renew(*pair), values))
                    _write(cursor, schema, table, names, rows, renewed, changed)
                    done += len(rows)
                    progress.update(done, table)
        accept()
        conn.commit()
    return changed


def _pairs(cursor, schema):
    """Yield (table, [(encrypted column, SQL expression of the plain value beside it)]) of what this schema has."""
    for table, known in sorted(ciphers.COLUMNS.items()):
        cursor.execute(_TYPES, (schema, table))
        types = dict(cursor.fetchall())
        pairs = []
        for encrypted, plain in sorted(known.items()):
            if encrypted in types:
                text = "NULL::text" if plain not in types else "%s::text" % quote_ident(plain)
                pairs.append((encrypted, "nullif(%s, 'null')" % text if types.get(plain) in ("json", "jsonb") else text))
        if pairs:
            yield table, pairs


def _batches(conn, schema, table, pairs):
    """Yield lists of rows (ctid, encrypted value, plain value, encrypted value, …)."""
    columns = ", ".join("%s, %s" % (quote_ident(encrypted), plain) for encrypted, plain in pairs)
    with conn.cursor("letta_ops_secrets") as stream:
        stream.itersize = BATCH
        stream.execute("SELECT ctid::text, %s FROM %s.%s" % (columns, quote_ident(schema), quote_ident(table)))
        while True:
            rows = stream.fetchmany(BATCH)
            if not rows:
                return
            yield rows


def _write(cursor, schema, table, names, rows, renewed, changed):
    """Update each row once: another update of the same row would not find it at its old place."""
    for number, row in enumerate(rows):
        fresh = renewed[number * len(names) : (number + 1) * len(names)]
        update = {name: value for name, value in zip(names, fresh) if value is not None}
        if not update:
            continue
        places = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in update)
        statement = sql.SQL("UPDATE {}.{} SET {} WHERE ctid = %s::tid").format(sql.Identifier(schema), sql.Identifier(table), places)
        cursor.execute(statement, [*update.values(), row[0]])
        if cursor.rowcount != 1:
            what = "a row of %s.%s vanished while its secrets were encrypted"
            raise RecoveryError("load_failed", what % (schema, table), now=LIVE_UNTOUCHED)
        for name in update:
            changed["%s.%s" % (table, name)] = changed.get("%s.%s" % (table, name), 0) + 1
