"""What is agreed with libpq and the server about lines that die, and which failures are a lost connection."""
from __future__ import annotations

import socket
import time
from contextlib import closing

import psycopg2
import psycopg2.errors
import pytest
from psycopg2.extensions import parse_dsn

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import connection


@pytest.fixture
def conn(make_database):
    with closing(connection.connect(make_database())) as made:
        yield made


def test_both_ends_of_a_session_notice_a_dead_line_after_minutes(conn):
    ours = conn.info.dsn_parameters
    assert int(ours["tcp_user_timeout"]) == 300_000
    assert int(ours["keepalives_idle"]) + int(ours["keepalives_interval"]) * int(ours["keepalives_count"]) <= 330
    with conn.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name LIKE 'tcp_keepalives%'")
        assert dict(cursor.fetchall()) == {"tcp_keepalives_idle": "15", "tcp_keepalives_interval": "15", "tcp_keepalives_count": "20"}


def test_client_tools_are_told_the_same_and_nothing_that_is_secret():
    told = parse_dsn(connection.conninfo("it's = \\ a name"))
    assert told == {"dbname": "it's = \\ a name", **{name: str(value) for name, value in connection.line_options().items()}}


@pytest.mark.parametrize(("problem", "lost"), [
    (psycopg2.OperationalError("could not receive data from server: Connection timed out\n"), True),
    (psycopg2.DatabaseError("server closed the connection unexpectedly\n\tThis probably means"), True),
    (psycopg2.InterfaceError("connection already closed"), True),
    (psycopg2.OperationalError("invalid socket\n"), True),
    (psycopg2.OperationalError('connection to server at "db1" failed: Connection refused'), False),
    (psycopg2.ProgrammingError("the query speaks of terminating connection"), False),
    (OSError("Connection reset by peer"), False),
    ("pg_restore: error: could not execute query: server closed the connection unexpectedly", True),
    ("pg_restore: error: relation \"lost\" does not exist", False),
])  # fmt: skip
def test_a_lost_connection_is_told_from_other_failures(problem, lost):
    error = connection.lost("db1", problem)
    assert (error is not None) == lost
    if error:
        assert error.failure_class == "preflight"
        assert error.message.startswith("the connection to db1 was lost in mid-work: ")


def test_a_session_that_the_server_ended_is_a_lost_connection_and_a_cancelled_statement_is_none(conn, pg):
    with pytest.raises(psycopg2.Error) as cancelled, conn.cursor() as cursor:
        cursor.execute("SET statement_timeout = 1; SELECT pg_sleep(5)")
    assert connection.lost("db1", cancelled.value) is None
    pg.execute("SELECT pg_terminate_backend(%s)", params=(conn.info.backend_pid,))
    with pytest.raises(psycopg2.Error) as ended, conn.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert connection.lost("db1", ended.value) is not None


def test_nothing_is_asked_of_a_server_that_does_not_answer(monkeypatch):
    """psycopg2 would let no other thread run until libpq has given up, after two minutes."""
    monkeypatch.setattr(connection, "_CANCEL_SECONDS", 0.3)

    class Session:
        class info:
            host = "127.0.0.1"

        @staticmethod
        def cancel():
            raise AssertionError("it was asked")

    with closing(socket.socket()) as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        Session.info.port = deaf.getsockname()[1]
        waiting = [socket.socket() for _place in range(4)]  # they fill its queue: who comes now is not answered
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        began = time.monotonic()
        connection.cancel(Session)
        assert 0.2 < time.monotonic() - began < 3
        for one in waiting:
            one.close()
