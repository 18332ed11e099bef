"""Restoring in place: live is dropped only when its content is safe in a set, and comes back from it when the load fails."""
from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from tests.integration.restore_kit import break_load, content

pytestmark = pytest.mark.slow


def safety_sets(world):
    found = [manifests.load(str(path)) for path in Path(world.root).iterdir() if path.name.startswith("lb-")]
    return [manifest for manifest in found if manifest["kind"] == "safety"]


def test_in_place_takes_a_safety_set_and_keeps_no_second_copy(world):
    old = world.fingerprint()
    world.variables = {"letta_restore_mode": "in_place"}
    played = world.play("restore-full.yml").ok()
    (safety,) = safety_sets(world)
    assert {name: (table["rows"], table["digest"]) for name, table in safety["tables"].items()} == old["tables"]
    assert list(world.databases()) == [world.database]
    assert world.leftovers() == []
    assert safety["id"] in played.report["undo"]["command"]

    world.play("restore-full.yml", "-e", "letta_backup_id=%s" % safety["id"]).ok()
    assert content(world.fingerprint()) == content(old)


@pytest.mark.fault(2, "rebuilt")
def test_when_the_load_fails_the_old_content_comes_back_by_itself(world):
    old = world.fingerprint()
    (set_dir,) = [str(path) for path in Path(world.root).iterdir() if path.name.startswith("lb-")]
    break_load(set_dir)
    world.variables = {"letta_restore_mode": "in_place"}
    played = world.play("restore-full.yml").refused("swap_rolled_back")
    assert played.report["status"] == "rolled_back"
    (safety,) = safety_sets(world)
    assert safety["id"] in played.report["now"]
    assert content(world.fingerprint()) == content(old)
    assert world.leftovers() == []


@pytest.mark.fault(41, "tags")
def test_preparing_ahead_in_place_is_refused_because_it_would_drop_live_ahead(world):
    old = world.fingerprint()
    world.variables = {"letta_restore_mode": "in_place"}
    world.play("restore-full.yml", "--tags", "stage,migrate,validate,reconcile").refused("usage")
    assert world.fingerprint() == old
    assert (world.leftovers(), safety_sets(world)) == ([], [])
