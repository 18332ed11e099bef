# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why is this row in? The path from a row of a slice back to what was asked for, by the rules that cut the slice.

Only the files on the way are read, line by line; of the rows that could explain another one a few of each role are looked at.
"""
from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from ..errors import RecoveryError
from ..letta import closure
from ..letta.closure import AGENTS, LINKED, OWN, POINTER, PRESENCE, ROOT_ROWS, Rule
from ..postgres import binarycopy
from ..postgres.copytext import CODECS, NULL, unescape
from .rows import FEW, escape, escape_bytes, inside

ASKED_FOR = "asked for"
# How the roots that nobody names are found, as rules: see selection.resolve.
BROUGHT_ALONG = (
    Rule("groups", "manager_agent_id", AGENTS, OWN, "a group that the agent manages"),
    Rule("groups", "id", "groups_agents.group_id", OWN, "a group that the agent is a partner in"),
    Rule("agents", "id", "groups_agents.agent_id", OWN, "a partner of the agent"),
    Rule("agents", "id", "groups.manager_agent_id", OWN, "the agent whose partner it is"),
    Rule("sources", "id", "files.source_id", PRESENCE, "the source of the file"),
    Rule("groups", "manager_agent_id", LINKED, POINTER, "a group that the agent manages"),
    Rule("groups", "id", "groups_agents.group_id", POINTER, "a group that the agent is a member of"),
)
_UNNAMED = (closure.GROUPS, closure.FILE_SOURCES, closure.LINKED_GROUPS, closure.JOINED_GROUPS)
_NOTHING_DONE = "nothing was read but the slice, nothing was changed"


def why(cut, table, key):
    """Return the shortest path from a row to what was asked for: ``[(table, key, why)]``, the row first.

    :param cut: a :class:`~.slices.Slice`. :param table: without schema.
    :param key: the row's id; where it has none the columns of its key as the plan shows them, ``agent-…/tool-…``.
    :returns: each ``why`` says what the row is to the next one; that of the last is :data:`ASKED_FOR`, or what the root is that
        nobody named.
    :raises RecoveryError: ``usage`` when the slice has no such row, or no rule leads to it.
    """
    search = _Search(cut)
    first = search.find(table, key)
    ways: deque = deque([(first, ())])
    seen, unnamed = {(first.table, first.key)}, None
    while ways:
        row, trail = ways.popleft()
        root = search.root(row)
        if root == ASKED_FOR:
            return [*trail, (row.table, row.key, root)]
        if root and unnamed is None:
            unnamed = [*trail, (row.table, row.key, root)]
        for rule in search.rules(row):
            for cause in search.causes(row, rule):
                step = (*trail, (row.table, row.key, rule.why))
                if search.root(cause) == ASKED_FOR:
                    return [*step, (cause.table, cause.key, ASKED_FOR)]
                if (cause.table, cause.key) not in seen:
                    seen.add((cause.table, cause.key))
                    ways.append((cause, step))
    if unnamed is None:
        raise RecoveryError(
            "usage", "no rule leads to row %s of %s: it stands in the slice as %s" % (first.key, table, first.role), now=_NOTHING_DONE,
            next_step="ask the release of this collection that cut the slice, or cut it again: the same command with --check",
        )  # fmt: skip
    return unnamed


def told(path):
    """Return a path in one line: ``messages message-… <- a message of the agent <- agents agent-… (asked for)``."""
    steps = ["%s %s <- %s" % step for step in path[:-1]]
    return " <- ".join([*steps, "%s %s (%s)" % path[-1]])


@dataclass
class _Row:
    """A row of a slice; ``fields`` {column: escaped value}; empty for a root that was not read."""

    table: str
    key: str
    role: str
    fields: dict


class _Search:
    """Looks up rows of one slice."""

    def __init__(self, cut):
        self._cut = cut
        self._codec = CODECS.get(cut.encoding, "utf-8")
        named = [name for name in closure.ROOTS if name not in _UNNAMED]
        # A slice that does not say what was asked for: everything that is a root by name.
        asked = cut.roots.get(closure.ASKED) or [item for name in named for item in cut.roots.get(name, ())]
        self._asked = {escape(item) for item in asked}
        self._roots = {name: {escape(item) for item in cut.roots.get(name, ())} for name in closure.ROOTS}

    def find(self, table, key):
        """Return the row of a key. :raises RecoveryError: ``usage``."""
        if table not in self._cut.tables:
            raise RecoveryError(
                "usage", "the slice has no table %s" % table, now=_NOTHING_DONE,
                next_step="its tables: %s" % ", ".join(name for name, facts in self._cut.tables.items() if facts["rows"]),
            )  # fmt: skip
        wanted = escape(key)
        for row in self._rows(table, wanted.partition(b"/")[0]):
            if wanted in (row.fields.get("id"), self._key(row)):
                return self._named(row)
        raise RecoveryError(
            "usage", "the slice has no row %s in %s (of %d rows)" % (key, table, self._cut.tables[table]["rows"]), now=_NOTHING_DONE,
            next_step="name it as the plan does: by its id, or by the columns of its key in order (%s)"
            % "/".join(_key_columns(table, self._cut.tables[table]["columns"])),
        )  # fmt: skip

    def root(self, row):
        """Return :data:`ASKED_FOR` for a row that was asked for, what it is for another root, and nothing else."""
        for rule in closure.RULES:
            table, column = ROOT_ROWS.get(rule.of, (None, None))
            value = row.fields.get(rule.column)
            if (rule.table, rule.column, table) == (row.table, column, row.table) and value in self._roots[rule.of]:
                return ASKED_FOR if value in self._asked else rule.why
        return ""

    def rules(self, row):
        """Return the rules that may have brought a row in as what it is."""
        return [
            rule for rule in closure.RULES + BROUGHT_ALONG
            if rule.table == row.table and rule.role == row.role and row.fields.get(rule.column, NULL) != NULL
        ]  # fmt: skip

    def causes(self, row, rule):
        """Return the rows by which a rule selects a row, those of the strongest role first."""
        value = row.fields[rule.column]
        table, name = closure.source_of(rule)
        if table is not None:
            return self._holding(table, name, value, closure.FOLLOWS.get(rule.role, closure.ROLES))
        table, column = ROOT_ROWS[rule.of]
        if value not in self._roots[rule.of] or (table, column) == (rule.table, rule.column):
            return []
        if value in self._asked:
            return [_Row(table, self._text(value), OWN, {column: value})]
        return self._holding(table, column, value, closure.ROLES)

    def _holding(self, table, name, value, roles):
        column, _colon, path = name.partition(":")
        found = {role: [] for role in closure.ROLES if role in roles}
        # Text inside JSON may be written in several ways: every row is looked at.
        for row in self._rows(table, b"" if path else value) if table in self._cut.tables else ():
            field = row.fields.get(column, NULL)
            if row.role in found and len(found[row.role]) < FEW and (inside(field, path) if path else field) == value:
                found[row.role].append(self._named(row))
        return [row for rows in found.values() for row in rows]

    def _rows(self, table, needle):
        """Yield the rows of a table in which some bytes stand, without their keys."""
        columns = self._cut.tables[table]["columns"]
        with open(self._cut.path(table), "rb") as stream:
            for role, *fields in self._fields(table, stream, needle):
                yield _Row(table, "", role.decode("ascii"), dict(zip(columns, fields)))

    def _fields(self, table, stream, needle):
        facts = self._cut.tables[table]
        if not facts.get("binary"):
            return (line.rstrip(b"\n").split(b"\t") for line in stream if needle in line)
        rows = binarycopy.rows(stream, len(facts["columns"]) + 1) if facts["rows"] else ()
        escaped = ([NULL if field is None else escape_bytes(field) for field in fields] for _row, fields in rows)
        return (fields for fields in escaped if needle in b"\t".join(fields))

    def _key(self, row):
        return b"/".join(row.fields[name] for name in _key_columns(row.table, row.fields))

    def _named(self, row):
        row.key = self._text(self._key(row))
        return row

    def _text(self, value):
        return unescape(value).decode(self._codec, "replace")


def _key_columns(table, columns):
    """Return the columns that tell the rows of a table apart."""
    declared = closure.KEYS.get(table) or closure.LINK_KEYS.get(table)
    return declared or (("id",) if "id" in columns else ("version_num",))
