# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Damage in tables and B-tree indexes, found by PostgreSQL's own pg_amcheck where the extension amcheck is installed."""
from __future__ import annotations

import re

from .process import run_tool

# Of amcheck's functions; a role needs the right to call both.
FUNCTIONS = ("verify_heapam", "bt_index_check")
_DAMAGE = 2
_DAMAGED = re.compile(r'^(?:heap table|btree index) "(?:[^"]|"")*?\.(?P<schema>[^".]+)\.(?P<name>[^".]+)"', re.MULTILINE)


def unavailable(cursor):
    """Return why pg_amcheck cannot be run in the cursor's database by its role, or an empty text when it can.

    :param cursor: of an open connection.
    """
    cursor.execute("select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'amcheck'")
    row = cursor.fetchone()
    if row is None:
        return "the extension amcheck is not installed in this database"
    for name in FUNCTIONS:
        # By name only: their arguments grew from version to version.
        cursor.execute(
            "select bool_and(has_function_privilege(p.oid, 'EXECUTE')) from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
            " where p.proname = %s and n.nspname = %s",
            (name, row[0]),
        )
        (allowed,) = cursor.fetchone()
        if not allowed:
            return "the role may not call %s" % name if allowed is not None else "this amcheck has no %s" % name
    return ""


def damaged(server, schema, tools, jobs=1):
    """Run pg_amcheck over all tables and indexes of a schema.

    :param tools: :class:`~.tools.Tools` with ``pg_amcheck``, of the server's major version or newer.
    :returns: sorted names of damaged tables and indexes; pg_amcheck's messages are left out, since they may quote values.
    :raises ToolFailed: when pg_amcheck itself fails.
    """
    argv = [tools.path("pg_amcheck"), "--no-password", "--database", server.dbname, "--schema", schema, "--jobs", jobs]
    done = run_tool(argv, server=server, accepted=(0, _DAMAGE))
    found = sorted({match.group("name") for match in _DAMAGED.finditer(done.stdout)})
    return found or (["unnamed"] if done.returncode == _DAMAGE else [])
