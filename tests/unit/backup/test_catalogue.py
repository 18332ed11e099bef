"""The catalogue lists every set with what is wrong about it, and chooses with reasons."""
from __future__ import annotations

import json
import os
from datetime import timedelta

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import catalogue, choosing, retention, store
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.findings import FAIL, Finding

from .conftest import NOW

HOUR = timedelta(hours=1)


def test_sets_are_listed_newest_first_with_their_facts(sets):
    old, new = sets.add(2 * HOUR), sets.add(HOUR)
    infos = catalogue.list_sets(sets.root, NOW)
    assert [info.id for info in infos] == [new, old]
    assert (infos[0].age_seconds, infos[0].agents, infos[0].release_range) == (3600, 1, "0.16.7–0.16.8")
    assert "1 agents" in catalogue.format_line(infos[0], NOW)


def test_hidden_folders_and_foreign_ones_are_no_sets(sets):
    os.makedirs(sets.path(".incoming-lb-20261121T120000Z-aaaaaa"))
    os.makedirs(sets.path("lost+found"))
    assert catalogue.list_sets(sets.root, NOW) == []


def test_a_broken_set_is_listed_with_its_reason_at_its_place_in_time(sets):
    old, broken = sets.add(2 * HOUR), sets.add(HOUR)
    os.unlink(sets.path(broken, "manifest.json"))
    infos = catalogue.list_sets(sets.root, NOW)
    assert [(info.id, info.usable, info.problem) for info in infos] == [(broken, False, "no_manifest"), (old, True, "")]


def test_latest_passes_over_a_broken_set_and_says_why(sets):
    old, broken = sets.add(2 * HOUR), sets.add(HOUR)
    os.truncate(sets.path(broken, "manifest.json"), 50)
    chosen, rejected = choosing.choose(sets.root, "latest", now=NOW)
    assert chosen.id == old
    assert rejected == [{"id": broken, "reason": "manifest.json is cut or is no JSON"}]


def test_latest_never_means_a_safety_copy(sets):
    old = sets.add(2 * HOUR)
    sets.add(HOUR, kind="safety")
    assert choosing.choose(sets.root, now=NOW)[0].id == old


def test_latest_does_not_fall_back_past_the_age_limit(sets):
    sets.add(50 * HOUR)
    broken = sets.add(HOUR)
    os.unlink(sets.path(broken, "manifest.json"))
    with pytest.raises(RecoveryError) as caught:
        choosing.choose(sets.root, "latest", "2d", NOW)
    assert caught.value.failure_class == "no_usable_backup"
    assert [entry["reason"] for entry in caught.value.details["rejected"]] == [
        "no manifest.json, so the set was never finished or part of it is gone",
        "older than letta_backup_max_age (2d)",
    ]


def test_an_unknown_id_is_refused_and_the_newest_good_set_is_offered(sets):
    good = sets.add(HOUR)
    with pytest.raises(RecoveryError) as caught:
        choosing.choose(sets.root, "lb-20200101T000000Z-000000", now=NOW)
    assert caught.value.failure_class == "no_usable_backup"
    assert good in caught.value.next_step


def test_an_empty_store_and_a_missing_one_are_different_failures(sets, tmp_path):
    with pytest.raises(RecoveryError) as caught:
        choosing.choose(sets.root, now=NOW)
    assert caught.value.failure_class == "no_usable_backup"
    with pytest.raises(RecoveryError) as caught:
        choosing.choose(str(tmp_path / "nowhere"), now=NOW)
    assert caught.value.failure_class == "preflight"


@pytest.mark.fault(36, "future")
def test_a_set_from_the_future_is_usable_with_a_warning(sets):
    sets.add(-2 * HOUR)
    (info,) = catalogue.list_sets(sets.root, NOW)
    assert info.usable
    assert "in the future" in info.warnings[0]


def test_a_noted_failure_rejects_the_set_until_it_is_another(sets):
    old, new = sets.add(2 * HOUR), sets.add(HOUR)
    manifest = manifests.load(sets.path(new))
    catalogue.note_verified(sets.root, manifest, [Finding("files.checksum", FAIL, "x", 1)], "full", FAIL, NOW)
    assert choosing.choose(sets.root, now=NOW)[0].id == old
    note = sets.path(".catalog", new + ".json")
    with open(note, encoding="utf-8") as stream:
        data = json.load(stream)
    data["manifest_checksum"] = "sha256:of another"
    with open(note, "w", encoding="utf-8") as stream:
        json.dump(data, stream)
    assert choosing.choose(sets.root, now=NOW)[0].id == new


def test_the_check_of_the_caller_rejects_too(sets):
    old, new = sets.add(2 * HOUR), sets.add(HOUR)
    chosen, rejected = choosing.choose(sets.root, now=NOW, check=lambda info: "damaged" if info.id == new else None)
    assert (chosen.id, rejected) == (old, [{"id": new, "reason": "damaged"}])


def test_pruning_removes_the_folders_and_a_dry_run_does_not(sets):
    old, new = sets.add(2 * HOUR), sets.add(HOUR)
    assert retention.prune(sets.root, {"last": 1}, NOW, dry_run=True)["removed"] == [old]
    assert os.path.isdir(sets.path(old))
    assert retention.prune(sets.root, {"last": 1}, NOW)["removed"] == [old]
    assert sorted(os.listdir(sets.root)) == [new]


@pytest.mark.parametrize(("journal", "kept"), [('{"status": "open", "set": "%s"}', True), ('{"status": "succeeded", "set": "%s"}', False),
                                               ('{"status": "prep %s', True)])
def test_a_set_that_an_open_restore_names_cannot_be_removed(sets, journal, kept):
    set_id = sets.add()
    os.makedirs(sets.path(".runs", "r-1"))
    with open(sets.path(".runs", "r-1", "journal.json"), "w", encoding="utf-8") as stream:
        stream.write(journal % set_id)
    if kept:
        with pytest.raises(RecoveryError) as caught:
            store.remove_set(sets.root, set_id)
        assert caught.value.failure_class == "locked"
    else:
        store.remove_set(sets.root, set_id)
    assert os.path.isdir(sets.path(set_id)) is kept
