# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rehearsal says of a set: passed, failed (the backup or the procedure is bad) or error (no verdict; try again). Pure."""
from __future__ import annotations

from ..backup.manifest import parse_stamp, stamp
from ..backup.rehearsals import ERROR, FAILED, PASSED

# What a failure class of a restore says of the set and of the procedure. The rest says something of the rehearsal's own circumstances.
_SPEAKS_OF_THE_BACKUP = {
    "backup_corrupt", "no_usable_backup", "load_failed", "verify_failed", "schema", "key_mismatch", "swap_rolled_back",
    "manual_help_needed",
}  # fmt: skip


def of_failure(failure_class):
    """Return the verdict of a step that failed with this class."""
    return FAILED if failure_class in _SPEAKS_OF_THE_BACKUP else ERROR


def record(head, full, partial, served, now, targets):
    """Put the record of one rehearsed set together, in the form that the history keeps (docs/rehearsal.md).

    :param head: facts that are known before: ``rehearsal``, ``place``, ``host``, ``target``, ``set``, ``taken_at``, ``policies``,
        ``size_bytes``, ``revision``, ``letta``, ``baseline``.
    :param full: {"report", "failure", "seconds"} of the full restore; its report is report.json's data, empty when there is none.
        "volumes" names what must have been restored besides.
    :param partial: the same of the partial restore with ``agents`` (ids asked for) and ``deleted`` (how many had been), or empty.
    :param served: {"failure", "seconds", "figures"} of the Letta that was started, or empty.
    :param now: aware datetime. :param targets: {"rto", "rpo"} in seconds; None for none.
    """
    report = full.get("report") or {}
    failure = next((step["failure"] for step in (full, served, partial) if step.get("failure")), None)
    tables = [table["digest"] for table in report.get("tables") or []]
    checks = [check["status"] for check in report.get("checks") or []]
    # Where something else failed, what is missing was not tried.
    volumes, missing = _volumes(report, [] if failure else full.get("volumes") or [])
    if missing:
        failure = {"failure_class": "verify_failed", "message": "not restored: volume %s" % ", ".join(missing)}
    asked = partial.get("agents") or []
    came_back = not partial.get("failure")
    verdict = of_failure(failure["failure_class"]) if failure else PASSED
    total = round(full.get("seconds", 0) + served.get("seconds", 0), 1)
    rate = head.get("size_bytes") and full.get("seconds") and round(head["size_bytes"] / 1048576 / full["seconds"], 1)
    return {
        "format": 1, **head, "finished_at": stamp(now), "verdict": verdict,
        "failure_class": failure["failure_class"] if failure else "ok", "reason": one_line(failure["message"]) if failure else "",
        "seconds": {
            "total": total, "downtime": report.get("downtime_seconds"),
            "phases": {phase["name"]: phase["seconds"] for phase in report.get("phases") or []},
            "serve": served.get("seconds"), "partial": partial.get("seconds"),
        },
        "throughput_mib_s": rate or None,
        "tables": {"equal": tables.count("equal"), "explained": tables.count("explained"), "differ": tables.count("differs")},
        "checks": {name: checks.count(name) for name in ("pass", "warn", "fail")},
        "volumes": volumes,
        "agents": {"restored": asked if came_back else [], "failed": [] if came_back else asked, "deleted": partial.get("deleted", 0)},
        "figures": served.get("figures") or {},
        "rto": _held(total if verdict == PASSED else None, targets.get("rto")),
        "rpo": _held(_age(head.get("taken_at"), now), targets.get("rpo")),
    }  # fmt: skip


def one_line(text, length=600):
    """Return a message as one line that fits a table."""
    line = " ".join(str(text).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _volumes(report, asked):
    """Return ({"equal", "counted", "missing"}: how many; names of those that were to come back and did not)."""
    proofs = {volume["name"]: volume["proof"] for volume in report.get("volumes") or [] if volume["status"] == "swapped"}
    missing = [name for name in asked if name not in proofs]
    equal = sum(proof == "equal" for proof in proofs.values())
    return {"equal": equal, "counted": len(proofs) - equal, "missing": len(missing)}, missing


def _held(seconds, target):
    met = None if target is None or seconds is None else seconds <= target
    return {"seconds": seconds, "target": target, "met": met}


def _age(taken_at, now):
    if not taken_at:
        return None
    return max(0, round((now - parse_stamp(taken_at)).total_seconds()))
