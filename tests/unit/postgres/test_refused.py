"""What is told when PostgreSQL lets nobody in, or refuses what is loaded: the line to type next fits the reason."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server, connect_error
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.refused import load_failed

AT = 'connection to server at "db1" (10.0.0.5), port 5432 failed: '


@pytest.mark.parametrize(("said", "told", "step"), [
    ('FATAL:  permission denied for database "letta"\nDETAIL:  User does not have CONNECT privilege.\n',
     'permission denied for database "letta"', 'GRANT CONNECT ON DATABASE "letta" TO "ops"'),
    ("FATAL:  sorry, too many clients already\n", "too many clients", "pg_stat_activity"),
    ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute\n", "connection slots", "pg_stat_activity"),
    ('FATAL:  no pg_hba.conf entry for host "10.0.0.7", user "ops", database "letta", no encryption\n', 'host "10.0.0.7"', "pg_hba.conf"),
    ('FATAL:  password authentication failed for user "ops"\n', "password", "letta_db_password"),
    ("Connection refused\n\tIs the server running on that host and accepting connections?\n", "Is the server running", "letta_db_host"),
])  # fmt: skip
def test_a_connection_that_is_refused_is_told_with_its_reason_and_what_to_type(said, told, step):
    error = connect_error(Server(host="db1", user="ops", dbname="letta"), AT + said)
    assert error.failure_class == "preflight"
    assert told in error.message
    assert step in error.next_step


class DiskFull(Exception):
    pgcode = "53100"


@pytest.mark.parametrize(("problem", "whose"), [
    (DiskFull("konnte Datei nicht erweitern"), "make room"),
    ('pg_restore: error: could not extend file "base/5/1": No space left on device', "make room"),
    (ValueError("invalid input syntax for type json"), "try another set"),
])  # fmt: skip
def test_a_full_disk_is_not_held_against_the_set(problem, whose):
    error = load_failed("loading letta.messages failed", problem)
    assert (error.failure_class, error.message) == ("load_failed", "loading letta.messages failed")
    assert whose in error.next_step
    assert ("another set" in error.next_step) == (whose != "make room")
