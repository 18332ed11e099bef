# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contexts that a reconciliation has to look into: those that checks call inconsistent, and those that end with a request for approval."""
from __future__ import annotations

from dataclasses import dataclass, field

from ...letta.contexts import Stored
from ..checks.base import array
from ..checks.contexts import AGENT_CONTEXTS, CONVERSATION_CONTEXTS
from ..validate import lacking

# Not among the reasons: a message of a conversation in an agent's own context, which nobody can say is wrong.
_REASONS = ("agents.message_ids_empty", "agents.message_ids_system", "agents.message_ids_missing", "agents.tool_calls",
            "agents.tool_returns", "conversations.system", "conversations.positions", "conversations.messages_missing",
            "conversations.tool_calls", "conversations.tool_returns")  # fmt: skip
_MESSAGE = ("id", "agent_id", "role", "is_deleted", "tool_calls", "tool_call_id", "tool_returns", "approvals", "organization_id", "step_id",
            "run_id", "model", "group_id", "conversation_id", "_created_by_id", "text", "content")  # fmt: skip
_CHUNK = 200


@dataclass
class Context:
    """One context as it is stored.

    :ivar owner: id of the conversation, or of the agent whose own context it is. :ivar ids: its messages, in order.
    :ivar messages: {id: row} of what of them is stored. :ivar headless: it does not begin with a system message.
    :ivar links: {message id: row of conversation_messages}; :ivar top: the highest position in the conversation.
    :ivar stored: an agent's messages outside of conversations, read only where the context is headless.
    :ivar system: the agent's prompt; :ivar autoclear: it sends only its system message; :ivar window: tokens its model takes.
    """

    agent_id: str
    organization_id: str
    ids: list
    conversation_id: str | None = None
    messages: dict = field(default_factory=dict)
    headless: bool = False
    links: dict = field(default_factory=dict)
    top: int = -1
    stored: list = field(default_factory=list)
    system: str = ""
    autoclear: bool = False
    window: int | None = None

    @property
    def owner(self):
        return self.conversation_id or self.agent_id


def contexts(context, rows):
    """Return every :class:`Context` to look into, an agent's own ones first."""
    found = []
    for chunk in _chunks(sorted(_suspects(context, AGENT_CONTEXTS) | _asking_agents(rows))):
        found += _of_agents(rows, chunk)
    if rows.has("conversations") and rows.has("conversation_messages"):
        for chunk in _chunks(sorted(_suspects(context, CONVERSATION_CONTEXTS) | _asking_conversations(rows))):
            found += _of_conversations(rows, chunk)
    return found


def _chunks(ids):
    return [ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK)]


def _suspects(context, probe):
    """Return the owners that a probe names; its examples begin with the owner's id."""
    if lacking(context, probe.needs):
        return set()
    found = context.probe("select check_id, example from (%s) as offenders(check_id, example)" % probe.sql, probe.maybe)
    return {str(example).split(" ", 1)[0] for check, example in found if check in _REASONS}


def _asking_agents(rows):
    if not rows.has("agents", "message_ids") or not rows.has("messages", "tool_calls"):
        return set()
    found = rows.read(
        """select a.id from {s}.agents a join {s}.messages m
           on m.id = case when json_typeof(a.message_ids) = 'array' then a.message_ids->>-1 end
           where not a.is_deleted and m.role = 'approval' and json_array_length(""" + array("m.tool_calls") + """) > 0"""
    )  # fmt: skip
    return {row["id"] for row in found}


def _asking_conversations(rows):
    found = rows.read(
        """select t.conversation_id as id from (
               select distinct on (cm.conversation_id) cm.conversation_id, m.role, m.tool_calls
               from {s}.conversation_messages cm join {s}.messages m on m.id = cm.message_id
               join {s}.conversations c on c.id = cm.conversation_id and not c.is_deleted
               where cm.in_context and not cm.is_deleted order by cm.conversation_id, cm.position desc, m.sequence_id desc) as t
           where t.role = 'approval' and json_array_length(""" + array("t.tool_calls") + """) > 0"""
    )  # fmt: skip
    return {row["id"] for row in found}


def _of_agents(rows, ids):
    names = ("id", "message_ids", "message_buffer_autoclear", "system", "llm_config", "organization_id")
    agents = rows.select("agents", names, "t.id = any(%s) order by t.id", (ids,))
    found = [
        Context(
            agent["id"], agent["organization_id"], [item for item in agent["message_ids"] or [] if isinstance(item, str)]
            if isinstance(agent["message_ids"], list) else [], system=agent["system"] or "",
            autoclear=bool(agent["message_buffer_autoclear"]), window=_window(agent["llm_config"]),
        )
        for agent in agents
    ]  # fmt: skip
    _give_messages(rows, found)
    for item in found:
        if item.headless:
            _give_stored(rows, item)
    return found


def _window(config):
    tokens = config.get("context_window") if isinstance(config, dict) else None
    return tokens if isinstance(tokens, int) and tokens > 0 else None


def _of_conversations(rows, ids):
    found = {
        row["id"]: Context(row["agent_id"], row["organization_id"], [], row["id"])
        for row in rows.select("conversations", ("id", "agent_id", "organization_id"), "t.id = any(%s) order by t.id", (ids,))
    }
    links = rows.read(
        """select cm.id, cm.conversation_id, cm.message_id, cm.position, cm.in_context and not cm.is_deleted as inside
           from {s}.conversation_messages cm left join {s}.messages m on m.id = cm.message_id
           where cm.conversation_id = any(%s) order by cm.conversation_id, cm.position, m.sequence_id""",
        (ids,),
    )
    for link in links:
        item = found[link["conversation_id"]]
        item.top = max(item.top, link["position"])
        if link["inside"]:
            item.ids.append(link["message_id"])
            item.links[link["message_id"]] = link
    _give_messages(rows, list(found.values()))
    return list(found.values())


def _give_messages(rows, found):
    wanted = sorted({message for item in found for message in item.ids})
    stored = {row["id"]: row for row in rows.select("messages", _MESSAGE, "t.id = any(%s)", (wanted,))} if wanted else {}
    for item in found:
        item.messages = {message: stored[message] for message in item.ids if message in stored}
        first = item.messages.get(item.ids[0]) if item.ids else None
        item.headless = first is None or first["role"] != "system" or first["is_deleted"] or first["agent_id"] != item.agent_id


def _give_stored(rows, item):
    outside = "and t.conversation_id is null" if rows.has("messages", "conversation_id") else ""
    where = "t.agent_id = %s and not t.is_deleted " + outside + " order by t.sequence_id"
    for row in rows.select("messages", _MESSAGE, where, (item.agent_id,)):
        item.messages[row["id"]] = row
        text = _text_of(row)
        summary = row["role"] == "summary" or (row["role"] == "user" and '"system_alert"' in text)
        item.stored.append(Stored(row["id"], row["role"], text[:1000], summary, len(text)))


def _text_of(row):
    parts = row["content"] if isinstance(row["content"], list) else []
    texts = [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return "\n".join(texts) or row["text"] or ""
