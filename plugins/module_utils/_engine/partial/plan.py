# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a partial restore: what would change in live, what live would lose, what others use too. The same steps lead to the apply."""
from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import LIVE_UNTOUCHED, RecoveryError
from ..letta import closure, entities
from . import difference, fit, links, mapping, mend, messages, replaced, sharing, unread

NAMES = {"agents": "name", **sharing.NAME_COLUMNS}


@dataclass(frozen=True)
class Policies:
    """How to meet what is in the way.

    :param shared: :data:`sharing.POLICIES`; :param messages: :data:`messages.POLICIES`.
    :param mark: the text copies are named by. :param undo: the slice is a state of this very database, from before a run.
    """

    shared: str = sharing.KEEP
    messages: str = messages.BACKUP
    mark: str = "copy"
    undo: bool = False

    def of_set(self, set_id):
        """Return the same for one set: its copies are named after it."""
        return replace(self, mark="copy of %s" % set_id)


def work_out(bench, cut, policies, when_loaded=None):
    """Load a slice and work out the changes; afterwards ``pg_temp.changes`` and the rows to come are what :mod:`apply` does.

    :param bench: a fresh :class:`~.workbench.Workbench`. :param cut: :class:`~.slices.Slice` at live's revision.
    :param when_loaded: called with the bench when the slice is loaded and nothing was compared yet.
    :returns: plan facts: hash, counts, entities, things, loses, notes, and for links what they lead to that is gone.
    :raises RecoveryError: ``usage`` when ids of the slice are somebody else's in live.
    """
    bench.load(cut)
    if when_loaded:
        when_loaded(bench)
    unread.still_as_saved(bench, cut.unread)
    before = _contents(bench)
    mended = [] if policies.undo else mend.find(bench, when_loaded is not None)
    mapping.prepare(bench)
    links.drop_gone(bench)
    messages.take_pointers(bench)
    mapped = [] if policies.undo else mapping.map_by_name(bench)
    links_notes, missing = links.settle(bench, policies.undo)
    _refuse_foreign(bench)
    if policies.messages == messages.MERGE:
        messages.continue_newer(bench, closure.agents_of(cut.roots))
    _compare(bench)
    decisions, copies = sharing.decide(bench, sharing.OVERWRITE if policies.undo else policies.shared)
    copied = mapping.copy_things(bench, copies, policies.mark) if copies else {}
    notes = links_notes + mend.notes(mended) + fit.fit(bench) + fit.drop_colliding_links(bench)
    fitted = _contents(bench)
    if decisions or mapped or fitted != before:  # else the comparison says it all already
        _compare(bench)
        fitted = _contents(bench)
    if policies.messages == messages.MERGE:
        messages.keep_newer(bench)
    notes += [_held_note(item) for item in difference.hold_back(bench)]
    notes += [] if policies.undo else _unfinished(bench) + replaced.notes(bench)
    changes = difference.counts(bench)
    return {
        "hash": difference.fingerprint(bench),
        "tables": changes,
        "rows": {name: sum(count[name] for count in changes.values()) for name in ("add", "change", "remove")},
        "entities": _entities(bench),
        "agents": _agents(bench),
        "replaced": replaced.told(bench),
        "shared": [dict(item, new_id=copied.get((item["table"], item["id"]))) for item in decisions],
        "mapped": mapped,
        "missing": missing,
        "mended": mended,
        "loses": _loses(bench),
        "notes": notes,
        "new_order": bench.new_order,
        "altered": sorted(table for table, content in fitted.items() if content != before[table]),
    }


def _compare(bench):
    bench.survey(_sets(bench))
    bench.new_order = messages.needs_new_order(bench)
    if bench.new_order:
        bench.survey(_sets(bench))  # digests leave the numbers out from here on
    difference.compare(bench)


def _sets(bench):
    """Return the roots by which live's closure is found: those of the slice, copies that give way, and groups they all manage since."""
    agents = difference.agents_of(bench)
    groups = bench.rows("select id from %s where manager_agent_id = any(%%s)" % bench.live("groups"), (agents,))
    managed = sorted({row[0] for row in groups} | set(bench.roots.get(closure.GROUPS, [])))
    return {**bench.roots, closure.AGENTS: agents, closure.GROUPS: managed}


def _contents(bench):
    """Return {table: digest of the rows to come}: whether anything altered them."""
    return {
        table: bench.rows(
            "select count(*), md5(coalesce(string_agg(d, '' order by d), '')) from (select %s as d from %s s) x"
            % (bench.digest(table, "s"), bench.saved(table))
        )[0]
        for table in bench.present
    }


def _refuse_foreign(bench):
    found = fit.foreign_owners(bench)
    if found:
        raise RecoveryError(
            "usage",
            "rows of the backup are another agent's in the live database: %s" % ", ".join("%s %s (%s)" % row for row in found[:3]),
            now=LIVE_UNTOUCHED,
            next_step="this is not the database that the backup was taken of; restore into another one, or use Letta's agent file",
        )


def _held_note(item):
    text = "row %s of %s is newer than the backup and stays: rows of %s that are not the agent's refer to it"
    return fit.note("held", text % (item["key"], item["table"], item["by"]), 1, [item["key"]])


def _unfinished(bench):
    """Work that was under way when the backup was taken comes back as it was saved: nobody goes on with it."""
    if "runs" not in bench.present:
        return []
    rows = bench.rows(
        "select c.key from pg_temp.changes c join %s s on s.id = c.key where c.tbl = 'runs' and c.op <> 'remove' and s.status = any(%%s)"
        % bench.saved("runs"),
        (list(entities.RUNNING_WORK[0].open_values),),
    )
    text = "runs were under way when the backup was taken: playbooks/reconcile.yml -e letta_reconcile=apply closes them"
    return [fit.note("open_runs", text, len(rows), [row[0] for row in rows])] if rows else []


def _entities(bench):
    """Return what changes by entity: kind, id, name, add, change, remove."""
    rows = bench.rows(
        "select coalesce(thing_table, case when owner is not null then 'agents' else tbl end), coalesce(thing, owner),"
        " count(*) filter (where op = 'add'), count(*) filter (where op = 'change'), count(*) filter (where op = 'remove')"
        " from pg_temp.changes group by 1, 2 order by 1, 2"
    )
    return [
        {"kind": kind, "id": identity, "name": name_of(bench, kind, identity), "add": add, "change": change, "remove": remove}
        for kind, identity, add, change, remove in rows
    ]


def name_of(bench, kind, identity):
    """Return a thing's name as saved, else as live has it; None when it has none."""
    if kind not in NAMES or identity is None:
        return None
    for place in ([bench.saved(kind)] if kind in bench.present else []) + [bench.live(kind)]:
        found = bench.rows('select "%s" from %s where id = %%s' % (NAMES[kind], place), (identity,))
        if found:
            return found[0][0]
    return None


def _agents(bench):
    """Return the agents of the plan: id, name, and whether live has them."""
    ids = sorted(set(closure.agents_of(bench.roots)) - set(bench.roots.get(closure.REPLACED, [])))
    live = {row[0] for row in bench.rows("select id from %s where id = any(%%s)" % bench.live("agents"), (ids,))}
    return [{"id": item, "name": name_of(bench, "agents", item), "live": item in live} for item in ids]


def _loses(bench):
    """Return what live would lose: counts of removed rows a person cares for, and when the newest of the messages was written."""
    kinds = {"messages": "messages", "archival_passages": "passages", "conversations": "conversations", "files": "files"}
    found = {}
    for table, name in kinds.items():
        if table not in bench.present:
            continue
        count, newest = bench.rows(
            "select count(*), max(l.created_at) from pg_temp.changes c join %s l on l.id = c.key where c.op = 'remove' and c.tbl = '%s'"
            % (bench.live(table), table)
        )[0]
        if count:
            found[name] = {"count": count, "newest": newest.isoformat() if newest else None}
    return found
