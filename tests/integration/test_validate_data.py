"""Each thing that must hold of Letta's data is broken on purpose, and exactly its own check finds it and names it."""
from __future__ import annotations

import json
import uuid
from contextlib import closing, contextmanager

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.findings import FAIL, PASS, WARN
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta.entities import ID_PREFIXES
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.letta.values import VALUES
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.checks.registry import CHECKS, DATA_PROBES
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.validate import run_probe
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.validate_context import Context
from tests.integration import validate_kit as kit
from tests.integration.validate_breaks import BREAKS, MORE
from tests.integration.validate_kit import AGENT, OTHER, M

# check -> the probe that serves it.
PROBES_OF = {check.id: (probe,) for probe in DATA_PROBES for check in probe.checks}


@contextmanager
def rolled_back(conn):
    """Take back what the block did."""
    try:
        yield
    finally:
        conn.rollback()


@pytest.fixture(scope="module")
def world(pg, sound_template):
    """Function: {check: finding} of what is no pass after some statements (or functions of a cursor), which are taken back again.

    ``only`` names a check, of whose probe alone it is then.

    Foreign keys are off while they run: a load cut short leaves rows that they forbid.
    """
    name = "validate_" + uuid.uuid4().hex[:8]
    pg.clone_database(name, sound_template, "letta", kit.PASSWORD, "letta")
    with closing(connect(pg.server(dbname=name), autocommit=False, canonical=True)) as conn:

        def look(*statements, only=None):
            with conn.cursor() as cursor, rolled_back(conn):
                cursor.execute("set local session_replication_role = replica; set local search_path = letta")
                for statement in statements:
                    if callable(statement):
                        statement(cursor)
                    else:
                        cursor.execute(*([statement] if isinstance(statement, str) else statement))
                cursor.execute("set local search_path = pg_catalog")
                context = Context(conn, cursor)
                findings = [finding for probe in PROBES_OF.get(only, DATA_PROBES) for finding in run_probe(context, probe)]
            return {finding.id: finding for finding in findings if finding.status != PASS}

        look.connection = conn
        yield look
    pg.drop_database(name)


@pytest.mark.parametrize("check", list(BREAKS))
def test_each_break_in_the_data_is_found_by_its_own_check_and_named(world, check):
    statements, ids = BREAKS[check]
    found = world(*([statements] if isinstance(statements, str) else statements))
    assert list(found) == [check]
    assert list(found[check].examples) == ids
    assert found[check].count == len(ids)
    assert found[check].status == CHECKS[check].severity


@pytest.mark.parametrize(("check", "statement", "ids"), MORE, ids=["%s %d" % (entry[0], at) for at, entry in enumerate(MORE)])
def test_other_ways_to_break_it_are_found_too(world, check, statement, ids):
    found = world(statement, only=check)
    assert list(found) == [check]
    assert list(found[check].examples) == ids


# A value that no list has; these say something to another check as well, since they stand for a state.
ALSO = {"values.files.processing_status": set(), "values.groups.manager_type": {"agents.sleeptime"}}


@pytest.mark.parametrize("values", VALUES, ids=["%s.%s" % (values.table, values.column) for values in VALUES])
def test_a_value_letta_does_not_know_is_found_in_every_column_that_has_a_list(world, values):
    where = "ctid = (select min(ctid) from %s)" % values.table
    with world.connection.cursor() as cursor:
        cursor.execute("select id from letta.%s where %s" % (values.table, where.replace("from ", "from letta.")))
        ((victim,),) = cursor.fetchall()
    check = "values.%s.%s" % (values.table, values.column)
    found = world("update %s set %s = 'never heard of' where %s" % (values.table, values.column, where))
    related = {name for name in found if name != check}
    assert found[check].examples == (victim,)
    assert found[check].status == (WARN if values.readable else FAIL)
    # A message of an unknown role, above all the first one, is missing where a role is looked for.
    assert related <= ALSO.get(check, set()) | ({"agents.message_ids_system"} if values.table == "messages" else set())


def test_an_id_of_another_form_is_found_in_every_table_that_has_ids(world):
    tables = [table for table, prefixes in ID_PREFIXES.items() if prefixes]
    unique = {"sandbox_configs": {"type": "LOCAL"}, "identities": {"identifier_key": "y"}}

    def insert(cursor):
        for table in tables:
            kit.insert(cursor, table, id=ID_PREFIXES[table][0] + "-1", **unique.get(table, {}))

    found = world(insert)
    assert {name for name in found if name.startswith("ids.")} == {"ids.%s" % table for table in tables}
    assert all(found["ids.%s" % table].examples == (ID_PREFIXES[table][0] + "-1",) for table in tables)


@pytest.mark.parametrize(
    "rest",
    ["ABCDEF01-2345-4789-8abc-def012345678", "abcdef01-2345-1789-8abc-def012345678", "abcdef01-2345-4789-cabc-def012345678",
     "abcdeg01-2345-4789-8abc-def012345678", "abcdef01-2345-4789-8abc-def0123456789", "abcdef01-2345-4789-8abc-def01234567-",
     "abcdef0-12345-4789-8abc-def012345678", "1"],
    ids=["upper case", "another version", "another variant", "no hex", "longer", "a dash more", "a dash elsewhere", "a number"],
)  # fmt: skip
def test_an_id_is_held_to_its_form_to_the_letter(world, rest):
    change = "update steps set id = %s where id = %s"
    assert world((change, ("step-abcdef01-2345-4789-8abc-def012345678", kit.entity("step", 1)))) == {}
    found = world((change, ("step-" + rest, kit.entity("step", 1))))
    assert {name: finding.examples for name, finding in found.items()} == {"ids.steps": ("step-" + rest,)}


def test_every_declared_check_of_data_is_broken_somewhere_here():
    declared = {check.id for probe in DATA_PROBES for check in probe.checks}
    by_table = {"values.%s.%s" % (values.table, values.column) for values in VALUES} | {
        "ids.%s" % table for table, prefixes in ID_PREFIXES.items() if prefixes
    }
    assert declared == set(BREAKS) | by_table | {"runs.metrics"}


def test_an_unfinished_run_without_metrics_is_found_beside_the_run(world):
    found = world("delete from run_metrics", "update runs set status = 'running'")
    assert {name: finding.examples for name, finding in found.items()} == {"runs.metrics": (kit.RUN,), "work.runs": (kit.RUN,)}


def test_a_context_in_the_wrong_order_lacks_both_sides_of_the_pair(world):
    context = json.dumps([M[0], M[1], kit.RETURN, kit.CALL])
    found = world(("update agents set message_ids = %s where id = %s", (context, AGENT)))
    assert {name: finding.examples for name, finding in found.items()} == {
        "agents.tool_calls": (AGENT + " call-1",), "agents.tool_returns": (AGENT + " call-1",),
    }  # fmt: skip


def test_the_files_an_agent_without_a_limit_may_open_follow_from_its_model(world):
    for window, allowed in ((8000, 3), (32000, 5), (128000, 10), (200000, 10), (200001, 15), (None, 5)):
        config = json.dumps(dict(kit.LLM, context_window=window) if window else {})
        statements = ["update agents set max_files_open = null", ("update agents set llm_config = %s where id = %s", (config, AGENT))]
        opened = "insert into files_agents (id, file_id, agent_id, source_id, file_name, is_open, organization_id)"
        opened += " select 'file_agent-' || n, 'file-' || n, '%s', '%s', 'x' || n, true, '%s' from generate_series(2, %d) n"
        at_limit = opened % (AGENT, kit.SOURCE, kit.ORG, allowed)
        above = opened % (AGENT, kit.SOURCE, kit.ORG, allowed + 1)
        assert "files_agents.open_limit" not in world(*statements, at_limit)
        assert "files_agents.open_limit" in world(*statements, above)


def test_an_agent_that_waits_for_an_approval_is_sound_and_one_that_went_on_without_it_is_not(world):
    waiting = json.dumps([*M[3:5], kit.TALK[2], kit.TALK[3]])
    free = "update messages set conversation_id = null, agent_id = '%s' where id in ('%s', '%s')" % (OTHER, *kit.TALK[2:])
    gone = "delete from conversation_messages"
    assert world(gone, free, ("update agents set message_ids = %s where id = %s", (waiting, OTHER))) == {}
    went_on = json.dumps([*M[3:5], kit.TALK[2], kit.TALK[3], M[5]])
    found = world(gone, free, ("update agents set message_ids = %s where id = %s", (went_on, OTHER)))
    assert list(found) == ["agents.tool_calls"]
    assert found["agents.tool_calls"].examples == (OTHER + " call-approval", OTHER + " call-assistant")


def test_parallel_calls_may_be_answered_by_one_message(world):
    calls = kit.call("call-1") + kit.call("call-2")
    both = kit.returned("call-1") + kit.returned("call-2")
    change = "update messages set tool_calls = %s where id = %s"
    answer = "update messages set tool_call_id = null, tool_returns = %s where id = %s"
    assert world((change, (json.dumps(calls), kit.CALL)), (answer, (json.dumps(both), kit.RETURN))) == {}
    found = world((change, (json.dumps(calls), kit.CALL)))
    assert found["agents.tool_calls"].examples == (AGENT + " call-2",)


def test_a_model_service_that_a_later_release_dropped_is_a_fault_only_from_that_release_on(world):
    cohere = ("update agents set llm_config = %s where id = %s", (json.dumps(dict(kit.LLM, model_endpoint_type="cohere")), AGENT))
    assert list(world(cohere)) == ["agents.json_columns"]
    assert world(cohere, "update alembic_version set version_num = 'cce9a6174366'") == {}


def test_an_empty_list_of_models_says_nothing_since_the_server_fills_it_at_its_start(world):
    unknown = "update agents set llm_config = replace(llm_config::text, 'openai/gpt', 'x/gpt')::json"
    assert set(world(unknown)) == {"models.available"}
    assert world(unknown, "delete from provider_models") == {}
