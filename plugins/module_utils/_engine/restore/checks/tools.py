# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what agents name is there: tools, tool servers, models."""
from __future__ import annotations

from ...findings import WARN
from .base import Check, Probe, array

TOOLS = Probe(
    checks=(
        Check(
            "tools.custom_source",
            "every custom tool has its source and its schema",
            "{count} custom tools have no source code or no JSON schema: agents cannot call them",
            "restore the tool, or upload its source again",
            step="tools",
            severity=WARN,
        ),
        Check(
            "tools.json_columns",
            "the JSON columns of every tool have the shape Letta reads",
            "{count} tools have a JSON column that Letta cannot read: listing tools fails",
            "set tags to a list and the schemas to objects or NULL",
            step="tools",
        ),
    ),
    needs={"tools": ("id", "tool_type", "source_code", "json_schema", "tags")},
    sql="""
        select 'tools.custom_source', id from {s}.tools
        where tool_type = 'custom' and (coalesce(source_code, '') = '' or coalesce(json_schema::text, 'null') in ('null', '{{}}'))
        union all
        select 'tools.json_columns', id from {s}.tools
        where not coalesce(json_typeof(tags) = 'array', false) or not coalesce(json_typeof(json_schema) in ('object', 'null'), true)""",
)

MCP_LINKS = Probe(
    checks=(
        Check(
            "tools.mcp_links",
            "every link of a tool to an MCP server finds both",
            "{count} links between tools and MCP servers name a tool or a server that is gone",
            "delete the rows of mcp_tools, and connect the server again",
            step="tools",
            severity=WARN,
        ),
    ),
    needs={"mcp_tools": ("id", "mcp_server_id", "tool_id"), "mcp_server": ("id",), "tools": ("id",)},
    sql="""
        select 'tools.mcp_links', l.id from {s}.mcp_tools l
        where not exists (select from {s}.mcp_server m where m.id = l.mcp_server_id)
           or not exists (select from {s}.tools t where t.id = l.tool_id)""",
)

RULES = Probe(
    checks=(
        Check(
            "tools.rules",
            "every tool that a rule of an agent names exists",
            "{count} tools named by rules of agents do not exist in the agent's organisation: the rule never applies, or blocks the agent",
            "restore the tool, or take the rule out of the agent",
            step="tools",
            severity=WARN,
        ),
    ),
    needs={"agents": ("id", "tool_rules", "organization_id", "is_deleted"), "tools": ("name", "organization_id")},
    sql="""
        with named as (
            select a.id, a.organization_id, n.name from {s}.agents a
            cross join lateral json_array_elements(%s) as r(value)
            cross join lateral (
                select r.value->>'tool_name'
                union select c.name from json_array_elements_text(%s) as c(name)
                union select r.value->>'default_child'
                union select m.value from json_each_text(case when json_typeof(r.value->'child_output_mapping') = 'object'
                    then r.value->'child_output_mapping' end) as m) as n(name)
            where not a.is_deleted and n.name is not null)
        select distinct 'tools.rules', n.id || ' ' || n.name from named n
        where not exists (select from {s}.tools t where t.name = n.name and t.organization_id = n.organization_id)"""
    % (array("a.tool_rules"), array("r.value->'children'")),
)

# An upgrade from before 0.14 makes the list empty; the server fills it at its first start.
MODELS = Probe(
    checks=(
        Check(
            "models.available",
            "every model that agents, archives and folders name is listed by a provider",
            "{count} agents, archives or folders name a model that no provider lists",
            "give the server the provider's key and restart it; it lists its models anew",
            step="tools",
            severity=WARN,
        ),
    ),
    needs={
        "provider_models": ("handle",),
        "agents": ("id", "llm_config", "embedding_config", "is_deleted"),
        "sources": ("id", "embedding_config"),
        "archives": ("id", "embedding_config"),
    },
    sql="""
        select 'models.available', n.id || ' ' || n.handle from (
            select id, llm_config->>'handle' as handle from {s}.agents where not is_deleted
            union select id, embedding_config->>'handle' from {s}.agents where not is_deleted
            union select id, embedding_config->>'handle' from {s}.sources
            union select id, embedding_config->>'handle' from {s}.archives) as n
        where n.handle is not null and exists (select from {s}.provider_models)
          and not exists (select from {s}.provider_models m where m.handle = n.handle)""",
)

CONVERSATION_MODELS = Probe(
    checks=(
        Check(
            "models.conversations",
            "every model that a conversation names is listed by a provider",
            "{count} conversations name a model that no provider lists",
            "give the server the provider's key and restart it; it lists its models anew",
            step="tools",
            severity=WARN,
        ),
    ),
    needs={"provider_models": ("handle",), "conversations": ("id", "model", "is_deleted")},
    sql="""
        select 'models.conversations', c.id || ' ' || c.model from {s}.conversations c
        where not c.is_deleted and c.model is not null and exists (select from {s}.provider_models)
          and not exists (select from {s}.provider_models m where m.handle = c.model)""",
)

PROBES = (TOOLS, MCP_LINKS, RULES, MODELS, CONVERSATION_MODELS)
