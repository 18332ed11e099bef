# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Printing what a long module says of its progress: a line when there is something new, and less often the longer it takes."""
from __future__ import annotations

import json
import time

from .._engine.progress import format_line

_MAX_ITEM = 60
_LARGEST = 1 << 62


class ProgressPrinter:
    """Prints the progress of one host: when it changed, and less often the longer it takes.

    :param display: Ansible's Display, or anything with ``display(text)``.
    """

    def __init__(self, display, host, note="", silent=False, clock=time.monotonic):
        self.display = display
        self.host = host
        self.note = note
        self.silent = silent
        self._clock = clock
        self._last_line = None
        self._last_time = clock()

    def show(self, text, elapsed):
        """Print one line for the progress file's ``text``, if it says something new and the last line is old enough."""
        if self.silent or self._clock() - self._last_time < interval(elapsed):
            return
        state = read_state(text)
        if state:
            self.say(format_line(self.host, state, self.note))

    def say(self, line):
        """Print a line unless it is the one just printed."""
        if self.silent or line == self._last_line:
            return
        self._last_line, self._last_time = line, self._clock()
        self.display.display(line)


def interval(elapsed):
    """Return the seconds between two lines of a task that has run for ``elapsed`` seconds."""
    return 2 if elapsed < 60 else 10 if elapsed < 600 else 30


def read_state(text):
    """Return the state in a progress file's text, made safe to print; None when there is none (a torn file is none)."""
    try:
        raw = json.loads(text)
        state = {key: _amount(float(raw.get(key) or 0)) for key in ("started", "at")}
        state.update({key: _amount(int(raw.get(key) or 0)) for key in ("done", "total")})
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    if state["total"]:
        state["done"] = min(state["done"], state["total"])
    # Names come from the host: whatever could steer a terminal is dropped.
    for key in ("phase", "unit", "item"):
        state[key] = "".join(c for c in str(raw.get(key) or "") if c.isprintable())[:_MAX_ITEM]
    return state


def _amount(number):
    if not number <= _LARGEST:  # not a number at all is neither less nor more
        raise ValueError("more than can be")
    return max(number, 0)
