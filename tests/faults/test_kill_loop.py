"""``kill -9`` after every write of the journal: live is old-whole or new-whole, and the next run ends well.

Most moments are tried with the engine in a process of its own, which does what the roles do, in their order; the last
tests kill the real playbook. ``module`` means that the process doing the work dies and the controller puts things back;
``controller`` means that both die and nothing runs until somebody starts the next run.
"""
from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine import processes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres import sidedb
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.postgres.connection import connect, psycopg2
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import (
    cutover,
    endings,
    facts,
    recovery,
    runs,
    stage,
)
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import CRASH_VARIABLE, Journal
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.reconcile import engine
from tests.faults import engine_kit
from tests.faults.engine_kit import Service, restore, stop, take_back
from tests.integration.restore_kit import add_writes, break_load, content, fingerprint

pytestmark = pytest.mark.slow

RESTORE = ("stage.create", "stage.load", "stage.prove", "services.stop")
RESTORE += ("cutover.drain", "cutover.fence", "cutover.exchange", "services.start")
ROLLBACK = ("services.stop", "rollback.drain", "cutover.fence", "rollback.exchange", "services.start")
IN_PLACE = ("in_place.drop", "stage.create", "stage.load", "stage.prove", "cutover.exchange")
STATES = ("begun", "done")
NEVER = ("services.start:begun",)
FORK = multiprocessing.get_context("fork")


def moments(steps, states=STATES):
    """Return every moment of these steps; the start of the services is written only when it is done."""
    return [item for step in steps for item in ("%s:%s" % (step, state) for state in states) if item not in NEVER]


def cases(steps):
    """Both die at every moment; the module alone at every beginning, and at the end of the last step."""
    alone = moments(steps, ("begun",)) + ["%s:done" % steps[-1]]
    return [(moment, "controller") for moment in moments(steps)] + [(moment, "module") for moment in alone]


def put_back(world, service, work):
    """Do what the rescue of the role does, in the controller that outlived its module."""
    return engine_kit.put_back(world, service, world.journals()[-1], work is take_back)


def in_child(function, world, service, crash_at="", **changes):
    """Run one of the above in a process of its own; returns its exit code (negative: the signal that ended it)."""
    controller = changes.pop("controller", None)

    def child():
        os.environ[CRASH_VARIABLE] = crash_at
        function(world, service, world.run_options(controller=controller or processes.identity(), **changes))

    process = FORK.Process(target=child)
    process.start()
    process.join(60)
    if process.is_alive():
        process.kill()
        raise AssertionError("the child hangs at %s" % crash_at)
    return process.exitcode


def killed(who, work, world, service, moment, **changes):
    """Kill the work at a moment; with ``module`` the controller, this very process, puts things back."""
    controller = processes.identity() if who == "module" else None
    assert in_child(work, world, service, moment, controller=controller, **changes) == -signal.SIGKILL, "never came to %s" % moment
    return put_back(world, service, work) if who == "module" else None


def ends_well(work, world, service, **changes):
    assert in_child(work, world, service, **changes) == 0
    assert service.state() == "running"
    assert world.leftovers(world.kept_names()) == []


@pytest.fixture(scope="session")
def saved(pg, letta_shape):
    """What every restore here must bring back."""
    return content(fingerprint(pg.server(), letta_shape))


def is_whole(world, old, saved):
    """Return ``old`` or ``new``, whichever the live database is; fail when it is neither."""
    now = world.fingerprint()
    assert now is not None, "there is no live database"
    if now["oid"] == old["oid"]:
        assert content(now) == content(old)
        return "old"
    assert content(now) == saved
    return "new"


@pytest.mark.fault(19, "controller", "module")
@pytest.mark.parametrize(("moment", "who"), cases(RESTORE))
def test_a_restore_killed_at_any_step_leaves_live_whole_and_the_next_run_ends_well(world, saved, moment, who):
    service, old = Service(world), world.fingerprint()
    killed(who, restore, world, service, moment)
    found = is_whole(world, old, saved)
    if who == "module":
        assert found == "old"
        assert service.state() == "running"
        assert world.fingerprint()["open"]
    ends_well(restore, world, service)
    assert is_whole(world, old, saved) == "new"
    (kept,) = [name for name, oid in world.databases().items() if oid == old["oid"]]
    assert content(world.fingerprint(kept)) == content(old), "the old database is kept to go back to"


def fails_after_the_exchange(world, service, options):
    """Restore, and then do what the rescue does when the servers do not start on the restored database."""
    begun = runs.begin(world.admin, options)
    journal, manifest = Journal.load(begun["run_dir"]), manifests.load(begun["set_dir"])
    loading = stage.StageOptions(begun["set_dir"], begun["names"]["side"], begun["owner"], 1, world.bin_dir)
    stage.stage_set(world.admin, manifest, loading, journal)
    stop(journal, service)
    cutover.swap_in(world.admin, journal, begun["names"], cutover.Guests(session_timeout=5))
    endings.fail(world.admin, world.root, journal, {"failure_class": "preflight", "message": "the service is not up"})


@pytest.mark.fault(19, "controller")
@pytest.mark.parametrize("moment", ["rollback.drain:begun", "rollback.exchange:begun", "rollback.exchange:done"])
def test_a_kill_while_the_old_database_is_put_back_leaves_live_whole_and_the_next_run_ends_well(world, saved, moment):
    service, old = Service(world), world.fingerprint()
    killed("controller", fails_after_the_exchange, world, service, moment)
    is_whole(world, old, saved)
    ends_well(restore, world, service)
    assert is_whole(world, old, saved) == "new"


@pytest.mark.fault(19, "postgres", "reboot")
@pytest.mark.parametrize("moment", [
    "stage.create:begun", "stage.load:begun", "stage.prove:begun", "cutover.fence:begun", "cutover.exchange:done",
])  # fmt: skip
def test_a_machine_that_loses_power_at_a_step_has_live_whole_and_the_next_run_ends_well(world, saved, moment):
    world.sql("checkpoint")  # a database that was cloned may forget, without one, how far its sequences have come
    service, old = Service(world), world.fingerprint()
    killed("controller", restore, world, service, moment)
    world.pg.kill()
    world.pg.start()
    assert is_whole(world, old, saved) == ("new" if moment == "cutover.exchange:done" else "old")
    ends_well(restore, world, service)
    assert is_whole(world, old, saved) == "new"


@pytest.fixture
def interrupted(make_world):
    """A live database with writes since its backup, which was taken while a run was under way."""
    world = make_world()
    world.sql("insert into letta.runs (id, status, agent_id, organization_id, is_deleted)"
              " select 'run-00000000-0000-4000-8000-000000000001', 'running', min(id), min(organization_id), false from letta.agents")
    world.sql("insert into letta.groups (id, description, manager_type, manager_agent_id, agent_ids, organization_id,"
              " sleeptime_agent_frequency, turns_counter) select 'group-00000000-0000-4000-8000-000000000001', '', 'sleeptime', min(id),"
              " '[]', min(organization_id), 5, 1 from letta.agents")
    world.backup()
    add_writes(world.live)
    return world


@pytest.mark.fault(19, "controller")
@pytest.mark.parametrize("moment", ["cutover.exchange:done", "services.start:done"])
def test_a_run_killed_after_the_cutover_has_background_turns_off_until_the_next_run_ends_it(interrupted, moment):
    world, service = interrupted, Service(interrupted)
    frequency = "select sleeptime_agent_frequency from letta.groups"
    killed("controller", restore, world, service, moment)
    assert world.sql(frequency) == [(0,)]
    ends_well(restore, world, service)
    assert world.sql(frequency) == [(5,)]


@pytest.mark.fault(19, "controller", "module")
@pytest.mark.parametrize(("moment", "who"), cases(("reconcile.apply",))[:3])
def test_a_restore_killed_while_it_closes_work_leaves_live_whole_and_the_next_run_explains_what_it_closed(interrupted, moment, who):
    world, service = interrupted, Service(interrupted)
    old = world.fingerprint()
    killed(who, restore, world, service, moment)
    assert world.fingerprint() == old
    ends_well(restore, world, service)
    assert world.sql("select status from letta.runs") == [("cancelled",)]
    journal = world.journals()[-1]
    report = facts.of_run(journal, {"status": "succeeded"}, "restore-full.yml")
    assert [(item["entity"], item["action"]) for item in report["reconciled"] if item["entity"] == "run"] == [
        ("run", "closed as cancelled (was running)")
    ]
    told = {row["name"]: row["explanation"] for row in report["tables"] if row["digest"] != "equal"}
    assert told == {"letta.runs": "1 reconciled", "letta.run_metrics": "1 added", "letta.agents": "1 reconciled"}
    assert world.sql("select sleeptime_agent_frequency from letta.groups") == [(5,)]
    assert runs.begin(world.admin, world.run_options(check=True))["plan"]["kind"] == "unchanged", "live is proven to be the set still"
    engine.undo(world.live, journal.entry("reconcile.apply")["undo_files"][0])
    assert world.sql("select status from letta.runs") == [("running",)]


def test_a_run_that_was_prepared_without_it_is_reconciled_before_its_cutover(interrupted):
    world, service = interrupted, Service(interrupted)
    begun = runs.begin(world.admin, world.run_options(phases=("assess", "stage", "migrate", "validate")))
    journal, loading = Journal.load(begun["run_dir"]), (begun["set_dir"], begun["names"]["side"], begun["owner"], 1, world.bin_dir)
    stage.stage_set(world.admin, manifests.load(begun["set_dir"]), stage.StageOptions(*loading), journal)
    endings.finish(world.admin, world.root, journal, ("assess", "stage", "migrate", "validate"))
    ends_well(restore, world, service, phases=("assess", "cutover", "verify"))
    assert world.sql("select status from letta.runs") == [("cancelled",)]


@pytest.mark.fault(19, "controller")
@pytest.mark.parametrize("moment", ["stage.create:begun", "stage.load:begun", "cutover.exchange:begun", "cutover.exchange:done"])
def test_a_restore_onto_an_empty_server_killed_at_any_step_ends_well_the_next_time(empty_world, saved, moment):
    service = Service(empty_world)
    killed("controller", restore, empty_world, service, moment)
    ends_well(restore, empty_world, service)
    assert content(empty_world.fingerprint()) == saved


@pytest.mark.fault(19, "controller", "module")
@pytest.mark.parametrize(("moment", "who"), cases(ROLLBACK))
def test_a_rollback_killed_at_any_step_leaves_live_whole_and_the_next_run_ends_well(world, moment, who):
    service, old = Service(world), world.fingerprint()
    ends_well(restore, world, service)
    add_writes(world.live, "after the restore")
    restored = world.fingerprint()
    ending = killed(who, take_back, world, service, moment)
    now = world.fingerprint()
    assert content(now) == content(old if now["oid"] == old["oid"] else restored)
    if who == "module":
        assert service.state() == "running"
        assert now["open"]
        assert ("of before the restore" in ending["now"]) == (now["oid"] == old["oid"])
    if ending is None or now["oid"] != old["oid"]:
        ends_well(take_back, world, service)
    assert world.leftovers(world.kept_names()) == []
    assert (world.fingerprint()["oid"], content(world.fingerprint())) == (old["oid"], content(old))
    (undone,) = [name for name, oid in world.databases().items() if oid == restored["oid"]]
    assert content(world.fingerprint(undone)) == content(restored), "what was written since the restore is kept"


@pytest.mark.fault(19, "controller")
@pytest.mark.parametrize("moment", ["services.stop:begun", "cutover.fence:begun", "rollback.exchange:begun", "rollback.exchange:done"])
def test_a_restore_after_a_killed_rollback_ends_well_too(world, saved, moment):
    """Whoever comes next may not know that somebody was rolling back."""
    service, old = Service(world), world.fingerprint()
    ends_well(restore, world, service)
    killed("controller", take_back, world, service, moment)
    ends_well(restore, world, service)
    assert content(world.fingerprint()) == saved
    assert old["oid"] in world.databases().values(), "the first database can still be gone back to"


@pytest.mark.fault(19, "controller", "module")
@pytest.mark.parametrize(("moment", "who"), [("cutover.fence:begun", "controller"), ("cutover.fence:begun", "module"), *cases(IN_PLACE)])
def test_a_restore_in_place_killed_at_any_step_loses_nothing(world, saved, moment, who):
    service, old = Service(world), world.fingerprint()
    killed(who, restore, world, service, moment, mode="in_place")
    if world.fingerprint() is None:
        (safety,) = [item.data["safety_set"] for item in world.journals()]
        manifest = manifests.load(os.path.join(world.root, safety))
        assert {name: (table["rows"], table["digest"]) for name, table in manifest["tables"].items()} == old["tables"]
    else:
        found = world.fingerprint()
        assert content(found) in (content(old), saved)
        if who == "module":
            assert content(found) == content(old)
    if who == "module":
        assert service.state() == "running"
        assert world.fingerprint() is not None
    ends_well(restore, world, service, mode="in_place")
    assert content(world.fingerprint()) == saved


@pytest.mark.fault(19, "controller")
def test_when_the_run_after_a_kill_in_place_fails_the_old_content_comes_back(world, saved):
    """Live is gone and the set cannot be loaded: what is left is the safety set, and the next run knows of it."""
    service, old = Service(world), world.fingerprint()
    (set_dir,) = [path for path in Path(world.root).iterdir() if path.name.startswith("lb-")]
    killed("controller", restore, world, service, "in_place.drop:done", mode="in_place")
    assert world.fingerprint() is None
    break_load(set_dir)
    assert in_child(restore, world, service, mode="in_place") == 1
    ending = put_back(world, service, restore)
    assert ending["failure_class"] == "swap_rolled_back"
    assert content(world.fingerprint()) == content(old)
    assert service.state() == "running"
    assert world.leftovers() == []


@pytest.mark.fault(19, "controller")
def test_a_database_that_a_module_drops_after_its_controller_died_is_not_one_that_the_next_run_plans_with(world, saved, monkeypatch):
    service, stop_workers = Service(world), recovery.stop_workers
    killed("controller", restore, world, service, "in_place.drop:begun", mode="in_place")

    def too_late(journal):
        assert sidedb.drop_database(world.admin, world.database), "the next run has looked at it by now"
        stop_workers(journal)

    monkeypatch.setattr(recovery, "stop_workers", too_late)
    ends_well(restore, world, service, mode="in_place")
    assert content(world.fingerprint()) == saved


@pytest.mark.fault(19, "module")
def test_what_postgresql_still_does_for_a_process_that_was_killed_is_ended_before_anybody_looks(make_world):
    world, said = make_world(), []

    with closing(connect(world.live)) as guest, guest.cursor() as cursor:
        cursor.execute("begin; select 1 from letta.agents")
        order = threading.Thread(target=lambda: said.append(unforced(world)))
        order.start()
        while not world.sql("select 1 from pg_stat_activity where query like 'DROP DATABASE%'", database="postgres"):
            time.sleep(0.01)
        began = time.monotonic()
        sidedb.end_orders(world.admin, [world.database, "another"])
        assert time.monotonic() - began < 3, "left alone it takes five seconds"
        order.join(10)
    assert said[0] in ("AdminShutdown", "OperationalError"), "told to end, not turned away after five seconds"
    assert world.database in world.databases()


@pytest.mark.fault(19, "module")
def test_a_database_that_postgresql_makes_although_its_module_was_killed_is_not_left(world):
    service, old = Service(world), world.fingerprint()
    with closing(connect(world.admin, autocommit=False)) as guest, guest.cursor() as cursor:
        cursor.execute("comment on database template0 is 'nobody copies it for now'")  # so that CREATE DATABASE takes its time
        options = world.run_options(controller=processes.identity())
        module = FORK.Process(target=lambda: restore(world, service, options))
        module.start()
        while not world.sql("select 1 from pg_stat_activity where query like 'CREATE DATABASE%'", database="postgres"):
            time.sleep(0.01)
        module.kill()
        module.join()
        put_back(world, service, restore)
        guest.rollback()
    time.sleep(1)
    assert world.leftovers() == []
    assert world.fingerprint() == old
    ends_well(restore, world, service)


def unforced(world):
    """Drop the live database, waiting for its guests as PostgreSQL does by itself; returns how that ended."""
    try:
        with closing(connect(world.admin)) as conn, conn.cursor() as cursor:
            cursor.execute('DROP DATABASE "%s"' % world.database)
    except psycopg2.Error as error:
        return type(error).__name__
    return "dropped"


# -- the real playbook, killed ---------------------------------------------------------------------------------------

FAKE_LETTA = """#!%s
import pathlib, sys
state = pathlib.Path(__file__).with_name("service")
if sys.argv[1] == "status":
    sys.exit(0 if state.read_text() == "running" else 3)
state.write_text({"start": "running", "stop": "stopped"}[sys.argv[1]])
"""


@pytest.fixture
def served_world(world):
    """The world with one managed Letta server, which is a script that writes a file."""
    program = world.folder / "fake-letta"
    program.write_text(FAKE_LETTA % sys.executable, encoding="utf-8")
    program.chmod(0o755)
    world.hosts = {"letta1": {"letta_service_%s" % verb: [str(program), verb] for verb in ("start", "stop", "status")}}
    world.variables = {"letta_service_manager": "command"}
    return world


STALE_KEY = "agent:send_message:run_id:agent-6a0ff4d6-6f9e-4f0c-8d0b-1d4b8a3c2e11"
FOREIGN_KEY = "agent:send_message:run_id:mine"


@pytest.fixture
def served_redis(served_world, redis_server, moment):
    """Redis of the served world, with a stale key and another application's; None where the kill is not between stop and start."""
    if not moment.endswith("exchange:done:controller"):
        yield None
        return
    client = redis_server.client(db=9)
    client.flushdb()
    client.mset({STALE_KEY: "run-6a0ff4d6-6f9e-4f0c-8d0b-1d4b8a3c2e11", FOREIGN_KEY: "x"})
    served_world.variables.update(
        letta_redis_host=redis_server.host, letta_redis_port=redis_server.port, letta_redis_password=redis_server.password,
        letta_redis_database=9,
    )  # fmt: skip
    yield client
    client.flushdb()
    client.close()


@pytest.mark.fault(19, "controller", "module")
@pytest.mark.parametrize(
    "moment", ["stage.load:begun", "stage.load:begun:controller", "services.stop:begun:controller", "cutover.exchange:done:controller"]
)
def test_the_restore_playbook_killed_half_way_ends_well_the_next_time(served_world, served_redis, saved, moment):
    world, service, old = served_world, Service(served_world), served_world.fingerprint()
    played = world.play("restore-full.yml", env={CRASH_VARIABLE: moment})
    if moment.endswith(":controller"):
        assert played.rc == -signal.SIGKILL
    else:
        assert (played.rc, played.report["status"]) == (2, "failed")
        assert (world.fingerprint(), world.leftovers()) == (old, [])
    is_whole(world, old, saved)
    assert served_redis is None or served_redis.exists(STALE_KEY), "it is the next run that has to drop it"
    again = world.play("restore-full.yml").ok()
    assert again.report["status"] == "succeeded"
    if served_redis:
        assert (served_redis.keys(), again.report["redis"]) == ([FOREIGN_KEY], {"dropped": 1, "kept": 1})
    assert is_whole(world, old, saved) == "new"
    assert service.state() == "running"
    assert world.leftovers(world.kept_names()) == []


@pytest.mark.fault(19, "controller", "module")
@pytest.mark.parametrize("moment", ["rollback.exchange:begun", "rollback.exchange:done:controller"])
def test_the_rollback_playbook_killed_half_way_ends_well_the_next_time(served_world, served_redis, moment):
    world, service, old = served_world, Service(served_world), served_world.fingerprint()
    ends_well(restore, world, service, service_manager="command", stops=("letta1",))
    restored = world.fingerprint()
    played = world.play("rollback.yml", env={CRASH_VARIABLE: moment})
    assert played.rc == (-signal.SIGKILL if moment.endswith(":controller") else 2)
    assert world.fingerprint()["oid"] in (old["oid"], restored["oid"])
    assert served_redis is None or served_redis.exists(STALE_KEY)
    assert world.play("rollback.yml").ok().report["status"] == "rolled_back"
    assert served_redis is None or served_redis.keys() == [FOREIGN_KEY]
    assert world.fingerprint() == old
    assert service.state() == "running"
    assert world.leftovers(world.kept_names()) == []
