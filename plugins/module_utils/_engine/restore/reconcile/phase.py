# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phase reconcile of a full restore: work on the side database is closed, and every table that changed is explained."""
from __future__ import annotations

import os
import time

from ... import processes
from ...errors import LIVE_UNTOUCHED, RecoveryError
from ...letta.entities import bare_name
from .. import phasenotes
from ..prove import content_of
from ..recovery import RECONCILE_STEP, last_proof
from . import engine, sleeptime
from .account import findings_of, told
from .changes import in_words

_PHASE = "reconcile"


def reconcile_side(server, options, apply, journal, saved=None, jobs=2, progress=None):
    """Close what was under way when the backup was taken, in a side database that nobody else uses.

    Background turns of sleeptime agents are off from here until the run ends.

    :param server: :class:`Server` whose default database is the side one. :param apply: False counts and changes nothing.
    :param journal: :class:`Journal` of the run. :param saved: manifest's ``tables``, what the database held when it was loaded.
    :returns: as :func:`.engine.reconcile`, with ``findings`` on top: what the checks concerned say now.
    :raises RecoveryError: what that raises; ``verify_failed`` when a row changed that the plan does not name. Live is untouched.
    """
    began = time.monotonic()
    journal.save(worker=processes.identity())  # what it does before and after its step is no step
    sleeptime.resume(server, journal)  # of a run that came this far before: the content to record is what it will be in the end
    done = journal.entry(RECONCILE_STEP) or {}
    undo_file = os.path.join(journal.run_dir, "reconcile-undo-%d.jsonl" % (len(done.get("undo_files", [])) + 1))
    try:
        result = engine.reconcile(server, options, apply, undo_file, progress, before_write=lambda: journal.begin(RECONCILE_STEP))
    except RecoveryError as exc:
        raise exc.with_now("%s, nothing was closed" % LIVE_UNTOUCHED) from None
    plan, checks = result["plan"], []
    if result["applied"]:
        proof = last_proof(journal.data["steps"])
        before = (proof.get("content") or {}).get("tables") or saved or {}
        content = content_of(server, jobs, before)
        rows = _explain(proof, before, content, plan.counts(), server.dbname)
        changes = done.get("reconciled", []) + [change.as_dict() for change in plan.changes]
        files = done.get("undo_files", []) + [undo_file]
        journal.done(RECONCILE_STEP, tables=rows, content=content, reconciled=changes, undo_files=files)
    if result["applied"] or done:
        checks = engine.check_again(server)
    if apply:
        sleeptime.pause(server, journal)
    findings = findings_of(plan) + checks
    changes = len((journal.entry(RECONCILE_STEP) or {}).get("reconciled", []))
    detail = "%d changes" % changes if changes else "nothing was under way" if not plan.changes else told(plan, apply)
    status = phasenotes.OK if apply else phasenotes.SKIPPED
    seconds = round(time.monotonic() - began, 3)
    phasenotes.note_phase(journal, _PHASE, status, seconds if apply else None, detail, checks=[finding.as_dict() for finding in findings])
    return dict(result, findings=findings, seconds=seconds)


def _explain(proof, before, content, counts, database):
    """Return the report's rows with the tables explained that the plan changed; everything else must be what it was."""
    rows, bad = [dict(row) for row in proof.get("tables", [])], []
    for name, now in content["tables"].items():
        was, expected = before.get(name), counts.get(bare_name(name))
        grown = was is not None and now["rows"] != was["rows"] + (expected[1] if expected else 0)
        if grown or (was is not None and expected is None and now["digest"] != was["digest"]):
            bad.append(name)
        row = next((row for row in rows if row["name"] == name), None)
        if row is None or not (expected or name in bad):
            continue
        parts = (row["explanation"], in_words(expected) if expected else "changed while work was reconciled")
        row.update(rows_restored=now["rows"], digest="differs" if name in bad or row["digest"] == "differs" else "explained")
        row["explanation"] = "; ".join(part for part in parts if part)
    if bad:
        raise RecoveryError(
            "verify_failed",
            "more than what was under way changed in %s while it was reconciled" % ", ".join(bad),
            now=LIVE_UNTOUCHED + "; side database %s is kept for study (the next restore drops it)" % database,
            next_step="nobody but this run may write to the side database; run again, or with -e letta_reconcile=report",
            details={"tables": [row for row in rows if row["name"] in bad]},
        )
    return rows
