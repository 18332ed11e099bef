"""What an interrupted run left is found in the catalog and put right, also when its journal knows only half of it."""
from __future__ import annotations

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import cutover, endings, recovery, runs, stage
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal
from tests.integration.restore_kit import content


@pytest.fixture
def swapped(world):
    """(world, journal, fingerprint of before) of a run that stopped right after its exchange."""
    old = world.fingerprint()
    begun = runs.begin(world.admin, world.run_options())
    journal = Journal.load(begun["run_dir"])
    options = stage.StageOptions(begun["set_dir"], begun["names"]["side"], begun["owner"], 1, world.bin_dir)
    stage.stage_set(world.admin, manifests.load(begun["set_dir"]), options, journal)
    cutover.swap_in(world.admin, journal, begun["names"], cutover.Guests(session_timeout=2))
    return world, journal, old


def test_the_old_database_is_known_although_the_run_ended_before_it_noted_it(swapped):
    """As after an interrupt between the commit of the exchange and the next write."""
    world, journal, old = swapped
    journal.data.pop("previous")
    journal.forget("cutover.fence")
    ending = endings.fail(world.admin, world.root, journal, {"failure_class": "cancelled", "message": "interrupted"})
    assert ending["failure_class"] == "swap_rolled_back"
    assert world.fingerprint() == old


def test_a_run_nobody_takes_up_keeps_its_old_database_for_the_promised_time(swapped):
    """Somebody asks for another set: the database of before the interrupted run must not go with the first sweep."""
    world, journal, old = swapped
    restored = world.fingerprint()
    another = world.backup()
    begun = runs.begin(world.admin, world.run_options(backup_id=another["id"]))
    assert begun["run_id"] != journal.run_id
    assert world.fingerprint() == restored
    assert old["oid"] in world.databases().values()
    assert Journal.load(journal.run_dir).data["valid_until"] > journal.data["created_at"]


@pytest.mark.parametrize("step", [
    pytest.param(recovery.MIGRATE_STEP, marks=pytest.mark.fault(16)), recovery.REKEY_STEP, recovery.RECONCILE_STEP])
def test_a_side_database_is_made_anew_when_a_change_of_it_was_cut_short(world, step):
    """How much of the change was committed is not known: what the load had proven says nothing of it any more."""
    begun = runs.begin(world.admin, world.run_options())
    journal = Journal.load(begun["run_dir"])
    options = stage.StageOptions(begun["set_dir"], begun["names"]["side"], begun["owner"], 1, world.bin_dir)
    stage.stage_set(world.admin, manifests.load(begun["set_dir"]), options, journal)
    journal.begin(step)
    again = runs.begin(world.admin, world.run_options())
    assert (again["run_id"] == begun["run_id"], again["staged"]) == (False, False)
    assert begun["names"]["side"] not in world.databases()


def test_preparing_in_place_ahead_is_refused_before_anything_is_locked(world):
    old = world.fingerprint()
    with pytest.raises(RecoveryError) as caught:
        runs.begin(world.admin, world.run_options(mode="in_place", phases=("assess", "stage", "migrate")))
    assert caught.value.failure_class == "usage"
    assert (world.fingerprint(), world.leftovers()) == (old, [])


def test_a_live_database_with_braces_and_quotes_is_told_apart_from_its_side_databases(make_world, shape_set):
    world = make_world(database="o'dd {{ 7 * 7 }} \"name\" = é")
    world.copy_set(shape_set)
    old = world.fingerprint()
    begun = runs.begin(world.admin, world.run_options(backup_id=shape_set.name))
    journal = Journal.load(begun["run_dir"])
    options = stage.StageOptions(begun["set_dir"], begun["names"]["side"], begun["owner"], 2, world.bin_dir)
    result = stage.stage_set(world.admin, manifests.load(begun["set_dir"]), options, journal)
    assert {table["digest"] for table in result["tables"]} == {"equal"}
    cutover.swap_in(world.admin, journal, begun["names"], cutover.Guests(session_timeout=2))
    endings.finish(world.admin, world.root, journal, ("verify",))
    assert content(world.fingerprint())["tables"] == old["tables"]
    assert world.leftovers(world.kept_names()) == []


@pytest.mark.parametrize(
    ("migrations", "rekey", "steps", "expected"),
    [
        (21, {}, {"migrate.run": "done"}, True),
        (21, {}, {"migrate.run": "begun"}, False),
        (21, {"kdf": "x"}, {"migrate.run": "done"}, False),
        (21, {"kdf": "x"}, {"migrate.run": "done", "migrate.rekey": "done"}, True),
        (0, {"kdf": "x"}, {}, False),
        (0, {}, {}, False),
    ],
)
def test_phase_migrate_is_done_when_all_it_had_to_do_is_done(migrations, rekey, steps, expected):
    journal = Journal("", {"plan": {"schema": {"migrations": migrations}, "rekey": rekey}})
    journal.data["steps"] = [{"name": name, "state": state} for name, state in steps.items()]
    assert recovery.brought_forward(journal) is expected


def test_what_the_last_proven_change_left_is_what_counts():
    steps = [{"name": name, "state": "done", "tables": [name]} for name in ("stage.prove", "migrate.run", "migrate.rekey")]
    assert recovery.last_proof(steps)["tables"] == ["migrate.rekey"]
    assert recovery.last_proof([*steps[:2], dict(steps[2], state="begun")])["tables"] == ["migrate.run"]
    assert recovery.last_proof([]) == {}
