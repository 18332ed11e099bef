# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, indexes and foreign keys of an archive, made by connections of our own, each as soon as what it needs is there.

``pg_restore --jobs`` adds a foreign key and checks it in one statement, which locks both tables against every other such statement; nearly
all of Letta's tables refer to the same few, so one worker works while the others wait. Here a foreign key is added unchecked, which takes
no time, and checked by ``VALIDATE CONSTRAINT``, which locks no table but its own; what the catalog says in the end is the same.

The statements are the archive's own, as pg_restore would send them. What is not plain to see through is left to pg_restore.
"""
from __future__ import annotations

import re
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from functools import partial

from . import copying
from .connection import cancelled_when, lost, psycopg2
from .ddl import split_name
from .refused import load_failed
from .schedule import DEFINITIONS, Stopped, Task
from .sidedb import first_line

LINKS = "foreign keys"
# What pg_restore sets before it sends a definition. And no page is marked as visible to all right after a load, whatever statistics out of
# an archive say: a foreign key checked by an index alone would look up every row of it (measured: 1.2 s instead of 0.3 s).
DEFINING = {
    "standard_conforming_strings": "on", "check_function_bodies": "off", "xmloption": "content", "row_security": "off",
    "enable_indexonlyscan": "off",
}  # fmt: skip
# Texts are compared where they lie, not where they are sorted: sorts that fit the processor's cache, merged in the end, are much quicker
# than one that fits only the memory. 13 indexes of 1.26 million messages and their steps (2.1 GB): 34 s with 256 MB, 28 s with 64 MB,
# PostgreSQL's default, 19 s with 4 or 8 MB; two at a time on 0.5 GB: 9.5 s with 64 MB, 7.9 s with 8 MB, 6.5 s with 1 to 4 MB; 10 million
# ids: 36 s, 32 s, 25 s with 4 MB (PostgreSQL 18.6, AMD EPYC with 1 MB of cache for a core).
SORT_MEMORY = "4MB"
# Merging needs temporary files; a server that limits these keeps its sorts in memory.
_SET_MEMORY = """
    select pg_catalog.set_config('maintenance_work_mem',
        case when pg_catalog.current_setting('temp_file_limit') = '-1' then %(sorting)s else %(usual)s end, false)
"""
_NAME = r'(?:"(?:[^"]|"")*"|[^\s"])+'
_KEY = re.compile(r"ALTER TABLE ONLY %s\s+ADD CONSTRAINT %s (?:PRIMARY KEY|UNIQUE|EXCLUDE)\b" % (_NAME, _NAME))
_INDEX = re.compile(r"CREATE (?:UNIQUE )?INDEX %s ON (?!ONLY )%s USING " % (_NAME, _NAME))
_SORTED = re.compile(r"(?:%s|%s)" % (_KEY.pattern.replace("|EXCLUDE", ""), _INDEX.pattern + "btree"))
_LINK = re.compile(r"(ALTER TABLE ONLY (%s))\s+ADD CONSTRAINT (%s) FOREIGN KEY [^;]*\)[^;)]*;" % (_NAME, _NAME))
_UNCHECKED = re.compile(r"\bNOT (?:VALID|ENFORCED)\b")


class Building:
    """The definitions of an archive's section ``post-data`` that are made here.

    :param target: :class:`Server` whose default database it is. :param owner: the role to work as.
    :param settings: of the server, ``{name: value}``, for the sessions. :param jobs: workers there are.
    :param sizes: {(schema, table): size} of the tables that are large enough to be worth a task for each index.
    :ivar numbers: ids of the entries that are made here.
    """

    def __init__(self, target, owner, archive, settings, sizes, jobs=1):
        opening = partial(copying.session, target, owner, dict(settings, **DEFINING), archive.encoding())
        self._sessions = _Sessions(opening, target.dbname, _memory(settings))
        self._sizes, self._jobs = sizes, jobs
        self.numbers = set()
        self._keys, self._indexes, self._links = defaultdict(list), defaultdict(list), defaultdict(list)
        tables = {entry.id: (entry.schema, entry.name) for entry in archive.entries if entry.type == "TABLE"}
        for entry in archive.entries if _is_plain(archive) else ():
            if entry.section == "post-data" and not entry.tablespace:
                self._sort_in(entry, entry.definition.strip(), {tables[number] for number in entry.depends if number in tables})

    def _sort_in(self, entry, text, tables):
        """Take an entry that can be seen through."""
        link = _LINK.fullmatch(text) if entry.type == "FK CONSTRAINT" and not _UNCHECKED.search(text) else None
        if link:
            self._links[split_name(link.group(2))].append(link)
        elif entry.type == "CONSTRAINT" and _KEY.match(text) and len(tables) == 1:
            self._keys[tables.pop()].append(text)
        elif entry.type == "INDEX" and _INDEX.match(text) and len(tables) == 1:
            self._indexes[tables.pop()].append(text)
        else:
            return
        self.numbers.add(entry.id)

    def tasks(self, rows):
        """Return tasks for :mod:`schedule`: keys as soon as rows are there, then indexes; when all of them are, foreign keys.

        :param rows: {(schema, table): name of the tasks that load its rows}; those of any other table have the name ``rows``.
        :returns: (tasks, the names of all that make keys, the names of all)
        """
        found = []
        for table, size in self._sizes.items():
            name = "keys of %s.%s" % table
            found.append(Task(size, self._sending(self._keys[table]), name, (rows[table],), DEFINITIONS))
            for text in self._indexes[table]:
                found.append(Task(size, self._sending([text]), "indexes", (name, rows[table]), DEFINITIONS))
        small = [table for table in self._keys.keys() | self._indexes.keys() if table not in self._sizes]
        for number in range(self._jobs):
            mine = sorted(small)[number :: self._jobs]
            texts = [text for table in mine for text in self._keys[table] + self._indexes[table]]
            found.append(Task(0, self._sending(texts), "keys of small tables", ("rows",), DEFINITIONS))
        keys = tuple(sorted({task.name for task in found} - {"indexes"}))
        return [*found, *self._link_tasks((*keys, "indexes"))], keys, (*keys, "indexes", LINKS)

    def _link_tasks(self, after):
        """Foreign keys are added by one, since each locks two tables for a moment, and checked by all."""
        texts = [link.group().rstrip(";") + " NOT VALID" for links in self._links.values() for link in links]
        found, small = [Task(0, self._sending(texts), "unchecked", after, DEFINITIONS)], []
        for table, links in self._links.items():
            checks = ["%s VALIDATE CONSTRAINT %s" % link.group(1, 3) for link in links]
            if table in self._sizes:
                found.append(Task(self._sizes[table], self._sending(checks), LINKS, ("unchecked",), DEFINITIONS))
            else:
                small += checks
        return [*found, Task(0, self._sending(small), LINKS, ("unchecked",), DEFINITIONS)]

    def _sending(self, texts):
        return partial(self._sessions.send, texts)

    def close(self):
        """Close the connections."""
        self._sessions.close()


class _Sessions:
    """Connections that are kept for the next statement: opening one costs as much as a small index."""

    def __init__(self, opening, dbname, memory):
        self._opening, self._dbname, self._free, self._opened = opening, dbname, [], ExitStack()
        self._memory = memory

    def send(self, texts, stopped):
        """Send statements, one after the other, until done or ``stopped``.

        :raises RecoveryError: ``load_failed`` with the server's words.
        """
        if not texts:
            return
        with self._one() as conn, cancelled_when(stopped, conn), conn.cursor() as cursor:
            for text in texts:
                if stopped.is_set():
                    raise Stopped
                try:
                    cursor.execute(_SET_MEMORY, self._memory[bool(_SORTED.match(text))])
                    cursor.execute(text)
                except psycopg2.Error as exc:
                    if stopped.is_set():
                        raise Stopped from None
                    raise self._failed(text, exc) from None

    @contextmanager
    def _one(self):
        conn = self._free.pop() if self._free else self._opened.enter_context(self._opening())
        yield conn
        self._free.append(conn)

    def close(self):
        """Close all of them."""
        self._opened.close()

    def _failed(self, text, exc):
        said = "%s refused what the archive defines: %s (%s)" % (self._dbname, first_line(exc), " ".join(text.split())[:200])
        return lost("database %s" % self._dbname, exc) or load_failed(said, exc)


def _memory(settings):
    """Return what :data:`_SET_MEMORY` takes, by whether a statement sorts. Helpers share an index build's memory, and want 32 MB each."""
    usual = settings.get("maintenance_work_mem", "64MB")
    alone = settings.get("max_parallel_maintenance_workers", "0") == "0"
    return {True: {"sorting": SORT_MEMORY if alone else usual, "usual": usual}, False: {"sorting": usual, "usual": usual}}


def _is_plain(archive):
    """Tell whether its definitions stand for themselves: no partitions, and strings as the standard has them."""
    kinds = {entry.type for entry in archive.entries}
    standard = all("'on'" in entry.definition for entry in archive.entries if entry.type == "STDSTRINGS")
    return standard and not kinds & {"INDEX ATTACH", "TABLE ATTACH"}
