# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exchanging the live database: fence it off, see everybody out, rename both in one transaction.

``ALTER DATABASE … RENAME`` may run inside a transaction block, so old-away and new-in are one
atomic step: a crash of anything leaves either both names as before or both as after (tested by
killing the server between the two statements). PostgreSQL refuses to rename a database that
has sessions, so nobody can be inside during the exchange.
"""
from __future__ import annotations

import time
from contextlib import closing

from ..errors import RecoveryError
from . import stamp
from .connection import connect, psycopg2, sql
from .sidedb import database_oid, first_line


def fence(server, database):
    """Refuse new connections to a database (superusers included)."""
    _allow(server, database, False)


def unfence(server, database):
    """Accept connections to a database again."""
    _allow(server, database, True)


def _allow(server, database, allowed):
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(database), sql.SQL(str(allowed).lower())))


def is_fenced(server, database):
    """Tell whether a database refuses connections."""
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT NOT datallowconn FROM pg_database WHERE datname = %s", (database,))
        row = cursor.fetchone()
    return bool(row and row[0])


# What a session is that keeps a database from being renamed. Autovacuum's workers are none: PostgreSQL ends those by itself
# (CountOtherDBBackends). Of sessions of others a role without pg_read_all_stats sees little, of workers not even a role.
SESSIONS = (
    "SELECT pid, coalesce(usename, ''), coalesce(application_name, ''),"
    " CASE WHEN backend_type IS NULL THEN 'an address that pg_read_all_stats would show'"
    " ELSE coalesce(host(client_addr), 'local socket') END,"
    " coalesce(state, backend_type, 'state unknown'), coalesce(backend_start::text, '') FROM pg_stat_activity"
    " WHERE datname = %s AND CASE WHEN backend_type IS NULL THEN usesysid IS NOT NULL ELSE backend_type <> 'autovacuum worker' END"
    " ORDER BY backend_start"
)


def as_sessions(rows):
    """Return rows of :data:`SESSIONS` as dicts."""
    return [dict(zip(("pid", "user", "application", "address", "state", "since"), row)) for row in rows]


def sessions(server, database):
    """Return the sessions in a database: dicts of pid, user, application, address, state, since."""
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute(SESSIONS, (database,))
        return as_sessions(cursor.fetchall())


def drain(server, database, timeout, terminate=False, poll=0.1):
    """Wait until nobody is in a database.

    :param timeout: seconds.
    :param terminate: end the sessions instead of only waiting for them.
    :returns: the sessions that are still there: an empty list is success.
    """
    deadline = time.monotonic() + timeout
    while True:
        left = sessions(server, database)
        if not left or time.monotonic() > deadline:
            return left
        if terminate:
            _terminate(server, left)
        time.sleep(poll)


def _terminate(server, found):
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        for item in found:
            try:
                cursor.execute("SELECT pg_terminate_backend(%s)", (item["pid"],))
            except psycopg2.errors.InsufficientPrivilege:
                continue  # it stays in the list of those who did not go, with its name


def exchange(server, live, side, previous, generation=""):
    """Rename live away and side in, in one transaction; the old database stays closed to everybody.

    :param live: name that applications use; may be absent (fresh cluster): then side is renamed in.
    :param generation: written into the comment of the new live database, see :mod:`.stamp`.
    :raises RecoveryError: ``swap_rolled_back``; then no name has changed.
    """
    rename, new, pid = "ALTER DATABASE {} RENAME TO {}", None, None
    try:
        with closing(connect(server, autocommit=False)) as conn, conn.cursor() as cursor:
            pid = conn.info.backend_pid
            cursor.execute("SET LOCAL lock_timeout = '5s'")
            new = database_oid(cursor, side)
            if database_oid(cursor, live) is not None:
                cursor.execute(sql.SQL(rename).format(sql.Identifier(live), sql.Identifier(previous)))
                cursor.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(previous)))
            cursor.execute(sql.SQL(rename).format(sql.Identifier(side), sql.Identifier(live)))
            cursor.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(live)))
            if generation:
                stamp.write(cursor, live, generation)
            conn.commit()
    except psycopg2.Error as exc:
        if new is not None and _went_through(server, live, new, pid):
            return  # committed; only the answer was lost
        raise RecoveryError(
            "swap_rolled_back",
            "PostgreSQL refused to rename %s and %s: %s" % (live, side, first_line(exc)),
            now="no name has changed: %s is the database it was" % live,
            next_step="see who is connected (SELECT * FROM pg_stat_activity), then run the same command again",
        ) from None


def _went_through(server, live, new, pid, patience=10.0):
    """Tell whether an exchange whose session was lost was committed, once that session has been ended on the server too.

    It is not left to find out by itself: a COMMIT that is still on its way to it would be obeyed after this was asked.
    """
    deadline = time.monotonic() + patience
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND starts_with(application_name, 'letta_ops')",
                (pid,),
            )
            if cursor.fetchone() is None:
                break
            time.sleep(0.1)
        return database_oid(cursor, live) == new


def describe_sessions(found, limit=5):
    """Return sessions as one line for an error: ``letta from 10.0.0.7 (uvicorn, idle)``."""
    shown = ["%s from %s (%s, %s)" % (s["user"], s["address"], s["application"] or "no name", s["state"]) for s in found[:limit]]
    more = len(found) - len(shown)
    return ", ".join(shown) + (" and %d more" % more if more > 0 else "")
