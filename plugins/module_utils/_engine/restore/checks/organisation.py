# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One organisation per agent: what an agent uses belongs to the organisation that it belongs to."""
from __future__ import annotations

from ...findings import FAIL, WARN
from .base import Check, Probe

# (table, its rows in words, the rows (alias r) beside their owner's organisation o). Rows without an organisation are old, not foreign.
_RELATIONS = (
    ("messages", "agents", "{s}.messages r join {s}.agents o on o.id = r.agent_id", {"messages": ("id", "agent_id")}),
    ("block", "agents", "{s}.block r join {s}.blocks_agents l on l.block_id = r.id join {s}.agents o on o.id = l.agent_id",
     {"block": ("id",), "blocks_agents": ("agent_id", "block_id")}),
    ("tools", "agents", "{s}.tools r join {s}.tools_agents l on l.tool_id = r.id join {s}.agents o on o.id = l.agent_id",
     {"tools": ("id",), "tools_agents": ("agent_id", "tool_id")}),
    ("sources", "agents", "{s}.sources r join {s}.sources_agents l on l.source_id = r.id join {s}.agents o on o.id = l.agent_id",
     {"sources": ("id",), "sources_agents": ("agent_id", "source_id")}),
    ("archives", "agents", "{s}.archives r join {s}.archives_agents l on l.archive_id = r.id join {s}.agents o on o.id = l.agent_id",
     {"archives": ("id",), "archives_agents": ("agent_id", "archive_id")}),
    ("archival_passages", "archives", "{s}.archival_passages r join {s}.archives o on o.id = r.archive_id",
     {"archival_passages": ("id", "archive_id"), "archives": ("id",)}),
    ("source_passages", "sources", "{s}.source_passages r join {s}.sources o on o.id = r.source_id",
     {"source_passages": ("id", "source_id"), "sources": ("id",)}),
    ("files", "sources", "{s}.files r join {s}.sources o on o.id = r.source_id", {"files": ("id", "source_id"), "sources": ("id",)}),
    ("provider_models", "providers", "{s}.provider_models r join {s}.providers o on o.id = r.provider_id",
     {"provider_models": ("id", "provider_id"), "providers": ("id",)}),
)  # fmt: skip


def _probe(table, owner, rows, needs):
    check, both = "organisation.%s" % table, dict(needs)
    for name in (table, owner):
        both[name] = tuple(needs.get(name, ())) + ("organization_id",)
    models = table == "provider_models"
    differs = "r.organization_id is distinct from o.organization_id" if models else "r.organization_id <> o.organization_id"
    return Probe(
        checks=(
            Check(
                check,
                "the organisation of all %s is that of their %s" % (table, owner),
                "{count} rows of %s belong to another organisation than their %s: Letta does not find them" % (table, owner),
                "set organization_id to that of the %s they belong to" % owner,
                step="relations",
                severity=WARN if models else FAIL,
            ),
        ),
        needs=both,
        sql="select distinct '%s', r.id from %s where %s" % (check, rows, differs),
    )


PROBES = tuple(_probe(*relation) for relation in _RELATIONS)
