# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forms of a content digest, as SQL: a row becomes two 64-bit integers, and each is summed over the rows modulo 2^64.

``md5sum``: the halves of the md5 of the row's text. It can be computed from an archive's own text as well, so adopted dumps have it.

``rowsum``: the server's own 64-bit hash of the texts of the columns (``hash_array_extended``). The hash of an array is a linear
sum of those of its elements, and a sum over rows of that would not see two rows exchange a value: so it is hashed once more, as
text, under two seeds. PostgreSQL has to keep these functions as they are from release to release, because hash partitions
survive pg_upgrade; they do depend on the byte order of the machine, see :data:`PROBE`.

``hashsum``: the same with the inner hash under both seeds too. Sets of before have it. It takes 0.4 of the time of ``md5sum``
(measured: 2.15 s and 0.83 s for 427 000 rows, 350 MB), ``rowsum`` 0.75 of the time of that (0.41 s and 0.31 s for 277 000, 228 MB).

All are there to notice damage and loss, not to withstand a forger.
"""
from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import RecoveryError
from .catalog import quote_ident, quote_table

MD5, HASH, ROW = FORMS = ("md5sum", "hashsum", "rowsum")
MODULO = 1 << 64
# What a little-endian server says; tests ask servers of several releases.
PROBE = "select pg_catalog.hashtextextended(pg_catalog.hash_array_extended(array['probe', null, ''] collate \"C\", 1)::text, 1)"
PROBE_ANSWER = 3461877355946537684
_SUMS = {
    MD5: ("md5({value})", "('x' || left(h, 16))::bit(64)::int8", "('x' || right(h, 16))::bit(64)::int8"),
    HASH: ("{value}", *("hashtextextended(hash_array_extended(h, %d)::text, %d)" % (seed, seed) for seed in (1, 2))),
    ROW: ("hash_array_extended({value}, 1)::text", "hashtextextended(h, 1)", "hashtextextended(h, 2)"),
}
_SELECT = (
    "select {key}, count(*), sum({first}), sum({second})"
    " from (select {group} as k, {row} as h from {table} t {where} offset 0) s {by}"
)


@dataclass(frozen=True)
class TableDigest:
    """What a table holds.

    :param rows: number of rows.
    :param digest: ``md5sum:<16 hex><16 hex>``, and so on; all zeros for an empty table.
    :param groups: ``{value of the grouping column: (rows, digest)}``; NULL counts as the empty text.
    """

    rows: int
    digest: str
    groups: dict = field(default_factory=dict)


class Sums:
    """Adds up rows and their sums, per group, from pieces in any order.

    :param form: of :data:`rowsums.FORMS`.
    """

    def __init__(self, form=MD5):
        self.form, self.groups = form, {}

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
        groups = {key: (rows, format_digest(a, b, self.form)) for key, (rows, a, b) in self.groups.items()} if grouped else {}
        return TableDigest(totals[0], format_digest(totals[1], totals[2], self.form), groups)


def in_words(digests):
    """Return digests in the words of a manifest's ``tables``, sorted by name. :param digests: {name: :class:`TableDigest`}."""
    return {name: {"rows": found.rows, "digest": found.digest} for name, found in sorted(digests.items())}


def form_of(tables):
    """Return the form of digests of a manifest.

    :param tables: {name: {"digest"}}; without any, the form that every server computes.
    :raises RecoveryError: ``preflight`` for an unknown one.
    """
    found = {entry["digest"].partition(":")[0] for entry in tables.values()} or {MD5}
    if len(found) > 1 or not found <= set(FORMS):
        text = "the set has content digests in forms that this release does not know, or not together: %s" % ", ".join(sorted(found))
        raise RecoveryError("preflight", text, next_step="install the release of letta_ops.recovery that made the set")
    return found.pop()


def settle(cursor, form=None):
    """Return the form to take on this server, and whether text is to be converted: it is digested as UTF-8, however it is kept.

    :param form: None: the quickest that this server computes as every other would. :raises RecoveryError: as :func:`require`.
    """
    cursor.execute("show server_encoding")
    foreign = cursor.fetchone()[0] not in ("UTF8", "SQL_ASCII")
    if form is None:
        return (MD5 if foreign or not _hashes_alike(cursor) else ROW), foreign
    require(cursor, form)
    return form, foreign


def require(cursor, form):
    """Refuse a server that computes other digests than the one a set was taken of. :raises RecoveryError: ``preflight``."""
    if form != MD5 and not _hashes_alike(cursor):
        raise RecoveryError(
            "preflight", "this server hashes in another byte order than the one the set was taken of: what comes back could not be proven",
            next_step="restore on a little-endian machine (x86-64, arm64)",
        )  # fmt: skip


def _hashes_alike(cursor):
    cursor.execute(PROBE)
    return cursor.fetchone()[0] == PROBE_ANSWER


def format_digest(first, second, form=MD5):
    """Return the text form of two sums."""
    return "%s:%016x%016x" % (form, first % MODULO, second % MODULO)


def sums(form, columns, table, group=None, where="", as_utf8=False):
    """Return the statement that digests a table: rows of (group, rows, first sum, second sum).

    :param columns: [(name, (schema, send function) of pgvector's types or None)], as :data:`digest.COLUMNS` sorts them.
    :param table: what to read, as SQL. :param group: column to sum by, None: one row whose group is the empty text, as NULL's is.
    :param where: with the keyword; the table is ``t``. :param as_utf8: convert the text, of a database in another encoding.
    """
    row, first, second = _SUMS[form]
    value = record_text(columns, "t") if form == MD5 else _texts(columns, "t")
    return _SELECT.format(
        key="coalesce(k, '')" if group else "''",
        group="t.%s::text" % quote_ident(group) if group else "null::text",
        row=row.format(value="convert_to(%s, 'UTF8')" % value if as_utf8 else value),
        first=first, second=second, table=table, where=where,
        by="group by 1" if group else "",
    )  # fmt: skip


def record_text(columns, alias):
    """Return the SQL expression of a row's text, as ``md5sum`` takes it; columns as for :func:`sums`."""
    return "row(%s)::text" % ", ".join("md5(%s)" % _sent(name, send, alias) if send else _column(name, alias) for name, send in columns)


def _texts(columns, alias):
    values = ["md5(%s)" % _sent(name, send, alias) if send else _column(name, alias) + "::text" for name, send in columns]
    return 'array[%s]::text[] collate "C"' % ", ".join(values)


def _sent(name, send, alias):
    return "%s(%s)" % (quote_table(*send), _column(name, alias))


def _column(name, alias):
    return "%s.%s" % (alias, quote_ident(name))
