"""A plain SQL dump is read as far as pg_dump writes it, and not one word further."""
from __future__ import annotations

import io

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.plainsql import Script
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError

HEAD = """--
-- PostgreSQL database dump
--

\\restrict abcDEF123

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
"""
TABLE = """CREATE TABLE letta.agents (
    id character varying NOT NULL,
    name character varying DEFAULT 'a;b'::character varying
);
ALTER TABLE letta.agents OWNER TO letta;
"""
ROWS = """COPY letta.agents (id, name) FROM stdin;
agent-1\t\\\\! touch canary
agent-2\t\\N
\\.
"""
TAIL = "\\unrestrict abcDEF123\n\n"


def read(text):
    steps = []
    for step in Script(io.BytesIO(text.encode())).steps():
        steps.append((step.kind, step.data.read() if step.kind == "copy" else step.text.split("(")[0].strip()))
    return steps


def refusal(text):
    with pytest.raises(RecoveryError) as caught:
        read(text)
    assert caught.value.failure_class == "usage"
    return caught.value.details["line"], caught.value.details["reason"]


def test_what_pg_dump_writes_is_cut_into_its_steps():
    steps = read(HEAD + TABLE + ROWS + "SELECT pg_catalog.setval('letta.message_seq_id', 12, true);\n" + TAIL)
    assert steps == [
        ("run", "CREATE TABLE letta.agents"),
        ("copy", b"agent-1\t\\\\! touch canary\nagent-2\t\\N\n"),
        ("run", "SELECT pg_catalog.setval"),
    ]


def test_rows_are_read_in_pieces_of_any_size():
    for size in (1, 7, 1000):
        for step in Script(io.BytesIO((HEAD + ROWS).encode())).steps():
            parts = iter(lambda step=step, size=size: step.data.read(size), b"")
            assert b"".join(parts) == b"agent-1\t\\\\! touch canary\nagent-2\t\\N\n"


def test_rows_that_nobody_reads_are_passed_over():
    kinds = [step.kind for step in Script(io.BytesIO((HEAD + ROWS + TABLE + TAIL).encode())).steps()]
    assert kinds == ["copy", "run"]


@pytest.mark.fault(10, "shell", "program")
@pytest.mark.parametrize(
    "evil",
    [
        "\\! touch canary\n",
        "\\copy letta.agents from program 'touch canary'\n",
        "\\i other.sql\n",
        "COPY letta.agents (id) FROM PROGRAM 'touch canary';\n",
        "COPY letta.agents (id) TO '/tmp/canary';\n",
        "COPY letta.agents (id) FROM stdin WITH (FORMAT binary);\n",
        "CREATE FUNCTION letta.f() RETURNS int LANGUAGE sql AS 'select 1';\n",
        "DO $$ BEGIN END $$;\n",
        "CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION f();\n",
        "CREATE EXTENSION plpython3u;\n",
        "CREATE EXTENSION IF NOT EXISTS dblink WITH SCHEMA public;\n",
        "CREATE TABLE letta.x (a int) AS SELECT (pg_read_file('/etc/passwd'));\n",
        "CREATE RULE r AS ON SELECT TO letta.agents DO INSTEAD NOTHING;\n",
        "SELECT pg_read_file('/etc/passwd');\n",
        "SELECT pg_catalog.setval('a', 1, true), pg_sleep(9);\n",
        "SELECT pg_catalog.set_config('role', 'postgres', false);\n",
        "SET SESSION AUTHORIZATION postgres;\n",
        "SET session_authorization = 'postgres';\n",
        "SET role = 'postgres';\n",
        "SET standard_conforming_strings = off;\n",
        "SET client_encoding = 'SJIS';\n",
        "ALTER SYSTEM SET archive_command = 'touch canary';\n",
        "INSERT INTO letta.agents VALUES ('a');\n",
        "DROP TABLE letta.agents;\n",
        "CREATE TABLE letta.x (a int); DROP TABLE letta.agents;\n",
        "CREATE TABLE letta.x (a int) /* ; */ ;\n",
        "CREATE TABLE letta.x (a int\n\\! touch canary\n);\n",
    ],
)
def test_anything_else_is_refused_by_its_line(evil):
    line, reason = refusal(HEAD + TABLE + evil + TAIL)
    first = (HEAD + TABLE).count("\n") + 1
    assert first <= line <= first + evil.count("\n")
    assert reason


@pytest.mark.fault(10, "newline")
def test_a_newline_in_a_table_name_smuggles_no_command_through_a_comment():
    line, reason = refusal(HEAD + "-- Name: evil\n\\! touch canary\n; Type: TABLE\n" + TAIL)
    assert (line, "psql command" in reason) == (HEAD.count("\n") + 2, True)


@pytest.mark.fault(10, "newline")
def test_a_quoted_name_with_a_newline_and_a_command_runs_nothing():
    found = refusal(HEAD + 'CREATE TABLE letta."evil\n\\! touch canary\n" (a int); SELECT 1;\n' + TAIL)
    assert found == (HEAD.count("\n") + 1, "a name with a line break in it")


@pytest.mark.fault(10, "unrestrict")
@pytest.mark.parametrize(
    ("forged", "at"),
    [("\\unrestrict other\n", 1), ("\\restrict second\n", 1), ("\\unrestrict abcDEF123\n" + TABLE, 2), ("\\unrestrict\n", 1)],
)
def test_a_forged_end_of_the_restricted_part_is_refused(forged, at):
    assert refusal(HEAD + TABLE + forged + TAIL)[0] == (HEAD + TABLE).count("\n") + at


def test_a_restricted_part_that_begins_late_is_refused():
    assert refusal(HEAD.replace("\\restrict abcDEF123\n", "") + TABLE + "\\restrict abc\n")[0] > 5


def test_a_dump_that_ends_in_the_middle_is_refused():
    assert refusal(HEAD + "CREATE TABLE letta.x (\n a int,\n")[1] == "the dump ends in the middle of a statement"
    assert refusal(HEAD + ROWS[:-3])[1] == "the dump ends in the middle of a table's rows"
