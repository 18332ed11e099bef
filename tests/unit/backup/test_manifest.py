"""The manifest refuses each fault with its own reason, and names damage by file and range."""
from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess

import pytest

from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.backup import manifest as manifests
from ansible_collections.letta_ops.recovery.plugins.module_utils._engine.errors import RecoveryError


def edit(sets, set_id, change, seal=False):
    path = sets.path(set_id, "manifest.json")
    with open(path, encoding="utf-8") as stream:
        manifest = json.load(stream)
    change(manifest)
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(manifests.seal(manifest) if seal else manifest, stream)


def problem_of(sets, set_id):
    with pytest.raises(RecoveryError) as caught:
        manifests.load(sets.path(set_id))
    assert caught.value.failure_class == "backup_corrupt"
    assert caught.value.next_step
    return caught.value.details["problem"]


def test_a_set_as_made_is_accepted_and_all_its_files_match(sets):
    manifest = manifests.load(sets.path(sets.add()))
    findings = manifests.verify_files(sets.path(manifest["id"]), manifest)
    assert [finding.status for finding in findings] == ["pass"]


def test_sha256sum_itself_accepts_the_sums_file(sets):
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=sets.path(sets.add()), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "database/toc.dat: OK" in done.stdout


def test_folders_are_0700_and_files_0600(sets):
    for folder, _dirs, names in os.walk(sets.path(sets.add())):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        assert {stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) for name in names} == {0o600}


def test_a_missing_manifest_is_its_own_reason(sets):
    set_id = sets.add()
    os.unlink(sets.path(set_id, "manifest.json"))
    assert problem_of(sets, set_id) == "no_manifest"


def test_a_cut_manifest_is_its_own_reason(sets):
    set_id = sets.add()
    os.truncate(sets.path(set_id, "manifest.json"), 100)
    assert problem_of(sets, set_id) == "not_json"


def test_an_edited_manifest_is_noticed(sets):
    set_id = sets.add()
    edit(sets, set_id, lambda manifest: manifest["tables"].update({"letta.agents": {"rows": 1, "digest": "md5sum:0"}}))
    assert problem_of(sets, set_id) == "edited"


def test_a_renamed_folder_is_noticed(sets):
    other = "lb-20200101T000000Z-000000"
    shutil.move(sets.path(sets.add()), sets.path(other))
    assert problem_of(sets, other) == "wrong_label"


def test_a_manifest_of_a_later_format_is_refused(sets):
    set_id = sets.add()
    edit(sets, set_id, lambda manifest: manifest.update(format=3), seal=True)
    assert problem_of(sets, set_id) == "future_format"


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a//b", "a/../../b"])
def test_a_manifest_that_names_a_path_outside_of_the_set_is_refused(sets, path):
    set_id = sets.add()
    edit(sets, set_id, lambda manifest: manifest["files"].append({"path": path, "size": 1, "sha256": "0"}), seal=True)
    assert problem_of(sets, set_id) == "unsafe_path"


@pytest.mark.parametrize("path", ["../other-set/database", "/var/tmp/database", "."])
def test_a_manifest_whose_archive_lies_outside_of_the_set_is_refused(sets, path):
    set_id = sets.add()
    edit(sets, set_id, lambda manifest: manifest["database"].update(archive={"path": path}), seal=True)
    assert problem_of(sets, set_id) == "unsafe_path"


def test_a_flipped_byte_in_a_large_member_is_found_and_named_with_its_range(sets):
    set_id = sets.add(content=os.urandom(9 << 20))
    sets.flip(set_id, "database/1.dat", (4 << 20) + 17)
    found = manifests.verify_files(sets.path(set_id), manifests.load(sets.path(set_id)))
    assert [(finding.id, finding.status) for finding in found] == [("files.checksum", "fail")]
    assert found[0].detail == "database/1.dat does not match its checksum (byte range 4194304-8388608)"


def test_a_truncated_member_is_named_with_its_size(sets):
    set_id = sets.add()
    os.truncate(sets.path(set_id, "database", "1.dat"), 7)
    (finding,) = manifests.verify_files(sets.path(set_id), manifests.load(sets.path(set_id)))
    assert "has 7 bytes instead of 1600" in finding.detail


def test_an_absent_file_fails_and_an_unlisted_one_only_warns(sets):
    set_id = sets.add()
    os.unlink(sets.path(set_id, "database", "1.dat"))
    with open(sets.path(set_id, "extra.txt"), "w", encoding="utf-8") as stream:
        stream.write("left by someone")
    findings = manifests.verify_files(sets.path(set_id), manifests.load(sets.path(set_id)))
    assert {(finding.id, finding.status) for finding in findings} == {("files.absent", "fail"), ("files.unlisted", "warn")}


def test_a_member_replaced_by_a_link_fails(sets, tmp_path):
    set_id = sets.add()
    shutil.copy(sets.path(set_id, "database", "1.dat"), tmp_path / "elsewhere")
    os.unlink(sets.path(set_id, "database", "1.dat"))
    os.symlink(tmp_path / "elsewhere", sets.path(set_id, "database", "1.dat"))
    (finding,) = manifests.verify_files(sets.path(set_id), manifests.load(sets.path(set_id)))
    assert finding.id == "files.replaced"
