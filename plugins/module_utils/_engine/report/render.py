# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as HTML, JUnit XML and Prometheus text. Pure functions from the report dict to text; nothing is written here."""
from __future__ import annotations

import os
import re
from xml.etree import ElementTree

from ..progress import human_bytes
from . import partial_text
from .clean import as_dicts, clean_count, clean_list, clean_number, minute, plural, span, thousands, when
from .timeline import timeline

TEMPLATE = "report.html.j2"
DONE = ("done", "ok", "succeeded", "resumed")
FAILED = ("failed", "fail", "error")
# XML 1.0 knows no other characters, not even escaped.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def environment():
    """Return Jinja's environment for the templates of this folder: values are escaped, those that are missing are empty."""
    # Jinja belongs to the controller; the files of this folder are also imported where it is missing.
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(os.path.abspath(__file__))),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.ChainableUndefined,
    )
    made.filters.update(
        thousands=lambda n: thousands(clean_count(n)), span=lambda s: span(clean_number(s)), minute=lambda t: minute(when(t)),
        human_bytes=lambda n: human_bytes(clean_count(n) or 0), tone=phase_tone,
    )
    made.globals.update(plural=plural, thing_name=partial_text.thing_name, decisions=partial_text.DECISIONS)
    return made


def render_html(report):
    """Return the report as one HTML page that needs no network and no script.

    :param report: what :func:`collect.build_report` returned.
    """
    plan = report["plan"]
    parts = {key: plan.get(key) if isinstance(plan.get(key), dict) else {} for key in ("window", "schema", "disk", "runs")}
    lists = ("steps", "stops", "rejected", "warnings", "entities", "shared")
    rows = {key: plan.get(key) if isinstance(plan.get(key), list) else [] for key in lists}
    parts["loses"] = partial_text.loses_text(plan)
    rows["steps"] = as_dicts(rows["steps"], "name")
    shared = [dict(row, used_by=clean_list(row.get("used_by"))) for row in as_dicts(rows["shared"], "id")]
    rows.update(entities=as_dicts(rows["entities"], "id"), shared=shared)
    parts["window"] = dict(parts["window"], agents=clean_list(parts["window"].get("agents")))
    warnings = list(dict.fromkeys(str(text) for text in report["warnings"] + rows["warnings"]))
    rejected = report["backup"]["rejected"] or as_dicts(rows["rejected"], "id")
    return environment().get_template(TEMPLATE).render(
        r=report, plan=plan, parts=parts, rows=rows, rejected=rejected, warnings=warnings,
        bars=timeline(report), word=headline(report), tone=tone(report),
    )


def tone(report):
    """Return the colour class of the whole report: ``good``, ``bad``, ``warn`` or ``plan``."""
    if report["status"] == "failed":
        return "bad"
    if report["status"] == "planned":
        return "plan"
    return "warn" if report["verdict"]["differs"] or report["verdict"]["fail"] else "good"


def headline(report):
    """Return the verdict as a person would say it."""
    return {
        "succeeded": "Restored and proven" if report["tables"] and not report["verdict"]["differs"] else "Succeeded",
        "failed": "Failed",
        "rolled_back": "Rolled back",
        "planned": "Planned, nothing was changed",
    }[report["status"]]


def phase_tone(status):
    """Return the colour class of a phase or check."""
    if status in DONE or status in ("pass", "equal"):
        return "good"
    if status in FAILED or status == "differs":
        return "bad"
    return "warn" if status in ("warn", "explained", "rolled_back") else "plan"


def render_junit(report):
    """Return the report as JUnit XML: one suite; phases, tables and checks are its cases."""
    cases = _junit_cases(report)
    suite = ElementTree.Element("testsuite", {
        "name": xml_text("letta restore %s" % report["run_id"]), "tests": str(len(cases)), "errors": "0",
        "failures": str(sum(kind == "failure" for _class, _name, _took, kind, _detail in cases)),
        "skipped": str(sum(kind == "skipped" for _class, _name, _took, kind, _detail in cases)),
        "time": "%.3f" % (report["seconds"] or 0), "timestamp": (report["started_at"] or "1970-01-01T00:00:00Z").rstrip("Z"),
        "hostname": xml_text(report["target"]["host"] or report["host"] or "unknown"),
    })
    for classname, name, seconds, kind, detail in cases:
        case = ElementTree.SubElement(suite, "testcase", {"classname": classname, "name": xml_text(name), "time": "%.3f" % (seconds or 0)})
        if kind:
            ElementTree.SubElement(case, kind, {"message": xml_text(detail)})
        elif detail:
            ElementTree.SubElement(case, "system-out").text = xml_text(detail)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _junit_cases(report):
    """Return (classname, name, seconds, "failure"|"skipped"|None, detail) for each case."""
    cases = []
    for phase in report["phases"]:
        kind = "failure" if phase["status"] in FAILED else None if phase["status"] in DONE else "skipped"
        detail = phase["detail"] if kind is None else "%s. %s" % (phase["status"], phase["detail"] or report["message"])
        cases.append(("phases", phase["name"], phase["seconds"], kind, detail))
    for table in report["tables"]:
        counted = "%s rows expected, %s restored" % (thousands(table["rows_expected"]), thousands(table["rows_restored"]))
        detail = ". ".join(part for part in (counted, table["explanation"]) if part)
        cases.append(("tables", table["name"], 0, "failure" if table["digest"] == "differs" else None, detail))
    for check in report["checks"]:
        detail = "%s (%s)" % (check["detail"], check["status"])
        cases.append(("checks", check["id"], 0, "failure" if check["status"] == "fail" else None, detail))
    if report["status"] == "failed" and not any(kind == "failure" for _class, _name, _took, kind, _detail in cases):
        cases.append(("run", "status", 0, "failure", "%s: %s" % (report["failure_class"], report["message"])))
    return cases


def xml_text(text):
    """Return text without the characters that XML cannot hold."""
    return _NO_XML.sub("\ufffd", text)


def render_prometheus(report):
    """Return the report for node_exporter's textfile collector."""
    labels = {
        "target": report["target"]["host"] or report["host"], "database": report["target"]["database"] or "",
        "playbook": report["playbook"],
    }
    families = []

    def family(name, text, samples):
        families.extend(family_lines(name, text, samples, labels))

    ended, taken = when(report["finished_at"] or report["started_at"]), when(report["backup"]["taken_at"])
    # A rollback that did what it was asked to is a success of rollback.yml; a restore that rolled itself back carries its class.
    good = report["status"] == "succeeded" or (report["status"] == "rolled_back" and report["failure_class"] == "ok")
    family("letta_restore_success", "1 when the last run ended well, 0 when it failed.",
           [({}, None if report["status"] == "planned" else int(good))])
    phases = {phase["name"]: phase["seconds"] for phase in report["phases"]}
    family("letta_restore_duration_seconds", "Seconds each phase of the last run took.",
           [({"phase": name}, seconds) for name, seconds in phases.items()])
    family("letta_restore_downtime_seconds", "Seconds without service in the last run.", [({}, report["downtime_seconds"])])
    family("letta_restore_tables", "Tables of the last run by the verdict of their content digest.",
           [({"digest": digest}, report["verdict"][digest]) for digest in ("equal", "explained", "differs")])
    age = max((ended - taken).total_seconds(), 0) if ended and taken else None
    family("letta_restore_backup_age_seconds", "Age of the backup set when the last run ended.", [({}, age)])
    family("letta_restore_last_run_timestamp_seconds", "When the last run ended, in seconds since 1970.",
           [({}, ended.timestamp() if ended else None)])
    return "\n".join(families) + "\n"


def family_lines(name, text, samples, labels):
    """Return one metric family as lines for Prometheus; none when no sample has a value.

    :param samples: [({label: value}, number or None)]. :param labels: labels of all of them.
    """
    samples = [(extra, value) for extra, value in samples if value is not None]
    if not samples:
        return []
    lines = ["# HELP %s %s\n# TYPE %s gauge" % (name, text, name)]
    return lines + ["%s{%s} %s" % (name, _labels(dict(labels, **extra)), _value(value)) for extra, value in samples]


def _labels(labels):
    escaped = ((key, (value or "").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for key, value in labels.items())
    return ",".join('%s="%s"' % pair for pair in escaped)


def _value(number):
    return repr(float(number)) if isinstance(number, float) else str(number)
