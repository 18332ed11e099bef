# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where each phase lies in the time of a run, in per cent, for the bars of the report."""
from __future__ import annotations

from .clean import span, when

MIN_WIDTH = 0.6


def timeline(report):
    """Return the bars of a report's phases.

    :returns: ``rows``, the phases with ``left`` and ``width`` added; ``downtime``, None or ``left``, ``width``, ``seconds``;
        ``ticks``, the ``left`` and ``text`` of the axis. ``left`` and ``width`` are per cent. Phases that never ran have width 0.
        Where a phase has no start, it follows the one before.
    """
    placed, cursor = [], 0.0
    starts = [when(phase["started_at"]) for phase in report["phases"]]
    known = [start for start in starts if start]
    zero = min(known) if known else None
    for phase, start in zip(report["phases"], starts):
        seconds = max(phase["seconds"] or 0.0, 0.0)
        # Times in a report are whole seconds; a phase cannot have begun before the one before it ended.
        begin = max((start - zero).total_seconds(), cursor) if start else cursor
        placed.append((phase, begin, seconds))
        cursor = max(cursor, begin + seconds)
    whole = cursor or 1.0
    rows = []
    for phase, begin, seconds in placed:
        left = round(min(100 * begin / whole, 100 - MIN_WIDTH), 3)
        rows.append(dict(phase, left=left, width=_width(seconds, whole) if phase["seconds"] is not None else 0))
    return {"rows": rows, "downtime": _downtime(report, placed, zero, whole), "ticks": _ticks(whole) if cursor else []}


def shares(report):
    """Return the words on how much of a run's time was work of its phases, and how much Ansible's between them."""
    work = sum(phase["seconds"] or 0 for phase in report["phases"])
    told = tuple(map(span, (report["seconds"], work, max(report["seconds"] - work, 0))))
    return "%s in all: %s in the phases, %s between them, which is Ansible's own" % told


def _width(seconds, whole):
    return round(max(100 * seconds / whole, MIN_WIDTH), 3)


def _downtime(report, placed, zero, whole):
    """Return the window without service: from its recorded start, else from the start of the cutover."""
    seconds = report["downtime_seconds"]
    if not seconds or seconds < 0:
        return None
    begin = when(report.get("downtime_started_at"))
    if begin and zero:
        left = (begin - zero).total_seconds()
    else:
        left = next((start for phase, start, _length in placed if phase["name"] == "cutover"), None)
    if left is None:
        return None
    left = min(max(left, 0.0), whole)
    seconds = min(seconds, whole - left) or seconds
    return {"left": round(100 * left / whole, 3), "width": _width(min(seconds, whole), whole), "seconds": report["downtime_seconds"]}


def _ticks(whole):
    """Return three or four round points of time for the axis."""
    steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400]
    step = next((s for s in steps if whole / s <= 4), max(whole / 4, 1))
    if whole < 2:
        step = whole / 2
    ticks, at = [], 0.0
    while at <= whole * 1.0001 and len(ticks) < 6:
        ticks.append({"left": round(100 * at / whole, 3), "text": span(round(at, 1))})
        at += step
    return ticks
