# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run wrote, for those who clean up after it: caches that speak of it, agents whose compiled prompt is older than their blocks."""
from __future__ import annotations

from ..letta import closure
from .ending import APPLY

# Kinds of things whose text is part of the system message of whoever uses them.
COMPILED = ("block",)


def of(journal):
    """Return ids, from the journal of a run that was applied.

    :returns: {"agents", "conversations", "runs": [ids]: whose keys in Redis speak of another state; "recompile": [agent ids]: attached
        blocks are not those that their system message was compiled from; "gone": agents that live has no more}.
    """
    return dict((journal.entry(APPLY) or {}).get("touched") or {"agents": [], "conversations": [], "runs": [], "recompile": [], "gone": []})


def gather(bench, plan):
    """Return the same, from the open transaction."""
    agents = closure.agents_of(bench.roots)
    found = {"agents": agents, "recompile": _stale(bench, plan, agents)}
    for table in ("conversations", "runs"):
        keys = bench.rows("select key from pg_temp.changes where tbl = %s order by 1", (table,)) if table in bench.present else []
        found[table] = [row[0] for row in keys]
    live = {row[0] for row in bench.rows("select id from %s where id = any(%%s)" % bench.live("agents"), (agents,))}
    return dict(found, gone=[item for item in agents if item not in live])


def _stale(bench, plan, agents):
    """Return agents whose system message does not fit their blocks: others that use an overwritten block, our own with a kept
    one, those that are linked to one
    again or shown a file anew."""
    if "blocks_agents" not in bench.tables:
        return []
    changed = {row[0] for row in bench.rows("select key from pg_temp.changes where tbl = 'block'")}
    kept = {item["id"] for item in plan["shared"] if item["table"] in COMPILED and item["decision"] == "kept"}
    others = bench.rows(
        "select distinct agent_id from %s where block_id = any(%%s) and agent_id <> all(%%s)" % bench.live("blocks_agents"),
        (list(changed), agents),
    )
    ours = bench.rows(
        "select distinct agent_id from %s where block_id = any(%%s) and agent_id = any(%%s)" % bench.live("blocks_agents"),
        (list(kept), agents),
    )
    linked = bench.rows(
        "select distinct owner from pg_temp.changes where tbl in ('blocks_agents', 'files_agents') and owner = any(%s)",
        (bench.roots.get(closure.LINKED, []) + bench.roots.get(closure.MENDED_AGENTS, []),),
    )
    return sorted({row[0] for row in others + ours + linked})
