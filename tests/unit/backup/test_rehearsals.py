"""The history of rehearsals survives crashes and readers survive the history; a plan expects only what was measured."""
from __future__ import annotations

import json
import os
import stat
import threading
from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import catalogue, rehearsals

from .conftest import NOW

SET, OTHER = "lb-20261121T020000Z-4f2a9c", "lb-20261114T020000Z-77b01e"
GIB = 1 << 30


def record(number=0, **changes):
    """One rehearsed set as rehearse.yml records it; a week later with each number."""
    moment = datetime(2026, 6, 6, 21, 41, tzinfo=timezone.utc) + timedelta(days=7 * number)
    base = {
        "rehearsal": "rh-%d" % number, "finished_at": moment.strftime("%Y-%m-%dT%H:%M:%SZ"), "place": "embedded", "host": "db1",
        "target": "db1/letta", "set": OTHER, "policies": ["latest"], "revision": {"from": "ddb69be34a72", "to": "1c28e167b74f"},
        "size_bytes": 10 * GIB, "verdict": "passed", "failure_class": "ok", "reason": "",
        "seconds": {"total": 660.0 + number, "downtime": 20.0 + number, "phases": {"stage": 500.0, "migrate": 38.0 + number}},
    }  # fmt: skip
    return dict(base, **changes)


def history(root):
    return os.path.join(root, ".rehearsals", "history.jsonl")


def expected(records, set_id=SET, size=10 * GIB, **how):
    how = dict({"revision_from": "ddb69be34a72", "target": "db1/letta", "revision_to": "1c28e167b74f"}, **how)
    return rehearsals.expected(records, set_id, size, **how)


@pytest.fixture
def root(tmp_path):
    return str(tmp_path)


def test_what_was_appended_is_read_back_in_order_and_by_target(root):
    for number, target in enumerate(("db1/letta", "db2/letta", "db1/letta")):
        rehearsals.append(root, record(number, target=target))
    records, damaged = rehearsals.read(root)
    assert ([item["rehearsal"] for item in records], damaged) == (["rh-0", "rh-1", "rh-2"], 0)
    assert [item["rehearsal"] for item in rehearsals.read(root, "db1/letta")[0]] == ["rh-0", "rh-2"]
    assert records[0] == dict(record(), format=1)


def test_nobody_else_reads_the_history_whatever_the_umask(root):
    old = os.umask(0)
    try:
        rehearsals.append(root, record())
    finally:
        os.umask(old)
    modes = {stat.S_IMODE(os.stat(path).st_mode) for path in (history(root), os.path.join(root, ".rehearsals", "lock"))}
    assert (modes, stat.S_IMODE(os.stat(os.path.dirname(history(root))).st_mode)) == ({0o600}, 0o700)


def test_no_history_is_no_error(root):
    assert rehearsals.read(root) == ([], 0)
    assert rehearsals.read(os.path.join(root, "gone")) == ([], 0)
    assert expected([]) is None


def test_the_history_keeps_its_last_thousand_lines(root, monkeypatch):
    monkeypatch.setattr(rehearsals, "KEEP", 20)
    for number in range(45):
        rehearsals.append(root, {"rehearsal": number})
    assert [item["rehearsal"] for item in rehearsals.read(root)[0]] == list(range(25, 45))
    assert sorted(os.listdir(os.path.dirname(history(root)))) == ["history.jsonl", "lock"]
    assert stat.S_IMODE(os.stat(history(root)).st_mode) == 0o600


def test_lines_that_are_none_are_counted_and_passed_over(root):
    rehearsals.append(root, record())
    with open(history(root), "ab") as stream:
        stream.write(b'\xff\xfe\n[1, 2]\n{"format": 2, "set": "x"}\n\n{"cut": "sho')
    rehearsals.append(root, record(1))
    records, damaged = rehearsals.read(root)
    assert ([item["rehearsal"] for item in records], damaged) == (["rh-0", "rh-1"], 4)


def test_many_writers_at_once_lose_no_line(root, monkeypatch):
    # Full from the beginning: each writer replaces the whole file.
    monkeypatch.setattr(rehearsals, "KEEP", 60)
    for number in range(60):
        rehearsals.append(root, {"rehearsal": "old-%d" % number})

    def write(who):
        for number in range(20):
            rehearsals.append(root, {"rehearsal": "%d-%d" % (who, number)})

    threads = [threading.Thread(target=write, args=(who,)) for who in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records, damaged = rehearsals.read(root)
    assert {item["rehearsal"] for item in records} == {"%d-%d" % (who, number) for who in range(3) for number in range(20)}
    assert damaged == 0


def test_a_record_that_is_no_json_is_refused_and_the_history_stays_whole(root):
    rehearsals.append(root, record())
    with pytest.raises(ValueError, match="JSON"):
        rehearsals.append(root, record(1, size_bytes=float("nan")))
    assert len(rehearsals.read(root)[0]) == 1


def test_a_history_that_is_a_link_is_not_followed(root, tmp_path):
    os.mkdir(os.path.dirname(history(root)), 0o700)
    os.symlink(tmp_path / "elsewhere", history(root))
    with pytest.raises(OSError, match="symbolic"):
        rehearsals.append(root, record())
    assert not (tmp_path / "elsewhere").exists()


def test_the_last_rehearsal_of_a_set_that_came_to_a_verdict_counts():
    records = [record(0, set=SET), record(1, set=SET, verdict="failed", reason="4 rows differ"), record(2, set=SET, verdict="error")]
    assert rehearsals.last_of(records, SET) == {"verdict": "failed", "finished_at": "2026-06-13T21:41:00Z", "reason": "4 rows differ"}
    assert rehearsals.last_of(records[2:], SET)["verdict"] == "error"
    assert rehearsals.last_of(records, OTHER) is None


def test_times_are_the_range_of_the_last_five_that_passed():
    records = [record(number) for number in range(8)] + [record(8, verdict="failed", seconds={"total": 1.0})]
    told = expected(records)
    assert (told["like"], told["seconds"], told["downtime_seconds"]) == (5, {"least": 663.0, "most": 667.0}, 25.0)
    assert (told["set"], told["migrate_seconds"]) == (None, 45.0)


@pytest.mark.parametrize("changes", [
    {"size_bytes": 21 * GIB}, {"size_bytes": 4 * GIB}, {"size_bytes": None}, {"revision": {"from": "other", "to": "1c28e167b74f"}},
    {"target": "db9/letta"}, {"verdict": "error"},
], ids=lambda value: next(iter(value)))  # fmt: skip
def test_what_is_not_like_this_restore_tells_nothing_of_its_times(changes):
    assert expected([record(0, **changes)]) is None


def test_the_sets_own_rehearsal_tells_its_times_whatever_was_recorded_of_its_size():
    told = expected([record(0, set=SET, size_bytes=None), record(1)])
    assert (told["like"], told["migrate_seconds"], told["set"]["verdict"]) == (2, 38.0, "passed")


def test_migrations_to_another_release_tell_nothing_of_these():
    assert expected([record(0)], revision_to="another")["migrate_seconds"] is None
    assert expected([record(0)], revision_to=None)["migrate_seconds"] is None


@pytest.mark.parametrize("odd", [None, 7, "x", [], {"total": "soon", "downtime": -1, "phases": 3}, {"total": float("inf"), "phases": {}}])
def test_odd_figures_are_no_figures(odd):
    told = expected([record(0, set=SET, seconds=odd)])
    assert (told["like"], told["seconds"], told["downtime_seconds"], told["migrate_seconds"]) == (0, None, None, None)
    assert set(rehearsals.phases([record(0, seconds=odd)])[0].values()) <= {None}


def test_records_without_any_key_are_read_past():
    assert expected([{}, {"verdict": "passed"}, {"set": SET}]) is None


def test_rehearsed_phases_have_the_form_of_earlier_runs():
    assert rehearsals.phases([record()]) == [{"stage": 500.0, "migrate": 38.0, "total": 660.0, "downtime": 20.0}]


def test_the_catalogue_shows_the_last_rehearsal_of_each_set(sets):
    never, passed, failed = sets.add(timedelta(hours=3)), sets.add(timedelta(hours=2)), sets.add(timedelta(hours=1))
    day_before = (NOW - timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    rehearsals.append(sets.root, record(0, set=passed, finished_at=day_before))
    rehearsals.append(sets.root, record(1, set=failed, finished_at=None, verdict="failed", reason="letta.messages\x1b[31m differs"))
    infos = catalogue.with_rehearsals(sets.root, catalogue.list_sets(sets.root, NOW))
    lines = {info.id: catalogue.format_line(info, NOW) for info in infos}
    assert lines[passed].endswith("rehearsal passed 2 d ago")
    assert lines[failed].endswith("rehearsal FAILED: letta.messages [31m differs")
    assert "rehears" not in lines[never]
    assert json.loads(json.dumps([info.as_dict() for info in infos]))[1]["rehearsal"]["verdict"] == "passed"
