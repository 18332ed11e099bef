# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an agent is made of: its configuration, its prompt, its background partner, the JSON of its messages."""
from __future__ import annotations

from ...findings import WARN
from ...letta import shapes
from .base import Check, Probe, array, clean
from .contexts import RESTORE_AGENT
from .shapes import empty_or_shape, every, is_shape

_COLUMNS = (
    ("llm_config", is_shape("llm_config", shapes.LLM_CONFIG)),
    ("embedding_config", empty_or_shape("embedding_config", shapes.EMBEDDING_CONFIG)),
    ("tool_rules", every("tool_rules", is_shape("e.value", shapes.TOOL_RULE))),
    ("metadata_", empty_or_shape("metadata_", shapes.ANYTHING)),
    ("response_format", empty_or_shape("{response_format}", shapes.RESPONSE_FORMAT)),
    ("compaction_settings", empty_or_shape("{compaction_settings}", shapes.COMPACTION)),
)

AGENT_JSON = Probe(
    checks=(
        Check(
            "agents.json_columns",
            "the JSON columns of every agent have the shape Letta reads",
            "{count} JSON columns of agents have a shape Letta cannot read: such an agent cannot be loaded",
            "set the column to what Letta writes (an older set has it), or restore the agent",
        ),
    ),
    needs={"agents": ("id", "is_deleted", "llm_config", "embedding_config", "tool_rules", "metadata_")},
    maybe={name: ("agents", name, "null::json") for name in ("response_format", "compaction_settings")},
    sql="""
        select 'agents.json_columns', a.id || ' ' || c.name
        from {s}.agents a cross join lateral (values %s) as c(name, sound)
        where not a.is_deleted and not c.sound"""
    % ", ".join("('%s', %s)" % column for column in _COLUMNS),
)

# react and workflow agents have no blocks in their prompts. A line may carry a number in front, so lines are compared, not texts.
PROMPT = Probe(
    checks=(
        Check(
            "agents.prompt_stale",
            "every agent's prompt holds the current text of its blocks",
            "{count} blocks changed since the agent's prompt was made: its model does not see the new text yet",
            "POST /v1/agents/<id>/recompile; Letta does it by itself at the next compaction",
            severity=WARN,
        ),
    ),
    needs={
        "agents": ("id", "agent_type", "message_ids", "is_deleted"),
        "blocks_agents": ("agent_id", "block_id"),
        "block": ("id", "value", "label"),
        "messages": ("id", "content"),
        "agents_tags": ("agent_id", "tag"),
    },
    sql="""
        with prompts as materialized (
            select a.id, string_agg(p.value->>'text', chr(10)) as prompt
            from {s}.agents a join {s}.messages m on m.id = %s->>0
            cross join lateral json_array_elements(%s) as p(value)
            where not a.is_deleted and a.agent_type not in ('react_agent', 'workflow_agent')
              and not exists (select from {s}.agents_tags t where t.agent_id = a.id and t.tag = 'git-memory-enabled')
            group by a.id)
        select 'agents.prompt_stale', p.id || ' ' || b.label
        from prompts p join {s}.blocks_agents ba on ba.agent_id = p.id join {s}.block b on b.id = ba.block_id
        where strpos(p.prompt, b.value) = 0
          and exists (select from unnest(string_to_array(b.value, chr(10))) as l(line) where strpos(p.prompt, l.line) = 0)"""
    % (array("a.message_ids"), array(clean("m.content"))),
)

SLEEPTIME = Probe(
    checks=(
        Check(
            "agents.sleeptime",
            "every agent with sleeptime on has its group",
            "{count} agents have sleeptime on and no group that does the work",
            "switch it off and on again through the API (PATCH /v1/agents/<id>), or restore the group",
            severity=WARN,
        ),
    ),
    needs={"agents": ("id", "enable_sleeptime", "is_deleted"), "groups": ("manager_agent_id", "manager_type")},
    sql="""
        select 'agents.sleeptime', a.id from {s}.agents a
        where a.enable_sleeptime and not a.is_deleted and not exists (
            select from {s}.groups g where g.manager_agent_id = a.id and g.manager_type in ('sleeptime', 'voice_sleeptime'))""",
)

_CALL = "(%s and %s)" % (is_shape("e.value", shapes.TOOL_CALL), is_shape("(e.value->'function')", shapes.FUNCTION))
_MESSAGE_COLUMNS = (
    ("content", every("m.content", is_shape("e.value", shapes.CONTENT_PART))),
    ("tool_calls", every("m.tool_calls", _CALL)),
    ("tool_returns", every("m.tool_returns", is_shape("e.value", shapes.TOOL_RETURN))),
    ("approvals", every("m.approvals", is_shape("e.value", shapes.ANYTHING))),
)
_CLEANED = ", ".join(
    "%s as %s" % (clean(source), name)
    for source, name in (("content", "content"), ("tool_calls", "tool_calls"), ("{returns}", "tool_returns"), ("{approvals}", "approvals"))
)

MESSAGE_JSON = Probe(
    checks=(
        Check(
            "messages.json_columns",
            "the JSON columns of every message have the shape Letta reads",
            "{count} JSON columns of messages have a shape Letta cannot read: listing or loading them fails",
            RESTORE_AGENT,
        ),
    ),
    needs={"messages": ("id", "content", "tool_calls")},
    maybe={"returns": ("messages", "tool_returns", "null::json"), "approvals": ("messages", "approvals", "null::json")},
    sql="""
        select 'messages.json_columns', m.id || ' ' || c.name
        from (select id, %s from {s}.messages offset 0) as m cross join lateral (values %s) as c(name, sound) where not c.sound"""
    % (_CLEANED, ", ".join("('%s', %s)" % column for column in _MESSAGE_COLUMNS)),
)

PROBES = (AGENT_JSON, MESSAGE_JSON, PROMPT, SLEEPTIME)
