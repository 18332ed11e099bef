# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away copy made harmless: no key, no token, no tool secret, no callback, no background turn, and a fake model for every agent."""
from __future__ import annotations

import json
from contextlib import closing

from ..errors import RecoveryError
from ..letta import outward
from ..postgres.catalog import quote_ident, quote_table
from ..postgres.connection import connect

# Set in postgresql.conf of a server that holds nothing but throw-away copies.
MARK = "letta_ops.rehearsal"
# A setting of a database or role may have come along with a restored database: it marks no server.
_MARKED = """
SELECT coalesce(current_setting(%(mark)s, true), '') <> '' AND NOT EXISTS (
    SELECT FROM pg_db_role_setting WHERE EXISTS (SELECT FROM unnest(setconfig) one WHERE one LIKE %(mark)s || '=%%'))
"""
_COLUMNS = """
SELECT n.nspname, c.relname, a.attname, a.attnotnull FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname = ANY (current_schemas(false))
"""


def blank(server, model_url, check=False):
    """Empty it, in one transaction.

    :param server: :class:`Server` of the copy, as its owner or an admin. :param model_url: of the fake model service; empty leaves agents
        with an address that leads nowhere. :param check: only count.
    :returns: {"table.column": rows that were changed}, without those that needed no change.
    :raises RecoveryError: ``preflight`` when the server is not marked as one of rehearsals: it may be production's.
    """
    with closing(connect(server, autocommit=False)) as conn, conn.cursor() as cursor:
        done = empty(cursor, server, model_url)
        if check:
            conn.rollback()
        else:
            conn.commit()
    return done


def empty(cursor, server, model_url):
    """Empty it in the transaction that the cursor is in. Parameters, result and errors as those of :func:`blank`."""
    require_mark(cursor, server)
    there = columns(cursor)
    if ("agents", "id") not in there:
        raise RecoveryError(
            "preflight", "%s shows no table of Letta to this role" % server, now="nothing was changed",
            next_step="name the restored database, whose search_path leads to Letta's schema",
        )  # fmt: skip
    done = {}
    for name, statement, params in _statements(there, model_url or outward.NOWHERE):
        cursor.execute(statement, params)
        if cursor.rowcount:
            done[name] = done.get(name, 0) + cursor.rowcount
    return done


def columns(cursor):
    """Return ``{(table, column): (schema, whether NULL is refused)}`` of the tables on the search_path."""
    cursor.execute(_COLUMNS)
    return {(table, column): (schema, required) for schema, table, column, required in cursor.fetchall()}


def require_mark(cursor, server):
    """Go on only where the server says that it is one of rehearsals. :raises RecoveryError: ``preflight`` where it does not."""
    cursor.execute(_MARKED, {"mark": MARK})
    if not cursor.fetchone()[0]:
        raise RecoveryError(
            "preflight",
            "the PostgreSQL server of %s is not marked as one of rehearsals, so nothing in it is touched" % server,
            now="nothing was changed",
            next_step="if it holds nothing but throw-away copies, put  %s = 'staging'  into its postgresql.conf and reload it" % MARK,
        )


def _statements(there, model_url):
    """Yield (what is said, statement, parameters) for every column that is there."""
    for table, column in outward.secret_columns():
        if (table, column) in there:
            yield _update(there, table, column, "" if there[table, column][1] else None)
    for table, column, value in outward.VALUES:
        if (table, column) in there:
            yield _update(there, table, column, value)
    for (table, column), keys in outward.model_settings(model_url).items():
        if (table, column) in there:
            place = (quote_table(there[table, column][0], table), quote_ident(column))
            yield (
                "%s.%s" % (table, column),
                "UPDATE {0} SET {1} = ({1}::jsonb || %s::jsonb)::json WHERE json_typeof({1}) = 'object'"
                " AND NOT {1}::jsonb @> %s::jsonb".format(*place),
                (json.dumps(keys),) * 2,
            )


def _update(there, table, column, value):
    place = (quote_table(there[table, column][0], table), quote_ident(column))
    if value is None:
        return "%s.%s" % (table, column), "UPDATE {0} SET {1} = NULL WHERE {1} IS NOT NULL".format(*place), None
    # NULL is never emptied: for the frequency of groups it means "after each turn", so that is written, too.
    where = "{1} IS DISTINCT FROM %s" if table == "groups" else "{1} <> %s"
    return "%s.%s" % (table, column), ("UPDATE {0} SET {1} = %s WHERE " + where).format(*place), (value, value)
