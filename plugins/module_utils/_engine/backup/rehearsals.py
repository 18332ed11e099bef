# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rehearsals proved and how long they took: one line per rehearsed set, kept beside the sets, and what a plan may expect from it.

``<root>/.rehearsals/history.jsonl``; docs/monitoring.md has the keys of a line. A lost history costs expectations, never a restore:
what cannot be read is counted and passed over.
"""
from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import sys
from statistics import median

from .. import durable

FOLDER, FILE, LOCK = ".rehearsals", "history.jsonl", "lock"
FORMAT = 1
KEEP = 1000
LAST = 5
PASSED, FAILED, ERROR = "passed", "failed", "error"
# Seconds grow with the size of a database, yet not by a rule that holds between machines: nothing is scaled. A rehearsal counts as
# like another one when its set is at most this many times larger or smaller and came from the same schema.
LIKE = 2.0


def append(root, record):
    """Add one rehearsed set to the history, durably; the oldest lines beyond :data:`KEEP` are let go.

    :param root: folder of the backup sets. :param record: plain data; ``format`` is added.
    :raises OSError: when the folder cannot be written. :raises ValueError: when the record is no plain data.
    """
    line = json.dumps(dict(record, format=FORMAT), allow_nan=False, separators=(",", ":")).encode("ascii")
    folder = os.path.join(root, FOLDER)
    durable.make_private_dir(folder)
    path = os.path.join(folder, FILE)
    with _locked(folder):
        lines = _lines(path)
        # One line in, one line out would rewrite the whole file for good once it is full.
        if len(lines) >= KEEP:
            durable.write_private(path, b"".join(kept + b"\n" for kept in [*lines, line][-KEEP:]))
            return
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            # The line that a crash cut short must not swallow this one.
            torn = os.fstat(fd).st_size and os.pread(fd, 1, os.fstat(fd).st_size - 1) != b"\n"
            _write_all(fd, (b"\n" if torn else b"") + line + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        durable.fsync_dir(folder)


def read(root, target=None):
    """Return ``(records, damaged)``: the history, oldest first, and the number of lines that are none.

    :param target: only rehearsals that stood for this target (``db1/letta``).
    """
    try:
        lines = _lines(os.path.join(root, FOLDER, FILE))
    except OSError:
        return [], 0
    records, damaged = [], 0
    for line in lines:
        try:
            record = json.loads(line.decode("utf-8"))
            if not isinstance(record, dict) or record.get("format", FORMAT) != FORMAT:
                raise ValueError("not a line of this format")
        except (ValueError, RecursionError):
            damaged += 1
            continue
        if target is None or record.get("target") == target:
            records.append(record)
    return records, damaged


def last_of(records, set_id):
    """Return {"verdict", "finished_at", "reason"} of the last rehearsal of a set that came to a verdict, else of its last one; or None."""
    of_set = [item for item in records if item.get("set") == set_id and item.get("verdict") in (PASSED, FAILED, ERROR)]
    judged = [item for item in of_set if item["verdict"] != ERROR] or of_set
    return {key: _text(judged[-1].get(key)) for key in ("verdict", "finished_at", "reason")} if judged else None


def expected(records, set_id, size_bytes, revision_from=None, target=None, revision_to=None):
    """Return what a plan may say of rehearsals; None when there is nothing to say.

    :param records: of :func:`read`. :param size_bytes: of the set's database, or None.
    :param revision_from: schema of the set. :param target: whose rehearsals tell times; None means any.
    :param revision_to: schema that the restore will reach.
    :returns: ``set`` (of :func:`last_of`), ``like`` (how many times like this one it was rehearsed, at most :data:`LAST`), ``seconds``
        {``least``, ``most``} of the whole and ``downtime_seconds`` (their median) of those, ``migrate_seconds`` of the last one that went
        the same way, the set's own first. Each measured, none scaled; None where nothing was.
    """
    of_set = last_of(records, set_id)
    last = like(records, set_id, size_bytes, revision_from, target)[-LAST:]
    if not of_set and not last:
        return None
    totals = _seconds(last, "total")
    downtimes = _seconds(last, "downtime")
    return {
        "set": of_set,
        "like": len(totals),
        "seconds": {"least": min(totals), "most": max(totals)} if totals else None,
        "downtime_seconds": median(downtimes) if downtimes else None,
        "migrate_seconds": _migration(last, set_id, revision_to),
    }


def like(records, set_id, size_bytes, revision_from=None, target=None):
    """Return the rehearsals that passed and are like a restore of this set, oldest first: its own, and those of :data:`LIKE` size."""
    found = []
    for item in records:
        if item.get("verdict") != PASSED or (target is not None and item.get("target") != target):
            continue
        same_way = _revision(item, "from") == revision_from and _like_size(number(item.get("size_bytes")), size_bytes)
        if same_way or item.get("set") == set_id:
            found.append(item)
    return found


def phases(records):
    """Return seconds per phase, ``total`` and ``downtime`` of each record: the form in which a plan takes the times of earlier runs."""
    found = []
    for item in records[-LAST:]:
        seconds = _dict(item.get("seconds"))
        measured = dict(_dict(seconds.get("phases")), total=seconds.get("total"), downtime=seconds.get("downtime"))
        found.append({str(name): number(value) for name, value in measured.items()})
    return found


def number(value):
    """Return a number that is finite and not negative, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # Compared before it is converted: an integer of hundreds of digits has no float.
    return value if 0 <= value <= sys.float_info.max and math.isfinite(value) else None


def _like_size(one, other):
    # Nothing is known of a size that was not recorded, so nothing is claimed.
    return bool(one and other) and max(one, other) <= LIKE * min(one, other)


def _migration(last, set_id, revision_to):
    way = [item for item in last if revision_to is not None and _revision(item, "to") == revision_to]
    way = [item for item in way if item.get("set") == set_id] or way
    times = [number(_dict(_dict(item.get("seconds")).get("phases")).get("migrate")) for item in way]
    return next((value for value in reversed(times) if value is not None), None)


def _seconds(records, name):
    values = [number(_dict(item.get("seconds")).get(name)) for item in records]
    return [value for value in values if value is not None]


def _revision(record, which):
    return _dict(record.get("revision")).get(which)


def _text(value):
    return value if isinstance(value, str) else None


def _dict(value):
    return value if isinstance(value, dict) else {}


def _lines(path):
    """Return the lines of the history; none where there is none yet."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return []
    with os.fdopen(fd, "rb") as stream:
        return [line for line in stream.read().split(b"\n") if line.strip()]


def _write_all(fd, data):
    while data:
        data = data[os.write(fd, data):]


@contextlib.contextmanager
def _locked(folder):
    # On a file of its own: the history itself is replaced when it is full. The lock goes with its process, whatever ends it.
    fd = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
