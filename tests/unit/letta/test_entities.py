"""Whose row is whose, and how ids look."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta import entities

SCHEMA = Path(__file__).resolve().parents[2] / "integration" / "letta-0.16.8-schema.sql"


def tables_of_the_release():
    """Table -> columns, out of the release's own schema."""
    text = SCHEMA.read_text(encoding="utf-8")
    found = re.findall(r"^CREATE TABLE letta\.(\w+) \(\n(.*?)^\);", text, re.MULTILINE | re.DOTALL)
    return {name: set(re.findall(r'^    "?(\w+)"? ', body, re.MULTILINE)) for name, body in found}


def test_every_table_of_the_release_is_classified_and_nothing_else():
    assert set(tables_of_the_release()) == entities.TABLES
    assert entities.unclassified(["letta.agents", "letta.brand_new"]) == ["brand_new"]


def test_groups_of_tables_name_only_tables_that_exist():
    for group in (entities.SHARED_TABLES, entities.START_REWRITES, entities.AGENT_TRACE_TABLES):
        assert group <= entities.TABLES
    tables = tables_of_the_release()
    for work in entities.RUNNING_WORK:
        assert work.column in tables[work.table]
    for table, column in entities.SEQUENCES.values():
        assert column in tables[table]


def test_a_row_belongs_to_an_agent_by_the_column_of_its_table():
    tables = tables_of_the_release()
    owned = {name: entities.agent_group_column("letta." + name, columns) for name, columns in tables.items()}
    assert owned["agents"] == "id"
    assert owned["groups"] == "manager_agent_id"
    assert owned["messages"] == owned["blocks_agents"] == "agent_id"
    assert {name for name, column in owned.items() if column} & entities.SHARED_TABLES == set()
    assert owned["block"] is owned["alembic_version"] is None


def test_a_table_without_its_column_at_an_older_revision_belongs_to_nobody():
    assert entities.agent_group_column("messages", {"id", "role"}) is None


@pytest.mark.parametrize(
    ("table", "value", "valid"),
    [
        ("agents", "agent-155f5a32-25aa-4978-b450-f04da29e023f", True),
        ("agents", "agent-155f5a32-25aa-1978-b450-f04da29e023f", False),
        ("agents", "agent-155F5A32-25aa-4978-b450-f04da29e023f", False),
        ("agents", "agent-env-155f5a32-25aa-4978-b450-f04da29e023f", False),
        ("jobs", "run-155f5a32-25aa-4978-b450-f04da29e023f", True),
        ("mcp_oauth", "155f5a32-25aa-4978-b450-f04da29e023f", True),
        ("agents_tags", "anything", True),
    ],
)
def test_an_id_is_its_prefix_and_a_lower_case_uuid_of_version_four(table, value, valid):
    assert entities.is_valid_id(table, value) is valid
