"""Each check passes on a sound Letta database and fails, alone and by name, when its own thing is broken."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg2
import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta.entities import RUNNING_WORK
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect, query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import find_tools, run_tool
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.validate import is_structural, validate_database
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.validate_context import open_context, split_path
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.validate_data import DATA_PROBES

HEAD = "1c28e167b74f"
ORG = "org-00000000-0000-4000-8000-000000000000"
USER = "user-00000000-0000-4000-8000-000000000000"


def entity(prefix, number):
    return "%s-%s" % (prefix, uuid.UUID(int=number + 1, version=4))


AGENT, OTHER = entity("agent", 0), entity("agent", 1)
M = [entity("message", n) for n in range(6)]
GROUP, ARCHIVE, SOURCE, FILE = entity("group", 0), entity("archive", 0), entity("source", 0), entity("file", 0)
RUN, STEP, JOB = entity("run", 0), entity("step", 0), entity("job", 0)
BATCH, ITEM = entity("batch_req", 0), entity("batch_item", 0)
LLM = json.dumps({"model": "gpt-4o-mini", "model_endpoint_type": "openai", "context_window": 8192})


def insert(cursor, table, **values):
    """Insert a row, filling what the schema demands and the test does not care about."""
    cursor.execute(
        """select column_name, udt_name from information_schema.columns where table_schema = 'letta' and table_name = %s
           and is_nullable = 'NO' and column_default is null""",
        (table,),
    )
    filler = {"json": "{}", "bool": False, "int4": 0, "varchar": "x", "text": "x", "vectordbprovider": "NATIVE", "timestamptz": "now"}
    row = {name: filler[kind] for name, kind in cursor.fetchall()}
    if "organization_id" in row:
        row["organization_id"] = ORG
    row.update(values)
    names = ", ".join('"%s"' % name for name in row)
    cursor.execute("insert into letta.%s (%s) values (%s)" % (table, names, ", ".join(["%s"] * len(row))), list(row.values()))


def fill(cursor):
    """A small sound world: two agents that talk, a group, an archive, a folder with a file, finished work."""
    cursor.execute("insert into letta.alembic_version values (%s)", (HEAD,))
    insert(cursor, "organizations", id=ORG, name="org")
    insert(cursor, "users", id=USER, name="user")
    for agent, messages in ((AGENT, M[:3]), (OTHER, M[3:])):
        insert(cursor, "agents", id=agent, message_ids=json.dumps(messages), llm_config=LLM, tool_rules="[]", embedding_config="null")
        for number, message in enumerate(messages):
            insert(cursor, "messages", id=message, agent_id=agent, role="user" if number else "system")
    insert(cursor, "groups", id=GROUP, manager_agent_id=AGENT, agent_ids=json.dumps([OTHER]))
    insert(cursor, "groups_agents", group_id=GROUP, agent_id=OTHER)
    insert(cursor, "archives", id=ARCHIVE)
    insert(cursor, "archives_agents", agent_id=AGENT, archive_id=ARCHIVE, is_owner=True)
    insert(cursor, "archival_passages", id=entity("passage", 9), archive_id=ARCHIVE, embedding=vector(4096))
    insert(cursor, "archival_passages", id=entity("passage", 8), archive_id=ARCHIVE, embedding=None)
    insert(cursor, "sources", id=SOURCE, name="folder")
    insert(cursor, "files", id=FILE, source_id=SOURCE, processing_status="completed", total_chunks=2, chunks_embedded=0)
    insert(cursor, "file_contents", id=entity("file_content", 0), file_id=FILE)
    for number in range(2):
        insert(cursor, "source_passages", id=entity("passage", number), source_id=SOURCE, file_id=FILE, embedding=vector(4096))
    # As an old release left it: completed, without counters or text.
    insert(cursor, "files", id=entity("file", 1), source_id=SOURCE, processing_status="completed")
    insert(cursor, "runs", id=RUN, agent_id=AGENT, status="completed")
    insert(cursor, "steps", id=STEP, run_id=RUN, status="SUCCESS")
    insert(cursor, "steps", id=entity("step", 1), status=None)
    insert(cursor, "jobs", id=JOB, user_id=USER, status="completed")
    insert(cursor, "llm_batch_job", id=BATCH, letta_batch_job_id=JOB, status="completed")
    insert(cursor, "llm_batch_items", id=ITEM, llm_batch_id=BATCH, agent_id=AGENT, request_status="completed")


def vector(width):
    return "[%s]" % ",".join(["0.5"] * width)


@pytest.fixture(scope="module")
def template(pg):
    """A sound database to copy from; one load of the schema for all tests of this file."""
    name = "validate_template"
    owner = pg.create_letta_database(name, "letta", "letta's lab pass%word", "letta")
    with closing(connect(owner)) as conn, conn.cursor() as cursor:
        cursor.execute((Path(__file__).parent / "letta-0.16.8-schema.sql").read_text(encoding="utf-8"))
        fill(cursor)
    yield name
    pg.drop_database(name)


@pytest.fixture
def database(pg, template):
    name = "validate_" + uuid.uuid4().hex[:8]
    yield pg.clone_database(name, template, "letta", "letta's lab pass%word", "letta")
    pg.drop_database(name)


def broken(server, **options):
    """Return {check: finding} of everything that is not a pass."""
    return {finding.id: finding for finding in validate_database(server, **options) if finding.status != "pass"}


def superuser(pg, database, *statements):
    for statement in statements:
        pg.execute(statement, database.dbname)


def test_a_sound_database_passes_every_check_without_a_warning(database):
    findings = validate_database(database, expected_revision=HEAD, role="letta")
    assert [(f.id, f.detail) for f in findings if f.status != "pass"] == []
    assert not [f.id for f in findings if "not applicable" in f.detail]
    declared = {check.id for probe in DATA_PROBES for check in probe.checks}
    assert declared | {"revision.known", "revision.expected", "schema.constraints", "sequence.message_seq_id"} <= {f.id for f in findings}


def test_the_checks_run_on_a_connection_that_cannot_write(database):
    with open_context(database) as context, pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        context.fetch("update letta.agents set name = 'x' returning id")


BREAKS = {
    "agents.message_ids_empty": ("update agents set message_ids = '[]' where id = '%s'" % OTHER, [OTHER]),
    "agents.message_ids_system": (
        "update agents set message_ids = json_build_array('%s', '%s') where id = '%s'" % (M[1], M[0], AGENT),
        [AGENT],
    ),
    "agents.json_columns": ("update agents set tool_rules = '{}' where id = '%s'" % OTHER, [OTHER + " tool_rules"]),
    "groups.members": ("delete from groups_agents", [GROUP]),
    "files.contents": ("delete from file_contents", [FILE]),
    "files.passages": ("delete from source_passages where id = '%s'" % entity("passage", 1), [FILE]),
    "work.runs": ("update runs set status = 'created'", [RUN]),
    "work.steps": ("update steps set status = 'PENDING' where id = '%s'" % STEP, [STEP]),
    "work.jobs": ("update jobs set status = 'pending'", [JOB]),
    "work.llm_batch_job": ("update llm_batch_job set status = 'running'", [BATCH]),
    "work.llm_batch_items": ("update llm_batch_items set request_status = 'created'", [ITEM]),
    "work.files": ("update files set processing_status = 'embedding' where id = '%s'" % FILE, [FILE]),
}


@pytest.mark.parametrize("check", list(BREAKS))
def test_each_break_in_the_data_is_found_by_its_own_check_and_named(database, check):
    statement, ids = BREAKS[check]
    query(database, statement)
    found = broken(database)
    assert list(found) == [check]
    assert list(found[check].examples) == ids
    assert found[check].count == len(ids)
    assert found[check].status == ("warn" if check.startswith("work.") else "fail")


def test_every_declared_check_of_data_has_a_break_here():
    declared = {check.id for probe in DATA_PROBES for check in probe.checks}
    assert declared == set(BREAKS) | {"agents.message_ids_missing", "archives.one_per_agent"}
    assert {"work.%s" % work.table for work in RUNNING_WORK} <= declared


def test_a_second_archive_of_an_agent_is_found(database):
    ((name,),) = query(database, "select conname from pg_constraint where conrelid = 'archives_agents'::regclass and contype = 'u'")
    query(database, 'alter table archives_agents drop constraint "%s"' % name)
    with closing(connect(database)) as conn, conn.cursor() as cursor:
        insert(cursor, "archives", id=entity("archive", 1))
        insert(cursor, "archives_agents", agent_id=AGENT, archive_id=entity("archive", 1), is_owner=False)
    found = broken(database)
    assert list(found) == ["archives.one_per_agent"]
    assert found["archives.one_per_agent"].examples == (AGENT,)


@pytest.mark.parametrize(
    "statement",
    [
        "delete from messages where id = '%s'" % M[2],
        "update messages set agent_id = '%s' where id = '%s'" % (OTHER, M[2]),
        "update messages set is_deleted = true where id = '%s'" % M[2],
    ],
    ids=["gone", "another agent's", "deleted"],
)
def test_a_message_in_context_that_is_gone_foreign_or_deleted_is_named_with_its_agent(database, statement):
    query(database, statement)
    found = broken(database)
    assert list(found) == ["agents.message_ids_missing"]
    assert found["agents.message_ids_missing"].examples == ("%s %s" % (AGENT, M[2]),)


@pytest.mark.parametrize("value", ["null", "'null'", "'{}'", "'\"text\"'", "'7'"])
def test_a_context_that_is_no_list_counts_as_empty_instead_of_stopping_the_checks(database, value):
    query(database, "update agents set message_ids = %s where id = '%s'" % (value, OTHER))
    assert list(broken(database)) == ["agents.message_ids_empty"]


@pytest.mark.parametrize("value", ["null", "'[]'", "'{}'", "'{\"model\": null}'"])
def test_a_model_configuration_letta_cannot_read_is_found(database, value):
    query(database, "update agents set llm_config = %s where id = '%s'" % (value, AGENT))
    assert broken(database)["agents.json_columns"].examples == (AGENT + " llm_config",)


def test_a_value_postgresql_cannot_decode_fails_its_own_check_and_no_other(database):
    query(database, "update agents set message_ids = %s where id = %s", ('["\\u0000"]', OTHER))
    found = broken(database)
    assert set(found) == {"agents.message_ids_empty", "agents.message_ids_system", "agents.message_ids_missing"}
    assert all("could not be computed: " in finding.detail for finding in found.values())


def test_more_than_ten_offenders_are_counted_and_ten_are_named(database):
    with closing(connect(database)) as conn, conn.cursor() as cursor:
        for number in range(100, 123):
            insert(cursor, "runs", id=entity("run", number), agent_id=AGENT, status="running")
    finding = broken(database)["work.runs"]
    assert (finding.count, len(finding.examples)) == (23, 10)
    assert "23 rows of runs" in finding.detail


def test_a_sequence_behind_its_column_is_found(database):
    query(database, "select setval('message_seq_id', 3)")
    found = broken(database)
    assert list(found) == ["sequence.message_seq_id"]
    assert "gives 4 next" in found["sequence.message_seq_id"].detail


def test_a_sequence_that_would_repeat_only_its_last_value_is_found(database):
    query(database, "select setval('message_seq_id', 6, false)")
    assert list(broken(database)) == ["sequence.message_seq_id"]
    query(database, "select setval('message_seq_id', 6, true)")
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


@pytest.mark.parametrize("table", ["archival_passages", "source_passages"])
def test_a_vector_of_another_width_is_found_where_the_column_allows_it(database, table):
    query(database, "alter table %s alter embedding type vector" % table)
    assert broken(database) == {}
    statement = f"update {table} set embedding = %s where id = (select min(id) from {table}) returning id"
    ((victim,),) = query(database, statement, (vector(3),))
    found = broken(database)
    assert list(found) == ["vectors.%s" % table]
    assert found["vectors.%s" % table].examples == (victim,)


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


def test_a_vector_extension_elsewhere_is_found(pg, database):
    superuser(pg, database, "create schema elsewhere", "alter extension vector set schema elsewhere")
    assert list(broken(database)) == ["names.vector"]


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
    assert idle == {"work.runs", "archives.one_per_agent", "files.contents", "files.passages", "sequence.message_seq_id"}


def test_a_database_without_lettas_tables_says_so_and_stops(make_database):
    findings = validate_database(make_database())
    assert [(f.id, f.status) for f in findings] == [("schema.found", "fail")]


def test_only_checks_of_the_whole_database_are_structural(database):
    structural = {f.id for f in validate_database(database, expected_revision=HEAD) if is_structural(f.id)}
    assert structural == {
        "revision.known", "revision.expected", "schema.constraints", "schema.primary_keys", "schema.indexes", "names.search_path",
        "names.vector", "sequence.message_seq_id", "vectors.archival_passages", "vectors.source_passages",
    }  # fmt: skip


def run_module(name, server, check=False, **arguments):
    arguments.update(
        login_host=server.host, login_port=server.port, login_user=server.user, login_password=server.password, _ansible_check_mode=check
    )
    done = subprocess.run(
        [sys.executable, "-c", "from ansible_collections.letta_ops.recovery.plugins.modules import %s as m; m.main()" % name],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "playbooks" / "collections")},
    )
    assert server.password not in done.stdout + done.stderr
    return json.loads(done.stdout)


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
