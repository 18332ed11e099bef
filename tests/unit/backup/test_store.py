"""A set in the making is no set, whatever ends its maker."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import catalogue, store
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError

ID = "lb-20261121T120000Z-abcdef"
MAKER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import store
with store.incoming(sys.argv[2], sys.argv[3]) as folder:
    open(folder + "/half", "w").write("half a dump")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def maker(sets):
    collections = Path(__file__).resolve().parents[3] / "playbooks" / "collections"
    argv = [sys.executable, "-c", MAKER, str(collections), sets.root, ID]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_living_backup_is_left_alone(sets, maker):
    assert store.reap(sets.root) == []
    assert os.path.isdir(sets.path(".incoming-" + ID))


def test_a_killed_backup_leaves_nothing_that_passes_for_a_set_and_the_next_one_removes_it(sets, maker):
    maker.kill()
    maker.wait()
    assert catalogue.list_sets(sets.root) == []
    assert store.reap(sets.root) == [".incoming-" + ID]
    assert os.listdir(sets.root) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_backup_ended_by_a_signal_leaves_nothing_at_all(sets, maker, number):
    maker.send_signal(number)
    assert maker.wait(10) != 0
    assert os.listdir(sets.root) == []


def test_a_folder_without_a_holder_is_removed_only_when_it_is_old(sets):
    folder = sets.path(".incoming-" + ID)
    os.mkdir(folder)
    assert store.reap(sets.root) == []
    past = time.time() - 3600
    os.utime(folder, (past, past))
    assert store.reap(sets.root) == [".incoming-" + ID]


def test_an_interrupted_removal_is_finished_by_the_next_reaping(sets):
    set_id = sets.add()
    catalogue.note_verified(sets.root, manifests.load(sets.path(set_id)), [], "deep", "pass")
    os.rename(sets.path(set_id), sets.path(".removing-" + set_id))
    assert catalogue.list_sets(sets.root) == []
    store.reap(sets.root)
    assert os.listdir(sets.root) == [".catalog"]
    assert os.listdir(sets.path(".catalog")) == [], "the note of a set goes with it"


def test_a_set_that_another_process_removes_at_this_moment_is_no_error(sets):
    set_id = sets.add()
    os.rename(sets.path(set_id), sets.path(".removing-" + set_id))
    store.remove_set(sets.root, set_id)
    assert os.listdir(sets.root) == []


def test_an_error_inside_leaves_nothing(sets):
    with pytest.raises(ZeroDivisionError), store.incoming(sets.root, ID) as folder:
        os.mkdir(os.path.join(folder, "database"))
        raise ZeroDivisionError
    assert os.listdir(sets.root) == []


def test_files_are_private_from_the_first_instant(sets):
    with store.incoming(sets.root, ID) as folder:
        with open(os.path.join(folder, "x"), "w", encoding="utf-8"):
            mode = os.stat(os.path.join(folder, "x")).st_mode & 0o777
        assert (mode, os.stat(folder).st_mode & 0o777) == (0o600, 0o700)


def test_a_full_disk_is_told_before_any_work(sets):
    with pytest.raises(RecoveryError) as caught:
        store.check_free(sets.root, 1 << 60, "a backup")
    assert caught.value.failure_class == "preflight"
    assert caught.value.details["needed_bytes"] == 1 << 60


def test_a_store_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "store").write_text("no folder")
    with pytest.raises(RecoveryError) as caught:
        store.check_root(str(tmp_path / "store"), create=True)
    assert caught.value.failure_class == "preflight"


def test_only_a_set_id_can_be_removed(sets):
    with pytest.raises(RecoveryError):
        store.remove_set(sets.root, "../elsewhere")
