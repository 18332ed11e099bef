"""A real Letta 0.16.8 on a restored database: every agent reads back as before, and new turns are answered *and* kept."""
from __future__ import annotations

import json
import os
import subprocess

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import query
from tests.integration.restore_kit import World
from tests.lab.fixtures import LETTA_PASSWORD
from tests.lab.letta import ApiError, LettaServer
from tests.lab.readback import differences, read_back
from tests.lab.sample import sample
from tests.lab.seed import NASTY, SAMPLE_KEY, SECRETS

pytestmark = pytest.mark.slow


def restore_by_playbook(pg, folder, store_of, dbname, playbooks):
    """Restore into ``dbname`` through the playbooks, as a person does; returns a :class:`Server` for Letta's role.

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
    assert {row["digest"] for row in played.report["tables"]} == {"equal"}
    return pg.server("letta", LETTA_PASSWORD, dbname)


@pytest.fixture(scope="module")
def facts():
    """What was made in the sample's source and how it read back there, just before the server was killed."""
    return sample()[1]


@pytest.fixture(scope="module", params=["set", "adopted"])
def restored(request, pg, tmp_path_factory):
    """The sample, restored by the playbook: from its set, and from a foreign dump of it that was adopted first."""
    folder, dbname = tmp_path_factory.mktemp("real"), "real_letta_%s" % request.param
    if request.param == "set":
        server = restore_by_playbook(pg, folder, lambda world: world.copy_set(sample()[0]), dbname, [("restore-full.yml",)])
    else:
        dump = folder / "foreign.dump"
        steps = [("adopt.yml", "-e", "letta_adopt_dump=%s" % dump), ("restore-full.yml",)]
        server = restore_by_playbook(pg, folder, lambda world: foreign_dump(pg, dump), dbname, steps)
    yield server
    pg.drop_database(dbname)


def foreign_dump(pg, dump):
    """Dump the sample as somebody without this collection would: restored by hand, then ``pg_dump -Fc``."""
    archive = sample()[0] / "database"
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
    with LettaServer(home, restored, openai_stub.proxy, SAMPLE_KEY, (letta_redis.host, letta_redis.port)) as letta:
        yield letta


def messages_of(server, agent):
    rows = query(server, "SELECT role, sequence_id, content::text FROM messages WHERE agent_id = %s ORDER BY sequence_id", (agent,))
    return [(role, number, text) for role, number, text in rows]


def test_everything_reads_back_as_it_did_before_the_backup(on_restored, facts):
    """First of all tests here: the later ones change the database."""
    assert len(facts["readback"]["agents"]) >= 10
    assert differences(facts["readback"], read_back(on_restored)) == []


@pytest.mark.parametrize("name", ["support", "memgpt", "memgpt v2", "react", "sleeper"])
def test_a_new_message_is_answered_and_persisted_after_all_old_ones(on_restored, facts, name):
    agent = facts["made"]["agents"][name]
    before = messages_of(on_restored.server, agent)
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


@pytest.fixture
def sequence_set_back(on_restored):
    """The state after a restore that forgot the sequence of messages."""
    ((last,),) = query(on_restored.server, "SELECT last_value FROM message_seq_id")
    query(on_restored.server, "SELECT setval('message_seq_id', 1)")
    yield
    query(on_restored.server, "SELECT setval('message_seq_id', %s)", (last,))


def test_without_the_sequence_an_agent_answers_but_keeps_nothing(on_restored, facts, sequence_set_back):
    """The silent loss that the tests above would catch, brought about on purpose."""
    agent = facts["made"]["agents"]["support"]
    before = messages_of(on_restored.server, agent)
    answer = on_restored.say(agent, "Will you keep this?")
    assert answer["stop_reason"]["stop_reason"] == "end_turn"
    assert messages_of(on_restored.server, agent) == before


def test_without_the_sequence_agents_of_the_older_kind_answer_with_a_conflict(on_restored, facts, sequence_set_back):
    with pytest.raises(ApiError, match="uq_messages_sequence_id"):
        on_restored.say(facts["made"]["agents"]["memgpt v2"], "Will you keep this?")
