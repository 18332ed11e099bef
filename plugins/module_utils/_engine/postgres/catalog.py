# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a database is, read from the system catalogs: its properties, tables and sequences."""

from __future__ import annotations

from contextlib import closing

from . import stamp
from .connection import connect, psycopg2

LOCALE_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin", "d": "default"}

# Schemas of the server itself, and whatever belongs to an extension, are no user data: pg_dump leaves them out as well.
_USER_SCHEMA = "n.nspname <> 'information_schema' and n.nspname !~ '^pg_'"
_NOT_OF_EXTENSION = (
    "not exists (select from pg_catalog.pg_depend e where e.classid = '%s'::pg_catalog.regclass and e.objid = %s and e.deptype = 'e')"
)
_SCHEMAS = """
    select n.nspname from pg_catalog.pg_namespace n where %s and %s order by 1
""" % (_USER_SCHEMA, _NOT_OF_EXTENSION % ("pg_catalog.pg_namespace", "n.oid"))
# For a query with pg_class as c and its pg_namespace as n.
USER_TABLE = "c.relpersistence <> 't' and %s and %s" % (_USER_SCHEMA, _NOT_OF_EXTENSION % ("pg_catalog.pg_class", "c.oid"))
_TABLES = """
    select n.nspname, c.relname, c.relkind::text, c.oid::int8, pg_catalog.pg_table_size(c.oid),
           pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and %s order by 1, 2
""" % USER_TABLE
# The column a sequence belongs to: by ownership (OWNED BY, identity), else the column whose default draws from it.
_SEQUENCES = """
    select n.nspname, c.relname,
           (select array[tn.nspname, t.relname, a.attname]
            from (select d.refobjid as relid, d.refobjsubid as attnum, 0 as rank
                  from pg_catalog.pg_depend d
                  where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid and d.refobjsubid > 0
                    and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.deptype in ('a', 'i')
                  union all
                  select f.adrelid, f.adnum, 1
                  from pg_catalog.pg_depend d join pg_catalog.pg_attrdef f on f.oid = d.objid
                  where d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
                    and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = c.oid) u
            join pg_catalog.pg_class t on t.oid = u.relid
            join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
            join pg_catalog.pg_attribute a on a.attrelid = u.relid and a.attnum = u.attnum
            order by u.rank, tn.nspname, t.relname, a.attname limit 1)::text[]
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'S' and c.relpersistence <> 't' and %s and %s order by 1, 2
""" % (_USER_SCHEMA, _NOT_OF_EXTENSION % ("pg_catalog.pg_class", "c.oid"))
_DATABASE = """
    select d.oid, d.datname, r.rolname, pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, {provider}, {locale},
           d.datacl::text[], pg_catalog.shobj_description(d.oid, 'pg_database'), d.datconnlimit, pg_catalog.pg_database_size(d.oid)
    from pg_catalog.pg_database d left join pg_catalog.pg_roles r on r.oid = d.datdba
    where d.datname = pg_catalog.current_database()
"""
_SETTINGS = """
    select r.rolname, u.line from pg_catalog.pg_db_role_setting s
    left join pg_catalog.pg_roles r on r.oid = s.setrole, unnest(s.setconfig) with ordinality as u(line, position)
    where s.setdatabase = %s order by r.rolname nulls first, u.position
"""
_EXTENSIONS = """
    select e.extname, e.extversion, n.nspname from pg_catalog.pg_extension e
    join pg_catalog.pg_namespace n on n.oid = e.extnamespace order by 1
"""


def quote_ident(name):
    """Return an SQL identifier, always quoted."""
    return '"%s"' % name.replace('"', '""')


def quote_table(schema, name):
    """Return a qualified SQL name, always quoted."""
    return "%s.%s" % (quote_ident(schema), quote_ident(name))


def user_schemas(server):
    """Return the names of the schemas that hold user data, sorted; ``public`` among them when it exists."""
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute(_SCHEMAS)
        return [row[0] for row in cursor.fetchall()]


def tables(server):
    """Return ``["schema.table"]``, sorted: ordinary and partitioned tables, without those of the system and of extensions."""
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        return ["%s.%s" % row[:2] for row in read_tables(cursor)]


def read_tables(cursor):
    """Return ``(schema, name, relkind, oid, bytes with TOAST, pages)`` of each user table, through an open cursor."""
    cursor.execute(_TABLES)
    return cursor.fetchall()


def sequences(server):
    """Return ``{"schema.sequence": {"last_value": int, "is_called": bool, "column": "schema.table.column" or None}}``.

    ``column`` is the owning column or, where nothing owns the sequence, the one whose default draws from it: Letta's
    ``message_seq_id`` is owned by no column.
    """
    result = {}
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute(_SEQUENCES)
        for schema, name, column in cursor.fetchall():
            cursor.execute("select last_value, is_called from %s" % quote_table(schema, name))
            last_value, is_called = cursor.fetchone()
            result["%s.%s" % (schema, name)] = {
                "last_value": last_value,
                "is_called": is_called,
                "column": ".".join(column) if column else None,
            }
    return result


def database_facts(server):
    """Return what a plain dump does not carry about the server's default database.

    :returns: dict of ``name``, ``owner``, ``encoding``, ``collate``, ``ctype``, ``locale_provider`` (``libc``, ``icu``, ``builtin``),
        ``locale`` (of ICU or builtin, else None), ``settings`` [{``role`` (None: any), ``name``, ``value``}], ``acl`` [text],
        ``comment``, ``connection_limit``, ``extensions`` [{``name``, ``version``, ``schema``}], ``size_bytes``,
        ``server_version`` ("18.6"), ``server_version_num``, ``system_identifier`` (None without the privilege).
    :raises RecoveryError: ``preflight`` when the database cannot be reached.
    """
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        number = conn.server_version
        # 15 brought the provider; the ICU locale was renamed in 17, when the builtin provider came
        provider = "d.datlocprovider::text" if number >= 150000 else "'c'"
        locale = "d.datlocale" if number >= 170000 else "d.daticulocale" if number >= 150000 else "null"
        cursor.execute(_DATABASE.format(provider=provider, locale=locale))
        row = cursor.fetchone()
        cursor.execute(_SETTINGS, (row[0],))
        settings = [dict(zip(("role", "name", "value"), (role,) + line.partition("=")[::2])) for role, line in cursor.fetchall()]
        cursor.execute(_EXTENSIONS)
        extensions = [dict(zip(("name", "version", "schema"), values)) for values in cursor.fetchall()]
        cursor.execute("show server_version")
        version = cursor.fetchone()[0].split()[0]
        return {
            "name": row[1],
            "owner": row[2],
            "encoding": row[3],
            "collate": row[4],
            "ctype": row[5],
            "locale_provider": LOCALE_PROVIDERS.get(row[6], row[6]),
            "locale": row[7],
            "settings": settings,
            "acl": row[8] or [],
            "comment": stamp.split(row[9])[0],
            "connection_limit": row[10],
            "extensions": extensions,
            "size_bytes": row[11],
            "server_version": version,
            "server_version_num": number,
            "system_identifier": _system_identifier(cursor),
        }


def _system_identifier(cursor):
    try:
        cursor.execute("select system_identifier::text from pg_catalog.pg_control_system()")
        return cursor.fetchone()[0]
    except psycopg2.errors.InsufficientPrivilege:
        return None
