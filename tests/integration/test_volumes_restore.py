"""Volumes in a whole restore: planned, staged before the servers stop, exchanged beside the database, put back with it."""
from __future__ import annotations

import shutil
from pathlib import Path

import pyrage
import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import verify
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup.trust import Seal, Trust
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore import runs, volume_stage, volumenotes
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.journal import Journal
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.restore.volumes import Volume
from ansible_collections.letta_ops.recovery.plugins.modules import letta_volume
from tests.faults.kit import flip, reseal
from tests.integration.restore_kit import HOST, add_writes
from tests.unit.backup.test_modules import call  # noqa: F401 (a fixture)

pytestmark = pytest.mark.slow


def tree(top):
    return {str(path.relative_to(top)): path.read_text() for path in sorted(top.rglob("*")) if path.is_file()}


def write(top, text, *names):
    top.mkdir(exist_ok=True)
    for name in names:
        (top / name).write_text(text)


def checks(played):
    return {item["id"]: item for item in played.report["checks"] if item["id"].startswith("volumes.")}


@pytest.fixture
def kept(make_world):
    """(world, its volume's folder, id of the set that holds it); the folder was written to since."""
    world = make_world()
    memory = world.folder / "memory"
    write(memory, "saved", "a", "b")
    set_id = world.backup(volumes=({"name": "memory", "path": str(memory)},))["id"]
    write(memory, "since", "a", "later")
    return world, memory, set_id


def item(name, path, host=HOST):
    return {"name": name, "path": str(path), "host": host}


def plan(world, *items, **changes):
    begun = runs.begin(world.admin, world.run_options(check=True, volumes=items, **changes))
    (step,) = [one["detail"] for one in begun["plan"]["steps"] if one["name"] == "volumes"] or [None]
    return step, " ".join(begun["plan"]["warnings"])


def test_the_plan_says_what_goes_where_and_what_is_not_in_the_set(kept):
    world, memory, set_id = kept
    link = world.folder / "link"
    link.symlink_to(memory)
    step, warnings = plan(world, item("memory", link), item("config", world.folder / "config"))
    assert step == "memory (2 files, 10 B) -> %s, where %s leads to" % (memory, link)
    assert "volume config: %s holds none of this name" % set_id in warnings
    step, warnings = plan(world)
    assert step == "none of those in the set is named by letta_volumes"
    assert "%s also holds volume memory, which letta_volumes does not name" % set_id in warnings
    assert plan(world, item("memory", "/srv/memory", "letta1"))[0] == "memory (2 files, 10 B) -> /srv/memory on letta1"
    for path, reason in ((world.folder / "no" / "disk", "does not exist"), (memory / "a", "is no folder")):
        with pytest.raises(RecoveryError, match=reason) as caught:
            plan(world, item("memory", path))
        assert caught.value.failure_class == "preflight"
    shutil.rmtree(Path(world.root) / set_id)
    world.backup()
    assert plan(world, item("memory", memory))[0] == "the set holds no volumes: nothing is done about them"


def test_what_a_run_staged_that_nobody_takes_up_goes_with_it(kept):
    world, memory, _set_id = kept
    begun = runs.begin(world.admin, world.run_options(volumes=(item("memory", memory),)))
    volume = Volume("memory", str(memory), begun["run_id"])
    volume_stage.stage_from_set(volume, begun["set_dir"], None)
    volumenotes.note(Journal.load(begun["run_dir"]), [volume.facts()])
    assert Path(volume.names.new).is_dir()
    runs.begin(world.admin, world.run_options(proven_dead=""))
    assert [path.name for path in world.folder.glob("memory*")] == ["memory"]


@pytest.mark.fault(1, "volume")
def test_a_flipped_byte_in_the_archive_is_caught_before_it_is_unpacked(kept):
    world, memory, set_id = kept
    folder = Path(world.root) / set_id
    flip(folder / "volumes" / "memory.tar.gz")
    with pytest.raises(RecoveryError, match="does not match its checksum"):
        volume_stage.stage_from_set(Volume("memory", str(memory), "r-00000001"), str(folder), None)
    assert [path.name for path in world.folder.glob("memory*")] == ["memory"]


@pytest.mark.fault(2, "rebuilt")
def test_an_archive_that_was_exchanged_for_another_is_told_by_its_tree_digest(kept, tmp_path):
    world, memory, set_id = kept
    folder = Path(world.root) / set_id
    other = world.backup(volumes=({"name": "memory", "path": str(memory)},))
    told = manifests.load(str(folder))["volumes"][0]
    shutil.copyfile(Path(world.root) / other["id"] / "volumes" / "memory.tar.gz", folder / "volumes" / "memory.tar.gz")
    volumes = [dict(other["volumes"][0], tree_digest=told["tree_digest"])]
    reseal(folder, volumes=volumes)
    assert [one.detail for one in verify.verify_set(str(folder)) if one.id == "volumes.content"] == [
        "what volume memory holds has another digest than the manifest says"]
    with pytest.raises(RecoveryError, match="another digest"):
        volume_stage.stage_from_set(Volume("memory", str(memory), "r-00000001"), str(folder), None)


def test_from_an_encrypted_set_a_volume_is_staged_or_taken_out_and_no_other_plain_copy_stays(make_world, tmp_path):
    world, ours = make_world(), pyrage.x25519.Identity.generate()
    memory, scratch, dest = world.folder / "memory", tmp_path / "scratch", tmp_path / "dest"
    write(memory, "saved", "a", "b")
    scratch.mkdir()
    dest.mkdir()
    seal = Seal(recipients=(str(ours.to_public()),), scratch_dir=str(scratch))
    folder = str(Path(world.root) / world.backup(volumes=({"name": "memory", "path": str(memory)},), seal=seal)["id"])
    trust = Trust("", "", str(ours), str(scratch))
    write(memory, "since", "a")
    volume = Volume("memory", str(memory), "r-00000001")
    assert volume_stage.stage_from_set(volume, folder, trust) is True
    volume.swap()
    assert tree(memory) == {"a": "saved", "b": "saved"}
    taken = volume_stage.take_out("memory", folder, str(dest), trust)
    assert volume_stage.stage_brought(Volume("memory", str(tmp_path / "far"), "r-00000001"), taken["archive"], taken["entry"]) is True
    assert list(scratch.iterdir()) == []
    with pytest.raises(RecoveryError) as caught:
        volume_stage.take_out("memory", folder, str(dest), Trust("", "", "", str(scratch)))
    assert caught.value.failure_class == "key_mismatch"


def test_the_module_stages_exchanges_and_removes_and_in_check_mode_only_says_so(kept, call):  # noqa: F811
    world, memory, set_id = kept
    given = dict(name="memory", path=str(memory), run_id="r-00000001")
    src = str(Path(world.root) / set_id)

    def told(check=False, **options):
        result = call(letta_volume, check=check, **dict(given, **options))
        return result["changed"], result["volume"]["status"]

    assert told(check=True, state="staged", src=src) == (True, "absent")
    assert told(state="staged", src=src) == (True, "staged")
    assert told(state="staged", src=src) == (False, "staged")
    assert told(check=True, state="swapped") == (True, "staged")
    assert told(state="swapped", keep=0) == (True, "swapped")
    assert told(state="swapped") == (False, "swapped")
    assert tree(memory) == {"a": "saved", "b": "saved"}
    assert call(letta_volume, check=True, name="memory", path=str(memory), state="absent")["removed"] == ["r-00000001"]
    assert told(state="rolled_back") == (True, "rolled_back")
    assert tree(memory) == {"a": "since", "b": "saved", "later": "since"}
    assert call(letta_volume, state="absent", **given)["removed"] == ["r-00000001"]
    assert [path.name for path in world.folder.glob("memory*")] == ["memory"]
    assert told(state="swapped") == (False, "absent")
    absent = call(letta_volume, state="staged", src=src, **dict(given, name="config"))
    assert (absent["changed"], absent["volume"]["held"], absent["volume"]["why"]) == (False, False, "the set holds no volume of this name")
    assert call(letta_volume, state="staged", src=src, **dict(given, run_id="../x"))["failure_class"] == "usage"


@pytest.mark.fault(24, "start")
def test_volumes_of_two_hosts_are_exchanged_with_the_database_and_put_back_when_the_servers_do_not_start(make_world):
    """The way that ends well, and rollback.yml, are in test_rollback.py."""
    world = make_world()
    memory, config = world.folder / "memory", world.folder / "config"
    scratch, between = world.folder / "scratch", world.folder / "controller"
    write(memory, "saved", "a")
    write(config, "saved", "conf.yaml")
    scratch.mkdir()
    between.mkdir()
    running, seen = world.folder / "running", world.folder / "seen"
    # Starts only on the folders of before; what it found is kept.
    start = "cat %s/a %s/conf.yaml >> %s; echo >> %s; test -e %s/later && touch %s" % (memory, config, seen, seen, memory, running)
    world.hosts["letta1"] = {
        "letta_service_start": ["sh", "-c", start],
        "letta_service_stop": ["rm", "-f", str(running)],
        "letta_service_status": ["test", "-e", str(running)],
    }
    world.variables.update(
        letta_scratch_dir=str(scratch), letta_service_manager="command", letta_service_start_timeout=5,
        letta_volumes=[{"name": "memory", "path": str(memory)}, {"name": "config", "path": str(config), "host": "letta1"}],
    )
    env = {"TMPDIR": str(between)}
    world.play("backup.yml", env=env).ok()
    write(memory, "since", "a", "later")
    write(config, "since", "conf.yaml")
    add_writes(world.live)
    running.touch()
    old, since = world.fingerprint(), (tree(memory), tree(config))

    failed = world.play("restore-full.yml", env=env).refused("swap_rolled_back")
    assert failed.report["status"] == "rolled_back"
    assert (world.fingerprint(), (tree(memory), tree(config))) == (old, since)
    assert seen.read_text().split() == ["savedsaved", "sincesince"], "it was tried on the restored folders, then started on those of before"
    found = checks(failed)
    assert {name: "folder of before again" in one["detail"] for name, one in found.items()} == {
        "volumes.memory": True, "volumes.config": True}
    undone = [world.folder / ("%s.undone-%s" % (name, failed.report["run_id"])) for name in ("memory", "config")]
    assert (tree(undone[0]), tree(undone[1])) == ({"a": "saved"}, {"conf.yaml": "saved"})
    assert (list(scratch.rglob("*")), list(between.rglob("letta-ops-volumes-*"))) == ([], []), "nothing is left on the way"
