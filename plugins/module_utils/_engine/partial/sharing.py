# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Things that others use too: what a policy makes of those that differ, and who else uses them."""
from __future__ import annotations

from ..letta import closure
from ..postgres.catalog import quote_ident
from .difference import THING_OF

KEEP, OVERWRITE, COPY = "keep", "overwrite", "copy"
POLICIES = (KEEP, OVERWRITE, COPY)
KEPT, WRITTEN, COPIED = "kept", "overwritten", "copied"
NAME_COLUMNS = {
    "block": "label", "archives": "name", "sources": "name", "files": "file_name", "tools": "name", "identities": "name",
    "groups": "description",
}  # fmt: skip
_ROOTS = {"block": closure.BLOCKS, "archives": closure.ARCHIVES, "sources": closure.SOURCES, "files": closure.FILES}
# Users of a thing that are the agent's own: (table of users) -> column that leads to the agent.
_OWNERS = {"agents": "id", "conversations": "agent_id", "groups": "manager_agent_id"}


def decide(bench, policy):
    """Apply the policy to every thing that differs and that somebody else uses; ``changes`` loses what is kept.

    :param policy: one of :data:`POLICIES`.
    :returns: (decisions, to copy): [{"table", "id", "name", "decision", "used_by": [names], "why"}], [(table, id)].
        What was asked for by itself is written whatever the policy; a kind that cannot be copied is kept.
    """
    decisions, copies = [], []
    differing = bench.rows("select distinct thing_table, thing from pg_temp.changes where thing is not null order by 1, 2")
    for table, identity in differing:
        users = users_of(bench, table, identity)
        if not users or not _is_live(bench, table, identity) or identity in bench.roots.get(_ROOTS.get(table), ()):
            continue
        decision, why = _decision(table, policy)
        decisions.append(
            {"table": table, "id": identity, "name": _name(bench, table, identity), "decision": decision, "used_by": users, "why": why}
        )
        if decision == COPIED:
            copies.append((table, identity))
        elif decision == KEPT:
            drop(bench, table, identity)
    return decisions, copies


def _decision(table, policy):
    if policy == OVERWRITE and table != "groups":
        return WRITTEN, "letta_shared_policy is overwrite"
    if policy == COPY and table in closure.COPIED:
        return COPIED, "letta_shared_policy is copy"
    if policy == COPY:
        return KEPT, "has a name that must be unique: it cannot be copied"
    return KEPT, "belongs to its other members too" if table == "groups" else "letta_shared_policy is keep"


def users_of(bench, table, identity):
    """Return who else uses a thing in the live database: names, or ids where there is none; sorted."""
    found = set()
    for link, thing, user, users in closure.USERS_OF.get(table, ()):
        if link not in bench.tables:
            continue
        owner = _OWNERS.get(users)
        foreign = "and coalesce(u.%s, '') <> all(%%(agents)s)" % owner if owner else ""
        name = "u.name" if "name" in bench.tables[users].columns else "u.id"
        rows = bench.rows(
            "select distinct coalesce(%s, u.id) from %s k join %s u on u.id = k.%s where k.%s = %%(id)s %s"
            % (name, bench.live(link), bench.live(users), user, thing, foreign),
            {"id": identity, "agents": bench.roots.get(closure.AGENTS, [])},
        )
        found |= {row[0] for row in rows}
    return sorted(found)


def drop(bench, table, identity):
    """Leave a thing as live has it: its rows, and its parts, are no longer to come."""
    bench.run("delete from pg_temp.changes where thing_table = %s and thing = %s", (table, identity))
    bench.run("delete from %s where id = %%s and __role = 'shared'" % bench.saved(table), (identity,))
    if table == "sources" and "file_contents" in bench.present:
        bench.run(
            "delete from %s where file_id in (select id from %s where source_id = %%s)"
            % (bench.saved("file_contents"), bench.saved("files")),
            (identity,),
        )
    for part, (kind, column) in THING_OF.items():
        if kind == table and column and part in bench.present:
            bench.run("delete from %s where %s = %%s and __role = 'part'" % (bench.saved(part), quote_ident(column)), (identity,))


def _is_live(bench, table, identity):
    return bool(bench.rows("select 1 from %s where id = %%s" % bench.live(table), (identity,)))


def _name(bench, table, identity):
    column = NAME_COLUMNS.get(table)
    rows = bench.rows("select %s from %s where id = %%s" % (quote_ident(column), bench.live(table)), (identity,)) if column else []
    return rows[0][0] if rows else identity
