"""A real Letta 0.16.8 on a restored database: every agent reads back as before, and new turns are answered *and* kept."""
from __future__ import annotations

import json
import os
import re
import subprocess

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import agents
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.digest import digest_database
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.reconcile import engine, sleeptime
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.reconcile.changes import DENY, Options
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.validate import validate_database
from tests.integration.restore_kit import World
from tests.lab.fixtures import LETTA_PASSWORD
from tests.lab.letta import ApiError, LettaServer
from tests.lab.readback import differences, read_back
from tests.lab.sample import sample
from tests.lab.seed import NASTY, SAMPLE_KEY, SECRETS

pytestmark = pytest.mark.slow


def restore_by_playbook(pg, folder, store_of, dbname, playbooks):
    """Restore into ``dbname`` through the playbooks, as a person does; returns a :class:`Server` for Letta's role and the report.

    :param store_of: function filling the world's store before the playbooks run.
    :param playbooks: names of playbooks with their arguments, the last one restores.
    """
    pg.ensure_role("letta", LETTA_PASSWORD)
    admin = pg.server()
    variables = {
        "letta_db_password": LETTA_PASSWORD,
        "letta_db_admin_user": admin.user,
        "letta_db_admin_password": admin.password,
        "letta_encryption_key": SAMPLE_KEY,
    }
    world = World(pg, dbname, folder, variables=variables)
    os.makedirs(world.root, 0o700)
    store_of(world)
    for name, *arguments in playbooks:
        played = world.play(name, *arguments, timeout=300).ok()
    explained = {row["name"]: row["explanation"] for row in played.report["tables"] if row["digest"] == "explained"}
    assert {row["digest"] for row in played.report["tables"]} == {"equal", "explained"}
    assert set(explained) == {"letta.runs", "letta.run_metrics", "letta.steps", "letta.files", "letta.agents"}
    assert all(re.fullmatch(r"\d+ reconciled", why) for why in explained.values()), explained
    return pg.server("letta", LETTA_PASSWORD, dbname), played.report


@pytest.fixture(scope="module")
def facts():
    """What was made in the sample's source and how it read back there, just before the server was killed."""
    return sample()[1]


@pytest.fixture(scope="module", params=["set", "adopted"])
def restored(request, pg, sample_set, tmp_path_factory):
    """The sample, restored by the playbook: from its set, and from a foreign dump of it that was adopted first."""
    folder, dbname = tmp_path_factory.mktemp("real"), "real_letta_%s" % request.param
    if request.param == "set":
        server, report = restore_by_playbook(pg, folder, lambda world: world.copy_set(sample_set), dbname, [("restore-full.yml",)])
    else:
        dump = folder / "foreign.dump"
        steps = [("adopt.yml", "-e", "letta_adopt_dump=%s" % dump), ("restore-full.yml",)]
        server, report = restore_by_playbook(pg, folder, lambda world: foreign_dump(pg, sample_set, dump), dbname, steps)
    yield server, report, digests_of_agents(server)
    pg.drop_database(dbname)


def foreign_dump(pg, sample_set, dump):
    """Dump the sample as somebody without this collection would: restored by hand, then ``pg_dump -Fc``."""
    archive = sample_set / "database"
    pg.execute("CREATE DATABASE foreign_letta OWNER letta TEMPLATE template0")
    try:
        pg.execute("DROP SCHEMA public", "foreign_letta")
        env = pg.server(dbname="foreign_letta").environment()
        for argv in (["pg_restore", "--exit-on-error", "--dbname=foreign_letta", str(archive)], ["pg_dump", "-Fc", "-f", str(dump)]):
            done = subprocess.run([str(pg.bin_dir / argv[0]), *argv[1:]], env=env, check=False, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
    finally:
        pg.drop_database("foreign_letta")


@pytest.fixture(scope="module")
def on_restored(restored, letta_redis, openai_stub, tmp_path_factory):
    home = tmp_path_factory.mktemp("real-letta")
    with LettaServer(home, restored[0], openai_stub.proxy, SAMPLE_KEY, (letta_redis.host, letta_redis.port)) as letta:
        yield letta


def digests_of_agents(server):
    """Return what a manifest would say of each agent."""
    columns = {}
    for table, column in query(server, "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'letta'"):
        columns.setdefault("letta.%s" % table, []).append(column)
    groups = agents.group_columns(columns, "letta")
    names = dict(query(server, "SELECT id, name FROM agents"))
    links = query(server, "SELECT agent_id, archive_id FROM archives_agents")
    return agents.agent_digests(digest_database(server, groups=groups), groups, names, links)


def open_runs(server, agent):
    """Return the ids of an agent's runs that somebody is to work at, as rows."""
    return query(server, "SELECT id FROM runs WHERE agent_id = %s AND status IN ('created', 'running')", (agent,))


def messages_of(server, agent):
    rows = query(server, "SELECT role, sequence_id, content::text FROM messages WHERE agent_id = %s ORDER BY sequence_id", (agent,))
    return [(role, number, text) for role, number, text in rows]


def test_everything_reads_back_as_it_did_before_the_backup_but_for_what_was_reconciled(on_restored, restored, facts):
    """First of all tests here: the later ones change the database."""
    assert len(facts["readback"]["agents"]) >= 10
    reconciled = {item["id"]: item["entity"] for item in restored[1]["reconciled"]}
    unexplained = []
    for line in differences(facts["readback"], read_back(on_restored)):
        _empty, kind, owner, *path = line.partition(": ")[0].split("/")
        of_file = kind == "folders" and reconciled.get(path[1]) == "file"
        of_agent = kind == "agents" and owner in reconciled and path[-1] in ("last_stop_reason", "updated_at")
        if not (of_file or of_agent or (kind == "runs" and owner in reconciled)):
            unexplained.append(line)
    assert unexplained == []


@pytest.mark.fault(33, "run", "step", "job")
def test_nothing_is_left_that_no_server_works_on(restored, facts):
    server, report, _digests = restored
    for table, column, values in (("runs", "status", "created running"), ("steps", "status::text", "PENDING"),
                                  ("files", "processing_status", "pending parsing embedding")):
        assert query(server, "SELECT id FROM %s WHERE %s = ANY(%%s)" % (table, column), (values.split(),)) == []
    assert [check["id"] for check in report["checks"] if check["id"].startswith("work.") and check["status"] != "pass"] == []
    assert facts["made"]["runs"]["hanging"] in {item["id"] for item in report["reconciled"] if item["entity"] == "run"}
    ((file, error),) = query(server, "SELECT id, error_message FROM files WHERE processing_status = 'error'")
    assert (file, "interrupted" in error) == (facts["made"]["files"]["hanging"], True)


def test_agents_without_interrupted_work_are_what_they_were_byte_for_byte(restored):
    server, report, digests = restored
    saved = manifests.load(str(sample()[0]))["agents"]
    ids = [item["id"] for item in report["reconciled"]]
    interrupted = {row[0] for row in query(server, "SELECT agent_id FROM runs WHERE id = ANY(%s)", (ids,))}
    touched = {agent for agent, facts in saved.items() if digests[agent]["digest"] != facts["digest"]}
    assert touched == interrupted and len(saved) - len(touched) >= 5


@pytest.mark.fault(33, "message")
@pytest.mark.parametrize("name", ["support", "memgpt", "memgpt v2", "react", "sleeper", "busy", "streamed"])
def test_a_new_message_is_answered_and_persisted_after_all_old_ones(on_restored, facts, name):
    agent = facts["made"]["agents"][name]
    before = messages_of(on_restored.server, agent)
    assert open_runs(on_restored.server, agent) == [], "nothing of before counts as its work"
    answer = on_restored.say(agent, "Are you back? %s" % NASTY["quotes"])
    assert answer["stop_reason"]["stop_reason"] == "end_turn"
    after = messages_of(on_restored.server, agent)
    assert after[:len(before)] == before
    new = after[len(before):]
    assert {"user", "assistant"} <= {role for role, _, _ in new}
    assert "Are you back?" in new[0][2]
    # A user message that is answered but not kept is Letta's answer to a sequence that was not restored.
    context = on_restored.api("GET", "/v1/agents/%s" % agent)["message_ids"]
    assert query(on_restored.server, "SELECT count(*) FROM messages WHERE id = ANY(%s)", (context,)) == [(len(context),)]


def test_a_tool_sees_the_restored_secret(on_restored, facts):
    answer = on_restored.say(facts["made"]["agents"]["support"], '[[call:look_up_order {"order": "9"}]]')
    returned = [message["tool_return"] for message in answer["messages"] if message["message_type"] == "tool_return_message"]
    assert returned[:1] == ["order 9 seen with token of %d characters" % len(SECRETS["API_TOKEN"])]


def test_restored_vectors_find_the_passage_that_shares_the_query_s_words(on_restored, facts):
    path = "/v1/agents/%s/archival-memory/search?top_k=1&query=backslash+tab+carriage+return" % facts["made"]["agents"]["support"]
    found = on_restored.api("GET", path)["results"]
    assert [passage["content"] for passage in found] == [NASTY["controls"]]


def test_a_restored_conversation_goes_on(on_restored, facts):
    path = "/v1/conversations/%s/messages" % facts["made"]["conversations"]["isolated"]
    before = on_restored.api("GET", path + "?limit=1000&order=asc")
    on_restored.api("POST", path, {"messages": [{"role": "user", "content": "And now?"}], "streaming": False})
    after = on_restored.api("GET", path + "?limit=1000&order=asc")
    assert after[:len(before)] == before and after[len(before)]["content"] == "And now?"


@pytest.mark.fault(33, "approval")
def test_the_pending_approval_is_still_pending_and_can_be_given(on_restored, facts):
    agent = facts["made"]["agents"]["careful"]
    with pytest.raises(ApiError, match="409"):
        on_restored.say(agent, "something else")
    messages = on_restored.api("GET", "/v1/agents/%s/messages?limit=100" % agent)
    pending = next(message for message in messages if message["message_type"] == "approval_request_message")
    call = pending["tool_call"]["tool_call_id"]
    approval = {"type": "approval", "approvals": [{"type": "approval", "tool_call_id": call, "approve": True}]}
    answer = on_restored.api("POST", "/v1/agents/%s/messages" % agent, {"messages": [approval]})
    assert "wiped all" in json.dumps(answer["messages"])


@pytest.mark.fault(33, "approval")
def test_a_denied_request_for_approval_no_longer_stands_in_the_way_of_a_new_message(on_restored, facts):
    agent = facts["made"]["agents"]["careful"]
    on_restored.say(agent, 'Wipe them: [[call:wipe_records {"name": "more"}]]')
    with pytest.raises(ApiError, match="409"):
        on_restored.say(agent, "something else")
    engine.reconcile(on_restored.server, Options(approvals=DENY), apply=True)
    messages = on_restored.api("GET", "/v1/agents/%s/messages?limit=2&order=desc" % agent)
    assert {message["message_type"] for message in messages} == {"tool_return_message", "approval_response_message"}
    assert on_restored.say(agent, "And now?")["stop_reason"]["stop_reason"] == "end_turn"


@pytest.mark.parametrize("name", ["support", "memgpt"])
def test_a_call_that_was_answered_for_a_killed_server_is_read_by_letta_and_its_agent_goes_on(on_restored, facts, name):
    agent = facts["made"]["agents"][name]
    call = {"support": 'Order? [[call:look_up_order {"order": "8"}]]', "memgpt": "Hello again"}[name]
    on_restored.say(agent, call)
    ((ids,),) = query(on_restored.server, "SELECT message_ids FROM agents WHERE id = %s", (agent,))
    found = query(on_restored.server, "SELECT id FROM messages WHERE id = ANY(%s) AND json_array_length(tool_calls) > 0"
                  " ORDER BY sequence_id DESC LIMIT 1", (ids,))
    calling = found[0][0]
    query(on_restored.server, "UPDATE agents SET message_ids = %s WHERE id = %s", (json.dumps(ids[: ids.index(calling) + 1]), agent))
    plan = engine.reconcile(on_restored.server, Options(), apply=True)["plan"]
    assert [item.table for item in plan.changes] == ["messages", "agents"]
    # Else the return of send_message is folded into what the agent said.
    path = "/v1/agents/%s/messages?limit=20&order=desc&use_assistant_message=false" % agent
    returns = [message for message in on_restored.api("GET", path)
               if message["message_type"] == "tool_return_message" and message["status"] == "error"]
    assert [item["id"] for item in returns if "interrupted" in item["tool_return"]] == [plan.changes[0].id]
    assert on_restored.say(agent, "Go on")["stop_reason"]["stop_reason"] == "end_turn"
    assert {finding.id for finding in validate_database(on_restored.server) if finding.status == "fail"} == set()


def test_a_paused_sleeptime_group_starts_no_background_turn_and_counts_none(on_restored, facts, tmp_path):
    sleeper, partner = (facts["made"]["agents"][name] for name in ("sleeper", "sleeper's partner"))
    journal, group = Journal.create(str(tmp_path), "r-00000000"), facts["made"]["groups"]["sleeptime"]

    def state():
        count = query(on_restored.server, "SELECT count(*) FROM runs WHERE agent_id = %s", (partner,))
        return count, query(on_restored.server, "SELECT turns_counter, last_processed_message_id FROM groups WHERE id = %s", (group,))

    before = state()
    assert sleeptime.pause(on_restored.server, journal) == 1
    for number in range(3):  # its group asks for a background turn at every second one
        on_restored.say(sleeper, "Message %d" % number)
    assert state() == before
    assert sleeptime.resume(on_restored.server, journal) == 1
    for number in range(2):
        on_restored.say(sleeper, "Message %d" % number)
    assert state() != before


def test_an_agent_s_work_can_be_cancelled(on_restored, facts):
    path = "/v1/agents/%s/messages/" % facts["made"]["agents"]["busy"]
    run = on_restored.api("POST", path + "async", {"messages": [{"role": "user", "content": "Take your time [[slow:15]]"}]})
    # Without its id Letta takes the run that Redis names, which is the one of the last message that was waited for.
    assert on_restored.api("POST", path + "cancel", {"run_ids": [run["id"]]}) == {run["id"]: "cancelled"}


@pytest.fixture
def sequence_set_back(on_restored):
    """The state after a restore that forgot the sequence of messages."""
    ((last,),) = query(on_restored.server, "SELECT last_value FROM message_seq_id")
    query(on_restored.server, "SELECT setval('message_seq_id', 1)")
    yield
    query(on_restored.server, "SELECT setval('message_seq_id', %s)", (last,))


@pytest.mark.fault(32, "behind")
def test_without_the_sequence_an_agent_answers_but_keeps_nothing(on_restored, facts, sequence_set_back):
    """The silent loss that the tests above would catch, brought about on purpose."""
    agent = facts["made"]["agents"]["support"]
    before = messages_of(on_restored.server, agent)
    answer = on_restored.say(agent, "Will you keep this?")
    assert answer["stop_reason"]["stop_reason"] == "end_turn"
    assert messages_of(on_restored.server, agent) == before
    assert "sequence.message_seq_id" in {finding.id for finding in validate_database(on_restored.server) if finding.status == "fail"}


def test_without_the_sequence_agents_of_the_older_kind_answer_with_a_conflict(on_restored, facts, sequence_set_back):
    with pytest.raises(ApiError, match="uq_messages_sequence_id"):
        on_restored.say(facts["made"]["agents"]["memgpt v2"], "Will you keep this?")
