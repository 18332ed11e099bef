# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test queries with a recorded answer: asked in a backup's own snapshot, and again of what was restored from it.

The answers are ids, never values: the first page of agents, the first page of the messages of the busiest agent, and for some
archives and folders the passages nearest to one of their own by cosine distance.
"""
from __future__ import annotations

import math

from ..postgres.catalog import quote_ident, quote_table

PAGE = 50
NEAREST = 10
# Containers of vectors asked per table, and how many passages one may hold to be asked: a search reads all of them.
CONTAINERS = 2
MOST_PASSAGES = 2000
# Distances closer than this are equal: pgvector sums in another order on another processor.
TOLERANCE = 1e-5
_CONTAINER_OF = {"archival_passages": "archive_id", "agent_passages": "agent_id", "source_passages": "source_id"}


def record(cursor, schema, columns):
    """Ask the queries and return them with their answers, as the manifest's ``queries``.

    :param cursor: in the backup's snapshot. :param schema: that holds Letta's tables.
    :param columns: bare table -> its columns.
    :returns: list of dicts: ``query`` (``agents``, ``messages``, ``nearest``), what was asked for, and the answer in ``ids``.
    """
    found = []
    if {"id", "created_at", "is_deleted"} <= set(columns.get("agents", ())):
        found.append({"query": "agents", "ids": _agents(cursor, schema)})
    if {"id", "agent_id", "sequence_id", "is_deleted"} <= set(columns.get("messages", ())):
        cursor.execute("SELECT agent_id FROM %s GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1" % quote_table(schema, "messages"))
        found += [{"query": "messages", "agent": agent, "ids": _messages(cursor, schema, agent)} for (agent,) in cursor.fetchall()]
    operator = _distance_operator(cursor)
    for table, column in _CONTAINER_OF.items():
        if operator and {"id", column, "embedding"} <= set(columns.get(table, ())):
            found += _record_nearest(cursor, schema, table, column, operator)
    return found


def _record_nearest(cursor, schema, table, column, operator):
    cursor.execute(
        "SELECT %s, min(id) FROM %s WHERE embedding IS NOT NULL AND %s IS NOT NULL GROUP BY 1 HAVING count(*) <= %d"
        " ORDER BY count(*) DESC, 1 LIMIT %d" % (column, quote_table(schema, table), column, MOST_PASSAGES, CONTAINERS)
    )
    asked = []
    for container, like in cursor.fetchall():
        answer = _nearest(cursor, schema, table, container, like, operator)
        asked.append({"query": "nearest", "table": table, "container": container, "like": like, "ids": [row[0] for row in answer]})
    return asked


def ask(cursor, schema, columns, wanted):
    """Ask one recorded query again.

    :param wanted: an entry of :func:`record`.
    :returns: an empty text when the answer is the recorded one, else what differs; None when this schema has no such table any more.
    """
    if wanted["query"] == "nearest":
        table = wanted["table"]
        if _CONTAINER_OF.get(table) not in columns.get(table, ()):
            return None
        answer = _nearest(cursor, schema, table, wanted["container"], wanted["like"], _distance_operator(cursor))
        return "" if same_neighbours(wanted["ids"], answer) else "%s nearest to %s" % (wanted["container"], wanted["like"])
    if wanted["query"] == "agents":
        return "" if _agents(cursor, schema) == wanted["ids"] else "agents"
    if wanted["query"] == "messages":
        return "" if _messages(cursor, schema, wanted["agent"]) == wanted["ids"] else wanted["agent"]
    return None


def same_neighbours(recorded, answer):
    """Tell whether an answer ``[(id, distance)]`` is the recorded list of ids, where equal distances may change places."""
    distances = {name: _rank(distance) for name, distance in answer}
    if len(recorded) != len(distances) or not set(recorded) <= set(distances):
        # At the end of the list, equals may also replace each other; that many copies of one text say nothing of the data.
        return _only_ties_differ(recorded, answer)
    ranks = [distances[name] for name in recorded]
    return all(later >= earlier - TOLERANCE for earlier, later in zip(ranks, ranks[1:]))


def _only_ties_differ(recorded, answer):
    if len(recorded) != len(answer):
        return False
    last = _rank(answer[-1][1])
    kept = [name for name, distance in answer if _rank(distance) < last - TOLERANCE]
    return recorded[: len(kept)] == kept


def _rank(distance):
    return math.inf if distance is None or math.isnan(distance) else distance


def _agents(cursor, schema):
    statement = 'SELECT id FROM %s WHERE NOT is_deleted ORDER BY created_at, id COLLATE "C" LIMIT %d'
    cursor.execute(statement % (quote_table(schema, "agents"), PAGE))
    return [row[0] for row in cursor.fetchall()]


def _messages(cursor, schema, agent):
    statement = "SELECT id FROM %s WHERE agent_id = %%s AND NOT is_deleted ORDER BY sequence_id LIMIT %d"
    cursor.execute(statement % (quote_table(schema, "messages"), PAGE), (agent,))
    return [row[0] for row in cursor.fetchall()]


def _nearest(cursor, schema, table, container, like, operator):
    passages, column = quote_table(schema, table), _CONTAINER_OF[table]
    cursor.execute(
        "SELECT p.id, p.embedding %s q.embedding FROM %s p, (SELECT embedding FROM %s WHERE id = %%s) q"
        ' WHERE p.%s = %%s AND p.embedding IS NOT NULL ORDER BY 2, p.id COLLATE "C" LIMIT %d'
        % (operator, passages, passages, column, NEAREST),
        (like, container),
    )
    return cursor.fetchall()


def _distance_operator(cursor):
    cursor.execute("SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'")
    row = cursor.fetchone()
    return "OPERATOR(%s.<=>)" % quote_ident(row[0]) if row else None
