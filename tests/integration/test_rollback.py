"""Taking a restore back: the old database byte for byte, the restored one kept, and never twice."""
from __future__ import annotations

import pytest

from tests.integration.restore_kit import add_writes, content
from tests.integration.test_volumes_restore import checks, tree, write

pytestmark = pytest.mark.slow


@pytest.mark.fault(25)
def test_a_rollback_brings_the_old_database_back_and_keeps_the_restored_one(world):
    memory = world.folder / "memory"
    write(memory, "saved", "a")
    world.backup(volumes=({"name": "memory", "path": str(memory)},))
    write(memory, "since", "a", "later")
    since = tree(memory)
    world.variables["letta_volumes"] = [{"name": "memory", "path": str(memory)}]
    old = world.fingerprint()
    played = world.play("restore-full.yml").ok()
    run_id = played.report["run_id"]
    kept = world.folder / ("memory.previous-" + run_id)
    assert (tree(memory), tree(kept)) == ({"a": "saved"}, since)
    (found,) = checks(played).values()
    assert (found["id"], found["status"], "tree digest equal" in found["detail"]) == ("volumes.memory", "pass", True)
    add_writes(world.live, "since the cutover", messages=7)
    restored = world.fingerprint()

    shown = world.play("rollback.yml", "--check", confirm=False).ok()
    assert "since the cutover" in shown.output
    assert "7 messages" in shown.output
    assert "the folders of before come back: %s" % memory in " ".join(shown.output.split())
    assert world.fingerprint() == restored

    unconfirmed = world.play("rollback.yml", confirm=False)
    assert (unconfirmed.rc != 0, unconfirmed.report["failure_class"]) == (True, "cancelled")
    assert world.fingerprint() == restored

    back = world.play("rollback.yml", "-e", "letta_restore_id=%s" % run_id).ok()
    assert (back.report["status"], back.report["playbook"]) == ("rolled_back", "rollback.yml")
    assert (world.fingerprint(), tree(memory)) == (old, since)
    assert tree(world.folder / ("memory.undone-" + run_id)) == {"a": "saved"}
    (undone,) = world.kept_names()
    assert content(world.fingerprint(undone)) == content(restored)
    assert world.fingerprint(undone)["open"] is False
    assert world.leftovers({undone}) == []

    world.play("rollback.yml", "-e", "letta_restore_id=%s" % run_id).refused("preflight")
    world.play("rollback.yml").refused("usage")
    assert (world.fingerprint(), world.leftovers({undone})) == (old, [])


def test_there_is_nothing_to_take_back_without_a_restore_or_without_an_old_database(empty_world):
    empty_world.play("rollback.yml").refused("usage")
    empty_world.play("restore-full.yml").ok()
    played = empty_world.play("rollback.yml").refused("preflight")
    assert "kept no old database" in played.report["message"]
    empty_world.play("rollback.yml", "-e", "letta_restore_id=r-00000000").refused("usage")
    assert empty_world.leftovers() == []
