"""Partial restores at the level of the engine, on everything a real Letta holds."""
from __future__ import annotations

import os

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial import begin
from tests.integration.partial_engine_kit import AGENTS, MADE, Part, differing, renew_tools
from tests.integration.restore_kit import PASSWORD, fill, install_schema
from tests.lab.seed import SAMPLE_KEY


@pytest.mark.fault(27, "deleted")
@pytest.mark.parametrize("key", sorted(AGENTS))
def test_a_deleted_agent_comes_back_equal_and_nothing_else_changes(part, key):
    before = part.contents()
    part.delete_agent(AGENTS[key])
    assert differing(before, part.contents())
    _plan, outcome = part.restore(agents=[AGENTS[key]])
    assert {row["name"]: row["explanation"] for row in outcome["tables"] if row["digest"] == "differs"} == {}
    assert differing(before, part.contents()) == []
    assert part.restore(agents=[AGENTS[key]])[1] is None, "a second run has nothing to do"


@pytest.mark.parametrize("key", ["support", "sleeper", "react"])
def test_a_rollback_brings_the_state_before_back_row_for_row(part, key):
    part.delete_agent(AGENTS[key])
    before = part.contents()
    part.restore(agents=[AGENTS[key]])
    assert differing(before, part.contents())
    _plan, outcome = part.undo()
    assert [row for row in outcome["tables"] if row["digest"] == "differs"] == []
    assert differing(before, part.contents()) == []


def damage(part, agent):
    """Half of an agent's messages gone, a block of its own changed, its tags and links lost, newer messages and rows written."""
    part.sql("delete from messages where agent_id = %s and sequence_id %% 2 = 0", (agent,))
    part.sql(
        "update block set value = value || ' changed', version = version + 3"
        " where id in (select block_id from blocks_agents where agent_id = %s)"
        " and id not in (select block_id from blocks_agents where agent_id <> %s)",
        (agent, agent),
    )
    for table in ("agents_tags", "tools_agents", "identities_agents", "archives_agents"):
        part.sql("delete from %s where agent_id = '%s'" % (table, agent))
    say(part, agent, "written since")


def say(part, agent, text, in_context=True):
    """Write a message as Letta would; returns its id."""
    made = part.sql(
        "insert into messages (id, role, agent_id, organization_id, content, tool_calls, created_at)"
        " select 'message-' || gen_random_uuid(), 'user', id, organization_id,"
        " json_build_array(json_build_object('type', 'text', 'text', %s::text)), '[]', now() from agents"
        " where id = %s returning id",
        (text, agent),
    )[0][0]
    if in_context:
        part.sql("update agents set message_ids = (message_ids::jsonb || to_jsonb(%s::text))::json where id = %s", (made, agent))
    return made


def without_versions(part, contents):
    """Leave out what a restore raises on purpose: versions of blocks."""
    return {name: item for name, item in contents.items() if name != "letta.block"}


@pytest.mark.fault(27, "alive")
@pytest.mark.parametrize("key", ["support", "sleeper", "react"])
def test_a_damaged_agent_becomes_what_was_saved(part, key):
    before, blocks = part.contents(), part.sql("select id, value, label from block order by 1")
    damage(part, AGENTS[key])
    mid = part.contents()
    plan, outcome = part.restore(agents=[AGENTS[key]])
    assert plan["loses"]["messages"]["count"] == 1
    assert [row["name"] for row in outcome["tables"] if row["digest"] == "differs"] == []
    assert differing(without_versions(part, before), without_versions(part, part.contents())) == []
    assert part.sql("select id, value, label from block order by 1") == blocks
    part.undo()
    assert differing(without_versions(part, mid), without_versions(part, part.contents())) == []


def test_the_version_of_a_restored_block_is_above_the_one_a_stale_writer_has_read(part):
    damage(part, AGENTS["support"])
    live = dict(part.sql("select id, version from block"))
    part.restore(agents=[AGENTS["support"]])
    raised = [(number, live[block]) for block, number in part.sql("select id, version from block") if number != live[block]]
    assert raised
    assert all(now > was for now, was in raised)


# -- things that others use too ----------------------------------------------------------------------------------------


def change_shared(part):
    """Change the block that support shares with memgpt and workflow; returns its id."""
    block = MADE["blocks"]["company"]
    part.sql("update block set value = 'live has changed it', version = version + 1 where id = %s", (block,))
    return block


@pytest.mark.fault(27, "shared")
def test_a_shared_block_is_kept_as_live_has_it_and_told_with_its_users(part):
    block = change_shared(part)
    part.delete_agent(AGENTS["support"])
    plan, outcome = part.restore(agents=[AGENTS["support"]])
    told = [item for item in plan["shared"] if item["id"] == block]
    assert [(item["decision"], sorted(item["used_by"])) for item in told] == [("kept", ["memgpt", "workflow"])]
    assert part.sql("select value from block where id = %s", (block,)) == [("live has changed it",)]
    assert part.sql("select 1 from blocks_agents where agent_id = %s and block_id = %s", (AGENTS["support"], block))
    assert outcome["recompile"] == [AGENTS["support"]]


@pytest.mark.fault(27, "shared")
def test_a_shared_block_is_overwritten_when_the_policy_says_so_and_its_other_users_are_compiled_anew(part):
    saved = part.sql("select value from block where id = %s", (MADE["blocks"]["company"],))
    block = change_shared(part)
    plan, outcome = part.restore(agents=[AGENTS["support"]], policies={"shared": "overwrite"})
    assert [item["decision"] for item in plan["shared"] if item["id"] == block] == ["overwritten"]
    assert part.sql("select value from block where id = %s", (block,)) == saved
    assert sorted(outcome["recompile"]) == sorted([AGENTS["memgpt"], AGENTS["workflow"]])
    part.undo()
    assert part.sql("select value from block where id = %s", (block,)) == [("live has changed it",)]


@pytest.mark.fault(27, "shared")
def test_a_shared_block_comes_back_as_a_copy_of_its_own_when_the_policy_says_so(part):
    saved = part.sql("select value, label from block where id = %s", (MADE["blocks"]["company"],))
    block = change_shared(part)
    before = part.contents()
    plan, _outcome = part.restore(agents=[AGENTS["support"]], policies={"shared": "copy"})
    made = next(item["new_id"] for item in plan["shared"] if item["id"] == block)
    assert part.sql("select value, label from block where id = %s", (made,)) == saved
    assert part.sql("select value from block where id = %s", (block,)) == [("live has changed it",)]
    assert part.sql("select agent_id from blocks_agents where block_id = %s", (made,)) == [(AGENTS["support"],)]
    assert part.restore(agents=[AGENTS["support"]], policies={"shared": "copy"})[1] is None, "the copy is known again"
    part.undo()
    assert differing(before, part.contents()) == []


@pytest.mark.fault(27, "shared")
def test_a_shared_archive_and_a_shared_source_are_copied_with_all_that_is_in_them(part):
    archive, source = MADE["archives"]["shared"], MADE["folders"]["handbook"]
    part.sql("update archival_passages set text = 'changed' where archive_id = %s", (archive,))
    part.sql("delete from source_passages where source_id = %s", (source,))
    before = part.contents()
    plan, _outcome = part.restore(agents=[AGENTS["support"]], policies={"shared": "copy"})
    new = {item["table"]: item["new_id"] for item in plan["shared"]}
    passages = part.sql("select count(*) from archival_passages where archive_id = %s and text <> 'changed'", (new["archives"],))
    assert passages == part.sql("select count(*) from archival_passages where archive_id = %s", (archive,))
    assert part.sql("select archive_id from archives_agents where agent_id = %s", (AGENTS["support"],)) == [(new["archives"],)]
    inside = "select count(*) > 0 from source_passages p join files f on f.id = p.file_id where f.source_id = %s"
    assert part.sql(inside, (new["sources"],)) == [(True,)]
    assert part.sql("select name like '%% (copy of ' || %s || ')' from sources where id = %s", (part.set_id, new["sources"])) == [(True,)]
    files = part.sql("select source_id from files_agents where agent_id = %s and not is_deleted", (AGENTS["support"],))
    assert {row[0] for row in files} == {new["sources"]}
    part.undo()
    assert differing(before, part.contents()) == []


# -- messages ----------------------------------------------------------------------------------------------------------


@pytest.mark.fault(27, "changed")
def test_newer_messages_go_by_default_and_the_plan_counts_them(part):
    say(part, AGENTS["support"], "newer")
    plan, _outcome = part.restore(agents=[AGENTS["support"]])
    assert plan["loses"]["messages"]["count"] == 1
    assert part.sql("select 1 from messages where content::text like '%%newer%%'") == []


@pytest.mark.fault(27, "changed")
def test_newer_messages_that_continue_the_saved_ones_are_merged(part):
    saved = part.sql("select message_ids from agents where id = %s", (AGENTS["support"],))[0][0]
    part.sql("delete from messages where agent_id = %s and id = %s", (AGENTS["support"], saved[2]))
    newer = say(part, AGENTS["support"], "newer")
    plan, _outcome = part.restore(agents=[AGENTS["support"]], policies={"messages": "merge"})
    assert plan["loses"] == {}
    assert part.sql("select message_ids from agents where id = %s", (AGENTS["support"],))[0][0] == [*saved, newer]
    assert part.sql("select count(*) from messages where id = any(%s)", (saved,)) == [(len(saved),)]


@pytest.mark.fault(27, "changed")
def test_messages_of_another_line_of_events_are_not_merged(part):
    agent = AGENTS["support"]
    third = "(select message_ids->>3 from agents where id = %s)"
    part.sql("update messages set id = 'message-' || gen_random_uuid() where id = " + third, (agent,))
    with pytest.raises(RecoveryError, match="do not continue the saved ones") as caught:
        part.restore(agents=[agent], policies={"messages": "merge"})
    assert caught.value.failure_class == "preflight"


def test_messages_alone_come_back_and_the_agent_stays_as_it_is(part):
    agent = AGENTS["support"]
    before = part.contents()
    part.sql("delete from messages where agent_id = %s", (agent,))
    part.sql("update agents set description = 'changed since', message_ids = '[]' where id = %s", (agent,))
    part.restore(scopes=["messages"], agents=[agent])
    assert part.sql("select description from agents where id = %s", (agent,)) == [("changed since",)]
    assert differing(before, part.contents()) == ["letta.agents"]


def test_messages_alone_are_refused_for_an_agent_that_is_gone(part):
    part.delete_agent(AGENTS["support"])
    with pytest.raises(RecoveryError, match="no such agent is live"):
        part.restore(scopes=["messages"], agents=[AGENTS["support"]])


@pytest.mark.fault(32, "taken")
def test_messages_get_new_numbers_in_their_order_where_theirs_are_taken(part):
    agent = AGENTS["support"]
    order = part.sql("select id from messages where agent_id = %s order by sequence_id", (agent,))
    taken = part.sql("select sequence_id from messages where agent_id = %s order by 1 limit 1", (agent,))[0][0]
    part.delete_agent(agent)
    part.sql("update messages set sequence_id = %s where id = (select id from messages order by sequence_id desc limit 1)", (taken,))
    part.sql("select setval('message_seq_id', 1)")
    part.restore(agents=[agent])
    assert part.sql("select id from messages where agent_id = %s order by sequence_id", (agent,)) == order
    assert part.sql("select last_value >= (select max(sequence_id) from messages) from message_seq_id") == [(True,)]
    assert part.restore(agents=[agent])[1] is None
    say(part, agent, "the next insert works")


# -- other scopes ------------------------------------------------------------------------------------------------------


@pytest.mark.fault(32, "behind")
def test_the_sequence_is_moved_beyond_every_number_in_use(part):
    part.delete_agent(AGENTS["support"])
    part.sql("select setval('message_seq_id', 1)")
    part.restore(agents=[AGENTS["support"]])
    say(part, AGENTS["support"], "the next insert works")


def test_one_source_comes_back_with_its_files_passages_and_links(part):
    before = part.contents()
    part.sql("delete from sources where id = %s", (MADE["folders"]["handbook"],))
    part.restore(sources=["Hand*"])
    assert differing(before, part.contents()) == []


def test_one_file_comes_back_into_its_source(part):
    before = part.contents()
    part.sql("delete from files where id = %s", (MADE["files"]["guide"],))
    part.restore(files=[MADE["files"]["guide"]])
    assert differing(before, part.contents()) == []


def test_blocks_by_label_and_the_blocks_of_an_agent_come_back(part):
    before = part.contents()
    part.sql("delete from block where id = %s", (MADE["blocks"]["policy"],))
    part.restore(blocks=["policy"])
    assert differing(before, part.contents()) == []
    part.sql("update block set value = 'lost' where label = 'human'")
    part.restore(scopes=["blocks"], agents=[AGENTS["support"]])
    values = part.sql("select count(*) from block b join blocks_agents k on k.block_id = b.id where k.agent_id = %s and value = 'lost'",
                      (AGENTS["support"],))
    assert values == [(0,)]


def test_an_archive_comes_back_with_its_passages_tags_and_agents(part):
    before = part.contents()
    part.sql("delete from archives where id = %s", (MADE["archives"]["shared"],))
    part.restore(archives=[MADE["archives"]["shared"]])
    assert differing(before, part.contents()) == []


def test_all_agents_come_back_at_once(part):
    before = part.contents()
    part.delete_agent(*AGENTS.values())
    part.restore(agents=["*"])
    assert differing(before, part.contents()) == []


def test_agents_are_found_by_their_tags(part):
    part.delete_agent(AGENTS["support"])
    plan, _outcome = part.restore(tags=["support", "it's"])
    assert [item["id"] for item in plan["agents"]] == [AGENTS["support"]]


def test_an_unknown_name_is_refused_with_the_names_there_are(part):
    with pytest.raises(RecoveryError, match="the backup has no agent nobody") as caught:
        part.plan(agents=["nobody"])
    assert caught.value.failure_class == "usage"
    assert "workflow" in caught.value.next_step


def test_a_name_of_two_agents_is_refused_with_their_ids(part):
    part.sql("update agents set name = 'twin' where id in (%s, %s)", (AGENTS["busy"], AGENTS["react"]))
    part.take_set()
    with pytest.raises(RecoveryError, match="have the same name") as caught:
        part.plan(agents=["twin"], backup_id="latest")
    assert AGENTS["busy"] in caught.value.message


# -- another server ------------------------------------------------------------------------------------------------------


def test_base_tools_of_another_server_are_used_under_its_own_ids(part):
    part.delete_agent(AGENTS["support"])
    renew_tools(part, "tool_type not in ('custom', 'external_mcp')")
    plan, _outcome = part.restore(agents=[AGENTS["support"]])
    assert plan["mapped"]
    assert all(item["same"] for item in plan["mapped"])
    names = "select t.name from tools_agents k join tools t on t.id = k.tool_id where k.agent_id = %s order by 1"
    assert len(part.sql(names, (AGENTS["support"],))) == 11


def test_a_tool_of_the_same_name_that_does_something_else_is_used_and_told(part):
    part.delete_agent(AGENTS["support"])
    renew_tools(part, "name = 'add_numbers'")
    part.sql("update tools set source_code = 'def add_numbers(): pass' where name = 'add_numbers'")
    plan, _outcome = part.restore(agents=[AGENTS["support"]])
    assert [item["name"] for item in plan["mapped"] if not item["same"]] == ["add_numbers"]


@pytest.mark.fault(27, "alive")
def test_ids_that_belong_to_another_agent_here_are_refused(part):
    part.sql("update messages set agent_id = %s where agent_id = %s", (AGENTS["busy"], AGENTS["react"]))
    with pytest.raises(RecoveryError, match="another agent's in the live database"):
        part.plan(agents=[AGENTS["react"]])


# -- work, locks, and moves in between -----------------------------------------------------------------------------------


@pytest.mark.fault(29, "refused")
def test_an_agent_at_work_is_refused_and_nothing_is_written(part):
    part.sql("update runs set status = 'running', updated_at = now() where id = (select id from runs where agent_id = %s limit 1)",
             (AGENTS["support"],))
    before = part.contents()
    with pytest.raises(RecoveryError, match="is at work") as caught:
        part.restore(agents=[AGENTS["support"]])
    assert caught.value.failure_class == "locked"
    assert differing(before, part.contents()) == []


@pytest.mark.fault(30)
def test_live_that_moved_since_the_plan_is_planned_again_unless_more_would_be_lost(part):
    part.delete_agent(AGENTS["react"])
    begun = part.plan(agents=[AGENTS["support"], AGENTS["react"]])
    say(part, AGENTS["support"], "said after the plan was shown")
    with pytest.raises(RecoveryError, match="moved since the plan was shown"):
        part.carry_out(begun)
    part.fail(begun)
    begun = part.plan(agents=[AGENTS["support"], AGENTS["react"]])
    part.sql("update agents set description = 'moved' where id = %s", (AGENTS["support"],))
    assert part.carry_out(begun)["replanned"] is True


@pytest.mark.fault(22, "restores")
def test_a_second_run_on_the_target_is_refused_with_the_holder(part):
    part.delete_agent(AGENTS["react"])
    begun = part.plan(agents=[AGENTS["react"]])
    with pytest.raises(RecoveryError, match="is locked by restore-partial.yml") as caught:
        begin.plan(part.server, part.options(agents=[AGENTS["react"]], controller={"host": "elsewhere", "boot": "b", "pid": 1}))
    assert caught.value.failure_class == "locked"
    part.carry_out(begun)


def test_check_mode_leaves_nothing_behind(part):
    part.delete_agent(AGENTS["support"])
    before = part.contents()
    begun = part.plan(agents=[AGENTS["support"]], check=True)
    assert begun["plan"]["rows"]["add"] > 100
    assert begun["diff"][0].startswith("+ ")
    assert differing(before, part.contents()) == []
    assert not os.path.exists(os.path.join(part.root, ".runs"))


@pytest.mark.fault(41, "check")
def test_two_plans_of_the_same_thing_have_the_same_hash(part):
    change_shared(part)
    part.delete_agent(AGENTS["support"])
    for policy in ("keep", "copy"):
        plans = [part.plan(agents=[AGENTS["support"]], check=True, policies={"shared": policy})["plan"] for _turn in range(2)]
        assert len({plan["hash"] for plan in plans}) == 1, policy


# -- what the plan tells -------------------------------------------------------------------------------------------------


def test_the_plan_tells_why_a_row_is_in(part):
    message = part.sql("select id from messages where agent_id = %s limit 1", (AGENTS["support"],))[0][0]
    plan = part.plan(agents=[AGENTS["support"]], check=True, why=["messages %s" % message])["plan"]
    assert plan["rows_asked"] == [
        "messages %s <- a message of the agent <- agents %s (asked for)" % (message, AGENTS["support"])
    ]


@pytest.mark.fault(26, "wrong")
def test_secrets_are_tried_under_the_key_and_another_key_is_refused(part):
    plan = part.plan(agents=[AGENTS["support"]], check=True, key=SAMPLE_KEY)["plan"]
    assert (plan["secrets"]["verdict"], plan["secrets"]["total"]["under_key"]) == ("proven", 2)
    with pytest.raises(RecoveryError, match="under another key") as caught:
        part.plan(agents=[AGENTS["support"]], check=True, key="another key")
    assert caught.value.failure_class == "key_mismatch"


def test_runs_that_were_under_way_when_the_backup_was_taken_are_told(part):
    part.delete_agent(AGENTS["busy"])
    plan = part.plan(agents=[AGENTS["busy"]], check=True)["plan"]
    (told,) = [note for note in plan["notes"] if note["id"] == "partial.open_runs"]
    assert told["count"] == 1
    assert "reconcile.yml" in told["detail"]


def test_all_agents_of_an_organisation_are_found_by_its_id(part):
    plan = part.plan(organization="org-00000000-0000-4000-8000-000000000000", check=True)["plan"]
    assert {item["id"] for item in plan["agents"]} == set(AGENTS.values())
    with pytest.raises(RecoveryError, match="no agent of the backup has organisation org-other"):
        part.plan(organization="org-other", check=True)


def test_memory_in_a_git_repository_is_told(part):
    part.sql("insert into agents_tags values (%s, 'git-memory-enabled')", (AGENTS["react"],))
    part.take_set()
    plan = part.plan(agents=[AGENTS["react"]], check=True, backup_id="latest")["plan"]
    assert any("git repository" in warning and AGENTS["react"] in warning for warning in plan["warnings"])


def test_two_hundred_agents_come_back_at_once(pg, tmp_path):
    server = pg.create_letta_database("part_of_many", password=PASSWORD, schema="letta")
    try:
        install_schema(server)
        fill(server, agents=220, messages=4400)
        root = str(tmp_path / "store")
        os.makedirs(root, 0o700)
        live = pg.server(dbname=server.dbname)
        made = take.take_backup(take.BackupOptions(server=live, root=root, bin_dir=str(pg.bin_dir), jobs=1))
        part = Part(pg, server.dbname, root, made["id"])
        before = part.contents()
        agents = [row[0] for row in part.sql("select id from agents order by id limit 200")]
        part.delete_agent(*agents)
        plan, _outcome = part.restore(agents=agents)
        assert len(plan["agents"]) == 200
        assert differing(before, part.contents()) == []
        part.undo()
        assert part.sql("select count(*) from agents") == [(20,)]
    finally:
        pg.drop_database(server.dbname)
