# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The generation of a database: who made it the live one and when, as the last line of its comment.

A comment may be set by the owner (a custom parameter, ``ALTER DATABASE … SET``, only by a superuser), changes nothing for those
who connect, is in no dump of the database, and ``\\l+`` in psql shows it.
"""
from __future__ import annotations

from .connection import sql

MARK = "letta_ops generation: "


def split(comment):
    """Return (the comment without our line or None, generation or empty)."""
    lines = (comment or "").split("\n")
    if not lines[-1].startswith(MARK):
        return comment, ""
    return "\n".join(lines[:-1]) or None, lines[-1][len(MARK) :]


def read(cursor, database):
    """Return (comment without our line or None, generation or empty) of a database; of one that is absent (None, "")."""
    cursor.execute("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (database,))
    row = cursor.fetchone()
    return split(row[0] if row else None)


def write(cursor, database, generation):
    """Set the generation of a database; the rest of its comment stays."""
    comment = read(cursor, database)[0]
    text = "%s%s%s" % (comment + "\n" if comment else "", MARK, generation)
    cursor.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(database), sql.Literal(text)))
