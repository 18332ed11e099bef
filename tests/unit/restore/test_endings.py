"""Downtime is what a server was away, and never less than is known."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import endings
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import journal as journals


def stopped(server, told_at, changed=True):
    was = "running" if changed else "stopped"
    return {"item": server, "is": "stopped", "was": was, "changed": changed, "told_at": told_at, "proven_at": 0}


def started(server, proven_at):
    return {"item": server, "is": "running", "was": "stopped", "changed": True, "told_at": 0, "proven_at": proven_at}


@pytest.fixture
def journal(tmp_path, monkeypatch):
    """A journal in which the servers were about to stop at 12:00:00 and were noted as up at 12:01:00."""
    made = journals.Journal.create(str(tmp_path), journals.new_run_id())
    monkeypatch.setattr(journals, "utc_now", lambda: "2026-11-21T12:00:00.000Z")
    endings.note_services(made, stopped=True)
    monkeypatch.setattr(journals, "utc_now", lambda: "2026-11-21T12:01:00.000Z")
    return made


def test_downtime_is_the_longest_time_that_one_server_was_away(journal):
    endings.note_services(journal, False, [stopped("a", 100.0), stopped("b", 101.0), started("a", 107.5), started("b", 111.0)])
    assert endings.downtime(journal) == 10.0
    assert journal.entry("services.start")["away"]["a"] == {"from": 100.0, "seconds": 7.5}


@pytest.mark.parametrize(
    "results",
    [
        [],
        [started("a", 107.5)],  # an interrupted run had stopped it, and the task was skipped
        [stopped("a", 100.0, changed=False), started("a", 107.5)],  # it was down before: nobody knows since when
        [stopped("a", 100.0), stopped("b", 101.0), started("a", 107.5)],
        [stopped("a", 107.5), started("a", 100.0), stopped("b", 101.0), started("b", 102.0)],  # the clock was set back in between
        [{"item": "a", "skipped": True}, {"item": "a", "failed": True}],
    ],
)
def test_where_a_server_s_own_times_do_not_tell_the_journal_s_do(journal, results):
    endings.note_services(journal, False, results)
    assert endings.downtime(journal) == 60.0


def test_a_server_that_is_not_up_again_has_no_downtime_yet(journal):
    assert endings.downtime(journal) is None
