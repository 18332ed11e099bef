# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Git-backed memory in a folder held against the block rows of a database: flagged, never changed."""
from __future__ import annotations

from contextlib import closing

from ..backup import memory, versions
from ..findings import FAIL, PASS, WARN, Finding
from ..letta.memory import BEHIND, CORRUPT, DIFFERS, EQUAL, MISSING, UNCHECKED
from ..postgres.connection import connect

_TEXTS = {
    EQUAL: (PASS, "the rows of %d agents with git-backed memory are what their repositories say"),
    BEHIND: (WARN, "the rows of %d agents are an older commit of their repository; Letta takes over what the repository says"),
    DIFFERS: (WARN, "the rows of %d agents and their repositories differ, and no recent commit is what the rows say"),
    MISSING: (WARN, "%d agents have the tag for git-backed memory and no repository; Letta makes one of their rows"),
    CORRUPT: (FAIL, "the repositories of %d agents are damaged; the rest of these agents is restored"),
    UNCHECKED: (WARN, "the repositories of %d agents were not checked: there is no git on this host"),
}


def compare(server, folder):
    """Check every repository below a folder, and compare its newest commit with the rows of a database.

    :param server: :class:`Server` whose default database is asked. :param folder: where repositories are looked for.
    :returns: ``{"agents": {agent id: {"verdict", "head", "rows_at", "detail"}}, "unused": [ids of agents whose repository no agent with
        git-backed memory belongs to], "findings": [Finding]}``; nothing is changed. All empty for a folder that is not for memory.
    """
    if not memory.holds_memory(folder):
        return {"agents": {}, "unused": [], "findings": []}
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        known = memory.rows(cursor, versions.letta_schema(cursor, server.dbname))
    found = memory.repositories(folder)
    with memory.Git.found() as git:
        agents = {agent: memory.judge(git, found.get(agent), known[agent], whole=True) for agent in sorted(known)}
    return {"agents": agents, "unused": sorted(set(found) - set(known)), "findings": findings(agents)}


def findings(agents):
    """Return one finding per verdict that there is. :param agents: as in :func:`compare`."""
    told = []
    for verdict, (status, text) in _TEXTS.items():
        some = {agent: one["detail"] for agent, one in agents.items() if one["verdict"] == verdict}
        names = ["%s: %s" % (agent, detail) if detail else agent for agent, detail in some.items()]
        if names:
            told.append(Finding("memory.%s" % verdict, status, text % len(names), 0 if status == PASS else len(names), names))
    return told
