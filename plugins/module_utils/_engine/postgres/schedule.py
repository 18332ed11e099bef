# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work of different size over a few workers, the largest first, ended as a whole when one part fails."""
from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from .process import sigterm_unwinds


class Stopped(Exception):
    """A task was ended because another one failed."""


@dataclass(frozen=True)
class Task:
    """A part of the work.

    :param size: what it costs, in any unit that all tasks share.
    :param run: function of a :class:`threading.Event`: once that is set, it ends soon by raising :class:`Stopped`.
    """

    size: float
    run: Callable = field(repr=False)


def run(tasks, jobs):
    """Run all tasks, each in a thread. :raises: what the first one that failed raised; by then none runs any more."""
    stopped = threading.Event()
    with ThreadPoolExecutor(max_workers=max(jobs, 1)) as pool, sigterm_unwinds():
        futures = [pool.submit(_unless, stopped, task) for task in sorted(tasks, key=lambda task: task.size, reverse=True)]
        try:
            done = wait(futures, return_when=FIRST_EXCEPTION).done
            failed = next((error for error in (future.exception() for future in done) if error), None)
        except BaseException:
            stopped.set()
            raise
        if failed:
            stopped.set()
            wait(futures)
            raise failed


def _unless(stopped, task):
    if not stopped.is_set():
        task.run(stopped)
