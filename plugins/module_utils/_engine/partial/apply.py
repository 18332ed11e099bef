# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a plan into live, in the one transaction that worked it out: deletes, upserts, pointers, numbers, proof."""
from __future__ import annotations

import os

from ..errors import LIVE_UNTOUCHED, RecoveryError
from ..letta import closure, entities
from ..postgres.catalog import quote_ident
from . import messages
from .slices import ROLE, Slice
from .workbench import COUNTERS

# Runs of conversations stay ``created`` although every step of them is done (measured with Letta 0.16.8): without a step under way
# they count as work for a moment only.
SETTLED_SECONDS = 15
_THINGS = tuple(dict.fromkeys(rule.table for rule in closure.RULES if rule.role == closure.SHARED))


def lock(bench, cut, busy_seconds):
    """Hold the agents, and the things they use, until the transaction ends; refuse agents that are at work.

    A row lock on an agent keeps every insert that refers to it waiting: no run, message or step of it can begin meanwhile.

    :param cut: the slice to come. :param busy_seconds: a run that is open and was touched within so many seconds is at work.
    :returns: notes on runs that are open and older than that.
    :raises RecoveryError: ``locked`` naming the agents that are at work.
    """
    agents = closure.agents_of(cut.roots)
    bench.run("select id from %s where id = any(%%s) order by id for update" % bench.live("agents"), (agents,))
    working = _open_runs(bench, agents)
    busy = [row[:4] for row in working if row[3] < (busy_seconds if row[4] else min(busy_seconds, SETTLED_SECONDS))]
    if busy:
        raise RecoveryError(
            "locked",
            "; ".join("agent %s is at work (run %s, %s, %d s ago)" % row for row in busy[:5]),
            now=LIVE_UNTOUCHED,
            next_step="wait until it has answered, or cancel its run, and run the same command again; -e letta_busy_wait=600 waits longer",
            details={"busy": [row[0] for row in busy]},
        )
    return [
        {"id": "partial.idle_runs", "detail": "a run is open and nothing has happened in it for long: it does not hold this up",
         "count": len(working), "examples": [row[1] for row in working[:10]]}
    ] if working else []  # fmt: skip


def _open_runs(bench, agents):
    """Return (agent, run, status, seconds since anything happened in it, whether a step is or may be under way) of open runs."""
    if "runs" not in bench.tables:
        return []
    return bench.rows(
        "select r.agent_id, r.id, r.status, extract(epoch from now() - greatest(r.created_at, r.updated_at, s.last))::int8 as age,"
        " s.last is null or s.under_way from %s r left join lateral (select max(greatest(created_at, updated_at)) as last,"
        " bool_or(coalesce(status::text, 'PENDING') = 'PENDING') as under_way from %s where run_id = r.id) s on true"
        " where r.agent_id = any(%%s) and r.status = any(%%s) order by age" % (bench.live("runs"), bench.live("steps")),
        (agents, list(entities.RUNNING_WORK[0].open_values)),
    )


def lock_things(bench):
    """Hold the things that are to be written until the transaction ends; others may go on adding rows that refer to them."""
    for table in _THINGS:
        if table in bench.present:
            bench.run(
                "select id from %s where id in (select id from %s where %s in ('shared', 'pointer')) order by id for no key update"
                % (bench.live(table), bench.saved(table), ROLE)
            )


def waiting(bench):
    """Return a note when requests wait for these agents: what they have read of them before, they may write back afterwards."""
    count = bench.rows("select count(*) from pg_catalog.pg_stat_activity where pg_backend_pid() = any(pg_blocking_pids(pid))")[0][0]
    text = "requests waited meanwhile, and may write back what they had read before: look again with --check when they are over"
    return [{"id": "partial.waited", "detail": text, "count": count, "examples": []}] if count else []


def save_before(bench, folder):
    """Write what live has of the closure as a slice of its own, durably: the undo.

    :returns: :class:`Slice`, with the keys of rows that are about to be added where nothing was.
    """
    before = Slice(folder, dict(bench.roots))
    for table in bench.present:
        names = ", ".join(map(quote_ident, bench.tables[table].columns))
        columns = ", ".join("t." + quote_ident(name) for name in bench.tables[table].columns)
        query = "copy (select f.%s, %s from %s f join %s t on %s) to stdout" % (
            ROLE, columns, bench.found(table), bench.live(table), bench.same_key(table, "f", "t")
        )  # fmt: skip
        with before.create(table) as stream:
            bench.cursor.copy_expert(query, stream)
            rows = bench.cursor.rowcount
            stream.flush()
            os.fsync(stream.fileno())
        before.tables[table] = {"columns": [name.strip('"') for name in names.split(", ")], "rows": rows}
    before.added = _added(bench)
    before.save()
    return before


def _added(bench):
    """Return {table: keys} of rows to be added that are found neither by the agent's id nor by the thing they are part of."""
    found = {}
    for table, key in bench.rows("select tbl, key from pg_temp.changes where op = 'add' and role not in ('own', 'part') order by 1, 2"):
        found.setdefault(table, []).append(key)
    return dict(found, **bench.listed)


def write(bench):
    """Do what ``pg_temp.changes`` says; returns nothing, and proves nothing: see :func:`prove`."""
    bench.run("create index on pg_temp.changes (tbl, op, key)")
    bench.run("analyze pg_temp.changes")
    changing = {row[0] for row in bench.rows("select distinct tbl from pg_temp.changes")}
    order = [table for table in bench.order if table in changing]
    _raise_versions(bench)
    if bench.new_order:
        messages.advance_sequence(bench)
        messages.draw_numbers(bench)
    for key in bench.loose:
        if key.table in bench.present:
            _clear_pointer(bench, key)
    for table in reversed(order):
        bench.run(
            "delete from {l} l using {f} f, pg_temp.changes c where c.tbl = '{t}' and c.op = 'remove' and c.key = {key} and {same}".format(
                l=bench.live(table), f=bench.found(table), t=table, key=bench.key_text(table, "f"), same=bench.same_key(table, "l", "f")
            )
        )
    for table in order:
        _upsert(bench, table)
    for key in bench.loose:
        if key.table in bench.present:
            _set_pointer(bench, key)
    if "messages" in bench.present:
        if bench.new_order:
            messages.renumber(bench)
        messages.advance_sequence(bench)


def _raise_versions(bench):
    """A writer of Letta that has read a block before loses against the restored one: its version is above live's."""
    if "block" in bench.present and "version" in bench.tables["block"].columns:
        bench.run(
            "update %s s set version = greatest(s.version, l.version) + 1 from %s l, pg_temp.changes c"
            " where l.id = s.id and c.tbl = 'block' and c.op = 'change' and c.key = s.id" % (bench.saved("block"), bench.live("block"))
        )


def _upsert(bench, table):
    columns = list(bench.tables[table].columns)
    later = {key.columns[0] for key in bench.loose if key.table == table}
    names = ", ".join(map(quote_ident, columns))
    values = ", ".join("null" if name in later else "s." + quote_ident(name) for name in columns)
    other = [name for name in columns if name not in bench.tables[table].key and name not in later]
    if table == "messages" and not bench.new_order:
        _free_numbers(bench)
    if other:
        bench.run(
            "update {l} l set ({names}) = row({values}) from {s} s join pg_temp.changes c on c.tbl = '{t}' and c.op = 'change'"
            " and c.key = {key} where {same}".format(
                l=bench.live(table), names=", ".join(map(quote_ident, other)), values=", ".join("s." + quote_ident(name) for name in other),
                s=bench.saved(table), t=table, key=bench.key_text(table, "s"), same=bench.same_key(table, "l", "s"),
            )
        )  # fmt: skip
    bench.run(
        "insert into {l} ({names}) select {values} from {s} s"
        " join pg_temp.changes c on c.tbl = '{t}' and c.op = 'add' and c.key = {key}".format(
            l=bench.live(table), names=names, values=values, s=bench.saved(table), t=table, key=bench.key_text(table, "s")
        )
    )


def _free_numbers(bench):
    """Numbers that change hands between changed messages would meet on the way: they go through negative ones."""
    bench.run(
        "update %s l set sequence_id = -l.sequence_id from pg_temp.changes c, %s s where c.tbl = 'messages' and c.op = 'change'"
        " and c.key = l.id and s.id = l.id and s.sequence_id <> l.sequence_id" % (bench.live("messages"), bench.saved("messages"))
    )


def _clear_pointer(bench, key):
    """What a changed row points to may be about to go."""
    bench.run(
        "update {l} l set {c} = null from pg_temp.changes c"
        " where c.tbl = '{t}' and c.op = 'change' and c.key = {key} and l.{c} is not null".format(
            l=bench.live(key.table), c=quote_ident(key.columns[0]), t=key.table, key=bench.key_text(key.table, "l")
        )
    )


def _set_pointer(bench, key):
    names = {
        "l": bench.live(key.table),
        "s": bench.saved(key.table),
        "c": quote_ident(key.columns[0]),
        "t": key.table,
        "same": bench.same_key(key.table, "l", "s"),
        "key": bench.key_text(key.table, "s"),
    }
    bench.run(
        "update {l} l set {c} = s.{c} from {s} s join pg_temp.changes c on c.tbl = '{t}' and c.op <> 'remove' and c.key = {key}"
        " where {same} and l.{c} is distinct from s.{c}".format(**names)
    )


def prove(bench, plan, saved):
    """Compare what live holds now with what was to come, inside the transaction.

    :param plan: of :func:`plan.work_out`. :param saved: {table: rows of the slice as it was cut}.
    :returns: report rows: name, rows_expected, rows_restored, digest (equal, explained, differs), explanation.
    """
    rows = []
    for table in bench.present:
        names = {"s": bench.saved(table), "l": bench.live(table), "same": bench.same_key(table, "s", "l"), "t": table}
        come, equal, there = bench.rows(
            "select count(*) filter (where exact), count(*) filter (where exact and a = b),"
            " count(*) filter (where not exact and b is not null)"
            " from (select s.__role in ('own', 'pointer', 'shared', 'part') as exact, {a} as a,"
            " case when l.{first} is not null then {b} end as b from {s} s left join {l} l on {same}) x".format(
                a=bench.digest(table, "s"), b=bench.digest(table, "l"), first=quote_ident(bench.tables[table].key[0]), **names
            )
        )[0]
        left = bench.rows(
            "select count(*) from pg_temp.changes c join {f} f on c.key = {key} join {l} l on {same} where c.tbl = '{t}'"
            " and c.op = 'remove'".format(
                f=bench.found(table), l=names["l"], key=bench.key_text(table, "f"), same=bench.same_key(table, "l", "f"), t=table
            )
        )[0][0]
        rows.append(_verdict(table, come, equal, there, left, plan, saved.get(table, 0)))
    return rows


def _verdict(table, come, equal, there, left, plan, saved):
    row = {"name": table, "rows_expected": saved, "rows_restored": equal + there, "digest": "equal", "explanation": ""}
    if left:
        return dict(row, digest="differs", explanation="%d rows that were to go are still there" % left)
    if equal != come:
        return dict(row, digest="differs", explanation="%d of %d rows are not what was to come" % (come - equal, come))
    if table in plan["altered"] or equal + there != saved:
        return dict(row, digest="explained", explanation=_why(table, plan))
    return row


def _why(table, plan):
    reasons = []
    kept = [item for item in plan["shared"] if item["decision"] == "kept"]
    if any(item["table"] == table for item in kept) or table in ("block_history", "archival_passages", "passage_tags", "files"):
        reasons += ["kept as live has it: %s" % ", ".join(sorted({str(item["name"]) for item in kept}))] if kept else []
    if plan["mapped"] or any(item["new_id"] for item in plan["shared"]):
        reasons.append("ids of tools and other named things are live's")
    if table in COUNTERS:
        reasons.append("versions are raised above live's")
    if table == "messages" and plan["new_order"]:
        reasons.append("messages are numbered anew, in the saved order")
    reasons += [item["detail"] for item in plan["notes"] if table in item["detail"]]
    return "; ".join(reasons) or "what live has already, or what others use, stays as it is"
