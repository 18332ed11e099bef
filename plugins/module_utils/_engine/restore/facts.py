# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run did, gathered from its journal in the words of the report."""
from __future__ import annotations

from . import redisnotes, replicas, servers, volumenotes
from .journal import new_run_id, utc_now
from .phases import PHASES
from .reconcile import sleeptime
from .recovery import MIGRATE_STEP, PROVE_STEP, RECONCILE_STEP, REKEY_STEP, last_proof


def of_plan(begun, playbook):
    """Return the report's facts of a run that only made a plan (check mode, or nothing to do).

    :param begun: what :func:`restore.runs.begin` returned.
    """
    unchanged = begun["plan"]["kind"] == "unchanged"
    facts = frame(begun, playbook, "succeeded" if unchanged else "planned")
    facts["phases"] = [{"name": "assess", "status": "ok", "seconds": None, "detail": begun["plan"].get("why", "")}]
    if unchanged:
        facts["now"] = "the live database is this very set already: every table was proven equal again, nothing was changed"
    return facts


def of_run(journal, ending, playbook, failure=None):
    """Return the report's facts of a run that ended.

    :param ending: what :func:`restore.endings.finish`, :func:`restore.endings.fail` or :func:`restore.rollback.finish` returned.
    :param failure: the failure of the step that failed (failure_class, message, now, next_step, details), or None.
    """
    data = journal.data
    begun = dict(data["facts"], plan=data["plan"], run_id=data["run_id"])
    # A prepared run did all it was asked to; the report's words know no fifth status.
    facts = frame(begun, playbook, "succeeded" if ending["status"] == "prepared" else ending["status"])
    proof, migrated, rekeyed = (journal.entry(step) or {} for step in (PROVE_STEP, MIGRATE_STEP, REKEY_STEP))
    facts.update(
        started_at=data["created_at"],
        finished_at=data.get("finished_at") or utc_now(),
        phases=_in_order(ending.get("phases") or data.get("phases", [])),
        downtime_seconds=ending.get("downtime_seconds"),
        tables=last_proof(data["steps"]).get("tables", []),
        checks=[check for step in (proof, migrated, rekeyed) for check in step.get("findings", [])] + _checks(data.get("phases", []))
        + sleeptime.checks(journal) + volumenotes.checks(journal) + redisnotes.checks(journal) + servers.checks(journal)
        + replicas.checks(data["plan"]),
        reconciled=(journal.entry(RECONCILE_STEP) or {}).get("reconciled", []),
        redis=redisnotes.of_report(journal),
        volumes=volumenotes.of_report(journal),
        undo=ending.get("undo") or {},
        warnings=list(data["plan"].get("warnings", [])) + list(proof.get("warnings", [])),
        dropped=ending.get("dropped", []),
    )
    facts.update({key: ending[key] for key in ("now", "next_step") if ending.get(key)})
    if failure:
        facts.update(of_failure(facts, ending, failure))
    return facts


def of_failure(facts, ending, failure):
    """Return what a failure changes in the report's facts: its own words where the ending has none, tables and checks it names."""
    details = failure.get("details") or {}
    return {
        "failure_class": ending.get("failure_class") or failure["failure_class"],
        "message": failure["message"],
        "now": ending.get("now") or failure.get("now", ""),
        "next_step": ending.get("next_step") or failure.get("next_step", ""),
        "tables": details.get("tables") or facts["tables"],
        "checks": facts["checks"] + list(details.get("findings", [])),
    }


def of_rollback(journal, begun_plan, ending, playbook, failure=None):
    """Return the report's facts of a rollback: what changed names, what is kept, nothing of the restore it took back."""
    data = journal.data
    begun = dict(data["facts"], plan=begun_plan or {"kind": "rollback"}, run_id=data["run_id"])
    facts = frame(begun, playbook, ending["status"])
    facts["run_id"] = data["run_id"] + "-rollback"  # a folder of its own: the restore's report stays
    exchange = journal.entry("rollback.exchange") or {}
    done = exchange.get("state") == "done"
    detail = "%s is the database of before the restore" % data["names"]["live"] if done else "not exchanged"
    facts.update(
        phases=[{"name": "cutover", "status": "ok" if done else "failed", "seconds": ending.get("downtime_seconds"), "detail": detail}],
        downtime_seconds=ending.get("downtime_seconds"),
        now=ending.get("now", ""),
        checks=volumenotes.checks(journal) + redisnotes.checks(journal) + servers.checks(journal) + replicas.checks(begun_plan),
        redis=redisnotes.of_report(journal),
        volumes=volumenotes.of_report(journal),
        warnings=[],
        started_at=exchange.get("begun_at") or utc_now(),
    )
    if failure:
        facts.update(
            failure_class=failure["failure_class"],
            message=failure["message"],
            next_step=ending.get("next_step") or failure.get("next_step", ""),
        )
    return facts


def of_refusal(failure, playbook, host, database):
    """Return the report's facts of a run that was refused before it had a journal; it gets an id so that its report has a folder."""
    return {
        "run_id": new_run_id(),
        "playbook": playbook,
        "status": "failed",
        "failure_class": failure["failure_class"],
        "message": failure["message"],
        "now": failure.get("now", ""),
        "next_step": failure.get("next_step", ""),
        "backup": {"id": None, "rejected": (failure.get("details") or {}).get("rejected", [])},
        "target": {"host": host, "database": database, "alembic_revision": None},
        "phases": [{"name": "assess", "status": "failed", "seconds": None, "detail": failure["message"]}],
        "started_at": utc_now(),
        "finished_at": utc_now(),
    }


def frame(begun, playbook, status):
    """Return the report's facts of a run of which nothing else is known yet.

    :param begun: ``run_id``, ``plan``, ``backup``, ``target`` of the run.
    """
    return {
        "run_id": begun["run_id"],
        "playbook": playbook,
        "status": status,
        "failure_class": "ok",
        "backup": begun["backup"],
        "target": begun["target"],
        "host": begun["target"]["host"],
        "plan": begun["plan"],
        "phases": [],
        "downtime_seconds": None,
        "tables": [],
        "checks": [],
        "reconciled": [],
        "redis": {"dropped": None, "kept": None},
        "undo": {},
        "warnings": list(begun["plan"].get("warnings", [])),
        "started_at": utc_now(),
        "finished_at": utc_now(),
    }


def _in_order(phases):
    return sorted(phases, key=lambda item: PHASES.index(item["name"]) if item["name"] in PHASES else len(PHASES))


def _checks(phases):
    """Return the checks of all phases; one that a later phase made again stands in its old place, as it came out last."""
    last = {check["id"]: check for phase in _in_order(phases) for check in phase.get("checks", [])}
    return list(last.values())
