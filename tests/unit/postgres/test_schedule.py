"""The work of a load: the largest part first, and one that fails ends the others."""
from __future__ import annotations

import threading
import time
from graphlib import CycleError

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import schedule


def test_the_largest_part_begins_first_and_all_are_done():
    begun = []
    tasks = [schedule.Task(size, lambda _stopped, size=size: begun.append(size)) for size in (3, 9, 1, 5)]
    schedule.run(tasks, 1)
    assert begun == [9, 5, 3, 1]


def test_a_part_that_fails_ends_those_that_run_and_those_that_wait():
    ended, begun = [], threading.Event()

    def endless(stopped):
        begun.set()
        assert stopped.wait(20), "nobody stopped it"
        ended.append("told")
        raise schedule.Stopped

    def fails(_stopped):
        begun.wait(20)
        raise ValueError("no such table")

    tasks = [schedule.Task(3, endless), schedule.Task(2, fails), schedule.Task(1, lambda _stopped: ended.append("ran"))]
    with pytest.raises(ValueError, match="no such table"):
        schedule.run(tasks, 2)
    assert ended == ["told"]


def test_as_many_run_at_a_time_as_there_are_workers():
    now, most, lock = [0], [0], threading.Lock()

    def part(_stopped):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1

    schedule.run([schedule.Task(1, part) for _number in range(12)], 3)
    assert most == [3]


def test_a_part_begins_when_all_of_the_name_it_waits_for_have_ended_and_not_before():
    done = []

    def part(name, pause=0.0):
        def run(_stopped):
            time.sleep(pause)
            done.append(name)

        return run

    tasks = [
        schedule.Task(9, part("index"), "index", ("rows", "never made")),
        schedule.Task(1, part("rows", 0.05), "rows"),
        schedule.Task(2, part("rows"), "rows"),
        schedule.Task(1, part("other"), "other", ("index",)),
    ]
    schedule.run(tasks, 3)
    assert done == ["rows", "rows", "index", "other"]


def test_of_what_may_begin_the_lowest_rank_does_whatever_its_size():
    begun = []
    parts = ((9, 4), (1, 0), (3, 1), (2, 1))
    tasks = [schedule.Task(size, lambda _stopped, size=size: begun.append(size), rank=rank) for size, rank in parts]
    schedule.run(tasks, 1)
    assert begun == [1, 3, 2, 9]


def test_parts_that_wait_for_each_other_are_refused_before_anything_begins():
    begun = []
    tasks = [schedule.Task(1, lambda _stopped: begun.append(1), name, (other,)) for name, other in ("ab", "ba")]
    with pytest.raises(CycleError):
        schedule.run(tasks, 2)
    assert not begun
