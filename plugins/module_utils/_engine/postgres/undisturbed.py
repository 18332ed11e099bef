# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Autovacuum stays away from tables that are being loaded.

It comes to whatever has many new rows, reads all of them beside the load, and every index build and foreign key then waits a second
(``deadlock_timeout``) until the server sends it away, its work undone. When the tables have all that belongs to them, it may come again.
"""
from __future__ import annotations

from contextlib import contextmanager

from .catalog import quote_table

OPTION = "autovacuum_enabled"
# Whether a table, and its TOAST table, leave it to the server: what somebody has set stays as it is.
_TABLES = """
    select n.nspname, c.relname,
           not exists (select from pg_catalog.pg_options_to_table(c.reloptions) where option_name = %(option)s),
           t.oid is not null and not exists (select from pg_catalog.pg_options_to_table(t.reloptions) where option_name = %(option)s)
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_class t on t.oid = c.reltoastrelid
    where c.relkind = 'r' and (n.nspname, c.relname) in %(tables)s
    order by 1, 2
"""


@contextmanager
def undisturbed(session, tables):
    """Keep autovacuum (not that against wraparound) from these tables within the block; where that fails, they are left as they are then.

    :param session: function that returns a context of a connection, of a role that owns them. :param tables: [(schema, name)]
    """
    found = []
    if tables:
        with session() as conn, conn.cursor() as cursor:
            cursor.execute(_TABLES, {"option": OPTION, "tables": tuple(tables)})
            for schema, name, own, toast in cursor.fetchall():
                options = [OPTION] * own + ["toast." + OPTION] * toast
                if options:
                    found.append((quote_table(schema, name), options))
            _alter(cursor, [(table, "set", ["%s = off" % option for option in options]) for table, options in found])
    yield
    if found:
        with session() as conn, conn.cursor() as cursor:
            _alter(cursor, [(table, "reset", options) for table, options in found])


def _alter(cursor, changes):
    if changes:
        cursor.execute("; ".join("alter table %s %s (%s)" % (table, verb, ", ".join(options)) for table, verb, options in changes))
