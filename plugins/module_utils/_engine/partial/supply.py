# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the rows of a set's tables are: in the archive as text or, those with vectors, beside it in binary pieces."""
from __future__ import annotations

import os

from ..postgres.archive import data_columns
from ..postgres.members import reading


class Supply:
    """The tables of one schema of a set.

    :param archive: an opened Archive. :param schema: where Letta's tables are in it. :param saved: :class:`pieces.Saved` or None.
    :ivar tables: names of those that rows can come of, in the order to read them: a tar archive knows no other.
    :ivar encoding: of text, by PostgreSQL's name; binary rows are always UTF8.
    """

    def __init__(self, archive, tools, schema, saved=None):
        self._archive, self._tools, self._saved = archive, tools, saved
        self._entries = {entry.name: entry for entry in archive.data_entries() if entry.schema == schema}
        self._binary = {table["name"]: table for table in saved.tables.values() if table["schema"] == schema} if saved else {}
        self.tables = (*self._entries, *self._binary)
        self.encoding = archive.encoding()
        self.at_once = 1 if archive.format == "tar" else None

    def is_binary(self, table):
        """Tell whether a table's rows are in binary form."""
        return table in self._binary

    def columns(self, table):
        """Return the names of a table's columns, in the order of its fields."""
        return list(self._binary[table]["columns"]) if table in self._binary else data_columns(self._entries[table])

    def size(self, table):
        """Return the bytes of a table's files, 0 where that is not to be known."""
        if table in self._binary:
            return sum(os.path.getsize(self._saved.path(piece)) for piece in self._binary[table]["pieces"])
        return self._archive.member_bytes(self._entries[table])

    def blocks(self, tables):
        """Return a context of (index of the table, block of lines) of tables in text form, see :func:`members.reading`."""
        return reading(self._archive, self._tools, [self._entries[table] for table in tables])

    def rows(self, table, wanted):
        """Iterate over the rows of a table in binary form, see :func:`binarycopy.rows`.

        :param wanted: function ({column: values that a piece has, as set of bytes}) that tells whether a piece is to be read.
        :raises RecoveryError: ``backup_corrupt``.
        """
        described = self._binary[table]
        for piece in described["pieces"]:
            if wanted({column: self._saved.listed(piece, column) for column in piece["keys"]}):
                yield from self._saved.rows(piece, len(described["columns"]))
