# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contexts: the messages an agent or a conversation sends to its model, and the pairs of tool calls and returns in them."""
from __future__ import annotations

from ...findings import WARN
from .base import Check, Probe, array, clean

RESTORE_AGENT = "restore the agent from a set where it was whole (restore-partial.yml), or reset its messages through the API"
_CALLS_ADVICE = "reconcile.yml answers the call with an error, as a restore does; most providers refuse the whole request"
_RETURNS_ADVICE = "reconcile.yml takes the tool message out of the context; most providers refuse the whole request"

# Of the CTE ``entries`` (owner, place, role, calls, call_id, returns, approvals): calls without a return and returns without a call.
# A context that ends with a request for approval waits for a person, together with the calls of the same answer before it.
_PAIRS = """
        called as materialized (
            select e.owner, e.place, c.value->>'id' as call
            from entries e cross join lateral json_array_elements({calls}) as c(value) where e.role in ('assistant', 'approval')),
        returned as materialized (
            select e.owner, e.place, e.role, r.call from entries e cross join lateral (
                select e.call_id where e.role = 'tool'
                union select t.value->>'tool_call_id' from json_array_elements({returns}) as t(value) where e.role = 'tool'
                union select a.value->>'tool_call_id' from json_array_elements({approvals}) as a(value)
                      where e.role = 'approval' and a.value->>'status' is not null) as r(call)
            where r.call is not null),
        waiting as materialized (
            select t.owner, t.place from (select distinct on (owner) owner, place, role from entries order by owner, place desc) as t
            where t.role = 'approval' and exists (select from called c where c.owner = t.owner and c.place = t.place)),
        unanswered as (
            select c.owner, c.call from called c
            where not exists (select from returned r where r.owner = c.owner and r.call = c.call and r.place > c.place)
              and not exists (select from waiting w where w.owner = c.owner and c.place >= w.place - 1)),
        uncalled as (
            select r.owner, r.call from returned r
            where r.role = 'tool' and not exists (select from called c where c.owner = r.owner and c.call = r.call and c.place < r.place)
            union all select e.owner, 'without id' from entries e
            where e.role = 'tool' and not exists (select from returned r where r.owner = e.owner and r.place = e.place))"""


def _pairs():
    parts = {name: array(clean("e.%s" % name)) for name in ("calls", "returns", "approvals")}
    text = _PAIRS
    for name, expression in parts.items():
        text = text.replace("{%s}" % name, expression)
    return text


_MESSAGE_COLUMNS = ("id", "agent_id", "role", "is_deleted", "tool_calls", "tool_call_id")
_MAYBE = {
    "returns": ("messages", "tool_returns", "null::json"),
    "approvals": ("messages", "approvals", "null::json"),
}

AGENT_CONTEXTS = Probe(
    checks=(
        Check(
            "agents.message_ids_empty",
            "every agent has messages in context",
            "{count} agents have no messages in context: sending to them fails",
            RESTORE_AGENT,
        ),
        Check(
            "agents.message_ids_system",
            "every context begins with a system message",
            "{count} agents whose context does not begin with a system message",
            RESTORE_AGENT,
        ),
        Check(
            "agents.message_ids_missing",
            "every message in context exists and belongs to its agent",
            "{count} messages named in an agent's context are missing, deleted or another agent's: Letta drops them silently",
            RESTORE_AGENT,
        ),
        Check(
            "agents.message_ids_conversation",
            "no agent's own context holds a message of a conversation",
            "{count} messages in an agent's own context belong to a conversation",
            "look at the agent's context; the message shows up in two places",
            severity=WARN,
            needs={"messages": ("conversation_id",)},
        ),
        Check(
            "agents.tool_calls",
            "every tool call in an agent's context has its return, or waits for approval",
            "{count} tool calls in contexts of agents have no return behind them",
            _CALLS_ADVICE,
        ),
        Check(
            "agents.tool_returns",
            "every tool return in an agent's context has its call",
            "{count} tool returns in contexts of agents have no call before them",
            _RETURNS_ADVICE,
        ),
    ),
    needs={"agents": ("id", "message_ids", "is_deleted"), "messages": _MESSAGE_COLUMNS},
    maybe=dict(_MAYBE, conversation=("messages", "conversation_id", "null::text")),
    sql="""
        with contexts as materialized (
            select id, case when json_typeof(message_ids) = 'array' then message_ids else '[]'::json end as ids
            from {s}.agents where not is_deleted),
        entries as materialized (
            select c.id as owner, e.message_id, e.place, m.role, m.tool_calls as calls, m.tool_call_id as call_id, {returns} as returns,
                   {approvals} as approvals, {conversation} as conversation,
                   m.id is not null and m.agent_id = c.id and not m.is_deleted as sound
            from contexts c cross join lateral json_array_elements_text(c.ids) with ordinality as e(message_id, place)
            left join {s}.messages m on m.id = e.message_id),"""
    + _pairs()
    + """
        select 'agents.message_ids_empty', id from contexts where json_array_length(ids) = 0
        union all select 'agents.message_ids_system', owner from entries where place = 1 and role is distinct from 'system'
        union all select 'agents.message_ids_missing', coalesce(owner || ' ' || message_id, owner) from entries where not sound
        union all select 'agents.message_ids_conversation', owner || ' ' || message_id from entries where conversation is not null
        union all select 'agents.tool_calls', owner || ' ' || coalesce(call, 'without id') from unanswered
        union all select 'agents.tool_returns', owner || ' ' || call from uncalled""",
)

CONVERSATION_CONTEXTS = Probe(
    checks=(
        Check(
            "conversations.system",
            "every conversation begins with a system message",
            "{count} conversations whose context does not begin with a system message",
            RESTORE_AGENT,
        ),
        Check(
            "conversations.positions",
            "the positions in every conversation are distinct",
            "{count} conversations have two messages at one position: their order is left to chance",
            "number the rows of conversation_messages anew, in the order of messages.sequence_id",
        ),
        Check(
            "conversations.messages_missing",
            "every message in a conversation's context exists and belongs to its agent",
            "{count} messages in a conversation's context are missing, deleted or another agent's",
            RESTORE_AGENT,
        ),
        Check(
            "conversations.tool_calls",
            "every tool call in a conversation's context has its return, or waits for approval",
            "{count} tool calls in contexts of conversations have no return behind them",
            _CALLS_ADVICE,
        ),
        Check(
            "conversations.tool_returns",
            "every tool return in a conversation's context has its call",
            "{count} tool returns in contexts of conversations have no call before them",
            _RETURNS_ADVICE,
        ),
    ),
    needs={
        "conversations": ("id", "agent_id", "is_deleted"),
        "conversation_messages": ("conversation_id", "message_id", "position", "in_context", "is_deleted"),
        "messages": (*_MESSAGE_COLUMNS, "sequence_id"),
    },
    maybe=_MAYBE,
    sql="""
        with entries as materialized (
            select c.id as owner, cm.message_id, cm.position, m.role,
                   row_number() over (partition by c.id order by cm.position, m.sequence_id) as place,
                   m.tool_calls as calls, m.tool_call_id as call_id, {returns} as returns, {approvals} as approvals,
                   m.id is not null and m.agent_id = c.agent_id and not m.is_deleted as sound
            from {s}.conversations c join {s}.conversation_messages cm on cm.conversation_id = c.id and cm.in_context and not cm.is_deleted
            left join {s}.messages m on m.id = cm.message_id where not c.is_deleted),"""
    + _pairs()
    + """
        select 'conversations.system', owner from entries where place = 1 and role is distinct from 'system'
        union all select 'conversations.positions', owner from (
            select owner from entries group by owner having count(distinct position) <> count(*)) as doubled
        union all select 'conversations.messages_missing', owner || ' ' || message_id from entries where not sound
        union all select 'conversations.tool_calls', owner || ' ' || coalesce(call, 'without id') from unanswered
        union all select 'conversations.tool_returns', owner || ' ' || call from uncalled""",
)

PROBES = (AGENT_CONTEXTS, CONVERSATION_CONTEXTS)
