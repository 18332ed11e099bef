# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long things take, told so that two systems can be compared: median and 95th percentile of repeated questions."""
from __future__ import annotations

import statistics
import time

from . import queries

# At a backup; one more, the first, is not counted: caches are cold.
REPEATS = 5
_NAMES = {"agents": "list_agents", "messages": "page_of_messages", "nearest": "vector_search"}


def summary(seconds):
    """Return ``median_ms``, ``p95_ms`` and ``count`` of some durations in seconds."""
    p95 = statistics.quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
    return {"median_ms": round(statistics.median(seconds) * 1000, 2), "p95_ms": round(p95 * 1000, 2), "count": len(seconds)}


def timed(call, repeats=REPEATS):
    """Return the durations of ``repeats`` calls in seconds, after one that is not counted."""
    call()
    found = []
    for _number in range(repeats):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return found


def of_queries(cursor, schema, columns, recorded, repeats=REPEATS):
    """Time the test queries of a backup: in the backup's own snapshot, or later of what was restored from it.

    :param recorded: what :func:`.queries.record` returned. :param columns: bare table -> its columns.
    :returns: ``{"list_agents" | "page_of_messages" | "vector_search": summary}``; what has no question is left out.
    """
    found: dict = {}
    for wanted in recorded or []:
        durations = timed(lambda one=wanted: queries.ask(cursor, schema, columns, one), repeats)
        found.setdefault(_NAMES[wanted["query"]], []).extend(durations)
    return {name: summary(seconds) for name, seconds in found.items()}
