# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there where the restore will go: server, role, live database, disk."""
from __future__ import annotations

import os
from contextlib import closing

from ..backup import versions
from ..errors import RecoveryError
from ..postgres import replication, segments, stamp
from ..postgres.connection import check_name, connect, psycopg2
from ..postgres.sidedb import first_line

STARTED_WITHIN = 10  # seconds between a server's first moment, which its files tell, and the one it tells itself


def inspect_target(server, database, owner=""):
    """Look at a server and at the database a restore would replace; changes nothing.

    :param server: admin :class:`Server`, its database is the maintenance database.
    :param owner: Letta's role, or empty for the live database's owner.
    :returns: plain data:
        ``server_version_num``, ``server_version``, ``system_identifier``, ``standby``,
        ``role`` {name, superuser, createdb, may_set_owner}, ``owner``, ``owner_exists``,
        ``extensions`` {name: {version, trusted}} available on the server,
        ``databases`` {name: oid}, ``free_bytes`` (None when the data folder is not on this host),
        ``live`` None or {oid, owner, fenced, size_bytes, schema, revisions, generation},
        ``replication`` of :mod:`..postgres.replication`.
    :raises RecoveryError: ``preflight`` when the server cannot be reached, ``usage`` for a name that PostgreSQL would cut.
    """
    check_name(database, "database")
    check_name(owner, "role")
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        facts = _server_facts(cursor)
        facts["replication"] = replication.of_server(cursor)
        facts["databases"] = _pairs(cursor, "SELECT datname, oid::bigint FROM pg_database WHERE NOT datistemplate")
        facts["live"] = _live_facts(cursor, database)
        facts["owner"] = owner or (facts["live"] or {}).get("owner") or server.user
        facts["role"], facts["owner_exists"] = _role_facts(cursor, facts["owner"])
        facts["free_bytes"] = _free_bytes(cursor)
    if facts["live"] and not facts["live"]["fenced"]:
        try:
            facts["live"].update(_live_contents(server.database(database), facts["live"]["owner"]))
            facts["replication"].update(replication.of_database(server.database(database)))
        except RecoveryError:
            # What an interrupted run has left behind may still work, and have fenced it off since: that is told, and put right, as such.
            with closing(connect(server)) as conn, conn.cursor() as cursor:
                facts["live"] = _live_facts(cursor, database)
            if not facts["live"] or not facts["live"]["fenced"]:
                raise
    return facts


def tell_of_changes(server, database, seen, error):
    """Return when the live database is what it was, so that the error stands.

    :param seen: ``live`` of :func:`inspect_target`. :param error: what could not be done since.
    :raises RecoveryError: ``locked`` where it was dropped, exchanged or fenced off meanwhile: that explains the error.
    """
    try:
        with closing(connect(server)) as conn, conn.cursor() as cursor:
            what = _change(seen, _live_facts(cursor, database))
    except (RecoveryError, psycopg2.Error):
        return  # the error at hand tells more
    if what:
        raise RecoveryError(
            "locked",
            "the live database was %s while this run looked at it: what an interrupted run has left behind still works on it (%s)"
            % (what, error),
            now="this run has changed nothing",
            next_step="wait some seconds and run the same command again: it goes on from where that one ends",
        ) from None


def _change(seen, now):
    if not seen or not now:
        return ("dropped" if seen else "made") if bool(seen) != bool(now) else ""
    if now["oid"] != seen["oid"]:
        return "exchanged"
    return "fenced off" if now["fenced"] and not seen["fenced"] else ""


def _pairs(cursor, statement, params=None):
    cursor.execute(statement, params)
    return dict(cursor.fetchall())


def _server_facts(cursor):
    cursor.execute(
        "SELECT current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery(),"
        " now()::text, extract(epoch FROM now())::float"
    )
    number, text, standby, _now, epoch = cursor.fetchone()
    facts = {"server_version_num": number, "server_version": text.split(" ")[0], "standby": standby, "now": epoch}
    facts["system_identifier"] = _system_identifier(cursor)
    cursor.execute(
        "SELECT e.name, e.default_version, coalesce(bool_or(v.trusted), false) FROM pg_available_extensions e"
        " LEFT JOIN pg_available_extension_versions v ON v.name = e.name AND v.version = e.default_version GROUP BY 1, 2"
    )
    facts["extensions"] = {name: {"version": version, "trusted": trusted} for name, version, trusted in cursor.fetchall()}
    return facts


def _system_identifier(cursor):
    try:
        cursor.execute("SELECT system_identifier::text FROM pg_control_system()")
        return cursor.fetchone()[0]
    except psycopg2.errors.InsufficientPrivilege:
        return None


def _role_facts(cursor, owner):
    cursor.execute("SELECT rolname, rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user")
    name, superuser, createdb = cursor.fetchone()
    cursor.execute("SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = %s", (owner,))
    row = cursor.fetchone()
    return {"name": name, "superuser": superuser, "createdb": createdb, "may_set_owner": bool(row and row[0])}, row is not None


def _live_facts(cursor, database):
    cursor.execute(
        "SELECT oid::bigint, pg_get_userbyid(datdba), NOT datallowconn, pg_has_role(current_user, datdba, 'MEMBER')"
        " FROM pg_database WHERE datname = %s",
        (database,),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    live = dict(zip(("oid", "owner", "fenced", "may_rename"), row), size_bytes=None, schema=None, revisions=[])
    live["generation"] = stamp.read(cursor, database)[1]
    try:
        cursor.execute("SELECT pg_database_size(%s)", (database,))
        live["size_bytes"] = cursor.fetchone()[0]
    except psycopg2.errors.InsufficientPrivilege:
        live["size_bytes"] = None
    return live


def _live_contents(server, owner):
    """Return schema, Alembic revisions and the binary form of vectors of the live database of ``owner``; an empty database has none."""
    try:
        with closing(connect(server)) as conn, conn.cursor() as cursor:
            # Of several, which no Letta makes, the first: the database is about to be replaced, not to be used.
            schema = next(iter(versions.letta_schemas(cursor)), None)
            return {"schema": schema, "revisions": versions.revisions(cursor, schema) or [], "vector_probe": segments.probe(cursor)}
    except psycopg2.Error as exc:
        raise RecoveryError(
            "preflight",
            "the live database %s cannot be read as %s: %s" % (server.dbname, server.user, first_line(exc)),
            next_step="as a superuser: GRANT %s TO %s; or set letta_db_admin_user" % (owner, server.user),
        ) from None


def _free_bytes(cursor):
    """Return free bytes where the server keeps its data, or None when that folder is not visible from here."""
    try:
        cursor.execute("SELECT current_setting('data_directory'), extract(epoch FROM pg_postmaster_start_time())::float")
        folder, started = cursor.fetchone()
        stat = os.statvfs(folder)
    except (psycopg2.errors.InsufficientPrivilege, OSError):
        return None
    return stat.f_bavail * stat.f_frsize if is_folder_of(folder, started) else None


def is_folder_of(folder, started):
    """Tell whether a folder of this host can be the data folder of the server that started then (seconds since the epoch).

    A server in a container or on another host names a folder that this host may have too, with another server's files or none.
    """
    try:
        with open(os.path.join(folder, "postmaster.pid"), encoding="utf-8") as stream:
            lines = stream.read().split("\n")
    except PermissionError:
        return True  # nothing is known against it
    except OSError:
        return False
    return len(lines) > 2 and lines[2].isdigit() and abs(int(lines[2]) - started) <= STARTED_WITHIN


def loss_window(server, database, schema, taken_at, until=None):
    """Return what the live database has that a backup of ``taken_at`` lacks.

    :param taken_at: ISO time in UTC. :param until: the same, to count only what was created up to then.
    :returns: {"seconds", "messages", "agents": [names, at most ten], "agents_count"}; counts are None when unknown.
    """
    window: dict[str, object] = {"seconds": None, "messages": None, "agents": [], "agents_count": None}
    with closing(connect(server.database(database))) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM coalesce(%s::timestamptz, now()) - %s::timestamptz)::float", (until, taken_at))
        window["seconds"] = cursor.fetchone()[0]
        if schema is None:
            return window
        place = '"%s".' % schema.replace('"', '""')
        between, span = "created_at > %s AND created_at <= coalesce(%s::timestamptz, 'infinity')", (taken_at, until)
        try:
            cursor.execute("SELECT count(*) FROM " + place + "messages WHERE " + between, span)
            window["messages"] = cursor.fetchone()[0]
            cursor.execute("SELECT name FROM " + place + "agents WHERE " + between + " ORDER BY created_at", span)
            names = [row[0] or "(no name)" for row in cursor.fetchall()]
        except psycopg2.errors.UndefinedTable:
            return window
    window.update(agents=names[:10], agents_count=len(names))
    return window
