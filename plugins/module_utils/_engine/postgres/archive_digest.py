# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The digests of :mod:`digest`, from an archive's own text and without a server."""

from __future__ import annotations

import multiprocessing
import struct
import sys
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from ..errors import RecoveryError
from ..progress import Progress
from . import ddl
from .archive import data_columns, selected
from .copytext import CODECS, NULL, CopyError, CopyScanner, split_rows, unescape
from .record import converter, md5, texts
from .rowsums import Sums

_FORKED_TABLES = []  # what a worker digests with: inherited by fork, set just before it


def digest_archive(archive, tools, groups=None, progress=None, jobs=1):
    """Digest every table of an archive. Memory does not grow with it: some chunks of text, or the longest row.

    :param archive: an :class:`archive.Archive`.
    :param groups: ``{"schema.table": "column"}`` as for ``digest_database``; the column must be of a text-like type.
    :param progress: a Progress; counts tables.
    :param jobs: worker processes (Linux); parsing the text of vectors takes most of the time, and it shares well.
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
            blocks = CopyScanner(process.stdout, [entry.copy for entry in entries])
            run = _alone if jobs < 2 or not sys.platform.startswith("linux") else _with_workers
            run(tables, _watched(blocks, labels, progress), jobs)
    progress.update(len(entries))
    return {label: table.sums.result(label in groups) for label, table in zip(labels, tables)}


def _watched(blocks, labels, progress):
    for number, block in blocks:
        progress.update(number, labels[number])
        yield number, block


def _alone(tables, blocks, dummy_jobs):
    for number, block in blocks:
        tables[number].sums.merge(tables[number].digest(block))


def _with_workers(tables, blocks, jobs):
    """Spread blocks over processes; at most two blocks per worker wait, so that memory stays bounded."""
    global _FORKED_TABLES  # noqa: PLW0603  (inherited by the workers' fork: no pickling of converters)
    _FORKED_TABLES = tables
    waiting = deque()

    def collect():
        number, future = waiting.popleft()
        tables[number].sums.merge(future.result())

    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork"))
    try:
        for number, block in blocks:
            waiting.append((number, pool.submit(_digest_in_worker, number, block)))
            if len(waiting) > 2 * jobs:
                collect()
        while waiting:
            collect()
    except BrokenProcessPool:
        raise RecoveryError(
            "preflight",
            "a worker that digests the archive was killed, most likely for want of memory",
            next_step="use letta_restore_jobs=1",
        ) from None
    finally:
        pool.shutdown(wait=True)
        _FORKED_TABLES = []


def _digest_in_worker(number, block):
    return _FORKED_TABLES[number].digest(block)


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
        result.append(_TableDigester(label, columns, converters, groups.get(label), codec))
    return result


class _TableDigester:
    """Digests blocks of one table's COPY text."""

    def __init__(self, label, columns, converters, group, codec):
        self.sums = Sums()
        self._label = label
        self._width = len(columns)
        # by name as bytes, as the server's collation "C" has it
        self._order = sorted(range(len(columns)), key=lambda i: columns[i].encode("utf-8", "surrogateescape"))
        self._converters = converters
        self._group = columns.index(group) if group is not None else None
        self._codec = codec

    def digest(self, block):
        """Return the :class:`Sums` of a block of whole lines."""
        sums = Sums()
        if self._codec:
            block = block.decode(self._codec).encode("utf-8")
        try:
            rows = split_rows(block, self._width)
            columns = list(zip(*rows))
            fields = [self._converters[i](columns[i]) for i in self._order if rows]
        except CopyError as exc:
            raise CopyError("table %s: %s" % (self._label, exc)) from None
        if not rows:
            return sums
        records = zip(*fields) if fields else [()] * len(rows)
        digests = b"".join([md5(b"(%b)" % b",".join(record)).digest() for record in records])
        halves = struct.unpack(">%dQ" % (len(digests) // 8), digests)
        if self._group is None:
            sums.add("", len(rows), sum(halves[0::2]), sum(halves[1::2]))
            return sums
        for key, first, second in zip(self._keys(columns[self._group]), halves[0::2], halves[1::2]):
            sums.add(key, 1, first, second)
        return sums

    @staticmethod
    def _keys(column):
        known = {value: "" if value == NULL else unescape(value).decode("utf-8") for value in set(column)}
        return [known[value] for value in column]
