# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress of a long operation, as a small JSON file that another process may read.

The module writes, the action plugin on the controller polls and prints. A lost or torn
progress file must never stop the work: writing is atomic and failures to write are dropped.
"""
from __future__ import annotations

import json
import os
import tempfile
import threading
import time

UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


class Progress:
    """Writes ``{"phase", "done", "total", "unit", "item", "started", "at"}`` to a file.

    :param path: file to write, or None for no output at all.
    :param interval: seconds between two writes (floods of small steps are thinned).
    """

    def __init__(self, path=None, interval=0.5, clock=time.time):
        self.path = path
        self.interval = interval
        self._clock = clock
        self._last = 0.0
        self._state = {}

    def start(self, phase, total=0, unit="bytes", item=""):
        """Begin a phase; ``total`` in ``unit`` (``bytes`` or a plural noun such as ``tables``)."""
        now = self._clock()
        self._state = dict(phase=phase, done=0, total=int(total), unit=unit, item=item, started=now, at=now)
        self._write()

    def update(self, done=None, item=None):
        """Record how much is done and what is being worked on."""
        if done is not None:
            self._state["done"] = int(done)
        if item is not None:
            self._state["item"] = item
        self._state["at"] = self._clock()
        if self._state["at"] - self._last >= self.interval:
            self._write()

    def advance(self, count, item=None):
        """Record that so much more is done."""
        self.update(self._state.get("done", 0) + count, item)

    def _write(self):
        if not self.path:
            return
        self._last = self._clock()
        folder = os.path.dirname(self.path) or "."
        try:
            handle, temp = tempfile.mkstemp(dir=folder, prefix=".progress-")
            with os.fdopen(handle, "w") as stream:
                json.dump(self._state, stream)
            os.replace(temp, self.path)
        except OSError:
            return


def human_bytes(count):
    """Return a byte count for a person: ``12.4 GiB``."""
    for name, size in UNITS:
        if count >= size:
            return "%.1f %s" % (count / size, name)
    return "%d B" % count


def human_seconds(seconds):
    """Return a duration for a person: ``2m18s``, ``8.4s``, ``1h02m``."""
    if seconds < 10:
        return "%.1fs" % seconds
    seconds = round(seconds)
    if seconds < 60:
        return "%ds" % seconds
    if seconds < 3600:
        return "%dm%02ds" % divmod(seconds, 60)
    return "%dh%02dm" % (seconds // 3600, seconds % 3600 // 60)


def format_line(host, state, note=""):
    """Return one progress line: ``[db1] load 61%  12.4/20.3 GiB  58.0 MiB/s  ETA 2m18s · messages``.

    :param state: what :class:`Progress` wrote.
    """
    total, done = state.get("total") or 0, state.get("done") or 0
    parts = ["[%s] %s" % (host, state.get("phase", ""))]
    elapsed = max(state.get("at", 0) - state.get("started", 0), 1e-6)
    if total:
        parts[0] += " %d%%" % min(100 * done // total, 100)
        if state.get("unit") == "bytes":
            parts.append("%s of %s" % (human_bytes(done), human_bytes(total)))
            parts.append("%s/s" % human_bytes(int(done / elapsed)))
        else:
            parts.append("%d of %d %s" % (done, total, state.get("unit")))
        if 0 < done < total and elapsed > 1:
            parts.append("ETA %s" % human_seconds((total - done) * elapsed / done))
    line = "  ".join(parts)
    if state.get("item"):
        line += " · %s" % state["item"]
    return line + (("   (%s)" % note) if note else "")


class Watcher:
    """Follows work from a thread of its own for the time of a block; does nothing where nobody reads the progress.

    :param progress: the :class:`Progress` that is written to.
    :param follow: function that takes an iterator, which yields once per interval until the block ends.
    :param interval: seconds.
    """

    def __init__(self, progress, follow, interval=1.0):
        self._progress, self._follow, self._interval = progress, follow, interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        if self._progress.path:
            self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self):
        self._follow(self._ticks())

    def _ticks(self):
        while not self._stop.wait(self._interval):
            yield
