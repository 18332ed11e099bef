"""The parts of live progress that need no Ansible."""
from __future__ import annotations

import json

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._ansible import lines, live


class Screen(list):
    def display(self, text):
        self.append(text)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def state(**changes):
    usual = {"phase": "load", "done": 50 << 20, "total": 100 << 20, "unit": "bytes", "item": "messages", "started": 0, "at": 10}
    return json.dumps(dict(usual, **changes))


ODD = ["", "{", "null", "[]", '"x"', "7", '{"done": "many"}', '{"at": [1]}', '{"done": NaN}', '{"total": 1e999}']


@pytest.mark.parametrize("text", ODD)
def test_a_torn_or_odd_progress_file_prints_nothing(text):
    assert lines.read_state(text) is None


def test_what_could_steer_a_terminal_is_dropped_and_names_are_cut():
    read = lines.read_state(state(item="\x1b[2Jname\r\n" + "x" * 500, phase="lo\x07ad"))
    assert read["item"].isprintable()
    assert len(read["item"]) <= 60
    assert read["phase"] == "load"


def test_a_line_is_printed_only_when_it_is_new_and_due():
    screen, clock = Screen(), Clock()
    printer = lines.ProgressPrinter(screen, "db1", "live service still up", clock=clock)
    printer.show(state(), 1)
    assert screen == []
    clock.now = 2.5
    printer.show(state(), 2.5)
    printer.show(state(done=60 << 20), 2.6)
    assert screen == ["[db1] load 50%  50.0 MiB of 100.0 MiB  5.0 MiB/s  ETA 10s · messages   (live service still up)"]
    clock.now = 5
    printer.show(state(), 5)
    assert len(screen) == 1, "the same line again"
    printer.show(state(done=60 << 20), 5)
    assert len(screen) == 2


def test_long_tasks_print_less_often():
    assert [lines.interval(seconds) for seconds in (1, 59, 60, 599, 600, 86400)] == [2, 2, 10, 10, 30, 30]


@pytest.mark.parametrize(("job", "running"), [
    ({"started": True, "finished": False, "ansible_job_id": "j1.2"}, True),
    ({"started": 1, "finished": 0, "ansible_job_id": "j1.2", "results_file": "/x"}, True),
    ({"failed": True, "msg": "Timeout exceeded", "child_pid": 7}, False),
    ({"changed": True}, False),
    ({"started": "a module's own word", "database": "letta"}, False),
])
def test_a_job_runs_until_its_file_holds_anything_else(job, running):
    assert live._is_running(job) is running
