# Copyright (c) 2026, The letta_ops.recovery founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reconciliation reads: open work, contexts that are not consistent or wait, and when something happened last."""
from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timezone

from ...letta.entities import RUNNING_WORK
from ...letta.work import is_sleeptime_run
from . import look_contexts
from .rows import Rows

_OPEN = {work.table: list(work.open_values) for work in RUNNING_WORK}
_RUN = ("id", "status", "agent_id", "organization_id", "conversation_id", "metadata_", "project_id", "base_template_id", "template_id",
        "deployment_id")  # fmt: skip
_STEP = ("id", "stop_reason", "run_id", "job_id", "agent_id", "created_at", "updated_at")
_JOB = ("id", "status", "job_type", "metadata_", "completed_at", "created_at", "updated_at")


@dataclass
class Found:
    """Rows as they were read, as dicts; see the functions below for what each has.

    :ivar now: the server's time, aware, in UTC. :ivar activity: agent id -> moment something happened at it last, read where it matters.
    """

    now: object
    rows: Rows
    runs: list = field(default_factory=list)
    steps: list = field(default_factory=list)
    jobs: list = field(default_factory=list)
    batches: list = field(default_factory=list)
    batch_items: list = field(default_factory=list)
    files: list = field(default_factory=list)
    groups: list = field(default_factory=list)
    contexts: list = field(default_factory=list)
    activity: dict = field(default_factory=dict)
    asking_runs: dict = field(default_factory=dict)

    @property
    def open_work(self):
        """Ids of the runs and jobs that are open."""
        return {row["id"] for row in self.runs + self.jobs}

    def has(self, table, *columns):
        """Tell whether the database has such a table with these columns."""
        return self.rows.has(table, *columns)


def look(context, options):
    """Read everything that a plan is made of.

    :param context: :class:`..validate_context.Context` inside of a transaction with one snapshot. :returns: :class:`Found`.
    """
    rows = Rows(context)
    ((now,),) = context.fetch("select now()")
    found = Found(now.astimezone(timezone.utc), rows, runs=_runs(rows))
    found.jobs = rows.select("jobs", _JOB, "t.status = any(%s) order by t.created_at, t.id", (_OPEN["jobs"],))
    found.steps = _steps(rows, found)
    same = ("id", "created_at", "updated_at")
    found.batches = rows.select("llm_batch_job", (*same, "status"), "t.status = any(%s)", (_OPEN["llm_batch_job"],))
    items = rows.select("llm_batch_items", (*same, "request_status"), "t.request_status = any(%s)", (_OPEN["llm_batch_items"],))
    found.batch_items = [dict(item, status=item["request_status"]) for item in items]
    found.files = _files(rows)
    found.groups = _groups(rows, found.runs)
    found.contexts = look_contexts.contexts(context, rows)
    found.asking_runs = _asking_runs(rows, found.contexts)
    if options.idle_seconds:
        found.activity = _activity(rows, _agents_of(found))
    return found


def _runs(rows):
    """Open runs with what their metrics need; none before 0.12, where runs are jobs."""
    if not rows.has("runs"):
        return []
    metrics = rows.has("run_metrics", "run_start_ns")
    start = "m.run_start_ns, m.id is not null as has_metrics" if metrics else "null::bigint as run_start_ns, true as has_metrics"
    return rows.read(
        """select {columns}, coalesce(t.created_at, now()) as created_at, {start},
               (select count(*) from {s}.steps x where x.run_id = t.id) as steps,
               greatest(t.created_at, t.updated_at, (select max(x.updated_at) from {s}.steps x where x.run_id = t.id),
                        (select max(x.created_at) from {s}.messages x where x.run_id = t.id), t.created_at) as last_trace,
               (select n.id from {s}.runs n where n.agent_id = t.agent_id order by n.created_at desc, n.id desc limit 1) as newest
           from {s}.runs as t {join} where t.status = any(%s) order by t.created_at, t.id""",
        (_OPEN["runs"],), columns=rows.columns("runs", _RUN), start=start,
        join=rows.table("left join {} m on m.id = t.id", "run_metrics") if metrics else "",
    )  # fmt: skip


def _steps(rows, found):
    """Steps that are PENDING; those without a status too, where their run or job is open."""
    if not rows.has("steps", "status"):
        return []
    work = sorted(found.open_work)
    link = " or ".join("t.%s = any(%%s)" % name for name in ("run_id", "job_id") if rows.has("steps", name)) or "false"
    params = [_OPEN["steps"]] + [work] * link.count("%s")
    return rows.read(
        "select {columns}, t.status::text as status from {s}.steps as t where t.status::text = any(%s) or (t.status is null and ({link}))"
        " order by t.created_at, t.id",
        params, columns=rows.columns("steps", _STEP), link=link,
    )  # fmt: skip


def _files(rows):
    """Files in processing, with how many passages there are of them and whether their text is stored."""
    if not rows.has("files", "processing_status"):
        return []
    text = "exists (select from {s}.file_contents c where c.file_id = t.id)" if rows.has("file_contents") else "false"
    return rows.read(
        """select {columns}, t.processing_status as status, """ + text + """ as has_text,
               (select count(*) from {s}.source_passages p where p.file_id = t.id) as passages
           from {s}.files as t where t.processing_status = any(%s) and not t.is_deleted order by t.id""",
        (_OPEN["files"],), columns=rows.columns("files", ("id", "total_chunks", "created_at", "updated_at")),
    )  # fmt: skip


def _groups(rows, runs):
    """Sleeptime groups whose background turn is open, with their pointer and where it was before that turn."""
    busy = sorted({run["agent_id"] for run in runs if is_sleeptime_run(run["metadata_"])})
    if not busy:
        return []
    groups = rows.select(
        "groups", ("id", "agent_ids", "manager_agent_id", "last_processed_message_id", "sleeptime_agent_frequency"),
        "t.manager_type = 'sleeptime' and t.sleeptime_agent_frequency > 0 and exists ("
        "select from json_array_elements_text(t.agent_ids) as a(id) where a.id = any(%s))", (busy,),
    )  # fmt: skip
    for group in groups:
        group.update(pointer=group["last_processed_message_id"], pointer_before=_pointer_before(rows, group))
    return groups


def _pointer_before(rows, group):
    """Return the id of the manager's newest message of when the background turn before the open one began, or None."""
    turns = rows.read(
        "select id, status, created_at, metadata_ from {s}.runs where agent_id = any(%s) order by created_at desc, id desc",
        (group["agent_ids"],),
    )
    turns = [turn for turn in turns if is_sleeptime_run(turn["metadata_"])]
    opened = [number for number, turn in enumerate(turns) if turn["status"] in _OPEN["runs"]]
    before = turns[opened[-1] + 1 :] if opened else []
    if not before:
        return None
    found = rows.read(
        "select id from {s}.messages where agent_id = %s and not is_deleted and created_at <= %s order by sequence_id desc limit 1",
        (group["manager_agent_id"], before[0]["created_at"]),
    )
    return found[0]["id"] if found else None


def _asking_runs(rows, contexts):
    """Return {run id: run} of the runs that ended by asking for an approval that nobody gave."""
    last = [context.messages.get(context.ids[-1]) for context in contexts if context.ids]
    ids = [row["run_id"] for row in last if row and row["role"] == "approval" and row["run_id"]]
    found = rows.select("runs", ("id", "status", "stop_reason", "metadata_"), "t.id = any(%s)", (ids,)) if ids else []
    return {run["id"]: run for run in found}


def _agents_of(found):
    agents = {row["agent_id"] for row in found.runs + found.steps if row["agent_id"]} | {context.agent_id for context in found.contexts}
    agents |= {job["metadata_"].get("agent_id") for job in found.jobs if isinstance(job["metadata_"], dict)}
    return sorted(agent for agent in agents if agent)


def _activity(rows, agents):
    """Return {agent id: moment} of the last thing that happened at these agents, by what their rows say."""
    latest: dict = {}
    moments = (("agents", "id", "updated_at"), ("messages", "agent_id", "created_at"), ("runs", "agent_id", "updated_at"),
               ("runs", "agent_id", "created_at"), ("steps", "agent_id", "updated_at"), ("steps", "agent_id", "created_at"))  # fmt: skip
    for table, owner, column in moments:
        if not rows.has(table, owner, column):
            continue
        text = "select t.%s as agent, max(t.%s) as moment from {s}.%s as t where t.%s = any(%%s) group by 1"
        for row in rows.read(text % (owner, column, table, owner), (agents,)):
            if row["moment"] is not None:
                latest[row["agent"]] = max(row["moment"], latest.get(row["agent"], row["moment"]))
    return latest
