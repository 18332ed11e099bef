# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparing an agent file with the agents it came from: which of their things it does not hold."""
from __future__ import annotations

from urllib.parse import quote

from ..errors import RecoveryError
from ..letta import agent_file

EXAMPLES = 10
# What an older release says of a path it does not know.
_UNKNOWN_PATH = (404, 405)


def measure(rest, data, state):
    """Ask the server for everything the agents of a file have, and tell what the file lacks.

    :param rest: :class:`.rest.Rest` of the server the file came from. :param data: the parsed file.
    :param state: the exported agent as the API tells it.
    :returns: (losses, not_counted, {id in the file: id on the server}). A loss is {what, agent: its id or None, count, reason, ids};
        ``ids`` are ids, or names where things have none, and empty where only a number can be known.
    """
    states = [state, *_partners(rest, data, state)]
    for one in states:
        if one is not None:
            one["attached"] = attachments(rest, one["id"])
    origins = agent_file.id_map(data, states)
    measured = _Measured(rest, data, {one["id"] for one in states if one}, origins)
    for agent, one in zip(data["agents"], states):
        if one is not None:
            measured.agent(one, agent)
    measured.add("mcp_auth", None, [server.get("server_name") or server["id"] for server in data["mcp_servers"]])
    missing = [{"what": "partner", "reason": "agent %s of the file was not found on the server" % agent["id"]}
               for agent, one in zip(data["agents"], states) if one is None]
    listed = [{"what": what, "reason": reason} for what, reason in agent_file.UNCOUNTED.items()]
    return measured.losses, listed + measured.not_counted + missing, origins


def attachments(rest, agent_id):
    """Return the files attached to an agent: dicts of file_id, file_name, folder_id, is_open, start_line, end_line."""
    found, cursor = [], ""
    while True:
        page = rest.json("GET", "/v1/agents/%s/files?limit=500%s" % (agent_id, cursor and "&after=" + quote(cursor)))
        found += page["files"]
        if not page.get("has_more") or not page["files"] or page["next_cursor"] == cursor:
            return found
        cursor = page["next_cursor"]


def brief(loss):
    """Return a loss as a module tells it: with some of its ids."""
    return {"examples": loss["ids"][:EXAMPLES], **{key: value for key, value in loss.items() if key != "ids"}}


def _partners(rest, data, state):
    """Return the further agents of the file, in its order: those of the group that the first one manages."""
    group = state.get("managed_group") or state.get("multi_agent_group") or {}
    live = {}
    for entry in data["groups"]:
        live.update(zip(entry.get("agent_ids") or [], group.get("agent_ids") or []))
    return [rest.found("/v1/agents/%s" % live[agent["id"]]) if agent["id"] in live else None for agent in data["agents"][1:]]


class _Measured:
    """Collects losses. :param family: ids of the agents in the file. :param origins: {id in the file: id on the server}."""

    def __init__(self, rest, data, family, origins):
        self.rest, self.data, self.family, self.origins = rest, data, family, origins
        self.carried = set(origins.values())
        self.losses, self.not_counted = [], []
        self._told = set()

    def add(self, what, agent, ids, count=None):
        ids = list(ids)
        count = len(ids) if count is None else count
        if count:
            self.losses.append({"what": what, "agent": agent, "count": count, "reason": agent_file.REASONS[what], "ids": ids})

    def agent(self, state, entry):
        who = state["id"]
        base = "/v1/agents/%s" % who
        self._messages(who, base, entry)
        conversations = self._listed("conversations", "/v1/conversations/?agent_id=%s&order=asc" % who)
        self.add("conversations", who, [one["id"] for one in conversations])
        self.add("conversation_blocks", who, [block for one in conversations for block in one.get("isolated_block_ids") or []])
        self.add("archives", who, [one["id"] for one in self._listed("archives", "/v1/archives/?agent_id=%s&order=asc" % who)])
        # Each passage comes with its vector of 4 096 numbers: small pages, and of each only the id.
        self.add("passages", who, [one["id"] for one in self._listed("passages", base + "/archival-memory?ascending=true", 100)])
        self.add("identities", who, state.get("identity_ids") or [one["id"] for one in state.get("identities") or []])
        self.add("secrets", who, agent_file.secret_names(entry))
        self.add("runs", who, [one["id"] for one in self._listed("runs", "/v1/runs/?agent_id=%s&order=asc" % who)])
        self.add("settings", who, agent_file.lost_settings(state, entry))
        self._groups(who, base, state)
        self._blocks(who, base)
        self._folders(who, state)

    def _messages(self, who, base, entry):
        linked, everything = {}, {}
        # Without use_assistant_message=false the results of send_message are left out of the listing.
        for part in self.rest.pages(base + "/messages?order=asc&use_assistant_message=false", whole=False):
            everything[part["id"]] = True
            if part.get("run_id") or part.get("step_id") or part.get("sender_id"):
                linked[part["id"]] = True
        # Of an agent without a context Letta exports some messages all the same: then only the number of the others is known.
        unmatched = sum(message["id"] not in self.origins for message in entry.get("messages") or [])
        left = [one for one in everything if one not in self.carried]
        self.add("messages", who, [] if unmatched else left, max(0, len(left) - unmatched))
        self.add("message_links", who, [one for one in linked if one in self.carried])

    def _groups(self, who, base, state):
        managed = state.get("managed_group") or state.get("multi_agent_group")
        listed = self._listed("groups", base + "/groups?order=asc")
        self.add("groups", who, [one["id"] for one in listed if one["id"] not in self.carried])
        if managed and (managed.get("turns_counter") or -1) >= 0:
            self.add("group_progress", who, [managed["id"]])

    def _blocks(self, who, base):
        shared, tagged, settings = [], [], []
        # The agent's own state tells its blocks without their tags.
        for block in self.rest.json("GET", base + "/core-memory/blocks?limit=1000"):
            # Partners of one file keep sharing: it holds the block once.
            if block["id"] in self._told:
                continue
            self._told.add(block["id"])
            users = self.rest.pages("/v1/blocks/%s/agents?include_relationships=none&order=asc" % block["id"])
            if {user["id"] for user in users} - self.family:
                shared.append(block["id"])
            if block.get("tags"):
                tagged.append(block["id"])
            if agent_file.lost_block_settings(block):
                settings.append(block["id"])
        self.add("shared_blocks", who, shared)
        self.add("block_tags", who, tagged)
        self.add("block_settings", who, settings)

    def _folders(self, who, state):
        attached = state["attached"]
        folders = {folder["id"]: folder["name"] for folder in state.get("sources") or []}
        held = {link["file_id"] for link in attached}
        with_files = {link["folder_id"] for link in attached}
        self.add("folders", who, [one for one in folders if one in self.carried])
        self.add("empty_folders", who, [one for one in folders if one not in with_files])
        outside = []
        chunks = 0
        for folder in folders:
            for file in self._listed("folder_files", "/v1/folders/%s/files?order=asc" % folder):
                if file["id"] in held:
                    chunks += file.get("total_chunks") or 0
                else:
                    outside.append(file["id"])
        self.add("folder_files", who, outside)
        self.add("file_passages", who, [], chunks)
        views = [link for link in attached if not link["is_open"] or link.get("start_line") or link.get("end_line")]
        self.add("file_views", who, [link["file_id"] for link in views])

    def _listed(self, what, path, limit=500):
        try:
            return [{key: one.get(key) for key in ("id", "isolated_block_ids", "total_chunks")} for one in self.rest.pages(path, limit)]
        except RecoveryError as error:
            if error.details["status"] not in _UNKNOWN_PATH:
                raise
            self.not_counted.append({"what": what, "reason": "this release of Letta has no list of them"})
            return []
