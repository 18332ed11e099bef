# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scratch database for a plain SQL dump: filled by an unprivileged role, dumped as an archive, dropped."""
from __future__ import annotations

import secrets
from contextlib import closing, contextmanager

from ..errors import RecoveryError
from ..postgres import dump
from ..postgres.catalog import quote_ident
from ..postgres.connection import connect, psycopg2
from ..progress import Progress
from . import plainsql

SILENT = Progress(None)

PREFIX = "letta_adopt_"
NOTHING_ADOPTED = "live database untouched, nothing was adopted, the scratch database was dropped"


def archive_plain_dump(source, server, target, tools, jobs=1, progress=SILENT):
    """Turn a plain SQL dump into an archive of directory format.

    :param source: the SQL file.
    :param server: a server and a role that may create databases. A superuser is not used to run the dump: a role without any
        privilege is made for it, and dropped with the scratch database.
    :param target: folder to dump into; must not exist.
    :returns: what :func:`dump.dump_directory` returns.
    :raises RecoveryError: ``usage`` with the line that is refused, ``load_failed`` with what PostgreSQL refused.
    """
    with _scratch(server) as (scratch, role):
        with open(source, "rb") as stream, closing(connect(scratch, "letta_ops_adopt")) as conn:
            _fill(conn, plainsql.Script(stream), role, progress)
        return dump.dump_directory(scratch, target, tools, jobs, progress=progress)


@contextmanager
def _scratch(server):
    """Make a database and, for a superuser, an unprivileged role to own it; yields (its server, role or None)."""
    name = PREFIX + secrets.token_hex(6)
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        try:
            cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            role = name if cursor.fetchone()[0] else None
            if role:
                cursor.execute("CREATE ROLE %s NOLOGIN" % quote_ident(role))
            owner = " OWNER %s" % quote_ident(role) if role else ""
            cursor.execute("CREATE DATABASE %s%s TEMPLATE template0 ENCODING 'UTF8'" % (quote_ident(name), owner))
        except psycopg2.errors.InsufficientPrivilege:
            raise RecoveryError(
                "preflight",
                "%s may not create the scratch database that a plain SQL dump needs" % server.user,
                "live database untouched, nothing was adopted",
                "ALTER ROLE %s CREATEDB, or set letta_db_admin_user to a role that may" % server.user,
            ) from None
        try:
            yield server.database(name), role
        finally:
            cursor.execute("DROP DATABASE IF EXISTS %s WITH (FORCE)" % quote_ident(name))
            if role:
                cursor.execute("DROP ROLE IF EXISTS %s" % quote_ident(role))


def _fill(conn, script, role, progress):
    progress.start("adopt", unit="lines")
    with conn.cursor() as cursor:
        cursor.execute("SET search_path TO ''")
        for step in script.steps():
            progress.update(script.number, step.text[:40])
            try:
                _run(cursor, step, role)
            except psycopg2.Error as exc:
                said = str(exc).strip().splitlines() or ["no reason given"]
                raise RecoveryError(
                    "load_failed", "line %d of the SQL dump: %s" % (step.number, said[0]), NOTHING_ADOPTED, "look at that line",
                ) from None


def _run(cursor, step, role):
    """Run one step. Only schemas and the vector extension are made by the login role; all else runs as the unprivileged one."""
    if step.kind == "schema":
        owner = " AUTHORIZATION %s" % quote_ident(role) if role else ""
        cursor.execute("CREATE SCHEMA IF NOT EXISTS %s%s" % (quote_ident(step.name), owner))
        return
    if step.kind == "extension":
        cursor.execute("CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA %s" % quote_ident(step.name))
        return
    if role:
        cursor.execute("SET ROLE %s" % quote_ident(role))
    try:
        if step.kind == "copy":
            cursor.copy_expert(step.text.rstrip(";"), step.data, size=1 << 18)
        else:
            cursor.execute(step.text)
    finally:
        if role and not cursor.closed and not cursor.connection.closed:
            cursor.execute("RESET ROLE")
