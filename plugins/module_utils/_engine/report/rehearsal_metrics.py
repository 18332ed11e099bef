# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a rehearsal as JUnit XML and as Prometheus text. Pure functions from :func:`rehearsal.build`'s report to text."""
from __future__ import annotations

from xml.etree import ElementTree

from .clean import when
from .rehearsal import ERROR, FAILED, PASSED, VERDICTS, figures_set, summary
from .rehearsal_text import agents_text, checks_text, promise_text, tables_text, volumes_text
from .render import family_lines, xml_text

PREFIX = "letta_rehearsal_"
MIB = 1 << 20
MOST_POLICIES, MOST_PHASES = 10, 20


def render_junit(report):
    """Return the report as JUnit XML: one case per set and claim. ``failure`` is a claim that does not hold, ``error`` one not tried."""
    cases = [case for item in report["sets"] for case in _cases(item)]
    if not cases:
        cases = [("rehearsal", "a set was rehearsed", None, "error", "nothing was rehearsed")]
    kinds = [kind for _class, _name, _took, kind, _detail in cases]
    suite = ElementTree.Element("testsuite", {
        "name": xml_text("letta rehearsal %s" % (report["rehearsal"] or "unknown")), "tests": str(len(cases)),
        "failures": str(kinds.count("failure")), "errors": str(kinds.count("error")), "skipped": str(kinds.count("skipped")),
        "time": "%.3f" % sum(took or 0 for _class, _name, took, _kind, _detail in cases),
        "timestamp": (report["finished_at"] or "1970-01-01T00:00:00Z").rstrip("Z"), "hostname": xml_text(report["host"] or "unknown"),
    })
    for classname, name, seconds, kind, detail in cases:
        case = ElementTree.SubElement(suite, "testcase", {
            "classname": xml_text(classname), "name": xml_text(name), "time": "%.3f" % (seconds or 0)})
        if kind:
            ElementTree.SubElement(case, kind, {"message": xml_text(detail)})
        elif detail:
            ElementTree.SubElement(case, "system-out").text = xml_text(detail)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _cases(item):
    """Return (classname, name, seconds, "failure"|"error"|"skipped"|None, detail) of the claims about one set."""
    classname = "rehearsal.%s" % ("+".join(item["policies"]) or "set")
    verdict = {FAILED: "failure", ERROR: "error"}.get(item["verdict"])
    reason = ": ".join(part for part in (item["failure_class"], item["reason"] or "no reason was recorded") if part) if verdict else ""
    claims = [("restores in full", item["seconds"]["total"], verdict, reason)]
    for name, text, lost in (
        ("every table is as it was saved", tables_text(item), item["tables"]["differ"]),
        ("every check passes", checks_text(item), item["checks"]["fail"]),
        ("every volume is as it was saved", volumes_text(item), item["volumes"]["missing"]),
        ("agents come back alone", agents_text(item), item["agents"]["failed"]),
    ):
        # Where there is no verdict, what is missing was not tried to its end: nothing is said against it.
        claims.append((name, None, (verdict or "failure") if lost else None if text else "skipped", text or "not tried"))
    for name, part in (("RTO", item["rto"]), ("RPO", item["rpo"])):
        if part["target"] is not None:
            kind = "skipped" if part["met"] is None else None if part["met"] else "failure"
            claims.append(("keeps the %s" % name, None, kind, promise_text(name, part) or "not measured"))
    return [(classname, "%s: %s" % (item["set"] or "no set", name), took, kind, detail) for name, took, kind, detail in claims]


def render_prometheus(report):
    """Return the report for node_exporter's textfile collector. Labels: target, database, and few fixed words; never a set's id."""
    host, _slash, database = (report["target"] or "").partition("/")
    labels = {"target": host, "database": database}
    lines = []

    def family(name, text, samples):
        lines.extend(family_lines(PREFIX + name, text, samples, labels))

    _verdicts(report, family)
    for name in ("rto", "rpo"):
        part, words = report[name], {"rto": "the slowest set to restore", "rpo": "the newest set, its age"}[name]
        family(name + "_seconds", "%s of the sets that passed: %s." % (name.upper(), words), [({}, part["seconds"])])
        family(name + "_target_seconds", "%s that was promised." % name.upper(), [({}, part["target"])])
        family(name + "_met", "1 when the %s was kept, 0 when it was missed." % name.upper(),
               [({}, None if part["met"] is None else int(part["met"]))])
    _times(report, family)
    _speed(report, family)
    return "\n".join(lines) + "\n"


def _verdicts(report, family):
    family("verdict", "1 for the verdict of the last rehearsal. failed: a backup or the procedure is bad; error: no verdict, try again.",
           [({"verdict": verdict}, int(report["verdict"] == verdict)) for verdict in VERDICTS])
    family("policy_verdict", "The same for the sets that one policy picked.", [
        ({"policy": policy, "verdict": verdict}, int(summary(sets)["verdict"] == verdict))
        for policy, sets in _by_policy(report["sets"]).items() for verdict in VERDICTS])
    family("sets", "Sets of the last rehearsal by their verdict.", [({"verdict": key}, count) for key, count in report["counts"].items()])
    family("errors_in_a_row", "Rehearsals without a verdict since the last one that had one.", [({}, report["errors_in_a_row"])])
    family("last_run_timestamp_seconds", "When the last rehearsal ended, in seconds since 1970.", [({}, _stamp(report["finished_at"]))])
    family("last_success_timestamp_seconds", "When a rehearsal last passed, in seconds since 1970; 0 when none ever did.",
           [({}, _stamp(report["last_success_at"]) or 0)])


def _times(report, family):
    policies = {policy: [item for item in sets if item["verdict"] == PASSED] for policy, sets in _by_policy(report["sets"]).items()}
    family("restore_seconds", "Seconds that the slowest set of a policy took.",
           [({"policy": policy}, _most(item["seconds"]["total"] for item in sets)) for policy, sets in policies.items()])
    family("downtime_seconds", "Seconds without service, the longest of a policy's sets.",
           [({"policy": policy}, _most(item["seconds"]["downtime"] for item in sets)) for policy, sets in policies.items()])
    passed = [item for item in report["sets"] if item["verdict"] == PASSED]
    names = list(dict.fromkeys(name for item in passed for name in item["seconds"]["phases"]))[:MOST_PHASES]
    family("phase_seconds", "Seconds of each phase, the longest of the sets that passed.",
           [({"phase": name}, _most(item["seconds"]["phases"].get(name) for item in passed)) for name in names])
    rates = [item["throughput_mib_s"] * MIB for item in passed if item["throughput_mib_s"] is not None]
    family("throughput_bytes_per_second", "Bytes restored in a second, the slowest of the sets that passed.",
           [({}, min(rates) if rates else None)])


def _speed(report, family):
    item = figures_set(report["sets"])
    for name, figures, text in (
        ("query_seconds", item["figures"] if item else {}, "Seconds that a query takes after the restore, by statistic."),
        ("baseline_query_seconds", item["baseline"] if item else {}, "The same as recorded when the backup was taken."),
    ):
        family(name, text, [
            ({"query": query, "stat": stat}, None if row[key] is None else round(row[key] / 1000, 6))
            for query, row in figures.items() for stat, key in (("median", "median_ms"), ("p95", "p95_ms"))])


def _by_policy(sets):
    """Return {policy: [sets]}; what follows a colon names one set among several and would grow without bound."""
    found = {}
    for item in sets:
        for policy in dict.fromkeys(policy.split(":")[0].strip() for policy in item["policies"]):
            if policy in found or len(found) < MOST_POLICIES:
                found.setdefault(policy, []).append(item)
    return found


def _most(values):
    return max((value for value in values if value is not None), default=None)


def _stamp(text):
    moment = when(text)
    return moment.timestamp() if moment else None
