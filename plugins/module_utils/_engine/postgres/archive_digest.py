# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The digests of :mod:`digest`, from an archive's own text and without a server."""
from __future__ import annotations

import struct
from hashlib import md5

from ..errors import RecoveryError
from ..progress import Progress
from . import ddl
from .archive import data_columns, selected
from .copytext import CODECS, NULL, CopyError, CopyScanner, split_rows, unescape
from .digest import Sums
from .record import converter, texts

# Rows at a time: bounds the memory that the fields of short rows take.
BATCH_BYTES = 1 << 20


def digest_archive(archive, tools, groups=None, progress=None):
    """Digest every table of an archive. Memory does not grow with it: one chunk of text, or the longest row.

    :param archive: an :class:`archive.Archive`.
    :param groups: ``{"schema.table": "column"}`` as for ``digest_database``; the column must be of a text-like type.
    :param progress: a Progress; counts tables.
    :returns: ``{"schema.table": TableDigest}`` of the tables it holds rows of.
    :raises RecoveryError: ``backup_corrupt`` when its text is damaged; ``usage`` for a dump of INSERT statements or unknown groups.

    Known limit: values of timestamptz *inside composite types* are taken as they are written (a dump of ours is written in UTC).
    """
    progress, groups = progress or Progress(None), groups or {}
    entries = archive.data_entries()
    labels = ["%s.%s" % (entry.schema, entry.name) for entry in entries]
    unknown = set(groups) - set(labels)
    if unknown:
        raise RecoveryError("usage", "no such table to digest by group: %s" % ", ".join(sorted(unknown)))
    tables = _table_digesters(archive, entries, labels, groups)
    progress.start("digest", len(entries), "tables")
    if entries:
        with selected(archive, tools, entries) as process:
            for number, block in CopyScanner(process.stdout, [entry.copy for entry in entries]):
                progress.update(number, labels[number])
                try:
                    tables[number].add(block)
                except CopyError as exc:
                    raise CopyError("table %s: %s" % (labels[number], exc)) from None
    progress.update(len(entries))
    return {label: table.sums.result(label in groups) for label, table in zip(labels, tables)}


def _table_digesters(archive, entries, labels, groups):
    types = ddl.table_columns(archive.entries)
    known_domains = ddl.domains(archive.entries)
    vector_schema = archive.extensions().get("vector")
    encoding = archive.encoding()
    if encoding not in CODECS:
        raise RecoveryError("preflight", "%s is in encoding %s" % (archive.path, encoding), next_step="dump again with --encoding=UTF8")
    codec = None if CODECS[encoding] == "utf-8" else CODECS[encoding]
    result = []
    for entry, label in zip(entries, labels):
        columns = data_columns(entry)
        written = types.get(label, {})
        converters = [
            converter(*ddl.value_kind(written[name], known_domains, vector_schema)) if name in written else texts for name in columns
        ]
        if groups.get(label) not in [None] + columns:
            raise RecoveryError("usage", "table %s has no column %s" % (label, groups[label]))
        result.append(_TableDigester(columns, converters, groups.get(label), codec))
    return result


class _TableDigester:
    """Adds blocks of one table's COPY text to its sums."""

    def __init__(self, columns, converters, group, codec):
        self.sums = Sums()
        self._width = len(columns)
        # by name as bytes, as the server's collation "C" has it
        self._order = sorted(range(len(columns)), key=lambda i: columns[i].encode("utf-8", "surrogateescape"))
        self._converters = converters
        self._group = columns.index(group) if group is not None else None
        self._codec = codec

    def add(self, block):
        """Add a block of whole lines."""
        if self._codec:
            block = block.decode(self._codec).encode("utf-8")
        rows = split_rows(block, self._width)
        if not rows:
            return
        columns = list(zip(*rows))
        fields = [self._converters[i](columns[i]) for i in self._order]
        records = zip(*fields) if fields else [()] * len(rows)
        digests = b"".join([md5(b"(%b)" % b",".join(record)).digest() for record in records])
        halves = struct.unpack(">%dQ" % (len(digests) // 8), digests)
        if self._group is None:
            self.sums.add("", len(rows), sum(halves[0::2]), sum(halves[1::2]))
            return
        add = self.sums.add
        for key, first, second in zip(self._keys(columns[self._group]), halves[0::2], halves[1::2]):
            add(key, 1, first, second)

    @staticmethod
    def _keys(column):
        known = {value: "" if value == NULL else unescape(value).decode("utf-8") for value in set(column)}
        return [known[value] for value in column]
