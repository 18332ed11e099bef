"""The modules of a rehearsal, alone: letta_blank, rehearsal_figures, rehearsal_stand, rehearsal."""
from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import outward
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server, query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.rehearse import serving, stand
from ansible_collections.letta_ops.recovery.plugins.modules import letta_blank, rehearsal, rehearsal_figures, rehearsal_stand
from tests.integration.restore_kit import PASSWORD, fill, install_schema
from tests.lab import places
from tests.lab.modules import run_main
from tests.lab.postgres import EmbeddedPostgres

NAME = "rh-20261121T213000Z-4f2a9c-1"
SECRET = "sk-live-of-production"
FILL = f"""
INSERT INTO providers (id, name, provider_type, provider_category, organization_id, api_key, api_key_enc, base_url, created_at)
  SELECT 'provider-1', 'mine', 'openai', 'byok', id, '{SECRET}', '{SECRET}', 'https://models.example', now() FROM organizations;
INSERT INTO agent_environment_variables (id, key, value, value_enc, agent_id, organization_id)
  SELECT 'agentenvvar-1', 'TOKEN', '{SECRET}', '{SECRET}', min(id), min(organization_id) FROM agents;
INSERT INTO groups (id, description, manager_type, agent_ids, organization_id, sleeptime_agent_frequency, manager_agent_id)
  SELECT 'group-1', 'g', 'sleeptime', '[]', min(organization_id), NULL, min(id) FROM agents;
INSERT INTO jobs (id, status, job_type, user_id, callback_url, created_at)
  SELECT 'job-1', 'created', 'job', id, 'https://hooks.example/{SECRET}', now() FROM users;
INSERT INTO runs (id, status, agent_id, organization_id, callback_url)
  SELECT 'run-1', 'created', min(id), min(organization_id), 'https://hooks.example/{SECRET}' FROM agents;
"""


@pytest.fixture
def call(monkeypatch, capsys):
    def run(module, check=False, **params):
        run_main(monkeypatch, module, params, check=check)
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture(scope="module")
def staging(tmp_path_factory):
    """A PostgreSQL server that is marked as one of rehearsals, and a Letta database with secrets in it."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("staging"), fsync=False, settings={"letta_ops.rehearsal": "staging"})
    try:
        server.start()
        database = server.create_letta_database("letta", password=PASSWORD)
        install_schema(database)
        fill(database)
        query(database, FILL)
        yield database
    finally:
        server.destroy()


def login(server):
    return dict(login_host=server.host, login_port=server.port, login_user=server.user, login_password=server.password,
                database=server.dbname, ssl_mode="disable")  # fmt: skip


def dumped(server):
    """Everything in the database as text."""
    tables = query(server, "SELECT c.oid::regclass::text FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'letta'::regnamespace")
    return "\n".join(row[0] or "" for (table,) in tables for row in query(server, "SELECT string_agg(t::text, ' ') FROM %s t" % table))


@pytest.mark.fault(39, "mark")
def test_a_server_without_the_mark_is_refused_also_when_only_a_database_carries_it(pg, letta_shape, call):
    server = pg.clone_database("blank_me_not", letta_shape, password=PASSWORD)
    try:
        before = dumped(server)
        pg.execute("ALTER DATABASE blank_me_not SET letta_ops.rehearsal TO 'yes'")
        for module in (letta_blank, rehearsal_figures):
            refused = call(module, **login(server))
            assert refused["failure_class"] == "preflight" and "not marked" in refused["msg"], refused
        assert dumped(server) == before
    finally:
        pg.drop_database("blank_me_not")


def test_in_check_mode_what_would_be_emptied_is_counted_and_nothing_is(staging, call):
    before = dumped(staging)
    counted = call(letta_blank, check=True, **login(staging))
    assert counted["changed"] and counted["emptied"]["providers.api_key_enc"] == 1 and dumped(staging) == before


@pytest.mark.fault(33, "callback")
def test_no_secret_no_callback_no_background_turn_and_no_model_but_the_fake_is_left(staging, call):
    before = dict(query(staging, "SELECT id, llm_config->>'context_window' FROM agents"))
    done = call(letta_blank, model_url="http://127.0.0.1:8399/v1", **login(staging))
    assert done["changed"] and SECRET not in dumped(staging), done
    assert query(staging, "SELECT DISTINCT llm_config->>'model_endpoint' FROM agents") == [("http://127.0.0.1:8399/v1",)]
    assert query(staging, "SELECT sleeptime_agent_frequency FROM groups") == [(-1,)]
    assert query(staging, "SELECT base_url, api_key, api_key_enc FROM providers") == [(outward.NOWHERE, None, None)]
    assert dict(query(staging, "SELECT id, llm_config->>'context_window' FROM agents")) == before
    again = call(letta_blank, model_url="http://127.0.0.1:8399/v1", **login(staging))
    assert (again["changed"], again["emptied"]) == (False, {})


def test_every_column_that_holds_a_secret_or_an_address_is_one_of_the_current_schema(staging):
    columns = set(query(staging, "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'letta'"))
    declared = {(table, column) for table, column, _value in outward.VALUES}
    declared |= {*outward.secret_columns(), *outward.model_settings("")}
    assert declared - columns == set()
    words = ("_enc", "secret", "callback_url", "server_url", "base_url")
    suspicious = {(table, column) for table, column in columns if any(word in column for word in words)}
    assert suspicious and suspicious - declared == set()


def test_the_database_is_asked_the_test_queries_of_a_set(staging, shape_set, call):
    found = call(rehearsal_figures, set_dir=str(shape_set), repeats=3, **login(staging))
    assert set(found["figures"]) == {"list_agents", "page_of_messages", "vector_search"}, found
    assert all(0 < figure["median_ms"] <= figure["p95_ms"] for figure in found["figures"].values())
    recorded = json.loads((shape_set / "manifest.json").read_text(encoding="utf-8"))["figures"]
    assert set(recorded) == set(found["figures"])


def test_a_letta_that_does_not_answer_fails_what_was_restored(staging, call):
    failed = call(rehearsal_figures, api_url="http://127.0.0.1:9", **login(staging))
    assert failed["failure_class"] == "verify_failed" and "does not answer" in failed["msg"]


def test_a_stand_is_made_started_and_removed_and_its_database_is_empty_and_marked(tmp_path, call):
    base = tmp_path / "stands"
    base.mkdir()
    ports = {name: places.free_port() for name in stand.PORTS}
    made = call(rehearsal_stand, state="present", base=str(base), name=NAME, isolated=False)
    try:
        started = call(rehearsal_stand, state="started", base=str(base), name=NAME, ports=ports, postgres_password="p", letta_password="l")
        assert started.get("failed") is None, started
        server = Server("127.0.0.1", ports["postgres"], "letta", "l", "letta", sslmode="disable")
        assert query(server, "SELECT current_setting('letta_ops.rehearsal'), current_schema(), current_user") == [
            (os.path.basename(made["path"]), "letta", "letta")]  # fmt: skip
        assert oct(os.stat(made["path"]).st_mode & 0o777) == "0o700" and started["postgresql"][0].isdigit()
        refused = call(rehearsal_stand, state="present", base=str(base), name=NAME)
        assert refused["failure_class"] == "preflight"
    finally:
        gone = call(rehearsal_stand, state="absent", base=str(base), name=NAME)
    assert gone["ended"] >= 3 and os.listdir(base) == [] and not places.port_answers(ports["postgres"])
    assert call(rehearsal_stand, state="absent", base=str(base), name=NAME)["changed"] is False


LETTA = """
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"version": "0.16.7"} if "health" in self.path else []).encode()
        self.send_response(200 if "health" in self.path else int(sys.argv[1]))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.mark.parametrize(
    ("argv", "version", "failure_class", "said"),
    [
        (["-c", LETTA, "200"], "0.16.8", "preflight", "says it is 0.16.7"),
        (["-c", LETTA, "500"], "0.16.7", "verify_failed", "does not serve"),
        (["-c", "raise SystemExit('no such table')"], "", "verify_failed", "no such table"),
    ],
)
def test_another_release_is_no_verdict_and_one_that_does_not_serve_fails(tmp_path, call, argv, version, failure_class, said):
    """Stand-ins for Letta: what is shown is how its answers are judged."""
    made = call(rehearsal_stand, state="present", base=str(tmp_path), name=NAME, isolated=False)
    try:
        failed = call(
            rehearsal_stand, state="serving", base=str(tmp_path), name=NAME, command=[sys.executable, *argv], letta_password="pass",
            ports={"letta": places.free_port()}, version=version, timeout=4, redis=False,
        )  # fmt: skip
        assert failed["failure_class"] == failure_class and said in failed["msg"], failed
    finally:
        call(rehearsal_stand, state="absent", base=str(tmp_path), name=NAME)
    assert not os.path.exists(made["path"])


def test_what_a_letta_process_is_given_leads_to_this_system_and_holds_nothing_of_ours(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    env = serving.environment(stand.PORTS, stand.Letta(password="word", token="hush", key="key", more={"LETTA_USE_UVLOOP": True}))
    assert SECRET not in str(env) and env["LETTA_USE_UVLOOP"] == "True" and env["LETTA_ENCRYPTION_KEY"] == "key"
    assert env["OPENAI_BASE_URL"] == "http://127.0.0.1:8399/v1" and env["LETTA_PG_URI"] == "postgresql://letta:word@127.0.0.1:5432/letta"


def test_sets_are_chosen_and_lines_kept_that_later_rehearsals_see(tmp_path, shape_set, call):
    root = shape_set.parent
    found = call(rehearsal, state="begun", backup_root=str(root), policies=["latest"], agents=2, seed="s")
    (chosen,) = found["sets"]
    assert chosen["id"] == shape_set.name and len(chosen["agents"]) == 2 and chosen["baseline"] and not chosen["problem"]
    record = {"format": 1, "rehearsal": found["id"], "target": "db1/letta", "set": chosen["id"], "verdict": "passed"}
    mine = str(tmp_path)
    assert call(rehearsal, check=True, state="recorded", backup_root=mine, records=[record], target="db1/letta")["history"] == []
    kept = call(rehearsal, state="recorded", backup_root=mine, records=[record], target="db1/letta")
    assert [line["rehearsal"] for line in kept["history"]] == [found["id"]]
    assert call(rehearsal, state="recorded", backup_root=mine, target="db2/letta")["history"] == []


def test_the_fake_model_is_a_program_that_needs_nothing_of_ours(tmp_path):
    from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.rehearse import model

    code = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='x'); print(sorted(m for m in sys.modules if m.startswith('ansible')))"
    done = subprocess.run([sys.executable, "-I", "-c", code, model.__file__], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
