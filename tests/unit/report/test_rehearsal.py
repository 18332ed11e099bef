"""A rehearsal ends in one of three verdicts, and its report never says more than was measured."""
from __future__ import annotations

import json
import os
import stat
from xml.etree import ElementTree

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rehearsal_samples import LATEST, OLDEST, TARGET, error, failed, half_year, older, record
from report_samples import NASTY
from test_render import Page

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report import rehearsal, rehearsal_metrics, rehearsal_text
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report.rehearsal_chart import chart
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report.rehearsal_write import render_html, write_rehearsal

FILES = ["junit.xml", "letta_rehearsal.prom", "report.html", "report.json"]


def build(*records, history=()):
    return rehearsal.build(list(records), history, TARGET)


def said(report):
    return " ".join(" ".join(rehearsal_text.lines(report, "reports/latest/report.html")).split())


def page_text(report):
    return " ".join(" ".join(Page(render_html(report)).text).split())


def metrics(report):
    """{name: {labels without target and database: value}} as a real parser reads them."""
    found = {}
    for family in text_string_to_metric_families(rehearsal_metrics.render_prometheus(report)):
        assert family.type == "gauge"
        assert family.documentation
        for sample in family.samples:
            labels = dict(sample.labels)
            assert (labels.pop("target"), labels.pop("database")) == ("db1", "letta")
            place = found.setdefault(sample.name, {})
            assert tuple(labels.items()) not in place, "a sample stands twice"
            place[tuple(labels.items())] = sample.value
    return found


def claims(report):
    suite = ElementTree.fromstring(rehearsal_metrics.render_junit(report))
    assert int(suite.get("tests")) == len(suite.findall("testcase"))
    return {case.get("name"): next((child.tag for child in case if child.tag != "system-out"), "passed") for case in suite}


@pytest.mark.parametrize(("records", "verdict", "promise"), [
    ([record(), older()], "passed", "holds"),
    ([record(), failed(set=OLDEST)], "failed", "broken"),
    ([record(), error()], "error", "unknown"),
    ([failed(), error()], "failed", "broken"),
    ([], "error", "unknown"),
    ([record(verdict="splendid")], "error", "unknown"),
    ([record(verdict=None)], "error", "unknown"),
    ([older(rto={"seconds": 901.0, "target": 900}), record()], "passed", "broken"),
    ([record(rpo={"seconds": 90000.0, "target": 86400})], "passed", "broken"),
], ids=["all good", "one bad", "one untried", "bad and untried", "nothing", "unknown word", "no word", "too slow", "too old"])  # fmt: skip
def test_failed_beats_error_beats_passed_and_a_missed_target_breaks_the_promise(records, verdict, promise):
    told = rehearsal.summary(records)
    assert (told["verdict"], told["promise"]) == (verdict, promise)


def test_the_slowest_set_decides_of_the_rto_and_the_newest_that_passed_of_the_rpo():
    told = rehearsal.summary([record(), older(rpo={"seconds": 9e6, "target": 86400}), failed(rto={"seconds": 1.0, "target": 900})])
    assert told["rto"] == {"seconds": 810.0, "target": 900, "met": True}
    assert told["rpo"] == {"seconds": 5400.0, "target": 86400, "met": True}
    assert told["downtime_seconds"] == 2.5


def test_a_newest_set_that_failed_misses_the_rpo_and_one_that_was_not_tried_does_not():
    old = older(rpo={"seconds": 9e6, "target": 86400})
    assert rehearsal.summary([failed(), old])["rpo"]["met"] is False
    assert rehearsal.summary([error(), old])["rpo"]["met"] is None


def test_whether_a_target_was_met_is_judged_by_its_figures_and_not_taken_over():
    lying = record(rto={"seconds": 1000.0, "target": 900, "met": True}, rpo={"seconds": None, "target": 86400, "met": True})
    told = rehearsal.summary([lying])
    assert (told["rto"]["met"], told["rpo"]["met"]) == (False, None)


def test_a_record_that_contradicts_itself_is_told_and_fails_its_claim():
    report = build(record(tables={"equal": 48, "differ": 1}, checks={"fail": 2}, agents={"failed": ["agent-9"]}))
    assert len(report["warnings"]) == 3
    assert "WARN %s passed, yet 1 tables differ" % LATEST in said(report)
    assert claims(report)["%s: every table is as it was saved" % LATEST] == "failure"


def test_the_terminal_ends_with_whether_the_promise_holds():
    good = said(build(record(), older()))
    assert "SETS %s (latest) passed in 12 min · downtime 1.2 s · 51 tables: 49 equal, 2 explained" % LATEST in good
    assert "(oldest, revisions) passed in 13 min 30 s · downtime 2.5 s" in good
    assert "0.11.7 -> 0.16.8" in good
    assert "SPEED list agents 4.1 ms, 95% within 6.0 ms (at the backup 3.9 ms, 95% within 5.8 ms) · vector search" in good
    assert good.endswith("PROOF the promise holds: 2 sets rehearsed, 2 passed · RTO 13 min 30 s of 15 min · RPO 1 h 30 min of 1 d"
                         " REPORT reports/latest/report.html")
    bad = said(build(failed(), older(), error()))
    assert "%s (latest) FAILED backup_corrupt after 3 s: database/4012.dat.zst does not match" % LATEST in bad
    assert "no set (latest) NO VERDICT preflight: the store s3:letta is silent" in bad
    assert "PROOF the promise does NOT hold: 3 sets rehearsed, 1 passed, 1 failed, 1 without a verdict (%s: database/4012" % LATEST in bad
    assert "PROOF no verdict, try again: nothing was rehearsed" in said(build())


def test_the_trend_has_a_point_per_rehearsal_with_this_one_last_and_once():
    report = build(record(), older(), history=[*half_year(), record(), older()])
    assert (len(report["trend"]), report["trend"][-1]["rehearsal"]) == (21, record()["rehearsal"])
    assert [run["verdict"] for run in report["trend"]].count("error") == 2
    assert report["trend"][12]["verdict"] == "failed"
    assert len(build(record(), history=half_year(60))["trend"]) == 26


def test_rehearsals_of_other_targets_are_no_part_of_the_trend():
    assert len(build(record(), history=[dict(item, target="db9/letta") for item in half_year()])["trend"]) == 1


def test_errors_in_a_row_are_counted_from_the_last_verdict():
    week = [error(rehearsal="rh-%d" % day, finished_at="2026-11-%dT00:00:00Z" % (10 + day)) for day in range(3)]
    assert build(error(), history=week[:1])["errors_in_a_row"] == 2
    assert build(record(), history=week)["errors_in_a_row"] == 0
    assert build(error(), history=[*week, *half_year()])["errors_in_a_row"] == 1, "one of half a year's passed after that week"


def test_the_chart_stays_inside_its_frame_and_leaves_gaps_where_nothing_was_measured():
    drawn = chart(build(record(), history=half_year())["trend"], 900)
    for panel in drawn["panels"]:
        assert all(drawn["left"] <= mark["x"] <= drawn["right"] and panel["top"] <= mark["y"] <= panel["bottom"] for mark in panel["marks"])
        assert len(panel["segments"]) == 2
        assert [mark["y"] == panel["bottom"] for mark in panel["marks"]].count(True) == 2
        assert panel["ticks"][0]["text"] == "0"
    assert drawn["panels"][0]["target"]["text"] == "RTO target 15 min"
    assert drawn["columns"][-1]["label"] == "11-21"


def test_a_target_far_above_is_told_and_not_drawn_and_nothing_measured_is_no_chart():
    run = dict(rehearsal.summary([record(rto={"seconds": 10.0, "target": 900})]))
    assert chart([run], 900)["panels"][0]["target"]["y"] is None
    assert chart([rehearsal.summary([error()])], 900) is None


def test_the_page_draws_each_rehearsal_by_shape_as_well_as_by_colour():
    page = Page(render_html(build(record(), older(), history=half_year())))
    shapes = {(tag, value) for tag, name, value in page.attributes if name == "class" and value in ("passed", "failed", "error")}
    assert shapes == {("circle", "passed"), ("path", "failed"), ("path", "error")}
    words = " ".join(" ".join(page.text).split())
    for expected in ("The promise holds", "The last 21 rehearsals", "RTO target 15 min", "Time to restore, slowest set",
                     "Downtime, longest",
                     "2026-09-26 21:41 UTC: FAILED, 11 min 32 s", "no verdict, no time measured", "day of the rehearsal (UTC)",
                     "vector search", "1 410 ms"):
        assert expected in words, expected


@pytest.mark.parametrize("records", [[], [{}], [record()], [failed()], [error()], ["no record", None, 7]])
def test_the_page_is_whole_and_asks_for_nothing_outside_itself(records):
    page = Page(render_html(build(*records)))
    assert not {"script", "img", "iframe", "object", "form"} & set(page.tags)
    assert [value for _, name, value in page.attributes if name in ("href", "src", "action", "xlink:href")] == ["data:,"]
    assert not any(name.startswith("on") for _, name, _ in page.attributes)


def test_a_page_without_times_says_so():
    assert "No rehearsal has measured a time yet" in page_text(build())
    assert "No rehearsal has passed yet" in page_text(build(failed()))


@pytest.mark.parametrize("odd", NASTY, ids=lambda value: repr(value)[:20])
def test_odd_values_are_shown_as_text_and_break_nothing(odd):
    item = dict.fromkeys(record(), odd)
    times = {"total": odd, "phases": {str(odd): 1.0}}
    parts = record(rehearsal=odd, set=odd, policies=[odd], reason=odd, place=odd, host=odd, seconds=times,
                   letta={"from": odd}, agents={"failed": [odd]}, figures={str(odd): {"median_ms": odd}}, verdict="failed")  # fmt: skip
    good = dict(parts, verdict="passed", set="lb-1", figures={str(odd): {"median_ms": 1.0, "p95_ms": 2.0}}, seconds={"total": 1.0})
    report = rehearsal.build([item, parts, good], [item, parts], odd)
    page = Page(render_html(report))
    assert not {"script", "img"} & set(page.tags)
    ElementTree.fromstring(rehearsal_metrics.render_junit(report))
    assert list(text_string_to_metric_families(rehearsal_metrics.render_prometheus(report)))
    assert "\x1b" not in said(report)
    json.dumps(report, allow_nan=False)


def test_junit_has_a_case_per_set_and_claim():
    found = claims(build(record(), failed(set=OLDEST), error()))
    assert found["%s: restores in full" % LATEST] == "passed"
    assert found["%s: keeps the RTO" % LATEST] == "passed"
    assert found["%s: restores in full" % OLDEST] == "failure"
    assert found["%s: every check passes" % OLDEST] == "skipped"
    assert found["no set: restores in full"] == "error"
    assert claims(build(older(rto={"seconds": 1000.0, "target": 900})))["%s: keeps the RTO" % OLDEST] == "failure"
    assert claims(build()) == {"a set was rehearsed": "error"}
    untried = error(set=LATEST, agents={"restored": [], "failed": ["agent-1"]})
    assert claims(build(untried))["%s: agents come back alone" % LATEST] == "error"


def test_metrics_tell_the_three_verdicts_apart():
    for records, verdict in (([record()], "passed"), ([failed()], "failed"), ([error()], "error"), ([], "error")):
        found = metrics(build(*records))["letta_rehearsal_verdict"]
        assert {labels[0][1]: value for labels, value in found.items()} == {
            word: float(word == verdict) for word in ("passed", "failed", "error")}
    policies = metrics(build(record(), failed(policies=["oldest"])))["letta_rehearsal_policy_verdict"]
    assert policies[("policy", "latest"), ("verdict", "passed")] == policies[("policy", "oldest"), ("verdict", "failed")] == 1


def test_metrics_hold_the_figures_in_base_units():
    found = {name: next(iter(samples.values())) for name, samples in metrics(build(record())).items()}
    assert found["letta_rehearsal_rto_seconds"] == found["letta_rehearsal_restore_seconds"] == 720
    assert (found["letta_rehearsal_rto_target_seconds"], found["letta_rehearsal_rto_met"]) == (900, 1)
    assert (found["letta_rehearsal_rpo_seconds"], found["letta_rehearsal_downtime_seconds"]) == (5400, 1.2)
    assert found["letta_rehearsal_throughput_bytes_per_second"] == 58.5 * 1024 * 1024
    assert found["letta_rehearsal_query_seconds"] == 0.0041
    assert found["letta_rehearsal_last_run_timestamp_seconds"] == found["letta_rehearsal_last_success_timestamp_seconds"] == 1795297260


def test_the_last_success_is_that_of_the_history_when_this_one_is_none_and_0_when_there_was_none():
    found = metrics(build(failed(), history=half_year()))
    assert found["letta_rehearsal_last_success_timestamp_seconds"] == {(): 1794692460}
    assert metrics(build(failed()))["letta_rehearsal_last_success_timestamp_seconds"] == {(): 0}


def test_no_label_names_a_set_and_many_policies_stay_few_labels():
    many = [older(set="lb-20260601T020000Z-%06x" % n, policies=["revisions:%d" % n, "odd-%d" % n]) for n in range(50)]
    report = build(*many, history=half_year())
    found = metrics(report)
    assert len(found["letta_rehearsal_policy_verdict"]) == 3 * rehearsal_metrics.MOST_POLICIES
    assert sum(len(samples) for samples in found.values()) < 150
    assert "lb-" not in rehearsal_metrics.render_prometheus(report)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_four_files_are_written_with_their_modes_and_two_links(tmp_path):
    old = os.umask(0o077)
    try:
        paths = write_rehearsal(str(tmp_path / "reports" / "rh-1"), [record(), older()], half_year(), TARGET)
    finally:
        os.umask(old)
    folder = tmp_path / "reports" / "rh-1"
    assert sorted(os.listdir(folder)) == FILES
    assert (mode(folder), mode(folder / "letta_rehearsal.prom"), mode(folder / "report.html")) == (0o755, 0o644, 0o640)
    assert {os.readlink(tmp_path / "reports" / name) for name in ("latest", "latest-rehearsal")} == {"rh-1"}
    assert set(paths) == {"folder", "json", "html", "junit", "prometheus", "latest", "latest_rehearsal"}
    written = json.loads((tmp_path / "reports" / "latest-rehearsal" / "report.json").read_text())
    assert (written["verdict"], written["target"], len(written["sets"]), len(written["trend"])) == ("passed", TARGET, 2, 21)


@pytest.mark.parametrize("name", ["latest", "latest-rehearsal", "{{ x }}", ".hidden", "a b"])
def test_a_name_that_is_no_folder_of_a_report_is_refused(tmp_path, name):
    with pytest.raises(RecoveryError) as caught:
        write_rehearsal(str(tmp_path / "reports" / name), [record()], [], TARGET)
    assert caught.value.failure_class == "usage"
    assert not (tmp_path / "reports").exists()


def test_a_folder_that_cannot_be_made_is_told_with_what_to_type(tmp_path):
    (tmp_path / "reports").write_text("a file is in the way")
    with pytest.raises(RecoveryError) as caught:
        write_rehearsal(str(tmp_path / "reports" / "rh-1"), [record()], [], TARGET)
    assert "letta_report_dir" in caught.value.next_step
