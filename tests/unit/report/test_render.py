"""HTML, JUnit and Prometheus from the same report."""
from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from prometheus_client.parser import text_string_to_metric_families
from report_samples import FAILURE, NASTY, PLAN, PLANNED, SUCCESS, success

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report import render
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report.collect import build_report
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report.timeline import timeline

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Collects the tags and attributes of a page and checks that its tags close."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.open, self.text = [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def nasty_facts(odd):
    facts = success(message=odd, run_id=odd, warnings=[odd], tools={"pg": odd}, host=odd)
    facts["tables"][0].update(name=odd, explanation=odd)
    facts["checks"][0].update(id=odd, detail=odd, examples=[odd])
    facts["phases"][0].update(name=odd, detail=odd, status=odd)
    facts["reconciled"] = [{"entity": odd, "id": odd, "action": odd, "reason": odd}]
    facts["backup"]["rejected"] = [{"id": odd, "reason": odd}]
    facts["undo"] = {"command": odd, "valid_until": odd}
    facts["plan"] = dict(PLAN, window={"seconds": 5, "messages": odd, "agents": [odd]}, stops=[odd], steps=[odd], warnings=[odd])
    facts["target"] = {"host": odd, "database": odd, "alembic_revision": odd}
    return facts


@pytest.mark.parametrize("facts", [SUCCESS, FAILURE, PLANNED, {}], ids=["success", "failure", "planned", "empty"])
def test_the_page_is_whole_and_asks_for_nothing_outside_itself(facts):
    page = Page(render.render_html(build_report(facts)))
    assert not {"script", "img", "iframe", "object", "form"} & set(page.tags)
    links = [value for _, name, value in page.attributes if name in ("href", "src", "action", "srcset", "background")]
    assert links == ["data:,"]
    assert not any("url(" in value for _, name, value in page.attributes if name == "style")
    assert not any(name.startswith("on") for _, name, _ in page.attributes)


def test_the_page_of_a_success_shows_verdict_downtime_undo_and_each_table():
    page = Page(render.render_html(build_report(SUCCESS)))
    text = " ".join(" ".join(page.text).split())
    for expected in ("Restored and proven", "lb-20261120T020000Z-4f2a9c", "18 of 20 tables equal", "2 explained",
                     "without service: 19 s",
                     SUCCESS["undo"]["command"], "until 2026-11-28 02:14 UTC", "letta.archival_passages", "300 000", "agent-91aa",
                     "database/4012.dat.gz does not match its checksum", "run-1"):
        assert expected in text, expected


def test_the_page_of_a_failure_shows_what_is_true_and_what_to_type():
    text = " ".join(" ".join(Page(render.render_html(build_report(FAILURE))).text).split())
    for key in ("message", "now", "next_step", "failure_class"):
        assert FAILURE[key] in text
    assert "Undo" not in text


def test_the_page_of_a_plan_shows_what_would_happen():
    text = " ".join(" ".join(Page(render.render_html(build_report(PLANNED))).text).split())
    for expected in ("Planned, nothing was changed", "Expected downtime", "billing-7", "41.0 GiB needed", "load into letta__restore"):
        assert expected in text


@pytest.mark.parametrize("odd", NASTY, ids=lambda value: repr(value)[:20])
def test_odd_values_are_shown_as_text_and_never_as_markup(odd):
    html = render.render_html(build_report(nasty_facts(odd)))
    page = Page(html)
    assert not {"script", "img"} & set(page.tags)
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert len(html) < 200000
    if isinstance(odd, str) and odd.startswith("{{"):
        assert odd in "".join(page.text)


@pytest.mark.parametrize("odd", NASTY, ids=lambda value: repr(value)[:20])
def test_junit_and_metrics_stay_readable_with_odd_values(odd):
    report = build_report(nasty_facts(odd))
    ElementTree.fromstring(render.render_junit(report))
    assert list(text_string_to_metric_families(render.render_prometheus(report)))


def test_junit_has_a_case_per_phase_table_and_check():
    suite = ElementTree.fromstring(render.render_junit(build_report(SUCCESS)))
    assert suite.tag == "testsuite"
    assert int(suite.get("tests")) == len(suite.findall("testcase")) == 7 + 20 + 3
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "2")
    assert suite.find("testcase[@classname='phases'][@name='stage']").get("time") == "598.400"


def test_junit_fails_where_a_table_differs_a_check_fails_or_the_run_failed():
    facts = success(status="failed", failure_class="verify_failed", tables=[{"name": "t", "digest": "differs"}],
                    checks=[{"id": "c", "status": "fail", "detail": "d"}])
    assert ElementTree.fromstring(render.render_junit(build_report(facts))).get("failures") == "2"
    locked = build_report({"status": "failed", "failure_class": "locked", "message": "held by r-1"})
    bare = ElementTree.fromstring(render.render_junit(locked))
    assert bare.find("testcase/failure").get("message") == "locked: held by r-1"


def samples(facts):
    return {
        (sample.name, tuple(sorted((k, v) for k, v in sample.labels.items() if k in ("phase", "digest")))): sample
        for family in text_string_to_metric_families(render.render_prometheus(build_report(facts))) for sample in family.samples
    }


def test_metrics_hold_the_figures_of_the_run_and_its_labels():
    found = samples(SUCCESS)
    success_sample = found["letta_restore_success", ()]
    assert success_sample.value == 1
    assert success_sample.labels == {"target": "db1", "database": "letta", "playbook": "restore-full.yml"}
    assert found["letta_restore_duration_seconds", (("phase", "stage"),)].value == 598.4
    assert found["letta_restore_downtime_seconds", ()].value == 19.3
    assert [found["letta_restore_tables", (("digest", d),)].value for d in ("equal", "explained", "differs")] == [18, 2, 0]
    assert found["letta_restore_backup_age_seconds", ()].value == 24 * 3600 + 14 * 60 + 7
    assert found["letta_restore_last_run_timestamp_seconds", ()].value == 1795227247


def test_a_failure_counts_as_no_success_and_a_plan_as_neither():
    assert samples(FAILURE)["letta_restore_success", ()].value == 0
    assert ("letta_restore_success", ()) not in samples(PLANNED)
    assert samples(success(status="rolled_back"))["letta_restore_success", ()].value == 1
    assert samples(success(status="rolled_back", failure_class="swap_rolled_back"))["letta_restore_success", ()].value == 0


def test_labels_come_back_as_they_went_in():
    name = 'a"b\\c{d}'
    facts = success(target={"host": name, "database": name})
    assert samples(facts)["letta_restore_success", ()].labels["database"] == name


def test_the_bars_follow_each_other_and_the_downtime_lies_in_the_cutover():
    bars = timeline(build_report(SUCCESS))
    rows = {row["name"]: row for row in bars["rows"]}
    assert rows["assess"]["left"] == 0
    assert rows["migrate"]["width"] == 0
    assert rows["stage"]["left"] < rows["validate"]["left"] < rows["cutover"]["left"] < rows["verify"]["left"]
    assert bars["downtime"]["left"] == pytest.approx(rows["cutover"]["left"], abs=0.1)
    assert all(row["left"] + row["width"] <= 101 for row in bars["rows"])
    assert bars["ticks"][0] == {"left": 0.0, "text": "0 s"}


def test_every_colour_of_the_page_has_a_dark_counterpart():
    html = render.render_html(build_report(SUCCESS))
    light, dark = re.findall(r":root \{(.*?)\}", html, re.S)
    assert set(re.findall(r"--[\w-]+(?=:)", light)) - {"--code"} <= set(re.findall(r"--[\w-]+(?=:)", dark)) | {"--code"}


def test_what_went_otherwise_stands_before_what_went_well_and_nothing_is_said_twice():
    checks = [{"id": "good.check", "status": "pass", "detail": "fine"}, {"id": "odd.check", "status": "warn", "detail": "odd", "count": 1}]
    facts = dict(SUCCESS, warnings=["a doubt"], plan=dict(SUCCESS.get("plan") or {}, warnings=["a doubt"]), checks=checks)
    html = render.render_html(build_report(facts))
    assert html.count("a doubt") == 1
    assert html.index("Backup sets passed over") < html.index(">Phases<")
    assert html.index("odd.check") < html.index("1 check passed") < html.index("good.check")


def test_the_release_that_runs_is_among_the_facts():
    runs = {"version": "0.16.8", "image": "letta/letta@sha256:abc", "running": {}}
    html = render.render_html(build_report(dict(SUCCESS, plan=dict(SUCCESS.get("plan") or {}, runs=runs))))
    assert "Letta 0.16.8" in html
    assert "letta/letta@sha256:abc" in html
