"""The plan of a partial restore as it is printed."""
from __future__ import annotations

from datetime import datetime, timezone

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report import partial_text

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)
PLAN = {
    "kind": "partial", "host": "db1", "database": "letta", "set_id": "lb-20261120T020000Z-4f2a9c", "verified_at": "2026-11-21T09:00:00Z",
    "taken_at": "2026-11-20T02:00:00Z", "why": "the newest set that can be used", "scopes": ["agents"],
    "names": {"agent-1": "support-bot", "agent-2": "billing-7"}, "agents": [{"id": "agent-1", "name": "support-bot", "live": False}],
    "entities": [{"kind": "agents", "id": "agent-1", "name": "support-bot", "add": 411, "change": 0, "remove": 2}],
    "tables": {"messages": {"add": 400, "change": 0, "remove": 2}, "agents": {"add": 1, "change": 0, "remove": 0}},
    "loses": {"messages": {"count": 4118, "newest": "2026-11-21T08:00:00Z"}},
    "shared": [{"table": "block", "id": "block-1", "name": "company", "decision": "kept", "used_by": ["alfa"],
                "why": "letta_shared_policy is keep"}],
    "mapped": [{"table": "tools", "id": "tool-1", "name": "send_message", "live": "tool-2", "same": True},
               {"table": "tools", "id": "tool-3", "name": "look_up", "live": "tool-4", "same": False}],
    "notes": [{"id": "partial.held", "detail": "stays", "count": 1, "examples": []}], "rows_asked": ["messages m <- agents a (asked for)"],
    "rejected": [], "warnings": ["careful"], "undo": "ansible-playbook playbooks/rollback.yml -e letta_restore_id=r-7f3c9a10",
}  # fmt: skip


def told(**changes):
    return "\n".join(" ".join(line.split()) for line in partial_text.plan_lines(dict(PLAN, **changes), NOW))


def test_it_says_what_comes_back_from_where_and_that_live_goes_on_running():
    text = told().replace("\n", " ")
    assert "bring 2 agents (billing-7, support-bot) back from lb-20261120T020000Z-4f2a9c (verified 3 h ago) -> db1/letta" in text
    assert "which goes on running" in text
    assert "taken 2026-11-20 02:00 UTC" in text
    assert "not in live now: support-bot" in text


def test_it_counts_rows_by_entity_and_by_table_and_what_live_loses():
    text = told()
    assert "ROWS agent support-bot: 411 added, 2 removed" in text
    assert "TABLES messages +400 -2 · agents +1" in text
    assert "4 118 messages (the newest of 2026-11-21 08:00 UTC)" in text.replace("\n", " ")


def test_it_names_what_others_use_and_what_live_has_under_other_ids():
    text = told().replace("\n", " ")
    assert "SHARED block company differs, and alfa uses it too: live's stays (letta_shared_policy is keep)" in text
    assert "live has other ids, and is used: 2 tools" in text
    assert "WARN tools of the same name do something else in live: look_up" in text


def test_notes_reasons_warnings_and_the_way_back_are_told():
    text = told()
    for line in ("NOTE stays (1)", "WHY messages m <- agents a (asked for)", "WARN careful", "UNDO " + PLAN["undo"]):
        assert line in text


def test_nothing_to_do_and_a_rollback_have_headlines_of_their_own():
    assert "nothing to do: in db1/letta 2 agents (billing-7, support-bot) are as saved" in told(kind="unchanged").replace("\n", " ")
    text = told(kind="partial_rollback", undoes="r-1").replace("\n", " ")
    assert "take partial restore r-1 (of lb-20261120T020000Z-4f2a9c) back" in text


def test_other_scopes_are_named():
    assert "bring the messages of 1 agent (a)" in told(scopes=["messages"], names={"agent-1": "a"}).replace("\n", " ")
    assert "bring 1 thing (a)" in told(scopes=["agents", "sources"], names={"agent-1": "a"}).replace("\n", " ")


def test_odd_values_are_data_and_never_an_error():
    text = told(names={"agent-1": "{{ x }}\n\x1b[31m"}, entities="odd", tables=3, shared=[None], loses={"messages": None}, notes=[{}])
    assert "\x1b" not in text
    assert partial_text.plan_lines({"scopes": []}, NOW)


def test_it_is_told_apart_from_the_plan_of_a_full_restore():
    assert partial_text.is_partial(PLAN)
    assert not partial_text.is_partial({"kind": "replace"})
