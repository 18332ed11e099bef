"""The agent file read as data: what it holds, what it names and does not hold, what makes two of them the same."""
from __future__ import annotations

import copy
import json

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import agent_file


def a_file():
    message = {"id": "message-0", "role": "user", "otid": "1", "content": []}
    link = {"id": "file_agent-0", "file_id": "file-0", "source_id": "source-0", "file_name": "f/a.txt"}
    agent = {
        "id": "agent-0", "name": "one", "tags": ["b", "a"], "secrets": {"KEY": ""}, "tool_exec_environment_variables": {"KEY": ""},
        "tool_ids": ["tool-0"], "block_ids": ["block-0"], "source_ids": ["source-0"], "group_ids": ["group-0"],
        "messages": [message], "in_context_message_ids": ["message-0"], "files_agents": [link],
    }
    return agent_file.parse(json.dumps({
        "agents": [agent, {"id": "agent-1", "name": "partner"}],
        "groups": [{"id": "group-0", "agent_ids": ["agent-1"], "manager_config": {"manager_agent_id": "agent-0"}, "shared_block_ids": []}],
        "blocks": [{"id": "block-0", "label": "human"}],
        "files": [{"id": "file-0", "source_id": "source-0"}],
        "sources": [{"id": "source-0", "name": "f"}],
        "tools": [{"id": "tool-0", "name": "t", "updated_at": "yesterday"}],
        "created_at": "now",
    }))


def test_a_whole_file_has_no_problem_and_is_counted():
    found = agent_file.counts(a_file())
    assert agent_file.problems(a_file()) == []
    assert found == {"agents": 2, "groups": 1, "blocks": 1, "files": 1, "sources": 1, "tools": 1, "mcp_servers": 0, "messages": 1,
                     "secrets": 1}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("sources", ["source-0 in source_ids", "a folder the agent has no file of", "source-0 in files_agents", "file-0 is of source-0"]),
        ("tools", ["tool-0 in tool_ids"]),
        ("blocks", ["block-0 in block_ids"]),
        ("groups", ["group-0 in group_ids"]),
        ("files", ["file-0 in files_agents"]),
    ],
)
def test_what_is_named_and_not_held_is_a_problem(kind, words):
    data = a_file()
    data[kind] = []
    told = " / ".join(agent_file.problems(data))
    assert all(word in told for word in words), told


def test_lost_messages_and_agents_of_groups_are_problems_too():
    data = a_file()
    data["agents"][0]["messages"] = []
    assert "message-0 in its context" in agent_file.problems(data)[0]
    data = a_file()
    data["groups"][0]["agent_ids"] = ["agent-7"]
    data["groups"][0]["manager_config"]["manager_agent_id"] = "agent-8"
    assert [problem.split()[3].rstrip(",") for problem in agent_file.problems(data)] == ["agent-7", "agent-8"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"agents": []}', '{"agents": {}}', '{"agents": [1]}', '{"agents": [{}]}', '"\\"x\\""'])
def test_what_is_no_agent_file_is_refused(text):
    with pytest.raises(ValueError, match=r"it is not JSON|list"):
        agent_file.parse(text)


def test_a_file_that_was_encoded_twice_is_read_as_letta_reads_it():
    assert agent_file.parse(json.dumps(json.dumps(a_file()))) == a_file()


def test_only_what_changes_at_each_export_is_left_out_of_the_comparison():
    other = a_file()
    other["created_at"] = "later"
    other["agents"][0]["messages"][0]["otid"] = "2"
    other["tools"][0]["updated_at"] = "today"
    other["agents"].reverse()
    assert agent_file.canonical(other) == agent_file.canonical(a_file())
    for change in (lambda data: data["agents"][0].update(tags=["c"]), lambda data: data["tools"][0].update(name="u"),
                   lambda data: data["agents"][0]["messages"][0].update(role="tool"), lambda data: data.update(metadata={"x": "y"})):
        changed = copy.deepcopy(a_file())
        change(changed)
        assert agent_file.canonical(changed) != agent_file.canonical(a_file())


def live(**more):
    state = {
        "id": "agent-new", "message_ids": ["message-new"], "blocks": [{"label": "human", "id": "block-new"}],
        "tools": [{"name": "t", "id": "tool-new"}], "sources": [{"name": "f_0123abcd", "id": "source-new"}],
        "attached": [{"file_name": "f/a.txt", "file_id": "file-new"}], "managed_group": {"id": "group-new"},
    }
    return {**state, **more}


def test_ids_of_the_file_are_found_again_on_the_server():
    found = agent_file.id_map(a_file(), [live(), None])
    assert found == {kind + "-0": kind + "-new" for kind in ("agent", "message", "block", "tool", "source", "file", "group")}


def test_ids_that_could_be_either_are_left_out():
    folders = [{"name": "f_0123abcd", "id": "source-1"}, {"name": "f_89abcdef", "id": "source-2"}]
    found = agent_file.id_map(a_file(), [live(sources=folders, message_ids=["message-1", "message-2"]), None])
    assert not {"source-0", "message-0"} & set(found)
    exact = agent_file.id_map(a_file(), [live(sources=[*folders, {"name": "f", "id": "source-3"}]), None])
    assert exact["source-0"] == "source-3"


def test_settings_that_the_file_does_not_carry_are_named_and_nothing_else():
    entry = {"tags": ["a", "b"], "system": "s", "timezone": "UTC", "enable_sleeptime": False, "hidden": None}
    state = {"id": "agent-x", "tags": ["b", "a"], "system": "s", "timezone": "Europe/Berlin", "enable_sleeptime": True, "hidden": False,
             "secrets": [{"value": "v"}], "compaction_settings": {"mode": "all"}, "of_a_later_release": 1}
    assert agent_file.lost_settings(state, entry) == ["compaction_settings", "enable_sleeptime", "of_a_later_release", "timezone"]
