# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Letta keeps in which table, as data: whose row it is, how its ids look, what may be at work in it.

Read from the live catalog of a database at Letta 0.16.8 and from that release's source. Tables
and columns of older releases differ: callers pass the columns a database really has.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

# The schema revision these declarations describe.
DECLARED_AT = "1c28e167b74f"
VERSION_TABLE = "alembic_version"
VECTOR_DIMS = 4096

# Table -> prefix of its ids (``<prefix>-<uuid4>``); () for tables whose rows have no id of that shape.
ID_PREFIXES = {
    "agent_environment_variables": ("agent-env",),
    "agents": ("agent",),
    "agents_tags": (),
    "archival_passages": ("passage",),
    "archives": ("archive",),
    "archives_agents": (),
    "block": ("block",),
    "block_history": ("block_hist",),
    "blocks_agents": (),
    "blocks_conversations": (),
    "blocks_tags": (),
    "conversation_messages": ("conv_msg",),
    "conversations": ("conv",),
    "file_contents": ("file_content",),
    "files": ("file",),
    "files_agents": ("file_agent",),
    "groups": ("group",),
    "groups_agents": (),
    "groups_blocks": (),
    "identities": ("identity",),
    "identities_agents": (),
    "identities_blocks": (),
    # Runs were jobs until 0.12 and kept their ids.
    "jobs": ("job", "run"),
    "llm_batch_items": ("batch_item",),
    "llm_batch_job": ("batch_req",),
    # Rows of early MCP releases have a bare uuid.
    "mcp_oauth": ("mcp-oauth", ""),
    "mcp_server": ("mcp_server",),
    "mcp_tools": (),
    "messages": ("message",),
    "organizations": ("org",),
    "passage_tags": ("passage-tag",),
    "prompts": (),
    "provider_models": ("model",),
    "provider_trace_metadata": ("provider_trace",),
    "provider_traces": ("provider_trace",),
    "providers": ("provider",),
    "run_metrics": ("run",),
    "runs": ("run",),
    "sandbox_configs": ("sandbox",),
    "sandbox_environment_variables": ("sandbox-env",),
    "source_passages": ("passage",),
    "sources": ("source",),
    "sources_agents": (),
    "step_metrics": ("step",),
    "steps": ("step",),
    "tools": ("tool",),
    "tools_agents": (),
    "users": ("user",),
}

TABLES = frozenset(ID_PREFIXES) | {VERSION_TABLE}

# Rows that several agents may refer to; never to be removed or replaced for the sake of one.
SHARED_TABLES = frozenset(
    (
        "archival_passages",
        "archives",
        "block",
        "block_history",
        "blocks_tags",
        "file_contents",
        "files",
        "identities",
        "identities_blocks",
        "jobs",
        "llm_batch_job",
        "mcp_oauth",
        "mcp_server",
        "mcp_tools",
        "organizations",
        "passage_tags",
        "prompts",
        "provider_models",
        "providers",
        "sandbox_configs",
        "sandbox_environment_variables",
        "source_passages",
        "sources",
        "tools",
        "users",
    )
)

# What starting a server does to a database by itself: it rewrites rows of these (base tools,
# providers and their models, the local sandbox), so they compare equal only before the first start.
START_REWRITES = frozenset(("provider_models", "providers", "sandbox_configs", "tools"))

# An agent's own rows that are no part of its memory: large, without foreign keys, or shared work of a batch.
AGENT_TRACE_TABLES = frozenset(("llm_batch_items", "provider_trace_metadata", "provider_traces"))

# Sequence -> the (table, column) it numbers. Letta's is owned by no column, so PostgreSQL does not say.
SEQUENCES = {"message_seq_id": ("messages", "sequence_id")}

_UUID4 = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Work:
    """Where a table says that something is under way.

    :param table: without schema.
    :param column: its status column.
    :param open_values: the values that say "not finished".
    :param null_is_open: NULL may mean "not finished" too. Rows from before the column was
        added are NULL as well, finished or not, so NULL alone proves nothing.
    """

    table: str
    column: str
    open_values: tuple
    null_is_open: bool = False


RUNNING_WORK = (
    Work("runs", "status", ("created", "running")),
    Work("steps", "status", ("PENDING",), null_is_open=True),
    Work("jobs", "status", ("created", "running", "pending")),
    Work("llm_batch_job", "status", ("created", "running")),
    Work("llm_batch_items", "request_status", ("created", "running")),
    Work("files", "processing_status", ("pending", "parsing", "embedding")),
)


def bare_name(table):
    """Return a table's name without its schema: ``letta.agents`` -> ``agents``."""
    return table.rsplit(".", 1)[-1]


def agent_group_column(table, columns):
    """Return the column whose value is the id of the agent that a row belongs to, or None.

    Only an agent's own rows: ``agents`` by ``id``, ``groups`` by their manager, every table with
    an ``agent_id``. Shared things (blocks, tools, archives, folders) belong to nobody here; an
    agent's links to them (``blocks_agents`` …) are its own.

    :param table: name, with or without schema.
    :param columns: the columns it has in the database or archive at hand.
    """
    column = {"agents": "id", "groups": "manager_agent_id"}.get(bare_name(table), "agent_id")
    return column if column in columns else None


def unclassified(tables):
    """Return the tables that these declarations do not know, sorted (names with or without schema)."""
    return sorted({bare_name(table) for table in tables} - TABLES)


def id_pattern(table):
    """Return a regular expression (POSIX and Python) for a table's ids at the declared release, or None when they have no fixed shape."""
    prefixes = ID_PREFIXES.get(bare_name(table), ())
    if not prefixes:
        return None
    return "^(%s)%s$" % ("|".join(prefix and prefix + "-" for prefix in prefixes), _UUID4)


def is_valid_id(table, value):
    """Tell whether ``value`` has the shape of an id of ``table``; True where no shape is known."""
    pattern = id_pattern(table)
    return pattern is None or re.match(pattern, value) is not None
