# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A slice: the rows of a closure, one file of COPY text per table, streamed out of an archive that is never loaded.

Tables are read as soon as the tables that their rules ask for are done, several at a time; one that cannot hold rows of the
closure is not read at all. Memory does not grow with the archive: rows go from it to a file as they are.
"""
from __future__ import annotations

import os
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from .. import durable
from ..letta import closure
from ..letta.linking import rules_for
from ..postgres.binarycopy import HEADER, TRAILER
from ..progress import Progress
from . import unread
from .rows import RowFilter, Sets

FACTS = "slice.json"
SMALL = 4 << 20  # members below this are read together: starting pg_restore costs more than they do
ROLE = "__role"  # the first column of every file


@dataclass
class Slice:
    """A slice on disk.

    :param folder: private to its run. :param roots: {root: [ids]} it was cut for.
    :param tables: {table without schema: {"columns": [...] (without the role), "rows": n, "binary": true for binary COPY}}.
    :param encoding: of its text, by PostgreSQL's name; binary rows are always UTF8.
    :param added: {table: [keys]} of rows that were not there: an undo removes them.
    :param unread: {archive: [rows, digest]} of passages that live has as saved, see :mod:`unread`: their table is not in ``tables``.
    """

    folder: str
    roots: dict
    tables: dict = field(default_factory=dict)
    encoding: str = "UTF8"
    added: dict = field(default_factory=dict)
    unread: dict = field(default_factory=dict)

    def path(self, table):
        """Return the file of a table."""
        return os.path.join(self.folder, table + ".copy")

    def create(self, table):
        """Return the file of a table, new and for its owner alone, open for writing."""
        return open(self.path(table), "wb", opener=lambda path, flags: os.open(path, flags, 0o600))

    def form(self, table):
        """Return how COPY reads a table's file: (options of the statement, encoding)."""
        return (" (format binary)", "UTF8") if self.tables[table].get("binary") else ("", self.encoding)

    def save(self):
        """Write what the files are, durably; without it they are no slice."""
        facts = {"roots": self.roots, "tables": self.tables, "encoding": self.encoding, "added": self.added, "unread": self.unread}
        durable.write_json(os.path.join(self.folder, FACTS), facts)

    @classmethod
    def load(cls, folder):
        """Read what :meth:`save` wrote."""
        facts = durable.read_json(os.path.join(folder, FACTS))
        return cls(folder, facts["roots"], facts["tables"], facts["encoding"], facts["added"], facts.get("unread", {}))


def cut(supply, roots, folder, rules=None, jobs=2, progress=None, as_saved=None):
    """Stream a set's tables and keep the rows of a closure.

    :param supply: :class:`~.supply.Supply`: the tables.
    :param roots: {root: [ids]}, see :mod:`selection`. :param folder: an empty private folder.
    :param rules: of :func:`linking.rules_for`; without, all but those of traces. :param jobs: tables read at a time.
    :param as_saved: function ([archive]) that returns ``unread`` when their passages need not be read.
    :returns: :class:`Slice`, saved.
    :raises RecoveryError: ``backup_corrupt`` when the archive cannot be read to its end.
    """
    progress = progress or Progress(None)
    made = Slice(folder, {name: sorted(ids) for name, ids in roots.items()}, encoding=supply.encoding)
    work = _Work(supply, rules or rules_for(roots), Sets(roots), made, as_saved)
    progress.start("slice", sum(map(supply.size, supply.tables)), "bytes")
    order = TopologicalSorter(work.needs())
    order.prepare()
    running, ready, jobs = {}, [], max(1, supply.at_once or jobs)
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        while order.is_active():
            ready = sorted(ready + list(order.get_ready()), key=supply.size)
            ready = [name for name in ready if not work.skip(name, order.done)]
            while ready and len(running) < jobs:
                batch = _batch(ready, supply.size)
                running[pool.submit(work.read, batch, progress)] = batch
            if running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    batch = running.pop(future)
                    future.result()
                    order.done(*batch)
    made.tables = {name: made.tables[name] for name in closure.tables_in_order() if name in made.tables}
    made.save()
    return made


def _batch(ready, size):
    """Take the largest table, or all small ones together, out of ``ready`` (sorted by size)."""
    if size(ready[-1]) > SMALL:
        return [ready.pop()]
    batch = list(ready)
    ready.clear()
    return batch


class _Work:
    """Reading tables of one set into one slice."""

    def __init__(self, supply, rules, sets, made, as_saved):
        self._as_saved = as_saved
        self._supply, self._sets, self._made = supply, sets, made
        self._rules = {}
        for rule in rules:
            if rule.table in supply.tables:
                self._rules.setdefault(rule.table, []).append(rule)
        self._filters = {}

    def needs(self):
        """Return {table: tables whose rows its rules ask for}."""
        return {
            table: {closure.source_of(rule)[0] for rule in rules} & set(self._rules) - {table} for table, rules in self._rules.items()
        }

    def skip(self, table, done):
        """Make the filter of a table whose turn has come; tell whether it cannot hold a row, and is done without being read."""
        if table not in self._filters:
            columns = self._supply.columns(table)
            self._filters[table] = RowFilter(table, columns, self._rules[table], self._sets)
            if table == unread.TABLE and self._as_saved and not self._filters[table].is_empty():
                self._made.unread = self._as_saved([value.decode("utf-8") for value in sorted(self._filters[table].wanted)]) or {}
                if self._made.unread:
                    done(table)
                    return True
            self._made.tables[table] = {"columns": columns, "rows": 0}
            if self._supply.is_binary(table):
                self._made.tables[table]["binary"] = True
            self._made.create(table).close()
        if self._filters[table].is_empty():
            done(table)
            return True
        return False

    def read(self, tables, progress):
        """Read some tables, those in text form in one go and in the archive's order."""
        tables = sorted(tables, key=self._supply.tables.index)
        binary = [table for table in tables if self._supply.is_binary(table)]
        for table in binary:
            self._read_binary(table)
        text = [table for table in tables if table not in binary]
        if text:
            self._read_text(text)
        for table in tables:
            self._made.tables[table]["rows"] = self._filters[table].rows
            progress.advance(self._supply.size(table), table)

    def _read_text(self, tables):
        with ExitStack() as stack:
            files = [stack.enter_context(open(self._made.path(table), "wb")) for table in tables]
            for index, block in stack.enter_context(self._supply.blocks(tables)):
                files[index].writelines(self._filters[tables[index]].pick(block))

    def _read_binary(self, table):
        chosen = self._filters[table]
        with open(self._made.path(table), "wb") as stream:
            stream.write(HEADER)
            stream.writelines(chosen.pick_binary(self._supply.rows(table, chosen.may_be_in)))
            stream.write(TRAILER)
