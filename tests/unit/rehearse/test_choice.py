"""Which sets and agents a rehearsal takes, and what it says of them."""
from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.catalogue import SetInfo
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.rehearse import policy, verdict

NOW = datetime(2026, 11, 21, 22, 0, tzinfo=timezone.utc)
# Newest first: two of today's schema, one older, one whose manifest cannot be read.
SETS = [
    SetInfo("lb-4", "/s/lb-4", True, alembic_revisions=("new",)),
    SetInfo("lb-3", "/s/lb-3", True, alembic_revisions=("new",)),
    SetInfo("lb-2", "/s/lb-2", True, alembic_revisions=("old",)),
    SetInfo("lb-1", "/s/lb-1", False, reason="manifest.json cannot be read"),
]


def picked(*policies, seed="s", sets=SETS):
    return dict(policy.pick(sets, policies, seed))


def test_latest_and_oldest_are_the_ends_and_a_set_that_cannot_be_used_is_taken_too():
    assert picked("latest", "oldest") == {"lb-4": ["latest"], "lb-1": ["oldest"]}


def test_the_newest_of_each_schema_revision_is_taken():
    assert picked("revisions") == {"lb-4": ["revisions"], "lb-2": ["revisions"]}


def test_a_set_that_several_policies_choose_is_taken_once_with_all_of_them():
    assert picked("latest", "revisions")["lb-4"] == ["latest", "revisions"]


def test_chance_takes_what_nobody_else_took_and_the_same_again_for_the_same_seed():
    found = {name for seed in range(40) for name, why in picked("random", "latest", "oldest", seed=seed).items() if why == ["random"]}
    assert found == {"lb-3", "lb-2"}
    assert picked("random", seed="a") == picked("random", seed="a")


def test_chance_takes_any_when_the_others_took_all():
    assert list(picked("latest", "oldest", "random", sets=SETS[:1]).values()) == [["latest", "oldest", "random"]]


def test_what_is_asked_for_by_id_is_taken_also_when_it_is_not_there():
    assert list(policy.pick(SETS, ["lb-9", "lb-2"], "s")) == [("lb-2", ["asked for"]), ("lb-9", ["asked for"])]


def test_out_of_no_sets_none_is_taken():
    assert policy.pick([], ["latest", "oldest", "revisions", "random"], "s") == []


def test_agents_are_chosen_by_chance_never_more_than_there_are():
    agents = {"agent-%d" % number: {} for number in range(9)}
    assert len(policy.sample(agents, 3, "s")) == 3 and policy.sample(agents, 3, "s") == policy.sample(agents, 3, "s")
    assert policy.sample(agents, 99, "s") == sorted(agents)
    assert {tuple(policy.sample(agents, 3, seed)) for seed in range(20)} != {tuple(policy.sample(agents, 3, "s"))}


FULL = {
    "seconds": 100.0,
    "failure": None,
    "report": {
        "downtime_seconds": 1.5, "phases": [{"name": "stage", "seconds": 60.0}],
        "tables": [{"digest": "equal"}, {"digest": "explained"}], "checks": [{"status": "pass"}, {"status": "warn"}],
    },
}  # fmt: skip
HEAD = {"set": "lb-4", "taken_at": "2026-11-21T20:00:00Z", "size_bytes": 200 << 20}


def judged(full=None, partial=None, served=None, **targets):
    return verdict.record(HEAD, full or FULL, partial or {}, served or {}, NOW, targets)


def test_what_came_back_passes_with_its_times_and_counts():
    partial = {"agents": ["agent-1"], "failure": None, "seconds": 9, "deleted": 1}
    record = judged(partial=partial, served={"seconds": 20.0, "figures": {"x": {}}})
    assert (record["verdict"], record["reason"], record["failure_class"]) == ("passed", "", "ok")
    assert record["seconds"] == {"total": 120.0, "downtime": 1.5, "phases": {"stage": 60.0}, "serve": 20.0, "partial": 9}
    assert record["tables"] == {"equal": 1, "explained": 1, "differ": 0} and record["checks"] == {"pass": 1, "warn": 1, "fail": 0}
    assert record["agents"] == {"restored": ["agent-1"], "failed": [], "deleted": 1} and record["throughput_mib_s"] == 2.0


@pytest.mark.fault(40, "error", "failed")
@pytest.mark.parametrize(
    ("failure_class", "said"),
    [("backup_corrupt", "failed"), ("verify_failed", "failed"), ("key_mismatch", "failed"), ("schema", "failed"), ("load_failed", "failed"),
     ("preflight", "error"), ("usage", "error"), ("locked", "error"), ("cancelled", "error")],
)  # fmt: skip
def test_a_bad_backup_failed_and_bad_circumstances_are_no_verdict(failure_class, said):
    record = judged(full={"failure": {"failure_class": failure_class, "message": "several\n lines"}, "seconds": 3})
    assert (record["verdict"], record["failure_class"], record["reason"]) == (said, failure_class, "several lines")


def test_an_agent_that_does_not_come_back_fails_the_set():
    record = judged(partial={"agents": ["agent-1"], "failure": {"failure_class": "verify_failed", "message": "differs"}})
    assert record["verdict"] == "failed" and record["agents"] == {"restored": [], "failed": ["agent-1"], "deleted": 0}


def test_a_server_that_does_not_serve_fails_the_set():
    record = judged(served={"failure": {"failure_class": "verify_failed", "message": "not ready"}})
    assert record["verdict"] == "failed" and record["reason"] == "not ready"


def test_the_targets_are_held_against_what_was_measured():
    record = judged(rto=90, rpo=7200)
    assert record["rto"] == {"seconds": 100.0, "target": 90, "met": False}
    assert record["rpo"] == {"seconds": 7200, "target": 7200, "met": True}
    assert judged()["rto"]["met"] is None
    failed = judged(full={"failure": {"failure_class": "backup_corrupt", "message": "x"}}, rto=90)
    assert failed["rto"] == {"seconds": None, "target": 90, "met": None}


def test_an_age_is_never_below_zero():
    record = verdict.record(dict(HEAD, taken_at="2026-11-21T23:00:00Z"), FULL, {}, {}, NOW - timedelta(0), {})
    assert record["rpo"]["seconds"] == 0


def restored(**changes):
    return dict({"name": "memory", "status": "swapped", "proof": "equal"}, **changes)


def test_volumes_are_counted_by_how_they_were_proven():
    report = dict(FULL["report"], volumes=[restored(), restored(name="config", proof="counts")])
    record = judged(full=dict(FULL, report=report, volumes=["memory", "config"]))
    assert record["verdict"] == "passed" and record["volumes"] == {"equal": 1, "counted": 1, "missing": 0}
    assert judged()["volumes"] == {"equal": 0, "counted": 0, "missing": 0}


@pytest.mark.parametrize("volumes", [[], [restored(status="staged")], [restored(name="config")]])
def test_a_volume_of_the_set_that_was_not_restored_fails_it_whatever_the_restore_says(volumes):
    record = judged(full=dict(FULL, report=dict(FULL["report"], volumes=volumes), volumes=["memory"]))
    assert (record["verdict"], record["failure_class"], record["volumes"]["missing"]) == ("failed", "verify_failed", 1)
    assert record["reason"] == "not restored: volume memory"
