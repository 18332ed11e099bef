# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pieces of tables with vectors that :mod:`segments` wrote: finding, reading, checking and loading them."""
from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field

from ..errors import RecoveryError
from . import binarycopy, copying, packing
from .schedule import Task


@dataclass(frozen=True)
class Saved:
    """The tables that a set has in binary form.

    :param folder: of the set. :param compression: of every piece.
    :param tables: {``schema.table``: {"schema", "name", "columns": [name],
        "pieces": [{"path", "rows", "bytes", "keys": {column: path}}]}}.
    :param probe: how the server they come from sent a vector, see :func:`segments.probe`.
    """

    folder: str
    compression: str
    tables: dict = field(repr=False)
    probe: str = ""

    @classmethod
    def of(cls, manifest, folder):
        """Return those of a set; None when it has none.

        :param manifest: loaded and checked, see :func:`problem`. :param folder: where its plain files are.
        """
        section = manifest["database"].get("segments")
        if not section:
            return None
        tables = {"%s.%s" % (table["schema"], table["name"]): table for table in section["tables"]}
        return cls(folder, section["compression"], tables, section.get("probe") or "")

    def path(self, piece):
        """Return the file of a piece."""
        return os.path.join(self.folder, piece["path"])

    def listed(self, piece, column):
        """Return the values of a key column that a piece has, as a set of bytes; None when they are not listed."""
        name = piece["keys"].get(column)
        if name is None:
            return None
        with open(os.path.join(self.folder, name), "rb") as stream:
            return set(stream.read().split(b"\n")[:-1])

    def rows(self, piece, width):
        """Iterate over the rows of a piece, see :func:`binarycopy.rows`.

        :raises RecoveryError: ``backup_corrupt``, naming the file, also when it has another number of rows.
        """
        count = 0
        try:
            with ExitStack() as stack:  # unwinds also when the reader stops early
                for row in binarycopy.rows(stack.enter_context(packing.reading(self.path(piece), self.compression)), width):
                    count += 1
                    yield row
        except (packing.Damaged, binarycopy.BinaryError, OSError) as exc:
            raise _damaged(piece, exc) from None
        if count != piece["rows"]:
            raise _damaged(piece, "it has %d rows, %d were saved" % (count, piece["rows"]))

    def count(self, progress):
        """Read all pieces to their end. :returns: {``schema.table``: rows}. :raises RecoveryError: ``backup_corrupt``."""
        found = {}
        for label, table in self.tables.items():
            found[label] = 0
            for piece in table["pieces"]:
                progress.update(item=piece["path"])
                found[label] += sum(1 for _row in self.rows(piece, len(table["columns"])))
        return found


def problem(section, files):
    """Return what is wrong with the ``segments`` of a manifest, None when nothing is.

    :param files: the paths that the manifest lists.
    """
    try:
        if section["compression"].partition(":")[0] not in packing.SUFFIXES:
            return "its vectors are compressed with %r, which this release does not know" % section["compression"]
        for table in section["tables"]:
            label = "%s.%s" % (table["schema"], table["name"])
            if not table["columns"] or not all(isinstance(name, str) for name in table["columns"]):
                return "the columns of %s are not named" % label
            for piece in table["pieces"]:
                paths = [piece["path"], *piece["keys"].values()]
                missing = [path for path in paths if path not in files]
                if missing or not isinstance(piece["rows"], int) or not isinstance(piece["bytes"], int):
                    return "a piece of %s is not listed: %s" % (label, ", ".join(map(repr, missing)) or "rows and bytes")
    except (KeyError, TypeError, AttributeError):
        return "its part on tables with vectors is not complete"
    return None


def _damaged(piece, reason):
    return RecoveryError(
        "backup_corrupt", "%s is damaged: %s" % (piece["path"], reason), now="nothing was read into any database",
        next_step="take another backup set (ansible-playbook playbooks/catalog.yml --tags verify lists the good ones)",
    )  # fmt: skip


def tasks(server, owner, saved, settings):
    """Return tasks for :mod:`schedule`, one per piece; their names are those of :func:`copying.rows_of`.

    :param server: whose default database has the tables. :param owner: the role to work as.
    :param settings: of the server, ``{name: value}``, for the sessions.
    """

    def task(label, piece):
        def run(stopped):
            with copying.session(server, owner, settings, "UTF8") as conn:
                load_piece(conn, saved, label, piece, stopped)

        return Task(piece["bytes"], run, copying.rows_of(saved.tables[label]["schema"], saved.tables[label]["name"]))

    return [task(label, piece) for label, table in saved.tables.items() for piece in table["pieces"] if piece["rows"]]


def load_piece(conn, saved, label, piece, stopped):
    """Load one piece into its table.

    :param label: ``schema.table``. :param stopped: a :class:`threading.Event` that ends it.
    :raises RecoveryError: ``backup_corrupt`` when the file is damaged, ``load_failed`` when the server refuses its rows.
    """
    table = saved.tables[label]
    try:
        with packing.reading(saved.path(piece), saved.compression) as stream:
            count = copying.copy_in(conn, (table["schema"], table["name"]), table["columns"], stream.read, stopped, " (format binary)")
    except (packing.Damaged, OSError) as exc:
        raise _damaged(piece, exc) from None
    if count != piece["rows"]:
        raise _damaged(piece, "it has %d rows, %d were saved" % (count, piece["rows"]))
