"""Validation of what a real Letta wrote, and the playbook validate.yml as a person runs it."""
from __future__ import annotations

import re

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import find_tools, run_tool
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.checks.base import STEPS
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.validate import validate_database
from tests.integration.restore_kit import PASSWORD, World
from tests.lab.sample import sample


@pytest.fixture
def sample_database(pg, make_database):
    """The shipped sample, which a real Letta wrote before it was killed."""
    pg.ensure_role("letta", PASSWORD)
    server = make_database("sample")
    tools = find_tools(str(pg.bin_dir), need=("pg_restore",))
    run_tool([tools.path("pg_restore"), "--no-owner", "-d", server.dbname, str(sample()[0] / "database")], server=server)
    pg.execute('alter database "%s" set search_path = letta' % server.dbname)
    pg.execute("grant usage on schema letta to letta", server.dbname)
    return server


def test_the_sample_passes_every_check_but_for_what_the_killed_server_left(sample_database):
    findings = [finding for finding in validate_database(sample_database, role="letta") if finding.status != "pass"]
    assert {finding.id: finding.count for finding in findings} == {"agents.prompt_stale": 1, "work.runs": 8, "work.steps": 2, "work.files": 1}


@pytest.fixture
def world(pg, letta_shape, tmp_path):
    """A live database with a sequence that is behind."""
    world = World(pg, "validate_live", tmp_path)
    pg.clone_database(world.database, letta_shape, "letta", PASSWORD)
    query(world.live, "select setval('letta.message_seq_id', 3)")
    yield world
    pg.drop_database(world.database)


@pytest.mark.slow
def test_validate_yml_shows_the_seven_steps_asks_before_it_repairs_and_then_repairs(world):
    refused = world.play("validate.yml", "-e", "letta_repair=safe", confirm=False)
    assert refused.rc != 0
    assert "cancelled" in refused.output
    assert query(world.live, "select last_value from letta.message_seq_id") == [(3,)]

    done = world.play("validate.yml", "-e", "letta_repair=safe")
    assert done.rc == 0, done.output[-3000:]
    shown = [line for line in re.findall(r"^\W*(\d) ([^:\n]*): \d+ pass", done.output.replace("\\n", "\n"), re.MULTILINE)]
    assert shown == [(str(number), name) for number, name in enumerate(STEPS.values(), 1)]
    assert "REPAIR done · move message_seq_id forward to 300 · it was at 3" in done.output
    assert query(world.live, "select last_value from letta.message_seq_id") == [(300,)]
