# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of a run in, report out: fills what is missing, checks types, sums up. Pure; writes nothing.

The keys are the public ones of ``report.json``. Odd input never raises: it becomes a warning in the report.
"""
from __future__ import annotations

from ..errors import FAILURE_CLASSES
from .clean import as_dicts, clean_count, clean_dict, clean_list, clean_number, clean_text, iso, plain, plural, when
from .groups import OTHER, TABLE_GROUPS, group_of

STATUSES = ("succeeded", "failed", "rolled_back", "planned")
DIGESTS = ("equal", "explained", "differs")
CHECK_STATUSES = ("pass", "warn", "fail")
# Seen by a person in a dozen places; longer names are cut, never dropped.
NAME = 200


def build_report(facts):
    """Return the report of one run.

    :param facts: dict with the keys of ``report.json`` (see the module's documentation of ``restore_report``); all optional.
    :returns: dict in plain JSON types with every public key present, plus ``message``, ``now``, ``next_step``, ``plan``, ``host``,
        ``warnings``, ``started_at``, ``finished_at``, ``seconds`` (whole run), ``tools``, ``table_groups`` (sums per group) and
        ``verdict`` (counts of tables and checks).
    """
    warnings = []
    if not isinstance(facts, dict):
        warnings.append("the facts of the run were not a dictionary; the report is empty")
        facts = {}
    report = {
        "run_id": clean_text(facts.get("run_id"), NAME, "unknown"),
        "playbook": clean_text(facts.get("playbook"), NAME, "unknown"),
        "status": _status(facts, warnings),
        "backup": _backup(clean_dict(facts.get("backup"))),
        "target": _texts(clean_dict(facts.get("target")), ("host", "database", "alembic_revision")),
        "phases": _phases(facts.get("phases"), warnings),
        "downtime_seconds": clean_number(facts.get("downtime_seconds")),
        "downtime_started_at": iso(when(facts.get("downtime_started_at"))),
        "tables": _tables(facts.get("tables"), warnings),
        "checks": _checks(facts.get("checks"), warnings),
        "reconciled": [_texts(clean_dict(r), ("entity", "id", "action", "reason")) for r in clean_list(facts.get("reconciled"))],
        "redis": {key: plain(clean_dict(facts.get("redis")).get(key)) for key in ("dropped", "kept")},
        "volumes": _volumes(facts.get("volumes"), warnings),
        "undo": _undo(clean_dict(facts.get("undo"))),
        "host": clean_text(facts.get("host"), NAME),
        "plan": plain(clean_dict(facts.get("plan"))),
        "tools": {clean_text(k, NAME): clean_text(v, NAME) for k, v in clean_dict(facts.get("tools")).items()},
        "started_at": iso(when(facts.get("started_at"))),
        "finished_at": iso(when(facts.get("finished_at"))),
    }
    report["failure_class"] = _failure_class(facts.get("failure_class"), report["status"], warnings)
    report["message"] = clean_text(facts.get("message"))
    report["now"] = clean_text(facts.get("now"))
    report["next_step"] = clean_text(facts.get("next_step"))
    report["seconds"] = _whole_seconds(report)
    report["table_groups"] = sum_up_tables(report["tables"])
    report["verdict"] = _verdict(report)
    _contradictions(report, warnings)
    report["warnings"] = [clean_text(w) for w in clean_list(facts.get("warnings"))] + warnings
    return report


def sum_up_tables(tables, groups=TABLE_GROUPS):
    """Return one row per group that has tables, in the order of ``groups``: name, tables, equal, explained, differs, rows."""
    sums = {name: dict.fromkeys(("tables", "rows") + DIGESTS, 0) for name, members in groups}
    sums.setdefault(OTHER, dict.fromkeys(("tables", "rows") + DIGESTS, 0))
    for table in tables:
        group = sums[group_of(table["name"])]
        group["tables"] += 1
        group[table["digest"]] += 1
        group["rows"] += table["rows_restored"] or 0
    return [dict(values, name=name) for name, values in sums.items() if values["tables"]]


def _status(facts, warnings):
    status = facts.get("status")
    if status in STATUSES:
        return clean_text(status)
    warnings.append("the run reported no known status (%s); counted as failed" % clean_text(status, 60, "none"))
    return "failed"


def _failure_class(given, status, warnings):
    if isinstance(given, str) and given in FAILURE_CLASSES:
        return clean_text(given)
    if given not in (None, ""):
        warnings.append("unknown failure class %s" % clean_text(given, 60))
    return "manual_help_needed" if status == "failed" else "ok"


def _texts(source, keys):
    """Return the named keys as text, None where absent."""
    return {key: clean_text(source.get(key), NAME, None) for key in keys}


def _backup(backup):
    found = _texts(backup, ("id", "taken_at", "letta_version", "alembic_revision"))
    found["taken_at"] = iso(when(backup.get("taken_at"))) or found["taken_at"]
    found["rejected"] = _rejected(backup.get("rejected"))
    return found


def _rejected(rejected):
    rows = []
    for row in as_dicts(clean_list(rejected), "id"):
        told = {"id": clean_text(row.get("id"), NAME, "?"), "reason": clean_text(row.get("reason"), 1000)}
        rows.append(dict(told, loss=plain(row["loss"])) if isinstance(row.get("loss"), dict) else told)
    return rows


def _undo(undo):
    return {
        "command": clean_text(undo.get("command"), 2000, None),
        "valid_until": iso(when(undo.get("valid_until"))) or clean_text(undo.get("valid_until"), 60, None),
    }


def _dicts(value, what, warnings):
    """Yield the dictionaries of a list and warn about anything else in it."""
    for item in clean_list(value):
        if isinstance(item, dict):
            yield item
        else:
            warnings.append("%s: left out %s, which is not a dictionary" % (what, clean_text(item, 80, "None")))


def _volumes(volumes, warnings):
    texts, counts = ("name", "path", "status", "proof"), ("files", "bytes", "others")
    found = _dicts(volumes, "volumes", warnings)
    return [dict(_texts(volume, texts), **{key: clean_count(volume.get(key)) for key in counts}) for volume in found]


def _phases(phases, warnings):
    return [
        {
            "name": clean_text(phase.get("name"), NAME, "?"),
            "status": clean_text(phase.get("status"), 40, "unknown"),
            "seconds": clean_number(phase.get("seconds")),
            "detail": clean_text(phase.get("detail"), 1000),
            "started_at": iso(when(phase.get("started_at"))),
        }
        for phase in _dicts(phases, "phases", warnings)
    ]


def _tables(tables, warnings):
    rows = []
    for table in _dicts(tables, "tables", warnings):
        digest, explanation = table.get("digest"), clean_text(table.get("explanation"), 1000)
        if digest not in DIGESTS:
            # A missing verdict is no proof: it counts against the restore.
            explanation = "no verdict recorded (%s). %s" % (clean_text(digest, 60, "none"), explanation)
            digest = "differs"
        rows.append({
            "name": clean_text(table.get("name"), NAME, "?"),
            "rows_expected": clean_count(table.get("rows_expected")),
            "rows_restored": clean_count(table.get("rows_restored")),
            "digest": clean_text(digest),
            "explanation": explanation.strip(),
        })
    return rows


def _checks(checks, warnings):
    rows = []
    for check in _dicts(checks, "checks", warnings):
        status, detail = check.get("status"), clean_text(check.get("detail"), 1000)
        if status not in CHECK_STATUSES:
            status, detail = "warn", "unknown status %s. %s" % (clean_text(status, 40, "none"), detail)
        rows.append({
            "id": clean_text(check.get("id"), NAME, "?"),
            "status": clean_text(status),
            "detail": detail.strip(),
            "count": clean_count(check.get("count")) or 0,
            "examples": [clean_text(e, NAME) for e in clean_list(check.get("examples"))[:10]],
        })
    return rows


def _whole_seconds(report):
    """Return the length of the run: from its first to its last moment, or the sum of its phases; None when neither is known."""
    begin, end = when(report["started_at"]), when(report["finished_at"])
    if begin and end and end >= begin:
        return (end - begin).total_seconds()
    known = [phase["seconds"] for phase in report["phases"] if phase["seconds"] is not None]
    return sum(known) if known else None


def _verdict(report):
    counts = {"tables": len(report["tables"]), "checks": len(report["checks"])}
    for digest in DIGESTS:
        counts[digest] = sum(table["digest"] == digest for table in report["tables"])
    for status in CHECK_STATUSES:
        counts[status] = sum(check["status"] == status for check in report["checks"])
    return counts


def _contradictions(report, warnings):
    """Say aloud where the parts of a report do not fit together; never make them fit."""
    if report["status"] != "succeeded":
        return
    if report["failure_class"] != "ok":
        warnings.append("the run says it succeeded, yet names the failure class %s" % report["failure_class"])
    if report["verdict"]["differs"]:
        warnings.append("the run says it succeeded, yet %s not equal" % (
            plural(report["verdict"]["differs"], "table") + (" is" if report["verdict"]["differs"] == 1 else " are")))
    if report["verdict"]["fail"]:
        warnings.append("the run says it succeeded, yet %s failed" % plural(report["verdict"]["fail"], "check"))
