# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the phases of a run went, as its journal records it."""
from __future__ import annotations

from . import journal as journals

OK, SKIPPED = "ok", "skipped"


def note_phase(journal, name, status, seconds=None, detail="", **facts):
    """Record how a phase went, for the report and for the expected times of later runs.

    :param status: ``ok``, ``skipped`` or ``failed``; :param detail: what it did or did not do, one sentence.
    """
    phases = [item for item in journal.data.get("phases", []) if item["name"] != name]
    if seconds is None and status == OK:
        seconds = _seconds_since(journal, name, phases)
    phases.append(dict(facts, name=name, status=status, seconds=seconds, detail=detail, noted_at=journals.utc_now()))
    journal.save(phases=phases)


def _seconds_since(journal, name, phases):
    """Return how long a phase took that no single module saw whole: from its first step, or from the phase before it."""
    starts = [journal.entry(step) for step in ("services.stop", "cutover.drain")] if name == "cutover" else []
    moments = [entry["begun_at"] for entry in starts if entry and entry.get("begun_at")] or [item["noted_at"] for item in phases]
    if not moments:
        return None
    return round(journals.parse_time(journals.utc_now()) - journals.parse_time(min(moments) if starts else max(moments)), 3)


def note_stage(journal, seconds, detail):
    """Record that the side database is loaded and proven, and that it needs no migration where the plan has none.

    The plan has refused every schema that cannot be brought to the one that will run.
    """
    note_phase(journal, "stage", OK, seconds, detail)
    plan = journal.data.get("plan") or {}
    schema = plan.get("schema")
    if schema and not schema["migrations"] and not plan.get("rekey"):
        reason = "nothing to do: %s is the revision of the release that will run" % schema["from_revision"]
        note_phase(journal, "migrate", SKIPPED, detail=reason)
