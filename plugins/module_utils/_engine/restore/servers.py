# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several servers of one database: how long each was away, how long nobody served, and which was started too early. Pure.

``results`` are what ``letta_service`` returned for each server when it stopped and when it started it, with the server as ``item``.
Clocks of hosts differ. How long one server was away is told by its own clock; between servers only the controller's compares.
"""
from __future__ import annotations

from ..findings import PASS, WARN, Finding


def times_away(results):
    """Return how long each server was away: from its stop command to the proof that it serves, both by its own clock.

    :returns: {server: {"from": epoch seconds, "seconds"}}; empty unless every server was seen running, stopped and started,
        because else a server was away for longer than these results tell.
    """
    pairs = _pairs(results)
    spans = {name: (stop["told_at"], start["proven_at"]) for name, (stop, start) in pairs.items()}
    if any(end < begin for begin, end in spans.values()):  # a clock was set back in between
        return {}
    return {name: {"from": begin, "seconds": round(end - begin, 3)} for name, (begin, end) in spans.items()}


def outage(results):
    """Return how long no server served, in seconds: from the command that stopped the last one to the proof that the first one serves.

    :returns: None unless all of that is known by the controller's clock; a task that ends there ended on its host a moment before, and
        about the same moment after a stop as after a start.
    """
    pairs = _pairs(results).values()
    if not pairs or not all("ended_at" in item for pair in pairs for item in pair):
        return None
    last_told = max(stop["ended_at"] - (stop["proven_at"] - stop["told_at"]) for stop, _start in pairs)
    seconds = min(start["ended_at"] for _stop, start in pairs) - last_told
    return round(seconds, 3) if seconds >= 0 else None


def _pairs(results):
    """Return {server: (stop, start)}, empty unless every server was stopped while it ran, and started."""
    stopped = {item["item"]: item for item in results if item.get("is") == "stopped"}
    started = {item["item"]: item for item in results if item.get("is") == "running"}
    if set(stopped) != set(started) or not all(item["changed"] for item in stopped.values()):
        return {}
    return {name: (stopped[name], started[name]) for name in stopped}


def started_early(results):
    """Return a sentence for each server that ran already when it was to be started, and was stopped and started again."""
    stopped = {item["item"]: item for item in results if item.get("is") == "stopped"}
    return [_early(item, stopped.get(item["item"])) for item in results if item.get("restarted")]


def _early(start, stop):
    since, proof = start.get("ran_since"), (stop or {}).get("proven_at")
    if since is None or proof is None:
        when = "nobody knows since when"
    elif since >= proof:
        when = "since %.1f s after it was proven stopped, by its own clock" % (since - proof)
    else:
        when = "since before it was proven stopped, by its own clock: that proof missed it"
    return "%s ran already before it was to be started, %s" % (start["item"], when)


def checks(journal):
    """Return the findings on servers, as plain data."""
    start = journal.entry("services.start") or {}
    fence = journal.entry("cutover.fence") or {}
    found, away, late = [], start.get("away") or {}, start.get("late") or []
    if len(away) > 1:
        told = ", ".join("%s %s s" % (name, item["seconds"]) for name, item in sorted(away.items()))
        found.append(Finding("services.away", PASS, "away, from its stop command to the proof that it serves: %s" % told))
    if late:
        told = "%s; stopped and started again, so that it works with this database only" % "; ".join(late)
        found.append(Finding("services.late", WARN, told, len(late), [text.split(" ")[0] for text in late]))
    if fence.get("outsiders"):
        told = "connected while every known server was stopped, and were let be (letta_foreign_sessions: terminate): %s"
        found.append(Finding("services.outsiders", WARN, told % fence["outsiders"], 1))
    return [item.as_dict() for item in found]
