# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows to come are made to fit what live has: labels of kept blocks, members of groups, references to what is gone, order of messages.

Works on the temporary tables of a :class:`~.workbench.Workbench` only; whatever is altered is told in a note.
"""
from __future__ import annotations

from ..letta import closure
from ..postgres.catalog import quote_ident


def note(kind, text, count=1, ids=()):
    """Return a note for the plan: what is not exactly as it was saved, and why."""
    return {"id": "partial." + kind, "detail": text, "count": count, "examples": sorted(ids)[:10]}


def fit(bench):
    """Make the rows to come fit; returns notes."""
    notes = _labels_of_blocks(bench) + _members_of_groups(bench)
    while True:
        found = _missing_references(bench)
        if not found:
            return notes
        notes += found


def _labels_of_blocks(bench):
    """A block that stays as live has it is attached under the label it has there."""
    if "blocks_agents" not in bench.present:
        return []
    kept = " and not exists (select from %s b where b.id = s.block_id)" % bench.saved("block") if "block" in bench.present else ""
    changed = bench.rows(
        "update %s s set block_label = l.label from %s l where l.id = s.block_id and l.label <> s.block_label%s returning s.block_id"
        % (bench.saved("blocks_agents"), bench.live("block"), kept)
    )
    text = "attached blocks have another label now than when the backup was taken: attached under the one they have"
    return [note("block_labels", text, len(changed), [row[0] for row in changed])] if changed else []


def _members_of_groups(bench):
    if not {"groups", "groups_agents", "agents"} <= set(bench.present) or bench.roots.get(closure.LINKED):
        return []
    there = "(exists (select from %s l where l.id = e.value) or exists (select from %s s where s.id = e.value))"
    there = there % (bench.live("agents"), bench.saved("agents"))
    members = "json_array_elements_text(g.agent_ids) with ordinality as e(value, place)"
    gone = bench.rows("select e.value from %s g, %s where not %s" % (bench.saved("groups"), members, there))
    bench.run(
        "update {g} g set agent_ids = (select coalesce(json_agg(e.value order by e.place), '[]') from {members} where {there})"
        " where exists (select from {members} where not {there})".format(g=bench.saved("groups"), members=members, there=there)
    )
    _join_groups(bench)
    text = "members of its groups do not live any more: left out of the groups"
    return [note("group_members", text, len(gone), [row[0] for row in gone])] if gone else []


def _join_groups(bench):
    """A group of others stays as it is, but for the agent that comes back into it."""
    columns = ", ".join("l." + quote_ident(name) if name != "agent_ids" else "null" for name in bench.tables["groups"].columns)
    names = ", ".join(map(quote_ident, bench.tables["groups"].columns))
    bench.run(
        "insert into {s} (__role, {names}) select 'shared', {columns} from {l} l where not exists (select from {s} o where o.id = l.id)"
        " and exists (select from {m} m where m.group_id = l.id and m.__role = 'own' and"
        " not exists (select from json_array_elements_text(l.agent_ids) e(value) where e.value = m.agent_id))".format(
            s=bench.saved("groups"), l=bench.live("groups"), m=bench.saved("groups_agents"), columns=columns, names=names
        )
    )
    bench.run(
        "update {s} s set agent_ids = (select json_agg(v.value order by v.place) from (select e.value, e.place from {l} l,"
        " json_array_elements_text(l.agent_ids) with ordinality e(value, place) where l.id = s.id union all"
        " select m.agent_id, 1000000 + row_number() over (order by m.agent_id) from {m} m, {l} l where m.group_id = s.id and l.id = s.id"
        " and not exists (select from json_array_elements_text(l.agent_ids) e(value) where e.value = m.agent_id)) v)"
        " where s.agent_ids is null".format(s=bench.saved("groups"), l=bench.live("groups"), m=bench.saved("groups_agents"))
    )


def _missing_references(bench):
    """Treat rows that refer to what is neither in live nor coming: the reference goes where it may be empty, else the row."""
    notes = []
    for key in bench.foreign:
        if key.table not in bench.present:
            continue
        set_columns = ["s.%s is not null" % quote_ident(column) for column in key.columns]
        pairs = zip(key.parent_columns, key.columns)
        match = " and ".join("p.%s = s.%s" % (quote_ident(theirs), quote_ident(mine)) for theirs, mine in pairs)
        lost = " and ".join(set_columns) + " and not exists (select from %s p where %s)" % (bench.live(key.parent), match)
        if key.parent in bench.present:
            lost += " and not exists (select from %s p where %s)" % (bench.saved(key.parent), match)
        names = " + ".join(key.columns)
        if len(key.columns) == 1 and bench.tables[key.table].columns[key.columns[0]] and key.table != "groups":
            rows = bench.rows(
                "update %s s set %s = null where %s returning %s"
                % (bench.saved(key.table), quote_ident(key.columns[0]), lost, bench.key_text(key.table, "s"))
            )
            text = "%s of %s named rows of %s that are gone: emptied" % (names, key.table, key.parent)
        else:
            rows = bench.rows(
                "delete from %s s where %s returning %s" % (bench.saved(key.table), lost, bench.key_text(key.table, "s"))
            )
            text = "rows of %s name a row of %s that is neither live nor in the backup's part: left out" % (key.table, key.parent)
        if rows:
            notes.append(note("references", text, len(rows), [row[0] for row in rows]))
    return notes


def drop_colliding_links(bench):
    """A link to somebody else's agent is not added where that agent has something else in its place since; returns notes."""
    notes = []
    for table in ("archives_agents", "blocks_agents", "files_agents", "blocks_conversations"):
        if table not in bench.present:
            continue
        for columns, _nulls in bench.tables[table].unique:
            same = " and ".join("l.%s = s.%s" % (quote_ident(column), quote_ident(column)) for column in columns)
            rows = bench.rows(
                "delete from %s s using %s l where s.__role = 'link' and %s and not (%s) returning %s"
                % (bench.saved(table), bench.live(table), same, bench.same_key(table, "s", "l"), bench.key_text(table, "s"))
            )
            if rows:
                text = "rows of %s are not added: something else is in their place" % table
                notes.append(note("links", text, len(rows), [row[0] for row in rows]))
    return notes


def foreign_owners(bench):
    """Return ``[(table, key, agent)]`` of rows to come whose id live has for another agent: such a slice is refused."""
    found = []
    for rule in closure.RULES:
        if rule.role != closure.OWN or rule.column != "agent_id" or rule.table not in bench.present or rule.of != closure.AGENTS:
            continue
        found += [
            (rule.table, *row)
            for row in bench.rows(
                "select {key}, l.agent_id from {s} s join {l} l on {same}"
                " where s.__role = 'own' and l.agent_id <> s.agent_id limit 10".format(
                    key=bench.key_text(rule.table, "s"), s=bench.saved(rule.table), l=bench.live(rule.table),
                    same=bench.same_key(rule.table, "s", "l"),
                )
            )
        ]  # fmt: skip
    return found
