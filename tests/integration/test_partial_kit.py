"""The bed for partial restores holds what it says, sees what it must see, and Letta's own delete is what the kit's is."""
from __future__ import annotations

import re
import time

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import query
from tests.integration import partial_kit as kit
from tests.lab.letta import ApiError
from tests.lab.rich_seed import ODD_NAME, WALKERS, write_later
from tests.lab.seed import SECRETS

pytestmark = pytest.mark.slow


def test_the_rich_agent_has_everything_and_reads_the_same_twice_and_after_a_reset(fresh_bed):
    agent = fresh_bed.agent("support-bot")
    state = kit.agent_state(fresh_bed.letta, agent)
    assert {part for part, found in state.items() if not found} == {"groups", "managed"}
    assert {item["key"]: item["value"] for item in state["state"]["secrets"].values()} == SECRETS
    assert all(passage["embedding"].startswith("sha256:") for passage in state["passages"].values())
    assert sorted(file["is_open"] for file in state["files"]) == [False, True]
    assert len(state["state"]["blocks"]) == 5 and state["state"]["tool_rules"] and state["state"]["tags"]
    assert fresh_bed.letta.api("GET", "/v1/agents/%s" % fresh_bed.agent("odd"))["name"] == ODD_NAME
    write_later(fresh_bed.letta, agent)
    changed = kit.differences(state, kit.agent_state(fresh_bed.letta, agent))
    assert {re.match("/([a-z]+)", line)[1] for line in changed} >= {"messages", "passages", "runs", "state"}
    fresh_bed.reset()
    assert kit.differences(state, kit.agent_state(fresh_bed.letta, agent)) == []


def test_groups_are_seen_by_managers_and_members(bed):
    managed = {name: kit.agent_state(bed.letta, bed.agent(name)) for name in ("boss", "worker one", "sleeper", "sleeper's partner")}
    assert managed["boss"]["managed"]["manager_type"] == "supervisor" and managed["sleeper"]["managed"]["manager_type"] == "sleeptime"
    assert managed["worker one"]["groups"] and managed["sleeper's partner"]["groups"]


@pytest.mark.parametrize("name", ["support-bot", "sleeper", "alfa"])
def test_a_deletion_by_sql_leaves_exactly_what_lettas_own_leaves(fresh_bed, clone, name):
    copy = clone()
    kit.delete_agent(copy, fresh_bed.agent(name))
    fresh_bed.letta.api("DELETE", "/v1/agents/%s" % fresh_bed.agent(name))
    assert kit.differences(kit.foreign_rows(fresh_bed.live), kit.foreign_rows(copy)) == []
    assert query(copy, "SELECT count(*) FROM agents WHERE id = %s", (fresh_bed.agent(name),)) == [(0,)]


def test_the_manager_of_a_supervised_group_can_only_be_deleted_after_the_group(fresh_bed, clone):
    with pytest.raises(ApiError):
        fresh_bed.letta.api("DELETE", "/v1/agents/%s" % fresh_bed.agent("boss"))
    copy = clone()
    kit.delete_groups(copy, fresh_bed.agent("boss"))
    kit.delete_agent(copy, fresh_bed.agent("boss"))


DAMAGE = {
    kit.delete_agent: {"archives_agents", "agents", "runs", "steps", "messages", "blocks_agents", "files_agents"},
    kit.delete_messages: {"messages", "conversation_messages"},
    kit.change_blocks: {"block"},
    kit.detach_blocks: {"blocks_agents"},
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_to_an_agent_touches_no_foreign_row_but_shared_blocks_that_are_named(bed, clone, damage):
    server, agent = clone(), bed.agent("support-bot")
    mine = kit.belongings(server, [agent])
    everything, foreign = kit.foreign_rows(server), kit.foreign_rows(server, mine)
    damage(server, agent)
    touched = {line.split("/")[1].split(" ")[0] for line in kit.differences(everything, kit.foreign_rows(server))}
    assert touched >= DAMAGE[damage]
    company = "/block/%s" % bed.made["blocks"]["company"]
    outside = [line.split(":")[0] for line in kit.differences(foreign, kit.foreign_rows(server, mine))]
    assert outside == ([company] if damage is kit.change_blocks else [])


def test_what_only_one_agent_uses_is_its_own_and_what_others_use_is_not(bed, clone):
    made, mine = bed.made, kit.belongings(clone(), [bed.agent("support-bot")])
    assert {made["blocks"]["policy"], made["archives"]["support"], made["identities"]["own"], made["conversations"]["isolated"]} <= mine
    assert not mine & {made["blocks"]["company"], made["folders"]["handbook"], made["files"]["guide"], made["identities"]["ann"]}
    together = kit.belongings(clone(), [bed.agent(name) for name in ("support-bot", "alfa", "bravo", "charlie")])
    assert {made["blocks"]["company"], made["folders"]["handbook"], made["files"]["guide"], made["archives"]["shared"]} <= together


def test_traffic_keeps_its_rate_fails_nowhere_and_touches_only_its_agents(fresh_bed):
    walkers = kit.belongings(fresh_bed.live, fresh_bed.walkers)
    before = kit.foreign_rows(fresh_bed.live, walkers)
    with kit.Traffic(fresh_bed.letta, fresh_bed.walkers) as traffic:
        time.sleep(10)
    assert traffic.failed() == []
    assert len(traffic.by_kind()) >= 9 and len({one.agent for one in traffic.requests}) == len(WALKERS)
    assert traffic.rate_reached() > 8, (traffic.lag(), traffic.by_kind())
    assert traffic.slowest().seconds == max(one.seconds for one in traffic.requests)
    assert kit.differences(before, kit.foreign_rows(fresh_bed.live, walkers)) == []


def test_traffic_tells_requests_that_fail(fresh_bed):
    with kit.Traffic(fresh_bed.letta, fresh_bed.walkers, mix={"agent": 1}) as traffic:
        fresh_bed.letta.api("DELETE", "/v1/agents/%s" % fresh_bed.walkers[0])
        time.sleep(1.5)
    assert traffic.failed() and all(fresh_bed.walkers[0] in line and "404" in line for line in traffic.failed())
