# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a PostgreSQL server is, as whom we go there, and connecting with honest errors."""
from __future__ import annotations

import re
import socket
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import RecoveryError

# The one place that imports psycopg2, so that its absence is one error with what to install (a module's main() tells it).
try:
    import psycopg2
    import psycopg2.extensions
    import psycopg2.sql

    extensions, sql = psycopg2.extensions, psycopg2.sql
    PSYCOPG2_IMPORT_ERROR: ImportError | None = None
except ImportError as exc:
    psycopg2 = extensions = sql = None  # type: ignore[assignment]
    PSYCOPG2_IMPORT_ERROR = exc

# One text form for every value on every server, so that digests compare (DateStyle,
# TimeZone and friends change the text of values; jit only costs time here).
CANONICAL_SETTINGS = (
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("jit", "off"),
)


CONNECT_SECONDS = 10
# A line that dies tells nobody, and TCP by itself waits for two hours on a silent server, for a quarter of an hour on one it sends to.
# A server that is only busy answers the probes, however long its work takes. One that takes no more of what is sent to it counts as dead
# after this time too, though it answers: a disk may keep it waiting, so it is minutes.
DEAD_LINE_SECONDS = 300
_PROBE_SECONDS = 15
_CANCEL_SECONDS = 3

_ENDED_BY_SERVER = ("57P01", "57P02", "57P03", "57P05", "08006")  # told to end, beside a session that crashed, starting, idle too long
_LOST = re.compile(
    "could not (receive|send) data|closed the connection|connection (already|is|was) (closed|lost)|connection to server was lost"
    "|terminating connection|no connection to the server|EOF detected|Connection (timed out|reset)|consuming input failed|invalid socket"
)
NAME_LIMIT = 63  # bytes; NAMEDATALEN - 1 of every stock PostgreSQL, which cuts what is longer without an error
_URI_PARTS = ("host", "user", "password", "dbname", "sslmode", "sslrootcert")


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server, a role on it, and a default database.

    The password never shows in ``repr``; it reaches child processes through their environment.
    """

    host: str = "localhost"
    port: int = 5432
    user: str = "postgres"
    password: str = field(default="", repr=False)
    dbname: str = "postgres"
    sslmode: str = "prefer"
    sslrootcert: str = ""

    @classmethod
    def from_uri(cls, uri, **overrides):
        """Build from a libpq or SQLAlchemy URI (``postgresql+asyncpg://u:p@h:5432/db``).

        :raises RecoveryError: ``usage`` when the text is no such URI; the text is not repeated.
        """
        plain = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", uri)
        plain = re.sub(r"([?&])ssl=", r"\1sslmode=", plain)
        try:
            parts = extensions.parse_dsn(plain)
        except psycopg2.Error:
            raise RecoveryError(
                "usage", "the PostgreSQL URI cannot be read", next_step="postgresql://user:password@host:5432/database"
            ) from None
        known: dict[str, Any] = {key: str(value) for key, value in parts.items() if key in _URI_PARTS}
        if str(parts.get("port", "")).isdigit():
            known["port"] = int(parts["port"])
        known.update({key: value for key, value in overrides.items() if value})
        return cls(**known)

    def database(self, name):
        """Return the same server and role with another default database."""
        return replace(self, dbname=name)

    def as_role(self, user, password):
        """Return the same server and database for another role."""
        return replace(self, user=user, password=password)

    def environment(self):
        """Return libpq's environment variables for a child process (the password among them)."""
        env = {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGDATABASE": self.dbname,
            "PGSSLMODE": self.sslmode,
            "PGAPPNAME": "letta_ops",
            "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
        }
        if self.password:
            env["PGPASSWORD"] = self.password
        if self.sslrootcert:
            env["PGSSLROOTCERT"] = self.sslrootcert
        return env

    def __str__(self):
        return "%s@%s:%s/%s" % (self.user, self.host, self.port, self.dbname)


def line_options():
    """Return libpq's keywords that end a session whose line is dead, ``{name: number}``."""
    probe = min(_PROBE_SECONDS, DEAD_LINE_SECONDS)
    return {
        "keepalives_idle": probe,
        "keepalives_interval": probe,
        "keepalives_count": max(DEAD_LINE_SECONDS // probe, 1),  # where the next is unknown (Linux alone has it)
        "tcp_user_timeout": DEAD_LINE_SECONDS * 1000,
    }


def conninfo(database):
    """Return a connection string for a client tool that means this database, with :func:`line_options`: no variable is for those.

    It stands in the tool's arguments; host, role and password are in its environment. A bare name with ``=`` would be read as options.
    """
    quoted = database.replace("\\", "\\\\").replace("'", "\\'")
    return " ".join(["dbname='%s'" % quoted] + ["%s=%d" % item for item in line_options().items()])


def session_options(settings=()):
    """Return server settings as ``PGOPTIONS`` takes them, with those that let the server end a session whose line is dead.

    Else it would hold its locks and be inside for hours, and what comes next would find a client that does not leave.

    :param settings: (name, value) of further ones.
    """
    lines = [("tcp_" + name, str(value)) for name, value in line_options().items() if name.startswith("keepalives_")]
    return " ".join("-c %s=%s" % (name, value.replace(" ", "\\ ")) for name, value in [*lines, *settings])


def connect(server, application_name="letta_ops", autocommit=True, canonical=False):
    """Open a connection.

    :param server: a :class:`Server`.
    :param application_name: what ``pg_stat_activity`` shows.
    :param autocommit: False for explicit transactions.
    :param canonical: set :data:`CANONICAL_SETTINGS` for the session.
    :returns: a psycopg2 connection.
    :raises RecoveryError: ``preflight``, saying which of host, password, role or database is wrong; ``usage``, see :func:`check_name`.
    """
    check_name(server.dbname, "database")
    check_name(server.user, "role")
    settings = CANONICAL_SETTINGS if canonical else ()
    try:
        conn = psycopg2.connect(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password or None,
            dbname=server.dbname,
            sslmode=server.sslmode,
            sslrootcert=server.sslrootcert or None,
            application_name=application_name,
            connect_timeout=CONNECT_SECONDS,
            **line_options(),
            options=session_options(settings),
        )
    except psycopg2.OperationalError as exc:
        raise connect_error(server, str(exc)) from None
    except ValueError as exc:  # the text is not repeated, it may be the password's
        raise RecoveryError("usage", "the login for PostgreSQL holds what cannot be sent (%s)" % exc, next_step="type it anew") from None
    conn.autocommit = autocommit
    return conn


def check_name(name, what):
    """Refuse a name that PostgreSQL would not take as it is.

    :param what: ``database`` or ``role``, for the message.
    :raises RecoveryError: ``usage`` when it holds a NUL byte, is no Unicode, or is longer than PostgreSQL keeps.
    """
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        size = None
    if size is None or "\0" in name or size > NAME_LIMIT:
        reason = "has %d bytes, PostgreSQL keeps %d" % (size, NAME_LIMIT) if size and size > NAME_LIMIT else "is no text that can be sent"
        raise RecoveryError("usage", "the name of the %s %.80r %s" % (what, name, reason), next_step="name it as psql -l and \\du do")


def query(server, sql, params=None):
    """Connect, run one statement, return its rows (a list of tuples), disconnect."""
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def release_of(server):
    """Return the major release of the server, 18. :raises RecoveryError: as :func:`connect`."""
    with closing(connect(server)) as conn:
        return conn.server_version // 10000


def lost(server, problem):
    """Return the :class:`RecoveryError` for a connection that ended in mid-work, ``preflight``; None when this is another problem.

    :param server: which, a :class:`Server` or words. :param problem: an exception, or what a client tool said.
    """
    if isinstance(problem, BaseException):
        known = psycopg2 is not None and isinstance(problem, (psycopg2.OperationalError, psycopg2.InterfaceError))
        known = known or (psycopg2 is not None and problem.__class__ is psycopg2.DatabaseError)  # of a COPY: libpq's own words, no kind
        if not known or getattr(problem, "pgcode", None) not in {None, *_ENDED_BY_SERVER}:
            return None
    said = next((line.strip() for line in str(problem).splitlines() if _LOST.search(line)), "")
    if not said:
        return None
    step = "see that PostgreSQL runs and can be reached again, then run the same command again"
    return RecoveryError("preflight", "the connection to %s was lost in mid-work: %s" % (server, said), next_step=step)


@contextmanager
def losses_told(server):
    """Raise :func:`lost` where the connection is lost in the block; everything else passes as it is."""
    try:
        yield
    except psycopg2.Error as exc:
        gone = lost(server, exc)
        if gone is None:
            raise
        raise gone from None


def connect_error(server, text):
    """Return the error of a connection that could not be opened. :param text: what libpq said, directly or through a client tool."""
    said = [line.strip() for line in text.splitlines() if line.strip()] or ["no reason given"]
    reason = next((line for line in said if "FATAL:" in line), said[-1])  # more may follow: a detail, a hint
    step = "check letta_db_host, letta_db_port and that PostgreSQL listens there"
    if "password authentication failed" in text or "no password supplied" in text:
        step = "check letta_db_user and letta_db_password (or the admin pair letta_db_admin_*)"
    elif "does not exist" in text:
        step = "check letta_db_name and letta_db_user"
    elif "not permitted to log in" in text:
        step = "let the role in: ALTER ROLE %s LOGIN; then run the same command again" % server.user
    elif "permission denied for database" in text:
        step = 'let the role in: GRANT CONNECT ON DATABASE "%s" TO "%s"; then run the same command again' % (server.dbname, server.user)
    elif "too many clients" in text or "connection slots" in text or "too many connections" in text:
        step = "see who is connected (SELECT * FROM pg_stat_activity), free a connection, then run the same command again"
    elif "no pg_hba.conf entry" in text:
        step = "let this host in: a line for it in pg_hba.conf of the server, SELECT pg_reload_conf(), then run the same command again"
    elif "not currently accepting connections" in text or "not permitted to" in text:
        step = "the database is fenced off; a cutover was interrupted: run the same restore again, it finishes or undoes it"
    return RecoveryError("preflight", "cannot connect to %s: %s" % (server, reason), next_step=step)


def cancel(conn):
    """Ask the server to end what runs on a connection, where the server answers at once.

    libpq's request has no deadline, and psycopg2 lets no other thread run meanwhile: on a dead line all would stand still for minutes.
    """
    try:
        if not conn.info.host.startswith("/"):
            socket.create_connection((conn.info.host, conn.info.port), _CANCEL_SECONDS).close()
        conn.cancel()
    except (OSError, psycopg2.Error):
        return  # it has ended, or its line is dead and ends it


@contextmanager
def cancelled_when(stopped, conn):
    """Cancel what runs on a connection once an event is set, until the block ends.

    :param stopped: a :class:`threading.Event`.
    """
    ended = threading.Event()

    def watch():
        while not ended.wait(0.05):
            if stopped.is_set():
                cancel(conn)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
