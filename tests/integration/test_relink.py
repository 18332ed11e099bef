"""Agents that live and have lost connections get them back out of a set, and lose nothing of what they have."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine import processes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.embeddings import Embeddings
from tests.integration.partial_engine_kit import AGENTS, MADE, differing
from tests.integration.test_partial import say
from tests.integration.validate_kit import run_module

SUPPORT, SLEEPER = AGENTS["support"], AGENTS["sleeper"]
LINKS = ("tools_agents", "blocks_agents", "sources_agents", "files_agents", "archives_agents", "identities_agents", "agents_tags")


def context(part, agent):
    return part.sql("select message_ids from agents where id = %s", (agent,))[0][0]


def relink(part, *agents, **wanted):
    return part.restore(scopes=["links"], agents=list(agents), **wanted)


def lose_links(part, agent):
    for table in (*LINKS, "groups_agents"):
        part.sql("delete from %s where agent_id = %%s" % table, (agent,))


def test_all_links_of_agents_come_back_and_go_again_by_rollback(part):
    before = part.contents()
    for agent in (SUPPORT, SLEEPER, AGENTS["react"]):
        lose_links(part, agent)
    part.sql("delete from groups_blocks")
    part.sql("delete from groups_agents")
    part.sql("delete from blocks_conversations")
    part.sql("update groups set agent_ids = '[]'")
    lost = part.contents()
    assert {"letta." + table for table in LINKS} < set(differing(before, lost))
    plan, outcome = relink(part, "*")
    assert plan["missing"] == []
    assert differing(before, part.contents()) == []
    assert SUPPORT in outcome["recompile"]
    assert [row for row in outcome["tables"] if row["digest"] == "differs"] == []
    assert relink(part, "*")[1] is None, "a second run has nothing to do"
    part.undo()
    assert differing(lost, part.contents()) == []
    part.undo()
    assert differing(before, part.contents()) == [], "a rollback can be taken back too"


def test_nothing_that_live_has_is_removed_or_overwritten(part):
    block = MADE["blocks"]["company"]
    part.sql("update block set value = 'newer', version = version + 1 where id = %s", (block,))
    part.sql("update agents set name = 'renamed', description = 'newer' where id = %s", (SUPPORT,))
    part.sql("insert into agents_tags (agent_id, tag) values (%s, 'newer')", (SUPPORT,))
    newer = say(part, SUPPORT, "newer")
    before = part.contents()
    assert relink(part, SUPPORT)[1] is None
    part.sql("delete from tools_agents where agent_id = %s", (SUPPORT,))
    part.sql("delete from blocks_agents where agent_id = %s", (SUPPORT,))
    plan, _outcome = relink(part, SUPPORT)
    assert differing(before, part.contents()) == []
    assert plan["rows"]["remove"] == plan["rows"]["change"] == 0
    assert context(part, SUPPORT)[-1] == newer


def test_only_the_kinds_of_links_asked_for_are_repaired(part):
    lose_links(part, SUPPORT)
    plan, _outcome = relink(part, SUPPORT, links=["tools", "tags"])
    assert set(plan["tables"]) == {"tools_agents", "agents_tags"}


@pytest.mark.fault(31, "source")
def test_what_links_lead_to_and_is_gone_is_listed_with_the_line_that_brings_it(part):
    source, archive = MADE["folders"]["handbook"], MADE["archives"]["shared"]
    part.sql("delete from sources where id = %s", (source,))
    part.sql("delete from archives where id = %s", (archive,))
    part.sql("delete from tools where name = 'add_numbers'")
    part.sql("delete from tools_agents where agent_id = %s", (SUPPORT,))
    plan, _outcome = relink(part, SUPPORT)
    told = {item["id"]: item for item in plan["missing"]}
    assert [item["name"] for item in plan["missing"] if item["kind"] == "tools"] == ["add_numbers"]
    assert told[source]["wanted_by"] == [SUPPORT]
    assert "--tags sources" in told[source]["bring"]
    assert source in told[source]["bring"]
    assert told[archive]["kind"] == "archives"
    assert "add_numbers" in next(item for item in plan["notes"] if item["id"] == "partial.links_gone")["examples"][-1]
    assert part.sql("select count(*) > 0 from tools_agents where agent_id = %s", (SUPPORT,)) == [(True,)]
    part.restore(sources=[source])
    assert not [item for item in part.plan(scopes=["links"], agents=[SUPPORT], check=True)["plan"]["missing"] if item["kind"] == "sources"]


def test_an_agent_that_is_gone_is_listed_and_the_others_are_repaired(part):
    part.delete_agent(AGENTS["react"])
    part.sql("delete from tools_agents where agent_id = %s", (SUPPORT,))
    plan, outcome = relink(part, SUPPORT, AGENTS["react"])
    gone = next(item for item in plan["missing"] if item["kind"] == "agents")
    assert (gone["id"], "--tags agents" in gone["bring"], AGENTS["react"] in gone["bring"]) == (AGENTS["react"], True, True)
    assert outcome
    assert part.sql("select count(*) > 0 from tools_agents where agent_id = %s", (SUPPORT,)) == [(True,)]


def test_messages_lost_from_the_context_come_back_into_their_places(part):
    saved = context(part, SUPPORT)
    assert len(saved) > 4
    newer = say(part, SUPPORT, "newer")
    left = [*saved[:2], *saved[4:], newer]
    part.sql("update agents set message_ids = to_json(%s::text[]) where id = %s", (left, SUPPORT))
    before = part.contents()
    relink(part, SUPPORT)
    assert context(part, SUPPORT) == [*saved, newer]
    newest = say(part, SUPPORT, "newest")
    part.undo()
    assert context(part, SUPPORT) == [*left, newest], "a rollback takes out what the run put in, and nothing else"
    part.sql("update agents set message_ids = to_json(%s::text[]) where id = %s", (left, SUPPORT))
    part.sql("delete from messages where id = %s", (newest,))
    assert differing(before, part.contents()) == []


def test_a_context_that_was_summarised_since_stays_as_it_is(part):
    saved = context(part, SUPPORT)
    summary = say(part, SUPPORT, "what was said before", in_context=False)
    part.sql("update agents set message_ids = to_json(%s::text[]) where id = %s", ([saved[0], summary, *saved[-2:]], SUPPORT))
    assert relink(part, SUPPORT)[1] is None


@pytest.mark.fault(31, "message")
def test_messages_that_are_gone_are_listed_not_named_in_the_context(part):
    saved = context(part, SUPPORT)
    part.sql("delete from messages where id = %s", (saved[3],))
    part.sql("update agents set message_ids = to_json(%s::text[]) where id = %s", ([saved[0], saved[1], *saved[4:]], SUPPORT))
    plan, _outcome = relink(part, SUPPORT)
    told = next(item for item in plan["missing"] if item["kind"] == "messages")
    assert (told["count"], "--tags messages" in told["bring"]) == (1, True)
    assert saved[3] not in context(part, SUPPORT)


def test_files_come_back_closed_beyond_the_number_that_may_be_open(part):
    views = "select id, is_open, last_accessed_at from files_agents where agent_id = %s and not is_deleted order by 3 desc, 1"
    saved = part.sql(views, (SUPPORT,))
    opened = [row for row in saved if row[1]]
    assert len(opened) > 1
    part.sql("delete from files_agents where agent_id = %s", (SUPPORT,))
    part.sql("update agents set max_files_open = %s where id = %s", (len(opened) - 1, SUPPORT))
    plan, _outcome = relink(part, SUPPORT)
    now = part.sql(views, (SUPPORT,))
    assert [row[::2] for row in now] == [row[::2] for row in saved], "when they were looked at last is as it was"
    assert [row[0] for row in now if row[1]] == [row[0] for row in opened[:-1]]
    assert next(item for item in plan["notes"] if item["id"] == "partial.files_closed")["examples"] == [opened[-1][0]]


def test_what_has_taken_the_place_of_a_link_since_stays(part):
    policy = MADE["blocks"]["unattached"]
    label = part.sql("select label from block where id = %s", (MADE["blocks"]["company"],))[0][0]
    part.sql("delete from blocks_agents where agent_id = %s and block_label = %s", (SUPPORT, label))
    part.sql("update block set label = %s where id = %s", (label, policy))
    part.sql("insert into blocks_agents (agent_id, block_id, block_label) values (%s, %s, %s)", (SUPPORT, policy, label))
    plan, _outcome = relink(part, SUPPORT)
    assert [item["id"] for item in plan["notes"]] == ["partial.links"]
    assert part.sql("select block_id from blocks_agents where agent_id = %s and block_label = %s", (SUPPORT, label)) == [(policy,)]


def test_the_rollback_of_messages_alone_puts_the_list_of_messages_back_too(part):
    part.sql("delete from messages where agent_id = %s", (SUPPORT,))
    part.sql("update agents set message_ids = '[]' where id = %s", (SUPPORT,))
    before = part.contents()
    part.restore(scopes=["messages"], agents=[SUPPORT])
    part.undo()
    assert differing(before, part.contents()) == []


def test_the_module_shows_its_plan_in_check_mode_repairs_and_has_nothing_to_do_again(part):
    before = part.contents()
    part.sql("delete from tools_agents where agent_id = %s", (SUPPORT,))
    wanted = {"backup_root": part.root, "host": "db1", "database": part.database, "agents": [SUPPORT], "links": ["tools", "tags"],
              "bin_dir": str(part.pg.bin_dir), "_ansible_diff": True, "controller": processes.identity()}
    shown = run_module("agent_relink", part.server, check=True, **wanted)
    assert (shown["changed"], shown["run"]["run_dir"], shown["report"]["status"]) == (True, "", "planned")
    assert shown["diff"][0]["prepared"].startswith("+ tools_agents %s/" % SUPPORT)
    done = run_module("agent_relink", part.server, **wanted)
    assert (done["changed"], done["ending"]["status"], done["touched"]["agents"]) == (True, "succeeded", [SUPPORT])
    assert differing(before, part.contents()) == []
    assert run_module("agent_relink", part.server, **wanted)["changed"] is False
    part.sql("delete from sources_agents where agent_id = %s", (SUPPORT,))
    refused = run_module("agent_relink", part.server, source="live", **wanted)
    assert (refused["failure_class"], "tags, tools" in refused["msg"]) == ("usage", True)
    mended = run_module("agent_relink", part.server, source="live", **dict(wanted, links=["sources"]))
    assert (mended["changed"], mended["report"]["status"]) == (True, "succeeded")
    assert {item["reason"] for item in mended["run"]["plan"]["mended"]} == {"file_sources"}


# -- out of live itself ------------------------------------------------------------------------------------------------


def mend(part, *agents, **wanted):
    return relink(part, *agents, live=True, **wanted)


def test_live_of_a_real_letta_has_nothing_to_mend(part):
    plan, outcome = mend(part, "*")
    assert (plan["mended"], plan["diff"] if outcome else None) == ([], None)
    views = "select count(*) from files_agents where is_open and not is_deleted and visible_content like '[Viewing %%'"
    assert part.sql(views)[0][0] > 2, "what a real Letta shows of files was looked at"


def break_live(part):
    """Break everything that live can repair by itself; returns the tables that differ by it."""
    before = part.contents()
    group, guide = MADE["groups"]["supervised"], MADE["files"]["guide"]
    part.sql("update groups set agent_ids = (select json_agg(v) from (select 'agent-gone' union all"
             " select v from (select json_array_elements_text(agent_ids) v offset 1) t) x(v)) where id = %s", (group,))
    part.sql("delete from groups_agents where group_id = %s and agent_id = (select agent_ids ->> -1 from groups where id = %s)",
             (group, group))
    part.sql("update files_agents set file_name = 'old name' where file_id = %s", (guide,))
    part.sql("delete from sources_agents where agent_id = %s", (SUPPORT,))
    part.sql("update files set chunks_embedded = 0 where id = %s", (guide,))
    part.sql("update archival_passages set tags = '[\"urgent\"]' where id = (select min(passage_id) from passage_tags)")
    part.sql("update file_contents set text = text || E'\\nA line that is new.\\n' where file_id = %s", (guide,))
    return before, differing(before, part.contents())


def test_what_live_says_twice_is_repaired_where_one_side_is_certain_and_goes_again_by_rollback(part):
    members = part.sql("select count(*) from groups_agents where group_id = %s", (MADE["groups"]["supervised"],))[0][0]
    assert members > 1
    _before, tables = break_live(part)
    assert len(tables) == 7
    broken = part.contents()
    plan, outcome = mend(part, "*")
    assert {item["reason"] for item in plan["mended"]} == {
        "group_list", "file_names", "file_sources", "file_counts", "passage_tags", "views"
    }
    assert [row for row in outcome["tables"] if row["digest"] == "differs"] == []
    assert plan["rows"]["remove"] == 0
    group, guide = MADE["groups"]["supervised"], MADE["files"]["guide"]
    listed = part.sql("select agent_ids from groups where id = %s", (group,))[0][0]
    assert sorted(listed) == [row[0] for row in part.sql("select agent_id from groups_agents where group_id = %s order by 1", (group,))]
    assert "agent-gone" not in listed
    assert len(listed) == members, "who was lost on one side is there on both"
    same = "select count(*) from files_agents v join files f on f.id = v.file_id where v.file_name <> f.file_name and not v.is_deleted"
    assert part.sql(same) == [(0,)]
    assert part.sql("select count(*) > 0 from sources_agents where agent_id = %s", (SUPPORT,)) == [(True,)]
    assert part.sql("select chunks_embedded = total_chunks from files where id = %s", (guide,)) == [(True,)]
    shown = part.sql("select visible_content from files_agents where file_id = %s and is_open and not is_deleted", (guide,))
    assert shown
    assert all("A line that is new." in row[0] for row in shown)
    assert outcome["recompile"]
    again, nothing = mend(part, "*")
    assert (again["mended"], nothing) == ([], None)
    part.undo()
    assert differing(broken, part.contents()) == []


def test_an_agent_that_live_does_not_have_is_refused_by_name(part):
    with pytest.raises(RecoveryError, match="live has no agent nobody"):
        mend(part, "nobody")


@pytest.mark.fault(31, "source")
def test_a_file_without_passages_is_told_and_with_an_endpoint_embedded_anew(part, openai_stub):
    guide = MADE["files"]["guide"]
    part.sql("delete from source_passages where file_id = %s", (guide,))
    part.sql("update file_contents set text = repeat('A \\\\ tab\there, and a sentence. ', 90) where file_id = %s", (guide,))
    part.sql("update files_agents set is_open = false where file_id = %s", (guide,))
    before = part.contents()
    plan, nothing = mend(part, "*", links=["files"])
    assert ([item["reason"] for item in plan["mended"]], nothing) == (["file_passages"], None)

    embed = Embeddings(openai_stub.proxy + "/v1", batch=1)
    plan, outcome = mend(part, "*", links=["files"], embed=embed)
    assert [item["reason"] for item in plan["mended"]] == ["file_embedded"]
    assert outcome["replanned"] is False
    made = part.sql("select string_agg(text, ' ' order by created_at), count(*), max(vector_dims(embedding)), min(vector_norm(embedding)),"
                    " max(length(text)) from source_passages where file_id = %s", (guide,))[0]
    assert (made[1] > 1, made[2], round(made[3], 3), made[4] <= 1200) == (True, 4096, 1.0, True)
    assert sorted(made[0].split()) == sorted(part.sql("select text from file_contents where file_id = %s", (guide,))[0][0].split())
    assert part.sql("select total_chunks, chunks_embedded from files where id = %s", (guide,)) == [(made[1], made[1])]
    same = ("select bool_and(p.embedding_config::text::jsonb = s.embedding_config::text::jsonb and p.source_id = s.id)"
            " from source_passages p join files f on f.id = p.file_id join sources s on s.id = f.source_id where f.id = %s")
    assert part.sql(same, (guide,)) == [(True,)]
    assert mend(part, "*", links=["files"], embed=embed)[1] is None
    part.undo()
    assert differing(before, part.contents()) == []


def test_an_endpoint_that_fails_or_serves_another_model_changes_nothing(part, openai_stub):
    guide = MADE["files"]["guide"]
    part.sql("delete from source_passages where file_id = %s", (guide,))
    part.sql("update sources set embedding_config = jsonb_set(embedding_config::jsonb, '{embedding_dim}', '1024')::json")
    before = part.contents()
    for url, said in ((openai_stub.proxy + "/v1", "vectors of 1024 numbers"), ("http://127.0.0.1:9", "no connection")):
        with pytest.raises(RecoveryError, match=said) as caught:
            mend(part, "*", embed=Embeddings(url, "secret-token"))
        assert caught.value.failure_class == "preflight"
        assert "secret-token" not in str(caught.value.as_dict())
    assert differing(before, part.contents()) == []
