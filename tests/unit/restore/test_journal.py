"""The journal tells, after whatever crash, what was begun and what was done."""
from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine import durable, processes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import journal as journals
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal, list_runs
from tests.lab import ROOT

WRITER = """
import sys
sys.path.insert(0, %r)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal
journal = Journal.load(sys.argv[1])
with journal.step("stage.load"):
    pass
print("survived")
""" % str(ROOT / "playbooks" / "collections")


@pytest.fixture
def journal(tmp_path):
    return Journal.create(str(tmp_path), journals.new_run_id(), target="1/letta", controller=None)


def crash(journal, moment):
    env = dict(os.environ, LETTA_OPS_CRASH_AT=moment)
    return subprocess.run([sys.executable, "-c", WRITER, journal.run_dir], env=env, check=False, capture_output=True, text=True, timeout=30)


def test_a_new_journal_is_private_and_open(journal):
    assert stat.S_IMODE(os.stat(journal.run_dir).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(journal.path).st_mode) == 0o600
    assert Journal.load(journal.run_dir).data["status"] == journals.OPEN


def test_every_write_goes_to_a_flushed_file_that_replaces_the_old_one(journal, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("dir" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda old, new: (calls.append("replace"), replace(old, new)))
    journal.begin("stage.load")
    assert calls == ["file", "replace", "dir"]
    assert os.listdir(journal.run_dir) == ["journal.json"]


def test_a_step_is_on_disk_before_and_after_its_block(journal):
    with journal.step("stage.create", database="side") as facts:
        entry = Journal.load(journal.run_dir).entry("stage.create")
        assert (entry["state"], entry["database"], entry["worker"]["pid"]) == ("begun", "side", os.getpid())
        facts.update(oid=7)
    entry = Journal.load(journal.run_dir).entry("stage.create")
    assert (entry["state"], entry["oid"]) == ("done", 7)


def test_a_step_that_fails_stays_begun(journal):
    with pytest.raises(ZeroDivisionError), journal.step("stage.load"):
        raise ZeroDivisionError
    assert Journal.load(journal.run_dir).state("stage.load") == "begun"


def test_a_step_done_again_is_one_entry_and_forgotten_steps_are_gone(journal):
    for _round in range(2):
        with journal.step("stage.load"):
            pass
    journal.begin("stage.prove")
    assert [item["name"] for item in journal.data["steps"]] == ["stage.load", "stage.prove"]
    journal.forget("stage.load")
    assert Journal.load(journal.run_dir).state("stage.load") is None


@pytest.mark.parametrize("state", ["begun", "done"])
def test_a_kill_right_after_a_write_leaves_that_write_readable(journal, state):
    done = crash(journal, "stage.load:%s" % state)
    assert done.returncode == -signal.SIGKILL
    assert "survived" not in done.stdout
    assert Journal.load(journal.run_dir).state("stage.load") == state


def test_another_moment_kills_nothing(journal):
    assert "survived" in crash(journal, "stage.load").stdout
    assert "survived" in crash(journal, "stage.create:begun").stdout


def test_the_controller_is_killed_with_the_module_when_asked(journal):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as sleeper:
        journal.save(controller=processes.identity(sleeper.pid))
        assert crash(journal, "stage.load:begun:controller").returncode == -signal.SIGKILL
        assert sleeper.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b'{"format": 2, "run_id": "%s"}', b'{"format": 1, "run_id": "r-00000000"}'],
)
def test_an_unreadable_journal_says_so_and_what_to_do(journal, text):
    with open(journal.path, "wb") as stream:
        stream.write(text.replace(b"%s", journal.run_id.encode()))
    with pytest.raises(RecoveryError) as caught:
        Journal.load(journal.run_dir)
    assert caught.value.failure_class == "manual_help_needed"
    assert journal.path in caught.value.message
    assert "psql -l" in caught.value.next_step
    found, errors = list_runs(os.path.dirname(journal.run_dir))
    assert (found, len(errors)) == ([], 1)


def test_runs_are_listed_oldest_first_and_other_folders_are_left_alone(tmp_path):
    made = []
    for number in (2, 1, 3):
        journal = Journal.create(str(tmp_path), journals.new_run_id(), target="t")
        journal.save(created_at="2026-01-01T00:00:0%d.000Z" % number)
        made.append((number, journal.run_id))
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "r-12345678").mkdir()
    found, errors = list_runs(str(tmp_path))
    assert [item.run_id for item in found] == [run_id for _number, run_id in sorted(made)]
    assert errors == []
    assert list_runs(str(tmp_path / "absent")) == ([], [])


def test_text_of_any_kind_comes_back_from_a_journal(journal):
    names = {"live": 'we"ird {{ x }} $(touch y) \U0001f600 \\'}
    journal.save(names=names)
    assert Journal.load(journal.run_dir).data["names"] == names
    with open(journal.path, encoding="utf-8") as stream:
        assert json.load(stream)["names"] == names


def test_times_are_read_back_with_and_without_a_fraction():
    assert journals.parse_time("2026-11-21T03:30:00.250Z") - journals.parse_time("2026-11-21T03:30:00Z") == pytest.approx(0.25)


def test_what_a_killed_writer_left_beside_a_journal_is_swept_and_nothing_else(tmp_path):
    journal = Journal.create(str(tmp_path), "r-11111111", target="t")
    for name in ("journal.json.tmp-4711", "undo.jsonl.tmp-1", "notes.tmp-x"):
        (tmp_path / "r-11111111" / name).write_text("")
    durable.sweep(journal.run_dir)
    assert sorted(os.listdir(journal.run_dir)) == ["journal.json", "notes.tmp-x"]
