"""An older schema is brought forward on the side database by the release's own migrations, and no row changes unexplained."""
from __future__ import annotations

import json
import secrets
import sys

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import releases
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import NoJournal
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.migrate import MigrateOptions
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.migrate import migrate as migrate_side
from tests.faults.kit import Service
from tests.integration.restore_kit import add_writes, content
from tests.lab.letta import letta_home, migrate
from tests.lab.places import free_port

pytestmark = pytest.mark.slow

RELEASE = "0.14.0"
KEY = "a-key-for-%s" % secrets.token_urlsafe(12)
PLAIN = "letta's+plain!word"  # what Letta's migrations can read in a URI, as awkward as that may be
FILL = """
INSERT INTO letta.organizations (id, name, privileged_tools) VALUES ('org-00000000-0000-4000-8000-000000000000', 'default', false);
INSERT INTO letta.agents (id, name, organization_id, message_buffer_autoclear, llm_config, message_ids)
  SELECT 'agent-' || gen_random_uuid(), 'agent ' || n, 'org-00000000-0000-4000-8000-000000000000', false, '{}', '[]'
  FROM generate_series(1, 5) n;
INSERT INTO letta.agents_tags (agent_id, tag) SELECT id, 'role:subagent' FROM letta.agents WHERE name = 'agent 1';
INSERT INTO letta.providers (id, name, provider_type, provider_category, api_key, organization_id)
  SELECT 'provider-00000000-0000-4000-8000-000000000001', 'own', 'openai', 'byok', 'sk-invented', id FROM letta.organizations;
INSERT INTO letta.messages (id, role, agent_id, organization_id, tool_calls, sequence_id)
  SELECT 'message-' || gen_random_uuid(), 'user', id, organization_id, '[]', nextval('letta.message_seq_id') FROM letta.agents;
"""


@pytest.fixture(scope="session")
def old_template(pg, tmp_path_factory):
    """Name of a database at the schema of 0.14.0 by Letta's own migrations, with a few rows; never connect to it."""
    server = pg.create_letta_database("old_template", password=PLAIN, schema="letta")
    migrate(server, tmp_path_factory.mktemp("old"), KEY, releases.head_of(RELEASE))
    pg.execute(FILL, server.dbname)
    return server.dbname


@pytest.fixture
def old(make_world, pg, old_template):
    """A world whose live database is 0.14.0's, with a set of it, and writes since; 0.16.8 will run after the restore."""
    made = make_world(live=False, variables={
        "letta_db_password": PLAIN, "letta_version": "0.16.8", "letta_encryption_key": KEY,
        "letta_alembic_command": alembic(), "letta_alembic_directory": str(letta_home()),
    })  # fmt: skip
    pg.clone_database(made.database, old_template, password=PLAIN)
    made.backup()
    add_writes(made.live)
    return made


def alembic(*after):
    """Return the command of 0.16.8's own Alembic; ``after``: a Python statement to run when an upgrade has ended."""
    python = str(letta_home() / "venv" / "bin" / "python")
    if not after:
        return [python, "-m", "alembic"]
    script = (
        "import os, subprocess, sys\n"
        "code = subprocess.call([%r, '-m', 'alembic'] + sys.argv[1:])\n"
        "if code == 0 and sys.argv[1] == 'upgrade':\n"
        "    uri = os.environ['LETTA_PG_URI']\n"
        "    import psycopg2; db = psycopg2.connect(uri); db.autocommit = True; cursor = db.cursor()\n"
        "    %s\n"
        "sys.exit(code)\n"
    ) % (python, "; ".join(after))
    return [sys.executable, "-c", script]


def rows(report):
    return {row["name"]: row for row in report["tables"]}


@pytest.mark.fault(15, "older")
def test_an_older_set_comes_back_at_the_new_schema_with_every_changed_row_explained(old):
    before = old.fingerprint()
    saved = {name: count for name, (count, _digest) in old.fingerprint()["tables"].items()}
    played = old.play("restore-full.yml").ok()
    report = played.report
    assert report["target"]["alembic_revision"] == releases.head_of("0.16.8")
    assert old.sql("SELECT version_num FROM letta.alembic_version") == [(releases.head_of("0.16.8"),)]
    found = rows(report)
    assert {row["digest"] for row in report["tables"]} == {"equal", "explained"}
    assert found["letta.messages"]["rows_restored"] == saved["letta.messages"] - 5  # without what was written since
    assert "9fa274fb0b83" in found["letta.agents"]["explanation"]
    assert old.sql("SELECT name, hidden FROM letta.agents WHERE hidden") == [("agent 1", True)]
    assert found["letta.users"]["digest"] == "equal"
    phase = next(phase for phase in report["phases"] if phase["name"] == "migrate")
    assert phase["status"] == "ok"
    assert "21 migrations" in phase["detail"]
    again = old.play("restore-full.yml").ok()
    assert again.recap()["changed"] == 0
    old.play("rollback.yml").ok()
    assert old.fingerprint() == before
    assert old.leftovers(kept=old.kept_names()) == []


def test_the_plan_names_the_way_and_writes_nothing(old):
    files = old.tree()
    played = old.play("restore-full.yml", "--check").ok()
    assert "21 migrations, 1 change data" in played.output
    assert "0.14.0–0.15.1 (b1c2d3e4f5a6) -> 0.16.7–0.16.8 (1c28e167b74f)" in " ".join(played.output.split())
    assert old.tree() == files


def test_a_prepared_migration_is_not_run_again_at_the_cutover(old):
    old.play("restore-full.yml", "--tags", "stage,migrate,validate,reconcile").ok()
    played = old.play("restore-full.yml", "--tags", "cutover,verify").ok()
    assert "Run the release's own migrations" not in played.output.replace("skipping", "")
    assert {row["digest"] for row in played.report["tables"]} == {"equal", "explained"}
    assert old.sql("SELECT version_num FROM letta.alembic_version") == [(releases.head_of("0.16.8"),)]


@pytest.mark.fault(16)
def test_rows_that_no_migration_explains_end_it_before_the_cutover(old):
    live = old.fingerprint()
    old.variables["letta_alembic_command"] = alembic(
        "cursor.execute(\"UPDATE letta.agents SET name = 'x' WHERE name = 'agent 2'\")",
        "cursor.execute('DELETE FROM letta.messages WHERE sequence_id = 1')",
        "cursor.execute('CREATE TABLE letta.surprise AS SELECT 1 AS one')",
    )
    played = old.play("restore-full.yml").refused("verify_failed")
    assert "3 tables changed in a way that no migration explains" in played.report["message"]
    strange = {row["name"]: row["explanation"] for row in played.report["tables"] if row["digest"] == "differs"}
    assert "no migration changes them: name" in strange.pop("letta.agents")
    assert strange == {"letta.messages": "5 rows before, 4 after", "letta.surprise": "no migration makes this table"}
    assert "kept for study" in played.report["now"]
    assert old.fingerprint() == live


@pytest.mark.fault(16)
def test_a_migration_that_fails_half_way_leaves_live_alone_and_the_next_run_is_clean(old):
    live = old.fingerprint()
    script = "import subprocess, sys; argv = sys.argv[1:]\n"
    script += "if argv[0] == 'upgrade': argv[1] = 'd0880aae6cee'\n"
    script += "code = subprocess.call([%r, '-m', 'alembic'] + argv); sys.exit(code or argv[0] == 'upgrade')"
    good, old.variables["letta_alembic_command"] = old.variables["letta_alembic_command"], [
        sys.executable, "-c", script % str(letta_home() / "venv" / "bin" / "python")]
    played = old.play("restore-full.yml").refused("load_failed")
    assert "exit code 1" in played.report["message"]
    assert "kept for study" in played.report["now"]
    (side,) = [name for name in old.databases() if name != old.database]
    assert old.sql("SELECT version_num FROM letta.alembic_version", database=side) == [("d0880aae6cee",)]
    assert content(old.fingerprint()) == content(live)
    old.variables["letta_alembic_command"] = good
    old.play("restore-full.yml").ok()
    assert old.leftovers(kept=old.kept_names()) == []


@pytest.mark.fault(16)
def test_a_command_that_does_nothing_is_not_believed(old):
    script = "import sys; print('1c28e167b74f (head)' if sys.argv[1] == 'heads' else 'done')"
    old.variables["letta_alembic_command"] = [sys.executable, "-c", script]
    played = old.play("restore-full.yml").refused("load_failed")
    assert "instead of 1c28e167b74f" in played.report["message"]


@pytest.mark.fault(19, "controller")
@pytest.mark.parametrize("moment", ["migrate.run:begun", "migrate.run:done"])
def test_a_run_killed_at_the_migration_leaves_live_alone_and_the_next_one_ends_well(old, moment):
    live = old.fingerprint()
    played = old.play("restore-full.yml", env={"LETTA_OPS_CRASH_AT": moment})
    assert played.rc != 0
    assert old.fingerprint() == live
    old.play("restore-full.yml").ok()
    assert old.sql("SELECT version_num FROM letta.alembic_version") == [(releases.head_of("0.16.8"),)]
    assert old.leftovers(kept=old.kept_names()) == []


REFUSALS = {
    "no command": ({"letta_alembic_command": []}, "schema", "there is no command to run them"),
    "a command of another release": (
        {"letta_alembic_command": [sys.executable, "-c", "print('b2c3d4e5f6a8 (head)')"]}, "schema", "is of another release"),
    "an image that moves": (
        {"letta_alembic_command": ["docker", "run", "--rm", "letta/letta:latest", "alembic"]}, "usage", "another release tomorrow"),
    "a command that is not there": ({"letta_alembic_command": ["/no/such/alembic"]}, "preflight", "cannot run"),
    "a command that says nothing": ({"letta_alembic_command": ["true"]}, "preflight", "named no head"),
}  # fmt: skip


@pytest.mark.fault(15, "older")
@pytest.mark.parametrize("case", REFUSALS)
def test_migrations_that_cannot_be_are_refused_with_the_plan(old, case):
    changes, failure_class, said = REFUSALS[case]
    old.variables.update(changes)
    live, databases = old.fingerprint(), old.databases()
    played = old.play("restore-full.yml").refused(failure_class)
    assert said in played.report["message"]
    assert (old.fingerprint(), old.databases()) == (live, databases)


def test_without_a_key_provider_keys_that_nothing_would_encrypt_are_named_before_a_row_changes(make_world, pg, old_template):
    world = make_world(live=False)
    pg.clone_database(world.database, old_template, password=PLAIN)
    pg.execute("UPDATE letta.alembic_version SET version_num = 'c734cfc0d595'", world.database)  # as far as the trap looks
    options = MigrateOptions(world.database, "letta", releases.head_of("0.16.8"), upgrade=None)
    before = world.fingerprint()
    with pytest.raises(RecoveryError, match="1 keys of model providers") as caught:
        migrate_side(world.admin, options, NoJournal())
    assert caught.value.failure_class == "key_mismatch"
    assert "sk-invented" not in str(caught.value.as_dict())
    assert world.fingerprint() == before


@pytest.mark.fault(42, "output")
def test_no_password_and_no_key_is_shown_though_the_migrations_print_the_uri(old):
    script = "import os, sys; print('1c28e167b74f (head)'); print(os.environ.get('LETTA_PG_URI'), os.environ.get('LETTA_ENCRYPTION_KEY'))"
    old.variables["letta_alembic_command"] = [sys.executable, "-c", script + "; sys.exit(sys.argv[1] == 'upgrade')"]
    played = old.play("restore-full.yml", "-vvv").refused("load_failed")
    assert "postgresql://letta:***@127.0.0.1" in played.report["message"]
    for secret in (PLAIN, KEY):
        assert secret not in played.output
        assert secret not in str(played.report)


def test_a_password_that_letta_cannot_read_in_a_uri_is_named_before_anything_runs(old, pg):
    pg.ensure_role("letta", "per%cent")
    old.variables["letta_db_password"] = "per%cent"
    played = old.play("restore-full.yml").refused("preflight")
    assert "percent sign" in played.report["message"]
    assert "per%cent" not in played.output


def test_servers_that_bring_the_schema_to_their_own_release_are_stopped_and_the_old_database_comes_back(make_world, pg, old_template):
    world = make_world(live=False, variables={"letta_db_password": PLAIN})
    pg.clone_database(world.database, old_template, password=PLAIN)
    world.backup()
    add_writes(world.live)
    service = Service(world, PLAIN)
    service.answer_at(free_port(), "a token of the server")
    service.misbehave("version", RELEASE)
    service.run("start")
    try:
        planned = world.play("restore-full.yml", "--check").ok()
        assert "will run Letta 0.14.0 (package letta==0.14.0); letta1 runs it now" in " ".join(planned.output.split())
        # Somebody installs another release meanwhile; like Letta's image it migrates before it serves.
        uri = "postgresql://letta:%s@127.0.0.1:%d/%s" % (PLAIN, pg.port, world.database)
        upgrade = {"argv": [*alembic(), "upgrade", "head"], "cwd": str(letta_home()), "env": {"LETTA_PG_URI": uri}}
        service.misbehave("prelude.json", json.dumps(upgrade))
        world.variables["letta_service_start_timeout"] = 60
        before = world.fingerprint()
        played = world.play("restore-full.yml").refused("manual_help_needed")
        assert "after their start the schema" in played.report["message"]
        assert releases.describe(releases.head_of("0.16.8")) in played.report["message"]
        assert "is the old database again" in played.report["now"]
        assert "servers are stopped" in played.report["now"]
        assert "install the release of the plan" in played.report["next_step"]
        assert world.fingerprint() == before
        assert service.serving is None
    finally:
        service.close()
