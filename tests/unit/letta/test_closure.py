"""The rules of what belongs together, and that nothing of the newest release is left undecided; its own schema file is the catalog."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import closure, entities, references
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta.closure import (
    LINK,
    NAMED,
    OWN,
    PART,
    POINTER,
    PRESENCE,
    ROLES,
    RULES,
    SHARED,
)
from tests.lab import classified

SCHEMA = Path(__file__).resolve().parents[2] / "integration" / "letta-0.16.8-schema.sql"
# What only older schemas have: tables, columns of tables that are still there.
OLDER_TABLES = {"agent_passages", "agents_runs", "job_messages"}
OLDER_COLUMNS = {("steps", "job_id"), ("step_metrics", "job_id")}


def read_schema():
    """Return ({table: {column: type}}, [(table, columns, parent, parent's columns)])."""
    text = SCHEMA.read_text(encoding="utf-8")
    found = re.findall(r"^CREATE TABLE letta\.(\w+) \(\n(.*?)^\);", text, re.MULTILINE | re.DOTALL)
    tables = {name: dict(re.findall(r'^    "?(\w+)"? (\w+)', body, re.MULTILINE)) for name, body in found}
    key = r"^ALTER TABLE ONLY letta\.(\w+)\n\s+ADD CONSTRAINT \w+ FOREIGN KEY \(([^)]*)\) REFERENCES letta\.(\w+)\(([^)]*)\)"
    return tables, [
        (table, tuple(columns.split(", ")), parent, tuple(there.split(", ")))
        for table, columns, parent, there in re.findall(key, text, re.MULTILINE)
    ]


TABLES, FOREIGN = read_schema()


def without(*gone):
    return tuple(rule for rule in RULES if rule not in gone)


def rules_of(table):
    return [rule for rule in RULES if rule.table == table]


def test_nothing_of_the_newest_release_is_undecided():
    assert len(FOREIGN) > 90
    assert classified.undecided_tables(TABLES) == []
    assert classified.undecided_keys(TABLES, FOREIGN) == []
    assert classified.undecided_columns(TABLES, FOREIGN) == []
    assert classified.misplaced_references(FOREIGN) == []


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_table_that_loses_its_rules_or_its_reason_is_noticed(monkeypatch, table):
    monkeypatch.setattr(closure, "RULES", without(*rules_of(table)))
    monkeypatch.delitem(closure.OUTSIDE, table, raising=False)
    assert classified.undecided_tables(TABLES) == [table]


def test_a_table_with_rules_that_is_declared_outside_is_noticed(monkeypatch):
    monkeypatch.setitem(closure.OUTSIDE, "messages", "too many")
    assert classified.undecided_tables(TABLES) == ["messages"]
    monkeypatch.setitem(closure.OUTSIDE, "messages", "")
    assert classified.undecided_tables(TABLES) == []


@pytest.mark.parametrize(
    ("table", "of", "key"),
    [
        ("sources", "sources_agents.source_id", ("sources_agents", "source_id")),
        ("sources", "files_agents.source_id", ("files_agents", "source_id")),
        ("tools", "tools_agents.tool_id", ("tools_agents", "tool_id")),
        ("block", "blocks_agents.block_id", ("blocks_agents", "block_id")),
        ("block", "blocks_conversations.block_id", ("blocks_conversations", "block_id")),
        ("block", "groups_blocks.block_id", ("groups_blocks", "block_id")),
        ("archives", "archives_agents.archive_id", ("archives_agents", "archive_id")),
        ("identities", "identities_agents.identity_id", ("identities_agents", "identity_id")),
        ("groups", "groups_agents.group_id", ("groups_agents", "group_id")),
        ("runs", "messages.run_id", ("messages", "run_id")),
        ("steps", "messages.step_id", ("messages", "step_id")),
        ("providers", "steps.provider_id", ("steps", "provider_id")),
        ("users", "mcp_oauth.user_id", ("mcp_oauth", "user_id")),
        ("organizations", "tools.organization_id", ("tools", "organization_id")),
        ("agents", closure.AGENTS, ("messages", "agent_id")),
    ],
)
def test_a_rule_that_goes_leaves_a_foreign_key_undecided(monkeypatch, table, of, key):
    gone = [rule for rule in RULES if (rule.table, rule.of) == (table, of)]
    assert gone
    monkeypatch.setattr(closure, "RULES", without(*gone))
    left = classified.undecided_keys(TABLES, FOREIGN)
    assert key in left


@pytest.mark.parametrize("key", sorted(closure.FOREIGN_KEYS_LEFT))
def test_a_foreign_key_that_loses_its_reason_is_noticed(monkeypatch, key):
    monkeypatch.delitem(closure.FOREIGN_KEYS_LEFT, key)
    there = {(table, column) for table, columns, _parent, _parent_columns in FOREIGN for column in columns}
    assert classified.undecided_keys(TABLES, FOREIGN) == ([key] if key in there else [])


@pytest.mark.parametrize("declared", ["SOFT", "INSIDE_JSON", "NAMES_NOTHING", "HOLDS_NO_IDS"])
def test_a_column_that_loses_its_declaration_is_noticed(monkeypatch, declared):
    for name in list(getattr(references, declared)):
        with monkeypatch.context() as change:
            change.delitem(getattr(references, declared), name)
            left = classified.undecided_columns(TABLES, FOREIGN)
        holds = [name] if isinstance(name, tuple) else [(table, name) for table in TABLES if name in TABLES[table]]
        assert set(left) <= set(holds), name
        there = [place for place in holds if place[1] in TABLES.get(place[0], ())]
        otherwise = declared == "INSIDE_JSON" and name[1] in references.HOLDS_NO_IDS
        assert left or otherwise or not there, name


def test_a_new_table_column_or_foreign_key_of_a_release_is_noticed():
    tables = {**TABLES, "brand_new": {"id": "character"}, "agents": {**TABLES["agents"], "pet_id": "character", "pets": "json"}}
    foreign = [*FOREIGN, ("agents", ("pet_id",), "brand_new", ("id",))]
    assert classified.undecided_tables(tables) == ["brand_new"]
    assert classified.undecided_keys(tables, foreign) == [("agents", "pet_id")]
    assert classified.undecided_columns(tables, FOREIGN) == [("agents", "pet_id"), ("agents", "pets")]


def test_rules_name_tables_and_columns_that_there_are():
    assert {rule.table for rule in RULES} | set(closure.OUTSIDE) == entities.TABLES | OLDER_TABLES
    for rule in RULES:
        places = [(rule.table, rule.column)]
        table, name = closure.source_of(rule)
        if table:
            places.append((table, name.partition(":")[0]))
        for place in places:
            assert place[0] in OLDER_TABLES or place in OLDER_COLUMNS or place[1] in TABLES[place[0]], rule
    for table, column in closure.ROOT_ROWS.values():
        assert column in TABLES[table]
    assert set(closure.ROOT_ROWS) == set(closure.ROOTS) == {rule.of for rule in RULES if rule.of in closure.ROOTS}


def test_every_table_comes_after_those_whose_rows_select_its_rows():
    order = closure.tables_in_order()
    assert sorted(order) == sorted({rule.table for rule in RULES})
    for rule in RULES:
        table, _column = closure.source_of(rule)
        assert table in (None, rule.table) or order.index(table) < order.index(rule.table), rule


def test_rules_in_a_circle_are_refused(monkeypatch):
    back = closure.Rule("tools_agents", "tool_id", "tools.id", LINK, "an agent that has the tool")
    monkeypatch.setattr(closure, "RULES", (*RULES, back))
    with pytest.raises(ValueError, match=r"circle: .*tools, tools_agents"):
        closure.tables_in_order()


def test_no_role_is_brought_by_a_weaker_one():
    assert set(closure.FOLLOWS) == set(ROLES) - {POINTER}
    for role, followed in closure.FOLLOWS.items():
        assert all(ROLES.index(strong) <= ROLES.index(role) for strong in followed if NAMED not in (strong, role)), role
        assert LINK not in followed or role == NAMED, "what merely links to a thing brings nothing along"
    assert all(rule.of in closure.ROOTS for rule in RULES if rule.role == POINTER)


def test_every_rule_asks_for_rows_that_another_rule_brings():
    for rule in RULES:
        table, _column = closure.source_of(rule)
        if table:
            brought = {other.role for other in rules_of(table)}
            assert brought & set(closure.FOLLOWS[rule.role]), rule


def test_what_merely_has_to_be_there_is_never_anybodys_own():
    for table in ("users", "organizations", "providers", "mcp_server", "mcp_oauth", "mcp_tools", "alembic_version"):
        assert {rule.role for rule in rules_of(table)} == {PRESENCE}, table
    for table in entities.SHARED_TABLES & {rule.table for rule in RULES}:
        assert OWN not in {rule.role for rule in rules_of(table)}, table


def test_only_things_that_others_may_use_have_parts():
    things = {rule.table for rule in RULES if rule.role in (SHARED, PART)}
    for rule in RULES:
        if rule.role == PART:
            assert closure.source_of(rule)[0] in things, rule
    assert set(closure.USERS_OF) == {rule.table for rule in RULES if rule.role == SHARED}
