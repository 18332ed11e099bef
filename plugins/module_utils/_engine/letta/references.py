# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which columns name other rows without a foreign key, as data; a test finds every column of every release here or in the catalog.

Read in the source of Letta 0.16.8 and in the schemas of its older releases.
"""
from __future__ import annotations

# (table, column) -> table whose id it holds.
SOFT = {
    ("block_history", "actor_id"): "agents",  # or users, by actor_type
    ("groups", "last_processed_message_id"): "messages",
    ("mcp_tools", "mcp_server_id"): "mcp_server",
    ("mcp_tools", "tool_id"): "tools",
    ("messages", "approval_request_id"): "messages",
    ("messages", "batch_item_id"): "llm_batch_items",
    ("messages", "group_id"): "groups",
    ("messages", "sender_id"): "identities",  # or agents
    ("provider_trace_metadata", "agent_id"): "agents",
    ("provider_trace_metadata", "org_id"): "organizations",
    ("provider_trace_metadata", "run_id"): "runs",
    ("provider_trace_metadata", "step_id"): "steps",
    ("provider_trace_metadata", "user_id"): "users",
    ("provider_traces", "agent_id"): "agents",
    ("provider_traces", "org_id"): "organizations",
    ("provider_traces", "run_id"): "runs",
    ("provider_traces", "step_id"): "steps",
    ("provider_traces", "user_id"): "users",
    ("steps", "agent_id"): "agents",
}
# JSON that holds ids: every text in it that equals an id of that table is one.
INSIDE_JSON = {
    ("agents", "message_ids"): "messages",
    ("groups", "agent_ids"): "agents",
    ("run_metrics", "tools_used"): "tools",
    ("tools", "metadata_"): "mcp_server",
}
# Columns that look like references and name nothing in this database, by name, with the reason.
NAMES_NOTHING = {
    "_created_by_id": "an actor, kept as written: rows outlive who wrote them",
    "_last_updated_by_id": "an actor, kept as written: rows outlive who wrote them",
    "base_template_id": "of Letta's cloud",
    "client_id": "given by an OAuth server",
    "deployment_id": "of Letta's cloud",
    "entity_id": "of Letta's cloud",
    "project_id": "of Letta's cloud",
    "request_id": "given by a model's provider",
    "sequence_id": "a number in the order of messages",
    "template_id": "of Letta's cloud",
    "tool_call_id": "pairs messages of one context, see restore/checks",
    "trace_id": "of a tracing system",
}
# JSON columns that hold no id of a row, or only such as a report of the past, by name: what they hold.
HOLDS_NO_IDS = {
    "agent_tags": "tags",
    "approvals": "tool call ids",
    "args_json_schema": "a schema",
    "batch_request_result": "a provider's answer",
    "compaction_settings": "settings and a model's handle",
    "completion_tokens_details": "counts",
    "config": "settings of a sandbox",
    "content": "what was said",
    "create_batch_response": "a provider's answer",
    "custom_headers": "headers",
    "embedding_config": "settings and a model's handle",
    "error_data": "an error",
    "json_schema": "a schema",
    "latest_polling_response": "a provider's answer",
    "llm_config": "settings and a model's handle",
    "metadata_": "notes of users and of old releases",
    "model_settings": "settings",
    "npm_requirements": "names of packages",
    "pip_requirements": "names of packages",
    "prompt_tokens_details": "counts",
    "properties": "notes of users",
    "request_config": "names of tools",
    "request_json": "what a model was sent",
    "response_format": "a schema",
    "response_json": "what a model answered",
    "stdio_config": "a command",
    "step_state": "state of a batch",
    "tags": "tags",
    "tool_calls": "tool call ids",
    "tool_returns": "tool call ids",
    "tool_rules": "names of tools",
}


def to(table):
    """Return ``[(table, column, whether inside JSON)]`` of what refers to a table without a foreign key."""
    found = [(name, column, False) for (name, column), target in SOFT.items() if target == table]
    return found + [(name, column, True) for (name, column), target in INSIDE_JSON.items() if target == table]
