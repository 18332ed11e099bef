"""Validation of what a real Letta wrote, and the playbook validate.yml as a person runs it."""
from __future__ import annotations

import json
import os
import re
import subprocess

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.tools import find_tools, run_tool
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.checks.base import STEPS
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.validate import validate_database
from tests.integration.restore_kit import PASSWORD, World
from tests.integration.validate_breaks import UNREADABLE, UNREADABLE_MESSAGES
from tests.integration.validate_kit import EMBEDDING, LLM, RULES, call, returned
from tests.lab.letta_install import letta_home
from tests.lab.sample import sample

# What Letta takes as no value at all.
NOTHING = (None, [], {})


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
    left = {"agents.prompt_stale": 1, "work.runs": 8, "work.steps": 2, "work.files": 1}
    assert {finding.id: finding.count for finding in findings} == left


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
    shown = re.findall(r"^\W*(\d) ([^:\n]*): \d+ pass", done.output.replace("\\n", "\n"), re.MULTILINE)
    assert shown == [(str(number), name) for number, name in enumerate(STEPS.values(), 1)]
    assert "REPAIR done · move message_seq_id forward to 300 · it was at 3" in done.output
    assert query(world.live, "select last_value from letta.message_seq_id") == [(300,)]


# Reads [column, value] pairs as Letta does on loading a row, and tells for each whether it could.
READER = """
import json, sys
from letta.helpers import converters
names = {"content": "message_content"}
def readable(column, value):
    try:
        getattr(converters, "deserialize_" + names.get(column, column))(value)
    except Exception:
        return False
    return True
print(json.dumps([readable(column, value) for column, value in json.load(sys.stdin)]))
"""


@pytest.mark.slow
def test_letta_itself_cannot_read_what_the_checks_call_unreadable_and_reads_what_they_call_sound(tmp_path):
    # An agent without a model is refused by a later model of Letta's; metadata is taken as it is there, and refused later.
    elsewhere = [("llm_config", value) for value in NOTHING] + [("metadata_", [1])]
    bad = [case for case in UNREADABLE + UNREADABLE_MESSAGES if case not in elsewhere]
    good = [("llm_config", LLM), ("embedding_config", EMBEDDING), ("tool_rules", RULES), ("tool_calls", call("x")),
            ("tool_returns", returned("x")), ("response_format", {"type": "text"}), ("compaction_settings", {"mode": "all"}),
            ("content", [{"type": "of the future"}])]
    good += [(column, value) for column in ("embedding_config", "tool_rules", "content", "tool_calls", "tool_returns") for value in NOTHING]
    done = subprocess.run(
        [str(letta_home() / "venv" / "bin" / "python"), "-c", READER], input=json.dumps(bad + good), capture_output=True, text=True,
        timeout=120, env={**os.environ, "HOME": str(tmp_path)}, check=True, cwd=tmp_path,
    )  # fmt: skip
    readable = json.loads(done.stdout.splitlines()[-1])
    assert [case for case, could in zip(bad + good, readable) if could != (case in good)] == []
