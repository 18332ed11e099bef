# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases beside the live one: names, creation with everything a plain dump leaves out, removal."""
from __future__ import annotations

import hashlib
import re
import time
from contextlib import closing

from ..errors import RecoveryError
from .connection import NAME_LIMIT, connect, psycopg2, sql

# Parameters whose value is a list of names that PostgreSQL quotes one by one (GUC_LIST_QUOTE in its guc_tables.c).
NAME_LISTS = ("search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries")
# Sessions of ours that are at work on a whole database; each is told to end.
_ORDERS = (
    "SELECT left(query, 100), pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state = 'active'"
    " AND starts_with(application_name, 'letta_ops') AND query ~* '^ *(create|drop|alter) +database '"
    " AND EXISTS (SELECT 1 FROM unnest(%s::text[]) AS quoted WHERE strpos(query, quoted) > 0)"
)


def side_name(database, purpose, run_id):
    """Return ``<database>__<purpose>_<run id>``, shortened to PostgreSQL's 63 bytes where needed.

    :param purpose: ``restore`` (the side database) or ``before`` (the old one, kept).
    """
    tail = "__%s_%s" % (purpose, run_id)
    if len((database + tail).encode("utf-8")) <= NAME_LIMIT:
        return database + tail
    mark = "~" + hashlib.sha256(database.encode("utf-8")).hexdigest()[:6]
    room = NAME_LIMIT - len((mark + tail).encode("utf-8"))
    return database.encode("utf-8")[:room].decode("utf-8", "ignore") + mark + tail


def database_oid(cursor, name):
    """Return a database's oid, or None when it does not exist."""
    cursor.execute("SELECT oid FROM pg_database WHERE datname = %s", (name,))
    row = cursor.fetchone()
    return row[0] if row else None


def is_open(cursor, name):
    """Tell whether a database lets anybody in; one that was exchanged away does not."""
    cursor.execute("SELECT datallowconn FROM pg_database WHERE datname = %s", (name,))
    row = cursor.fetchone()
    return bool(row and row[0])


def create_side_database(server, name, owner, facts):
    """Create an empty database with the set-up that a plain dump does not carry.

    :param server: admin :class:`Server` (its database is the maintenance database).
    :param facts: ``database`` part of a manifest: encoding, collate, ctype, locale_provider, settings, acl,
        comment, connection_limit, extensions, schema. Missing keys fall back to the server's defaults.
    :returns: (oid, warnings)
    :raises RecoveryError: ``load_failed`` naming what PostgreSQL refused; nothing is left behind then.
    """
    warnings, oid = [], None
    try:
        with closing(connect(server)) as conn, conn.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")  # as in a load: whatever is lost with the server is the side database alone
            _create(cursor, name, owner, facts, warnings)
            oid = database_oid(cursor, name)
            warnings += apply_database_facts(cursor, name, facts)
        with closing(connect(server.database(name))) as conn, conn.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")
            _prepare_schemas(cursor, owner, facts)
    except psycopg2.Error as exc:
        if oid is not None:
            drop_database(server, name, oid)
        raise RecoveryError(
            "load_failed", "the side database %s could not be prepared on %s: %s" % (name, server.host, first_line(exc))
        ) from None
    return oid, warnings


def _create(cursor, name, owner, facts, warnings):
    """Create from template0; a locale this server lacks falls back to its default, said in a warning."""
    create = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(sql.Identifier(name), sql.Identifier(owner))
    parts: list[sql.Composable] = [create]
    if facts.get("encoding"):
        parts.append(sql.SQL("ENCODING {}").format(sql.Literal(facts["encoding"])))
    locale = _locale_clauses(facts)
    try:
        cursor.execute(sql.SQL(" ").join(parts + locale))
    except (psycopg2.errors.WrongObjectType, psycopg2.errors.InvalidParameterValue, psycopg2.errors.FeatureNotSupported) as exc:
        if not locale:
            raise
        wanted = facts.get("locale") or facts["collate"]
        warnings.append("locale %s of the backup is not on this server (%s): its default is used" % (wanted, first_line(exc)))
        cursor.execute(sql.SQL(" ").join(parts))


def _locale_clauses(facts):
    """Return the CREATE DATABASE clauses of the backup's locale; none when it is not known."""
    if not facts.get("collate"):
        return []
    clauses: list[sql.Composable] = [
        sql.SQL("LC_COLLATE {}").format(sql.Literal(facts["collate"])),
        sql.SQL("LC_CTYPE {}").format(sql.Literal(facts.get("ctype") or facts["collate"])),
    ]
    provider, locale = facts.get("locale_provider"), facts.get("locale")
    if provider in ("icu", "builtin") and locale:
        clauses.append(sql.SQL("LOCALE_PROVIDER {} {} {}").format(
            sql.SQL(provider), sql.SQL(provider.upper() + "_LOCALE"), sql.Literal(locale)
        ))
    elif provider == "libc":
        clauses.append(sql.SQL("LOCALE_PROVIDER libc"))
    return clauses


def apply_database_facts(cursor, name, facts):
    """Set database-level settings, grants, comment and connection limit.

    :param facts: as :func:`create_side_database`.
    :returns: warnings for settings and grants of roles that this server does not have.
    """
    warnings = []
    cursor.execute("SELECT rolname FROM pg_roles")
    roles = {row[0] for row in cursor.fetchall()}
    database = sql.Identifier(name)
    for item in facts.get("settings") or []:
        if item.get("role") and item["role"] not in roles:
            warnings.append("setting %s for role %s is left out: no such role here" % (item["name"], item["role"]))
            continue
        target = sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(item["role"]), database) if item.get("role") else None
        _set_parameter(cursor, target or sql.SQL("DATABASE {}").format(database), item)
    warnings += _apply_grants(cursor, database, facts.get("acl"), roles)
    if facts.get("comment"):
        cursor.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, sql.Literal(facts["comment"])))
    if facts.get("connection_limit") not in (None, -1):
        cursor.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(database, sql.Literal(facts["connection_limit"])))
    return warnings


PRIVILEGES = {"C": "CREATE", "T": "TEMPORARY", "c": "CONNECT"}


def parse_acl_item(text):
    """Split one entry of ``pg_database.datacl`` into (role, [(privilege, grantable)]).

    >>> parse_acl_item('letta=CT*c/postgres')
    ('letta', [('CREATE', False), ('TEMPORARY', True), ('CONNECT', False)])

    The role is an empty string for PUBLIC.
    """
    quoted = re.match(r'"((?:[^"]|"")*)"=', text)
    role, _equals, rest = (quoted.group(1).replace('""', '"'), "=", text[quoted.end() :]) if quoted else text.partition("=")
    letters = rest.partition("/")[0]
    found = []
    for index, letter in enumerate(letters):
        if letter in PRIVILEGES:
            found.append((PRIVILEGES[letter], letters[index + 1 : index + 2] == "*"))
    return role, found


def _apply_grants(cursor, database, acl, roles):
    """Make the privileges on the database those of the backup; none recorded means PostgreSQL's default."""
    warnings = []
    if not acl:
        return warnings
    cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    for role, privileges in map(parse_acl_item, acl):
        if role and role not in roles:
            warnings.append("database privileges of role %s are left out: no such role here" % role)
            continue
        for privilege, grantable in privileges:
            statement = sql.SQL("GRANT {} ON DATABASE {} TO {} {}").format(
                sql.SQL(privilege),
                database,
                sql.Identifier(role) if role else sql.SQL("PUBLIC"),
                sql.SQL("WITH GRANT OPTION" if grantable else ""),
            )
            cursor.execute(statement)
    return warnings


def _set_parameter(cursor, target, item):
    """Set one parameter; some are lists of names (an empty one is written as an empty literal), everything else one literal."""
    value: sql.Composable = sql.Literal(item["value"])
    if item["name"].lower() in NAME_LISTS:
        value = sql.SQL(", ").join(map(sql.Literal, split_names(item["value"]) or [""]))
    parameter = sql.SQL(".").join(sql.Identifier(part) for part in item["name"].split("."))
    cursor.execute(sql.SQL("ALTER {} SET {} TO {}").format(target, parameter, value))


def split_names(text):
    """Split a search_path value (``"$user", letta, "odd ""name"``) into its names."""
    names, current, quoted, index = [], "", False, 0
    while index < len(text):
        char = text[index]
        if char == '"' and quoted and text[index + 1 : index + 2] == '"':
            current, index = current + '"', index + 1
        elif char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            names, current = names + [current], ""
        elif char.isspace() and not quoted:
            pass
        else:
            current += char
        index += 1
    return [name for name in names + [current] if name]


def _prepare_schemas(cursor, owner, facts):
    """Make the schemas and the extensions as Letta's init.sql does; drop ``public`` where the backup has none."""
    schema = facts.get("schema") or "public"
    for name in sorted({schema, *(facts.get("schemas") or [])} - {"public"}):
        cursor.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(sql.Identifier(name), sql.Identifier(owner)))
    places = []
    for extension in facts.get("extensions") or []:
        if extension["name"] == "plpgsql":
            continue
        place = extension.get("schema") or schema
        places.append(place)
        cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(place)))
        cursor.execute(
            sql.SQL("CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {}").format(
                sql.Identifier(extension["name"]), sql.Identifier(place)
            )
        )
    if "public" not in [schema] + places + (facts.get("schemas") or []):
        cursor.execute("DROP SCHEMA IF EXISTS public")


def drop_database(server, name, oid=None):
    """Drop a database of ours, throwing out whoever is in it.

    :param oid: drop only if the name still belongs to this oid, so that a database that took
        over the name since is never touched.
    :returns: True when something was dropped.
    :raises RecoveryError: ``preflight`` when the server refuses, or goes down over it, as on a full disk.
    """
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        found = database_oid(cursor, name)
        if found is None or (oid is not None and found != oid):
            return False
        try:
            cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        except psycopg2.Error as exc:
            raise RecoveryError(
                "preflight",
                "database %s cannot be dropped: %s" % (name, first_line(exc)),
                next_step="look at the server's log and its disks, then run the same command again",
            ) from None
    return True


def end_orders(server, names, patience=60.0):
    """End what a process that was killed had PostgreSQL do with whole databases, and wait until it has ended.

    The server goes on with CREATE and DROP DATABASE although nobody waits for them: what is not there yet may be in a moment.

    :param names: of databases. :raises RecoveryError: ``preflight`` when one is still under way after ``patience`` seconds.
    """
    deadline = time.monotonic() + patience
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        while True:
            cursor.execute(_ORDERS, ([sql.Identifier(name).as_string(conn) for name in names],))
            found = cursor.fetchall()
            if not found:
                return
            if time.monotonic() > deadline:
                raise RecoveryError(
                    "preflight", "PostgreSQL is still at work for a process that was killed: %s" % found[0][0],
                    next_step="wait until pg_stat_activity shows it no more, then run the same command again",
                )  # fmt: skip
            time.sleep(0.05)


def first_line(exc):
    """Return the first line of a database error: the reason without the statement."""
    text = str(exc).strip()
    return text.splitlines()[0] if text else type(exc).__name__
