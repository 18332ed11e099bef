# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What we know of Letta's own agent file (.af, the format with several entities, Letta 0.9.0 and newer).

Ids in it are a prefix and a number (``agent-0``, ``message-3``). The asked agent comes first, agents of the group it manages after it.
"""
from __future__ import annotations

import json
import re

KINDS = ("agents", "groups", "blocks", "files", "sources", "tools", "mcp_servers")
AGENT_ID = re.compile(r"agent-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

# Why the format does not bring it; the key is ``what`` in every entry of a list of losses.
REASONS = {
    "messages": "the file holds the context window and no older message, nor those of conversations",
    "message_links": "these messages are in the file, but without their run, step and sender",
    "conversations": "the file has no conversations",
    "conversation_blocks": "blocks of conversations are not in the file",
    "archives": "the file has no archives",
    "passages": "the file has no archival memory, neither text nor vectors",
    "identities": "the file names no identities",
    "secrets": "names are in the file, values are blank; give them at import",
    "runs": "the file has no runs, nor their steps, metrics and traces",
    "groups": "the file holds the group an agent manages, not those it only belongs to",
    "group_progress": "a new group begins counting turns and messages anew",
    "settings": "the file does not carry these settings of the agent",
    "shared_blocks": "other agents use these blocks; import makes copies of them",
    "block_tags": "tags of blocks are not in the file",
    "block_settings": "the file does not carry these settings of blocks",
    "folders": "import makes new folders, with a suffix to names that are taken",
    "empty_folders": "the agent has none of its files, and such a folder cannot be imported",
    "folder_files": "these files of its folders are not attached to the agent, and so not in the file",
    "file_passages": "import cuts and embeds files anew, in the background",
    "file_views": "closed files come back open, and which lines were shown is lost",
    "mcp_auth": "the file has no tokens and headers of MCP servers",
}
# What the API of 0.16.8 has no count for.
UNCOUNTED = {
    "ids": "everything in the file gets a new id, except tools whose name exists",
    "block_history": "history and version numbers of blocks are not in the file",
    "system_message": "the compiled system message names the agent's old id until Letta compiles it anew",
    "sequence": "sequence ids of messages are drawn anew; the order stays",
}

# Fields of an agent's state that are no settings of it, are told as another loss, or follow from ones that the file carries.
_NO_SETTING = frozenset((
    "id", "name", "created_at", "updated_at", "created_by_id", "last_updated_by_id", "message_ids", "messages", "memory", "blocks", "tools",
    "sources", "folders", "secrets", "tool_exec_environment_variables", "identity_ids", "identities", "multi_agent_group", "managed_group",
    "pending_approval", "model", "embedding", "model_settings", "organization_id", "attached",
))
_BLOCK_SETTINGS = ("hidden", "project_id", "template_id", "base_template_id", "deployment_id", "entity_id")


def _texts(value):
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _objects(value):
    return isinstance(value, list) and all(isinstance(item, dict) and _is_referring(item) for item in value)


def _is_referring(item):
    return all(isinstance(item.get(key), (str, type(None))) for key in ("id", "file_id", "source_id"))


def _object(value):
    return isinstance(value, dict)


def _settings(value):
    return isinstance(value, dict) and isinstance(value.get("manager_agent_id") or "", str)


# What is looked into besides ids: parts of agents and of groups that may be missing, and what they are.
_PARTS = (
    ("messages", _objects), ("files_agents", _objects), ("secrets", _object), ("tool_exec_environment_variables", _object),
    *((field, _texts) for field in ("source_ids", "tool_ids", "block_ids", "group_ids", "in_context_message_ids")),
)  # fmt: skip
_GROUP_PARTS = (("manager_config", _settings), ("agent_ids", _texts), ("shared_block_ids", _texts))
# New at each export, or at each start of the server.
_RESTLESS = {"messages": ("otid",), "tools": ("updated_at", "last_updated_by_id"), "files_agents": ("id",)}


def parse(text):
    """Read the text of an agent file.

    :raises ValueError: with a phrase, when it is no agent file in this format.
    """
    try:
        data = json.loads(text)
        data = json.loads(data) if isinstance(data, str) else data
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(data, dict) or not isinstance(data.get("agents"), list):
        raise ValueError(  # noqa: TRY004
            "it has no list of agents (files of Letta before 0.9.0 have another format, and no server imports them now)"
        )
    if not data["agents"]:
        raise ValueError("its list of agents is empty")
    for kind in KINDS:
        entries = data.setdefault(kind, [])
        if not _objects(entries) or not all(isinstance(entry.get("id"), str) for entry in entries):
            raise ValueError("its %s are no list of objects with ids" % kind)
    for entry, field, form in [(agent, *item) for agent in data["agents"] for item in _PARTS] + [
        (group, *item) for group in data["groups"] for item in _GROUP_PARTS
    ]:
        if entry.get(field) and not form(entry[field]):
            raise ValueError("%.80s has %s in another form than Letta writes" % (entry["id"], field))
    return data


def counts(data):
    """Return how much of each kind is in a file: the keys of :data:`KINDS`, ``messages`` and ``secrets``."""
    found = {kind: len(data[kind]) for kind in KINDS}
    found["messages"] = sum(len(agent.get("messages") or []) for agent in data["agents"])
    found["secrets"] = sum(len(secret_names(agent)) for agent in data["agents"])
    return found


def secret_names(agent):
    """Return the names of an agent's secrets, sorted."""
    return sorted(set(agent.get("secrets") or {}) | set(agent.get("tool_exec_environment_variables") or {}))


def problems(data):
    """Return one sentence for each reference that leads nowhere: Letta notices most of them in the middle of an import."""
    held = {kind: {entry["id"] for entry in data[kind]} for kind in KINDS}
    found = []
    for agent in data["agents"]:
        who = "agent %s (%s)" % (agent["id"], agent.get("name"))
        held_messages = {message.get("id") for message in agent.get("messages") or []}
        for field, kind in (("source_ids", "sources"), ("tool_ids", "tools"), ("block_ids", "blocks"), ("group_ids", "groups")):
            found += ["%s names %s in %s, which the file does not hold%s" % (who, missing, field, _cause(kind))
                      for missing in agent.get(field) or [] if missing not in held[kind]]
        found += ["%s names %s in its context, which the file does not hold" % (who, missing)
                  for missing in agent.get("in_context_message_ids") or [] if missing not in held_messages]
        for link in agent.get("files_agents") or []:
            found += ["%s names %s in files_agents, which the file does not hold" % (who, link.get(key))
                      for key, kind in (("file_id", "files"), ("source_id", "sources")) if link.get(key) not in held[kind]]
    found += ["file %s is of %s, which the file does not hold" % (file["id"], file.get("source_id"))
              for file in data["files"] if file.get("source_id") not in held["sources"]]
    for group in data["groups"]:
        manager = (group.get("manager_config") or {}).get("manager_agent_id")
        found += ["group %s names %s, which the file does not hold" % (group["id"], missing)
                  for missing in [*(group.get("agent_ids") or []), *([manager] if manager else [])] if missing not in held["agents"]]
    return found


def _cause(kind):
    return " (a folder the agent has no file of)" if kind == "sources" else ""


def shared_blocks(data):
    """Return the ids of blocks that groups of a file share. They are ids of the *exporting* server: import does not map them."""
    return sorted({block for group in data["groups"] for block in group.get("shared_block_ids") or []})


def canonical(data):
    """Return a file's content as text to compare: without what differs at each export of an unchanged agent."""

    def still(entry, kind):
        return {key: value for key, value in entry.items() if key not in _RESTLESS.get(kind, ())}

    plain = {key: value for key, value in data.items() if key != "created_at"}
    plain["tools"] = [still(tool, "tools") for tool in data["tools"]]
    plain["agents"] = [
        dict(agent, **{kind: [still(entry, kind) for entry in agent.get(kind) or []] for kind in ("messages", "files_agents")})
        for agent in data["agents"]
    ]
    for kind in KINDS:
        plain[kind] = sorted(plain[kind], key=lambda entry: entry["id"])
    return json.dumps(plain, sort_keys=True)


def lost_settings(state, agent):
    """Return the names of an agent's settings that its entry in a file does not carry.

    :param state: the agent as the API tells it. :param agent: its entry in the file.
    """
    lost = []
    for name, value in state.items():
        carried = agent.get(name)
        if name in _NO_SETTING or value == carried or (not value and not carried):
            continue
        if name == "tags" and sorted(value) == sorted(carried or []):
            continue
        lost.append(name)
    return sorted(lost)


def lost_block_settings(block):
    """Return the names of a live block's settings that no file carries."""
    return [name for name in _BLOCK_SETTINGS if block.get(name)]


def id_map(data, states):
    """Say which id each thing of a file has on a server.

    :param data: the file. :param states: agents of a server in the order of the file's, as the API tells them; each may have
        ``attached``, its files. None for one that is not known.
    :returns: {id in the file: id on the server}; what cannot be told is left out.
    """
    found = {}
    entries = {kind: {entry["id"]: entry for entry in data[kind]} for kind in KINDS}
    for agent, state in zip(data["agents"], states):
        if state is None:
            continue
        found[agent["id"]] = state["id"]
        # As many in as out, in the same order; were it not so, guessing would be worse than not telling.
        context = agent.get("in_context_message_ids") or []
        if len(context) == len(state.get("message_ids") or []):
            found.update(zip(context, state["message_ids"]))
        for field, kind, live, word in (("block_ids", "blocks", "blocks", "label"), ("tool_ids", "tools", "tools", "name")):
            by_word = {entry[word]: entry["id"] for entry in state.get(live) or []}
            wanted = {entry: entries[kind][entry].get(word) for entry in agent.get(field) or [] if entry in entries[kind]}
            found.update({entry: by_word[name] for entry, name in wanted.items() if name in by_word})
        found.update(_folders(agent, entries["sources"], state))
        links = {link["file_name"]: link["file_id"] for link in state.get("attached") or []}
        held = agent.get("files_agents") or []
        found.update({link["file_id"]: links[link["file_name"]] for link in held if link.get("file_name") in links})
        group = state.get("managed_group") or state.get("multi_agent_group")
        if group and len(agent.get("group_ids") or []) == 1:
            found[agent["group_ids"][0]] = group["id"]
    return found


def _folders(agent, sources, state):
    live = {folder["name"]: folder["id"] for folder in state.get("sources") or []}
    names = {source: sources[source].get("name") for source in agent.get("source_ids") or [] if source in sources}
    found = {source: live.pop(name) for source, name in names.items() if name in live}
    for source, name in names.items():
        candidates = [folder for known, folder in live.items() if source not in found and is_copy_of(known, name)]
        if len(candidates) == 1:
            found[source] = candidates[0]
    return found


def is_copy_of(name, original):
    """Tell whether import may have named a folder so: the name of the file, or that with a suffix because it was taken."""
    return bool(re.fullmatch(r"%s(_[0-9a-f]{8})?" % re.escape(original or ""), name or ""))
