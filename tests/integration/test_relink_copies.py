"""Copies that an agent file was imported as give way to the agents they were made from: what is refused, and what a module call does."""
from __future__ import annotations

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine import processes
from tests.integration.partial_engine_kit import AGENTS, differing
from tests.integration.validate_kit import run_module

SUPPORT, SLEEPER = AGENTS["support"], AGENTS["sleeper"]


def test_copies_give_way_only_when_they_are_copies_and_alone(part):
    before, copy = part.contents(), "agent-00000000-0000-4000-8000-00000000c0b1"
    wanted = {"backup_root": part.root, "host": "db1", "database": part.database, "bin_dir": str(part.pg.bin_dir),
              "controller": processes.identity()}
    for more, word in (
        ({"imported": {SUPPORT: SLEEPER, SLEEPER: copy}}, "%s: no copy" % SLEEPER),
        ({"imported": {SUPPORT: copy, SLEEPER: copy}}, "%s: no copy" % copy),
        ({"imported": {SUPPORT: copy}}, "has no agent %s" % copy),
        ({"imported": {"block-1": "block-2"}}, "no agent is in imported"),
        ({"imported": {SUPPORT: copy}, "agents": ["*"], "source": "live"}, "without agents, source=live"),
    ):  # fmt: skip
        refused = run_module("agent_relink", part.server, **wanted, **more)
        assert (refused["failure_class"], word in refused["msg"]) == ("usage", True), refused["msg"]
    assert differing(before, part.contents()) == []
    part.sql("insert into agents select (jsonb_populate_record(a, jsonb_build_object('id', %s, 'name', 'a copy'))).* from agents a"
             " where id = %s", (copy, SUPPORT))
    part.sql("insert into blocks_agents select %s, block_id, block_label from blocks_agents where agent_id = %s", (copy, SUPPORT))
    with_copy = part.contents()
    shown = run_module("agent_relink", part.server, check=True, **wanted, imported={SUPPORT: copy})
    assert [item["id"] for item in shown["run"]["plan"]["replaced"]] == [copy]
    assert differing(with_copy, part.contents()) == []
    done = run_module("agent_relink", part.server, **wanted, imported={SUPPORT: copy})
    assert (done["touched"]["gone"], differing(before, part.contents())) == ([copy], [])

