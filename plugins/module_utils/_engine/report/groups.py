# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The groups in which a report sums up Letta's tables, so that a person reads seven lines instead of fifty.

The names are those of Letta 0.16.8's catalogue; a table named nowhere here falls into :data:`OTHER`.
"""
from __future__ import annotations

OTHER = "other"

TABLE_GROUPS = (
    (
        "agents & memory",
        (
            "agents", "agents_tags", "agent_environment_variables", "block", "block_history", "blocks_agents", "blocks_conversations",
            "blocks_tags", "groups", "groups_agents", "groups_blocks", "identities", "identities_agents", "identities_blocks",
        ),
    ),
    ("messages", ("messages", "conversations", "conversation_messages")),
    ("archives & passages", ("archives", "archives_agents", "archival_passages", "passage_tags", "agent_passages")),
    ("files", ("sources", "sources_agents", "source_passages", "files", "files_agents", "file_contents")),
    (
        "tools",
        (
            "tools", "tools_agents", "mcp_server", "mcp_tools", "mcp_oauth", "sandbox_configs", "sandbox_environment_variables",
        ),
    ),
    (
        "runs & steps",
        (
            "runs", "run_metrics", "steps", "step_metrics", "jobs", "job_messages", "llm_batch_job", "llm_batch_items",
            "provider_traces", "provider_trace_metadata",
        ),
    ),
    (OTHER, ("alembic_version", "organizations", "users", "providers", "provider_models", "prompts")),
)

_GROUP_OF = {table: group for group, tables in TABLE_GROUPS for table in tables}


def group_of(table):
    """Return the group of a table named ``schema.table`` or ``table``."""
    return _GROUP_OF.get(table.rsplit(".", 1)[-1], OTHER)
