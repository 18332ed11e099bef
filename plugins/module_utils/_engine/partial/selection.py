# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person asks for by id, name, pattern or tag, found in the archive's own rows: ids that the closure starts from."""
from __future__ import annotations

import json
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ..errors import RecoveryError
from ..letta import closure
from ..postgres.archive import data_columns
from ..postgres.copytext import CODECS, NULL, split_rows, unescape
from ..postgres.members import reading

LINKS = "links"  # agents that live, of which only lost links come back
SCOPES = ("agents", "sources", "files", "blocks", "messages", "archives", LINKS)
WILDCARDS = "*?["
# Scope -> (table, its columns that count as names, link table and column that lead from an agent to it).
KINDS = {
    "agents": ("agents", ("name",), None, None),
    "sources": ("sources", ("name",), "sources_agents", "source_id"),
    "files": ("files", ("file_name", "original_file_name"), "files_agents", "file_id"),
    "blocks": ("block", ("label",), "blocks_agents", "block_id"),
    "archives": ("archives", ("name",), "archives_agents", "archive_id"),
}
ROOT_OF = {"sources": closure.SOURCES, "files": closure.FILES, "blocks": closure.BLOCKS, "archives": closure.ARCHIVES}


@dataclass(frozen=True)
class Selection:
    """What is asked for; each a list of ids, names or patterns (``support-*``).

    :param scopes: of :data:`SCOPES`; empty: what the lists name.
    :param tags: agents that have all of these tags. :param organization: agents of this organisation (id).
    """

    scopes: tuple = ()
    agents: tuple = ()
    tags: tuple = ()
    organization: str = ""
    sources: tuple = ()
    files: tuple = ()
    blocks: tuple = ()
    archives: tuple = ()

    def wants_agents(self):
        """Tell whether agents are named in any way."""
        return bool(self.agents or self.tags or self.organization)

    def named_scopes(self):
        """Return the scopes to restore.

        :raises RecoveryError: ``usage`` when nothing is named, or a scope has nothing to work on.
        """
        named = tuple(kind for kind in ("sources", "files", "blocks", "archives") if getattr(self, kind))
        named = (("agents",) if self.wants_agents() else ()) + named
        scopes = tuple(scope for scope in SCOPES if scope in (self.scopes or named))
        idle = [scope for scope in scopes if not self.wants_agents() and not (scope in KINDS and getattr(self, scope))]
        if not scopes or idle:
            what = "scope %s has nothing to bring back" % ", ".join(idle) if idle else "nothing is named to bring back"
            raise RecoveryError(
                "usage", what, now="nothing was read or changed",
                next_step="-e '{\"letta_agents\": [\"support-bot\"]}' (ids, names or patterns), letta_agent_tags, letta_sources,"
                " letta_files, letta_blocks or letta_archives",
            )  # fmt: skip
        return scopes


@dataclass
class Found:
    """What a selection names in an archive.

    :param roots: {root: [ids]} for :func:`slices.cut`. :param names: {id: name} of what was found.
    """

    scopes: tuple
    roots: dict
    names: dict = field(default_factory=dict)


def resolve(archive, tools, schema, selection):
    """Find what is asked for.

    :returns: :class:`Found`.
    :raises RecoveryError: ``usage`` when a name fits nothing, or several things and is no pattern: they are listed then.
    """
    return resolve_in(_Reader(archive, tools, schema), selection)


def resolve_in(reader, selection):
    """The same out of any reader: ``rows(table, columns)`` yields tuples of texts, ``place`` is what a person calls it."""
    scopes = selection.named_scopes()
    roots = {name: set() for name in closure.ROOTS}
    names, asked = {}, set()
    agents = _agents(reader, selection, names) if selection.wants_agents() else set()
    for scope in scopes:
        if scope == LINKS:
            roots[closure.LINKED] = agents
            roots[closure.LINKED_GROUPS], roots[closure.JOINED_GROUPS] = _groups_of(reader, agents)
        elif scope == "messages":
            roots[closure.TALKERS] |= agents
        elif scope != "agents":
            roots[ROOT_OF[scope]] |= _things(reader, scope, selection, agents, names)
            asked |= roots[ROOT_OF[scope]]
    if "agents" in scopes:
        roots[closure.AGENTS], roots[closure.GROUPS] = _with_partners(reader, agents, names)
        roots[closure.TALKERS] -= roots[closure.AGENTS]
    roots[closure.FILE_SOURCES] = {row[1] for row in reader.rows("files", ("id", "source_id")) if row[0] in roots[closure.FILES]} if roots[
        closure.FILES
    ] else set()
    roots[closure.ASKED] = asked | agents
    return Found(scopes, {name: sorted(ids) for name, ids in roots.items()}, names)


def _agents(reader, selection, names):
    rows = list(reader.rows("agents", ("id", "name", "organization_id")))
    found = _match(selection.agents, [(row[0], (row[1],)) for row in rows], "agent") if selection.agents else None
    if selection.organization:
        found = _narrow(found, {row[0] for row in rows if row[2] == selection.organization}, "organisation %s" % selection.organization)
    if selection.tags:
        tagged = {}
        for agent, tag in reader.rows("agents_tags", ("agent_id", "tag")):
            tagged.setdefault(agent, set()).add(tag)
        having = {agent for agent, tags in tagged.items() if set(selection.tags) <= tags}
        found = _narrow(found, having, "the tags %s" % ", ".join(selection.tags))
    chosen = found or set()
    names.update({row[0]: row[1] for row in rows if row[0] in chosen})
    return chosen


def _narrow(found, others, what):
    result = others if found is None else found & others
    if not result:
        raise _nothing("no agent of the backup has %s%s" % (what, "" if found is None else " among those named"))
    return result


def _things(reader, scope, selection, agents, names):
    """Return the ids of one scope: those named, else those of the agents named."""
    table, columns, link, column = KINDS[scope]
    asked = getattr(selection, scope)
    rows = [(row[0], row[1:]) for row in reader.rows(table, ("id", *columns))]
    if asked:
        found = _match(asked, rows, scope.rstrip("s"))
    else:
        found = {row[1] for row in reader.rows(link, ("agent_id", column)) if row[0] in agents}
        if not found:
            raise _nothing("the agents named have no %s in the backup" % scope)
    names.update({identity: labels[-1] or labels[0] for identity, labels in rows if identity in found})
    return found


def _match(wanted, rows, what):
    """Return the ids that ids, names or patterns stand for.

    :param rows: [(id, names)].
    """
    ids = {identity for identity, _labels in rows}
    found, missing, ambiguous = set(), [], []
    for text in wanted:
        if text in ids:
            found.add(text)
            continue
        fitting = [identity for identity, labels in rows if text in labels]
        if not fitting and any(sign in text for sign in WILDCARDS):
            fitting = [identity for identity, labels in rows if any(label and fnmatchcase(label, text) for label in labels)]
        elif len(fitting) > 1:
            ambiguous.append("%s: %s" % (text, ", ".join(sorted(fitting)[:10])))
        if not fitting:
            missing.append(text)
        found |= set(fitting)
    if ambiguous:
        raise RecoveryError(
            "usage", "several %ss of the backup have the same name: %s" % (what, "; ".join(ambiguous)), now="nothing was changed",
            next_step="name them by id",
        )  # fmt: skip
    if missing:
        raise _nothing("the backup has no %s %s" % (what, ", ".join(missing)), rows)
    return found


def _nothing(text, rows=()):
    known = sorted({labels[-1] or "" for _identity, labels in rows})[:20]
    step = "the backup has: %s" % ", ".join(known) if known else "look into another set: -e letta_backup_id=…"
    return RecoveryError("usage", text, now="nothing was changed", next_step=step)


def _with_partners(reader, agents, names):
    """Return (the agents with the partners that belong to them, the groups they manage)."""
    groups = list(reader.rows("groups", ("id", "manager_type", "manager_agent_id", "agent_ids")))
    members = {}
    for group, agent in reader.rows("groups_agents", ("group_id", "agent_id")):
        members.setdefault(group, set()).add(agent)
    agents, left = set(agents), set(agents)
    while left:
        partners = set()
        for group, kind, manager, listed in groups:
            if kind in closure.PARTNER_GROUPS and (manager in left or left & members.get(group, set())):
                partners |= members.get(group, set()) | set(_ids(listed)) | {manager}
        left = partners - agents - {None}
        agents |= left
    if agents - set(names):
        known = {row[0]: row[1] for row in reader.rows("agents", ("id", "name"))}
        agents &= set(known)  # a partner that was lost before the backup was taken
        names.update({agent: known[agent] for agent in agents})
    return agents, {group for group, _kind, manager, _listed in groups if manager in agents}


def _groups_of(reader, agents):
    """Return (groups that the agents manage, or that nobody does, groups of others that they are members of)."""
    managed, joined = set(), {group for group, agent in reader.rows("groups_agents", ("group_id", "agent_id")) if agent in agents}
    for group, manager, listed in reader.rows("groups", ("id", "manager_agent_id", "agent_ids")):
        if agents & set(_ids(listed)):
            joined.add(group)
        if manager in agents or (manager is None and group in joined):
            managed.add(group)
    return managed, joined - managed


def _ids(text):
    with suppress(ValueError, TypeError, RecursionError):
        return [item for item in json.loads(text) if isinstance(item, str)]
    return []


class _Reader:
    """Reads a few columns of a table out of the archive, everything else skipped."""

    def __init__(self, archive, tools, schema):
        self._archive, self._tools = archive, tools
        self._entries = {entry.name: entry for entry in archive.data_entries() if entry.schema == schema}
        self._codec = CODECS.get(archive.encoding(), "utf-8")

    def rows(self, table, columns):
        """Yield tuples of text or None; nothing when the archive has no such table."""
        entry = self._entries.get(table)
        if entry is None:
            return
        there = data_columns(entry)
        places = [there.index(column) if column in there else None for column in columns]
        with ExitStack() as stack:  # unwinds pg_restore also when the reader stops early
            for _index, block in stack.enter_context(reading(self._archive, self._tools, [entry])):
                for fields in split_rows(block, len(there)):
                    yield tuple(None if place is None else self._text(fields[place]) for place in places)

    def _text(self, value):
        return None if value == NULL else unescape(value).decode(self._codec)
