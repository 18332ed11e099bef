# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a reconciliation, made of rows that were read; pure. It is what check mode shows and what is applied."""
from __future__ import annotations

from datetime import timedelta

from ...letta import work
from . import plan_contexts
from .changes import KEEP, Plan, noted

SERVER_GONE = "it was under way, and no server is left that works on it"
_AT_WORK = "something happened at it in the last %d s"


def make_plan(found, options):
    """Decide what becomes of everything that is open.

    :param found: :class:`.look.Found`. :param options: :class:`.changes.Options`.
    :returns: :class:`.changes.Plan`.
    """
    plan = Plan()
    alive = _Alive(found, options, plan)
    asked = _contexts(plan, found, options, alive)
    closed = _runs(plan, found, alive, asked)
    _steps(plan, found, alive, set(closed) | _jobs(plan, found, alive))
    _batches(plan, found, alive)
    _files(plan, found, alive)
    _sleeptime(plan, found, closed)
    return plan


class _Alive:
    """Tells what may be at work: what somebody touched not long ago is left alone, and noted once."""

    def __init__(self, found, options, plan):
        self._found, self._idle, self._plan, self._known = found, options.idle_seconds, plan, set()

    def agent(self, agent_id):
        """Tell whether an agent may be at work."""
        return self._recent("agent", agent_id, self._found.activity.get(agent_id), self._idle)

    def row(self, table, row, seconds=0):
        """Tell the same of a row by its own moments. :param seconds: how long nothing happens at it even while it is worked on."""
        return self._recent(work.ENTITIES[table], row["id"], latest(row), max(seconds, self._idle) if self._idle else 0)

    def _recent(self, entity, row_id, moment, seconds):
        if not seconds or moment is None or moment < self._found.now - timedelta(seconds=seconds):
            return False
        if (entity, row_id) not in self._known:
            self._known.add((entity, row_id))
            self._plan.alive.append(noted(entity, row_id, _AT_WORK % seconds))
        return True


def latest(row):
    """Return the last moment that a row names, or None."""
    return max((row[name] for name in ("created_at", "updated_at") if row.get(name)), default=None)


def _contexts(plan, found, options, alive):
    """Settle contexts; returns {run id: request} of runs that ended by asking for approval and still wait."""
    asked = {}
    for context in found.contexts:
        if alive.agent(context.agent_id):
            continue
        request = plan_contexts.settle_context(plan, context, found, options)
        if request and request.get("run_id"):
            asked[request["run_id"]] = request
    return asked if options.approvals == KEEP else {}


def _runs(plan, found, alive, asked):
    """Close runs; returns {id: run} of those closed."""
    closed, stopped = {}, {}
    for run in found.runs:
        if alive.agent(run["agent_id"]):
            continue
        status, reason = work.ASKED_FOR_APPROVAL if run["id"] in asked else work.CLOSINGS["runs"]
        why = "its agent waits for an approval" if run["id"] in asked else SERVER_GONE
        action = "closed as %s (was %s)" % (status, run["status"])
        ended = found.now.replace(tzinfo=None)  # the column has no time zone and means UTC
        plan.change(
            "runs", run["id"], action, why, status=status, stop_reason=reason, completed_at=ended, updated_at=found.now,
            metadata_=work.marked(run["metadata_"], run["status"]),
        )  # fmt: skip
        _metrics(plan, found, run)
        closed[run["id"]] = run
        if run["id"] == run["newest"]:
            stopped[run["agent_id"]] = reason
    for agent, reason in stopped.items():
        if found.has("agents", "last_stop_reason"):
            what = "last stop reason set to %s" % reason
            plan.change("agents", agent, what, "its last run was closed", last_stop_reason=reason, updated_at=found.now)
    return closed


def _metrics(plan, found, run):
    """Give a run that is closed its metrics. How long it ran is known up to the last trace of it."""
    if not found.has("run_metrics", "id"):
        return
    start = run["run_start_ns"] or int(run["created_at"].timestamp()) * 10**9
    ran = max(int(run["last_trace"].timestamp() * 10**9) - start, 0)
    if run["has_metrics"]:
        plan.change("run_metrics", run["id"], "completed", "its run was closed", run_ns=ran, num_steps=run["steps"], updated_at=found.now)
        return
    same = ("id", "agent_id", "organization_id", "project_id", "base_template_id", "template_id", "deployment_id")
    row = {name: run.get(name) for name in same}
    row.update(run_start_ns=start, run_ns=ran, num_steps=run["steps"], created_at=found.now, updated_at=found.now, is_deleted=False)
    plan.add("run_metrics", row, "written", "its run had none, and Letta cannot update such a run")


def _steps(plan, found, alive, closed):
    status, reason = work.CLOSINGS["steps"]
    for step in found.steps:
        run = step["run_id"] or step["job_id"]
        if run not in closed and run in found.open_work:  # left alone, and noted with it
            continue
        if run not in closed and (alive.agent(step["agent_id"]) if step["agent_id"] else alive.row("steps", step)):
            continue
        why = "its run was closed" if run in closed else SERVER_GONE
        action = "closed as %s (was %s)" % (status, step["status"] or "without status")
        plan.change("steps", step["id"], action, why, status=status, stop_reason=step["stop_reason"] or reason, updated_at=found.now)


def _jobs(plan, found, alive):
    """Close jobs; returns the ids of those closed."""
    closed = set()
    status, reason = work.CLOSINGS["jobs"]
    for job in found.jobs:
        agent = job["metadata_"].get("agent_id") if isinstance(job["metadata_"], dict) else None
        if alive.row("jobs", job, work.BATCH_SECONDS if job["job_type"] == "batch" else 0) or (agent and alive.agent(agent)):
            continue
        action = "closed as %s (was %s)" % (status, job["status"])
        ended = found.now.replace(tzinfo=None)
        plan.change(
            "jobs", job["id"], action, SERVER_GONE, status=status, stop_reason=reason, completed_at=job["completed_at"] or ended,
            updated_at=found.now, metadata_=work.marked(job["metadata_"], job["status"]),
        )  # fmt: skip
        closed.add(job["id"])
    return closed


def _batches(plan, found, alive):
    why = "what the provider answers by now belongs to another context"
    for table, rows, column in (("llm_batch_job", found.batches, "status"), ("llm_batch_items", found.batch_items, "request_status")):
        for row in rows:
            if not alive.row(table, row, work.BATCH_SECONDS):
                status = work.CLOSINGS[table][0]
                plan.change(
                    table, row["id"], "closed as %s (was %s)" % (status, row["status"]), why, updated_at=found.now, **{column: status}
                )


def _files(plan, found, alive):
    for item in found.files:
        if alive.row("files", item):
            continue
        end = work.end_of_file(item["total_chunks"], item["passages"], item["has_text"])
        values = {"processing_status": end.status, "updated_at": found.now}
        values.update({"error_message": end.message} if end.message else {})
        values.update({"chunks_embedded": end.chunks} if end.chunks is not None else {})
        plan.change("files", item["id"], "set to %s (was %s)" % (end.status, item["status"]), end.why, **values)


def _sleeptime(plan, found, closed):
    """Hand the messages of an interrupted background turn on again: the group's pointer went past them before the turn was done."""
    interrupted = {run["agent_id"] for run in closed.values() if work.is_sleeptime_run(run["metadata_"])}
    for group in found.groups:
        if not interrupted.intersection(group["agent_ids"] or ()) or group["pointer"] == group["pointer_before"]:
            continue
        plan.change(
            "groups", group["id"], "pointer set back to %s" % (group["pointer_before"] or "the beginning"),
            "the background turn on what came after it was interrupted", last_processed_message_id=group["pointer_before"],
            updated_at=found.now,
        )  # fmt: skip
