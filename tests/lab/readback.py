"""Reads everything back through Letta's REST API in a form that two servers can be compared by."""
from __future__ import annotations

import hashlib
import json

# What differs between two reads of the very same data, measured with Letta 0.16.8.
_LISTS_WITHOUT_ORDER = ("identity_ids", "tags", "identities", "sources", "blocks", "file_blocks", "secrets", "agent_ids", "block_ids",
                        "tool_exec_environment_variables", "isolated_block_ids")

_CONVERSATION = "/v1/conversations/%s/messages?order=asc"


def read_back(letta):
    """Return {"agents": {id: …}, "folders": {id: …}, …}, stable under a restart of the server.

    Vectors become SHA-256 digests. Tools of an agent become their names: a starting server rewrites the base tools' rows.
    """
    agents = letta.everything("/v1/agents/")
    return {
        "agents": {agent["id"]: _agent(letta, agent["id"]) for agent in agents},
        "blocks": _by_id(letta.everything("/v1/blocks/")),
        "folders": {folder["id"]: _folder(letta, folder) for folder in letta.everything("/v1/folders/")},
        "archives": _by_id(letta.everything("/v1/archives/")),
        "identities": _by_id(letta.everything("/v1/identities/")),
        "groups": _by_id(letta.everything("/v1/groups/")),
        "tools": _by_id(tool for tool in letta.everything("/v1/tools/") if tool["tool_type"] == "custom"),
        "runs": {run["id"]: _run(letta, run) for run in letta.everything("/v1/runs/")},
    }


def agent_state(letta, agent_id):
    """Return everything the API tells of one agent, comparable by :func:`differences`.

    Beyond what :func:`read_back` keeps of an agent: its runs with steps, metrics and messages, custom tools, identities, groups (as
    manager and as member), archives, the contents of its folders (vectors as digests), blocks isolated for one conversation.
    Secrets are in ``state`` in plain text, as the API hands them out.
    """
    path = "/v1/agents/%s" % agent_id
    found = _agent(letta, agent_id)
    managed = (found["state"].get("managed_group") or {}).get("id")
    isolated = {block for item in found["conversations"].values() for block in item["facts"].get("isolated_block_ids") or ()}
    tools = letta.api("GET", path + "/tools?limit=1000")
    archives = letta.everything("/v1/archives/?agent_id=%s" % agent_id)
    return {
        **found,
        "tools": _by_id(tool for tool in tools if tool["tool_type"] == "custom"),
        "runs": {run["id"]: _whole_run(letta, run) for run in letta.everything("/v1/runs/?agent_id=%s" % agent_id)},
        "identities": _by_id(letta.api("GET", "/v1/identities/%s" % key) for key in found["state"]["identity_ids"]),
        "groups": _by_id(letta.api("GET", path + "/groups?limit=1000")),
        "managed": stable(letta.api("GET", "/v1/groups/%s" % managed)) if managed else None,
        "archives": _by_id(archives),
        "contents": {key: _folder(letta, letta.api("GET", "/v1/folders/%s" % key)) for key in found["folders"]},
        "isolated": _by_id(letta.api("GET", "/v1/blocks/%s" % key) for key in sorted(isolated)),
    }


def differences(before, after, path=""):
    """Return sentences naming every place where two read-backs (or parts of them) differ; empty when they are equal."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = []
        for key in sorted(set(before) | set(after)):
            if key not in before or key not in after:
                found.append("%s/%s is %s" % (path, key, "missing" if key in before else "new"))
            else:
                found += differences(before[key], after[key], "%s/%s" % (path, key))
        return found
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [line for index, pair in enumerate(zip(before, after)) for line in differences(*pair, "%s/%d" % (path, index))]
    return [] if before == after else ["%s: %.200r became %.200r" % (path, before, after)]


def _agent(letta, agent_id):
    path = "/v1/agents/%s" % agent_id
    conversations = letta.everything("/v1/conversations/?agent_id=%s" % agent_id)
    return {
        "state": stable(letta.api("GET", path)),
        "messages": stable(_messages(letta, path + "/messages?order=asc")),
        "passages": _by_id(letta.everything(path + "/archival-memory?ascending=true")),
        "files": stable(sorted(letta.api("GET", path + "/files?limit=1000")["files"], key=lambda file: file["id"])),
        "folders": sorted(folder["id"] for folder in letta.api("GET", path + "/folders")),
        "conversations": {
            item["id"]: {"facts": stable(item), "messages": stable(_messages(letta, _CONVERSATION % item["id"]))} for item in conversations
        },
    }


def _messages(letta, path):
    # One stored message may be several in the answer, so pages are counted in the answer, not in ids.
    return letta.api("GET", path + "&limit=1000")


def _folder(letta, folder):
    path = "/v1/folders/%s" % folder["id"]
    # The folder's listing does not write; that of the older /v1/sources/ would turn unfinished files into errors.
    files = letta.everything(path + "/files")
    passages = letta.everything(path + "/passages")
    return {"facts": stable(folder), "files": _by_id(files), "passages": _by_id(passages)}


def _run(letta, run):
    steps = letta.api("GET", "/v1/runs/%s/steps?limit=1000" % run["id"])
    return {"facts": stable(run), "steps": _by_id(steps)}


def _whole_run(letta, run):
    path = "/v1/runs/%s" % run["id"]
    more = {"messages": _messages(letta, path + "/messages?order=asc"), "metrics": letta.api("GET", path + "/metrics")}
    return {**_run(letta, run), **stable(more)}


def _by_id(items):
    return {item["id"]: stable(item) for item in items}


def stable(value, key=""):
    """Return a copy without what changes from one read to the next."""
    if isinstance(value, dict):
        copy = {name: stable(item, name) for name, item in value.items()}
        if key == "memory":
            for block in (copy.get("file_blocks") or {}).values():
                block.pop("id", None)
        return copy
    if key == "tools":
        return sorted(tool["name"] for tool in value)
    if key == "embedding" and isinstance(value, list):
        return "sha256:%s of %d" % (hashlib.sha256(json.dumps(value).encode()).hexdigest(), len(value))
    if isinstance(value, list):
        items = [stable(item) for item in value]
        if key not in _LISTS_WITHOUT_ORDER:
            return items
        if items and isinstance(items[0], dict):
            # "file_blocks" are told apart by their labels: their ids are invented at each read.
            return {item["label" if key == "file_blocks" else "id"]: item for item in items}
        return sorted(items)
    return value
