"""Downtime is what a server was away, and never less than is known."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import endings, servers
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


def at(controller, result):
    """The result of a task that ended at this moment by the controller's clock."""
    return dict(result, ended_at=controller)


def test_downtime_of_several_servers_is_the_time_in_which_none_served_whatever_their_clocks_say(journal):
    """a's clock is an hour ahead. b was told to stop last, 3 s before its task ended; a served first."""
    results = [
        at(1001.0, dict(stopped("a", 4600.0), proven_at=4601.0)),
        at(1004.0, dict(stopped("b", 1001.0), proven_at=1004.0)),
        at(1020.0, started("a", 4620.0)),
        at(1035.0, started("b", 1035.0)),
    ]
    endings.note_services(journal, False, results)
    assert endings.downtime(journal) == 19.0
    (told,) = servers.checks(journal)
    assert (told["id"], told["status"]) == ("services.away", "pass")
    assert "a 20.0 s, b 34.0 s" in told["detail"]


@pytest.mark.parametrize(
    ("ran_since", "said"),
    [
        (None, "nobody knows since when"),
        (107.0, "since 2.0 s after it was proven stopped, by its own clock"),
        (90.0, "since before it was proven stopped"),
    ],
)
def test_a_server_that_was_started_early_is_told_with_what_its_own_clock_knows(journal, ran_since, said):
    late = dict(started("b", 120.0), restarted=True, ran_since=ran_since)
    results = [stopped("a", 100.0), dict(stopped("b", 101.0), proven_at=105.0), started("a", 110.0), late]
    endings.note_services(journal, False, results)
    (told,) = [item for item in servers.checks(journal) if item["id"] == "services.late"]
    assert (told["status"], told["count"], told["examples"]) == ("warn", 1, ["b"])
    assert "b ran already before it was to be started, %s" % said in told["detail"]
