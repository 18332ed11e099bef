# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The trend over rehearsals as coordinates; ``rehearsal.html.j2`` draws them. Pure.

One column per rehearsal, evenly spaced: weekly ones and five tries of one evening are both readable. Two panels over the same columns,
since a downtime of seconds would lie flat under a restore of minutes.
"""
from __future__ import annotations

from .clean import minute, span, when
from .rehearsal import ERROR, FAILED, PASSED

WIDTH, LEFT, RIGHT = 960, 78, 92
INSET = 22  # between the frame and the first and last column
TOP, TALL, LOW, GAP = 34, 200, 96, 46
MOST_LABELS = 12
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
WORDS = {PASSED: "passed", FAILED: "FAILED", ERROR: "no verdict"}


def chart(trend, rto_target=None):
    """Return the coordinates of the chart, or None where there is nothing to draw.

    :param trend: ``trend`` of :func:`rehearsal.build`, oldest first. :param rto_target: seconds, or None.
    :returns: ``width``, ``height``, ``left``, ``right`` (x of the frame), ``panels`` (each with ``title``, ``top``, ``bottom``, ``ticks``,
        ``segments`` of the line, ``marks`` with shape by verdict, ``target``, ``last``), ``dates``, ``between``.
    """
    if not any(run["rto"]["seconds"] is not None or run["downtime_seconds"] is not None for run in trend):
        return None
    columns = _columns(trend)
    panels = [
        _panel("Time to restore, slowest set", TOP, TALL, [run["rto"]["seconds"] for run in trend], columns, rto_target),
        _panel("Downtime, longest", TOP + TALL + GAP, LOW, [run["downtime_seconds"] for run in trend], columns),
    ]
    bottom = TOP + TALL + GAP + LOW
    days = [column["day"] for column in columns if column["day"]]
    return {
        "width": WIDTH, "height": bottom + 54, "left": LEFT, "right": WIDTH - RIGHT, "panels": panels, "columns": columns, "bottom": bottom,
        "between": " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "",
    }  # fmt: skip


def _columns(trend):
    room, count = WIDTH - LEFT - RIGHT - 2 * INSET, len(trend)
    every = -(-count // MOST_LABELS)
    columns = []
    for number, run in enumerate(trend):
        moment = when(run["finished_at"])
        share = number / (count - 1) if count > 1 else 0.5
        columns.append({
            "x": round(LEFT + INSET + room * share, 1), "verdict": run["verdict"], "day": moment.strftime("%Y-%m-%d") if moment else "",
            # Counted from the newest, which is the one that is looked for.
            "label": moment.strftime("%m-%d") if moment and (count - 1 - number) % every == 0 else "",
            "moment": minute(moment) or "time unknown",
        })
    return columns


def _panel(title, top, height, values, columns, target=None):
    """Return one panel. A rehearsal without a figure has its mark on the axis, and the line has a gap there."""
    known = [value for value in values if value is not None]
    highest = max(known, default=0)
    # A target far above what was measured would press the line flat; it is then told in words.
    shown = target is not None and target <= 4 * highest
    ceiling = max(highest, target if shown and target else 0) or 1.0
    step = next((step for step in STEPS if ceiling * 1.06 / step <= 4), ceiling / 3)
    parts = int(ceiling * 1.06 / step) + 1
    bottom, reach = top + height, parts * step

    def y_of(value):
        return round(bottom - height * value / reach, 1)

    marks, segments = [], [[]]
    for value, column in zip(values, columns):
        y = bottom if value is None else y_of(value)
        told = "%s, %s" % (WORDS[column["verdict"]], span(value) if value is not None else "no time measured")
        marks.append({"x": column["x"], "y": y, "verdict": column["verdict"], "title": "%s: %s" % (column["moment"], told)})
        if value is None:
            segments.append([])
        else:
            segments[-1].append("%s,%s" % (column["x"], y))
    last = next(((mark, value) for mark, value in zip(reversed(marks), reversed(values)) if value is not None), None)
    return {
        "title": title, "top": top, "bottom": bottom, "marks": marks,
        "segments": [" ".join(points) for points in segments if len(points) > 1],
        "ticks": [{"y": y_of(number * step), "text": span(round(number * step, 2)) if number else "0"} for number in range(parts + 1)],
        "target": None if target is None else {"y": y_of(target) if shown else None, "text": "RTO target %s" % span(target)},
        "last": {"x": last[0]["x"], "y": last[0]["y"], "text": span(last[1])} if last else None,
    }  # fmt: skip
