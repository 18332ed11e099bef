# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Noticing clients that are in a database for milliseconds at a time.

A client without a pool connects for each of its queries: whoever looks for sessions sees none. PostgreSQL counts them, however
(``pg_stat_database.sessions``, written when a session ends, before it vanishes from ``pg_stat_activity``), so none is missed;
looking often finds out who it was.
"""
from __future__ import annotations

import time

from .connection import connect
from .sidedb import database_oid
from .swap import SESSIONS, as_sessions

PAUSE = 0.002  # a session of Letta lasts about ten times as long
KEPT = 200


class Watch:
    """Counts who begins a session in a database from now on. Begin it when nobody is inside.

    :param server: admin :class:`Server`, connected to another database; :param database: name of the one to watch; it may be absent.
    """

    def __init__(self, server, database):
        self._database = database
        self._conn = connect(server, "letta_ops watch")
        self._seen = {}
        with self._conn.cursor() as cursor:
            self._oid = database_oid(cursor, database)
        self._before = self._count()
        self._since = time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._conn.close()

    def look(self, seconds=0.0):
        """Look at least once, then as often as possible for some seconds. Returns :meth:`found`."""
        deadline = time.monotonic() + seconds
        while True:
            with self._conn.cursor() as cursor:
                cursor.execute(SESSIONS, (self._database,))
                for item in as_sessions(cursor.fetchall()):
                    if len(self._seen) < KEPT:
                        self._seen[item["pid"], item["since"]] = item
            if time.monotonic() >= deadline:
                return self.found()
            time.sleep(PAUSE)

    def found(self):
        """Return what happened since the beginning: {"count": sessions, "seen": [sessions that were looked at], "seconds"}."""
        counted = self._count() - self._before  # negative when somebody reset the statistics
        return {
            "count": max(counted, len(self._seen)),
            "seen": list(self._seen.values()),
            "seconds": round(time.monotonic() - self._since, 2),
        }

    def _count(self):
        if self._oid is None:
            return 0
        with self._conn.cursor() as cursor:
            cursor.execute("SELECT coalesce(sum(sessions), 0)::bigint FROM pg_stat_database WHERE datid = %s", (self._oid,))
            return cursor.fetchone()[0]
