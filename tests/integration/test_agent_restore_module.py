"""The module ``agent_restore`` and the playbooks around it, as a person runs them."""
from __future__ import annotations

import json
import os
import shutil

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine import processes
from tests.integration.partial_engine_kit import AGENTS, differing
from tests.integration.validate_kit import run_module

pytestmark = pytest.mark.slow
NAME = "Support O'Neil 支持"


@pytest.fixture
def world(part, make_world):
    """The target of ``part`` with an inventory and playbooks."""
    made = make_world(live=False, database=part.database)
    shutil.rmtree(made.root)
    os.symlink(part.root, made.root)
    return made


def named(*agents):
    return ("-e", json.dumps({"letta_agents": list(agents)}))


def test_an_agent_comes_back_by_name_and_goes_again_by_rollback(world, part):
    before = part.contents()
    part.delete_agent(AGENTS["support"])
    gone = part.contents()
    seen = world.tree()
    played = world.play("restore-partial.yml", "--check", "--diff", *named(NAME), confirm=False).ok()
    assert "+ agents %s" % AGENTS["support"] in played.output
    assert "PLAN   bring 1 agent (%s) back" % NAME in played.output
    assert world.tree() == seen, "a check writes nothing"
    assert differing(gone, part.contents()) == []

    played = world.play("restore-partial.yml", "--tags", "agents", *named(NAME)).ok()
    assert played.report["status"] == "succeeded"
    assert [row for row in played.report["tables"] if row["digest"] != "equal"] == []
    assert differing(before, part.contents()) == []
    assert not world.leftovers()

    again = world.play("restore-partial.yml", "--tags", "agents", *named(NAME)).ok()
    assert again.recap()["changed"] == 0
    assert "nothing to do" in again.output

    undone = world.play("rollback.yml", "-e", "letta_restore_id=%s" % played.report["run_id"]).ok()
    assert undone.report["status"] == "rolled_back"
    assert differing(gone, part.contents()) == []


def test_tags_that_name_no_scope_are_refused(world):
    played = world.play("restore-partial.yml", "--tags", "agnets", *named(NAME))
    played.refused("usage")
    assert "agents, sources, files, blocks, messages, archives" in played.output


def test_a_failure_says_what_is_true_and_what_to_type(world, part):
    played = world.play("restore-partial.yml", *named("nobody"))
    played.refused("usage")
    assert "the backup has no agent nobody" in played.output
    assert "nothing was changed" in played.output
    assert not world.leftovers()


def test_one_task_plans_writes_and_ends_the_run(part):
    before = part.contents()
    part.delete_agent(AGENTS["react"])
    wanted = {"backup_root": part.root, "host": "db1", "database": part.database, "bin_dir": str(part.pg.bin_dir),
              "agents": [AGENTS["react"]], "busy_wait": 0, "controller": processes.identity()}  # fmt: skip
    told = run_module("agent_restore", part.server, check=True, **wanted)
    assert told["changed"] and not told["run"]["run_dir"]
    done = run_module("agent_restore", part.server, **wanted)
    assert done["changed"], done
    assert done["ending"]["status"] == "succeeded"
    assert done["touched"]["agents"] == [AGENTS["react"]]
    assert done["peak_memory_bytes"] < 200 << 20
    assert differing(before, part.contents()) == []
    assert not run_module("agent_restore", part.server, **wanted)["changed"]
    undone = run_module("agent_restore", part.server, restore_id=done["run"]["run_id"], **dict(wanted, agents=[]))
    assert undone["ending"]["status"] == "rolled_back"
    refused = run_module("agent_restore", part.server, **dict(wanted, agents=["nobody"]))
    assert (refused["failed"], refused["failure_class"]) == (True, "usage")
