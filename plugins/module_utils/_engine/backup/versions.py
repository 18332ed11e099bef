# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where in a database Letta's tables are, and at which Alembic revision: asked of the table that Alembic keeps."""
from __future__ import annotations

from ..errors import RecoveryError
from ..letta.entities import VERSION_TABLE
from ..postgres.catalog import quote_table

_SCHEMAS = """
    select n.nspname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relname = %s and c.relkind in ('r', 'p') order by 1
"""


def letta_schemas(cursor):
    """Return the schemas that hold a table ``alembic_version``, by name; an empty database has none."""
    cursor.execute(_SCHEMAS, (VERSION_TABLE,))
    return [row[0] for row in cursor.fetchall()]


def letta_schema(cursor, database):
    """Return the one schema of Letta's tables.

    :param database: name, for messages.
    :raises RecoveryError: ``schema`` when none or several have the table.
    """
    found = letta_schemas(cursor)
    if len(found) == 1:
        return found[0]
    what = "no table alembic_version" if not found else "alembic_version in several schemas (%s)" % ", ".join(found)
    raise RecoveryError("schema", "%s holds %s: this is no Letta database" % (database, what), next_step="check letta_db_name")


def revisions(cursor, schema):
    """Return the rows of ``alembic_version``, sorted, as the cursor's transaction sees them; None without that table."""
    if schema not in letta_schemas(cursor):
        return None
    cursor.execute("SELECT version_num FROM %s ORDER BY 1" % quote_table(schema, VERSION_TABLE))
    return [row[0] for row in cursor.fetchall()]
