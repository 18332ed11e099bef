"""What the operator reads in the terminal."""
from __future__ import annotations

import copy
from datetime import datetime, timezone

import pytest
from report_samples import FAILURE, NASTY, PLAN, SUCCESS

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report import text
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report.collect import build_report

NOW = datetime(2026, 11, 21, 1, 14, tzinfo=timezone.utc)


def test_the_plan_reads_as_promised():
    lines = text.plan_lines(PLAN, NOW)
    assert lines[0] == "PLAN   restore lb-20261120T020000Z-4f2a9c (verified 3 h ago) -> db1/letta"
    assert "       loses 23 h 12 min of live data: 4 118 messages, 2 agents created since (billing-7, intake-2)" in lines
    assert "       schema 0.16.7–0.16.8 (1c28e167b74f) -> 0.16.8 (1c28e167b74f): equal, no migration needed" in lines
    assert any("disk need 41.0 GiB, free 96.0 GiB · stops letta1, letta2 · downtime about 25 s of 12 min" in line for line in lines)
    assert "REJECT lb-20261121T020000Z-9c01aa: database/4012.dat.gz does not match its checksum" in lines
    assert lines[-1] == "UNDO   ansible-playbook playbooks/rollback.yml -e letta_restore_id=r-7f3c"
    assert max(map(len, lines)) <= text.WIDTH


@pytest.mark.parametrize(
    ("verdict", "opened", "untried", "said"),
    [("proven", 142, 0, "142 secrets open under the given key"), ("proven", 1, 0, "1 secret opens under the given key"),
     ("sampled", 200, 4118, "200 secrets open under the given key, 4 118 more of the same columns were not tried"),
     ("unproven", 0, 7, None), ("nothing", 0, 0, None)],
)  # fmt: skip
def test_the_plan_says_what_is_proven_of_the_encryption_key(verdict, opened, untried, said):
    lines = text.plan_lines(dict(PLAN, secrets={"verdict": verdict, "total": {"under_key": opened, "unchecked": untried}}), NOW)
    if said:
        assert "       " + said in lines
    else:
        assert lines == text.plan_lines(PLAN, NOW)


def test_each_kind_of_plan_says_what_it_is():
    assert "nothing to do" in text.plan_lines(dict(PLAN, kind="unchanged"), NOW)[0]
    fresh = text.plan_lines(dict(PLAN, kind="fresh"), NOW)
    assert "which does not exist yet" in fresh[0]
    assert not any("loses" in line for line in fresh)
    assert "go on with the interrupted restore" in text.plan_lines(dict(PLAN, kind="resume"), NOW)[0]
    assert "in place" in text.plan_lines(dict(PLAN, mode="in_place"), NOW)[0]


def test_a_set_never_verified_and_unknown_room_are_told_as_such():
    lines = "\n".join(text.plan_lines(dict(PLAN, verified_at=None, disk={"need_bytes": 5, "free_bytes": None}), NOW))
    assert "never verified" in lines
    assert "disk need 5 B, free unknown" in lines


@pytest.mark.parametrize("plan", [{}, None, [], "x", {"steps": "a", "window": 3, "schema": [], "rejected": {"a": 1}, "disk": "no"}])
def test_a_plan_with_holes_still_prints(plan):
    assert text.plan_lines(plan, NOW)[0].startswith("PLAN   restore ?")


@pytest.mark.parametrize("odd", NASTY, ids=lambda value: repr(value)[:20])
def test_odd_names_stay_on_one_line_and_short(odd):
    plan = copy.deepcopy(PLAN)
    plan["window"]["agents"] = [odd] * 9
    plan["stops"] = [odd]
    plan["steps"][0] = {"name": odd, "detail": odd, "expected_seconds": odd}
    lines = text.plan_lines(plan, NOW) + text.plan_lines(dict.fromkeys(PLAN, odd), NOW)
    assert all(line.isprintable() for line in lines)
    assert len("\n".join(lines)) < 30000


def test_the_recap_tells_how_much_of_the_time_was_ansible_s_when_it_is_asked_for():
    report = build_report(dict(SUCCESS, started_at="2026-11-21T03:30:00Z", finished_at="2026-11-21T03:32:00Z",
                               phases=[{"name": "stage", "status": "ok", "seconds": 70}, {"name": "migrate", "status": "skipped"},
                                       {"name": "validate", "status": "ok", "seconds": 30.5}]))  # fmt: skip
    told = [line for line in text.recap_lines(report, profile=True) if line.startswith("TIME")]
    assert told == ["TIME   2 min in all: 1 min 40 s in the phases, 20 s between them, which is Ansible's own"]
    assert not [line for line in text.recap_lines(report) if line.startswith("TIME")]


def test_the_recap_tells_phases_verdict_downtime_and_undo():
    lines = text.recap_lines(build_report(SUCCESS), "reports/latest/report.html")
    assert lines[0].startswith("PHASES assess 38 s · stage 9 min 58 s · migrate skipped")
    assert "PROVE  20 tables: 18 equal, 2 explained (runs: 3 reconciled, steps: 4 closed), 0 differ" in lines
    assert any(line.split() == ["messages", "2", "of", "2", "tables", "proven,", "300", "088", "rows"] for line in lines)
    assert lines[-2] == "DONE   status succeeded · downtime 19 s · whole run 12 min 7 s · report reports/latest/report.html"
    assert lines[-1] == "UNDO   ansible-playbook playbooks/rollback.yml -e letta_restore_id=r-7f3c     (until 2026-11-28 02:14 UTC)"


def test_a_failure_tells_what_failed_what_is_true_and_what_to_type():
    lines = text.failure_lines(build_report(FAILURE))
    assert lines[0].startswith("FAIL   backup_corrupt · database/4012.dat.zst")
    assert "NOW    live database untouched, nothing stopped, no side database left" in lines
    assert lines[-1] == "NEXT   " + FAILURE["next_step"]
    assert text.recap_lines(build_report(FAILURE))[-3:] == lines[-3:]


def test_a_failure_that_recorded_nothing_still_says_where_to_look():
    lines = text.failure_lines(build_report({"status": "failed", "run_id": "r-1"}))
    assert lines[0] == "FAIL   manual_help_needed · no reason was recorded"
    assert "journal of run r-1" in lines[1]


def test_a_differing_table_is_named_with_both_counts():
    report = build_report(dict(SUCCESS, tables=[{"name": "letta.agents", "rows_expected": 412, "rows_restored": 411, "digest": "differs"}]))
    assert any("DIFFERS letta.agents: 412 rows expected, 411 restored" in line for line in text.prove_lines(report))


def test_a_phase_that_ended_is_one_line():
    assert text.progress_lines(SUCCESS) == ["VERIFY done in 25 s · 412 agents read back"]
    assert text.progress_lines({}) == []


def test_commands_are_never_folded():
    command = "ansible-playbook " + " ".join("-e letta_variable_%d=value" % n for n in range(20))
    assert text.plan_lines({"undo": command}, NOW)[-1] == "UNDO   " + command
