"""The module run_reconcile through its main(), and the playbook reconcile.yml as a person runs it on a live system."""
from __future__ import annotations

import re

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.digest import digest_database
from tests.integration.restore_kit import PASSWORD, World
from tests.integration.validate_kit import RUN, run_module

INTERRUPTED = "update letta.%s set status = '%s', created_at = now() - interval '1 day', updated_at = now() - interval '1 day'"


def content(server):
    return {name: item.digest for name, item in digest_database(server).items()}


def test_the_module_reports_in_check_mode_applies_and_takes_back(sound_database, tmp_path):
    query(sound_database, INTERRUPTED % ("runs", "running"))
    before = content(sound_database)
    options = dict(database=sound_database.dbname, mode="apply", idle=0, undo_dir=str(tmp_path))
    planned = run_module("run_reconcile", sound_database, check=True, **options)
    assert (planned["changed"], planned["applied"], content(sound_database)) == (True, False, before)
    done = run_module("run_reconcile", sound_database, **options)
    assert (done["changed"], done["reconciled"]) == (True, planned["reconciled"])
    assert {item["entity"]: item["id"] for item in done["reconciled"]}["run"] == RUN
    assert {check["status"] for check in done["checks"]} == {"pass"}
    again = run_module("run_reconcile", sound_database, **options)
    assert (again["changed"], again["undo_file"]) == (False, "")
    looked = run_module("run_reconcile", sound_database, check=True, database=sound_database.dbname, undo=done["undo_file"])
    assert looked["changed"] and content(sound_database) != before
    undone = run_module("run_reconcile", sound_database, database=sound_database.dbname, undo=done["undo_file"])
    assert (undone["undone"], content(sound_database)) == ({"runs": 1, "run_metrics": 1, "agents": 1}, before)
    refused = run_module("run_reconcile", sound_database, database=sound_database.dbname, undo=done["undo_file"])
    assert (refused["failed"], refused["failure_class"]) == (True, "locked")


def test_a_report_changes_nothing_whatever_it_finds(sound_database):
    query(sound_database, INTERRUPTED % ("runs", "created"))
    query(sound_database, "update letta.messages set created_at = now()")
    before = content(sound_database)
    shown = run_module("run_reconcile", sound_database, database=sound_database.dbname)
    assert (shown["changed"], shown["reconciled"], content(sound_database)) == (False, [], before), "its agent wrote messages just now"
    assert [item["entity"] for item in shown["alive"]] == ["agent"]


@pytest.fixture
def world(pg, letta_shape, tmp_path):
    """A live database with a run that ended with its server yesterday, and one that may be at work."""
    world = World(pg, "reconcile_live", tmp_path)
    pg.clone_database(world.database, letta_shape, "letta", PASSWORD)
    for number, age in ((1, "2 days"), (2, "1 minute")):
        world.sql(
            "insert into letta.runs (id, status, agent_id, organization_id, is_deleted, created_at, updated_at)"
            " select 'run-00000000-0000-4000-8000-00000000000%d', 'running', 'agent-00000000-0000-4000-8000-00000000000%d',"
            " organization_id, false, now() - interval '%s', now() - interval '%s' from letta.agents limit 1" % (number, number, age, age)
        )
    world.sql("update letta.agents set updated_at = created_at")
    yield world
    pg.drop_database(world.database)


@pytest.mark.slow
def test_reconcile_yml_closes_what_is_over_names_what_may_be_at_work_and_takes_it_back(world):
    before = world.fingerprint()
    shown = world.play("reconcile.yml", confirm=False).ok()
    assert world.fingerprint() == before
    assert "PLAN   run run-00000000-0000-4000-8000-000000000001 · closed as cancelled (was running)" in shown.output
    refused = world.play("reconcile.yml", "-e", "letta_reconcile=apply", confirm=False)
    assert refused.rc != 0 and world.fingerprint() == before
    done = world.play("reconcile.yml", "-e", "letta_reconcile=apply").ok()
    assert world.sql("select status from letta.runs order by id") == [("cancelled",), ("running",)]
    assert "ALIVE  agent agent-00000000-0000-4000-8000-000000000002" in done.output
    assert (done.report["playbook"], done.report["status"]) == ("reconcile.yml", "succeeded")
    assert {item["entity"] for item in done.report["reconciled"]} == {"run", "run metrics", "agent"}
    undo = re.search(r"letta_reconcile_undo=(\S+\.jsonl)", done.output).group(1)
    assert undo in done.report["undo"]["command"]
    world.play("reconcile.yml", "-e", "letta_reconcile_undo=%s" % undo).ok()
    assert world.fingerprint() == before
