"""What a partial restore holds back, waits for, refuses and proves: each guard with what it guards against."""
from __future__ import annotations

import os
import threading
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial import apply, workbench
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial.slices import Slice
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal
from tests.integration.partial_engine_kit import AGENTS, MADE, differing
from tests.lab import places

NEW_RUN = (
    "insert into runs (id, status, agent_id, organization_id)"
    " select 'run-' || gen_random_uuid(), 'created', id, organization_id from agents where id = %s"
)


@pytest.mark.fault(29, "waits")
def test_no_work_of_the_agents_can_begin_while_they_are_held_and_others_do_not_wait(part):
    begun = part.plan(agents=[AGENTS["react"]])
    cut = Slice.load(Journal.load(begun["run_dir"]).data["facts"]["slice"]) if begun["run_dir"] else None
    cut = cut or Slice("", {"root.agents": [AGENTS["react"]]})
    with workbench.opened(part.live) as bench, closing(connect(part.live)) as other, other.cursor() as cursor:
        apply.lock(bench, cut, 0)
        cursor.execute("set lock_timeout = '300ms'")
        cursor.execute(NEW_RUN, (AGENTS["busy"],))
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            cursor.execute(NEW_RUN, (AGENTS["react"],))


@pytest.mark.fault(29, "waits")
def test_a_request_that_waited_for_the_agent_is_told_since_it_may_write_back_what_it_had_read(part):
    agent = AGENTS["react"]
    part.sql("delete from messages where agent_id = %s", (agent,))
    begun = part.plan(agents=[agent])
    part.sql(
        "create function slowly() returns trigger language plpgsql as $$ begin perform pg_sleep(0.3); return new; end $$;"
        "create trigger slow before insert on messages for each row execute function slowly()"
    )
    writing = (
        "select 1 from pg_stat_activity where application_name like 'letta_ops%' and query like 'insert into \"letta\".\"messages\"%'"
    )

    def ask():
        places.wait_for(lambda: part.sql(writing), 30)
        part.sql(NEW_RUN, (agent,))

    request = threading.Thread(target=ask)
    request.start()
    outcome = part.carry_out(begun)
    request.join(30)
    assert [(note["id"], note["count"]) for note in outcome["findings"]] == [("partial.waited", 1)]
    assert part.sql("select count(*) from runs where agent_id = %s and status = 'created'", (agent,)) == [(1,)]


def test_what_is_written_is_proven_before_it_is_committed(part):
    part.delete_agent(AGENTS["react"])
    before = part.contents()
    part.sql(
        "create function public_lie() returns trigger language plpgsql as $$ begin new.name := 'lie'; return new; end $$;"
        "create trigger lie before insert on messages for each row execute function public_lie()"
    )
    with pytest.raises(RecoveryError, match="not what was to come: messages") as caught:
        part.restore(agents=[AGENTS["react"]])
    assert caught.value.failure_class == "verify_failed"
    assert differing(before, part.contents()) == []


@pytest.mark.fault(27, "restrict")
def test_a_newer_file_that_somebody_else_has_open_stays_when_its_source_is_brought_back(part):
    source, other = MADE["folders"]["handbook"], AGENTS["busy"]
    made = part.sql(
        "insert into files (id, source_id, file_name, organization_id, processing_status)"
        " select 'file-' || gen_random_uuid(), id, 'newer.md',"
        " organization_id, 'completed' from sources where id = %s returning id",
        (source,),
    )[0][0]
    part.sql(
        "insert into files_agents (id, file_id, agent_id, is_open, organization_id, file_name, source_id)"
        " select 'file_agent-' || gen_random_uuid(), %s, a.id, true, a.organization_id, 'newer.md', %s from agents a where a.id = %s",
        (made, source, other),
    )
    part.sql("update sources set description = 'changed' where id = %s", (source,))
    plan, _outcome = part.restore(sources=[source])
    assert [note["examples"] for note in plan["notes"] if note["id"] == "partial.held"] == [[made]]
    assert part.sql("select count(*) from files_agents where file_id = %s", (made,)) == [(1,)]


def test_a_newer_file_that_nobody_uses_goes_with_the_source_it_is_in(part):
    source = MADE["folders"]["handbook"]
    part.sql(
        "insert into files (id, source_id, file_name, organization_id, processing_status)"
        " select 'file-' || gen_random_uuid(), id, 'newer.md',"
        " organization_id, 'completed' from sources where id = %s",
        (source,),
    )
    plan, _outcome = part.restore(sources=[source])
    assert plan["loses"]["files"]["count"] == 1
    assert part.sql("select 1 from files where file_name = 'newer.md'") == []


@pytest.mark.fault(27, "group")
def test_members_of_a_group_that_are_gone_are_left_out_of_it(part):
    part.delete_agent(AGENTS["react"], AGENTS["memgpt v2"])
    plan, _outcome = part.restore(agents=[AGENTS["react"]])
    assert [note["examples"] for note in plan["notes"] if note["id"] == "partial.group_members"] == [[AGENTS["memgpt v2"]]]
    group = MADE["groups"]["supervised"]
    assert part.sql("select agent_ids from groups where id = %s", (group,)) == [([AGENTS["memgpt"]],)]
    assert part.sql("select agent_id from groups_agents where group_id = %s", (group,)) == [(AGENTS["memgpt"],)]


@pytest.mark.fault(27, "group")
def test_an_agent_comes_back_into_the_group_of_others_that_it_was_in(part):
    group = MADE["groups"]["supervised"]
    part.sql("update groups set agent_ids = %s::json, description = 'changed since' where id = %s", ('["%s"]' % AGENTS["memgpt"], group))
    part.delete_agent(AGENTS["memgpt v2"])
    part.restore(agents=[AGENTS["memgpt v2"]])
    assert part.sql("select agent_ids, description from groups where id = %s", (group,)) == [
        ([AGENTS["memgpt"], AGENTS["memgpt v2"]], "changed since")
    ]


def test_a_kept_block_is_attached_under_the_label_it_has_now(part):
    block = MADE["blocks"]["company"]
    part.delete_agent(AGENTS["support"])
    part.sql("update block set label = 'firm' where id = %s", (block,))
    plan, _outcome = part.restore(agents=[AGENTS["support"]])
    assert "partial.block_labels" in {note["id"] for note in plan["notes"]}
    attached = "select block_label from blocks_agents where agent_id = %s and block_id = %s"
    assert part.sql(attached, (AGENTS["support"], block)) == [("firm",)]


@pytest.mark.fault(31, "history")
def test_blocks_with_a_history_come_back_with_it_and_the_pointer_into_it(part):
    block = MADE["blocks"]["unattached"]
    part.sql(
        "insert into block_history (id, block_id, label, value, \"limit\", sequence_number, organization_id)"
        " select 'block_hist-' || n, id, label, value || n, 5, n, organization_id from block, generate_series(1, 3) n where id = %s",
        (block,),
    )
    part.sql("update block set current_history_entry_id = 'block_hist-2' where id = %s", (block,))
    set_id = part.take_set()
    before = part.contents()
    part.sql("insert into block_history (id, block_id, label, value, \"limit\", sequence_number, organization_id)"
             " select 'block_hist-4', id, label, 'newer', 1, 4, organization_id from block where id = %s", (block,))
    part.sql("update block set current_history_entry_id = 'block_hist-4', value = 'moved on' where id = %s", (block,))
    part.sql("delete from block_history where id = 'block_hist-2'")
    part.restore(blocks=[block], backup_id=set_id)
    assert part.sql("select current_history_entry_id, value <> 'moved on' from block where id = %s", (block,)) == [("block_hist-2", True)]
    assert differing(before, part.contents()) == ["letta.block"], "its version is above live's"
    part.sql("update block set current_history_entry_id = null where id = %s", (block,))
    part.sql("delete from block where id = %s", (block,))
    part.restore(blocks=[block], backup_id=set_id)
    assert differing(before, part.contents()) == []


@pytest.mark.fault(37, "modest")
def test_a_role_that_may_not_make_temporary_tables_is_told_which_grant_it_lacks(part):
    part.delete_agent(AGENTS["react"])
    part.sql("revoke temporary on database %s from public" % part.database)
    part.pg.execute("DROP ROLE IF EXISTS looker")
    part.pg.execute("CREATE ROLE looker LOGIN PASSWORD 'looker'")
    part.sql("grant usage on schema letta to looker; grant select on all tables in schema letta to looker")
    try:
        with pytest.raises(RecoveryError, match="role looker may not") as caught, workbench.opened(
            part.live.as_role("looker", "looker")
        ) as bench:
            bench.load(Slice("", {}, {"agents": {"columns": list(bench.tables["agents"].columns), "rows": 0}}))
        assert "GRANT TEMPORARY ON DATABASE" in caught.value.next_step
    finally:
        part.sql("drop owned by looker")
        part.pg.execute("DROP ROLE looker")


def test_a_full_restore_that_replaced_the_database_ends_the_undo(part):
    part.delete_agent(AGENTS["react"])
    part.restore(agents=[AGENTS["react"]])
    part.pg.drop_database(part.database)
    part.pg.clone_database(part.database, "partial_sample", password="x")
    with pytest.raises(RecoveryError, match="exchanged since by a full restore"):
        part.undo()


@pytest.mark.fault(28)
def test_a_backup_newer_than_live_is_refused(part):
    part.sql("update alembic_version set version_num = 'b2c3d4e5f6a8'")
    with pytest.raises(RecoveryError, match="newer") as caught:
        part.plan(agents=[AGENTS["react"]])
    assert caught.value.failure_class == "schema"


def test_rows_that_lie_on_disk_are_for_their_owner_alone_and_go_when_the_run_is_over(part):
    part.delete_agent(AGENTS["support"])
    begun = part.plan(agents=[AGENTS["support"]])
    old = os.umask(0)
    try:
        part.carry_out(begun)
    finally:
        os.umask(old)
    found = {path: path.stat().st_mode & 0o777 for path in Path(begun["run_dir"]).rglob("*")}
    assert {mode for path, mode in found.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in found.items() if path.is_file()} == {0o600}
    assert {path.name for path in found if path.is_dir()} == {"before"}


@pytest.mark.fault(27, "template")
def test_an_agent_that_names_templates_nobody_has_comes_back_with_their_names(part):
    names = {"template_id": "template-gone", "base_template_id": "base-gone", "deployment_id": "deployment-gone"}
    words = ", ".join("%s = '%s'" % item for item in names.items())
    part.sql("update agents set %s where id = %%s" % words, (AGENTS["support"],))
    set_id, before = part.take_set(), part.contents()
    part.delete_agent(AGENTS["support"])
    _plan, outcome = part.restore(agents=[AGENTS["support"]], backup_id=set_id)
    assert [row["name"] for row in outcome["tables"] if row["digest"] == "differs"] == []
    assert part.sql("select %s from agents where id = %%s" % ", ".join(names), (AGENTS["support"],)) == [tuple(names.values())]
    assert part.contents()["letta.agents"] == before["letta.agents"]
