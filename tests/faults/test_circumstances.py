"""Roles, policies, clocks, sizes and texts that are not those of an ordinary day."""
from __future__ import annotations

import multiprocessing
import os
import time
from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine import processes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import take
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import Server
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import cutover, endings, runs, stage
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal
from tests.faults import engine_kit
from tests.integration.restore_kit import PASSWORD, add_writes, content, fill, install_schema

pytestmark = pytest.mark.slow


def restore(world):
    """Do what the playbook does for a system without servers, by the engine alone."""
    begun = runs.begin(world.admin, world.run_options())
    journal, manifest = Journal.load(begun["run_dir"]), manifests.load(begun["set_dir"])
    loading = stage.StageOptions(begun["set_dir"], begun["names"]["side"], begun["owner"], 1, world.bin_dir)
    stage.stage_set(world.admin, manifest, loading, journal)
    endings.note_services(journal, stopped=True)
    cutover.swap_in(world.admin, journal, begun["names"], cutover.Guests(session_timeout=5))
    endings.note_services(journal, stopped=False)
    return endings.finish(world.admin, world.root, journal, begun["phases"])


def comes_back(world):
    """Back the live database up, lose it, restore it; fail unless it is what it was."""
    before = world.fingerprint()
    world.backup()
    world.pg.drop_database(world.database)
    assert restore(world)["status"] == "succeeded"
    assert content(world.fingerprint()) == content(before)
    assert world.leftovers() == []


@pytest.fixture
def bare_world(make_world, pg, letta_shape):
    """A live database with Letta's schema and no row."""
    world = make_world(live=False)
    world.own = pg.create_letta_database(world.database, password=PASSWORD, schema="letta")
    install_schema(world.own)
    return world


@pytest.mark.fault(38, "empty")
def test_a_database_without_a_single_agent_comes_back(bare_world):
    bare_world.sql("insert into letta.alembic_version values ('1c28e167b74f')")
    comes_back(bare_world)


@pytest.mark.fault(38, "one")
def test_a_database_with_one_agent_comes_back(bare_world):
    fill(bare_world.own, agents=1, messages=1)
    comes_back(bare_world)


@pytest.mark.fault(38, "many")
def test_a_hundred_thousand_agents_come_back(bare_world):
    fill(bare_world.own, agents=100_000, messages=100_000)
    comes_back(bare_world)


TEXTS = ("", "NULL", r"\N", r"\u0000", r"\\u0000", "\\", "\t\r\n\v\f\b",
         "\x01\x7f", "😀🏳️‍🌈", "e\u0301 é", "\u202eright to left", "'';\"$$", "{{ x }}")


@pytest.mark.fault(38, "large", "text")
def test_a_message_of_fifty_megabytes_and_texts_that_look_like_something_else_come_back(bare_world):
    fill(bare_world.own, agents=len(TEXTS), messages=100)
    for number, text in enumerate(TEXTS, 1):
        bare_world.sql("update letta.block set value = %s where id like %s", (text, "%%%012d" % number))
    large = "update letta.messages set content = json_build_array(json_build_object('type', 'text', 'text', repeat(%s, %s)))"
    bare_world.sql(large + " where id like '%%%%%012d'" % 50, ("a line of 50 bytes, ending in what escapes: \\\\ \\n", 1 << 20))
    ((size,),) = bare_world.sql("select max(length(content::text)) from letta.messages")
    assert size > 50 * (1 << 20)
    comes_back(bare_world)
    found = dict(bare_world.sql("select right(id, 12)::int, value from letta.block"))
    assert found == dict(enumerate(TEXTS, 1))


@pytest.mark.fault(37, "rls")
def test_rows_that_a_policy_hides_are_no_reason_to_take_half_a_set_and_a_set_with_policies_is_told_before_it_is_needed(world):
    sets = sorted(os.listdir(world.root))
    world.sql("alter table letta.messages enable row level security")
    world.sql("alter table letta.messages force row level security")
    world.sql("create policy hides on letta.messages using (role = 'system')")
    owner = Server("127.0.0.1", world.pg.port, world.owner, PASSWORD, world.database, sslmode="disable")
    with pytest.raises(RecoveryError) as refused:
        take.take_backup(take.BackupOptions(server=owner, root=world.root, bin_dir=world.bin_dir, jobs=1))
    assert refused.value.failure_class == "preflight"
    assert "row-level security" in refused.value.message
    assert "BYPASSRLS" in refused.value.next_step
    assert sorted(name for name in os.listdir(world.root) if name.startswith("lb-")) == [name for name in sets if name.startswith("lb-")]
    (warning,) = world.backup()["warnings"]
    assert "restore-full.yml will refuse this set" in warning
    assert "POLICY letta.messages hides" in warning


@pytest.mark.fault(36, "dst", "skew")
def test_the_time_of_a_set_is_that_of_the_server_in_utc_whatever_zone_it_lives_in(world, monkeypatch):
    monkeypatch.setenv("TZ", "America/St_Johns")
    time.tzset()
    try:
        world.sql('alter database "%s" set timezone to \'Asia/Kathmandu\'' % world.database)
        taken = manifests.parse_stamp(world.backup()["taken_at"])
    finally:
        monkeypatch.undo()
        time.tzset()
    assert abs((datetime.now(timezone.utc) - taken).total_seconds()) < 120


@pytest.mark.fault(36, "jump")
@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(days=400)], ids=["back", "ahead"])
def test_a_clock_that_jumps_in_mid_run_does_not_fail_it_and_nothing_that_is_kept_goes_early(world, monkeypatch, jump):
    before = world.fingerprint()
    restore(world)
    add_writes(world.live)
    later, service, now, stage_set = world.fingerprint(), engine_kit.Service(world), time.time, stage.stage_set

    def staged(*args):
        done = stage_set(*args)
        monkeypatch.setattr(time, "time", lambda: now() + jump.total_seconds())
        return done

    monkeypatch.setattr(stage, "stage_set", staged)
    ending = restore(world)
    assert (ending["status"], ending["dropped"]) == ("succeeded", [])
    assert 0 <= ending["downtime_seconds"] < 60
    monkeypatch.undo()
    add_writes(world.live)
    latest = world.fingerprint()
    assert restore(world)["dropped"] == []
    assert {before["oid"], later["oid"], latest["oid"]} <= set(world.databases().values())
    engine_kit.take_back(world, service, world.run_options())
    assert world.fingerprint() == latest


@pytest.mark.fault(21, "reattach")
def test_a_run_whose_connection_was_lost_is_waited_for_while_it_works_and_taken_up_when_it_is_over(world):
    fork = multiprocessing.get_context("fork")
    holder = fork.Process(target=time.sleep, args=(300,))
    holder.start()
    try:
        begun = runs.begin(world.admin, world.run_options(controller=processes.identity(holder.pid)))
        journal, manifest = Journal.load(begun["run_dir"]), manifests.load(begun["set_dir"])
        loading = stage.StageOptions(begun["set_dir"], begun["names"]["side"], begun["owner"], 1, world.bin_dir)
        stage.stage_set(world.admin, manifest, loading, journal)
        with pytest.raises(RecoveryError) as refused:
            runs.begin(world.admin, world.run_options())
        assert refused.value.failure_class == "locked"
        assert "of run %s: process %d" % (begun["run_id"], holder.pid) in refused.value.message
    finally:
        holder.kill()
        holder.join()
    again = runs.begin(world.admin, world.run_options())
    assert (again["run_id"], again["staged"]) == (begun["run_id"], True)
    cutover.swap_in(world.admin, Journal.load(again["run_dir"]), again["names"], cutover.Guests(session_timeout=5))
    assert world.databases()[world.database] == journal.data["side"]["oid"]
