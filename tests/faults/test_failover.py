"""PostgreSQL fails over to its standby in mid-work: the next run finds in the catalog what the new primary knows, and ends well."""
from __future__ import annotations

import os

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import catalogue
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial import ending
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial.carry_out import carry_out
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import endings
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal
from tests.faults import engine_kit
from tests.faults.kills.parts import AGENT
from tests.faults.test_restarts import during_the_load, ends_well, is_told, restore
from tests.integration.partial_engine_kit import Part
from tests.integration.restore_kit import PASSWORD, World, add_writes, content, fill, install_schema, make_admin
from tests.lab.postgres import EmbeddedPostgres
from tests.lab.standby import Standby

pytestmark = [pytest.mark.slow, pytest.mark.fault(21, "failover")]


@pytest.fixture
def primary(tmp_path):
    server = EmbeddedPostgres(tmp_path / "primary", fsync=False).start()
    yield server
    server.destroy()


@pytest.fixture
def world(primary, tmp_path):
    """A live database with writes since its backup, on a server of its own."""
    made = World(primary, "letta_live", tmp_path)
    os.makedirs(made.root, 0o700)
    live = primary.create_letta_database(made.database, password=PASSWORD, schema="letta")
    install_schema(live)
    fill(live)
    make_admin(primary)
    made.saved = content(made.fingerprint())
    made.backup()
    add_writes(made.live)
    return made


@pytest.fixture
def standby(primary, world, tmp_path):
    """It has everything that the primary has so far."""
    server = Standby(primary, tmp_path / "standby").start()
    server.follow()
    yield server
    server.destroy()


def test_a_failover_during_the_load_ends_the_run_without_blame_for_the_set_and_the_next_run_ends_well(world, standby, monkeypatch):
    old = world.fingerprint()

    def fail_over():
        if world.pg is not standby:
            standby.take_over()
            world.pg = standby

    during_the_load(monkeypatch, fail_over)
    with pytest.raises(RecoveryError) as caught:
        restore(world)
    assert world.pg is standby
    is_told(caught.value, world)
    monkeypatch.undo()
    assert world.fingerprint() == old
    ends_well(world, world.saved)


@pytest.mark.parametrize("arrived", [True, False], ids=["that_arrived", "that_was_lost_with_the_primary"])
def test_a_failover_after_the_exchange_is_noticed_before_the_run_is_called_a_success(world, standby, arrived):
    old, service = world.fingerprint(), engine_kit.Service(world)

    def fail_over(*_facts):
        if arrived:
            standby.follow()
        standby.take_over()
        world.pg = standby

    parts = list(engine_kit.RESTORING)
    place = parts.index(engine_kit.cut_over)
    parts.insert(place + 1, fail_over)
    if not arrived:
        parts.insert(place, lambda *_facts: standby.pause())
    if arrived:
        engine_kit.in_order(parts, world, service, world.run_options())
    else:
        with pytest.raises(RecoveryError) as caught:
            engine_kit.in_order(parts, world, service, world.run_options())
        assert caught.value.failure_class == "swap_rolled_back"
        assert "failover to a standby" in caught.value.message
        (journal,) = world.journals()
        ending = endings.fail(world.admin, world.root, journal, caught.value.as_dict())
        assert ending["failure_class"] == "swap_rolled_back"
        assert "is proven and kept: the next run starts at the cutover" in ending["now"]
        assert world.fingerprint() == old
        ends_well(world, world.saved)
    assert content(world.fingerprint()) == world.saved
    assert world.leftovers(world.kept_names()) == []


@pytest.mark.parametrize("arrived", [True, False], ids=["that_arrived", "that_was_lost_with_the_primary"])
def test_a_failover_after_the_commit_of_a_partial_restore_leaves_it_to_the_next_run_to_compare_the_rows(world, standby, arrived):
    saved_set = catalogue.list_sets(world.root)[0].id
    part = Part(world.pg, world.database, world.root, saved_set)
    part.delete_agent(AGENT)
    standby.follow()
    without, begun = world.fingerprint(), part.plan(agents=[AGENT])
    journal = Journal.load(begun["run_dir"])
    if not arrived:
        standby.pause()
    carry_out(part.server, part.database, journal, part.options(agents=[AGENT]))
    restored = world.fingerprint()
    if arrived:
        standby.follow()
    standby.take_over()
    world.pg = part.pg = standby
    with pytest.raises(RecoveryError, match="a standby of PostgreSQL has taken over") as caught:
        ending.finish(part.server, part.root, journal)
    end = ending.fail(part.server, part.root, journal, caught.value.as_dict())
    assert (end["failure_class"], end["undo"]) == ("manual_help_needed", {})
    assert end["now"].startswith("the rows are in the live database whole, or not at all")
    assert content(world.fingerprint()) == content(restored if arrived else without)
    plan, _done = part.restore(agents=[AGENT])
    assert plan["kind"] == ("unchanged" if arrived else "partial")
    assert world.sql("select count(*) from letta.agents where id = %s", (AGENT,)) == [(1,)]
    assert world.sql("select count(*) from letta.messages where agent_id = %s", (AGENT,)) == [(100,)]


def test_a_failover_after_a_rollbacks_exchange_is_noticed_too(world, standby):
    service, options = engine_kit.Service(world), world.run_options()
    engine_kit.restore(world, service, options)
    restored = world.fingerprint()
    standby.follow()

    def fail_over(*_facts):
        standby.take_over()
        world.pg = standby

    parts = list(engine_kit.TAKING_BACK)
    place = parts.index(engine_kit.cut_back)
    parts[place:place + 1] = [lambda *_facts: standby.pause(), engine_kit.cut_back, fail_over]
    with pytest.raises(RecoveryError) as caught:
        engine_kit.in_order(parts, world, service, options)
    assert caught.value.failure_class == "swap_rolled_back"
    assert world.fingerprint() == restored
    engine_kit.take_back(world, service, options)
    assert content(world.fingerprint()) != world.saved
