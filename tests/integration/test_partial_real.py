"""Partial restores under a running Letta 0.16.8: what its API tells of an agent is what it told before, and nobody else notices."""
from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.agent_export import export_agent
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.agent_import import ImportOptions, import_agent
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.readback import read_back
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.runtime.rest import Rest
from tests.integration import partial_kit as kit
from tests.integration.partial_engine_kit import Part, renew_tools
from tests.integration.restore_kit import World
from tests.lab.fixtures import LETTA_PASSWORD
from tests.lab.letta import ApiError, LettaServer
from tests.lab.rich_seed import write_later
from tests.lab.seed import SAMPLE_KEY

pytestmark = pytest.mark.slow
# Sessions that wait for a lock of the one that asks.
KEPT_WAITING = (
    "select locktype, relation::regclass::text, mode from pg_locks"
    " where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))"
)


@pytest.fixture
def part(fresh_bed):
    """The database under the running Letta, and the set of it. Runs of conversations count as work for 15 s after they were made."""
    return Part(fresh_bed.pg, kit.LIVE, fresh_bed.root, fresh_bed.set_dir.name, busy_wait=20)


def same(letta, agent, before):
    """Return how an agent differs from what it was. Blocks that a restore wrote have a higher version, which the API does not tell."""
    return kit.differences(before, kit.agent_state(letta, agent))


def delete(bed, agent):
    """Delete an agent through the API, its supervised group first: Letta itself cannot."""
    if agent == bed.agent("boss"):
        kit.delete_groups(bed.live, agent)
    bed.letta.api("DELETE", "/v1/agents/%s" % agent)


@pytest.mark.fault(27, "deleted")
def test_a_deleted_agent_comes_back_while_others_keep_working(fresh_bed, part):
    bed, agent = fresh_bed, fresh_bed.agent("support-bot")
    before = kit.agent_state(bed.letta, agent)
    mine = kit.belongings(bed.live, [agent, *bed.walkers])
    foreign = kit.foreign_rows(bed.live, mine)
    kept_waiting = []

    def look(cursor, _server):
        time.sleep(1)  # everything is written and locked: ten requests come meanwhile
        cursor.execute(KEPT_WAITING)
        kept_waiting.extend(cursor.fetchall())

    with kit.Traffic(bed.letta, bed.walkers, rate=10) as traffic:
        time.sleep(3)
        delete(bed, agent)
        start = traffic.now()
        wanted = {"agents": ["support-bot"]}
        outcome = part.carry_out(part.plan(**wanted), replace(part.options(**wanted), last=look))
        end = traffic.now()
        time.sleep(3)
    assert traffic.failed() == []
    assert kept_waiting == []
    assert [row for row in outcome["tables"] if row["digest"] == "differs"] == []
    assert same(bed.letta, agent, before) == []
    assert kit.differences(foreign, kit.foreign_rows(bed.live, mine)) == []
    print("restored in %.2f s, agents held for %.2f s, slowest request meanwhile %.2f s, %.1f requests a second" % (
        end - start, outcome["held_seconds"], traffic.slowest(start, end).seconds, traffic.rate_reached()))
    assert "text" in str(bed.letta.say(agent, "Are you there again?")), "it answers, and the answer is kept"
    part.undo()
    with pytest.raises(ApiError):
        bed.letta.api("GET", "/v1/agents/%s" % agent)
    assert kit.differences(foreign, kit.foreign_rows(bed.live, mine)) == []


@pytest.mark.fault(27, "sleeptime", "group")
@pytest.mark.parametrize("name", ["sleeper", "boss", "odd", "alfa"])
def test_agents_of_every_kind_come_back(fresh_bed, part, name):
    bed, agent = fresh_bed, fresh_bed.agent(name)
    before = kit.agent_state(bed.letta, agent)
    partner = kit.agent_state(bed.letta, bed.agent("sleeper's partner"))
    mine = kit.belongings(bed.live, [agent, bed.agent("sleeper's partner")])
    foreign = kit.foreign_rows(bed.live, mine)
    delete(bed, agent)
    part.restore(agents=[agent])
    assert same(bed.letta, agent, before) == []
    assert same(bed.letta, bed.agent("sleeper's partner"), partner) == []
    assert kit.differences(foreign, kit.foreign_rows(bed.live, mine)) == []
    assert bed.letta.say(agent, "Hello again")


@pytest.mark.fault(27, "alive")
@pytest.mark.parametrize("damage", [kit.delete_messages, kit.detach_blocks, None])
def test_an_agent_that_lives_becomes_what_was_saved(fresh_bed, part, damage):
    bed, agent = fresh_bed, fresh_bed.agent("support-bot")
    before = kit.agent_state(bed.letta, agent)
    if damage is None:
        write_later(bed.letta, agent)
    else:
        damage(bed.live, agent)
    assert same(bed.letta, agent, before)
    damaged = kit.agent_state(bed.letta, agent)
    part.restore(agents=[agent])
    assert same(bed.letta, agent, before) == []
    part.undo()
    assert same(bed.letta, agent, damaged) == []


@pytest.mark.fault(27, "changed")
def test_messages_that_are_newer_are_kept_when_they_continue_the_saved_ones(fresh_bed, part):
    bed, agent = fresh_bed, fresh_bed.agent("support-bot")
    saved = kit.agent_state(bed.letta, agent)["messages"]
    bed.letta.say(agent, "Said after the backup")
    kit.change_blocks(bed.live, agent)
    after = kit.agent_state(bed.letta, agent)["messages"]
    time.sleep(1)
    part.restore(agents=[agent], policies={"messages": "merge", "shared": "overwrite"}, busy_wait=60)
    assert len(after) > len(saved)
    assert kit.agent_state(bed.letta, agent)["messages"] == after
    assert bed.letta.say(agent, "And on it goes")


@pytest.mark.fault(29, "waits", "refused")
def test_an_agent_at_work_is_waited_for_then_refused_then_restored(fresh_bed, part, openai_stub):
    bed, agent = fresh_bed, fresh_bed.agent("support-bot")
    kit.detach_blocks(bed.live, agent)
    talking = threading.Thread(target=lambda: bed.letta.say(agent, "This takes a while [[slow:8]]"), daemon=True)
    talking.start()
    time.sleep(2)
    with pytest.raises(RecoveryError, match="is at work"):
        part.restore(agents=[agent], busy_wait=1)
    plan, outcome = part.restore(agents=[agent], policies={"messages": "merge"}, busy_wait=60)
    talking.join(60)
    assert outcome["replanned"] or plan["rows"]
    assert len(bed.letta.api("GET", "/v1/agents/%s" % agent)["blocks"]) == 5
    assert bed.letta.say(agent, "Done?")


def test_other_users_of_an_overwritten_block_are_compiled_anew_by_letta(fresh_bed, part):
    bed, agent, other = fresh_bed, fresh_bed.agent("support-bot"), fresh_bed.agent("alfa")
    kit.change_blocks(bed.live, agent)
    _plan, outcome = part.restore(agents=[agent], policies={"shared": "overwrite"})
    assert other in outcome["recompile"]
    rest = Rest(bed.letta.url)
    findings = read_back(rest, outcome["agents"], outcome["recompile"], outcome["gone"])
    assert {item.id: item.status for item in findings} == {"api.compiled": "pass", "api.read_back": "pass"}
    first = "select m.content::text from agents a join messages m on m.id = a.message_ids->>0 where a.id = %s"
    system = kit.query(bed.live, first, (other,))[0][0]
    assert "damaged" not in system


def test_a_server_that_cannot_read_an_agent_is_told(bed):
    rest = Rest(bed.letta.url)
    nobody = "agent-00000000-0000-4000-8000-00000000dead"
    findings = {item.id: item for item in read_back(rest, [nobody])}
    assert findings["api.read_back"].status == "fail"
    assert findings["api.read_back"].examples == (nobody,)
    assert {item.id: item.status for item in read_back(rest, [nobody], gone=[nobody])} == {"api.gone": "pass"}


def test_the_playbook_reads_back_compiles_anew_and_drops_keys_of_the_agent_alone(fresh_bed, part, tmp_path):
    bed, agent = fresh_bed, fresh_bed.agent("support-bot")
    before = kit.agent_state(bed.letta, agent)
    world = World(bed.pg, kit.LIVE, tmp_path, hosts={"letta1": {"letta_api_url": bed.letta.url}}, variables={
        "letta_db_admin_user": None, "letta_db_admin_password": None, "letta_db_password": LETTA_PASSWORD, "letta_backup_root": part.root,
        "letta_redis_host": bed.redis.host, "letta_redis_port": bed.redis.port, "letta_encryption_key": bed.key, "letta_busy_wait": 20,
        "letta_shared_policy": "overwrite",
    })  # fmt: skip
    mine, other = "agent:send_message:run_id:%s", bed.agent("alfa")
    bed.redis.client().set(mine % agent, "run-00000000-0000-4000-8000-000000000000")
    bed.redis.client().set(mine % other, "run-00000000-0000-4000-8000-000000000001")
    kit.change_blocks(bed.live, agent)
    kit.delete_messages(bed.live, agent)
    played = world.play("restore-partial.yml", "--tags", "agents", "-e", '{"letta_agents": ["support-bot"]}').ok()
    checks = {check["id"]: check for check in played.report["checks"]}
    assert (checks["api.read_back"]["status"], checks["api.compiled"]["status"]) == ("pass", "pass"), checks
    assert bed.redis.client().get(mine % agent) is None
    assert bed.redis.client().get(mine % other) is not None
    assert played.report["redis"]["dropped"] == 1
    assert same(bed.letta, agent, before) == []
    assert "Read the agents back" in played.output  # which is module agent_readback


@pytest.mark.fault(27, "shared")
@pytest.mark.parametrize("policy", ["keep", "overwrite", "copy"])
def test_a_block_shared_with_three_others_is_what_the_policy_says_for_letta_too(fresh_bed, part, policy):
    bed, agent, block = fresh_bed, fresh_bed.agent("support-bot"), fresh_bed.made["blocks"]["company"]
    others = [bed.agent(name) for name in ("alfa", "bravo", "charlie")]
    before = kit.agent_state(bed.letta, agent)
    saved = bed.letta.api("GET", "/v1/blocks/%s" % block)["value"]
    bed.letta.api("PATCH", "/v1/blocks/%s" % block, {"value": "live has moved on"})
    live = {other: kit.agent_state(bed.letta, other) for other in others}
    delete(bed, agent)
    plan, _outcome = part.restore(agents=[agent], policies={"shared": policy})
    (told,) = [item for item in plan["shared"] if item["id"] == block]
    assert sorted(told["used_by"]) == ["alfa", "bravo", "charlie"]
    values = {item["label"]: item for item in bed.letta.api("GET", "/v1/agents/%s" % agent)["blocks"]}
    now = bed.letta.api("GET", "/v1/blocks/%s" % block)["value"]
    assert values["company"]["value"] == ("live has moved on" if policy == "keep" else saved)
    assert now == (saved if policy == "overwrite" else "live has moved on")
    assert (values["company"]["id"] == block) == (policy != "copy")
    if policy == "overwrite":
        assert same(bed.letta, agent, before) == []
    else:
        assert [line for line in same(bed.letta, agent, before) if "block" not in line and "company" not in line] == []
        assert [line for other in others for line in same(bed.letta, other, live[other])] == []
    part.undo()
    assert [line for other in others for line in same(bed.letta, other, live[other])] == []


def test_on_a_server_with_base_tools_of_its_own_the_agent_uses_those(fresh_bed, part):
    bed, agent = fresh_bed, fresh_bed.agent("support-bot")
    before = kit.agent_state(bed.letta, agent)
    delete(bed, agent)
    renew_tools(part, "tool_type not in ('custom', 'external_mcp')")
    plan, _outcome = part.restore(agents=[agent])
    assert len(plan["mapped"]) >= 3
    assert [line for line in same(bed.letta, agent, before) if "/tools_used/" not in line] == [], "metrics name tools by id"
    assert bed.letta.say(agent, 'Find: [[call:archival_memory_search {"query": "refunds"}]]')


def test_an_agent_comes_back_on_another_server_that_never_knew_it(fresh_bed, letta_template, openai_stub, tmp_path):
    bed, agent = fresh_bed, fresh_bed.agent("support-bot")
    before = kit.agent_state(bed.letta, agent)
    other = bed.pg.clone_database("partial_elsewhere", letta_template, password=LETTA_PASSWORD)
    part = Part(bed.pg, other.dbname, bed.root, bed.set_dir.name, busy_wait=20)
    try:
        with LettaServer(tmp_path, other, openai_stub.proxy, SAMPLE_KEY, (bed.redis.host, bed.redis.port)) as letta:
            empty = part.contents()
            plan, _outcome = part.restore(agents=["support-bot"])
            assert len(plan["mapped"]) >= 3, "this server has made its base tools itself"
            assert [line for line in same(letta, agent, before) if "/tools_used/" not in line] == [], "metrics name tools by id"
            assert letta.say(agent, 'Find: [[call:archival_memory_search {"query": "refunds"}]]')
            part.undo()
            # The turn just taken left a trace, which is no agent's: Letta does not remove it either.
            assert [name for name, item in part.contents().items() if item[0] != empty[name][0]] == ["letta.provider_traces"]
    finally:
        bed.pg.drop_database(other.dbname)


@pytest.mark.parametrize("name", ["support-bot", "sleeper"])
def test_what_an_agent_file_was_imported_as_gives_way_to_the_agent_it_was_made_from(fresh_bed, part, tmp_path, name):
    bed, agent = fresh_bed, fresh_bed.agent(name)
    before = kit.agent_state(bed.letta, agent)
    rest = Rest(bed.letta.url)
    export_agent(rest, agent, str(tmp_path / "agent.af"))
    told = bed.letta.api("GET", "/v1/agents/%s?include=agent.secrets" % agent)["secrets"]
    secrets = {item["key"]: item["value"] for item in told}
    mine = kit.belongings(bed.live, [agent, bed.agent("sleeper's partner")])
    delete(bed, agent)
    done = import_agent(rest, ImportOptions(src=str(tmp_path / "agent.af"), secrets=secrets))
    copies = {old: new for old, new in done["origins"].items() if old.startswith("agent-")}
    assert agent in copies and agent not in copies.values()
    bed.letta.say(copies[agent], "Said to the copy")
    as_copies = {copy: kit.agent_state(bed.letta, copy) for copy in copies.values()}
    mine |= kit.belongings(bed.live, copies.values())
    foreign = kit.foreign_rows(bed.live, mine)
    plan, outcome = part.restore(agents=list(copies), imported=copies)
    assert sorted(item["id"] for item in plan["replaced"]) == sorted(copies.values())
    assert plan["loses"]["messages"]["count"] >= 2, "what was said to the copy is told"
    assert set(copies.values()) <= set(outcome["gone"])
    assert same(bed.letta, agent, before) == []
    for copy in copies.values():
        with pytest.raises(ApiError):
            bed.letta.api("GET", "/v1/agents/%s" % copy)
    assert kit.differences(foreign, kit.foreign_rows(bed.live, mine)) == []
    assert bed.letta.say(agent, "Are you yourself again?")
    part.undo()
    assert {copy: same(bed.letta, copy, state) for copy, state in as_copies.items()} == {copy: [] for copy in as_copies}
    with pytest.raises(ApiError):
        bed.letta.api("GET", "/v1/agents/%s" % agent)
