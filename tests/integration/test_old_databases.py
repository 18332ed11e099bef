"""Sets of old releases, restored into a 0.16.8 system by the playbook, and a real Letta that reads every agent."""
from __future__ import annotations

import contextlib
import json
import os

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import ciphers
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta.releases import head_of
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.digest import digest_database
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.reconcile import engine
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.reconcile.changes import Options
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.validate import validate_database
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.alembic import Alembic
from tests.integration.partial_engine_kit import Part, differing
from tests.integration.restore_kit import HEAD, World
from tests.lab.fixtures import LETTA_PASSWORD
from tests.lab.letta import LettaServer, letta_home, migrate
from tests.lab.old import RELEASES, make_id, make_old_database, old_schemas
from tests.lab.old_rows import agent_id
from tests.lab.openai_stub import BASE_URL
from tests.lab.seed import SAMPLE_KEY

pytestmark = pytest.mark.slow

# How many tables a release had, Alembic's own included; the database has rows in each of them.
TABLES = {"0.8.17": 35, "0.11.7": 41, "0.12.1": 42, "0.13.0": 43, "0.14.0": 44, "0.16.4": 49}
# Releases whose agent secrets Letta's own migrations leave in plain text.
PLAIN = ("0.8.17", "0.11.7", "0.12.1")


@pytest.fixture(scope="module")
def schemas(pg):
    """{release: name of an empty database with its schema}."""
    made = old_schemas(pg, LETTA_PASSWORD)
    yield made
    for name in made.values():
        pg.drop_database(name)


@pytest.fixture(scope="module")
def old(pg, letta_shape, schemas, tmp_path_factory):
    """Function: a release as (server of its database, server of what the playbook made of its set, report); each is made once."""
    made = {}

    def get(release):
        if release not in made:
            name = "old_%s" % release.replace(".", "_")
            traps = ["soft_deleted_passages"] if release == "0.8.17" else []
            before = make_old_database(pg, name, release, schemas, LETTA_PASSWORD, traps)
            made[release] = before, *restored(pg, before, tmp_path_factory.mktemp("old"))
        return made[release]

    yield get
    for before, after, _report in made.values():
        pg.drop_database(before.dbname)
        pg.drop_database(after.dbname)


def restored(pg, before, folder):
    """Take a set of a database and restore it into a system that runs 0.16.8; returns (server of the result, report)."""
    variables = {
        "letta_db_password": LETTA_PASSWORD, "letta_version": "0.16.8", "letta_encryption_key": SAMPLE_KEY,
        "letta_alembic_command": [str(letta_home() / "venv" / "bin" / "python"), "-m", "alembic"],
        "letta_alembic_directory": str(letta_home()),
    }  # fmt: skip
    world = World(pg, before.dbname + "_now", folder, variables=variables)
    os.makedirs(world.root, 0o700)
    source = world.admin.database(before.dbname)
    take.take_backup(take.BackupOptions(server=source, root=world.root, bin_dir=world.bin_dir, jobs=1))
    pg.ensure_role("letta", LETTA_PASSWORD)
    report = world.play("restore-full.yml").ok().report
    return pg.server("letta", LETTA_PASSWORD, world.database), report


@pytest.fixture
def database(pg, schemas):
    """Function: a database of a release with traps, dropped after the test."""
    with contextlib.ExitStack() as stack:

        def make(release, *traps):
            stack.callback(pg.drop_database, "old_trap")
            return make_old_database(pg, "old_trap", release, schemas, LETTA_PASSWORD, traps)

        yield make


def revisions(server):
    return [row[0] for row in query(server, "SELECT version_num FROM alembic_version")]


def counts(server):
    """Return {table: rows} of every table."""
    tables = [row[0] for row in query(server, "SELECT tablename FROM pg_tables WHERE schemaname = 'letta'")]
    return {table: query(server, "SELECT count(*) FROM %s" % table)[0][0] for table in tables}


@pytest.mark.parametrize("release", RELEASES)
def test_an_old_database_has_rows_in_every_table_of_its_release(old, release):
    server, _after, _report = old(release)
    found = counts(server)
    assert [table for table, rows in found.items() if not rows] == []
    assert len(found) == TABLES[release]
    assert revisions(server) == [head_of(release)]


# What the story of an old database leaves unfinished on purpose: the sub-agent's run never ended.
UNFINISHED = {"work.runs", "work.jobs", "work.steps"}


@pytest.mark.parametrize("release", RELEASES)
def test_an_old_database_is_sound_at_its_own_revision_and_only_unfinished_work_is_warned_of(old, release):
    before, _after, _report = old(release)
    findings = validate_database(before, expected_revision=head_of(release), role="letta")
    notable = {finding.id: finding.examples for finding in findings if finding.status != "pass"}
    assert set(notable) == {name for name in UNFINISHED if name in notable}
    assert ("work.runs" in notable) == (release not in ("0.8.17", "0.11.7"))
    assert all(examples == (make_id(name[5:-1], "sub 0"),) or name == "work.jobs" for name, examples in notable.items())
    idle = {finding.id for finding in findings if "not applicable" in finding.detail}
    assert ("archives.one_per_agent" in idle) == (release == "0.8.17")
    assert ("conversations.system" in idle) == (release != "0.16.4")


@pytest.mark.parametrize("release", ["0.8.17", "0.11.7", "0.12.1", "0.16.4"])
def test_unfinished_work_is_closed_at_its_own_revision_and_taken_back(pg, old, release, tmp_path):
    copy = pg.clone_database("old_reconciled", old(release)[0].dbname, password=LETTA_PASSWORD)
    ((ids,),) = query(copy, "SELECT message_ids FROM agents WHERE id = %s", (agent_id("support"),))
    calling = {row[0] for row in query(copy, "SELECT id FROM messages WHERE json_array_length(tool_calls) > 0")}
    first = next(place for place, message in enumerate(ids) if message in calling)
    for name, context in (("support", ids[: first + 1]), ("helper", [])):
        query(copy, "UPDATE agents SET message_ids = %s WHERE id = %s", (json.dumps(context), agent_id(name)))
    before = digest_database(copy)
    try:
        done = engine.reconcile(copy, Options(), apply=True, undo_file=str(tmp_path / "undo.jsonl"))
        entities = {item.as_dict()["entity"] for item in done["plan"].changes}
        assert ("run" in entities, "job" in entities) == (release not in ("0.8.17", "0.11.7"), release in ("0.8.17", "0.11.7"))
        assert ("step" in entities) == (release != "0.8.17") and {"agent", "message"} <= entities
        findings = validate_database(copy, expected_revision=head_of(release), role="letta")
        assert {finding.id: finding.detail for finding in findings if finding.status != "pass"} == {}
        engine.undo(copy, done["undo_file"])
        assert digest_database(copy) == before
    finally:
        pg.drop_database(copy.dbname)


@pytest.mark.parametrize("release", RELEASES)
def test_what_the_migrations_made_of_it_is_sound_too(old, release):
    _before, after, report = old(release)
    findings = validate_database(after, expected_revision=HEAD, role="letta")
    assert {finding.id for finding in findings if finding.status != "pass"} == set()
    assert {"run", "job"} & {item["entity"] for item in report["reconciled"]}
    asked = {check["id"]: check["detail"] for check in report["checks"] if check["id"].startswith("queries.")}
    assert asked["queries.messages"] == "1 of 1 recorded answers are the same"
    assert ("gone since" in asked["queries.passages"]) == (release == "0.8.17")


@pytest.mark.fault(15, "older")
@pytest.mark.parametrize("release", RELEASES)
def test_a_set_of_an_old_release_comes_back_at_the_current_head_with_every_changed_row_explained(old, release):
    _before, after, report = old(release)
    assert revisions(after) == [HEAD]
    assert [row["name"] for row in report["tables"] if row["digest"] == "differs"] == []
    explained = {row["name"].split(".")[1]: row["explanation"] for row in report["tables"] if row["digest"] == "explained"}
    assert "9fa274fb0b83" in explained["agents"] or release == "0.8.17"  # where the column it fills is new
    if release == "0.8.17":
        assert "is_deleted" in explained["archival_passages"]
        assert "74e860718e0d" in explained["archives"]
    assert [check for check in report["checks"] if check["status"] == "fail"] == []
    (plain,) = [check["detail"] for check in report["checks"] if check["id"] == "migrate.plain_secrets"]
    if release in PLAIN:
        assert plain == "the migrations left 2 secrets in plain text; encrypted now: agent_environment_variables.value_enc 2"
        assert "left in plain text by the migrations, encrypted now: 2 of value_enc" in explained["agent_environment_variables"]
    else:
        assert plain == "no secret was left in plain text"


@pytest.mark.parametrize("release", RELEASES)
def test_agents_messages_memory_and_vectors_are_what_they_were(old, release):
    before, after, _report = old(release)
    kept = ("SELECT id, message_ids::text FROM agents", "SELECT id, content::text, sequence_id FROM messages",
            "SELECT id, value FROM block", "SELECT id, source_code FROM tools", "SELECT id, md5(embedding::text) FROM source_passages")
    for statement in kept:
        assert sorted(query(before, statement)) == sorted(query(after, statement))
    passages = "SELECT id, text, md5(embedding::text) FROM %s"
    old_table = "agent_passages WHERE NOT is_deleted" if release == "0.8.17" else "archival_passages"
    assert sorted(query(before, passages % old_table)) == sorted(query(after, passages % "archival_passages"))


@pytest.mark.parametrize("release", RELEASES)
def test_the_current_server_lists_and_reads_every_agent_with_its_messages_in_context(pg, old, release, letta_redis, openai_stub, tmp_path):
    _before, after, _report = old(release)
    # A copy: reading old messages writes, Letta 0.16.8 empties tool_call_id of tool returns that it lists.
    server = pg.clone_database("old_served", after.dbname, password=LETTA_PASSWORD)
    try:
        read_every_agent(server, release, letta_redis, openai_stub, tmp_path)
    finally:
        pg.drop_database(server.dbname)


def read_every_agent(server, release, letta_redis, openai_stub, tmp_path):
    # The model service of these agents is not to be had here: the fake of the lab answers in its place.
    query(server, "UPDATE agents SET llm_config = jsonb_set(llm_config::jsonb, '{model_endpoint}', %s)::json", (json.dumps(BASE_URL),))
    agents = query(server, "SELECT id, message_ids, hidden FROM agents")
    with LettaServer(tmp_path, server, openai_stub.proxy, SAMPLE_KEY, (letta_redis.host, letta_redis.port)) as letta:
        listed = {agent["id"] for agent in letta.everything("/v1/agents/")}
        assert listed == {agent for agent, _ids, hidden in agents if not hidden}
        for agent, ids, _hidden in agents:
            assert letta.api("GET", "/v1/agents/%s" % agent)["message_ids"] == ids
            # Else the return of send_message is folded into the call, and its id is not among the answer's.
            path = "/v1/agents/%s/messages?limit=1000&use_assistant_message=false" % agent
            found = {message["id"] for message in letta.api("GET", path)}
            assert set(ids) <= found
        variables = query(server, "SELECT agent_id, key, value FROM agent_environment_variables WHERE value <> ''")
        for agent, key, value in variables:  # the plain column still tells what the secret is
            secrets = letta.api("GET", "/v1/agents/%s?include=agent.secrets" % agent)["secrets"]
            assert [item["value"] for item in secrets if item["key"] == key] == [value]
        assert bool(variables) == (release != "0.16.4")
        for agent, _ids, _hidden in agents if release in ("0.11.7", "0.12.1") else ():
            # One step: these agents have no rule that ends a turn, and the fake model would go on for fifty.
            letta.say(agent, "Are you there?", max_steps=1)
            kept = query(server, "SELECT role, content::text FROM messages WHERE agent_id = %s ORDER BY sequence_id DESC LIMIT 3", (agent,))
            assert any(role == "user" and "Are you there?" in text for role, text in kept), kept
            assert kept[0][0] in ("assistant", "tool"), kept


@pytest.mark.fault(28)
@pytest.mark.parametrize("release", ["0.11.7", "0.12.1", "0.14.0"])
def test_single_agents_of_an_old_set_come_back_into_the_current_system(old, release, pg, tmp_path):
    before, after, report = old(release)
    closed = {row["name"] for row in report["tables"] if "reconciled" in row["explanation"]}
    root = str(tmp_path / "store")
    os.makedirs(root, 0o700)
    source = pg.server(dbname=before.dbname)
    made = take.take_backup(take.BackupOptions(server=source, root=root, bin_dir=str(pg.bin_dir), jobs=1))
    part = Part(pg, "part_of_" + before.dbname, root, made["id"], busy_wait=20, key=SAMPLE_KEY)
    pg.clone_database(part.database, after.dbname, password=LETTA_PASSWORD)
    try:
        saved = part.contents()
        agents = [row[0] for row in part.sql("select id from agents order by 1")]
        part.delete_agent(*agents)
        _plan, outcome = part.restore(agents=["*"], upgrade=upgrade_with(SAMPLE_KEY))
        assert [row["name"] for row in outcome["tables"] if row["digest"] == "differs"] == []
        # What is encrypted twice is not the same twice; batches are no agent's; the full restore has closed interrupted work.
        known = closed | {"letta.agent_environment_variables", "letta.llm_batch_items"}
        assert [name for name in differing(saved, part.contents()) if name not in known] == []
        assert not closed & {"letta.messages", "letta.block", "letta.archival_passages"}
        values = part.sql("select value_enc from agent_environment_variables where value_enc is not null")
        assert all(ciphers.unseal(row[0], SAMPLE_KEY) is not None for row in values)
        part.undo()
        assert part.sql("select count(*) from agents") == [(0,)]
        assert [name for name in databases(pg) if "slice" in name] == [], "the scratch database is gone"
    finally:
        pg.drop_database(part.database)


def upgrade_with(key):
    """Return what makes the upgrade of a scratch database: Letta's own migrations."""

    def of(scratch, target):
        server = scratch.as_role("letta", LETTA_PASSWORD)
        alembic = Alembic([str(letta_home() / "venv" / "bin" / "python"), "-m", "alembic"], str(letta_home()), server, key)
        return lambda progress, total: alembic.upgrade(target, 600, progress, total)

    return of


def databases(pg):
    return [row[0] for row in pg.execute("SELECT datname FROM pg_database")]


def test_the_same_release_is_made_with_the_same_ids_each_time(old, database):
    server, _after, _report = old("0.8.17")
    again = database("0.8.17", "soft_deleted_passages")
    for table in ("agents", "messages", "block", "tools", "files", "agent_passages", "jobs", "steps"):
        assert query(server, "SELECT id FROM %s ORDER BY id" % table) == query(again, "SELECT id FROM %s ORDER BY id" % table)


def test_passages_deleted_softly_stop_the_upgrade_and_leave_the_old_revision(database, tmp_path):
    server = database("0.8.17", "soft_deleted_passages")
    with pytest.raises(RuntimeError, match="archive_id.*contains null values"):
        migrate(server, tmp_path, SAMPLE_KEY)
    assert revisions(server) == [head_of("0.8.17")]


def test_secrets_that_the_upgrade_leaves_in_plain_text_are_encrypted_under_the_key(old):
    for release in RELEASES:
        rows = query(old(release)[1], "SELECT value, value_enc FROM agent_environment_variables WHERE value <> ''")
        assert len(rows) == (0 if release == "0.16.4" else 2)
        assert [ciphers.unseal(sealed, SAMPLE_KEY) for _plain, sealed in rows] == [plain for plain, _sealed in rows]


def test_soft_deleted_passages_are_refused_for_releases_that_have_none(pg):
    with pytest.raises(ValueError, match="for good"):
        make_old_database(pg, "old_never", "0.11.7", {}, LETTA_PASSWORD, ["soft_deleted_passages"])
