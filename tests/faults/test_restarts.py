"""PostgreSQL is started again in mid-work, in good order or at once: no set and no data are blamed, and the next run ends well."""
from __future__ import annotations

import signal

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import copying
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import validate
from tests.faults import engine_kit
from tests.integration.restore_kit import content
from tests.lab import places

pytestmark = [pytest.mark.slow, pytest.mark.fault(21, "restart")]
HOW = pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])  # as pg_ctl restart -m says it


class Restart:
    """Starts a server again, once, when it is called."""

    def __init__(self, pg, how):
        self._pg, self._how, self.done = pg, how, False

    def __call__(self):
        if not self.done:
            self.done = True
            self._pg.kill(self._how)
            assert places.wait_for(lambda: self._pg.pid() is None, 20)
            self._pg.start()


@pytest.fixture
def restart(world, how):
    world.sql("CHECKPOINT")  # a database that was cloned may forget, without one, how far its sequences have come
    return Restart(world.pg, how)


def restore(world):
    engine_kit.restore(world, engine_kit.Service(world), world.run_options())


def is_told(error, world):
    """Fail unless an error is that of a server that went away, not of a set or of data."""
    assert error.failure_class == "preflight"
    assert "was lost in mid-work" in error.message
    assert error.next_step.endswith("run the same command again")
    assert error.now.startswith("live database untouched")


def during_the_load(monkeypatch, happen):
    """Have something happen, each time rows have been handed to PostgreSQL."""
    copy_in = copying.copy_in

    def copied(conn, table, columns, read, stopped, options=""):
        def taken(size):
            part = read(size)
            happen()
            return part

        return copy_in(conn, table, columns, taken, stopped, options)

    monkeypatch.setattr(copying, "copy_in", copied)


def ends_well(world, saved):
    restore(world)
    assert content(world.fingerprint()) == saved
    assert world.leftovers(world.kept_names()) == []


@pytest.fixture
def saved(make_world, shape_set):
    """What the set holds."""
    other = make_world()
    return content(other.fingerprint())


@HOW
def test_postgresql_restarted_during_the_load_ends_the_run_without_blame_for_the_set_and_the_next_run_ends_well(
    world, saved, restart, monkeypatch
):
    old = world.fingerprint()
    during_the_load(monkeypatch, restart)
    with pytest.raises(RecoveryError) as caught:
        restore(world)
    assert restart.done
    is_told(caught.value, world)
    assert world.fingerprint() == old
    ends_well(world, saved)


@HOW
def test_postgresql_restarted_during_a_validation_is_told_as_that_and_not_as_faults_of_the_data(world, restart, monkeypatch):
    run_probe, seen = validate.run_probe, []

    def probed(context, probe):
        seen.append(probe)
        if len(seen) == 3:
            restart()
        return run_probe(context, probe)

    monkeypatch.setattr(validate, "run_probe", probed)
    with pytest.raises(RecoveryError) as caught:
        validate.validate_database(world.live)
    is_told(caught.value, world)
    monkeypatch.undo()
    assert not [finding for finding in validate.validate_database(world.live) if "could not be computed" in finding.detail]


@HOW
def test_postgresql_restarted_between_the_exchange_and_the_start_of_the_servers_holds_nothing_up(world, saved, restart):
    parts = list(engine_kit.RESTORING)
    parts.insert(parts.index(engine_kit.serve_again), lambda *_facts: restart())
    engine_kit.in_order(parts, world, engine_kit.Service(world), world.run_options())
    assert restart.done
    assert content(world.fingerprint()) == saved
    assert world.leftovers(world.kept_names()) == []
