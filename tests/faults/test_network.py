"""PostgreSQL at the end of a line that is slow, loses packets, stalls or dies: it is waited for, or told of in time, and live is whole."""
from __future__ import annotations

import os
import time
from contextlib import closing

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.partial import apply
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import connection, stamp
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.cutover import oid_of
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal
from tests.faults import engine_kit, far_kit
from tests.integration.partial_engine_kit import AGENTS, differing, load_sample, store_sample
from tests.integration.restore_kit import PASSWORD, add_writes, content
from tests.lab import places, wire

pytestmark = pytest.mark.slow
DEAD_AFTER, CONNECT = 2, 2  # instead of minutes
# What ends a session is looked at when a probe is due; after it come the steps that put things right, each with a connection to try.
IN_TIME = 3 * DEAD_AFTER + 4 * CONNECT + 5
WAITS = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'letta_ops'"


@pytest.fixture(scope="module")
def line():
    reason = wire.why_not()
    if reason:
        pytest.skip("no line of our own can be had here: %s" % reason)
    with wire.Wire() as made:
        yield made


@pytest.fixture(scope="module")
def server(line, tmp_path_factory):
    with line.far():
        pg = far_kit.start_server(tmp_path_factory.mktemp("far"))
    yield pg
    line.shape()
    with line.far():
        pg.destroy()


@pytest.fixture
def world(line, server, tmp_path):
    """A target at the far end with a set and writes since; the line is a perfect one before and after."""
    world = far_kit.FarWorld(server, far_kit.DATABASE, tmp_path)
    os.makedirs(world.root, 0o700)
    line.shape()
    with line.far():
        world.saved = content(world.fingerprint())
        world.backup()
        add_writes(world.live)
    yield world
    line.shape()
    with line.far():
        for name in set(world.databases()) - {world.database}:
            server.drop_database(name)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(connection, "DEAD_LINE_SECONDS", DEAD_AFTER)
    monkeypatch.setattr(connection, "CONNECT_SECONDS", CONNECT)


def at_the_far_end(line, world, statement):
    """Wait until a statement finds something there."""
    with line.far():
        assert places.wait_for(lambda: world.sql(statement, database="postgres"), 30)


@pytest.mark.fault(21, "slow")
def test_a_backup_and_a_restore_over_a_slow_line_that_loses_packets_end_well_and_equal(line, world):
    with line.far():
        saved = content(world.fingerprint())
    line.shape(delay=0.002, loss=0.008, rate=4 << 20)
    with line.near():
        world.backup()
    with line.far():
        add_writes(world.live)
    with line.near():
        far_kit.restore(world)
    with line.far():
        assert content(world.fingerprint()) == saved
        assert world.leftovers(world.kept_names()) == []
    with line.near(), closing(connection.connect(world.live)) as conn, conn.cursor() as cursor:
        line.shape(rate=2000)  # from now on a packet alone takes most of a second
        cursor.execute("SELECT length(%s)", ("x" * 6000,))
        assert cursor.fetchone() == (6000,)


@pytest.mark.fault(21, "stall")
def test_a_line_that_stalls_for_seconds_during_the_load_is_waited_for(line, world):
    line.shape(rate=250_000)
    restore = far_kit.AtWork(line, far_kit.restore, world)
    at_the_far_end(line, world, "SELECT 1 FROM pg_stat_progress_copy")
    line.cut()
    assert not restore.ended_within(4)
    line.shape()
    assert restore.ended_within(60)
    assert restore.error is None
    with line.far():
        assert content(world.fingerprint()) == world.saved
        assert world.leftovers(world.kept_names()) == []


@pytest.mark.fault(21, "dead")
def test_a_restore_whose_line_dies_while_rows_are_sent_ends_in_time_and_the_next_run_ends_well(line, world, impatient):
    with line.far():
        old = world.fingerprint()
    line.shape(rate=250_000)
    restore = far_kit.AtWork(line, far_kit.restore, world)
    at_the_far_end(line, world, "SELECT 1 FROM pg_stat_progress_copy")
    line.cut()
    assert restore.ended_within(IN_TIME)
    error = restore.error
    line.shape()
    assert isinstance(error, RecoveryError)
    assert (error.failure_class, error.next_step.endswith("run the same command again")) == ("preflight", True)
    assert "lost in mid-work" in error.message
    assert error.now.startswith("live database untouched, nothing stopped; the half-loaded side database stays")
    with line.far():
        assert world.fingerprint() == old
    with line.near():
        far_kit.restore(world)
    with line.far():
        assert content(world.fingerprint()) == world.saved
        assert world.leftovers(world.kept_names()) == []


@pytest.mark.fault(21, "dead")
def test_a_backup_whose_line_dies_while_it_waits_for_the_server_ends_in_time_and_the_next_restore_finds_no_session_of_it(
    line, world, impatient
):
    before = sorted(os.listdir(world.root))
    with line.far(), closing(connection.connect(world.live, autocommit=False)) as guest, guest.cursor() as cursor:
        cursor.execute("LOCK TABLE letta.messages IN ACCESS EXCLUSIVE MODE")
        backup = far_kit.AtWork(line, world.backup)
        at_the_far_end(line, world, WAITS)
        line.cut()
        assert backup.ended_within(IN_TIME)
    line.shape()
    assert isinstance(backup.error, RecoveryError)
    assert "lost in mid-work" in backup.error.message
    assert world.database in backup.error.message
    assert backup.error.now == "live database untouched, no set was made, nothing left in the store"
    assert sorted(os.listdir(world.root)) == before
    with line.near():
        far_kit.restore(world)
    with line.far():
        assert content(world.fingerprint()) == world.saved


@pytest.mark.fault(21, "dead")
def test_a_server_that_only_takes_its_time_is_not_taken_for_a_dead_one(line, world, impatient):
    with line.near():
        began = time.monotonic()
        connection.query(world.admin, "SELECT pg_sleep(%s)", (2 * DEAD_AFTER,))
    assert time.monotonic() - began > 2 * DEAD_AFTER


def dies(line):
    line.cut()


def gives_no_answers(line):
    line.cut_answers()


HOW = pytest.mark.parametrize("fails", [dies, gives_no_answers])


@pytest.mark.fault(20, "database")
@pytest.mark.fault(21, "commit")
@HOW
def test_a_line_that_fails_at_the_exchange_leaves_one_whole_database_and_the_next_run_ends_well(line, world, impatient, monkeypatch, fails):
    with line.far():
        old = content(world.fingerprint())
    service, write = engine_kit.Service(world), stamp.write

    def written(*args):
        write(*args)  # the last statement before COMMIT
        fails(line)

    monkeypatch.setattr(stamp, "write", written)
    work = far_kit.AtWork(line, engine_kit.restore, world, service, world.run_options())
    assert work.ended_within(90)
    monkeypatch.undo()
    (journal,) = [run for run in world.journals() if run.data["status"] != "succeeded"]
    with line.near():
        ending = engine_kit.put_back(world, service, journal)
    assert ending["failure_class"] == "manual_help_needed"
    assert ending["now"].startswith("not known: what was begun could not be put right")
    assert service.state() == "stopped"
    line.shape()
    with line.far():
        assert (oid_of(world.admin, world.database) == journal.data["side"]["oid"]) == (fails is gives_no_answers)
    with line.near():
        far_kit.restore(world)
    with line.far():
        assert content(world.fingerprint()) == world.saved != old
        assert world.leftovers(world.kept_names()) == []


@pytest.fixture(scope="module")
def far_sample(line, server):
    with line.far():
        return load_sample(server)


@pytest.fixture
def part(line, server, far_sample, tmp_path):
    line.shape()
    with line.far():
        server.clone_database("far_part", far_sample, password=PASSWORD)
    yield far_kit.FarPart(server, "far_part", str(tmp_path / "store"), store_sample(tmp_path / "store"))
    line.shape()
    with line.far():
        server.drop_database("far_part")


@pytest.mark.fault(21, "commit")
@HOW
def test_a_line_that_fails_at_the_commit_of_a_partial_restore_is_told_as_that_and_the_next_run_ends_well(
    line, part, impatient, monkeypatch, fails
):
    agent, waiting = AGENTS["support"], apply.waiting
    with line.near():
        new = part.contents()
        part.delete_agent(agent)
        begun = part.plan(agents=[agent])

    def waited(bench):
        bench.run("set tcp_keepalives_idle = 300")  # the server is as patient as without this test
        found = waiting(bench)  # the last statement before COMMIT
        time.sleep(0.5)  # its answer is acknowledged: nothing that the server would send again tells it that nobody is there
        fails(line)
        return found

    monkeypatch.setattr(apply, "waiting", waited)
    work = far_kit.AtWork(line, part.carry_out, begun)
    assert work.ended_within(90)
    monkeypatch.undo()
    assert isinstance(work.error, RecoveryError)
    assert "lost in mid-work" in work.error.message
    with line.near():
        ending = part.fail(begun)
    assert (ending["failure_class"], ending["status"]) == ("manual_help_needed", "failed")
    assert "whole, or not at all, and PostgreSQL cannot tell which" in ending["now"]
    line.shape()
    with line.near():
        part.restore(agents=[agent])
        assert differing(new, part.contents()) == []
    ended = Journal.load(begun["run_dir"]).data["status"]
    assert ended == ("succeeded" if fails is gives_no_answers else "failed")
