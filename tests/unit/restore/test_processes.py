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


def test_a_record_without_start_time_is_never_alive():
    assert processes.state_of(dict(processes.identity(), started=None)) == processes.DEAD
