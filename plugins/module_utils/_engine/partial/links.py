# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Agents that live and have lost connections: what of a slice may be added to them. Nothing is removed and nothing overwritten.

Works on the temporary tables of a :class:`~.workbench.Workbench` only. Other slices pass through unchanged.
"""
from __future__ import annotations

import json

from ..letta import closure, linking
from ..postgres.catalog import quote_ident
from . import sharing
from .fit import note

# What a link leads to -> (tag of the playbook that brings it back, its variable); what is not here comes with its agent.
_BROUGHT_BY = {"block": "blocks", "sources": "sources", "files": "files", "archives": "archives"}
_OWNERS = ("agent_id", "conversation_id", "group_id", "identity_id")
MESSAGES, MEMBERS = "agents.message_ids", "groups.agent_ids"


def command(item, set_id):
    """Return the line that brings back what a link leads to.

    :param item: one of what :func:`settle` returned as missing.
    """
    tag = _BROUGHT_BY.get(item["kind"], "messages" if item["kind"] == "messages" else "agents")
    ids = [item["id"]] if item["kind"] in _BROUGHT_BY else item["wanted_by"]
    variable = "letta_" + (tag if tag != "messages" else "agents")
    return "ansible-playbook playbooks/restore-partial.yml --tags %s -e letta_backup_id=%s -e '%s'" % (
        tag, set_id, json.dumps({variable: ids})
    )  # fmt: skip


def drop_gone(bench):
    """Leave agents and groups out that live has no more, where only their links were to be repaired."""
    if not bench.roots.get(closure.LINKED):
        return
    for table in closure.POINTS:
        if table in bench.present:
            bench.run("delete from %s s where not exists (select from %s l where l.id = s.id) and __role = 'pointer'"
                      % (bench.saved(table), bench.live(table)))  # fmt: skip


def settle(bench, undo):
    """Reduce a slice that was cut for links to what may be added, and work out the lists of the pointers.

    :param undo: the slice is what was there before such a run.
    :returns: (notes, missing): what links lead to and live has no more: [{"kind", "id", "name", "wanted_by": [ids]}].
    """
    if undo:
        _take_from_lists(bench)
    if undo or not bench.roots.get(closure.LINKED):
        return [], []
    tables = [table for table in bench.present if any(rule.table == table and rule.role == closure.LINK for rule in closure.RULES)]
    missing = _missing(bench, tables)
    notes = [_gone_note(missing)] if missing else []
    for table in bench.present:
        bench.run("delete from %s where __role not in ('link', 'pointer')" % bench.saved(table))
        if "is_deleted" in bench.tables[table].columns and table in tables:
            bench.run("delete from %s where is_deleted" % bench.saved(table))  # detached when the backup was taken
    for key in bench.foreign:
        if key.table in tables:
            bench.run("delete from %s s where %s" % (bench.saved(key.table), _lost(bench, key)))
    bench.present = [table for table in bench.present if table in tables or table in closure.POINTS]
    if "files_agents" in bench.present:
        notes += _close_beyond_limit(bench)
    if "agents" in bench.present:
        missing += _messages(bench)
    if {"groups", "groups_agents"} <= set(bench.present):
        _members(bench)
    return notes, missing


def _lost(bench, key):
    """Return the SQL condition that what a row to come names is not live; a block's label may have changed, and is fitted later."""
    place = key.parent_columns.index("id") if "id" in key.parent_columns else 0
    mine, theirs = quote_ident(key.columns[place]), quote_ident(key.parent_columns[place])
    return "s.%s is not null and not exists (select from %s p where p.%s = s.%s)" % (mine, bench.live(key.parent), theirs, mine)


def _missing(bench, tables):
    found = {}
    for key in bench.foreign:
        if key.table not in tables or key.parent in ("organizations", "users"):
            continue
        owner = next(quote_ident(name) for name in _OWNERS if name in bench.tables[key.table].columns)
        column = quote_ident(key.columns[key.parent_columns.index("id")])
        rows = bench.rows(
            "select distinct s.%s, s.%s from %s s where s.__role = 'link' and %s order by 1, 2"
            % (column, owner, bench.saved(key.table), _lost(bench, key))
        )
        for identity, user in rows:
            item = {"kind": key.parent, "id": identity, "name": _name(bench, key.parent, identity), "wanted_by": []}
            item = found.setdefault((key.parent, identity), item)
            if user not in item["wanted_by"]:
                item["wanted_by"].append(user)
    return [found[place] for place in sorted(found)]


def _name(bench, table, identity):
    column = sharing.NAME_COLUMNS.get(table)
    if column is None or table not in bench.present:
        return None
    rows = bench.rows("select %s from %s where id = %%s" % (quote_ident(column), bench.saved(table)), (identity,))
    return rows[0][0] if rows else None


def _gone_note(missing):
    text = "links lead to what live has no more, and are not added: see missing for the line that brings each back"
    return note("links_gone", text, len(missing), ["%s %s" % (item["kind"], item["name"] or item["id"]) for item in missing])


def _close_beyond_limit(bench):
    """Files come back closed where the agent has as many open as it may: what was looked at last stays open."""
    limits = {
        agent: linking.file_limits(window, most)[0]
        for agent, window, most in bench.rows(
            "select id, (llm_config ->> 'context_window')::int, max_files_open from %s where id = any(%%s)" % bench.live("agents"),
            (closure.agents_of(bench.roots),),
        )
    }
    there = "(select count(*) from %s l where l.agent_id = s.agent_id and l.is_open and not l.is_deleted)" % bench.live("files_agents")
    new = "not exists (select from %s l where l.agent_id = s.agent_id and l.file_id = s.file_id)" % bench.live("files_agents")
    coming = bench.rows(
        "select s.id, s.agent_id, row_number() over (partition by s.agent_id order by s.last_accessed_at desc, s.id) + %s from %s s"
        " where s.is_open and %s" % (there, bench.saved("files_agents"), new)
    )
    closed = [identity for identity, agent, place in coming if place > limits.get(agent, place)]
    bench.run("update %s set is_open = false, visible_content = null where id = any(%%s)" % bench.saved("files_agents"), (closed,))
    text = "files are linked again as closed: the agent has as many open as it may (max_files_open)"
    return [note("files_closed", text, len(closed), closed)] if closed else []


def _messages(bench):
    """Work out the list of messages of each agent; returns what of it is missing."""
    missing = []
    where = " and conversation_id is null" if "conversation_id" in bench.tables["messages"].columns else ""
    pairs = "select s.id, s.message_ids, l.message_ids, l.name from %s s join %s l on l.id = s.id order by 1"
    existing = "select id, role from %s where agent_id = %%s and not is_deleted%s" % (bench.live("messages"), where)
    for agent, before, now, name in bench.rows(pairs % (bench.saved("agents"), bench.live("agents"))):
        saved, live, stored = before or [], now or [], dict(bench.rows(existing, (agent,)))
        first = bool(live) and stored.get(live[0]) == "system"
        listed, put = linking.lost_of(saved, live, set(stored), first)
        gone = [item for item in linking.lost_of(saved, live, set(saved), first)[1] if item not in stored]
        if gone:
            missing.append({"kind": "messages", "id": agent, "name": name, "wanted_by": [agent], "count": len(gone)})
        _set_list(bench, "agents", "message_ids", agent, listed if put else None)
        if put:
            bench.listed.setdefault(MESSAGES, []).extend(put)
    return missing


def _members(bench):
    """Put members of a group into its own list, where they are missing in it: as saved, then by id."""
    pairs = "select s.id, s.agent_ids, l.agent_ids from %s s join %s l on l.id = s.id order by 1"
    members = {}
    for place in (bench.saved("groups_agents"), bench.live("groups_agents")):
        for group, agent in bench.rows("select group_id, agent_id from %s" % place):
            members.setdefault(group, set()).add(agent)
    for group, saved, now in bench.rows(pairs % (bench.saved("groups"), bench.live("groups"))):
        live, lacking = list(now or []), members.get(group, set()) - set(now or [])
        put = [agent for agent in saved or [] if agent in lacking]
        put += sorted(lacking - set(put))
        _set_list(bench, "groups", "agent_ids", group, live + put if put else None)
        if put:
            bench.listed.setdefault(MEMBERS, []).extend("%s/%s" % (group, agent) for agent in put)


def _take_from_lists(bench):
    """Take back what a run put into lists, and nothing that was put there since."""
    for name in (MESSAGES, MEMBERS):
        table, _dot, column = name.partition(".")
        if name not in bench.added or table not in bench.present:
            continue
        put = set(bench.added[name])
        pairs = "select l.id, l.%s from %s s join %s l on l.id = s.id" % (column, bench.saved(table), bench.live(table))
        for identity, live in bench.rows(pairs):
            kept = [item for item in live or [] if item not in put and "%s/%s" % (identity, item) not in put]
            _set_list(bench, table, column, identity, kept)


def _set_list(bench, table, column, identity, values):
    """Set the list of a row to come; None: to what live has, byte for byte."""
    if values is None:
        same = "update %s s set %s = l.%s from %s l where l.id = s.id and s.id = %%s"
        bench.run(same % (bench.saved(table), column, column, bench.live(table)), (identity,))
    else:
        bench.run("update %s set %s = %%s::json where id = %%s" % (bench.saved(table), column), (json.dumps(values), identity))
