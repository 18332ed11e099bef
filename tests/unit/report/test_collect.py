"""Facts in, report out: defaults, types, sums, and no trust in odd input."""
from __future__ import annotations

import json

import pytest
from report_samples import FAILURE, NASTY, PLANNED, SUCCESS, success

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report import clean
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report.collect import build_report
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report.groups import TABLE_GROUPS, group_of

PUBLIC_KEYS = {
    "run_id", "playbook", "status", "failure_class", "backup", "target", "phases", "downtime_seconds", "tables", "checks", "reconciled",
    "redis", "undo",
}


@pytest.mark.parametrize("facts", [SUCCESS, FAILURE, PLANNED, {}, None, "nonsense", []])
def test_a_report_has_every_public_key_and_is_plain_json_whatever_came_in(facts):
    report = build_report(facts)
    assert set(report) >= PUBLIC_KEYS
    assert json.loads(json.dumps(report)) == report
    assert set(report["backup"]) == {"id", "taken_at", "letta_version", "alembic_revision", "rejected"}
    assert set(report["target"]) == {"host", "database", "alembic_revision"}
    assert set(report["undo"]) == {"command", "valid_until"}


def test_good_facts_pass_through_unchanged_and_without_warnings():
    report = build_report(SUCCESS)
    for key in ("run_id", "playbook", "status", "failure_class", "downtime_seconds", "target", "reconciled", "redis", "undo", "backup"):
        assert report[key] == SUCCESS[key]
    assert report["warnings"] == []
    assert [phase["seconds"] for phase in report["phases"]] == [phase["seconds"] for phase in SUCCESS["phases"]]
    assert report["seconds"] == 727
    assert (report["verdict"]["equal"], report["verdict"]["explained"]) == (18, 2)


def test_tables_are_summed_by_group_and_none_is_lost():
    groups = build_report(SUCCESS)["table_groups"]
    assert sum(group["tables"] for group in groups) == len(SUCCESS["tables"])
    messages = next(group for group in groups if group["name"] == "messages")
    assert (messages["tables"], messages["equal"], messages["rows"]) == (2, 2, 300088)
    assert group_of("letta.messages") == group_of("public.messages") == "messages"
    assert group_of("letta.some_new_table") == "other"


def test_no_table_is_in_two_groups():
    tables = [table for _, members in TABLE_GROUPS for table in members]
    assert len(tables) == len(set(tables))


@pytest.mark.parametrize("digest", [None, "", "EQUAL", "ok", True, []])
def test_a_table_without_a_verdict_counts_as_differing(digest):
    report = build_report(success(tables=[{"name": "letta.agents", "rows_expected": 1, "rows_restored": 1, "digest": digest}]))
    assert report["tables"][0]["digest"] == "differs"
    assert report["tables"][0]["explanation"].startswith("no verdict recorded")
    assert any("yet 1 table is not equal" in warning for warning in report["warnings"])


def test_a_run_without_a_status_counts_as_failed():
    report = build_report(success(status=None, failure_class=None))
    assert (report["status"], report["failure_class"]) == ("failed", "manual_help_needed")
    assert report["warnings"]


def test_a_success_that_names_a_failure_or_a_failed_check_says_so():
    report = build_report(success(failure_class="locked", checks=[{"id": "x", "status": "fail", "detail": "d", "count": 1}]))
    assert any("failure class locked" in warning for warning in report["warnings"])
    assert any("1 check failed" in warning for warning in report["warnings"])


@pytest.mark.parametrize("odd", NASTY, ids=lambda value: repr(value)[:20])
def test_odd_values_in_every_place_never_raise(odd):
    facts = dict.fromkeys(list(SUCCESS) + ["message", "now", "next_step", "downtime_started_at"], odd)
    build_report(facts)
    nested = {key: dict.fromkeys(value, odd) for key, value in SUCCESS.items() if isinstance(value, dict)}
    nested.update({key: [odd, dict.fromkeys(value[0], odd)] for key, value in SUCCESS.items() if isinstance(value, list)})
    json.dumps(build_report(nested))


def test_text_is_cut_and_loses_what_could_steer_a_terminal():
    assert len(clean.clean_text("a" * 10000, 80)) == 80
    assert "\x1b" not in clean.clean_text("\x1b[31mred")
    assert "\u202e" not in clean.clean_text("\u202egnp.exe")
    assert clean.clean_text("{{ left }} \"alone\"") == "{{ left }} \"alone\""


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0 s"), (0.42, "0.4 s"), (9.99, "10 s"), (25, "25 s"), (59.7, "60 s"), (727, "12 min 7 s"),
    (83520, "23 h 12 min"),
    (604800, "7 d"), (273600, "3 d 4 h"), (None, "?"), (-3, "0 s"),
])
def test_durations_read_as_a_person_says_them(seconds, text):
    assert clean.span(seconds) == text


def test_times_are_read_from_text_and_seconds_and_told_in_utc():
    assert clean.minute(clean.when("2026-11-28T02:14:00Z")) == "2026-11-28 02:14 UTC"
    assert clean.minute(clean.when("2026-11-28T03:14:00+01:00")) == "2026-11-28 02:14 UTC"
    assert clean.iso(clean.when(0)) == "1970-01-01T00:00:00Z"
    assert clean.when("next tuesday") is None
    assert clean.when(1e300) is None
