# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner's statistics of a loaded database: those of large tables out of the archive where it has them, all others gathered anew."""
from __future__ import annotations

import re
import threading

from ..errors import RecoveryError
from . import copying, schedule
from .catalog import quote_table, read_tables
from .connection import cancelled_when, lost, psycopg2
from .sidedb import first_line

KIND = "STATISTICS DATA"
SINCE = 18  # both pg_dump's --statistics and the functions that its entries call
LEAST_ROWS = 10000  # below that ANALYZE reads the table in the time that one entry takes
# As autovacuum judges by default whether ANALYZE is due: it is when more than this and a tenth of the rows have changed.
THRESHOLD, SCALE = 50, 0.1
# Characters. Statistics of wide columns under a large statistics target are longer; to gather those anew is cheaper than to read them.
LONGEST = 1 << 20
_SAVED_ROWS = re.compile(r"'reltuples', '([-+.\de]+)'::real")
_ATTRIBUTE = "pg_restore_attribute_stats("


def carried(archive, rows, release):
    """Return the entries of an archive whose statistics are as good as new ones.

    :param rows: how many each table has, ``{"schema.table": rows}``. :param release: major release of the server to load into.
    :returns: ({"schema.table": id of its entry}, [ids of entries of indexes on expressions])
    """
    tables, found, of_indexes = set(archive.tables()), {}, []
    for entry in archive.entries if release >= SINCE else ():
        if entry.type != KIND or is_too_long(entry) or _ATTRIBUTE not in entry.definition:
            continue
        name = "%s.%s" % (entry.schema, entry.name)
        if name not in tables:
            of_indexes.append(entry.id)
        elif rows.get(name, 0) >= LEAST_ROWS and _is_fresh(entry, rows[name]):
            found[name] = entry.id
    return found, of_indexes if found else []


def is_too_long(entry):
    """Tell whether an entry's statistics are never loaded, for their length."""
    return entry.type == KIND and len(entry.definition) > LONGEST


def _is_fresh(entry, rows):
    saved = _SAVED_ROWS.search(entry.definition)
    return saved is not None and abs(float(saved.group(1)) - rows) <= THRESHOLD + SCALE * rows


def analyze(server, database, settings, jobs=1):
    """Gather planner statistics of a whole database, over several connections. :raises RecoveryError: ``load_failed``."""
    schedule.run(analysis(server.database(database), settings, jobs), jobs)


def analysis(target, settings, jobs, after=(), without=()):
    """Return tasks for :mod:`schedule` that gather planner statistics, the largest table first.

    :param settings: of their sessions. :param after: as of a task. :param without: tables to pass over, "schema.table".
    """
    waiting, lock = [], threading.Lock()

    def tables(cursor):
        with lock:
            if not waiting:  # what there is shows when the first one begins
                found = [row for row in read_tables(cursor) if "%s.%s" % tuple(row[:2]) not in without]
                waiting.append(iter(sorted(found, key=lambda row: row[4], reverse=True)))
            return waiting[0]

    def run(stopped):
        opened = copying.session(target, target.user, settings, "UTF8")
        try:
            with opened as conn, cancelled_when(stopped, conn), conn.cursor() as cursor:
                found = tables(cursor)
                while not stopped.is_set():
                    with lock:
                        row = next(found, None)
                    if row is None:
                        return
                    cursor.execute("ANALYZE " + quote_table(*row[:2]))
        except psycopg2.Error as exc:
            error = RecoveryError("load_failed", "ANALYZE of %s failed: %s" % (target.dbname, first_line(exc)))
            raise lost(target, exc) or error from None

    return [schedule.Task(1, run, "statistics", after, schedule.STATISTICS) for _number in range(jobs)]
