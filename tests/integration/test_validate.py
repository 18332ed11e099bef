"""Validation as a whole: a sound Letta database passes, the frame around the data is looked at, the module and its steps."""
from __future__ import annotations

from contextlib import closing
from functools import partial

import psycopg2
import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect, query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import find_tools, run_tool
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.checks.base import STEPS
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.checks.registry import CHECKS, DATA_PROBES, step_of
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.validate import is_structural, validate_database
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.validate_context import open_context, split_path
from tests.integration.validate_kit import (
    AGENT,
    HEAD,
    MESSAGES,
    OTHER,
    broken,
    entity,
    insert,
    run_module,
    superuser,
    vector,
)


@pytest.fixture
def database(sound_database):
    return sound_database


def test_a_sound_database_passes_every_check_without_a_warning(database):
    findings = validate_database(database, expected_revision=HEAD, role="letta")
    assert [(f.id, f.detail) for f in findings if f.status != "pass"] == []
    assert not [f.id for f in findings if "not applicable" in f.detail]
    # Asked elsewhere: they need another release or a database that is none of Letta's.
    assert set(CHECKS) - {f.id for f in findings} == {"schema.found", "vectors.agent_passages", "vectors.dimensions"}
    assert {f.id for f in findings} <= set(CHECKS)


def test_checks_come_in_the_order_of_the_seven_steps(database):
    steps = [step_of(finding.id) for finding in validate_database(database, expected_revision=HEAD)]
    assert list(dict.fromkeys(steps)) == list(STEPS)
    assert steps == sorted(steps, key=list(STEPS).index)


def test_the_checks_run_on_a_connection_that_cannot_write(database):
    with open_context(database) as context, pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        context.fetch("update letta.agents set name = 'x' returning id")


def test_a_value_postgresql_cannot_decode_fails_its_own_check_and_no_other(database):
    query(database, "update agents set message_ids = %s where id = %s", ('["\\u0000"]', OTHER))
    found = broken(database)
    (contexts,) = [probe for probe in DATA_PROBES if probe.checks[0].id == "agents.message_ids_empty"]
    assert set(found) == {check.id for check in contexts.checks} | {"agents.prompt_stale"}
    assert all("could not be computed: " in finding.detail for finding in found.values())


def test_more_than_ten_offenders_are_counted_and_ten_are_named(database):
    with closing(connect(database)) as conn, conn.cursor() as cursor:
        for number in range(100, 123):
            insert(cursor, "runs", id=entity("run", number), agent_id=AGENT, status="running")
    found = broken(database)
    assert set(found) == {"work.runs", "runs.metrics"}
    finding = found["work.runs"]
    assert (finding.count, len(finding.examples)) == (23, 10)
    assert "23 rows of runs" in finding.detail


@pytest.mark.fault(32, "behind")
def test_a_sequence_behind_its_column_is_found(database):
    query(database, "select setval('message_seq_id', 3)")
    found = broken(database)
    assert list(found) == ["sequence.message_seq_id"]
    assert "gives 4 next" in found["sequence.message_seq_id"].detail


def test_a_sequence_that_would_repeat_only_its_last_value_is_found(database):
    query(database, "select setval('message_seq_id', %d, false)" % MESSAGES)
    assert list(broken(database)) == ["sequence.message_seq_id"]
    query(database, "select setval('message_seq_id', %d, true)" % MESSAGES)
    assert broken(database) == {}


def test_a_column_that_lost_its_sequence_is_found(database):
    query(database, "alter table messages alter sequence_id drop default")
    assert "does not draw" in broken(database)["sequence.message_seq_id"].detail
    query(database, "drop sequence message_seq_id")
    assert "is missing" in broken(database)["sequence.message_seq_id"].detail


def test_a_constraint_that_was_never_validated_is_found(database):
    query(database, "alter table messages add constraint late check (role <> '') not valid")
    found = broken(database)
    assert list(found) == ["schema.constraints"]
    assert found["schema.constraints"].examples == ("messages.late",)


def test_tables_without_their_primary_keys_are_found_as_after_a_load_cut_short(database):
    query(database, "alter table messages drop constraint messages_pkey cascade")
    found = broken(database)
    assert list(found) == ["schema.primary_keys"]
    assert found["schema.primary_keys"].examples == ("messages",)


def test_an_invalid_index_is_found(pg, database):
    ((name,),) = query(
        database, "select indexrelid::regclass::text from pg_index where indrelid = 'runs'::regclass and not indisunique limit 1"
    )
    superuser(pg, database, "update pg_index set indisvalid = false where indexrelid = 'letta.%s'::regclass" % name)
    found = broken(database)
    assert list(found) == ["schema.indexes"]
    assert found["schema.indexes"].examples == (name,)


@pytest.mark.fault(37, "collation")
def test_a_collation_that_has_changed_since_an_index_was_built_is_a_warning_with_what_to_do(pg, database):
    if pg.execute("SHOW server_version_num") < [("170000",)]:
        pytest.skip("PostgreSQL before 17 has no collations of its own, which every build has")
    query(database, "create collation letta.of_then (provider = builtin, locale = 'C.UTF-8')")
    query(database, "create index sorted_by_then on block (label collate letta.of_then)")
    superuser(pg, database, "update pg_collation set collversion = '0' where collname = 'of_then'")
    (found,) = [item for item in validate_database(database) if item.id == "schema.collations"]
    assert (found.status, found.examples) == ("warn", ("of_then",))
    assert CHECKS["schema.collations"].advice.startswith("REINDEX")
    query(database, "reindex index sorted_by_then")
    query(database, "alter collation letta.of_then refresh version")
    (found,) = [item for item in validate_database(database) if item.id == "schema.collations"]
    assert found.status == "pass"


@pytest.mark.fault(14, "dimension")
@pytest.mark.parametrize("table", ["archival_passages", "source_passages"])
def test_a_vector_of_another_width_is_found_where_the_column_allows_it(database, table):
    query(database, "alter table %s alter embedding type vector" % table)
    assert broken(database) == {}
    statement = f"update {table} set embedding = %s where id = (select min(id) from {table}) returning id"
    ((victim,),) = query(database, statement, (vector(3),))
    found = broken(database)
    assert list(found) == ["vectors.%s" % table]
    assert found["vectors.%s" % table].examples == (victim,)


@pytest.mark.fault(37, "owner")
def test_a_role_that_sees_no_tables_is_found_before_letta_starts_as_if_empty(pg, database):
    superuser(pg, database, 'alter database "%s" reset search_path' % database.dbname)
    # The role is named like the schema, which hides the missing setting.
    assert broken(database, role="letta") == {}
    pg.ensure_role("stranger", "x")
    found = broken(database, role="stranger")
    assert list(found) == ["names.search_path", "names.vector"]
    assert "as if the database were empty" in found["names.search_path"].detail


def test_a_role_with_the_path_but_without_the_right_to_use_the_schema_is_found(pg, database):
    pg.ensure_role("stranger", "x")
    assert "names.search_path" in broken(database, role="stranger")
    superuser(pg, database, "grant usage on schema letta to stranger")
    assert broken(database, role="stranger") == {}


def test_a_role_that_does_not_exist_is_named(database):
    assert broken(database, role="nobody-here")["names.search_path"].examples == ("nobody-here",)


def test_a_setting_of_the_role_wins_over_that_of_the_database(pg, database):
    superuser(pg, database, 'alter role letta in database "%s" set search_path = nowhere, "Odd, ""one"' % database.dbname)
    assert "names.search_path" in broken(database, role="letta")


def test_search_paths_are_read_as_postgresql_stores_them():
    assert split_path('"$user", public') == ["$user", "public"]
    assert split_path('"Odd, ""one", PLAIN') == ['Odd, "one', "plain"]
    assert split_path('""') == []


@pytest.mark.fault(14, "schema")
def test_a_vector_extension_elsewhere_is_found(pg, database):
    superuser(pg, database, "create schema elsewhere", "alter extension vector set schema elsewhere")
    assert list(broken(database)) == ["names.vector"]


@pytest.mark.fault(15, "unknown", "empty", "heads", "table")
@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("update alembic_version set version_num = 'feedfacecafe'", "none of Letta's"),
        ("delete from alembic_version", "empty"),
        ("insert into alembic_version values ('ddb69be34a72')", "2 revisions"),
        ("drop table alembic_version", "no table alembic_version"),
    ],
    ids=["unknown", "empty", "two heads", "no table"],
)
def test_a_revision_that_is_unknown_empty_double_or_absent_is_found(database, statement, word):
    query(database, statement)
    found = broken(database)
    assert list(found) == ["revision.known"]
    assert word in found["revision.known"].detail


def test_another_revision_than_the_expected_one_is_found_with_the_distance(database):
    query(database, "update alembic_version set version_num = 'ddb69be34a72'")
    found = broken(database, expected_revision=HEAD)
    assert list(found) == ["revision.expected"]
    assert "50 migrations older" in found["revision.expected"].detail


def test_what_an_older_release_does_not_have_is_not_applicable_and_no_failure(database):
    query(database, "drop table runs cascade")
    query(database, "drop table archives_agents, file_contents")
    query(database, "alter table files drop total_chunks")
    query(database, "alter table messages drop sequence_id")
    findings = {f.id: f for f in validate_database(database)}
    assert {f.id: f.detail for f in findings.values() if f.status != "pass"} == {}
    idle = {name for name, finding in findings.items() if "not applicable" in finding.detail}
    assert idle == {
        "work.runs", "runs.metrics", "values.runs.status", "values.runs.stop_reason", "ids.runs", "archives.one_per_agent",
        "organisation.archives", "files.contents", "files.error_message", "ids.file_contents", "files.passages", "sequence.message_seq_id",
        "conversations.system", "conversations.positions", "conversations.messages_missing", "conversations.tool_calls",
        "conversations.tool_returns",
    }  # fmt: skip


def test_a_database_without_lettas_tables_says_so_and_stops(make_database):
    findings = validate_database(make_database())
    assert [(f.id, f.status) for f in findings] == [("schema.found", "fail")]


def test_only_checks_of_the_whole_database_are_structural(database):
    structural = {f.id for f in validate_database(database, expected_revision=HEAD) if is_structural(f.id)}
    assert structural == {
        "revision.known", "revision.expected", "schema.constraints", "schema.primary_keys", "schema.indexes", "schema.collations",
        "integrity.amcheck",
        "names.search_path", "names.vector", "queries.agents", "queries.messages", "queries.passages",
        "sequence.message_seq_id", "vectors.archival_passages", "vectors.source_passages",
    }  # fmt: skip


@pytest.mark.parametrize("check", [False, True])
def test_the_module_fails_on_what_it_was_told_to_fail_on(database, check):
    query(database, "update agents set message_ids = '[]' where id = '%s'" % OTHER)
    ask = partial(run_module, "letta_validate", database, check, database=database.dbname, expected_revision=HEAD)
    tolerant = ask()
    assert (tolerant["changed"], tolerant["status"]) == (False, "fail")
    assert [c["id"] for c in tolerant["checks"] if c["status"] == "fail"] == ["agents.message_ids_empty"]
    strict = ask(fail_on="all")
    assert (strict["failed"], strict["failure_class"]) == (True, "verify_failed")
    assert OTHER in strict["msg"]
    assert strict["checks"] == tolerant["checks"]
    query(database, "select setval('message_seq_id', 3)")
    assert "sequence.message_seq_id" in ask()["msg"]
    assert ask(fail_on="never")["status"] == "fail"


def test_the_revision_of_a_database_and_of_its_archive_is_told_alike(pg, database, tmp_path):
    query(database, "update alembic_version set version_num = 'ddb69be34a72'")
    tools = find_tools(need=("pg_dump",))
    run_tool([tools.path("pg_dump"), "-Fc", "-f", str(tmp_path / "a.dump"), "-t", "letta.alembic_version"], server=database)
    live = run_module("alembic_info", database, database=database.dbname, target_version="0.16.8")
    stored = run_module("alembic_info", database, archive=str(tmp_path / "a.dump"), target_version="0.16.8")
    assert {**live, "invocation": 0} == {**stored, "invocation": 0}
    assert (live["verdict"], live["release_range"], len(live["between"])) == ("older", "0.11.7", 50)
    assert sum(step["changes_data"] for step in live["between"]) > 0
    assert run_module("alembic_info", database, database=database.dbname)["verdict"] == "equal"
    assert run_module("alembic_info", database, database=database.dbname, target_version="9.9")["failure_class"] == "usage"
