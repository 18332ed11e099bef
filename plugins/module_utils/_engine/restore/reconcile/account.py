# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reconciliation tells of itself: in one sentence, as findings, and as the facts of a report. Pure."""
from __future__ import annotations

from ...findings import PASS, WARN, Finding
from ..journal import new_run_id, utc_now
from .changes import in_words

PLAYBOOK = "reconcile.yml"


def told(plan, applied):
    """Return in one sentence what was done, or would be."""
    counts = ["%s: %s" % (table, in_words(counts)) for table, counts in plan.counts().items()]
    if not counts:
        return "nothing to close"
    return "; ".join(counts) if applied else "nothing was changed; it would be: %s" % "; ".join(counts)


def findings_of(plan):
    """Return findings on what a plan leaves as it is."""
    found = []
    if plan.left:
        ids = [item["id"] for item in plan.left]
        detail = "%d contexts cannot be put right: %s" % (len(ids), plan.left[0]["reason"])
        found.append(Finding("reconcile.left", WARN, detail, len(ids), ids))
    if plan.alive:
        ids = [item["id"] for item in plan.alive]
        detail = "%d agents, jobs or files were left alone, they may be at work: %s" % (len(ids), plan.alive[0]["reason"])
        found.append(Finding("reconcile.alive", PASS, detail, 0, ids))
    if plan.waiting:
        ids = [item["id"] for item in plan.waiting]
        detail = "%d agents or conversations wait for an approval that can still be given or denied" % len(ids)
        found.append(Finding("reconcile.waiting", PASS, detail, 0, ids))
    return found


def facts_of(result, host, database, apply, checks=()):
    """Return the facts of a report, of a reconciliation that is no phase of a restore.

    :param result: of :func:`.engine.reconcile`. :param apply: whether it was asked to change anything.
    """
    plan = result["plan"]
    status = "ok" if apply else "skipped"
    phase = {"name": "reconcile", "status": status, "seconds": result["seconds"], "detail": told(plan, apply)}
    undo = "ansible-playbook playbooks/%s -e letta_reconcile_undo=%s" % (PLAYBOOK, result["undo_file"]) if result["undo_file"] else ""
    return {
        "run_id": new_run_id(),
        "playbook": PLAYBOOK,
        "status": "succeeded" if apply else "planned",
        "failure_class": "ok",
        "backup": {"id": None, "rejected": []},
        "target": {"host": host, "database": database, "alembic_revision": None},
        "host": host,
        "phases": [phase],
        "tables": [],
        "checks": [finding.as_dict() for finding in [*findings_of(plan), *checks]],
        "reconciled": [change.as_dict() for change in plan.changes],
        "undo": {"command": undo} if undo else {},
        "now": told(plan, apply),
        "started_at": utc_now(),
        "finished_at": utc_now(),
    }
