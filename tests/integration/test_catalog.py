"""The playbooks that take, adopt, list, verify and prune, run as a person runs them."""
from __future__ import annotations

import json
import os
import shutil

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import catalogue, verify
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from tests.integration.restore_kit import ADMIN_PASSWORD, PASSWORD


@pytest.fixture
def store(make_world, shape_set):
    """A target with one good set in its store."""
    world = make_world()
    world.copy_set(shape_set)
    return world


def ids(world):
    return [info.id for info in catalogue.list_sets(world.root)]


def flip(path, offset=-100):
    with open(path, "r+b") as stream:
        stream.seek(offset, os.SEEK_END)
        byte = stream.read(1)[0]
        stream.seek(offset, os.SEEK_END)
        stream.write(bytes([byte ^ 0x10]))


def largest(set_dir):
    folder = os.path.join(set_dir, "database")
    return max((os.path.join(folder, name) for name in os.listdir(folder) if name != "toc.dat"), key=os.path.getsize)


def test_backup_takes_a_set_and_check_mode_only_tells(store):
    before = ids(store)
    planned = store.play("backup.yml", "--check", "-vvv")
    assert planned.recap()["failed"] == 0, planned.output
    assert "PLAN" in planned.output
    assert ids(store) == before
    taken = store.play("backup.yml", "-vvv")
    assert taken.recap()["failed"] == 0, taken.output
    assert len(ids(store)) == len(before) + 1
    for secret in (PASSWORD, ADMIN_PASSWORD):
        assert secret not in taken.output
        assert json.dumps(secret)[1:-1] not in taken.output


def test_the_list_shows_every_set_and_verifies_none(store, shape_set):
    broken = "lb-20260101T000000Z-0b0b0b"
    shutil.copytree(shape_set, os.path.join(store.root, broken))
    played = store.play("catalog.yml")
    assert played.recap()["failed"] == 0, played.output
    text = " ".join(played.output.split())
    assert "%s 2026-" % shape_set.name in text or shape_set.name in text
    assert "never verified" in text
    assert "the folder is named %s but holds the set" % broken in text
    assert not os.path.isdir(os.path.join(store.root, ".catalog"))


@pytest.mark.fault(1, "dump")
def test_verify_notes_a_good_set_and_fails_on_a_flipped_byte_by_file_and_range(store, shape_set):
    good = store.play("catalog.yml", "--tags", "verify")
    assert good.recap()["failed"] == 0, good.output
    assert catalogue.list_sets(store.root)[0].verified_status == "pass"
    damaged = largest(os.path.join(store.root, shape_set.name))
    flip(damaged)
    bad = store.play("catalog.yml", "--tags", "verify")
    assert bad.recap()["failed"] == 1, bad.output
    text = " ".join(bad.output.split())
    assert "database/%s does not match its checksum (byte range 0-" % os.path.basename(damaged) in text
    assert catalogue.list_sets(store.root)[0].verified_status == "fail"


@pytest.mark.fault(2, "rebuilt")
def test_a_truncated_member_with_a_manifest_made_to_match_is_found_by_reading_it(store, shape_set):
    set_dir = os.path.join(store.root, shape_set.name)
    member = largest(set_dir)
    os.truncate(member, os.path.getsize(member) // 2)
    forge(set_dir)
    assert {finding.status for finding in verify.verify_set(set_dir, deep=False)} == {"pass"}
    found = verify.verify_set(set_dir, verify.tools_for(set_dir))
    assert [finding.id for finding in found if finding.status == "fail"] == ["archive.unreadable"]


@pytest.mark.fault(2, "rebuilt")
def test_rows_that_the_manifest_does_not_promise_are_found(store, shape_set):
    set_dir = os.path.join(store.root, shape_set.name)
    forge(set_dir, lambda manifest: manifest["tables"]["letta.messages"].update(rows=299))
    found = {finding.id: finding for finding in verify.verify_set(set_dir, verify.tools_for(set_dir))}
    assert found["tables"].status == "fail"
    assert found["tables"].examples == ("letta.messages",)


def forge(set_dir, change=lambda manifest: None):
    """Make the manifest match the files again, as someone with bad intentions would."""
    manifest = dict(manifests.load(set_dir))
    manifest["files"] = manifests.checksum_files(set_dir)
    change(manifest)
    os.unlink(os.path.join(set_dir, "SHA256SUMS"))
    manifests.write(set_dir, manifest)


def test_prune_happens_only_by_its_tag_and_not_under_check(store):
    store.backup()
    store.backup()
    policy = ("-e", json.dumps({"letta_catalog_keep": {"last": 1}}))
    everything = ids(store)
    assert store.play("catalog.yml", *policy).recap()["failed"] == 0
    assert store.play("catalog.yml", "--tags", "prune", "--check", *policy).recap()["changed"] == 1
    assert ids(store) == everything
    done = store.play("catalog.yml", "--tags", "prune", *policy)
    assert done.recap()["changed"] == 1, done.output
    assert ids(store) == everything[:1]
    again = store.play("catalog.yml", "--tags", "prune", *policy)
    assert again.recap()["changed"] == 0


def test_adopt_makes_a_set_of_a_dump(store, shape_set):
    dump = os.path.join(store.folder, "dump")
    shutil.copytree(shape_set / "database", dump)
    arguments = ("-e", json.dumps({"letta_adopt_dump": dump, "letta_adopt_taken_at": "2026-01-02T03:04:05Z"}))
    planned = store.play("adopt.yml", "--check", *arguments)
    assert planned.recap()["failed"] == 0, planned.output
    assert len(ids(store)) == 1
    played = store.play("adopt.yml", *arguments)
    assert played.recap()["failed"] == 0, played.output
    adopted = catalogue.list_sets(store.root)[-1]
    assert (adopted.kind, adopted.id[:19]) == ("adopted", "lb-20260102T030405Z")
    saved = manifests.load(os.path.join(store.root, shape_set.name))["tables"]
    in_pieces = ("letta.archival_passages", "letta.source_passages")
    found = {name: facts["rows"] for name, facts in manifests.load(adopted.path)["tables"].items()}
    assert found == {name: facts["rows"] for name, facts in saved.items() if name not in in_pieces}


def test_a_failure_reads_as_class_now_and_next(store):
    played = store.play("adopt.yml", "-e", "letta_adopt_dump=/nowhere/letta.dump")
    assert played.recap()["failed"] == 1
    text = " ".join(played.output.split())
    assert "usage: cannot read /nowhere/letta.dump" in text
    assert "NOW: live database untouched" in text
    assert "NEXT: check letta_adopt_dump" in text
