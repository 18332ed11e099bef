# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rows belong to an agent, a source, a file, a block or an archive, as data: one ordered list of rules.

Read from the live catalog of a database at Letta 0.16.8, from that release's source, and for older releases from their schemas.
A rule whose table or column a database does not have selects nothing: the list serves every release.
"""
from __future__ import annotations

from dataclasses import dataclass

# What a row is to the thing that is brought back, strongest first. One row may be reached by several rules.
OWN = "own"  # belongs to it alone: becomes exactly what was saved, and what was not saved goes
POINTER = "pointer"  # a row that lives, of which a few columns are set: see POINTS
SHARED = "shared"  # a thing that others may use too: the policy decides
PART = "part"  # belongs to such a thing: goes where that goes
LINK = "link"  # joins it to something that is not brought back: added when both ends are there, never removed
PRESENCE = "presence"  # has to be there: added when it is missing, never touched otherwise
TRACE = "trace"  # records of what was sent to models: large, brought back only when asked for
NAMED = "named"  # the other end of a link that is repaired: read for its name, never written
ROLES = (OWN, POINTER, SHARED, PART, LINK, PRESENCE, TRACE, NAMED)
# What a pointer brings of its row; everything else of it is live's.
POINTS = {
    "agents": ("message_ids",),
    "groups": ("agent_ids",),
    "archival_passages": ("tags",),
    "files": ("total_chunks", "chunks_embedded"),
    "files_agents": ("file_name", "source_id", "visible_content", "start_line", "end_line"),
}

# Sets of ids that a selection fills; every other set is the ``id`` (or the column named) of rows selected before.
ROOTS = AGENTS, TALKERS, GROUPS, BLOCKS, ARCHIVES, SOURCES, FILES, FILE_SOURCES, LINKED, LINKED_GROUPS, JOINED_GROUPS, MENDED, REVISIONS = (
    "root.agents", "root.talkers", "root.groups", "root.blocks", "root.archives", "root.sources", "root.files", "root.file_sources",
    "root.linked", "root.linked_groups", "root.joined_groups", "root.mended", "root.revisions",
)  # fmt: skip
# Root -> (table, column) of what its ids are.
ROOT_ROWS = {
    AGENTS: ("agents", "id"),
    TALKERS: ("agents", "id"),
    GROUPS: ("groups", "id"),
    BLOCKS: ("block", "id"),
    ARCHIVES: ("archives", "id"),
    SOURCES: ("sources", "id"),
    FILES: ("files", "id"),
    FILE_SOURCES: ("sources", "id"),
    LINKED: ("agents", "id"),
    LINKED_GROUPS: ("groups", "id"),
    JOINED_GROUPS: ("groups", "id"),
    MENDED: ("groups", "id"),  # and of every other table of POINTS
    REVISIONS: ("alembic_version", "version_num"),
}
# Agents whose links are mended out of live itself, and what of them: no rule asks for these.
MENDED_AGENTS, MENDED_KINDS = "root.mended_agents", "root.mended_kinds"
# Of the ids of all roots those that a person asked for; no rule asks for it, it only tells them from partners brought along.
ASKED = "root.asked"
# Copies of agents, made by an import, that give way to the agents they were made from; live has them, a backup does not.
REPLACED = "root.replaced"
# A rule follows rows of these roles only: what merely links to a thing, or merely has to be there, brings nothing of its own along.
FOLLOWS = {
    OWN: (OWN,),
    SHARED: (OWN,),
    PART: (SHARED, PART),
    LINK: (SHARED, PART, NAMED),
    PRESENCE: (OWN, POINTER, SHARED, PART, PRESENCE),
    TRACE: (OWN, PRESENCE),
    NAMED: (LINK,),
}


@dataclass(frozen=True)
class Rule:
    """Rows of ``table`` whose ``column`` holds a value of set ``of`` are in.

    :param column: of the table.
    :param of: one of :data:`ROOTS`, or ``table.column`` (or ``table.column:path``) of a table that an earlier rule selects from.
    :param why: what such a row is, for a person: ``a message of the agent``.
    """

    table: str
    column: str
    of: str
    role: str
    why: str


def _rules(role, of, why, *places):
    return tuple(Rule(place.partition(".")[0], place.partition(".")[2], of, role, why) for place in places)


RULES = (
    # groups first: who works together decides which agents come back (see selection.py)
    Rule("groups_agents", "group_id", GROUPS, OWN, "a member of the agent's group"),
    Rule("groups_agents", "agent_id", AGENTS, OWN, "the agent's membership in a group"),
    Rule("groups", "id", GROUPS, OWN, "a group that the agent manages"),
    Rule("groups", "id", "groups_agents.group_id", SHARED, "a group that the agent is a member of"),
    Rule("groups_blocks", "group_id", GROUPS, OWN, "a block shared in the agent's group"),
    Rule("agents", "id", AGENTS, OWN, "the agent"),
    Rule("agents", "id", TALKERS, POINTER, "the agent whose messages come back"),
    *_rules(OWN, AGENTS, "a tag of the agent", "agents_tags.agent_id"),
    *_rules(OWN, AGENTS, "a secret of the agent", "agent_environment_variables.agent_id"),
    *_rules(OWN, AGENTS, "a link of the agent", "tools_agents.agent_id", "sources_agents.agent_id", "identities_agents.agent_id",
            "blocks_agents.agent_id", "archives_agents.agent_id", "files_agents.agent_id"),
    # what was said
    *_rules(OWN, AGENTS, "a conversation of the agent", "conversations.agent_id"),
    *_rules(OWN, TALKERS, "a conversation of the agent", "conversations.agent_id"),
    *_rules(OWN, "conversations.id", "an isolated block of a conversation", "blocks_conversations.conversation_id"),
    *_rules(OWN, AGENTS, "a message of the agent", "messages.agent_id"),
    *_rules(OWN, TALKERS, "a message of the agent", "messages.agent_id"),
    *_rules(OWN, AGENTS, "a message's place in a conversation", "conversation_messages.agent_id"),
    *_rules(OWN, TALKERS, "a message's place in a conversation", "conversation_messages.agent_id"),
    # what was run
    *_rules(OWN, AGENTS, "a run of the agent", "runs.agent_id", "run_metrics.agent_id", "agents_runs.agent_id"),
    *_rules(PRESENCE, "messages.run_id", "the run of a message", "runs.id"),
    *_rules(PRESENCE, "runs.id", "the run of a message", "run_metrics.id"),
    *_rules(OWN, AGENTS, "a step of the agent", "steps.agent_id", "step_metrics.agent_id"),
    *_rules(PRESENCE, "messages.step_id", "the step of a message", "steps.id"),
    *_rules(PRESENCE, "runs.id", "a step of such a run", "steps.run_id"),
    *_rules(PRESENCE, "steps.id", "a step of such a run", "step_metrics.id"),
    # runs were jobs before 0.12
    *_rules(PRESENCE, "messages.id", "a message's place in a run", "job_messages.message_id"),
    *_rules(PRESENCE, "agents_runs.run_id", "a run of the agent, as a job", "jobs.id"),
    *_rules(PRESENCE, "steps.job_id", "the job of a step", "jobs.id"),
    *_rules(PRESENCE, "job_messages.job_id", "the job of a message", "jobs.id"),
    # things that others may use too
    Rule("block", "id", BLOCKS, SHARED, "a block that was asked for"),
    Rule("block", "id", "blocks_agents.block_id", SHARED, "a block of the agent"),
    Rule("block", "id", "blocks_conversations.block_id", SHARED, "an isolated block of a conversation"),
    Rule("block", "id", "groups_blocks.block_id", SHARED, "a block shared in the agent's group"),
    Rule("block_history", "block_id", "block.id", PART, "an earlier value of the block"),
    Rule("blocks_tags", "block_id", "block.id", PART, "a tag of the block"),
    Rule("identities_blocks", "block_id", "block.id", LINK, "an identity that the block is of"),
    Rule("blocks_agents", "block_id", BLOCKS, LINK, "an agent that has the block"),
    Rule("groups_blocks", "block_id", BLOCKS, LINK, "a group that has the block"),
    Rule("blocks_conversations", "block_id", BLOCKS, LINK, "a conversation that has the block"),
    Rule("archives", "id", ARCHIVES, SHARED, "an archive that was asked for"),
    Rule("archives", "id", "archives_agents.archive_id", SHARED, "the agent's archive"),
    Rule("archives_agents", "archive_id", ARCHIVES, LINK, "an agent that has the archive"),
    Rule("archival_passages", "archive_id", "archives.id", PART, "a passage of the archive"),
    Rule("passage_tags", "archive_id", "archives.id", PART, "a tag of a passage"),
    Rule("agent_passages", "agent_id", AGENTS, OWN, "a passage of the agent"),
    Rule("files", "id", FILES, SHARED, "a file that was asked for"),
    Rule("sources", "id", SOURCES, SHARED, "a source that was asked for"),
    Rule("sources", "id", "sources_agents.source_id", SHARED, "a source of the agent"),
    Rule("sources", "id", "files_agents.source_id", SHARED, "a source of a file of the agent"),
    Rule("sources_agents", "source_id", SOURCES, LINK, "an agent that has the source"),
    Rule("files_agents", "source_id", SOURCES, LINK, "an agent's view of a file"),
    Rule("files", "source_id", "sources.id", PART, "a file of the source"),
    Rule("files_agents", "file_id", FILES, LINK, "an agent's view of a file"),
    Rule("sources", "id", FILE_SOURCES, PRESENCE, "the source of the file"),
    Rule("file_contents", "file_id", "files.id", PART, "the text of the file"),
    Rule("source_passages", "source_id", "sources.id", PART, "a passage of the source"),
    Rule("source_passages", "file_id", "files.id", PART, "a passage of the file"),
    Rule("identities", "id", "identities_agents.identity_id", SHARED, "an identity of the agent"),
    Rule("tools", "id", "tools_agents.tool_id", SHARED, "a tool of the agent"),
    # what these need to be of use
    Rule("mcp_tools", "tool_id", "tools.id", PRESENCE, "where a tool comes from"),
    Rule("mcp_server", "id", "mcp_tools.mcp_server_id", PRESENCE, "the server of a tool"),
    Rule("mcp_server", "id", "tools.metadata_:mcp.server_id", PRESENCE, "the server of a tool"),
    Rule("mcp_oauth", "server_id", "mcp_server.id", PRESENCE, "access to the server of a tool"),
    Rule("jobs", "id", "step_metrics.job_id", PRESENCE, "the job of a step"),
    Rule("providers", "id", "steps.provider_id", PRESENCE, "the provider of a step"),
    Rule("providers", "id", "step_metrics.provider_id", PRESENCE, "the provider of a step"),
    Rule("provider_traces", "agent_id", AGENTS, TRACE, "what a model was asked"),
    Rule("provider_traces", "step_id", "steps.id", TRACE, "what a model was asked"),
    Rule("provider_trace_metadata", "agent_id", AGENTS, TRACE, "that a model was asked"),
    # agents that live, of which only links are repaired
    Rule("agents", "id", LINKED, POINTER, "the agent whose links are repaired"),
    Rule("groups", "id", LINKED_GROUPS, POINTER, "a group that the agent manages"),
    Rule("groups", "id", JOINED_GROUPS, POINTER, "a group that the agent is a member of"),
    *_rules(LINK, LINKED, "a link of the agent", "agents_tags.agent_id", "tools_agents.agent_id", "sources_agents.agent_id",
            "identities_agents.agent_id", "blocks_agents.agent_id", "archives_agents.agent_id", "files_agents.agent_id",
            "groups_agents.agent_id"),
    *_rules(LINK, LINKED_GROUPS, "a link of the agent's group", "groups_agents.group_id", "groups_blocks.group_id"),
    Rule("conversations", "agent_id", LINKED, NAMED, "a conversation of the agent"),
    Rule("blocks_conversations", "conversation_id", "conversations.id", LINK, "an isolated block of a conversation"),
    *(Rule(table, "id", link, NAMED, "what the agent was linked to")
      for table, link in (("tools", "tools_agents.tool_id"), ("identities", "identities_agents.identity_id"),
                          ("block", "blocks_agents.block_id"), ("block", "blocks_conversations.block_id"),
                          ("block", "groups_blocks.block_id"), ("archives", "archives_agents.archive_id"),
                          ("sources", "sources_agents.source_id"), ("sources", "files_agents.source_id"))),
    *(Rule(table, "id", MENDED, POINTER, "a row that does not fit what it belongs to") for table in POINTS if table != "agents"),
    # who owns them
    *(Rule("users", "id", "%s.%s" % (table, column), PRESENCE, "who made it")
      for table, column in (("agents", "_created_by_id"), ("agents", "_last_updated_by_id"), ("jobs", "user_id"), ("mcp_oauth", "user_id"),
                            ("sources", "_created_by_id"), ("block", "_created_by_id"), ("archives", "_created_by_id"))),
    *(Rule("organizations", "id", "%s.organization_id" % table, PRESENCE, "the organisation it belongs to")
      for table in ("agents", "users", "sources", "files", "block", "archives", "steps", "groups", "identities", "tools", "mcp_server",
                    "providers")),
    Rule("alembic_version", "version_num", REVISIONS, PRESENCE, "the schema's revision"),
)  # fmt: skip

# Tables that no partial restore reads, and why.
OUTSIDE = {
    "llm_batch_job": "a batch is work of many agents, and is not taken up again",
    "llm_batch_items": "part of a batch",
    "provider_models": "made by every server from its providers",
    "prompts": "no release serves them",
    "sandbox_configs": "of the whole organisation",
    "sandbox_environment_variables": "of the whole organisation",
}

# Foreign keys (table, column) of which a row may come without what it names, by the rules alone; why that row is there nevertheless,
# or not needed. A link that is added only when both ends are there needs no word.
_SAME = "of the same agent, whose rows come all"
_MEASURED = "of the step or run that it measures"
FOREIGN_KEYS_LEFT = {
    ("block", "current_history_entry_id"): "an earlier value of the same block: they come all",
    ("conversation_messages", "conversation_id"): _SAME,
    ("conversation_messages", "message_id"): _SAME,
    ("files", "source_id"): "of a file that was asked for: found with it, see FILE_SOURCES",
    ("files_agents", "file_id"): "a file of the source, whose files come all",
    ("groups", "manager_agent_id"): "found with it, see GROUPS; the manager of a group of others is not brought back",
    ("groups_agents", "agent_id"): "members that are no partners are not brought back: the group comes without those that are gone",
    ("messages", "conversation_id"): _SAME,
    ("passage_tags", "passage_id"): "of the same archive, whose passages come all",
    ("run_metrics", "agent_id"): _MEASURED,
    ("run_metrics", "id"): _MEASURED,
    ("runs", "agent_id"): "of the agent whose message it is, or of others in its group, which are not brought back",
    ("runs", "conversation_id"): _SAME,
    ("source_passages", "file_id"): "of the same source, whose files come all",
    ("source_passages", "source_id"): "of a file that was asked for: found with it, see FILE_SOURCES",
    ("step_metrics", "agent_id"): _MEASURED,
    ("step_metrics", "id"): _MEASURED,
    ("step_metrics", "run_id"): _MEASURED,
    ("steps", "run_id"): _SAME,
    **{(table, "organization_id"): "that of the agent or thing it belongs to" for table in (
        "agent_environment_variables", "agent_passages", "archival_passages", "block_history", "blocks_tags", "conversation_messages",
        "conversations", "files_agents", "jobs", "mcp_oauth", "mcp_tools", "messages", "passage_tags", "provider_trace_metadata",
        "provider_traces", "run_metrics", "runs", "source_passages", "step_metrics")},
}  # fmt: skip

# Things that others may use too -> (link table, its column of the thing, its column of the user, table of the user).
USERS_OF = {
    "block": (
        ("blocks_agents", "block_id", "agent_id", "agents"),
        ("blocks_conversations", "block_id", "conversation_id", "conversations"),
        ("groups_blocks", "block_id", "group_id", "groups"),
        ("identities_blocks", "block_id", "identity_id", "identities"),
    ),
    "archives": (("archives_agents", "archive_id", "agent_id", "agents"),),
    "sources": (("sources_agents", "source_id", "agent_id", "agents"),),
    "files": (("files_agents", "file_id", "agent_id", "agents"),),
    "tools": (("tools_agents", "tool_id", "agent_id", "agents"),),
    "identities": (("identities_agents", "identity_id", "agent_id", "agents"),),
    "groups": (("groups_agents", "group_id", "agent_id", "agents"),),
}
# Those of which a copy with a new id makes sense: the others have a name that must be unique, or belong to their members.
COPIED = ("block", "archives", "sources")
# Where no primary key says which row is which.
KEYS = {"agents_tags": ("agent_id", "tag"), "blocks_agents": ("agent_id", "block_id"), "file_contents": ("file_id",)}
# Primary keys that are not ``id`` alone.
LINK_KEYS = {
    "agents_runs": ("agent_id", "run_id"),
    "archives_agents": ("agent_id", "archive_id"),
    "blocks_conversations": ("conversation_id", "block_id", "block_label"),
    "blocks_tags": ("block_id", "tag"),
    "files_agents": ("id", "file_id", "agent_id"),
    "groups_agents": ("group_id", "agent_id"),
    "groups_blocks": ("group_id", "block_id"),
    "identities_agents": ("identity_id", "agent_id"),
    "identities_blocks": ("identity_id", "block_id"),
    "sources_agents": ("agent_id", "source_id"),
    "tools_agents": ("agent_id", "tool_id"),
}
# An agent of these groups has partners of its own, which Letta deletes with it.
PARTNER_GROUPS = ("sleeptime", "voice_sleeptime")


def agents_of(roots):
    """Return the ids of the agents that a selection is about, in whatever way: sorted.

    :param roots: {root: [ids]}.
    """
    return sorted({item for root in (AGENTS, TALKERS, LINKED, MENDED_AGENTS, REPLACED) for item in roots.get(root, ())})


def source_of(rule):
    """Return (table, column with path) of the set a rule asks for; (None, root) for a root."""
    if rule.of in ROOTS:
        return None, rule.of
    table, _dot, column = rule.of.partition(".")
    return table, column


def tables_in_order():
    """Return the tables of :data:`RULES` so that each comes after those whose values select its rows."""
    left = {rule.table for rule in RULES}
    needs = {table: {source_of(rule)[0] for rule in RULES if rule.table == table} - {None, table} for table in left}
    order = []
    while left:
        ready = [rule.table for rule in RULES if rule.table in left and not needs[rule.table] & left]
        if not ready:
            raise ValueError("rules in a circle: %s" % ", ".join(sorted(left)))
        order.append(ready[0])
        left.discard(ready[0])
    return order
