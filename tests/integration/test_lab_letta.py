"""The lab's Letta is real: it answers, keeps turns, and its seeded database holds what real ones hold."""
from __future__ import annotations

import base64
import json
import os
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.validate import validate_database
from tests.lab import ROOT
from tests.lab import openai_stub as fake
from tests.lab.letta import ApiError, LettaServer, pg_uri
from tests.lab.letta_install import letta_home
from tests.lab.readback import differences, read_back
from tests.lab.seed import EMBEDDING, MODEL, NASTY, SAMPLE_KEY, SECRETS


def ask(stub, path, body):
    request = urllib.request.Request(stub.proxy + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as response:
        return response.read().decode()


def user(text):
    return [{"role": "system", "content": "s"}, {"role": "user", "content": text}]


ECHO = {"type": "function", "function": {"name": "echo", "parameters": {"properties": {"x": {"type": "string"}}, "required": ["x"]}}}


def test_the_fake_says_that_it_is_one_and_repeats_itself(openai_stub):
    answers = [json.loads(ask(openai_stub, "/v1/chat/completions", {"model": "m", "messages": user("hi")})) for _ in range(2)]
    assert answers[0]["choices"] == answers[1]["choices"]
    assert "fake" in answers[0]["choices"][0]["message"]["content"] and "fake" in answers[0]["system_fingerprint"]


def test_the_fake_calls_directed_tools_one_after_the_other_and_then_ends():
    text = 'do [[call:echo {"x": "a [[b]] }"}]] then [[call:echo]] and [[call:not_offered {}]]'
    messages = user(json.dumps({"type": "user_message", "message": text}))
    called = []
    for _ in range(3):
        message = fake.answer({"messages": messages, "tools": [ECHO]})
        if not message.get("tool_calls"):
            break
        called.append(json.loads(message["tool_calls"][0]["function"]["arguments"])["x"])
        messages = messages + [message, {"role": "tool", "content": "ok"}, {"role": "user", "content": '{"type": "heartbeat"}'}]
    assert called[0] == "a [[b]] }" and len(called) == 2 and message["content"]


def test_the_fake_streams_the_same_call_that_it_gives_in_one_piece(openai_stub):
    body = {"model": "m", "messages": user('[[call:echo {"x": "🚀 quite a long argument, longer than one piece of it"}]]'), "tools": [ECHO]}
    whole = json.loads(ask(openai_stub, "/v1/chat/completions", body))["choices"][0]["message"]["tool_calls"][0]["function"]
    lines = ask(openai_stub, "/v1/chat/completions", {**body, "stream": True}).split("\n\n")
    assert lines[-2] == "data: [DONE]"
    choices = [json.loads(line[6:])["choices"] for line in lines[:-2]]
    calls = [part["tool_calls"][0]["function"] for chunk in choices if chunk for part in [chunk[0]["delta"]] if "tool_calls" in part]
    assert calls[0]["name"] == whole["name"]
    assert "".join(call["arguments"] for call in calls) == whole["arguments"]


def test_the_fake_embeds_the_same_as_list_and_base64_and_near_texts_near(openai_stub):
    body = {"model": fake.EMBEDDING_MODEL, "input": ["red apples", "apples red and green", "seven ships"]}
    vectors = [item["embedding"] for item in json.loads(ask(openai_stub, "/v1/embeddings", body))["data"]]
    packed = json.loads(ask(openai_stub, "/v1/embeddings", {**body, "encoding_format": "base64"}))["data"][0]["embedding"]
    assert struct.unpack("<1536f", base64.b64decode(packed)) == pytest.approx(vectors[0])

    def likeness(a, b):
        return sum(x * y for x, y in zip(a, b))

    assert likeness(vectors[0], vectors[1]) > 0.5 > abs(likeness(vectors[0], vectors[2]))


def test_the_fake_fails_when_told_to(openai_stub):
    with pytest.raises(urllib.error.HTTPError, match="503"):
        ask(openai_stub, "/v1/chat/completions", {"model": "m", "messages": user("[[fail:503]]")})


def test_a_password_that_letta_cannot_bear_is_refused_before_the_server_fails(pg):
    with pytest.raises(ValueError, match="encode"):
        pg_uri(pg.server("letta", "per%cent"))


@pytest.mark.slow
def test_two_processes_may_install_letta_at_once(tmp_path):
    code = "from tests.lab.letta_install import letta_home; print(letta_home())"
    env = {**os.environ, "LETTA_LAB_CACHE": str(tmp_path)}
    both = [subprocess.Popen([sys.executable, "-c", code], env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    homes = {process.communicate(timeout=900)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0] and len(homes) == 1
    home = Path(homes.pop())
    assert (home / "alembic" / "env.py").is_file() and (home / "venv" / "bin" / "letta").is_file()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".letta-")] == []


@pytest.mark.slow
def test_the_template_is_at_letta_0_16_8s_head(pg, letta_database):
    server = letta_database()
    assert query(server, "SELECT version_num FROM alembic_version") == [("1c28e167b74f",)]
    assert query(server, "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'letta'") == [(49,)]
    assert (letta_home() / "alembic.ini").is_file()


@pytest.mark.slow
def test_a_real_turn_is_answered_and_persisted(letta):
    agent = letta.api("POST", "/v1/agents/", {"name": "turn", "model": MODEL, "embedding": EMBEDDING, "memory_blocks": []})
    answer = letta.say(agent["id"], NASTY["quotes"])
    assert answer["stop_reason"]["stop_reason"] == "end_turn"
    assert answer["messages"][-1]["content"].startswith("(%s)" % fake.FAKE)
    stored = query(letta.server, "SELECT role, content::text FROM messages WHERE agent_id = %s ORDER BY sequence_id", (agent["id"],))
    assert [role for role, _ in stored] == ["system", "user", "assistant"]
    assert json.loads(stored[1][1])[0]["text"] == NASTY["quotes"]


@pytest.mark.slow
def test_a_killed_server_is_gone_and_a_stopped_one_too(letta_database, openai_stub, tmp_path):
    letta = LettaServer(tmp_path, letta_database(), openai_stub.proxy, SAMPLE_KEY).start()
    assert letta.running()
    letta.kill()
    assert not letta.running()
    with pytest.raises(OSError):
        letta.api("GET", "/v1/health/", timeout=2)
    letta.start().stop()
    assert not letta.running()


@pytest.mark.slow
def test_a_server_that_cannot_start_shows_its_log_without_the_password(letta_database, tmp_path):
    server = letta_database()
    broken = type(server)(server.host, server.port, server.user, "wrong-password", server.dbname)
    with pytest.raises(RuntimeError) as caught:
        LettaServer(tmp_path, broken, "http://127.0.0.1:9", SAMPLE_KEY).start(timeout=60)
    assert "password authentication failed" in str(caught.value) and "wrong-password" not in str(caught.value)


FILLED = """\
agent_environment_variables agents agents_tags archival_passages archives archives_agents block blocks_agents
blocks_conversations blocks_tags conversation_messages conversations file_contents files files_agents groups groups_agents groups_blocks
identities identities_agents messages passage_tags provider_models provider_traces providers run_metrics runs sandbox_configs
source_passages sources sources_agents step_metrics steps tools tools_agents users"""


@pytest.mark.slow
def test_the_seeded_database_fills_the_tables_of_real_installations(seeded):
    empty = [table for table in FILLED.split() if query(seeded["server"], "SELECT count(*) FROM %s" % table) == [(0,)]]
    assert empty == []
    types = {row[0] for row in query(seeded["server"], "SELECT DISTINCT agent_type FROM agents")}
    assert types == {"memgpt_agent", "memgpt_v2_agent", "letta_v1_agent", "react_agent", "workflow_agent", "sleeptime_agent"}


@pytest.mark.slow
def test_the_seeded_database_passes_every_check_but_for_what_the_killed_server_left(seeded):
    findings = [finding for finding in validate_database(seeded["server"], role="letta") if finding.status != "pass"]
    assert {finding.id for finding in findings} == {"agents.prompt_stale", "work.runs", "work.steps", "work.files"}
    # A block was attached to an agent that took no turn since.
    (stale,) = [finding for finding in findings if finding.id == "agents.prompt_stale"]
    assert [example.split()[1] for example in stale.examples] == ["team"]


def test_the_seeded_texts_are_exactly_those_given(seeded):
    values = dict(query(seeded["server"], "SELECT label, value FROM block WHERE id = ANY(%s)", (list(seeded["made"]["blocks"].values()),)))
    assert values["company"] == NASTY["quotes"] and values["policy"] == NASTY["jinja"] and values["team"] == NASTY["copy_end"]
    support = seeded["readback"]["agents"][seeded["made"]["agents"]["support"]]
    assert support["state"]["metadata"]["nasty"] == NASTY
    said = [message["content"] for message in support["messages"] if message["message_type"] == "user_message"]
    assert set(NASTY.values()) <= set(said)
    assert not Path("/tmp/letta-lab-canary").exists()


@pytest.mark.slow
def test_seeded_secrets_are_stored_encrypted_and_read_back_in_plain(seeded):
    agent = seeded["made"]["agents"]["support"]
    stored = query(seeded["server"], "SELECT key, value, value_enc FROM agent_environment_variables WHERE agent_id = %s", (agent,))
    assert {key for key, _, _ in stored} == set(SECRETS)
    assert not any(SECRETS[key] in (value or "") + enc for key, value, enc in stored)
    read = seeded["readback"]["agents"][agent]["state"]["secrets"].values()
    assert {item["key"]: item["value"] for item in read} == SECRETS


@pytest.mark.slow
def test_the_seeded_database_was_left_in_the_middle_of_work(seeded):
    def rows(sql):
        return query(seeded["server"], sql)

    agents = seeded["made"]["agents"]
    open_runs = dict(rows("SELECT agent_id, status FROM runs WHERE status IN ('created', 'running') AND background"))
    assert open_runs == {agents["busy"]: "created", agents["streamed"]: "running"}
    assert rows("SELECT count(*) FROM steps WHERE status = 'PENDING'") == [(2,)]
    assert rows("SELECT original_file_name FROM files WHERE processing_status = 'embedding'") == [("hanging.txt",)]
    assert rows("SELECT count(*) FROM files_agents WHERE is_deleted") == [(1,)]
    assert seeded["readback"]["agents"][agents["careful"]]["state"]["message_ids"]
    assert rows("SELECT count(*) FROM messages WHERE role = 'approval'") == [(1,)]


@pytest.mark.slow
def test_a_readback_tells_a_changed_word(seeded, pg, openai_stub, tmp_path):
    """A copy of the seeded database reads back the same, and no longer does when one block's value differs."""
    copy = pg.clone_database("letta_seeded_copy", seeded["server"].dbname, password=seeded["server"].password)
    try:
        with LettaServer(tmp_path, copy, openai_stub.proxy, SAMPLE_KEY) as letta:
            assert differences(seeded["readback"], read_back(letta)) == []
            query(copy, "UPDATE block SET value = 'changed' WHERE id = %s", (seeded["made"]["blocks"]["policy"],))
            found = differences(seeded["readback"], read_back(letta))
            support = "/agents/%s/state/blocks/%s/value" % (seeded["made"]["agents"]["support"], seeded["made"]["blocks"]["policy"])
            assert [line for line in found if line.startswith(support)] and all(line.endswith("became 'changed'") for line in found)
            with pytest.raises(ApiError, match="409"):
                letta.say(seeded["made"]["agents"]["careful"], "hello?")
    finally:
        pg.drop_database("letta_seeded_copy")
