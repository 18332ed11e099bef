# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of a Letta database as dicts, whatever its release: a column that is not there reads as None, a table as no rows."""
from __future__ import annotations

from ...postgres.connection import sql


class Rows:
    """Reads through a :class:`..validate_context.Context`."""

    def __init__(self, context):
        self._context = context
        self._schema = sql.Identifier(context.schema)

    def has(self, table, *columns):
        """Tell whether there is such a table with these columns."""
        return table in self._context.tables and self._context.tables[table].issuperset(columns)

    def columns(self, table, names, alias="t"):
        """Return composed SQL that lists columns of a table under their names, NULL for one it lacks."""
        listed = []
        for name in names:
            value = sql.SQL("{}.{}").format(sql.Identifier(alias), sql.Identifier(name)) if self.has(table, name) else sql.SQL("null::text")
            listed.append(sql.SQL("{} as {}").format(value, sql.Identifier(name)))
        return sql.SQL(", ").join(listed)

    def table(self, text, table):
        """Return composed SQL in which ``{}`` is a table with its schema."""
        return sql.SQL(text).format(sql.Identifier(self._context.schema, table))

    def read(self, text, params=None, **parts):
        """Run a statement (``{s}`` is the schema, other names are composed SQL) and return its rows as dicts."""
        composed = {name: sql.SQL(part) if isinstance(part, str) else part for name, part in parts.items()}
        cursor = self._context.cursor
        cursor.execute(sql.SQL(text).format(s=self._schema, **composed), params)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]

    def select(self, table, names, where, params=None):
        """Return columns of a table's rows; no rows where there is no such table."""
        if not self.has(table):
            return []
        return self.read("select {columns} from {s}.{table} as t where " + where, params, columns=self.columns(table, names),
                         table=sql.Identifier(table))  # fmt: skip
