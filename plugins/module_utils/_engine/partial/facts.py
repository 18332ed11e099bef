# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a partial restore did, gathered from its plan and its journal in the words of the report."""
from __future__ import annotations

from ..restore.facts import frame, of_failure
from ..restore.journal import utc_now
from .ending import APPLY


def of_plan(begun, playbook):
    """Return the report's facts of a run that only made a plan (check mode, or nothing to do)."""
    unchanged = begun["plan"]["kind"] == "unchanged"
    facts = frame(begun, playbook, "succeeded" if unchanged else "planned")
    facts["phases"] = [_phase("assess", begun["plan"]["seconds"], begun["plan"]["why"])]
    if unchanged:
        facts["now"] = "every row is in the live database as it was saved; nothing was changed"
    return facts


def of_run(journal, end, playbook, failure=None):
    """Return the report's facts of a run that ended.

    :param end: what :func:`ending.finish` or :func:`ending.fail` returned. :param failure: of the step that failed, or None.
    """
    data = journal.data
    begun = {"run_id": journal.run_id, "plan": data["plan"], "backup": data["facts"]["backup"], "target": data["facts"]["target"]}
    facts = frame(begun, playbook, end["status"])
    applied = journal.entry(APPLY) or {}
    done = applied.get("state") == "done"
    facts.update(
        started_at=data["created_at"],
        finished_at=data.get("finished_at") or utc_now(),
        phases=end["phases"],
        tables=applied.get("tables", []),
        checks=data["facts"].get("checks", []) + [_as_check(item) for item in (applied.get("made") or {}).get("notes", [])]
        + data.get("checks", []),
        undo=end.get("undo") or {},
        redis=data.get("redis") or {"dropped": None, "kept": None},
        downtime_seconds=0 if done else None,
    )
    facts.update({key: end[key] for key in ("now", "next_step") if end.get(key)})
    if failure:
        facts.update(of_failure(facts, end, failure))
    return facts


def _phase(name, seconds, detail):
    return {"name": name, "status": "ok", "seconds": seconds, "detail": detail}


def _as_check(note):
    return dict(note, status="warn")
