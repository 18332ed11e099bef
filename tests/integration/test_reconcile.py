"""Interrupted work in a small sound database, each kind broken on purpose: what it is closed as, and what stays as it was."""
from __future__ import annotations

import json
import stat
from contextlib import closing
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect, query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.digest import digest_database
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.prove import content_of
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.reconcile import engine, sleeptime
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.reconcile.changes import DENY, Options
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.reconcile.phase import reconcile_side
from tests.integration.validate_kit import (
    AGENT,
    BATCH,
    CALL,
    CONVERSATION,
    FILE,
    GROUP,
    ITEM,
    JOB,
    OTHER,
    RETURN,
    RUN,
    SOURCE,
    STEP,
    TALK,
    USER,
    M,
    broken,
    call,
    entity,
    insert,
)

LATER = [entity("message", n) for n in range(100, 110)]


def change(server, *statements):
    """Run statements in Letta's schema."""
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        cursor.execute("set search_path to letta")
        for statement in statements:
            cursor.execute(statement)


def put(server, table, **values):
    with closing(connect(server)) as conn, conn.cursor() as cursor:
        insert(cursor, table, **values)


def reconcile(server, tmp_path=None, **options):
    """Apply; returns the plan."""
    undo = str(tmp_path / "undo.jsonl") if tmp_path else ""
    return engine.reconcile(server, Options(**options), apply=True, undo_file=undo)["plan"]


def told(plan, table=None):
    """Return {id: action} of a plan's changes."""
    return {item.id: item.action for item in plan.changes if table in (None, item.table)}


def row(server, table, row_id, *columns):
    ((*values,),) = query(server, "select %s from letta.%s where id = %%s" % (", ".join(columns), table), (row_id,))
    return values


def context(server, agent=AGENT):
    return row(server, "agents", agent, "message_ids")[0]


def content(server):
    return {name: item.digest for name, item in digest_database(server).items()}


def test_a_sound_database_is_left_byte_for_byte_as_it_is(sound_database, tmp_path):
    before = content(sound_database)
    plan = reconcile(sound_database, tmp_path)
    assert (plan.changes, plan.alive, plan.left) == ([], [], [])
    assert [item["id"] for item in plan.waiting] == [CONVERSATION]
    assert content(sound_database) == before
    assert not (tmp_path / "undo.jsonl").exists()


@pytest.mark.fault(33, "run", "step", "callback")
@pytest.mark.parametrize("status", ["created", "running"])
def test_a_run_nobody_works_on_is_cancelled_with_its_step_and_metrics(sound_database, status):
    change(sound_database, "update runs set status = '%s', stop_reason = null, callback_url = 'http://127.0.0.1:9/', created_at = now() - "
           "interval '2 hours', updated_at = now() - interval '2 hours', metadata_ = '{\"run_type\": \"x\", \"n\": 1}'" % status,
           "update steps set status = 'PENDING', stop_reason = null, agent_id = '%s', updated_at = now() - interval '1 hour'"
           " where id = '%s'" % (AGENT, STEP),
           "update run_metrics set run_start_ns = extract(epoch from now() - interval '2 hours') * 1e9")
    reconcile(sound_database)
    just_now = "abs(extract(epoch from completed_at - now() at time zone 'utc')) < 60"
    columns = ("status", "stop_reason", just_now, "callback_sent_at", "metadata_")
    marked = {"run_type": "x", "n": 1, "letta_ops_reconciled": {"status_was": status}}
    assert row(sound_database, "runs", RUN, *columns) == ["cancelled", "cancelled", True, None, marked]
    assert row(sound_database, "steps", STEP, "status::text", "stop_reason") == ["CANCELLED", "cancelled"]
    (ran, steps) = row(sound_database, "run_metrics", RUN, "run_ns", "num_steps")
    assert (round(ran / 60e9), steps) == (60, 1), "it ran up to the last trace of it"
    assert row(sound_database, "agents", AGENT, "last_stop_reason") == ["cancelled"]
    assert broken(sound_database) == {}


def test_a_run_without_metrics_gets_them_since_letta_cannot_update_it_otherwise(sound_database):
    change(sound_database, "update runs set status = 'created'", "delete from run_metrics")
    assert told(reconcile(sound_database), "run_metrics") == {RUN: "written"}
    assert row(sound_database, "run_metrics", RUN, "agent_id", "num_steps") == [AGENT, 1]


@pytest.mark.fault(33, "step")
def test_a_step_that_a_cancelled_run_left_behind_is_closed_and_one_without_any_status_is_left(sound_database):
    change(sound_database, "update steps set status = 'PENDING' where id = '%s'" % STEP, "update runs set status = 'cancelled'")
    assert list(told(reconcile(sound_database))) == [STEP]
    assert row(sound_database, "steps", entity("step", 1), "status") == [None]


@pytest.mark.fault(33, "job", "batch")
def test_jobs_and_batches_are_cancelled(sound_database):
    change(sound_database, "update jobs set status = 'running', completed_at = null", "update llm_batch_job set status = 'running'",
           "update llm_batch_items set request_status = 'created'")
    assert set(told(reconcile(sound_database))) == {JOB, BATCH, ITEM}
    assert row(sound_database, "jobs", JOB, "status", "stop_reason", "completed_at is not null") == ["cancelled", "cancelled", True]
    assert row(sound_database, "llm_batch_job", BATCH, "status") == row(sound_database, "llm_batch_items", ITEM, "request_status")
    assert broken(sound_database) == {}


def test_a_file_whose_passages_are_all_there_is_completed_and_others_say_why_they_are_not(sound_database):
    bare, text = entity("file", 5), entity("file", 6)
    put(sound_database, "files", id=bare, source_id=SOURCE, processing_status="parsing")
    put(sound_database, "files", id=text, source_id=SOURCE, processing_status="embedding", total_chunks=3)
    put(sound_database, "file_contents", id=entity("file_content", 6), file_id=text)
    change(sound_database, "update files set processing_status = 'embedding' where id = '%s'" % FILE)
    reconcile(sound_database)
    assert row(sound_database, "files", FILE, "processing_status", "chunks_embedded", "error_message") == ["completed", 2, None]
    for file, words in ((bare, "before the text was stored"), (text, "the text is stored")):
        status, message = row(sound_database, "files", file, "processing_status", "error_message")
        assert status == "error" and words in message
    assert broken(sound_database) == {}


# -- contexts ---------------------------------------------------------------------------------------------------------------------


def test_a_tool_call_at_the_end_of_a_context_is_answered_with_an_error(sound_database):
    change(sound_database, "update agents set message_ids = '%s' where id = '%s'" % (json.dumps([*M[:3], CALL]), AGENT))
    last = query(sound_database, "select max(sequence_id) from letta.messages")[0][0]
    reconcile(sound_database)
    *before, answer = context(sound_database)
    assert before == [*M[:3], CALL]
    columns = ("role", "tool_call_id", "sequence_id", "agent_id", "conversation_id", "name", "tool_returns")
    role, called, sequence, agent, conversation, name, returns = row(sound_database, "messages", answer, *columns)
    assert (role, called, sequence, agent, conversation, name) == ("tool", "call-1", last + 1, AGENT, None, "add")
    assert (returns[0]["status"], returns[0]["tool_call_id"]) == ("error", "call-1")
    assert json.loads(returns[0]["func_response"])["status"] == "Failed"
    assert broken(sound_database) == {}


def test_of_parallel_calls_the_one_without_a_return_is_answered_in_its_place(sound_database):
    calls = call("call-1") + call("call-2")
    change(sound_database, "update messages set tool_calls = '%s' where id = '%s'" % (json.dumps(calls), CALL),
           "update agents set message_ids = '%s' where id = '%s'" % (json.dumps([M[0], CALL, RETURN, M[1], M[2]]), AGENT))
    reconcile(sound_database)
    ids = context(sound_database)
    assert (ids[:3], ids[4:]) == ([M[0], CALL, RETURN], [M[1], M[2]])
    assert row(sound_database, "messages", ids[3], "tool_call_id") == ["call-2"]
    assert broken(sound_database) == {}


def test_a_return_without_its_call_and_a_call_without_an_id_are_cut_and_their_rows_stay(sound_database):
    nameless = [{"type": "function", "function": {"name": "add", "arguments": "{}"}}]
    put(sound_database, "messages", id=LATER[0], agent_id=AGENT, role="assistant", tool_calls=nameless)
    ids = [M[0], RETURN, LATER[0], M[1]]
    change(sound_database, "update agents set message_ids = '%s' where id = '%s'" % (json.dumps(ids), AGENT))
    reconcile(sound_database)
    assert context(sound_database) == [M[0], M[1]]
    assert query(sound_database, "select count(*) from letta.messages where id = any(%s)", ([RETURN, LATER[0]],)) == [(2,)]
    assert set(broken(sound_database)) == {"messages.json_columns"}, "the row itself is still one that Letta cannot read"


@pytest.mark.fault(31, "message")
def test_messages_that_are_gone_leave_the_context_as_they_would_at_letta_s_next_checkpoint(sound_database):
    change(sound_database, "update agents set message_ids = '%s' where id = '%s'" % (json.dumps([*M[:3], LATER[0], M[3]]), AGENT))
    reconcile(sound_database)
    assert context(sound_database) == M[:3]
    assert broken(sound_database) == {}


@pytest.mark.parametrize("lost", ["[]", "null", '["message-gone"]', '{"a": 1}'])
def test_a_lost_context_is_made_anew_from_the_messages_there_are(sound_database, lost):
    change(sound_database, "update agents set message_ids = '%s' where id = '%s'" % (lost, AGENT))
    reconcile(sound_database)
    assert context(sound_database) == [*M[:3], CALL, RETURN]
    assert "agents.message_ids_empty" not in broken(sound_database)


def test_an_agent_that_clears_its_buffer_gets_only_its_system_message_back(sound_database):
    change(sound_database, "update agents set message_ids = '[]', message_buffer_autoclear = true where id = '%s'" % AGENT)
    reconcile(sound_database)
    assert context(sound_database) == [M[0]]


def test_a_lost_context_begins_at_the_last_summary_and_holds_no_message_of_a_conversation(sound_database):
    summary = [{"type": "text", "text": '{"type": "system_alert", "message": "before, ..."}'}]
    put(sound_database, "messages", id=LATER[0], agent_id=AGENT, role="user", content=summary)
    put(sound_database, "messages", id=LATER[1], agent_id=AGENT, role="assistant")
    change(sound_database, "update agents set message_ids = '[]' where id = '%s'" % AGENT)
    reconcile(sound_database)
    assert context(sound_database) == [M[0], LATER[0], LATER[1]]


def test_a_context_that_lost_only_its_system_message_keeps_the_rest(sound_database):
    change(sound_database, "update agents set message_ids = '%s' where id = '%s'" % (json.dumps([LATER[0], M[1], CALL, RETURN]), AGENT))
    reconcile(sound_database)
    assert context(sound_database) == [M[0], M[1], CALL, RETURN]


def test_an_agent_without_any_system_message_is_left_and_named(sound_database):
    change(sound_database, "delete from messages where id = '%s'" % M[3])
    plan = reconcile(sound_database)
    assert (plan.changes, [item["id"] for item in plan.left]) == ([], [OTHER])


def test_a_call_in_a_conversation_is_answered_there(sound_database):
    change(sound_database, "delete from conversation_messages where message_id = '%s'" % TALK[3])
    reconcile(sound_database)
    rows = query(sound_database, "select message_id, position from letta.conversation_messages where in_context order by position")
    assert [message for message, _place in rows[:3]] == TALK[:3] and [place for _message, place in rows] == [0, 1, 2, 3]
    answer = row(sound_database, "messages", rows[3][0], "role", "conversation_id", "tool_call_id")
    assert answer == ["tool", CONVERSATION, "call-assistant"]
    assert broken(sound_database) == {}


def test_positions_of_a_conversation_become_distinct_and_what_does_not_belong_leaves_it(sound_database):
    change(sound_database, "update conversation_messages set position = 0 where message_id = '%s'" % TALK[1],
           "update messages set agent_id = '%s' where id = '%s'" % (OTHER, TALK[2]))
    reconcile(sound_database)
    rows = query(sound_database, "select message_id from letta.conversation_messages where in_context order by position")
    assert [message for (message,) in rows] == [TALK[0], TALK[1], TALK[3]]
    assert broken(sound_database) == {}


# -- approvals --------------------------------------------------------------------------------------------------------------------


def ask(server):
    """Make the agent wait for an approval, in a run that is still open."""
    put(server, "messages", id=LATER[0], agent_id=AGENT, role="approval", tool_calls=call("call-9"), run_id=RUN)
    change(server, "update agents set message_ids = '%s' where id = '%s'" % (json.dumps([*M[:3], CALL, RETURN, LATER[0]]), AGENT),
           "update runs set status = 'running', stop_reason = null")


@pytest.mark.fault(33, "approval")
def test_a_request_for_approval_stays_and_its_run_ends_as_letta_ends_it(sound_database):
    ask(sound_database)
    plan = reconcile(sound_database)
    assert {item["id"] for item in plan.waiting} == {AGENT, CONVERSATION}
    assert row(sound_database, "runs", RUN, "status", "stop_reason") == ["completed", "requires_approval"]
    assert context(sound_database)[-1] == LATER[0]
    assert broken(sound_database) == {}


@pytest.mark.fault(33, "approval")
def test_denied_requests_are_closed_as_when_letta_cancels_the_run(sound_database):
    ask(sound_database)
    change(sound_database, "update runs set status = 'completed', stop_reason = 'requires_approval'")
    plan = reconcile(sound_database, approvals=DENY)
    assert plan.waiting == []
    request, denial, answer = context(sound_database)[-3:]
    columns = ("role", "approval_request_id", "approve", "approvals")
    role, asked, approved, approvals = row(sound_database, "messages", denial, *columns)
    assert (role, asked, approved) == ("approval", request, False)
    assert [(item["tool_call_id"], item["approve"]) for item in approvals] == [("call-9", False)]
    assert row(sound_database, "messages", answer, "role", "tool_call_id") == ["tool", "call-9"]
    assert row(sound_database, "runs", RUN, "status", "stop_reason") == ["cancelled", "cancelled"]
    talk = query(sound_database, "select m.role, m.conversation_id, m.tool_returns from letta.conversation_messages c join letta.messages m"
                 " on m.id = c.message_id order by c.position")[-2:]
    assert [(role, where) for role, where, _returns in talk] == [("approval", CONVERSATION), ("tool", CONVERSATION)]
    assert {item["tool_call_id"] for item in talk[1][2]} == {"call-approval", "call-assistant"}, "also the call that needed no approval"
    assert broken(sound_database) == {}


# -- sleeptime --------------------------------------------------------------------------------------------------------------------


def test_messages_of_an_interrupted_background_turn_are_handed_on_again(sound_database):
    kind = {"run_type": "sleeptime_agent_send_message_async"}
    for number, (status, age) in enumerate((("running", 1), ("completed", 3)), 5):
        put(sound_database, "runs", id=entity("run", number), agent_id=OTHER, status=status, metadata_=kind)
        change(sound_database, "update runs set created_at = now() - interval '%d hours' where id = '%s'" % (age, entity("run", number)))
    change(sound_database, "update messages set created_at = now() - interval '4 hours'",
           "update messages set created_at = now() - interval '2 hours' where id = any('{%s}')" % ",".join([M[2], CALL, RETURN, *TALK]))
    reconcile(sound_database)
    assert row(sound_database, "groups", GROUP, "last_processed_message_id") == [M[1]]
    assert broken(sound_database) == {}


def test_background_turns_are_off_for_a_while_and_come_back_as_they_were_unless_somebody_changed_them(sound_database, tmp_path):
    put(sound_database, "groups", id=entity("group", 5), agent_ids=[OTHER], manager_type="sleeptime", sleeptime_agent_frequency=None)
    put(sound_database, "groups", id=entity("group", 6), agent_ids=[OTHER], manager_type="sleeptime", sleeptime_agent_frequency=0)
    before, journal = content(sound_database), Journal.create(str(tmp_path), "r-00000000")
    frequencies = "select sleeptime_agent_frequency from letta.groups where manager_type = 'sleeptime' order by id"
    assert sleeptime.pause(sound_database, journal) == 2
    assert query(sound_database, frequencies) == [(0,), (0,), (0,)]
    again = Journal.load(journal.run_dir)
    assert sleeptime.pause(sound_database, again) == 0, "what is off already is not taken for what was set before"
    assert sleeptime.resume(sound_database, Journal.load(journal.run_dir)) == 2
    assert content(sound_database) == before
    assert sleeptime.resume(sound_database, Journal.load(journal.run_dir)) == 0
    sleeptime.pause(sound_database, journal)
    change(sound_database, "update groups set sleeptime_agent_frequency = 7 where id = '%s'" % GROUP)
    assert sleeptime.resume(sound_database, journal) == 1
    assert row(sound_database, "groups", GROUP, "sleeptime_agent_frequency") == [7]


# -- how it is done ---------------------------------------------------------------------------------------------------------------


def break_much(server):
    ask(server)
    change(server, "update steps set status = 'PENDING' where id = '%s'" % STEP, "delete from run_metrics",
           "update files set processing_status = 'embedding' where id = '%s'" % FILE,
           "update agents set message_ids = '%s' where id = '%s'" % (json.dumps([*M[:3], CALL]), AGENT),
           "delete from conversation_messages where message_id = '%s'" % TALK[3],
           "update jobs set status = 'pending', metadata_ = '{\"text\": \"\\u0000 1.10\", \"n\": 1.10}'")


def test_undone_everything_is_again_what_it_was_byte_for_byte(sound_database, tmp_path):
    break_much(sound_database)
    before = content(sound_database)
    plan = reconcile(sound_database, tmp_path)
    assert len({item.table for item in plan.changes}) >= 7
    undo = tmp_path / "undo.jsonl"
    assert stat.S_IMODE(undo.stat().st_mode) == 0o600
    counts = engine.undo(sound_database, str(undo))
    assert content(sound_database) == before
    assert sum(counts.values()) == len({(item.table, item.id) for item in plan.changes})


def test_an_undo_never_overwrites_what_was_written_since_and_refuses_a_file_that_is_cut_short(sound_database, tmp_path):
    break_much(sound_database)
    reconcile(sound_database, tmp_path)
    change(sound_database, "update runs set stop_reason = 'error'")
    before, undo = content(sound_database), tmp_path / "undo.jsonl"
    with pytest.raises(RecoveryError, match="not what the reconciliation left: runs") as caught:
        engine.undo(sound_database, str(undo))
    assert caught.value.failure_class == "locked"
    undo.write_text("".join(undo.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(RecoveryError, match="cut short"):
        engine.undo(sound_database, str(undo))
    assert content(sound_database) == before


def test_a_report_changes_nothing_and_says_what_would_be_done(sound_database):
    break_much(sound_database)
    before = content(sound_database)
    shown = engine.reconcile(sound_database, Options())
    assert (shown["applied"], content(sound_database)) == (False, before)
    done = reconcile(sound_database)
    assert [(item.table, item.action, item.reason) for item in shown["plan"].changes if not item.added] == [
        (item.table, item.action, item.reason) for item in done.changes if not item.added
    ]


@pytest.mark.fault(41, "twice")
def test_a_second_reconciliation_finds_nothing_to_do(sound_database):
    break_much(sound_database)
    reconcile(sound_database)
    assert reconcile(sound_database).changes == []
    assert broken(sound_database) == {}


def test_on_a_live_system_an_agent_where_something_happened_lately_is_left_and_named(sound_database):
    break_much(sound_database)
    change(sound_database, "update files set updated_at = now(), created_at = now()")
    before = content(sound_database)
    plan = reconcile(sound_database, idle_seconds=900)
    assert plan.changes == [] and content(sound_database) == before
    assert {item["id"] for item in plan.alive} == {AGENT, FILE, JOB}
    old = "created_at = now() - interval '1 hour', updated_at = now() - interval '1 hour'"
    change(sound_database, *["update %s set %s" % (table, old) for table in ("agents", "messages", "runs", "steps", "jobs")])
    plan = reconcile(sound_database, idle_seconds=900)
    assert told(plan, "runs") == {RUN: "closed as cancelled (was running)"}
    assert {item["id"] for item in plan.alive} == {FILE, JOB}, "a provider may work on a batch for a day"


@pytest.mark.fault(30)
def test_nothing_is_written_when_an_agent_begins_to_work_meanwhile(sound_database, monkeypatch):
    """Its run is not in the snapshot, and its next checkpoint would overwrite the context."""
    change(sound_database, "update agents set message_ids = '%s' where id = '%s'" % (json.dumps([*M[:3], CALL]), AGENT))
    plan_of, make = {}, engine.make_plan

    def start_a_run(found, options):
        plan_of["plan"] = make(found, options)
        put(sound_database, "runs", id=entity("run", 9), agent_id=AGENT, status="created")
        return plan_of["plan"]

    monkeypatch.setattr(engine, "make_plan", start_a_run)
    with pytest.raises(RecoveryError, match="began to work meanwhile") as caught:
        reconcile(sound_database)
    assert caught.value.failure_class == "locked"
    assert context(sound_database) == [*M[:3], CALL]


@pytest.mark.fault(30)
def test_nothing_is_written_when_somebody_changes_a_row_meanwhile(sound_database, monkeypatch, tmp_path):
    change(sound_database, "update runs set status = 'running'")
    make = engine.make_plan

    def end_it(found, options):
        change(sound_database, "update runs set status = 'completed', stop_reason = 'end_turn'")
        return make(found, options)

    monkeypatch.setattr(engine, "make_plan", end_it)
    with pytest.raises(RecoveryError, match="somebody changed a row"):
        reconcile(sound_database, tmp_path)
    assert row(sound_database, "runs", RUN, "status", "stop_reason") == ["completed", "end_turn"]
    assert list(Path(tmp_path).iterdir()) == []


def test_as_a_phase_that_only_reports_it_counts_and_changes_nothing(sound_database, tmp_path):
    break_much(sound_database)
    before, journal = content(sound_database), Journal.create(str(tmp_path), "r-00000000", names={"live": "live"})
    reconcile_side(sound_database, Options(), False, journal)
    (phase,) = journal.data["phases"]
    assert (phase["status"], content(sound_database)) == ("skipped", before)
    assert phase["detail"].startswith("nothing was changed; it would be: ") and "; runs: 1 reconciled; " in phase["detail"]


def test_a_phase_that_finds_more_changed_than_it_planned_fails_and_names_the_table(sound_database, tmp_path):
    """Somebody wrote into the side database since it was proven."""
    change(sound_database, "update runs set status = 'running'")
    journal, saved = Journal.create(str(tmp_path), "r-00000000", names={"live": "live"}), content_of(sound_database)["tables"]
    journal.done("stage.prove", tables=[{"name": "letta.block", "rows_expected": 1, "digest": "equal", "explanation": ""}])
    change(sound_database, "update block set value = 'changed'")
    with pytest.raises(RecoveryError, match="changed in letta.block") as caught:
        reconcile_side(sound_database, Options(), True, journal, saved)
    assert caught.value.failure_class == "verify_failed"
    assert [(row["name"], row["digest"]) for row in caught.value.details["tables"]] == [("letta.block", "differs")]
    assert journal.state("reconcile.apply") == "begun", "such a side database is not taken up again"


@pytest.mark.fault(37, "modest")
def test_a_role_that_may_not_write_changes_nothing_and_is_told_so(sound_database, pg):
    change(sound_database, "update runs set status = 'running'")
    pg.execute("revoke update on letta.runs from letta", sound_database.dbname)
    with pytest.raises(RecoveryError, match="InsufficientPrivilege") as caught:
        reconcile(sound_database)
    assert "nothing was changed" in caught.value.now
    assert USER not in str(caught.value)


@pytest.mark.fault(31, "step")
def test_an_open_step_of_an_agent_that_is_gone_is_closed_and_disturbs_nobody(sound_database):
    gone = "agent-00000000-0000-4000-8000-00000000dead"
    change(sound_database, "update steps set status = 'PENDING', stop_reason = null, run_id = null, agent_id = '%s', updated_at = now() - "
           "interval '1 hour' where id = '%s'" % (gone, STEP))
    plan = reconcile(sound_database)
    print(told(plan))
    assert row(sound_database, "steps", STEP, "status::text", "agent_id") == ["CANCELLED", gone]
    assert broken(sound_database) == {}
