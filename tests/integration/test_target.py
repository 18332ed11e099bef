"""Looking at the live database while what an interrupted run left behind still works on it."""
from __future__ import annotations

import os

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import swap
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import query
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import assess, rollback, runs, target
from tests.faults import engine_kit

pytestmark = pytest.mark.slow


def test_a_database_that_is_fenced_off_while_it_is_looked_at_is_told_as_fenced(pg, make_database, monkeypatch):
    live, look = make_database("live"), target._live_contents

    def fenced_meanwhile(server, owner):
        query(pg.server(), 'ALTER DATABASE "%s" ALLOW_CONNECTIONS false' % live.dbname)
        return look(server, owner)

    monkeypatch.setattr(target, "_live_contents", fenced_meanwhile)
    assert target.inspect_target(pg.server(), live.dbname)["live"]["fenced"] is True


def test_a_database_that_cannot_be_read_for_another_reason_is_no_fenced_one(pg, make_database, monkeypatch):
    def unreadable(_server, _owner):
        raise RecoveryError("preflight", "no route", next_step="mend it")

    monkeypatch.setattr(target, "_live_contents", unreadable)
    with pytest.raises(RecoveryError, match="no route"):
        target.inspect_target(pg.server(), make_database("live").dbname)


def test_a_run_that_meets_what_a_killed_one_still_drops_is_told_to_come_again_and_holds_nothing(world, monkeypatch):
    plan = assess.plan_restore

    def dropped_meanwhile(*arguments):
        world.pg.drop_database(world.database)
        return plan(*arguments)

    monkeypatch.setattr(assess, "plan_restore", dropped_meanwhile)
    with pytest.raises(RecoveryError, match="was dropped while this run looked at it") as refusal:
        runs.begin(world.admin, world.run_options())
    assert refusal.value.failure_class == "locked" and "again" in refusal.value.next_step
    monkeypatch.undo()
    assert runs.begin(world.admin, world.run_options())["plan"], "nothing is held"


@pytest.mark.fault(19, "controller")
def test_a_rollback_that_meets_what_a_killed_one_still_exchanges_is_told_to_come_again_and_holds_nothing(world, monkeypatch):
    engine_kit.restore(world, engine_kit.Service(world), world.run_options())
    look = rollback._can_go_back

    def exchanged_meanwhile(server, journal):
        names = journal.data["names"]
        swap.exchange(server, names["live"], names["previous"], names["undone"])
        return look(server, journal)

    monkeypatch.setattr(rollback, "_can_go_back", exchanged_meanwhile)
    with pytest.raises(RecoveryError, match="was exchanged while this run looked at it") as refusal:
        rollback.begin(world.admin, world.run_options())
    assert refusal.value.failure_class == "locked" and "again" in refusal.value.next_step
    assert [name for name in os.listdir(world.root + "/.runs") if name.startswith("lock-")] == []


def test_what_is_wrong_for_itself_is_told_as_that(world, monkeypatch):
    def wrong(*_arguments):
        raise RecoveryError("preflight", "no room", next_step="make some")

    monkeypatch.setattr(assess, "plan_restore", wrong)
    with pytest.raises(RecoveryError, match="no room"):
        runs.begin(world.admin, world.run_options())
