"""The network of a rehearsal's own, made for real."""
from __future__ import annotations

import os
import subprocess

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.rehearse import confine


@pytest.fixture
def network(tmp_path):
    """The network, held for the time of a test, with the interpreter that enters it."""
    held = tmp_path / "held"
    held.mkdir()
    holder = confine.begin(str(held), 60)
    yield confine.interpreter(str(tmp_path / "python"), holder)
    assert confine.end(holder) >= 1


def run(interpreter, code, **options):
    return subprocess.run([interpreter, "-c", code], capture_output=True, text=True, timeout=30, check=False, **options)


def test_there_is_loopback_and_nothing_else(network):
    done = run(network, "import socket; print([name for _number, name in socket.if_nameindex()])")
    assert done.stdout.strip() == "['lo']", done.stderr


def test_whoever_rehearses_owns_its_files_outside_too(network, tmp_path):
    assert run(network, "open(%r, 'w').close()" % str(tmp_path / "made")).returncode == 0
    assert os.stat(tmp_path / "made").st_uid == os.geteuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads the files of others")
def test_root_reads_there_what_the_account_that_logged_in_has_left(network, tmp_path):
    """As Ansible leaves the files of a background task when it logs in as an ordinary user and becomes root."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "task.py").write_text("print('ran')")
    (home / "task.py").chmod(0o600)
    for path in (home, home / "task.py"):
        os.chown(path, 1234, 1234)
    done = subprocess.run([network, str(home / "task.py")], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "ran\n", done.stderr


def test_a_host_that_allows_none_is_told_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(confine.RecoveryError, match="util-linux") as caught:
        confine.begin(str(tmp_path), 60)
    assert (caught.value.failure_class, "letta_rehearse_isolation" in caught.value.next_step) == ("preflight", True)
