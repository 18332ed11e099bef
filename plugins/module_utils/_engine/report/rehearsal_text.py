# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines that an operator reads at the end of a rehearsal. Pure functions from :func:`rehearsal.build`'s report to text."""
from __future__ import annotations

from .clean import plural, span, thousands
from .rehearsal import BROKEN, ERROR, FAILED, HOLDS, PASSED, figures_set
from .text import MAX_REASONS, SHORT, labelled, warning_lines

HEADLINES = {HOLDS: "the promise holds", BROKEN: "the promise does NOT hold"}
NO_VERDICT = "no verdict, try again"


def lines(report, report_path=None):
    """Return one line per set, the figures, the warnings, then the one line that says whether the promise holds.

    :param report: of :func:`rehearsal.build`. :param report_path: of the HTML report, as the operator can open it.
    """
    told = []
    for number, item in enumerate(report["sets"]):
        told += labelled("" if number else "SETS", set_text(item))
    told += _figures(report) + warning_lines(report["warnings"])
    told += labelled("PROOF", "%s: %s" % (headline(report), proof_text(report)))
    return told + (labelled("REPORT", report_path, wrap=False) if report_path else [])


def set_text(item):
    """Return what a rehearsal of one set showed, in one sentence."""
    name = "%s%s" % (item["set"] or "no set", " (%s)" % ", ".join(item["policies"]) if item["policies"] else "")
    seconds, took = item["seconds"], span(item["seconds"]["total"])
    if item["verdict"] != PASSED:
        word = "FAILED" if item["verdict"] == FAILED else "NO VERDICT"
        word += " %s" % item["failure_class"] if item["failure_class"] not in ("", "ok") else ""
        return "%s %s%s: %s" % (name, word, " after %s" % took if seconds["total"] is not None else "", _reason(item))
    parts = ["passed" + (" in %s" % took if seconds["total"] is not None else "")]
    parts += ["downtime %s" % span(seconds["downtime"])] if seconds["downtime"] is not None else []
    parts += shown_parts(item)
    return "%s %s" % (name, " · ".join(parts))


def shown_parts(item):
    """Return what was proven of a set, part by part; what was not tried is left out."""
    told = (tables_text(item), checks_text(item), volumes_text(item), agents_text(item), way_text(item))
    return [part for part in told if part]


def tables_text(item):
    """Return how many tables are as they were saved; empty where none was compared."""
    tables = item["tables"]
    if not sum(tables.values()):
        return ""
    text = "%s: %d equal" % (plural(sum(tables.values()), "table"), tables["equal"])
    return text + "".join(", %d %s" % (tables[key], key) for key in ("explained", "differ") if tables[key])


def checks_text(item):
    """Return how the checks ended; empty where there were none."""
    checks = item["checks"]
    if not sum(checks.values()):
        return ""
    parts = ["%s passed" % plural(checks["pass"], "check")]
    parts += [plural(checks["warn"], "warning")] if checks["warn"] else []
    parts += ["%d failed" % checks["fail"]] if checks["fail"] else []
    return ", ".join(parts)


def volumes_text(item):
    """Return how many volumes are as they were saved; empty where the set has none. Old sets allow no more than to count files."""
    volumes = item["volumes"]
    if not sum(volumes.values()):
        return ""
    text = "%s: %d equal" % (plural(sum(volumes.values()), "volume"), volumes["equal"])
    words = (("counted", "with as many files"), ("missing", "did not come back"))
    return text + "".join(", %d %s" % (volumes[key], word) for key, word in words if volumes[key])


def agents_text(item):
    """Return which agents of the sample came back alone; empty where none was tried."""
    back, lost = len(item["agents"]["restored"]), len(item["agents"]["failed"])
    text = "%s back alone" % plural(back, "agent") if back else ""
    return text + ("%s%s did not come back" % (", " if back else "", plural(lost, "agent")) if lost else "")


def way_text(item):
    """Return ``0.11.7 -> 0.16.8`` where the schema was brought forward; empty where it was not."""
    begin, end = (item["letta"][key] or item["revision"][key] for key in ("from", "to"))
    return "%s -> %s" % (begin, end) if begin and end and item["revision"]["from"] != item["revision"]["to"] else ""


def proof_text(report):
    """Return the whole rehearsal in one line: how many sets, what was wrong with them, RTO, RPO."""
    counts, total = report["counts"], sum(report["counts"].values())
    parts = [plural(total, "set") + " rehearsed" if total else "nothing was rehearsed"]
    words = ((PASSED, "passed"), (FAILED, "failed"), (ERROR, "without a verdict"))
    parts += ["%d %s" % (counts[key], word) for key, word in words if counts[key]]
    bad = [item for verdict in (FAILED, ERROR) for item in report["sets"] if item["verdict"] == verdict]
    reasons = "; ".join("%s: %s" % (item["set"] or "no set", _reason(item)) for item in bad[:MAX_REASONS])
    text = "%s%s" % (", ".join(parts), " (%s)" % reasons if reasons else "")
    return " · ".join([text, *(part for part in (promise_text("RTO", report["rto"]), promise_text("RPO", report["rpo"])) if part)])


def headline(report):
    """Return whether the promise holds, as a person would say it."""
    return HEADLINES.get(report["promise"], NO_VERDICT)


def promise_text(name, part):
    """Return ``RTO 12 min of 15 min``; empty where nothing was measured."""
    if part["seconds"] is None:
        return ""
    text = "%s %s" % (name, span(part["seconds"]))
    text += " of %s" % span(part["target"]) if part["target"] is not None else ", no target set"
    return text + (" MISSED" if part["met"] is False else "")


def query_name(query):
    """Return the name of a query for a person: ``page of messages``."""
    return query.replace("_", " ")


def _figures(report):
    item = figures_set(report["sets"])
    if not item:
        return []
    parts = []
    for query, row in item["figures"].items():
        before = item["baseline"].get(query)
        text = "%s %s" % (query_name(query), _pair(row))
        parts.append(text + (" (at the backup %s)" % _pair(before) if before else ""))
    return labelled("SPEED", " · ".join(parts))


def _pair(row):
    return "%s, 95%% within %s" % tuple(milliseconds(row[key]) or "?" for key in ("median_ms", "p95_ms"))


def milliseconds(value):
    """Return milliseconds for a person: ``4.1 ms``, ``1 230 ms``; empty for None."""
    return "%s ms" % ("%.1f" % value if value < 100 else thousands(round(value))) if isinstance(value, (int, float)) else ""


def _reason(item):
    return item["reason"][: 4 * SHORT] or "no reason was recorded"
