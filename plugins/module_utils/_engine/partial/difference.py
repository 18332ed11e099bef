# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would change: the rows to come compared with live's, row by row, in ``pg_temp.changes``.

``changes (tbl, op, key, role, thing_table, thing, owner, old, new)``: ``op`` is add, change or remove; ``old`` and ``new`` are digests of
the row; ``thing`` is what others may use and the row is or belongs to, NULL for a row that is the agent's own;
``owner`` is the agent whose row it is, where a column says so.
"""
from __future__ import annotations

import hashlib

from ..letta import closure
from ..postgres.catalog import quote_ident

ADD, CHANGE, REMOVE = "add", "change", "remove"
# Roles whose rows become what was saved; of the others only missing rows are added.
_EXACT = "('own', 'pointer', 'shared', 'part')"
# Parts -> (kind of thing, column that leads to it); texts and passages of a file that was asked for by itself belong to the file.
THING_OF = {
    "block_history": ("block", "block_id"),
    "blocks_tags": ("block", "block_id"),
    "archival_passages": ("archives", "archive_id"),
    "passage_tags": ("archives", "archive_id"),
    "files": ("sources", "source_id"),
    "source_passages": ("sources", "source_id"),
    "file_contents": ("sources", None),
}


def compare(bench):
    """Fill ``pg_temp.changes`` anew from the rows to come and from what :meth:`Workbench.survey` found."""
    bench.run("drop table if exists pg_temp.changes")
    bench.run(
        "create temporary table changes"
        " (tbl text, op text, key text, role text, thing_table text, thing text, owner text, old text, new text) on commit drop"
    )
    files = bench.roots.get(closure.FILES, [])
    for table in _with_rows(bench):
        key = bench.key_text(table, "%s")
        saved, live = (bench.digest(table, alias) for alias in ("s", "l"))
        first = "l." + quote_ident(bench.tables[table].key[0])
        bench.run(
            "insert into pg_temp.changes"
            " select '{t}', case when {first} is null then 'add' else 'change' end, {key}, s.__role, {things}, {owner},"
            " case when {first} is null then null else {live} end, {saved} from {s} s left join {l} l on {same}"
            " where {first} is null or (s.__role in {exact} and {live} is distinct from {saved})".format(
                t=table, first=first, key=key.replace("%s", "s"), things=_thing(bench, table, "s"), owner=_owner(bench, table, "s"),
                saved=saved, live=live, s=bench.saved(table), l=bench.live(table), same=bench.same_key(table, "s", "l"), exact=_EXACT,
            ),
            {"files": files},
        )  # fmt: skip
        bench.run(
            "insert into pg_temp.changes select '{t}', 'remove', {key}, f.__role, {things}, {owner}, f.__digest, null from {f} f"
            " where f.__role in ('own', 'part') and not exists (select from {s} s where {same})".format(
                t=table, key=key.replace("%s", "f"), things=_thing(bench, table, "f"), owner=_owner(bench, table, "f"),
                f=bench.found(table), s=bench.saved(table), same=bench.same_key(table, "s", "f"),
            ),
            {"files": files},
        )  # fmt: skip


def _with_rows(bench):
    """Return the tables that have rows on either side: of many a table an agent has none."""
    either = ["exists (select from %s) or exists (select from %s)" % (bench.saved(table), bench.found(table)) for table in bench.present]
    return [table for table, there in zip(bench.present, bench.rows("select %s" % ", ".join(either))[0]) if there] if either else []


# Rows that belong to an agent through another row: (table of that row, column that leads there, its column of the agent).
_OWNED_THROUGH = {
    "blocks_conversations": ("conversations", "conversation_id", "agent_id"),
    "groups_blocks": ("groups", "group_id", "manager_agent_id"),
}


def _owner(bench, table, alias):
    """Return SQL for the agent whose row it is, NULL where none is known."""
    if table in _OWNED_THROUGH:
        parent, column, owner = _OWNED_THROUGH[table]
        where = "(select o.%s from %%s o where o.id = %s.%s)" % (owner, alias, column)
        places = ([bench.saved(parent)] if parent in bench.present else []) + [bench.live(parent)]
        return "coalesce(%s)" % ", ".join(where % place for place in places)
    column = {"agents": "id", "groups": "manager_agent_id"}.get(table, "agent_id")
    if column not in bench.tables[table].columns or (alias == "f" and column not in bench.found_columns(table)):
        return "null"
    return "%s.%s" % (alias, column)


def _thing(bench, table, alias):
    """Return SQL for (kind of thing, its id) of a row; NULLs for one that is only pointed or linked anew."""
    kind, identity = _thing_of(bench, table, alias)
    return "case when %s.__role in ('shared', 'part') then %s end, case when %s.__role in ('shared', 'part') then %s end" % (
        alias, kind, alias, identity
    )  # fmt: skip


def _thing_of(bench, table, alias):
    shared = "%s.__role = 'shared'" % alias
    if table not in THING_OF:
        if table not in closure.USERS_OF:
            return "null", "null"
        return f"case when {shared} then '{table}' end", f"case when {shared} then {alias}.id end"
    kind, column = THING_OF[table]
    if table == "files":
        return f"case when {shared} then 'files' else 'sources' end", f"case when {shared} then {alias}.id else {alias}.source_id end"
    if kind == "sources":
        asked = "%s.file_id = any(%%(files)s)" % alias
        source = "%s.source_id" % alias if column else _source_of_file(bench, alias)
        return f"case when {asked} then 'files' else 'sources' end", f"case when {asked} then {alias}.file_id else {source} end"
    return "'%s'" % kind, "%s.%s" % (alias, column)


def _source_of_file(bench, alias):
    where = "(select o.source_id from %s o where o.id = " + alias + ".file_id)"
    return "coalesce(%s, %s)" % (where % bench.saved("files"), where % bench.live("files"))


def agents_of(bench):
    """Return the agents whose own rows become what was saved, or go: those that come back, and copies that give way to them."""
    return sorted({*bench.roots.get(closure.AGENTS, []), *bench.roots.get(closure.REPLACED, [])})


def hold_back(bench):
    """Keep rows of live that something else refers to and that would go: nothing of others is deleted or cut off along with them.

    :returns: [{"table", "key", "by"}]: what is kept, and the table of what refers to it.
    """
    held = []
    going = {row[0] for row in bench.rows("select distinct tbl from pg_temp.changes where op = 'remove'")}
    while True:
        found = [item for key in bench.foreign if key.parent in going for item in _held_by(bench, key)]
        if not found:
            return held
        for item in found:
            bench.run("delete from pg_temp.changes where op = 'remove' and tbl = %s and key = %s", (item["table"], item["key"]))
        held += found


def _held_by(bench, key):
    """Return the rows to be removed that a foreign key of a row that stays refers to."""
    child = key.table
    joined = " and ".join(
        "c.%s = p.%s" % (quote_ident(mine), quote_ident(theirs)) for mine, theirs in zip(key.columns, key.parent_columns)
    )
    known = child in bench.present
    going = (
        " and not exists (select from pg_temp.changes g where g.op = 'remove' and g.tbl = '%s' and g.key = %s)"
        % (child, bench.key_text(child, "c"))
        if known
        else ""
    )
    # Rows of the closure that stay are about to be rewritten, so that they refer to what was saved.
    own = " and not exists (select from %s f where %s)" % (bench.found(child), bench.same_key(child, "f", "c")) if known else ""
    owned = " and c.agent_id <> all(%(agents)s)" if not known and "agent_id" in bench.tables[child].columns else ""
    rows = bench.rows(
        "select distinct r.key from pg_temp.changes r join %s f on r.key = %s join %s p on %s join %s c on %s"
        " where r.op = 'remove' and r.tbl = '%s'%s%s%s"
        % (
            bench.found(key.parent), bench.key_text(key.parent, "f"), bench.live(key.parent), bench.same_key(key.parent, "p", "f"),
            bench.live(child), joined, key.parent, going, own, owned,
        ),
        {"agents": agents_of(bench)},
    )
    return [{"table": key.parent, "key": row[0], "by": child} for row in rows]


def counts(bench):
    """Return ``{table: {"add": n, "change": n, "remove": n}}`` of the tables with changes, in the order of the rules."""
    found = {}
    for table, operation, count in bench.rows("select tbl, op, count(*) from pg_temp.changes group by 1, 2"):
        found.setdefault(table, dict.fromkeys((ADD, CHANGE, REMOVE), 0))[operation] = count
    return {table: found[table] for table in bench.present if table in found}


def fingerprint(bench):
    """Return the plan's hash: which rows change, from what to what."""
    total = hashlib.sha256()
    for row in bench.rows("select tbl, op, key, old, new from pg_temp.changes order by tbl collate \"C\", op, key collate \"C\""):
        total.update(("\t".join(value or "" for value in row) + "\n").encode())
    return "sha256:" + total.hexdigest()


def lines(bench, limit=2000):
    """Return the changes for a person, one line per row: ``+ messages message-…``; never a value.

    :param limit: rows told of one table; the rest is counted.
    """
    told = []
    for table, count in counts(bench).items():
        rows = bench.rows(
            "select op, key from pg_temp.changes where tbl = %s order by op, key collate \"C\" limit %s", (table, limit)
        )
        told += ["%s %s %s" % ({"add": "+", "change": "~", "remove": "-"}[operation], table, key) for operation, key in rows]
        left = sum(count.values()) - len(rows)
        if left > 0:
            told.append("… and %d more of %s" % (left, table))
    return told
