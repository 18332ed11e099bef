# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs to take an older set instead of a newer one, in time, messages and agents."""
from __future__ import annotations

from . import manifest as manifests

MAX_NAMES = 5
_UNITS = (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1))


def between_manifests(passed, taken):
    """Return what a newer set holds more than an older one, by their manifests alone.

    :returns: a loss: ``{"seconds", "messages", "agents", "agent_names", "source", "text"}``. Messages are the growth of their table, so
        deleted ones hide as many new ones; agents are counted by id.
    """
    seconds = (manifests.parse_stamp(passed["taken_at"]) - manifests.parse_stamp(taken["taken_at"])).total_seconds()
    counts = [_messages(one) for one in (passed, taken)]
    messages = max(0, counts[0] - counts[1]) if None not in counts else None
    lost = sorted(set(passed.get("agents") or {}) - set(taken.get("agents") or {}))
    names = [str((passed["agents"][agent] or {}).get("name") or agent) for agent in lost[:MAX_NAMES]]
    return make(seconds, messages, len(lost), names, "manifests")


def make(seconds, messages, agents, names, source):
    """Return a loss with its text; counts are None when unknown.

    :param source: ``manifests`` of both sets, rows of the ``live`` database, or ``unknown``.
    """
    loss = {"seconds": seconds, "messages": messages, "agents": agents, "agent_names": list(names)[:MAX_NAMES], "source": source}
    return dict(loss, text=_text(loss))


def _messages(manifest):
    name = "%s.messages" % (manifest["database"].get("schema") or "public")
    return (manifest["tables"].get(name) or {}).get("rows")


def _text(loss):
    length = "a length of time that is not known" if loss["seconds"] is None else span(loss["seconds"])
    if loss["messages"] is None and loss["agents"] is None:
        return "%s more, in messages and agents unknown" % length
    parts = [_count(loss["messages"], "message"), _count(loss["agents"], "agent")]
    names = list(loss["agent_names"])
    if names:
        rest = (loss["agents"] or 0) - len(names)
        parts[1] += " (%s%s)" % (", ".join(names), " and %d more" % rest if rest > 0 else "")
    return "%s more: %s" % (length, ", ".join(parts))


def _count(number, noun):
    if number is None:
        return "an unknown number of %ss" % noun
    return "%s %s%s" % (format(number, ",").replace(",", " "), noun, "" if number == 1 else "s")


def span(seconds):
    """Return a length of time for a sentence: ``23 h 12 min``, ``2 d``, ``40 s``."""
    seconds = max(0, round(seconds))
    for unit, size, below, part in _UNITS:
        if seconds >= size:
            rest = seconds % size // part
            return "%d %s%s" % (seconds // size, unit, " %d %s" % (rest, below) if rest else "")
    return "%d s" % seconds
