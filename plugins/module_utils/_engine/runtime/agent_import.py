# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Importing an agent file through Letta's own API, which is not transactional: what would fail half-way is refused before,
and what a failed import left behind is found."""
from __future__ import annotations

import json
import os
from dataclasses import dataclass, field

from ..errors import RecoveryError
from ..letta import agent_file
from .agent_export import SIZE_LIMIT, agents_named, read_file, read_lost
from .agent_losses import attachments, brief

UNTOUCHED = "nothing was sent to the server"


@dataclass(frozen=True)
class ImportOptions:
    """How to import.

    :param src: path of the file. :param name: name of the (first) agent; empty keeps the file's.
    :param model, embedding: handles that replace those in the file. :param secrets: {name: value}.
    :param unless_exists: do nothing when an agent of that name exists.
    :param cleanup: remove what a failed import leaves behind.
    """

    src: str
    name: str = ""
    append_copy_suffix: bool = False
    model: str = ""
    embedding: str = ""
    secrets: dict = field(default_factory=dict, repr=False)
    override_existing_tools: bool = False
    unless_exists: bool = True
    cleanup: bool = False
    limit: int = SIZE_LIMIT


def import_agent(rest, options, check=False):
    """Import a file unless its agent exists.

    :returns: dict for the module. :raises RecoveryError: ``preflight`` when the file cannot be imported (nothing was sent),
        ``load_failed`` when the server refused it; ``details.left_behind`` says what it left.
    """
    data, digest, size = read_file(options.src, options.limit)
    _refuse_broken(rest, data, options)
    wanted = _name(data, options)
    existing = agents_named(rest, wanted)
    lost = read_lost(options.src, digest)
    result = {
        "changed": True, "src": options.src, "sha256": digest, "size": size, "name": wanted, "counts": agent_file.counts(data),
        "revision_id": (data.get("metadata") or {}).get("revision_id"),
        "existing": [agent["id"] for agent in existing], "agent_ids": [], "id_map": {}, "origins": {},
        "lost": [brief(loss) for loss in lost["lost"]] if lost else [], "not_counted": lost["not_counted"] if lost else [],
        "warnings": _warnings(rest, data, options, lost),
    }
    if existing and options.unless_exists:
        return dict(result, changed=False, warnings=[])
    if check:
        return result
    with open(options.src, "rb") as stream:
        result["agent_ids"] = _send(rest, data, options, stream)
    if options.name and len(data["agents"]) > 1:
        # Letta would give the name to every agent of the file.
        rest.json("PATCH", "/v1/agents/%s" % result["agent_ids"][0], {"name": options.name})
    result["id_map"] = _new_ids(rest, data, result["agent_ids"])
    if lost:
        result["origins"] = {old: result["id_map"][inside] for inside, old in lost["ids"].items() if inside in result["id_map"]}
    return result


def _name(data, options):
    name = options.name or data["agents"][0].get("name") or ""
    return name + "_copy" if options.append_copy_suffix and not options.name else name


def _refuse_broken(rest, data, options):
    problems = agent_file.problems(data)
    if problems:
        raise RecoveryError(
            "preflight",
            "%s cannot be imported, Letta would fail half-way and leave blocks and tools behind: %s" % (options.src, "; ".join(problems)),
            now=UNTOUCHED,
            next_step="where it was exported: upload a file to the folder or detach it from the agent, then export again",
            details={"problems": problems},
        )
    missing = [block for block in agent_file.shared_blocks(data) if not rest.found("/v1/blocks/%s" % block)]
    if missing:
        raise RecoveryError(
            "preflight",
            "%s cannot be imported: its group shares blocks that %s does not have (%s), and Letta does not map them"
            % (options.src, rest.url, ", ".join(missing)),
            now=UNTOUCHED,
            next_step="where it was exported: take the shared blocks out of the group, then export again",
            details={"problems": ["group shares %s" % block for block in missing]},
        )


def _warnings(rest, data, options, lost):
    found = [] if lost else ["no %s.lost.json that belongs to this file: what it lacks is not known" % options.src]
    known = {tool["name"]: tool.get("source_code") for tool in rest.pages("/v1/tools/?order=asc")}
    own = {tool.get("name"): tool["source_code"] for tool in data["tools"] if tool.get("source_code")}
    other = sorted(name for name, code in own.items() if known.get(name, code) != code)
    if other and options.override_existing_tools:
        found.append("tools of the server are overwritten for every agent: %s" % ", ".join(other))
    elif other:
        found.append("tools of the server differ from the file's and are kept: %s" % ", ".join(other))
    names = {name for agent in data["agents"] for name in agent_file.secret_names(agent)}
    found += ["secret %s gets no value" % name for name in sorted(names - set(options.secrets))]
    found += ["secret %s is not in the file and is ignored" % name for name in sorted(set(options.secrets) - names)]
    if data["mcp_servers"]:
        servers = ", ".join(sorted(str(server.get("server_name")) for server in data["mcp_servers"]))
        found.append("MCP servers come without tokens, and replace the address of servers of the same name: %s" % servers)
    shared = agent_file.shared_blocks(data)
    if shared:
        found.append("the new group shares blocks that exist, instead of copies: %s" % ", ".join(shared))
    return found


def _send(rest, data, options, stream):
    fields = {
        "append_copy_suffix": "true" if options.append_copy_suffix else "false",
        "override_existing_tools": "true" if options.override_existing_tools else "false",
    }
    single = len(data["agents"]) == 1
    fields.update({key: value for key, value in (("name", options.name if single else ""), ("model", options.model),
                                                 ("embedding", options.embedding)) if value})
    if options.secrets:
        fields["secrets"] = json.dumps(options.secrets)
    before = _inventory(rest)
    try:
        return rest.upload("/v1/agents/import", stream, fields, os.path.basename(options.src))["agent_ids"]
    except RecoveryError as error:
        raise _failed(rest, data, options, before, error) from None


def _failed(rest, data, options, before, error):
    """Return the failure of an import with what it left behind, removed when that was asked for."""
    try:
        left = _left_behind(rest, data, before, _name(data, options))
        # Without an answer the server may still be at it.
        answered = error.details["status"] is not None
        if options.cleanup and answered:
            for one in left:
                if one["removable"]:
                    rest.json("DELETE", "/v1/%s/%s" % (one["kind"], one["id"]))
                    one["removed"] = True
    except RecoveryError as second:
        now = "not known: what the import left behind could not be read or removed (%s)" % second.message
        return RecoveryError("load_failed", error.message, now, "look for new blocks and folders that no agent uses", error.details)
    stay = [one for one in left if not one["removed"]]
    told = ", ".join("%s %s (%s)" % (one["kind"][:-1], one["id"], one["name"]) for one in stay)
    gone = len(left) - len(stay)
    return RecoveryError(
        "load_failed",
        error.message,
        now="%s; %s%s" % (
            "no agent was imported as a whole" if answered else "the server gave no answer and may still be importing",
            "left behind: %s" % told if stay else "nothing is left behind",
            "; %d blocks and folders removed" % gone if gone else "",
        ),
        next_step="mend the cause and import again"
        + ("; cleanup: true removes blocks and folders that no agent uses" if any(one["removable"] for one in stay) else ""),
        details=dict(error.details, left_behind=left),
    )


def _inventory(rest):
    """Return {kind: {id}} of what an import makes before its agents, and of the agents."""
    paths = {
        "blocks": "/v1/blocks/?order=asc&show_hidden_blocks=true", "folders": "/v1/folders/?order=asc", "tools": "/v1/tools/?order=asc",
        "agents": "/v1/agents/?order=asc&show_hidden_agents=true&include_relationships=none",
    }
    keys = ("name", "label", "value")
    return {kind: {one["id"]: {key: one.get(key) for key in keys} for one in rest.pages(path)} for kind, path in paths.items()}


def _left_behind(rest, data, before, name):
    """Return what is new since ``before`` and looks like a thing of the file: {kind, id, name, removable, removed}.

    Others work on the server too, so what is new is taken for ours only when it has the same content or name; and only blocks and
    folders that no agent uses may be removed, since the API does not say who uses a tool.
    """
    after = _inventory(rest)
    ours = {
        "blocks": lambda one: (one["label"], one["value"]) in {(block.get("label"), block.get("value")) for block in data["blocks"]},
        "folders": lambda one: any(agent_file.is_copy_of(one["name"], source.get("name")) for source in data["sources"]),
        "tools": lambda one: one["name"] in {tool.get("name") for tool in data["tools"]},
        "agents": lambda one: one["name"] in {name, *(agent.get("name") for agent in data["agents"])},
    }
    found = []
    for kind, mine in ours.items():
        for new, one in after[kind].items():
            if new in before[kind] or not mine(one):
                continue
            users = "/v1/%s/%s/agents?limit=1&include_relationships=none" % (kind, new)
            removable = kind in ("blocks", "folders") and not rest.json("GET", users)
            found.append({"kind": kind, "id": new, "name": one["name"] or one["label"], "removable": removable, "removed": False})
    return found


def _new_ids(rest, data, agent_ids):
    states = []
    for agent_id in agent_ids:
        state = rest.json("GET", "/v1/agents/%s" % agent_id)
        states.append(dict(state, attached=attachments(rest, agent_id)))
    return agent_file.id_map(data, states)
