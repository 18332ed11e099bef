"""The folder of a throw-away system: nothing else is ever taken for one."""
from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.processes import DEAD, identity, state_of
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.rehearse import confine, folder

NAME = "rh-20261121T213000Z-4f2a9c-1"


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.fault(39, "mark")
@pytest.mark.parametrize("name", ["", "..", "rh-1/../..", "/etc", "rh-20261121T213000Z-4f2a9c-1/x", "letta", NAME + "\n"])
def test_a_name_that_no_rehearsal_has_is_refused(tmp_path, name):
    with pytest.raises(RecoveryError) as caught:
        folder.path_of(str(tmp_path), name)
    assert caught.value.failure_class == "usage"


def test_what_runs_in_it_is_ended_and_the_folder_goes(tmp_path, sleeper):
    path = folder.make(str(tmp_path), NAME)
    assert os.stat(path).st_mode & 0o777 == 0o700
    who = identity(sleeper.pid)
    folder.keep(path, dict(folder.facts_of(path), processes=[who]))
    assert folder.remove(path) == 1 and state_of(who) == DEAD and not os.path.exists(path)
    assert folder.remove(path) is None


def test_a_process_that_has_got_the_number_of_an_ended_one_is_let_be(tmp_path, sleeper):
    path = folder.make(str(tmp_path), NAME)
    folder.keep(path, dict(folder.facts_of(path), processes=[dict(identity(sleeper.pid), started=1)]))
    assert folder.remove(path) == 0 and sleeper.poll() is None


@pytest.mark.fault(39, "mark")
def test_a_folder_that_is_not_a_rehearsals_is_left_alone(tmp_path):
    for other in (tmp_path / "letta_rehearsal_mine", tmp_path / "precious"):
        other.mkdir()
        (other / "data").write_text("x")
        with pytest.raises(RecoveryError):
            folder.remove(str(other))
        assert (other / "data").read_text() == "x"
    precious = tmp_path / "precious"
    (precious / "stand.json").write_text('{"made": 0, "holder": null, "processes": []}')
    link = tmp_path / (folder.PREFIX + NAME)
    link.symlink_to(precious)
    with pytest.raises(RecoveryError):
        folder.remove(str(link))
    assert folder.reap(str(tmp_path), 0) == [] and (precious / "data").exists()


@pytest.mark.fault(39, "leftovers")
def test_what_a_killed_rehearsal_left_is_removed_when_its_time_is_over_and_not_before(tmp_path):
    path = folder.make(str(tmp_path), NAME)
    assert folder.reap(str(tmp_path), 3600) == []
    assert folder.reap(str(tmp_path), 3600, now=time.time() + 3601) == [os.path.basename(path)] and not os.path.exists(path)


def test_a_network_shows_loopback_alone_and_ends_with_everything_in_it(tmp_path):
    path = folder.make(str(tmp_path), NAME)
    try:
        holder = confine.begin(path, 60)
    except RecoveryError as error:
        pytest.skip(error.message)
    folder.keep(path, dict(folder.facts_of(path), holder=holder))
    python = confine.interpreter(os.path.join(path, "python"), holder)
    look = "import socket; s = socket.socket(); s.settimeout(2); print(s.connect_ex(('192.0.2.1', 80)), s.connect_ex(('127.0.0.1', 9)))"
    again = "import subprocess; print(subprocess.run([%r, '-c', 'print(1)'], capture_output=True, text=True).stdout.strip())" % python
    # Network is unreachable, and: connection refused, so loopback is up.
    assert subprocess.run([python, "-c", look], capture_output=True, text=True, check=True).stdout.split() == ["101", "111"]
    assert subprocess.run([python, "-c", again], capture_output=True, text=True, check=True).stdout == "1\n"
    numbers = subprocess.run(confine.inside(holder, ["id", "-u"], as_server=True), capture_output=True, text=True, check=True)
    assert numbers.stdout.strip() != "0"
    inside = subprocess.Popen([python, "-c", "import time; print(flush=True); time.sleep(600)"], stdout=subprocess.PIPE)
    inside.stdout.readline()
    assert inside.pid in confine.members(holder) and os.getpid() not in confine.members(holder)
    assert folder.remove(path) == 2 and inside.wait(10) and state_of(holder) == DEAD
