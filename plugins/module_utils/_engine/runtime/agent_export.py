# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exporting an agent through Letta's own API into an agent file, with a second file that says what the first one lacks."""
from __future__ import annotations

import hashlib
import os
import tempfile
from datetime import datetime, timezone
from urllib.parse import quote

from ..durable import fsync_dir, read_json, write_json
from ..errors import RecoveryError
from ..letta import agent_file
from .agent_losses import brief, measure

LOST_SUFFIX = ".lost.json"
LOST_FORMAT = 1
SIZE_LIMIT = 1 << 30


def find_agent(rest, wanted):
    """Return one agent as the API tells it (its decrypted secrets included: keep it in memory).

    :param wanted: its id, or its exact name.
    :raises RecoveryError: ``usage`` when there is none, or when several have this name.
    """
    if agent_file.AGENT_ID.fullmatch(wanted):
        state = rest.found("/v1/agents/%s" % wanted)
        if state:
            return state
        raise RecoveryError("usage", "%s has no agent %s" % (rest.url, wanted), now="nothing was changed", next_step="agent: <id or name>")
    ids = [agent["id"] for agent in agents_named(rest, wanted)]
    if len(ids) == 1:
        return rest.json("GET", "/v1/agents/%s" % ids[0])
    raise RecoveryError(
        "usage",
        "%s has %d agents named %r: %s" % (rest.url, len(ids), wanted, ", ".join(ids)) if ids
        else "%s has no agent named %r" % (rest.url, wanted),
        now="nothing was changed",
        next_step="agent: %s" % ids[0] if ids else "agent: <id or exact name>",
        details={"candidates": ids},
    )


def agents_named(rest, name):
    """Return [{id, name, created_at}] of the agents with exactly this name, hidden ones too, oldest first."""
    path = "/v1/agents/?name=%s&show_hidden_agents=true&include_relationships=none&order=asc" % quote(name, safe="")
    found = [{key: agent.get(key) for key in ("id", "name", "created_at")} for agent in rest.pages(path, 100)]
    return [agent for agent in found if agent["name"] == name]


def read_file(path, limit=SIZE_LIMIT):
    """Read and check an agent file.

    :returns: (parsed file, SHA-256 as hex, bytes).
    :raises RecoveryError: ``usage`` when it cannot be read, is longer than ``limit`` bytes, or is no agent file.
    """
    try:
        with open(path, "rb") as stream:
            text = stream.read(limit + 1)
        if len(text) > limit:
            raise ValueError("it is longer than %d bytes (max_size_mb)" % limit)
        return agent_file.parse(text), hashlib.sha256(text).hexdigest(), len(text)
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else exc
        raise RecoveryError("usage", "%s is no agent file that can be read: %s" % (path, why), now="nothing was changed",
                            next_step="take a file that state=exported wrote") from None


def export_agent(rest, wanted, dest, scrub_messages=False, limit=SIZE_LIMIT, check=False, now=None):
    """Write an agent's file to ``dest`` (0600, in place by a rename) and what it lacks to ``dest + ".lost.json"``.

    Both stay as they are when nothing but the time of the export differs.

    :param check: write nothing. :param now: aware datetime, for tests.
    :returns: dict for the module. :raises RecoveryError: see :func:`find_agent` and :class:`.rest.Rest`.
    """
    folder = os.path.dirname(os.path.abspath(dest))
    if os.path.isdir(dest) or not os.path.isdir(folder):
        raise RecoveryError("usage", "%s is a folder, or lies in one that does not exist" % dest, now="nothing was changed",
                            next_step="dest: /path/to/name.af")
    state = find_agent(rest, wanted)
    path = "/v1/agents/%s/export?scrub_messages=%s" % (state["id"], "true" if scrub_messages else "false")
    # In check mode the answer goes to a file without a name. Both kinds are private from their first instant.
    with tempfile.TemporaryFile() if check else tempfile.NamedTemporaryFile(dir=folder, prefix=".agent-file-", delete=False) as stream:
        try:
            size, digest = rest.download(path, stream, limit)
            stream.flush()
            os.fsync(stream.fileno())
            stream.seek(0)
            data = _parsed(stream.read(), rest.url + path)
            before = _content_of(dest, limit)
            changed = before is None or agent_file.canonical(before[0]) != agent_file.canonical(data)
            if not changed:
                data, digest, size = before
            report = _report(rest, data, state, digest, now or datetime.now(timezone.utc))
            lost_differs = _differs(dest + LOST_SUFFIX, report)
            if changed and not check:
                os.replace(stream.name, dest)
                fsync_dir(folder)
        finally:
            if not check and os.path.exists(stream.name):
                os.unlink(stream.name)
    if lost_differs and not check:
        write_json(dest + LOST_SUFFIX, report)
    return {
        "changed": changed or lost_differs,
        "dest": dest, "lost_file": dest + LOST_SUFFIX, "sha256": digest, "size": size,
        "agent": {"id": state["id"], "name": state["name"]},
        "counts": report["counts"], "revision_id": report["revision_id"],
        "lost": [brief(loss) for loss in report["lost"]], "not_counted": report["not_counted"], "problems": report["problems"],
    }


def read_lost(path, digest):
    """Return the second file's content when it belongs to the agent file with this SHA-256, else None."""
    try:
        report = read_json(path + LOST_SUFFIX)
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) and report.get("format") == LOST_FORMAT and report.get("sha256") == digest else None


def _report(rest, data, state, digest, now):
    lost, not_counted, ids = measure(rest, data, state)
    return {
        "format": LOST_FORMAT,
        "sha256": digest,
        "exported_at": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "letta_version": rest.health().version,
        "revision_id": (data.get("metadata") or {}).get("revision_id"),
        "agent": {"id": state["id"], "name": state["name"]},
        "counts": agent_file.counts(data),
        "ids": ids,
        "lost": lost,
        "not_counted": not_counted,
        "problems": agent_file.problems(data),
    }


def _parsed(text, where):
    try:
        return agent_file.parse(text)
    except ValueError as exc:
        raise RecoveryError("preflight", "%s answers no agent file: %s" % (where, exc), now="nothing was changed",
                            next_step="agent files of this kind need Letta 0.9.0 or newer", details={"status": None}) from None


def _content_of(dest, limit):
    try:
        return read_file(dest, limit)
    except RecoveryError:
        return None


def _differs(path, report):
    try:
        known = read_json(path)
    except (OSError, ValueError):
        return True
    return not isinstance(known, dict) or {**known, "exported_at": ""} != {**report, "exported_at": ""}
