# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making any input safe to report: plain JSON types, bounded length, no control characters.

A report is written at the end of a restore, often of a failed one. Whatever the facts hold, these functions
return something printable and never raise.
"""
from __future__ import annotations

import math
from datetime import datetime, timezone

MAX_TEXT = 4000
MAX_DEPTH = 12
MAX_ITEMS = 5000
_MOST_BITS = 1000  # of an integer that still has a float
# Unicode's explicit direction marks can make a line read as something else than it is.
_DIRECTION_MARKS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")


def clean_text(value, limit=MAX_TEXT, default=""):
    """Return ``value`` as one line of text of at most ``limit`` characters; ``default`` for None.

    Control characters (terminal escapes, NUL), line breaks and lone surrogates become spaces or ``?``.
    """
    if value is None:
        return default
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    try:
        raw = value if isinstance(value, str) else str(value)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raw = "<unprintable %s: %s>" % (type(value).__name__, type(error).__name__)
    # Cut first: a value of many megabytes must not cost a pass over each character.
    cut = len(raw) > limit
    raw = raw[:limit].encode("utf-8", "replace").decode("utf-8")
    kept = "".join(" " if (ord(c) < 32 or 127 <= ord(c) < 160 or c in _DIRECTION_MARKS) else c for c in raw)
    return kept[: max(limit - 1, 0)].rstrip() + "…" if cut else kept.strip()


def clean_number(value):
    """Return ``value`` as a finite int or float, or None when it is no number."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = value if isinstance(value, (int, float)) else float(str(value))
        if isinstance(number, float):
            if not math.isfinite(number):
                return None
            return int(number) if number.is_integer() and not isinstance(value, float) else float(number)
        return int(number) if number.bit_length() <= _MOST_BITS else None
    except (ValueError, TypeError, OverflowError):
        return None


def clean_count(value):
    """Return ``value`` as an int that is not negative, or None."""
    number = clean_number(value)
    return None if number is None or number < 0 else int(number)


def clean_list(value):
    """Return ``value`` as a list: itself when it is a list or tuple, nothing for None, else the one value."""
    if value is None or value == "":
        return []
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)[:MAX_ITEMS]
    return [value]


def clean_dict(value):
    """Return ``value`` when it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_dicts(rows, key):
    """Return a list whose items are all mappings; anything else becomes the value of ``key`` in one."""
    return [row if isinstance(row, dict) else {key: row} for row in rows]


def plain(value, depth=0):
    """Return a deep copy of ``value`` in plain JSON types."""
    if depth > MAX_DEPTH:
        return "…"
    if value is None or isinstance(value, bool):
        return None if value is None else bool(value)
    if isinstance(value, (int, float)):
        return clean_number(value)
    if isinstance(value, dict):
        return {clean_text(k, 200): plain(v, depth + 1) for k, v in list(value.items())[:MAX_ITEMS]}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, depth + 1) for item in list(value)[:MAX_ITEMS]]
    return clean_text(value)


def when(value):
    """Return a time as an aware UTC datetime, from ISO 8601 text or seconds since 1970; None when it is neither."""
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc) if value.tzinfo else value.replace(tzinfo=timezone.utc)
    try:
        number = clean_number(value)
        if number is not None:
            return datetime.fromtimestamp(number, timezone.utc)
        parsed = datetime.fromisoformat(clean_text(value, 60).replace("Z", "+00:00").replace("z", "+00:00"))
        return parsed.astimezone(timezone.utc) if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def iso(moment):
    """Return a datetime as ``2026-11-21T03:30:00Z``; None for None."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def minute(moment):
    """Return a datetime for a person: ``2026-11-28 02:14 UTC``; empty for None."""
    return moment.strftime("%Y-%m-%d %H:%M UTC") if moment else ""


def thousands(count):
    """Return a count for a person, in groups of three: ``4 118``; ``?`` for None."""
    return "?" if count is None else format(int(count), ",").replace(",", " ")


def plural(count, noun):
    """Return ``1 agent``, ``2 agents``, ``2 queries``, ``2 keys``."""
    if count == 1:
        return "1 " + noun
    many = noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun + "s"
    return "%s %s" % (thousands(count), many)


def about(seconds):
    """Return an expected duration for a sentence: ``about 25 s``, ``under 0.1 s``."""
    text = span(seconds)
    return text if text.startswith("under") else "about %s" % text


def span_between(least, most):
    """Return a range of durations for a sentence: ``11–14 min``, ``38–52 s``, ``50 min – 1 h 10 min``; one where both read alike."""
    low, high = span(least), span(most)
    for size, below, unit in ((1, 60, "s"), (60, 3600, "min")):
        if least >= max(size, 10) and most < below:
            first, last = int(least // size), math.ceil(most / size)
            return "%d–%d %s" % (first, last, unit) if first < last else "%d %s" % (first, unit)
    return low if low == high else "%s – %s" % (low, high)


def span(seconds):
    """Return a duration for a sentence: ``23 h 12 min``, ``25 s``, ``3 d 4 h``, ``0.4 s``; ``?`` for None."""
    if seconds is None:
        return "?"
    seconds = max(float(seconds), 0.0)
    if 0 < seconds < 0.05:
        return "under 0.1 s"
    if seconds < 10:
        return ("%.1f s" % seconds).replace(".0 s", " s")
    for unit, lower, step, below in (("d", 86400, 3600, "h"), ("h", 3600, 60, "min"), ("min", 60, 1, "s")):
        if seconds >= lower:
            whole, rest = divmod(round(seconds), lower)
            rest //= step
            return "%d %s %d %s" % (whole, unit, rest, below) if rest else "%d %s" % (whole, unit)
    return "%d s" % round(seconds)
