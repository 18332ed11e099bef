# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An empty database made what Letta's own ``init.sql`` makes of it: schema of its name, search_path, ``vector`` in it, no ``public``.

``init.sql`` runs only in an empty data folder, and only when it is mounted; this may be run again.
"""
from __future__ import annotations

from contextlib import closing

from ..errors import RecoveryError
from ..postgres.connection import connect, psycopg2, sql

# Relations, types and functions of nobody's extension, outside PostgreSQL's own schemas.
_HOLDS = """
SELECT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = ANY (mine.oids))
    OR EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = ANY (mine.oids)
               AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'))
FROM (SELECT array_agg(oid) AS oids FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema') mine
"""
_SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
_VECTOR = "SELECT nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'vector'"
_PATH = """
SELECT split_part(one, '=', 2) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) one
WHERE d.datname = current_database() AND s.setrole = 0 AND one LIKE 'search_path=%'
"""


def unprepared(server):
    """Tell whether a database is empty and not yet prepared.

    :param server: :class:`Server` of its owner, in that database.
    """
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        return _unprepared(cursor, server.dbname)


def prepare(server):
    """Prepare a database that is empty; leave any other alone.

    :param server: :class:`Server` of its owner, in that database; the owner has to be allowed to create the extension.
    :returns: whether anything was changed.
    :raises RecoveryError: ``preflight`` when it may not, or when pgvector is not installed.
    """
    name = sql.Identifier(server.dbname)
    try:
        with closing(connect(server, autocommit=False)) as conn, conn.cursor() as cursor:
            if not _unprepared(cursor, server.dbname):
                return False
            cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(name, sql.Identifier(server.user)))
            cursor.execute(sql.SQL("ALTER DATABASE {0} SET search_path TO {0}").format(name))
            # One that a template brought along lies in public, which goes.
            cursor.execute("DROP EXTENSION IF EXISTS vector")
            cursor.execute(sql.SQL("CREATE EXTENSION vector WITH SCHEMA {}").format(name))
            if server.dbname != "public":
                cursor.execute("DROP SCHEMA IF EXISTS public")
            conn.commit()
            return True
    except psycopg2.Error as exc:
        raise RecoveryError(
            "preflight",
            "database %s cannot be prepared: %s" % (server, str(exc).strip().splitlines()[0]),
            now="the database is as it was, empty",
            next_step="use an image with pgvector, and a user that is the database's owner and a superuser (POSTGRES_USER is both)",
        ) from None


def _unprepared(cursor, database):
    cursor.execute(_HOLDS)
    if cursor.fetchone()[0]:
        return False
    cursor.execute(_SCHEMAS)
    schemas = {row[0] for row in cursor.fetchall()}
    cursor.execute(_VECTOR)
    vector = [row[0] for row in cursor.fetchall()]
    cursor.execute(_PATH)
    path = [row[0].strip('"').replace('""', '"') for row in cursor.fetchall()]
    is_prepared = database in schemas and (vector, path) == ([database], [database]) and "public" not in schemas - {database}
    return not is_prepared
