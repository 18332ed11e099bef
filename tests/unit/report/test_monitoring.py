"""The examples for monitoring fit what a rehearsal really writes: rules, dashboard, page, units."""
from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from rehearsal_samples import TARGET, error, failed, half_year, older, record

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report import rehearsal
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.report.rehearsal_metrics import render_prometheus

DOCS = Path(__file__).resolve().parents[3] / "docs"
FOLDER = DOCS / "monitoring"
RULES = FOLDER / "letta_rehearsal.rules.yml"
NAME = re.compile(r"\bletta_rehearsal_[a-z_]+")
PROMTOOL, ANALYZE = shutil.which("promtool"), shutil.which("systemd-analyze")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool installed (Debian: prometheus)")


def families(*records, history=()):
    text = render_prometheus(rehearsal.build(list(records), history, TARGET))
    return text, {family.name: family for family in text_string_to_metric_families(text)}


@pytest.fixture(scope="module")
def everything():
    """All metrics that a rehearsal can write."""
    return set(families(record(), older(), failed(), history=half_year())[1])


def rules():
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def dashboard():
    return json.loads((FOLDER / "grafana-panel.json").read_text(encoding="utf-8"))


def queries():
    return [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


def rows(heading):
    """First cells of the table below a heading of the page."""
    text = (DOCS / "monitoring.md").read_text(encoding="utf-8").split("\n## %s\n" % heading)[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


def test_the_page_lists_the_metrics_that_are_written_and_no_other(everything):
    assert sorted(rows("Metrics")) == sorted(everything)


def test_the_page_lists_the_alerts_of_the_rules_in_their_order():
    assert rows("Alerts") == list(rules()) or sorted(rows("Alerts")) == sorted(rules())


def test_the_page_lists_the_keys_of_a_record():
    text = (DOCS / "monitoring.md").read_text(encoding="utf-8").split("\n## Files\n")[1].split("\n## ")[0]
    keys = [key for line in text.splitlines() if line.startswith("| `") for key in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert sorted(keys) == sorted(record())


@pytest.mark.parametrize("name", sorted(rules()))
def test_a_rule_asks_for_metrics_that_are_written_and_tells_a_person_what_is_wrong(everything, name):
    rule = rules()[name]
    asked = set(NAME.findall(rule["expr"]))
    assert asked
    assert asked <= everything
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"]


@pytest.mark.fault(40, "error", "failed")
def test_only_a_failed_rehearsal_wakes_somebody():
    assert [name for name, rule in rules().items() if rule["labels"]["severity"] == "critical"] == ["LettaRehearsalFailed"]
    assert rules()["LettaRehearsalFailed"]["expr"] == 'letta_rehearsal_verdict{verdict="failed"} == 1'
    for records, wakes in (([failed(), older()], 1), ([error(), older()], 0), ([error()], 0), ([record()], 0)):
        samples = families(*records)[1]["letta_rehearsal_verdict"].samples
        assert [sample.value for sample in samples if sample.labels["verdict"] == "failed"] == [wakes], records


def test_the_dashboard_asks_only_for_metrics_and_labels_that_are_written(everything):
    written = families(record(), older(), failed(), history=half_year())[1]
    labels = {label for family in written.values() for sample in family.samples for label in sample.labels}
    for query in queries():
        asked = set(NAME.findall(query))
        assert asked
        assert asked <= everything, query
        assert set(re.findall(r"(\w+)=~?\"", query)) <= labels, query
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))


def test_no_panel_of_the_dashboard_lies_over_another():
    places = set()
    for panel in dashboard()["panels"]:
        grid = panel["gridPos"]
        cells = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}
        assert not cells & places, panel["title"]
        assert max(x for x, _y in cells) < 24
        places |= cells


def promtool(*argv, stdin=None):
    return subprocess.run([PROMTOOL, *map(str, argv)], input=stdin, capture_output=True, text=True, timeout=60, check=False)


@needs_promtool
@pytest.mark.parametrize("records", [[record(), older()], [failed()], [error()], []], ids=["passed", "failed", "error", "nothing"])
def test_promtool_has_nothing_against_the_metrics(records):
    checked = promtool("check", "metrics", stdin=families(*records, history=half_year())[0])
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@needs_promtool
def test_promtool_reads_the_rules_and_every_query_of_the_dashboard(tmp_path):
    checked = promtool("check", "rules", RULES)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    recorded = [{"record": "query:%d" % number, "expr": query} for number, query in enumerate(queries())]
    (tmp_path / "queries.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": recorded}]}), encoding="utf-8")
    checked = promtool("check", "rules", tmp_path / "queries.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


SITUATIONS = {
    "passed": ([record(), older()], half_year(), 2, []),
    "failed": ([failed(), older()], half_year(), 2, ["LettaRehearsalFailed"]),
    "failed, and never passed": ([failed()], [], 2, ["LettaRehearsalFailed", "LettaRehearsalOverdue"]),
    "one error": ([error()], half_year(), 2, []),
    "two errors": ([error()], [*half_year(), error(rehearsal="rh-x", finished_at="2026-11-15T00:00:00Z")], 2,
                   ["LettaRehearsalWithoutVerdict"]),
    "too slow": ([older(rto={"seconds": 901.0, "target": 900}), record()], [], 2, ["LettaRehearsalRtoMissed"]),
    "too old": ([record(rpo={"seconds": 90000.0, "target": 86400})], [], 2, ["LettaRehearsalRpoMissed"]),
    "seven days later": ([record()], [], 7 * 24, []),
    "nine days later": ([record()], [], 9 * 24, ["LettaRehearsalOverdue"]),
    "nothing there": (None, [], 2, ["LettaRehearsalMetricsAbsent"]),
}  # fmt: skip


def scenario(records, history, hours, alerts):
    """One test for promtool: the metrics as they were written, their moments told from the end of the last rehearsal."""
    series = []
    for family in families(*records, history=history)[1].values() if records is not None else []:
        for sample in family.samples:
            told = ",".join("%s=%s" % (key, json.dumps(value)) for key, value in sample.labels.items())
            value = sample.value - 1795297260 if sample.name.endswith("timestamp_seconds") else sample.value
            series.append({"series": "%s{%s}" % (sample.name, told), "values": "%rx%d" % (value, hours + 1)})
    # promtool compares labels and annotations too; which alerts fire is asked by name through the metric that Prometheus keeps of them.
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    samples = [{"labels": json.dumps({"alertname": name}).replace('": ', '"=').replace('{"alertname"', "{alertname"), "value": 1}
               for name in sorted(alerts)]
    return {"interval": "1h", "input_series": series,
            "promql_expr_test": [{"expr": firing, "eval_time": "%dh" % hours, "exp_samples": samples}]}  # fmt: skip


@needs_promtool
def test_the_rules_fire_when_they_should_and_only_then(tmp_path):
    tests = [dict(scenario(*situation)) for situation in SITUATIONS.values()]
    (tmp_path / "tests.yml").write_text(
        json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1h", "tests": tests}), encoding="utf-8")
    checked = promtool("test", "rules", tmp_path / "tests.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def command(name):
    line = next(line for line in (FOLDER / name).read_text(encoding="utf-8").splitlines() if "ansible-playbook" in line and line[0] != "#")
    return re.search(r"(-i .*?)(?: >|$)", line).group(1)


def test_timer_and_cron_start_the_same_rehearsal():
    assert command("letta-rehearsal.service") == command("letta-rehearsal.cron")


@pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze installed")
def test_systemd_has_nothing_against_the_units(tmp_path):
    service = (FOLDER / "letta-rehearsal.service").read_text(encoding="utf-8")
    # The checkout of the example is not on this machine; the rest of the line stays.
    there = service.replace("/opt/letta-recovery/.venv/bin/ansible-playbook", shutil.which("true"))
    assert there != service
    (tmp_path / "letta-rehearsal.service").write_text(there, encoding="utf-8")
    shutil.copy(FOLDER / "letta-rehearsal.timer", tmp_path)
    paths = [str(tmp_path / name) for name in ("letta-rehearsal.service", "letta-rehearsal.timer")]
    checked = subprocess.run([ANALYZE, "verify", "--man=no", *paths], capture_output=True, text=True, timeout=60, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
