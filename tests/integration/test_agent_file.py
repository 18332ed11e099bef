"""The module agent_file against a real Letta: what the file lacks is counted truly, and an import that would fail half-way is refused."""
from __future__ import annotations

import json
import stat
import uuid
from types import SimpleNamespace

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.agent_export import export_agent
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.rest import Rest
from ansible_collections.letta_ops.recovery.plugins.modules import agent_file
from tests.lab import places
from tests.lab.modules import run_main
from tests.lab.seed import EMBEDDING, NASTY, Seeder

TOKEN = "a-token-nobody-may-see"
SECRETS = {"API_TOKEN": "tok-nobody-may-see", "DB_PASSWORD": "p@ss 'nobody' may \"see\""}
LOOK = '''
def af_look(what: str) -> str:
    """Look.

    Args:
        what (str): what to look at
    """
    return what
'''
PASSAGES = "SELECT count(*) FROM archival_passages p JOIN archives_agents a USING (archive_id) WHERE agent_id = %s"
CHUNKS = "SELECT count(*) FROM source_passages p JOIN sources_agents a USING (source_id) WHERE agent_id = %s"
LINKED = "SELECT count(*) FROM messages WHERE agent_id = %s AND run_id IS NOT NULL AND id = ANY(%s)"


@pytest.fixture(scope="module")
def rich(letta):
    """An agent with all that an agent file loses, and one that shares a block with it."""
    made = Seeder(letta, None)
    make = made._make
    block = make("blocks", "company", "/v1/blocks/", {"label": "company", "value": NASTY["jinja"], "tags": ["shared"]})
    for folder in ("kept", "other"):
        make("folders", folder, "/v1/folders/", {"name": "agent file %s" % folder, "embedding": EMBEDDING})
    made._upload("kept", "hours", "hours.txt", "We are open from nine to five.")
    tool = make("tools", "af_look", "/v1/tools/", {"source_type": "python", "source_code": LOOK})
    agent = made._agent("rich", "letta_v1_agent", name="Rich O'Neil 支持", secrets=SECRETS, tags=["b", "a"], tool_ids=[tool],
                        block_ids=[block], folder_ids=[made.made["folders"]["kept"]], enable_sleeptime=True,
                        memory_blocks=[{"label": "human", "value": NASTY["unicode"]}])
    # So seldom that the partner does not write while the tests compare.
    seldom = {"manager_config": {"manager_type": "sleeptime", "manager_agent_id": agent, "sleeptime_agent_frequency": 1000}}
    letta.api("PATCH", "/v1/groups/%s" % letta.api("GET", "/v1/agents/%s" % agent)["managed_group"]["id"], seldom)
    made._agent("sharer", "memgpt_agent", name="sharer", block_ids=[block])
    for text in ("remember tea", "remember coffee"):
        letta.api("POST", "/v1/agents/%s/archival-memory" % agent, {"text": text, "tags": ["drink"]})
    make("identities", "ann", "/v1/identities/", {"identifier_key": "af-ann", "name": "Ann", "identity_type": "user", "agent_ids": [agent]})
    letta.say(agent, "hello")
    letta.say(made.made["agents"]["sharer"], "hello")
    talk = make("conversations", "talk", "/v1/conversations/?agent_id=%s" % agent, {"isolated_block_labels": ["human"]})
    body = {"messages": [{"role": "user", "content": "hi"}], "streaming": False}
    letta.api("POST", "/v1/conversations/%s/messages" % talk, body)
    return SimpleNamespace(id=agent, name="Rich O'Neil 支持", made=made, agents=made.made["agents"])


@pytest.fixture(scope="module")
def exported(letta, rich, tmp_path_factory):
    """The rich agent's file, its list of losses beside it; never write to it."""
    dest = tmp_path_factory.mktemp("exported") / "rich.af"
    export_agent(Rest(letta.url), rich.name, str(dest))
    return dest


@pytest.fixture
def call(monkeypatch, capsys, letta):
    """Run the module through main(); nothing it prints may hold a secret."""

    def run(check=False, **params):
        run_main(monkeypatch, agent_file, dict({"api_url": letta.url, "api_token": TOKEN}, **params), check=check, verbosity=3)
        printed, warned = capsys.readouterr()
        said = printed + warned
        assert not [secret for secret in (TOKEN, *SECRETS.values()) if secret in said or json.dumps(secret)[1:-1] in said]
        return json.loads(printed)

    return run


def count(letta, sql, *ids):
    return query(letta.server, sql, ids)[0][0]


def everything(letta):
    """Return the ids of all that an import makes."""
    tables = "agents", "block", "sources", "files", "tools", "messages", "groups"
    return {table: {row[0] for row in query(letta.server, "SELECT id FROM %s" % table)} for table in tables}


def lost(result, agent):
    return {loss["what"]: loss["count"] for loss in result["lost"] if loss["agent"] == agent}


def test_what_the_file_lacks_is_what_the_database_holds_and_a_second_export_changes_nothing(letta, rich, exported, call):
    def files():
        found = [(path.name, path.stat()) for path in exported.parent.iterdir()]
        return {name: (stat.S_IMODE(facts.st_mode), facts.st_ino, facts.st_mtime_ns) for name, facts in found}

    before = files()
    done = call(state="exported", agent=rich.id, dest=str(exported))
    assert files() == before and {name: facts[0] for name, facts in before.items()} == {"rich.af": 0o600, "rich.af.lost.json": 0o600}
    data, second = json.loads(exported.read_text()), json.loads((exported.parent / "rich.af.lost.json").read_text())
    assert (done["changed"], done["problems"], done["agent"]["id"]) == (False, [], rich.id)

    def rows(table, column="agent_id"):
        return count(letta, "SELECT count(*) FROM %s WHERE %s = %%s" % (table, column), rich.id)

    found = lost(done, rich.id)
    settings = {"settings", "group_progress"}
    assert {what: number for what, number in found.items() if what not in settings} == {
        "messages": rows("messages") - len(data["agents"][0]["messages"]),
        "message_links": count(letta, LINKED, rich.id, list(second["ids"].values())),
        "conversations": rows("conversations"), "conversation_blocks": 1, "archives": rows("archives_agents"),
        "passages": count(letta, PASSAGES, rich.id),
        "identities": rows("identities_agents"), "secrets": rows("agent_environment_variables"), "runs": rows("runs"),
        "shared_blocks": 1, "block_tags": 1, "folders": 1,
        "file_passages": count(letta, CHUNKS, rich.id),
    }
    assert found["messages"] > 0 and found["passages"] == 2 and found["secrets"] == 2
    assert "enable_sleeptime" in next(loss["examples"] for loss in done["lost"] if loss["what"] == "settings" and loss["agent"] == rich.id)
    assert not [secret for secret in SECRETS.values() if secret in exported.read_text() + json.dumps(second)]


def test_scrubbed_messages_count_as_lost_those_a_listing_leaves_out_too_and_check_mode_writes_nothing(letta, rich, call, tmp_path):
    # The listing of an agent that speaks through send_message leaves out that tool's results unless it is asked for them.
    agent, dest = rich.agents["sharer"], tmp_path / "sharer.af"
    dest.write_text("an older file")
    done = call(check=True, state="exported", agent="sharer", dest=str(dest), scrub_messages=True)
    assert (done["changed"], done["counts"]["messages"]) == (True, 0)
    assert lost(done, agent)["messages"] == count(letta, "SELECT count(*) FROM messages WHERE agent_id = %s", agent) > 3
    assert (list(tmp_path.iterdir()), dest.read_text()) == ([dest], "an older file")


def test_an_agent_comes_back_under_new_ids_that_are_told_and_a_second_import_does_nothing(letta, rich, exported, call):
    before = everything(letta)
    options = dict(state="imported", src=str(exported), name="Rich again", secrets=SECRETS)
    planned = call(check=True, **options)
    assert (planned["changed"], planned["agent_ids"], everything(letta)) == (True, [], before)
    done = call(**options)
    old, new = (letta.api("GET", "/v1/agents/%s" % agent) for agent in (rich.id, done["agent_ids"][0]))
    partner = letta.api("GET", "/v1/agents/%s" % done["agent_ids"][1])
    assert (new["name"], partner["name"]) == ("Rich again", rich.name + "-sleeptime")
    assert {secret["key"]: secret["value"] for secret in new["secrets"]} == SECRETS
    for field in ("system", "tool_rules", "llm_config", "embedding_config", "timezone", "max_files_open"):
        assert new[field] == old[field], field
    assert sorted(new["tags"]) == sorted(old["tags"])
    assert {tool["id"] for tool in new["tools"]} == {tool["id"] for tool in old["tools"]}
    assert {block["label"]: block["value"] for block in new["blocks"]} == {block["label"]: block["value"] for block in old["blocks"]}
    assert [done["origins"][message] for message in old["message_ids"]] == new["message_ids"]
    texts = [query(letta.server, "SELECT id, content::text FROM messages WHERE agent_id = %s", (agent["id"],)) for agent in (old, new)]
    old_text, new_text = (dict(rows) for rows in texts)
    assert [old_text[message] for message in old["message_ids"]] == [new_text[message] for message in new["message_ids"]]
    for kind in ("blocks", "sources"):
        pairs = {done["origins"][thing["id"]] for thing in old[kind]}
        assert pairs == {thing["id"] for thing in new[kind]} and not pairs & {thing["id"] for thing in old[kind]}
    after = everything(letta)
    for table in ("agents", "groups", "files", "sources"):
        assert after[table] - before[table] <= set(done["id_map"].values()), table
    assert after["tools"] == before["tools"] and set(done["id_map"]) >= {"agent-0", "agent-1", "group-0", "file-0", "source-0", "message-0"}
    again = call(**options)
    assert (again["changed"], again["existing"], everything(letta)) == (False, [new["id"]], after)
    # The new agent has what the old one had in its file, and lacks what was told.
    assert not letta.api("GET", "/v1/agents/%s/archival-memory" % new["id"]) and not new["identity_ids"] and not new["enable_sleeptime"]


def test_an_ambiguous_or_unknown_name_is_refused_with_the_ids(letta, rich, call, tmp_path):
    twins = [rich.made._agent("twin %d" % number, "letta_v1_agent", name="twin") for number in range(2)]
    failed = call(state="exported", agent="twin", dest=str(tmp_path / "twin.af"))
    assert failed["failure_class"] == "usage" and sorted(failed["details"]["candidates"]) == sorted(twins)
    nobody = call(state="exported", agent="agent-%s" % uuid.uuid4(), dest=str(tmp_path / "twin.af"))
    assert nobody["failure_class"] == "usage" and list(tmp_path.iterdir()) == []


def test_an_agent_with_a_folder_of_no_files_is_told_at_export_and_refused_before_anything_is_made(letta, rich, call, tmp_path):
    src = str(tmp_path / "trap.af")
    rich.made._agent("trap", "letta_v1_agent", name="trap", folder_ids=[rich.made.made["folders"]["other"]])
    done = call(state="exported", agent="trap", dest=src)
    assert "source-0" in done["problems"][0] and done["warnings"] and lost(done, done["agent"]["id"])["empty_folders"] == 1
    before = everything(letta)
    refused = call(state="imported", src=src, name="trap two", cleanup=True)
    assert (refused["failure_class"], everything(letta)) == ("preflight", before)
    assert "a folder the agent has no file of" in refused["msg"] and "detach" in refused["msg"]


def test_what_a_failed_import_leaves_behind_is_told_and_removed_and_nothing_of_others(letta, exported, call, tmp_path):
    src, data = tmp_path / "bad.af", json.loads(exported.read_text())
    data["agents"], data["groups"] = data["agents"][:1], []
    data["agents"][0]["group_ids"] = []
    data["blocks"] = [block for block in data["blocks"] if block["id"] in data["agents"][0]["block_ids"]]
    # PostgreSQL cannot store it, which Letta notices when the blocks are made already.
    data["agents"][0]["tags"] = ["a\0b"]
    src.write_text(json.dumps(data))
    before = everything(letta)
    failed = call(state="imported", src=str(src), name="half", secrets=SECRETS)
    left = {thing["id"] for thing in failed["details"]["left_behind"]}
    assert failed["failure_class"] == "load_failed" and "left behind: " in failed["msg"] and "cleanup" in failed["msg"]
    assert left == {new for table, ids in everything(letta).items() for new in ids - before[table] if table in ("block", "sources")}
    assert any(one.startswith("block-") for one in left) and any(one.startswith("source-") for one in left)
    middle = everything(letta)
    removed = call(state="imported", src=str(src), name="half", secrets=SECRETS, cleanup=True)
    assert "nothing is left behind" in removed["msg"] and places.wait_for(lambda: everything(letta) == middle, 10)


def test_a_wrong_address_and_a_file_that_is_none_are_refused(call, tmp_path):
    assert "no connection" in call(state="exported", api_url="http://127.0.0.1:1", agent="x", dest=str(tmp_path / "x.af"))["msg"]
    (tmp_path / "x.af").write_text('{"version": "0.6.47"}')
    refused = call(state="imported", src=str(tmp_path / "x.af"))
    assert refused["failure_class"] == "usage" and "no list of agents" in refused["msg"]
    assert call(state="exported", agent="x", dest=str(tmp_path))["failure_class"] == "usage"
