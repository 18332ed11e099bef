"""The plan says what rehearsals showed, and nothing where there were none."""
from __future__ import annotations

import copy
from datetime import datetime, timezone

import pytest
from report_samples import NASTY, PLAN

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report import text
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report.clean import span_between

NOW = datetime(2026, 11, 21, 1, 14, tzinfo=timezone.utc)
FACTS = {
    "set": {"verdict": "passed", "finished_at": "2026-11-17T21:41:00Z", "reason": ""}, "like": 5,
    "seconds": {"least": 665.0, "most": 826.0}, "downtime_seconds": 25.0, "migrate_seconds": 38.2,
}  # fmt: skip
OLDER = {"from_revision": "ddb69be34a72", "from_release": "0.11.7", "to_revision": "1c28e167b74f", "to_release": "0.16.8",
         "verdict": "older", "migrations": 50, "changes_data": 6}  # fmt: skip


def told(facts, **changes):
    return " ".join(" ".join(text.plan_lines(dict(copy.deepcopy(PLAN), rehearsal=facts, schema=OLDER, **changes), NOW)).split())


def test_the_plan_reads_as_the_contract_shows_it():
    plan = told(FACTS)
    assert "PLAN restore lb-20261120T020000Z-4f2a9c (verified 3 h ago, rehearsal passed 11-17) -> db1/letta" in plan
    assert "schema 0.11.7 (ddb69be34a72) -> 0.16.8 (1c28e167b74f): 50 migrations, 6 change data, rehearsed 38 s" in plan
    assert "downtime about 25 s of 12 min · the last 5 rehearsals like it took 11–14 min" in plan


def test_a_failed_rehearsal_is_told_with_its_reason_and_an_error_as_no_verdict():
    failed = {"verdict": "failed", "finished_at": "2025-11-17T21:41:00Z", "reason": "letta.messages differs"}
    assert "(verified 3 h ago, rehearsal FAILED 2025-11-17: letta.messages differs) ->" in told({"set": failed})
    error = {"verdict": "error", "finished_at": None, "reason": "the store is silent"}
    assert "rehearsal gave no verdict on an unknown day)" in told({"set": error})


@pytest.mark.parametrize("facts", [None, {}, {"set": None, "like": 0, "seconds": None}, {"set": {"verdict": "maybe"}}, 7, *NASTY])
def test_without_a_history_nothing_is_said(facts):
    assert "rehears" not in told(facts)


@pytest.mark.parametrize("odd", NASTY, ids=lambda value: repr(value)[:20])
def test_odd_values_break_no_line(odd):
    facts = {"set": {"verdict": odd, "finished_at": odd, "reason": odd}, "like": odd, "seconds": {"least": odd, "most": odd}}
    assert "PLAN" in told(dict(facts, migrate_seconds=odd))
    assert "\x1b" not in told({"set": dict(facts["set"], verdict="failed")})


def test_one_rehearsal_is_no_range_and_what_needs_no_migration_was_not_rehearsed():
    assert "the last rehearsal like it took 11 min" in told(dict(FACTS, like=1, seconds={"least": 660.0, "most": 660.0}))
    assert "rehearsed 38" not in " ".join(text.plan_lines(dict(PLAN, rehearsal=FACTS), NOW))


@pytest.mark.parametrize(("least", "most", "expected"), [
    (665, 826, "11–14 min"), (660, 660, "11 min"), (38.2, 51.5, "38–52 s"), (1.2, 1.9, "1.2 s – 1.9 s"), (55, 90, "55 s – 1 min 30 s"),
    (3000, 4200, "50 min – 1 h 10 min"), (0.4, 0.4, "0.4 s"), (661, 700, "11–12 min"),
])  # fmt: skip
def test_a_range_names_its_unit_once_where_it_can(least, most, expected):
    assert span_between(least, most) == expected
