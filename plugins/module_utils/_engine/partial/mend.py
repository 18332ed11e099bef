# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections that live itself can repair, where it says the same thing twice and one side is certain. No backup is needed.

Finds what does not fit, and writes it as it should be into the temporary tables of a :class:`~.workbench.Workbench`: a slice like any
other. Contexts and files in processing are the business of reconciliation, not of this.
"""
from __future__ import annotations

import hashlib
import uuid

from ..errors import RecoveryError
from ..letta import closure, file_views, linking
from ..letta.entities import ID_PREFIXES
from ..postgres.catalog import quote_ident
from . import selection
from .fit import note

# What can be mended -> the tables that are written.
KINDS = {
    "groups": ("groups", "groups_agents"),
    "files": ("files_agents", "files"),
    "sources": ("sources_agents",),
    "passages": ("archival_passages", "passage_tags"),
    "views": ("files_agents",),
}
# Reason -> what was found.
WHY = {
    "group_list": "the list of a group and its members differ: who is in one of them is in both, who is gone is in none",
    "file_names": "the view of a file has another name or source than the file",
    "file_sources": "an agent has a view of a file and not its source",
    "file_counts": "a file counts other passages than it has",
    "passage_tags": "the tags of a passage and their rows differ: a tag that one of them has, both have",
    "views": "what an open file shows is not what is in it",
    "file_passages": "a file has text and no passages: it cannot be searched; bring it back with --tags files, or give embedding_url",
    "file_embedded": "a file had text and no passages: it is cut and embedded anew",
}
FLAGGED = ("file_passages",)


class _Live:
    """Reads columns of live tables as a selection asks for them."""

    def __init__(self, bench):
        self._bench = bench

    def rows(self, table, columns):
        """Yield tuples of text or None."""
        known = self._bench.tables[table].columns
        wanted = ", ".join("%s::text" % quote_ident(name) if name in known else "null" for name in columns)
        return self._bench.rows("select %s from %s" % (wanted, self._bench.live(table)))


def resolve(bench, wanted, kinds):
    """Find the agents that are asked for in live.

    :param wanted: :class:`~.selection.Selection` of the scope links. :param kinds: of :data:`KINDS`; empty: all.
    :returns: (roots, {id: name}). :raises RecoveryError: ``usage`` when a name fits none, or several.
    """
    try:
        found = selection.resolve_in(_Live(bench), wanted)
    except RecoveryError as exc:
        message, step = (text.replace("the backup", "live") for text in (exc.message, exc.next_step))
        raise RecoveryError(exc.failure_class, message, now=exc.now, next_step=step) from None
    return {closure.MENDED_AGENTS: found.roots[closure.LINKED], closure.MENDED_KINDS: sorted(kinds or KINDS)}, found.names


def tables(bench, kinds):
    """Return {table: {"columns", "rows"}} of an empty slice that holds what is to be mended."""
    names = {table for kind in kinds for table in KINDS[kind]} & set(bench.tables)
    return {name: {"columns": list(bench.tables[name].columns), "rows": 0} for name in closure.tables_in_order() if name in names}


def notes(mended):
    """Return notes for the plan: one of each reason."""
    found = {}
    for item in mended:
        found.setdefault(item["reason"], []).append(item["id"])
    return [note(reason, WHY[reason], len(ids), ids) for reason, ids in sorted(found.items())]


def find(bench, hold):
    """Fill the rows to come with what is to be mended of the agents of :data:`closure.MENDED_AGENTS`.

    :param hold: keep the rows as they are until the transaction ends.
    :returns: [{"reason", "table", "id", "agent"}]: what was found; those of :data:`FLAGGED` are only told.
    """
    if not bench.roots.get(closure.MENDED_AGENTS):
        return []
    if "source_passages" in bench.present:  # somebody else may have been faster
        bench.run("delete from %s s where exists (select from %s l where l.file_id = s.file_id)"
                  % (bench.saved("source_passages"), bench.live("source_passages")))  # fmt: skip
    mender = _Mender(bench, hold)
    for kind in bench.roots[closure.MENDED_KINDS]:
        getattr(mender, kind)()
    bench.roots[closure.MENDED] = sorted(mender.pointed)
    return mender.found


class _Mender:
    """Looks, kind by kind; every statement begins with the agents."""

    def __init__(self, bench, hold):
        self._bench, self._hold = bench, hold
        self._agents = {"agents": bench.roots[closure.MENDED_AGENTS]}
        self.found, self.pointed = [], set()

    def groups(self):
        """Lists of groups and their members."""
        rows = self._rows(
            "select g.id, g.manager_agent_id, g.agent_ids, array(select m.agent_id from {groups_agents} m where m.group_id = g.id"
            " order by 1), array(select a.id from {agents} a where a.id in (select json_array_elements_text(g.agent_ids)))"
            " from {groups} g where g.manager_agent_id = any(%(agents)s)"
            " or exists (select from {groups_agents} m where m.group_id = g.id and m.agent_id = any(%(agents)s))"
            " or exists (select from json_array_elements_text(g.agent_ids) e(v) where e.v = any(%(agents)s)) order by 1", "g",
        )  # fmt: skip
        for group, manager, listed, members, there in rows:
            meant = [item for item in dict.fromkeys(listed) if item in there]
            meant += [item for item in members if item not in meant]
            if meant != listed:
                self._point("groups", group, "group_list", manager)
                self._bench.run(
                    "update %s set agent_ids = to_json(%%s::text[]) where id = %%s" % self._bench.saved("groups"), (meant, group)
                )
            for agent in [item for item in meant if item not in members]:
                self._link("groups_agents", {"group_id": group, "agent_id": agent})
                self._tell("group_list", "groups_agents", "%s/%s" % (group, agent), agent)

    def files(self):
        """Names and sources of views, numbers of passages."""
        for view, agent, name, source in self._rows(
            "select v.id, v.agent_id, f.file_name, f.source_id from {files_agents} v join {files} f on f.id = v.file_id"
            " where v.agent_id = any(%(agents)s) and not v.is_deleted"
            " and (v.file_name is distinct from f.file_name or v.source_id <> f.source_id) and f.file_name is not null"
            " and not exists (select from {files_agents} o where o.agent_id = v.agent_id and o.file_name = f.file_name and o.id <> v.id)"
            " order by 1", "v",
        ):  # fmt: skip
            self._point("files_agents", view, "file_names", agent)
            values = "update %s set file_name = %%s, source_id = %%s where id = %%s" % self._bench.saved("files_agents")
            self._bench.run(values, (name, source, view))
        for file, total, embedded, count, text in self._rows(
            "select f.id, f.total_chunks, f.chunks_embedded, (select count(*) from {source_passages} p where p.file_id = f.id),"
            " exists (select from {file_contents} c where c.file_id = f.id and c.text <> '') from {files} f"
            " join {sources} s on s.id = f.source_id where f.processing_status = 'completed' and s.vector_db_provider = 'NATIVE'"
            " and f.source_id in (select source_id from {sources_agents} where agent_id = any(%(agents)s)"
            " union select source_id from {files_agents} where agent_id = any(%(agents)s) and not is_deleted) order by 1", "f",
        ):  # fmt: skip
            coming = self._coming(file) if not count else 0
            if coming:
                self._point("files", file, "file_embedded", None)
                values = "update %s set total_chunks = %%s, chunks_embedded = %%s where id = %%s" % self._bench.saved("files")
                self._bench.run(values, (coming, coming, file))
            elif not count:
                self._tell("file_passages", "files", file, None) if text else None
            elif embedded != count or (total or 0) < count:  # more than there are may have been lost: that stays to be seen
                self._point("files", file, "file_counts", None)
                values = "update %s set total_chunks = %%s, chunks_embedded = %%s where id = %%s" % self._bench.saved("files")
                self._bench.run(values, (max(total or 0, count), count, file))

    def _coming(self, file):
        """Return how many passages of a file were made anew."""
        if "source_passages" not in self._bench.present:
            return 0
        return self._bench.rows("select count(*) from %s where file_id = %%s" % self._bench.saved("source_passages"), (file,))[0][0]

    def sources(self):
        """Sources of the files that an agent has views of."""
        for agent, source in self._rows(
            "select distinct v.agent_id, f.source_id from {files_agents} v join {files} f on f.id = v.file_id"
            " where v.agent_id = any(%(agents)s) and not v.is_deleted and not exists"
            " (select from {sources_agents} k where k.agent_id = v.agent_id and k.source_id = f.source_id) order by 1, 2"
        ):
            self._link("sources_agents", {"agent_id": agent, "source_id": source})
            self._tell("file_sources", "sources_agents", "%s/%s" % (agent, source), agent)

    def passages(self):
        """Tags of passages, in their list and as rows."""
        rows = self._rows(
            "select p.id, coalesce(p.tags, '[]'), p.tags_there from (select p.*, array(select t.tag::text from {passage_tags} t"
            " where t.passage_id = p.id order by 1) as tags_there from {archival_passages} p where p.archive_id in"
            " (select archive_id from {archives_agents} where agent_id = any(%(agents)s))) p"
            " where array(select distinct e.v from json_array_elements_text(coalesce(p.tags, '[]')) e(v) order by 1)"
            " is distinct from p.tags_there order by 1"
        )
        for passage, listed, there in rows:
            meant = list(dict.fromkeys([*listed, *there]))
            if meant != listed:
                self._point("archival_passages", passage, "passage_tags", None)
                values = "update %s set tags = to_json(%%s::text[]) where id = %%s" % self._bench.saved("archival_passages")
                self._bench.run(values, (meant, passage))
            for tag in [item for item in meant if item not in there]:
                digest = hashlib.md5(("%s %s" % (passage, tag)).encode(), usedforsecurity=False).digest()
                identity = "%s-%s" % (ID_PREFIXES["passage_tags"][0], uuid.UUID(bytes=digest, version=4))
                self._link("passage_tags", {"id": identity, "tag": tag, "passage_id": passage}, ("archival_passages", passage))
                self._tell("passage_tags", "passage_tags", identity, None)

    def views(self):
        """What open files show."""
        rows = self._rows(
            "select v.id, v.agent_id, v.visible_content, v.start_line, v.end_line, c.text, f.file_type, f.file_name,"
            " (a.llm_config ->> 'context_window')::int, a.per_file_view_window_char_limit from {files_agents} v"
            " join {agents} a on a.id = v.agent_id join {files} f on f.id = v.file_id join {file_contents} c on c.file_id = f.id"
            " where v.agent_id = any(%(agents)s) and not v.is_deleted and v.is_open"
            " and coalesce(v.visible_content, 'never') <> '' and c.text <> '' order by 1", "v",
        )  # fmt: skip
        for view, agent, content, start, end, text, kind, name, window, limit in rows:
            whole = file_views.shown(text, kind, name, start, end)
            first, last = (None, None) if whole is None else (start, end)
            whole = file_views.shown(text, kind, name) if whole is None else whole
            fresh = file_views.refreshed(content or "", whole, linking.file_limits(window, view_limit=limit)[1])
            if fresh is not None:
                self._point("files_agents", view, "views", agent)
                self._bench.run(
                    "update %s set visible_content = %%s, start_line = %%s, end_line = %%s where id = %%s"
                    % self._bench.saved("files_agents"), (fresh, first, last, view),
                )  # fmt: skip

    def _rows(self, statement, held=""):
        names = {name: self._bench.live(name) for name in self._bench.tables}
        lock = " for no key update of %s" % held if held and self._hold else ""
        return self._bench.rows(statement.format(**names) + lock, self._agents)

    def _tell(self, reason, table, identity, agent):
        self.found.append({"reason": reason, "table": table, "id": identity, "agent": agent})

    def _point(self, table, identity, reason, agent):
        """Take a row of live among those to come, of which some columns are about to be set."""
        self._tell(reason, table, identity, agent)
        if identity not in self.pointed:
            self.pointed.add(identity)
            names = ", ".join(map(quote_ident, self._bench.tables[table].columns))
            self._bench.run(
                "insert into %s (__role, %s) select 'pointer', %s from %s where id = %%s"
                % (self._bench.saved(table), names, names, self._bench.live(table)), (identity,),
            )  # fmt: skip

    def _link(self, table, values, like=()):
        """Have a row come that links two that are there; what it does not say is as in a row it belongs to, (table, id)."""
        known = self._bench.tables[table].columns
        same = [name for name in known if like and name not in values and name in self._bench.tables[like[0]].columns]
        there = " from %s where id = %%s" % self._bench.live(like[0]) if like else ""
        self._bench.run(
            "insert into %s (__role, %s) select 'link', %s%s"
            % (
                self._bench.saved(table), ", ".join(map(quote_ident, [*values, *same])),
                ", ".join(["%s"] * len(values) + list(map(quote_ident, same))), there,
            ),
            [*values.values(), *like[1:]],
        )  # fmt: skip
