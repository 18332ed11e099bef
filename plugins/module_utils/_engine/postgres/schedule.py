# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work of different size over a few workers: each part after what it needs, the largest first, ended as a whole when one part fails."""
from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from .process import sigterm_unwinds

# The ranks of a load's tasks. Rows of one table over several connections come after what cannot be divided; digests fill the gaps.
ROWS, SHARED_ROWS, DEFINITIONS, STATISTICS, DIGESTS = range(5)


class Stopped(Exception):
    """A task was ended because another one failed."""


@dataclass(frozen=True)
class Task:
    """A part of the work.

    :param size: what it costs, in any unit that all tasks of a rank share.
    :param run: function of a :class:`threading.Event`: once that is set, it ends soon by raising :class:`Stopped`.
    :param name: for others to wait for; several tasks may have the same.
    :param after: names of tasks that must all have ended before; one that no task has is nothing to wait for.
    :param rank: of the tasks that may begin, those of the lowest rank do.
    """

    size: float
    run: Callable = field(repr=False)
    name: str = ""
    after: tuple = ()
    rank: int = ROWS


def run(tasks, jobs):
    """Run all tasks, each in a thread.

    :raises: what the first one that failed raised; by then none runs any more. :raises graphlib.CycleError: tasks wait for each other.
    """
    stopped, running, waiting = threading.Event(), {}, []
    graph = _graph(tasks)
    graph.prepare()
    with ThreadPoolExecutor(max_workers=max(jobs, 1)) as pool, sigterm_unwinds():
        try:
            while graph.is_active():
                waiting = sorted([*waiting, *graph.get_ready()], key=lambda number: (tasks[number].rank, -tasks[number].size))
                while waiting and len(running) < max(jobs, 1):
                    number = waiting.pop(0)
                    running[pool.submit(tasks[number].run, stopped)] = number
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    number = running.pop(future)
                    future.result()
                    graph.done(number)
        except BaseException:
            stopped.set()
            raise


def _graph(tasks):
    """Return the order of the tasks, each by its number."""
    named = {}
    for number, task in enumerate(tasks):
        named.setdefault(task.name, []).append(number)
    return TopologicalSorter({number: [each for name in task.after for each in named.get(name, ())] for number, task in enumerate(tasks)})
