"""A process is named so that its death can be proven, and never guessed."""
from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine import processes


def test_this_process_is_alive():
    assert processes.state_of(processes.identity()) == processes.ALIVE


def test_a_process_is_alive_until_it_ended_and_a_zombie_counts_as_ended():
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        who = processes.identity(process.pid)
        assert processes.state_of(who) == processes.ALIVE
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, not yet waited for: a zombie
        assert processes.state_of(who) == processes.DEAD
        process.wait()
    assert processes.state_of(who) == processes.DEAD


def test_a_name_with_brackets_and_spaces_does_not_hide_the_start_time(tmp_path):
    program = tmp_path / ") Z 1 (x"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "30"]) as process:
        try:
            assert processes.state_of(processes.identity(process.pid)) == processes.ALIVE
        finally:
            process.kill()


@pytest.mark.parametrize("who", [None, {}, {"pid": 1}, {"boot": "x"}, dict(processes.identity(), pidns="pid:[1]")])
def test_what_cannot_be_looked_at_is_unknown(who):
    assert processes.state_of(who) == processes.UNKNOWN


def test_a_record_without_start_time_proves_neither_life_nor_death():
    assert processes.state_of(dict(processes.identity(), started=None)) == processes.UNKNOWN


def test_a_process_that_proc_hides_is_not_taken_for_dead(monkeypatch):
    read = processes._read
    monkeypatch.setattr(processes, "_read", lambda path: "" if path.endswith("/stat") else read(path))
    assert processes.state_of(dict(processes.identity(), started=1)) == processes.UNKNOWN


def test_a_machine_that_cannot_name_its_boot_judges_nobody(monkeypatch):
    who, read = processes.identity(), processes._read
    monkeypatch.setattr(processes, "_read", lambda path: "" if path.endswith("/boot_id") else read(path))
    assert processes.state_of(who) == processes.UNKNOWN


def test_another_boot_of_this_machine_proves_death_and_a_clone_of_its_image_does_not():
    before = dict(processes.identity(), boot="an earlier one", machine="4711")
    assert processes.state_of(before) == processes.UNKNOWN  # another machine
    here = dict(before, machine=processes.identity()["machine"] or "none")
    assert processes.state_of(dict(here, host="a clone")) == processes.UNKNOWN


def test_a_restarted_machine_knows_its_dead(monkeypatch):
    read = processes._read
    monkeypatch.setattr(processes, "_read", lambda path: "4711" if path == "/etc/machine-id" else read(path))
    assert processes.state_of(dict(processes.identity(), boot="an earlier one")) == processes.DEAD
