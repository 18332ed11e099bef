# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Picking the rows of a closure out of COPY text, block by block: nothing is decoded but what a rule asks for."""
from __future__ import annotations

import json

from ..letta import closure
from ..postgres.binarycopy import prefixed
from ..postgres.copytext import NULL, SIMPLE_ESCAPES, CopyError, unescape

# With few ids a block is searched for them as a whole; from so many on, every row is split.
FEW = 8


class Sets:
    """The values that rules ask for: of roots, and of columns of the rows found so far, by the role of those rows.

    Values are in COPY's escaped form, so that fields compare as they stand.

    :param roots: {name of :data:`closure.ROOTS`: iterable of texts}.
    """

    def __init__(self, roots):
        self._roots = {name: frozenset(map(escape, roots.get(name, ()))) for name in closure.ROOTS}
        self._found = {}

    def add(self, table, column, role, values):
        """Remember values of ``table.column`` (or ``column:path``) of rows that have this role."""
        self._found.setdefault((table, column), {}).setdefault(role, set()).update(values)

    def of(self, rule):
        """Return the set of values that a rule asks for."""
        table, name = closure.source_of(rule)
        if table is None:
            return self._roots[name]
        found = self._found.get((table, name), {})
        return frozenset().union(*(found.get(role, ()) for role in closure.FOLLOWS[rule.role]))


def escape(text):
    """Return a text as COPY writes it."""
    return escape_bytes(text.encode("utf-8"))


def escape_bytes(data):
    """Return bytes of text as COPY writes them."""
    data = data.replace(b"\\", b"\\\\")
    for escaped, plain in SIMPLE_ESCAPES:
        data = data.replace(plain, escaped)
    return data


def captures(table, rules=closure.RULES):
    """Return the columns (``column`` or ``column:path``) of a table that rules of other tables ask for, sorted."""
    return sorted({name for source, name in map(closure.source_of, rules) if source == table})


class RowFilter:
    """Finds the rows of one table that its rules select, and captures what later rules ask for.

    :param columns: of the table's COPY text, in order.
    :param rules: of this table; one whose column is missing here selects nothing.
    :param sets: :class:`Sets`; what is captured goes into it.
    :ivar wanted: the values that select a row, in COPY's escaped form.
    """

    def __init__(self, table, columns, rules, sets):
        self._table, self._columns, self._width, self._sets = table, list(columns), len(columns), sets
        wanted = [(closure.ROLES.index(rule.role), columns.index(rule.column), sets.of(rule)) for rule in rules if rule.column in columns]
        self._conditions = sorted((item for item in wanted if item[2]), key=lambda item: item[:2])
        self._captures = [
            (name, columns.index(name.partition(":")[0]), name.partition(":")[2])
            for name in captures(table)
            if name.partition(":")[0] in columns
        ]
        self.wanted = set().union(*(item[2] for item in self._conditions)) if self._conditions else set()
        self._last = max((item[1] for item in self._conditions), default=0)
        self.rows = 0

    def is_empty(self):
        """Tell whether no row can be selected."""
        return not self._conditions

    def may_be_in(self, listed):
        """Tell whether a part of the table can hold a row that is selected.

        :param listed: {column: all values that it has there, as bytes}; columns that are not named may have any.
        """
        known = {self._columns.index(column): set(map(escape_bytes, values)) for column, values in listed.items() if values is not None}
        return any(index not in known or values & known[index] for _role, index, values in self._conditions)

    def pick_binary(self, rows):
        """Yield the selected rows of a table in binary form, each behind its role.

        :param rows: of :func:`binarycopy.rows`.
        """
        for row, fields in rows:
            escaped = _Escaped(fields)
            role = self._role(escaped)
            if role is not None:
                self._capture(escaped, role)
                self.rows += 1
                yield prefixed(row, self._width, role.encode())

    def pick(self, block):
        """Return the selected rows of a block of whole lines, each behind its role: ``own\\t<row>\\n``."""
        picked = []
        for line in self._candidates(block):
            role = self._role(line.split(b"\t", self._last + 1))
            if role is not None:
                fields = line.split(b"\t")
                if len(fields) != self._width:
                    raise CopyError("a row of %s has another number of columns" % self._table)
                self._capture(fields, role)
                picked.append(b"%s\t%s\n" % (role.encode(), line))
        self.rows += len(picked)
        return picked

    def _candidates(self, block):
        if len(self.wanted) > FEW:
            return block.split(b"\n")[:-1]
        ends = set()
        for needle in self.wanted:
            at = block.find(needle)
            while at >= 0:
                end = block.find(b"\n", at)
                ends.add(end)
                at = block.find(needle, end)
        return [block[block.rfind(b"\n", 0, end) + 1 : end] for end in sorted(ends)]

    def _role(self, fields):
        for role, index, values in self._conditions:
            if fields[index] in values:
                return closure.ROLES[role]
        return None

    def _capture(self, fields, role):
        for name, index, path in self._captures:
            value = inside(fields[index], path) if path else fields[index]
            if value != NULL:
                self._sets.add(self._table, name, role, (value,))


class _Escaped:
    """The fields of a binary row, each in COPY's escaped form when it is asked for."""

    def __init__(self, fields):
        self._fields = fields

    def __getitem__(self, index):
        field = self._fields[index]
        return NULL if field is None else escape_bytes(field)


def inside(field, path):
    """Return the text at a path inside a JSON field, escaped; NULL when there is none."""
    if field == NULL:
        return NULL
    try:
        value = json.loads(unescape(field))
    except (ValueError, RecursionError):
        return NULL  # not JSON, or nested beyond reading: the checks of the data tell it, and nothing can be followed from it
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return escape(value) if isinstance(value, str) else NULL
